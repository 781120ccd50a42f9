//! The message whose frames come in: their order, their sizes, and their number (RFC 6455 §5.4, §10.4).

#![forbid(unsafe_code)]

use super::chunk::{Piece, Place};
use super::config::{Config, Delivery};
use super::error::ProtocolError;
use super::frame::{Header, OpCode};
use super::message::Kind;

/// The message of which a frame came, but not the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    pub(crate) kind: Kind,
    /// RFC 7692 §6.2: RSV1 of its first frame.
    pub(crate) compressed: bool,
    /// The lengths of its frames so far, the one that is coming in included.
    pub(crate) announced: u64,
    /// The frames so far, the one that is coming in included.
    pub(crate) fragments: u32,
    empty_fragments: u32,
    /// In chunks: the bytes before the chunk that is next.
    pub(crate) delivered: u64,
    /// In chunks: whether a chunk was delivered.
    started: bool,
}

/// The data frame whose payload is coming in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) key: Option<[u8; 4]>,
    len: u64,
    /// How much of it was unmasked.
    pub(crate) seen: u64,
}

impl Incoming {
    /// A message of one frame with less payload is under all limits, and given as a whole.
    pub(crate) fn short_below(config: &Config) -> u32 {
        let limit = config.max_message.min(config.max_frame).saturating_add(1);
        let checked = config.delivery == Delivery::Chunks || config.max_fragments == 0;
        if checked { 0 } else { u32::try_from(limit).unwrap_or(u32::MAX) }
    }

    /// Whether a data frame may follow upon `message`, the one under way.
    pub(crate) const fn check_order(
        message: Option<&Self>,
        opcode: OpCode,
        config: &Config,
    ) -> Result<(), ProtocolError> {
        let before = match (opcode, message) {
            // RFC 6455 §5.4: a message is one frame that begins it, then continuations.
            (OpCode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
            (OpCode::Text | OpCode::Binary, Some(_)) => return Err(ProtocolError::ExpectedContinuation),
            (_, Some(message)) => message.fragments,
            (_, None) => 0,
        };
        let max = config.max_fragments;
        if before < max { Ok(()) } else { Err(ProtocolError::TooManyFragments { max }) }
    }

    /// RFC 6455 §10.4: limits on "the total message size after reassembly" and on the frame, before a
    /// byte of the payload is taken. `len` may be the least that a header cut short announces.
    pub(crate) fn check_len(
        message: Option<&Self>,
        rsv1: bool,
        len: u64,
        config: &Config,
    ) -> Result<(), ProtocolError> {
        let before = message.map_or(0, |message| message.announced);
        // RFC 7692 §6.1: the first frame says it for all.
        let compressed = rsv1 || message.is_some_and(|message| message.compressed);
        let left = |max: u64| {
            let max = if compressed { most_on_the_wire(message, max) } else { max };
            max.saturating_sub(before)
        };
        let (limit, error) = match config.delivery {
            Delivery::Chunks => {
                let max = config.max_streamed;
                (left(max), ProtocolError::StreamTooBig { max })
            }
            // The tighter limit gives the error, so that a length cut short fails as the whole one would.
            Delivery::Whole => {
                let (max, max_frame) = (config.max_message, config.max_frame);
                let left = left(max as u64);
                if left <= max_frame as u64 || max <= max_frame {
                    (left, ProtocolError::MessageTooBig { max })
                } else {
                    (max_frame as u64, ProtocolError::FrameTooBig { max: max_frame })
                }
            }
        };
        if len > limit { Err(error) } else { Ok(()) }
    }

    /// The message with the data frame of this header in it.
    pub(crate) fn enter(
        message: Option<Self>,
        header: &Header,
        config: &Config,
    ) -> Result<Self, ProtocolError> {
        let kind = if header.opcode == OpCode::Text { Kind::Text } else { Kind::Binary };
        let mut message = message.unwrap_or(Self {
            kind,
            compressed: header.rsv1,
            announced: 0,
            fragments: 0,
            empty_fragments: 0,
            delivered: 0,
            started: false,
        });
        // Checked against the limit, or without one: 2^64 bytes never come.
        message.announced = message.announced.saturating_add(header.len);
        message.fragments = message.fragments.saturating_add(1);
        if header.len == 0 && !header.fin {
            message.empty_fragments = message.empty_fragments.saturating_add(1);
            if message.empty_fragments > config.max_empty_fragments {
                return Err(ProtocolError::TooManyEmptyFragments { max: config.max_empty_fragments });
            }
        }
        Ok(message)
    }

    /// The chunk of `len` bytes that comes next.
    pub(crate) fn next_piece(&mut self, place: Place, len: usize, last: bool) -> Piece {
        let piece = Piece { kind: self.kind, place, offset: self.delivered, first: !self.started, last };
        self.delivered += len as u64;
        self.started = true;
        piece
    }
}

/// How much a compressed message may announce, whose limit once it is inflated is `max`. This bounds messages
/// that become nothing: one that is compressed badly is larger by an eighth, and by a few bytes for each time it
/// was flushed.
#[cold]
fn most_on_the_wire(message: Option<&Incoming>, max: u64) -> u64 {
    let fragments = u64::from(message.map_or(0, |message| message.fragments)) + 1;
    max.saturating_add(max / 8).saturating_add(64 * fragments)
}

impl Frame {
    pub(crate) const fn new(header: &Header) -> Self {
        Self { fin: header.fin, key: header.key, len: header.len, seen: 0 }
    }

    /// The length of the whole frame, as far as memory can hold it.
    pub(crate) fn size(&self) -> usize {
        let header = Header::len_of(self.len, self.key.is_some());
        usize::try_from(self.len).unwrap_or(usize::MAX).saturating_add(header)
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.seen == self.len
    }

    /// How much of the payload has not come, as far as memory can hold it.
    pub(crate) fn missing(&self) -> usize {
        usize::try_from(self.len - self.seen).unwrap_or(usize::MAX)
    }
}
