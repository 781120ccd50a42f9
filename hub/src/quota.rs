//! How much a user may ask for, by all connections together. Who asks for more waits.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// So many a second in the long run, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run; at least one.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

/// What each user has left.
#[derive(Debug)]
pub(crate) struct Quotas {
    rate: Rate,
    users: Mutex<Users>,
}

/// What one user has left.
#[derive(Debug)]
pub(crate) struct Quota {
    rate: Rate,
    /// When all of it is there again.
    full_at: Mutex<Instant>,
}

#[derive(Debug, Default)]
struct Users {
    quotas: HashMap<Arc<str>, Arc<Quota>>,
    /// At how many those are forgotten that are full, and nobody's.
    sweep_at: usize,
}

impl Quotas {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, users: Mutex::default() }
    }

    /// Of a user: one, however often the user comes and goes.
    pub(crate) fn of(&self, user: &str) -> Arc<Quota> {
        let now = Instant::now();
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(quota) = users.quotas.get(user) {
            return quota.clone();
        }
        if users.quotas.len() >= users.sweep_at.max(FEW) {
            users.quotas.retain(|_, quota| Arc::strong_count(quota) > 1 || *quota.full_at() > now);
            users.sweep_at = users.quotas.len() * 2;
        }
        let quota = Arc::new(Quota { rate: self.rate, full_at: Mutex::new(now) });
        users.quotas.insert(user.into(), quota.clone());
        quota
    }
}

impl Quota {
    /// Takes one, and waits until it is there. Cancel safe: it is taken in any case.
    pub(crate) async fn take(&self) {
        let lacking = self.lacking(Instant::now());
        if !lacking.is_zero() {
            sleep(lacking).await;
        }
    }

    /// Takes one: how long it takes until it is there.
    fn lacking(&self, now: Instant) -> Duration {
        let each = Duration::from_secs(1) / self.rate.per_second.max(1);
        let mut full_at = self.full_at();
        *full_at = (*full_at).max(now) + each;
        full_at.duration_since(now).saturating_sub(each * self.rate.burst.max(1))
    }

    fn full_at(&self) -> MutexGuard<'_, Instant> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many are not looked through.
const FEW: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_what_follows_waits_on_all_connections() {
        let quotas = Quotas::new(RATE);
        let (phone, laptop, other) = (quotas.of("ana"), quotas.of("ana"), quotas.of("bob"));
        let start = Instant::now();
        for quota in [&phone, &laptop, &phone] {
            quota.take().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        tokio::join!(phone.take(), laptop.take(), other.take());
        assert_eq!(start.elapsed().as_millis(), 200);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let again = Instant::now();
        for _ in 0..4 {
            phone.take().await;
        }
        assert_eq!(again.elapsed().as_millis(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_finds_what_was_left_and_is_forgotten_later() {
        let quotas = Quotas::new(RATE);
        for _ in 0..3 {
            quotas.of("ana").take().await;
        }
        for number in 0..FEW * 3 {
            quotas.of(&number.to_string()).take().await;
        }
        let start = Instant::now();
        quotas.of("ana").take().await;
        assert_eq!(start.elapsed().as_millis(), 100);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        for number in 0..FEW * 8 {
            quotas.of(&format!("other {number}")).take().await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(quotas.users.lock().unwrap().quotas.len() <= FEW + 1);
        assert!(!quotas.users.lock().unwrap().quotas.contains_key("ana"));
    }
}
