//! Where time comes from: a clock and a timer.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use std::time::Instant;

/// What is done at a point in time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A clock and a timer: what the deadlines of [`Options`](crate::Options) are kept by.
#[derive(Clone, Copy)]
pub struct Time {
    now: fn() -> Instant,
    sleep_until: fn(Instant) -> Sleep,
}

impl Time {
    /// The timer of a runtime, and the system's clock.
    ///
    /// On smol, and wherever else `async-io` can be:
    /// `Time::new(|deadline| Box::pin(async move { smol::Timer::at(deadline).await; }))`.
    #[must_use]
    pub const fn new(sleep_until: fn(Instant) -> Sleep) -> Self {
        Self { now: Instant::now, sleep_until }
    }

    /// With another clock, the one that the timer goes by: for tests whose time runs as they say.
    #[must_use]
    pub const fn clock(mut self, now: fn() -> Instant) -> Self {
        self.now = now;
        self
    }

    pub(super) fn now(self) -> Instant {
        (self.now)()
    }

    /// What a future gives, or nothing if that is not before the deadline.
    pub(super) async fn within<T>(self, deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
        let (mut future, mut alarm) = (pin!(future), Alarm::default());
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => alarm.poll(self, deadline, cx).map(|()| None),
        })
        .await
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

/// A timer for a deadline that moves; nothing while there is none.
#[derive(Default)]
pub(super) struct Alarm(Option<(Instant, Sleep)>);

impl Alarm {
    /// Ready once the clock says so.
    pub(super) fn poll(&mut self, time: Time, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // One that is too early is found to be so when it fires: a deadline moves with each byte.
            let (at, sleep) = match &mut self.0 {
                Some(set) if set.0 <= deadline => set,
                other => other.insert((deadline, (time.sleep_until)(deadline))),
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let late = *at >= deadline || time.now() >= deadline;
            self.0 = None;
            if late {
                return Poll::Ready(());
            }
        }
    }

    pub(super) fn stop(&mut self) {
        self.0 = None;
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alarm").field(&self.0.as_ref().map(|(at, _)| at)).finish()
    }
}
