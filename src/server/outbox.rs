//! What waits to be sent to one connection: bounded in messages and bytes, and what happens when it is full.

#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::mem;
use core::task::Waker;
use std::collections::HashSet;

use super::outcome::By;
use super::outgoing::Outgoing;
use crate::proto::{CloseCode, CloseFrame};

/// What happens to a connection whose queue is full, because it takes less than it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlowConsumer {
    /// The messages that waited longest make room.
    DropOldest,
    /// The new message is not taken. An urgent one is, in the place of the newest that is not.
    DropNewest,
    /// The new message takes the place of the one that waits with the same [key](Outgoing::key). If there is none, all go
    /// for which a later one with their key waits, and if that is not enough the oldest: so the latest of each key
    /// stays, as long as the queue has room for one of each.
    Conflate,
    /// The connection is closed, with [`Config::slow_consumer_code`](super::Config::slow_consumer_code): the peer
    /// comes back and asks for what it lacks.
    Disconnect,
}

/// What became of a message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sent {
    /// It waits its turn.
    Queued,
    /// It does, in the place of so many others, which are lost.
    Displaced(usize),
    /// It does, in the place of the one with the same key.
    Conflated,
    /// The queue is full, and the policy is to let the new one go.
    Dropped,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The connection is closing, or ended.
    Closed,
    /// The queue was full, and the policy is to disconnect: the connection closes by this message.
    TooSlow,
    /// It alone has more bytes than may wait.
    TooLong,
    /// It is a control frame, or a value that is no JSON: nothing to queue.
    NoData,
}

/// The limits of each queue, and the policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueLimits {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) policy: SlowConsumer,
    pub(super) code: CloseCode,
}

/// The queue, and what else the task of the connection is told.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    urgent: VecDeque<Outgoing>,
    normal: VecDeque<Outgoing>,
    bytes: usize,
    /// No two messages in the normal lane have the same key.
    distinct: bool,
    pub(super) phase: Phase,
    news: News,
    /// The task, while it rests.
    waker: Option<Waker>,
}

/// What the task of a connection has not looked at yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Somebody queued something, closed, or took a message.
    pub(super) queue: bool,
    /// The socket is to be polled, or a timer.
    pub(super) socket: bool,
    /// The handler is to be polled.
    pub(super) handler: bool,
}

/// How far a connection is from its end.
#[derive(Clone, Debug, Default)]
pub(super) enum Phase {
    #[default]
    Open,
    /// Closes once all that waits is sent.
    Closing(CloseFrame, By),
    /// Ends without any more ado.
    Aborted(By),
    Ended,
}

impl Outbox {
    /// Takes a message, or does what the policy says.
    pub(super) fn push(&mut self, message: Outgoing, limits: &QueueLimits) -> Result<Sent, Refusal> {
        if !message.is_data() {
            return Err(Refusal::NoData);
        }
        if !matches!(self.phase, Phase::Open) {
            return Err(Refusal::Closed);
        }
        if message.len() > limits.bytes {
            return Err(Refusal::TooLong);
        }
        if self.has_room(&message, limits) {
            self.distinct = false;
            self.put(message);
            return Ok(Sent::Queued);
        }
        match limits.policy {
            SlowConsumer::Disconnect => {
                self.forget();
                self.phase = Phase::Closing(too_slow(limits.code), By::SlowConsumer);
                return Err(Refusal::TooSlow);
            }
            SlowConsumer::DropNewest if !message.urgent => return Ok(Sent::Dropped),
            SlowConsumer::Conflate if self.conflate(&message, limits) => return Ok(Sent::Conflated),
            SlowConsumer::Conflate | SlowConsumer::DropNewest | SlowConsumer::DropOldest => {}
        }
        let mut displaced =
            if limits.policy == SlowConsumer::Conflate { self.drop_outdated(&message) } else { 0 };
        while !self.has_room(&message, limits) {
            if !self.displace(message.urgent, limits.policy) {
                return Ok(Sent::Dropped);
            }
            displaced += 1;
        }
        self.put(message);
        Ok(Sent::Displaced(displaced))
    }

    /// The next message to send.
    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        let message = self.urgent.pop_front().or_else(|| self.normal.pop_front())?;
        self.bytes -= message.len();
        if self.is_empty() {
            // Who waits holds little.
            self.urgent.shrink_to(0);
            self.normal.shrink_to(MOST_KEPT);
        }
        Some(message)
    }

    /// Drops all that waits, and its memory.
    pub(super) fn forget(&mut self) {
        (self.urgent, self.normal, self.bytes) = (VecDeque::new(), VecDeque::new(), 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.urgent.len() + self.normal.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether at most half of what may wait does.
    pub(super) fn is_half_empty(&self, limits: &QueueLimits) -> bool {
        self.len() <= limits.messages / 2 && self.bytes <= limits.bytes / 2
    }

    fn has_room(&self, message: &Outgoing, limits: &QueueLimits) -> bool {
        self.len() < limits.messages && message.len() <= limits.bytes.saturating_sub(self.bytes)
    }

    fn put(&mut self, message: Outgoing) {
        self.bytes += message.len();
        let lane = if message.urgent { &mut self.urgent } else { &mut self.normal };
        if lane.capacity() == 0 {
            lane.reserve_exact(MOST_KEPT);
        }
        lane.push_back(message);
    }

    /// Puts the message in the place of the latest with its key, if it fits there.
    fn conflate(&mut self, message: &Outgoing, limits: &QueueLimits) -> bool {
        let Some(key) = &message.key else { return false };
        let lane = if message.urgent { &mut self.urgent } else { &mut self.normal };
        let Some(older) = lane.iter_mut().rev().find(|waiting| waiting.key.as_ref() == Some(key)) else {
            return false;
        };
        let bytes = self.bytes - older.len() + message.len();
        if bytes > limits.bytes {
            // The older one goes with those that are out of date.
            self.distinct = false;
            return false;
        }
        self.bytes = bytes;
        *older = message.clone();
        true
    }

    /// Drops what a later message with the same key has replaced, or this one will; how many.
    fn drop_outdated(&mut self, message: &Outgoing) -> usize {
        // A queue of nothing but different keys is not searched for each message that comes to it.
        if mem::replace(&mut self.distinct, true) {
            return 0;
        }
        let before = self.normal.len();
        let mut later: HashSet<Arc<str>> = message.key.iter().filter(|_| !message.urgent).cloned().collect();
        let mut kept = VecDeque::with_capacity(before);
        while let Some(waiting) = self.normal.pop_back() {
            if waiting.key.as_ref().is_none_or(|key| later.insert(key.clone())) {
                kept.push_front(waiting);
            } else {
                self.bytes -= waiting.len();
            }
        }
        self.normal = kept;
        before - self.normal.len()
    }

    /// Makes room by the loss of a message; an urgent one is lost to urgent ones only.
    fn displace(&mut self, for_urgent: bool, policy: SlowConsumer) -> bool {
        let newest = policy == SlowConsumer::DropNewest;
        let from = |lane: &mut VecDeque<Outgoing>| if newest { lane.pop_back() } else { lane.pop_front() };
        let lost = match from(&mut self.normal) {
            Some(message) => message,
            // The urgent lane is full of its own: its newest is the one that is let go under `DropNewest`.
            None if for_urgent && !newest => match self.urgent.pop_front() {
                Some(message) => message,
                None => return false,
            },
            None => return false,
        };
        self.bytes -= lost.len();
        true
    }

    /// Notes some news for the task; gives what wakes it, if it rests.
    #[must_use = "to be woken once the lock is released"]
    pub(super) fn tell(&mut self, news: News) -> Option<Waker> {
        self.news = self.news.and(news);
        mem::take(&mut self.waker)
    }

    /// The news, for the task, which does not rest any more.
    pub(super) fn take_news(&mut self) -> News {
        self.waker = None;
        mem::take(&mut self.news)
    }

    /// Whether the handler is to be polled, which the task does then.
    pub(super) fn take_handler(&mut self) -> bool {
        mem::take(&mut self.news.handler)
    }

    /// Has the task rest, unless there are news: then it gives these.
    pub(super) fn rest(&mut self, waker: &Waker) -> News {
        if self.news == News::default() {
            self.waker = Some(waker.clone());
        }
        self.news
    }
}

impl News {
    pub(super) const QUEUE: Self = Self { queue: true, socket: false, handler: false };
    pub(super) const SOCKET: Self = Self { queue: false, socket: true, handler: false };
    pub(super) const HANDLER: Self = Self { queue: false, socket: false, handler: true };

    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            queue: self.queue || other.queue,
            socket: self.socket || other.socket,
            handler: self.handler || other.handler,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closing or closed: nothing more can be sent",
            Self::TooSlow => "the peer takes less than it is sent, and is disconnected for it",
            Self::TooLong => {
                "the message has more bytes than may wait for a connection: raise max_queued_bytes"
            }
            Self::NoData => "only text, binary and JSON messages are queued: to close there is close()",
        })
    }
}

impl core::error::Error for Refusal {}

/// The Close for a peer that takes too little.
fn too_slow(code: CloseCode) -> CloseFrame {
    CloseFrame::new(code, "too slow: take what you are sent").unwrap_or_else(|_| code.into())
}

/// For how many messages a queue that is empty keeps room.
const MOST_KEPT: usize = 1;

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;
    use crate::proto::Message;
    use crate::server::outgoing::Payload;

    fn limits(policy: SlowConsumer) -> QueueLimits {
        QueueLimits { messages: 3, bytes: 12, policy, code: CloseCode::TRY_AGAIN }
    }

    fn push_all(outbox: &mut Outbox, policy: SlowConsumer, messages: &[&str]) -> Vec<Result<Sent, Refusal>> {
        messages.iter().map(|message| outbox.push(read(message), &limits(policy))).collect()
    }

    /// `!` before an urgent message, `key=` before one with a key.
    fn read(text: &str) -> Outgoing {
        let (urgent, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let mut message = Outgoing::text(text);
        message.urgent = urgent;
        message.key = rest.split_once('=').map(|(key, _)| key.into());
        message
    }

    fn drain(outbox: &mut Outbox) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(message) = outbox.pop() {
            let Payload::Message(Message::Text(text)) = &message.payload else { panic!("{message:?}") };
            all.push(text.as_str().into());
        }
        assert_eq!((outbox.bytes(), outbox.len()), (0, 0));
        all
    }

    #[test]
    fn each_policy_does_what_its_name_says() {
        use Sent::{Conflated, Displaced, Dropped, Queued};
        use SlowConsumer::{Conflate, DropNewest, DropOldest};
        let cases: [(_, &[&str], &[Sent], &[&str]); 12] = [
            (DropOldest, &["a", "b", "c", "d"], &[Queued, Queued, Queued, Displaced(1)], &["b", "c", "d"]),
            (
                DropOldest,
                &["aaaaaa", "bbbb", "cccccccc"],
                &[Queued, Queued, Displaced(1)],
                &["bbbb", "cccccccc"],
            ),
            (DropOldest, &["aaaa", "bbbb", "cccccccccc"], &[Queued, Queued, Displaced(2)], &["cccccccccc"]),
            (DropNewest, &["a", "b", "c", "d"], &[Queued, Queued, Queued, Dropped], &["a", "b", "c"]),
            (DropNewest, &["a", "b", "c", "!d"], &[Queued, Queued, Queued, Displaced(1)], &["!d", "a", "b"]),
            (DropNewest, &["!a", "!b", "!c", "!d"], &[Queued, Queued, Queued, Dropped], &["!a", "!b", "!c"]),
            (DropOldest, &["!a", "!b", "!c", "d"], &[Queued, Queued, Queued, Dropped], &["!a", "!b", "!c"]),
            (
                Conflate,
                &["x=1", "y=1", "z", "x=2"],
                &[Queued, Queued, Queued, Conflated],
                &["x=2", "y=1", "z"],
            ),
            (
                Conflate,
                &["x=1", "y=1", "z", "w=1"],
                &[Queued, Queued, Queued, Displaced(1)],
                &["y=1", "z", "w=1"],
            ),
            // The latest of each key stays: what is out of date goes first, and all of it.
            (
                Conflate,
                &["x=1", "y=1", "y=2", "w=1", "v=1"],
                &[Queued, Queued, Queued, Displaced(1), Displaced(1)],
                &["y=2", "w=1", "v=1"],
            ),
            (
                Conflate,
                &["y=1", "y=2", "y=3", "w=1", "y=4", "v=1"],
                &[Queued, Queued, Queued, Displaced(2), Queued, Displaced(1)],
                &["w=1", "y=4", "v=1"],
            ),
            // One that is too long for the place of the older one with its key.
            (
                Conflate,
                &["x=1", "y=1", "z=1", "w=1", "w=1234567"],
                &[Queued, Queued, Queued, Displaced(1), Displaced(2)],
                &["z=1", "w=1234567"],
            ),
        ];
        for (policy, messages, expected, left) in cases {
            let mut outbox = Outbox::default();
            let sent: Vec<_> =
                push_all(&mut outbox, policy, messages).into_iter().map(Result::unwrap).collect();
            assert_eq!(sent, expected, "{policy:?} {messages:?}");
            assert_eq!(drain(&mut outbox), left, "{policy:?} {messages:?}");
        }
    }

    #[test]
    fn disconnect_closes_and_takes_nothing_more() {
        for code in [CloseCode::TRY_AGAIN, CloseCode::POLICY] {
            let mut outbox = Outbox::default();
            let limits = QueueLimits { code, ..limits(SlowConsumer::Disconnect) };
            let sent = ["a", "b", "c", "d", "e"].map(|text| outbox.push(read(text), &limits));
            assert_eq!(sent[2..], [Ok(Sent::Queued), Err(Refusal::TooSlow), Err(Refusal::Closed)]);
            assert!(matches!(&outbox.phase, Phase::Closing(frame, By::SlowConsumer) if frame.code() == code));
            assert!(outbox.is_empty(), "what waits would keep the Close waiting");
        }
    }

    #[test]
    fn what_can_never_wait_is_refused() {
        let mut outbox = Outbox::default();
        let limits = limits(SlowConsumer::DropOldest);
        assert_eq!(outbox.push(Outgoing::text("0123456789abc"), &limits), Err(Refusal::TooLong));
        assert_eq!(outbox.push(Message::Ping("x".into()).into(), &limits), Err(Refusal::NoData));
        assert_eq!(outbox.push(Message::Close(None).into(), &limits), Err(Refusal::NoData));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_task_that_has_news_does_not_rest_and_one_that_rests_is_woken_once() {
        let mut outbox = Outbox::default();
        for news in [News::QUEUE, News::SOCKET, News::HANDLER] {
            assert!(outbox.tell(news).is_none(), "it does not rest");
            assert_eq!(outbox.rest(Waker::noop()), news);
            assert!(outbox.tell(news).is_none(), "it does not rest");
            assert_eq!(outbox.take_news(), news);
            assert_eq!(outbox.rest(Waker::noop()), News::default());
            assert!(outbox.tell(News::SOCKET).is_some(), "it rests");
            assert!(outbox.tell(news).is_none(), "it was woken");
            assert_eq!(outbox.take_news(), News::SOCKET.and(news));
        }
    }
}
