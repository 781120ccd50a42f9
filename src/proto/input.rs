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
use super::pool;

/// The input of a connection. A parsed range stays where it is until the next byte comes in.
pub(crate) struct Input {
    bytes: BytesMut,
    /// How much of the memory of `bytes` lies outside of it: a `BytesMut` knows only what is between its front and the end
    /// it was given.
    gone: usize,
    start: usize,
    /// How many bytes from `start` on are unmasked already: the beginning of a character in a chunk.
    unmasked: usize,
    /// The size of the latest frame with its header: the next one is expected to be as large.
    latest: u32,
    /// The room that the next read gets.
    room: u32,
    /// The least room that a read gets.
    read_size: u32,
    holder: Holder,
}

/// Who has the memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// The connection: payloads may be shared out of it.
    Own,
    /// A thread, which lends its buffer to one connection after the other: payloads are copied.
    Thread,
    /// The caller, who took it and will bring it back: what is here comes behind what is in it.
    Caller,
    /// A payload, of which more is read behind its beginning.
    Payload,
}

impl Input {
    pub(crate) fn new(bytes: BytesMut, config: &Config) -> Self {
        let read_size = config.read_size;
        let holder = Holder::Own;
        Self { bytes, gone: 0, start: 0, unmasked: 0, latest: 0, room: read_size, read_size, holder }
    }

    /// The buffer to read into, with room for at least as much as reads brought lately, and for `more`.
    pub(crate) fn buffer(&mut self, more: usize) -> &mut BytesMut {
        self.discard_parsed();
        self.with_room(more)
    }

    /// The same, up to the end of a frame as large as the latest, if that was large, or of a few of them, behind the
    /// `rest` of one: what is read ends where a frame does, so that no half of one has to move, and the memory is little
    /// more than the frames.
    pub(crate) fn buffer_ahead(&mut self, rest: usize) -> &mut BytesMut {
        self.discard_parsed();
        let (frame, len) = (self.latest.min(Config::MOST_AHEAD) as usize, self.bytes.len());
        if frame <= len.max(Config::LEAST_AHEAD) {
            return self.with_room(rest);
        }
        let most = (Config::MOST_READ / frame).clamp(1, Config::MOST_PINNED - 1);
        let frames = match self.bytes.capacity().saturating_sub(rest) / frame {
            0 => most,
            there => there.min(most),
        };
        let size = rest + frames * frame;
        if self.bytes.capacity() < size {
            // One that comes in several reads is read on behind its beginning, in what is left of the memory.
            let in_one = rest == 0 && frame <= Config::LARGE_FRAME;
            self.move_to(if in_one {
                pool::take_exact(size)
            } else {
                pool::take(size + Config::MOST_BEFORE)
            });
        }
        let beyond = self.bytes.capacity() - size;
        if beyond > 0 {
            self.gone += beyond;
            drop(self.bytes.split_off(size));
        }
        &mut self.bytes
    }

    fn with_room(&mut self, more: usize) -> &mut BytesMut {
        let room = (self.room as usize).max(more);
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

    /// Lends the buffer, with all of its memory.
    pub(crate) fn take(&mut self) -> BytesMut {
        if self.start < self.bytes.len() {
            self.bytes.advance(self.start);
            self.gone += self.start;
        } else {
            self.bytes.clear();
        }
        // What was cut off is given too, unless payloads share it: memory counts as what is seen of it.
        let _ = self.bytes.try_reclaim(self.memory() - self.bytes.len());
        (self.gone, self.start, self.holder) = (0, 0, Holder::Caller);
        core::mem::take(&mut self.bytes)
    }

    /// Puts bytes before those that are here.
    pub(crate) fn put(&mut self, mut bytes: BytesMut) {
        self.discard_parsed();
        bytes.extend_from_slice(&self.bytes);
        (self.bytes, self.gone, self.holder) = (bytes, 0, Holder::Own);
    }

    /// Parses out of a thread's buffer from now on. All that was here is in it too, at its front.
    pub(crate) fn borrow(&mut self, bytes: BytesMut) {
        self.drop_memory();
        (self.bytes, self.holder) = (bytes, Holder::Thread);
    }

    /// Gives a thread's buffer back; what is not parsed moves to memory of its size.
    pub(crate) fn give_back(&mut self) -> Option<BytesMut> {
        if self.holder != Holder::Thread {
            return None;
        }
        let own = match self.unparsed() {
            [] => BytesMut::new(),
            rest => BytesMut::from(rest),
        };
        (self.gone, self.start, self.holder) = (0, 0, Holder::Own);
        Some(core::mem::replace(&mut self.bytes, own))
    }

    /// Reads on in the memory behind a payload that lies elsewhere.
    pub(crate) fn continue_in(&mut self, tail: BytesMut) -> &mut BytesMut {
        self.drop_memory();
        (self.bytes, self.holder) = (tail, Holder::Payload);
        &mut self.bytes
    }

    /// Whether the buffer was taken: what is here comes behind what is in it.
    pub(crate) fn is_lent(&self) -> bool {
        self.holder == Holder::Caller
    }

    /// Whether [`split_front`](Self::split_front) leaves memory behind a payload to read the rest of it into.
    pub(crate) fn can_split(&self) -> bool {
        matches!(self.holder, Holder::Own | Holder::Payload)
    }

    /// Notes the size of a frame with its header, for the room that the next one gets.
    #[inline]
    pub(crate) const fn note_frame(&mut self, size: usize) {
        self.latest = if size > u32::MAX as usize { u32::MAX } else { size as u32 };
    }

    /// Whether the next frame is expected to take memory of its own, as the one before did.
    pub(crate) const fn expects_large(&self) -> bool {
        self.latest as usize > Config::LARGE_FRAME
    }

    /// Gives back memory that holds nothing, or far less than its size.
    #[inline]
    pub(crate) fn release(&mut self) {
        if self.memory() > 0 {
            self.release_some();
        }
    }

    #[inline(never)]
    fn release_some(&mut self) {
        self.discard_parsed();
        if self.bytes.is_empty() {
            self.drop_memory();
        } else if self.bytes.len().saturating_mul(Config::MOST_PINNED) < self.memory() {
            let rest = BytesMut::from(&self.bytes[..]);
            self.drop_memory();
            self.bytes = rest;
        }
    }

    /// Takes `len` bytes off the front as parsed; gives where they lie.
    #[inline]
    pub(crate) fn consume(&mut self, len: usize) -> Range<usize> {
        let range = self.start..self.start + len;
        self.start = range.end;
        self.unmasked = self.unmasked.saturating_sub(len);
        range
    }

    /// Takes a frame of less than 64 KiB off the front as parsed, all of which is there; gives where its payload lies.
    #[inline]
    pub(crate) fn consume_frame(&mut self, header: usize, len: usize) -> Range<usize> {
        let payload = self.start + header;
        self.start = payload + len;
        self.latest = (header + len) as u32;
        payload..self.start
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
        let size = self.memory();
        let mut parsed = self.bytes.split_to(range.end);
        self.gone += range.end;
        self.start = 0;
        parsed.advance(range.start);
        if self.bytes.is_empty() && size >= pool::LARGE {
            self.gone = 0;
            pool::put_large(core::mem::take(&mut self.bytes), size);
        }
        parsed.freeze()
    }

    /// Takes the first `len` bytes that are not parsed out, without a copy; tells how much memory they pin. What
    /// lies behind them stays.
    pub(crate) fn split_front(&mut self, len: usize) -> (BytesMut, usize) {
        let size = self.memory();
        self.bytes.advance(self.start);
        self.gone += self.start + len;
        self.start = 0;
        self.unmasked = self.unmasked.saturating_sub(len);
        self.holder = Holder::Payload;
        if len < self.bytes.len() {
            return (self.bytes.split_to(len), size);
        }
        // With the memory behind it, in the place of another reference to it.
        self.gone = 0;
        (core::mem::take(&mut self.bytes), size)
    }

    /// Whether a payload of `len` bytes pins little more than itself if it shares the buffer.
    pub(crate) fn can_share(&self, len: usize) -> bool {
        self.holder == Holder::Own && len.saturating_mul(Config::MOST_PINNED) >= self.memory()
    }

    /// Whether all that came is parsed.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes are not parsed.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The bytes that are not parsed.
    #[inline]
    pub(crate) fn unparsed(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The bytes at a place that was given earlier.
    #[inline]
    pub(crate) fn at(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// The same, to unmask them.
    #[inline]
    pub(crate) fn at_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.bytes[range]
    }

    /// The memory that holds the bytes.
    fn memory(&self) -> usize {
        self.gone + self.bytes.capacity()
    }

    /// The memory that this connection alone has.
    pub(crate) fn owned(&self) -> usize {
        if self.holder == Holder::Own { self.memory() } else { 0 }
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed >= pool::LARGE && needed > self.memory() {
            return self.move_to(pool::take(needed));
        }
        let (size, capacity, place) = (self.memory(), self.bytes.capacity(), self.bytes.as_ptr());
        self.bytes.reserve(more);
        if self.bytes.capacity() != capacity {
            // Moved, to the front of its memory or to other, or else grown back to where it was cut.
            let stayed = self.bytes.as_ptr() == place;
            self.gone = if stayed { size.saturating_sub(self.bytes.capacity()) } else { 0 };
        }
    }

    /// Moves what is not parsed, the first that is here.
    fn move_to(&mut self, mut larger: BytesMut) {
        larger.extend_from_slice(&self.bytes);
        self.drop_memory();
        self.bytes = larger;
    }

    fn discard_parsed(&mut self) {
        if self.start < self.bytes.len() {
            self.bytes.advance(self.start);
            self.gone += self.start;
        } else if self.memory() > Config::MOST_READ || self.holder == Holder::Payload {
            // A `BytesMut` remembers its size: only a new one is small again.
            self.drop_memory();
        } else {
            self.adapt_room();
            self.bytes.clear();
        }
        self.start = 0;
    }

    /// Lets go of the memory.
    fn drop_memory(&mut self) {
        let size = self.memory();
        let bytes = core::mem::take(&mut self.bytes);
        if size >= pool::LARGE && self.holder == Holder::Own {
            pool::put_large(bytes, size);
        }
        if self.holder == Holder::Payload {
            self.holder = Holder::Own;
        }
        (self.gone, self.start) = (0, 0);
    }

    /// Follows the traffic: twice the room when reads fill it, half when they leave most of it.
    fn adapt_room(&mut self) {
        // What was split off was read too.
        let (read, room) = (self.gone + self.bytes.len(), self.room as usize);
        if read >= room && room < Config::MOST_READ {
            self.room *= 2;
        } else if read > 0 && read < room / 4 && self.room > self.read_size {
            self.room /= 2;
        }
    }
}
