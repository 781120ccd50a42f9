//! WebSockets on the servers of hyper 1, over HTTP/1.1 and HTTP/2: [`Upgrade`] in a handler, or a whole [`Service`].
//!
//! The connection has to be served with upgrades (hyper: `serve_connection(…).with_upgrades()`), and for HTTP/2 with
//! `enable_connect_protocol()`, which tells clients that it takes WebSockets (RFC 8441 §3).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//! use hyper::server::conn::http1;
//! use hyper_util::rt::TokioIo;
//! use taut::hyper::Upgrade;
//! use taut::proto::handshake::Accept;
//!
//! type Answer = http::Response<Full<Bytes>>;
//!
//! async fn handle(mut request: http::Request<Incoming>) -> Result<Answer, taut::Error> {
//!     let upgrade = match Upgrade::new(&mut request, &taut::Options::new()) {
//!         Ok(upgrade) => upgrade,
//!         Err(error) => {
//!             return Ok(taut::hyper::refuse(&error, request.version()).map(Full::from));
//!         }
//!     };
//!     let (response, upgrading) = upgrade.accept(Accept::new())?;
//!     tokio::spawn(async move {
//!         let mut socket = upgrading.await?;
//!         while let Some(message) = socket.recv().await? {
//!             if message.is_data() {
//!                 socket.send(message).await?;
//!             }
//!         }
//!         Ok::<(), taut::Error>(())
//!     });
//!     Ok(response.map(|()| Full::default()))
//! }
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let uri = format!("ws://{}/", listener.local_addr()?);
//! tokio::spawn(async move {
//!     let (stream, _) = listener.accept().await?;
//!     let service = hyper::service::service_fn(handle);
//!     let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(serving.with_upgrades().await?)
//! });
//!
//! let mut socket = taut::connect(&uri).await?;
//! socket.send("hello").await?;
//! assert_eq!(socket.recv().await?, Some("hello".into()));
//! # Ok(()) }
//! ```
//!
//! Limits on streams, resets and floods of HTTP/2 frames are hyper's (`http2::Builder`). Once the connection of
//! HTTP/1.1 is upgraded it is no longer hyper's to count or to time: [`Options`] has the limits of a WebSocket, and
//! [`Admission`](crate::Admission) those of a server.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;
use core::future::{Future, Ready, ready};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use ::http::request::Parts;
use ::http::{Request, Response, StatusCode, Version};
use ::hyper::ext::Protocol;
use ::hyper::upgrade::{OnUpgrade, Upgraded};
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::time::timeout;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::Full;
use hyper_util::rt::TokioIo;

use crate::error::{Deadline, Error};
use crate::http;
use crate::options::Options;
use crate::proto::Role;
use crate::proto::handshake::{Accept, Reject, Request as Asked};
use crate::tokio::WebSocket;

/// A valid request for a WebSocket, and hyper's promise of its stream.
#[must_use = "the client waits for `accept` or `reject`"]
pub struct Upgrade {
    upgrade: http::Upgrade,
    stream: OnUpgrade,
    version: Version,
}

impl Upgrade {
    /// Checks a request, and takes hyper's [`OnUpgrade`] out of its extensions if it is valid. The options are those of
    /// the WebSocket; their [observer](Options::observer) hears of every handshake that comes to nothing.
    ///
    /// # Errors
    /// [`Error::Handshake`] if the request breaks a rule, [`Error::Unsupported`] if the server gives no upgrade;
    /// [`refuse`] makes the response of both.
    pub fn new<B>(request: &mut Request<B>, options: &Options) -> Result<Self, Error> {
        let protocol = request.extensions().get().map(Protocol::as_str);
        let upgrade = http::Upgrade::new(request, protocol, options)?;
        Self::join(upgrade, request.extensions_mut().remove(), request.version(), options)
    }

    /// As [`new`](Self::new), for a request without its body.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_parts(parts: &mut Parts, options: &Options) -> Result<Self, Error> {
        let protocol = parts.extensions.get().map(Protocol::as_str);
        let upgrade = http::Upgrade::from_parts(parts, protocol, options)?;
        Self::join(upgrade, parts.extensions.remove(), parts.version, options)
    }

    fn join(
        upgrade: http::Upgrade,
        stream: Option<OnUpgrade>,
        version: Version,
        options: &Options,
    ) -> Result<Self, Error> {
        let stream = stream.ok_or(Error::Unsupported(NO_UPGRADE));
        let stream = options.observer.outcome(Role::Server, stream)?;
        Ok(Self { upgrade, stream, version })
    }

    /// Other options: such as limits that go by what is asked for.
    pub fn options(mut self, options: Options) -> Self {
        self.upgrade = self.upgrade.options(options);
        self
    }

    /// The request: what to decide on.
    #[must_use]
    pub const fn request(&self) -> &Asked {
        self.upgrade.request()
    }

    /// The response to return from the handler, and the WebSocket that there is once it has been sent. Wait for that
    /// in a task of its own: it does not come before the handler returns.
    ///
    /// # Errors
    /// [`Error::Build`] if the client did not offer the subprotocol.
    pub fn accept(self, accept: Accept) -> Result<(Response<()>, Upgrading), Error> {
        let (response, opening) = self.upgrade.accept(accept)?;
        let (stream, version) = (self.stream, self.version);
        let upgrading = async move {
            let options = *opening.options();
            let upgraded = match timeout(options.handshake_timeout, stream).await {
                Ok(Ok(upgraded)) => Ok(upgraded),
                Ok(Err(error)) => Err(Error::Io(io::Error::other(error))),
                Err(_) => Err(Error::Timeout(Deadline::Handshake)),
            };
            let upgraded = options.observer.outcome(Role::Server, upgraded)?;
            Ok(opening.into_socket(Stream::new(upgraded, version)))
        };
        Ok((response, Upgrading(Box::pin(upgrading))))
    }

    /// The response that refuses the WebSocket.
    #[must_use]
    pub fn reject(self, reject: Reject) -> Response<Vec<u8>> {
        self.upgrade.reject(reject)
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.upgrade.fmt(f)
    }
}

/// The WebSocket, once hyper has sent the response: within [`Options::handshake_timeout`]. Dropped, it ends the
/// connection.
///
/// Gives [`Error::Io`] if hyper lost the connection, or [`Error::Timeout`].
#[must_use = "this is the WebSocket"]
pub struct Upgrading(Pin<Box<dyn Future<Output = Result<WebSocket<Stream>, Error>> + Send>>);

impl Future for Upgrading {
    type Output = Result<WebSocket<Stream>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Upgrading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrading").finish_non_exhaustive()
    }
}

/// The stream of an upgraded connection of HTTP/1.1, or one stream of HTTP/2.
///
/// In HTTP/2, a client that resets its stream with CANCEL looks like one that ends it; the WebSocket tells the
/// difference by the Close frame ([`Error::Lost`]). A server that drops the stream ends it, with END_STREAM.
#[derive(Debug)]
pub struct Stream {
    stream: TokioIo<Upgraded>,
    /// HTTP/2: what is written and not flushed. hyper takes two writes and then waits, be they as short as a pong.
    written: Option<BytesMut>,
}

impl Stream {
    fn new(upgraded: Upgraded, version: Version) -> Self {
        let written = (version == Version::HTTP_2).then(BytesMut::new);
        Self { stream: TokioIo::new(upgraded), written }
    }

    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(written) = &mut self.written else { return Poll::Ready(Ok(())) };
        while !written.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, written))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            written.advance(count);
        }
        // An idle connection holds no memory.
        *written = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.written.as_ref().is_some_and(|written| written.len() >= MOST_WRITTEN) {
            ready!(self.poll_written(cx))?;
        }
        match &mut self.written {
            Some(written) => {
                let count = buf.len().min(MOST_WRITTEN - written.len());
                written.extend_from_slice(&buf[..count]);
                Poll::Ready(Ok(count))
            }
            None => Pin::new(&mut self.stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.written.is_none() {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.written.is_none() && self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A service of hyper and of tower that answers every request: one for a WebSocket by accepting it as `decide` says and
/// handing it to `handle` in a task of its own, any other by refusing it.
///
/// ```
/// use taut::proto::handshake::Accept;
///
/// let service = taut::hyper::Service::new(
///     taut::Options::new(),
///     |_request| Ok(Accept::new()),
///     |socket| async move {
///         let Ok(mut socket) = socket else { return };
///         let _ = socket.send("hello").await;
///     },
/// );
/// ```
#[derive(Clone)]
pub struct Service<D, H> {
    options: Options,
    decide: D,
    handle: H,
}

impl<D, H> Service<D, H> {
    /// The service. `handle` gets the error if there was no connection any more.
    pub fn new<F>(options: Options, decide: D, handle: H) -> Self
    where
        D: Fn(&Asked) -> Result<Accept, Reject>,
        H: Fn(Result<WebSocket<Stream>, Error>) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self { options, decide, handle }
    }

    fn respond<B, F>(&self, request: &mut Request<B>) -> Response<Full<Bytes>>
    where
        D: Fn(&Asked) -> Result<Accept, Reject>,
        H: Fn(Result<WebSocket<Stream>, Error>) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let version = request.version();
        let refused = match Upgrade::new(request, &self.options) {
            Ok(upgrade) => match (self.decide)(upgrade.request()) {
                Ok(accept) => match upgrade.accept(accept) {
                    Ok((response, upgrading)) => {
                        let handle = self.handle.clone();
                        ::tokio::spawn(async move {
                            let socket = upgrading.await;
                            handle(socket).await;
                        });
                        return response.map(|()| Full::default());
                    }
                    Err(error) => refuse(&error, version),
                },
                Err(reject) => upgrade.reject(reject),
            },
            Err(error) => refuse(&error, version),
        };
        refused.map(Full::from)
    }
}

impl<B, D, H, F> tower_service::Service<Request<B>> for Service<D, H>
where
    D: Fn(&Asked) -> Result<Accept, Reject>,
    H: Fn(Result<WebSocket<Stream>, Error>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&mut request)))
    }
}

impl<B, D, H, F> ::hyper::service::Service<Request<B>> for Service<D, H>
where
    D: Fn(&Asked) -> Result<Accept, Reject>,
    H: Fn(Result<WebSocket<Stream>, Error>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&mut request)))
    }
}

impl<D, H> fmt::Debug for Service<D, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The response to a request of which no WebSocket comes: what the client did wrong with the status that belongs to
/// it, anything else with 500.
#[must_use]
pub fn refuse(error: &Error, version: Version) -> Response<Vec<u8>> {
    if let Error::Handshake(error) = error {
        return http::refuse(error, version);
    }
    let mut response = Response::new(error.to_string().into_bytes());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

const NO_UPGRADE: &str =
    "the server gives no upgrade: serve the connection with upgrades, and take the request only once";

/// How many bytes wait to be flushed: as many as a frame of HTTP/2 has by default. Two such writes wait in hyper.
const MOST_WRITTEN: usize = 16 << 10;
