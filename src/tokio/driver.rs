//! What moves bytes between a stream and the engine.

#![forbid(unsafe_code)]

use core::future::Future;
use core::mem;
use core::pin::pin;
use core::task::{Context, Poll, ready};
use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use ::tokio::task::yield_now;

use super::closing::{Stage, now};
use super::intake::Intake;
use super::line::{Line, with_wakers};
use super::patience::{Late, Patience};
use super::scratch;
use super::shared::Shared;
use super::wakers::Side;
use crate::error::{Deadline, Error};
use crate::heartbeat::Due;
use crate::proto::{CloseCode, EventRef, MessageRef, ProtocolError, Sender, Standing, State};

/// Both halves, while the lock is held.
pub(super) struct Driver<'a, S> {
    pub(super) intake: &'a mut Intake,
    pub(super) line: &'a mut Line<S>,
}

/// What came of a turn with the stream.
pub(super) enum Turn {
    /// Something came.
    Read,
    /// Nothing will come any more.
    Ended(Result<(), Error>),
}

impl<S> Shared<S> {
    /// Does something with both halves.
    pub(super) fn drive<T>(&self, intake: &mut Intake, work: impl FnOnce(&mut Driver<'_, S>) -> T) -> T {
        work(&mut Driver { intake, line: &mut self.line() })
    }
}

impl<S> Driver<'_, S> {
    /// Passes what the receiving half owes and knows to the other, and back.
    #[inline]
    pub(super) fn settle(&mut self) {
        let Self { intake, line } = self;
        if let (Some(error), false) = (line.closing.failure(), intake.failed) {
            intake.receiver.fail_by(error);
            intake.failed = true;
        }
        line.heard.settle(&mut intake.receiver, &mut line.sender);
    }

    pub(super) fn fail(&mut self, error: ProtocolError) {
        self.settle();
        self.line.note_closing();
        self.line.closing.fail(error);
        self.intake.failed = true;
    }

    /// Whether nothing is left to do but to tell how it ended.
    fn is_over(&self) -> bool {
        let standing = self.standing();
        let busy = self.wants_input() || self.line.sender.wants_output() || standing.wants_discard();
        let waits = standing.wants_shutdown() && self.line.stage == Stage::Open;
        standing.state() == State::Closed && !busy && !waits
    }

    fn standing(&self) -> Standing {
        self.line.heard.standing(&self.line.sender)
    }

    const fn wants_input(&self) -> bool {
        self.intake.receiver.wants_input()
    }

    /// Ends the connection; gives the error to tell, if it did not end well. The others are to be woken then.
    fn end(&mut self, error: Option<Error>) -> Result<(), Error> {
        let Self { intake, line } = self;
        line.stage = Stage::Ended;
        line.patience = Patience::default();
        intake.ended = true;
        intake.receiver.input_eof();
        // The engine learns that no Close will come. What nobody took before the end is dropped.
        while let Ok(Some(_)) = intake.receiver.next_event_ref() {}
        intake.give_back();
        self.settle();
        let Self { intake, line } = self;
        line.sender.output_lost();
        intake.receiver.release();
        line.sender.release();
        let status = line.heard.close_status(&line.sender);
        let clean = status.as_ref().is_some_and(|status| status.clean);
        let ended = Error::at_end(line.closing.end(), clean, error, line.write_error);
        line.watch.ended(|| status, ended.as_ref().err());
        ended
    }

    #[cold]
    pub(super) fn note_pong(&mut self, payload: &[u8]) {
        if let Some(heartbeat) = self.line.patience.heartbeat() {
            heartbeat.pong(payload, now);
        }
    }

    /// Counts a control frame.
    #[cold]
    pub(super) fn note_control(&mut self) {
        let Self { intake, line } = self;
        let max = line.pace.max_control_rate;
        if intake.controls >= max {
            intake.controls = 0;
            if !line.patience.allows_controls() {
                intake.receiver.fail_by(ProtocolError::TooManyControlFrames { max });
            }
        }
        intake.controls = intake.controls.saturating_add(1);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<'_, S> {
    /// Hands each event to `handler` as it lies in the buffer, until the connection ends.
    pub(super) fn poll_each<F>(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        handler: &mut F,
    ) -> Poll<Result<(), Error>>
    where
        F: FnMut(EventRef<'_>, &mut Sender) -> Result<(), Error>,
    {
        // As many reads as bring as much as a buffer holds; then others have their turn.
        let mut left = scratch::SIZE;
        loop {
            if self.intake.ended {
                return Poll::Ready(Ok(()));
            }
            if let Err(error) = ready!(self.poll_hand_over(side, cx, handler)) {
                self.intake.leave();
                return Poll::Ready(Err(error));
            }
            if left == 0 {
                let _ = self.line.with_wakers(side, cx, Line::poll_write);
                self.intake.leave();
                // Pending the first time, and behind all who are ready.
                return pin!(yield_now()).poll(cx).map(Ok);
            }
            match ready!(self.poll_turn_for(side, cx)) {
                Turn::Read => left = left.saturating_sub(self.intake.receiver.unparsed().len()),
                Turn::Ended(result) => return Poll::Ready(result),
            }
        }
    }

    /// Hands over what came. Pending if the peer does not take the answers: then it gets no more of them.
    fn poll_hand_over<F>(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        handler: &mut F,
    ) -> Poll<Result<(), Error>>
    where
        F: FnMut(EventRef<'_>, &mut Sender) -> Result<(), Error>,
    {
        let most_held = self.line.most_held();
        while !self.intake.failed {
            if self.line.sender.queued() >= most_held
                && self.line.with_wakers(side, cx, Line::poll_write).is_pending()
                && self.line.with_wakers(side, cx, Line::poll_deadline).is_pending()
            {
                self.intake.leave();
                let patience = |line: &mut Line<S>, cx: &mut Context<'_>| line.poll_patience(false, cx);
                match ready!(self.line.with_wakers(side, cx, patience)) {
                    Late::Output => {
                        let ended = self.end(Some(Error::Timeout(Deadline::Write)));
                        self.line.wakers.wake_others(side);
                        return Poll::Ready(ended);
                    }
                    Late::Message | Late::Beat(_) => self.settle(),
                }
            }
            let (receiver, sender) = (&mut self.intake.receiver, &mut self.line.sender);
            let patience = &mut self.line.patience;
            let (mut given, mut control) = (self.intake.given, false);
            let handled = loop {
                match receiver.next_event_ref() {
                    Ok(Some(event)) => {
                        let data = event.is_data();
                        control = !data;
                        match &event {
                            EventRef::Message(MessageRef::Pong(payload)) => {
                                if let Some(heartbeat) = patience.heartbeat() {
                                    heartbeat.pong(payload, now);
                                }
                            }
                            EventRef::Message(_) => given |= data,
                            EventRef::Chunk(chunk) => given |= chunk.last,
                        }
                        let handled = handler(event, sender);
                        if !data || handled.is_err() || sender.queued() >= most_held {
                            break Ok(handled);
                        }
                    }
                    Ok(None) => {
                        self.intake.given = given;
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) => break Err(error),
                }
            };
            self.intake.given = given;
            match handled {
                Ok(handled) => {
                    if control {
                        self.note_control();
                    }
                    // A pong, or the answer to a Close, begins to leave.
                    self.settle();
                    self.line.note_closing();
                    let _ = self.line.with_wakers(side, cx, Line::poll_write);
                    if handled.is_err() {
                        return Poll::Ready(handled);
                    }
                }
                Err(error) => self.fail(error),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// One turn with the stream, with the waker of all who wait.
    pub(super) fn poll_turn_for(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<Turn> {
        let turn = with_wakers(self, |driver| &mut driver.line.wakers, side, cx, Self::poll_turn);
        if let Poll::Ready(Turn::Ended(_)) = turn {
            self.line.wakers.wake_others(side);
        }
        turn
    }

    /// One turn with the stream: writes what waits, and reads.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        self.settle();
        if self.intake.failed {
            // Discards what was read: the error is known.
            let _ = self.intake.receiver.next_event_ref();
        }
        // Reading never waits for writing: two ends that both write would wait for each other.
        let _ = self.line.poll_write(cx);
        if !self.line.is_open()
            && let Some(turn) = ready!(self.poll_end(cx))
        {
            return Poll::Ready(turn);
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(0)) => {
                self.intake.receiver.input_eof();
                Poll::Ready(Turn::Read)
            }
            Poll::Ready(Ok(count)) => {
                self.line.watch.received(count);
                Poll::Ready(Turn::Read)
            }
            Poll::Ready(Err(error)) => {
                self.intake.receiver.input_eof();
                Poll::Ready(Turn::Ended(self.end(Some(Error::Io(error)))))
            }
            Poll::Pending if self.line.closing.is_late() => Poll::Ready(Turn::Read),
            Poll::Pending => {
                // An idle connection holds no memory.
                self.intake.receiver.release();
                self.line.sender.release();
                self.poll_waiting(cx)
            }
        }
    }

    /// What is to be looked at while nothing comes.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let Self { intake, line } = self;
        let unfinished = intake.receiver.unfinished();
        let at_rest = unfinished.is_none() && !line.has_output();
        if at_rest && line.patience.is_at_rest() {
            return Poll::Pending;
        }
        if line.is_open() {
            line.patience.note_received(|| intake.receiver.memory());
            let given = mem::take(&mut intake.given);
            if let Some(heartbeat) = line.patience.heartbeat() {
                heartbeat.note(mem::take(&mut intake.heard), given, now);
            }
            line.patience.note_message(unfinished, given);
        }
        let late = line.poll_patience(true, cx);
        line.patience.rest();
        match ready!(late) {
            Late::Output => Poll::Ready(Turn::Ended(self.end(Some(Error::Timeout(Deadline::Write))))),
            Late::Message => {
                self.settle();
                Poll::Ready(Turn::Read)
            }
            Late::Beat(due) => self.poll_beat(due, cx),
        }
    }

    #[cold]
    fn poll_beat(&mut self, due: Due, cx: &mut Context<'_>) -> Poll<Turn> {
        let deadline = match due {
            Due::Ping => {
                self.line.beat();
                return Poll::Ready(Turn::Read);
            }
            Due::Pong => Deadline::Pong,
            Due::Idle => {
                self.line.start_close(Some(CloseCode::AWAY.into()));
                let _ = self.line.poll_write(cx);
                Deadline::Idle
            }
        };
        Poll::Ready(Turn::Ended(self.end(Some(Error::Timeout(deadline)))))
    }

    /// What a connection that is not open needs before, or in the place of, a read.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Turn>> {
        let shutting = self.standing().wants_shutdown()
            && self.line.stage == Stage::Open
            && self.line.poll_shutdown(cx).is_pending();
        if self.is_over() {
            return Poll::Ready(Some(Turn::Ended(self.end(None))));
        }
        if self.line.poll_deadline(cx).is_ready() {
            // What came in time counts, though nobody looked: one more read, and no more.
            if self.line.closing.note_late() || !self.wants_input() {
                return Poll::Ready(Some(Turn::Ended(self.end(Some(Error::Timeout(Deadline::Close))))));
            }
        }
        let wants_discard = self.standing().wants_discard();
        // A peer that takes nothing before it has said all would let the shutdown wait for ever.
        let waits = shutting && !wants_discard;
        if waits || !(self.wants_input() || wants_discard) {
            // All that is left is to write, or for the application to close.
            self.intake.leave();
            return Poll::Pending;
        }
        Poll::Ready(None)
    }

    /// Reads into a buffer of the thread; or into the connection's own, where a large message goes on.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { intake, line } = self;
        if intake.receiver.wants_own_input() {
            intake.give_back();
            intake.heard = true;
            return pin!(line.stream.read_buf(intake.receiver.large_input())).poll(cx);
        }
        if intake.in_pieces {
            intake.give_back();
        }
        let mut buffer = match intake.receiver.reclaim_input() {
            // Empty, or beginning with what is left of it.
            Some(mut buffer) => {
                buffer.clear();
                buffer
            }
            None if intake.in_pieces => scratch::take_short(),
            None => scratch::take(),
        };
        (intake.borrowed, intake.lease) = (false, None);
        buffer.extend_from_slice(intake.receiver.unparsed());
        let read = pin!(line.stream.read_buf(&mut buffer)).poll(cx);
        match read {
            Poll::Ready(Ok(1..)) => {
                intake.receiver.lend_input(buffer);
                (intake.borrowed, intake.heard) = (true, true);
            }
            _ => scratch::put(buffer),
        }
        read
    }
}
