//! Many nodes by Redis: one hub for its clients, also if a node dies, and while Redis is away.

#![cfg(unix)]

#[path = "support/nodes.rs"]
mod nodes;
mod support;

use nodes::{after, join, node, nodes, text, three_of_whom_one_said_five};
use serde_json::{Value, json};
use support::program::RedisServer;
use support::{Peer, api, data, now};

nodes::of_many_nodes!(RedisServer);

#[tokio::test]
#[ignore = "needs redis-server: .ci/run tests"]
async fn if_redis_forgets_all_have_to_recover_and_are_told() {
    let mut redis = RedisServer::start(false).await;
    let nodes = nodes(&redis, &[]).await;
    let (mut peers, mut position) = three_of_whom_one_said_five(&nodes).await;
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
    assert_eq!(ana.ask(text("anew")).await["message_type"], "ack");
    assert_eq!(bob.next("text").await["id"], "anew");
}

#[tokio::test]
#[ignore = "needs redis-server: .ci/run tests"]
async fn entries_of_the_feed_that_are_gone_make_all_recover() {
    let redis = RedisServer::start(true).await;
    let node = node(&redis, &[]).await;
    let mut ana = Peer::guest(&node, "ana").await;
    let page = ana.ask(join("j", Value::Null)).await;
    assert_eq!(ana.ask(text("one")).await["message_type"], "ack");
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

#[tokio::test]
#[ignore = "needs redis-server: .ci/run tests"]
async fn redis_reads_no_more_than_a_page_has() {
    let redis = RedisServer::start(true).await;
    let node = node(&redis, &[]).await;
    let mut ana = Peer::guest(&node, "ana").await;
    ana.ask(join("j", Value::Null)).await;
    data::say(&mut ana, 60, 60_000).await;
    let told = async || {
        let told = format!("{:?}", redis.command(redis::cmd("INFO").arg("stats")).await);
        let (_, rest) = told.split_once("total_net_output_bytes:").unwrap();
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap();
        rest[..end].parse::<u64>().unwrap()
    };
    let before = told().await;
    let history = json!({ "id": "h", "message_type": "history", "room": "r", "data": { "last": 60 } });
    let page = ana.ask(history).await;
    assert_eq!(
        (&page["data"]["more"], page["data"]["messages"].as_array().unwrap().len()),
        (&json!(true), 4)
    );
    assert!(told().await - before < 1_000_000);
}

#[tokio::test]
#[ignore = "needs redis-server: .ci/run tests"]
async fn a_token_is_taken_back_for_the_longest_time_that_was_said() {
    let redis = RedisServer::start(true).await;
    let node = node(&redis, &[]).await;
    for until in [now() + 100_000, now() + 60] {
        let (status, _) = api(&node, "POST", "/ws/revoke", json!({ "token_id": "1", "until": until })).await;
        assert_eq!(status, 200);
    }
    let left = redis.command(redis::cmd("TTL").arg("taut:revoked:1")).await;
    assert!(matches!(left, redis::Value::Int(left) if left > 100_000), "{left:?}");
}

#[tokio::test]
#[ignore = "needs redis-server: .ci/run tests"]
async fn the_feed_is_bounded_by_entries_and_by_bytes() {
    let redis = RedisServer::start(true).await;
    let node = node(&redis, &[("redis.feed_bytes", "200000"), ("redis.feed", "100")]).await;
    let mut ana = Peer::guest(&node, "ana").await;
    ana.ask(join("j", Value::Null)).await;
    data::say(&mut ana, 60, 10_000).await;
    let length = async || match redis.command(redis::cmd("XLEN").arg("taut:feed")).await {
        redis::Value::Int(length) => length,
        other => panic!("{other:?}"),
    };
    let long = length().await;
    assert!((10..=30).contains(&long), "{long}");
    for number in 0..200 {
        assert_eq!(ana.ask(text(&format!("short {number}"))).await["message_type"], "ack");
    }
    assert_eq!(length().await, 100);
}
