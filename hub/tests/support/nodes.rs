//! What many nodes do, whatever keeps for them: the tests of each such store.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::time::Duration;

use serde_json::{Value, json};
use taut_hub::serve::Running;

use crate::support::program::{Behind, Program};
use crate::support::{self, API_TOKEN, Peer, api, claims, hub, request, token};

/// All of them, as tests.
macro_rules! of_many_nodes {
    ($behind:ty) => {
        crate::nodes::of_many_nodes! { $behind:
            nodes_are_one_hub
            devices_at_several_nodes_are_one_presence
            who_goes_from_node_to_node_gets_what_was_missed_once_and_in_order
            who_cannot_be_given_all_is_told
            who_is_barred_is_barred_on_every_node_at_once
            a_token_that_was_taken_back_is_no_good_at_any_node
            while_it_is_away_nothing_is_promised_and_nothing_is_lost
            users_of_a_node_that_dies_leave
            whatever_is_said_the_hub_lives_and_tells_it_as_it_was_said
            a_page_is_bounded_and_says_where_to_go_on
            a_stream_is_bounded_by_its_bytes
        }
    };
    ($behind:ty: $($name:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        #[ignore = "needs redis-server or PostgreSQL: .ci/run tests"]
        async fn $name() {
            crate::nodes::$name::<$behind>().await;
        })*
    };
}
pub(crate) use of_many_nodes;

/// A node in the test's own process.
pub(crate) async fn node(behind: &impl Behind, settings: &[(&str, &str)]) -> Running {
    let place = behind.settings();
    let place = place.iter().map(|(name, value)| (*name, &**value));
    let own = [("auth.development", "true"), ("clients.connections_of_one", "1000")];
    let all: Vec<_> = own.into_iter().chain(place).chain(settings.iter().copied()).collect();
    hub(&all).await
}

pub(crate) async fn nodes(behind: &impl Behind, settings: &[(&str, &str)]) -> [Running; 3] {
    // At once: the first one makes what they need.
    tokio::join!(node(behind, settings), node(behind, settings), node(behind, settings)).into()
}

pub(crate) fn join(id: &str, data: Value) -> Value {
    json!({ "id": id, "message_type": "join", "room": "r", "data": data })
}

pub(crate) fn text(id: &str) -> Value {
    json!({ "id": id, "message_type": "text", "room": "r", "data": id })
}

/// One at each node, of whom the first said five messages; and where each of them began.
pub(crate) async fn three_of_whom_one_said_five(nodes: &[Running; 3]) -> (Vec<Peer>, Value) {
    let mut peers = Vec::new();
    let mut position = Value::Null;
    for (node, user) in nodes.iter().zip(["ana", "bob", "eve"]) {
        let mut peer = Peer::guest(node, user).await;
        position = after(&peer.ask(join("j", Value::Null)).await);
        peers.push(peer);
    }
    for number in 0..5 {
        assert_eq!(peers[0].ask(text(&number.to_string())).await["message_type"], "ack");
    }
    (peers, position)
}

pub(crate) fn after(page: &Value) -> Value {
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

pub(crate) async fn nodes_are_one_hub<B: Behind>() {
    let behind = B::start().await;
    let nodes = nodes(&behind, &[]).await;
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

pub(crate) async fn devices_at_several_nodes_are_one_presence<B: Behind>() {
    let behind = B::start().await;
    let nodes = nodes(&behind, &[]).await;
    let mut watcher = Peer::guest(&nodes[2], "watcher").await;
    watcher.ask(join("j", Value::Null)).await;
    let (mut phone, mut laptop) = (Peer::guest(&nodes[0], "ana").await, Peer::guest(&nodes[1], "ana").await);
    phone.ask(join("j", Value::Null)).await;
    assert_eq!(watcher.next("user_joined").await["from_user_id"], "ana");
    laptop.ask(join("j", Value::Null)).await;
    // What a node tells comes in its order: who is seen to come behind a device tells that it was seen.
    let (mut behind_laptop, mut behind_phone) =
        (Peer::guest(&nodes[1], "behind-laptop").await, Peer::guest(&nodes[0], "behind-phone").await);
    behind_laptop.ask(join("j", Value::Null)).await;
    assert_eq!(watcher.next("user_joined").await["from_user_id"], "behind-laptop");
    phone.ask(json!({ "id": "l", "message_type": "leave", "room": "r" })).await;
    behind_phone.ask(join("j", Value::Null)).await;
    assert_eq!(watcher.next("user_joined").await["from_user_id"], "behind-phone");
    until_present(&mut watcher, json!(["ana", "behind-laptop", "behind-phone", "watcher"])).await;
    drop(laptop);
    assert_eq!(watcher.next("user_left").await["from_user_id"], "ana");
    // Who comes later, to a node that was not there.
    let fourth = node(&behind, &[]).await;
    let mut late = Peer::guest(&fourth, "late").await;
    late.ask(join("j", Value::Null)).await;
    until_present(&mut late, json!(["behind-laptop", "behind-phone", "late", "watcher"])).await;
}

pub(crate) async fn who_goes_from_node_to_node_gets_what_was_missed_once_and_in_order<B: Behind>() {
    let behind = B::start().await;
    let nodes = nodes(&behind, &[]).await;
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

pub(crate) async fn who_cannot_be_given_all_is_told<B: Behind>() {
    let behind = B::start().await;
    let node = node(&behind, &[("history.messages", "10")]).await;
    let mut peer = Peer::guest(&node, "ana").await;
    let epoch = peer.ask(join("j", Value::Null)).await["data"]["epoch"].clone();
    for number in 1..=30 {
        assert_eq!(peer.ask(text(&number.to_string())).await["seq"], number);
    }
    peer.recovers_the_last_ten_of_thirty(epoch).await;
    // What is forgotten is not recognised any more, and what is kept is.
    assert_eq!(peer.ask(text("30")).await["seq"], 30);
    assert_eq!(peer.ask(text("1")).await["seq"], 31);
}

pub(crate) async fn who_is_barred_is_barred_on_every_node_at_once<B: Behind>() {
    let behind = B::start().await;
    let nodes = nodes(&behind, &[]).await;
    let mut eve = Peer::guest(&nodes[0], "eve").await;
    assert_eq!(api(&nodes[1], "POST", "/ws/disable", json!({ "user_id": "eve" })).await.0, 200);
    assert_eq!(eve.end().await, 4403);
    assert_eq!(Peer::connect(&nodes[2], "?user=eve", &[]).await.unwrap().end().await, 4403);
    api(&nodes[2], "POST", "/ws/enable", json!({ "user_id": "eve" })).await;
    let mut eve = Peer::guest(&nodes[0], "eve").await;
    api(&nodes[1], "POST", "/ws/disconnect", json!({ "user_id": "eve" })).await;
    assert_eq!(eve.end().await, 4410);
}

pub(crate) async fn a_token_that_was_taken_back_is_no_good_at_any_node<B: Behind>() {
    let behind = B::start().await;
    let key = support::Scratch::new(support::SECRET.as_bytes());
    let place = behind.settings();
    let place = place.iter().map(|(name, value)| (*name, &**value));
    let settings = [("auth.algorithms", "HS256"), ("auth.key_file", key.path())];
    let settings: Vec<_> = settings.into_iter().chain(place).collect();
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

    // All of a user, at each node, and the latest time counts.
    let issued = |ago: u64| {
        let mut claims = support::claims("bob");
        claims["iat"] = json!(support::now() - ago);
        format!("?token={}", token(claims))
    };
    let mut bob = Peer::connect(&first, &issued(100), &[]).await.unwrap();
    let mut kept = Peer::connect(&first, &issued(10), &[]).await.unwrap();
    for peer in [&mut bob, &mut kept] {
        peer.next("system_message").await;
    }
    for ago in [50, 200] {
        let body = json!({ "user_id": "bob", "time": support::now() - ago });
        assert_eq!(api(&second, "POST", "/ws/revoke_before", body).await.0, 200);
    }
    assert_eq!(bob.end().await, 4403);
    assert_eq!(Peer::connect(&first, &issued(100), &[]).await.unwrap().end().await, 4403);
    assert_eq!(kept.ask(json!({ "id": "p", "message_type": "ping" })).await["message_type"], "pong");
}

pub(crate) async fn while_it_is_away_nothing_is_promised_and_nothing_is_lost<B: Behind>() {
    let mut behind = B::start().await;
    let nodes = nodes(&behind, &[]).await;
    let (mut ana, mut bob) = (Peer::guest(&nodes[0], "ana").await, Peer::guest(&nodes[1], "bob").await);
    ana.ask(join("j", Value::Null)).await;
    bob.ask(join("j", Value::Null)).await;
    assert_eq!(ana.ask(text("before")).await["seq"], 1);
    assert_eq!(bob.next("text").await["seq"], 1);

    behind.kill();
    let refused = ana.ask(text("during")).await;
    assert_eq!((&refused["message_type"], &refused["data"]["code"]), (&json!("error"), &json!("not_stored")));
    assert_eq!(ana.ask(join("j", Value::Null)).await["data"]["code"], "not_read");
    assert_eq!(ana.ask(json!({ "id": "p", "message_type": "ping" })).await["message_type"], "pong");
    let (status, answer) = api(&nodes[0], "POST", "/ws/broadcast", json!({ "data": 1 })).await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("not_stored")));

    behind.again().await;
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

pub(crate) async fn whatever_is_said_the_hub_lives_and_tells_it_as_it_was_said<B: Behind>() {
    let behind = B::start().await;
    let node = node(&behind, &[]).await;
    support::data::whatever_is_said_the_hub_lives_and_tells_it_as_it_was_said(&node).await;
}

pub(crate) async fn a_page_is_bounded_and_says_where_to_go_on<B: Behind>() {
    let behind = B::start().await;
    let node = node(&behind, &[]).await;
    support::data::a_page_is_bounded_and_says_where_to_go_on(&node).await;
}

pub(crate) async fn a_stream_is_bounded_by_its_bytes<B: Behind>() {
    let behind = B::start().await;
    let node = node(&behind, &[("history.bytes", "20000")]).await;
    support::data::a_stream_is_bounded_by_its_bytes(&node).await;
}

pub(crate) async fn users_of_a_node_that_dies_leave<B: Behind>() {
    let behind = B::start().await;
    let settings = behind.program_settings(&["auth.development=true", "redis.node_timeout=2s"]);
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
