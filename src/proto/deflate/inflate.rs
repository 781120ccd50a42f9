//! What comes in (RFC 7692 §7.2.2).

#![forbid(unsafe_code)]

use alloc::boxed::Box;

use zlib_rs::{InflateFlush, Status};

use super::super::agreement::Deflate;
use super::super::config::{Config, Role};
use super::super::error::ProtocolError;
use super::pool::{self, Inflating};

/// Inflates the messages of one direction, piece by piece.
pub(crate) struct Inflater {
    /// Whether the peer may take over its context, if it may compress at all.
    takeover: Option<bool>,
    /// Within a message; between messages only with context takeover.
    stream: Option<Box<Inflating>>,
}

impl Inflater {
    pub(crate) fn new(deflate: Option<Deflate>, peer: Role) -> Self {
        Self { takeover: deflate.map(|deflate| deflate.sent_by(peer).takeover), stream: None }
    }

    /// Whether the peer may send compressed messages.
    pub(crate) const fn is_on(&self) -> bool {
        self.takeover.is_some()
    }

    /// The memory that it holds.
    pub(crate) fn memory(&self) -> usize {
        if self.stream.is_some() { pool::INFLATER_MEMORY } else { 0 }
    }

    /// Begins a message.
    pub(crate) fn begin(&mut self) {
        let stream = self.stream.get_or_insert_with(pool::take_inflater);
        if stream.ended {
            stream.reset();
        }
        (stream.wire, stream.inflated) = (0, 0);
    }

    /// Inflates `input` into `room`, which is not empty: gives how much was taken of the one and filled of the
    /// other. Less than all of `room` means that all of `input` was taken, and nothing of it is held back, or
    /// that [`check`](Self::check) fails: what is inflated counts first, wherever the input is cut.
    pub(crate) fn inflate(
        &mut self,
        input: &[u8],
        room: &mut [u8],
        config: &Config,
    ) -> Result<(usize, usize), ProtocolError> {
        let Some(stream) = &mut self.stream else { return Err(ProtocolError::Deflate) };
        let (mut taken, mut filled) = (0, 0);
        while filled < room.len() {
            if stream.ended {
                if taken == input.len() {
                    break;
                }
                // RFC 7692 §7.2.1: blocks "with the "BFINAL" bit set to 1" may be followed by more. RFC 1951
                // §3.2.3: that bit ends a stream, so the next one begins with an empty window.
                stream.reset();
            }
            let step = stream.decompress(&input[taken..], &mut room[filled..], InflateFlush::SyncFlush);
            taken += step.taken;
            filled += step.filled;
            stream.ended = step.status == Some(Status::StreamEnd);
            stream.broken = step.status.is_none();
            // zlib takes at most 4 GiB at a time. That it takes and gives nothing would be its bug, not a loop.
            let stuck = stream.broken || (step.taken, step.filled) == (0, 0);
            if !stream.ended && (taken == input.len() || stuck) {
                break;
            }
        }
        stream.wire += taken as u64;
        stream.inflated += filled as u64;
        let max = config.max_ratio;
        let most = stream.wire.saturating_mul(max.into()).max(Config::ANY_RATIO);
        if max != u32::MAX && stream.inflated > most {
            return Err(ProtocolError::RatioTooHigh { max });
        }
        Ok((taken, filled))
    }

    /// Whether what came so far is DEFLATE.
    pub(crate) fn check(&self) -> Result<(), ProtocolError> {
        match &self.stream {
            Some(stream) if stream.broken => Err(ProtocolError::Deflate),
            Some(_) | None => Ok(()),
        }
    }

    /// Ends a message all of which was inflated.
    pub(crate) fn finish(&mut self) -> Result<(), ProtocolError> {
        let Some(stream) = &mut self.stream else { return Err(ProtocolError::Deflate) };
        // RFC 7692 §7.2.3.6: an empty message is a byte. Without one, what the last message left would decide.
        if stream.wire == 0 {
            return Err(ProtocolError::Deflate);
        }
        // A message that ends with BFINAL instead of the empty block of §7.2.1 is as complete.
        if !stream.ended {
            // RFC 7692 §7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload". They are
            // the length of an empty block: with more to say, or less, the message was cut elsewhere. `Block`
            // stops behind it, before the fifth byte.
            let step = stream.decompress(&[0, 0, 0xFF, 0xFF, 0], &mut [0; 1], InflateFlush::Block);
            if step.status.is_none() || (step.taken, step.filled) != (4, 0) {
                return Err(ProtocolError::Deflate);
            }
        }
        if self.takeover != Some(true) {
            self.stream.take().into_iter().for_each(pool::put_inflater);
        }
        Ok(())
    }

    /// Gives back all memory: no more messages come.
    pub(crate) fn stop(&mut self) {
        self.stream = None;
    }
}
