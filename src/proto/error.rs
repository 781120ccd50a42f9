//! Errors by blame: [`ProtocolError`] is the peer's, [`SendError`] the caller's.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::fmt;

use super::close::CloseCode;
use super::message::Message;

/// The peer broke the protocol, or a limit of ours. One variant for each rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RFC 6455 §5.2: a reserved bit (1, 2 or 3) is set that no agreed extension defines.
    ReservedBit(u8),
    /// RFC 6455 §5.2: this opcode has no meaning.
    ReservedOpcode(u8),
    /// RFC 6455 §5.5: a control frame without FIN.
    FragmentedControl,
    /// RFC 6455 §5.5: a control frame with more than 125 bytes of payload.
    ControlTooLong,
    /// RFC 6455 §5.4: a continuation frame, but no message had begun.
    UnexpectedContinuation,
    /// RFC 6455 §5.4: a new message, but the one before had not ended.
    ExpectedContinuation,
    /// RFC 6455 §5.1: a masked frame from a server.
    MaskedFromServer,
    /// RFC 6455 §5.1: an unmasked frame from a client.
    UnmaskedFromClient,
    /// RFC 6455 §5.2: a payload length not in its shortest form.
    LengthNotMinimal,
    /// RFC 6455 §5.2: a 64-bit payload length with its top bit set.
    LengthTopBit,
    /// RFC 6455 §8.1: text, or the reason of a Close, that is not UTF-8.
    InvalidUtf8 {
        /// Where in the payload (of the message, or of the Close) the first sequence begins that is not UTF-8, in bytes.
        offset: u64,
    },
    /// RFC 7692 §7.2.2: a compressed message that is not DEFLATE, or ends too early.
    Deflate,
    /// RFC 6455 §5.5.1: the body of a Close has one byte; it has none, or a code of two.
    ClosePayload,
    /// RFC 6455 §7.4: this code may not stand in a Close.
    CloseCode(u16),
    /// A frame over [`Config::max_frame`](super::Config::max_frame).
    FrameTooBig {
        /// The limit in bytes.
        max: usize,
    },
    /// A message over [`Config::max_message`](super::Config::max_message).
    MessageTooBig {
        /// The limit in bytes.
        max: usize,
    },
    /// A message in chunks over [`Config::max_streamed`](super::Config::max_streamed).
    StreamTooBig {
        /// The limit in bytes.
        max: u64,
    },
    /// A compressed message whose bytes become more than [`Config::max_ratio`](super::Config#method.max_ratio) allows.
    RatioTooHigh {
        /// The limit: bytes out for each byte in.
        max: u32,
    },
    /// A message in more frames than [`Config::max_fragments`](super::Config::max_fragments).
    TooManyFragments {
        /// The limit in frames.
        max: u32,
    },
    /// A message with more empty frames than [`Config::max_empty_fragments`](super::Config::max_empty_fragments).
    TooManyEmptyFragments {
        /// The limit in frames.
        max: u32,
    },
    /// More pings, pongs and Closes in a second than an adapter allows: see
    /// [`Connection::fail`](super::Connection::fail).
    TooManyControlFrames {
        /// The limit in frames for each second.
        max: u32,
    },
    /// The rest of a message took longer than an adapter allows: see [`Connection::fail`](super::Connection::fail).
    TooSlow,
    /// The connections of an adapter together hold more memory than they may, and this one wants more.
    OverBudget,
}

impl ProtocolError {
    /// The code that tells the peer (RFC 6455 §7.4.1). The one place where errors become codes.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBit(_)
            | Self::ReservedOpcode(_)
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::MaskedFromServer
            | Self::UnmaskedFromClient
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::ClosePayload
            | Self::CloseCode(_) => CloseCode::PROTOCOL,
            // RFC 6455 §7.4.1, 1007: "e.g., non-UTF-8 [RFC3629] data within a text message".
            Self::InvalidUtf8 { .. } | Self::Deflate => CloseCode::INVALID_DATA,
            Self::TooManyFragments { .. }
            | Self::TooManyEmptyFragments { .. }
            | Self::TooManyControlFrames { .. }
            | Self::TooSlow => CloseCode::POLICY,
            // IANA: "Try Again Later", where a server is overloaded.
            Self::OverBudget => CloseCode::TRY_AGAIN,
            // RFC 6455 §7.4.1, 1009: "a message that is too big for it to process".
            Self::FrameTooBig { .. }
            | Self::MessageTooBig { .. }
            | Self::StreamTooBig { .. }
            | Self::RatioTooHigh { .. } => CloseCode::TOO_BIG,
        }
    }

    /// A sentence without numbers, short enough for the reason of a Close.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBit(_) => "a reserved bit is set without an extension that defines it",
            Self::ReservedOpcode(_) => "reserved opcode",
            Self::FragmentedControl => "a control frame must not be fragmented",
            Self::ControlTooLong => "a control frame holds at most 125 bytes",
            Self::UnexpectedContinuation => "continuation frame outside a message",
            Self::ExpectedContinuation => "new message before the last one ended",
            Self::MaskedFromServer => "a server must not mask",
            Self::UnmaskedFromClient => "a client must mask",
            Self::LengthNotMinimal => "payload length is not in its shortest form",
            Self::LengthTopBit => "payload length has its top bit set",
            Self::InvalidUtf8 { .. } => "text is not UTF-8",
            Self::Deflate => "compressed message is not DEFLATE, or is cut short",
            Self::ClosePayload => "the body of a Close frame has one byte",
            Self::CloseCode(_) => "close code is not allowed on the wire",
            Self::FrameTooBig { .. } => "frame is too big",
            Self::MessageTooBig { .. } | Self::StreamTooBig { .. } => "message is too big",
            Self::RatioTooHigh { .. } => "compressed message inflates too far",
            Self::TooManyFragments { .. } => "message has too many fragments",
            Self::TooManyEmptyFragments { .. } => "message has too many empty fragments",
            Self::TooManyControlFrames { .. } => "too many control frames",
            Self::TooSlow => "the rest of a message takes too long",
            Self::OverBudget => "out of memory for connections: try again later",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        match self {
            Self::ReservedBit(bit) => write!(f, " (RSV{bit} in a frame header)"),
            Self::ReservedOpcode(opcode) => write!(f, " ({opcode:#x} in a frame header)"),
            Self::InvalidUtf8 { offset } => write!(f, " (at byte {offset} of the payload)"),
            Self::CloseCode(code) => write!(f, " ({code})"),
            Self::FrameTooBig { max } | Self::MessageTooBig { max } => write!(f, " (limit {max} bytes)"),
            Self::StreamTooBig { max } => write!(f, " (limit {max} bytes)"),
            Self::TooManyFragments { max } | Self::TooManyEmptyFragments { max } => {
                write!(f, " (limit {max})")
            }
            Self::TooManyControlFrames { max } => write!(f, " (limit {max} a second)"),
            Self::RatioTooHigh { max } => write!(f, " (limit {max} bytes for each)"),
            Self::ClosePayload | Self::Deflate | Self::TooSlow | Self::OverBudget => Ok(()),
            Self::FragmentedControl
            | Self::ControlTooLong
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::MaskedFromServer
            | Self::UnmaskedFromClient
            | Self::LengthNotMinimal
            | Self::LengthTopBit => f.write_str(" (in a frame header)"),
        }?;
        write!(f, ": closed with {}", self.close_code())
    }
}

impl core::error::Error for ProtocolError {}

/// A message that was not taken, and why. Nothing of it was queued; [`into_message`](Self::into_message) hands it back.
#[derive(Clone, PartialEq, Eq)]
pub struct SendError(Box<(SendErrorKind, Option<Message>)>);

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// A Close was sent or received, the connection failed, or the transport ended.
    Closed,
    /// [`Config::max_queued`](super::Config::max_queued) bytes wait already: flush first.
    Full,
    /// A ping or pong with more than 125 bytes (RFC 6455 §5.5).
    ControlTooLong,
    /// A control frame without FIN (RFC 6455 §5.5). Only who writes frames by hand can make one.
    ControlFragmented,
    /// A frame with RSV1 that no extension allows (RFC 6455 §5.2). Only who writes frames by hand can make one.
    ReservedBit,
    /// A message in fragments is under way and has to end first (RFC 6455 §5.4), or is of the other kind.
    MessageInProgress,
    /// A text in fragments that is not UTF-8 as a whole (RFC 6455 §5.6).
    InvalidUtf8,
}

impl SendError {
    #[cold]
    pub(crate) fn new(kind: SendErrorKind, message: Option<Message>) -> Self {
        Self(Box::new((kind, message)))
    }

    /// Why it was not taken.
    #[must_use]
    pub fn kind(&self) -> SendErrorKind {
        self.0.0
    }

    /// The message, where it was given as an owned one; a borrowed one the caller still has.
    #[must_use]
    pub fn into_message(self) -> Option<Message> {
        self.0.1
    }
}

impl From<SendErrorKind> for SendError {
    fn from(kind: SendErrorKind) -> Self {
        Self::new(kind, None)
    }
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads stay out of logs.
        f.debug_struct("SendError").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

impl fmt::Display for SendErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closing or closed: open a new one to send",
            Self::Full => "the queue of outgoing bytes is full: flush, then send again",
            Self::ControlTooLong => "a ping or pong holds at most 125 bytes: shorten it",
            Self::ControlFragmented => "a control frame must not be fragmented: set FIN",
            Self::ReservedBit => "RSV1 is for data frames of an agreed extension: clear it, or allow it",
            Self::MessageInProgress => "a message in fragments is under way: send its last fragment first",
            Self::InvalidUtf8 => "the fragments of a text message are not UTF-8: send them as binary",
        })
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

impl core::error::Error for SendError {}
