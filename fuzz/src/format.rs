//! Inputs as bytes. An input is read from front to back, byte by byte, and every string of bytes is one, so
//! that what the fuzzer inserts, drops or joins keeps its meaning.
//!
//! ```text
//!   settings, 8 bytes | cuts, 2 bytes | piece | piece | …
//!
//!   piece: kind (2 bits), form or action (2), wrong mask (1), key (3), then
//!     kind 0: first byte of the header | [claim, in form 3] | length | so many bytes of payload
//!     kind 1: first byte of the header | [claim, in form 3] | index of a length (4 bits), of a filling (4)
//!     kind 2: length | so many bytes as they are
//!     kind 3: by action: cut | spoil: back, xor | truncate: count | repeat: count
//! ```

use std::fmt;

use arbitrary::{Arbitrary, Unstructured};
use taut::proto::Role;

use crate::input::{Feed, Form, Frame, Input, Payload, Piece, Settings, Take};

/// The input that these bytes mean.
#[must_use]
pub fn decode<I: for<'a> Arbitrary<'a>>(bytes: &[u8]) -> I {
    I::arbitrary(&mut Unstructured::new(bytes)).expect("every string of bytes is an input")
}

/// What each piece of the rest of the bytes means, as `piece` reads them.
pub(crate) fn rest<'a, T>(
    bytes: &mut Unstructured<'a>,
    piece: impl Fn(&mut Unstructured<'a>) -> arbitrary::Result<T>,
) -> arbitrary::Result<Vec<T>> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        pieces.push(piece(bytes)?);
    }
    Ok(pieces)
}

impl Input {
    /// The bytes that mean this input. The numbers of the settings must come from the tables.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.settings.encode(&mut out);
        out.extend(self.cuts);
        for piece in &self.script {
            piece.encode(&mut out);
        }
        out
    }
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let settings = Settings::arbitrary(bytes)?;
        let cuts = bytes.arbitrary()?;
        Ok(Self { settings, cuts, script: rest(bytes, Piece::arbitrary)? })
    }
}

impl Settings {
    fn arbitrary(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let [bits, messages, fragments, payloads, sending, io, drive, close_after]: [u8; 8] =
            bytes.arbitrary()?;
        let bit = |number: u8| bits >> number & 1 == 1;
        Ok(Self {
            role: if bit(0) { Role::Client } else { Role::Server },
            auto_pong: !bit(1),
            auto_close: !bit(2),
            release: bit(3),
            feed: FEEDS[usize::from(drive & 3) % FEEDS.len()],
            take: TAKES[usize::from(drive >> 2 & 3) % TAKES.len()],
            max_message: low(&SIZES, messages),
            max_frame: high(&SIZES, messages),
            max_fragments: low(&COUNTS, fragments),
            max_empty_fragments: high(&COUNTS, fragments),
            copy_below: low(&SIZES, payloads),
            share_above: high(&SIZES, payloads),
            fragment_above: low(&SIZES, sending),
            max_queued: high(&SIZES, sending),
            read_size: low(&READS, io),
            write: high(&WRITES, io),
            close_after,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([
            bits(&[self.role == Role::Client, !self.auto_pong, !self.auto_close, self.release]),
            index(&SIZES, self.max_message) | index(&SIZES, self.max_frame) << 4,
            index(&COUNTS, self.max_fragments) | index(&COUNTS, self.max_empty_fragments) << 4,
            index(&SIZES, self.copy_below) | index(&SIZES, self.share_above) << 4,
            index(&SIZES, self.fragment_above) | index(&SIZES, self.max_queued) << 4,
            index(&READS, self.read_size) | index(&WRITES, self.write) << 4,
            index(&FEEDS, self.feed) | index(&TAKES, self.take) << 2,
            self.close_after,
        ]);
    }
}

impl Piece {
    fn arbitrary(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let kind: u8 = bytes.arbitrary()?;
        let action = kind >> 2 & 3;
        Ok(match kind & 3 {
            2 => Self::Raw(literal(bytes)?),
            3 => match action {
                0 => Self::Cut,
                1 => Self::Spoil { back: bytes.arbitrary()?, xor: bytes.arbitrary()? },
                2 => Self::Truncate(bytes.arbitrary()?),
                _ => Self::Repeat(bytes.arbitrary()?),
            },
            kind_of_payload => {
                let first = bytes.arbitrary()?;
                let form = match action {
                    0 => Form::Shortest,
                    1 => Form::Bits16,
                    2 => Form::Bits64,
                    _ => Form::Claim(bytes.arbitrary()?),
                };
                let payload = Payload::decode(kind_of_payload == 1, bytes)?;
                Self::Frame(Frame { first, form, wrong_mask: kind & 16 != 0, key: kind >> 5, payload })
            }
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Frame(frame) => {
                let form = match frame.form {
                    Form::Shortest => 0,
                    Form::Bits16 => 1,
                    Form::Bits64 => 2,
                    Form::Claim(_) => 3,
                };
                out.extend([
                    frame.payload.is_filled() | form << 2 | u8::from(frame.wrong_mask) << 4 | frame.key << 5,
                    frame.first,
                ]);
                if let Form::Claim(claim) = frame.form {
                    out.push(claim);
                }
                frame.payload.encode(out);
            }
            Self::Raw(bytes) => {
                out.push(2);
                encode_literal(bytes, out);
            }
            Self::Cut => out.push(3),
            Self::Spoil { back, xor } => out.extend([3 | 1 << 2, *back, *xor]),
            Self::Truncate(count) => out.extend([3 | 2 << 2, *count]),
            Self::Repeat(count) => out.extend([3 | 3 << 2, *count]),
        }
    }
}

impl Payload {
    /// Reads what [`encode`](Self::encode) writes; whether it is filled stands elsewhere.
    pub(crate) fn decode(is_filled: bool, bytes: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        if !is_filled {
            return Ok(Self::Literal(literal(bytes)?));
        }
        let filled: u8 = bytes.arbitrary()?;
        Ok(Self::Filled { length: filled & 15, filling: filled >> 4 })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Literal(bytes) => encode_literal(bytes, out),
            Self::Filled { length, filling } => out.push(length | filling << 4),
        }
    }

    pub(crate) const fn is_filled(&self) -> u8 {
        matches!(self, Self::Filled { .. }) as u8
    }
}

/// Limits. The first of each table is the default, so that zeros mean an input without surprises.
pub const SIZES: [usize; 16] =
    [usize::MAX, 0, 1, 2, 3, 7, 16, 60, 125, 126, 300, 1000, 4096, 65_535, 65_536, 100_000];

/// Limits that count frames.
pub const COUNTS: [u32; 16] = [u32::MAX, 0, 1, 2, 3, 4, 5, 8, 16, 32, 63, 64, 65, 100, 128, 200];

/// How much room the first read gets.
pub const READS: [u32; 16] =
    [4096, 0, 1, 63, 64, 65, 100, 127, 128, 500, 1000, 2048, 5000, 10_000, 65_536, 100_000];

/// How many bytes one write takes.
pub const WRITES: [usize; 16] = [0, 1, 2, 3, 5, 8, 13, 60, 125, 130, 140, 300, 1000, 5000, 65_536, 100_000];

/// Lengths of payloads that are filled.
pub const LENGTHS: [usize; 16] =
    [0, 1, 2, 124, 125, 126, 127, 128, 1000, 4095, 4096, 4097, 300, 65_535, 65_536, 70_000];

/// What payloads are filled with: text of each width, and what is not UTF-8.
pub const FILLINGS: [&[u8]; 16] = [
    b"\0",
    b"a",
    "é".as_bytes(),
    "€".as_bytes(),
    "😀".as_bytes(),
    "aé€😀".as_bytes(),
    b"0123456789abcdef",
    b"\xFF",
    b"\x80",
    b"\xC3",
    b"\xE2\x82",
    b"\xF0\x9F\x98",
    b"a\xED\xA0\x80",
    b"\xC0\x80",
    b"\xF4\x90\x80\x80",
    b"\x03\xE8",
];

/// What headers claim, true or not.
pub const CLAIMS: [u64; 16] = [
    0,
    1,
    2,
    3,
    125,
    126,
    127,
    1000,
    0xFFFF,
    0x1_0000,
    0x1_0001,
    0xFFFF_FFFF,
    1 << 40,
    1 << 62,
    1 << 63,
    u64::MAX,
];

/// Masking keys: one that changes nothing, and others.
pub const KEYS: [[u8; 4]; 8] = [
    [0; 4],
    [0x37, 0xFA, 0x21, 0x3D],
    [0xFF; 4],
    [0x80, 0, 0, 0],
    [0, 0x80, 0, 0],
    [0, 0, 0x80, 0],
    [0, 0, 0, 0x80],
    [1, 2, 3, 4],
];

const FEEDS: [Feed; 3] = [Feed::Copied, Feed::Lent, Feed::Read];
pub(crate) const TAKES: [Take; 3] = [Take::Owned, Take::Borrowed, Take::Halves];

/// One of [`FILLINGS`], up to one of [`LENGTHS`].
pub(crate) fn filled(length: u8, filling: u8) -> Vec<u8> {
    let length = LENGTHS[usize::from(length) % LENGTHS.len()];
    let filling = FILLINGS[usize::from(filling) % FILLINGS.len()];
    let mut bytes = filling.repeat(length / filling.len() + 1);
    bytes.truncate(length);
    bytes
}

/// The byte with these bits, the lowest first.
pub(crate) fn bits(bits: &[bool]) -> u8 {
    bits.iter().enumerate().map(|(number, &bit)| u8::from(bit) << number).sum()
}

pub(crate) fn low<T: Copy>(table: &[T; 16], byte: u8) -> T {
    table[usize::from(byte & 15)]
}

pub(crate) fn high<T: Copy>(table: &[T; 16], byte: u8) -> T {
    table[usize::from(byte >> 4)]
}

pub(crate) fn index<T: Copy + fmt::Debug + PartialEq>(table: &[T], value: T) -> u8 {
    let index = table.iter().position(|&entry| entry == value);
    index.unwrap_or_else(|| panic!("{value:?} is not in its table")) as u8
}

/// A length of one byte, then so many bytes, or as many as there are.
pub(crate) fn literal(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let length: u8 = bytes.arbitrary()?;
    let length = usize::from(length).min(bytes.len());
    Ok(bytes.bytes(length)?.to_vec())
}

pub(crate) fn encode_literal(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(u8::try_from(bytes.len()).expect("a literal has at most 255 bytes"));
    out.extend_from_slice(bytes);
}
