//! UTF-8 by the vectors of AVX2.

#![expect(unsafe_code, reason = "vectors that begin or end where the bytes do")]

use core::arch::x86_64::{self as arch, __m128i, __m256i};

use super::tables::{CONTINUED, FIRST_HIGH, FIRST_LOW, SECOND_HIGH};

/// Whether `bytes` are UTF-8.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    match bytes.len() {
        0 => true,
        1..=VECTOR => is_text_alone(load_short(bytes)),
        len if len <= 2 * VECTOR => are_few_text(bytes),
        len if len <= 4 * VECTOR => {
            // Half of them up to the end: where they meet they overlap.
            let (last, inner) = (len - VECTOR, VECTOR.min(len - VECTOR));
            is_ascii_all([0, inner, last - inner, last].map(|at| load(bytes, at))) || are_few_text(bytes)
        }
        _ => is_text(bytes),
    }
}

/// Whether `bytes`, at most a vector of them, are UTF-8 under `key`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn is_masked_utf8(bytes: &[u8], key: [u8; 4]) -> bool {
    if bytes.is_empty() {
        return true;
    }
    let unmasked =
        arch::_mm256_xor_si256(load_short(bytes), arch::_mm256_set1_epi32(i32::from_le_bytes(key)));
    // Zeros again where there is no byte.
    is_text_alone(arch::_mm256_and_si256(unmasked, load(&INSIDE, VECTOR - bytes.len())))
}

/// Whether `bytes`, more than one vector of them, and few, are UTF-8.
#[inline]
#[target_feature(enable = "avx2")]
fn are_few_text(bytes: &[u8]) -> bool {
    let mut wrong = wrong_alone(load(bytes, 0));
    let last = bytes.len() - VECTOR;
    let mut at = VECTOR;
    while at < last {
        wrong = arch::_mm256_or_si256(wrong, wrong_at(bytes, at));
        at += VECTOR;
    }
    let end = load(bytes, last);
    let wrong_at_end = if last >= HALF {
        wrong_at(bytes, last)
    } else {
        // The first half lies in the first vector as well, where it has been looked at.
        arch::_mm256_and_si256(wrong_alone(end), arch::_mm256_set_epi64x(-1, -1, 0, 0))
    };
    is_none([wrong, wrong_at_end, unfinished(end)])
}

/// Whether `bytes`, which are longer than four vectors, are UTF-8.
#[target_feature(enable = "avx2")]
fn is_text(bytes: &[u8]) -> bool {
    // Nothing can be wrong up to the first byte that is not ASCII.
    let last = bytes.len() - 4 * VECTOR;
    let mut at = 0;
    while at < last {
        if !is_ascii_all(four(bytes, at)) {
            return is_text_from(bytes, at);
        }
        at += 4 * VECTOR;
    }
    is_ascii_all(four(bytes, last)) || is_text_from(bytes, at.min(bytes.len() - VECTOR))
}

/// The same from `at` on, before which all is ASCII, by three tables for each byte and the one before it:
/// John Keiser, Daniel Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte" (2020).
#[inline(never)]
#[target_feature(enable = "avx2")]
fn is_text_from(bytes: &[u8], mut at: usize) -> bool {
    use arch::_mm256_or_si256 as or;
    let last = bytes.len() - VECTOR;
    let mut wrong = arch::_mm256_setzero_si256();
    if at == 0 {
        let next = [VECTOR, 2 * VECTOR, 3 * VECTOR].map(|at| wrong_at(bytes, at));
        wrong = or(wrong_alone(load(bytes, 0)), any(next));
        at = 4 * VECTOR;
    }
    // The vector before, and four; of a length that is known, so that their places are.
    while let Some(around) = bytes[at - VECTOR..].first_chunk::<{ 5 * VECTOR }>() {
        let more = if is_ascii_all(four(around, VECTOR)) {
            unfinished(load(around, 0))
        } else {
            any([1, 2, 3, 4].map(|i| wrong_at(around, i * VECTOR)))
        };
        wrong = or(wrong, more);
        at += 4 * VECTOR;
    }
    if at < bytes.len() {
        while at < last {
            wrong = or(wrong, wrong_at(bytes, at));
            at += VECTOR;
        }
        wrong = or(wrong, wrong_at(bytes, last));
    }
    is_none([wrong, unfinished(load(bytes, last))])
}

/// Whether a vector with nothing before it, and nothing behind it, is text.
#[inline]
#[target_feature(enable = "avx2")]
fn is_text_alone(vector: __m256i) -> bool {
    is_none([wrong_alone(vector), unfinished(vector)])
}

/// What is wrong with a vector that has nothing before it.
#[inline]
#[target_feature(enable = "avx2")]
fn wrong_alone(vector: __m256i) -> __m256i {
    wrong(vector, arch::_mm256_permute2x128_si256::<0x08>(vector, vector))
}

/// What is wrong with the vector at `at`, which is not in the first half.
#[inline]
#[target_feature(enable = "avx2")]
fn wrong_at(bytes: &[u8], at: usize) -> __m256i {
    wrong(load(bytes, at), load(bytes, at - HALF))
}

/// Not zero where a byte of `next` cannot follow those before it. `halves` has the half of a vector before each of its
/// halves.
#[inline]
#[target_feature(enable = "avx2")]
fn wrong(next: __m256i, halves: __m256i) -> __m256i {
    use arch::*;
    let one_before = _mm256_alignr_epi8::<15>(next, halves);
    let two_before = _mm256_alignr_epi8::<14>(next, halves);
    let three_before = _mm256_alignr_epi8::<13>(next, halves);
    let low_half = _mm256_set1_epi8(0x0F);
    let high = |bytes| _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low_half);
    let look = |table: &[u8; 16], halves| {
        // SAFETY: the table has as many bytes; any bits are a vector.
        let table = unsafe { table.as_ptr().cast::<__m128i>().read_unaligned() };
        _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), halves)
    };
    let wrong = _mm256_and_si256(
        _mm256_and_si256(
            look(&FIRST_HIGH, high(one_before)),
            look(&FIRST_LOW, _mm256_and_si256(one_before, low_half)),
        ),
        look(&SECOND_HIGH, high(next)),
    );
    // Two continuations in a row are right where they are the second or the third of a character: there the
    // highest bit, that of CONTINUED, is expected.
    let third = _mm256_subs_epu8(two_before, _mm256_set1_epi8(0xE0_u8.wrapping_sub(0x80).cast_signed()));
    let fourth = _mm256_subs_epu8(three_before, _mm256_set1_epi8(0xF0_u8.wrapping_sub(0x80).cast_signed()));
    let expected =
        _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(CONTINUED.cast_signed()));
    _mm256_xor_si256(wrong, expected)
}

/// Not zero if a character goes on behind the vector.
#[inline]
#[target_feature(enable = "avx2")]
fn unfinished(vector: __m256i) -> __m256i {
    // The least lead of four bytes, of three, of two, where so many would not fit.
    let most = i64::from_le_bytes([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xF0 - 1, 0xE0 - 1, 0xC0 - 1]);
    arch::_mm256_subs_epu8(vector, arch::_mm256_set_epi64x(most, -1, -1, -1))
}

#[inline]
#[target_feature(enable = "avx2")]
fn is_ascii_all<const N: usize>(vectors: [__m256i; N]) -> bool {
    arch::_mm256_movemask_epi8(any(vectors)) == 0
}

#[inline]
#[target_feature(enable = "avx2")]
fn is_none<const N: usize>(vectors: [__m256i; N]) -> bool {
    let any = any(vectors);
    arch::_mm256_testz_si256(any, any) == 1
}

#[inline]
#[target_feature(enable = "avx2")]
fn any<const N: usize>(vectors: [__m256i; N]) -> __m256i {
    vectors.into_iter().fold(arch::_mm256_setzero_si256(), |any, vector| arch::_mm256_or_si256(any, vector))
}

/// The vector at `at`.
#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8], at: usize) -> __m256i {
    assert!(at < bytes.len() && bytes.len() - at >= VECTOR);
    // SAFETY: so many bytes from `at` on are within `bytes`.
    unsafe { bytes.as_ptr().add(at).cast::<__m256i>().read_unaligned() }
}

/// Four vectors from `at` on.
#[inline]
#[target_feature(enable = "avx2")]
fn four(bytes: &[u8], at: usize) -> [__m256i; 4] {
    assert!(at < bytes.len() && bytes.len() - at >= 4 * VECTOR);
    // SAFETY: so many bytes from `at` on are within `bytes`.
    unsafe { bytes.as_ptr().add(at).cast::<[__m256i; 4]>().read_unaligned() }
}

/// One byte or up to a vector of them, and zeros behind them, which no character goes on with.
#[inline]
#[target_feature(enable = "avx2")]
fn load_short(bytes: &[u8]) -> __m256i {
    use arch::*;
    let len = bytes.len();
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<HALF>(), bytes.last_chunk::<HALF>()) {
        // What both have is left out of the second. SAFETY: each has as many bytes; any bits are a vector.
        let [head, tail, moved] = [head, tail, MOVED[VECTOR - len..].first_chunk().expect("twice as many")]
            .map(|half: &[u8; HALF]| unsafe { half.as_ptr().cast::<__m128i>().read_unaligned() });
        return _mm256_set_m128i(_mm_shuffle_epi8(tail, moved), head);
    }
    // What is in both is the same in both.
    let word = if let (Some(head), Some(tail)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u128::from(u64::from_le_bytes(*head)) | u128::from(u64::from_le_bytes(*tail)) << ((len - 8) * 8)
    } else if let (Some(head), Some(tail)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u128::from(u32::from_le_bytes(*head)) | u128::from(u32::from_le_bytes(*tail)) << ((len - 4) * 8)
    } else {
        [0, len / 2, len - 1].iter().fold(0, |word, &at| word | u128::from(bytes[at]) << (at * 8))
    };
    _mm256_set_epi64x(0, 0, (word >> 64) as i64, word as i64)
}

/// Indices: a half of these, from index n on, moves all but the first n bytes of a half to its front, with zeros behind.
const MOVED: [u8; VECTOR] = {
    let mut moved = [0x80; VECTOR];
    let mut at = 0;
    while at < HALF {
        moved[at] = at as u8;
        at += 1;
    }
    moved
};

/// A vector of these, from index n on, has ones for all but the last n bytes.
const INSIDE: [u8; 2 * VECTOR] = {
    let mut inside = [0; 2 * VECTOR];
    let mut at = 0;
    while at < VECTOR {
        inside[at] = 0xFF;
        at += 1;
    }
    inside
};

/// The bytes of a vector of AVX2.
const VECTOR: usize = size_of::<__m256i>();

const HALF: usize = size_of::<__m128i>();
