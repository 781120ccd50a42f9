//! UTF-8 by the vectors of AVX-512.

#![expect(unsafe_code, reason = "vectors that begin or end outside of the bytes")]

use core::arch::x86_64 as arch;

use super::tables::{CONTINUED, FIRST_HIGH, FIRST_LOW, SECOND_HIGH};

/// Whether `bytes` are UTF-8.
#[inline]
#[target_feature(enable = "avx512vbmi2")]
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    match bytes.len() {
        1..=VECTOR => is_short_text(bytes),
        len => len == 0 || is_text(bytes),
    }
}

/// Whether `bytes`, at most a vector of them, are UTF-8 under `key`.
#[inline]
#[target_feature(enable = "avx512vbmi2")]
pub(super) fn is_masked_utf8(bytes: &[u8], key: [u8; 4]) -> bool {
    if bytes.is_empty() {
        return true;
    }
    let key = arch::_mm512_set1_epi32(i32::from_le_bytes(key));
    // Zeros again where there is no byte.
    let unmasked =
        arch::_mm512_maskz_mov_epi8(inside(bytes.len()), arch::_mm512_xor_si512(load_short(bytes), key));
    let mut text = Text::new();
    text.check(unmasked);
    text.is_valid()
}

/// Whether `bytes`, one or up to a vector of them, wherever they lie, are UTF-8.
#[target_feature(enable = "avx512vbmi2")]
fn is_short_text(bytes: &[u8]) -> bool {
    let mut text = Text::new();
    text.check(load_short(bytes));
    text.is_valid()
}

/// Whether `bytes`, a few vectors of them, wherever they lie, are UTF-8.
#[inline(never)]
#[target_feature(enable = "avx512vbmi2")]
fn are_few_text(bytes: &[u8]) -> bool {
    let mut text = Text::new();
    let (whole, rest) = bytes.as_chunks::<VECTOR>();
    for vector in whole {
        // SAFETY: a vector has as many bytes, and takes any.
        text.check(unsafe { vector.as_ptr().cast::<arch::__m512i>().read_unaligned() });
    }
    if !rest.is_empty() {
        text.check(load_short(rest));
    }
    text.is_valid()
}

/// One byte or up to a vector of them, wherever they lie, and zeros behind them, which no character goes on with.
#[inline]
#[target_feature(enable = "avx512vbmi2")]
fn load_short(bytes: &[u8]) -> arch::__m512i {
    // SAFETY: the mask leaves out what is behind the bytes.
    unsafe { arch::_mm512_maskz_loadu_epi8(inside(bytes.len()), bytes.as_ptr().cast()) }
}

/// The mask of the first `len` bytes of a vector: one or more.
#[inline(always)]
fn inside(len: usize) -> arch::__mmask64 {
    assert!((1..=VECTOR).contains(&len));
    u64::MAX >> (VECTOR - len)
}

/// Whether `bytes`, which are longer than a vector, are UTF-8.
#[target_feature(enable = "avx512vbmi2")]
fn is_text(bytes: &[u8]) -> bool {
    let vectors = Vectors::new(bytes);
    let (len, end) = (bytes.len(), vectors.end);
    let mut at = 0;
    if len <= 4 * VECTOR {
        // Two or four vectors, wherever they lie, half of them up to the end: where they meet they overlap.
        let load = |at: usize| {
            assert!(at + VECTOR <= len);
            // SAFETY: so many bytes from `at` on are within `bytes`.
            unsafe { bytes.as_ptr().add(at).cast::<arch::__m512i>().read_unaligned() }
        };
        let (last, inner) = (len - VECTOR, VECTOR.min(len - VECTOR));
        return is_ascii_all([load(0), load(inner), load(last - inner), load(last)]) || are_few_text(bytes);
    } else if is_ascii_all([vectors.part(0)]) {
        // Nothing can be wrong up to the first byte that is not ASCII.
        at = VECTOR;
        while at + 4 * VECTOR <= end && is_ascii_all(vectors.four(at)) {
            at += 4 * VECTOR;
        }
        while at < end && is_ascii_all([vectors.part(at)]) {
            at += VECTOR;
        }
        if at >= end {
            return true;
        }
    }
    is_text_from(bytes, at)
}

/// The same from the vector at `at` on, before which all is ASCII, by three tables for each byte and the one before it:
/// John Keiser, Daniel Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte" (2020).
#[inline(never)]
#[target_feature(enable = "avx512vbmi2")]
fn is_text_from(bytes: &[u8], mut at: usize) -> bool {
    let vectors = Vectors::new(bytes);
    let mut text = Text::new();
    if at == 0 {
        text.feed([vectors.part(0)]);
        at = VECTOR;
    }
    while at + 4 * VECTOR <= vectors.end {
        text.feed(vectors.four(at));
        at += 4 * VECTOR;
    }
    while at < vectors.end {
        text.feed([vectors.part(at)]);
        at += VECTOR;
    }
    text.is_valid()
}

#[inline]
#[target_feature(enable = "avx512vbmi2")]
fn is_ascii_all<const N: usize>(vectors: [arch::__m512i; N]) -> bool {
    let none = arch::_mm512_setzero_si512();
    let any = vectors.iter().fold(none, |any, &vector| arch::_mm512_or_si512(any, vector));
    arch::_mm512_movepi8_mask(any) == 0
}

/// Bytes as vectors that are aligned in memory. The first and the last may have zeros in the place of bytes that are
/// not asked for, nor read: zeros are ASCII.
struct Vectors<'a> {
    bytes: &'a [u8],
    /// How many bytes come before them.
    before: usize,
    /// Where they end.
    end: usize,
}

// The methods need what AVX-512 had from its second generation on: processors of the first slow down when they use it.
impl<'a> Vectors<'a> {
    #[inline]
    fn new(bytes: &'a [u8]) -> Self {
        let before = bytes.as_ptr().addr() % VECTOR;
        Self { bytes, before, end: before + bytes.len() }
    }

    #[inline]
    fn from(&self, at: usize) -> *const arch::__m512i {
        self.bytes.as_ptr().wrapping_sub(self.before).wrapping_add(at).cast()
    }

    /// The vector at `at`, which is not behind the end.
    #[inline]
    #[target_feature(enable = "avx512vbmi2")]
    fn part(&self, at: usize) -> arch::__m512i {
        let before = if at == 0 { self.before } else { 0 };
        let behind = VECTOR.saturating_sub(self.end - at) as u32;
        let mask = (u64::MAX << before) & u64::MAX.checked_shr(behind).unwrap_or(0);
        // SAFETY: the mask leaves out what is before the bytes and behind them.
        unsafe { arch::_mm512_maskz_loadu_epi8(mask, self.from(at).cast()) }
    }

    /// Four vectors from `at` on.
    #[inline]
    #[target_feature(enable = "avx512vbmi2")]
    fn four(&self, at: usize) -> [arch::__m512i; 4] {
        assert!(at >= VECTOR && at + 4 * VECTOR <= self.end);
        // SAFETY: so many bytes from `at` on are within the bytes, which begin before VECTOR, and are aligned.
        unsafe { self.from(at).cast::<[arch::__m512i; 4]>().read() }
    }
}

/// Text as far as it was looked at.
struct Text {
    /// The vector before the next one.
    previous: arch::__m512i,
    /// Not zero once there was an error.
    error: arch::__m512i,
}

impl Text {
    #[inline]
    #[target_feature(enable = "avx512vbmi2")]
    fn new() -> Self {
        let none = arch::_mm512_setzero_si512();
        Self { previous: none, error: none }
    }

    #[inline]
    #[target_feature(enable = "avx512vbmi2")]
    fn feed<const N: usize>(&mut self, next: [arch::__m512i; N]) {
        if is_ascii_all(next) {
            self.error = arch::_mm512_or_si512(self.error, self.unfinished());
            self.previous = next[N - 1];
        } else {
            for vector in next {
                self.check(vector);
            }
        }
    }

    /// Whether all of it was text, and no character lacks its end.
    #[inline]
    #[target_feature(enable = "avx512vbmi2")]
    fn is_valid(&self) -> bool {
        let wrong = arch::_mm512_or_si512(self.error, self.unfinished());
        arch::_mm512_test_epi8_mask(wrong, wrong) == 0
    }

    /// Not zero if a character goes on behind the previous vector.
    #[inline]
    #[target_feature(enable = "avx512vbmi2")]
    fn unfinished(&self) -> arch::__m512i {
        // The least lead of four bytes, of three, of two, where so many would not fit.
        let most = u32::from_le_bytes([0xFF, 0xF0 - 1, 0xE0 - 1, 0xC0 - 1]).cast_signed();
        let most = arch::_mm512_mask_set1_epi32(arch::_mm512_set1_epi8(-1), 1 << 15, most);
        arch::_mm512_subs_epu8(self.previous, most)
    }

    #[inline]
    #[target_feature(enable = "avx512vbmi2")]
    fn check(&mut self, next: arch::__m512i) {
        use arch::*;
        // The quarter of a vector before each quarter.
        let quarters = _mm512_alignr_epi32::<12>(next, self.previous);
        let one_before = _mm512_alignr_epi8::<15>(next, quarters);
        let two_before = _mm512_alignr_epi8::<14>(next, quarters);
        let three_before = _mm512_alignr_epi8::<13>(next, quarters);
        let low_half = _mm512_set1_epi8(0x0F);
        let high = |bytes| _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low_half);
        let look = |table: &[u8; 16], halves| {
            // SAFETY: the table has as many bytes; any bits are a vector.
            let table = unsafe { table.as_ptr().cast::<__m128i>().read_unaligned() };
            _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), halves)
        };
        let wrong = _mm512_and_si512(
            _mm512_and_si512(
                look(&FIRST_HIGH, high(one_before)),
                look(&FIRST_LOW, _mm512_and_si512(one_before, low_half)),
            ),
            look(&SECOND_HIGH, high(next)),
        );
        // Two continuations in a row are right where they are the second or the third of a character: there the
        // highest bit, that of CONTINUED, is expected.
        let third = _mm512_subs_epu8(two_before, _mm512_set1_epi8(0xE0_u8.wrapping_sub(0x80).cast_signed()));
        let fourth =
            _mm512_subs_epu8(three_before, _mm512_set1_epi8(0xF0_u8.wrapping_sub(0x80).cast_signed()));
        let expected =
            _mm512_and_si512(_mm512_or_si512(third, fourth), _mm512_set1_epi8(CONTINUED.cast_signed()));
        self.error = _mm512_or_si512(self.error, _mm512_xor_si512(wrong, expected));
        self.previous = next;
    }
}

/// The bytes of a vector of AVX-512.
const VECTOR: usize = size_of::<arch::__m512i>();
