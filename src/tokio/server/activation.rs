//! Sockets that systemd, or whatever speaks its protocol, has opened for the program.

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use std::io;

use ::tokio::net::{TcpListener, UnixListener};
use listenfd::ListenFd;

/// The sockets that the program was started with, in their order.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Activated {
    /// Listeners of TCP.
    pub tcp: Vec<TcpListener>,
    /// Listeners on sockets of the file system.
    pub unix: Vec<UnixListener>,
}

/// Takes the listening sockets that the environment names (`LISTEN_FDS`, as of `sd_listen_fds(3)`): none if the
/// program was not started that way. The variables are removed, so that a second call gives none.
///
/// Call it first, while nothing else looks at the environment.
///
/// # Errors
/// A socket that does not listen for streams, or no runtime of tokio around the call.
pub fn activated() -> io::Result<Activated> {
    let mut sockets = ListenFd::from_env();
    let mut activated = Activated::default();
    for index in 0..sockets.len() {
        if let Ok(Some(listener)) = sockets.take_unix_listener(index) {
            listener.set_nonblocking(true)?;
            activated.unix.push(UnixListener::from_std(listener)?);
        } else if let Some(listener) = sockets.take_tcp_listener(index)? {
            listener.set_nonblocking(true)?;
            activated.tcp.push(TcpListener::from_std(listener)?);
        }
    }
    Ok(activated)
}
