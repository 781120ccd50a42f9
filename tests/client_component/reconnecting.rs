//! Coming back: when, how often, and with what.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use taut::client::{Backoff, Cause, Decision, Loss, Update};
use taut::proto::handshake::{Accept, Reject};
use taut::proto::{CloseCode, Message};
use taut::tokio::{Connector, Dialing, Incoming, NetworkStream};
use taut::{Deadline, Error, Options};
use tokio::time::Instant;

use super::futures::ends;
use super::world::{World, lost, open, text, texts, until};

#[tokio::test(start_paused = true)]
async fn what_is_sent_while_away_arrives_in_order() {
    let mut world = World::new();
    world.shut(true);
    let (client, mut updates) = world.builder().start();
    for text in ["1", "2", "3"] {
        client.send(text).await.unwrap();
    }
    let (loss, ..) = until(&mut updates, lost).await;
    assert!(matches!(&*loss, Loss::Connect(_)), "{loss}");
    assert!(!client.is_open());
    world.shut(false);
    let mut server = world.server().await;
    assert_eq!(texts(&mut server).await, ["1", "2", "3"]);
    until(&mut updates, open).await;
    assert!(client.is_open());
    client.send("4").await.unwrap();
    assert_eq!(text(&mut server).await, "4");
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_are_told() {
    let world = World::new();
    world.shut(true);
    let (_client, mut updates) = world.builder().start();
    let mut told = Vec::new();
    for number in 1..=7_u32 {
        let attempt = until(&mut updates, |update| match update {
            Update::Connecting { attempt, .. } => Some(attempt),
            _ => None,
        });
        assert_eq!(attempt.await, number);
        told.push(until(&mut updates, lost).await.1);
    }
    let dialled = world.dialled();
    for (number, (pause, pair)) in told.iter().zip(dialled.windows(2)).enumerate() {
        let seconds = [0.0..=5.0, 5.0..=10.0, 10.0..=20.0, 20.0..=40.0, 30.0..=60.0];
        let expected = &seconds[number.min(4)];
        assert!(expected.contains(&pause.as_secs_f64()), "pause {number} is {pause:?}");
        let taken = pair[1] - pair[0];
        assert!(taken >= *pause && taken < *pause + Duration::from_millis(50), "{taken:?} for {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_clients_do_not_come_at_once() {
    // RFC 6455 §7.2.3: "delayed by a random amount of time".
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let world = World::new();
        world.shut(true);
        let (_client, mut updates) = world.builder().start();
        pauses.push(until(&mut updates, lost).await.1);
    }
    pauses.sort();
    pauses.dedup();
    assert!(pauses.len() > 1, "all paused for {pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_held_begins_anew_and_one_that_did_not_goes_on() {
    let mut world = World::new();
    let backoff = Backoff::new().first(Duration::from_secs(4)).settled_after(Duration::from_secs(30));
    let (_client, mut updates) = world.builder().backoff(backoff).start();
    for pause in [0.0..=4.0, 4.0..=8.0, 8.0..=16.0] {
        // It takes connections and drops them at once.
        drop(world.server().await);
        let told = until(&mut updates, lost).await.1.as_secs_f64();
        assert!(pause.contains(&told), "{told} is not in {pause:?}");
    }
    let server = world.server().await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    drop(server);
    let told = until(&mut updates, lost).await.1.as_secs_f64();
    assert!(told <= 4.0, "{told}");
}

#[tokio::test(start_paused = true)]
async fn subscriptions_come_first_on_each_connection() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().start();
    client.subscribe("a", "sub a").unwrap();
    client.subscribe("b", "sub b").unwrap();
    client.subscribe("a", "sub a2").unwrap();
    client.send("hello").await.unwrap();
    let mut server = world.server().await;
    assert_eq!(texts(&mut server).await, ["sub a2", "sub b", "hello"]);
    until(&mut updates, open).await;
    client.subscribe("c", "sub c").unwrap();
    assert!(client.unsubscribe("b", Message::text("bye b")));
    assert!(!client.unsubscribe("b", None));
    assert_eq!(texts(&mut server).await, ["sub c", "bye b"]);
    drop(server);
    until(&mut updates, lost).await;
    // There is nobody to say good-bye to.
    assert!(client.unsubscribe("c", Message::text("bye c")));
    client.send("again").await.unwrap();
    let mut server = world.server().await;
    assert_eq!(texts(&mut server).await, ["sub a2", "again"]);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_request_of_its_own() {
    let mut world = World::new();
    let builder = world.builder().prepare(|network, attempt| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(network.bearer(&format!("token {attempt}"))?)
    });
    let (_client, mut updates) = builder.backoff(Backoff::new().settled_after(Duration::MAX)).start();
    for attempt in 1..=3 {
        let incoming = Incoming::read(world.stream().await, Options::new()).await.unwrap();
        let field = incoming.request().fields().get("Authorization").map(ToOwned::to_owned);
        assert_eq!(field.as_deref(), Some(format!("Bearer token {attempt}").as_bytes()));
        drop(incoming.accept(Accept::new()).await.unwrap());
        until(&mut updates, lost).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_prepare_fails_by_is_told() {
    let world = World::new();
    let (client, _) =
        world.builder().prepare(|network, _| async move { Ok(network.bearer("a\nb")?) }).start();
    let ended = ends(client.ended()).await;
    let Cause::GaveUp(loss) = &ended.cause else { panic!("{ended:?}") };
    assert!(matches!(&**loss, Loss::Connect(Error::Build(_))), "{loss}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_stays_ends_it_and_hands_messages_back() {
    let mut world = World::new();
    let (client, _updates) = world.builder().start();
    client.send("kept").await.unwrap();
    let incoming = Incoming::read(world.stream().await, Options::new()).await.unwrap();
    incoming.reject(Reject::new(403).unwrap()).await.unwrap();
    let ended = ends(client.ended()).await;
    let Cause::GaveUp(loss) = &ended.cause else { panic!("{ended:?}") };
    assert!(matches!(&**loss, Loss::Connect(Error::Refused(answer)) if answer.status() == 403), "{loss}");
    assert_eq!(ended.unsent, ["kept".into()]);
    assert!(client.send("late").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn attempts_have_a_limit() {
    let world = World::new();
    world.shut(true);
    let (client, _updates) = world.builder().backoff(Backoff::new().max_attempts(3)).start();
    let ended = ends(client.ended()).await;
    assert!(matches!(&ended.cause, Cause::GaveUp(_)), "{ended:?}");
    assert_eq!(world.dialled().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn codes_decide_and_the_application_above_them() {
    for (code, comes_back) in [(1000, false), (1001, true), (1008, false), (1012, true), (4000, true)] {
        let mut world = World::new();
        let (_client, mut updates) = world.builder().start();
        let mut server = world.server().await;
        let close = server.close(CloseCode::new(code).unwrap(), "");
        let updates = async {
            until(&mut updates, |update| match update {
                Update::Lost { .. } => Some(true),
                Update::Ended(ended) => {
                    assert!(matches!(&ended.cause, Cause::GaveUp(_)), "{ended:?}");
                    Some(false)
                }
                _ => None,
            })
            .await
        };
        let (closed, came) = tokio::join!(close, updates);
        assert!(closed.unwrap().clean);
        assert_eq!(came, comes_back, "{code}");
    }
    let mut world = World::new();
    let builder = world.builder().decide(|loss, failed| {
        assert_eq!(failed, 1);
        assert!(matches!(loss, Loss::Closed(status) if status.code == 1000));
        Decision::RetryNow
    });
    let (_client, mut updates) = builder.start();
    let start = Instant::now();
    world.server().await.close(CloseCode::NORMAL, "").await.unwrap();
    assert_eq!(until(&mut updates, lost).await.1, Duration::ZERO);
    world.server().await;
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn each_step_has_its_deadline() {
    let options = Options::new()
        .handshake_timeout(Duration::from_secs(7))
        .write_timeout(Duration::from_secs(9))
        .min_rate(0);
    for (deadline, seconds) in [(Deadline::Connect, 7), (Deadline::Handshake, 7), (Deadline::Write, 9)] {
        let mut world = World::new();
        let network = world.client().options(options);
        let network = if deadline == Deadline::Connect { network.connector(Nowhere) } else { network };
        let (client, mut updates) = world.builder().network(network).start();
        let large = Message::binary(vec![7; 1 << 16]);
        let start = Instant::now();
        // It is there, and does nothing.
        let _silent: Box<dyn Any> = match deadline {
            Deadline::Connect => Box::new(()),
            Deadline::Handshake => Box::new(world.stream().await),
            _ => {
                client.send(large.clone()).await.unwrap();
                Box::new(world.server().await)
            }
        };
        let (loss, _, unwritten) = until(&mut updates, lost).await;
        match &*loss {
            Loss::Connect(Error::Timeout(late)) => assert_eq!((*late, unwritten.len()), (deadline, 0)),
            Loss::Broken(Error::Timeout(late)) => {
                assert_eq!((*late, &*unwritten), (deadline, &[large][..]));
                assert_eq!(deadline, Deadline::Write);
            }
            other => panic!("{deadline:?}: {other:?}"),
        }
        assert_eq!(start.elapsed().as_secs(), seconds, "{deadline:?}");
    }
}

/// The way to a host that takes no connection and refuses none.
struct Nowhere;

impl Connector for Nowhere {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> Dialing<'a, NetworkStream> {
        Box::pin(std::future::pending())
    }
}

/// It is frozen: what is sent to it goes nowhere, and nothing comes.
#[tokio::test(start_paused = true)]
async fn a_server_that_gives_no_sign_of_life_is_left() {
    let own = Options::new().ping_interval(Duration::from_secs(5)).pong_timeout(Duration::from_secs(1));
    let hour = Duration::from_secs(3600);
    for (network, heartbeat, noticed) in [
        (None, None, Some(50)),
        (None, Some(Some(Duration::from_secs(10))), Some(30)),
        (Some(own), None, Some(6)),
        (None, Some(None), None),
    ] {
        let mut world = World::new();
        let mut builder = world.builder();
        if let Some(options) = network {
            builder = builder.network(world.client().options(options));
        }
        if let Some(heartbeat) = heartbeat {
            builder = builder.heartbeat(heartbeat);
        }
        let (_client, mut updates) = builder.start();
        let frozen = world.server().await;
        until(&mut updates, open).await;
        let start = Instant::now();
        let lost = tokio::time::timeout(hour, async {
            loop {
                if let Some((loss, ..)) = updates.recv().await.and_then(lost) {
                    return loss;
                }
            }
        });
        match (noticed, lost.await) {
            (Some(seconds), Ok(loss)) => {
                assert!(matches!(&*loss, Loss::Broken(Error::Timeout(Deadline::Pong))), "{loss}");
                assert_eq!(start.elapsed().as_secs(), seconds);
                // One that answers, by being polled, stays.
                let mut server = world.server().await;
                assert!(
                    tokio::time::timeout(hour, async { while server.recv().await.is_ok() {} }).await.is_err()
                );
                assert_eq!(world.dialled().len(), 2);
            }
            (None, Err(_)) => {}
            (expected, got) => panic!("noticed after {expected:?}, and not {got:?}"),
        }
        drop(frozen);
    }
}

#[tokio::test(start_paused = true)]
async fn a_callback_gets_the_same() {
    let mut world = World::new();
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let client = world.builder().start_with(move |update| {
        let _ = sender.send(update);
    });
    let mut server = world.server().await;
    server.send("hello").await.unwrap();
    let closing = async {
        let _ = server.recv().await;
        while server.recv().await.unwrap().is_some() {}
    };
    let client = async {
        loop {
            if let Update::Message(message) = ends(seen.recv()).await.unwrap() {
                assert_eq!(message, "hello".into());
                break;
            }
        }
        let ended = client.close(CloseCode::NORMAL, "done").await.unwrap();
        assert!(matches!(ends(seen.recv()).await, Some(Update::Ended(told)) if Arc::ptr_eq(&told, &ended)));
        assert!(seen.recv().await.is_none());
    };
    tokio::join!(closing, client);
}
