//! What comes to a peer, and how that is told.

#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write};
use core::time::Duration;
use std::io;

use crate::proto::{CloseFrame, CloseStatus, Message, ProtocolError};
use crate::tokio::frames::Frame;

/// What came.
pub(super) enum Came {
    Frame(Frame),
    Message(Message),
    /// The end of the stream.
    End,
    Broken(io::Error),
    Wrong(ProtocolError),
    NotUtf8,
    Nothing(Duration),
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(frame) => f.write_str(&text_of_frame(frame)),
            Self::Message(message) => f.write_str(&text_of(message)),
            Self::End => f.write_str("the end of the stream"),
            Self::Broken(error) => write!(f, "an error of the stream: {error}"),
            Self::Wrong(error) => write!(f, "a frame that breaks the protocol: {error}"),
            Self::NotUtf8 => f.write_str("text that is not UTF-8"),
            Self::Nothing(time) => write!(f, "nothing within {time:?}"),
        }
    }
}

/// Bytes for people: the first of them, and how many there are.
pub(super) struct Bits<'a>(pub(super) &'a [u8]);

impl fmt::Display for Bits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(MOST_SHOWN)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() { write!(f, "… ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

pub(super) fn text_of(message: &Message) -> String {
    match message {
        Message::Text(text) => format!("text {}", Bits(text.as_bytes())),
        Message::Binary(bytes) => format!("binary {}", Bits(bytes)),
        Message::Ping(payload) => format!("ping {}", Bits(payload)),
        Message::Pong(payload) => format!("pong {}", Bits(payload)),
        Message::Close(body) => {
            let reason = body.as_ref().map_or("", |body| body.reason());
            format!("Close {} {}", code_of(body.as_ref()), Bits(reason.as_bytes()))
        }
    }
}

pub(super) fn text_of_frame(frame: &Frame) -> String {
    let mut text = format!("a frame {:?}", frame.opcode);
    if !frame.fin {
        text.push_str(" without FIN");
    }
    if frame.rsv1 {
        text.push_str(" with RSV1");
    }
    let _ = write!(text, " {}", Bits(&frame.payload));
    text
}

/// The code of a Close, or that which stands for none (RFC 6455 §7.1.5).
pub(super) fn code_of(body: Option<&CloseFrame>) -> u16 {
    body.map_or(CloseStatus::NO_CODE, |body| body.code().get())
}

/// How much of a payload is told.
const MOST_SHOWN: usize = 60;
