//! Many nodes by Redis: one hub for its clients, also if a node dies, and while Redis is away.

#![cfg(unix)]

#[path = "support/nodes.rs"]
mod nodes;
mod support;

use nodes::{after, join, node, nodes, text};
use serde_json::{Value, json};
use support::Peer;
use support::program::RedisServer;

nodes::of_many_nodes!(RedisServer);

#[tokio::test]
#[ignore = "needs redis-server: .ci/run tests"]
async fn if_redis_forgets_all_have_to_recover_and_are_told() {
    let mut redis = RedisServer::start(false).await;
    let nodes = nodes(&redis, &[]).await;
    let mut peers = Vec::new();
    let mut position = Value::Null;
    for (node, user) in nodes.iter().zip(["ana", "bob", "eve"]) {
        let mut peer = Peer::guest(node, user).await;
        position = after(&peer.ask(join("j", Value::Null)).await);
        peers.push(peer);
    }
    for number in 0..5 {
        peers[0].ask(text(&number.to_string())).await;
    }
    redis.kill();
    redis.again().await;
    for peer in &mut peers {
        assert_eq!(peer.end().await, 1012);
    }
    let mut ana = loop {
        if let Ok(mut peer) = Peer::connect(&nodes[0], "?user=ana", &[]).await
            && let Some(welcome) = peer.recv().await
            && welcome["message_type"] == "system_message"
        {
            break peer;
        }
    };
    position["after"]["seq"] = json!(5);
    assert_eq!(ana.ask(join("j", position)).await["data"]["recovered"], false);
    let mut bob = Peer::guest(&nodes[1], "bob").await;
    bob.ask(join("j", Value::Null)).await;
    ana.ask(text("anew")).await;
    assert_eq!(bob.next("text").await["id"], "anew");
}

#[tokio::test]
#[ignore = "needs redis-server: .ci/run tests"]
async fn entries_of_the_feed_that_are_gone_make_all_recover() {
    let redis = RedisServer::start(true).await;
    let node = node(&redis, &[]).await;
    let mut ana = Peer::guest(&node, "ana").await;
    let page = ana.ask(join("j", Value::Null)).await;
    ana.ask(text("one")).await;
    redis.command(redis::cmd("HINCRBY").arg("taut:state").arg("n").arg(5)).await;
    ana.send(text("two")).await;
    assert_eq!(ana.end().await, 1012);
    let mut ana = Peer::guest(&node, "ana").await;
    let page = ana.ask(join("j", after(&page))).await;
    assert_eq!(page["data"]["recovered"], true);
    let messages = page["data"]["messages"].as_array().unwrap();
    let ids: Vec<_> = messages.iter().map(|message| message["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["one", "two"]);
}
