//! Errors of the opening handshake by blame: [`HandshakeError`] is the peer's, [`BuildError`] the caller's.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::fmt;

use super::fields::Response;
use super::uri::UriError;

/// Why an opening handshake failed. One variant for each rule that the peer broke.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    // Of any head.
    /// The transport ended before the head did.
    UnexpectedEof {
        /// How many bytes had come; none if the peer just went away.
        received: usize,
    },
    /// A control byte, or CR or LF outside a CR LF (RFC 9112 §2.2). TLS and other protocols end here.
    ForbiddenByte {
        /// The byte.
        byte: u8,
        /// Where in the head it stands, in bytes.
        at: usize,
    },
    /// A head that is not HTTP/1.1; which part of it.
    Malformed(&'static str),
    /// A head over [`HandshakeLimits::max_head`](super::super::HandshakeLimits::max_head).
    HeadTooLong {
        /// The limit in bytes.
        max: usize,
    },
    /// More fields than [`HandshakeLimits::max_fields`](super::super::HandshakeLimits::max_fields).
    TooManyFields {
        /// The limit in fields.
        max: usize,
    },
    /// RFC 6455 §4.1, §4.2.1: HTTP in a version other than 1.1.
    HttpVersion,
    /// RFC 6455 §4.1, §4.2.1: a field without which there is no handshake.
    MissingField(&'static str),
    /// RFC 6455 §11.3: a field that may stand in a head once.
    RepeatedField(&'static str),
    /// RFC 6455 §4.1, §4.2.1: no Upgrade field names `websocket`. A request for a web page looks like this.
    Upgrade,
    /// RFC 6455 §4.1, §4.2.1: no Connection field has the token `Upgrade`.
    Connection,
    /// RFC 6455 §9.1: Sec-WebSocket-Extensions outside its grammar.
    Extensions {
        /// Where in the value, in bytes.
        at: usize,
    },

    // Of a request.
    /// RFC 6455 §4.2.1: a method other than GET; in HTTP/2, other than CONNECT.
    Method,
    /// RFC 8441 §4: a CONNECT without `:protocol`, which asks for a tunnel, or with another one than `websocket`.
    Protocol,
    /// A request with a body, which could hide a second request from a proxy.
    Body,
    /// RFC 6455 §4.2.1: a request target that is neither a path nor an `http` URI on the host of the Host field.
    Target,
    /// RFC 6455 §4.2.1: a Host field that names no host.
    Host,
    /// RFC 6455 §4.2.1: an Origin field with characters that no origin has.
    Origin,
    /// RFC 6455 §4.2.1: a Sec-WebSocket-Version other than 13.
    Version,
    /// RFC 6455 §4.2.1: a Sec-WebSocket-Key that does not stand for 16 bytes.
    Key,
    /// RFC 6455 §4.1: offered subprotocols that are not tokens, or not all different.
    Subprotocols,

    // Of a response.
    /// RFC 6455 §4.1: a status other than 101. Here is the whole answer, which may redirect, ask for
    /// credentials, or say why.
    Refused(Box<Response>),
    /// RFC 6455 §4.1: a Sec-WebSocket-Accept that does not fit our key: a cache answered, or no WebSocket server.
    Accept,
    /// RFC 6455 §4.1: an extension that was not offered.
    ExtensionNotOffered,
    /// RFC 7692 §5.1: parameters of permessage-deflate that fit no offer, or that come twice.
    DeflateAnswer,
    /// RFC 6455 §4.1: a subprotocol that was not offered.
    SubprotocolNotOffered,
    /// No subprotocol, though some were offered and one is required: the RFC allows that, browsers do not.
    SubprotocolMissing,

    // Of the caller.
    /// The handshake was polled after its result had been taken.
    Finished,
}

impl HandshakeError {
    /// The status with which a server answers. The one place where errors become HTTP; `None` where nobody
    /// waits for an answer: at the end of the transport, and for what only clients find.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::ForbiddenByte { .. }
            | Self::Malformed(_)
            | Self::HttpVersion
            | Self::MissingField(_)
            | Self::RepeatedField(_)
            | Self::Connection
            | Self::Extensions { .. }
            | Self::Body
            | Self::Target
            | Self::Host
            | Self::Origin
            | Self::Key
            | Self::Subprotocols => Some(400),
            Self::Method => Some(405),
            // RFC 9220 §3 says so of HTTP/3, where RFC 8441 is silent.
            Self::Protocol => Some(501),
            // RFC 6455 §4.2.2: for another version, "an appropriate HTTP error code (such as 426 Upgrade
            // Required)". RFC 9110 §15.5.22 has 426 for a request that would do after an upgrade.
            Self::Upgrade | Self::Version => Some(426),
            // RFC 6585 §5.
            Self::HeadTooLong { .. } | Self::TooManyFields { .. } => Some(431),
            Self::UnexpectedEof { .. }
            | Self::Refused(_)
            | Self::Accept
            | Self::ExtensionNotOffered
            | Self::DeflateAnswer
            | Self::SubprotocolNotOffered
            | Self::SubprotocolMissing
            | Self::Finished => None,
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnexpectedEof { received } => {
                return write!(f, "connection ended in the opening handshake, after {received} bytes");
            }
            Self::ForbiddenByte { byte, at } => {
                return write!(f, "byte {byte:#04x} at {at} may not stand in an HTTP head: is this HTTP?");
            }
            Self::Malformed(part) => return write!(f, "head is not HTTP/1.1: {part}"),
            Self::HeadTooLong { max } => {
                return write!(f, "head is too long (limit {max} bytes): send fewer or smaller fields");
            }
            Self::TooManyFields { max } => return write!(f, "head has too many fields (limit {max})"),
            Self::MissingField(name) => return write!(f, "field {name} is missing"),
            Self::RepeatedField(name) => return write!(f, "field {name} may stand there only once"),
            Self::Extensions { at } => {
                return write!(
                    f,
                    "Sec-WebSocket-Extensions is outside its grammar at byte {at} of its value"
                );
            }
            Self::Refused(response) => {
                let (status, reason) = (response.status(), response.reason());
                let space = if reason.is_empty() { "" } else { " " };
                return write!(f, "server refused the upgrade: {status}{space}{reason}");
            }
            Self::HttpVersion => "HTTP version is not 1.1, which WebSocket needs",
            Self::Upgrade => "field Upgrade does not name websocket: this is for WebSocket only",
            Self::Connection => "field Connection does not have the token Upgrade",
            Self::Method => "method is not GET (in HTTP/2, CONNECT), which WebSocket needs",
            Self::Protocol => ":protocol of the CONNECT is not websocket: there is nothing else here",
            Self::Body => "request has a body: send it without Content-Length and Transfer-Encoding",
            Self::Target => "request target is neither a path nor an http URI on the host of the Host field",
            Self::Host => "field Host is not a host with or without a port",
            Self::Origin => "field Origin has characters that no origin has",
            Self::Version => "field Sec-WebSocket-Version is not 13, the one version spoken here",
            Self::Key => "field Sec-WebSocket-Key is not base64 of 16 bytes",
            Self::Subprotocols => "elements of Sec-WebSocket-Protocol are not tokens, or not all different",
            Self::Accept => "field Sec-WebSocket-Accept does not fit the key: this is no WebSocket server",
            Self::ExtensionNotOffered => "server chose an extension that was not offered",
            Self::DeflateAnswer => {
                "server agreed to permessage-deflate under parameters that do not fit the offer"
            }
            Self::SubprotocolNotOffered => "server chose a subprotocol that was not offered",
            Self::SubprotocolMissing => "server chose none of the subprotocols that were offered",
            Self::Finished => "the opening handshake is over, its result was taken",
        })
    }
}

impl core::error::Error for HandshakeError {}

/// What the caller wants to send may not stand in a head. Found before any byte leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// Not a host with or without a port.
    Host(UriError),
    /// Not a path with or without a query.
    Resource(UriError),
    /// A field name that is no token (RFC 9110 §5.1).
    FieldName(Box<str>),
    /// A field that the handshake sets by itself (Upgrade, Connection, Sec-WebSocket-*, Host), or that
    /// announces a body (Content-Length, Transfer-Encoding).
    OwnedField(Box<str>),
    /// A field value with a control character: a line break could begin a field of its own.
    FieldValue {
        /// The field's name.
        name: Box<str>,
        /// Where in the value, in bytes.
        at: usize,
    },
    /// A subprotocol that is no token (RFC 6455 §4.1).
    Subprotocol(Box<str>),
    /// RFC 6455 §4.1: subprotocols "MUST all be unique strings".
    RepeatedSubprotocol(Box<str>),
    /// RFC 6455 §4.2.2: a chosen subprotocol that the client did not offer.
    SubprotocolNotOffered(Box<str>),
    /// A status that does not refuse, or that has no body: 300 to 599 do, save 304.
    Status(u16),
    /// A status that is not final, or none of HTTP: 200 to 599 are.
    AnswerStatus(u16),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(error) => write!(f, "host of the request: {error}"),
            Self::Resource(error) => write!(f, "target of the request: {error}"),
            Self::FieldName(name) => write!(f, "field name {name:?} is no token"),
            Self::OwnedField(name) => write!(f, "field {name} belongs to the handshake: leave it out"),
            Self::FieldValue { name, at } => {
                write!(f, "value of field {name} has a control character at byte {at}: take it out")
            }
            Self::Subprotocol(name) => write!(f, "subprotocol {name:?} is no token"),
            Self::RepeatedSubprotocol(name) => write!(f, "subprotocol {name} is offered twice"),
            Self::SubprotocolNotOffered(name) => {
                write!(f, "subprotocol {name:?} was not offered by the client: choose one that was, or none")
            }
            Self::Status(status) => {
                write!(f, "status {status} does not refuse with a body: take one from 300 to 599, not 304")
            }
            Self::AnswerStatus(status) => write!(f, "status {status} is not final: take one from 200 to 599"),
        }
    }
}

impl core::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Host(error) | Self::Resource(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::proto::handshake::fields::Fields;

    #[test]
    fn each_error_has_its_status_and_its_sentence() {
        use HandshakeError::*;
        let response = Response {
            status: 403,
            reason: "Forbidden".into(),
            fields: Fields::default(),
            body: [].into(),
            body_is_whole: true,
        };
        for (error, status, part) in [
            (UnexpectedEof { received: 7 }, None, "7 bytes"),
            (ForbiddenByte { byte: 10, at: 3 }, Some(400), "0x0a at 3"),
            (Malformed("field name"), Some(400), "field name"),
            (HeadTooLong { max: 9 }, Some(431), "limit 9 bytes"),
            (TooManyFields { max: 9 }, Some(431), "limit 9"),
            (HttpVersion, Some(400), "1.1"),
            (MissingField("Host"), Some(400), "Host is missing"),
            (RepeatedField("Host"), Some(400), "Host may"),
            (Upgrade, Some(426), "Upgrade"),
            (Connection, Some(400), "Connection"),
            (Extensions { at: 5 }, Some(400), "byte 5"),
            (Method, Some(405), "GET"),
            (Protocol, Some(501), ":protocol"),
            (Body, Some(400), "Content-Length"),
            (Target, Some(400), "target"),
            (Host, Some(400), "Host"),
            (Origin, Some(400), "Origin"),
            (Version, Some(426), "13"),
            (Key, Some(400), "16 bytes"),
            (Subprotocols, Some(400), "Sec-WebSocket-Protocol"),
            (Refused(response.into()), None, "403 Forbidden"),
            (Accept, None, "Sec-WebSocket-Accept"),
            (ExtensionNotOffered, None, "extension"),
            (DeflateAnswer, None, "permessage-deflate"),
            (SubprotocolNotOffered, None, "subprotocol"),
            (SubprotocolMissing, None, "none of the subprotocols"),
            (Finished, None, "over"),
        ] {
            assert_eq!(error.status(), status, "{error:?}");
            assert!(error.to_string().contains(part), "{error}");
            assert!(!error.to_string().contains(['\r', '\n']), "{error}");
        }
    }

    #[test]
    fn what_the_caller_gave_is_escaped() {
        let error = BuildError::FieldName("a\r\nb".into());
        assert_eq!(error.to_string(), "field name \"a\\r\\nb\" is no token");
        let error = BuildError::Host(UriError::Port);
        assert!(core::error::Error::source(&error).is_some());
    }
}
