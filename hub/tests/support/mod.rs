//! A hub in the test's own process, clients over real sockets, and keys made anew.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod authority;
pub(crate) mod data;
#[cfg(unix)]
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod proxy;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use taut::proto::Message;
use taut::tokio::{Client, NetworkStream, WebSocket};
use taut_hub::config::Config;
use taut_hub::serve::{Running, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) const SECRET: &str = "a secret of thirty-two bytes, at least";
pub(crate) const API_TOKEN: &str = "an API token for tests";

/// A hub on free ports.
pub(crate) async fn hub(settings: &[(&str, &str)]) -> Running {
    try_hub(settings).await.expect("the hub starts")
}

pub(crate) async fn try_hub(
    settings: &[(&str, &str)],
) -> Result<Running, Box<dyn std::error::Error + Send + Sync>> {
    let all = [("server.address", "127.0.0.1:0"), ("api.address", "127.0.0.1:0"), ("api.token", API_TOKEN)];
    let all = all.iter().chain(settings).map(|&(name, value)| (name.to_owned(), value.to_owned()));
    start(Config::load(None, [], all)?).await
}

/// One whose tokens are of `SECRET`.
pub(crate) async fn hub_with_secret(settings: &[(&str, &str)]) -> Running {
    let file = Scratch::new(SECRET.as_bytes());
    let own = [("auth.algorithms", "HS256"), ("auth.key_file", file.path()), ("auth.leeway", "0s")];
    hub(&[&own[..], settings].concat()).await
}

/// A token of `SECRET`.
pub(crate) fn token(claims: Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(jsonwebtoken::Algorithm::HS256), &claims, &key).unwrap()
}

/// Good for an hour.
pub(crate) fn claims(user: &str) -> Value {
    json!({ "sub": user, "exp": now() + 3600 })
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A file that is gone with this.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(content: &[u8]) -> Self {
        let this = Self(fresh());
        this.write(content);
        this
    }

    /// An empty folder, which whoever asks for it removes.
    pub(crate) fn folder() -> PathBuf {
        let path = fresh();
        std::fs::create_dir(&path).unwrap();
        path
    }

    pub(crate) fn write(&self, content: &[u8]) {
        std::fs::write(&self.0, content).unwrap();
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

/// A path that nothing has yet.
fn fresh() -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("taut-hub-test-{}-{number}", std::process::id()))
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.path()));
        }
    }
}

/// A client, each of whose messages is held against the schema.
pub(crate) struct Peer(pub(crate) WebSocket<NetworkStream>);

impl Peer {
    /// Whoever it says, in development, after the welcome.
    pub(crate) async fn guest(hub: &Running, user: &str) -> Self {
        let mut peer = Self::connect(hub, &format!("?user={user}"), &[]).await.unwrap();
        assert_eq!(peer.next("system_message").await["data"]["user_id"], user);
        peer
    }

    /// With this in the query, and these fields.
    pub(crate) async fn connect(
        hub: &Running,
        query: &str,
        fields: &[(&str, &str)],
    ) -> Result<Self, taut::Error> {
        Self::connect_to(&hub.address().unwrap().to_string(), query, fields).await
    }

    /// To a hub that listens there.
    pub(crate) async fn connect_to(
        address: &str,
        query: &str,
        fields: &[(&str, &str)],
    ) -> Result<Self, taut::Error> {
        let client =
            fields.iter().fold(Client::new(), |client, (name, value)| client.field(name, value).unwrap());
        client.connect(&format!("ws://{address}/ws{query}")).await.map(Self)
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message; `None` at the end.
    pub(crate) async fn recv(&mut self) -> Option<Value> {
        loop {
            let message = timeout(PATIENCE, self.0.recv()).await.expect("a message comes");
            let message = message.unwrap()?;
            let Message::Text(text) = message else { continue };
            let value: Value = serde_json::from_str(&text).unwrap();
            check(&value);
            return Some(value);
        }
    }

    /// The next message of this type; others are passed over.
    pub(crate) async fn next(&mut self, message_type: &str) -> Value {
        loop {
            let message = self.recv().await.unwrap_or_else(|| panic!("the end instead of {message_type}"));
            if message["message_type"] == message_type {
                return message;
            }
        }
    }

    /// Asks, and gives the answer, by its id.
    pub(crate) async fn ask(&mut self, message: Value) -> Value {
        let id = message["id"].clone();
        self.send(message).await;
        loop {
            let answer = self.recv().await.expect("an answer");
            let is_answer = !["text", "notification"].contains(&answer["message_type"].as_str().unwrap());
            if answer["id"] == id && is_answer {
                return answer;
            }
        }
    }

    /// Joins the room `r`, which had 30 messages and keeps 10, from where it can be given what it missed, and from where
    /// it cannot.
    pub(crate) async fn recovers_the_last_ten_of_thirty(&mut self, epoch: Value) {
        for (epoch, seq, recovered) in [
            (epoch.clone(), 19, false),
            (epoch.clone(), 20, true),
            (epoch.clone(), 30, true),
            (epoch, 31, false),
            (json!("another"), 25, false),
        ] {
            let data = json!({ "after": { "epoch": epoch, "seq": seq } });
            let join = json!({ "id": "j", "message_type": "join", "room": "r", "data": data });
            let page = self.ask(join).await;
            assert_eq!(page["data"]["recovered"], recovered, "{seq}");
            let expected = if recovered { 30 - seq } else { 0 };
            assert_eq!(page["data"]["messages"].as_array().unwrap().len(), expected, "{seq}");
        }
    }

    /// With what code the hub closed.
    pub(crate) async fn end(&mut self) -> u16 {
        while self.recv().await.is_some() {}
        self.0.close_status().expect("a Close came").code
    }
}

/// Holds a message against the schema.
pub(crate) fn check(message: &Value) {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let schema = serde_json::from_str(include_str!("../../schema/envelope.json")).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    });
    if let Err(error) = schema.validate(message) {
        panic!("{message} is no envelope: {error}");
    }
}

/// A request to the API: the status, the head, the body.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{token}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// A request with the token, whose answer is JSON.
pub(crate) async fn api(hub: &Running, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let address = hub.api_address().unwrap();
    let (status, _, body) = request(address, method, path, Some(API_TOKEN), &body).await;
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body:?} is no JSON")))
}

/// After which a test fails instead of waiting.
const PATIENCE: Duration = Duration::from_secs(20);
