//! Answers that do not open a WebSocket: those that refuse one, and those to other requests.

#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use super::super::config::Role;
use super::super::output::Output;
use super::error::{BuildError, HandshakeError};
use super::fields::{Fields, Response, Via};
use super::head::FieldLines;

/// An HTTP answer that refuses the upgrade (RFC 6455 §4.2.2): 401, 403, 404, a redirect, or any other. It
/// says `Connection: close`; 426 says which version of WebSocket is spoken, and 405 which method.
#[derive(Clone)]
pub struct Reject(Answer);

impl Reject {
    /// An answer with this status and no body.
    ///
    /// # Errors
    /// [`BuildError::Status`] unless the status is from 300 to 599 and not 304: a proxy that sees 101 or 2xx
    /// may take the connection for something else.
    pub fn new(status: u16) -> Result<Self, BuildError> {
        match status {
            // RFC 9110 §15.4.5: 304 answers from a cache, and never has a body.
            304 => Err(BuildError::Status(status)),
            300..=599 => Ok(Self(Answer { status, lines: FieldLines::default(), body: Vec::new() })),
            _ => Err(BuildError::Status(status)),
        }
    }

    /// Adds a header field, such as Location, WWW-Authenticate, or the Content-Type of the body.
    ///
    /// # Errors
    /// [`BuildError::FieldName`], [`BuildError::FieldValue`], and [`BuildError::OwnedField`] for fields that
    /// the handshake sets by itself.
    pub fn field(mut self, name: &str, value: &str) -> Result<Self, BuildError> {
        self.0.lines.push(name, value)?;
        Ok(self)
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        self
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.0.status
    }

    /// The answer to a request that broke a rule: a sentence that says which.
    pub(super) fn from_error(error: &HandshakeError) -> Option<Self> {
        let reject = Self::new(error.status()?).ok()?;
        match error {
            // RFC 9110 §9.3.2: in the answer to HEAD "the server MUST NOT send content".
            HandshakeError::Method => Some(reject),
            _ => Some(reject.field("Content-Type", "text/plain").ok()?.body(error.to_string() + "\n")),
        }
    }

    /// The answer to a request that came that way and broke a rule: a sentence that says which. `None` where nobody
    /// waits for an answer ([`HandshakeError::status`]).
    #[must_use]
    pub fn answering(error: &HandshakeError, via: Via) -> Option<Self> {
        let mut reject = Self::from_error(error)?;
        // RFC 9113 §8.6: HTTP/2 has no upgrade that could be required.
        if via == Via::ExtendedConnect && reject.0.status == 426 {
            reject.0.status = 400;
            reject.0.lines.push_owned(VERSION);
        }
        Some(reject)
    }

    /// The answer for another HTTP implementation, which adds the fields that its connection needs.
    #[must_use]
    pub fn into_response(self, via: Via) -> Response {
        let Answer { status, lines, body } = self.0;
        let mut fields = Fields::default();
        match (status, via) {
            (426, Via::Upgrade) => {
                UPGRADE.iter().for_each(|(name, value)| fields.push(name, value.as_bytes()))
            }
            (405, Via::Upgrade) => fields.push("Allow", b"GET"),
            (405, Via::ExtendedConnect) => fields.push("Allow", b"CONNECT"),
            _ => {}
        }
        lines.iter().for_each(|(name, value)| fields.push(name, value.as_bytes()));
        Response { status, reason: reason(status).into(), fields, body, body_is_whole: true }
    }
}

impl fmt::Debug for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug(f, "Reject")
    }
}

/// The answer to a request that does not ask for a WebSocket, with any final status. It says `Connection: close`.
#[derive(Clone)]
pub struct Answer {
    status: u16,
    lines: FieldLines,
    body: Vec<u8>,
}

impl Answer {
    /// An answer with this status and no body.
    ///
    /// # Errors
    /// [`BuildError::AnswerStatus`] unless the status is from 200 to 599.
    pub fn new(status: u16) -> Result<Self, BuildError> {
        match status {
            200..=599 => Ok(Self { status, lines: FieldLines::default(), body: Vec::new() }),
            _ => Err(BuildError::AnswerStatus(status)),
        }
    }

    /// Adds a header field, such as the Content-Type of the body.
    ///
    /// # Errors
    /// As [`Reject::field`].
    pub fn field(mut self, name: &str, value: &str) -> Result<Self, BuildError> {
        self.lines.push(name, value)?;
        Ok(self)
    }

    /// Sets the body. It is not sent where HTTP allows none: with 204 and 304, and to HEAD.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The answer in HTTP/1.1; without its body to HEAD.
    pub(super) fn into_output(self, head_only: bool) -> Output {
        let (status, reason) = (self.status, reason(self.status));
        let mut start = format!("HTTP/1.1 {status} {reason}\r\n");
        match status {
            426 => UPGRADE.iter().for_each(|(name, value)| start += &format!("{name}: {value}\r\n")),
            // RFC 9110 §15.5.6: 405 comes with "an Allow header field".
            405 => start += "Allow: GET\r\n",
            _ => {}
        }
        start += "Connection: close\r\n";
        // RFC 9110 §8.6: a 204 has no Content-Length; that of a 304 would be another answer's.
        let has_body = !matches!(status, 204 | 304);
        if has_body {
            start += &format!("Content-Length: {}\r\n", self.body.len());
        }
        let body = if has_body && !head_only { &self.body[..] } else { &[] };
        let mut answer = start.into_bytes();
        for part in [self.lines.as_bytes(), b"\r\n", body] {
            answer.extend_from_slice(part);
        }
        Output::from_head(Role::Server, answer)
    }

    fn debug(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        f.debug_struct(name)
            .field("status", &self.status)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl From<Reject> for Answer {
    fn from(reject: Reject) -> Self {
        reject.0
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.debug(f, "Answer")
    }
}

/// RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in a 426 response". RFC 6455 §4.4: for a version
/// it does not speak "it MUST respond with a |Sec-WebSocket-Version| header field".
const UPGRADE: [(&str, &str); 3] = [("Upgrade", "websocket"), ("Connection", "Upgrade"), VERSION];

const VERSION: (&str, &str) = ("Sec-WebSocket-Version", "13");

/// The reason phrase of a status (RFC 9110 §15); none for the rarer ones, which HTTP allows.
const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "",
    }
}
