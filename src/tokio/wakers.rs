//! Who is woken where several tasks share a socket, as its halves do.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::mem;
use core::task::Waker;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The tasks that wait on each side. A stream keeps one waker for each direction, the latest; but each
/// side reads and writes for the others too, so that what wakes one has to wake all.
///
/// Of the tasks that send through halves, the first in the queue is woken, which moves the stream for all of them. It
/// wakes those whose turn has come, and the next in the queue when it leaves.
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
    queue: VecDeque<Waiter>,
    /// What wakes them all, once they are different tasks.
    all: Option<(Arc<All>, Waker)>,
}

/// One who waits in the queue.
#[derive(Debug)]
struct Waiter {
    place: u64,
    until: Until,
    waker: Waker,
    /// What it waits for has come, and it was woken.
    woken: bool,
}

/// What a sender waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// That it is its turn to queue a message, and there is room.
    Room,
    /// That so many of the bytes that were ever queued are written.
    Written(u64),
    /// The end of the connection.
    End,
}

/// Who polls a socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Receive,
    Send,
    /// Who writes the frames that are held.
    Held,
    /// Who has that place in the queue.
    Queue(u64),
}

impl Wakers {
    /// Whether nobody waits but that task.
    pub(super) fn are_all(&self, waker: &Waker) -> bool {
        self.others.is_none() && self.receive.as_ref().is_none_or(|receive| receive.will_wake(waker))
    }

    /// Notes who waits on that side. Gives the waker for the stream, if it is not the one of this task.
    pub(super) fn note(&mut self, side: Side, waker: &Waker) -> Option<Waker> {
        match side {
            Side::Receive => set(&mut self.receive, waker),
            Side::Send => set(&mut self.others.get_or_insert_default().send, waker),
            Side::Held => set(&mut self.others.get_or_insert_default().held, waker),
            Side::Queue(place) => self.others.get_or_insert_default().note(place, waker),
        }
        let receive = &self.receive;
        let others = self.others.as_mut()?;
        let waiting = others.waiting(receive);
        // Who is behind the first in the queue may be the first before this poll ends.
        let queue = others.queue.iter().filter(|waiter| !waiter.woken).map(|waiter| &waiter.waker);
        if waiting.into_iter().flatten().chain(queue).all(|other| other.will_wake(waker)) {
            return None;
        }
        let waiting = waiting.map(Option::<&Waker>::cloned);
        let (all, waker) = others.all.get_or_insert_with(|| {
            let all = Arc::new(All::default());
            (all.clone(), all.into())
        });
        *all.lock() = waiting;
        Some(waker.clone())
    }

    /// Takes that place in the queue, the last, or keeps it. Its task is at work until it is noted there.
    pub(super) fn enter(&mut self, place: u64, until: Until, waker: &Waker) {
        let queue = &mut self.others.get_or_insert_default().queue;
        match queue.iter_mut().find(|waiter| waiter.place == place) {
            Some(known) => (known.until, known.woken) = (until, true),
            None => queue.push_back(Waiter { place, until, waker: waker.clone(), woken: true }),
        }
    }

    /// Notes that nobody waits on that side any more.
    pub(super) fn forget(&mut self, side: Side) {
        let Some(others) = &mut self.others else { return };
        match side {
            Side::Receive => self.receive = None,
            Side::Send => others.send = None,
            Side::Held => others.held = None,
            Side::Queue(place) => others.leave(place),
        }
        // A stream may still have the waker of all.
        if others.is_empty() && others.all.is_none() {
            self.others = None;
        }
    }

    /// Whether somebody waits for room before that place.
    pub(super) fn waits_for_room_before(&self, place: u64) -> bool {
        let queue = self.others.iter().flat_map(|others| &others.queue);
        queue.take_while(|waiter| waiter.place != place).any(|waiter| waiter.until == Until::Room)
    }

    /// Whether somebody waits for more than `flushed` to be written, and for no more than `written`.
    pub(super) fn waits_for_writing_up_to(&self, written: u64, flushed: u64) -> bool {
        let mut queue = self.others.iter().flat_map(|others| &others.queue);
        queue.any(|waiter| matches!(waiter.until, Until::Written(mark) if mark <= written && mark > flushed))
    }

    /// Wakes those in the queue whose turn has come, as `has_come` tells; of those who wait for room, the first.
    pub(super) fn wake_ready(&mut self, has_come: impl Fn(Until) -> bool) {
        let Some(others) = &mut self.others else { return };
        let mut room = true;
        let mut woken = false;
        for waiter in &mut others.queue {
            let first = waiter.until != Until::Room || mem::replace(&mut room, false);
            if first && !waiter.woken && has_come(waiter.until) {
                waiter.woken = true;
                waiter.waker.wake_by_ref();
                woken = true;
            }
        }
        if woken && let Some((all, _)) = &others.all {
            *all.lock() = others.waiting(&self.receive).map(Option::<&Waker>::cloned);
        }
    }

    /// As [`wake`](Self::wake), for whoever is at work on that side, and waits no more.
    pub(super) fn wake_others(&mut self, side: Side) {
        // A task that is woken by its own work runs once more for nothing.
        if let Side::Receive = side {
            self.receive = None;
        }
        self.wake();
    }

    /// Wakes all sides: something happened that no stream tells.
    pub(super) fn wake(&self) {
        let others = self.others.iter();
        let queue = others.clone().flat_map(|others| &others.queue).map(|waiter| &waiter.waker);
        let sides = others.flat_map(|others| [&others.send, &others.held]).chain([&self.receive]).flatten();
        sides.chain(queue).for_each(Waker::wake_by_ref);
    }
}

impl Others {
    /// Those whom the stream wakes: of the queue, the first that was not woken by others already.
    fn waiting<'a>(&'a self, receive: &'a Option<Waker>) -> [Option<&'a Waker>; 4] {
        let first = self.queue.iter().find(|waiter| !waiter.woken).map(|waiter| &waiter.waker);
        [receive.as_ref(), self.send.as_ref(), self.held.as_ref(), first]
    }

    fn note(&mut self, place: u64, waker: &Waker) {
        if let Some(known) = self.queue.iter_mut().find(|waiter| waiter.place == place) {
            known.woken = false;
            known.waker.clone_from(waker);
        }
    }

    fn leave(&mut self, place: u64) {
        let Some(index) = self.queue.iter().position(|waiter| waiter.place == place) else { return };
        self.queue.remove(index);
        // It may have been woken for the stream, and did not get to it.
        if let Some(next) = self.queue.iter().find(|waiter| !waiter.woken) {
            next.waker.wake_by_ref();
        }
    }

    fn is_empty(&self) -> bool {
        self.send.is_none() && self.held.is_none() && self.queue.is_empty()
    }
}

fn set(known: &mut Option<Waker>, waker: &Waker) {
    match known {
        Some(known) => known.clone_from(waker),
        None => *known = Some(waker.clone()),
    }
}

#[derive(Debug, Default)]
struct All(Mutex<[Option<Waker>; 4]>);

impl All {
    fn lock(&self) -> MutexGuard<'_, [Option<Waker>; 4]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for All {
    fn wake(self: Arc<Self>) {
        let waiting = mem::take(&mut *self.lock());
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}
