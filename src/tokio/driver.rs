//! What moves bytes between a stream and the engine.

#![forbid(unsafe_code)]

use core::future::Future;
use core::mem;
use core::pin::pin;
use core::task::{Context, Poll, ready};
use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use ::tokio::task::{self, coop, yield_now};

use super::closing::{Closing, Stage};
use super::patience::{Late, Patience};
use super::scratch::{self, Lease};
use super::wakers::{Side, Wakers};
use crate::error::{Deadline, Error};
use crate::observe::Watch;
use crate::options::{Options, PaceOf};
use crate::proto::{CloseFrame, Connection, Event, EventRef, Message, ProtocolError, Sender, State};

/// A stream, the engine, and what is known about their end.
#[derive(Debug)]
pub(super) struct Driver<S> {
    pub(super) stream: S,
    pub(super) connection: Connection,
    pace: PaceOf,
    /// Begins, once, when the connection begins to close.
    closing: Closing,
    pub(super) patience: Patience,
    /// Bytes were written that the stream may still hold back.
    pub(super) unflushed: bool,
    /// The stream does not take bytes any more.
    pub(super) write_error: Option<io::ErrorKind>,
    /// The input lies in a buffer of the thread.
    borrowed: bool,
    /// It may stay there.
    lease: Option<Lease>,
    /// The task that asked for what is held to be written.
    pub(super) held: Option<task::Id>,
    pub(super) stage: Stage,
    /// What came since the task was last asked whether its turn is over: in messages, and what weighs as much.
    taken: u32,
    /// A message was given since the peer was last waited for.
    given: bool,
    /// Control frames that came since they were last looked at.
    controls: u32,
    pub(super) wakers: Wakers,
    pub(super) watch: Watch,
}

/// What came of a turn with the stream.
enum Turn {
    /// Something came.
    Read,
    /// Nothing will come any more.
    Ended(Result<(), Error>),
}

impl<S> Driver<S> {
    pub(super) fn new(stream: S, connection: Connection, options: &Options) -> Self {
        Self {
            stream,
            connection,
            pace: options.into(),
            closing: Closing::default(),
            patience: Patience::default(),
            unflushed: false,
            write_error: None,
            borrowed: false,
            lease: None,
            held: None,
            stage: Stage::Open,
            taken: 0,
            given: false,
            controls: 0,
            wakers: Wakers::default(),
            watch: Watch::default(),
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
            self.closing.begin(self.pace.close_timeout);
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
    pub(super) fn end(&mut self, error: Option<Error>) -> Result<(), Error> {
        self.stage = Stage::Ended;
        self.patience = Patience::default();
        self.connection.input_eof();
        // The engine learns that no Close will come. What nobody took before the end is dropped.
        while let Ok(Some(_)) = self.connection.next_event_ref() {}
        self.give_back();
        self.connection.output_lost();
        self.wakers.wake();
        self.connection.release();
        let ended = match (self.closing.end(), self.connection.close_status()) {
            (Some(failure), _) => Err(Error::Protocol(failure)),
            // After both Closes it does not matter how the transport ends.
            (None, Some(status)) if status.clean => Ok(()),
            _ => Err(match (error, self.write_error) {
                // Why there was no end in time, where that is known.
                (None | Some(Error::Timeout(_)), Some(kind)) => Error::Io(kind.into()),
                (Some(error), _) => error,
                (None, None) => Error::Lost,
            }),
        };
        self.watch.ended(|| self.connection.close_status(), ended.as_ref().err());
        ended
    }

    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.note_closing();
        self.closing.poll_deadline(cx)
    }

    /// Ready once the peer takes too long, or the connection wants too much memory. Is to be polled where nothing
    /// could be read, if that is what the task waits for, or else written.
    pub(super) fn poll_patience(&mut self, reading: bool, cx: &mut Context<'_>) -> Poll<Late> {
        if !self.connection.is_open() {
            return Poll::Pending;
        }
        if reading {
            self.patience.note_message(self.connection.unfinished(), mem::take(&mut self.given));
        }
        // What a stream holds back until it is flushed waits for the peer as well.
        if self.connection.wants_output() || self.unflushed {
            self.patience.note_output();
        }
        if !self.patience.allows_memory(|| self.connection.memory()) {
            self.connection.fail(ProtocolError::OverBudget);
            return Poll::Ready(Late::Message);
        }
        let late = ready!(self.patience.poll(&self.pace, reading, cx));
        if late == Late::Message {
            self.connection.fail(ProtocolError::TooSlow);
        }
        Poll::Ready(late)
    }

    /// Counts what is no whole message; whether it is data.
    #[inline(never)]
    fn note_other(&mut self, event: &Event) -> bool {
        match event {
            Event::Chunk(chunk) => self.given |= chunk.last,
            Event::Message(_) => self.note_control(),
        }
        event.is_data()
    }

    /// Counts a control frame.
    #[cold]
    fn note_control(&mut self) {
        let max = self.pace.max_control_rate;
        if self.controls >= max {
            self.controls = 0;
            if !self.patience.allows_controls() {
                self.connection.fail(ProtocolError::TooManyControlFrames { max });
            }
        }
        self.controls = self.controls.saturating_add(1);
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
    /// The next event, as `made` makes something of it.
    pub(super) fn poll_event<T>(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        made: impl FnOnce(Event) -> T,
    ) -> Poll<Result<Option<T>, Error>> {
        loop {
            if self.stage == Stage::Ended {
                return Poll::Ready(Ok(None));
            }
            // A peer that sends without pause must not keep other tasks from running: messages that are there
            // already take as much of a task's turn as reads do.
            while self.taken >= MOST_TAKEN {
                let Poll::Ready(turn) = coop::poll_proceed(cx) else {
                    self.leave();
                    return Poll::Pending;
                };
                turn.made_progress();
                self.taken -= MOST_TAKEN;
            }
            if !self.closing.has_failed() {
                match self.connection.next_event() {
                    Ok(Some(event)) => {
                        self.taken += 1;
                        self.leave();
                        let data = match &event {
                            Event::Message(Message::Binary(_) | Message::Text(_)) => {
                                self.given = true;
                                true
                            }
                            other => self.note_other(other),
                        };
                        // A pong, or the answer to a Close, begins to leave before the event is looked at. What
                        // the application queued leaves together, once there is nothing more to take.
                        if !data || self.connection.queued() >= MOST_HELD {
                            self.note_closing();
                            let _ = self.with_wakers(side, cx, Self::poll_write);
                        }
                        return Poll::Ready(Ok(Some(made(event))));
                    }
                    Ok(None) => {}
                    Err(error) => self.fail(error),
                }
            }
            match ready!(self.with_wakers(side, cx, Self::poll_turn)) {
                // Fragments give no event until the last, and take time nevertheless.
                Turn::Read => self.taken += (self.connection.unparsed().len() / MESSAGE) as u32,
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
                let patience = |driver: &mut Self, cx: &mut Context<'_>| driver.poll_patience(false, cx);
                match ready!(self.with_wakers(Side::Receive, cx, patience)) {
                    Late::Output => return Poll::Ready(self.end(Some(Error::Timeout(Deadline::Write)))),
                    Late::Message => {}
                }
            }
            let (receiver, sender) = self.connection.halves();
            let (mut given, mut control) = (self.given, false);
            let handled = loop {
                match receiver.next_event_ref() {
                    Ok(Some(event)) => {
                        let data = event.is_data();
                        control = !data;
                        match &event {
                            EventRef::Message(_) => given |= data,
                            EventRef::Chunk(chunk) => given |= chunk.last,
                        }
                        let handled = handler(event, sender);
                        if !data || handled.is_err() || sender.queued() >= most_held {
                            break Ok(handled);
                        }
                    }
                    Ok(None) => {
                        self.given = given;
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) => break Err(error),
                }
            };
            self.given = given;
            match handled {
                Ok(handled) => {
                    if control {
                        self.note_control();
                    }
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
            Poll::Ready(Ok(count)) => {
                self.watch.received(count);
                Poll::Ready(Turn::Read)
            }
            Poll::Ready(Err(error)) => {
                self.connection.input_eof();
                Poll::Ready(Turn::Ended(self.end(Some(Error::Io(error)))))
            }
            Poll::Pending if self.closing.is_late() => Poll::Ready(Turn::Read),
            Poll::Pending => {
                // An idle connection holds no memory.
                self.connection.release();
                if self.patience.is_at_rest() && self.connection.is_at_rest() && !self.unflushed {
                    return Poll::Pending;
                }
                let late = self.poll_patience(true, cx);
                self.patience.rest();
                match ready!(late) {
                    Late::Output => Poll::Ready(Turn::Ended(self.end(Some(Error::Timeout(Deadline::Write))))),
                    // The engine gives the error.
                    Late::Message => Poll::Ready(Turn::Read),
                }
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

    /// Polls with the waker of all who wait.
    pub(super) fn with_wakers<T>(
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

/// How many bytes wait for others at most, while the application takes messages that are there already: as
/// many as one read brings.
const MOST_HELD: usize = scratch::SIZE;

/// How many messages weigh as much as a read.
const MOST_TAKEN: u32 = 2;

/// How many bytes weigh as much as a message.
const MESSAGE: usize = 4 << 10;

/// How many bytes are moved out of a thread's buffer rather than left there.
const MOST_MOVED: usize = 4 << 10;
