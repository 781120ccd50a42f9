//! What a peer leaves undone, and how long it may: the rest of a message, bytes that it does not take, signs of life, and
//! the end of the connection. And how many control frames it may send.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::time::Instant;

use super::time::{Alarm, Time};
use crate::heartbeat::{Due, Heartbeat, at};
use crate::options::Pace;

/// The deadlines of a connection.
#[derive(Debug)]
pub(super) struct Patience {
    time: Time,
    /// For the earliest deadline.
    alarm: Alarm,
    /// Set once, when the connection begins to close; then no other counts.
    closing: Option<Instant>,
    message: Option<Undone>,
    output: Option<Undone>,
    heartbeat: Option<Box<Heartbeat>>,
    /// Control frames since they were last looked at, and when that was.
    controls: u32,
    controls_since: Option<Instant>,
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
    Close,
    /// See [`Due`].
    Beat(Due),
}

impl Patience {
    pub(super) fn new(time: Time, pace: &Pace) -> Self {
        Self {
            time,
            alarm: Alarm::default(),
            closing: None,
            message: None,
            output: None,
            heartbeat: Heartbeat::is_wanted(pace).then(Box::default),
            controls: 0,
            controls_since: None,
        }
    }

    /// Sets the deadline of the end; whether it was not set before.
    pub(super) fn note_closing(&mut self, pace: &Pace) -> bool {
        let begins = self.closing.is_none();
        if begins {
            self.closing = Some(at(self.time.now(), pace.close_timeout));
        }
        begins
    }

    /// Notes how much came of the message that is not whole; `whole` if another one was whole meanwhile.
    pub(super) fn note_message(&mut self, unfinished: Option<u64>, whole: bool) {
        self.message = unfinished.map(|done| {
            let since =
                self.message.filter(|_| !whole).map_or_else(|| self.time.now(), |message| message.since);
            Undone { since, done }
        });
    }

    /// Notes that bytes wait.
    pub(super) fn note_output(&mut self) {
        self.output.get_or_insert_with(|| Undone { since: self.time.now(), done: 0 });
    }

    /// Notes that the peer took some of them.
    pub(super) fn note_written(&mut self, bytes: usize) {
        if let Some(output) = &mut self.output {
            output.done += bytes as u64;
        }
    }

    /// Notes that none waits any more.
    pub(super) fn note_drained(&mut self) {
        if self.output.take().is_some()
            && let Some(heartbeat) = &mut self.heartbeat
        {
            // A ping that waited among them can be answered from here on.
            heartbeat.begin_again(self.time.now());
        }
    }

    /// Notes what came since this was called last.
    pub(super) fn note_life(&mut self, heard: bool, given: bool) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.note(heard, given, || self.time.now());
        }
    }

    pub(super) fn note_pong(&mut self, payload: &[u8]) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.pong(payload, || self.time.now());
        }
    }

    /// Pings by `send`, which tells whether it took that payload.
    pub(super) fn ping(&mut self, send: impl FnOnce(&[u8]) -> bool) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.ping(self.time.now(), send);
        }
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.heartbeat.as_ref().and_then(|heartbeat| heartbeat.round_trip())
    }

    /// Counts a control frame; whether there may be that many.
    pub(super) fn allows_control(&mut self, pace: &Pace) -> bool {
        let mut allowed = true;
        if self.controls >= pace.max_control_rate {
            self.controls = 0;
            let now = self.time.now();
            let since = self.controls_since.replace(now);
            allowed = since.is_none_or(|since| now.saturating_duration_since(since) >= SECOND);
        }
        self.controls = self.controls.saturating_add(1);
        allowed
    }

    /// Notes the end of the connection.
    pub(super) fn end(&mut self) {
        self.alarm.stop();
        (self.message, self.output, self.heartbeat) = (None, None, None);
    }

    /// Ready once something takes too long; the rest of a message, and signs of life, only if they are waited for. Is
    /// to be polled where nothing could be done.
    pub(super) fn poll(&mut self, pace: &Pace, reading: bool, cx: &mut Context<'_>) -> Poll<Late> {
        loop {
            let Some((deadline, late)) = self.deadline(pace, reading) else {
                self.alarm.stop();
                return Poll::Pending;
            };
            ready!(self.alarm.poll(self.time, deadline, cx));
            let now = self.time.now();
            // Before a ping is written nobody can answer it. A ping that is late, or data, need not be waited for again.
            let in_time = match late {
                Late::Beat(Due::Pong) if self.output.is_some() => false,
                Late::Close | Late::Beat(Due::Ping | Due::Idle) => true,
                _ => now.saturating_duration_since(deadline) < SECOND,
            };
            if in_time {
                return Poll::Ready(late);
            }
            // Nobody waited when the time was over, so that the peer may not have been let.
            self.begin_again(late, now);
        }
    }

    fn deadline(&self, pace: &Pace, reading: bool) -> Option<(Instant, Late)> {
        if let Some(closing) = self.closing {
            return Some((closing, Late::Close));
        }
        let deadline = |undone: Option<Undone>, time, late| {
            let Undone { since, done } = undone.filter(|_| time != Duration::MAX)?;
            Some((at(since, pace.granted(time, done)), late))
        };
        let message = deadline(self.message.filter(|_| reading), pace.message_timeout, Late::Message);
        let output = deadline(self.output, pace.write_timeout, Late::Output);
        let heartbeat = self.heartbeat.as_ref().filter(|_| reading);
        let beat = heartbeat.and_then(|heartbeat| heartbeat.deadline(pace));
        let beat = beat.map(|(deadline, due)| (deadline, Late::Beat(due)));
        message.into_iter().chain(output).chain(beat).min_by_key(|(deadline, _)| *deadline)
    }

    fn begin_again(&mut self, late: Late, now: Instant) {
        let again = Some(Undone { since: now, done: 0 });
        match late {
            Late::Message => self.message = again,
            Late::Output => self.output = again,
            Late::Close | Late::Beat(_) => {
                self.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.begin_again(now));
            }
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
