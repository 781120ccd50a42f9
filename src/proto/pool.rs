//! Memory that no connection holds: a few buffers for each thread, which stay in its cache and are never zeroed.
//!
//! Without `std` there are no threads to keep them for: each is allocated, and freed.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

pub(crate) use self::kept::{put_arena, put_large, take_arena};
use super::config::Config;
use super::simd;

/// An empty buffer with room for `room` bytes.
pub(crate) fn take(room: usize) -> BytesMut {
    if room < LARGE {
        return BytesMut::with_capacity(room);
    }
    take_again(room).unwrap_or_else(|| {
        // Rounded, so that messages of nearly the same size take each other's memory.
        BytesMut::with_capacity(room.checked_next_multiple_of(LARGE).unwrap_or(room))
    })
}

/// The same with little memory to spare.
pub(crate) fn take_exact(room: usize) -> BytesMut {
    let kept = if room < LARGE { None } else { self::kept::take_large(room, room + room / 8) };
    kept.unwrap_or_else(|| BytesMut::with_capacity(room))
}

/// One that was kept, if there is one of about that size.
pub(crate) fn take_again(room: usize) -> Option<BytesMut> {
    if room < LARGE { None } else { self::kept::take_large(room, room.saturating_mul(Config::MOST_PINNED)) }
}

/// A copy, without its masking key; with `SEEN`, tells whether it is ASCII.
// A shared reference costs more than a small allocation: two atomic operations of 5 ns each. And a box becomes `Bytes` in
// a few inlined moves; what a `Vec` becomes comes back from a call in halves, and is read as a whole: 10 ns.
#[inline(always)]
pub(crate) fn copy<const SEEN: bool>(bytes: &[u8], key: Option<[u8; 4]>) -> (Box<[u8]>, bool) {
    let mut copy = Vec::with_capacity(bytes.len());
    let is_ascii = match key {
        None if !SEEN => {
            copy.extend_from_slice(bytes);
            false
        }
        key => simd::append::<SEEN>(bytes, &mut copy, key.unwrap_or_default()),
    };
    (copy.into_boxed_slice(), is_ascii)
}

/// The same in memory that others had before: for [`LARGE`] payloads.
pub(crate) fn copy_large<const SEEN: bool>(bytes: &[u8], key: Option<[u8; 4]>) -> (Bytes, bool) {
    let mut copy = take(bytes.len());
    let size = copy.capacity();
    let is_ascii = match key {
        None if !SEEN => {
            copy.extend_from_slice(bytes);
            false
        }
        key => simd::extend::<SEEN>(&mut copy, bytes, key.unwrap_or_default()),
    };
    put_large(copy.split_off(bytes.len()), size);
    (copy.freeze(), is_ascii)
}

/// Gives back the memory that this thread keeps for the connections it serves: at most 2 MiB for outgoing frames, 8 MiB of
/// buffers for large messages, and the settings of the latest. For threads that serve none any more, or will be idle for long.
#[cfg(feature = "std")]
pub fn release_thread_memory() {
    self::kept::release();
    super::config::forget_latest();
}

/// From this size on, fresh memory costs more in page faults than the copies and masks that fill it.
pub(crate) const LARGE: usize = 32 << 10;

#[cfg(feature = "std")]
mod kept {
    use core::cell::{Cell, RefCell};

    use super::{BytesMut, LARGE, Vec};

    /// A place for outgoing frames. It is empty.
    pub(crate) fn take_arena() -> Vec<u8> {
        // At the end of a thread its pool is gone before its connections may be.
        ARENA.try_with(Cell::take).unwrap_or_default()
    }

    pub(crate) fn put_arena(mut arena: Vec<u8>) {
        if arena.capacity() <= MOST_ARENA {
            arena.clear();
            let _ = ARENA.try_with(|kept| {
                let other = kept.take();
                kept.set(if other.capacity() > arena.capacity() { other } else { arena });
            });
        }
    }

    /// A buffer of `room` to `most` bytes whose last user is gone.
    pub(super) fn take_large(room: usize, most: usize) -> Option<BytesMut> {
        let taken = BUFFERS.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let fits = |(size, buffer): &mut (usize, BytesMut)| {
                (room..=most).contains(size) && buffer.try_reclaim(*size)
            };
            let index = kept.iter_mut().position(fits)?;
            Some(kept.swap_remove(index).1)
        });
        taken.ok().flatten()
    }

    /// Keeps the memory of `buffer`, whose content counts as gone, for when nobody shares it any more.
    /// `size` is all of that memory.
    pub(crate) fn put_large(mut buffer: BytesMut, size: usize) {
        if !(LARGE..=MOST_KEPT).contains(&size) {
            return;
        }
        buffer.clear();
        let _ = BUFFERS.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let mut sum: usize = kept.iter().map(|(size, _)| size).sum();
            // Those that have waited longest go.
            while sum + size > MOST_KEPT || kept.len() == MOST_BUFFERS {
                sum -= kept.remove(0).0;
            }
            kept.push((size, buffer));
        });
    }

    pub(super) fn release() {
        drop(take_arena());
        let buffers = BUFFERS.try_with(RefCell::take);
        drop(buffers);
    }

    std::thread_local! {
        static ARENA: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        static BUFFERS: RefCell<Vec<(usize, BytesMut)>> = const { RefCell::new(Vec::new()) };
    }

    /// The largest place for outgoing frames that a thread keeps: the answer to a large message.
    const MOST_ARENA: usize = 2 << 20;

    /// How many large buffers are looked through for one whose last user is gone.
    const MOST_BUFFERS: usize = 32;

    /// How much memory of large messages a thread keeps.
    const MOST_KEPT: usize = 8 << 20;
}

#[cfg(not(feature = "std"))]
mod kept {
    use super::{BytesMut, Vec};

    pub(crate) const fn take_arena() -> Vec<u8> {
        Vec::new()
    }

    pub(crate) fn put_arena(_: Vec<u8>) {}

    pub(super) const fn take_large(_: usize, _: usize) -> Option<BytesMut> {
        None
    }

    pub(crate) fn put_large(_: BytesMut, _: usize) {}
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn large_memory_is_taken_again_once_its_last_user_is_gone() {
        let mut buffer = take(LARGE);
        buffer.extend_from_slice(&[1; 1000]);
        let place = buffer.as_ptr();
        let handle = buffer.split_off(1000);
        let message = buffer.freeze();
        put_large(handle, LARGE);
        let other = take(LARGE);
        assert_ne!(other.as_ptr(), place, "somebody still has it");
        drop(message);
        let again = take(LARGE);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(again.capacity() >= LARGE);
    }

    #[test]
    fn what_a_thread_keeps_has_a_limit() {
        for _ in 0..100 {
            put_large(BytesMut::with_capacity(1 << 20), 1 << 20);
        }
        put_large(BytesMut::with_capacity(100 << 20), 100 << 20);
        let mut kept = 0;
        while kept::take_large(1 << 20, 1 << 20).is_some() {
            kept += 1;
        }
        assert_eq!(kept, 8);
    }
}
