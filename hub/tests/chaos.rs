//! Three nodes, of which one is killed, and Redis or PostgreSQL with them, while messages are numbered: none that was
//! acknowledged is missing, and none comes twice. `TAUT_TEST_MESSAGES` says how many; a million takes a release build and minutes.

#![cfg(unix)]

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::Peer;
use support::postgres::PostgresServer;
use support::program::{Behind, Program, RedisServer};
use taut::proto::Message;
use tokio::time::{sleep, timeout};

const WRITERS: u64 = 16;
const READERS: usize = 3;

/// Where the nodes are.
#[derive(Clone)]
struct Nodes(Arc<Mutex<Vec<String>>>);

impl Nodes {
    /// A connection to some node, after the welcome.
    async fn connect(&self, place: &mut usize, user: &str) -> Peer {
        loop {
            *place += 1;
            let address = {
                let nodes = self.0.lock().unwrap();
                nodes[*place % nodes.len()].clone()
            };
            let query = format!("?user={user}");
            let connected = async {
                let mut peer = Peer::connect_to(&address, &query, &[]).await.ok()?;
                let welcome = recv(&mut peer).await?;
                (welcome["message_type"] == "system_message").then_some(peer)
            };
            if let Ok(Some(peer)) = timeout(PATIENCE, connected).await {
                return peer;
            }
            sleep(AGAIN).await;
        }
    }
}

/// The next message, as it comes; `None` at an end of any kind.
async fn recv(peer: &mut Peer) -> Option<Value> {
    loop {
        match peer.0.recv().await {
            Ok(Some(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
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
            let answer = recv(peer).await?;
            if answer["id"] == message["id"] && answer["message_type"] != "text" {
                return Some(answer);
            }
        }
    });
    asked.await.ok()?
}

/// Says all of its messages, each until it is acknowledged: the numbers that they got.
async fn write(nodes: Nodes, writer: u64, messages: u64, done: Arc<AtomicU64>) -> Vec<(String, u64)> {
    let (mut place, user) = (writer as usize, format!("w{writer}"));
    let mut acknowledged = Vec::new();
    let mut peer = None;
    for number in 0..messages {
        let id = format!("{writer}-{number}");
        let text = json!({ "id": id, "message_type": "text", "room": "r", "data": number });
        loop {
            let mut connected = match peer.take() {
                Some(connected) => connected,
                None => {
                    let mut connected = nodes.connect(&mut place, &user).await;
                    let join = json!({ "id": "j", "message_type": "join", "room": "r" });
                    match ask(&mut connected, &join).await {
                        Some(answer) if answer["message_type"] == "join" => connected,
                        _ => continue,
                    }
                }
            };
            let Some(answer) = ask(&mut connected, &text).await else { continue };
            peer = Some(connected);
            if answer["message_type"] == "ack" {
                acknowledged.push((id, answer["seq"].as_u64().unwrap()));
                done.fetch_add(1, Ordering::Relaxed);
                break;
            }
            assert_eq!(answer["data"]["code"], "not_stored");
            sleep(AGAIN).await;
        }
    }
    acknowledged
}

/// Reads to this number, and recovers after every end: ids in the order in which they came, the number before each.
async fn read(nodes: Nodes, reader: usize, last: u64, from: Value) -> Vec<(u64, String)> {
    let (mut place, mut position, mut seen) = (reader, from, Vec::new());
    let user = format!("r{reader}");
    let heard =
        |message: &Value| (message["seq"].as_u64().unwrap(), message["id"].as_str().unwrap().to_owned());
    'connections: loop {
        let mut peer = nodes.connect(&mut place, &user).await;
        loop {
            let data = json!({ "after": position });
            let join = json!({ "id": "j", "message_type": "join", "room": "r", "data": data });
            let Some(page) = ask(&mut peer, &join).await else { continue 'connections };
            if page["message_type"] == "error" {
                sleep(AGAIN).await;
                continue;
            }
            assert_eq!(page["data"]["recovered"], true);
            seen.extend(page["data"]["messages"].as_array().unwrap().iter().map(heard));
            position["seq"] = page["seq"].clone();
            if page["data"]["more"] == false {
                break;
            }
        }
        loop {
            if seen.last().is_some_and(|(seq, _)| *seq >= last) {
                return seen;
            }
            let Some(message) = recv(&mut peer).await else { break };
            if message["message_type"] == "text" {
                position["seq"] = message["seq"].clone();
                seen.push(heard(&message));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_and_nothing_comes_twice() {
    run::<RedisServer>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_and_nothing_comes_twice_by_postgresql() {
    run::<PostgresServer>().await;
}

async fn run<B: Behind>() {
    let messages: u64 = std::env::var("TAUT_TEST_MESSAGES").map_or(3200, |number| number.parse().unwrap());
    let each = messages / WRITERS;
    let last = each * WRITERS;
    let mut behind = B::start().await;
    let mut settings = vec![
        "auth.development=true".to_owned(),
        format!("history.messages={}", last.min(100_000)),
        "server.max_connections_from_one=1000".to_owned(),
    ];
    settings.extend(behind.settings().iter().map(|(name, value)| format!("{name}={value}")));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut programs = Vec::new();
    for _ in 0..3 {
        programs.push(Program::start(&settings).await);
    }
    let addresses = programs.iter().map(|program| program.address.clone()).collect();
    let nodes = Nodes(Arc::new(Mutex::new(addresses)));
    let done = Arc::new(AtomicU64::new(0));

    let mut first = nodes.connect(&mut 0, "first").await;
    let page = ask(&mut first, &json!({ "id": "j", "message_type": "join", "room": "r" })).await.unwrap();
    let from = json!({ "epoch": page["data"]["epoch"], "seq": 0 });
    drop(first);
    let began = Instant::now();
    let readers: Vec<_> =
        (0..READERS).map(|reader| tokio::spawn(read(nodes.clone(), reader, last, from.clone()))).collect();
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(nodes.clone(), writer, each, done.clone()))).collect();

    until(&done, last / 4).await;
    drop(programs.remove(1));
    until(&done, last / 2).await;
    behind.kill();
    sleep(AGAIN).await;
    behind.again().await;
    let new = Program::start(&settings).await;
    nodes.0.lock().unwrap()[1].clone_from(&new.address);
    programs.push(new);

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
    eprintln!("{last} messages, {WRITERS} writers, {READERS} readers: {:?}", began.elapsed());
}

async fn until(done: &AtomicU64, number: u64) {
    while done.load(Ordering::Relaxed) < number {
        sleep(Duration::from_millis(5)).await;
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(50);
