//! Where a chunk lies, and characters whose bytes lie in two frames.

#![forbid(unsafe_code)]

use core::ops::Range;

use super::error::ProtocolError;
use super::input::Input;
use super::message::{ChunkDataRef, ChunkRef, Kind};
use super::utf8::{self, Utf8Error, Validator};

/// The next chunk of a message.
pub(crate) struct Piece {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    /// The bytes of the message before it.
    pub(crate) offset: u64,
    pub(crate) first: bool,
    pub(crate) last: bool,
}

pub(crate) enum Place {
    /// In the input; for text, so many bytes behind it begin a character.
    Input { range: Range<usize>, cut: usize },
    /// In [`Carry`].
    Carried { len: usize },
    /// Inflated, at the front of what was gathered; for text, so many bytes behind it begin a character.
    Gathered { len: usize, cut: usize },
}

impl Piece {
    /// Lends the chunk; text is checked here, once.
    pub(crate) fn lend<'a>(
        self,
        input: &'a Input,
        gathered: &'a [u8],
        carry: &'a Carry,
    ) -> Result<ChunkRef<'a>, ProtocolError> {
        let (bytes, cut) = match self.place {
            Place::Input { range, cut } => (input.at(range.clone()), input.at(range.end..range.end + cut)),
            Place::Carried { len } => (&carry.whole[..len], &[][..]),
            Place::Gathered { len, cut } => (&gathered[..len], &gathered[len..len + cut]),
        };
        let data = match self.kind {
            Kind::Binary => ChunkDataRef::Binary(bytes),
            Kind::Text => {
                let text = utf8::check(bytes).map_err(|error| invalid_utf8(self.offset + error.offset))?;
                let end = self.offset + text.len() as u64;
                check_cut(cut, end)?;
                if self.last && !cut.is_empty() {
                    return Err(invalid_utf8(end));
                }
                ChunkDataRef::Text(text)
            }
        };
        Ok(ChunkRef { data, first: self.first, last: self.last })
    }
}

/// A character that goes on in the next frame, and one that became whole.
#[derive(Debug, Default)]
pub(crate) struct Carry {
    begun: [u8; 4],
    len: usize,
    whole: [u8; 4],
}

impl Carry {
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Begins a character.
    pub(crate) fn begin(&mut self, bytes: &[u8]) {
        self.begun[..bytes.len()].copy_from_slice(bytes);
        self.len = bytes.len();
    }

    /// Goes on with `bytes` until the character is whole; gives how many it took, and the length of the
    /// character, zero if it is not whole yet.
    pub(crate) fn go_on(&mut self, bytes: &[u8], offset: u64) -> Result<(usize, usize), ProtocolError> {
        for (before, &byte) in bytes.iter().enumerate() {
            self.begun[self.len] = byte;
            self.len += 1;
            match core::str::from_utf8(&self.begun[..self.len]) {
                Ok(_) => {
                    self.whole = self.begun;
                    return Ok((before + 1, core::mem::take(&mut self.len)));
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(invalid_utf8(offset)),
            }
        }
        Ok((bytes.len(), 0))
    }
}

/// Whether `bytes` can begin a text, be it in a character that ends later.
pub(crate) fn check_cut(bytes: &[u8], offset: u64) -> Result<(), ProtocolError> {
    Validator::new().feed(bytes).map_err(|error| invalid_utf8(offset + error.offset))
}

pub(crate) const fn invalid_utf8(offset: u64) -> ProtocolError {
    ProtocolError::InvalidUtf8 { offset }
}

impl From<Utf8Error> for ProtocolError {
    fn from(error: Utf8Error) -> Self {
        invalid_utf8(error.offset)
    }
}
