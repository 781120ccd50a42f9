//! One end of a byte stream that goes as planned: what comes and how it ends, how much is taken and what becomes of
//! the rest, in pieces of any size. It counts the calls, and fails when something spins.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What becomes of a call that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It does nothing, and says so: the end of the input; a write of no bytes; a flush or a shutdown as it should be.
    Nothing,
    Error(ErrorKind),
    /// It is pending for ever; in a blocking stream, its timeout passes.
    Silence,
}

/// Of a head that was written, what comes.
type Answer = fn(&[u8]) -> Vec<u8>;

/// How a stream goes.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) input: Vec<u8>,
    /// How many bytes of the input come, and what comes behind them.
    pub(crate) cut: usize,
    pub(crate) end: Fate,
    /// How many bytes are taken, and what becomes of the others.
    pub(crate) room: usize,
    pub(crate) refusal: Fate,
    pub(crate) flush: Fate,
    pub(crate) shutdown: Fate,
    /// How many bytes a call moves at most.
    pub(crate) piece: usize,
    /// Each call is pending first, and its task is woken.
    pub(crate) waits: bool,
    /// Makes the input of the first head that was written.
    pub(crate) answer: Option<Answer>,
}

impl Plan {
    /// All of it comes, all is taken, and then the input ends.
    pub(crate) fn new(input: &[u8]) -> Self {
        Self {
            input: input.to_vec(),
            cut: usize::MAX,
            end: Fate::Nothing,
            room: usize::MAX,
            refusal: Fate::Silence,
            flush: Fate::Nothing,
            shutdown: Fate::Nothing,
            piece: usize::MAX,
            waits: false,
            answer: None,
        }
    }

    pub(crate) fn cut(self, cut: usize, end: Fate) -> Self {
        Self { cut, end, ..self }
    }

    pub(crate) fn room(self, room: usize, refusal: Fate) -> Self {
        Self { room, refusal, ..self }
    }

    pub(crate) fn pieces(self, piece: usize) -> Self {
        Self { piece, waits: true, ..self }
    }

    /// What comes before the end.
    pub(crate) fn comes(&self) -> &[u8] {
        &self.input[..self.cut.min(self.input.len())]
    }
}

/// Without the input, which may be large.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, cut, end, room, refusal, flush, shutdown, piece, .. } = self;
        let comes = (*cut).min(input.len());
        write!(
            f,
            "{comes} of {} bytes come, then {end:?}; {room} are taken, then {refusal:?}; ",
            input.len()
        )?;
        write!(f, "flush {flush:?}, shutdown {shutdown:?}, pieces of {piece}")
    }
}

#[derive(Debug)]
pub(crate) struct Stream(Arc<Mutex<State>>);

/// What a test sees of a stream, also when that is gone.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    plan: Plan,
    read: usize,
    output: Vec<u8>,
    calls: usize,
    /// The next read, or write, need not wait.
    ready: [bool; 2],
    reader: Option<Waker>,
    writer: Option<Waker>,
    gone: bool,
}

pub(crate) fn stream(plan: Plan) -> (Stream, Log) {
    let state = State {
        plan,
        read: 0,
        output: Vec::new(),
        calls: 0,
        ready: [false; 2],
        reader: None,
        writer: None,
        gone: false,
    };
    let shared = Arc::new(Mutex::new(state));
    (Stream(shared.clone()), Log(shared))
}

impl Log {
    pub(crate) fn output(&self) -> Vec<u8> {
        lock(&self.0).output.clone()
    }

    pub(crate) fn calls(&self) -> usize {
        lock(&self.0).calls
    }

    pub(crate) fn is_gone(&self) -> bool {
        lock(&self.0).gone
    }
}

/// The directions, as indices.
const READ: usize = 0;
const WRITE: usize = 1;

impl State {
    /// Counts a call, and lets it wait if it has to.
    fn call(&mut self, direction: usize, cx: Option<&mut Context<'_>>) -> Poll<()> {
        self.calls += 1;
        assert!(self.calls <= MOST_CALLS, "it spins");
        if !self.plan.waits || std::mem::replace(&mut self.ready[direction], true) {
            self.ready[direction] = false;
            return Poll::Ready(());
        }
        if let Some(cx) = cx {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn fate<T>(
        &mut self,
        fate: Fate,
        nothing: T,
        direction: usize,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<io::Result<T>> {
        match fate {
            Fate::Nothing => Poll::Ready(Ok(nothing)),
            Fate::Error(kind) => Poll::Ready(Err(kind.into())),
            Fate::Silence => {
                let waker = cx.map(|cx| cx.waker().clone());
                if direction == READ {
                    self.reader = waker;
                } else {
                    self.writer = waker;
                }
                Poll::Pending
            }
        }
    }

    fn poll_read(&mut self, most: usize, mut cx: Option<&mut Context<'_>>) -> Poll<io::Result<Vec<u8>>> {
        if self.call(READ, cx.as_deref_mut()).is_pending() {
            return Poll::Pending;
        }
        if let Some(answer) = self.plan.answer
            && self.output.ends_with(b"\r\n\r\n")
        {
            self.plan.input = answer(&self.output);
            self.plan.answer = None;
        }
        let rest = &self.plan.comes()[self.read..];
        let count = rest.len().min(most).min(self.plan.piece);
        // What asks for the answer may have been refused.
        if count == 0 {
            return self.fate(self.plan.end, Vec::new(), READ, cx);
        }
        let bytes = rest[..count].to_vec();
        self.read += count;
        Poll::Ready(Ok(bytes))
    }

    fn poll_write(
        &mut self,
        slices: &[IoSlice<'_>],
        mut cx: Option<&mut Context<'_>>,
    ) -> Poll<io::Result<usize>> {
        if self.call(WRITE, cx.as_deref_mut()).is_pending() {
            return Poll::Pending;
        }
        let most = self.plan.piece.min(self.plan.room - self.output.len().min(self.plan.room));
        let before = self.output.len();
        for slice in slices {
            let left = most - (self.output.len() - before);
            self.output.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        match self.output.len() - before {
            0 => self.fate(self.plan.refusal, 0, WRITE, cx),
            count => Poll::Ready(Ok(count)),
        }
    }

    fn poll_step(&mut self, fate: Fate, mut cx: Option<&mut Context<'_>>) -> Poll<io::Result<()>> {
        if self.call(WRITE, cx.as_deref_mut()).is_pending() {
            return Poll::Pending;
        }
        self.fate(fate, (), WRITE, cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_read(buf.remaining(), Some(cx)).map_ok(|bytes| buf.put_slice(&bytes))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(&[IoSlice::new(bytes)], Some(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(slices, Some(cx))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        let fate = state.plan.flush;
        state.poll_step(fate, Some(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        let fate = state.plan.shutdown;
        state.poll_step(fate, Some(cx))
    }
}

/// The same for blocking adapters: what would wait has waited for as long as the stream's timeout allows.
impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = or_timed_out(lock(&self.0).poll_read(buffer.len(), None))?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_timed_out(lock(&self.0).poll_write(&[IoSlice::new(bytes)], None))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        or_timed_out(lock(&self.0).poll_write(slices, None))
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut state = lock(&self.0);
        let fate = state.plan.flush;
        or_timed_out(state.poll_step(fate, None))
    }
}

fn or_timed_out<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::TimedOut.into()),
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.gone = true;
        let wakers = (state.reader.take(), state.writer.take());
        // They may hold the last of what comes by here again.
        drop(state);
        drop(wakers);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Far more than any conversation here takes.
const MOST_CALLS: usize = 200_000;
