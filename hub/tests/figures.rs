//! What `/ws/stats` has of all nodes, by Redis and by PostgreSQL: each node's own figures, whichever is asked.

#![cfg(unix)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::postgres::PostgresServer;
use support::program::{Behind, Program, RedisServer};
use support::{API_TOKEN, Peer, request};
use tokio::time::sleep;

#[tokio::test]
#[ignore = "needs redis-server and PostgreSQL: .ci/run tests"]
async fn each_node_knows_the_figures_of_all_by_redis() {
    each_node_knows_the_figures_of_all::<RedisServer>().await;
}

#[tokio::test]
#[ignore = "needs redis-server and PostgreSQL: .ci/run tests"]
async fn each_node_knows_the_figures_of_all_by_postgresql() {
    each_node_knows_the_figures_of_all::<PostgresServer>().await;
}

async fn each_node_knows_the_figures_of_all<B: Behind>() {
    let behind = B::start().await;
    let settings = behind.program_settings(&["auth.development=true", "redis.node_timeout=3s"]);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Program::start(&settings).await);
    }

    // One more user, connection and message at each node than at the one before; two rooms of one node each, one of all.
    let mut peers = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        for user in 0..=number {
            let mut peer = node.connect(&format!("?user=u{number}{user}")).await;
            for room in [format!("of {}", number.min(1)), "of all".to_owned()] {
                ask(&mut peer, json!({ "message_type": "join", "room": room })).await;
            }
            ask(&mut peer, json!({ "message_type": "text", "room": "of all", "data": 1 })).await;
            peers.push(peer);
        }
    }
    let names = names(&nodes).await;
    let expected: Vec<Value> = (1..=3).map(|many| json!([many, many, 2, 3 * many, many, 0])).collect();
    for node in &nodes {
        until(node, |stats| {
            assert_eq!((stats["nodes"].as_u64(), &stats["rooms"]), (Some(3), &json!(3)));
            names.iter().map(|name| figures(stats, name)).collect::<Vec<_>>() == expected
        })
        .await;
    }

    // Who died is in nobody's figures.
    let (died, gone) = (nodes.remove(1), &names[1]);
    drop(died);
    for node in &nodes {
        until(node, |stats| stats["nodes"] == 2 && figures(stats, gone).is_null()).await;
    }
}

/// Connections, users, rooms, messages received, stored and lost.
fn figures(stats: &Value, name: &str) -> Value {
    let of_node = stats["by_node"].as_array().unwrap().iter().find(|node| node["node"] == name);
    let Some(node) = of_node else { return Value::Null };
    assert!(node["memory_bytes"].as_u64() > Some(0) && node["seconds_ago"].as_f64() < Some(3.5), "{node}");
    let messages = &node["messages"];
    assert!(messages["delivered"].is_u64());
    json!([
        node["connections"],
        node["users"],
        node["rooms"],
        messages["received"],
        messages["stored"],
        messages["lost"],
    ])
}

async fn names(nodes: &[Program]) -> Vec<String> {
    let mut names = Vec::new();
    for node in nodes {
        names.push(stats(node).await["node"].as_str().unwrap().to_owned());
    }
    names
}

async fn stats(node: &Program) -> Value {
    let (status, _, stats) = request(node.api, "GET", "/ws/stats", Some(API_TOKEN), "").await;
    assert_eq!(status, 200);
    serde_json::from_str(&stats).unwrap()
}

async fn until(node: &Program, is_so: impl Fn(&Value) -> bool) {
    for _ in 0..400 {
        if is_so(&stats(node).await) {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {:#}", stats(node).await);
}

async fn ask(peer: &mut Peer, mut message: Value) {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    message["id"] = json!(NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string());
    assert_ne!(peer.ask(message).await["message_type"], "error");
}
