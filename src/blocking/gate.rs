//! At most one connection to an address in the state CONNECTING (RFC 6455 §4.1, item 2), of all threads.

#![forbid(unsafe_code)]

use alloc::collections::BTreeSet;
use core::net::SocketAddr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// The right to be the one that connects.
#[derive(Debug)]
pub(super) struct Pass(SocketAddr);

/// Waits until no other thread connects to the address; `None` if that is not before the deadline.
pub(super) fn enter(address: SocketAddr, deadline: Instant) -> Option<Pass> {
    let mut connecting = CONNECTING.lock().unwrap_or_else(PoisonError::into_inner);
    while !connecting.insert(address) {
        let left = deadline.checked_duration_since(Instant::now())?;
        (connecting, _) = CHANGED.wait_timeout(connecting, left).unwrap_or_else(PoisonError::into_inner);
    }
    Some(Pass(address))
}

impl Drop for Pass {
    fn drop(&mut self) {
        CONNECTING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        CHANGED.notify_all();
    }
}

/// The addresses that threads connect to: as many as there are such threads.
static CONNECTING: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
static CHANGED: Condvar = Condvar::new();

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use core::time::Duration;
    use std::thread;

    use super::*;

    fn address(port: u16) -> SocketAddr {
        (Ipv4Addr::new(192, 0, 2, 1), port).into()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn threads_enter_one_at_a_time() {
        let (inside, entered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let pass = enter(address(1), soon()).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        entered.fetch_add(1, Ordering::SeqCst);
                        drop(pass);
                    }
                });
            }
        });
        assert_eq!(entered.into_inner(), 8 * 50);
    }

    #[test]
    fn who_waits_has_a_deadline_and_other_addresses_are_in_nobodys_way() {
        let pass = enter(address(2), soon());
        assert!(pass.is_some() && enter(address(2), Instant::now()).is_none());
        assert!(enter(address(3), Instant::now()).is_some());
        drop(pass);
        assert!(enter(address(2), Instant::now()).is_some());
    }
}
