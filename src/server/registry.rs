//! All open connections, their rooms and topics.

#![forbid(unsafe_code)]

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::Ordering;
use core::{fmt, mem};
use std::sync::{Mutex, MutexGuard};

use super::group::{Directory, Group, NameError, check_pattern, check_room, check_topic};
use super::handle::{Groups, Handle, lock};
use super::id::ConnectionId;

/// The connections of a server, and the rooms and topics that they are in. Clones are the same registry.
///
/// A connection is in it from the moment at which it is open, and authenticated, to its end, however it ends; then it is
/// in no room either. A room is there while somebody is in it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use taut::server::{BoxError, Config, Server};
///
/// let server = Server::builder(Config::new().address("127.0.0.1:0"))
///     .handler(|mut connection| async move {
///         connection.join("lobby")?;
///         connection.subscribe("prices/#")?;
///         connection.send("ready").await?;
///         while connection.recv().await?.is_some() {}
///         Ok::<_, BoxError>(())
///     })
///     .bind()
///     .await?;
/// let mut socket = taut::connect(&format!("ws://{}/", server.address().unwrap())).await?;
/// assert_eq!(socket.recv().await?, Some("ready".into()));
///
/// let registry = server.registry();
/// assert_eq!(registry.members("lobby").len(), 1);
/// registry.broadcast("to the room").to_room("lobby");
/// registry.broadcast("41").to_topic("prices/copper");
/// for handle in registry.filter(|handle| handle.address().ip().is_loopback()) {
///     handle.send_text("to you alone")?;
/// }
/// for expected in ["to the room", "41", "to you alone"] {
///     assert_eq!(socket.recv().await?, Some(expected.into()));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    all: Group,
    rooms: Mutex<Directory>,
    topics: Mutex<Directory>,
    max_groups: usize,
    on_room: Option<OnRoom>,
}

pub(super) type OnRoom = Arc<dyn Fn(&RoomEvent) + Send + Sync>;

/// What happened to a room.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RoomEvent {
    /// Its name.
    pub room: Arc<str>,
    /// Whose coming or going it is.
    pub connection: Handle,
    /// What it did.
    pub change: RoomChange,
}

/// What a connection did to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RoomChange {
    /// It joined; whether the room came to be by it.
    #[non_exhaustive]
    Joined {
        /// Nobody was there before.
        first: bool,
    },
    /// It left, or ended; whether the room is gone by it.
    #[non_exhaustive]
    Left {
        /// Nobody is there any more.
        last: bool,
    },
}

/// Why a connection could not join a room or subscribe to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JoinError {
    /// The name is none.
    Name(NameError),
    /// It is in as many rooms and topics as it may: see [`Config::max_groups`](super::Config::max_groups).
    TooMany,
    /// It ended, or is not in the registry yet.
    Gone,
}

impl Registry {
    pub(super) fn new(max_groups: usize, on_room: Option<OnRoom>) -> Self {
        Self(Arc::new(Inner {
            all: Group::default(),
            rooms: Mutex::default(),
            topics: Mutex::default(),
            max_groups,
            on_room,
        }))
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.all.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All connections, as they are at this moment, in no order.
    #[must_use]
    pub fn list(&self) -> Arc<Vec<Handle>> {
        self.0.all.members()
    }

    /// The connection with this id.
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<Handle> {
        self.0.all.get(id)
    }

    /// Those for which `wanted` says so.
    pub fn filter(&self, mut wanted: impl FnMut(&Handle) -> bool) -> Vec<Handle> {
        self.list().iter().filter(|handle| wanted(handle)).cloned().collect()
    }

    /// The names of all rooms, in no order.
    #[must_use]
    pub fn rooms(&self) -> Vec<Arc<str>> {
        lock(&self.0.rooms).names()
    }

    /// Who is in a room, in no order.
    #[must_use]
    pub fn members(&self, room: &str) -> Arc<Vec<Handle>> {
        self.room(room).map(|group| group.members()).unwrap_or_default()
    }

    /// How many topics and patterns somebody is subscribed to.
    #[must_use]
    pub fn topics(&self) -> usize {
        lock(&self.0.topics).len()
    }

    pub(super) fn all(&self) -> &Group {
        &self.0.all
    }

    pub(super) fn room(&self, name: &str) -> Option<Arc<Group>> {
        lock(&self.0.rooms).get(name).cloned()
    }

    pub(super) fn fitting(&self, topic: &str) -> Vec<Arc<Group>> {
        if check_topic(topic).is_err() {
            return Vec::new();
        }
        lock(&self.0.topics).fitting(topic)
    }

    /// What connections remember their registry by.
    pub(super) fn home(&self) -> Weak<dyn Any + Send + Sync> {
        let inner: Arc<dyn Any + Send + Sync> = self.0.clone();
        Arc::downgrade(&inner)
    }

    /// Takes a connection in, unless it ended already.
    pub(super) fn enter(&self, handle: &Handle) {
        let groups = lock(&handle.0.groups);
        if !groups.gone {
            handle.0.entered.store(true, Ordering::Relaxed);
            self.0.all.add(handle);
        }
    }

    /// Forgets a connection that ended, wherever it is.
    pub(super) fn forget(&self, handle: &Handle) {
        let (rooms, topics) = {
            let mut groups = lock(&handle.0.groups);
            groups.gone = true;
            (mem::take(&mut groups.rooms), mem::take(&mut groups.topics))
        };
        self.0.all.remove(handle.id());
        for topic in topics {
            lock(&self.0.topics).remove(&topic, true, handle.id());
        }
        for room in rooms {
            let (removed, last) = lock(&self.0.rooms).remove(&room, false, handle.id());
            if removed {
                self.tell(&room, handle, RoomChange::Left { last });
            }
        }
    }

    fn join(&self, handle: &Handle, name: &str) -> Result<bool, JoinError> {
        check_room(name).map_err(JoinError::Name)?;
        let name: Arc<str> = name.into();
        let first = {
            let mut groups = Self::may_join(handle)?;
            if groups.rooms.contains(&name) {
                return Ok(false);
            }
            self.has_place(&groups)?;
            let (_, first) = lock(&self.0.rooms).add(&name, false, handle);
            groups.rooms.push(name.clone());
            first
        };
        self.tell(&name, handle, RoomChange::Joined { first });
        Ok(true)
    }

    fn leave(&self, handle: &Handle, name: &str) -> bool {
        let last = {
            let mut groups = lock(&handle.0.groups);
            let Some(at) = groups.rooms.iter().position(|room| **room == *name) else { return false };
            groups.rooms.swap_remove(at);
            lock(&self.0.rooms).remove(name, false, handle.id()).1
        };
        self.tell(&name.into(), handle, RoomChange::Left { last });
        true
    }

    fn subscribe(&self, handle: &Handle, pattern: &str) -> Result<bool, JoinError> {
        check_pattern(pattern).map_err(JoinError::Name)?;
        let pattern: Arc<str> = pattern.into();
        let mut groups = Self::may_join(handle)?;
        if groups.topics.contains(&pattern) {
            return Ok(false);
        }
        self.has_place(&groups)?;
        lock(&self.0.topics).add(&pattern, true, handle);
        groups.topics.push(pattern);
        Ok(true)
    }

    fn unsubscribe(&self, handle: &Handle, pattern: &str) -> bool {
        let mut groups = lock(&handle.0.groups);
        let Some(at) = groups.topics.iter().position(|topic| **topic == *pattern) else { return false };
        groups.topics.swap_remove(at);
        lock(&self.0.topics).remove(pattern, true, handle.id());
        true
    }

    fn may_join<'a>(handle: &'a Handle) -> Result<MutexGuard<'a, Groups>, JoinError> {
        let groups = lock(&handle.0.groups);
        if groups.gone || !handle.0.entered.load(Ordering::Relaxed) {
            Err(JoinError::Gone)
        } else {
            Ok(groups)
        }
    }

    fn has_place(&self, groups: &Groups) -> Result<(), JoinError> {
        let full = groups.rooms.len() + groups.topics.len() >= self.0.max_groups;
        if full { Err(JoinError::TooMany) } else { Ok(()) }
    }

    fn tell(&self, room: &Arc<str>, handle: &Handle, change: RoomChange) {
        if let Some(told) = &self.0.on_room {
            told(&RoomEvent { room: room.clone(), connection: handle.clone(), change });
        }
    }
}

/// Rooms and topics.
impl Handle {
    /// Joins a room, which comes to be by its first member. Whether it was not in it.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn join(&self, room: &str) -> Result<bool, JoinError> {
        self.registry().ok_or(JoinError::Gone)?.join(self, room)
    }

    /// Leaves a room, which is gone with its last member. Whether it was in it.
    pub fn leave(&self, room: &str) -> bool {
        self.registry().is_some_and(|registry| registry.leave(self, room))
    }

    /// The rooms that it is in, in no order.
    #[must_use]
    pub fn rooms(&self) -> Vec<Arc<str>> {
        lock(&self.0.groups).rooms.clone()
    }

    /// Subscribes to a topic, or to all that fit a pattern: topics have levels, divided by `/`; `+` stands for any one of
    /// them, and `#`, as the last, for any number. Whether it was not subscribed to it.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn subscribe(&self, pattern: &str) -> Result<bool, JoinError> {
        self.registry().ok_or(JoinError::Gone)?.subscribe(self, pattern)
    }

    /// Takes a subscription back, by the pattern that was given. Whether there was one.
    pub fn unsubscribe(&self, pattern: &str) -> bool {
        self.registry().is_some_and(|registry| registry.unsubscribe(self, pattern))
    }

    /// What it is subscribed to, in no order.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<Arc<str>> {
        lock(&self.0.groups).topics.clone()
    }

    /// The registry that it is in; `None` once the server is gone.
    #[must_use]
    pub fn registry(&self) -> Option<Registry> {
        self.0.home.upgrade()?.downcast().ok().map(Registry)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("connections", &self.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::TooMany => {
                f.write_str("the connection is in as many rooms and topics as it may: leave one")
            }
            Self::Gone => f.write_str("the connection ended, or is not open yet"),
        }
    }
}

impl core::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Name(error) => Some(error),
            Self::TooMany | Self::Gone => None,
        }
    }
}
