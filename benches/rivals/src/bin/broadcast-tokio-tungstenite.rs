//! tokio-tungstenite, with a broadcast channel of tokio that each connection subscribes to: what one says, all hear,
//! itself too. What is ready leaves in one flush; who falls behind the channel loses the oldest messages, and goes on.

use futures_util::{SinkExt, StreamExt};
use taut_rivals::{Purpose, Settings, serve};
use tokio::net::TcpStream;
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError, error::TryRecvError};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::{Error, Message, protocol::WebSocketConfig};

fn main() -> Result<(), String> {
    let (all, _) = broadcast::channel(QUEUE);
    serve(move |stream, settings| connection(stream, settings, all.clone()))
}

async fn connection(stream: TcpStream, settings: Settings, all: Sender<Message>) -> Result<(), Error> {
    let config = match settings.purpose {
        Purpose::Defaults | Purpose::Fast => WebSocketConfig::default(),
        Purpose::Lean => WebSocketConfig::default().read_buffer_size(4 << 10),
    };
    let mut others = all.subscribe();
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    loop {
        tokio::select! {
            heard = others.recv() => {
                let mut next = match heard {
                    Ok(message) => Some(message),
                    Err(RecvError::Lagged(_)) => ready(&mut others),
                    Err(RecvError::Closed) => return Ok(()),
                };
                while let Some(message) = next {
                    socket.feed(message).await?;
                    next = ready(&mut others);
                }
                socket.flush().await?;
            }
            said = socket.next() => match said {
                Some(Ok(message)) if message.is_text() || message.is_binary() => {
                    // There is a receiver: this connection.
                    let _ = all.send(message);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        }
    }
}

/// The next message of the channel, if there is one; what was lost is passed over.
fn ready(others: &mut Receiver<Message>) -> Option<Message> {
    loop {
        match others.try_recv() {
            Ok(message) => return Some(message),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
        }
    }
}

/// As many messages as taut's queue has by default.
const QUEUE: usize = 1024;
