//! What waits, on both ways, and for how long.

use std::time::Duration;

use taut::client::{Batch, Outbox, Overflow, Sent, UnsentKind, Update};
use tokio::time::{Instant, sleep};

use super::delivery::Plain;
use super::futures::ends;
use super::world::{World, lost, open, text, texts, until};

#[tokio::test(start_paused = true)]
async fn each_policy_tells_what_it_did() {
    let limits = Outbox::new().max_messages(2);
    for (overflow, told, kept) in [
        (Overflow::DropOldest, Sent::Displaced(1), ["2", "3"]),
        (Overflow::DropNewest, Sent::Dropped, ["1", "2"]),
    ] {
        let mut world = World::new();
        world.shut(true);
        let (client, _updates) = world.builder().outbox(limits.overflow(overflow)).start();
        assert_eq!(client.try_send("1").unwrap(), Sent::Queued);
        assert_eq!(client.try_send("2").unwrap(), Sent::Queued);
        assert_eq!(client.try_send("3").unwrap(), told);
        assert_eq!(client.waiting(), (2, 0));
        world.shut(false);
        assert_eq!(texts(&mut world.server().await).await, kept);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_gets_it_in_turn_and_may_leave() {
    let mut world = World::new();
    world.shut(true);
    let (client, _updates) = world.builder().outbox(Outbox::new().max_messages(1)).start();
    assert_eq!(client.try_send("1").unwrap(), Sent::Queued);
    let full = client.try_send("x").unwrap_err();
    assert_eq!(full.kind(), UnsentKind::Full);
    assert_eq!(full.into_message(), "x".into());
    let waiting = ["2", "gone", "3"].map(|text| {
        let client = client.clone();
        tokio::spawn(async move { client.send(text).await.unwrap() })
    });
    sleep(Duration::from_millis(1)).await;
    waiting[1].abort();
    world.shut(false);
    let mut server = world.server().await;
    assert_eq!(texts(&mut server).await, ["1", "2", "3"]);
    client.send("4").await.unwrap();
    assert_eq!(text(&mut server).await, "4");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_fills_the_outbox_and_no_more() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().outbox(Outbox::new().max_bytes(100_000)).start();
    let mut server = world.server().await;
    until(&mut updates, open).await;
    let message = "m".repeat(10_000);
    let mut taken = 0;
    loop {
        match client.try_send(message.clone()) {
            Ok(_) => taken += 1,
            Err(full) => {
                assert_eq!(full.kind(), UnsentKind::Full);
                break;
            }
        }
        sleep(Duration::from_millis(1)).await;
        assert!(taken < 1_000, "there is no limit");
    }
    for _ in 0..taken {
        assert_eq!(text(&mut server).await.len(), 10_000);
    }
    assert_eq!(client.waiting(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_take_makes_the_server_wait_and_loses_nothing() {
    let mut world = World::new();
    let (_client, mut updates) = world.builder().incoming(4, 1 << 20).start();
    let mut server = world.server().await;
    let sent = tokio::spawn(async move {
        for number in 0..200 {
            server.send(format!("{number:01000}")).await.unwrap();
        }
        server
    });
    sleep(Duration::from_secs(5)).await;
    assert!(!sent.is_finished(), "nobody took 200 KB, and the pipe holds 4");
    for number in 0..200 {
        let message = ends(updates.recv_message()).await.unwrap();
        assert_eq!(message, format!("{number:01000}").into());
    }
    let _server = ends(sent).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn states_that_nobody_takes_do_not_pile_up() {
    let world = World::new();
    world.shut(true);
    let (client, mut updates) = world.builder().incoming(4, 1 << 20).start();
    // Thousands of attempts.
    sleep(Duration::from_secs(72 * 60 * 60)).await;
    assert!(world.dialled().len() > 1_000);
    drop(client);
    let mut seen = 0;
    while tokio::time::timeout(Duration::from_millis(1), updates.recv()).await.is_ok() {
        seen += 1;
        assert!(seen <= 8, "they pile up");
    }
    assert!(seen > 0);
}

/// The room that a message takes which is to be acknowledged is not what others wait for, and the other way round.
#[tokio::test(start_paused = true)]
async fn who_waits_for_acknowledgements_holds_nobody_up() {
    let mut world = World::new();
    let builder = world.builder().acknowledge(Plain).outbox(Outbox::new().max_messages(1));
    let (client, mut updates) = builder.start();
    let mut server = world.server().await;
    until(&mut updates, open).await;
    let deliver = |text: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.deliver(text).await })
    };
    let first = deliver("first");
    text(&mut server).await;
    // While the client is away, the outbox stays full.
    world.shut(true);
    drop(server);
    until(&mut updates, lost).await;
    client.try_send("fills the outbox").unwrap();
    let second = deliver("second");
    let sent = tokio::spawn({
        let client = client.clone();
        async move { client.send("finds room").await.unwrap() }
    });
    sleep(Duration::from_millis(1)).await;
    world.shut(false);
    let mut server = world.server().await;
    let again = text(&mut server).await;
    assert_eq!(texts(&mut server).await, ["fills the outbox", "finds room"]);
    assert_eq!(sent.await.unwrap(), Sent::Queued);
    server.send(format!("ack {}", again.strip_suffix(" first").unwrap())).await.unwrap();
    ends(first).await.unwrap().unwrap();
    assert!(text(&mut server).await.ends_with(" second"));
    second.abort();
}

/// An outbox that is filled as fast as it is emptied.
#[tokio::test(start_paused = true)]
async fn what_was_handed_over_is_not_kept_without_end() {
    const MESSAGES: usize = 2_000;
    let mut world = World::new();
    let (client, mut updates) = world.builder().outbox(Outbox::new().max_messages(64)).start();
    let mut server = world.server().await;
    until(&mut updates, open).await;
    let senders = [0, 1].map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            loop {
                client.send("m".repeat(10_000)).await.unwrap();
            }
        })
    });
    for _ in 0..MESSAGES {
        assert_eq!(text(&mut server).await.len(), 10_000);
    }
    drop(server);
    let (_, _, unwritten) = until(&mut updates, lost).await;
    senders.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(unwritten.len() < MESSAGES / 4, "{} are kept", unwritten.len());
}

#[tokio::test(start_paused = true)]
async fn subscriptions_that_change_without_pause_are_bounded() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().start();
    let _server = world.server().await;
    until(&mut updates, open).await;
    let refused = (0..50_000).try_for_each(|_| client.subscribe("key", "message")).unwrap_err();
    assert_eq!(refused.kind(), UnsentKind::Full);
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_its_delay_or_its_size() {
    let mut world = World::new();
    let delay = Duration::from_millis(200);
    let (client, mut updates) = world.builder().batch(Batch::new(3, 1_000, delay)).start();
    let mut server = world.server().await;
    until(&mut updates, open).await;
    let start = Instant::now();
    client.send("1").await.unwrap();
    sleep(delay / 2).await;
    client.send("2").await.unwrap();
    assert_eq!(texts(&mut server).await, ["1", "2"]);
    assert!(start.elapsed() >= delay && start.elapsed() < delay + delay / 4, "{:?}", start.elapsed());
    // By number, and by size.
    for messages in [["1", "2", "3"].map(String::from), ["a".into(), "b".repeat(900), "c".repeat(99)]] {
        let start = Instant::now();
        for message in &messages {
            client.send(message.clone()).await.unwrap();
        }
        assert_eq!(texts(&mut server).await, messages);
        assert!(start.elapsed() < delay / 4, "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_written_comes_back() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().start();
    let server = world.server().await;
    until(&mut updates, open).await;
    // More than the pipe holds.
    let large = "x".repeat(10_000);
    client.send(large.clone()).await.unwrap();
    client.send("behind").await.unwrap();
    sleep(Duration::from_millis(10)).await;
    drop(server);
    let (_, _, unwritten) = until(&mut updates, lost).await;
    assert_eq!(*unwritten, [large.into(), "behind".into()]);
    // It is not sent again by itself.
    client.send("next").await.unwrap();
    assert_eq!(text(&mut world.server().await).await, "next");
}

#[tokio::test(start_paused = true)]
async fn control_messages_are_not_the_applications() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().start();
    let mut server = world.server().await;
    server.send(taut::proto::Message::Ping("p".into())).await.unwrap();
    server.send("data").await.unwrap();
    assert_eq!(ends(updates.recv_message()).await, Some("data".into()));
    assert_eq!(client.try_send(taut::proto::Message::Close(None)).unwrap_err().kind(), UnsentKind::Control);
    let ping = taut::proto::Message::Ping(vec![0; 126].into());
    assert_eq!(client.try_send(ping).unwrap_err().kind(), UnsentKind::Control);
    assert!(!matches!(
        tokio::time::timeout(Duration::from_secs(1), updates.recv()).await,
        Ok(Some(Update::Message(_)))
    ));
}
