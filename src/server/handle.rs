//! A connection as others see it: who it is, and the queue of what is sent to it.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::any::{Any, TypeId};
use core::fmt;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::Waker;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ::tokio::sync::Notify;
use ::tokio::time::Instant;
use bytes::Bytes;
use serde::Serialize;

use super::id::ConnectionId;
use super::outbox::{News, Outbox, Phase, QueueLimits, Refusal, Sent};
use super::outcome::By;
use super::outgoing::Outgoing;
use super::upgrade::Upgrade;
use crate::error::Error;
use crate::proto::handshake::Request;
use crate::proto::{CloseCode, CloseFrame, Message, ReasonTooLong, Utf8Bytes};

/// A connection: who it is, and a way to send to it from anywhere. Cheap to clone. It does not keep the connection open,
/// and tells of it what it was after it ended.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Link>);

/// What all handles of a connection share with the task that runs it.
pub(super) struct Link {
    pub(super) id: ConnectionId,
    pub(super) upgrade: Upgrade,
    pub(super) subprotocol: Option<Box<str>>,
    pub(super) compressed: bool,
    pub(super) since: Instant,
    pub(super) at: SystemTime,
    pub(super) limits: QueueLimits,
    pub(super) outbox: Mutex<Outbox>,
    pub(super) inbox: Mutex<Inbox>,
    /// Told when there is room in the queue, and at the end.
    pub(super) room: Notify,
    pub(super) data: Mutex<Data>,
    pub(super) groups: Mutex<Groups>,
    /// The registry, for the groups.
    pub(super) home: Weak<dyn Any + Send + Sync>,
    pub(super) counts: Counts,
    /// In nanoseconds; zero if not measured yet.
    pub(super) round_trip: AtomicU64,
    /// It was open, and authenticated.
    pub(super) entered: AtomicBool,
}

/// The message that waits for the handler.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) message: Option<Message>,
    pub(super) end: Option<Option<Box<Error>>>,
    pub(super) waker: Option<Waker>,
}

/// The groups that a connection is in.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) rooms: Vec<Arc<str>>,
    pub(super) topics: Vec<Arc<str>>,
    /// It is in none any more, and will be in none.
    pub(super) gone: bool,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) received: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
}

/// What is kept with a connection, by type.
#[derive(Default)]
pub(super) enum Data {
    #[default]
    Empty,
    #[expect(clippy::box_collection, reason = "a pointer in each connection, where most have none")]
    Kept(Box<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>),
    /// The end was told: what came now would never go, where it holds a handle.
    Gone,
}

impl Data {
    fn insert(
        &mut self,
        kind: TypeId,
        value: Arc<dyn Any + Send + Sync>,
    ) -> Option<Arc<dyn Any + Send + Sync>> {
        if let Self::Empty = self {
            *self = Self::Kept(Box::default());
        }
        match self {
            Self::Kept(values) => values.insert(kind, value),
            // It is dropped where the lock is not held.
            _ => Some(value),
        }
    }

    fn get(&self, kind: TypeId) -> Option<&Arc<dyn Any + Send + Sync>> {
        if let Self::Kept(values) = self { values.get(&kind) } else { None }
    }
}

/// What went over a connection so far: messages, and bytes of their payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Messages that came.
    pub received: u64,
    /// Their bytes, after inflation.
    pub received_bytes: u64,
    /// Messages that were handed to the transport.
    pub sent: u64,
    /// Their bytes, before compression.
    pub sent_bytes: u64,
}

impl Handle {
    /// Queues a message; never waits. What becomes of it if the queue is full,
    /// [`Config::slow_consumer`](super::Config::slow_consumer) says.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn queue(&self, message: impl Into<Outgoing>) -> Result<Sent, Refusal> {
        let (sent, waker) = {
            let mut outbox = self.outbox();
            let sent = outbox.push(message.into(), &self.0.limits);
            let unchanged =
                matches!(sent, Ok(Sent::Dropped) | Err(Refusal::Closed | Refusal::NoData | Refusal::TooLong));
            (sent, if unchanged { None } else { outbox.tell(News::QUEUE) })
        };
        wake(waker);
        sent
    }

    /// Queues a text message: see [`queue`](Self::queue).
    ///
    /// # Errors
    /// As [`queue`](Self::queue).
    pub fn send_text(&self, text: impl Into<Utf8Bytes>) -> Result<Sent, Refusal> {
        self.queue(Outgoing::text(text))
    }

    /// Queues a binary message: see [`queue`](Self::queue).
    ///
    /// # Errors
    /// As [`queue`](Self::queue).
    pub fn send_binary(&self, bytes: impl Into<Bytes>) -> Result<Sent, Refusal> {
        self.queue(Outgoing::binary(bytes))
    }

    /// Queues a value as a text message of JSON: see [`queue`](Self::queue).
    ///
    /// # Errors
    /// As [`queue`](Self::queue); [`Refusal::NoData`] if the value cannot be JSON: [`Outgoing::json`] tells why.
    pub fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<Sent, Refusal> {
        self.queue(Outgoing::json(value).map_err(|_| Refusal::NoData)?)
    }

    /// Waits until at most half of the queue is taken, then queues the message: for those who send much, and are to be as
    /// fast as the peer. Other senders may fill the queue meanwhile; then the policy decides.
    ///
    /// **Cancel safety.** The message is queued when this is done, and not before.
    ///
    /// # Errors
    /// As [`queue`](Self::queue).
    pub async fn send(&self, message: impl Into<Outgoing>) -> Result<Sent, Refusal> {
        let message = message.into();
        self.ready().await?;
        self.queue(message)
    }

    /// Waits until at most half of the queue is taken.
    ///
    /// **Cancel safety.** Nothing is taken.
    ///
    /// # Errors
    /// [`Refusal::Closed`].
    pub async fn ready(&self) -> Result<(), Refusal> {
        loop {
            let mut notified = core::pin::pin!(self.0.room.notified());
            notified.as_mut().enable();
            {
                let outbox = self.outbox();
                if !matches!(outbox.phase, Phase::Open) {
                    return Err(Refusal::Closed);
                }
                if outbox.is_half_empty(&self.0.limits) {
                    return Ok(());
                }
            }
            notified.await;
        }
    }

    /// Closes the connection once all that waits is sent; takes nothing more. Later calls do nothing.
    ///
    /// # Errors
    /// The reason has more than 123 bytes: the connection is still open.
    pub fn close(&self, code: CloseCode, reason: &str) -> Result<(), ReasonTooLong> {
        self.begin_close(CloseFrame::new(code, reason)?, By::Application);
        Ok(())
    }

    /// Ends the connection at once, without a Close, and drops its handler.
    pub fn abort(&self) {
        self.abort_by(By::Aborted);
    }

    /// What tells it from others.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.0.id
    }

    /// Where it comes from: see [`Upgrade::address`](super::Upgrade::address).
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.upgrade.address()
    }

    /// The request that it began with: target, origin, header fields.
    #[must_use]
    pub fn request(&self) -> &Request {
        self.0.upgrade.request()
    }

    /// What the client says it is.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.0.upgrade.request().fields().text("User-Agent")
    }

    /// The subprotocol, if one was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.subprotocol.as_deref()
    }

    /// Whether permessage-deflate was agreed on.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.0.compressed
    }

    /// When it was opened.
    #[must_use]
    pub fn connected_at(&self) -> SystemTime {
        self.0.at
    }

    /// For how long it has been open.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0.since.elapsed()
    }

    /// How long a message takes to the peer and back, smoothed over the pings of
    /// [`Config::heartbeat_interval`](super::Config::heartbeat_interval), once one was answered.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        let nanos = self.0.round_trip.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// What went over it so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let counts = &self.0.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic {
            received: read(&counts.received),
            received_bytes: read(&counts.received_bytes),
            sent: read(&counts.sent),
            sent_bytes: read(&counts.sent_bytes),
        }
    }

    /// How many messages wait to be sent, and how many bytes they have.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        let outbox = self.outbox();
        (outbox.len(), outbox.bytes())
    }

    /// Whether messages are still taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.outbox().phase, Phase::Open)
    }

    /// Keeps a value with the connection, one of each type, until the end of it was told
    /// ([`Builder::on_disconnect`](super::Builder::on_disconnect)); gives the one that was there. After the end it gives
    /// this one back.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        let before = lock(&self.0.data).insert(TypeId::of::<T>(), Arc::new(value));
        before.and_then(|before| before.downcast().ok())
    }

    /// The value of that type that is kept with the connection.
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let value = lock(&self.0.data).get(TypeId::of::<T>())?.clone();
        value.downcast().ok()
    }

    /// The value of that type, made if there is none.
    pub(super) fn get_or_insert<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut data = lock(&self.0.data);
        if let Some(value) = data.get(TypeId::of::<T>()) {
            return value.clone().downcast().unwrap_or_default();
        }
        let value = Arc::new(T::default());
        data.insert(TypeId::of::<T>(), value.clone());
        value
    }

    pub(super) fn begin_close(&self, frame: CloseFrame, by: By) {
        let waker = {
            let mut outbox = self.outbox();
            if !matches!(outbox.phase, Phase::Open) {
                return;
            }
            outbox.phase = Phase::Closing(frame, by);
            outbox.tell(News::QUEUE)
        };
        self.0.room.notify_waiters();
        wake(waker);
    }

    /// As [`begin_close`](Self::begin_close), and what waits is lost.
    pub(super) fn close_now(&self, frame: CloseFrame, by: By) {
        self.outbox().forget();
        self.begin_close(frame, by);
    }

    pub(super) fn abort_by(&self, by: By) {
        let waker = {
            let mut outbox = self.outbox();
            if matches!(outbox.phase, Phase::Ended) {
                return;
            }
            outbox.phase = Phase::Aborted(by);
            outbox.forget();
            outbox.tell(News::QUEUE)
        };
        self.0.room.notify_waiters();
        wake(waker);
    }

    /// Its task is gone: nothing more is taken.
    pub(super) fn end(&self) {
        {
            let mut outbox = self.outbox();
            outbox.phase = Phase::Ended;
            outbox.forget();
            outbox.take_news();
        }
        self.0.room.notify_waiters();
        // The handler may have moved its connection to another task.
        let waker = {
            let mut inbox = self.inbox();
            inbox.message = None;
            inbox.end.get_or_insert(None);
            inbox.waker.take()
        };
        wake(waker);
    }

    /// Has the task that runs the connection look at something.
    pub(super) fn tell(&self, news: News) {
        let waker = self.outbox().tell(news);
        wake(waker);
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        lock(&self.0.outbox)
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.0.inbox)
    }
}

/// What wakes the task of a connection for its socket.
impl Wake for Link {
    fn wake(self: Arc<Self>) {
        Handle(self).tell(News::SOCKET);
    }
}

/// What wakes it for its handler.
pub(super) struct HandlerBell(pub(super) Handle);

impl Wake for HandlerBell {
    fn wake(self: Arc<Self>) {
        self.0.tell(News::HANDLER);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.tell(News::HANDLER);
    }
}

/// Handles of one connection are equal.
impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Handle {}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("id", &self.id())
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

/// Wakes whoever waits, once no lock is held.
pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Locks what no panic leaves half done.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
impl Handle {
    /// A connection without a task.
    pub(super) fn example(id: u64) -> Self {
        use crate::proto::handshake::ServerHandshake;
        let mut handshake = ServerHandshake::new();
        handshake.feed(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        let request = handshake.poll().unwrap().unwrap().request().clone();
        let policy = super::outbox::SlowConsumer::Disconnect;
        let nobody: Weak<u8> = Weak::new();
        Self(Arc::new(Link {
            id: ConnectionId(id),
            upgrade: Upgrade::new(request, ([127, 0, 0, 1], 1).into()),
            subprotocol: None,
            compressed: false,
            since: Instant::now(),
            at: SystemTime::now(),
            limits: QueueLimits { messages: 10, bytes: 1000, policy, code: CloseCode::TRY_AGAIN },
            outbox: Mutex::default(),
            inbox: Mutex::default(),
            room: Notify::default(),
            data: Mutex::default(),
            groups: Mutex::default(),
            home: nobody,
            counts: Counts::default(),
            round_trip: AtomicU64::new(0),
            entered: false.into(),
        }))
    }
}
