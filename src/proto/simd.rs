//! The loops of masking (RFC 6455 §5.3), which tell as well, if asked, whether what they write is ASCII. A short payload
//! takes a few words from either end, a longer one the widest vectors that the processor has.

#![expect(
    unsafe_code,
    reason = "words that overlap, memory that is not initialised yet, and instructions found at run time"
)]

use alloc::vec::Vec;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::sync::atomic::{AtomicPtr, Ordering};
#[cfg(all(feature = "std", target_arch = "x86_64"))]
pub(super) use std::is_x86_feature_detected as has;

use bytes::BytesMut;

/// Without `std`, what the target is sure to have.
#[cfg(all(not(feature = "std"), target_arch = "x86_64"))]
macro_rules! has {
    ($feature:tt) => {
        cfg!(target_feature = $feature)
    };
}
#[cfg(all(not(feature = "std"), target_arch = "x86_64"))]
pub(super) use has;

/// XORs `bytes` with `key`, repeated, whose first byte is for the byte `offset` before them. With `SEEN`, tells whether
/// the result is ASCII.
#[inline(always)]
pub(crate) fn xor<const SEEN: bool>(bytes: &mut [u8], key: [u8; 4], offset: usize) -> bool {
    let to = bytes.as_mut_ptr();
    // SAFETY: both point to the bytes of `bytes`, which is borrowed mutably.
    unsafe { dispatch::<SEEN>(to, to, bytes.len(), turned(twice(key), offset)) & HIGH == 0 }
}

/// As [`xor`], of bytes shorter than [`SHORT`] whose result is ASCII; leaves others as they are, and tells which they were.
#[inline(always)]
pub(crate) fn xor_ascii(bytes: &mut [u8], key: [u8; 4]) -> bool {
    assert!(bytes.len() < SHORT);
    let to = bytes.as_mut_ptr();
    // SAFETY: both point to the bytes of `bytes`, which is borrowed mutably, and not longer than SHORT.
    unsafe { words::<WRITE_ASCII>(to, to, bytes.len(), twice(key)) & HIGH == 0 }
}

/// Appends `from`, XORed with `key`, repeated, to `to`. With `SEEN`, tells whether that is ASCII.
#[inline(always)]
pub(crate) fn append<const SEEN: bool>(from: &[u8], to: &mut Vec<u8>, key: [u8; 4]) -> bool {
    to.reserve(from.len());
    // SAFETY: `reserve` made room for as many bytes behind the end of `to`, in memory that is its own;
    // `dispatch` writes all of them.
    unsafe {
        let end = to.as_mut_ptr().add(to.len());
        let seen = dispatch::<SEEN>(from.as_ptr(), end, from.len(), twice(key));
        to.set_len(to.len() + from.len());
        seen & HIGH == 0
    }
}

/// The same for another kind of memory.
pub(crate) fn extend<const SEEN: bool>(to: &mut BytesMut, from: &[u8], key: [u8; 4]) -> bool {
    to.reserve(from.len());
    // SAFETY: as in `append`.
    unsafe {
        let end = to.as_mut_ptr().add(to.len());
        let seen = dispatch::<SEEN>(from.as_ptr(), end, from.len(), twice(key));
        to.set_len(to.len() + from.len());
        seen & HIGH == 0
    }
}

/// Whether `bytes`, which are at most [`SHORT`] long, are ASCII.
#[inline(always)]
pub(crate) fn is_ascii(bytes: &[u8]) -> bool {
    assert!(bytes.len() <= SHORT);
    let from = bytes.as_ptr();
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= size_of::<arch::__m128i>() {
        return is_ascii_by_ends(bytes);
    }
    // SAFETY: `bytes` is not longer than SHORT; by LOOK nothing is written.
    unsafe { words::<LOOK>(from, from.cast_mut(), bytes.len(), 0) & HIGH == 0 }
}

/// The same by vectors that every processor of the kind has: half of them from the start, half up to the end.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn is_ascii_by_ends(bytes: &[u8]) -> bool {
    use arch::{__m128i as Vector, _mm_movemask_epi8, _mm_or_si128};
    const SIZE: usize = size_of::<Vector>();
    let (len, from) = (bytes.len(), bytes.as_ptr());
    assert!((SIZE..=4 * SIZE).contains(&len));
    // SAFETY: wherever a vector is read, it ends within `len`; the target is sure to have SSE2.
    unsafe {
        let load = |at: usize| from.add(at).cast::<Vector>().read_unaligned();
        let mut seen = _mm_or_si128(load(0), load(len - SIZE));
        if len > 2 * SIZE {
            seen = _mm_or_si128(seen, _mm_or_si128(load(SIZE), load(len - 2 * SIZE)));
        }
        _mm_movemask_epi8(seen) == 0
    }
}

/// Writes the bytes from `from`, XORed with `key`, to `to`. With `SEEN`, gives the OR of words that hold all that was
/// written.
///
/// # Safety
/// `from` can be read, `to` written, for `len` bytes; they are the same, or do not overlap.
#[inline(always)]
unsafe fn dispatch<const SEEN: bool>(from: *const u8, to: *mut u8, len: usize, key: u64) -> u64 {
    // SAFETY: the caller's promise, and the lengths that the functions ask for; `best` gives what the processor
    // can run.
    unsafe {
        if len < SHORT { words::<WRITE>(from, to, len, key) } else { best::<SEEN>()(from, to, len, key) }
    }
}

/// What [`words`] does beside looking: nothing.
const LOOK: u8 = 0;
/// It writes.
const WRITE: u8 = 1;
/// It writes what is ASCII as a whole.
const WRITE_ASCII: u8 = 2;

/// Half of the words are counted from the start, half from the end; where they meet they overlap. No length
/// takes a loop.
///
/// # Safety
/// As for [`dispatch`], and `len <= SHORT`. By `LOOK`, `to` need not be writable.
#[inline(always)]
unsafe fn words<const MODE: u8>(from: *const u8, to: *mut u8, len: usize, key: u64) -> u64 {
    let writes = |seen: u64| MODE == WRITE || MODE == WRITE_ASCII && seen & HIGH == 0;
    // SAFETY: each arm reads and writes, from the start and up to the end, no more than the least length that it
    // takes. All is read before anything is written.
    unsafe {
        match len {
            0 => 0,
            1..=3 => {
                // The first, the one in the middle, and the last: one byte may be all of these.
                let (middle, end) = (len / 2, len - 1);
                let [head, inner, tail] =
                    [0, middle, end].map(|at| from.add(at).read() ^ turned(key, at).to_ne_bytes()[0]);
                let seen = u64::from(head | inner | tail);
                if writes(seen) {
                    to.write(head);
                    to.add(middle).write(inner);
                    to.add(end).write(tail);
                }
                seen
            }
            4..=7 => {
                let end = len - 4;
                let head = from.cast::<u32>().read_unaligned() ^ key as u32;
                let tail = from.add(end).cast::<u32>().read_unaligned() ^ turned(key, end) as u32;
                let seen = u64::from(head | tail);
                if writes(seen) {
                    to.cast::<u32>().write_unaligned(head);
                    to.add(end).cast::<u32>().write_unaligned(tail);
                }
                seen
            }
            8..=16 => ends::<1>(from, to, len, key, writes),
            17..=32 => ends::<2>(from, to, len, key, writes),
            _ => ends::<4>(from, to, len, key, writes),
        }
    }
}

/// # Safety
/// As for [`words`], and `N * 8 <= len <= N * 16`.
#[inline(always)]
unsafe fn ends<const N: usize>(
    from: *const u8,
    to: *mut u8,
    len: usize,
    key: u64,
    writes: impl Fn(u64) -> bool,
) -> u64 {
    let end = len - N * 8;
    // SAFETY: N words at the start, and N words up to the end, lie within `len`. All is read before anything is
    // written.
    unsafe {
        let end_key = turned(key, end);
        let head = from.cast::<[u64; N]>().read_unaligned().map(|word| word ^ key);
        let tail = from.add(end).cast::<[u64; N]>().read_unaligned().map(|word| word ^ end_key);
        let seen = (0..N).fold(0, |seen, i| seen | head[i] | tail[i]);
        if writes(seen) {
            to.cast::<[u64; N]>().write_unaligned(head);
            to.add(end).cast::<[u64; N]>().write_unaligned(tail);
        }
        seen
    }
}

/// What masks [`SHORT`] bytes or more: one of the functions below.
type Long = unsafe fn(*const u8, *mut u8, usize, u64) -> u64;

/// The fastest that the processor can run.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[inline(always)]
fn best<const SEEN: bool>() -> Long {
    // Looks for the best, and is itself none of them.
    unsafe fn find<const SEEN: bool>(from: *const u8, to: *mut u8, len: usize, key: u64) -> u64 {
        let found = detect::<SEEN>();
        BEST[usize::from(SEEN)].store(found as *mut (), Ordering::Relaxed);
        // SAFETY: the caller's promise; the processor can run what `detect` gives.
        unsafe { found(from, to, len, key) }
    }
    static BEST: [AtomicPtr<()>; 2] =
        [AtomicPtr::new(find::<false> as Long as *mut ()), AtomicPtr::new(find::<true> as Long as *mut ())];
    // SAFETY: BEST holds nothing but functions of this type.
    unsafe { core::mem::transmute::<*mut (), Long>(BEST[usize::from(SEEN)].load(Ordering::Relaxed)) }
}

#[cfg(not(all(feature = "std", target_arch = "x86_64")))]
#[inline(always)]
fn best<const SEEN: bool>() -> Long {
    detect::<SEEN>()
}

/// The fastest that the processor can run, or, without `std`, that the target is sure to.
#[cfg(target_arch = "x86_64")]
fn detect<const SEEN: bool>() -> Long {
    // The first processors with AVX-512 slow down when they use it; those that have VBMI2 do not.
    let (has_avx512, is_late) = (has!("avx512f"), has!("avx512vbmi2"));
    if has_avx512 && is_late {
        avx512::<SEEN>
    } else if has!("avx2") {
        avx2::<SEEN>
    } else {
        sse2::<SEEN>
    }
}

#[cfg(target_arch = "aarch64")]
fn detect<const SEEN: bool>() -> Long {
    neon::<SEEN>
}

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
fn detect<const SEEN: bool>() -> Long {
    portable::<SEEN>
}

/// A function that masks by vectors, four a step, and, with `SEEN`, gives what was written as [`dispatch`] does. What is
/// not aligned at the start and at the end are whole vectors too, which overlap with the aligned ones.
macro_rules! by_vectors {
    ($(#[$attribute:meta])* $name:ident, $vector:ty, $splat:path, $xor:path, $or:path) => {
        /// # Safety
        /// As for [`dispatch`]; `len` is at least that of a vector; the processor has the instructions.
        $(#[$attribute])*
        unsafe fn $name<const SEEN: bool>(from: *const u8, to: *mut u8, len: usize, key: u64) -> u64 {
            const SIZE: usize = size_of::<$vector>();
            let end = len - SIZE;
            // SAFETY: `at` is at most `end` wherever a vector is read or written there, so that it ends within
            // `len`. The last is read before anything is written, and written after all else is read; the first
            // aligned one, in which the head may end, is read before the head is written. An array of words is as long
            // as a vector, and any bits are words.
            unsafe {
                let load = |at: usize, key| $xor(from.add(at).cast::<$vector>().read_unaligned(), key);
                let store = |at: usize, vector| to.add(at).cast::<$vector>().write_unaligned(vector);
                let splat = |key: u64| $splat(key.cast_signed());
                let (head, tail) = (load(0, splat(key)), load(end, splat(turned(key, end))));
                let mut seen = $or(head, tail);
                let mut see = |vector| {
                    if SEEN {
                        seen = $or(seen, vector);
                    }
                };
                // Stores that cross the border of a line of the cache cost twice.
                let mut at = SIZE - to.addr() % SIZE;
                let key = splat(turned(key, at));
                if at < end {
                    let first = load(at, key);
                    store(0, head);
                    store(at, first);
                    see(first);
                    at += SIZE;
                } else {
                    store(0, head);
                }
                if let Some(last) = end.checked_sub(4 * SIZE) {
                    while at <= last {
                        for place in [at, at + SIZE, at + 2 * SIZE, at + 3 * SIZE] {
                            let vector = load(place, key);
                            store(place, vector);
                            see(vector);
                        }
                        at += 4 * SIZE;
                    }
                }
                while at < end {
                    let vector = load(at, key);
                    store(at, vector);
                    see(vector);
                    at += SIZE;
                }
                store(end, tail);
                if !SEEN {
                    return 0;
                }
                let words: [u64; SIZE / 8] = core::mem::transmute(seen);
                words.into_iter().fold(0, |seen, word| seen | word)
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64 as arch;

#[cfg(target_arch = "x86_64")]
by_vectors!(
    #[target_feature(enable = "avx512f")]
    avx512,
    arch::__m512i,
    arch::_mm512_set1_epi64,
    arch::_mm512_xor_si512,
    arch::_mm512_or_si512
);
#[cfg(target_arch = "x86_64")]
by_vectors!(
    #[target_feature(enable = "avx2")]
    avx2,
    arch::__m256i,
    arch::_mm256_set1_epi64x,
    arch::_mm256_xor_si256,
    arch::_mm256_or_si256
);
#[cfg(target_arch = "x86_64")]
by_vectors!(sse2, arch::__m128i, arch::_mm_set1_epi64x, arch::_mm_xor_si128, arch::_mm_or_si128);

#[cfg(target_arch = "aarch64")]
use core::arch::aarch64 as arch;

#[cfg(target_arch = "aarch64")]
by_vectors!(neon, arch::int64x2_t, arch::vdupq_n_s64, arch::veorq_s64, arch::vorrq_s64);

#[cfg(any(test, not(any(target_arch = "aarch64", target_arch = "x86_64"))))]
by_vectors!(portable, i64, core::convert::identity, core::ops::BitXor::bitxor, core::ops::BitOr::bitor);

/// The key twice, as a word.
#[inline(always)]
fn twice(key: [u8; 4]) -> u64 {
    let key = u64::from(u32::from_ne_bytes(key));
    key << 32 | key
}

/// The key for the bytes from `at` on.
#[inline(always)]
fn turned(key: u64, at: usize) -> u64 {
    // In memory order, the first byte of the rotated key is the one for the byte at `at`.
    let bits = (at % 4) as u32 * 8;
    if cfg!(target_endian = "big") { key.rotate_left(bits) } else { key.rotate_right(bits) }
}

/// What is shorter takes words, in the place of the call; vectors, which are not longer than this, win from here on.
pub(crate) const SHORT: usize = 64;

/// The bits that ASCII does not have.
const HIGH: u64 = 0x8080_8080_8080_8080;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const KEY: [u8; 4] = [0x01, 0x02, 0x44, 0x7F];

    /// Byte by byte, as RFC 6455 §5.3 defines it.
    fn naive(bytes: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        bytes.iter().zip(0..).map(|(byte, i)| byte ^ key[(i + offset) % 4]).collect()
    }

    /// ASCII under KEY, with a byte that is not at `spoilt`, if there is such a byte.
    fn masked(len: usize, spoilt: usize) -> Vec<u8> {
        let text: Vec<u8> = (0..len).map(|i| if i == spoilt { 0xC3 } else { (i * 7 % 128) as u8 }).collect();
        naive(&text, KEY, 0)
    }

    /// All functions that this processor can run.
    fn long<const SEEN: bool>() -> Vec<(&'static str, Long)> {
        let mut all: Vec<(&'static str, Long)> =
            vec![("best", best::<SEEN>()), ("portable", portable::<SEEN>)];
        #[cfg(target_arch = "x86_64")]
        all.push(("sse2", sse2::<SEEN>));
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        {
            if std::is_x86_feature_detected!("avx2") {
                all.push(("avx2", avx2::<SEEN>));
            }
            if std::is_x86_feature_detected!("avx512f") {
                all.push(("avx512", avx512::<SEEN>));
            }
        }
        #[cfg(target_arch = "aarch64")]
        all.push(("neon", neon::<SEEN>));
        all
    }

    #[test]
    fn each_path_equals_the_naive_twin_at_each_length_and_alignment() {
        for (name, long) in long::<false>().into_iter().chain(long::<true>()) {
            for len in (SHORT..SHORT + 600).chain([4096, 16_385]) {
                let from = masked(len, usize::MAX);
                let plain = naive(&from, KEY, 0);
                for start in [0, 1, 2, 6, 14, 31, 33, 63] {
                    let mut memory = vec![0xA5; start + len + SHORT];
                    let to = memory[start..].as_mut_ptr();
                    // SAFETY: `from` and what follows `to` in `memory` are at least SHORT and `len`.
                    let seen = unsafe { long(from.as_ptr(), to, len, twice(KEY)) };
                    assert_eq!(memory[start..start + len], plain, "{name}, copied, {len} from {start}");
                    assert_eq!(seen & HIGH, 0, "{name}, {len} from {start}");
                    // SAFETY: the same.
                    unsafe { long(to, to, len, twice(KEY)) };
                    assert_eq!(memory[start..start + len], from, "{name}, in place, {len} from {start}");
                    let (before, after) = (&memory[..start], &memory[start + len..]);
                    assert!(
                        before.iter().chain(after).all(|&byte| byte == 0xA5),
                        "{name}, {len} from {start}"
                    );
                }
            }
        }
    }

    #[test]
    fn each_path_sees_the_one_byte_that_is_not_ascii() {
        for (name, long) in long::<true>() {
            for len in [64, 65, 100, 128, 200, 513, 700] {
                for spoilt in 0..len {
                    let mut bytes = masked(len, spoilt);
                    let to = bytes.as_mut_ptr();
                    // SAFETY: `bytes` is `len` bytes long, and not shorter than SHORT.
                    let seen = unsafe { long(to, to, len, twice(KEY)) };
                    assert_ne!(seen & HIGH, 0, "{name}, length {len}, byte {spoilt}");
                }
            }
        }
    }

    #[test]
    fn short_and_long_equal_the_naive_twin_at_each_offset() {
        for len in 0..200_usize {
            for offset in 0..5 {
                for spoilt in [0, len / 2, len.saturating_sub(1), len] {
                    let from = masked(len, spoilt);
                    let plain = naive(&from, KEY, offset);
                    let mut bytes = from.clone();
                    assert_eq!(
                        xor::<true>(&mut bytes, KEY, offset),
                        plain.is_ascii(),
                        "{len}, {offset}, {spoilt}"
                    );
                    assert_eq!(bytes, plain, "{len}, {offset}");
                    bytes.clone_from(&from);
                    xor::<false>(&mut bytes, KEY, offset);
                    assert_eq!(bytes, plain, "{len}, {offset}");
                }
                let (from, plain) = (masked(len, offset), naive(&masked(len, offset), KEY, 0));
                if len < SHORT {
                    let mut bytes = from.clone();
                    let is_ascii = xor_ascii(&mut bytes, KEY);
                    assert_eq!(is_ascii, plain.is_ascii(), "{len}, {offset}");
                    assert_eq!(bytes, if is_ascii { plain } else { from }, "{len}, {offset}");
                }
            }
            let from = masked(len, len);
            for capacity in [2, len + 2, len + 100] {
                let mut to = Vec::with_capacity(capacity);
                to.extend_from_slice(b"ab");
                append::<false>(&from, &mut to, KEY);
                assert_eq!((&to[..2], &to[2..]), (&b"ab"[..], &naive(&from, KEY, 0)[..]), "{len}");
            }
        }
    }

    #[test]
    fn short_text_is_ascii_unless_one_byte_is_not() {
        for len in 0..=SHORT {
            let mut bytes = vec![0x7F; len];
            assert!(is_ascii(&bytes));
            for spoilt in 0..len {
                bytes[spoilt] = 0x80;
                assert!(!is_ascii(&bytes), "length {len}, byte {spoilt}");
                bytes[spoilt] = 0x7F;
            }
        }
    }
}
