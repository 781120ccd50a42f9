//! Whether bytes are UTF-8, by the widest vectors that the processor has.

#![expect(unsafe_code, reason = "instructions found at run time")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod tables;

#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::sync::atomic::{AtomicPtr, Ordering};

use super::simd;
#[cfg(target_arch = "x86_64")]
use super::simd::has;

/// Whether `bytes` are UTF-8.
#[inline(always)]
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    // SAFETY: the processor has the instructions.
    unsafe { best()(bytes) }
}

/// Whether `bytes`, at most [`MOST_MASKED`] of them, are UTF-8 under `key`.
#[inline(never)]
pub(crate) fn is_masked_utf8(bytes: &[u8], key: [u8; 4]) -> bool {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the processor has the instructions.
    unsafe {
        if has!("avx512vbmi2") {
            return avx512::is_masked_utf8(bytes, key);
        }
        if has!("avx2") {
            return avx2::is_masked_utf8(bytes, key);
        }
    }
    is_masked_utf8_by_copy(bytes, key)
}

fn is_masked_utf8_by_copy(bytes: &[u8], key: [u8; 4]) -> bool {
    let mut copy = [0; MOST_MASKED];
    let copy = &mut copy[..bytes.len()];
    copy.copy_from_slice(bytes);
    simd::xor::<false>(copy, key, 0);
    str::from_utf8(copy).is_ok()
}

/// Needs the instructions that it is made of.
type Check = unsafe fn(&[u8]) -> bool;

/// The fastest that the processor can run.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[inline(always)]
fn best() -> Check {
    // Looks for the best, and is itself none of them.
    fn find(bytes: &[u8]) -> bool {
        let found = detect();
        BEST.store(found as *mut (), Ordering::Relaxed);
        // SAFETY: the processor can run what `detect` gives.
        unsafe { found(bytes) }
    }
    static BEST: AtomicPtr<()> = AtomicPtr::new(find as Check as *mut ());
    // SAFETY: BEST holds nothing but functions of this type.
    unsafe { core::mem::transmute::<*mut (), Check>(BEST.load(Ordering::Relaxed)) }
}

#[cfg(not(all(feature = "std", target_arch = "x86_64")))]
#[inline(always)]
fn best() -> Check {
    detect()
}

/// The fastest that the processor can run, or, without `std`, that the target is sure to.
#[cfg(target_arch = "x86_64")]
fn detect() -> Check {
    let (has_avx512, has_avx2) = (has!("avx512vbmi2"), has!("avx2"));
    if has_avx512 {
        avx512::is_utf8
    } else if has_avx2 {
        avx2::is_utf8
    } else {
        by_steps
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Check {
    by_steps
}

/// The same on processors without the vectors above.
fn by_steps(bytes: &[u8]) -> bool {
    if bytes.len() < STEP {
        return str::from_utf8(bytes).is_ok();
    }
    // What does not fill a step of simdutf8 takes it longer than several that are full. ASCII continues no
    // character, so that without it the rest is as valid as the whole.
    let (steps, rest) = bytes.split_at(bytes.len() / STEP * STEP);
    simdutf8::basic::from_utf8(if simd::is_ascii(rest) { steps } else { bytes }).is_ok()
}

/// How many bytes are checked under their masking key: as fit into a vector.
pub(crate) const MOST_MASKED: usize = 32;

/// How many bytes simdutf8 takes at a time.
const STEP: usize = 64;

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// What all vectors say that this processor has.
    fn all(bytes: &[u8]) -> Vec<(&'static str, bool)> {
        let mut said = vec![("best", is_utf8(bytes)), ("by steps", by_steps(bytes))];
        #[cfg(target_arch = "x86_64")]
        if has!("avx512vbmi2") {
            // SAFETY: the processor has the instructions.
            said.push(("avx512", unsafe { avx512::is_utf8(bytes) }));
        }
        #[cfg(target_arch = "x86_64")]
        if has!("avx2") {
            // SAFETY: the processor has the instructions.
            said.push(("avx2", unsafe { avx2::is_utf8(bytes) }));
        }
        said
    }

    /// The same under a key.
    fn all_masked(bytes: &[u8], key: [u8; 4]) -> Vec<(&'static str, bool)> {
        let mut said =
            vec![("best", is_masked_utf8(bytes, key)), ("by a copy", is_masked_utf8_by_copy(bytes, key))];
        #[cfg(target_arch = "x86_64")]
        if has!("avx512vbmi2") {
            // SAFETY: the processor has the instructions.
            said.push(("avx512", unsafe { avx512::is_masked_utf8(bytes, key) }));
        }
        #[cfg(target_arch = "x86_64")]
        if has!("avx2") {
            // SAFETY: the processor has the instructions.
            said.push(("avx2", unsafe { avx2::is_masked_utf8(bytes, key) }));
        }
        said
    }

    /// Holds what the processor says of `text` against the standard library, with bytes around it that continue
    /// characters.
    fn agree_on_text(text: &[u8], start: usize) {
        let mut memory = vec![0x80; text.len() + 192];
        let start = memory.as_ptr().align_offset(64) + start;
        memory[start..start + text.len()].copy_from_slice(text);
        for (name, said) in all(&memory[start..start + text.len()]) {
            let is_text = core::str::from_utf8(text).is_ok();
            assert_eq!(said, is_text, "{name}, {} bytes from {start}: {text:x?}", text.len());
        }
    }

    #[test]
    fn s8_1_masked_text_with_one_byte_spoiled_equals_the_standard_library() {
        let (mixed, key) = ("aé€😀".repeat(4).into_bytes(), [0xC3, 0x80, 1, 0xF0]);
        for len in 0..=MOST_MASKED {
            for at in 0..=len {
                for byte in [b'a', 0x80, 0xC2, 0xED, 0xF4] {
                    let mut text = mixed[..len].to_vec();
                    if let Some(place) = text.get_mut(at) {
                        *place = byte;
                    }
                    let is_text = str::from_utf8(&text).is_ok();
                    simd::xor::<false>(&mut text, key, 0);
                    for (name, said) in all_masked(&text, key) {
                        assert_eq!(said, is_text, "{name}, {len} bytes, byte {at}: {byte:x}");
                    }
                }
            }
        }
    }

    #[test]
    fn s8_1_text_equals_the_standard_library_at_each_length_and_alignment() {
        let mixed = "a\u{80}é\u{7ff}b\u{800}€\u{d7ff}\u{e000}\u{ffff}c\u{10000}😀\u{10ffff}".repeat(20);
        for start in [0, 1, 6, 13, 31, 61, 62, 63] {
            for len in 0..mixed.len() {
                agree_on_text(&mixed.as_bytes()[..len], start);
            }
        }
    }

    #[test]
    fn s8_1_text_with_one_byte_spoiled_equals_the_standard_library() {
        let mixed = "aé€😀".repeat(40).into_bytes();
        for text in
            [mixed.clone(), mixed[..64].to_vec(), mixed[1..56].to_vec(), vec![b'a'; 700], vec![b'a'; 64]]
        {
            for start in [0, 13, 62] {
                for at in 0..text.len() {
                    for byte in [b'a', 0x80, 0x90, 0xA0, 0xBF, 0xC1, 0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0xF5] {
                        let mut text = text.clone();
                        text[at] = byte;
                        agree_on_text(&text, start);
                    }
                }
            }
        }
    }
}
