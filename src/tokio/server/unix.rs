//! Listening on a socket of the file system.

#![forbid(unsafe_code)]

use core::time::Duration;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use ::tokio::net::{UnixListener, UnixSocket, UnixStream};
use ::tokio::time::{Instant, sleep};

use super::super::closing::after;

/// Listens on a socket at `path` that those may connect to whom `mode` lets write: `0o600` for oneself, `0o660` for
/// one's group too. [`accept`](crate::tokio::accept) works over its streams as over any.
///
/// A socket that a server left behind is removed first; it is known by that nobody answers. One that answers is left
/// alone, and so is whatever is no socket. The permissions hold before anybody can connect. Servers that start at a
/// time exclude each other by a lock on the folder, which should be one that nobody else can open; they wait for it for
/// a second at most. The file stays when the listener is dropped.
///
/// Dropping the future leaves nothing behind but what was there.
///
/// # Errors
/// [`AddrInUse`](io::ErrorKind::AddrInUse) if a server listens there, or the folder stays locked;
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if there is something else; and what the file system says.
pub async fn bind_unix(path: impl AsRef<Path>, mode: u32) -> io::Result<UnixListener> {
    let path = path.as_ref();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Held until the end.
    let lock = File::open(folder)?;
    let deadline = after(LOCK_TIME);
    while lock.try_lock().is_err() {
        if Instant::now() >= deadline {
            return Err(in_use("another program has locked the folder: choose one of your own"));
        }
        sleep(LOCK_PAUSE).await;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            // One whose queue is full is in use as well.
            _ => return Err(in_use("a server listens there already")),
        },
        Ok(_) => {
            let sentence = "there is a file that is no socket: choose another path, or remove it";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, sentence));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    // Nobody can connect before `listen`.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)
}

fn in_use(sentence: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, sentence)
}

/// The lock is held for as long as a few system calls take.
const LOCK_TIME: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// How many connections wait to be accepted: as many as those of TCP that tokio makes.
const BACKLOG: u32 = 1024;
