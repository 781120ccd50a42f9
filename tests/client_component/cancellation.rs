//! Each future of the client's handle and of its updates, dropped while it waits.

use std::time::Duration;

use serde_json::{Value, json};
use taut::client::{Cause, Outbox, Update};
use taut::proto::{CloseCode, Message};
use tokio::time::sleep;

use super::delivery::Plain;
use super::futures::{ends, once};
use super::world::{World, open, text, until};

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_has_sent_nothing() {
    let mut world = World::new();
    world.shut(true);
    let (client, _updates) = world.builder().outbox(Outbox::new().max_messages(1)).start();
    client.try_send("1").unwrap();
    assert!(once(client.send("gone")).await.is_none());
    assert!(once(client.send_text("gone")).await.is_none());
    assert!(once(client.send_binary(&b"gone"[..])).await.is_none());
    assert!(once(client.send_json(&"gone")).await.is_none());
    world.shut(false);
    let mut server = world.server().await;
    assert_eq!(text(&mut server).await, "1");
    // With room, the first poll takes it.
    once(client.send_text("2")).await.unwrap().unwrap();
    assert_eq!(text(&mut server).await, "2");
    once(client.send_json(&3)).await.unwrap().unwrap();
    assert_eq!(text(&mut server).await, "3");
    assert_eq!(client.waiting(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_goes_on_without_who_asked() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().acknowledge(Plain).start();
    let mut server = world.server().await;
    until(&mut updates, open).await;
    assert!(once(client.deliver("one")).await.is_none());
    let first = text(&mut server).await;
    let (id, message) = first.split_once(' ').unwrap();
    assert_eq!((message, client.waiting()), ("one", (0, 1)));
    server.send(format!("ack {id}")).await.unwrap();

    assert!(once(client.request::<u64>("double", &1, PATIENCE)).await.is_none());
    let asked: Value = serde_json::from_str(&text(&mut server).await).unwrap();
    assert_eq!(asked["type"], "double");
    // Its reply is a message like others.
    server.send(json!({"type": "reply", "id": asked["id"], "data": 2}).to_string()).await.unwrap();
    assert!(ends(updates.recv_message()).await.unwrap().as_text().unwrap().contains("reply"));

    let acknowledging = async {
        let second = text(&mut server).await;
        let (id, message) = second.split_once(' ').unwrap();
        assert_eq!(message, "two");
        server.send(format!("ack {id}")).await.unwrap();
    };
    let (delivered, ()) = tokio::join!(client.deliver("two"), acknowledging);
    delivered.unwrap();
    assert!(once(client.deliver_json("three", &3)).await.is_none());
    let third = text(&mut server).await;
    let (id, message) = third.split_once(' ').unwrap();
    assert_eq!(message, r#"{"type":"three","data":3}"#);
    server.send(format!("ack {id}")).await.unwrap();
    server.send("after it").await.unwrap();
    assert_eq!(ends(updates.recv_message()).await, Some("after it".into()));
    assert_eq!(client.waiting(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn updates_lose_nothing() {
    let mut world = World::new();
    let (_client, mut updates) = world.builder().incoming(2, 1 << 20).start();
    let mut server = world.server().await;
    until(&mut updates, open).await;
    let sending = tokio::spawn(async move {
        for number in 0..60 {
            server.send(number.to_string()).await.unwrap();
            sleep(Duration::from_millis(3)).await;
        }
        server
    });
    let mut drops = 0;
    for number in 0..60 {
        let message = loop {
            let next = if number % 2 == 0 {
                once(updates.recv_message()).await.map(Option::unwrap)
            } else {
                once(updates.recv()).await.map(|update| match update {
                    Some(Update::Message(message)) => message,
                    other => panic!("{other:?}"),
                })
            };
            if let Some(message) = next {
                break message;
            }
            drops += 1;
            sleep(Duration::from_millis(1)).await;
        };
        assert_eq!(message, Message::text(number.to_string()));
    }
    assert!(drops > 60, "{drops}");
    ends(sending).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_close_goes_on() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().start();
    let mut server = world.server().await;
    until(&mut updates, open).await;
    assert!(once(client.ended()).await.is_none());
    assert!(once(client.close(CloseCode::AWAY, "first")).await.is_none());
    let Some(Message::Close(Some(close))) = ends(server.recv()).await.unwrap() else { panic!("no Close") };
    assert_eq!((close.code(), close.reason().as_str()), (CloseCode::AWAY, "first"));
    let (again, end) = tokio::join!(client.close(CloseCode::NORMAL, "second"), server.recv());
    assert_eq!(end.unwrap(), None);
    assert!(matches!(again.unwrap().cause, Cause::Closed(_)));
    assert!(matches!(once(client.ended()).await.unwrap().cause, Cause::Closed(_)));
}
