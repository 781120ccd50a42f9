//! A stream in memory whose test decides what each read brings and how much writes take, and which counts both.
//!
//! As a socket does, it keeps one waker for each direction: the latest.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use std::collections::VecDeque;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The end that a socket drives.
#[derive(Debug)]
pub(crate) struct Stream(Arc<Shared>);

/// The other end, for any thread.
#[derive(Clone, Debug)]
pub(crate) struct Far(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// What each read brings; a read with less room leaves the rest for the next.
    input: VecDeque<Vec<u8>>,
    finished: bool,
    output: Vec<u8>,
    /// How much each write took.
    writes: Vec<usize>,
    /// How many bytes the stream takes yet.
    room: usize,
    failure: Option<io::ErrorKind>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    gone: bool,
}

pub(crate) fn pair() -> (Stream, Far) {
    let state = State {
        input: VecDeque::new(),
        finished: false,
        output: Vec::new(),
        writes: Vec::new(),
        room: usize::MAX,
        failure: None,
        reader: None,
        writer: None,
        gone: false,
    };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    (Stream(shared.clone()), Far(shared))
}

impl Far {
    /// One read brings this.
    pub(crate) fn push(&self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        // A read of nothing would be the end.
        if !bytes.is_empty() {
            let mut state = self.0.lock();
            state.input.push_back(bytes);
            wake(state.reader.take());
        }
    }

    /// Reads find the end behind what was pushed.
    pub(crate) fn finish(&self) {
        let mut state = self.0.lock();
        state.finished = true;
        wake(state.reader.take());
    }

    /// From now on writes take so many bytes, and then wait.
    pub(crate) fn set_room(&self, room: usize) {
        let mut state = self.0.lock();
        state.room = room;
        wake(state.writer.take());
    }

    /// From now on writes fail.
    pub(crate) fn fail(&self, kind: io::ErrorKind) {
        let mut state = self.0.lock();
        state.failure = Some(kind);
        wake(state.writer.take());
    }

    /// All that was written.
    pub(crate) fn output(&self) -> Vec<u8> {
        self.0.lock().output.clone()
    }

    pub(crate) fn written(&self) -> usize {
        self.0.lock().output.len()
    }

    /// How much each write took.
    pub(crate) fn writes(&self) -> Vec<usize> {
        self.0.lock().writes.clone()
    }

    /// How many bytes were not read.
    pub(crate) fn unread(&self) -> usize {
        self.0.lock().input.iter().map(Vec::len).sum()
    }

    /// The stream was dropped.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.lock().gone
    }

    /// Blocks the thread until so much was written.
    pub(crate) fn wait(&self, len: usize) {
        let short = |state: &mut State| state.output.len() < len;
        let (state, late) = self.0.changed.wait_timeout_while(self.0.lock(), HANGS, short).unwrap();
        assert!(!late.timed_out(), "{} of {len} bytes were written, and no more come", state.output.len());
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        let Some(mut piece) = state.input.pop_front() else {
            if state.finished {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(&piece);
        if !rest.is_empty() {
            state.input.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if let Some(kind) = state.failure {
            return Poll::Ready(Err(kind.into()));
        }
        if state.room == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = state.output.len();
        for slice in slices {
            let count = slice.len().min(state.room);
            state.output.extend_from_slice(&slice[..count]);
            state.room -= count;
        }
        let count = state.output.len() - before;
        state.writes.push(count);
        self.0.changed.notify_all();
        Poll::Ready(Ok(count))
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

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.lock().gone = true;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Nothing that goes on takes so long: a test that would hang fails.
pub(crate) const HANGS: Duration = Duration::from_secs(60);
