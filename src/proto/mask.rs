//! Masking (RFC 6455 §5.3): the XOR of a payload with a repeated key, and where keys come from.
//!
//! ```
//! use taut::proto::mask;
//!
//! // The example of RFC 6455 §5.7, in two pieces.
//! let (key, mut payload) = ([0x37, 0xfa, 0x21, 0x3d], *b"Hello");
//! let (head, tail) = payload.split_at_mut(2);
//! mask::apply(head, key, 0);
//! mask::apply(tail, key, 2);
//! assert_eq!(payload, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
//! ```

#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::simd;

/// Where a client's masking keys come from.
///
/// RFC 6455 §5.3: "The masking key needs to be unpredictable", "derived from a strong source of entropy":
/// against a predictable one, whoever chooses the payload chooses the bytes on the wire (§10.3).
/// Any `FnMut() -> [u8; 4]` that is `Send + Sync` is a source.
pub trait MaskSource: Send + Sync {
    /// A key that was not used before.
    fn next_key(&mut self) -> [u8; 4];
}

impl<F: FnMut() -> [u8; 4] + Send + Sync> MaskSource for F {
    fn next_key(&mut self) -> [u8; 4] {
        self()
    }
}

/// Masks or unmasks `bytes` in place. `offset` tells how many bytes of the payload come before them,
/// so that a payload can be masked piece by piece.
#[inline(always)]
pub fn apply(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    // RFC 6455 §5.3: "transformed-octet-i = original-octet-i XOR masking-key-octet-j", "j = i MOD 4".
    simd::xor::<false>(bytes, key, offset);
}

/// Appends `from`, masked, to `to`, in one pass.
#[inline(always)]
pub(crate) fn copy(from: &[u8], to: &mut Vec<u8>, key: [u8; 4]) {
    simd::append::<false>(from, to, key);
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// The definition of RFC 6455 §5.3, byte by byte.
    fn naive(bytes: &mut [u8], key: [u8; 4], offset: usize) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte ^= key[(i + offset) % 4];
        }
    }

    #[test]
    fn s5_7_the_masked_hello() {
        let mut hello = *b"Hello";
        apply(&mut hello, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(hello, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn s5_3_a_masked_copy_is_appended() {
        let mut to = b"head".to_vec();
        copy(b"Hello", &mut to, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(to, b"head\x7f\x9f\x4d\x51\x58");
    }

    #[test]
    fn s5_3_every_length_and_offset_equals_the_naive_twin() {
        for len in 0..200 {
            for offset in [0, 1, 2, 3, 4, 7, 1000, usize::MAX - 1] {
                let mut fast: Vec<u8> = (0..len).collect();
                let mut slow = fast.clone();
                apply(&mut fast, [1, 2, 3, 250], offset);
                // The twin would overflow at the far end; 4 divides what is taken away.
                naive(&mut slow, [1, 2, 3, 250], offset % 4);
                assert_eq!(fast, slow, "length {len}, offset {offset}");
            }
        }
    }

    proptest! {
        #[test]
        fn s5_3_pieces_equal_the_whole(bytes: Vec<u8>, key: [u8; 4], cuts: Vec<prop::sample::Index>) {
            let mut whole = bytes.clone();
            naive(&mut whole, key, 0);
            let mut pieces = bytes.clone();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            ends.push(bytes.len());
            ends.sort_unstable();
            let mut start = 0;
            for end in ends {
                apply(&mut pieces[start..end], key, start);
                start = end;
            }
            prop_assert_eq!(whole, pieces);
        }
    }
}
