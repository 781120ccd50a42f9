//! Who is woken where several tasks share a socket, as the halves of a `split` do.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::mem;
use core::task::Waker;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The tasks that wait on each side. A stream keeps one waker for each direction, the latest; but each
/// side reads and writes for the others too, so that what wakes one has to wake all.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    receive: Option<Waker>,
    /// Where other tasks wait too, which is rare.
    others: Option<Box<Others>>,
}

#[derive(Debug, Default)]
struct Others {
    send: Option<Waker>,
    held: Option<Waker>,
    /// What wakes them all, once they are different tasks.
    all: Option<(Arc<All>, Waker)>,
}

/// Who polls a socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Receive,
    Send,
    /// Who writes the frames that are held.
    Held,
}

impl Wakers {
    /// Whether nobody waits but that task.
    pub(super) fn are_all(&self, waker: &Waker) -> bool {
        self.others.is_none() && self.receive.as_ref().is_none_or(|receive| receive.will_wake(waker))
    }

    /// Notes who waits on that side. Gives the waker for the stream, if it is not the one of this task.
    pub(super) fn note(&mut self, side: Side, waker: &Waker) -> Option<Waker> {
        let mine = match side {
            Side::Receive => &mut self.receive,
            Side::Send => &mut self.others.get_or_insert_default().send,
            Side::Held => &mut self.others.get_or_insert_default().held,
        };
        if !mine.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *mine = Some(waker.clone());
        }
        let receive = &self.receive;
        let others = self.others.as_mut()?;
        let waiting = [receive, &others.send, &others.held];
        if waiting.into_iter().flatten().all(|other| other.will_wake(waker)) {
            return None;
        }
        let (all, waker) = others.all.get_or_insert_with(|| {
            let all = Arc::new(All::default());
            (all.clone(), all.into())
        });
        *all.lock() = waiting.map(Clone::clone);
        Some(waker.clone())
    }

    /// Notes that nobody waits on that side any more.
    pub(super) fn forget(&mut self, side: Side) {
        let Some(others) = &mut self.others else { return };
        match side {
            Side::Receive => self.receive = None,
            Side::Send => others.send = None,
            Side::Held => others.held = None,
        }
        // A stream may still have the waker of all.
        if others.send.is_none() && others.held.is_none() && others.all.is_none() {
            self.others = None;
        }
    }

    /// Wakes all sides: something happened that no stream tells.
    pub(super) fn wake(&self) {
        let others = self.others.iter().flat_map(|others| [&others.send, &others.held]);
        others.chain([&self.receive]).flatten().for_each(Waker::wake_by_ref);
    }
}

#[derive(Debug, Default)]
struct All(Mutex<[Option<Waker>; 3]>);

impl All {
    fn lock(&self) -> MutexGuard<'_, [Option<Waker>; 3]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for All {
    fn wake(self: Arc<Self>) {
        let waiting = mem::take(&mut *self.lock());
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}
