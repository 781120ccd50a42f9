//! Bytes that came in and are not parsed yet, and how much room the next read gets.
//!
//! ```text
//!   bytes: [ parsed | unmasked | as it came ]
//!                   ^ start
//! ```

#![forbid(unsafe_code)]

use core::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use super::config::Config;
use super::mask;

/// The input of a connection. A parsed range stays where it is until the next byte comes in.
pub(crate) struct Input {
    bytes: BytesMut,
    /// How much of the memory of `bytes` lies before it: a `BytesMut` knows only what is behind its front.
    gone: usize,
    start: usize,
    /// How many bytes from `start` on are unmasked already: the beginning of a character in a chunk.
    unmasked: usize,
    /// The room that the next read gets.
    room: usize,
    read_size: usize,
    /// The buffer was taken, and not brought back.
    lent: bool,
}

impl Input {
    pub(crate) fn new(bytes: BytesMut, config: &Config) -> Self {
        let read_size = config.read_size as usize;
        Self { bytes, gone: 0, start: 0, unmasked: 0, room: read_size, read_size, lent: false }
    }

    /// The buffer to read into, with room for at least as much as reads brought lately, and for `more`
    /// within the most that one read gets.
    pub(crate) fn buffer(&mut self, more: usize) -> &mut BytesMut {
        self.discard_parsed();
        let room = self.room.max(more.min(Config::MOST_READ));
        if self.bytes.capacity() - self.bytes.len() < room {
            self.reserve(room);
        }
        &mut self.bytes
    }

    pub(crate) fn feed(&mut self, data: &[u8]) {
        self.discard_parsed();
        self.reserve(data.len());
        self.bytes.extend_from_slice(data);
    }

    pub(crate) fn take(&mut self) -> BytesMut {
        self.discard_parsed();
        (self.gone, self.lent) = (0, true);
        core::mem::take(&mut self.bytes)
    }

    /// Puts bytes before those that are here.
    pub(crate) fn put(&mut self, mut bytes: BytesMut) {
        self.discard_parsed();
        bytes.extend_from_slice(&self.bytes);
        (self.bytes, self.gone, self.lent) = (bytes, 0, false);
    }

    /// Whether the buffer was taken: what is here comes behind what is in it.
    pub(crate) const fn is_lent(&self) -> bool {
        self.lent
    }

    /// Gives back memory that holds nothing.
    pub(crate) fn release(&mut self) {
        self.discard_parsed();
        if self.bytes.is_empty() {
            (self.bytes, self.gone) = (BytesMut::new(), 0);
        }
    }

    /// Takes `len` bytes off the front as parsed; gives where they lie.
    pub(crate) fn consume(&mut self, len: usize) -> Range<usize> {
        let range = self.start..self.start + len;
        self.start = range.end;
        self.unmasked = self.unmasked.saturating_sub(len);
        range
    }

    /// Drops all that came.
    pub(crate) fn discard(&mut self) {
        self.consume(self.len());
    }

    /// Unmasks (RFC 6455 §6.2) up to `limit` bytes behind those that are unmasked already, and gives all
    /// that are unmasked now, and how many are new. `offset` is the place of the new ones in their payload.
    pub(crate) fn unmask(
        &mut self,
        key: Option<[u8; 4]>,
        offset: usize,
        limit: usize,
    ) -> (Range<usize>, usize) {
        // A caller that takes bytes back, against the contract, breaks its stream and nothing else.
        let from = (self.start + self.unmasked).min(self.bytes.len());
        let new = limit.min(self.bytes.len() - from);
        if let Some(key) = key {
            mask::apply(&mut self.bytes[from..from + new], key, offset);
        }
        self.unmasked = from + new - self.start;
        (self.start..from + new, new)
    }

    /// Takes the parsed bytes in `range` out, without a copy. Nothing may be parsed behind them.
    pub(crate) fn split(&mut self, range: Range<usize>) -> Bytes {
        let mut parsed = self.bytes.split_to(range.end);
        self.gone += range.end;
        self.start = 0;
        parsed.advance(range.start);
        parsed.freeze()
    }

    /// Whether a payload of `len` bytes pins little more than itself if it shares the buffer.
    pub(crate) fn can_share(&self, len: usize) -> bool {
        len.saturating_mul(Config::MOST_PINNED) >= self.memory()
    }

    /// How many bytes are not parsed.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The bytes that are not parsed.
    pub(crate) fn unparsed(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The bytes at a place that was given earlier.
    pub(crate) fn at(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// The memory that holds the bytes.
    fn memory(&self) -> usize {
        self.gone + self.bytes.capacity()
    }

    fn reserve(&mut self, more: usize) {
        let capacity = self.bytes.capacity();
        self.bytes.reserve(more);
        if self.bytes.capacity() != capacity {
            // Moved, to its front or to new memory.
            self.gone = 0;
        }
    }

    fn discard_parsed(&mut self) {
        if self.start < self.bytes.len() {
            self.bytes.advance(self.start);
            self.gone += self.start;
        } else if self.memory() > Config::MOST_READ {
            // A `BytesMut` remembers its size: only a new one is small again.
            (self.bytes, self.gone) = (BytesMut::new(), 0);
        } else {
            self.adapt_room();
            self.bytes.clear();
        }
        self.start = 0;
    }

    /// Follows the traffic: twice the room when reads fill it, half when they leave most of it.
    fn adapt_room(&mut self) {
        let read = self.bytes.len();
        if read >= self.room && self.room < Config::MOST_READ {
            self.room *= 2;
        } else if read > 0 && read < self.room / 4 && self.room > self.read_size {
            self.room /= 2;
        }
    }
}
