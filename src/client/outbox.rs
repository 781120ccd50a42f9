//! The messages that wait to be sent: how many, and what becomes of those that are too many.

#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use core::time::Duration;

use ::tokio::time::Instant;

use super::delivery::{Tag, size};
use super::replies::Question;
use crate::proto::Message;

/// How much may wait while the client is away, or the server takes it slowly, and what happens beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbox {
    max_messages: usize,
    max_bytes: usize,
    overflow: Overflow,
}

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// [`Handle::send`](super::Handle::send) waits for room, [`try_send`](super::Handle::try_send) hands it back.
    Wait,
    /// The messages that have waited longest are dropped for it: for values of which only the latest matter.
    DropOldest,
    /// It is dropped.
    DropNewest,
}

/// What became of a message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sent {
    /// It waits to be sent.
    Queued,
    /// It waits to be sent, and so many before it were dropped for it.
    Displaced(usize),
    /// It was dropped.
    Dropped,
}

/// Many small messages in few writes: they wait for each other until one of three limits is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    messages: usize,
    bytes: usize,
    delay: Duration,
}

impl Batch {
    /// They are sent when so many wait, or so many bytes of payload, or when the first has waited for so long.
    #[must_use]
    pub const fn new(messages: usize, bytes: usize, delay: Duration) -> Self {
        Self { messages, bytes, delay }
    }
}

impl Outbox {
    /// The defaults that each method states.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_messages: 1_024, max_bytes: 4 << 20, overflow: Overflow::Wait }
    }

    /// How many messages may wait. Default: 1,024.
    #[must_use]
    pub const fn max_messages(mut self, messages: usize) -> Self {
        self.max_messages = messages;
        self
    }

    /// How many bytes of payload may wait; one message may have more where nothing else waits. Default: 4 MiB.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// What happens beyond. Default: [`Overflow::Wait`].
    #[must_use]
    pub const fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

/// A message on its way, and who waits for what comes of it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) message: Message,
    pub(super) waiter: Option<Waiter>,
}

/// One who waits for the server. If the message is dropped before it is sent, it hears of that.
#[derive(Debug)]
pub(super) enum Waiter {
    /// For an acknowledgement.
    Acknowledged(Tag),
    /// For a reply.
    Answered(Question),
}

/// The queue of an [`Outbox`].
#[derive(Debug)]
pub(super) struct Queue {
    limits: Outbox,
    items: VecDeque<Item>,
    bytes: usize,
    /// Since when the first of them waits for others to join it.
    since: Option<Instant>,
    /// A batch is due, and not all of it is gone.
    flows: bool,
}

/// What [`Queue::push`] did.
pub(super) enum Pushed {
    /// Queued, in the place of those.
    Queued { dropped: VecDeque<Item> },
    /// There is no room, and the policy is to drop it.
    Dropped,
    /// There is no room, and the policy is to wait.
    Full(Item),
}

impl Queue {
    pub(super) const fn new(limits: Outbox) -> Self {
        Self { limits, items: VecDeque::new(), bytes: 0, since: None, flows: false }
    }

    pub(super) fn push(&mut self, item: Item) -> Pushed {
        let mut dropped = VecDeque::new();
        while !self.has_room(&item) {
            match self.limits.overflow {
                Overflow::Wait => return Pushed::Full(item),
                Overflow::DropNewest => return Pushed::Dropped,
                Overflow::DropOldest => match self.pop() {
                    Some(oldest) => dropped.push_back(oldest),
                    None => return Pushed::Dropped,
                },
            }
        }
        self.bytes += size(&item.message);
        self.items.push_back(item);
        Pushed::Queued { dropped }
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= size(&item.message);
        if self.items.is_empty() {
            (self.since, self.flows) = (None, false);
        }
        Some(item)
    }

    /// Puts back what could not be sent.
    pub(super) fn put_back(&mut self, item: Item) {
        self.bytes += size(&item.message);
        self.items.push_front(item);
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether what waits should be sent, or when.
    pub(super) fn due(&mut self, batch: Option<Batch>) -> Option<Due> {
        if self.items.is_empty() {
            return None;
        }
        let Some(batch) = batch.filter(|_| !self.flows) else { return Some(Due::Now) };
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        // What is too far away for the clock is never.
        let at = since.checked_add(batch.delay);
        if self.items.len() >= batch.messages || self.bytes >= batch.bytes || at.is_some_and(|at| now >= at) {
            self.flows = true;
            return Some(Due::Now);
        }
        at.map(Due::At)
    }

    /// Whether so many messages and bytes that were sent may be kept beside.
    pub(super) const fn allows(&self, messages: usize, bytes: usize) -> bool {
        messages < self.limits.max_messages && bytes < self.limits.max_bytes
    }

    fn has_room(&self, item: &Item) -> bool {
        let fits = self.items.is_empty() || self.bytes + size(&item.message) <= self.limits.max_bytes;
        fits && self.items.len() < self.limits.max_messages
    }
}

/// When to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    At(Instant),
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn each_policy_at_the_limit() {
        let limits = Outbox::new().max_messages(2);
        let filled = |overflow| {
            let mut queue = Queue::new(limits.overflow(overflow));
            for text in ["a", "b"] {
                assert!(matches!(queue.push(item(text)), Pushed::Queued { dropped } if dropped.is_empty()));
            }
            queue
        };
        let mut queue = filled(Overflow::Wait);
        assert!(matches!(queue.push(item("c")), Pushed::Full(back) if back.message == "c".into()));
        assert_eq!(texts(queue), ["a", "b"]);
        let mut queue = filled(Overflow::DropNewest);
        assert!(matches!(queue.push(item("c")), Pushed::Dropped));
        assert_eq!(texts(queue), ["a", "b"]);
        let mut queue = filled(Overflow::DropOldest);
        assert!(matches!(queue.push(item("c")), Pushed::Queued { dropped } if dropped.len() == 1));
        assert_eq!(texts(queue), ["b", "c"]);
    }

    #[test]
    fn bytes_count_and_one_message_may_have_more() {
        let mut queue = Queue::new(Outbox::new().max_bytes(3));
        assert!(matches!(queue.push(item("large")), Pushed::Queued { .. }));
        assert!(matches!(queue.push(item("")), Pushed::Full(_)));
        queue.pop();
        assert!(matches!(queue.push(item("ab")), Pushed::Queued { .. }));
        assert!(matches!(queue.push(item("cd")), Pushed::Full(_)));
        assert!(matches!(queue.push(item("c")), Pushed::Queued { .. }));
        assert_eq!(queue.bytes, 3);
    }

    #[test]
    fn a_limit_of_nothing_drops_and_does_not_loop() {
        let mut queue = Queue::new(Outbox::new().max_messages(0).overflow(Overflow::DropOldest));
        assert!(matches!(queue.push(item("a")), Pushed::Dropped));
    }

    fn item(text: &str) -> Item {
        Item { message: text.into(), waiter: None }
    }

    fn texts(mut queue: Queue) -> Vec<alloc::string::String> {
        core::iter::from_fn(|| queue.pop()).map(|item| item.message.as_text().unwrap().into()).collect()
    }
}
