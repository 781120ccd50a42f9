//! Servers in memory, which a client reaches one after the other.

use std::sync::Arc;
use std::time::Duration;

use taut::client::{Builder, Update, Updates};
use taut::proto::Message;
use taut::testing::{Link, MemoryListener, MemoryNetwork, MemoryStream, Reach};
use taut::tokio::{Client, WebSocket, accept};
use tokio::time::{Instant, timeout};

use super::futures::ends;

/// The servers' side of the network.
pub(crate) struct World {
    network: MemoryNetwork,
    listener: MemoryListener,
}

pub(crate) type Server = WebSocket<MemoryStream>;

impl World {
    pub(crate) fn new() -> Self {
        let network = MemoryNetwork::new(Link::new().room(4096));
        Self { listener: network.listen(HOST, 80), network }
    }

    pub(crate) fn builder(&self) -> Builder {
        Builder::new(format!("ws://{HOST}/")).network(self.client())
    }

    pub(crate) fn client(&self) -> Client {
        self.network.client()
    }

    /// Lets no client in, or lets them in again.
    pub(crate) fn shut(&self, shut: bool) {
        self.network.set_reach(HOST, if shut { Reach::Refused } else { Reach::Open });
    }

    /// When the client tried to connect.
    pub(crate) fn dialled(&self) -> Vec<Instant> {
        self.network.attempts().iter().map(|attempt| attempt.at).collect()
    }

    /// The stream of the next connection.
    pub(crate) async fn stream(&mut self) -> MemoryStream {
        ends(self.listener.accept()).await.0
    }

    /// The server's end of the next connection.
    pub(crate) async fn server(&mut self) -> Server {
        accept(self.stream().await).await.unwrap()
    }

    /// Whether a connection comes in that time.
    pub(crate) async fn anybody_within(&mut self, time: Duration) -> bool {
        timeout(time, self.listener.accept()).await.is_ok()
    }
}

/// The next message as text; or what a pong has in it.
pub(crate) async fn text(server: &mut Server) -> String {
    match ends(server.recv()).await.unwrap() {
        Some(Message::Text(text)) => text.to_string(),
        Some(Message::Pong(payload)) => String::from_utf8(payload.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn texts<const N: usize>(server: &mut Server) -> [String; N] {
    let mut all = [const { String::new() }; N];
    for one in &mut all {
        *one = text(server).await;
    }
    all
}

/// Updates until the next of a kind.
pub(crate) async fn until<T>(updates: &mut Updates, wanted: impl Fn(Update) -> Option<T>) -> T {
    loop {
        let update = ends(updates.recv()).await.expect("the client goes on");
        if let Some(found) = wanted(update) {
            return found;
        }
    }
}

pub(crate) fn lost(update: Update) -> Option<(Arc<taut::client::Loss>, Duration, Arc<[Message]>)> {
    match update {
        Update::Lost { loss, retry_in, unwritten, .. } => Some((loss, retry_in, unwritten)),
        _ => None,
    }
}

pub(crate) fn open(update: Update) -> Option<()> {
    matches!(update, Update::Open { .. }).then_some(())
}

const HOST: &str = "server.test";
