//! Signs of life: when the peer is to be pinged, how long it takes to answer, and when it has been silent for too long.

#![forbid(unsafe_code)]

use core::mem;
use core::time::Duration;
use std::time::Instant;

use crate::options::Pace;

/// What is known of the peer's life.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    /// When the peer was first waited for, or was last to be pinged.
    beat: Option<Instant>,
    /// When something came.
    heard: Option<Instant>,
    /// When a message of data came.
    given: Option<Instant>,
    ping: Option<Ping>,
    /// The number of the ping that was sent last: its payload.
    last: u64,
    round_trip: Option<Duration>,
}

/// A ping that has no answer.
#[derive(Clone, Copy, Debug)]
struct Ping {
    sent: Instant,
    /// Since when the answer is waited for.
    since: Instant,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A ping.
    Ping,
    /// The end: no answer came to it.
    Pong,
    /// The end: no data came.
    Idle,
}

impl Heartbeat {
    /// Whether there is something to do for that pace.
    pub(crate) fn is_wanted(pace: &Pace) -> bool {
        pace.ping_interval != Duration::MAX || pace.idle_timeout != Duration::MAX
    }

    /// Notes what came since this was called last. Is to be called where the peer is waited for.
    pub(crate) fn note(&mut self, heard: bool, given: bool, clock: impl FnOnce() -> Instant) {
        if heard || given || self.beat.is_none() {
            let now = clock();
            self.beat.get_or_insert(now);
            self.heard = Some(now);
            if given || self.given.is_none() {
                self.given = Some(now);
            }
        }
    }

    /// Pings by `send`, which tells whether it took that payload. Else the next one is tried when that is due.
    pub(crate) fn ping(&mut self, now: Instant, send: impl FnOnce(&[u8]) -> bool) {
        self.last = self.last.wrapping_add(1);
        self.beat = Some(now);
        self.ping = send(&self.last.to_be_bytes()).then_some(Ping { sent: now, since: now });
    }

    /// A pong came.
    pub(crate) fn pong(&mut self, payload: &[u8], clock: impl FnOnce() -> Instant) {
        if payload == self.last.to_be_bytes()
            && let Some(ping) = mem::take(&mut self.ping)
        {
            let measured = clock().saturating_duration_since(ping.sent);
            // RFC 6298 §2.3, of which the smoothing is meant.
            self.round_trip = Some(self.round_trip.map_or(measured, |known| (known * 7 + measured) / 8));
        }
    }

    /// The smoothed time between a ping and its answer.
    pub(crate) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// What is to be done next, and when.
    pub(crate) fn deadline(&self, pace: &Pace) -> Option<(Instant, Due)> {
        let due = |since: Option<Instant>, time, due| {
            since.filter(|_| time != Duration::MAX).map(|since| (at(since, time), due))
        };
        let beat = match self.ping {
            // What comes is as good as the answer, which may have to wait behind it.
            Some(ping) => due(Some(ping.since).max(self.heard), pace.pong_timeout, Due::Pong),
            None => due(self.beat, pace.ping_interval, Due::Ping),
        };
        let idle = due(self.given, pace.idle_timeout, Due::Idle);
        beat.into_iter().chain(idle).min_by_key(|(deadline, _)| *deadline)
    }

    /// The answer is waited for from this moment on.
    pub(crate) fn begin_again(&mut self, now: Instant) {
        if let Some(ping) = &mut self.ping {
            ping.since = now;
        }
    }
}

/// The time so long from then. What is too far away for the clock is as good as never.
pub(crate) fn at(since: Instant, time: Duration) -> Instant {
    since.checked_add(time).unwrap_or_else(|| since + FAR_AWAY)
}

/// Thirty years, which any clock can tell: as good as never.
const FAR_AWAY: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
