//! tokio-websockets, without limits and with frames as long as their messages, as its own echo server has them. It
//! flushes before it looks for another message: so answers are collected first.

use taut_rivals::{Settings, echo_by_turns, serve};
use tokio::net::TcpStream;
use tokio_websockets::{Config, Error, Limits, Message, ServerBuilder};

fn main() -> Result<(), String> {
    serve(echo)
}

async fn echo(stream: TcpStream, _: Settings) -> Result<(), Error> {
    let builder =
        ServerBuilder::new().config(Config::default().frame_size(usize::MAX)).limits(Limits::unlimited());
    let (_, socket) = builder.accept(stream).await?;
    echo_by_turns(socket, |message: Result<Message, Error>| {
        message.map(|message| (message.is_text() || message.is_binary()).then_some(message))
    })
    .await
}
