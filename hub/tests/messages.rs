//! Messages: envelopes, rooms, presence, numbers, and what is recovered.

mod support;

use std::collections::HashSet;

use serde_json::{Value, json};
use support::{Peer, Scratch, api, hub};
use taut::proto::Message;
use taut_hub::serve::Running;

const DEVELOPMENT: (&str, &str) = ("auth.development", "true");

fn join(id: &str, room: &str, data: Value) -> Value {
    json!({ "id": id, "message_type": "join", "room": room, "data": data })
}

fn text(id: &str, room: &str, data: impl Into<Value>) -> Value {
    json!({ "id": id, "message_type": "text", "room": room, "data": data.into() })
}

#[tokio::test]
async fn what_is_wrong_is_answered_by_its_id_and_the_connection_lives() {
    let hub = hub(&[DEVELOPMENT]).await;
    let mut peer = Peer::guest(&hub, "ana").await;
    let wrong = [
        ("unknown_type", json!({ "id": "1", "message_type": "fly" })),
        ("unknown_type", json!({ "id": "2", "message_type": "system_message" })),
        ("malformed", json!({ "id": "3", "message_type": 7 })),
        ("malformed", json!({ "id": "4", "message_type": "join", "room": "a", "data": 7 })),
        ("not_in_room", text("5", "a", "x")),
        ("bad_name", json!({ "id": "6", "message_type": "join" })),
        ("bad_name", join("7", "@bob", Value::Null)),
        ("not_in_room", text("8", "*", "x")),
        ("two_targets", json!({ "id": "9", "message_type": "text", "room": "a", "to_user_id": "bob" })),
        ("bad_name", json!({ "id": "10", "message_type": "text", "to_user_id": "" })),
    ];
    for (code, message) in wrong {
        let answer = peer.ask(message.clone()).await;
        assert_eq!(
            (&answer["message_type"], &answer["data"]["code"]),
            (&json!("error"), &json!(code)),
            "{message}"
        );
    }
    for raw in [Message::text("{"), Message::text("[]"), Message::binary(vec![1, 2])] {
        peer.0.send(raw).await.unwrap();
        assert_eq!(peer.recv().await.unwrap()["message_type"], "error");
    }
    assert_eq!(
        peer.ask(json!({ "id": "11", "message_type": "ping", "data": [1] })).await["data"],
        json!([1])
    );
}

#[tokio::test]
async fn a_message_reaches_the_room_numbered_and_from_who_sent_it() {
    let hub = hub(&[DEVELOPMENT]).await;
    let (mut ana, mut bob) = (Peer::guest(&hub, "ana").await, Peer::guest(&hub, "bob").await);
    ana.ask(join("j", "r", Value::Null)).await;
    let joined = bob.ask(join("j", "r", Value::Null)).await;
    assert_eq!(joined["data"]["users"], json!(["ana", "bob"]));
    let mut forged = text("m", "r", json!({ "a": 1 }));
    forged["from_user_id"] = json!("bob");
    forged["seq"] = json!(99);
    assert_eq!(ana.ask(forged).await["seq"], 1);
    let heard = bob.next("text").await;
    assert_eq!(
        (&heard["id"], &heard["from_user_id"], &heard["room"], &heard["seq"], &heard["data"]),
        (&json!("m"), &json!("ana"), &json!("r"), &json!(1), &json!({ "a": 1 }))
    );
}

#[tokio::test]
async fn devices_of_a_user_are_one_presence_and_share_an_inbox() {
    let hub = hub(&[DEVELOPMENT]).await;
    let mut watcher = Peer::guest(&hub, "watcher").await;
    watcher.ask(join("j", "r", Value::Null)).await;
    let (mut phone, mut laptop) = (Peer::guest(&hub, "ana").await, Peer::guest(&hub, "ana").await);
    phone.ask(join("j", "r", Value::Null)).await;
    assert_eq!(watcher.next("user_joined").await["from_user_id"], "ana");
    laptop.ask(join("j", "r", Value::Null)).await;
    phone.ask(json!({ "id": "l", "message_type": "leave", "room": "r" })).await;
    let present = watcher.ask(json!({ "id": "p", "message_type": "presence", "room": "r" })).await;
    assert_eq!(present["data"], json!({ "users": ["ana", "watcher"], "total": 2 }));
    watcher.send(json!({ "id": "d", "message_type": "text", "to_user_id": "ana", "data": "hi" })).await;
    for device in [&mut phone, &mut laptop] {
        let heard = device.next("text").await;
        assert_eq!((&heard["to_user_id"], &heard["seq"]), (&json!("ana"), &json!(1)));
    }
    drop(laptop);
    // The next change that is announced: the first device's leaving was none.
    let left = watcher.next("user_left").await;
    assert_eq!(left["from_user_id"], "ana");
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_once_and_in_order() {
    for database in [None, Some(Scratch::new(b""))] {
        let path = database.as_ref().map_or("none", Scratch::path);
        let hub =
            hub(&[DEVELOPMENT, ("history.database", path), ("clients.connections_of_one", "1000")]).await;
        let mut writer = Peer::guest(&hub, "writer").await;
        writer.ask(join("j", "r", Value::Null)).await;
        let mut seen = Vec::new();
        let mut position = Value::Null;
        let writing = async {
            for number in 0..600 {
                let ack = writer.ask(text(&format!("m{number}"), "r", number)).await;
                assert_eq!(ack["message_type"], "ack");
            }
        };
        let reading = async {
            // Comes and goes, in the middle of what is said.
            while seen.last() != Some(&600) {
                let mut reader = Peer::guest(&hub, "reader").await;
                let mut live = 0;
                loop {
                    let data =
                        if position.is_null() { json!({ "last": 0 }) } else { json!({ "after": position }) };
                    let page = reader.ask(join("j", "r", data)).await;
                    assert_eq!(page["data"]["recovered"], true);
                    if position.is_null() {
                        seen.extend(1..=page["seq"].as_u64().unwrap());
                    }
                    let messages = page["data"]["messages"].as_array().unwrap();
                    seen.extend(messages.iter().map(|message| message["seq"].as_u64().unwrap()));
                    position = json!({ "epoch": page["data"]["epoch"], "seq": page["seq"] });
                    if page["data"]["more"] == false {
                        break;
                    }
                }
                while live < 7 && seen.last() != Some(&600) {
                    let seq = reader.next("text").await["seq"].as_u64().unwrap();
                    seen.push(seq);
                    position["seq"] = json!(seq);
                    live += 1;
                }
            }
        };
        tokio::join!(writing, reading);
        assert_eq!(seen, (1..=600).collect::<Vec<_>>(), "{path}");
    }
}

#[tokio::test]
async fn long_histories_come_in_pages() {
    let hub = hub(&[DEVELOPMENT]).await;
    let (mut peer, epoch) = filled(&hub, 450).await;
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let asked = json!({ "id": "h", "message_type": "history", "room": "r", "data": { "after": { "epoch": epoch, "seq": after } } });
        let page = peer.ask(asked).await;
        let messages = page["data"]["messages"].as_array().unwrap();
        assert!(messages.len() <= 200);
        seen.extend(messages.iter().map(|message| message["seq"].as_u64().unwrap()));
        after = page["seq"].as_u64().unwrap();
        if page["data"]["more"] == false {
            break;
        }
    }
    assert_eq!(seen, (1..=450).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_cannot_be_given_all_is_told() {
    for database in [None, Some(Scratch::new(b""))] {
        let path = database.as_ref().map_or("none", Scratch::path);
        let hub = hub(&[DEVELOPMENT, ("history.messages", "10"), ("history.database", path)]).await;
        let (mut peer, epoch) = filled(&hub, 30).await;
        for (epoch, seq, recovered) in [
            (epoch.clone(), 19, false),
            (epoch.clone(), 20, true),
            (epoch.clone(), 30, true),
            (epoch, 31, false),
            (json!("another"), 25, false),
        ] {
            let page = peer.ask(join("j", "r", json!({ "after": { "epoch": epoch, "seq": seq } }))).await;
            assert_eq!(page["data"]["recovered"], recovered, "{path} {seq}");
            let expected = if recovered { 30 - seq } else { 0 };
            assert_eq!(page["data"]["messages"].as_array().unwrap().len(), expected, "{path} {seq}");
        }
    }
}

#[tokio::test]
async fn a_message_that_is_sent_again_is_acknowledged_and_not_delivered_again() {
    for database in [None, Some(Scratch::new(b""))] {
        let path = database.as_ref().map_or("none", Scratch::path);
        let hub = hub(&[DEVELOPMENT, ("history.database", path)]).await;
        let (mut ana, mut bob) = (Peer::guest(&hub, "ana").await, Peer::guest(&hub, "bob").await);
        ana.ask(join("j", "r", Value::Null)).await;
        bob.ask(join("j", "r", Value::Null)).await;
        for duplicate in [false, true] {
            let ack = ana.ask(text("same", "r", "x")).await;
            assert_eq!((&ack["seq"], &ack["data"]["duplicate"]), (&json!(1), &json!(duplicate)), "{path}");
        }
        // The same id of another sender is another message.
        assert_eq!(bob.ask(text("same", "r", "y")).await["seq"], 2);
        ana.ask(text("next", "r", "z")).await;
        let mut heard = Vec::new();
        while heard.last() != Some(&3) {
            heard.push(bob.next("text").await["seq"].as_u64().unwrap());
        }
        assert_eq!(heard.iter().collect::<HashSet<_>>().len(), heard.len(), "{heard:?}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_the_program_in_sqlite() {
    let database = Scratch::new(b"");
    let settings = [DEVELOPMENT, ("history.database", database.path())];
    let first = hub(&settings).await;
    let (peer, epoch) = filled(&first, 5).await;
    assert_eq!(api(&first, "POST", "/ws/disable", json!({ "user_id": "eve" })).await.0, 200);
    drop(peer);
    first.shutdown().await;
    let second = hub(&settings).await;
    let mut peer = Peer::guest(&second, "ana").await;
    let page = peer.ask(join("j", "r", json!({ "after": { "epoch": epoch, "seq": 2 } }))).await;
    assert_eq!((&page["data"]["recovered"], &page["seq"]), (&json!(true), &json!(5)));
    assert_eq!(page["data"]["messages"].as_array().unwrap().len(), 3);
    let mut eve = Peer::connect(&second, "?user=eve", &[]).await.unwrap();
    assert_eq!(eve.end().await, 4403);
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_no_more() {
    let hub = hub(&[DEVELOPMENT, ("clients.connections_of_one", "2")]).await;
    let _two = [Peer::guest(&hub, "ana").await, Peer::guest(&hub, "ana").await];
    assert_eq!(Peer::connect(&hub, "?user=ana", &[]).await.unwrap().end().await, 4429);
    Peer::guest(&hub, "bob").await;
}

#[tokio::test]
async fn whatever_is_said_the_hub_lives_and_tells_it_as_it_was_said() {
    for database in [None, Some(Scratch::new(b""))] {
        let path = database.as_ref().map_or("none", Scratch::path);
        let hub = hub(&[DEVELOPMENT, ("history.database", path)]).await;
        support::data::whatever_is_said_the_hub_lives_and_tells_it_as_it_was_said(&hub).await;
    }
}

/// A member of a room with so many messages, and its epoch.
async fn filled(hub: &Running, messages: usize) -> (Peer, Value) {
    let mut peer = Peer::guest(hub, "ana").await;
    let epoch = peer.ask(join("j", "r", Value::Null)).await["data"]["epoch"].clone();
    for number in 1..=messages {
        assert_eq!(peer.ask(text(&format!("m{number}"), "r", number)).await["seq"], number);
    }
    (peer, epoch)
}
