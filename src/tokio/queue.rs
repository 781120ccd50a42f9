//! Where several tasks send: who waits for what, and in which order.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::mem;
use core::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncWrite};

use super::closing::Stage;
use super::driver::Driver;
use super::intake::Intake;
use super::line::{Line, Senders};
use super::shared::Owner;
use super::wakers::{Side, Until};
use crate::error::{Deadline, Error};
use crate::proto::{CloseFrame, Message, SendError, SendErrorKind, Sender};

impl<S> Line<S> {
    /// Begins to count for those who send.
    pub(super) fn split(&mut self) {
        let appended = self.sender.queued() as u64 + u64::from(self.unflushed);
        self.senders = Some(Box::new(Senders { appended, ..Senders::default() }));
    }

    /// Queues something; tells how far has to be written until that is.
    pub(super) fn append(
        &mut self,
        queue: impl FnOnce(&mut Sender) -> Result<(), SendError>,
    ) -> Result<u64, SendError> {
        let before = self.sender.queued();
        queue(&mut self.sender)?;
        let more = self.sender.queued().saturating_sub(before) as u64;
        let senders = self.senders.get_or_insert_default();
        senders.appended += more;
        let appended = senders.appended;
        self.note_closing();
        Ok(appended)
    }

    /// Takes a message, unless others wait for the room that there is.
    pub(super) fn append_message(&mut self, message: Message) -> Result<u64, SendError> {
        if message.is_data() && self.is_promised() {
            return Err(SendError::new(SendErrorKind::Full, Some(message)));
        }
        self.append(|sender| sender.send(message))
    }

    /// Whether others wait for what room there is.
    pub(super) fn is_promised(&self) -> bool {
        let reserved = self.senders.as_ref().is_some_and(|senders| senders.reserved);
        (reserved || self.wakers.waits_for_room_before(u64::MAX)) && self.refusal().is_none()
    }

    /// Queues a Close; tells how far has to be written until it is.
    pub(super) fn append_close(&mut self, frame: Option<CloseFrame>) -> u64 {
        let closes = self.sender.refusal() != Some(SendErrorKind::Closed);
        let before = self.sender.queued();
        self.start_close(frame);
        let senders = self.senders.get_or_insert_default();
        senders.appended += self.sender.queued().saturating_sub(before) as u64;
        let appended = senders.appended;
        if closes {
            // Whoever receives writes it.
            self.wakers.wake();
        }
        appended
    }

    /// How far has to be written for all that waits.
    pub(super) fn appended(&self) -> u64 {
        self.senders.as_ref().map_or(0, |senders| senders.appended)
    }

    /// Notes that all is flushed that was written.
    pub(super) fn note_flushed(&mut self) {
        if let Some(senders) = &mut self.senders {
            let queued = self.sender.queued() as u64;
            senders.flushed = senders.flushed.max(senders.appended.saturating_sub(queued));
        }
    }

    /// Whether somebody waits for a flush, although more is to be written.
    pub(super) fn wants_flush(&self) -> bool {
        self.senders.as_ref().is_some_and(|senders| {
            let written = senders.appended.saturating_sub(self.sender.queued() as u64);
            written > senders.flushed && self.wakers.waits_for_writing_up_to(written, senders.flushed)
        })
    }

    pub(super) fn refusal(&self) -> Option<SendErrorKind> {
        self.heard.refusal(&self.sender)
    }

    /// Whether that has come for which somebody at the front of the queue waits.
    fn has_come(&self, until: Until) -> bool {
        match until {
            Until::Room => match self.refusal() {
                Some(SendErrorKind::Full | SendErrorKind::MessageInProgress) => false,
                Some(_) => true,
                None => self.senders.as_ref().is_none_or(|senders| !senders.reserved),
            },
            Until::Written(mark) => self.senders.as_ref().is_none_or(|senders| senders.flushed >= mark),
            Until::End => self.stage == Stage::Ended,
        }
    }

    /// Wakes those whose turn has come.
    pub(super) fn wake_ready(&mut self) {
        let mut taken = mem::take(&mut self.wakers);
        taken.wake_ready(|until| self.has_come(until));
        self.wakers = taken;
    }

    /// Gives the right to queue the next message to the next who waits for it.
    pub(super) fn release_turn(&mut self) {
        if let Some(senders) = &mut self.senders {
            senders.reserved = false;
        }
        self.wake_ready();
    }

    pub(super) fn adopt(&mut self, intake: Box<Intake>) {
        self.senders.get_or_insert_default().orphan = Some(intake);
        // Somebody has to come by.
        self.wakers.wake();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// Receives where nobody else does; gives the error of the connection.
    fn drive_orphan(&mut self, side: Side, cx: &mut Context<'_>) -> Result<(), Error> {
        let Some(mut intake) = self.senders.as_mut().and_then(|senders| senders.orphan.take()) else {
            return Ok(());
        };
        let ended = Driver { intake: &mut intake, line: self }.poll_each(side, cx, &mut |_, _| Ok(()));
        self.senders.get_or_insert_default().orphan = Some(intake);
        match ended {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_until(&mut self, place: u64, until: Until, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let side = Side::Queue(place);
        self.drive_orphan(side, cx)?;
        let flushed = self.with_wakers(side, cx, Self::poll_flush_output);
        match until {
            Until::Room if self.refusal() == Some(SendErrorKind::Closed) => {
                Poll::Ready(Err(SendError::from(SendErrorKind::Closed).into()))
            }
            Until::Room if self.wakers.waits_for_room_before(place) => Poll::Pending,
            Until::Room | Until::Written(_) if self.has_come(until) => {
                if until == Until::Room {
                    self.senders.get_or_insert_default().reserved = true;
                }
                Poll::Ready(Ok(()))
            }
            Until::Room => match flushed {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Pending,
            },
            Until::Written(_) => flushed,
            Until::End if self.stage == Stage::Ended => Poll::Ready(Ok(())),
            Until::End => match flushed {
                Poll::Ready(Err(error @ Error::Timeout(_))) => Poll::Ready(Err(error)),
                // Whoever receives finds out about the rest.
                _ => {
                    let deadline = |line: &mut Self, cx: &mut Context<'_>| line.poll_deadline(cx);
                    ready!(self.with_wakers(side, cx, deadline));
                    Poll::Ready(Err(Error::Timeout(Deadline::Close)))
                }
            },
        }
    }
}

/// Waits in the queue; `place` is the one there.
pub(super) fn poll_until<S>(
    owner: &Owner<S>,
    place: &mut Option<u64>,
    until: Until,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let line = &mut *owner.line();
    let number = *place.get_or_insert_with(|| {
        let senders = line.senders.get_or_insert_default();
        senders.last += 1;
        senders.last
    });
    let side = Side::Queue(number);
    line.wakers.enter(number, until, cx.waker());
    let polled = line.poll_until(number, until, cx);
    if polled.is_pending() {
        line.wakers.note(side, cx.waker());
    } else {
        *place = None;
        line.wakers.forget(side);
    }
    owner.note_queued(line.sender.queued());
    line.wake_ready();
    polled
}

/// Leaves the queue before the turn came.
pub(super) fn leave<S>(owner: &Owner<S>, place: &mut Option<u64>) {
    if let Some(place) = place.take() {
        let line = &mut *owner.line();
        line.wakers.forget(Side::Queue(place));
        line.wake_ready();
    }
}
