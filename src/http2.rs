//! A client's WebSockets over HTTP/2: many over one connection (RFC 8441).
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use axum::{Router, routing::any};
//! # async fn echo(mut socket: taut::axum::WebSocket) {
//! #     while let Ok(Some(message)) = socket.recv().await {
//! #         if message.is_data() && socket.send(message).await.is_err() {
//! #             break;
//! #         }
//! #     }
//! # }
//! # let app = any(async |upgrade: taut::axum::WebSocketUpgrade| upgrade.on_upgrade(echo));
//! # let app = Router::new().route("/chat", app.clone()).route("/news", app);
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let address = listener.local_addr()?;
//! # let uri = format!("ws://{address}");
//! # tokio::spawn(async move { axum::serve(listener, app).await });
//! use taut::http2::Client;
//! use taut::proto::handshake::ClientRequest;
//!
//! // The whole way by `taut::tokio::Client`: addresses, proxies, TLS.
//! let network = taut::tokio::Client::new().bearer("secret")?;
//! let client = network.http2(&uri).await?;
//! let mut chat = client.connect(&network.request(&format!("{uri}/chat"))?).await?;
//! let mut news = client.connect(&network.request(&format!("{uri}/news"))?).await?;
//! chat.send("hello").await?;
//! assert_eq!(chat.recv().await?, Some("hello".into()));
//! # news.send("new").await?;
//! # assert_eq!(news.recv().await?, Some("new".into()));
//!
//! // Or a stream of one's own: TLS whose ALPN is `h2`, or a plain one,
//! // where the server is known to speak HTTP/2.
//! let stream = tokio::net::TcpStream::connect(address).await?;
//! let client = Client::new(stream, false, taut::Options::new()).await?;
//! let mut chat = client.connect(&ClientRequest::new("example.com", "/chat")?).await?;
//! # chat.send("hello").await?;
//! # assert_eq!(chat.recv().await?, Some("hello".into()));
//! # Ok(()) }
//! # #[cfg(not(feature = "axum"))]
//! # fn main() {}
//! ```

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;

use ::http::header::{HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Request, Uri, Version};
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::sync::oneshot::{Receiver, Sender, channel};
use ::tokio::time::{Instant, timeout, timeout_at};
use bytes::{Buf, Bytes, BytesMut};
use h2::client::{Builder, SendRequest};
use h2::ext::Protocol;
use h2::{Ping, Reason, RecvStream, SendStream};

use crate::error::{Deadline, Error};
use crate::options::Options;
use crate::proto::handshake::{ClientRequest, Fields, HandshakeError, Response};
use crate::proto::{Connection, Role};
use crate::random::RandomMasks;
use crate::tokio::{Reached, WebSocket, set_nodelay};

/// A connection of HTTP/2 to a server that takes WebSockets. Its clones share the connection, which ends once they and
/// all of their WebSockets are dropped.
///
/// **Memory.** What the peer sends and nobody receives is at most 64 KiB for a WebSocket, and 16 MiB for a connection:
/// a socket that is not read holds up itself, and the others only where 256 of them are not read.
#[derive(Clone)]
pub struct Client {
    requests: SendRequest<Bytes>,
    secure: bool,
    /// Where subprotocols are offered, the server has to choose one.
    strict: bool,
    options: Options,
    in_use: InUse,
}

/// Its end tells the task of the connection.
type InUse = Arc<Sender<()>>;

impl Client {
    /// Starts HTTP/2 on a stream that is connected already, and waits for the server's settings. `secure` tells
    /// whether this is TLS: the scheme is then `https`. The connection runs in a task of its own. A `TcpStream` is set
    /// to `TCP_NODELAY`.
    ///
    /// Cancel safe: dropped, it closes the stream.
    ///
    /// # Errors
    /// [`Error::NoExtendedConnect`] if the server takes no WebSockets over HTTP/2: use HTTP/1.1. [`Error::Io`] with
    /// what HTTP/2 has to say, [`Error::Timeout`] after [`Options::handshake_timeout`].
    pub async fn new<S>(stream: S, secure: bool, options: Options) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let deadline = deadline(&options);
        Self::start(stream, secure, false, options, deadline).await
    }

    async fn start<S>(
        stream: S,
        secure: bool,
        strict: bool,
        options: Options,
        deadline: Option<Instant>,
    ) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        set_nodelay(&stream);
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(MOST_WRITTEN)
            .max_header_list_size(u32::try_from(options.limits.max_head).unwrap_or(u32::MAX));
        let started = within(deadline, async {
            let (requests, mut connection) = builder.handshake(stream).await.map_err(failure)?;
            let pings = connection.ping_pong();
            let mut connection = Box::pin(connection);
            // RFC 9113 §3.4: the server's first frame is SETTINGS, so that they have come when the PONG has.
            if let Some(mut pings) = pings {
                let mut ping = pin!(pings.ping(Ping::opaque()));
                let settled = poll_fn(|cx| match connection.as_mut().poll(cx) {
                    // It knows why; the ping only that it is over.
                    Poll::Ready(Err(error)) => Poll::Ready(Err(failure(error))),
                    Poll::Ready(Ok(())) => {
                        Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()))
                    }
                    Poll::Pending => ping.as_mut().poll(cx).map_ok(drop).map_err(failure),
                });
                settled.await?;
            }
            let (in_use, unused) = channel();
            ::tokio::spawn(drive(connection, unused, options.pace.close_timeout));
            if !requests.is_extended_connect_protocol_enabled() {
                return Err(Error::NoExtendedConnect);
            }
            Ok(Self { requests, secure, strict, options, in_use: Arc::new(in_use) })
        });
        started.await
    }

    /// Opens a WebSocket. While as many are open as the server allows, this waits for one to end.
    ///
    /// Cancel safe: dropped, it resets the stream.
    ///
    /// # Errors
    /// [`Error::Refused`] with the whole answer if the server does not accept, [`Error::Handshake`] if it does so
    /// wrongly; [`Error::Io`], [`Error::Timeout`] after [`Options::handshake_timeout`].
    pub async fn connect(&self, request: &ClientRequest) -> Result<WebSocket<Stream>, Error> {
        self.options.observer.outcome(Role::Client, self.open(request).await)
    }

    async fn open(&self, request: &ClientRequest) -> Result<WebSocket<Stream>, Error> {
        let request = self.options.offer(request);
        let head = self.head(&request)?;
        within(deadline(&self.options), async {
            let mut requests = self.requests.clone().ready().await.map_err(failure)?;
            if !requests.is_extended_connect_protocol_enabled() {
                return Err(Error::NoExtendedConnect);
            }
            let (response, sending) = requests.send_request(head, false).map_err(failure)?;
            let (parts, receiving) = response.await.map_err(failure)?.into_parts();
            if !parts.status.is_success() {
                let max = self.options.limits.max_body;
                let (body, whole) = read_body(receiving, max).await;
                let response = Response::new(parts.status.as_u16(), fields(&parts.headers), body, whole);
                return Err(Error::Refused(response.into()));
            }
            let agreement = request.confirm(&fields(&parts.headers))?;
            let offers = self.strict && request.fields().get("Sec-WebSocket-Protocol").is_some();
            if offers && agreement.subprotocol().is_none() {
                return Err(HandshakeError::SubprotocolMissing.into());
            }
            let connection =
                Connection::client(self.options.config, RandomMasks::new()).with_agreement(agreement);
            let in_use = self.in_use.clone();
            let stream = Stream { sending, receiving, received: Bytes::new(), _in_use: in_use };
            Ok(WebSocket::new(stream, connection, &self.options))
        })
        .await
    }

    /// RFC 8441 §4, §5: the request.
    fn head(&self, request: &ClientRequest) -> Result<Request<()>, Error> {
        let scheme = if self.secure { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(request.host()).path_and_query(request.resource());
        let mut head = Request::new(());
        *head.method_mut() = Method::CONNECT;
        *head.version_mut() = Version::HTTP_2;
        *head.uri_mut() = uri.build().map_err(io::Error::other)?;
        head.extensions_mut().insert(Protocol::from_static("websocket"));
        for (name, value) in request.fields().iter() {
            let name = HeaderName::try_from(name).map_err(io::Error::other)?;
            head.headers_mut().append(name, HeaderValue::from_bytes(value).map_err(io::Error::other)?);
        }
        Ok(head)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("secure", &self.secure).finish_non_exhaustive()
    }
}

impl crate::tokio::Client {
    /// Connects to the server of a URI by HTTP/2, for many WebSockets; the path of the URI does not matter. The way
    /// is that of [`connect`](Self::connect). By `wss://`, `h2` is all that TLS offers (ALPN); by `ws://` and
    /// `ws+unix://`, the server has to be known to speak HTTP/2 in the open. [`request`](Self::request) makes the
    /// requests; redirects are not followed.
    ///
    /// Cancel safe: dropped, it closes what it opened.
    ///
    /// # Errors
    /// [`Error::NoHttp2`] if the server does not choose HTTP/2, and [`Error::NoExtendedConnect`] if it takes no
    /// WebSockets over it: use [`connect`](Self::connect). Else as [`connect`](Self::connect) without a handshake.
    pub fn http2(&self, uri: &str) -> impl Future<Output = Result<Client, Error>> + Send {
        Box::pin(self.reach_http2(uri, |reached| {
            let Reached { stream, secure, strict, options, deadline } = reached;
            Client::start(stream, secure, strict, options, Some(deadline))
        }))
    }
}

/// Runs the connection until it ends; once nobody uses it any more, for so long at most.
async fn drive<T>(
    connection: Pin<Box<h2::client::Connection<T, Bytes>>>,
    in_use: Receiver<()>,
    time: Duration,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (mut connection, mut in_use) = (connection, pin!(in_use));
    // Its error comes from every stream, too.
    let unused = poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(false),
        Poll::Pending => in_use.as_mut().poll(cx).map(|_| true),
    });
    if unused.await {
        let _ = timeout(time, connection).await;
    }
}

/// A stream of HTTP/2 under a WebSocket. The peer's window opens as far as its bytes are read. Dropped before both sides
/// have ended, it is reset with CANCEL (RFC 8441 §5).
pub struct Stream {
    sending: SendStream<Bytes>,
    receiving: RecvStream,
    /// What came and was not read.
    received: Bytes,
    _in_use: InUse,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.received.is_empty() {
            match ready!(self.receiving.poll_data(cx)) {
                Some(Ok(data)) => self.received = data,
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.received.len().min(buf.remaining());
        buf.put_slice(&self.received[..count]);
        self.received.advance(count);
        // It fails only for more than was received.
        let _ = self.receiving.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum::<usize>().min(MOST_WRITTEN);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        self.sending.reserve_capacity(wanted);
        let mut capacity = self.sending.capacity();
        while capacity == 0 {
            capacity = match ready!(self.sending.poll_capacity(cx)) {
                Some(Ok(capacity)) => capacity,
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => return Poll::Ready(Err(self.reset_error(cx))),
            };
        }
        let count = wanted.min(capacity);
        let mut data = BytesMut::with_capacity(count);
        for buf in bufs {
            let rest = count - data.len();
            data.extend_from_slice(&buf[..buf.len().min(rest)]);
        }
        match self.sending.send_data(data.freeze(), false) {
            Ok(()) => Poll::Ready(Ok(count)),
            Err(error) => Poll::Ready(Err(io_error(error))),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The connection's task writes.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// END_STREAM: an orderly close, as the FIN of TCP (RFC 8441 §5).
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sending.reserve_capacity(0);
        Poll::Ready(self.sending.send_data(Bytes::new(), true).map_err(io_error))
    }
}

impl Stream {
    /// Why nothing more can be sent.
    fn reset_error(&mut self, cx: &mut Context<'_>) -> io::Error {
        match self.sending.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => io_error(reason.into()),
            Poll::Ready(Err(error)) => io_error(error),
            Poll::Pending => io::ErrorKind::BrokenPipe.into(),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.sending.stream_id()).finish_non_exhaustive()
    }
}

fn deadline(options: &Options) -> Option<Instant> {
    // What is too far away for the clock is never.
    Instant::now().checked_add(options.handshake_timeout)
}

async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match deadline {
        Some(deadline) => {
            timeout_at(deadline, work).await.unwrap_or(Err(Error::Timeout(Deadline::Handshake)))
        }
        None => work.await,
    }
}

fn fields(headers: &HeaderMap) -> Fields {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// The body of an answer that refuses, and whether that is all of it.
async fn read_body(mut receiving: RecvStream, max: usize) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(data) = receiving.data().await {
        let Ok(data) = data else { return (body, false) };
        let room = max - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return (body, false);
        }
        let _ = receiving.flow_control().release_capacity(data.len());
    }
    (body, true)
}

fn failure(error: h2::Error) -> Error {
    Error::Io(io_error(error))
}

/// The error of HTTP/2 with the kind that fits it; its source is the [`h2::Error`].
fn io_error(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    let kind = match error.reason() {
        _ if error.is_go_away() => io::ErrorKind::ConnectionAborted,
        // RFC 9113 §8.7: nothing was done, so that it can be tried again.
        Some(Reason::REFUSED_STREAM) => io::ErrorKind::ConnectionRefused,
        Some(_) => io::ErrorKind::ConnectionReset,
        None => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// The window of a stream: what it may send ahead of the application.
const STREAM_WINDOW: u32 = 64 << 10;

/// The window of a connection: 256 streams.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// How many bytes of a stream wait for its window or for the connection.
const MOST_WRITTEN: usize = 64 << 10;
