//! The client's handshake over a stream.

#![forbid(unsafe_code)]

use core::future::poll_fn;

use ::tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use ::tokio::time::{Instant, timeout_at};

use super::scratch::poll_head;
use super::websocket::WebSocket;
use crate::error::{Deadline, Error};
use crate::options::Options;
use crate::proto::handshake::{ClientHandshake, ClientRequest, HandshakeError};
use crate::random::{RandomMasks, nonce};

/// Does the handshake; with `strict`, the server has to choose one of the subprotocols.
pub(super) async fn shake_hands<S>(
    mut stream: S,
    request: &ClientRequest,
    options: Options,
    strict: bool,
    deadline: Instant,
) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut handshake = ClientHandshake::with_limits(&options.offer(request), nonce(), options.limits);
    let answered = timeout_at(deadline, async {
        stream.write_all_buf(handshake.output()).await?;
        stream.flush().await?;
        loop {
            if let Some(established) = handshake.poll()? {
                return Ok::<_, Error>(established);
            }
            let read = poll_fn(|cx| poll_head(&mut stream, cx, |head| handshake.feed(head)));
            if read.await? == 0 {
                handshake.input_eof();
            }
        }
    });
    match answered.await {
        Ok(established) => {
            let established = established?;
            if strict && established.subprotocol().is_none() {
                return Err(HandshakeError::SubprotocolMissing.into());
            }
            let connection = established.into_connection(options.config, RandomMasks::new());
            Ok(WebSocket::new(stream, connection, &options))
        }
        // A refusal whose body takes too long is still the server's answer.
        Err(_) => Err(match handshake.take_refusal() {
            Some(answer) => Error::Refused(answer),
            None => Error::Timeout(Deadline::Handshake),
        }),
    }
}
