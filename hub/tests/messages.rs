//! Messages: envelopes, rooms, presence, numbers, and what is recovered.

mod support;

use std::collections::HashSet;

use serde_json::{Value, json};
use support::{Peer, Scratch, api, claims, hub, hub_with_secret, now, token};
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
        ("malformed", join("4a", "a", json!([{ "epoch": "x", "seq": 1 }, 5]))),
        ("malformed", join("4b", "a", json!({ "after": ["x", 1] }))),
        ("malformed", json!({ "id": "4c", "message_type": "refresh", "data": ["token"] })),
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
    let array = Message::text(r#"["q","ping",null,null,null,null,null,null]"#);
    for raw in [Message::text("{"), Message::text("[]"), array, Message::binary(vec![1, 2])] {
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
        peer.recovers_the_last_ten_of_thirty(epoch).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn nor_if_they_come_at_once() {
    let hub = hub(&[DEVELOPMENT, ("clients.connections_of_one", "5")]).await;
    let address = hub.address().unwrap().to_string();
    let mut coming = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let address = address.clone();
        coming.spawn(async move {
            let mut peer = Peer::connect_to(&address, "?user=ana", &[]).await.unwrap();
            let is_in = peer.recv().await.is_some();
            (is_in, peer)
        });
    }
    let (inside, outside): (Vec<_>, Vec<_>) =
        coming.join_all().await.into_iter().partition(|(is_in, _)| *is_in);
    assert_eq!((inside.len(), outside.len()), (5, 45));
    for (_, mut peer) in outside {
        assert_eq!(peer.end().await, 4429);
    }
}

#[tokio::test]
async fn a_token_that_names_fewer_rooms_takes_the_others_away() {
    let hub = hub_with_secret(&[]).await;
    let query = |claims| format!("?token={}", token(claims));
    let mut ana = Peer::connect(&hub, &query(claims("ana")), &[]).await.unwrap();
    let mut bob = Peer::connect(&hub, &query(claims("bob")), &[]).await.unwrap();
    for room in ["a", "b"] {
        ana.ask(join("j", room, Value::Null)).await;
        bob.ask(join("j", room, Value::Null)).await;
    }
    let mut fewer = claims("ana");
    fewer["rooms"] = json!(["a"]);
    let refresh = json!({ "id": "f", "message_type": "refresh", "data": { "token": token(fewer) } });
    let ack = ana.ask(refresh).await;
    assert_eq!((&ack["message_type"], &ack["data"]["left"]), (&json!("ack"), &json!(["b"])));
    assert_eq!(bob.next("user_left").await["room"], "b");
    assert_eq!(ana.ask(text("1", "b", "x")).await["data"]["code"], "not_in_room");
    assert_eq!(ana.ask(join("2", "b", Value::Null)).await["data"]["code"], "not_allowed");
    bob.ask(text("3", "b", "not for ana")).await;
    bob.ask(text("4", "a", "for ana")).await;
    assert_eq!(ana.next("text").await["id"], "4");
    assert_eq!(ana.ask(text("5", "a", "x")).await["message_type"], "ack");
}

#[tokio::test]
async fn of_all_it_is_told_how_many_are_there_and_not_who() {
    let hub = hub(&[DEVELOPMENT]).await;
    let mut ana = Peer::guest(&hub, "ana").await;
    let _bob = Peer::guest(&hub, "bob").await;
    for message_type in ["presence", "history", "join"] {
        let answer = ana.ask(json!({ "id": "p", "message_type": message_type, "room": "*" })).await;
        assert_eq!((&answer["data"]["total"], &answer["data"]["users"]), (&json!(2), &json!([])));
    }
}

#[tokio::test]
async fn who_reads_too_much_waits_and_nobody_else_does() {
    let hub = hub(&[DEVELOPMENT, ("clients.read_rate", "1/3")]).await;
    let (mut ana, mut bob) = (Peer::guest(&hub, "ana").await, Peer::guest(&hub, "bob").await);
    ana.ask(join("j", "r", Value::Null)).await;
    bob.ask(join("j", "r", Value::Null)).await;
    for number in 0..100 {
        ana.send(json!({ "id": number.to_string(), "message_type": "history", "room": "r" })).await;
    }
    ana.next("history").await;
    for _ in 0..50 {
        assert_eq!(bob.ask(json!({ "id": "p", "message_type": "ping" })).await["message_type"], "pong");
    }
    assert_eq!(bob.ask(text("m", "r", "x")).await["message_type"], "ack");
    let mut answered = 1;
    while let message = ana.recv().await.unwrap()
        && message["message_type"] != "text"
    {
        answered += usize::from(message["message_type"] == "history");
    }
    assert!(answered < 100);
}

#[tokio::test]
async fn what_is_sent_is_bounded() {
    let hub = hub(&[DEVELOPMENT]).await;
    let mut ana = Peer::guest(&hub, "ana").await;
    ana.ask(join("j", "r", Value::Null)).await;
    assert_eq!(ana.ask(text("most", "r", "x".repeat(60_000))).await["message_type"], "ack");
    ana.send(text("more", "r", "x".repeat(70_000))).await;
    assert_eq!(ana.end().await, 1009);
}

#[tokio::test]
async fn tokens_of_a_user_are_taken_back_together() {
    let hub = hub_with_secret(&[]).await;
    let issued = |user: &str, at: Value| {
        let mut claims = claims(user);
        claims["iat"] = at;
        token(claims)
    };
    let come = async |token: &str| Peer::connect(&hub, &format!("?token={token}"), &[]).await.unwrap();
    let tokens =
        [issued("ana", json!(now() - 100)), issued("ana", Value::Null), issued("ana", json!(now() - 10))];
    let [mut old, mut silent, mut new] =
        [come(&tokens[0]).await, come(&tokens[1]).await, come(&tokens[2]).await];
    let mut bob = come(&issued("bob", Value::Null)).await;
    for peer in [&mut old, &mut silent, &mut new, &mut bob] {
        peer.next("system_message").await;
    }
    let revoke = async |time: Value| {
        let body = json!({ "user_id": "ana", "time": time });
        api(&hub, "POST", "/ws/revoke_before", body).await.0
    };
    assert_eq!(revoke(json!(now() * 1000)).await, 400);
    assert_eq!(revoke(json!(now() - 50)).await, 200);
    for (peer, token) in [(&mut old, &tokens[0]), (&mut silent, &tokens[1])] {
        assert_eq!(peer.end().await, 4403);
        assert_eq!(come(token).await.end().await, 4403);
    }
    let refresh = json!({ "id": "f", "message_type": "refresh", "data": { "token": tokens[0] } });
    assert_eq!(new.ask(refresh).await["data"]["code"], "token_revoked");
    for peer in [&mut new, &mut bob, &mut come(&tokens[2]).await] {
        assert_eq!(peer.ask(json!({ "id": "p", "message_type": "ping" })).await["message_type"], "pong");
    }
    assert_eq!(revoke(Value::Null).await, 200);
    assert_eq!(new.end().await, 4403);
    assert_eq!(come(&tokens[2]).await.end().await, 4403);
    assert_eq!(bob.ask(json!({ "id": "p", "message_type": "ping" })).await["message_type"], "pong");
}

#[tokio::test]
async fn a_time_at_which_no_token_ends_is_refused() {
    let hub = hub(&[DEVELOPMENT]).await;
    for (until, status) in [(0, 400), (now() * 1000, 400), (now() + 60, 200)] {
        let revoke = json!({ "token_id": "1", "until": until });
        assert_eq!(api(&hub, "POST", "/ws/revoke", revoke).await.0, status, "{until}");
    }
}

#[tokio::test]
async fn whatever_is_said_the_hub_lives_and_tells_it_as_it_was_said() {
    for database in [None, Some(Scratch::new(b""))] {
        let path = database.as_ref().map_or("none", Scratch::path);
        let hub = hub(&[DEVELOPMENT, ("history.database", path)]).await;
        support::data::whatever_is_said_the_hub_lives_and_tells_it_as_it_was_said(&hub).await;
    }
}

#[tokio::test]
async fn histories_are_bounded_by_their_bytes() {
    let files = [Scratch::new(b""), Scratch::new(b"")];
    for [first, second] in [["none", "none"], [files[0].path(), files[1].path()]] {
        let bounded = hub(&[DEVELOPMENT, ("history.database", first), ("history.bytes", "20000")]).await;
        support::data::a_stream_is_bounded_by_its_bytes(&bounded).await;
        let hub = hub(&[DEVELOPMENT, ("history.database", second)]).await;
        support::data::a_page_is_bounded_and_says_where_to_go_on(&hub).await;
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
