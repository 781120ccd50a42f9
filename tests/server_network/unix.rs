//! Sockets of the file system.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use taut::Error;
use taut::proto::Message;
use taut::tokio::{Client, accept, bind_unix};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use super::{ends, polled};

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("unix-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn accept_works_over_its_streams() {
    let path = folder("accept").join("socket");
    let listener = bind_unix(&path, 0o600).await.unwrap();
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept(stream).await?;
        while let Some(message) = socket.recv().await? {
            if message.is_data() {
                socket.send(message).await?;
            }
        }
        Ok::<_, Error>(())
    };
    let client = async {
        let uri = format!("ws+unix://{}", path.display());
        let mut socket = Client::new().connect(&uri).await.unwrap();
        for message in [Message::text("hello"), Message::binary(vec![7; 300_000])] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.recv().await.unwrap(), Some(message));
        }
        socket.close(taut::proto::CloseCode::NORMAL, "").await.unwrap();
    };
    let (served, ()) = ends(async { tokio::join!(server, client) }).await;
    served.unwrap();
}

#[tokio::test]
async fn its_permissions_are_as_asked_for() {
    let folder = folder("permissions");
    for mode in [0o600, 0o660, 0o666] {
        let path = folder.join(format!("{mode:o}"));
        let _listener = bind_unix(&path, mode).await.unwrap();
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, mode);
    }
}

#[tokio::test]
async fn only_what_nobody_listens_on_is_removed() {
    let folder = folder("stale");
    let path = folder.join("socket");
    let listener = bind_unix(&path, 0o600).await.unwrap();
    let error = bind_unix(&path, 0o600).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
    // The first one still serves.
    let (connected, accepted) =
        ends(async { tokio::join!(UnixStream::connect(&path), listener.accept()) }).await;
    connected.unwrap();
    accepted.unwrap();
    // Left behind, as by a server that was killed.
    drop(listener);
    assert!(path.exists());
    let listener = bind_unix(&path, 0o600).await.unwrap();
    let (connected, accepted) =
        ends(async { tokio::join!(UnixStream::connect(&path), listener.accept()) }).await;
    connected.unwrap();
    accepted.unwrap();

    let file = folder.join("file");
    fs::write(&file, "precious").unwrap();
    let link = folder.join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for other in [&file, &folder, &link] {
        let error = bind_unix(other, 0o600).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert!(link.is_symlink());
    assert_eq!(bind_unix(folder.join("none/socket"), 0o600).await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// A socket whose queue is full is in use, though nobody can connect to it.
#[tokio::test]
async fn a_full_queue_is_in_use() {
    let path = folder("full").join("socket");
    let socket = tokio::net::UnixSocket::new_stream().unwrap();
    socket.bind(&path).unwrap();
    let _listener = socket.listen(0).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = UnixStream::connect(&path).await {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue does not get full");
    }
    assert_eq!(bind_unix(&path, 0o600).await.unwrap_err().kind(), ErrorKind::AddrInUse);
    assert!(path.exists());
}

/// Whoever has the folder locked is waited for, though not for ever.
#[tokio::test(start_paused = true)]
async fn a_folder_that_is_locked() {
    let folder = folder("locked");
    let path = folder.join("socket");
    let lock = fs::File::open(&folder).unwrap();
    lock.lock().unwrap();
    let start = Instant::now();
    let error = bind_unix(&path, 0o600).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert!(!path.exists());
    let unlocking = async {
        sleep(Duration::from_millis(500)).await;
        lock.unlock().unwrap();
    };
    let (bound, ()) = tokio::join!(bind_unix(&path, 0o600), unlocking);
    bound.unwrap();
}

/// Dropped while it waits for the folder, it leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn dropped_while_it_waits() {
    let folder = folder("dropped");
    let path = folder.join("socket");
    let lock = fs::File::open(&folder).unwrap();
    lock.lock().unwrap();
    for polls in 1..5 {
        assert!(polled(polls, bind_unix(&path, 0o600)).await.is_none());
        assert!(!path.exists());
    }
    lock.unlock().unwrap();
    lock.try_lock().expect("nobody has it locked");
    lock.unlock().unwrap();
    bind_unix(&path, 0o600).await.unwrap();
}

/// Of servers that start together over a socket that was left behind, one listens, and it is reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_that_start_together() {
    let path = folder("together").join("socket");
    for _ in 0..50 {
        let starting: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                tokio::spawn(async move { bind_unix(&path, 0o600).await })
            })
            .collect();
        let mut listeners = Vec::new();
        for started in starting {
            match started.await.unwrap() {
                Ok(listener) => listeners.push(listener),
                Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}"),
            }
        }
        let [listener] = &listeners[..] else { panic!("{} listen", listeners.len()) };
        let (connected, accepted) =
            ends(async { tokio::join!(UnixStream::connect(&path), listener.accept()) }).await;
        connected.unwrap();
        accepted.unwrap();
    }
}
