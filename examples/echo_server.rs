//! An echo server on tokio.
//!
//! `echo_server [--max-message BYTES] [--subprotocol NAME]… [--deflate] ADDR`
//!
//! Prints the address it listens on. Of the subprotocols that a client offers it selects the first that it
//! was given; with `--deflate` it agrees to compression.

use std::process::ExitCode;
use std::time::Duration;

use taut::proto::handshake::{Accept, Reject, Request};
use taut::proto::{Config, Deflate, Message};
use taut::tokio::{Options, accept_with};
use tokio::net::{TcpListener, TcpStream};

const USAGE: &str = "usage: echo_server [--max-message BYTES] [--subprotocol NAME]... [--deflate] ADDR";

#[tokio::main]
async fn main() -> ExitCode {
    match Settings::from_arguments(std::env::args().skip(1)) {
        Ok(settings) => match serve(settings).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("cannot listen: {error}")),
        },
        Err(problem) => fail(&format!("{problem}\n{USAGE}")),
    }
}

fn fail(problem: &str) -> ExitCode {
    eprintln!("echo_server: {problem}");
    ExitCode::FAILURE
}

struct Settings {
    address: String,
    options: Options,
    subprotocols: Vec<String>,
}

impl Settings {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut address = None;
        let mut options = Options::new();
        let mut subprotocols = Vec::new();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--max-message" => {
                    let bytes = arguments.next().ok_or("--max-message needs a number of bytes")?;
                    let bytes = bytes.parse().map_err(|_| format!("{bytes:?} is not a number of bytes"))?;
                    options = options.config(Config::new().max_message(bytes).max_frame(bytes));
                }
                "--subprotocol" => {
                    subprotocols.push(arguments.next().ok_or("--subprotocol needs a name")?);
                }
                "--deflate" => options = options.deflate(Deflate::new()),
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                _ if address.is_some() => return Err(format!("one address is enough: {argument}")),
                _ => address = Some(argument),
            }
        }
        Ok(Self { address: address.ok_or("no address to listen on")?, options, subprotocols })
    }

    /// Takes every request, with the first subprotocol offered that is ours.
    fn decide(&self, request: &Request) -> Result<Accept, Reject> {
        let ours = |name: &&str| self.subprotocols.iter().any(|known| known == name);
        Ok(match request.subprotocols().find(ours) {
            Some(name) => Accept::new().subprotocol(name),
            None => Accept::new(),
        })
    }
}

async fn serve(settings: Settings) -> std::io::Result<()> {
    let listener = TcpListener::bind(&settings.address).await?;
    println!("{}", listener.local_addr()?);
    let settings = std::sync::Arc::new(settings);
    loop {
        // An error here is one client's, or too many open files: others can still come.
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let settings = settings.clone();
        tokio::spawn(async move {
            if let Err(error) = echo(stream, &settings).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn echo(stream: TcpStream, settings: &Settings) -> Result<(), taut::Error> {
    let mut socket = accept_with(stream, settings.options, |request| settings.decide(request)).await?;
    while let Some(message) = socket.recv().await? {
        if let Message::Text(_) | Message::Binary(_) = message {
            socket.send(message).await?;
        }
    }
    Ok(())
}
