//! The client that stays connected with the router: requests, answers, and messages that come again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use taut::client::{Builder, Handle, JsonAcknowledge, RequestError, Undelivered, Updates};
use taut::proto::Message;
use taut::server::{BoxError, MessageError, Router};
use taut::testing::MemoryNetwork;

use crate::support::*;

fn client(network: &MemoryNetwork) -> (Handle, Updates) {
    Builder::new("ws://a/").network(network.client()).acknowledge(JsonAcknowledge::new()).start()
}

/// A server that notes what it is told, and cuts the connection before the first answers leave.
fn cutting(remember: usize, cuts: usize, notes: &Notes) -> MemoryNetwork {
    let told = notes.clone();
    let left = AtomicUsize::new(cuts);
    let left = Arc::new(left);
    let router = Router::new()
        .on("note", move |sender, text: String| {
            told.push(text);
            if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                sender.abort();
            }
            async {}
        })
        .on("refuse", |_, (): ()| async { Err::<(), BoxError>(MessageError::refuse("too rude").into()) })
        .answer("double", |_, number: u64| async move { Ok::<_, BoxError>(number * 2) })
        .on("touch", |_, (): ()| async {})
        .remember(remember);
    let network = MemoryNetwork::default();
    network.listen("a", 80).serve(server(quiet()).router(router)).unwrap();
    network
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_and_refusals_told() {
    let notes = Notes::default();
    let network = cutting(0, 0, &notes);
    let (client, _updates) = client(&network);
    assert_eq!(client.request::<u64>("double", &21, seconds(5)).await.unwrap(), 42);
    client.request::<()>("touch", &(), seconds(5)).await.unwrap();
    match client.request::<u64>("refuse", &(), seconds(5)).await {
        Err(RequestError::Refused(said)) => assert_eq!(&*said, "\"too rude\""),
        other => panic!("{other:?}"),
    }
    client.deliver_json("note", &"one").await.unwrap();
    client.deliver(r#"{"type":"double","data":1}"#).await.unwrap();
    match client.deliver_json("refuse", &()).await {
        Err(Undelivered::Refused(said)) => assert_eq!(&*said, "\"too rude\""),
        other => panic!("{other:?}"),
    }
    match client.deliver("no object").await {
        Err(Undelivered::Refused(said)) => assert!(said.contains("no message has the type"), "{said}"),
        other => panic!("{other:?}"),
    }
    assert_eq!((notes.take(), client.waiting()), (vec!["one".to_owned()], (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_again_is_delivered_once() {
    for (remember, times) in [(100, 1), (0, 4)] {
        let notes = Notes::default();
        let network = cutting(remember, 3, &notes);
        let (client, _updates) = client(&network);
        ends(client.deliver_json("note", &"once")).await.unwrap();
        // Each cut but the first needs a message that is new, where they are known again.
        for _ in times..4 {
            ends(client.deliver_json("note", &"more")).await.unwrap();
        }
        let came = notes.take();
        assert_eq!(came.iter().filter(|note| *note == "once").count(), times, "{came:?}");
        assert_eq!(came.len(), 4, "{came:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_has_an_end_and_answers_are_the_same() {
    let runs = Arc::new(Mutex::new(Vec::new()));
    let ran = runs.clone();
    let router = Router::new()
        .answer("count", move |_, length: usize| {
            let mut ran = ran.lock().unwrap();
            ran.push(length);
            let answer = json!([ran.len(), "x".repeat(length)]);
            async move { Ok::<_, BoxError>(answer) }
        })
        .remember(2);
    let server = server(quiet()).router(router).detached();
    let [mut one, mut two] = [connect(&server).await, connect(&server).await];
    let ask = async |client: &mut crate::support::Client, id: Value, length: usize| -> Value {
        client.send(json!({"type": "count", "id": id, "data": length}).to_string()).await.unwrap();
        let heard: Value = serde_json::from_str(&hear(client).await).unwrap();
        assert_eq!(heard["id"], id);
        heard
    };
    assert_eq!(ask(&mut one, json!("a"), 0).await["data"][0], 1);
    assert_eq!(ask(&mut two, json!("a"), 0).await["data"][0], 1, "by another connection too");
    // One that is long is an acknowledgement the second time.
    assert_eq!(ask(&mut one, json!("b"), 2000).await["data"][0], 2);
    assert_eq!(ask(&mut one, json!("b"), 2000).await, json!({"type": "ack", "id": "b"}));
    // Numbers are a connection's own.
    assert_eq!(ask(&mut one, json!(7), 0).await["data"][0], 3);
    assert_eq!(ask(&mut one, json!(7), 0).await["data"][0], 4);
    assert_eq!(ask(&mut one, json!("c"), 0).await["data"][0], 5);
    assert_eq!(ask(&mut one, json!("b"), 0).await["type"], "ack");
    assert_eq!(ask(&mut one, json!("a"), 0).await["data"][0], 6, "two are remembered, and this is the third");
    let long = "i".repeat(129);
    one.send(json!({"type": "count", "id": long, "data": 0}).to_string()).await.unwrap();
    assert!(hear(&mut one).await.contains("its id is longer than 128 bytes"));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_was_dropped_runs_again() {
    let runs = Arc::new(AtomicUsize::new(0));
    let ran = runs.clone();
    let router = Router::new()
        .on("slow", move |_, (): ()| {
            let first = ran.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                if first {
                    std::future::pending::<()>().await;
                }
            }
        })
        .remember(10);
    let server = server(quiet()).router(router).detached();
    let message = json!({"type": "slow", "id": "x", "data": null}).to_string();
    let mut one = connect(&server).await;
    one.send(message.clone()).await.unwrap();
    settle().await;
    let mut two = connect(&server).await;
    two.send(message.clone()).await.unwrap();
    settle().await;
    assert_eq!(runs.load(Ordering::Relaxed), 1, "the second waits for the first");
    let first = server.registry().list().iter().max_by_key(|handle| handle.uptime()).unwrap().clone();
    first.abort();
    assert_eq!(hear(&mut two).await, json!({"type": "ack", "id": "x"}).to_string());
    let mut three = connect(&server).await;
    three.send(Message::text(message)).await.unwrap();
    assert_eq!(hear(&mut three).await, json!({"type": "ack", "id": "x"}).to_string());
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}
