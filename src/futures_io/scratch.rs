//! The read buffer of a thread.

#![forbid(unsafe_code)]

use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

/// Lends the buffer for one read.
pub(super) fn with<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    // At the end of a thread its buffer is gone before its sockets may be; a stream may itself read by one.
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    if buffer.is_empty() {
        buffer = vec![0; SIZE];
    }
    let result = read(&mut buffer);
    let _ = BUFFER.try_with(|kept| kept.set(buffer));
    result
}

std::thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a read can bring at most. It is copied once, to memory of its size.
const SIZE: usize = 64 << 10;
