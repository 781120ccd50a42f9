//! What moves bytes between a stream and the engine.

#![forbid(unsafe_code)]

use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io::{self, IoSlice};

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use ::tokio::task::{self, coop, yield_now};
use bytes::Buf;

use super::closing::{Closing, Stage};
use super::scratch::{self, Lease};
use super::wakers::{Side, Wakers};
use crate::error::{Deadline, Error};
use crate::proto::{
    CloseFrame, Connection, Event, EventRef, ProtocolError, SendError, SendErrorKind, Sender, State,
};

/// A stream, the engine, and what is known about their end.
#[derive(Debug)]
pub(super) struct Driver<S> {
    pub(super) stream: S,
    pub(super) connection: Connection,
    close_timeout: Duration,
    /// Begins, once, when the connection begins to close.
    closing: Closing,
    /// Bytes were written that the stream may still hold back.
    unflushed: bool,
    /// The stream does not take bytes any more.
    write_error: Option<io::ErrorKind>,
    /// The input lies in a buffer of the thread.
    borrowed: bool,
    /// It may stay there.
    lease: Option<Lease>,
    /// The task that asked for what is held to be written.
    pub(super) held: Option<task::Id>,
    stage: Stage,
    /// Messages given since the task was last asked whether its turn is over.
    taken: u8,
    pub(super) wakers: Wakers,
}

/// What came of a turn with the stream.
enum Turn {
    /// Something came.
    Read,
    /// Nothing will come any more.
    Ended(Result<(), Error>),
}

impl<S> Driver<S> {
    pub(super) fn new(stream: S, connection: Connection, close_timeout: Duration) -> Self {
        Self {
            stream,
            connection,
            close_timeout,
            closing: Closing::default(),
            unflushed: false,
            write_error: None,
            borrowed: false,
            lease: None,
            held: None,
            stage: Stage::Open,
            taken: 0,
            wakers: Wakers::default(),
        }
    }

    pub(super) fn into_parts(mut self) -> (S, Connection) {
        self.give_back();
        (self.stream, self.connection)
    }

    pub(super) fn start_close(&mut self, frame: Option<CloseFrame>) {
        self.connection.close(frame);
        self.note_closing();
    }

    pub(super) fn is_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Whether frames may wait for others: those that the messages here will be answered with.
    pub(super) fn can_hold(&self) -> bool {
        let connection = &self.connection;
        connection.is_open() && connection.has_input() && connection.queued() < self.most_held()
    }

    /// How many bytes may wait for others: so few that the queue does not get full by it.
    fn most_held(&self) -> usize {
        MOST_HELD.min(self.connection.config().max_queued / 2)
    }

    /// The time to close begins when either end closes, or the connection fails, and runs once.
    pub(super) fn note_closing(&mut self) {
        if !self.connection.is_open() && !self.closing.has_begun() && self.connection.state() != State::Open {
            self.closing.begin(self.close_timeout);
            // Who waits on the other side has a deadline now.
            self.wakers.wake();
        }
    }

    fn fail(&mut self, error: ProtocolError) {
        self.note_closing();
        self.closing.fail(error);
    }

    /// Whether nothing is left to do but to tell how it ended.
    fn is_over(&self) -> bool {
        let connection = &self.connection;
        let busy = connection.wants_input() || connection.wants_output() || connection.wants_discard();
        let waits = connection.wants_shutdown() && self.stage == Stage::Open;
        connection.state() == State::Closed && !busy && !waits
    }

    /// Ends the connection; gives the error to tell, if it did not end well.
    fn end(&mut self, error: Option<Error>) -> Result<(), Error> {
        self.stage = Stage::Ended;
        self.connection.input_eof();
        // The engine learns that no Close will come. What nobody took before the end is dropped.
        while let Ok(Some(_)) = self.connection.next_event_ref() {}
        self.give_back();
        self.connection.output_lost();
        self.wakers.wake();
        self.connection.release();
        if let Some(failure) = self.closing.end() {
            return Err(Error::Protocol(failure));
        }
        match self.connection.close_status() {
            // After both Closes it does not matter how the transport ends.
            Some(status) if status.clean => Ok(()),
            _ => Err(match (error, self.write_error) {
                // Why there was no end in time, where that is known.
                (None | Some(Error::Timeout(_)), Some(kind)) => Error::Io(kind.into()),
                (Some(error), _) => error,
                (None, None) => Error::Lost,
            }),
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.note_closing();
        self.closing.poll_deadline(cx)
    }

    /// Leaves the thread's buffer to others before the application does something else: a little that is not
    /// parsed yet moves to memory of its size; much of it may stay, where few connections do so.
    fn leave(&mut self) {
        if !self.borrowed || self.lease.is_some() {
            return;
        }
        if self.connection.unparsed().len() > MOST_MOVED {
            self.lease = Lease::new();
        }
        if self.lease.is_none() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        (self.borrowed, self.lease) = (false, None);
        if let Some(buffer) = self.connection.reclaim_input() {
            scratch::put(buffer);
        }
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
            // A peer that sends without pause must not keep other tasks from running: messages that are there
            // already take as much of a task's turn as reads do.
            if self.taken >= MOST_TAKEN {
                let Poll::Ready(turn) = coop::poll_proceed(cx) else {
                    self.leave();
                    return Poll::Pending;
                };
                turn.made_progress();
                self.taken = 0;
            }
            if !self.closing.has_failed() {
                match self.connection.next_event() {
                    Ok(Some(event)) => {
                        self.taken = self.taken.wrapping_add(1);
                        self.leave();
                        // A pong, or the answer to a Close, begins to leave before the event is looked at. What
                        // the application queued leaves together, once there is nothing more to take.
                        if !event.is_data() || self.connection.queued() >= MOST_HELD {
                            self.note_closing();
                            let _ = self.with_wakers(side, cx, Self::poll_write);
                        }
                        return Poll::Ready(Ok(Some(event)));
                    }
                    Ok(None) => {}
                    Err(error) => self.fail(error),
                }
            }
            match ready!(self.with_wakers(side, cx, Self::poll_turn)) {
                Turn::Read => {}
                Turn::Ended(result) => return Poll::Ready(result.map(|()| None)),
            }
        }
    }

    /// Hands each event to `handler` as it lies in the buffer, until the connection ends.
    pub(super) fn poll_each<F>(&mut self, cx: &mut Context<'_>, handler: &mut F) -> Poll<Result<(), Error>>
    where
        F: FnMut(EventRef<'_>, &mut Sender) -> Result<(), Error>,
    {
        // As many reads as bring as much as a buffer holds; then others have their turn.
        let mut left = scratch::SIZE;
        loop {
            if self.is_ended() {
                return Poll::Ready(Ok(()));
            }
            if let Err(error) = ready!(self.poll_hand_over(cx, handler)) {
                self.leave();
                return Poll::Ready(Err(error));
            }
            if left == 0 {
                let _ = self.with_wakers(Side::Receive, cx, Self::poll_write);
                self.leave();
                // Pending the first time, and behind all who are ready.
                return pin!(yield_now()).poll(cx).map(Ok);
            }
            match ready!(self.with_wakers(Side::Receive, cx, Self::poll_turn)) {
                Turn::Read => left = left.saturating_sub(self.connection.unparsed().len()),
                Turn::Ended(result) => return Poll::Ready(result),
            }
        }
    }

    /// Hands over what came. Pending if the peer does not take the answers: then it gets no more of them.
    fn poll_hand_over<F>(&mut self, cx: &mut Context<'_>, handler: &mut F) -> Poll<Result<(), Error>>
    where
        F: FnMut(EventRef<'_>, &mut Sender) -> Result<(), Error>,
    {
        let most_held = self.most_held();
        while !self.closing.has_failed() {
            if self.connection.queued() >= most_held
                && self.with_wakers(Side::Receive, cx, Self::poll_write).is_pending()
                && self.with_wakers(Side::Receive, cx, Self::poll_deadline).is_pending()
            {
                self.leave();
                return Poll::Pending;
            }
            let (receiver, sender) = self.connection.halves();
            let handled = loop {
                match receiver.next_event_ref() {
                    Ok(Some(event)) => {
                        let data = event.is_data();
                        let handled = handler(event, sender);
                        if !data || handled.is_err() || sender.queued() >= most_held {
                            break Ok(handled);
                        }
                    }
                    Ok(None) => return Poll::Ready(Ok(())),
                    Err(error) => break Err(error),
                }
            };
            match handled {
                Ok(handled) => {
                    // A pong, or the answer to a Close, begins to leave.
                    self.note_closing();
                    let _ = self.with_wakers(Side::Receive, cx, Self::poll_write);
                    if handled.is_err() {
                        return Poll::Ready(handled);
                    }
                }
                Err(error) => self.fail(error),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// One turn with the stream: writes what waits, and reads.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if self.closing.has_failed() {
            // Discards what was read: the error is known.
            let _ = self.connection.next_event_ref();
        }
        // Reading never waits for writing: two ends that both write would wait for each other.
        let _ = self.poll_write(cx);
        if !self.connection.is_open()
            && let Some(turn) = ready!(self.poll_end(cx))
        {
            return Poll::Ready(turn);
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(0)) => {
                self.connection.input_eof();
                Poll::Ready(Turn::Read)
            }
            Poll::Ready(Ok(_)) => Poll::Ready(Turn::Read),
            Poll::Ready(Err(error)) => {
                self.connection.input_eof();
                Poll::Ready(Turn::Ended(self.end(Some(Error::Io(error)))))
            }
            Poll::Pending if self.closing.is_late() => Poll::Ready(Turn::Read),
            Poll::Pending => {
                // An idle connection holds no memory.
                self.connection.release();
                Poll::Pending
            }
        }
    }

    /// What a connection that is not open needs before, or in the place of, a read.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Turn>> {
        let shutting = self.connection.wants_shutdown()
            && self.stage == Stage::Open
            && self.poll_shutdown(cx).is_pending();
        if self.is_over() {
            return Poll::Ready(Some(Turn::Ended(self.end(None))));
        }
        if self.poll_deadline(cx).is_ready() {
            // What came in time counts, though nobody looked: one more read, and no more.
            if self.closing.note_late() || !self.connection.wants_input() {
                return Poll::Ready(Some(Turn::Ended(self.end(Some(Error::Timeout(Deadline::Close))))));
            }
        }
        // A peer that takes nothing before it has said all would let the shutdown wait for ever.
        let waits = shutting && !self.connection.wants_discard();
        if waits || !(self.connection.wants_input() || self.connection.wants_discard()) {
            // All that is left is to write, or for the application to close.
            self.leave();
            return Poll::Pending;
        }
        Poll::Ready(None)
    }

    /// Reads into a buffer of the thread; or into the connection's own, where a large message goes on.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.connection.wants_own_input() {
            self.give_back();
            return pin!(self.stream.read_buf(self.connection.large_input())).poll(cx);
        }
        let mut buffer = match self.connection.reclaim_input() {
            // Empty, or beginning with what is left of it.
            Some(mut buffer) => {
                buffer.clear();
                buffer
            }
            None => scratch::take(),
        };
        (self.borrowed, self.lease) = (false, None);
        buffer.extend_from_slice(self.connection.unparsed());
        let read = pin!(self.stream.read_buf(&mut buffer)).poll(cx);
        match read {
            Poll::Ready(Ok(1..)) => {
                self.connection.lend_input(buffer);
                self.borrowed = true;
            }
            _ => scratch::put(buffer),
        }
        read
    }

    /// Waits for room in the queue.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            match self.connection.refusal() {
                None => return Poll::Ready(Ok(())),
                Some(SendErrorKind::Full) if self.connection.queued() > 0 => ready!(self.poll_flush(cx))?,
                Some(kind) => return Poll::Ready(Err(SendError::from(kind).into())),
            }
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let polled = self.with_wakers(Side::Send, cx, Self::poll_flush_output);
        if polled.is_ready() {
            self.wakers.forget(Side::Send);
        }
        polled
    }

    fn poll_flush_output(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.stage == Stage::Ended {
            let clean = self.connection.close_status().is_some_and(|status| status.clean);
            return Poll::Ready(if clean { Ok(()) } else { Err(Error::Lost) });
        }
        let written = self.poll_write(cx);
        if let Some(kind) = self.write_error {
            return Poll::Ready(Err(Error::Io(kind.into())));
        }
        if written.is_pending() && self.poll_deadline(cx).is_ready() {
            // How it ended is for `recv` to tell.
            self.wakers.wake();
            return Poll::Ready(Err(Error::Timeout(Deadline::Close)));
        }
        written.map(Ok)
    }

    /// Writes what is held, for a task that is not the application's. An error is for the application to find.
    pub(super) fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.stage == Stage::Ended {
            return Poll::Ready(());
        }
        let polled = self.with_wakers(Side::Held, cx, Self::poll_write);
        if polled.is_ready() {
            self.wakers.forget(Side::Held);
            self.held = None;
        }
        polled
    }

    /// Writes as much as the stream takes; pending while something waits. An error of the stream is kept
    /// for the end: what the peer sent before may still be read.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.poll_try_write(cx)) {
            Ok(()) => {}
            Err(error) => {
                self.write_error = self.write_error.or(Some(error.kind()));
                self.connection.output_lost();
                self.unflushed = false;
            }
        }
        Poll::Ready(())
    }

    fn poll_try_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.wants_output() {
            let output = self.connection.output();
            let mut slices = [IoSlice::new(&[]); SLICES];
            let stream = Pin::new(&mut self.stream);
            let written = if output.is_in_one() {
                ready!(stream.poll_write(cx, output.chunk()))?
            } else {
                let count = output.chunks_vectored(&mut slices);
                debug_assert_ne!(count, 0, "bytes that wait lie somewhere");
                ready!(stream.poll_write_vectored(cx, &slices[..count]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A stream that is gone already needs no shutdown: its error says nothing new.
        if let Poll::Ready(Ok(()) | Err(_)) = Pin::new(&mut self.stream).poll_shutdown(cx) {
            self.stage = Stage::ShutDown;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Polls with the waker of all who wait.
    fn with_wakers<T>(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.wakers.are_all(cx.waker()) {
            let polled = poll(self, cx);
            if polled.is_pending() {
                self.wakers.note(side, cx.waker());
            }
            return polled;
        }
        match self.wakers.note(side, cx.waker()) {
            Some(all) => poll(self, &mut Context::from_waker(&all)),
            None => poll(self, cx),
        }
    }
}

/// How many pieces one write takes: enough for a burst of large messages, and little on the stack.
const SLICES: usize = 32;

/// How many bytes wait for others at most, while the application takes messages that are there already: as
/// many as one read brings.
const MOST_HELD: usize = scratch::SIZE;

/// How many messages weigh as much as a read.
const MOST_TAKEN: u8 = 2;

/// How many bytes are moved out of a thread's buffer rather than left there.
const MOST_MOVED: usize = 4 << 10;
