//! For those who come from tokio-tungstenite: an echo server in the shape that it has there, by `Stream` and `Sink`.
//!
//! `from_tokio_tungstenite ADDR`; prints the address it listens on. It selects the subprotocol `echo` if that is
//! offered, and closes once somebody says `bye`. docs/from-tokio-tungstenite.md has the calls one by one.

use std::error::Error;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use taut::proto::handshake::{Accept, Reject, Request};
use taut::proto::{CloseCode, CloseFrame, Config, Message};
use taut::tokio::{Options, accept_with};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: from_tokio_tungstenite ADDR")?;
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    loop {
        // An error here is one client's, or too many open files: others can still come.
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(async move {
            if let Err(error) = serve(stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

/// There: `accept_hdr_async_with_config(stream, callback, Some(config))`.
async fn serve(stream: TcpStream) -> Result<(), taut::Error> {
    // There: `WebSocketConfig::default().max_message_size(Some(1 << 20))`.
    let options = Options::new().config(Config::new().max_message(1 << 20));
    let mut socket = accept_with(stream, options, select).await?;
    while let Some(message) = socket.next().await {
        match message? {
            Message::Text(text) if text == "bye" => {
                // There: `send(Message::Close(Some(CloseFrame { .. })))`. What the client still says is read on.
                socket.send(Message::Close(Some(CloseFrame::new(CloseCode::NORMAL, "see you")?))).await?;
            }
            // `feed` and `flush` are there too; `send` after `send` shares writes by itself.
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await?,
            // Answered by now, as there; nothing has to be flushed for it.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
        }
    }
    // There: `Error::ConnectionClosed` behind the stream's end.
    let status = socket.close_status();
    println!("closed: {}", status.is_some_and(|status| status.clean));
    SinkExt::<Message>::close(&mut socket).await
}

/// There: `callback(&Request, Response) -> Result<Response, ErrorResponse>`.
fn select(request: &Request) -> Result<Accept, Reject> {
    let offers_echo = request.subprotocols().any(|name| name == "echo");
    Ok(if offers_echo { Accept::new().subprotocol("echo") } else { Accept::new() })
}
