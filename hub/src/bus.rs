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
