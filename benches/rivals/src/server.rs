//! The runtime, the same for every server: one thread, a task for each connection.

#![forbid(unsafe_code)]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::task::unconstrained;

use crate::Settings;

/// Prints the address it listens on, and gives each connection to `echo`, in a task of the one thread that the
/// runtime does not interrupt: how often it would, depends on how a library reads. TCP_NODELAY is set.
///
/// # Errors
/// What is wrong with the arguments or the socket.
pub fn serve<F>(echo: impl Fn(TcpStream, Settings) -> F) -> Result<(), String>
where
    F: Future<Output: Send> + Send + 'static,
{
    serve_as_accepted(|stream, settings| {
        // A socket that refuses this is broken, which the first read tells.
        let _ = stream.set_nodelay(true);
        echo(stream, settings)
    })
}

/// The same for a library that sets TCP_NODELAY by itself.
///
/// # Errors
/// As [`serve`].
pub fn serve_as_accepted<F>(echo: impl Fn(TcpStream, Settings) -> F) -> Result<(), String>
where
    F: Future<Output: Send> + Send + 'static,
{
    let settings = Settings::from_arguments()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let served: std::io::Result<()> = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port)))?;
        let listener = socket.listen(BACKLOG)?;
        println!("{}", listener.local_addr()?);
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Too many open files, most likely: others may close theirs.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            // How a connection ends is for the load to judge. A task around the future would be twice its size.
            tokio::spawn(unconstrained(echo(stream, settings)));
        }
    });
    served.map_err(|error| format!("cannot serve: {error}"))
}

/// As many as Linux allows by default: loads connect faster than one thread accepts.
const BACKLOG: u32 = 4096;

const PAUSE: Duration = Duration::from_millis(10);
