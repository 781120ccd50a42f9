//! The least of an opening handshake, for servers that take a stream which is past it.

#![forbid(unsafe_code)]

use std::io::{Error, ErrorKind};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Reads a request and accepts it, with the extension if there is one.
///
/// # Errors
/// The stream's, or that the request is none.
pub async fn handshake(stream: &mut TcpStream, extension: Option<&str>) -> std::io::Result<()> {
    // On the heap, and gone afterwards: a task keeps the room of what it ever held while it waited.
    let mut head = Vec::with_capacity(REQUEST);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > MOST || stream.read_buf(&mut head).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let answer = answer(head, extension)?;
    stream.write_all(&answer).await
}

fn answer(head: Vec<u8>, extension: Option<&str>) -> std::io::Result<Vec<u8>> {
    let head = String::from_utf8(head).map_err(Error::other)?;
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut keys = fields.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let (_, key) = keys.next().ok_or(ErrorKind::InvalidData)?;
    // RFC 6455 §4.2.2.
    let digest =
        Sha1::new_with_prefix(key.trim()).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let extension = extension.map(|value| format!("Sec-WebSocket-Extensions: {value}\r\n"));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{}\r\n",
        STANDARD.encode(digest),
        extension.unwrap_or_default(),
    );
    Ok(answer.into_bytes())
}

const REQUEST: usize = 512;
const MOST: usize = 16 << 10;
