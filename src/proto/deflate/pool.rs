//! Streams of zlib that no connection holds: a few for each thread.
//!
//! Without context takeover a connection needs one only while it is in the middle of a message, so that the
//! connections of a thread share what they need one after the other. There is no lock, and no more than
//! [`MOST`] of a kind are kept.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use zlib_rs::{Deflate, DeflateConfig, Inflate, InflateFlush, Status};

/// What makes two compressors alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(super) level: u8,
    pub(crate) window_bits: u8,
}

/// A compressor that has seen nothing since it was made or reset.
pub(super) fn take_compressor(settings: Settings) -> Box<Deflate> {
    let pooled = COMPRESSORS.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        let index = pool.iter().position(|(of, _)| *of == settings)?;
        Some(pool.remove(index).1)
    });
    // At the end of a thread its pool is gone before its connections may be.
    pooled.ok().flatten().unwrap_or_else(|| {
        Box::new(Deflate::new_with_config(DeflateConfig {
            level: i32::from(settings.level),
            // Negative: DEFLATE without zlib's header.
            window_bits: -i32::from(settings.window_bits),
            mem_level: MEMORY_LEVEL,
            ..DeflateConfig::default()
        }))
    })
}

/// Gives a compressor to those who come next on this thread.
pub(super) fn put_compressor(settings: Settings, mut stream: Box<Deflate>) {
    let _ = COMPRESSORS.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        // The one that has waited longest for its settings goes.
        if pool.len() == MOST {
            pool.remove(0);
        }
        stream.reset();
        pool.push((settings, stream));
    });
}

/// An inflater that has seen nothing since it was made or reset.
pub(super) fn take_inflater() -> Box<Inflating> {
    let pooled = INFLATERS.try_with(|pool| pool.borrow_mut().pop_back());
    pooled.ok().flatten().unwrap_or_else(Inflating::new)
}

/// Gives an inflater to those who come next on this thread.
pub(super) fn put_inflater(mut stream: Box<Inflating>) {
    let _ = INFLATERS.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < MOST {
            stream.reset();
            pool.push_back(stream);
        }
    });
}

/// An empty place to compress into.
pub(super) fn take_scratch() -> Vec<u8> {
    SCRATCH.try_with(Cell::take).unwrap_or_default()
}

pub(super) fn put_scratch(mut scratch: Vec<u8>) {
    if scratch.capacity() <= MOST_SCRATCH {
        scratch.clear();
        let _ = SCRATCH.try_with(|kept| kept.set(scratch));
    }
}

/// The state of an inflater.
pub(super) struct Inflating {
    stream: Inflate,
    /// Nothing came behind a block with BFINAL.
    pub(super) ended: bool,
    /// What came behind the bytes inflated so far is not DEFLATE.
    pub(super) broken: bool,
    /// The message so far: its bytes as they came, and inflated.
    pub(super) wire: u64,
    pub(super) inflated: u64,
}

/// What one call did.
pub(super) struct Step {
    pub(super) taken: usize,
    pub(super) filled: usize,
    /// `None` if what follows is not DEFLATE.
    pub(super) status: Option<Status>,
}

impl Inflating {
    fn new() -> Box<Self> {
        // Windows of any size can be read with the largest, and zlib-rs has no smaller one.
        Box::new(Self { stream: Inflate::new(false, 15), ended: false, broken: false, wire: 0, inflated: 0 })
    }

    /// Begins a stream with an empty window.
    pub(super) fn reset(&mut self) {
        self.stream.reset(false);
        (self.ended, self.broken) = (false, false);
    }

    pub(super) fn decompress(&mut self, input: &[u8], room: &mut [u8], flush: InflateFlush) -> Step {
        let before = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(input, room, flush).ok();
        // Both are lengths of slices.
        let taken = (self.stream.total_in() - before.0) as usize;
        let filled = (self.stream.total_out() - before.1) as usize;
        Step { taken, filled, status }
    }
}

std::thread_local! {
    static COMPRESSORS: RefCell<Vec<(Settings, Box<Deflate>)>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    // Boxes, as connections hold them.
    static INFLATERS: RefCell<VecDeque<Box<Inflating>>> = const { RefCell::new(VecDeque::new()) };
}

/// How many streams of a kind a thread keeps.
const MOST: usize = 4;

/// The largest place to compress into that a thread keeps.
const MOST_SCRATCH: usize = 64 << 10;

/// What a compressor holds, in bytes: a window, its hash chains and what is fixed (`docs/deflate.md`).
pub(super) const fn compressor_memory(window_bits: u8) -> usize {
    (159 << 10) + (4 << window_bits)
}

/// What an inflater holds, in bytes.
pub(super) const INFLATER_MEMORY: usize = 47 << 10;

/// zlib's `memLevel`: how many symbols a block has at most, here 4,096. With fewer, a message of 16 KiB becomes two
/// blocks. zlib's default of 8 takes 84 KiB more, and more time for small messages (`benches/zlib/results.md`).
const MEMORY_LEVEL: i32 = 6;
