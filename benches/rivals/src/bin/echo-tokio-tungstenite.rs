//! tokio-tungstenite, with its defaults; to be lean, with the read buffer that its documentation recommends where
//! there are many connections. Answers are queued while messages are ready, as `StreamExt::forward` does.

use taut_rivals::{Purpose, Settings, echo_while_ready, serve};
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::{Error, Message, protocol::WebSocketConfig};

fn main() -> Result<(), String> {
    serve(echo)
}

async fn echo(stream: TcpStream, settings: Settings) -> Result<(), Error> {
    let config = match settings.purpose {
        Purpose::Defaults | Purpose::Fast => WebSocketConfig::default(),
        Purpose::Lean => WebSocketConfig::default().read_buffer_size(4 << 10),
    };
    let socket = accept_async_with_config(stream, Some(config)).await?;
    echo_while_ready(socket, |message: Result<Message, Error>| {
        message.map(|message| (message.is_text() || message.is_binary()).then_some(message))
    })
    .await
}
