//! Memory that many connections share.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How much memory the connections of a server may hold together: the messages that come in, what waits to be
/// written, and the windows of permessage-deflate. Each has limits of its own; a budget keeps thousands of them from
/// reaching these at once.
///
/// Clones are the same budget. A connection that is given one by
/// [`WebSocket::set_budget`](crate::tokio::WebSocket::set_budget) is counted whenever it has to wait, and the one that
/// then wants more than is left fails with [`ProtocolError::OverBudget`](crate::proto::ProtocolError::OverBudget): its
/// peer gets 1013, "try again later". Between two waits a connection can exceed it by what it reads in one turn, at
/// most 2 MiB and usually far less.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Account>);

#[derive(Debug)]
struct Account {
    max: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Account { max: bytes, used: AtomicUsize::new(0) }))
    }

    /// How many bytes the connections hold.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// How many bytes they may hold.
    #[must_use]
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// The part of one more connection.
    pub(crate) fn charge(&self) -> Charge {
        Charge { budget: self.clone(), bytes: 0 }
    }
}

/// What one connection holds of a budget; nothing once it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    bytes: usize,
}

impl Charge {
    /// Sets what the connection holds; whether that was possible. Less always is.
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        let Account { max, used } = &*self.budget.0;
        // Nothing is published by these numbers, so that no order is needed.
        if bytes <= self.bytes {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        } else {
            let more = bytes - self.bytes;
            let fits = |used: usize| used.checked_add(more).filter(|used| used <= max);
            if used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
                return false;
            }
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connections_hold_adds_up_and_comes_back() {
        let budget = Budget::new(100);
        let (mut one, mut two) = (budget.charge(), budget.charge());
        assert!(one.set(60) && two.set(40));
        assert_eq!(budget.used(), 100);
        assert!(!two.set(41), "nothing is left");
        assert_eq!(budget.used(), 100, "what is refused is not counted");
        assert!(one.set(10) && two.set(41));
        drop(one);
        assert_eq!(budget.used(), 41);
        drop(two);
        assert_eq!(budget.used(), 0);
    }
}
