//! When a connection is to be asked for a sign of life, and when it was silent for too long.

#![forbid(unsafe_code)]

use core::time::Duration;

use ::tokio::time::Instant;

use super::config::Config;

/// The times of one connection. It is told what happens, and asked what is due.
#[derive(Debug)]
pub(super) struct Timing {
    interval: Option<Duration>,
    timeout: Duration,
    idle: Option<Duration>,
    /// When data came or went last.
    used: Instant,
    pinged: Instant,
    /// Nothing came since then, though it could have.
    silent: bool,
    /// The last ping is not answered.
    waits: bool,
    number: u64,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before then.
    At(Option<Instant>),
    /// A ping with this payload.
    Ping([u8; 8]),
    /// The peer is gone.
    Dead,
    /// Nobody uses the connection.
    Idle,
}

impl Timing {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self {
            interval: config.heartbeat_interval,
            timeout: config.heartbeat_timeout,
            idle: config.idle_timeout,
            used: now,
            pinged: now,
            silent: false,
            waits: false,
            number: 0,
        }
    }

    /// Something came.
    pub(super) const fn note_heard(&mut self) {
        self.silent = false;
    }

    /// Data came or went.
    pub(super) fn note_used(&mut self) {
        if self.idle.is_some() {
            self.used = Instant::now();
        }
    }

    /// A pong came: how long it took, if it answers the last ping.
    pub(super) fn note_pong(&mut self, payload: &[u8]) -> Option<Duration> {
        let answers = self.waits && payload == self.number.to_be_bytes();
        self.waits &= !answers;
        answers.then(|| self.pinged.elapsed())
    }

    /// Whether there is nothing to look at the clock for.
    pub(super) const fn is_off(&self) -> bool {
        self.interval.is_none() && self.idle.is_none()
    }

    /// What is due; `hears` tells whether an answer could have come.
    pub(super) fn due(&mut self, hears: bool, now: Instant) -> Due {
        self.silent &= hears;
        let mut next = None;
        let mut sooner = |at: Option<Instant>| next = [next, at].into_iter().flatten().min();
        if let Some(interval) = self.interval {
            let silent_until = self.pinged.checked_add(self.timeout);
            if self.silent && silent_until.is_some_and(|until| until <= now) {
                return Due::Dead;
            }
            let ping_at = self.pinged.checked_add(interval);
            if !self.silent && ping_at.is_some_and(|at| at <= now) {
                (self.pinged, self.silent, self.waits) = (now, true, true);
                self.number += 1;
                return Due::Ping(self.number.to_be_bytes());
            }
            sooner(if self.silent { silent_until } else { ping_at });
        }
        if let Some(idle) = self.idle {
            let until = self.used.checked_add(idle);
            if until.is_some_and(|until| until <= now) {
                return Due::Idle;
            }
            sooner(until);
        }
        Due::At(next)
    }
}
