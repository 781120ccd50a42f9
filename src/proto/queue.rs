//! Frames on their way out: headers made, payloads copied, masked or shared.

#![forbid(unsafe_code)]

use alloc::boxed::Box;

use bytes::Bytes;

use super::config::Config;
use super::encode::{masked, put_frame, put_header};
use super::frame::{Header, OpCode};
use super::mask::MaskSource;
use super::message::Kind;
use super::output::Output;
use super::utf8::Validator;

/// Where frames wait to be written.
pub(crate) struct Queue {
    pub(crate) output: Output,
    /// A client is a sender with a source of masking keys.
    masks: Option<Box<dyn MaskSource>>,
}

/// A message under way in fragments.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) kind: Kind,
    pub(crate) compressed: bool,
    pub(crate) text: Validator,
}

impl Queue {
    pub(crate) fn new(output: Output, masks: Option<Box<dyn MaskSource>>) -> Self {
        Self { output, masks }
    }

    pub(crate) const fn masks(&self) -> bool {
        self.masks.is_some()
    }

    /// Queues a message of less than 64 KiB in one frame, with a copy of `payload`, unless this is a server.
    #[inline]
    pub(crate) fn append_masked(&mut self, kind: Kind, payload: &[u8]) -> bool {
        let Some(masks) = &mut self.masks else { return false };
        self.output.append_masked(kind, payload, masks.next_key());
        true
    }

    /// Queues a message with a copy of `payload`.
    #[inline]
    pub(crate) fn frames_of(&mut self, opcode: OpCode, rsv1: bool, payload: &[u8], config: &Config) {
        if payload.len() <= config.fragment_above {
            self.frame(opcode, true, rsv1, payload);
        } else {
            self.fragments_of(opcode, rsv1, payload, config);
        }
    }

    /// RFC 7692 §6.1: RSV1 is set "on the first fragment" only.
    fn fragments_of(&mut self, opcode: OpCode, rsv1: bool, payload: &[u8], config: &Config) {
        let (mut opcode, mut rsv1) = (opcode, rsv1);
        let mut pieces = payload.chunks(config.fragment_above).peekable();
        while let Some(piece) = pieces.next() {
            self.frame(opcode, pieces.peek().is_none(), rsv1, piece);
            (opcode, rsv1) = (OpCode::Continuation, false);
        }
    }

    /// Queues a message, by reference if it is large.
    pub(crate) fn frames(&mut self, opcode: OpCode, rsv1: bool, mut payload: Bytes, config: &Config) {
        if payload.len() <= config.share_above as usize {
            return self.frames_of(opcode, rsv1, &payload, config);
        }
        let (mut opcode, mut rsv1) = (opcode, rsv1);
        loop {
            let piece = payload.split_to(payload.len().min(config.fragment_above));
            let last = payload.is_empty();
            let header = self.header(opcode, last, rsv1, piece.len());
            self.output.append(|arena| put_header(arena, &header));
            self.output.append_shared(match header.key {
                Some(key) => masked(piece, key),
                None => piece,
            });
            if last {
                return;
            }
            (opcode, rsv1) = (OpCode::Continuation, false);
        }
    }

    /// Queues one frame with a copy of `payload`.
    pub(crate) fn frame(&mut self, opcode: OpCode, fin: bool, rsv1: bool, payload: &[u8]) {
        let header = self.header(opcode, fin, rsv1, payload.len());
        self.output.append(|arena| put_frame(arena, &header, payload));
    }

    pub(crate) fn header(&mut self, opcode: OpCode, fin: bool, rsv1: bool, len: usize) -> Header {
        // RFC 6455 §5.3: "The masking key is a 32-bit value chosen at random by the client" for each frame;
        // §5.1: "A server MUST NOT mask".
        let key = self.masks.as_mut().map(|masks| masks.next_key());
        Header { fin, rsv1, opcode, key, len: len as u64 }
    }
}
