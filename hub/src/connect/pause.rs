//! How long to wait before connecting again (RFC 6455 §7.2.3).

#![forbid(unsafe_code)]

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Counts attempts.
#[derive(Debug)]
pub(super) struct Pause {
    failed: u32,
}

impl Pause {
    pub(super) const fn new() -> Self {
        Self { failed: 0 }
    }

    /// A connection held so long. One that ends at once counts as an attempt that failed.
    pub(super) fn connected(&mut self, time: Duration) {
        if time >= SETTLED {
            self.failed = 0;
        }
    }

    /// The pause before another attempt; `None` if there were so many already. Each is twice as long as the one before, up
    /// to the longest, and by chance up to a half shorter.
    pub(super) fn next(&mut self, most: u32) -> Option<Duration> {
        if self.failed >= most {
            return None;
        }
        let whole = FIRST.saturating_mul(2_u32.saturating_pow(self.failed)).min(LONGEST);
        self.failed = self.failed.saturating_add(1);
        // Each state is made of new random keys.
        let random = f64::from(RandomState::new().hash_one(self.failed) as u32) / f64::from(u32::MAX);
        Some(whole.mul_f64(1.0 - random / 2.0))
    }
}

const FIRST: Duration = Duration::from_millis(500);

const LONGEST: Duration = Duration::from_secs(30);

/// After which a connection has held.
const SETTLED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_attempts_end() {
        let mut pause = Pause::new();
        let mut whole = FIRST;
        for _ in 0..20 {
            let next = pause.next(20).unwrap();
            assert!(next <= whole && next >= whole / 2, "{next:?} {whole:?}");
            whole = (2 * whole).min(LONGEST);
        }
        assert_eq!(pause.next(20), None);
        pause.connected(Duration::from_secs(1));
        assert_eq!(pause.next(20), None);
        pause.connected(SETTLED);
        assert!(pause.next(20).unwrap() <= FIRST);
    }
}
