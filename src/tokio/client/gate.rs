//! At most one connection to a host in the state CONNECTING (RFC 6455 §4.1, item 2).

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::mem;
use core::net::SocketAddr;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ::tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What counts as a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Host {
    Address(SocketAddr),
    /// RFC 6455 §4.1: where a proxy resolves names, "the client MUST assume for the purposes of this step that each
    /// host name refers to a distinct remote host".
    Name(Box<str>, u16),
}

/// The hosts that connections are under way to.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<Mutex<Hosts>>);

#[derive(Debug, Default)]
struct Hosts {
    known: HashMap<Host, Weak<Semaphore>>,
    /// At so many entries those of no use are taken out.
    limit: usize,
}

/// The right to be the one that connects.
#[derive(Debug)]
pub(super) struct Pass {
    // In this order: the permit needs the semaphore no more when that goes.
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    /// Waits until no other connection to the host is under way. First come, first served.
    pub(super) async fn enter(&self, host: Host) -> Option<Pass> {
        let turn = self.turn(host);
        // Never closed.
        turn.acquire_owned().await.ok().map(|permit| Pass { _permit: permit })
    }

    fn turn(&self, host: Host) -> Arc<Semaphore> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = hosts.known.get(&host).and_then(Weak::upgrade) {
            return turn;
        }
        if hosts.known.len() >= hosts.limit {
            let mut known = mem::take(&mut hosts.known);
            known.retain(|_, turn| turn.strong_count() > 0);
            hosts.limit = (known.len() * 2).max(SMALL);
            hosts.known = known;
        }
        let turn = Arc::new(Semaphore::new(1));
        hosts.known.insert(host, Arc::downgrade(&turn));
        turn
    }
}

/// Fewer hosts than this are not worth a look.
const SMALL: usize = 64;

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[::tokio::test]
    async fn hosts_that_nobody_connects_to_are_forgotten() {
        let gate = Gate::default();
        for port in 1..=10_000 {
            drop(gate.enter(Host::Name("a".to_string().into(), port)).await);
        }
        assert!(gate.0.lock().unwrap().known.len() <= SMALL);
    }
}
