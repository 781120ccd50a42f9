//! An extractor for axum, over HTTP/1.1 and HTTP/2. Its use is that of axum's own; the socket is
//! [`taut::tokio::WebSocket`](crate::tokio::WebSocket).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, response::Response, routing::any};
//! use taut::axum::{WebSocket, WebSocketUpgrade};
//!
//! // `any`, since HTTP/2 asks with CONNECT.
//! let app: Router = Router::new().route("/chat", any(handler));
//!
//! async fn handler(upgrade: WebSocketUpgrade) -> Response {
//!     upgrade.protocols(["chat"]).on_upgrade(echo)
//! }
//!
//! async fn echo(mut socket: WebSocket) {
//!     while let Ok(Some(message)) = socket.recv().await {
//!         if message.is_data() && socket.send(message).await.is_err() {
//!             break;
//!         }
//!     }
//! }
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let uri = format!("ws://{}/chat", listener.local_addr()?);
//! tokio::spawn(async move { axum::serve(listener, app).await });
//!
//! let client = taut::tokio::Client::new().subprotocol("chat")?;
//! let mut socket = client.connect(&uri).await?;
//! assert_eq!(socket.subprotocol(), Some("chat"));
//! socket.send("hello").await?;
//! assert_eq!(socket.recv().await?, Some("hello".into()));
//! # Ok(()) }
//! ```
//!
//! For HTTP/2, enable axum's feature `http2`; its `serve` then announces extended CONNECT by itself. Check
//! [`request`](WebSocketUpgrade::request)`().origin()` if the cookies of a browser mean anything to the handler.

#![forbid(unsafe_code)]

use core::fmt;
use core::future::{Future, ready};

use ::http::Version;
use ::http::request::Parts;
use axum_core::body::Body;
use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};

use crate::error::Error;
use crate::hyper::{self, Stream, Upgrade};
use crate::options::Options;
use crate::proto::handshake::{Accept, Reject, Request};

/// A WebSocket of axum's server.
pub type WebSocket = crate::tokio::WebSocket<Stream>;

/// A valid request for a WebSocket; else the extractor rejects with the response that tells the client why not.
///
/// Its options are [`Options::new`], unless the router has others: `router.layer(Extension(options))`. Only with
/// those does an [observer](Options::observer) hear of requests that are rejected here.
///
/// Dropped, it leaves the request to whatever response the handler gives.
#[must_use = "the client waits for `on_upgrade`, or another response"]
pub struct WebSocketUpgrade<F = fn(Error)> {
    upgrade: Upgrade,
    version: Version,
    options: Options,
    protocol: Option<alloc::boxed::Box<str>>,
    failed: F,
}

impl<F> WebSocketUpgrade<F> {
    /// Limits, deadlines and compression: all that the methods below set, and more.
    pub const fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The largest message in bytes, inflated. Default: that of [`Config`](crate::proto::Config).
    pub const fn max_message_size(mut self, bytes: usize) -> Self {
        self.options.config = self.options.config.max_message(bytes);
        self
    }

    /// The largest frame in bytes. Default: that of [`Config`](crate::proto::Config).
    pub const fn max_frame_size(mut self, bytes: usize) -> Self {
        self.options.config = self.options.config.max_frame(bytes);
        self
    }

    /// Chooses the first of these subprotocols that the client offers, if any.
    pub fn protocols<I>(mut self, protocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let request = self.upgrade.request();
        let offered = |name: &I::Item| request.subprotocols().any(|offered| offered == name.as_ref());
        self.protocol = protocols.into_iter().find(offered).map(|name| name.as_ref().into());
        self
    }

    /// The subprotocol that [`protocols`](Self::protocols) chose.
    #[must_use]
    pub fn selected_protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The subprotocols that the client offers, those it would rather have first.
    pub fn requested_protocols(&self) -> impl Iterator<Item = &str> {
        self.request().subprotocols()
    }

    /// The request: host, origin, fields.
    #[must_use]
    pub const fn request(&self) -> &Request {
        self.upgrade.request()
    }

    /// Has `failed` called if the connection is lost before it is upgraded. By default nobody is told.
    pub fn on_failed_upgrade<C>(self, failed: C) -> WebSocketUpgrade<C>
    where
        C: FnOnce(Error) + Send + 'static,
    {
        let Self { upgrade, version, options, protocol, .. } = self;
        WebSocketUpgrade { upgrade, version, options, protocol, failed }
    }

    /// Accepts: gives the response to return, and runs `callback` on the socket in a task of its own.
    #[must_use = "the response has to be returned"]
    pub fn on_upgrade<C, T>(self, callback: C) -> Response
    where
        C: FnOnce(WebSocket) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
        F: FnOnce(Error) + Send + 'static,
    {
        let Self { upgrade, version, options, protocol, failed } = self;
        let accept = protocol.iter().fold(Accept::new(), |accept, name| accept.subprotocol(name));
        match upgrade.options(options).accept(accept) {
            Ok((response, upgrading)) => {
                ::tokio::spawn(async move {
                    match upgrading.await {
                        Ok(socket) => callback(socket).await,
                        Err(error) => failed(error),
                    }
                });
                response.map(|()| Body::empty())
            }
            Err(error) => hyper::refuse(&error, version).map(Body::from),
        }
    }

    /// Refuses.
    #[must_use = "the response has to be returned"]
    pub fn reject(self, reject: Reject) -> Response {
        self.upgrade.options(self.options).reject(reject).map(Body::from)
    }
}

impl<F> fmt::Debug for WebSocketUpgrade<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("upgrade", &self.upgrade)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

impl<S: Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = Rejection;

    fn from_request_parts(parts: &mut Parts, _: &S) -> impl Future<Output = Result<Self, Rejection>> + Send {
        let version = parts.version;
        let options = parts.extensions.get::<Options>().copied().unwrap_or_else(Options::new);
        ready(match Upgrade::from_parts(parts, &options) {
            Ok(upgrade) => Ok(Self { upgrade, version, options, protocol: None, failed: drop as fn(Error) }),
            Err(error) => Err(Rejection { error, version }),
        })
    }
}

/// Why a request is none for a WebSocket; as a response, it tells the client.
#[derive(Debug)]
pub struct Rejection {
    error: Error,
    version: Version,
}

impl Rejection {
    /// Why.
    #[must_use]
    pub const fn error(&self) -> &Error {
        &self.error
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        hyper::refuse(&self.error, self.version).map(Body::from)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl core::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.error.source()
    }
}
