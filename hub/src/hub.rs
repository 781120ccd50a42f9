//! The hub itself: takes messages into the store, and gives what comes out of it to who is there.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use taut::proto::CloseCode;
use taut::server::{By, Handle, Outcome, Registry, RoomChange, RoomEvent, Tally};
use tokio::sync::{mpsc, watch};

use crate::auth::{Identity, TokenError, Verifier};
use crate::bus::{Bus, Figures, News};
use crate::cluster::{self, Cluster};
use crate::envelope::{Envelope, TO_ALL, inbox, new_id, timestamp};
use crate::metrics::{Metrics, resident_memory};
use crate::presence::{Change, Place, Presence};
use crate::quota::Quotas;
pub use crate::quota::Rate;
use crate::store::watched::Watched;
use crate::store::{Appended, Fed, Store, StoreError};

/// A hub: what all connections of a node share.
pub struct Hub {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) bus: Arc<dyn Bus>,
    /// `None` in development: everybody is who they say.
    pub(crate) verifier: Option<Verifier>,
    pub(crate) rules: ClientRules,
    pub(crate) metrics: Metrics,
    pub(crate) presence: Presence,
    /// Who has a connection to any node, as in a room of all.
    pub(crate) online: Presence,
    pub(crate) since: Instant,
    /// By what this node is known.
    pub(crate) name: String,
    pub(crate) quotas: Quotas,
    /// `None` if there is no other node.
    pub(crate) cluster: Option<Cluster>,
    registry: OnceLock<Registry>,
    /// Whether what is stored reaches those who are here.
    delivering: watch::Sender<bool>,
}

/// What clients may do.
#[derive(Clone, Debug)]
pub struct ClientRules {
    /// The cookie that may hold a token.
    pub cookie: String,
    /// How long a client without a token in its request may take to send one.
    pub auth_timeout: std::time::Duration,
    /// How long before its token expires a client is told.
    pub expiry_warning: std::time::Duration,
    /// How many connections a user may have.
    pub connections_of_one: usize,
    /// In rooms with more users, coming and going is not announced: each would cost a message for each.
    pub announced_users: usize,
    /// How often a user may ask for what is there: come, join, read a history, ask who is present, refresh. Who asks more
    /// often waits.
    pub read_rate: Rate,
}

/// For whom a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Who is in a room.
    Room(String),
    /// All connections of a user.
    User(String),
    /// All.
    All,
}

/// Who a connection is.
#[derive(Debug)]
pub(crate) struct User(pub(crate) Arc<str>);

impl Hub {
    /// A hub on these.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        verifier: Option<Verifier>,
        rules: ClientRules,
    ) -> Self {
        Self::of_nodes(store, bus, verifier, rules, None)
    }

    /// As [`new`](Self::new), one node of many.
    pub(crate) fn of_nodes(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        verifier: Option<Verifier>,
        rules: ClientRules,
        cluster: Option<Cluster>,
    ) -> Self {
        Self {
            name: cluster.as_ref().map_or_else(new_id, |cluster| cluster.name().to_owned()),
            cluster,
            store: Arc::new(Watched::new(store)),
            bus,
            verifier,
            quotas: Quotas::new(rules.read_rate),
            rules,
            metrics: Metrics::new(),
            presence: Presence::default(),
            online: Presence::default(),
            since: Instant::now(),
            registry: OnceLock::new(),
            delivering: watch::Sender::new(true),
        }
    }

    /// Stores a message for its receivers; without a sender it is the hub's own. It reaches those who are there by the store's feed. A message that this sender
    /// sent before by the same id is not sent again.
    ///
    /// # Errors
    /// It was not stored, or that is not known: it may be sent again.
    pub async fn publish(
        &self,
        sender: Option<&str>,
        target: Target,
        message: Envelope,
    ) -> Result<Appended, StoreError> {
        let (stream, room, to_user_id) = match target {
            Target::Room(room) => (room.clone(), Some(room), None),
            Target::User(user) => (inbox(&user), None, Some(user)),
            Target::All => (TO_ALL.to_owned(), None, None),
        };
        let message = Envelope {
            id: Some(message.id.unwrap_or_else(new_id)),
            message_type: message.message_type,
            data: message.data,
            timestamp: Some(timestamp()),
            from_user_id: sender.map(str::to_owned),
            to_user_id,
            room,
            seq: None,
        };
        let began = Instant::now();
        let appended = self.store.append(stream, message).await.inspect_err(|_| {
            self.metrics.failures.inc();
        })?;
        self.metrics.store(began.elapsed(), appended.duplicate);
        Ok(appended)
    }

    /// Gives what comes out of the store and over the bus to who is there, until the store has ended.
    pub(crate) async fn deliver(&self, mut fed: mpsc::Receiver<Fed>, mut news: mpsc::Receiver<News>) {
        // However it ends.
        let _ended = Ended(&self.delivering);
        loop {
            tokio::select! {
                fed = fed.recv() => match fed {
                    Some(Fed::Message(stream, message)) => {
                        self.send(&stream, &message);
                        self.metrics.deliver(message.timestamp.as_deref());
                    }
                    Some(Fed::Opened(page, then)) => then(page),
                    Some(Fed::Gap) => self.recover_all(),
                    None => return,
                },
                Some(news) = news.recv() => self.hear(news),
            }
        }
    }

    /// Whether a user is barred, or the token was taken back.
    pub(crate) async fn is_barred(&self, identity: &Identity) -> Result<bool, StoreError> {
        let barred = self.store.is_barred(identity.user.clone(), identity.token.clone());
        // Without tokens there is nothing else to take back.
        if self.verifier.is_none() {
            return barred.await;
        }
        let (barred, from) = tokio::try_join!(barred, self.store.valid_from(identity.user.clone()))?;
        Ok(barred || !identity.is_from(from))
    }

    /// Whether what is stored reaches those who are here. Once it does not, it never will again: the program has to
    /// start anew.
    #[must_use]
    pub fn is_delivering(&self) -> bool {
        *self.delivering.borrow()
    }

    /// Done when nothing is delivered any more. Cancel safe.
    pub(crate) async fn delivered(&self) {
        // The sender is here.
        let _ = self.delivering.subscribe().wait_for(|is_delivering| !is_delivering).await;
    }

    /// Sends to all of a stream who are on this node.
    pub(crate) fn send(&self, stream: &str, message: &Envelope) {
        let Some(registry) = self.registry.get() else { return };
        let tally: Tally = registry.broadcast(message.to_json()).to_room(stream);
        self.metrics.delivered.inc_by(tally.queued as u64);
        self.metrics.lost.inc_by((tally.displaced + tally.dropped + tally.disconnected) as u64);
    }

    /// Something was missed: clients come back, and are given it or told that it is gone.
    fn recover_all(&self) {
        // Those as well who are on their way in: their inbox may have a hole already.
        for connection in self.registry.get().map(Registry::list).unwrap_or_default().iter() {
            close(connection, CloseCode::RESTART.get(), "messages were missed here: come back, and recover");
        }
        if let Some(cluster) = &self.cluster {
            cluster.missed();
        }
    }

    fn hear(&self, news: News) {
        match news {
            News::Alive { node, asks, figures } => {
                if let Some(cluster) = &self.cluster {
                    cluster.alive(&node, asks, figures);
                }
            }
            News::Moved { node, anew, came, left } => {
                if let Some(cluster) = &self.cluster {
                    cluster::moved(self, cluster, &node, anew, came, left);
                }
            }
            News::Disconnect { user, code, reason } => {
                for connection in self.connections(&user).iter() {
                    close(connection, code, &reason);
                }
            }
            News::RevokedBefore { user, time } => {
                for connection in self.connections(&user).iter() {
                    if connection.get::<Identity>().is_some_and(|identity| !identity.is_from(time)) {
                        close(connection, close_code::BARRED, &TokenError::Barred.to_string());
                    }
                }
            }
            News::Revoked(token) => {
                let Some(registry) = self.registry.get() else { return };
                let is_of = |connection: &Handle| {
                    let identity = connection.get::<Identity>();
                    identity.is_some_and(|identity| identity.token.as_ref() == Some(&token))
                };
                for connection in registry.filter(is_of) {
                    close(&connection, close_code::BARRED, &TokenError::Barred.to_string());
                }
            }
        }
    }

    /// The connections of a user on this node.
    pub(crate) fn connections(&self, user: &str) -> Arc<Vec<Handle>> {
        self.registry.get().map(|registry| registry.members(&inbox(user))).unwrap_or_default()
    }

    /// How many nodes the hub has.
    pub(crate) fn nodes(&self) -> usize {
        self.cluster.as_ref().map_or(1, Cluster::len)
    }

    /// All authenticated connections of this node.
    pub(crate) fn everybody(&self) -> Arc<Vec<Handle>> {
        self.registry.get().map(|registry| registry.members(TO_ALL)).unwrap_or_default()
    }

    pub(crate) fn attach(&self, registry: &Registry) {
        let _ = self.registry.set(registry.clone());
    }

    /// Who came to a room, or left it.
    pub(crate) fn on_room(&self, event: &RoomEvent) {
        // The streams of users are nobody's rooms; in that of all is who is online.
        if event.room.starts_with('@') {
            return;
        }
        let Some(user) = event.connection.get::<User>() else { return };
        let by = if matches!(event.change, RoomChange::Joined { .. }) { 1 } else { -1 };
        let told = |is_here| {
            if let Some(cluster) = &self.cluster {
                cluster.moved((event.room.clone(), user.0.clone()), is_here);
            }
        };
        let (change, number) = self.presence_in(&event.room).change(&event.room, &user.0, by, told);
        self.announce(&event.room, &user.0, change, number);
    }

    /// Another node says that a user is there, or is not.
    pub(crate) fn hear_of(&self, node: &Arc<str>, (room, user): &Place, is_there: bool) {
        let (change, number) = self.presence_in(room).elsewhere(node, room, user, is_there);
        self.announce(room, user, change, number);
    }

    /// Who is at another node: in rooms, and online at all.
    pub(crate) fn at_node(&self, node: &str) -> Vec<Place> {
        [self.presence.at_node(node), self.online.at_node(node)].concat()
    }

    /// Who is here, for the other nodes.
    pub(crate) fn here(&self) -> Vec<Place> {
        [self.presence.here(), self.online.here()].concat()
    }

    /// The first users of a stream by name, and how many there are. Who is online is nobody's to list.
    pub(crate) fn users_of(&self, stream: &str, most: usize) -> (Vec<Arc<str>>, usize) {
        self.presence_in(stream).users(stream, if stream == TO_ALL { 0 } else { most })
    }

    fn presence_in(&self, room: &str) -> &Presence {
        if room == TO_ALL { &self.online } else { &self.presence }
    }

    /// Tells those of a room who are here what happened to it.
    fn announce(&self, room: &str, user: &str, change: Change, number: usize) {
        let message_type = match change {
            _ if room == TO_ALL => return,
            _ if number > self.rules.announced_users => return,
            Change::Came => "user_joined",
            Change::Went => "user_left",
            Change::Nothing => return,
        };
        self.send(room, &Envelope::new(message_type).room(room).from_user(user));
    }

    pub(crate) fn on_end(&self, handle: &Handle, outcome: &Outcome) {
        let reason = reason(outcome.by);
        self.metrics.end(reason);
        let code = outcome.status.as_ref().map(|status| status.code);
        tracing::debug!(connection = handle.id().get(), reason, code, "ended");
    }

    /// What this node has.
    pub(crate) fn figures(&self) -> Figures {
        self.measure();
        let metrics = &self.metrics;
        let gauge = |number: i64| u64::try_from(number).unwrap_or(0);
        Figures {
            uptime_seconds: self.since.elapsed().as_secs(),
            connections: gauge(metrics.connections.get()),
            users: gauge(metrics.users.get()),
            rooms: self.presence.rooms_here() as u64,
            memory_bytes: gauge(metrics.memory.get()),
            received: metrics.received.get(),
            stored: metrics.stored.get(),
            delivered: metrics.delivered.get(),
            lost: metrics.lost.get(),
        }
    }

    /// Brings the gauges up to date.
    pub(crate) fn measure(&self) {
        let everybody = self.everybody();
        let users: std::collections::HashSet<_> =
            everybody.iter().filter_map(|handle| handle.get::<User>().map(|user| user.0.clone())).collect();
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.connections.set(gauge(everybody.len()));
        self.metrics.users.set(gauge(users.len()));
        self.metrics.rooms.set(gauge(self.presence.len()));
        self.metrics.nodes.set(gauge(self.nodes()));
        self.metrics.memory.set(resident_memory().map_or(0, |bytes| bytes.cast_signed()));
    }
}

/// Tells that nothing is delivered any more.
struct Ended<'a>(&'a watch::Sender<bool>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

/// Closes with a code of the hub's own.
pub(crate) fn close(connection: &Handle, code: u16, reason: &str) {
    let code = CloseCode::new(code).unwrap_or(CloseCode::POLICY);
    if connection.close(code, reason).is_err() {
        let _ = connection.close(code, "");
    }
}

/// The close codes of the hub's own.
pub mod close_code {
    /// The token is missing or wrong.
    pub const TOKEN: u16 = 4401;
    /// The token expired: come back with a new one.
    pub const EXPIRED: u16 = 4402;
    /// The user is barred, or the token was taken back: do not come back with it.
    pub const BARRED: u16 = 4403;
    /// An operator ended the connection.
    pub const DISCONNECTED: u16 = 4410;
    /// The user has as many connections as one may have.
    pub const TOO_MANY: u16 = 4429;
}

fn reason(by: By) -> &'static str {
    match by {
        By::Peer => "peer",
        By::Application => "application",
        By::Handler => "handler",
        By::Transport => "transport",
        By::SlowConsumer => "slow_consumer",
        By::Stalled => "stalled",
        By::Idle => "idle",
        By::Heartbeat => "heartbeat",
        By::Rate => "rate",
        By::Authentication => "authentication",
        By::Shutdown => "shutdown",
        By::Aborted => "aborted",
        _ => "other",
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("store", &self.store).field("rules", &self.rules).finish_non_exhaustive()
    }
}
