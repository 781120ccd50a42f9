//! Which messages of a connection wait for their answer, and what the answers were: all, once, in order.

#![forbid(unsafe_code)]

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// The messages of one connection that are under way.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// From the oldest without an answer; `None` for those with one.
    slots: VecDeque<Option<Sent>>,
    /// The number of the first slot.
    first: u64,
    waiting: usize,
    /// The highest number that was answered, and one.
    answered: u64,
    /// The last that were given up: their answers come late, not twice.
    given_up: BTreeSet<u64>,
}

/// When a message was due, and when it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) due: Instant,
    pub(super) left: Instant,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    InOrder(Sent),
    /// One sent later was answered before it.
    Reordered(Sent),
    Duplicate,
    Late,
    /// To a message that was never sent.
    Unknown,
}

impl Tracker {
    /// The number of the next message.
    pub(super) fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    pub(super) fn sent(&mut self, sent: Sent) {
        self.slots.push_back(Some(sent));
        self.waiting += 1;
    }

    /// How many wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether another may be sent, of this many without an answer. Answered ones behind one that is not are held too.
    pub(super) fn has_room(&self, most: usize) -> bool {
        self.waiting < most && self.slots.len() < most.saturating_mul(HELD)
    }

    pub(super) fn answer(&mut self, number: u64) -> Answer {
        if number >= self.next() {
            return Answer::Unknown;
        }
        let slot = number.checked_sub(self.first).and_then(|at| self.slots.get_mut(at as usize));
        let Some(sent) = slot.and_then(Option::take) else {
            return if self.given_up.remove(&number) { Answer::Late } else { Answer::Duplicate };
        };
        self.waiting -= 1;
        let is_reordered = number < self.answered;
        self.answered = self.answered.max(number + 1);
        self.forget();
        if is_reordered { Answer::Reordered(sent) } else { Answer::InOrder(sent) }
    }

    /// Gives up those that left this long ago, and tells how many that were of those due from `since` on.
    pub(super) fn expire(&mut self, now: Instant, patience: Duration) -> u64 {
        let mut lost = 0;
        for at in 0..self.slots.len() {
            let Some(sent) = self.slots[at] else { continue };
            if now - sent.left < patience {
                break;
            }
            self.give_up(at);
            lost += 1;
        }
        self.forget();
        lost
    }

    /// Gives up all of them.
    pub(super) fn abandon(&mut self) -> u64 {
        let lost = self.waiting as u64;
        for at in 0..self.slots.len() {
            if self.slots[at].is_some() {
                self.give_up(at);
            }
        }
        self.forget();
        lost
    }

    fn give_up(&mut self, at: usize) {
        self.slots[at] = None;
        self.waiting -= 1;
        self.given_up.insert(self.first + at as u64);
        if self.given_up.len() > MOST_GIVEN_UP {
            self.given_up.pop_first();
        }
    }

    fn forget(&mut self) {
        while self.slots.front().is_some_and(Option::is_none) {
            self.slots.pop_front();
            self.first += 1;
        }
    }
}

/// How many slots there may be for each message that waits.
const HELD: usize = 16;

/// How many late answers can be told from those that came twice.
const MOST_GIVEN_UP: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn with(messages: usize) -> (Tracker, Sent) {
        let now = Instant::now();
        let sent = Sent { due: now, left: now };
        let mut tracker = Tracker::default();
        (0..messages).for_each(|_| tracker.sent(sent));
        (tracker, sent)
    }

    #[test]
    fn order_loss_and_repetition_are_told_apart() {
        let (mut tracker, sent) = with(5);
        assert_eq!(tracker.answer(1), Answer::InOrder(sent));
        assert_eq!(tracker.answer(0), Answer::Reordered(sent));
        assert_eq!(tracker.answer(0), Answer::Duplicate);
        assert_eq!(tracker.answer(5), Answer::Unknown);
        assert_eq!(tracker.expire(sent.left, Duration::from_secs(1)), 0);
        assert_eq!(tracker.expire(sent.left + Duration::from_secs(1), Duration::from_secs(1)), 3);
        assert_eq!(tracker.answer(3), Answer::Late);
        assert_eq!(tracker.answer(3), Answer::Duplicate);
        assert_eq!((tracker.waiting(), tracker.next()), (0, 5));
    }

    #[test]
    fn one_without_an_answer_does_not_hold_the_rest_for_ever() {
        let (mut tracker, sent) = with(1);
        let mut number = 1;
        while tracker.has_room(4) {
            tracker.sent(sent);
            tracker.answer(number);
            number += 1;
        }
        assert_eq!(number, 64, "that much is held");
        assert_eq!(tracker.abandon(), 1);
        assert!(tracker.has_room(4) && tracker.slots.is_empty());
    }
}
