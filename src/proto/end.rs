//! How the frames of the peer ended, and the frame that ends them.

#![forbid(unsafe_code)]

use alloc::boxed::Box;

use super::answer::Answer;
use super::chunk::invalid_utf8;
use super::close::{CloseCode, CloseFrame, InputEnd};
use super::error::ProtocolError;
use super::utf8;

/// How the frames of the peer ended.
#[derive(Debug)]
pub(crate) enum End {
    Open,
    Close(Option<Box<CloseFrame>>),
    Failed(ProtocolError),
    /// The transport ended, and all that came was parsed.
    Lost,
}

impl End {
    /// Fails the connection (RFC 6455 §7.1.7), and owes the peer a Close that says so.
    pub(crate) fn fail(&mut self, answer: &mut Option<Box<Answer>>, error: ProtocolError) -> ProtocolError {
        *self = Self::Failed(error);
        *answer = Some(Box::new(Answer::Fail(error)));
        error
    }

    pub(crate) const fn kind(&self) -> InputEnd {
        match self {
            Self::Open => InputEnd::Open,
            Self::Close(_) => InputEnd::Close,
            Self::Failed(_) => InputEnd::Failed,
            Self::Lost => InputEnd::Lost,
        }
    }

    /// The peer's Close, if it came.
    pub(crate) fn close_frame(&self) -> Option<Option<&CloseFrame>> {
        match self {
            Self::Close(frame) => Some(frame.as_deref()),
            Self::Open | Self::Failed(_) | Self::Lost => None,
        }
    }
}

/// The body of a Close frame, unmasked: it is empty, or begins with a code of two bytes; the rest is a reason in UTF-8
/// (RFC 6455 §5.5.1). [`Connection`](super::Connection) does this by itself.
///
/// # Errors
/// One byte, a code that may not stand in a Close (§7.4), or a reason that is not UTF-8.
pub fn decode_close(payload: &[u8]) -> Result<Option<CloseFrame>, ProtocolError> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(ProtocolError::ClosePayload),
        [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), reason),
    };
    let code = CloseCode::new(code).ok_or(ProtocolError::CloseCode(code))?;
    let reason = utf8::check(reason).map_err(|error| invalid_utf8(error.offset + 2))?;
    // The payload of a control frame is short enough for the reason to fit.
    Ok(CloseFrame::new(code, reason).ok())
}
