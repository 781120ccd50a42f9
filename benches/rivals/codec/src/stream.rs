//! A transport in memory that is always ready. A read copies out of a prepared stream, a write into a place that is
//! used again and again, as the kernel's copies do; both are counted.

use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// The most that one read gives, or one piece of a write takes: about what a TCP socket does.
pub const MOST: usize = 256 << 10;

/// The stream of frames to read, over and over, and what was done with the transport.
pub struct Memory {
    frames: Arc<[u8]>,
    at: usize,
    written: Box<[u8]>,
    place: usize,
    told: Arc<Told>,
}

/// What a transport was used for.
#[derive(Default)]
pub struct Told {
    reads: AtomicU64,
    writes: AtomicU64,
    keeps: AtomicBool,
    kept: Mutex<Vec<u8>>,
}

impl Memory {
    /// A transport whose reads give `frames`, and then give them again.
    pub fn new(frames: Arc<[u8]>) -> Self {
        // Touched here, so that no measurement has to.
        Self { frames, at: 0, written: vec![1; MOST].into(), place: 0, told: Arc::default() }
    }

    pub fn told(&self) -> Arc<Told> {
        self.told.clone()
    }

    /// Reads as much as there is room for, and a socket would give. A read ends anywhere in a frame; only at the end
    /// of the stream, before it begins anew, all that came is whole, as when a socket has no more for a while.
    #[inline]
    pub fn fill(&mut self, room: &mut [MaybeUninit<u8>]) -> usize {
        count(&self.told.reads);
        let len = room.len().min(MOST).min(self.frames.len() - self.at);
        room[..len].write_copy_of_slice(&self.frames[self.at..self.at + len]);
        self.at += len;
        if self.at == self.frames.len() {
            self.at = 0;
        }
        len
    }

    /// The same into memory that was written before.
    pub fn get(&mut self, room: &mut [u8]) -> usize {
        // SAFETY: `fill` writes bytes only, and never leaves one uninitialised that was not.
        self.fill(unsafe { &mut *(std::ptr::from_mut(room) as *mut [MaybeUninit<u8>]) })
    }

    #[inline]
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        count(&self.told.writes);
        self.take(bytes)
    }

    #[inline]
    pub fn put_all<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> usize {
        count(&self.told.writes);
        pieces.into_iter().map(|piece| self.take(piece)).sum()
    }

    #[inline]
    fn take(&mut self, bytes: &[u8]) -> usize {
        if self.told.keeps.load(Relaxed) {
            self.told.kept.lock().unwrap().extend_from_slice(bytes);
        }
        let mut left = bytes;
        while !left.is_empty() {
            let (piece, rest) = left.split_at(left.len().min(self.written.len() - self.place));
            self.written[self.place..self.place + piece.len()].copy_from_slice(piece);
            self.place += piece.len();
            if self.place == self.written.len() {
                self.place = 0;
            }
            left = rest;
        }
        bytes.len()
    }
}

impl Told {
    pub fn reads(&self) -> u64 {
        self.reads.load(Relaxed)
    }

    pub fn writes(&self) -> u64 {
        self.writes.load(Relaxed)
    }

    /// Keeps what is written from now on.
    pub fn keep(&self) {
        self.keeps.store(true, Relaxed);
    }

    /// Gives what was kept, and keeps no more.
    pub fn kept(&self) -> Vec<u8> {
        self.keeps.store(false, Relaxed);
        std::mem::take(&mut self.kept.lock().unwrap())
    }
}

/// One thread counts: an increment need not be one atomic step, which would cost as much as a small message.
#[inline]
fn count(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed) + 1, Relaxed);
}

/// Drives a future whose transports are always ready.
#[inline]
pub fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

impl io::Read for Memory {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Ok(self.get(room))
    }
}

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.put(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tokio::io::AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: `fill` writes the bytes that it counts, and nothing else.
        unsafe {
            let filled = self.fill(room.unfilled_mut());
            room.assume_init(filled);
            room.advance(filled);
        }
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Memory {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.put(bytes)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.put_all(pieces.iter().map(|piece| &**piece))))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl futures::io::AsyncRead for Memory {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.get(room)))
    }
}

impl futures::io::AsyncWrite for Memory {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.put(bytes)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.put_all(pieces.iter().map(|piece| &**piece))))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl wtx::stream::StreamReader for Memory {
    async fn read(&mut self, room: &mut [u8]) -> wtx::Result<usize> {
        Ok(self.get(room))
    }
}

impl wtx::stream::StreamWriter for Memory {
    async fn write_all(&mut self, bytes: &[u8]) -> wtx::Result<()> {
        self.put(bytes);
        Ok(())
    }

    async fn write_all_vectored(&mut self, pieces: &[&[u8]]) -> wtx::Result<()> {
        self.put_all(pieces.iter().copied());
        Ok(())
    }
}
