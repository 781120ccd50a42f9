//! Three nodes behind nginx, of which one is killed, and Redis or PostgreSQL with them, while messages are numbered: none
//! that was acknowledged is missing, and none comes twice. `TAUT_TEST_MESSAGES` says how many; a million takes a release
//! build and minutes.

#![cfg(unix)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::postgres::PostgresServer;
use support::program::{Behind, Program, RedisServer};
use support::proxy::Proxy;
use support::{API_TOKEN, Peer, request};
use taut::proto::Message;
use tokio::sync::Barrier;
use tokio::time::{sleep, timeout};

const WRITERS: u64 = 16;
const READERS: usize = 3;

/// What all clients share.
#[derive(Debug)]
struct Run {
    /// Where nginx listens.
    address: String,
    /// Passed once all writers and readers are in the room.
    begins: Barrier,
    /// Messages that were acknowledged.
    done: AtomicU64,
    /// Connections that were welcomed.
    connected: AtomicU64,
    /// Times at which the connection ended before the client did.
    ended: AtomicU64,
    /// Messages that were said again, as no answer came or it was not stored.
    again: AtomicU64,
    /// Messages that readers were given by recovery.
    recovered: AtomicU64,
}

impl Run {
    fn new(address: String) -> Self {
        let begins = Barrier::new(WRITERS as usize + READERS + 1);
        let [done, connected, ended, again, recovered] = [const { AtomicU64::new(0) }; 5];
        Self { address, begins, done, connected, ended, again, recovered }
    }

    /// A connection to some node, after the welcome.
    async fn connect(&self, user: &str) -> Peer {
        loop {
            let query = format!("?user={user}");
            let connected = async {
                let mut peer = Peer::connect_to(&self.address, &query, &[]).await.ok()?;
                let welcome = recv(&mut peer).await?;
                (welcome["message_type"] == "system_message").then_some(peer)
            };
            if let Ok(Some(peer)) = timeout(PATIENCE, connected).await {
                count(&self.connected, 1);
                return peer;
            }
            sleep(AGAIN).await;
        }
    }
}

/// The next message, as it comes; `None` at an end of any kind.
async fn recv(peer: &mut Peer) -> Option<Value> {
    recv_text(peer).await.map(|text| serde_json::from_str(&text).unwrap())
}

async fn recv_text(peer: &mut Peer) -> Option<String> {
    loop {
        match peer.0.recv().await {
            Ok(Some(Message::Text(text))) => return Some(text.to_string()),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

async fn send(peer: &mut Peer, message: Value) -> Option<()> {
    peer.0.send(Message::text(message.to_string())).await.ok()
}

/// Asks until there is an answer to this id, which passes over all else. `None` at the end of the connection.
async fn ask(peer: &mut Peer, message: &Value) -> Option<Value> {
    send(peer, message.clone()).await?;
    let asked = timeout(PATIENCE, async {
        loop {
            let text = recv_text(peer).await?;
            // Most of a run is what others say.
            if text.contains(r#""message_type":"text""#) && !text.contains(r#""messages":["#) {
                continue;
            }
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == message["id"] {
                return Some(answer);
            }
        }
    });
    asked.await.ok()?
}

/// Says all of its messages, each until it is acknowledged: the numbers that they got.
async fn write(run: Arc<Run>, writer: u64, messages: u64) -> Vec<(String, u64)> {
    let user = format!("w{writer}");
    let mut acknowledged = Vec::new();
    let mut peer = Some(enter(&run, &user).await);
    run.begins.wait().await;
    for number in 0..messages {
        let id = format!("{writer}-{number}");
        let text = json!({ "id": id, "message_type": "text", "room": "r", "data": number });
        loop {
            let mut connected = match peer.take() {
                Some(connected) => connected,
                None => enter(&run, &user).await,
            };
            let Some(answer) = ask(&mut connected, &text).await else {
                count(&run.ended, 1);
                count(&run.again, 1);
                continue;
            };
            peer = Some(connected);
            if answer["message_type"] == "ack" {
                acknowledged.push((id, answer["seq"].as_u64().unwrap()));
                count(&run.done, 1);
                break;
            }
            assert_eq!(answer["data"]["code"], "not_stored");
            count(&run.again, 1);
            sleep(AGAIN).await;
        }
    }
    acknowledged
}

/// A connection that is in the room.
async fn enter(run: &Run, user: &str) -> Peer {
    loop {
        let mut connected = run.connect(user).await;
        let join = json!({ "id": "j", "message_type": "join", "room": "r" });
        match ask(&mut connected, &join).await {
            Some(answer) if answer["message_type"] == "join" => return connected,
            _ => sleep(AGAIN).await,
        }
    }
}

/// Reads to this number, and recovers after every end, and after each that it brings about itself: ids in the order in
/// which they came, the number before each.
async fn read(run: Arc<Run>, reader: usize, last: u64, from: Value) -> Vec<(u64, String)> {
    let (mut position, mut seen) = (from, Vec::new());
    let user = format!("r{reader}");
    // Until everybody is here, nothing is said.
    let waiting = enter(&run, &user).await;
    run.begins.wait().await;
    drop(waiting);
    let heard =
        |message: &Value| (message["seq"].as_u64().unwrap(), message["id"].as_str().unwrap().to_owned());
    'connections: loop {
        let mut peer = run.connect(&user).await;
        loop {
            let data = json!({ "after": position });
            let join = json!({ "id": "j", "message_type": "join", "room": "r", "data": data });
            let Some(page) = ask(&mut peer, &join).await else { continue 'connections };
            if page["message_type"] == "error" {
                sleep(AGAIN).await;
                continue;
            }
            assert_eq!(page["data"]["recovered"], true);
            let messages = page["data"]["messages"].as_array().unwrap();
            count(&run.recovered, messages.len() as u64);
            seen.extend(messages.iter().map(heard));
            position["seq"] = page["seq"].clone();
            if page["data"]["more"] == false {
                break;
            }
        }
        let leaves = seen.len() as u64 + last / STAYS;
        loop {
            if seen.last().is_some_and(|(seq, _)| *seq >= last) {
                return seen;
            }
            if seen.len() as u64 >= leaves {
                // Without a Close, as when a network is gone.
                continue 'connections;
            }
            let Some(message) = recv(&mut peer).await else { break };
            if message["message_type"] == "text" {
                position["seq"] = message["seq"].clone();
                seen.push(heard(&message));
            }
        }
        count(&run.ended, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nginx, redis-server and PostgreSQL: .ci/run tests"]
async fn nothing_acknowledged_is_missing_and_nothing_comes_twice() {
    run::<RedisServer>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nginx, redis-server and PostgreSQL: .ci/run tests"]
async fn nothing_acknowledged_is_missing_and_nothing_comes_twice_by_postgresql() {
    run::<PostgresServer>().await;
}

async fn run<B: Behind>() {
    let messages: u64 = std::env::var("TAUT_TEST_MESSAGES").map_or(3200, |number| number.parse().unwrap());
    let each = messages / WRITERS;
    let last = each * WRITERS;
    let mut behind = B::start().await;
    let settings = behind.program_settings(&[
        "auth.development=true",
        &format!("history.messages={}", last.min(100_000)),
        "server.max_connections_from_one=1000",
        "server.trusted_proxies=127.0.0.1",
    ]);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Program::start(&settings).await);
    }
    let proxy = Proxy::nginx(&nodes).await;
    let run = Arc::new(Run::new(proxy.address.to_string()));

    let mut first = run.connect("first").await;
    let page = ask(&mut first, &json!({ "id": "j", "message_type": "join", "room": "r" })).await.unwrap();
    let from = json!({ "epoch": page["data"]["epoch"], "seq": 0 });
    drop(first);
    let began = Instant::now();
    let readers: Vec<_> =
        (0..READERS).map(|reader| tokio::spawn(read(run.clone(), reader, last, from.clone()))).collect();
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(run.clone(), writer, each))).collect();

    run.begins.wait().await;
    let spread = connections(&nodes).await;
    assert!(spread.iter().all(|connections| *connections > 1), "{spread:?}");
    until(&run.done, last / 4).await;
    let killed = nodes.remove(1);
    let (address, api) = (killed.address.clone(), killed.api.to_string());
    drop(killed);
    until(&run.done, last / 2).await;
    behind.kill();
    sleep(AGAIN).await;
    behind.again().await;
    // nginx knows the node by its address.
    nodes.insert(1, Program::start_at(&address, &api, &settings).await);

    let mut numbers = HashMap::new();
    for writer in writers {
        for (id, seq) in writer.await.unwrap() {
            assert!(numbers.insert(seq, id).is_none(), "{seq} was given twice");
        }
    }
    for reader in readers {
        let seen = reader.await.unwrap();
        assert_eq!(seen.len() as u64, last);
        for (expected, (seq, id)) in (1..).zip(&seen) {
            assert_eq!((expected, Some(id)), (*seq, numbers.get(seq)));
        }
    }
    assert!(run.ended.load(Ordering::Relaxed) > 0, "nobody was with the node that was killed");
    eprintln!(
        "{last} messages, {WRITERS} writers, {READERS} readers, {spread:?} at the nodes: {:?}, {run:?}",
        began.elapsed()
    );
}

/// How many connections each node has.
async fn connections(nodes: &[Program]) -> Vec<u64> {
    let mut numbers = Vec::new();
    for node in nodes {
        let (_, _, stats) = request(node.api, "GET", "/ws/stats", Some(API_TOKEN), "").await;
        let stats: Value = serde_json::from_str(&stats).unwrap();
        numbers.push(stats["connections"].as_u64().unwrap());
    }
    numbers
}

async fn until(done: &AtomicU64, number: u64) {
    while done.load(Ordering::Relaxed) < number {
        sleep(Duration::from_millis(5)).await;
    }
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(50);

/// Of how many parts of the run a connection of a reader lives for one.
const STAYS: u64 = 20;
