//! A frame and its payload.

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::proto::frame::OpCode;
use crate::proto::{CloseFrame, ProtocolError, Utf8Bytes, decode_close};

/// A frame with its whole payload, unmasked.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the fields of RFC 6455 §5.2")]
pub struct Frame {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// The first reserved bit, which an extension gives its meaning: see
    /// [`FrameReader::allow_rsv1`](super::FrameReader::allow_rsv1).
    pub rsv1: bool,
    /// What the frame is for.
    pub opcode: OpCode,
    /// The payload; that of text is not checked.
    pub payload: Bytes,
}

impl Frame {
    /// A frame that ends its message.
    #[must_use]
    pub fn new(opcode: OpCode, payload: impl Into<Bytes>) -> Self {
        Self { fin: true, rsv1: false, opcode, payload: payload.into() }
    }

    /// A text message.
    #[must_use]
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::new(OpCode::Text, text.into().into_bytes())
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::new(OpCode::Binary, bytes)
    }

    /// A ping, of at most 125 bytes.
    #[must_use]
    pub fn ping(payload: impl Into<Bytes>) -> Self {
        Self::new(OpCode::Ping, payload)
    }

    /// A pong, of at most 125 bytes.
    #[must_use]
    pub fn pong(payload: impl Into<Bytes>) -> Self {
        Self::new(OpCode::Pong, payload)
    }

    /// A Close, with a code and a reason or without (RFC 6455 §5.5.1).
    #[must_use]
    pub fn close(body: impl Into<Option<CloseFrame>>) -> Self {
        let payload = body.into().map_or_else(Vec::new, |body| {
            [&body.code().get().to_be_bytes(), body.reason().as_bytes()].concat()
        });
        Self::new(OpCode::Close, payload)
    }

    /// The code and the reason of a Close, `None` if it has none.
    ///
    /// # Errors
    /// The rule of RFC 6455 §5.5.1 or §7.4 that the payload breaks.
    pub fn close_body(&self) -> Result<Option<CloseFrame>, ProtocolError> {
        decode_close(&self.payload)
    }

    /// The frame as one of several of its message, which another one ends.
    #[must_use]
    pub const fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads stay out of logs.
        let Self { fin, rsv1, opcode, payload } = self;
        let mut frame = f.debug_struct("Frame");
        frame.field("fin", fin).field("rsv1", rsv1).field("opcode", opcode).field("len", &payload.len());
        frame.finish_non_exhaustive()
    }
}
