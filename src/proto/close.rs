//! The closing handshake: codes, frames, and who closes when (RFC 6455 §7).

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::fmt;

use super::config::Role;
use super::utf8::Utf8Bytes;

/// A status code that may stand in a Close frame (RFC 6455 §7.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server goes down, or the page was left.
    pub const AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1003: a kind of data that this end does not take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: data that does not fit its type, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a message that breaks this end's policy.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message too big to take.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the client needed an extension that the server did not agree to.
    pub const EXTENSION: Self = Self(1010);
    /// 1011: the server met a condition it did not expect.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts (IANA registry).
    pub const RESTART: Self = Self(1012);
    /// 1013: try again later (IANA registry).
    pub const TRY_AGAIN: Self = Self(1013);
    /// 1014: a gateway got an invalid answer from upstream (IANA registry).
    pub const BAD_GATEWAY: Self = Self(1014);

    /// The code of that number, if it may be on the wire: 1000 to 1003, 1007 to 1014, 3000 to 4999.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            // RFC 6455 §7.4.1: 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close control
            // frame by an endpoint"; 1004 is reserved. §7.4.2: 0-999 are not used, 1000-2999 are the
            // protocol's, 3000-3999 registered, 4000-4999 private.
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

/// The body of a Close frame that has one (RFC 6455 §5.5.1).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CloseFrame(Box<Body>);

/// On the heap: it comes once, and would make every message larger.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Body {
    code: CloseCode,
    reason: Utf8Bytes,
}

impl CloseFrame {
    /// The longest reason in bytes: a control frame holds 125 (RFC 6455 §5.5), the code takes 2.
    pub const MAX_REASON: usize = 123;

    /// A body with this code and reason; the reason may be empty.
    ///
    /// # Errors
    /// [`ReasonTooLong`] if the reason has more than [`MAX_REASON`](Self::MAX_REASON) bytes.
    pub fn new(code: CloseCode, reason: impl Into<Utf8Bytes>) -> Result<Self, ReasonTooLong> {
        let reason = reason.into();
        if reason.len() > Self::MAX_REASON {
            return Err(ReasonTooLong { len: reason.len() });
        }
        Ok(Self(Box::new(Body { code, reason })))
    }

    /// Why the sender closes, as a number.
    #[must_use]
    pub const fn code(&self) -> CloseCode {
        self.0.code
    }

    /// Why the sender closes, as a text that need not be for people.
    #[must_use]
    pub const fn reason(&self) -> &Utf8Bytes {
        &self.0.reason
    }
}

impl From<CloseCode> for CloseFrame {
    fn from(code: CloseCode) -> Self {
        Self(Box::new(Body { code, reason: Utf8Bytes::new() }))
    }
}

impl fmt::Debug for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Body { code, reason } = &*self.0;
        f.debug_struct("CloseFrame").field("code", code).field("reason", reason).finish()
    }
}

/// A reason that does not fit into a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ReasonTooLong {
    /// Its length in bytes.
    pub len: usize,
}

impl fmt::Display for ReasonTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, max) = (self.len, CloseFrame::MAX_REASON);
        write!(f, "close reason has {len} bytes; a Close frame holds at most {max}: shorten it")
    }
}

impl core::error::Error for ReasonTooLong {}

/// How far the connection is from its end (RFC 6455 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the states that RFC 6455 §7.1 names")]
pub enum State {
    /// Messages go both ways.
    Open,
    /// A Close was queued, sent or received, or the connection failed: the time to arm a close timer.
    Closing,
    /// Nothing more will be sent or received.
    Closed,
}

/// How a connection ended (RFC 6455 §7.1.4 to §7.1.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CloseStatus {
    /// The code of the peer's Close; [`NO_CODE`](Self::NO_CODE) if it was empty,
    /// [`ABNORMAL`](Self::ABNORMAL) if none came.
    pub code: u16,
    /// The reason in the peer's Close.
    pub reason: Utf8Bytes,
    /// Whether both ends sent a Close.
    pub clean: bool,
}

impl CloseStatus {
    /// 1005: the peer's Close had no code. Never on the wire.
    pub const NO_CODE: u16 = 1005;
    /// 1006: no Close came from the peer. Never on the wire.
    pub const ABNORMAL: u16 = 1006;
}

/// How the stream of frames from the peer ended, if it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputEnd {
    /// It goes on.
    Open,
    /// With the peer's Close.
    Close,
    /// With our failing the connection (RFC 6455 §7.1.7).
    Failed,
    /// With the end of the transport.
    Lost,
}

/// Whether `role` should go on reading. The receiving half knows that by itself.
pub(crate) const fn wants_input(role: Role, input: InputEnd, eof: bool) -> bool {
    match (input, role) {
        _ if eof => false,
        (InputEnd::Open, _) => true,
        // RFC 6455 §7.1.1: a client "SHOULD wait for the server to close" the TCP connection.
        (InputEnd::Close, Role::Client) => true,
        (InputEnd::Close, Role::Server) | (InputEnd::Failed | InputEnd::Lost, _) => false,
    }
}

/// The facts on which the end of a connection depends, and every conclusion from them.
///
/// The closing handshake is this table and [`wants_input`]; nothing else decides who closes when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) role: Role,
    pub(crate) input: InputEnd,
    /// The transport has no more bytes for us.
    pub(crate) eof: bool,
    /// Our Close is queued or written.
    pub(crate) close_sent: bool,
    /// Our Close is queued, and not written.
    pub(crate) close_waits: bool,
    /// Nothing waits to be written.
    pub(crate) flushed: bool,
    /// The transport takes no more bytes.
    pub(crate) output_lost: bool,
}

impl Standing {
    pub(crate) const fn state(self) -> State {
        match self.input {
            InputEnd::Open if self.answered() => State::Closing,
            InputEnd::Open => State::Open,
            InputEnd::Close if !self.answered() => State::Closing,
            _ if self.flushed => State::Closed,
            _ => State::Closing,
        }
    }

    pub(crate) const fn wants_shutdown(self) -> bool {
        match (self.input, self.role) {
            _ if !self.flushed => false,
            (InputEnd::Open, _) => false,
            // RFC 6455 §5.5.1: after both Closes, "The server MUST close the underlying TCP connection
            // immediately; the client SHOULD wait".
            (InputEnd::Close, Role::Server) => self.answered(),
            (InputEnd::Close, Role::Client) => self.answered() && self.eof,
            (InputEnd::Failed | InputEnd::Lost, _) => true,
        }
    }

    pub(crate) const fn wants_discard(self) -> bool {
        match (self.input, self.role) {
            _ if self.eof => false,
            (InputEnd::Failed, _) => true,
            // RFC 6455 §7.1.1: for a clean closure "one would call shutdown() with SHUT_WR on the socket,
            // call recv() until obtaining a return value of 0", and close then.
            (InputEnd::Close, Role::Server) => self.wants_shutdown(),
            (InputEnd::Open | InputEnd::Close | InputEnd::Lost, _) => false,
        }
    }

    /// Whether there is no Close left for us to send: it was, or cannot be.
    const fn answered(self) -> bool {
        self.close_sent || self.output_lost
    }

    /// RFC 6455 §7.1.4: "clean" only "after the WebSocket closing handshake was completed".
    pub(crate) const fn clean(self) -> bool {
        matches!(self.input, InputEnd::Close) && self.close_sent && !self.close_waits
    }
}
