//! The files of `deploy/`, with the real nginx and HAProxy in front of three nodes, and their settings.

#![cfg(unix)]

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::program::{Program, RedisServer};
use support::proxy::Proxy;
use support::{API_TOKEN, Peer, request};
use taut::proto::Message;
use taut_hub::config::Config;
use tokio::time::sleep;

async fn nodes(redis: &RedisServer) -> Vec<Program> {
    let url = format!("redis.url={}", redis.url());
    let settings = ["auth.development=true", &url, "server.trusted_proxies=127.0.0.1"];
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Program::start(&settings).await);
    }
    nodes
}

fn join(data: Value) -> Value {
    json!({ "id": "j", "message_type": "join", "room": "r", "data": data })
}

/// Clients are spread over the nodes; those of a node that dies come back by another, and recover.
async fn clients_recover_by(proxy: Proxy, mut nodes: Vec<Program>) {
    assert_eq!(request(proxy.address, "GET", "/ready", None, "").await.0, 200);
    let (_, _, page) = request(proxy.address, "GET", "/", None, "").await;
    assert!(page.contains("taut hub"));
    let mut peers = Vec::new();
    let mut positions = Vec::new();
    for user in USERS {
        let mut peer = proxy.connect(user).await.expect("a node takes it");
        let page = peer.ask(join(Value::Null)).await;
        positions.push(json!({ "after": { "epoch": page["data"]["epoch"], "seq": 0 } }));
        peers.push(peer);
    }
    for node in &nodes {
        let (_, _, online) = request(node.api, "GET", "/ws/online", Some(API_TOKEN), "").await;
        let online: Value = serde_json::from_str(&online).unwrap();
        assert_eq!(online["connections"], 2, "{online}");
    }
    drop(nodes.remove(0));
    let (mut said, mut came_back) = (0, 0);
    for ((mut peer, position), user) in peers.into_iter().zip(positions).zip(USERS) {
        if say(&mut peer, user).await.is_none() {
            peer = loop {
                if let Some(peer) = proxy.connect(user).await {
                    break peer;
                }
                sleep(Duration::from_millis(50)).await;
            };
            let page = peer.ask(join(position)).await;
            assert_eq!((&page["data"]["recovered"], &page["data"]["joined"]), (&json!(true), &json!(true)));
            assert_eq!(page["data"]["messages"].as_array().unwrap().len(), said);
            came_back += 1;
            say(&mut peer, user).await.expect("it is acknowledged");
        }
        said += 1;
    }
    assert_eq!((said, came_back), (6, 2));
}

/// Says its name; `None` if the connection ended.
async fn say(peer: &mut Peer, user: &str) -> Option<()> {
    let text = json!({ "id": user, "message_type": "text", "room": "r", "data": user });
    peer.0.send(Message::text(text.to_string())).await.ok()?;
    loop {
        let Ok(Some(message)) = peer.0.recv().await else { return None };
        let Message::Text(text) = message else { continue };
        let answer: Value = serde_json::from_str(&text).unwrap();
        if answer["message_type"] == "ack" && answer["id"] == user {
            return Some(());
        }
    }
}

const USERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[tokio::test]
#[ignore = "needs nginx and HAProxy: .ci/run tests"]
async fn nginx_is_in_front_of_three_nodes() {
    let redis = RedisServer::start(true).await;
    let nodes = nodes(&redis).await;
    clients_recover_by(Proxy::nginx(&nodes).await, nodes).await;
}

#[tokio::test]
#[ignore = "needs nginx and HAProxy: .ci/run tests"]
async fn haproxy_is_in_front_of_three_nodes() {
    let redis = RedisServer::start(true).await;
    let nodes = nodes(&redis).await;
    clients_recover_by(Proxy::haproxy(&nodes).await, nodes).await;
}

#[test]
#[ignore = "needs systemd-analyze: .ci/run tests"]
fn the_unit_is_one_of_systemd() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/taut-hub.service");
    let text = std::fs::read_to_string(unit).unwrap();
    // systemd looks whether the program is there.
    let here = text.replace("/usr/bin/taut", env!("CARGO_BIN_EXE_taut"));
    assert_ne!(here, text);
    let folder = support::Scratch::folder();
    let unit = folder.join("taut-hub.service");
    std::fs::write(&unit, here).unwrap();
    let output = std::process::Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !said.contains("taut-hub.service"), "{said}");
}

#[test]
fn the_file_of_settings_has_settings_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/hub.toml");
    let config = Config::load(Some(&path), [], []).unwrap();
    assert!(config.rules().is_some() && config.has_origins);
}
