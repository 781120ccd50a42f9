//! `taut echo`: sends back what comes. A plain loop of `recv` and `send`, for measurements and for trying clients out.

#![forbid(unsafe_code)]

use std::io::{self, Write, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use taut::proto::handshake::{Accept, Reject, Request};
use taut::proto::{Config, Deflate, Message};
use taut::tokio::{Options, accept_with};
use tokio::net::{TcpListener, TcpStream};

/// The command line of `taut echo`.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Arguments {
    /// Where to listen; port 0 for any that is free.
    #[arg(default_value = "127.0.0.1:9001", value_name = "ADDRESS:PORT")]
    pub address: String,
    /// Agrees to compression.
    #[arg(long)]
    pub deflate: bool,
    /// The largest message in bytes.
    #[arg(long, value_name = "BYTES")]
    pub max_message: Option<usize>,
    /// A subprotocol that is spoken; of several, the first that a client offers.
    #[arg(long = "subprotocol", value_name = "NAME")]
    pub subprotocols: Vec<String>,
}

/// Serves until the program ends. The first line on the standard output is the address as a URI. If nobody can listen at the
/// address, the standard error tells why.
pub async fn run(arguments: Arguments) -> ExitCode {
    match serve(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("taut: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> io::Result<()> {
    let listener = TcpListener::bind(&arguments.address).await?;
    writeln!(stdout(), "ws://{}", listener.local_addr()?)?;
    let mut options = Options::new();
    if let Some(bytes) = arguments.max_message {
        options = options.config(Config::new().max_message(bytes).max_frame(bytes));
    }
    if arguments.deflate {
        options = options.deflate(Deflate::new());
    }
    let arguments = Arc::new(arguments);
    loop {
        // An error here is one client's, or too many open files: others can still come.
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let arguments = arguments.clone();
        tokio::spawn(async move {
            if let Err(error) = echo(stream, options, &arguments).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn echo(stream: TcpStream, options: Options, arguments: &Arguments) -> Result<(), taut::Error> {
    let mut socket = accept_with(stream, options, |request| arguments.decide(request)).await?;
    while let Some(message) = socket.recv().await? {
        if let Message::Text(_) | Message::Binary(_) = message {
            socket.send(message).await?;
        }
    }
    Ok(())
}

impl Arguments {
    /// Takes every request, with the first subprotocol offered that is spoken here.
    fn decide(&self, request: &Request) -> Result<Accept, Reject> {
        let spoken = request.subprotocols().find(|name| self.subprotocols.iter().any(|known| known == name));
        Ok(spoken.map_or_else(Accept::new, |name| Accept::new().subprotocol(name)))
    }
}

/// Until `accept` is tried again.
const PAUSE: Duration = Duration::from_millis(10);
