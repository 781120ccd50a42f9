//! WebSockets on requests that an HTTP library has parsed, in the types of the crate `http`.
//!
//! Check the request, send the response, and join what is left of the connection with what was agreed on:
//!
//! ```
//! use taut::Options;
//! use taut::http::Upgrade;
//! use taut::proto::handshake::Accept;
//!
//! # let request = http::Request::get("/chat")
//! #     .header("host", "example.com").header("upgrade", "websocket").header("connection", "upgrade")
//! #     .header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
//! #     .body(()).unwrap();
//! # let stream = tokio::io::empty();
//! let upgrade = Upgrade::new(&request, None, &Options::new())?;
//! let (response, opening) = upgrade.accept(Accept::new())?;
//! assert_eq!(response.status(), 101);
//! // … once the response is written:
//! let socket = opening.into_socket(stream);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In HTTP/2 and HTTP/3 the request is an extended CONNECT (RFC 8441, RFC 9220), and the stream is that of the request.
//! [`hyper`](crate::hyper) and [`axum`](crate::axum) do all this for their servers.

#![forbid(unsafe_code)]

use ::http::header::{HeaderName, HeaderValue};
use ::http::request::Parts;
use ::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use ::tokio::io::{AsyncRead, AsyncWrite};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::error::Error;
use crate::options::Options;
use crate::proto::handshake::{
    self, Accept, BuildError, Fields, HandshakeError, Parsed, Reject, Request as Asked, Via,
};
use crate::proto::{Agreement, Connection, Role};
use crate::tokio::WebSocket;

/// A valid request for a WebSocket. It follows the rules that [`accept`](crate::tokio::accept) has for its own.
#[derive(Clone, Debug)]
#[must_use = "the client waits for `accept` or `reject`"]
pub struct Upgrade {
    parsed: Parsed,
    options: Options,
}

impl Upgrade {
    /// Checks a request. `protocol` is the `:protocol` of an extended CONNECT, which HTTP libraries hand over each in
    /// their own way; HTTP/1.1 has none. The options are those of the WebSocket; their
    /// [observer](Options::observer) hears of a request that breaks a rule, and of one that is rejected.
    ///
    /// # Errors
    /// A [`HandshakeError`] if the request breaks a rule; [`refuse`] makes the response of it.
    pub fn new<B>(
        request: &Request<B>,
        protocol: Option<&str>,
        options: &Options,
    ) -> Result<Self, HandshakeError> {
        let parsed = check(request.method(), request.uri(), request.version(), request.headers(), protocol);
        Self::checked(parsed, options)
    }

    /// As [`new`](Self::new), for a request without its body.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_parts(
        parts: &Parts,
        protocol: Option<&str>,
        options: &Options,
    ) -> Result<Self, HandshakeError> {
        Self::checked(check(&parts.method, &parts.uri, parts.version, &parts.headers, protocol), options)
    }

    fn checked(parsed: Result<Parsed, HandshakeError>, options: &Options) -> Result<Self, HandshakeError> {
        match parsed {
            Ok(parsed) => Ok(Self { parsed, options: *options }),
            Err(error) => {
                options.observer.refused(Role::Server, &error.clone().into());
                Err(error)
            }
        }
    }

    /// Other options: such as limits that go by what is asked for.
    pub const fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The request: what to decide on.
    #[must_use]
    pub const fn request(&self) -> &Asked {
        self.parsed.request()
    }

    /// The response that opens the WebSocket (101; in HTTP/2 and later 200), and what comes after it.
    ///
    /// # Errors
    /// [`BuildError::SubprotocolNotOffered`].
    pub fn accept(&self, accept: Accept) -> Result<(Response<()>, Opening), BuildError> {
        match self.parsed.accept(&self.options.agree(accept)) {
            Ok((answer, agreement)) => {
                Ok((response(&answer).map(|_| ()), Opening { agreement, options: self.options }))
            }
            Err(error) => {
                self.options.observer.refused(Role::Server, &error.clone().into());
                Err(error)
            }
        }
    }

    /// The response that refuses the WebSocket.
    #[must_use]
    pub fn reject(&self, reject: Reject) -> Response<Vec<u8>> {
        self.options.observer.refused(Role::Server, &Error::Rejected(reject.status()));
        response(&reject.into_response(self.parsed.via()))
    }
}

/// An opening handshake of which only the response is to be written.
#[derive(Clone, Debug)]
#[must_use = "this becomes the WebSocket"]
pub struct Opening {
    agreement: Agreement,
    options: Options,
}

impl Opening {
    /// Joins it with the stream that the connection has become.
    #[must_use]
    pub fn into_socket<S>(self, stream: S) -> WebSocket<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.into_socket_with(stream, &[])
    }

    /// As [`into_socket`](Self::into_socket), with bytes that the HTTP library has read too far.
    #[must_use]
    pub fn into_socket_with<S>(self, stream: S, read: &[u8]) -> WebSocket<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut connection = Connection::server(self.options.config).with_agreement(self.agreement);
        connection.feed(read);
        WebSocket::new(stream, connection, &self.options)
    }

    /// What is agreed on.
    #[must_use]
    pub const fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    #[cfg(feature = "hyper")]
    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }
}

/// The response to a request that broke a rule: a status, and a sentence that says which.
#[must_use]
pub fn refuse(error: &HandshakeError, version: Version) -> Response<Vec<u8>> {
    match Reject::answering(error, via(version)) {
        Some(reject) => response(&reject.into_response(via(version))),
        None => {
            let mut response = Response::new(error.to_string().into_bytes());
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        }
    }
}

const fn via(version: Version) -> Via {
    match version {
        Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11 => Via::Upgrade,
        _ => Via::ExtendedConnect,
    }
}

fn check(
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
    protocol: Option<&str>,
) -> Result<Parsed, HandshakeError> {
    let via = via(version);
    let mut fields: Fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let mut target = uri.to_string();
    match via {
        Via::ExtendedConnect => {
            // RFC 8441 §4: without `:protocol` this asks for a tunnel to `:authority`, which nobody gets here.
            if method == Method::CONNECT && protocol != Some("websocket") {
                return Err(HandshakeError::Protocol);
            }
            // RFC 8441 §5: `:authority` is what Host says in HTTP/1.1; a Host beside it has to say the same.
            if fields.get("Host").is_none()
                && let Some(authority) = uri.authority()
            {
                let host = [("host", authority.as_str().as_bytes())];
                fields = fields.iter().chain(host).collect();
            }
        }
        _ if method == Method::GET && version != Version::HTTP_11 => return Err(HandshakeError::HttpVersion),
        // A server may have moved the host into the URI, or left it out of a target in origin form.
        _ if uri.authority().is_none() => {
            target = uri.path_and_query().map_or_else(String::new, ToString::to_string);
        }
        _ => {}
    }
    let request = Asked::new(method.as_str(), &target, fields);
    Parsed::check(request, via)
}

/// The same in the types of the crate `http`. All of it was checked, save what it may not hold.
fn response(answer: &handshake::Response) -> Response<Vec<u8>> {
    let mut response = Response::new(answer.body().to_vec());
    *response.status_mut() =
        StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.fields().iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
