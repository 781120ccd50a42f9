//! A tunnel through a proxy of HTTP, by CONNECT (RFC 9110 §9.3.6).

#![forbid(unsafe_code)]

use alloc::format;

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use bytes::BytesMut;

use super::authority::Credentials;
use super::stream::NetworkStream;
use crate::error::Error;
use crate::network_error::ProxyError;

/// Asks for a tunnel to the host; when it returns, what the stream carries is the host's.
pub(super) async fn open(
    stream: &mut NetworkStream,
    host: &str,
    port: u16,
    credentials: Option<&Credentials>,
) -> Result<(), Error> {
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(credentials) = credentials {
        let basic = credentials.basic().ok_or(ProxyError::Uri(""))?;
        request = request + "Proxy-Authorization: " + &basic + "\r\n";
    }
    stream.write_all((request + "\r\n").as_bytes()).await?;
    stream.flush().await?;
    match read_status(stream).await? {
        200..=299 => Ok(()),
        // RFC 9110 §15.5.8; tinyproxy answers wrong credentials with 401.
        401 | 407 if credentials.is_none() => Err(ProxyError::CredentialsMissing.into()),
        401 | 407 => Err(ProxyError::CredentialsRefused.into()),
        status => Err(ProxyError::Status(status).into()),
    }
}

async fn read_status(stream: &mut NetworkStream) -> Result<u16, Error> {
    let mut head = BytesMut::new();
    loop {
        let before = head.len();
        if stream.read_buf(&mut head).await? == 0 {
            return Err(ProxyError::Ended.into());
        }
        // Parsed once: where the head may have ended.
        let news = &head[before.saturating_sub(3)..];
        let may_end =
            news.windows(2).any(|end| end == b"\n\n") || news.windows(3).any(|end| end == b"\n\r\n");
        if may_end {
            let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
            let mut response = httparse::Response::new(&mut fields);
            match response.parse(&head) {
                Ok(httparse::Status::Complete(length)) => {
                    let status = response.code.unwrap_or_default();
                    // The server behind a tunnel waits for us, so that these bytes are of nobody.
                    if (200..300).contains(&status) && length < head.len() {
                        return Err(ProxyError::Malformed(SILENCE).into());
                    }
                    return Ok(status);
                }
                Ok(httparse::Status::Partial) => {}
                Err(_) => return Err(ProxyError::Malformed(ANSWER).into()),
            }
        }
        if head.len() > MOST_HEAD {
            return Err(ProxyError::Malformed(ANSWER).into());
        }
    }
}

/// What should have come.
const ANSWER: &str = "answer of HTTP/1.1 within 16 KiB and 100 fields";
const SILENCE: &str = "silence after its answer";

/// As of an answer to the handshake: see `HandshakeLimits`.
const MOST_HEAD: usize = 16 << 10;
const MOST_FIELDS: usize = 100;
