//! DEFLATE by hand, bit by bit (RFC 1951 §3): blocks that no compressor would write, and bombs.
#![allow(dead_code, reason = "each test uses its part")]

/// What comes in place of the tail that a message lacks (RFC 7692 §7.2.1).
pub(crate) const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// A stream of bits, from the low ones of a byte to its high ones (RFC 1951 §3.1.1).
#[derive(Default)]
pub(crate) struct Bits {
    bytes: Vec<u8>,
    /// How many bits of the last byte are not used.
    free: u32,
}

impl Bits {
    /// A number, its low bits first.
    fn number(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            self.bit(value >> bit & 1);
        }
    }

    /// A Huffman code, its high bits first.
    fn code(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            self.bit(value >> bit & 1);
        }
    }

    fn bit(&mut self, bit: u32) {
        if self.free == 0 {
            self.bytes.push(0);
            self.free = 8;
        }
        let at = 8 - self.free;
        *self.bytes.last_mut().unwrap() |= u8::from(bit == 1) << at;
        self.free -= 1;
    }

    fn zeros(&mut self, count: u64) {
        let here = count.min(self.free.into());
        self.number(0, here as u32);
        let rest = count - here;
        self.bytes.resize(self.bytes.len() + usize::try_from(rest / 8).unwrap(), 0);
        self.number(0, (rest % 8) as u32);
    }

    /// A block without compression.
    pub(crate) fn stored(mut self, last: bool, data: &[u8]) -> Self {
        self.number(last.into(), 1);
        self.number(0, 2);
        self.free = 0;
        let len = u16::try_from(data.len()).unwrap();
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend((!len).to_le_bytes());
        self.bytes.extend(data);
        self
    }

    /// A block with the fixed codes (RFC 1951 §3.2.6), of literals only.
    pub(crate) fn fixed(mut self, last: bool, data: &[u8]) -> Self {
        self.number(last.into(), 1);
        self.number(1, 2);
        for &byte in data {
            match byte {
                0..=143 => self.code(0x30 + u32::from(byte), 8),
                _ => self.code(0x190 + u32::from(byte - 144), 9),
            }
        }
        self.code(0, 7);
        self
    }

    /// A block of `literals` zeros, and then of matches of 258 bytes at a distance of 1 or of 32,768: at a distance
    /// of 1 a match is two bits, both of them 0.
    pub(crate) fn run(mut self, literals: u64, distance: Distance, matches: u64) -> Self {
        let unused = match distance {
            Distance::One => 0,
            Distance::Farthest => 29,
        };
        self.number(0, 1);
        self.number(2, 2);
        // 286 codes for literals and lengths, those for distances, and 18 for the lengths of codes.
        self.number(286 - 257, 5);
        self.number(unused, 5);
        self.number(18 - 4, 4);
        // Lengths of codes are 0, 1, 2, or 18 (a run of zeros): two bits each.
        for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1] {
            self.number(if matches!(symbol, 0 | 1 | 2 | 18) { 2 } else { 0 }, 3);
        }
        let run = |bits: &mut Self, mut zeros: u32| {
            while zeros > 0 {
                let now = zeros.min(138);
                bits.code(3, 2);
                bits.number(now - 11, 7);
                zeros -= now;
            }
        };
        // The literal 0 and the end have two bits, the length 258 and the distance have one.
        self.code(2, 2);
        run(&mut self, 255);
        self.code(2, 2);
        run(&mut self, 28);
        self.code(1, 2);
        run(&mut self, unused);
        self.code(1, 2);
        for _ in 0..literals {
            self.code(2, 2);
        }
        match distance {
            Distance::One => self.zeros(2 * matches),
            Distance::Farthest => {
                for _ in 0..matches {
                    self.number(0x7FFC, 15);
                }
            }
        }
        self.code(3, 2);
        self
    }

    /// Ends the message as RFC 7692 §7.2.1 says: with an empty block, but for its last four bytes.
    pub(crate) fn message(mut self) -> Vec<u8> {
        self.number(0, 3);
        self.bytes
    }

    /// Ends a byte.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The next block begins in the next byte, as one behind a block with BFINAL does.
    pub(crate) fn align(mut self) -> Self {
        self.free = 0;
        self
    }
}

/// How far back a match lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Distance {
    One,
    Farthest,
}

/// A message of `len` zeros, 1,032 times as small. Without a literal at its front it needs a window that ends
/// with zeros.
pub(crate) fn zeros(len: u64, literal: bool) -> Vec<u8> {
    let first = u64::from(literal);
    let (matches, rest) = ((len - first) / 258, (len - first) % 258);
    Bits::default().run(first, Distance::One, matches).run(rest, Distance::One, 0).message()
}
