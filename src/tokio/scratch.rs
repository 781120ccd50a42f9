//! The read buffers of a thread: large, in its cache, and with a connection only while that parses what it read.

#![forbid(unsafe_code)]

use core::cell::Cell;
use core::future::Future;
use core::pin::pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt};
use bytes::{BufMut, BytesMut};

/// An empty buffer of [`SIZE`].
pub(super) fn take() -> BytesMut {
    // At the end of a thread its buffers are gone before its sockets may be.
    let kept = BUFFERS.try_with(|[first, second]| first.take().or_else(|| second.take()));
    kept.ok().flatten().unwrap_or_else(|| BytesMut::with_capacity(SIZE))
}

/// One for what is copied once more: it would need as much memory again.
pub(super) fn take_short() -> BytesMut {
    BytesMut::with_capacity(SHORT)
}

pub(super) fn put(mut buffer: BytesMut) {
    buffer.clear();
    // Shorter if it was split, or moved on.
    if buffer.capacity() >= SIZE {
        let _ = BUFFERS.try_with(|[first, second]| {
            if let Some(other) = first.replace(Some(buffer)) {
                second.set(Some(other));
            }
        });
    }
}

/// Reads a little, for a handshake: what came goes to `feed`.
pub(super) fn poll_head<S>(
    stream: &mut S,
    cx: &mut Context<'_>,
    feed: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>>
where
    S: AsyncRead + Unpin,
{
    let mut buffer = take();
    let read = pin!(stream.read_buf(&mut (&mut buffer).limit(MOST_HEAD))).poll(cx);
    if let Poll::Ready(Ok(1..)) = read {
        feed(&buffer);
    }
    put(buffer);
    read
}

/// The right to leave a buffer with a connection for as long as the application does other things.
#[derive(Debug)]
pub(super) struct Lease(());

impl Lease {
    /// One of the few that there are for all threads.
    pub(super) fn new() -> Option<Self> {
        let before = LEASES.fetch_add(1, Ordering::Relaxed);
        // Dropped, and so given back, if it is one too many.
        Some(Self(())).filter(|_| before < MOST_LEASES)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        LEASES.fetch_sub(1, Ordering::Relaxed);
    }
}

std::thread_local! {
    /// Those that are free: one to read into, and one that comes back after a lease.
    static BUFFERS: [Cell<Option<BytesMut>>; 2] = const { [Cell::new(None), Cell::new(None)] };
}

static LEASES: AtomicUsize = AtomicUsize::new(0);

/// The size of a buffer: what a read can bring at most. A burst of a few messages of 64 KiB fits, and the cache of
/// a core holds it.
pub(super) const SIZE: usize = 512 << 10;

/// How many bytes a read brings of a message that is read in pieces.
const SHORT: usize = 64 << 10;

/// The most that a read brings of a handshake.
const MOST_HEAD: usize = 4 << 10;

/// How many buffers can be with connections at a time: 8 MiB.
const MOST_LEASES: usize = 16;
