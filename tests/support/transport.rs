//! A pair of joined byte streams that do what a test says: partial reads and writes, `Pending` at any point,
//! buffers that want a flush, resets and ends behind any byte.
//!
//! As sockets do, a stream keeps one waker for reading and one for writing: the latest. Nothing but that is
//! woken, and only when something happens, so that a wake-up that a caller loses is lost here too.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What one poll does, if the other end lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is pending, and its task is woken later.
    Wait,
    /// It moves at most so many bytes.
    Bytes(usize),
}

/// What the polls of one end in one direction do, again from the first after the last.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    turns: Vec<Turn>,
    next: usize,
}

impl Turns {
    pub(crate) fn new(turns: impl Into<Vec<Turn>>) -> Self {
        let turns = turns.into();
        let moves = turns.iter().any(|turn| matches!(turn, Turn::Bytes(1..)));
        assert!(moves, "nothing would ever move: {turns:?}");
        Self { turns, next: 0 }
    }

    /// As many bytes as there are.
    pub(crate) fn free() -> Self {
        Self::new([Turn::Bytes(usize::MAX)])
    }

    /// Pending before every byte.
    pub(crate) fn bytewise() -> Self {
        Self::pieces(1)
    }

    /// Pending before every piece of that length.
    pub(crate) fn pieces(len: usize) -> Self {
        Self::new([Turn::Wait, Turn::Bytes(len)])
    }

    fn get(&self) -> Turn {
        self.turns[self.next]
    }

    fn advance(&mut self) {
        self.next = (self.next + 1) % self.turns.len();
    }
}

/// How the shutdown of a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shutdown {
    Immediate,
    /// It waits until the other end ended and all that it sent was read: a peer that takes nothing before
    /// it has said all.
    AfterInput,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Transport {
    incoming: Shared,
    outgoing: Shared,
    /// Writes stay here until a flush.
    buffered: bool,
    shutdown: Shutdown,
}

type Shared = Arc<Mutex<Pipe>>;

/// One direction.
#[derive(Debug)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// How many bytes wait at most.
    room: usize,
    /// What the reader finds behind the bytes.
    end: Option<End>,
    /// What the writer has not flushed.
    held: VecDeque<u8>,
    /// The reading end is gone.
    gone: bool,
    /// After so many more bytes, writes fail.
    failure: Option<(usize, io::ErrorKind)>,
    reading: Turns,
    writing: Turns,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// How many writes took bytes.
    writes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Eof,
    Reset,
}

#[derive(Clone, Copy)]
enum Side {
    Reader,
    Writer,
}

/// Two joined ends; at most `room` bytes wait in each direction.
pub(crate) fn pair(room: usize) -> (Transport, Transport) {
    let pipe = || {
        Arc::new(Mutex::new(Pipe {
            bytes: VecDeque::new(),
            room,
            end: None,
            held: VecDeque::new(),
            gone: false,
            failure: None,
            reading: Turns::free(),
            writing: Turns::free(),
            reader: None,
            writer: None,
            writes: 0,
        }))
    };
    let (there, back) = (pipe(), pipe());
    let end = |incoming: &Shared, outgoing: &Shared| Transport {
        incoming: incoming.clone(),
        outgoing: outgoing.clone(),
        buffered: false,
        shutdown: Shutdown::Immediate,
    };
    (end(&back, &there), end(&there, &back))
}

impl Transport {
    /// With these turns for reads.
    pub(crate) fn reading(self, turns: Turns) -> Self {
        lock(&self.incoming).reading = turns;
        self
    }

    /// With these turns for writes, flushes and the shutdown.
    pub(crate) fn writing(self, turns: Turns) -> Self {
        lock(&self.outgoing).writing = turns;
        self
    }

    /// Which keeps what is written until it is flushed.
    pub(crate) fn buffered(mut self) -> Self {
        self.buffered = true;
        self
    }

    pub(crate) fn shutting_down(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Writes all at once, past the limit of what may wait.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut pipe = lock(&self.outgoing);
        pipe.bytes.extend(bytes);
        pipe.wake(Side::Reader);
    }

    /// Reads all that has come.
    pub(crate) fn pull(&self) -> Vec<u8> {
        let mut pipe = lock(&self.incoming);
        let bytes = pipe.bytes.drain(..).collect();
        pipe.wake(Side::Writer);
        bytes
    }

    /// Whether the other end has shut down, or is gone, and all that it sent was read.
    pub(crate) fn is_at_end(&self) -> bool {
        let pipe = lock(&self.incoming);
        pipe.end.is_some() && pipe.bytes.is_empty()
    }

    /// How many of the other end's writes took bytes.
    pub(crate) fn writes(&self) -> usize {
        lock(&self.incoming).writes
    }

    /// The other end reads the end behind what was sent.
    pub(crate) fn finish(&self) {
        self.end(End::Eof);
    }

    /// The other end reads what was sent, and then an error; its writes fail.
    pub(crate) fn reset(&self) {
        self.end(End::Reset);
        self.refuse(0, io::ErrorKind::ConnectionReset);
    }

    /// The other end reads what was sent, and then an error. Its writes go on, or wait as before.
    pub(crate) fn fail_reads(&self) {
        self.end(End::Reset);
    }

    /// The other end can write `count` more bytes, then its writes fail. Its reads go on.
    pub(crate) fn refuse(&self, count: usize, kind: io::ErrorKind) {
        let mut pipe = lock(&self.incoming);
        pipe.failure = Some((count, kind));
        pipe.wake(Side::Writer);
    }

    fn end(&self, end: End) {
        let mut pipe = lock(&self.outgoing);
        pipe.end.get_or_insert(end);
        pipe.wake(Side::Reader);
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.incoming);
        let count = match pipe.reading.get() {
            Turn::Wait => {
                pipe.reading.advance();
                pipe.reader = Some(cx.waker().clone());
                wake_later(&self.incoming, Side::Reader);
                return Poll::Pending;
            }
            Turn::Bytes(count) => count.min(buf.remaining()).min(pipe.bytes.len()),
        };
        if pipe.bytes.is_empty() {
            return match pipe.end {
                Some(End::Eof) => Poll::Ready(Ok(())),
                Some(End::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                None => {
                    pipe.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
        pipe.reading.advance();
        let bytes: Vec<u8> = pipe.bytes.drain(..count).collect();
        buf.put_slice(&bytes);
        pipe.wake(Side::Writer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.outgoing);
        let mut most = ready!(pipe.turn(&self.outgoing, cx));
        if pipe.gone || pipe.end.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        match pipe.failure {
            Some((0, kind)) => return Poll::Ready(Err(kind.into())),
            Some((left, _)) => most = most.min(left),
            None => {}
        }
        let waiting = if self.buffered { pipe.held.len() } else { pipe.bytes.len() };
        most = most.min(pipe.room.saturating_sub(waiting));
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(most).collect();
        if bytes.is_empty() && slices.iter().any(|slice| !slice.is_empty()) {
            if self.buffered {
                ready!(pipe.poll_flush(&self.outgoing, cx))?;
                drop(pipe);
                return self.poll_write_vectored(cx, slices);
            }
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.writing.advance();
        pipe.writes += 1;
        if let Some((left, _)) = &mut pipe.failure {
            *left -= bytes.len();
        }
        if self.buffered {
            pipe.held.extend(&bytes);
        } else {
            pipe.bytes.extend(&bytes);
            pipe.wake(Side::Reader);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.outgoing).poll_flush(&self.outgoing, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shutdown == Shutdown::AfterInput {
            let mut pipe = lock(&self.incoming);
            if !pipe.bytes.is_empty() || pipe.end.is_none() {
                // Whoever reads comes by here again.
                pipe.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        let mut pipe = lock(&self.outgoing);
        ready!(pipe.poll_flush(&self.outgoing, cx))?;
        if pipe.end.is_none() {
            ready!(pipe.turn(&self.outgoing, cx));
            pipe.writing.advance();
            pipe.end = Some(End::Eof);
            pipe.wake(Side::Reader);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        let unread = {
            let mut pipe = lock(&self.incoming);
            pipe.gone = true;
            pipe.wake(Side::Writer);
            !pipe.bytes.is_empty()
        };
        // What TCP does with bytes that nobody will read.
        self.end(if unread { End::Reset } else { End::Eof });
    }
}

impl Pipe {
    /// How many bytes the writer may move now.
    fn turn(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<usize> {
        match self.writing.get() {
            Turn::Wait => {
                self.writing.advance();
                self.writer = Some(cx.waker().clone());
                wake_later(shared, Side::Writer);
                Poll::Pending
            }
            Turn::Bytes(count) => Poll::Ready(count),
        }
    }

    fn poll_flush(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let most = ready!(self.turn(shared, cx));
            if self.gone {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let count = most.min(self.held.len()).min(self.room.saturating_sub(self.bytes.len()));
            if count == 0 && most > 0 {
                self.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            self.writing.advance();
            let moved: Vec<u8> = self.held.drain(..count).collect();
            self.bytes.extend(moved);
            self.wake(Side::Reader);
        }
        Poll::Ready(Ok(()))
    }

    fn wake(&mut self, side: Side) {
        let waker = match side {
            Side::Reader => self.reader.take(),
            Side::Writer => self.writer.take(),
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn lock(pipe: &Shared) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap()
}

/// Wakes whoever waits on that side then, after other tasks had their turn.
fn wake_later(pipe: &Shared, side: Side) {
    let pipe = pipe.clone();
    tokio::spawn(async move {
        tokio::task::yield_now().await;
        lock(&pipe).wake(side);
    });
}
