//! The server's side of an opening handshake whose heads another HTTP implementation reads and writes.

#![forbid(unsafe_code)]

use super::super::agreement::Agreement;
use super::check::Asked;
use super::error::{BuildError, HandshakeError};
use super::fields::{Fields, Request, Response, Via};
use super::key::accept_key;
use super::server::{Accept, Settled, settle};

/// A valid request for a WebSocket that another HTTP implementation has parsed, checked by the rules that
/// [`ServerHandshake`](super::ServerHandshake) has.
#[derive(Clone, Debug)]
pub struct Parsed {
    request: Request,
    via: Via,
}

impl Parsed {
    /// Checks the request. That it is of the HTTP version that belongs to `via`, and the `:protocol` of an extended
    /// CONNECT, is for the caller to see ([`HandshakeError::HttpVersion`], [`HandshakeError::Protocol`]).
    ///
    /// # Errors
    /// A [`HandshakeError`] if the request breaks a rule; [`Reject::answering`](super::Reject::answering) makes the
    /// answer of it.
    pub fn check(request: Request, via: Via) -> Result<Self, HandshakeError> {
        let asked = Asked::by(request.fields());
        match via {
            Via::Upgrade => {
                if request.method() != "GET" {
                    return Err(HandshakeError::Method);
                }
                asked.check_upgrade(&request)?;
            }
            Via::ExtendedConnect => {
                if request.method() != "CONNECT" {
                    return Err(HandshakeError::Method);
                }
                // The frames would be its content.
                if asked.length {
                    return Err(HandshakeError::Body);
                }
                asked.check_host(&request)?;
                // RFC 8441 §4: ":scheme" and ":path" of the target "MUST be included"; §5: the scheme is https or http.
                if !["http://", "https://"].iter().any(|scheme| request.target().starts_with(scheme)) {
                    return Err(HandshakeError::Target);
                }
                // RFC 9113 §8.2.2: "a message containing connection-specific header fields MUST be treated as
                // malformed".
                if asked.upgrade.there {
                    return Err(HandshakeError::Upgrade);
                }
                if asked.connection.there {
                    return Err(HandshakeError::Connection);
                }
                asked.check_version()?;
                asked.check_offers(request.fields())?;
            }
        }
        Ok(Self { request, via })
    }

    /// The request: what to decide on.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// How it asks.
    #[must_use]
    pub const fn via(&self) -> Via {
        self.via
    }

    /// The answer that opens the WebSocket, and what is agreed on with it, for
    /// [`Connection::with_agreement`](super::super::Connection::with_agreement).
    ///
    /// # Errors
    /// [`BuildError::SubprotocolNotOffered`].
    pub fn accept(&self, accept: &Accept) -> Result<(Response, Agreement), BuildError> {
        let Settled { agreement, extensions } = settle(&self.request, accept)?;
        let mut fields = Fields::default();
        let (status, reason) = match self.via {
            Via::Upgrade => {
                let key = self.request.fields().get("Sec-WebSocket-Key").unwrap_or_default();
                fields.push("Upgrade", b"websocket");
                fields.push("Connection", b"Upgrade");
                fields.push("Sec-WebSocket-Accept", &accept_key(key));
                (101, "Switching Protocols")
            }
            // RFC 8441 §5: no "101 response and the Sec-WebSocket-Accept header field", but "a 2xx".
            Via::ExtendedConnect => (200, "OK"),
        };
        if let Some(chosen) = agreement.subprotocol() {
            fields.push("Sec-WebSocket-Protocol", chosen.as_bytes());
        }
        if let Some(answer) = extensions {
            fields.push("Sec-WebSocket-Extensions", answer.as_bytes());
        }
        accept.lines.iter().for_each(|(name, value)| fields.push(name, value.as_bytes()));
        Ok((Response::without_body(status, reason, fields), agreement))
    }
}
