//! sockudo-ws with its default configuration and its own handshake and negotiation, as its server for the Autobahn
//! suite uses them.

use bytes::BytesMut;
use futures_util::{Sink, Stream};
use sockudo_ws::deflate::{DeflateWindowBits, negotiate_server_deflate};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{CompressedWebSocketStream, Config, DeflateConfig, Error, Message, WebSocketStream};
use taut_rivals::{Mode, Settings, echo_while_ready, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn main() -> Result<(), String> {
    serve(echo)
}

async fn echo(mut stream: TcpStream, settings: Settings) -> Result<(), Error> {
    match handshake(&mut stream, settings).await? {
        Some(deflate) => {
            echo_all(CompressedWebSocketStream::server(stream, Config::default(), deflate)).await
        }
        None => echo_all(WebSocketStream::server(stream, Config::default())).await,
    }
}

async fn echo_all<S>(socket: S) -> Result<(), Error>
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    echo_while_ready(socket, |message: Result<Message, Error>| {
        message.map(|message| matches!(message, Message::Text(_) | Message::Binary(_)).then_some(message))
    })
    .await
}

/// Reads a request and accepts it; gives what was agreed on of permessage-deflate.
async fn handshake(stream: &mut TcpStream, settings: Settings) -> Result<Option<DeflateConfig>, Error> {
    let mut head = BytesMut::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(Error::ConnectionClosed);
        }
        let Some((request, _)) = parse_request(&head)? else { continue };
        let negotiated = match (settings.mode, request.extensions) {
            (Mode::Plain, _) | (_, None) => None,
            (_, Some(offers)) => negotiate_server_deflate(offers, &most(settings)),
        };
        let answer = negotiated.as_ref().map(|negotiated| negotiated.to_response_header());
        let key = generate_accept_key(request.key);
        stream.write_all(&build_response(&key, None, answer.as_deref())).await?;
        return Ok(negotiated.map(|negotiated| negotiated.config));
    }
}

fn most(settings: Settings) -> DeflateConfig {
    let no_takeover = settings.mode == Mode::NoTakeover;
    DeflateConfig {
        server_max_window_bits: DeflateWindowBits::try_from(settings.window_bits)
            .unwrap_or(DeflateWindowBits::Bits15),
        server_no_context_takeover: no_takeover,
        client_no_context_takeover: no_takeover,
        compression_level: settings.level.into(),
        ..DeflateConfig::default()
    }
}
