//! The next event, for whoever receives.

#![forbid(unsafe_code)]

use core::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::task::coop;

use super::driver::Turn;
use super::intake::Intake;
use super::line::Line;
use super::shared::Shared;
use super::wakers::Side;
use crate::error::Error;
use crate::proto::{Event, Message, Short};

impl Intake {
    /// The next event, as `made` makes something of it. Takes the lock only for what concerns the stream.
    // In its caller nearly all messages are found, and made where they are wanted: what a call gives lies in memory, and
    // is read in other pieces than it was written in, which stalls the processor.
    #[inline(always)]
    pub(super) fn poll_event<S, T>(
        &mut self,
        shared: &Shared<S>,
        side: Side,
        cx: &mut Context<'_>,
        made: impl FnOnce(Event) -> T,
    ) -> Poll<Result<Option<T>, Error>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if let Some(short) = self.next_short(shared, cx) {
                return Poll::Ready(Ok(Some(made(Event::Message(short.into())))));
            }
            match ready!(self.poll_other(shared, side, cx))? {
                Other::Read => {}
                Other::Event(event) => return Poll::Ready(Ok(Some(made(event.by_parts())))),
                Other::Ended => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// The next event, if it is a short message, and nothing else is to be done; none says nothing.
    #[inline(always)]
    fn next_short<S>(&mut self, shared: &Shared<S>, cx: &mut Context<'_>) -> Option<Short> {
        if shared.is_full() || self.poll_proceed(cx).is_pending() {
            return None;
        }
        let short = self.receiver.next_short()?;
        self.taken += 1;
        self.given = true;
        self.leave();
        Some(short)
    }

    /// Any other event; or a turn with the stream.
    #[inline(never)]
    fn poll_other<S>(
        &mut self,
        shared: &Shared<S>,
        side: Side,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Other, Error>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.ended {
            return Poll::Ready(Ok(Other::Ended));
        }
        if self.poll_proceed(cx).is_pending() {
            self.leave();
            return Poll::Pending;
        }
        if !self.failed {
            match self.receiver.next_event() {
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
                    if !data || shared.is_full() {
                        self.answer(shared, &event, side, cx);
                    }
                    return Poll::Ready(Ok(Other::Event(event)));
                }
                Ok(None) => {}
                Err(error) => shared.drive(self, |driver| driver.fail(error)),
            }
        }
        match ready!(shared.drive(self, |driver| driver.poll_turn_for(side, cx))) {
            Turn::Read => {
                // Fragments give no event until the last, and take time nevertheless.
                self.taken += (self.receiver.unparsed().len() / MESSAGE) as u32;
                Poll::Ready(Ok(Other::Read))
            }
            Turn::Ended(result) => Poll::Ready(result.map(|()| Other::Ended)),
        }
    }

    /// Pending if it is the turn of others. A peer that sends without pause must not keep other tasks from running:
    /// messages that are there already take as much of a task's turn as reads do.
    #[inline(always)]
    fn poll_proceed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.taken < MOST_TAKEN { Poll::Ready(()) } else { self.poll_budget(cx) }
    }

    #[inline(never)]
    fn poll_budget(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.taken >= MOST_TAKEN {
            ready!(coop::poll_proceed(cx)).made_progress();
            self.taken -= MOST_TAKEN;
        }
        Poll::Ready(())
    }

    /// A pong, or the answer to a Close, begins to leave before the event is looked at. What the application queued
    /// leaves together, once there is nothing more to take, or it gets much.
    #[inline(never)]
    fn answer<S>(&mut self, shared: &Shared<S>, event: &Event, side: Side, cx: &mut Context<'_>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let queued = shared.drive(self, |driver| {
            if !event.is_data() {
                driver.note_control();
            }
            if let Event::Message(Message::Pong(payload)) = event {
                driver.note_pong(payload);
            }
            driver.settle();
            driver.line.note_closing();
            let _ = driver.line.with_wakers(side, cx, Line::poll_write);
            driver.line.sender.queued()
        });
        shared.note_queued(queued);
    }
}

/// What came of looking for an event.
enum Other {
    Event(Event),
    /// Something was read.
    Read,
    /// Nothing will come any more.
    Ended,
}

/// How many messages weigh as much as a read.
const MOST_TAKEN: u32 = 2;

/// How many bytes weigh as much as a message.
const MESSAGE: usize = 4 << 10;
