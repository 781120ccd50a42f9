//! Bytes on their way out.
//!
//! ```text
//!            cursor                     end
//!              v                         v
//!  arena: [....|header small|header|header small]     headers and small payloads, one after the other
//!                                  ^
//!  shared:                  large payload             by reference, each at its place in the arena
//! ```

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use bytes::{Buf, Bytes};

use super::config::{Config, Role};
use super::frame::{Header, MAX_CONTROL_PAYLOAD};
use super::mask;
use super::message::Kind;
use super::pool;
use super::simd;

/// The bytes that wait to be written, as a [`Buf`]: read [`chunk`](Buf::chunk) (or, with `std`,
/// `chunks_vectored`), write it, then [`advance`](Buf::advance) by what was taken.
///
/// It knows where frames end, so that a pong can go out between the frames that wait.
pub struct Output {
    arena: Vec<u8>,
    /// How much of the arena is written.
    cursor: usize,
    shared: Shares,
    len: usize,
    /// What is left of the unit at the front: a frame, or the head of a handshake. Zero between frames.
    front: usize,
    /// From the front to the end of the pong that was put in last; zero once it is written.
    pong: usize,
    /// From the front to the end of our Close; zero before it is queued, and once it is written.
    close: usize,
    /// Whose frames these are.
    role: Role,
}

/// A payload by reference.
struct Shared {
    /// Where in the arena it comes.
    at: usize,
    bytes: Bytes,
}

/// None, for most connections at most times.
#[expect(clippy::box_collection, reason = "a thin pointer in each connection, where nearly all have none")]
struct Shares(Option<Box<VecDeque<Shared>>>);

impl Shares {
    fn queue(&mut self) -> &mut VecDeque<Shared> {
        self.0.get_or_insert_default()
    }
}

impl Deref for Shares {
    type Target = VecDeque<Shared>;

    fn deref(&self) -> &VecDeque<Shared> {
        static NONE: VecDeque<Shared> = VecDeque::new();
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl Output {
    pub(crate) const fn new(role: Role) -> Self {
        Self { arena: Vec::new(), cursor: 0, shared: Shares(None), len: 0, front: 0, pong: 0, close: 0, role }
    }

    /// Begins with bytes that are not frames: the head of a handshake.
    pub(crate) fn from_head(role: Role, head: Vec<u8>) -> Self {
        let len = head.len();
        Self { arena: head, len, front: len, ..Self::new(role) }
    }

    /// How many bytes wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory that what waits holds.
    pub(crate) fn memory(&self) -> usize {
        self.arena.capacity() + self.shared.iter().map(|shared| shared.bytes.len()).sum::<usize>()
    }

    /// Whether [`chunk`](Buf::chunk) is all that waits.
    #[must_use]
    pub fn is_in_one(&self) -> bool {
        self.shared.is_empty()
    }

    /// Takes the next piece as an owned `Bytes`, for I/O that owns its buffers. The piece counts as written.
    pub fn pop(&mut self) -> Option<Bytes> {
        if self.is_empty() {
            return None;
        }
        let piece = match self.shared.front() {
            Some(shared) if shared.at == self.cursor => shared.bytes.clone(),
            None if self.cursor == 0 => {
                let arena = core::mem::take(&mut self.arena);
                self.clear();
                return Some(arena.into());
            }
            _ => Bytes::copy_from_slice(self.arena_run()),
        };
        self.advance(piece.len());
        Some(piece)
    }

    /// Appends to the arena: `write` may only append, and what it appends is a whole header with or
    /// without its payload, or the payload of the header before it.
    #[inline]
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.make_room();
        let before = self.arena.len();
        write(&mut self.arena);
        self.len += self.arena.len() - before;
    }

    /// Appends a server's frame that is a message by itself, of less than 64 KiB.
    #[inline]
    pub(crate) fn append_whole(&mut self, kind: Kind, payload: &[u8]) {
        let len = payload.len();
        let header = Header::encode_whole(kind, len);
        self.make_room();
        // Lengths that the compiler knows are moves, others are calls.
        let length = if len <= MAX_CONTROL_PAYLOAD {
            self.arena.extend_from_slice(&[header[0], header[1]]);
            2
        } else {
            self.arena.extend_from_slice(&header);
            4
        };
        if len < simd::SHORT {
            simd::append::<false>(payload, &mut self.arena, [0; 4]);
        } else {
            self.arena.extend_from_slice(payload);
        }
        self.len += length + len;
    }

    /// Appends a client's frame that is a message by itself, of less than 64 KiB.
    #[inline]
    pub(crate) fn append_masked(&mut self, kind: Kind, payload: &[u8], key: [u8; 4]) {
        let len = payload.len();
        let (header, length) = Header::encode_masked(kind, len, key);
        self.append(|arena| {
            arena.reserve(header.len() + len);
            let start = arena.len();
            arena.extend_from_slice(&header);
            arena.truncate(start + length);
            mask::copy(payload, arena, key);
        });
    }

    #[inline(always)]
    fn make_room(&mut self) {
        if self.arena.capacity() == 0 {
            self.begin_arena();
        }
        // Half of the arena is spent: moving the rest costs no more than writing the spent half did.
        if self.cursor > self.arena.len() / 2 {
            self.drop_written();
        }
    }

    #[inline(never)]
    fn begin_arena(&mut self) {
        self.arena = pool::take_arena();
    }

    #[cold]
    fn drop_written(&mut self) {
        self.arena.drain(..self.cursor);
        for shared in self.shared.queue().iter_mut() {
            shared.at -= self.cursor;
        }
        self.cursor = 0;
    }

    /// Appends a payload, or a frame as a whole, by reference.
    pub(crate) fn append_shared(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        self.shared.queue().push_back(Shared { at: self.arena.len(), bytes });
    }

    /// Appends a frame that many connections have: by a copy, which costs less than a reference, where no more than
    /// `most` bytes wait and there is memory for it at hand; else by reference.
    pub(crate) fn append_encoded(&mut self, frame: &Bytes, most: usize) {
        if self.arena.capacity() == 0 && self.is_empty() && frame.len() <= most {
            self.arena = pool::take_arena();
        }
        let has_room = frame.len() <= self.arena.capacity() - self.arena.len();
        if has_room && self.len + frame.len() <= most {
            self.append(|arena| arena.extend_from_slice(frame));
        } else {
            self.append_shared(frame.clone());
        }
    }

    /// Whether the pong that was put in last still waits.
    pub(crate) const fn has_pong(&self) -> bool {
        self.pong != 0
    }

    /// Notes that the frame appended last is our Close.
    pub(crate) const fn mark_close(&mut self) {
        self.close = self.len;
    }

    /// Whether our Close still waits.
    pub(crate) const fn has_close(&self) -> bool {
        self.close != 0
    }

    /// Puts the pong frame that `write` appends behind the frame that is being written, before all others.
    pub(crate) fn insert_pong(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.front == self.len {
            self.append(write);
            self.pong = self.len;
            return;
        }
        // Walk to the end of the front frame; the pong becomes a shared piece there. Frames do not end
        // inside a shared piece: that is a whole payload, or a whole frame.
        let mut at = self.cursor;
        let mut left = self.front;
        let mut index = 0;
        while left > 0 {
            match self.shared.get(index) {
                Some(shared) if left > shared.at - at => {
                    left = (left - (shared.at - at)).saturating_sub(shared.bytes.len());
                    at = shared.at;
                    index += 1;
                }
                _ => {
                    at += left;
                    left = 0;
                }
            }
        }
        let mut frame = Vec::new();
        write(&mut frame);
        self.len += frame.len();
        self.pong = self.front + frame.len();
        if self.close > self.front {
            self.close += frame.len();
        }
        self.shared.queue().insert(index, Shared { at, bytes: frame.into() });
    }

    /// Gives back memory that holds nothing, or far less than its size.
    #[inline]
    pub(crate) fn release(&mut self) {
        if !self.is_empty() || self.shared.0.is_some() {
            self.release_some();
        }
    }

    #[inline(never)]
    fn release_some(&mut self) {
        if self.is_empty() {
            self.shared = Shares(None);
        } else if (self.arena.len() - self.cursor).saturating_mul(Config::MOST_PINNED) < self.arena.capacity()
        {
            // What is written, and not dropped yet, holds nothing.
            self.drop_written();
            let arena = self.arena[..].into();
            pool::put_arena(core::mem::replace(&mut self.arena, arena));
        }
    }

    /// The bytes of the arena up to the next shared piece.
    fn arena_run(&self) -> &[u8] {
        let end = match self.shared.front() {
            Some(shared) => shared.at,
            None => self.arena.len(),
        };
        &self.arena[self.cursor..end]
    }

    fn clear(&mut self) {
        if self.arena.capacity() > 0 {
            pool::put_arena(core::mem::take(&mut self.arena));
        }
        if self.shared.capacity() > KEPT_SHARED {
            self.shared = Shares(None);
        } else if !self.shared.is_empty() {
            self.shared.queue().clear();
        }
        (self.cursor, self.len) = (0, 0);
        (self.front, self.pong, self.close) = (0, 0, 0);
    }

    /// The length of the frame at the front, from its header: headers are written in one piece.
    fn front_frame(&self) -> usize {
        match Header::decode(self.chunk(), self.role) {
            Ok(Some((header, length))) => length + usize::try_from(header.len).unwrap_or(usize::MAX),
            // Unreachable: the bytes are ours. The rest as one unit keeps the pong behind all of it.
            Ok(None) | Err(_) => self.len,
        }
    }

    /// Drops `count` bytes from the front, which lie in one piece.
    fn drop_front(&mut self, count: usize) {
        self.len -= count;
        match self.shared.0.as_mut().and_then(|queue| queue.front_mut()) {
            Some(shared) if shared.at == self.cursor => {
                shared.bytes.advance(count);
                if shared.bytes.is_empty() {
                    self.shared.queue().pop_front();
                }
            }
            _ => self.cursor += count,
        }
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        match self.shared.front() {
            Some(shared) if shared.at == self.cursor => &shared.bytes,
            _ => self.arena_run(),
        }
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        let mut cursor = self.cursor;
        let pieces = self.shared.iter().flat_map(|shared| {
            let run = cursor..shared.at;
            cursor = run.end;
            [&self.arena[run], &shared.bytes[..]]
        });
        let tail = self.shared.back().map_or(self.cursor, |shared| shared.at);
        let pieces = pieces.chain([&self.arena[tail..]]).filter(|piece| !piece.is_empty());
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = std::io::IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// # Panics
    /// If `count` is more than [`remaining`](Buf::remaining).
    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len, "advanced by {count} of {} bytes", self.len);
        if count == self.len {
            return self.clear();
        }
        self.pong = self.pong.saturating_sub(count);
        self.close = self.close.saturating_sub(count);
        while count > 0 {
            if self.front == 0 {
                self.front = self.front_frame();
            }
            let step = count.min(self.front).min(self.chunk().len());
            self.drop_front(step);
            self.front -= step;
            count -= step;
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads and credentials stay out of logs.
        f.debug_struct("Output").field("len", &self.len).finish_non_exhaustive()
    }
}

/// How many places for shared pieces are kept when all is written.
const KEPT_SHARED: usize = 16;
