//! The error of every adapter: flat, and one arm for each thing that an application can do about it.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::fmt;
use std::io;

use crate::proto::handshake::{BuildError, HandshakeError, Response, UriError};
use crate::proto::{ProtocolError, ReasonTooLong, SendError};

/// Why an adapter could not do what it was asked. A normal close is not an error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The transport failed.
    Io(io::Error),
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
    /// Connecting and the opening handshake.
    Handshake,
    /// The closing handshake, or the end of the transport after it.
    Close,
    /// The peer, to take what waits for it: see [`Options::write_timeout`](crate::Options::write_timeout).
    Write,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the transport failed: {error}"),
            Self::Lost => f.write_str("the connection was lost: it ended without a closing handshake (1006)"),
            Self::Protocol(error) => write!(f, "the peer broke the protocol: {error}"),
            Self::Send(error) => write!(f, "the message was not sent: {error}"),
            Self::Reason(error) => error.fmt(f),
            Self::Handshake(error) => write!(f, "the opening handshake failed: {error}"),
            Self::NoRequest => f.write_str("the client went away before it sent a request"),
            Self::NoExtendedConnect => {
                f.write_str("the server takes no WebSockets over HTTP/2 (RFC 8441): connect over HTTP/1.1")
            }
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
            Self::Handshake => "the opening handshake took too long",
            Self::Close => "the closing handshake took too long (1006)",
            Self::Write => "the peer does not take what waits for it (1006)",
        })
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Protocol(error) => Some(error),
            Self::Send(error) => Some(error),
            Self::Reason(error) => Some(error),
            Self::Handshake(error) => Some(error),
            Self::Uri(error) => Some(error),
            Self::Build(error) => Some(error),
            Self::Lost
            | Self::NoRequest
            | Self::NoExtendedConnect
            | Self::Refused(_)
            | Self::Rejected(_)
            | Self::Timeout(_)
            | Self::Unsupported(_) => None,
        }
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
