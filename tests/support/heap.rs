//! An allocator that counts: what connections own, told apart from what their thread keeps for all of them, the most
//! that both took, and how often and how much memory was asked for. Each thread counts for itself, so that tests run
//! beside each other.
//!
//! | question                                       | asked by                                               |
//! |------------------------------------------------|--------------------------------------------------------|
//! | what do connections own?                       | [`Heap::owned`]: the thread gives its pools back first |
//! | what did they and their thread take at most?   | [`Heap::peak`]                                         |
//! | does a message that came later ask for memory? | [`Heap::warm`], [`Heap::allocations`]                  |
//! | is work repeated, as copies into new memory?   | [`Heap::asked`]                                        |
//! | how many read buffers are there?               | [`Heap::large_blocks`]                                 |
#![expect(unsafe_code, reason = "an allocator that counts has to be one")]
#![allow(dead_code, reason = "each test uses its part")]

use core::alloc::{GlobalAlloc, Layout};
use std::alloc::System;
use std::cell::Cell;

use taut::proto::release_thread_memory;

/// What the heap held at some time.
#[derive(Clone, Copy)]
pub(crate) struct Heap {
    live: isize,
    count: usize,
    asked: usize,
    large: isize,
}

impl Heap {
    /// With empty pools, and the peak as low as that.
    pub(crate) fn now() -> Self {
        release_thread_memory();
        PEAK.set(LIVE.get());
        Self::warm()
    }

    /// With all that the thread keeps: to count allocations.
    pub(crate) fn warm() -> Self {
        Self { live: LIVE.get(), count: COUNT.get(), asked: ASKED.get(), large: LARGE.get() }
    }

    /// Bytes that connections own beyond those of then. The pools are empty behind it.
    pub(crate) fn owned(self) -> isize {
        release_thread_memory();
        LIVE.get() - self.live
    }

    /// The most that connections and their thread held since the last [`now`](Self::now).
    pub(crate) fn peak(self) -> isize {
        PEAK.get() - self.live
    }

    /// Allocations since then, those that grow one included.
    pub(crate) fn allocations(self) -> usize {
        COUNT.get() - self.count
    }

    /// The bytes of these allocations, those that grow one counted whole: no less than was copied by growing.
    pub(crate) fn asked(self) -> usize {
        ASKED.get() - self.asked
    }

    /// Blocks of [`LARGE_BLOCK`] and more, beyond those of then.
    pub(crate) fn large_blocks(self) -> isize {
        LARGE.get() - self.large
    }
}

/// The size of the buffer into which a thread reads.
pub(crate) const LARGE_BLOCK: usize = 512 << 10;

/// Counts, and lets the system do the work.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// Without destructors and without memory of their own, so that they count to the very end of a thread.
thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static ASKED: Cell<usize> = const { Cell::new(0) };
    static LARGE: Cell<isize> = const { Cell::new(0) };
}

/// A block of `new` bytes in place of one of `old`; 0 is none.
fn note(old: usize, new: usize) {
    let live = LIVE.get() + new as isize - old as isize;
    LIVE.set(live);
    // What grows so far that its copy would count is not copied but mapped elsewhere.
    PEAK.set(PEAK.get().max(live));
    COUNT.set(COUNT.get() + usize::from(new > 0));
    ASKED.set(ASKED.get() + new);
    LARGE.set(LARGE.get() + isize::from(new >= LARGE_BLOCK) - isize::from(old >= LARGE_BLOCK));
}

// SAFETY: all work is the system's; what is noted needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(0, layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(0, layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(layout.size(), 0);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(layout.size(), size);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
