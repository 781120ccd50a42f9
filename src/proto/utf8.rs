//! UTF-8: a validator for text that comes in pieces, and types that know their bytes are text (RFC 6455 §8.1).
//!
//! ```
//! use taut::proto::utf8::{Validator, check};
//! let mut validator = Validator::new();
//! validator.feed(b"zw\xc3")?; // in the middle of the ö
//! validator.feed(b"\xb6lf")?;
//! validator.finish()?;
//! assert_eq!(check(b"zw\xf6lf").unwrap_err().offset, 2);
//! # Ok::<(), taut::proto::utf8::Utf8Error>(())
//! ```

#![expect(
    unsafe_code,
    reason = "text is validated once, when it arrives, and not again when it is looked at"
)]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::{fmt, str};

use bytes::{Bytes, BytesMut};

use super::config::Config;
use super::pool;
use super::simd;
use super::utf8_vectors::{self, MOST_MASKED};

/// Bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Utf8Error {
    /// Where the first sequence begins that is not UTF-8, in bytes.
    pub offset: u64,
}

impl fmt::Display for Utf8Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not UTF-8 at byte {}", self.offset)
    }
}

impl core::error::Error for Utf8Error {}

/// Checks text that comes in pieces, which may end anywhere. Fails at the byte that proves it wrong.
#[derive(Clone, Debug, Default)]
pub struct Validator {
    /// The bytes of a character whose end has not come yet.
    held: [u8; 4],
    held_len: u8,
    /// How many bytes of whole characters have come.
    whole: u64,
}

impl Validator {
    /// A validator that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { held: [0; 4], held_len: 0, whole: 0 }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// [`Utf8Error`] if no continuation could make the text valid. The validator is of no use then.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), Utf8Error> {
        while self.held_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.hold(byte)?;
        }
        let end = whole_characters(piece);
        let (whole, cut) = piece.split_at(end);
        if let Err(error) = check(whole) {
            return Err(Utf8Error { offset: self.whole + error.offset });
        }
        self.whole += end as u64;
        for &byte in cut {
            self.hold(byte)?;
        }
        Ok(())
    }

    /// How many bytes of a character came whose end has not, 0 to 3.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held_len as usize
    }

    /// Ends the text.
    ///
    /// # Errors
    /// [`Utf8Error`] if it ends inside a character.
    pub const fn finish(&self) -> Result<(), Utf8Error> {
        if self.held_len == 0 { Ok(()) } else { Err(Utf8Error { offset: self.whole }) }
    }

    /// Takes a byte of a character that may not be complete with it.
    fn hold(&mut self, byte: u8) -> Result<(), Utf8Error> {
        self.held[usize::from(self.held_len)] = byte;
        self.held_len += 1;
        match str::from_utf8(&self.held[..usize::from(self.held_len)]) {
            Ok(_) => {
                self.whole += u64::from(self.held_len);
                self.held_len = 0;
                Ok(())
            }
            Err(error) if error.error_len().is_none() => Ok(()),
            Err(_) => Err(Utf8Error { offset: self.whole }),
        }
    }
}

/// `bytes` as text, all of which is there: as [`str::from_utf8`], by the vectors of the processor.
///
/// # Errors
/// [`Utf8Error`] with the place of the first sequence that is not UTF-8, or that misses its end.
#[inline(always)]
pub fn check(bytes: &[u8]) -> Result<&str, Utf8Error> {
    let is_ascii = bytes.len() <= simd::SHORT && simd::is_ascii(bytes);
    checked(bytes, is_ascii || utf8_vectors::is_utf8(bytes))
}

/// Unmasks a whole payload in place, and gives it as text. All of it is unmasked then, whether it is text or not.
#[inline(always)]
pub(crate) fn unmask_text(bytes: &mut [u8], key: [u8; 4]) -> Result<&str, Utf8Error> {
    let valid = if bytes.len() <= MOST_MASKED {
        simd::xor_ascii(bytes, key) || unmask_few(bytes, key)
    } else if bytes.len() <= BLOCK {
        simd::xor::<true>(bytes, key, 0) || utf8_vectors::is_utf8(bytes)
    } else {
        unmask_blocks(bytes, key)
    };
    checked(bytes, valid)
}

/// Unmasks a few bytes, and tells whether they are text. They are checked before: a vector would wait for the words
/// that were written into it.
#[inline(never)]
fn unmask_few(bytes: &mut [u8], key: [u8; 4]) -> bool {
    let valid = utf8_vectors::is_masked_utf8(bytes, key);
    simd::xor::<false>(bytes, key, 0);
    valid
}

/// The same of many, block by block; one that is not ASCII is checked while it is in the cache.
fn unmask_blocks(bytes: &mut [u8], key: [u8; 4]) -> bool {
    // Where the first character begins that is not checked yet: at most three bytes before `start`.
    let mut checked = 0;
    let mut valid = true;
    for start in (0..bytes.len()).step_by(BLOCK) {
        let end = bytes.len().min(start + BLOCK);
        let is_ascii = simd::xor::<true>(&mut bytes[start..end], key, 0);
        let fresh = &bytes[checked..end];
        // What the last block ends with has no other to continue it.
        let whole = if end == bytes.len() { fresh.len() } else { whole_characters(fresh) };
        valid = valid && (is_ascii && checked == start || utf8_vectors::is_utf8(&fresh[..whole]));
        checked += whole;
    }
    valid
}

/// A copy of a text that came in, without its masking key.
#[inline(always)]
pub(crate) fn copy(bytes: &[u8], key: Option<[u8; 4]>) -> Result<Box<str>, Utf8Error> {
    let (text, is_ascii) = pool::copy::<true>(bytes, key);
    checked(&text, is_ascii || is_copied_text(bytes, &text, key))?;
    // SAFETY: it was found valid.
    Ok(unsafe { alloc::str::from_boxed_utf8_unchecked(text) })
}

/// Whether a copy that was written just before, and is not ASCII, is text: looks where it came from, if that does as
/// well, since a vector would wait for the words that were written into the copy.
#[inline(never)]
fn is_copied_text(bytes: &[u8], copy: &[u8], key: Option<[u8; 4]>) -> bool {
    match key {
        None => utf8_vectors::is_utf8(bytes),
        Some(key) if bytes.len() <= MOST_MASKED => utf8_vectors::is_masked_utf8(bytes, key),
        Some(_) => utf8_vectors::is_utf8(copy),
    }
}

/// `bytes` as the text that they are, if they are `valid`.
#[inline(always)]
fn checked(bytes: &[u8], valid: bool) -> Result<&str, Utf8Error> {
    if !valid {
        return Err(Utf8Error { offset: first_error(bytes) });
    }
    debug_assert!(str::from_utf8(bytes).is_ok());
    // SAFETY: they were found valid.
    Ok(unsafe { str::from_utf8_unchecked(bytes) })
}

#[cold]
fn first_error(bytes: &[u8]) -> u64 {
    str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len) as u64
}

/// How many bytes come before a character at the end of `bytes` that misses its end. The rest, 0 to 3
/// bytes, begins with a byte that announces more than there are.
pub(crate) fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let start = bytes.len() - back;
        let announced = match bytes[start] {
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xFF => 4,
            _ => 1,
        };
        return if announced > back { start } else { bytes.len() };
    }
    bytes.len()
}

/// The payload of a message that comes in pieces; text is checked as it comes.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// INVARIANT: all of it went through `text`, without an error, since the last `clear`, if a piece of text
    /// was appended at all. Nobody else can reach it.
    bytes: BytesMut,
    /// The memory of `bytes`.
    pub(crate) size: usize,
    text: Validator,
}

impl Gathered {
    /// Appends a piece. `limit` is the length that the message cannot exceed.
    pub(crate) fn feed(&mut self, piece: &[u8], is_text: bool, limit: usize) -> Result<(), Utf8Error> {
        if is_text {
            self.text.feed(piece)?;
        }
        self.reserve(piece.len(), limit);
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Appends a piece without a copy, if it is the first or lies right behind the others. It pins `size` bytes.
    pub(crate) fn adopt(&mut self, piece: BytesMut, size: usize, is_text: bool) -> Result<(), Utf8Error> {
        if is_text {
            self.text.feed(&piece)?;
        }
        if self.bytes.is_empty() {
            self.let_go();
            self.size = size;
        }
        self.bytes.unsplit(piece);
        Ok(())
    }

    /// Whether a piece at `start` lies right behind the others.
    pub(crate) fn ends_at(&self, start: *const u8) -> bool {
        self.bytes.as_ptr_range().end == start
    }

    /// Memory behind the pieces, for up to `more` bytes: what is left, unless it is less than `least`, else as much as
    /// came already.
    pub(crate) fn tail(&mut self, more: usize, least: usize, limit: usize) -> BytesMut {
        let len = self.bytes.len();
        // What is left of the memory first, however little beside what came: each growth copies all that came.
        // Before what came there may be the header of its frame.
        let left = self.size.saturating_sub(len + Config::MOST_BEFORE).min(more);
        if left < more.min(least) || !self.bytes.try_reclaim(left) {
            self.reserve(more.min(len), limit);
        }
        let mut tail = self.bytes.split_off(len);
        if tail.capacity() > more {
            drop(tail.split_off(more));
        }
        tail
    }

    /// Appends what `write` puts into `room` bytes; both give how many it took from elsewhere, and how many it put.
    pub(crate) fn fill<E: From<Utf8Error>>(
        &mut self,
        room: usize,
        limit: usize,
        is_text: bool,
        write: impl FnOnce(&mut [u8]) -> Result<(usize, usize), E>,
    ) -> Result<(usize, usize), E> {
        let len = self.bytes.len();
        self.reserve(room, limit);
        self.bytes.resize(len + room, 0);
        let written = write(&mut self.bytes[len..]);
        self.bytes.truncate(written.as_ref().map_or(len, |(_, filled)| len + filled));
        if is_text {
            self.text.feed(&self.bytes[len..])?;
        }
        written
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text, if all of it was appended as text and it is complete.
    pub(crate) fn as_text(&self) -> Result<&str, Utf8Error> {
        self.text.finish()?;
        if self.text.whole != self.bytes.len() as u64 {
            return check(&self.bytes);
        }
        debug_assert!(str::from_utf8(&self.bytes).is_ok());
        // SAFETY: by the invariant `text` saw bytes of `self.bytes` only, in their order and without an
        // error; it holds no incomplete character and counted as many bytes as there are.
        Ok(unsafe { str::from_utf8_unchecked(&self.bytes) })
    }

    /// Takes the bytes out: without a copy, unless they are fewer than `copy_below`, or would pin far more memory.
    pub(crate) fn take(&mut self, copy_below: usize) -> Bytes {
        let len = self.bytes.len();
        if len < copy_below || len.saturating_mul(Config::MOST_PINNED) < self.size {
            let bytes = Bytes::copy_from_slice(&self.bytes);
            self.clear(Config::MOST_READ);
            return bytes;
        }
        let mut bytes = core::mem::take(&mut self.bytes);
        pool::put_large(bytes.split_off(len), self.size);
        (self.size, self.text) = (0, Validator::new());
        bytes.freeze()
    }

    /// As [`take`](Self::take).
    pub(crate) fn take_text(&mut self, copy_below: usize) -> Result<Utf8Bytes, Utf8Error> {
        self.as_text()?;
        Ok(Utf8Bytes(self.take(copy_below)))
    }

    /// Forgets the first `len` bytes; keeps at most `kept` bytes of memory if no others are left.
    pub(crate) fn drop_front(&mut self, len: usize, kept: usize) {
        if len == self.bytes.len() {
            return self.clear(kept);
        }
        self.bytes.copy_within(len.., 0);
        self.bytes.truncate(self.bytes.len() - len);
    }

    /// Forgets the message; keeps at most `kept` bytes of memory.
    pub(crate) fn clear(&mut self, kept: usize) {
        if self.size > kept {
            self.let_go();
        }
        self.bytes.clear();
        self.text = Validator::new();
    }

    /// Moves to memory of about its size, if it has far more.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.len().saturating_mul(Config::MOST_PINNED) < self.size {
            let bytes = BytesMut::from(&self.bytes[..]);
            self.let_go();
            (self.size, self.bytes) = (bytes.capacity(), bytes);
        }
    }

    fn reserve(&mut self, more: usize, limit: usize) {
        let len = self.bytes.len();
        if self.bytes.capacity() - len >= more || (len > 0 && self.bytes.try_reclaim(more)) {
            return;
        }
        // Doubled, so that the copies stay linear, but never over the limit of the message.
        let capacity = (len * 2).min(limit).max(len + more);
        if len == 0 {
            self.let_go();
            self.bytes = pool::take(capacity);
        } else if let Some(mut larger) = pool::take_again(capacity) {
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        } else {
            // In place, if the allocator can; a `BytesMut` by itself doubles, over the limit.
            let mut grown = Vec::from(core::mem::take(&mut self.bytes));
            grown.reserve_exact(capacity - len);
            self.bytes = Bytes::from(grown).into();
        }
        self.size = self.bytes.capacity();
    }

    /// Lets go of the memory.
    fn let_go(&mut self) {
        pool::put_large(core::mem::take(&mut self.bytes), core::mem::take(&mut self.size));
    }
}

/// [`Bytes`] that are UTF-8. Cheap to clone.
// Invariant: `self.0` is UTF-8.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utf8Bytes(Bytes);

impl Utf8Bytes {
    /// The empty text.
    #[must_use]
    pub const fn new() -> Self {
        Self(Bytes::new())
    }

    /// A constant, without a copy.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        // Invariant: a `str` is UTF-8.
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// A copy of a text that came in, without its masking key.
    #[inline(always)]
    pub(crate) fn copy(bytes: &[u8], key: Option<[u8; 4]>) -> Result<Self, Utf8Error> {
        copy(bytes, key).map(Self::from_box)
    }

    #[inline(always)]
    pub(crate) fn from_box(text: Box<str>) -> Self {
        // Invariant: a `str` is UTF-8.
        Self(text.into_boxed_bytes().into())
    }

    /// The same in memory for large ones.
    pub(crate) fn copy_large(bytes: &[u8], key: Option<[u8; 4]>) -> Result<Self, Utf8Error> {
        let (text, is_ascii) = pool::copy_large::<true>(bytes, key);
        if !is_ascii {
            check(&text)?;
        }
        // Invariant: as in `copy`.
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        debug_assert!(str::from_utf8(&self.0).is_ok());
        // SAFETY: by the invariant `self.0` is UTF-8.
        unsafe { str::from_utf8_unchecked(&self.0) }
    }

    /// The bytes, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl From<&str> for Utf8Bytes {
    fn from(text: &str) -> Self {
        // Invariant: a `str` is UTF-8.
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Utf8Bytes {
    fn from(text: String) -> Self {
        // Invariant: a `String` is UTF-8.
        Self(text.into())
    }
}

impl TryFrom<Bytes> for Utf8Bytes {
    type Error = Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Utf8Error> {
        check(&bytes)?;
        // Invariant: checked in the line above; `Bytes` cannot change.
        Ok(Self(bytes))
    }
}

/// What is unmasked before it is checked: a part of the first level of the cache, and a multiple of the key.
const BLOCK: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    /// What the validator must say, from `core`: `None` if more bytes could make it valid.
    fn naive(bytes: &[u8]) -> Option<Result<(), u64>> {
        match str::from_utf8(bytes) {
            Ok(_) => Some(Ok(())),
            Err(error) if error.error_len().is_none() => None,
            Err(error) => Some(Err(error.valid_up_to() as u64)),
        }
    }

    fn agree(pieces: &[&[u8]]) {
        let mut seen = Vec::new();
        let mut validator = Validator::new();
        for piece in pieces {
            seen.extend_from_slice(piece);
            let fed = validator.feed(piece);
            match naive(&seen) {
                Some(Err(offset)) => return assert_eq!(fed, Err(Utf8Error { offset }), "{seen:x?}"),
                Some(Ok(())) => assert_eq!((fed, validator.finish()), (Ok(()), Ok(())), "{seen:x?}"),
                None => {
                    assert_eq!(fed, Ok(()), "{seen:x?}");
                    assert!(validator.finish().is_err(), "{seen:x?}");
                    assert!((1..=3).contains(&validator.held()));
                }
            }
        }
    }

    #[test]
    fn s8_1_all_sequences_of_three_telling_bytes_byte_by_byte_and_cut_once() {
        // Every boundary of the table in RFC 3629 §4, from both sides.
        let telling = [
            0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC,
            0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
        ];
        for a in telling {
            for b in telling {
                for c in telling {
                    for d in [0x41, 0x80, 0xBF, 0xC2, 0xF4] {
                        let bytes = [a, b, c, d];
                        agree(&[&bytes]);
                        agree(&[&[a], &[b], &[c], &[d]]);
                        for cut in 1..4 {
                            agree(&[&bytes[..cut], &bytes[cut..]]);
                        }
                    }
                }
            }
        }
    }

    /// Checks `text`, and unmasks it, and holds both against the standard library.
    fn agree_whole(text: &[u8], key: [u8; 4]) {
        let expected = str::from_utf8(text).map_err(|error| Utf8Error { offset: error.valid_up_to() as u64 });
        assert_eq!(check(text), expected);
        let mut bytes: Vec<u8> = text.iter().zip(0..).map(|(byte, i)| byte ^ key[i % 4]).collect();
        for copied in [Utf8Bytes::copy(&bytes, Some(key)), Utf8Bytes::copy(text, None)] {
            assert_eq!(copied.as_deref(), expected.as_ref().map(|text| &**text));
        }
        assert_eq!(
            Utf8Bytes::copy_large(&bytes, Some(key)).as_deref(),
            expected.as_ref().map(|text| &**text)
        );
        assert_eq!(unmask_text(&mut bytes, key), expected);
        assert_eq!(bytes, text);
    }

    #[test]
    fn s8_1_a_character_or_half_of_one_at_each_place_of_ascii() {
        for len in 0..200 {
            for at in 0..len {
                for put in ["é", "€", "😀"].map(str::as_bytes) {
                    for part in 1..=put.len().min(len - at) {
                        let mut text = vec![b'a'; len];
                        text[at..at + part].copy_from_slice(&put[..part]);
                        agree_whole(&text, [1, 2, 3, 250]);
                    }
                }
            }
        }
    }

    #[test]
    fn s8_1_characters_and_errors_at_the_borders_of_blocks() {
        for lead in 0..4 {
            for (character, len) in [("é", 2), ("€", 3), ("😀", 4), ("a", 1)] {
                let mut text = vec![b'a'; lead];
                text.extend_from_slice(character.repeat(3 * BLOCK / len).as_bytes());
                agree_whole(&text, [1, 2, 3, 250]);
                for end in [BLOCK, 2 * BLOCK, 3 * BLOCK, text.len()] {
                    // The last ends inside a character, for most.
                    agree_whole(&text[..end], [1, 2, 3, 250]);
                    for at in end.saturating_sub(5)..(end + 5).min(text.len()) {
                        let kept = core::mem::replace(&mut text[at], 0xF5);
                        agree_whole(&text, [1, 2, 3, 250]);
                        text[at] = kept;
                    }
                }
                // One character alone across the border, ASCII around it.
                let mut text = vec![b'a'; 2 * BLOCK + 100];
                text[BLOCK - lead..][..len].copy_from_slice(character.as_bytes());
                agree_whole(&text, [1, 2, 3, 250]);
                text[BLOCK] = b'a';
                agree_whole(&text, [1, 2, 3, 250]);
            }
        }
    }

    proptest! {
        #[test]
        fn s8_1_text_with_one_byte_spoiled_in_random_pieces(
            text in "\\PC{0,200}",
            spoil in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut bytes = text.into_bytes();
            if let (Some((at, byte)), false) = (spoil, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let mut ends: Vec<usize> = cuts.drain(..).map(|cut| cut.index(bytes.len() + 1)).collect();
            ends.push(bytes.len());
            ends.sort_unstable();
            let mut start = 0;
            let pieces: Vec<&[u8]> =
                ends.iter().map(|&end| { let piece = &bytes[start..end]; start = end; piece }).collect();
            agree(&pieces);
        }

        #[test]
        fn s8_1_whole_text_with_one_byte_spoiled(
            text in "\\PC{0,200}",
            spoil in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            key: [u8; 4],
        ) {
            let mut bytes = text.into_bytes();
            if let (Some((at, byte)), false) = (spoil, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            agree_whole(&bytes, key);
        }

        #[test]
        fn gathered_text_equals_its_pieces(text in "\\PC{0,200}", cut: prop::sample::Index) {
            let cut = cut.index(text.len() + 1);
            let mut gathered = Gathered::default();
            gathered.feed(&text.as_bytes()[..cut], true, usize::MAX).unwrap();
            gathered.feed(&text.as_bytes()[cut..], true, usize::MAX).unwrap();
            prop_assert_eq!(gathered.as_text().unwrap(), &text);
            let taken = gathered.take_text(usize::MAX).unwrap();
            prop_assert_eq!(taken.as_str(), &text);
        }
    }

    #[test]
    fn gathered_memory_follows_the_bytes_and_stops_at_the_limit() {
        let mut gathered = Gathered::default();
        for _ in 0..1000 {
            gathered.feed(&[0; 10], false, 10_000).unwrap();
            assert!(gathered.bytes.capacity() <= (gathered.bytes.len() * 2).min(10_000));
        }
    }
}
