//! For those who come from axum's `ws`: the extractor, with state, a subprotocol and limits.
//!
//! `from_axum ADDR`; prints the address it listens on. `/chat` answers what is said there, and tells how many it is.
//! docs/from-axum.md has the calls one by one.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
// There: `axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade}`.
use taut::axum::{WebSocket, WebSocketUpgrade};
use taut::proto::{CloseCode, Message};
use tokio::net::TcpListener;

type Said = Arc<AtomicU64>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: from_axum ADDR")?;
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    let app = Router::new().route("/chat", any(handler)).with_state(Said::default());
    Ok(axum::serve(listener, app).await?)
}

async fn handler(upgrade: WebSocketUpgrade, State(said): State<Said>) -> Response {
    upgrade
        .max_message_size(1 << 20)
        .protocols(["chat"])
        .on_failed_upgrade(|error| eprintln!("upgrade: {error}"))
        .on_upgrade(|socket| async move {
            // There is one error, at the end: `recv` need not be asked again.
            if let Err(error) = talk(socket, said).await {
                eprintln!("{error}");
            }
        })
}

async fn talk(mut socket: WebSocket, said: Said) -> Result<(), taut::Error> {
    // There: `while let Some(message) = socket.recv().await` and `message?`.
    while let Some(message) = socket.recv().await? {
        match message {
            Message::Text(text) if text == "bye" => {
                // There: `send(Message::Close(Some(CloseFrame { code, reason })))`, then `recv` until it is `None`.
                socket.close(CloseCode::NORMAL, "see you").await?;
            }
            Message::Text(text) => {
                let number = said.fetch_add(1, Ordering::Relaxed) + 1;
                socket.send(format!("{number}: {text}")).await?;
            }
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
        }
    }
    Ok(())
}
