//! The error of every adapter: flat, and one arm for each thing that an application can do about it.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::fmt;
use std::io;

use crate::network_error::{ConnectError, ProxyError, ProxyHeaderError, RedirectError, TlsError, TlsProblem};
use crate::proto::handshake::{BuildError, HandshakeError, Response, UriError};
use crate::proto::{ProtocolError, ReasonTooLong, SendError, SendErrorKind};

/// Why an adapter could not do what it was asked. A normal close is not an error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The transport failed.
    Io(io::Error),
    /// The server, or the proxy before it, could not be reached.
    Connect(ConnectError),
    /// The proxy did not let us through.
    Proxy(ProxyError),
    /// There is no TLS with the server, or with the client.
    Tls(TlsError),
    /// A trusted proxy did not tell its client's address.
    ProxyHeader(ProxyHeaderError),
    /// A redirect that may not be followed.
    Redirect(RedirectError),
    /// The transport ended without a closing handshake (1006).
    Lost,
    /// The peer broke the protocol, or a limit; it was told so.
    Protocol(ProtocolError),
    /// A message was not taken; it is in the error, unless it was a borrowed one.
    Send(SendError),
    /// The reason for closing is too long; nothing was sent.
    Reason(ReasonTooLong),
    /// The opening handshake of the peer is not one; a client was told so.
    Handshake(HandshakeError),
    /// The client went away before its first byte, as health checks and browsers that open connections ahead do.
    NoRequest,
    /// The server takes no WebSockets over HTTP/2: its settings do not have SETTINGS_ENABLE_CONNECT_PROTOCOL
    /// (RFC 8441 §3).
    NoExtendedConnect,
    /// The server does not choose HTTP/2 where TLS offers it alone (ALPN, RFC 7301).
    NoHttp2,
    /// The server answered the handshake with something else than an upgrade: here is its answer.
    Refused(Box<Response>),
    /// This server refused a handshake with the HTTP status.
    Rejected(u16),
    /// The URI is not one of a WebSocket.
    Uri(UriError),
    /// A value given for a handshake cannot stand in it; nothing was sent.
    Build(BuildError),
    /// A deadline passed.
    Timeout(Deadline),
    /// The feature that this needs is not compiled in.
    Unsupported(&'static str),
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Deadline {
    /// Finding the server's address and connecting to it, or to the proxy.
    Connect,
    /// The proxy, to let us through.
    Proxy,
    /// The handshake of TLS.
    Tls,
    /// A trusted proxy, to tell its client's address.
    ProxyHeader,
    /// The opening handshake.
    Handshake,
    /// The closing handshake, or the end of the transport after it.
    Close,
    /// The peer, to take what waits for it: see [`Options::write_timeout`](crate::Options::write_timeout).
    Write,
    /// The peer, to answer a ping: see [`Options::ping_interval`](crate::Options::ping_interval).
    Pong,
    /// The peer, to send a message: see [`Options::idle_timeout`](crate::Options::idle_timeout).
    Idle,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the transport failed: {error}"),
            Self::Connect(error) => error.fmt(f),
            Self::Proxy(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::ProxyHeader(error) => error.fmt(f),
            Self::Redirect(error) => error.fmt(f),
            Self::Lost => f.write_str("the connection was lost: it ended without a closing handshake (1006)"),
            Self::Protocol(error) => write!(f, "the peer broke the protocol: {error}"),
            Self::Send(error) => write!(f, "the message was not sent: {error}"),
            Self::Reason(error) => error.fmt(f),
            Self::Handshake(error) => write!(f, "the opening handshake failed: {error}"),
            Self::NoRequest => f.write_str("the client went away before it sent a request"),
            Self::NoExtendedConnect => {
                f.write_str("the server takes no WebSockets over HTTP/2 (RFC 8441): connect over HTTP/1.1")
            }
            Self::NoHttp2 => f.write_str("the server does not speak HTTP/2: connect over HTTP/1.1"),
            Self::Refused(response) => {
                write!(f, "the server refused: {} {}", response.status(), response.reason())
            }
            Self::Rejected(status) => write!(f, "the handshake was rejected with status {status}"),
            Self::Uri(error) => write!(f, "not the URI of a WebSocket: {error}"),
            Self::Build(error) => write!(f, "the handshake cannot be made: {error}"),
            Self::Timeout(deadline) => deadline.fmt(f),
            Self::Unsupported(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the server, or its proxy, could not be reached in time",
            Self::Proxy => "the proxy took too long to let us through",
            Self::Tls => "the handshake of TLS took too long",
            Self::ProxyHeader => "the proxy took too long to tell its client's address by the PROXY protocol",
            Self::Handshake => "the opening handshake took too long",
            Self::Close => "the closing handshake took too long (1006)",
            Self::Write => "the peer does not take what waits for it (1006)",
            Self::Pong => "the peer gives no sign of life: no answer came to a ping (1006)",
            Self::Idle => "the peer sent no message for as long as it may be idle (1006)",
        })
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Connect(error) => Some(error),
            Self::Proxy(error) => Some(error),
            Self::Tls(error) => Some(error),
            Self::ProxyHeader(error) => Some(error),
            Self::Redirect(error) => Some(error),
            Self::Protocol(error) => Some(error),
            Self::Send(error) => Some(error),
            Self::Reason(error) => Some(error),
            Self::Handshake(error) => Some(error),
            Self::Uri(error) => Some(error),
            Self::Build(error) => Some(error),
            Self::Lost
            | Self::NoRequest
            | Self::NoExtendedConnect
            | Self::NoHttp2
            | Self::Refused(_)
            | Self::Rejected(_)
            | Self::Timeout(_)
            | Self::Unsupported(_) => None,
        }
    }
}

/// What an application does about an [`Error`], in few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The program asked for what cannot be: a wrong URI, field, setting, or a feature that is not compiled in.
    Usage,
    /// The server or the proxy cannot be reached.
    Unreachable,
    /// The proxy refused.
    Proxy,
    /// There is no TLS with the server, or with the client.
    Tls,
    /// The handshake was refused with an HTTP answer: the server's, or ours.
    Refused,
    /// A deadline passed.
    Timeout,
    /// The peer broke a rule, or a limit.
    Peer,
    /// A message was not taken.
    Send,
    /// The connection broke.
    Lost,
}

#[cfg(any(feature = "tokio", feature = "futures-io"))]
impl Error {
    /// How a connection ended: by what the peer did wrong, in order if both sent their Close, else by what broke it.
    pub(crate) fn at_end(
        failure: Option<ProtocolError>,
        clean: bool,
        error: Option<Self>,
        write_error: Option<io::ErrorKind>,
    ) -> Result<(), Self> {
        match (failure, clean) {
            (Some(failure), _) => Err(Self::Protocol(failure)),
            // After both Closes it does not matter how the transport ends.
            (None, true) => Ok(()),
            (None, false) => Err(match (error, write_error) {
                // Why there was no end in time, where that is known.
                (None | Some(Self::Timeout(_)), Some(kind)) => Self::Io(kind.into()),
                (Some(error), _) => error,
                (None, None) => Self::Lost,
            }),
        }
    }
}

impl Error {
    /// What this is about: each variant belongs to one kind.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Uri(_) | Self::Build(_) | Self::Reason(_) | Self::Unsupported(_) => ErrorKind::Usage,
            Self::Connect(_) => ErrorKind::Unreachable,
            Self::Proxy(_) => ErrorKind::Proxy,
            Self::Tls(_) => ErrorKind::Tls,
            Self::Refused(_)
            | Self::Rejected(_)
            | Self::Redirect(_)
            | Self::NoExtendedConnect
            | Self::NoHttp2 => ErrorKind::Refused,
            Self::Timeout(_) => ErrorKind::Timeout,
            Self::Protocol(_) | Self::Handshake(_) | Self::ProxyHeader(_) => ErrorKind::Peer,
            Self::Send(_) => ErrorKind::Send,
            Self::Io(_) | Self::Lost | Self::NoRequest => ErrorKind::Lost,
        }
    }

    /// Whether the same call, or a new connection, may succeed later without a change of anything here. After a
    /// pause that grows, and is not the same for all clients.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io(_) | Self::Lost | Self::Connect(_) | Self::Timeout(_) => true,
            // RFC 9110 §15.5.9, §15.6; RFC 8470 §5.2; RFC 6585 §4: what is only for the time being.
            Self::Refused(answer) => matches!(answer.status(), 408 | 425 | 429 | 500 | 502 | 503 | 504),
            Self::Handshake(error) => matches!(error, HandshakeError::UnexpectedEof { .. }),
            Self::Proxy(error) => {
                matches!(
                    error,
                    ProxyError::Status(500 | 502..=504) | ProxyError::Reply(1 | 3..=6) | ProxyError::Ended
                )
            }
            Self::Tls(error) => error.problem() == TlsProblem::Ended,
            Self::Send(error) => error.kind() == SendErrorKind::Full,
            Self::Protocol(_)
            | Self::ProxyHeader(_)
            | Self::NoRequest
            | Self::NoExtendedConnect
            | Self::NoHttp2
            | Self::Reason(_)
            | Self::Rejected(_)
            | Self::Redirect(_)
            | Self::Uri(_)
            | Self::Build(_)
            | Self::Unsupported(_) => false,
        }
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl From<ProxyError> for Error {
    fn from(error: ProxyError) -> Self {
        Self::Proxy(error)
    }
}

impl From<ProxyHeaderError> for Error {
    fn from(error: ProxyHeaderError) -> Self {
        Self::ProxyHeader(error)
    }
}

impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<RedirectError> for Error {
    fn from(error: RedirectError) -> Self {
        Self::Redirect(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl From<ReasonTooLong> for Error {
    fn from(error: ReasonTooLong) -> Self {
        Self::Reason(error)
    }
}

impl From<HandshakeError> for Error {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Refused(response) => Self::Refused(response),
            error => Self::Handshake(error),
        }
    }
}

impl From<UriError> for Error {
    fn from(error: UriError) -> Self {
        Self::Uri(error)
    }
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}
