//! Requests and replies.

use std::time::Duration;

use serde_json::{Value, json};
use taut::client::{Batch, Outbox, Overflow, RequestError, Sent};
use tokio::time::{Instant, sleep};

use super::futures::ends;
use super::world::{Server, World, lost, open, text, until};

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn replies_find_their_requests_in_any_order() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().start();
    let mut server = world.server().await;
    let serving = async {
        let first = request(&mut server).await;
        let second = request(&mut server).await;
        assert_eq!((&first["type"], &first["data"]), (&json!("double"), &json!(1)));
        assert_ne!(first["id"], second["id"]);
        server.send("not a reply").await.unwrap();
        server.send(json!({"type": "news", "id": "nobody's"}).to_string()).await.unwrap();
        for request in [second, first] {
            let doubled = request["data"].as_u64().unwrap() * 2;
            let reply = json!({"type": "reply", "id": request["id"], "data": doubled});
            server.send(reply.to_string()).await.unwrap();
        }
        server
    };
    let asking = async {
        let one = client.request::<u64>("double", &1, PATIENCE);
        let two = client.request::<u64>("double", &2, PATIENCE);
        let (one, two) = tokio::join!(one, two);
        assert_eq!((one.unwrap(), two.unwrap()), (2, 4));
    };
    let (_server, ()) = tokio::join!(serving, asking);
    assert_eq!(ends(updates.recv_message()).await, Some("not a reply".into()));
    let news = ends(updates.recv_message()).await.unwrap();
    assert!(news.as_text().unwrap().contains("nobody's"));
}

#[tokio::test(start_paused = true)]
async fn each_way_to_fail() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().start();
    let mut server = world.server().await;
    until(&mut updates, open).await;
    let start = Instant::now();
    let late = client.request::<u64>("silence", &(), PATIENCE).await;
    assert!(matches!(late, Err(RequestError::Late)), "{late:?}");
    assert_eq!(start.elapsed(), PATIENCE);
    // Its reply is a message like others, and nobody's.
    let id = request(&mut server).await["id"].clone();
    server.send(json!({"type": "reply", "id": id, "data": 1}).to_string()).await.unwrap();
    assert!(ends(updates.recv_message()).await.is_some());

    for (kind, data) in [("error", json!({"code": 7})), ("reply", json!("a text"))] {
        let serving = async {
            let id = request(&mut server).await["id"].clone();
            server.send(json!({"type": kind, "id": id, "data": data}).to_string()).await.unwrap();
        };
        let (answer, ()) = tokio::join!(client.request::<u64>("wrong", &(), PATIENCE), serving);
        match answer {
            Err(RequestError::Refused(told)) => assert_eq!((kind, &*told), ("error", r#"{"code":7}"#)),
            Err(RequestError::Reply(_)) => assert_eq!(kind, "reply"),
            other => panic!("{other:?}"),
        }
    }

    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.request::<u64>("lost", &(), Duration::from_secs(3_600)).await }
    });
    request(&mut server).await;
    drop(server);
    until(&mut updates, lost).await;
    let answer = ends(asking).await.unwrap();
    assert!(matches!(answer, Err(RequestError::Lost)), "{answer:?}");
}

/// A request that waits to be sent goes out by the next connection, once, and its reply is heard.
#[tokio::test(start_paused = true)]
async fn a_request_that_was_not_sent_outlives_a_connection() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().batch(Batch::new(2, usize::MAX, PATIENCE)).start();
    let server = world.server().await;
    until(&mut updates, open).await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.request::<u64>("double", &1, Duration::from_secs(3_600)).await }
    });
    sleep(Duration::from_millis(1)).await;
    assert_eq!(client.waiting(), (1, 0));
    drop(server);
    until(&mut updates, lost).await;
    let mut server = world.server().await;
    let id = request(&mut server).await["id"].clone();
    server.send(json!({"type": "reply", "id": id, "data": 2}).to_string()).await.unwrap();
    let answer = ends(asking).await.unwrap();
    assert!(matches!(answer, Ok(2)), "{answer:?}");
    client.send("behind it").await.unwrap();
    assert_eq!(text(&mut server).await, "behind it");
}

/// It is not waited for until it is late.
#[tokio::test(start_paused = true)]
async fn a_request_that_was_dropped_for_others_is_lost_at_once() {
    let world = World::new();
    world.shut(true);
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let outbox = Outbox::new().max_messages(1).overflow(overflow);
        let (client, _updates) = world.builder().outbox(outbox).start();
        let start = Instant::now();
        if overflow == Overflow::DropNewest {
            assert_eq!(client.try_send("first").unwrap(), Sent::Queued);
        }
        let asking = client.request::<u64>("dropped", &(), PATIENCE);
        let sending = async {
            sleep(Duration::from_millis(1)).await;
            client.try_send("another").unwrap();
        };
        let (answer, ()) = tokio::join!(asking, sending);
        assert!(matches!(answer, Err(RequestError::Lost)), "{answer:?}");
        assert!(start.elapsed() < PATIENCE, "{overflow:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn values_go_as_json() {
    let mut world = World::new();
    let (client, _updates) = world.builder().start();
    client.send_json(&json!({"a": [1, "ü"]})).await.unwrap();
    assert_eq!(text(&mut world.server().await).await, r#"{"a":[1,"ü"]}"#);
    let unkeyed = std::collections::HashMap::from([(vec![1], 1)]);
    assert!(matches!(client.send_json(&unkeyed).await, Err(RequestError::Value(_))));
}

async fn request(server: &mut Server) -> Value {
    serde_json::from_str(&text(server).await).unwrap()
}
