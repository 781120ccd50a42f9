//! How long to wait before the next attempt (RFC 6455 §7.2.3).

#![forbid(unsafe_code)]

use core::time::Duration;

/// When to try again after a connection was lost, or an attempt failed.
///
/// RFC 6455 §7.2.3: the first attempt "SHOULD be delayed by a random amount of time", and those after it "SHOULD be
/// delayed by increasingly longer amounts of time". So a server that restarts is not met by all of its clients at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    settled: Duration,
    attempts: u32,
}

impl Backoff {
    /// The defaults that each method states.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(60),
            settled: Duration::from_secs(30),
            attempts: u32::MAX,
        }
    }

    /// The first delay is random below this; each later one is between the half and the whole of twice the one before.
    /// Default: 5 s, which RFC 6455 §7.2.3 calls reasonable.
    #[must_use]
    pub const fn first(mut self, delay: Duration) -> Self {
        self.first = delay;
        self
    }

    /// The longest delay. Default: 60 s.
    #[must_use]
    pub const fn longest(mut self, delay: Duration) -> Self {
        self.longest = delay;
        self
    }

    /// How long a connection has to be open for its loss to be the first again. A server that takes connections and
    /// drops them at once is else tried without pause. Default: 30 s.
    #[must_use]
    pub const fn settled_after(mut self, time: Duration) -> Self {
        self.settled = time;
        self
    }

    /// How many attempts in a row may fail before the client gives up; `u32::MAX` for any number. Default: any number.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The delay after so many attempts in a row failed before; `random` is from 0 to 1.
    pub(super) fn delay(&self, failed: u32, random: f64) -> Duration {
        let whole = self.first.saturating_mul(2_u32.saturating_pow(failed)).min(self.longest);
        let least = if failed == 0 { Duration::ZERO } else { whole / 2 };
        least + (whole - least).mul_f64(random.clamp(0.0, 1.0))
    }

    pub(super) const fn settled(&self) -> Duration {
        self.settled
    }

    pub(super) const fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_longest() {
        let backoff = Backoff::new();
        let seconds = |failed, random| backoff.delay(failed, random).as_secs_f64();
        assert_eq!([0.0, 0.5, 1.0].map(|random| seconds(0, random)), [0.0, 2.5, 5.0]);
        assert_eq!([0.0, 1.0].map(|random| seconds(1, random)), [5.0, 10.0]);
        assert_eq!([0.0, 1.0].map(|random| seconds(2, random)), [10.0, 20.0]);
        assert_eq!([0.0, 1.0].map(|random| seconds(4, random)), [30.0, 60.0]);
        assert_eq!([0.0, 1.0].map(|random| seconds(u32::MAX, random)), [30.0, 60.0]);
    }
}
