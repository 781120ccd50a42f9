//! What the handles, the updates and the task of a client share.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Poll, Waker};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::tokio::sync::Notify;

use super::delivery::{Acknowledge, Ids, Tag, Unacknowledged, size};
use super::outbox::{Batch, Due, Item, Pushed, Queue, Sent, Waiter};
use super::replies::{Envelope, Question, Replies};
use super::update::{Ended, Update};
use crate::proto::{CloseCode, CloseFrame, Message};

pub(super) struct Shared {
    state: Mutex<State>,
    /// Somebody who waits for room in the outbox may look again.
    pub(super) room: Notify,
    /// The same, of room for what waits for its acknowledgement.
    pub(super) acknowledged: Notify,
    /// The client has ended.
    pub(super) done: Notify,
    pub(super) acknowledge: Option<Box<dyn Acknowledge>>,
    limits: Incoming,
}

/// How much may wait for the application.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) batch: Option<Batch>,
    /// What goes before all that waits, on the connection there is.
    urgent: VecDeque<Message>,
    /// Sent on each connection, by key, in the order in which they were given.
    subscriptions: Vec<(Box<str>, Message)>,
    pub(super) unacknowledged: Unacknowledged,
    pub(super) ids: Ids,
    pub(super) replies: Replies,
    updates: VecDeque<Update>,
    /// The bytes of the messages in there.
    waiting: usize,
    /// The Close that was asked for.
    pub(super) closing: Option<Option<CloseFrame>>,
    pub(super) open: bool,
    pub(super) ended: Option<Arc<Ended>>,
    pub(super) handles: usize,
    /// Whether somebody takes the updates.
    listens: bool,
    reader: Option<Waker>,
    task: Option<Waker>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The outbox has no room.
    Full,
    /// Too much waits for its acknowledgement.
    Unacknowledged,
    /// The client has ended, or is closing.
    Ended,
}

/// What to send next.
pub(super) enum Next {
    Urgent(Message),
    Item(Item),
}

impl Shared {
    pub(super) fn new(
        queue: Queue,
        batch: Option<Batch>,
        acknowledge: Option<Box<dyn Acknowledge>>,
        limits: Incoming,
    ) -> Self {
        let state = State {
            queue,
            batch,
            urgent: VecDeque::new(),
            subscriptions: Vec::new(),
            unacknowledged: Unacknowledged::default(),
            ids: Ids::new(),
            replies: Replies::default(),
            updates: VecDeque::new(),
            waiting: 0,
            closing: None,
            open: false,
            ended: None,
            handles: 1,
            listens: true,
            reader: None,
            task: None,
        };
        let (room, acknowledged, done) = (Notify::new(), Notify::new(), Notify::new());
        Self { state: Mutex::new(state), room, acknowledged, done, acknowledge, limits }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something that the task has to look at.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        changed
    }

    /// Puts a message into the outbox, or hands it back.
    pub(super) fn push(&self, item: Item) -> Result<Sent, (Refusal, Item)> {
        self.change(|state| {
            if let Some(refusal) = state.refusal(&item) {
                return Err((refusal, item));
            }
            match state.queue.push(item) {
                Pushed::Queued { dropped } if dropped.is_empty() => Ok(Sent::Queued),
                Pushed::Queued { dropped } => Ok(Sent::Displaced(dropped.len())),
                Pushed::Dropped => Ok(Sent::Dropped),
                Pushed::Full(item) => Err((Refusal::Full, item)),
            }
        })
    }

    /// Has this message sent on each connection, and on the one there is.
    pub(super) fn subscribe(&self, key: &str, message: Message) -> bool {
        self.change(|state| {
            if state.open && state.urgent.len() >= MOST_URGENT {
                return false;
            }
            let subscriptions = &mut state.subscriptions;
            match subscriptions.iter().position(|(known, _)| **known == *key) {
                Some(place) => subscriptions[place].1 = message.clone(),
                None if subscriptions.len() < MOST_SUBSCRIPTIONS => {
                    subscriptions.push((key.into(), message.clone()));
                }
                None => return false,
            }
            if state.open {
                state.urgent.push_back(message);
            }
            true
        })
    }

    pub(super) fn unsubscribe(&self, key: &str, farewell: Option<Message>) -> bool {
        self.change(|state| {
            let Some(place) = state.subscriptions.iter().position(|(known, _)| **known == *key) else {
                return false;
            };
            state.subscriptions.remove(place);
            if let (true, Some(message)) = (state.open, farewell) {
                state.urgent.push_back(message);
            }
            true
        })
    }

    /// A new connection: what is to be sent on each, and what was not acknowledged.
    pub(super) fn opened(&self) {
        let state = &mut *self.lock();
        state.open = true;
        state.urgent = state.subscriptions.iter().map(|(_, message)| message.clone()).collect();
        state.urgent.extend(state.unacknowledged.messages().cloned());
    }

    pub(super) fn lost(&self) {
        let mut state = self.lock();
        state.open = false;
        state.urgent.clear();
        let replies = mem::take(&mut state.replies);
        drop(state);
        // Who waits for a reply is told: nobody knows whether the request came there. Those that wait to be sent
        // go on doing so.
        drop(replies);
    }

    pub(super) fn next(&self) -> Option<Next> {
        let mut state = self.lock();
        if let Some(message) = state.urgent.pop_front() {
            return Some(Next::Urgent(message));
        }
        let item = state.queue.pop()?;
        drop(state);
        self.room.notify_one();
        Some(Next::Item(item))
    }

    pub(super) fn put_back(&self, next: Next) {
        let mut state = self.lock();
        match next {
            Next::Urgent(message) => state.urgent.push_front(message),
            Next::Item(item) => state.queue.put_back(item),
        }
    }

    /// When there is something to send.
    pub(super) fn due(&self) -> Option<Due> {
        let state = &mut *self.lock();
        if !state.urgent.is_empty() {
            return Some(Due::Now);
        }
        // A batch that nobody adds to any more is whole.
        let batch = state.batch.filter(|_| state.closing.is_none());
        state.queue.due(batch)
    }

    /// A message that is to be acknowledged was sent.
    pub(super) fn sent(&self, tag: Tag, message: Message) {
        self.lock().unacknowledged.add(tag, message);
    }

    /// A request was sent.
    pub(super) fn asked(&self, question: Question) {
        self.lock().replies.wait(question);
    }

    /// Hands a reply to who waits for it; gives back any other message.
    fn answered(&self, message: Message) -> Option<Message> {
        if self.lock().replies.is_empty() {
            return Some(message);
        }
        let id = Envelope::of(&message).and_then(|envelope| envelope.id);
        let waiting = id.and_then(|id| self.lock().replies.take(&id));
        match (waiting, message) {
            (Some(waiting), Message::Text(text)) => {
                // Who asked may not wait any more.
                let _ = waiting.send(text);
                None
            }
            (_, message) => Some(message),
        }
    }

    /// Whether the application has room for messages.
    pub(super) fn wants_messages(&self) -> bool {
        let state = self.lock();
        let has_room = state.updates.len() < self.limits.messages && state.waiting < self.limits.bytes;
        has_room || !state.listens || state.closing.is_some()
    }

    /// Passes a message on to whom it concerns.
    pub(super) fn received(&self, message: Message) {
        // The answer to a request may look like an acknowledgement.
        let Some(message) = self.answered(message) else { return };
        if let Some(scheme) = &self.acknowledge {
            let acknowledged = scheme.acknowledged(&message).map(|id| (id, Ok(())));
            let refused = || scheme.refused(&message).map(|(id, said)| (id, Err(said.into())));
            if let Some((id, answer)) = acknowledged.or_else(refused) {
                self.lock().unacknowledged.answer(&id, answer);
                self.acknowledged.notify_one();
                return;
            }
        }
        let mut state = self.lock();
        // Behind a Close of ours, what finds no room was not waited for.
        if state.listens && (state.updates.len() < self.limits.messages || state.closing.is_none()) {
            state.waiting += size(&message);
            state.tell(Update::Message(message));
        }
    }

    /// Tells how the client stands. Where nobody takes the updates, the latest standing replaces the one before.
    pub(super) fn tell(&self, update: Update) {
        let mut state = self.lock();
        if !state.listens {
            return;
        }
        if state.updates.len() >= self.limits.messages
            && !matches!(state.updates.back(), Some(Update::Message(_)) | None)
        {
            state.updates.pop_back();
        }
        state.tell(update);
    }

    pub(super) fn end(&self, ended: Ended) {
        let mut state = self.lock();
        let mut ended = ended;
        ended.unsent.extend(state.unacknowledged.take());
        while let Some(item) = state.queue.pop() {
            ended.unsent.push(item.message);
        }
        let ended = Arc::new(ended);
        state.ended = Some(ended.clone());
        state.subscriptions.clear();
        // In the same breath: who finds the client ended and no update takes that for the end.
        if state.listens {
            state.tell(Update::Ended(ended));
        }
        drop(state);
        self.lost();
        self.room.notify_waiters();
        self.acknowledged.notify_waiters();
        self.done.notify_waiters();
    }

    pub(super) fn poll_update(&self, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        let mut state = self.lock();
        let Some(update) = state.updates.pop_front() else {
            if state.ended.is_some() {
                return Poll::Ready(None);
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if let Update::Message(message) = &update {
            state.waiting -= size(message);
        }
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        Poll::Ready(Some(update))
    }

    /// Nobody takes the updates any more.
    pub(super) fn stop_listening(&self) {
        let updates = self.change(|state| {
            state.listens = false;
            state.waiting = 0;
            state.leave();
            mem::take(&mut state.updates)
        });
        drop(updates);
    }

    pub(super) fn drop_handle(&self) {
        self.change(|state| {
            state.handles -= 1;
            state.leave();
        });
    }

    /// Ready once the client is to close. Has the task woken when something changes.
    pub(super) fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        state.task = Some(cx.waker().clone());
        if state.closing.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl State {
    /// Why the outbox is not even asked.
    fn refusal(&self, item: &Item) -> Option<Refusal> {
        if self.is_leaving() {
            return Some(Refusal::Ended);
        }
        // What was sent and is kept takes room too.
        let kept = &self.unacknowledged;
        let keeps = matches!(item.waiter, Some(Waiter::Acknowledged(_)));
        (keeps && !self.queue.allows(kept.len(), kept.bytes())).then_some(Refusal::Unacknowledged)
    }

    /// Whether nothing is taken any more.
    pub(super) const fn is_leaving(&self) -> bool {
        self.ended.is_some() || self.closing.is_some()
    }

    fn tell(&mut self, update: Update) {
        self.updates.push_back(update);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Without anybody to talk to, a client closes.
    fn leave(&mut self) {
        if self.handles == 0 && !self.listens && self.closing.is_none() {
            self.closing = Some(Some(CloseFrame::from(CloseCode::NORMAL)));
        }
    }
}

/// How many subscriptions a client keeps.
pub(super) const MOST_SUBSCRIPTIONS: usize = 10_000;

/// How much may go before all else: all subscriptions, and as many changes of them. What a new connection begins with
/// is not counted.
const MOST_URGENT: usize = 2 * MOST_SUBSCRIPTIONS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Outbox;
    use crate::client::update::Cause;

    /// Who was about to put a message in when the client ended.
    #[test]
    fn nothing_gets_into_the_outbox_of_a_client_that_has_ended() {
        let limits = Incoming { messages: 8, bytes: 8 };
        let shared = Shared::new(Queue::new(Outbox::new()), None, None, limits);
        shared.end(Ended { cause: Cause::Stopped, unsent: Vec::new() });
        let (tag, mut acknowledged) = Tag::new("id".into());
        let waiter = Some(Waiter::Acknowledged(tag));
        let refused = shared.push(Item { message: "late".into(), waiter });
        assert_eq!(refused.map_err(|(refusal, _)| refusal), Err(Refusal::Ended));
        assert!(
            acknowledged
                .try_recv()
                .is_err_and(|error| error != ::tokio::sync::oneshot::error::TryRecvError::Empty)
        );
    }
}
