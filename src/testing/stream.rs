//! The two ends of a connection in memory, and the hand that is on the wire between them.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, IoSlice};
use std::sync::{Mutex, OnceLock, PoisonError};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::task::AbortHandle;
use ::tokio::time::{Sleep, sleep, sleep_until};

use super::link::{Cut, Direction, Link};
use super::pipe::{End, Pipe, Reading, Side, Writing};
use super::turns::Turns;

/// One end of a connection in memory, made by [`pair`], [`Link::pair`] or a [`MemoryNetwork`](super::MemoryNetwork).
///
/// As a socket does, it keeps one waker for reading and one for writing. When it is dropped, the other end reads the end;
/// or an error, as on TCP, if something was not read. What that end writes then fails at once, which takes a round trip on
/// TCP. Waiting turns, latency and cuts at a time need a runtime of tokio.
pub struct MemoryStream {
    wire: Arc<Shared>,
    /// What this end writes.
    direction: Direction,
    /// When more arrives.
    timer: Option<Pin<Box<Sleep>>>,
    buffered: bool,
    shutdown_after_input: bool,
}

/// A hand on the wire between two ends, to cut it, or to hold it up. Clones are the same.
#[derive(Clone)]
pub struct Wire(Arc<Shared>);

/// Both directions.
pub(super) struct Shared {
    pipes: Mutex<[Pipe; 2]>,
    /// What cuts at a time.
    cutter: OnceLock<AbortHandle>,
}

/// Two ends, between which at most `room` bytes wait in each direction, and nothing else happens by itself.
#[must_use]
pub fn pair(room: usize) -> (MemoryStream, MemoryStream) {
    Link::new().room(room).pair()
}

impl Link {
    /// The two ends of a connection: the client's and the server's.
    ///
    /// # Panics
    /// Outside of a runtime of tokio, if it is to be [cut at a time](Self::cut_after).
    #[must_use]
    pub fn pair(&self) -> (MemoryStream, MemoryStream) {
        let pipes = [Direction::ToServer, Direction::ToClient].map(|direction| Pipe::new(self, direction));
        let wire = Arc::new(Shared { pipes: Mutex::new(pipes), cutter: OnceLock::new() });
        wire.with(|pipes| DIRECTIONS.into_iter().for_each(|direction| cut_if_due(pipes, direction)));
        if let Some((time, cut)) = self.cut_after {
            let weak = Arc::downgrade(&wire);
            // Its time begins here, not when the task does.
            let age = sleep(time);
            let task = ::tokio::spawn(async move {
                age.await;
                if let Some(wire) = weak.upgrade() {
                    Wire(wire).cut(cut);
                }
            });
            // Nobody else has set it.
            let _ = wire.cutter.set(task.abort_handle());
        }
        let end = |direction| MemoryStream {
            wire: wire.clone(),
            direction,
            timer: None,
            buffered: false,
            shutdown_after_input: false,
        };
        (end(Direction::ToServer), end(Direction::ToClient))
    }
}

impl MemoryStream {
    /// With these turns for reads.
    #[must_use]
    pub fn reading(self, turns: Turns) -> Self {
        self.incoming(|pipe| pipe.reading = turns);
        self
    }

    /// With these turns for writes, flushes and the shutdown.
    #[must_use]
    pub fn writing(self, turns: Turns) -> Self {
        self.outgoing(|pipe| pipe.writing = turns);
        self
    }

    /// Which keeps what is written until it is flushed, as TLS does.
    #[must_use]
    pub fn buffered(mut self) -> Self {
        self.buffered = true;
        self
    }

    /// Whose shutdown waits until the other end ended and all that it sent was read, as that of a peer which takes nothing
    /// before it has said all.
    #[must_use]
    pub fn shutdown_after_input(mut self) -> Self {
        self.shutdown_after_input = true;
        self
    }

    /// A hand on the wire.
    #[must_use]
    pub fn wire(&self) -> Wire {
        Wire(self.wire.clone())
    }

    /// Writes all at once, past the limit of what may wait.
    pub fn push(&self, bytes: &[u8]) {
        self.outgoing(|pipe| pipe.enter(bytes));
    }

    /// Reads all that has come.
    pub fn pull(&self) -> Vec<u8> {
        self.incoming(|pipe| {
            let mut all = Vec::new();
            let arrived = pipe.arrived();
            pipe.take(arrived, |bytes| all.extend_from_slice(bytes));
            all
        })
    }

    /// Whether the other end has shut down, or is gone, and all that it sent was read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.incoming(|pipe| pipe.has_ended() && pipe.is_empty())
    }

    /// How many of the other end's writes took bytes.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.incoming(|pipe| pipe.writes)
    }

    /// The other end reads the end behind what was sent.
    pub fn finish(&self) {
        self.outgoing(|pipe| pipe.end(End::Eof));
    }

    /// The other end reads what was sent, and then an error; its writes fail.
    pub fn reset(&self) {
        self.fail_reads();
        self.refuse(0, io::ErrorKind::ConnectionReset);
    }

    /// The other end reads what was sent, and then an error. Its writes go on, or wait as before.
    pub fn fail_reads(&self) {
        self.outgoing(|pipe| pipe.end(End::Reset));
    }

    /// The other end can write `count` more bytes, then its writes fail. Its reads go on.
    pub fn refuse(&self, count: usize, kind: io::ErrorKind) {
        self.incoming(|pipe| pipe.refuse(count, kind));
    }

    fn incoming<T>(&self, act: impl FnOnce(&mut Pipe) -> T) -> T {
        self.wire.with(|pipes| act(&mut pipes[self.direction.back() as usize]))
    }

    fn outgoing<T>(&self, act: impl FnOnce(&mut Pipe) -> T) -> T {
        self.wire.with(|pipes| act(&mut pipes[self.direction as usize]))
    }

    /// Flushes what is held.
    fn poll_held(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let direction = self.direction;
        loop {
            let flushed = self.wire.with(|pipes| {
                let flushed = pipes[direction as usize].flush(cx);
                cut_if_due(pipes, direction);
                flushed
            });
            match flushed {
                Writing::Bytes(_) => {}
                Writing::Failed(kind) => return Poll::Ready(Err(kind.into())),
                Writing::Flushed => return Poll::Ready(Ok(())),
                Writing::Later => {
                    self.wire.ring_later(direction, Side::Writer);
                    return Poll::Pending;
                }
                Writing::Nothing | Writing::Full => return Poll::Pending,
            }
        }
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let read = self.incoming(|pipe| {
                let read = pipe.read(buffer.remaining(), cx);
                if let Reading::Bytes(count) = read {
                    pipe.take(count, |bytes| buffer.put_slice(bytes));
                }
                read
            });
            match read {
                Reading::Bytes(_) | Reading::End(End::Eof) => return Poll::Ready(Ok(())),
                Reading::End(End::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Reading::Nothing => return Poll::Pending,
                Reading::Later => {
                    self.wire.ring_later(self.direction.back(), Side::Reader);
                    return Poll::Pending;
                }
                Reading::Until(time) => {
                    let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(time)));
                    if timer.deadline() != time {
                        timer.as_mut().reset(time);
                    }
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.timer = None;
                }
            }
        }
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (direction, buffered) = (self.direction, self.buffered);
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        loop {
            let written = self.wire.with(|pipes| {
                let pipe = &mut pipes[direction as usize];
                let written = pipe.write(wanted, buffered, cx);
                if let Writing::Bytes(mut left) = written {
                    for slice in slices {
                        let bytes = &slice[..slice.len().min(left)];
                        left -= bytes.len();
                        if buffered { pipe.hold(bytes) } else { pipe.enter(bytes) }
                    }
                    cut_if_due(pipes, direction);
                }
                written
            });
            match written {
                Writing::Bytes(count) => return Poll::Ready(Ok(count)),
                Writing::Failed(kind) => return Poll::Ready(Err(kind.into())),
                Writing::Nothing | Writing::Flushed => return Poll::Pending,
                Writing::Later => {
                    self.wire.ring_later(direction, Side::Writer);
                    return Poll::Pending;
                }
                Writing::Full => match self.poll_held(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_held(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shutdown_after_input {
            let waits = self.incoming(|pipe| {
                let waits = !pipe.is_empty() || !pipe.has_ended();
                if waits {
                    // Whoever reads comes by here again.
                    pipe.wait(Side::Reader, cx);
                }
                waits
            });
            if waits {
                return Poll::Pending;
            }
        }
        match self.poll_held(cx) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        let waits = self.outgoing(|pipe| {
            if pipe.has_ended() {
                return false;
            }
            let waits = pipe.turn(cx);
            if !waits {
                pipe.end(End::Eof);
            }
            waits
        });
        if waits {
            self.wire.ring_later(self.direction, Side::Writer);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads stay out of logs.
        f.debug_struct("MemoryStream")
            .field("writes", &self.direction)
            .field("wire", &self.wire())
            .finish_non_exhaustive()
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.wire.with(|pipes| {
            let incoming = &mut pipes[self.direction.back() as usize];
            incoming.abandon();
            // What TCP does with bytes that nobody will read.
            let end = if incoming.is_empty() { End::Eof } else { End::Reset };
            let outgoing = &mut pipes[self.direction as usize];
            outgoing.end(end);
            outgoing.forget_writer();
        });
    }
}

impl Wire {
    /// Loses the connection.
    pub fn cut(&self, cut: Cut) {
        self.0.with(|pipes| apply(pipes, cut, None));
    }

    /// Nothing arrives in this direction, and no end of it, until it [goes on](Self::resume). Writes wait as soon as its
    /// room is full.
    pub fn stall(&self, direction: Direction) {
        self.0.with(|pipes| pipes[direction as usize].stall(true));
    }

    /// What was stalled, or cut by [`Cut::Silence`], arrives.
    pub fn resume(&self) {
        self.0.with(|pipes| pipes.iter_mut().for_each(|pipe| pipe.stall(false)));
    }

    /// How many bytes were written in this direction.
    #[must_use]
    pub fn written(&self, direction: Direction) -> u64 {
        self.0.with(|pipes| pipes[direction as usize].written)
    }

    /// Whether both ends are there, and nothing was cut but by [`Cut::Silence`].
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    pub(super) fn downgrade(&self) -> Weak<Shared> {
        Arc::downgrade(&self.0)
    }

    pub(super) fn upgrade(wire: &Weak<Shared>) -> Option<Self> {
        wire.upgrade().filter(|wire| wire.is_open()).map(Self)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = DIRECTIONS.map(|direction| self.written(direction));
        f.debug_struct("Wire").field("written", &written).field("is_open", &self.is_open()).finish()
    }
}

impl Direction {
    const fn back(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}

impl Shared {
    fn is_open(&self) -> bool {
        self.with(|pipes| !pipes.iter().any(Pipe::is_gone))
    }

    /// Does something to both directions. Who is woken by it is woken without the lock, and wakers are dropped so: they may
    /// hold what comes by here again.
    fn with<T>(&self, act: impl FnOnce(&mut [Pipe; 2]) -> T) -> T {
        let (result, wakers) = {
            let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
            (act(&mut pipes), pipes.each_mut().map(Pipe::take_wakers))
        };
        for [rung, _stale] in wakers {
            for waker in rung.into_iter().flatten() {
                waker.wake();
            }
        }
        result
    }

    /// Wakes whoever waits on that side then, after other tasks had their turn.
    fn ring_later(self: &Arc<Self>, direction: Direction, side: Side) {
        let wire = self.clone();
        ::tokio::spawn(async move {
            ::tokio::task::yield_now().await;
            wire.with(|pipes| pipes[direction as usize].ring(side));
        });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(cutter) = self.cutter.get() {
            cutter.abort();
        }
    }
}

/// Cuts the connection if its plan says so.
fn cut_if_due(pipes: &mut [Pipe; 2], direction: Direction) {
    if let Some(cut) = pipes[direction as usize].due() {
        apply(pipes, cut, Some(direction));
    }
}

/// Cuts; what is under way in the direction that is kept arrives.
fn apply(pipes: &mut [Pipe; 2], cut: Cut, kept: Option<Direction>) {
    match cut {
        Cut::Reset => DIRECTIONS
            .into_iter()
            .for_each(|direction| pipes[direction as usize].reset(kept == Some(direction))),
        Cut::End => pipes.iter_mut().for_each(close),
        Cut::HalfClose(direction) => close(&mut pipes[direction as usize]),
        Cut::Silence => pipes.iter_mut().for_each(|pipe| pipe.stall(true)),
    }
}

/// One direction ends in order.
fn close(pipe: &mut Pipe) {
    pipe.end(End::Eof);
    pipe.break_off(io::ErrorKind::BrokenPipe);
}

const DIRECTIONS: [Direction; 2] = [Direction::ToServer, Direction::ToClient];
