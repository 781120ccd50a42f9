//! What moves bytes between a stream and the engine.

#![forbid(unsafe_code)]

use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, IoSlice};

use ::futures_io::{AsyncRead, AsyncWrite};
use bytes::Buf;

use super::patience::{Late, Patience};
use super::scratch;
use super::time::Time;
use super::wakers::{Side, Wakers};
use crate::error::{Deadline, Error};
use crate::heartbeat::Due;
use crate::observe::Watch;
use crate::options::{Options, PaceOf};
use crate::proto::{
    CloseCode, Connection, Event, Message, MessageRef, ProtocolError, SendError, SendErrorKind, State,
};

/// A stream, the engine, and what is known of their end.
#[derive(Debug)]
pub(super) struct Driver<S> {
    pub(super) stream: S,
    pub(super) connection: Connection,
    pace: PaceOf,
    pub(super) patience: Patience,
    wakers: Wakers,
    /// The peer broke the protocol; to be told once the peer was.
    failure: Option<ProtocolError>,
    /// Bytes were written that the stream may still hold back.
    unflushed: bool,
    /// The stream does not take bytes any more.
    write_error: Option<io::ErrorKind>,
    pub(super) stage: Stage,
    /// The time to close was over, and the stream was to be read once more.
    late: bool,
    /// What came since the task last had to wait: in messages, and what weighs as much.
    taken: usize,
    /// A message was given, and something came, since the peer was last waited for.
    given: bool,
    heard: bool,
    watch: Watch,
}

/// How far the stream is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// Our sending side is shut down.
    ShutDown,
    /// Nothing more is to be had or done.
    Ended,
}

/// What came of a turn with the stream.
enum Turn {
    /// Something came, or changed.
    Again,
    /// Nothing will come any more.
    Ended(Result<(), Error>),
}

impl<S> Driver<S> {
    pub(super) fn new(stream: S, connection: Connection, time: Time, options: &Options) -> Self {
        let watch = options.observer.opened(connection.role(), connection.agreement());
        Self {
            stream,
            connection,
            pace: options.into(),
            patience: Patience::new(time, &options.pace),
            wakers: Wakers::default(),
            failure: None,
            unflushed: false,
            write_error: None,
            stage: Stage::Open,
            late: false,
            taken: 0,
            given: false,
            heard: false,
            watch,
        }
    }

    /// The time to close begins when either end closes, or the connection fails, and runs once.
    pub(super) fn note_closing(&mut self) {
        if self.connection.state() != State::Open && self.patience.note_closing(&self.pace) {
            // Who waits has a deadline from here on.
            self.wakers.wake();
        }
    }

    /// Ends the connection; gives the error to tell, if it did not end well.
    fn end(&mut self, error: Option<Error>) -> Result<(), Error> {
        self.stage = Stage::Ended;
        self.patience.end();
        self.connection.input_eof();
        // The engine learns that no Close will come. What nobody took before the end is dropped.
        while let Ok(Some(_)) = self.connection.next_event_ref() {}
        self.connection.output_lost();
        self.connection.release();
        let status = self.connection.close_status();
        let clean = status.as_ref().is_some_and(|status| status.clean);
        let ended = Error::at_end(self.failure.take(), clean, error, self.write_error);
        self.watch.ended(|| status, ended.as_ref().err());
        ended
    }

    /// Notes what came.
    fn note_event(&mut self, event: &Event) {
        match event {
            Event::Chunk(chunk) => self.given |= chunk.last,
            Event::Message(message) if message.is_data() => self.given = true,
            Event::Message(message) => {
                if let Message::Pong(payload) = message {
                    self.patience.note_pong(payload);
                }
                if !self.patience.allows_control(&self.pace) {
                    let max = self.pace.max_control_rate;
                    self.connection.fail(ProtocolError::TooManyControlFrames { max });
                }
            }
        }
    }

    /// Pending if it is the turn of others: a peer that sends without pause must not keep other tasks from running.
    fn poll_proceed(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.taken < MOST_TAKEN {
            return Poll::Ready(());
        }
        self.taken = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn poll_event(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Event>, Error>> {
        loop {
            if self.stage == Stage::Ended {
                return Poll::Ready(Ok(None));
            }
            ready!(self.poll_proceed(cx));
            if self.failure.is_none() {
                match self.connection.next_event() {
                    Ok(Some(event)) => {
                        self.taken += 1;
                        self.note_event(&event);
                        // A pong, or the answer to a Close, begins to leave before the event is looked at.
                        if !event.is_data() || self.connection.queued() >= MOST_HELD {
                            let _ = self.poll_write(side, cx);
                        }
                        return Poll::Ready(Ok(Some(event)));
                    }
                    Ok(None) => {}
                    Err(error) => self.failure = Some(error),
                }
            }
            match ready!(self.poll_turn(side, cx)) {
                Turn::Again => {}
                Turn::Ended(result) => {
                    self.wakers.wake_other(side);
                    return Poll::Ready(result.map(|()| None));
                }
            }
        }
    }

    /// Waits for room in the queue.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            match self.connection.refusal() {
                None => return Poll::Ready(Ok(())),
                Some(SendErrorKind::Full) if self.connection.queued() > 0 => {
                    ready!(self.poll_flush_queue(cx))?
                }
                Some(kind) => return Poll::Ready(Err(SendError::from(kind).into())),
            }
        }
    }

    /// Takes a borrowed message, of which nothing is copied that the stream takes at once.
    pub(super) fn send_ref(
        &mut self,
        message: MessageRef<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), SendError> {
        let Self { stream, connection, watch, unflushed, .. } = self;
        if *unflushed {
            return connection.send_ref(message);
        }
        connection.send_ref_with(message, |header, payload| {
            let pieces = [IoSlice::new(header), IoSlice::new(payload)];
            match Pin::new(stream).poll_write_vectored(cx, &pieces) {
                Poll::Ready(Ok(count)) => {
                    watch.sent(count);
                    *unflushed = true;
                    count
                }
                // An error comes again where the rest is written.
                Poll::Ready(Err(_)) | Poll::Pending => 0,
            }
        })
    }

    pub(super) fn poll_flush_queue(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.stage == Stage::Ended {
            let clean = self.connection.close_status().is_some_and(|status| status.clean);
            return Poll::Ready(if clean { Ok(()) } else { Err(Error::Lost) });
        }
        let written = self.poll_write(Side::Send, cx);
        if let Some(kind) = self.write_error {
            return Poll::Ready(Err(Error::Io(kind.into())));
        }
        if written.is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.note_closing();
        self.patience.note_output();
        let waker = self.wakers.note(Side::Send, cx.waker());
        let late = ready!(self.patience.poll(&self.pace, false, &mut Context::from_waker(&waker)));
        // How it ended is for `recv` to tell.
        self.wakers.wake_other(Side::Send);
        let deadline = if late == Late::Close { Deadline::Close } else { Deadline::Write };
        Poll::Ready(Err(Error::Timeout(deadline)))
    }

    /// One turn with the stream: writes what waits, and reads.
    fn poll_turn(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<Turn> {
        if self.failure.is_some() {
            // Lets an end of the stream take effect: the error is known.
            let _ = self.connection.next_event_ref();
        }
        // Reading never waits for writing: two ends that both write would wait for each other.
        let _ = self.poll_write(side, cx);
        let waker = self.wakers.note(side, cx.waker());
        let cx = &mut Context::from_waker(&waker);
        self.note_closing();
        if self.connection.state() != State::Open
            && let Some(turn) = ready!(self.poll_end(cx))
        {
            return Poll::Ready(turn);
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(count)) => {
                if count == 0 {
                    self.connection.input_eof();
                }
                self.watch.received(count);
                // Fragments give no event until the last, and take time nevertheless.
                self.taken += 1 + count / MESSAGE;
                self.heard = true;
                Poll::Ready(Turn::Again)
            }
            Poll::Ready(Err(error)) => {
                self.connection.input_eof();
                Poll::Ready(Turn::Ended(self.end(Some(Error::Io(error)))))
            }
            Poll::Pending if self.late => Poll::Ready(Turn::Again),
            Poll::Pending => {
                // An idle connection holds no memory.
                self.connection.release();
                self.taken = 0;
                self.poll_waiting(cx)
            }
        }
    }

    /// What is to be looked at while nothing comes.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if self.connection.state() == State::Open {
            if self.connection.wants_output() || self.unflushed {
                self.patience.note_output();
            }
            let given = mem::take(&mut self.given);
            self.patience.note_life(mem::take(&mut self.heard), given);
            self.patience.note_message(self.connection.unfinished(), given);
        }
        let deadline = match ready!(self.patience.poll(&self.pace, true, cx)) {
            Late::Output => Deadline::Write,
            Late::Beat(Due::Pong) => Deadline::Pong,
            Late::Message => {
                self.connection.fail(ProtocolError::TooSlow);
                return Poll::Ready(Turn::Again);
            }
            Late::Beat(Due::Ping) => {
                let Self { patience, connection, .. } = self;
                // Refused only where so much waits that the peer is watched for taking it.
                patience.ping(|payload| connection.ping(payload).is_ok());
                return Poll::Ready(Turn::Again);
            }
            Late::Beat(Due::Idle) => {
                self.connection.close(Some(CloseCode::AWAY.into()));
                let _ = self.poll_try_write(cx);
                Deadline::Idle
            }
            Late::Close => {
                // What came in time counts, though nobody looked: one more read, and no more.
                self.late = true;
                return Poll::Ready(Turn::Again);
            }
        };
        Poll::Ready(Turn::Ended(self.end(Some(Error::Timeout(deadline)))))
    }

    /// What a connection that is not open needs before, or in the place of, a read.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Turn>> {
        let shutting = self.connection.wants_shutdown()
            && self.stage == Stage::Open
            && self.poll_shutdown(cx).is_pending();
        if self.is_over(shutting) {
            return Poll::Ready(Some(Turn::Ended(self.end(None))));
        }
        let (wants_input, wants_discard) = (self.connection.wants_input(), self.connection.wants_discard());
        if self.patience.poll(&self.pace, true, cx).is_ready()
            && (mem::replace(&mut self.late, true) || !wants_input)
        {
            return Poll::Ready(Some(Turn::Ended(self.end(Some(Error::Timeout(Deadline::Close))))));
        }
        // A peer that takes nothing before it has said all would let the shutdown wait for ever. Else all that is left
        // is to write, or for the application to close.
        let reads = wants_discard || (wants_input && !shutting);
        if reads { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Whether nothing is left to do but to tell how it ended.
    fn is_over(&self, shutting: bool) -> bool {
        let Self { connection, .. } = self;
        let busy = connection.wants_input() || connection.wants_output() || connection.wants_discard();
        connection.state() == State::Closed && !busy && !shutting
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { stream, connection, .. } = self;
        scratch::with(|buffer| {
            let count = loop {
                match ready!(Pin::new(&mut *stream).poll_read(cx, buffer)) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    count => break count?,
                }
            };
            if connection.wants_input() {
                connection.feed(&buffer[..count]);
            }
            Poll::Ready(Ok(count))
        })
    }

    /// Writes as much as the stream takes; pending while something waits. An error of the stream is kept for the end: what
    /// the peer sent before may still be read.
    fn poll_write(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<()> {
        if !self.connection.wants_output() && !self.unflushed {
            return Poll::Ready(());
        }
        let waker = self.wakers.note(side, cx.waker());
        if let Err(error) = ready!(self.poll_try_write(&mut Context::from_waker(&waker))) {
            self.write_error.get_or_insert(error.kind());
            self.connection.output_lost();
            self.patience.note_drained();
            self.unflushed = false;
        }
        // Who waits on the other side did so for this, if it is not for bytes of the peer.
        if side == Side::Receive || self.connection.state() != State::Open {
            self.wakers.wake_other(side);
        }
        Poll::Ready(())
    }

    fn poll_try_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, connection, patience, .. } = self;
        let mut stream = Pin::new(stream);
        while connection.wants_output() {
            let output = connection.output();
            let written = if output.is_in_one() {
                stream.as_mut().poll_write(cx, output.chunk())
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = output.chunks_vectored(&mut slices);
                stream.as_mut().poll_write_vectored(cx, &slices[..count])
            };
            match ready!(written) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    output.advance(written);
                    patience.note_written(written);
                    self.watch.sent(written);
                    self.unflushed = true;
                }
            }
        }
        if self.unflushed {
            ready!(stream.poll_flush(cx))?;
            self.unflushed = false;
        }
        patience.note_drained();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A stream that is gone already needs no shutdown: its error says nothing new.
        let _ = ready!(Pin::new(&mut self.stream).poll_close(cx));
        self.stage = Stage::ShutDown;
        Poll::Ready(())
    }
}

/// After so many messages other tasks have their turn.
const MOST_TAKEN: usize = 256;
/// So many bytes of fragments weigh as much as a message.
const MESSAGE: usize = 1 << 10;
/// How many bytes wait for others at most, while the application takes messages that are there already.
const MOST_HELD: usize = 64 << 10;
/// How many pieces one write takes: enough for a burst of large messages, and little on the stack.
const SLICES: usize = 32;
