//! Who is woken where two tasks share a socket, as a `Stream` and a `Sink` that were split do.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::task::Wake;
use core::mem;
use core::task::Waker;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who polls a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Receive,
    Send,
}

/// The task that waits on each side. A stream keeps one waker for each direction, the latest; but each side reads and
/// writes for the other too, so that what wakes one has to wake both.
#[derive(Clone, Debug, Default)]
pub(super) struct Wakers(Arc<Both>);

#[derive(Debug, Default)]
struct Both(Mutex<[Option<Waker>; 2]>);

impl Wakers {
    /// Notes who waits on that side. Gives the waker for the stream.
    pub(super) fn note(&self, side: Side, waker: &Waker) -> Waker {
        let known = &mut self.0.lock()[side as usize];
        match known {
            Some(known) => known.clone_from(waker),
            None => *known = Some(waker.clone()),
        }
        self.0.clone().into()
    }

    /// Wakes both sides: something happened that no stream tells.
    pub(super) fn wake(&self) {
        self.0.clone().wake();
    }

    /// Wakes who waits on the other side.
    pub(super) fn wake_other(&self, side: Side) {
        let other = match side {
            Side::Receive => Side::Send,
            Side::Send => Side::Receive,
        };
        let waker = self.0.lock()[other as usize].take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Both {
    fn lock(&self) -> MutexGuard<'_, [Option<Waker>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        let waiting = mem::take(&mut *self.lock());
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}
