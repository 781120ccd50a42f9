//! The client's opening handshake.

#![forbid(unsafe_code)]

use alloc::boxed::Box;

use ::tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use ::tokio::net::TcpStream;
use ::tokio::time::{Instant, timeout_at};

use super::accept::set_nodelay;
use super::closing::after;
use super::scratch::read_head;
use super::websocket::WebSocket;
use crate::error::{Deadline, Error};
use crate::options::Options;
use crate::proto::Role;
use crate::proto::handshake::{BuildError, ClientHandshake, ClientRequest, WebSocketUri};
use crate::random::{RandomMasks, nonce};

/// Connects to a `ws://` URI under the default [`Options`]. `TCP_NODELAY` is set.
///
/// ```no_run
/// # async fn run() -> Result<(), taut::Error> {
/// let mut socket = taut::tokio::connect("ws://127.0.0.1:9001/chat").await?;
/// socket.send("hello").await?;
/// println!("{:?}", socket.recv().await?);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Uri`], [`Error::Io`] if no address can be reached, [`Error::Refused`] with the whole answer if
/// the server does not upgrade, [`Error::Handshake`] if it does so wrongly, [`Error::Timeout`] after
/// [`Options::handshake_timeout`], [`Error::Unsupported`] for `wss://`.
pub fn connect(uri: &str) -> impl Future<Output = Result<WebSocket<TcpStream>, Error>> {
    connect_with(uri, Options::new(), Ok)
}

/// Connects as [`connect`] does, after `prepare` has added subprotocols and fields to the request.
///
/// # Errors
/// As [`connect`]; [`Error::Build`] if `prepare` fails.
pub fn connect_with<F>(
    uri: &str,
    options: Options,
    prepare: F,
) -> impl Future<Output = Result<WebSocket<TcpStream>, Error>>
where
    F: FnOnce(ClientRequest) -> Result<ClientRequest, BuildError>,
{
    // On the heap until it is done, as `accept_with`.
    Box::pin(observed(options, async move {
        let uri = WebSocketUri::parse(uri)?;
        if uri.is_secure() {
            return Err(Error::Unsupported("wss needs TLS: connect a TLS stream, then use connect_over"));
        }
        let request = prepare(ClientRequest::from_uri(&uri))?;
        let deadline = after(options.handshake_timeout);
        let connected = timeout_at(deadline, TcpStream::connect((uri.host(), uri.port())));
        let stream = connected.await.map_err(|_| Error::Timeout(Deadline::Handshake))??;
        shake_hands(stream, &request, options, deadline).await
    }))
}

/// Does the client's handshake over a stream that is connected already.
///
/// # Errors
/// As [`connect`].
pub fn connect_over<S>(
    stream: S,
    request: &ClientRequest,
    options: Options,
) -> impl Future<Output = Result<WebSocket<S>, Error>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Box::pin(observed(options, async move {
        shake_hands(stream, request, options, after(options.handshake_timeout)).await
    }))
}

/// Tells the observer of a handshake that failed.
async fn observed<T>(
    options: Options,
    handshake: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    options.observer.outcome(Role::Client, handshake.await)
}

async fn shake_hands<S>(
    mut stream: S,
    request: &ClientRequest,
    options: Options,
    deadline: Instant,
) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    set_nodelay(&stream);
    let mut handshake = ClientHandshake::with_limits(&options.offer(request), nonce(), options.limits);
    let answered = timeout_at(deadline, async {
        stream.write_all_buf(handshake.output()).await?;
        stream.flush().await?;
        loop {
            if let Some(established) = handshake.poll()? {
                return Ok::<_, Error>(established);
            }
            if read_head(&mut stream, |head| handshake.feed(head)).await? == 0 {
                handshake.input_eof();
            }
        }
    });
    match answered.await {
        Ok(established) => {
            let connection = established?.into_connection(options.config, RandomMasks::new());
            Ok(WebSocket::new(stream, connection, &options))
        }
        // A refusal whose body takes too long is still the server's answer.
        Err(_) => Err(match handshake.take_refusal() {
            Some(answer) => Error::Refused(answer),
            None => Error::Timeout(Deadline::Handshake),
        }),
    }
}
