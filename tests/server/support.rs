//! Clients over streams in memory, and what they hear.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taut::Error;
use taut::proto::handshake::ClientRequest;
use taut::proto::{CloseStatus, Message};
use taut::server::{Builder, Config, Server};
use taut::testing::{MemoryStream, pair};
use taut::tokio::{Options, WebSocket, connect_over};

pub(crate) use super::futures::ends;

pub(crate) type Client = WebSocket<MemoryStream>;

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Settings without a heartbeat, which would keep the clock from standing still.
pub(crate) fn quiet() -> Config {
    Config::new().heartbeat_interval(None)
}

pub(crate) fn server(config: Config) -> Builder {
    Server::builder(config)
}

pub(crate) fn address(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 1000).into()
}

/// A stream that the server serves, with room for so many bytes each way.
pub(crate) fn stream(server: &Server, room: usize) -> MemoryStream {
    let (ours, theirs) = pair(room);
    server.serve(theirs, address(1)).expect("let in");
    ours
}

pub(crate) async fn connect(server: &Server) -> Client {
    try_connect(server, |request| request).await.expect("accepted")
}

/// Connects with a request that was changed.
pub(crate) async fn try_connect(
    server: &Server,
    change: impl FnOnce(ClientRequest) -> ClientRequest,
) -> Result<Client, Error> {
    connect_to(server, "ws://example.com/", 1 << 16, change).await
}

pub(crate) async fn connect_to(
    server: &Server,
    url: &str,
    room: usize,
    change: impl FnOnce(ClientRequest) -> ClientRequest,
) -> Result<Client, Error> {
    let request = change(ClientRequest::from_uri(&url.parse().unwrap()));
    ends(connect_over(stream(server, room), &request, Options::new())).await
}

/// The next text that a client hears.
pub(crate) async fn hear(client: &mut Client) -> String {
    loop {
        match ends(client.recv()).await.unwrap() {
            Some(Message::Text(text)) => return text.to_string(),
            Some(Message::Ping(_) | Message::Pong(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// All texts until the end, and how that came.
pub(crate) async fn hear_all(client: &mut Client) -> (Vec<String>, Option<CloseStatus>) {
    let mut texts = Vec::new();
    while let Ok(Some(message)) = ends(client.recv()).await {
        if let Message::Text(text) = message {
            texts.push(text.to_string());
        }
    }
    (texts, client.close_status())
}

/// The code with which the server closes; what comes before is dropped.
pub(crate) async fn close_code(client: &mut Client) -> u16 {
    hear_all(client).await.1.map_or(0, |status| status.code)
}

/// Lets all tasks run until none of them has anything left to do.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Nothing is left of a server.
pub(crate) async fn is_empty(server: &Server) {
    settle().await;
    assert_eq!(server.tasks(), 0, "tasks");
    assert_eq!(server.registry().len(), 0, "connections");
    assert_eq!(server.registry().rooms().len(), 0, "rooms");
    assert_eq!(server.registry().topics(), 0, "topics");
    assert_eq!(server.admission().connections(), 0, "admitted");
}

/// What was told, in order.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(crate) fn push(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
