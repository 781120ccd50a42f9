//! Buffers that were zeroed once, handed from connection to connection.

#![forbid(unsafe_code)]

use std::ops::Range;

/// Bytes with a beginning that is filled.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// Buffers that nobody uses.
#[derive(Default)]
pub(super) struct Pool {
    free: Vec<Vec<u8>>,
}

impl Buffer {
    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn room(&self) -> usize {
        self.bytes.len() - self.end
    }

    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Room up to where so many bytes are filled, or to the end.
    pub(super) fn unfilled(&mut self, len: usize) -> &mut [u8] {
        let end = (self.start + len).min(self.bytes.len());
        &mut self.bytes[self.end..end]
    }

    pub(super) const fn advance(&mut self, more: usize) {
        self.end += more;
    }

    pub(super) fn extend(&mut self, more: &[u8]) {
        self.bytes[self.end..][..more.len()].copy_from_slice(more);
        self.end += more.len();
    }

    /// Keeps a part of what is filled.
    pub(super) const fn narrow(&mut self, kept: Range<usize>) {
        self.end = self.start + kept.end;
        self.start += kept.start;
    }
}

impl Pool {
    /// An empty buffer for at least so many bytes.
    pub(super) fn take(&mut self, len: usize) -> Buffer {
        let fits =
            self.free.iter().rposition(|bytes| (len..=len.saturating_mul(WASTE)).contains(&bytes.len()));
        let bytes = match fits {
            Some(index) => self.free.swap_remove(index),
            None => vec![0; len.next_multiple_of(GRAIN)],
        };
        Buffer { bytes, start: 0, end: 0 }
    }

    /// Takes a buffer back, whatever is in it.
    pub(super) fn give(&mut self, buffer: &mut Buffer) {
        let Buffer { bytes, .. } = std::mem::take(buffer);
        if self.free.len() < MOST && !bytes.is_empty() {
            self.free.push(bytes);
        }
    }
}

/// A buffer may be so many times as large as what it is for.
const WASTE: usize = 8;
const GRAIN: usize = 512;
/// How many buffers wait for use.
const MOST: usize = 64;
