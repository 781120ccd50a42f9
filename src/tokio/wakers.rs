//! Who is woken where two tasks share a socket, as the halves of a `split` do.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::task::Wake;
use core::mem;
use core::task::Waker;
use std::sync::{Mutex, PoisonError};

/// The tasks that wait on either side. A stream keeps one waker for each direction, the latest; but each
/// side reads and writes for the other too, so that what wakes one has to wake both.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    waiting: [Option<Waker>; 2],
    /// Once the two are different tasks.
    both: Option<(Arc<Both>, Waker)>,
}

/// Which half of a socket is polled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Receive,
    Send,
}

impl Wakers {
    /// Notes who waits on that side. Gives the waker for the stream, if it is not the one of this task.
    pub(super) fn note(&mut self, side: Side, waker: &Waker) -> Option<Waker> {
        let (mine, other) = (side as usize, 1 - side as usize);
        if !self.waiting[mine].as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waiting[mine] = Some(waker.clone());
        }
        if self.waiting[other].as_ref().is_none_or(|other| other.will_wake(waker)) {
            return None;
        }
        let (both, waker) = self.both.get_or_insert_with(|| {
            let both = Arc::new(Both::default());
            (both.clone(), both.into())
        });
        both.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.waiting);
        Some(waker.clone())
    }

    /// Notes that nobody waits on that side any more.
    pub(super) fn forget(&mut self, side: Side) {
        self.waiting[side as usize] = None;
    }

    /// Wakes both sides: something happened that no stream tells.
    pub(super) fn wake(&self) {
        if let Some((_, waker)) = &self.both {
            waker.wake_by_ref();
        }
    }
}

#[derive(Debug, Default)]
struct Both(Mutex<[Option<Waker>; 2]>);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        let waiting = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}
