//! The echo server and its client on a network of the program's own, on a chip or anywhere.
//!
//! `echo-embedded`; prints how many messages came back, and how much of the heap that took at most.
//!
//! For `thumbv7em-none-eabihf` it has no operating system beneath it; QEMU runs it as a Cortex-M4:
//! `qemu-system-arm -machine mps2-an386 -nographic -semihosting -kernel echo-embedded`.

#![cfg_attr(target_os = "none", no_std, no_main)]

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};

fn told() -> (&'static str, usize, usize) {
    match echo_embedded::run() {
        Ok(count) => ("messages came back", count, MOST.load(Ordering::Relaxed)),
        Err(error) => panic!("{error:?}"),
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    let (what, count, heap) = told();
    println!("{count} {what}; the heap held {heap} bytes at most");
}

#[cfg(target_os = "none")]
#[cortex_m_rt::entry]
fn main() -> ! {
    use core::mem::MaybeUninit;

    use cortex_m_semihosting::{debug, hprintln};
    use panic_semihosting as _;

    static mut MEMORY: [MaybeUninit<u8>; HEAP] = [MaybeUninit::uninit(); HEAP];
    // SAFETY: nothing else names this memory, and it is given away once.
    unsafe { ALLOCATOR.0.init(&raw mut MEMORY as usize, HEAP) };
    let (what, count, heap) = told();
    hprintln!("{} {}; the heap held {} bytes at most", count, what, heap);
    loop {
        debug::exit(debug::EXIT_SUCCESS);
    }
}

/// Half of the chip's memory.
#[cfg(target_os = "none")]
const HEAP: usize = 32 << 10;

#[cfg(target_os = "none")]
type Heap = embedded_alloc::LlffHeap;
#[cfg(not(target_os = "none"))]
type Heap = std::alloc::System;

#[cfg(target_os = "none")]
#[global_allocator]
static ALLOCATOR: Counted = Counted(Heap::empty());
#[cfg(not(target_os = "none"))]
#[global_allocator]
static ALLOCATOR: Counted = Counted(std::alloc::System);

/// The heap, with a count of what it holds.
struct Counted(Heap);

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is done by the heap itself.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as the caller says.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller says.
        unsafe { self.0.dealloc(at, layout) }
    }
}
