//! Bytes that are put together from lines, literals, fillings and damage, and where they are cut.
//!
//! ```text
//!   cuts: one length, another | piece | piece | …
//!
//!   piece: kind (3 bits) | argument (5), then
//!     kind 0: a line: its number
//!     kind 1: length | so many bytes as they are
//!     kind 2: index of a length (4 bits), of a filling (4)
//!     kind 3: cut
//!     kind 4: spoil: back, xor
//!     kind 5: truncate: count
//!     kind 6: repeat: count
//!     kind 7: as many bytes as they are as the argument says
//! ```

use std::fmt;

use arbitrary::{Arbitrary, Unstructured};

use crate::format::{encode_literal, filled, literal, rest};

/// What writes the bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// The bytes are cut after so many, after so many more, and so on in turn; a zero ends that.
    pub cuts: [u8; 2],
    /// What is written, in this order.
    pub pieces: Vec<Piece>,
}

/// A step of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// One of the lines that the target knows.
    Line(u8),
    /// These bytes, 255 at most.
    Raw(Vec<u8>),
    /// One of [`FILLINGS`](crate::format::FILLINGS), again and again, up to one of
    /// [`LENGTHS`](crate::format::LENGTHS).
    Filled {
        /// Which length.
        length: u8,
        /// Which filling.
        filling: u8,
    },
    /// A cut.
    Cut,
    /// A byte, so many back from the end, is changed.
    Spoil {
        /// How many bytes lie behind it.
        back: u8,
        /// What is added to it.
        xor: u8,
    },
    /// So many bytes at the end are dropped.
    Truncate(u8),
    /// What the last piece wrote comes so many times more.
    Repeat(u8),
}

/// Bytes, and where they are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Where a piece ends, in ascending order.
    pub cuts: Vec<usize>,
}

impl Script {
    /// A script without cuts in turn.
    #[must_use]
    pub fn new(pieces: impl Into<Vec<Piece>>) -> Self {
        Self { cuts: [0; 2], pieces: pieces.into() }
    }

    /// What the script writes, at most `most` bytes. `line` tells what each line is.
    #[must_use]
    pub fn wire(&self, most: usize, line: impl Fn(u8) -> Vec<u8>) -> Wire {
        let mut wire = Wire { bytes: Vec::new(), cuts: Vec::new() };
        let mut last = 0;
        for piece in &self.pieces {
            let start = wire.bytes.len();
            match piece {
                Piece::Line(number) => wire.bytes.extend(line(*number)),
                Piece::Raw(bytes) => wire.bytes.extend_from_slice(bytes),
                Piece::Filled { length, filling } => wire.bytes.extend(filled(*length, *filling)),
                Piece::Cut => wire.cuts.push(start),
                Piece::Spoil { back, xor } => {
                    if let Some(at) = start.checked_sub(usize::from(*back) + 1) {
                        wire.bytes[at] ^= xor;
                    }
                }
                Piece::Truncate(count) => {
                    wire.truncate(start.saturating_sub(usize::from(*count)));
                    last = last.min(wire.bytes.len());
                }
                Piece::Repeat(count) => {
                    let range = last..start;
                    let room = most.saturating_sub(start);
                    let times = usize::from(*count).min(room / range.len().max(1) + 1);
                    for _ in 0..times {
                        wire.bytes.extend_from_within(range.clone());
                    }
                }
            }
            if matches!(piece, Piece::Line(_) | Piece::Raw(_) | Piece::Filled { .. }) {
                last = start;
            }
            if wire.bytes.len() > most {
                wire.truncate(most);
                break;
            }
        }
        wire.cuts.extend(cuts_in_turn(self.cuts, wire.bytes.len()));
        wire.cuts.sort_unstable();
        wire
    }

    /// The script that these bytes mean.
    ///
    /// # Errors
    /// None: every string of bytes is a script.
    pub fn arbitrary(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let cuts = bytes.arbitrary()?;
        Ok(Self { cuts, pieces: rest(bytes, Piece::arbitrary)? })
    }

    /// Writes the bytes that mean this script.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.cuts);
        self.pieces.iter().for_each(|piece| piece.encode(out));
    }
}

/// As a list, in one line for each piece.
impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cuts {:?}, ", self.cuts)?;
        f.debug_list().entries(&self.pieces).finish()
    }
}

impl Wire {
    /// The bytes in their pieces, some of which may be empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.cuts.iter().copied().chain([self.bytes.len()]);
        let mut start = 0;
        ends.map(move |end| {
            let piece = &self.bytes[start..end];
            start = end;
            piece
        })
    }

    /// The same bytes in one piece.
    #[must_use]
    pub fn uncut(&self) -> Self {
        Self { bytes: self.bytes.clone(), cuts: Vec::new() }
    }

    /// The same bytes, each a piece.
    #[must_use]
    pub fn in_bytes(&self) -> Self {
        Self { bytes: self.bytes.clone(), cuts: (1..self.bytes.len()).collect() }
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.cuts.retain(|&cut| cut <= length);
    }
}

impl<'a> Arbitrary<'a> for Piece {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let first: u8 = bytes.arbitrary()?;
        Ok(match first & 7 {
            0 => Self::Line(bytes.arbitrary()?),
            1 => Self::Raw(literal(bytes)?),
            2 => {
                let filled: u8 = bytes.arbitrary()?;
                Self::Filled { length: filled & 15, filling: filled >> 4 }
            }
            3 => Self::Cut,
            4 => Self::Spoil { back: bytes.arbitrary()?, xor: bytes.arbitrary()? },
            5 => Self::Truncate(bytes.arbitrary()?),
            6 => Self::Repeat(bytes.arbitrary()?),
            _ => {
                let length = usize::from(first >> 3).max(1).min(bytes.len());
                Self::Raw(bytes.bytes(length)?.to_vec())
            }
        })
    }
}

impl Piece {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Line(number) => out.extend([0, *number]),
            Self::Raw(bytes) => {
                out.push(1);
                encode_literal(bytes, out);
            }
            Self::Filled { length, filling } => out.extend([2, length | filling << 4]),
            Self::Cut => out.push(3),
            Self::Spoil { back, xor } => out.extend([4, *back, *xor]),
            Self::Truncate(count) => out.extend([5, *count]),
            Self::Repeat(count) => out.extend([6, *count]),
        }
    }
}

/// Where bytes are cut after the one length, the other, and so on in turn, up to the end or a length of zero.
pub(crate) fn cuts_in_turn(lengths: [u8; 2], end: usize) -> impl Iterator<Item = usize> {
    let lengths = lengths.into_iter().cycle().take(MAX_CUTS).take_while(|&length| length > 0);
    let cuts = lengths.scan(0, |at, length| {
        *at += usize::from(length);
        Some(*at)
    });
    cuts.take_while(move |&at| at < end)
}

/// How often bytes are cut in turn.
const MAX_CUTS: usize = 256;
