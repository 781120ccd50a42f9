//! `Handle` and `Updates`: the two ends of a client that its application has.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::ptr;
use core::task::{Context, Poll};
use core::time::Duration;

use ::tokio::time;
use bytes::Bytes;
use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};

use super::delivery::Tag;
use super::error::{RequestError, Undelivered, Unsent, UnsentKind};
use super::outbox::{Item, Sent, Waiter};
use super::replies::{Envelope, Question};
use super::shared::{Refusal, Shared};
use super::update::{Ended, Update};
use crate::proto::{CloseCode, CloseFrame, Message, ReasonTooLong, Utf8Bytes};

/// Sends by a client. Clones send by the same one; what one of them sends keeps its order.
///
/// A message is taken whether there is a connection or not, and sent when there is.
///
/// **Cancel safety.** A future that is dropped before it ends has sent nothing, or all; one that waits for room leaves
/// its place to the next.
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Takes a message, or waits for room in the outbox, if that is its [`Overflow`](super::Overflow).
    ///
    /// # Errors
    /// [`Unsent`] hands the message back: the client has ended, or is closing, or this is a Close.
    pub async fn send(&self, message: impl Into<Message>) -> Result<Sent, Unsent> {
        self.push(Item { message: sendable(message.into())?, waiter: None }).await
    }

    /// A text message: see [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_text(&self, text: impl Into<Utf8Bytes>) -> Result<Sent, Unsent> {
        self.send(Message::Text(text.into())).await
    }

    /// A binary message: see [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_binary(&self, bytes: impl Into<Bytes>) -> Result<Sent, Unsent> {
        self.send(Message::Binary(bytes.into())).await
    }

    /// A value as JSON, in a text message: see [`send`](Self::send).
    ///
    /// # Errors
    /// [`RequestError::Value`] if it is not to be had as JSON, [`RequestError::Unsent`].
    pub async fn send_json(&self, value: &impl Serialize) -> Result<Sent, RequestError> {
        let text = serde_json::to_string(value).map_err(RequestError::Value)?;
        Ok(self.send_text(text).await?)
    }

    /// Takes a message, and never waits.
    ///
    /// # Errors
    /// [`Unsent`] hands the message back: there is no room, the client has ended, or is closing, or this is a Close.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Sent, Unsent> {
        let item = Item { message: sendable(message.into())?, waiter: None };
        self.shared.push(item).map_err(|(refusal, item)| unsent(refusal, item))
    }

    /// Sends a message and waits for the server's acknowledgement. If the connection is lost first, it is sent again on
    /// the next, under the same id. If this future is dropped once the message is taken, that goes on.
    ///
    /// # Errors
    /// [`Undelivered`]; of [`Undelivered::Lost`] the message is in [`Ended::unsent`].
    pub async fn deliver(&self, message: impl Into<Message>) -> Result<(), Undelivered> {
        let Some(scheme) = &self.shared.acknowledge else { return Err(Undelivered::NoScheme) };
        let id = self.shared.lock().ids.next();
        let message = sendable(scheme.wrap(&id, message.into()))?;
        let (tag, acknowledged) = Tag::new(id);
        // One that was dropped for others is told as lost.
        let _ = self.push(Item { message, waiter: Some(Waiter::Acknowledged(tag)) }).await?;
        match acknowledged.await {
            Ok(answer) => answer.map_err(Undelivered::Refused),
            Err(_) => Err(Undelivered::Lost),
        }
    }

    /// Sends `{"type": kind, "data": data}` as [`deliver`](Self::deliver) does, with the id that
    /// [`JsonAcknowledge`](super::JsonAcknowledge) adds.
    ///
    /// # Errors
    /// [`Undelivered`]: [`Value`](Undelivered::Value) if it is not to be had as JSON.
    pub async fn deliver_json(&self, kind: &str, data: &impl Serialize) -> Result<(), Undelivered> {
        let data = to_raw_value(data).map_err(Undelivered::Value)?;
        let envelope = Envelope { kind: kind.into(), id: None, data: Some(&data), error: None };
        let text = serde_json::to_string(&envelope).map_err(Undelivered::Value)?;
        self.deliver(text).await
    }

    /// Sends `{"type": kind, "id": …, "data": data}` and waits for the message with that id: its `data` is the reply.
    /// It waits for a connection as other messages do, and is not sent again if that is lost. One that is late may
    /// still be sent.
    ///
    /// # Errors
    /// [`RequestError`]: [`Refused`](RequestError::Refused) if the reply has the type `error`,
    /// [`Late`](RequestError::Late) after `timeout`, waiting for a connection included, [`Lost`](RequestError::Lost).
    pub async fn request<R: DeserializeOwned>(
        &self,
        kind: &str,
        data: &impl Serialize,
        timeout: Duration,
    ) -> Result<R, RequestError> {
        let data = to_raw_value(data).map_err(RequestError::Value)?;
        let asked = self.ask(kind, &data);
        let reply = time::timeout(timeout, asked).await.map_err(|_| RequestError::Late)??;
        let envelope: Envelope<'_> = serde_json::from_str(&reply).map_err(RequestError::Reply)?;
        if envelope.kind == "error" {
            return Err(RequestError::Refused(envelope.told().into()));
        }
        serde_json::from_str(envelope.data.map_or("null", RawValue::get)).map_err(RequestError::Reply)
    }

    /// Has a message sent at once on the connection there is, and first on each that follows: what a server forgets
    /// with the connection. Another message under the same key takes its place.
    ///
    /// # Errors
    /// [`UnsentKind::Full`] with 10,000 of them, or with 20,000 changes that the server does not take; and as
    /// [`try_send`](Self::try_send).
    pub fn subscribe(&self, key: &str, message: impl Into<Message>) -> Result<(), Unsent> {
        let message = sendable(message.into())?;
        if self.shared.lock().is_leaving() {
            return Err(Unsent::new(UnsentKind::Ended, message));
        }
        if self.shared.subscribe(key, message.clone()) {
            Ok(())
        } else {
            Err(Unsent::new(UnsentKind::Full, message))
        }
    }

    /// Forgets the message under this key, and sends `farewell` if there is a connection. Whether there was one.
    pub fn unsubscribe(&self, key: &str, farewell: impl Into<Option<Message>>) -> bool {
        self.shared.unsubscribe(key, farewell.into())
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.lock().open
    }

    /// How many messages wait to be sent, and how many for their acknowledgement.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.queue.len(), state.unacknowledged.len())
    }

    /// Sends what waits, closes, and tells how that went. Without a connection it ends at once. The first of several
    /// calls decides about code and reason.
    ///
    /// # Errors
    /// [`ReasonTooLong`]: more than 123 bytes.
    pub async fn close(&self, code: CloseCode, reason: &str) -> Result<Arc<Ended>, ReasonTooLong> {
        let frame = CloseFrame::new(code, reason)?;
        self.shared.change(|state| state.closing.get_or_insert(Some(frame)).is_some());
        Ok(self.ended().await)
    }

    /// Waits for the end of the client.
    pub async fn ended(&self) -> Arc<Ended> {
        loop {
            let mut done = pin!(self.shared.done.notified());
            done.as_mut().enable();
            if let Some(ended) = &self.shared.lock().ended {
                return ended.clone();
            }
            done.await;
        }
    }

    /// Takes a message as soon as there is room.
    async fn push(&self, mut item: Item) -> Result<Sent, Unsent> {
        let mut room = &self.shared.room;
        loop {
            // In the queue before the look at the room, so that none is missed.
            let mut woken = pin!(room.notified());
            woken.as_mut().enable();
            let (refusal, back) = match self.shared.push(item) {
                Ok(queued) => return Ok(queued),
                Err(refused) => refused,
            };
            item = back;
            let needed = match refusal {
                Refusal::Full => &self.shared.room,
                Refusal::Unacknowledged => &self.shared.acknowledged,
                Refusal::Ended => return Err(unsent(refusal, item)),
            };
            if ptr::eq(needed, room) {
                woken.await;
            } else {
                // What this one was woken for is for the next.
                room.notify_one();
                room = needed;
            }
        }
    }

    async fn ask(&self, kind: &str, data: &RawValue) -> Result<Utf8Bytes, RequestError> {
        let id = self.shared.lock().ids.next();
        let envelope = Envelope { kind: kind.into(), id: Some((&*id).into()), data: Some(data), error: None };
        let text = serde_json::to_string(&envelope).map_err(RequestError::Value)?;
        // Dropped behind the reply, so that a request that was given up is not noted later.
        let waiting = Waiting { shared: &self.shared, id };
        let (question, reply) = Question::new(waiting.id.clone());
        let waiter = Some(Waiter::Answered(question));
        // One that was dropped for others is told as lost.
        let _ = self.push(Item { message: sendable(text.into())?, waiter }).await?;
        reply.await.map_err(|_| RequestError::Lost)
    }
}

/// The message, if it is one that an application sends.
fn sendable(message: Message) -> Result<Message, Unsent> {
    match &message {
        Message::Close(_) => Err(Unsent::new(UnsentKind::Control, message)),
        Message::Ping(payload) | Message::Pong(payload) if payload.len() > 125 => {
            Err(Unsent::new(UnsentKind::Control, message))
        }
        _ => Ok(message),
    }
}

fn unsent(refusal: Refusal, item: Item) -> Unsent {
    let kind = match refusal {
        Refusal::Full | Refusal::Unacknowledged => UnsentKind::Full,
        Refusal::Ended => UnsentKind::Ended,
    };
    Unsent::new(kind, item.message)
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.shared.lock().handles += 1;
        Self { shared: self.shared.clone() }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.drop_handle();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("open", &self.is_open()).field("waiting", &self.waiting()).finish()
    }
}

/// A request that waits for its reply; forgotten when it does not any more.
struct Waiting<'a> {
    shared: &'a Shared,
    id: Box<str>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.lock().replies.take(&self.id);
    }
}

/// What happens to a client, its messages among it. While more of them wait than
/// [`Builder::incoming`](super::Builder::incoming) allows, none is read: the server feels it. Who does not want them
/// drops this.
pub struct Updates {
    shared: Arc<Shared>,
}

impl Updates {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The next update; `None` after [`Update::Ended`]. Dropping the future loses nothing.
    pub fn recv(&mut self) -> impl Future<Output = Option<Update>> {
        poll_fn(|cx| self.shared.poll_update(cx))
    }

    /// The next message, without what else happens; `None` after the end. Dropping the future loses no message.
    pub async fn recv_message(&mut self) -> Option<Message> {
        loop {
            if let Update::Message(message) = self.recv().await? {
                return Some(message);
            }
        }
    }
}

/// As [`recv`](Updates::recv).
impl Stream for Updates {
    type Item = Update;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        self.shared.poll_update(cx)
    }
}

impl Drop for Updates {
    fn drop(&mut self) {
        self.shared.stop_listening();
    }
}

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Updates")
    }
}
