//! Many nodes by Redis: one hub for its clients, also if a node dies, and while Redis is away.

#![cfg(unix)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::program::{Program, RedisServer};
use support::{API_TOKEN, Peer, api, claims, hub, request, token};
use taut_hub::serve::Running;

/// A node in the test's own process.
async fn node(redis: &RedisServer, settings: &[(&str, &str)]) -> Running {
    let url = redis.url();
    let own = [("auth.development", "true"), ("redis.url", &*url), ("clients.connections_of_one", "1000")];
    hub(&[&own[..], settings].concat()).await
}

async fn nodes(redis: &RedisServer, settings: &[(&str, &str)]) -> [Running; 3] {
    [node(redis, settings).await, node(redis, settings).await, node(redis, settings).await]
}

fn join(id: &str, data: Value) -> Value {
    json!({ "id": id, "message_type": "join", "room": "r", "data": data })
}

fn text(id: &str) -> Value {
    json!({ "id": id, "message_type": "text", "room": "r", "data": id })
}

fn after(page: &Value) -> Value {
    json!({ "after": { "epoch": page["data"]["epoch"], "seq": page["seq"] } })
}

/// Who is in the room, as soon as it is these.
async fn until_present(peer: &mut Peer, users: Value) {
    loop {
        let present = peer.ask(json!({ "id": "p", "message_type": "presence", "room": "r" })).await;
        if present["data"]["users"] == users {
            assert_eq!(present["data"]["total"], users.as_array().unwrap().len());
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn nodes_are_one_hub() {
    let redis = RedisServer::start(true).await;
    let nodes = nodes(&redis, &[]).await;
    let mut peers = Vec::new();
    for (node, user) in nodes.iter().zip(["ana", "bob", "eve"]) {
        let mut peer = Peer::guest(node, user).await;
        peer.ask(join("j", Value::Null)).await;
        peers.push(peer);
    }
    for peer in &mut peers {
        until_present(peer, json!(["ana", "bob", "eve"])).await;
    }
    assert_eq!(peers[0].ask(text("a")).await["seq"], 1);
    assert_eq!(peers[1].ask(text("b")).await["seq"], 2);
    assert_eq!(api(&nodes[2], "POST", "/ws/rooms/r", json!({ "data": "c" })).await.1["seq"], 3);
    let mut late = Peer::guest(&nodes[1], "late").await;
    let page = late.ask(join("j", json!({ "last": 9 }))).await;
    assert_eq!(page["data"]["messages"].as_array().unwrap().len(), 3);
    assert_eq!((&page["seq"], &page["data"]["messages"][1]["from_user_id"]), (&json!(3), &json!("bob")));
    // The same message of the same sender, by another node.
    let mut ana = Peer::guest(&nodes[2], "ana").await;
    ana.ask(join("j", Value::Null)).await;
    let again = ana.ask(text("a")).await;
    assert_eq!((&again["seq"], &again["data"]["duplicate"]), (&json!(1), &json!(true)));

    // All devices of a user, wherever they are.
    peers[1].send(json!({ "id": "d", "message_type": "text", "to_user_id": "ana", "data": "hi" })).await;
    for device in [&mut peers[0], &mut ana] {
        while device.next("text").await["to_user_id"] != "ana" {}
    }
    peers[1].send(json!({ "id": "e", "message_type": "notification", "data": "all" })).await;
    for peer in peers.iter_mut().chain([&mut ana, &mut late]) {
        assert_eq!(peer.next("notification").await["seq"], 1);
    }
}

#[tokio::test]
async fn devices_at_several_nodes_are_one_presence() {
    let redis = RedisServer::start(true).await;
    let nodes = nodes(&redis, &[]).await;
    let mut watcher = Peer::guest(&nodes[2], "watcher").await;
    watcher.ask(join("j", Value::Null)).await;
    let (mut phone, mut laptop) = (Peer::guest(&nodes[0], "ana").await, Peer::guest(&nodes[1], "ana").await);
    phone.ask(join("j", Value::Null)).await;
    assert_eq!(watcher.next("user_joined").await["from_user_id"], "ana");
    laptop.ask(join("j", Value::Null)).await;
    phone.ask(json!({ "id": "l", "message_type": "leave", "room": "r" })).await;
    let mut other = Peer::guest(&nodes[0], "other").await;
    other.ask(join("j", Value::Null)).await;
    // By the feed's order, what ana's devices did is known by this.
    assert_eq!(watcher.next("user_joined").await["from_user_id"], "other");
    until_present(&mut watcher, json!(["ana", "other", "watcher"])).await;
    drop(laptop);
    assert_eq!(watcher.next("user_left").await["from_user_id"], "ana");
    // Who comes later, to a node that was not there.
    let fourth = node(&redis, &[]).await;
    let mut late = Peer::guest(&fourth, "late").await;
    late.ask(join("j", Value::Null)).await;
    until_present(&mut late, json!(["late", "other", "watcher"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_from_node_to_node_gets_what_was_missed_once_and_in_order() {
    let redis = RedisServer::start(true).await;
    let nodes = nodes(&redis, &[]).await;
    let mut writers = Vec::new();
    for node in &nodes[..2] {
        let mut writer = Peer::guest(node, "writer").await;
        writer.ask(join("j", Value::Null)).await;
        writers.push(writer);
    }
    let mut first = Peer::guest(&nodes[0], "reader").await;
    let mut position = after(&first.ask(join("j", Value::Null)).await);
    drop(first);
    const ALL: u64 = 600;
    let writing = writers.iter_mut().enumerate().map(|(index, writer)| async move {
        for number in 0..ALL / 2 {
            assert_eq!(writer.ask(text(&format!("{index} {number}"))).await["message_type"], "ack");
        }
    });
    let mut writing: Vec<_> = writing.collect();
    let (one, two) = (writing.remove(0), writing.remove(0));
    let reading = async {
        let mut seen: Vec<u64> = Vec::new();
        for place in (0..3).cycle() {
            let mut reader = Peer::guest(&nodes[place], "reader").await;
            loop {
                let page = reader.ask(join("j", position)).await;
                assert_eq!(page["data"]["recovered"], true);
                let messages = page["data"]["messages"].as_array().unwrap();
                seen.extend(messages.iter().map(|message| message["seq"].as_u64().unwrap()));
                position = after(&page);
                if page["data"]["more"] == false {
                    break;
                }
            }
            for _ in 0..7 {
                if seen.last() == Some(&ALL) {
                    return seen;
                }
                let seq = reader.next("text").await["seq"].as_u64().unwrap();
                position["after"]["seq"] = json!(seq);
                seen.push(seq);
            }
        }
        unreachable!()
    };
    let (seen, ..) = tokio::join!(reading, one, two);
    assert_eq!(seen, (1..=ALL).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_cannot_be_given_all_is_told() {
    let redis = RedisServer::start(true).await;
    let node = node(&redis, &[("history.messages", "10")]).await;
    let mut peer = Peer::guest(&node, "ana").await;
    let epoch = peer.ask(join("j", Value::Null)).await["data"]["epoch"].clone();
    for number in 1..=30 {
        assert_eq!(peer.ask(text(&number.to_string())).await["seq"], number);
    }
    for (epoch, seq, recovered) in [
        (epoch.clone(), 19, false),
        (epoch.clone(), 20, true),
        (epoch.clone(), 30, true),
        (epoch, 31, false),
        (json!("another"), 25, false),
    ] {
        let page = peer.ask(join("j", json!({ "after": { "epoch": epoch, "seq": seq } }))).await;
        assert_eq!(page["data"]["recovered"], recovered, "{seq}");
        let expected = if recovered { 30 - seq } else { 0 };
        assert_eq!(page["data"]["messages"].as_array().unwrap().len(), expected, "{seq}");
    }
    // What is forgotten is not recognised any more, and what is kept is.
    assert_eq!(peer.ask(text("30")).await["seq"], 30);
    assert_eq!(peer.ask(text("1")).await["seq"], 31);
}

#[tokio::test]
async fn who_is_barred_is_barred_on_every_node_at_once() {
    let redis = RedisServer::start(true).await;
    let nodes = nodes(&redis, &[]).await;
    let mut eve = Peer::guest(&nodes[0], "eve").await;
    assert_eq!(api(&nodes[1], "POST", "/ws/disable", json!({ "user_id": "eve" })).await.0, 200);
    assert_eq!(eve.end().await, 4403);
    assert_eq!(Peer::connect(&nodes[2], "?user=eve", &[]).await.unwrap().end().await, 4403);
    api(&nodes[2], "POST", "/ws/enable", json!({ "user_id": "eve" })).await;
    let mut eve = Peer::guest(&nodes[0], "eve").await;
    api(&nodes[1], "POST", "/ws/disconnect", json!({ "user_id": "eve" })).await;
    assert_eq!(eve.end().await, 4410);
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_no_good_at_any_node() {
    let redis = RedisServer::start(true).await;
    let key = support::Scratch::new(support::SECRET.as_bytes());
    let url = redis.url();
    let settings = [("auth.algorithms", "HS256"), ("auth.key_file", key.path()), ("redis.url", &*url)];
    let [first, second] = [hub(&settings).await, hub(&settings).await];
    let mut claims = claims("ana");
    claims["jti"] = json!("1");
    let query = format!("?token={}", token(claims));
    let mut ana = Peer::connect(&first, &query, &[]).await.unwrap();
    ana.next("system_message").await;
    let until = support::now() + 3600;
    api(&second, "POST", "/ws/revoke", json!({ "token_id": "1", "until": until })).await;
    assert_eq!(ana.end().await, 4403);
    assert_eq!(Peer::connect(&first, &query, &[]).await.unwrap().end().await, 4403);
}

#[tokio::test]
async fn while_redis_is_away_nothing_is_promised_and_nothing_is_lost() {
    let mut redis = RedisServer::start(true).await;
    let nodes = nodes(&redis, &[]).await;
    let (mut ana, mut bob) = (Peer::guest(&nodes[0], "ana").await, Peer::guest(&nodes[1], "bob").await);
    ana.ask(join("j", Value::Null)).await;
    bob.ask(join("j", Value::Null)).await;
    assert_eq!(ana.ask(text("before")).await["seq"], 1);
    assert_eq!(bob.next("text").await["seq"], 1);

    redis.kill();
    let refused = ana.ask(text("during")).await;
    assert_eq!((&refused["message_type"], &refused["data"]["code"]), (&json!("error"), &json!("not_stored")));
    assert_eq!(ana.ask(join("j", Value::Null)).await["data"]["code"], "not_read");
    assert_eq!(ana.ask(json!({ "id": "p", "message_type": "ping" })).await["message_type"], "pong");
    let (status, answer) = api(&nodes[0], "POST", "/ws/broadcast", json!({ "data": 1 })).await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("not_stored")));

    redis.again().await;
    loop {
        let answer = ana.ask(text("during")).await;
        if answer["message_type"] == "ack" {
            assert_eq!(answer["seq"], 2);
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ana.ask(text("behind")).await["seq"], 3);
    // The same connection, and no number twice.
    for seq in [2, 3] {
        assert_eq!(bob.next("text").await["seq"], seq);
    }
    until_present(&mut bob, json!(["ana", "bob"])).await;
}

#[tokio::test]
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

#[tokio::test]
async fn users_of_a_node_that_dies_leave() {
    let redis = RedisServer::start(true).await;
    let url = format!("redis.url={}", redis.url());
    let settings = ["auth.development=true", "redis.node_timeout=2s", &url];
    let (stays, dies) = (Program::start(&settings).await, Program::start(&settings).await);
    let mut watcher = stays.connect("?user=watcher").await;
    let mut ana = dies.connect("?user=ana").await;
    for peer in [&mut watcher, &mut ana] {
        peer.ask(join("j", Value::Null)).await;
    }
    until_present(&mut watcher, json!(["ana", "watcher"])).await;
    let online = async || {
        let (_, _, online) = request(stays.api, "GET", "/ws/online", Some(API_TOKEN), "").await;
        serde_json::from_str::<Value>(&online).unwrap()
    };
    let both = json!({
        "total": 2,
        "nodes": 2,
        "connections": 1,
        "users": [
            { "user_id": "ana", "connections": 0, "nodes": 1 },
            { "user_id": "watcher", "connections": 1, "nodes": 1 },
        ],
        "next": null,
    });
    assert_eq!(online().await, both);
    drop(dies);
    assert_eq!(watcher.next("user_left").await["from_user_id"], "ana");
    until_present(&mut watcher, json!(["watcher"])).await;
    while online().await["total"] != 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
