//! What a peer leaves undone, and how long it may: the rest of a message, bytes that it does not take. And what it may
//! do at most: control frames, memory.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use ::tokio::time::{Instant, Sleep, sleep_until};

use super::closing::{at, now};
use crate::budget::{Budget, Charge};
use crate::heartbeat::{Due, Heartbeat};
use crate::options::Pace;

/// Nothing, while the peer leaves nothing undone.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<Box<Watch>>);

#[derive(Debug, Default)]
struct Watch {
    /// For the earlier deadline.
    timer: Option<Pin<Box<Sleep>>>,
    message: Option<Undone>,
    output: Option<Undone>,
    /// When control frames began to be counted.
    controls_since: Option<Instant>,
    charge: Option<Charge>,
    /// The memory that the receiving half held when it last waited.
    received: usize,
    heartbeat: Option<Box<Heartbeat>>,
}

#[derive(Clone, Copy, Debug)]
struct Undone {
    since: Instant,
    /// In bytes.
    done: u64,
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    Message,
    Output,
    /// See [`Due`].
    Beat(Due),
}

impl Patience {
    pub(super) fn new(pace: &Pace) -> Self {
        let heartbeat = Heartbeat::is_wanted(pace).then(Box::default);
        Self(heartbeat.map(|heartbeat| Box::new(Watch { heartbeat: Some(heartbeat), ..Watch::default() })))
    }

    /// The signs of life, if they are looked at.
    pub(super) fn heartbeat(&mut self) -> Option<&mut Heartbeat> {
        self.0.as_mut().and_then(|watch| watch.heartbeat.as_deref_mut())
    }

    /// Whether nothing is noted.
    pub(super) const fn is_at_rest(&self) -> bool {
        self.0.is_none()
    }

    /// Notes how much came of the message that is not whole; `whole` if another one was whole meanwhile.
    pub(super) fn note_message(&mut self, unfinished: Option<u64>, whole: bool) {
        match (unfinished, &mut self.0) {
            (Some(done), watch) => {
                let message = &mut watch.get_or_insert_default().message;
                let since = message.filter(|_| !whole).map_or_else(Instant::now, |message| message.since);
                *message = Some(Undone { since, done });
            }
            (None, Some(watch)) => watch.message = None,
            (None, None) => {}
        }
    }

    /// Notes that bytes wait.
    pub(super) fn note_output(&mut self) {
        let output = &mut self.0.get_or_insert_default().output;
        output.get_or_insert_with(|| Undone { since: Instant::now(), done: 0 });
    }

    /// Notes that the peer took some of them.
    #[inline]
    pub(super) fn note_written(&mut self, bytes: usize) {
        if let Some(output) = self.0.as_mut().and_then(|watch| watch.output.as_mut()) {
            output.done += bytes as u64;
        }
    }

    /// Notes that none waits any more.
    #[inline]
    pub(super) fn note_drained(&mut self) {
        if let Some(watch) = &mut self.0
            && watch.output.take().is_some()
            && let Some(heartbeat) = &mut watch.heartbeat
        {
            // A ping that waited among them can be answered from here on.
            heartbeat.begin_again(now());
        }
    }

    /// Whether control frames, of which there came `max` since this was called last, may go on.
    #[cold]
    pub(super) fn allows_controls(&mut self) -> bool {
        let now = Instant::now();
        let since = self.0.get_or_insert_default().controls_since.replace(now);
        since.is_none_or(|since| now.duration_since(since) >= SECOND)
    }

    /// Has the memory of the connection counted.
    pub(super) fn set_budget(&mut self, budget: Option<&Budget>) {
        if budget.is_some() || self.0.is_some() {
            self.0.get_or_insert_default().charge = budget.map(Budget::charge);
        }
    }

    /// Notes how much memory the receiving half holds.
    pub(super) fn note_received(&mut self, memory: impl FnOnce() -> usize) {
        if let Some(watch) = self.0.as_mut().filter(|watch| watch.charge.is_some()) {
            watch.received = memory();
        }
    }

    /// Whether the connection may hold that, and so much memory for sending.
    pub(super) fn allows_memory(&mut self, sending: impl FnOnce() -> usize) -> bool {
        let Some(watch) = &mut self.0 else { return true };
        let received = watch.received;
        watch.charge.as_mut().is_none_or(|charge| charge.set(received + sending()))
    }

    /// Gives the memory back if nothing is left undone.
    pub(super) fn rest(&mut self) {
        if let Some(watch) = &mut self.0
            && watch.message.is_none()
            && watch.output.is_none()
        {
            if watch.heartbeat.is_some() {
                return;
            }
            watch.timer = None;
            if watch.charge.is_none() && watch.controls_since.is_none_or(|since| since.elapsed() >= SECOND) {
                self.0 = None;
            }
        }
    }

    /// Ready once something takes too long; the rest of a message, and signs of life, only if they are waited for. Is
    /// to be polled where nothing could be done.
    pub(super) fn poll(&mut self, pace: &Pace, reading: bool, cx: &mut Context<'_>) -> Poll<Late> {
        let Some(watch) = &mut self.0 else { return Poll::Pending };
        loop {
            let Some((deadline, late)) = watch.deadline(pace, reading) else { return Poll::Pending };
            let timer = watch.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            // One that is too early is found to be so when it fires: a deadline moves with each byte.
            if timer.deadline() > deadline || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if now < deadline {
                continue;
            }
            // Before a ping is written nobody can answer it. A ping that is late, or data, need not be waited for again.
            let in_time = match late {
                Late::Beat(Due::Pong) if watch.output.is_some() => false,
                Late::Beat(Due::Ping | Due::Idle) => true,
                _ => now.duration_since(deadline) < SECOND,
            };
            if in_time {
                return Poll::Ready(late);
            }
            // Nobody waited when the time was over, so that the peer may not have been let.
            watch.begin_again(late, now);
        }
    }
}

impl Watch {
    fn deadline(&self, pace: &Pace, reading: bool) -> Option<(Instant, Late)> {
        let deadline = |undone: Option<Undone>, time, late| {
            let Undone { since, done } = undone.filter(|_| time != Duration::MAX)?;
            Some((at(since, pace.granted(time, done)), late))
        };
        let message = deadline(self.message.filter(|_| reading), pace.message_timeout, Late::Message);
        let output = deadline(self.output, pace.write_timeout, Late::Output);
        let heartbeat = self.heartbeat.as_ref().filter(|_| reading);
        let beat = heartbeat.and_then(|heartbeat| heartbeat.deadline(pace));
        let beat = beat.map(|(deadline, due)| (deadline.into(), Late::Beat(due)));
        message.into_iter().chain(output).chain(beat).min_by_key(|(deadline, _)| *deadline)
    }

    fn begin_again(&mut self, late: Late, now: Instant) {
        let undone = match late {
            Late::Message => &mut self.message,
            Late::Output => &mut self.output,
            Late::Beat(_) => {
                return self.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.begin_again(now.into_std()));
            }
        };
        *undone = Some(Undone { since: now, done: 0 });
    }
}

const SECOND: Duration = Duration::from_secs(1);
