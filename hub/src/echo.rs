//! `taut echo`: sends back what comes. A plain loop of `recv` and `send`, for measurements and for trying clients out.

#![forbid(unsafe_code)]

use std::io::{self, Write, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use taut::proto::handshake::{Accept, Reject, Request};
use taut::proto::{Config, Deflate, Message};
use taut::tokio::{Options, accept_with};
use tokio::net::{TcpListener, TcpStream};

use crate::options::EndOptions;

/// Serves until the program ends. The first line on the standard output is the address as a URI. If nobody can listen at the
/// address, the standard error tells why.
pub async fn run(end: EndOptions) -> ExitCode {
    match serve(end).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("taut: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(end: EndOptions) -> io::Result<()> {
    let listener = TcpListener::bind(&end.address).await?;
    writeln!(stdout(), "ws://{}", listener.local_addr()?)?;
    let mut options = Options::new();
    if let Some(bytes) = end.max_message {
        options = options.config(Config::new().max_message(bytes).max_frame(bytes));
    }
    if end.deflate {
        options = options.deflate(Deflate::new());
    }
    let end = Arc::new(end);
    loop {
        // An error here is one client's, or too many open files: others can still come.
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let end = end.clone();
        tokio::spawn(async move {
            if let Err(error) = echo(stream, options, &end).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn echo(stream: TcpStream, options: Options, end: &EndOptions) -> Result<(), taut::Error> {
    let mut socket = accept_with(stream, options, |request| end.decide(request)).await?;
    while let Some(message) = socket.recv().await? {
        if let Message::Text(_) | Message::Binary(_) = message {
            socket.send(message).await?;
        }
    }
    Ok(())
}

impl EndOptions {
    /// Takes every request, with the first subprotocol offered that is spoken here.
    fn decide(&self, request: &Request) -> Result<Accept, Reject> {
        let spoken = request.subprotocols().find(|name| self.subprotocols.iter().any(|known| known == name));
        Ok(spoken.map_or_else(Accept::new, |name| Accept::new().subprotocol(name)))
    }
}

/// Until `accept` is tried again.
const PAUSE: Duration = Duration::from_millis(10);
