//! How many connections, how large messages, how many a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use taut::proto::Message;
use taut::server::{Fault, OverRate, Rate, Server};
use taut::testing::pair;
use taut::{AdmissionLimits, Error, Refused};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn connections_over_a_limit_are_not_let_in() {
    let limits = AdmissionLimits::new().max_connections(3).max_connections_from_one(2);
    let server = server(quiet().admission(limits)).detached();
    let clients = [connect(&server).await, connect(&server).await];
    let (_, stream) = pair(10);
    assert_eq!(server.serve(stream, address(1)), Err(Refused::ConnectionsFromOne));
    let (_third, stream) = pair(10);
    assert_eq!(server.serve(stream, address(2)), Ok(()));
    let (_, stream) = pair(10);
    assert_eq!(server.serve(stream, address(3)), Err(Refused::Connections));
    drop(clients);
    settle().await;
    connect(&server).await;
}

#[tokio::test]
async fn a_listener_tells_whom_it_did_not_let_in() {
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = refused.clone();
    let config = quiet().address("127.0.0.1:0").admission(AdmissionLimits::new().max_connections(1));
    let server = Server::builder(config)
        .on_error(move |fault| {
            assert!(matches!(fault, Fault::Refused(_, Refused::Connections)), "{fault}");
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .bind()
        .await
        .unwrap();
    let url = format!("ws://{}/", server.address().unwrap());
    let _first = taut::tokio::connect(&url).await.unwrap();
    assert!(taut::tokio::connect(&url).await.is_err());
    assert_eq!(refused.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_gets_1009() {
    let server = server(quiet().max_message(100)).detached();
    let mut client = connect(&server).await;
    client.send(Message::binary(vec![0; 100])).await.unwrap();
    client.send(Message::binary(vec![0; 101])).await.unwrap();
    assert_eq!(close_code(&mut client).await, 1009);
    is_empty(&server).await;
}

#[tokio::test(start_paused = true)]
async fn who_sends_faster_than_allowed_is_closed_or_waits() {
    let rate = Rate::new(10, 5);
    let closing = server(quiet().message_rate(rate)).detached();
    let mut client = connect(&closing).await;
    for _ in 0..6 {
        client.send("x").await.unwrap();
    }
    assert_eq!(close_code(&mut client).await, 1008);
    is_empty(&closing).await;

    for config in [
        quiet().message_rate(rate).over_rate(OverRate::Wait),
        quiet().byte_rate(rate).over_rate(OverRate::Wait),
    ] {
        let waiting = server(config)
            .on_message(|handle, message| async move { handle.queue(message).map(|_| ()) })
            .detached();
        let mut client = connect(&waiting).await;
        let start = tokio::time::Instant::now();
        for _ in 0..25 {
            client.feed("x").unwrap();
        }
        client.flush().await.unwrap();
        for _ in 0..25 {
            hear(&mut client).await;
        }
        // Five at once, and then ten a second.
        assert!((1900..=2100).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        // While the peer waits, what is for it does not.
        for _ in 0..5 {
            client.send("x").await.unwrap();
        }
        settle().await;
        waiting.registry().broadcast("now").to_all();
        let start = tokio::time::Instant::now();
        while hear(&mut client).await != "now" {}
        assert!(start.elapsed().as_millis() < 10);
    }
}

#[tokio::test(start_paused = true)]
async fn memory_that_all_share_has_an_end() {
    let server = server(quiet().max_memory(10_000)).detached();
    let mut client = connect(&server).await;
    client.feed(Message::binary(vec![0; 50_000])).unwrap();
    let mut other = connect(&server).await;
    other.feed_fragment(taut::proto::Kind::Binary, &[0; 20_000], false).unwrap();
    other.flush().await.unwrap();
    assert_eq!(close_code(&mut other).await, 1013);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_ends_and_a_health_check_is_no_fault() {
    let notes = Notes::default();
    let told = notes.clone();
    let server = server(quiet())
        .on_error(move |fault| match fault {
            Fault::Handshake(_, Error::Timeout(_)) => told.push("timeout"),
            other => told.push(other.to_string()),
        })
        .detached();
    drop(stream(&server, 100));
    settle().await;
    assert_eq!((notes.take().len(), server.tasks()), (0, 0));
    let _silent = stream(&server, 100);
    tokio::time::sleep(seconds(20)).await;
    assert_eq!(notes.take(), ["timeout"]);
    is_empty(&server).await;
}
