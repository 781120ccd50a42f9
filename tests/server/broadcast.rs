//! Messages to many: to whom, and what becomes of them where somebody does not read.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use taut::proto::{Message, Prepared};
use taut::server::{BoxError, Handle, Outgoing, Refusal, Sent, Server, SlowConsumer};
use tokio::io::AsyncReadExt;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_those_it_is_for_and_nobody_else() {
    let server = server(quiet()).detached();
    let mut clients = Vec::new();
    let mut handles = Vec::new();
    for number in 0..4_u8 {
        clients.push(connect(&server).await);
        settle().await;
        let new = server.registry().filter(|handle| !handles.contains(handle));
        new[0].insert(number);
        handles.extend(new);
    }
    let registry = server.registry();
    assert_eq!(registry.broadcast("all").to_all().queued, 4);
    assert_eq!(registry.broadcast("others").except(handles[0].id()).to_all().queued, 3);
    assert_eq!(registry.broadcast("listed").to_each(&handles[1..3]).queued, 2);
    let odd =
        |handle: &taut::server::Handle| handle.get::<u8>().is_some_and(|number| number.is_multiple_of(2));
    assert_eq!(registry.broadcast("even").to_those(odd).queued, 2);
    registry.broadcast(Outgoing::json(&[1, 2]).unwrap()).to_all();
    let prepared = Prepared::text("prepared");
    registry.broadcast(&prepared).to_all();
    handles[0].send_json("json").unwrap();
    for handle in &handles {
        handle.send_text("end").unwrap();
    }
    let expected: [&[&str]; 4] = [
        &["all", "even", "[1,2]", "prepared", "\"json\""],
        &["all", "others", "listed", "[1,2]", "prepared"],
        &["all", "others", "listed", "even", "[1,2]", "prepared"],
        &["all", "others", "[1,2]", "prepared"],
    ];
    for (client, expected) in clients.iter_mut().zip(expected) {
        for text in expected.iter().chain([&"end"]) {
            assert_eq!(hear(client).await, *text);
        }
    }
    registry.broadcast(vec![1, 2, 3]).to_all();
    assert_eq!(ends(clients[0].recv()).await.unwrap(), Some(Message::binary(vec![1, 2, 3])));
    handles[0].send_binary(vec![4]).unwrap();
    assert_eq!(ends(clients[0].recv()).await.unwrap(), Some(Message::binary(vec![4])));
}

/// A policy, and what becomes of ten messages to a peer that does not read until then: queued, displaced, dropped,
/// disconnected, refused; and which of them it hears at last.
type Case = (SlowConsumer, [usize; 5], &'static [usize]);

#[tokio::test(start_paused = true)]
async fn a_stalled_receiver_gets_its_policy_and_others_get_everything() {
    const ROOM: usize = 1000;
    let cases: [Case; 4] = [
        (SlowConsumer::DropOldest, [10, 4, 0, 0, 0], &[0, 1, 6, 7, 8, 9]),
        (SlowConsumer::DropNewest, [6, 0, 4, 0, 0], &[0, 1, 2, 3, 4, 5]),
        (SlowConsumer::Conflate, [10, 4, 0, 0, 0], &[0, 1, 9, 3, 4, 5]),
        (SlowConsumer::Disconnect, [6, 0, 0, 1, 3], &[0, 1]),
    ];
    for (policy, expected, heard) in cases {
        // The transport takes one message, and the engine holds one ahead.
        let config = quiet().slow_consumer(policy).max_queued_messages(4).write_buffer(1);
        let server = server(config).detached();
        let mut healthy = connect(&server).await;
        settle().await;
        let mut stalled = connect_to(&server, "ws://a/", ROOM, |request| request).await.unwrap();
        settle().await;
        let slow = server.registry().filter(|handle| handle.request().host() == "a")[0].clone();
        let message = |number: usize| format!("{number}{}", ".".repeat(ROOM - 100));
        let mut counts = [0; 5];
        for number in 0..10 {
            // Those from 2 on tell the latest of the same.
            let key = if [2, 6, 7, 8, 9].contains(&number) { "x" } else { "y" };
            let tally = server.registry().broadcast(Outgoing::text(message(number)).key(key)).to_all();
            let healthy_one = 1;
            let now = [
                tally.queued - healthy_one,
                tally.displaced,
                tally.dropped,
                tally.disconnected,
                tally.refused,
            ];
            counts = std::array::from_fn(|index| counts[index] + now[index]);
            assert_eq!(hear(&mut healthy).await, message(number), "{policy:?}");
            settle().await;
        }
        assert_eq!(counts, expected, "{policy:?}");
        assert!(slow.queued().0 <= 4);
        let (texts, status) = match policy {
            SlowConsumer::Disconnect => hear_all(&mut stalled).await,
            _ => {
                slow.close(taut::proto::CloseCode::NORMAL, "").unwrap();
                hear_all(&mut stalled).await
            }
        };
        let numbers: Vec<usize> = texts.iter().map(|text| text[..1].parse().unwrap()).collect();
        assert_eq!(numbers, heard, "{policy:?}");
        let code = if policy == SlowConsumer::Disconnect { 1013 } else { 1000 };
        assert_eq!(status.map(|status| status.code), Some(code), "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_polled_for_what_it_waits_for_and_nothing_else() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = polls.clone();
    let server = server(quiet())
        .handler(move |mut connection| {
            let polls = counted.clone();
            let mut running = Box::pin(async move {
                while let Some(message) = connection.recv().await? {
                    connection.queue(message)?;
                    // Woken by itself, amid its turn.
                    tokio::task::yield_now().await;
                }
                Ok::<_, BoxError>(())
            });
            poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                running.as_mut().poll(cx)
            })
        })
        .detached();
    let mut client = connect(&server).await;
    settle().await;
    let before = polls.load(Ordering::Relaxed);
    for number in 0..10 {
        server.registry().broadcast(number.to_string()).to_all();
        assert_eq!(hear(&mut client).await, number.to_string());
    }
    client.send(Message::Ping("x".into())).await.unwrap();
    assert_eq!(ends(client.recv()).await.unwrap(), Some(Message::Pong("x".into())));
    assert_eq!(polls.load(Ordering::Relaxed), before);
    for number in 0..10 {
        client.send(number.to_string()).await.unwrap();
        assert_eq!(hear(&mut client).await, number.to_string());
        settle().await;
    }
    assert_eq!(polls.load(Ordering::Relaxed), before + 20);
}

/// A client that reads late, and four messages on their way to it, each longer than what the transport takes.
async fn crowded(lane: impl Fn(Outgoing) -> Outgoing) -> (Server, Client, Handle) {
    let server = server(quiet().write_buffer(1)).detached();
    let client = connect_to(&server, "ws://a/", 500, |request| request).await.unwrap();
    settle().await;
    let handle = server.registry().list()[0].clone();
    for number in 0..4 {
        handle.queue(lane(Outgoing::text(format!("{number}{}", ".".repeat(600))))).unwrap();
        settle().await;
    }
    (server, client, handle)
}

#[tokio::test(start_paused = true)]
async fn urgent_messages_go_before_those_that_wait() {
    let (_server, mut client, handle) = crowded(|waiting| waiting).await;
    assert_eq!(handle.queue(Outgoing::text("urgent").urgent()), Ok(Sent::Queued));
    let mut order = String::new();
    for _ in 0..5 {
        order.push_str(&hear(&mut client).await[..1]);
    }
    // What the transport and the engine have is on its way.
    assert_eq!(order, "0u123");
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_ping_goes_before_what_waits() {
    let (_server, mut client, _) = crowded(Outgoing::urgent).await;
    client.send(Message::Ping("there?".into())).await.unwrap();
    settle().await;
    let mut order = String::new();
    while order.len() < 5 {
        match ends(client.recv()).await.unwrap() {
            Some(Message::Text(text)) => order.push_str(&text[..1]),
            Some(Message::Pong(payload)) if payload == "there?" => order.push('p'),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(order, "0p123");
}

#[tokio::test(start_paused = true)]
async fn who_sends_much_can_wait_for_room() {
    let config = quiet().max_queued_messages(8).slow_consumer(SlowConsumer::Disconnect);
    let server = server(config)
        .handler(|connection| async move {
            for number in 0..1000 {
                connection.send(format!("{number}{}", ".".repeat(1000))).await?;
            }
            Ok::<_, Refusal>(())
        })
        .detached();
    let mut client = connect_to(&server, "ws://a/", 500, |request| request).await.unwrap();
    let (texts, status) = hear_all(&mut client).await;
    assert_eq!((texts.len(), status.unwrap().code), (1000, 1000));
    is_empty(&server).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_given_up() {
    let server =
        server(quiet().write_timeout(seconds(20)).slow_consumer(SlowConsumer::DropOldest)).detached();
    let mut stalled = connect_to(&server, "ws://a/", 100, |request| request).await.unwrap();
    settle().await;
    for _ in 0..10 {
        server.registry().broadcast("x".repeat(1000)).to_all();
    }
    tokio::time::sleep(seconds(19)).await;
    assert_eq!(server.registry().len(), 1);
    tokio::time::sleep(seconds(2)).await;
    is_empty(&server).await;
    // The stream ended amid a message.
    assert!(ends(stalled.recv()).await.is_err());
    let (mut stream, _) = stalled.into_parts();
    assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
}
