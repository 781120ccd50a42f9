//! Token buckets: how fast a peer may send, in the long run and at once.

#![forbid(unsafe_code)]

use core::time::Duration;

use ::tokio::time::Instant;

/// So many a second in the long run, and so many at once. Messages cost one, or as much as they have bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub(super) per_second: u32,
    pub(super) burst: u32,
}

/// What is left of a [`Rate`] at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// When it would be full.
    full_at: Instant,
}

impl Rate {
    /// At least one a second, and at once.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Self {
            per_second: if per_second == 0 { 1 } else { per_second },
            burst: if burst == 0 { 1 } else { burst },
        }
    }
}

impl Bucket {
    /// A full one.
    pub(super) const fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, full_at: now }
    }

    /// Takes so many. `Err` with how long it takes until they are there: they are taken nevertheless, so that who goes on
    /// pays for all of them.
    pub(super) fn take(&mut self, cost: u32, now: Instant) -> Result<(), Duration> {
        let Rate { per_second, burst } = self.rate;
        let time = |tokens: u32| Duration::from_nanos(u64::from(tokens) * NANOS / u64::from(per_second));
        self.full_at = self.full_at.max(now) + time(cost);
        match self.full_at.duration_since(now).checked_sub(time(burst)) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(lacking) => Err(lacking),
        }
    }
}

const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_what_follows_has_to_wait() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut bucket = Bucket::new(Rate::new(10, 3), start);
        for _ in 0..3 {
            assert_eq!(bucket.take(1, at(0)), Ok(()));
        }
        assert_eq!(bucket.take(1, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(1, at(100)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(1, at(300)), Ok(()));
        // However long it rests, it holds no more than a burst.
        assert_eq!(bucket.take(3, at(60_000)), Ok(()));
        assert_eq!(bucket.take(2, at(60_000)), Err(Duration::from_millis(200)));
    }
}
