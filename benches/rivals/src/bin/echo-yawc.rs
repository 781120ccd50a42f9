//! yawc: for speed with the buffers of its own comparison with others, for little memory with those that its
//! `DeflatePool` recommends for many idle connections. It checks UTF-8 and pools its streams, as the others do or
//! may.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use sha1::{Digest, Sha1};
use std::io::{Error, ErrorKind};
use std::sync::LazyLock;
use taut_rivals::{Mode, Purpose, Settings, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use yawc::{CompressionLevel, DeflatePool, OpCode, Options, Role, WebSocket, WebSocketError};

fn main() -> Result<(), String> {
    serve(echo)
}

async fn echo(mut stream: TcpStream, settings: Settings) -> Result<(), WebSocketError> {
    let extension = match settings.mode {
        Mode::Plain => None,
        Mode::NoTakeover => {
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned())
        }
        Mode::Takeover => Some("permessage-deflate".to_owned()),
    };
    let extension = extension.map(|mut extension| {
        if settings.window_bits != 15 {
            extension += &format!("; server_max_window_bits={}", settings.window_bits);
        }
        extension
    });
    handshake(&mut stream, extension.as_deref()).await?;
    let mut socket = WebSocket::from_stream_with_extensions(
        stream,
        Role::Server,
        extension.as_deref(),
        options(settings),
    )?;
    while let Some(frame) = socket.next().await {
        if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
            socket.send(frame).await?;
        }
    }
    Ok(())
}

fn options(settings: Settings) -> Options {
    let buffers = Options::default();
    let buffers = match settings.purpose {
        Purpose::Defaults => buffers,
        Purpose::Fast => buffers.with_read_buffer_capacity(128 << 10).with_backpressure_boundary(64 << 10),
        Purpose::Lean => buffers.with_read_buffer_capacity(1 << 10).with_write_buffer_capacity(1 << 10),
    };
    let options = buffers.with_utf8();
    if settings.mode == Mode::Plain {
        return options;
    }
    let options = options
        .with_compression_level(CompressionLevel::new(settings.level.into()))
        .with_server_max_window_bits(settings.window_bits);
    match settings.mode {
        Mode::Plain | Mode::Takeover => options,
        Mode::NoTakeover => {
            options.server_no_context_takeover().client_no_context_takeover().with_deflate_pool(POOL.clone())
        }
    }
}

/// Its documentation: as many as messages are compressed at a time; this is a little more than one thread needs.
static POOL: LazyLock<DeflatePool> = LazyLock::new(|| DeflatePool::new(4));

/// Reads a request and accepts it, with the extension if there is one.
async fn handshake(stream: &mut TcpStream, extension: Option<&str>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let head = String::from_utf8(head).map_err(Error::other)?;
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let key = key.ok_or(ErrorKind::InvalidData)?;
    let digest = Sha1::new_with_prefix(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let extension = extension.map(|value| format!("Sec-WebSocket-Extensions: {value}\r\n"));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{}\r\n",
        STANDARD.encode(digest),
        extension.unwrap_or_default(),
    );
    stream.write_all(answer.as_bytes()).await
}
