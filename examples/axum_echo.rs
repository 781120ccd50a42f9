//! An echo server on axum, over HTTP/1.1 and HTTP/2 on one port, at every path; `GET /health` is answered.
//!
//! `axum_echo [--max-message BYTES] [--deflate] ADDR`
//!
//! Prints the address it listens on. Over a plain connection browsers speak HTTP/1.1 only; clients that know of it can
//! speak HTTP/2.

use std::process::ExitCode;

use axum::Router;
use axum::response::Response;
use axum::routing::{any, get};
use axum::serve::ListenerExt;
use taut::Options;
use taut::axum::{WebSocket, WebSocketUpgrade};
use taut::proto::{Config, Deflate};
use tokio::net::TcpListener;

const USAGE: &str = "usage: axum_echo [--max-message BYTES] [--deflate] ADDR";

#[tokio::main]
async fn main() -> ExitCode {
    match arguments(std::env::args().skip(1)) {
        Ok((address, options)) => match serve(&address, options).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("cannot serve: {error}")),
        },
        Err(problem) => fail(&format!("{problem}\n{USAGE}")),
    }
}

fn fail(problem: &str) -> ExitCode {
    eprintln!("axum_echo: {problem}");
    ExitCode::FAILURE
}

fn arguments(mut arguments: impl Iterator<Item = String>) -> Result<(String, Options), String> {
    let mut address = None;
    let mut options = Options::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--max-message" => {
                let bytes = arguments.next().ok_or("--max-message needs a number of bytes")?;
                let bytes = bytes.parse().map_err(|_| format!("{bytes:?} is not a number of bytes"))?;
                options = options.config(Config::new().max_message(bytes).max_frame(bytes));
            }
            "--deflate" => options = options.deflate(Deflate::new()),
            flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
            _ if address.is_some() => return Err(format!("one address is enough: {argument}")),
            _ => address = Some(argument),
        }
    }
    Ok((address.ok_or("no address to listen on")?, options))
}

async fn serve(address: &str, options: Options) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    // `any`, since HTTP/2 asks for a WebSocket with CONNECT.
    let handler = any(async move |upgrade: WebSocketUpgrade| -> Response {
        let lost = |error| eprintln!("lost before it was open: {error}");
        upgrade.options(options).on_failed_upgrade(lost).on_upgrade(async |socket| {
            if let Err(error) = echo(socket).await {
                eprintln!("{error}");
            }
        })
    });
    let router = Router::new().route("/health", get(async || "well\n")).fallback_service(handler);
    // Small messages must not wait for others to fill a segment. A stream that refuses this fails at its next use.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await
}

async fn echo(mut socket: WebSocket) -> Result<(), taut::Error> {
    while let Some(message) = socket.recv().await? {
        if message.is_data() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
