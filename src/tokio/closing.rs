//! The end of a connection: its deadline, and why it came.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use ::tokio::time::{Instant, Sleep, sleep_until};

use crate::heartbeat;
use crate::proto::ProtocolError;

/// How far the stream is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// Our sending side is shut down.
    ShutDown,
    /// Nothing more is to be had or done.
    Ended,
}

/// Nothing, until a connection begins to close.
#[derive(Debug, Default)]
pub(super) struct Closing(Option<Box<Begun>>);

#[derive(Debug)]
struct Begun {
    deadline: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// The peer broke the protocol; to be told once the peer was.
    failure: Option<ProtocolError>,
    /// The time to close was over, and the stream was to be read once more.
    late: bool,
}

impl Closing {
    pub(super) const fn has_begun(&self) -> bool {
        self.0.is_some()
    }

    /// Sets the deadline.
    pub(super) fn begin(&mut self, time: Duration) {
        let deadline = after(time);
        self.0 = Some(Box::new(Begun { deadline, timer: None, failure: None, late: false }));
    }

    /// Notes what the peer did wrong.
    pub(super) fn fail(&mut self, error: ProtocolError) {
        if let Some(begun) = &mut self.0 {
            begun.failure = Some(error);
        }
    }

    /// What the peer did wrong, if that was noted.
    pub(super) fn failure(&self) -> Option<ProtocolError> {
        self.0.as_ref().and_then(|begun| begun.failure)
    }

    /// Ends the timer; gives what the peer did wrong.
    pub(super) fn end(&mut self) -> Option<ProtocolError> {
        let begun = self.0.as_mut()?;
        begun.timer = None;
        begun.failure.take()
    }

    /// Ready once the time to close is over.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(begun) = &mut self.0 else { return Poll::Pending };
        let deadline = begun.deadline;
        begun.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline))).as_mut().poll(cx)
    }

    pub(super) fn is_late(&self) -> bool {
        self.0.as_ref().is_some_and(|begun| begun.late)
    }

    /// Notes that the time is over; whether that is known already.
    pub(super) fn note_late(&mut self) -> bool {
        self.0.as_mut().is_none_or(|begun| mem::replace(&mut begun.late, true))
    }
}

/// The time so long from now.
pub(super) fn after(time: Duration) -> Instant {
    at(Instant::now(), time)
}

/// The time so long from then. What is too far away for the clock is as good as never.
pub(super) fn at(since: Instant, time: Duration) -> Instant {
    heartbeat::at(since.into_std(), time).into()
}

/// The time by tokio's clock, which tests can stop.
pub(super) fn now() -> std::time::Instant {
    Instant::now().into_std()
}
