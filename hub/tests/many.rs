//! Many authenticated connections in one room, each of which hears everything. `TAUT_TEST_CONNECTIONS` says how many; what
//! they cost is printed (`--release -- --nocapture`).

#![cfg(unix)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::program::Program;
use support::{API_TOKEN, Peer, SECRET, Scratch, claims, request, token};
use taut::proto::Message;

const MESSAGES: usize = 50;

async fn memory(program: &Program) -> u64 {
    let (_, _, stats) = request(program.api, "GET", "/ws/stats", Some(API_TOKEN), "").await;
    serde_json::from_str::<Value>(&stats).unwrap()["memory_bytes"].as_u64().unwrap()
}

async fn enter(address: String, user: String) -> Peer {
    let query = format!("?token={}", token(claims(&user)));
    let mut peer = Peer::connect_to(&address, &query, &[]).await.unwrap();
    let join = json!({ "id": "j", "message_type": "join", "room": "r" });
    peer.send(join).await;
    until(&mut peer, "join").await;
    peer
}

/// The next message of this type. They are not held against the schema: that would be what is measured.
async fn until(peer: &mut Peer, message_type: &str) -> Value {
    loop {
        let Some(Message::Text(text)) = peer.0.recv().await.unwrap() else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        assert_ne!(message["message_type"], "error", "{message}");
        if message["message_type"] == message_type {
            return message;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_hear_everything_in_order() {
    let connections: usize =
        std::env::var("TAUT_TEST_CONNECTIONS").map_or(300, |number| number.parse().unwrap());
    let key = Scratch::new(SECRET.as_bytes());
    let (key, most) = (
        format!("auth.key_file={}", key.path()),
        format!("server.max_connections_from_one={}", connections + 2),
    );
    let total = format!("server.max_connections={}", connections + 2);
    // Coming and going is not announced: it would be a message for each to each.
    let settings = ["auth.algorithms=HS256", &key, &most, &total, "clients.announced_users=1"];
    let program = Program::start(&settings).await;
    let before = memory(&program).await;
    let began = Instant::now();
    let mut speaker = enter(program.address.clone(), "speaker".to_owned()).await;
    let mut peers = Vec::new();
    for number in 1..connections {
        peers.push(enter(program.address.clone(), format!("u{number}")).await);
    }
    let connected = began.elapsed();
    let each = (memory(&program).await.saturating_sub(before)) / connections as u64;

    let began = Instant::now();
    let hearing: Vec<_> = peers
        .into_iter()
        .map(|mut peer| {
            tokio::spawn(async move {
                let mut late = Vec::new();
                for seq in 1..=MESSAGES {
                    let message = until(&mut peer, "text").await;
                    assert_eq!(message["seq"], seq);
                    let said = Duration::from_micros(message["data"].as_u64().unwrap());
                    late.push(began.elapsed().saturating_sub(said));
                }
                late
            })
        })
        .collect();
    for number in 0..MESSAGES {
        let said = u64::try_from(began.elapsed().as_micros()).unwrap();
        let text = json!({ "id": number.to_string(), "message_type": "text", "room": "r", "data": said });
        speaker.send(text).await;
        until(&mut speaker, "ack").await;
        tokio::time::sleep(Duration::from_millis(20).max(Duration::from_micros(30 * connections as u64)))
            .await;
    }
    let mut late = Vec::new();
    for heard in hearing {
        late.extend(heard.await.unwrap());
    }
    late.sort_unstable();
    assert_eq!(late.len(), (connections - 1) * MESSAGES);
    let at = |part: usize| late[late.len() * part / 100];
    eprintln!(
        "{connections} connections in {connected:?}, {each} bytes each; {MESSAGES} messages to all: half within {:?}, \
         99 of 100 within {:?}, the last after {:?}",
        at(50),
        at(99),
        late[late.len() - 1]
    );
}
