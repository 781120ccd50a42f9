//! What all nodes of a hub are told: what is not kept, and concerns connections that are anywhere.

#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::store::Running;

/// What carries news to all nodes, this one included, in the order in which this one sends them.
pub trait Bus: Send + Sync + fmt::Debug + 'static {
    /// Sends news. Done when they are on their way.
    fn send(&self, news: News) -> Running<'_, Result<(), BusError>>;

    /// Whether there may be other nodes.
    fn is_shared(&self) -> bool {
        false
    }
}

/// News for all nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum News {
    /// All connections of a user are to end.
    Disconnect {
        /// The user.
        user: String,
        /// With this code.
        code: u16,
        /// Because of this.
        reason: String,
    },
    /// All connections by a token are to end.
    Revoked(String),
    /// All connections of a user are to end whose tokens were issued before a time.
    RevokedBefore {
        /// The user.
        user: String,
        /// The time, in seconds since 1970.
        time: u64,
    },
    /// A node lives.
    Alive {
        /// Which.
        node: String,
        /// It knows of nobody yet: all others are to say who is with them.
        asks: bool,
        /// What it has, if it says so.
        #[serde(default)]
        figures: Option<Figures>,
    },
    /// Who came to a node, or left it: rooms and users.
    Moved {
        /// The node.
        node: String,
        /// All of before is void.
        anew: bool,
        /// Who came.
        came: Vec<(String, String)>,
        /// Who left.
        left: Vec<(String, String)>,
    },
}

/// What a node has, and has done since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Figures {
    /// How long it runs, in seconds.
    pub uptime_seconds: u64,
    /// Connections that are authenticated.
    pub connections: u64,
    /// Users with a connection to it.
    pub users: u64,
    /// Rooms that a user of its own is in.
    pub rooms: u64,
    /// The memory of its process, in bytes; zero where the system does not tell.
    pub memory_bytes: u64,
    /// Messages that clients sent.
    pub received: u64,
    /// Messages that it had stored.
    pub stored: u64,
    /// Messages that were queued for receivers.
    pub delivered: u64,
    /// Messages that a receiver did not take.
    pub lost: u64,
}

/// What the log has of a bus that does not send.
pub(crate) const MUTE: &str = "the nodes are told nothing";

/// The way to the nodes is gone.
#[derive(Debug)]
pub struct BusError;

/// A bus of one node.
#[derive(Debug)]
pub struct Local(mpsc::Sender<News>);

impl Local {
    /// Hands all to this.
    #[must_use]
    pub const fn new(feed: mpsc::Sender<News>) -> Self {
        Self(feed)
    }
}

impl Bus for Local {
    fn send(&self, news: News) -> Running<'_, Result<(), BusError>> {
        Box::pin(async move { self.0.send(news).await.map_err(|_| BusError) })
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the nodes cannot be reached")
    }
}

impl std::error::Error for BusError {}
