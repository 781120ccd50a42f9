//! Messages that are acknowledged, by servers that lose connections.

use std::collections::HashSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use taut::client::{Acknowledge, Backoff, Cause, Outbox, Overflow, Undelivered};
use taut::proto::{CloseCode, Message};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::futures::ends;
use super::world::{Server, World, lost, open, text, until};

/// `id text`, and `ack id`.
pub(crate) struct Plain;

impl Acknowledge for Plain {
    fn wrap(&self, id: &str, message: Message) -> Message {
        format!("{id} {}", message.as_text().unwrap()).into()
    }

    fn acknowledged(&self, message: &Message) -> Option<String> {
        Some(message.as_text()?.strip_prefix("ack ")?.into())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_comes_again_under_its_id() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().acknowledge(Plain).start();
    let mut server = world.server().await;
    until(&mut updates, open).await;
    let delivering = tokio::spawn({
        let client = client.clone();
        async move { client.deliver("precious").await }
    });
    let first = text(&mut server).await;
    assert_eq!(client.waiting(), (0, 1));
    drop(server);
    let (_, _, unwritten) = until(&mut updates, lost).await;
    assert!(unwritten.is_empty(), "it is sent again, and not handed back");
    let mut server = world.server().await;
    assert_eq!(text(&mut server).await, first);
    let (id, rest) = first.split_once(' ').unwrap();
    assert_eq!(rest, "precious");
    server.send("ack of something else").await.unwrap();
    server.send(format!("ack {id}")).await.unwrap();
    ends(delivering).await.unwrap().unwrap();
    assert_eq!(client.waiting(), (0, 0));
    // An acknowledgement of nothing is no message either.
    server.send("data").await.unwrap();
    assert_eq!(ends(updates.recv_message()).await, Some("data".into()));
}

/// Takes each id once, as a server has to.
#[derive(Default)]
struct Store {
    seen: HashSet<String>,
    taken: Vec<String>,
    again: usize,
}

impl Store {
    fn take(&mut self, message: &str) -> String {
        let (id, rest) = message.split_once(' ').unwrap();
        if self.seen.insert(id.into()) {
            self.taken.push(rest.into());
        } else {
            self.again += 1;
        }
        format!("ack {id}")
    }
}

#[tokio::test(start_paused = true)]
async fn no_accepted_message_is_lost_and_none_is_taken_twice() {
    let mut again = 0;
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new();
        let builder = world.builder().acknowledge(Plain).outbox(Outbox::new().max_messages(16));
        let (client, updates) = builder.backoff(Backoff::new().first(Duration::from_millis(10))).start();
        drop(updates);
        let mut delivering = JoinSet::new();
        for number in 0..200 {
            let client = client.clone();
            delivering.spawn(async move { client.deliver(format!("message {number}")).await });
        }
        let mut store = Store::default();
        while store.taken.len() < 200 {
            let mut server = world.server().await;
            // Lost after some messages, acknowledged or not.
            for _ in 0..random.random_range(0..40) {
                let Ok(Ok(Some(message))) = timeout(Duration::from_secs(1), server.recv()).await else {
                    break;
                };
                let answer = store.take(message.as_text().unwrap());
                if random.random_bool(0.7) {
                    server.send(answer).await.unwrap();
                }
            }
        }
        // The last acknowledgements may be lost too.
        let last = async {
            loop {
                let mut server = world.server().await;
                while let Ok(Some(message)) = server.recv().await {
                    if let Some(message) = message.as_text() {
                        let answer = store.take(message);
                        let _ = server.send(answer).await;
                    }
                }
            }
        };
        let all = async {
            while let Some(delivered) = delivering.join_next().await {
                delivered.unwrap().unwrap();
            }
        };
        tokio::select! {
            () = ends(all) => {}
            () = last => {}
        }
        assert_eq!(client.waiting(), (0, 0));
        store.taken.sort();
        store.taken.dedup();
        assert_eq!(store.taken.len(), 200);
        again += store.again;
    }
    assert!(again > 0, "nothing was ever sent again: this shows nothing");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_acknowledgement_takes_room() {
    let mut world = World::new();
    let builder = world.builder().acknowledge(Plain).outbox(Outbox::new().max_messages(2));
    let (client, mut updates) = builder.start();
    let mut server = world.server().await;
    until(&mut updates, open).await;
    let mut delivering = JoinSet::new();
    for number in 0..3 {
        let client = client.clone();
        delivering.spawn(async move { client.deliver(number.to_string()).await });
        sleep(Duration::from_millis(1)).await;
    }
    let first = text(&mut server).await;
    text(&mut server).await;
    assert!(timeout(Duration::from_secs(1), server.recv()).await.is_err(), "two wait already");
    server.send(format!("ack {}", first.split_once(' ').unwrap().0)).await.unwrap();
    assert!(text(&mut server).await.ends_with(" 2"));
}

#[tokio::test(start_paused = true)]
async fn each_way_to_fail() {
    let world = World::new();
    let (client, _updates) = world.builder().start();
    assert!(matches!(client.deliver("x").await, Err(Undelivered::NoScheme)));

    let outbox = Outbox::new().max_messages(1).overflow(Overflow::DropOldest);
    world.shut(true);
    let (client, _updates) = world.builder().acknowledge(Plain).outbox(outbox).start();
    let dropped = tokio::spawn({
        let client = client.clone();
        async move { client.deliver("dropped").await }
    });
    sleep(Duration::from_millis(1)).await;
    client.send("newer").await.unwrap();
    assert!(matches!(ends(dropped).await.unwrap(), Err(Undelivered::Lost)));

    let mut world = World::new();
    let (client, mut updates) = world.builder().acknowledge(Plain).start();
    let mut server: Server = world.server().await;
    until(&mut updates, open).await;
    let unfinished = tokio::spawn({
        let client = client.clone();
        async move { client.deliver("kept").await }
    });
    let sent = text(&mut server).await;
    let closed = tokio::spawn(async move { while server.recv().await.unwrap().is_some() {} });
    let ended = ends(client.close(CloseCode::NORMAL, "")).await.unwrap();
    closed.await.unwrap();
    assert!(matches!(&ended.cause, Cause::Closed(_)));
    assert!(matches!(ends(unfinished).await.unwrap(), Err(Undelivered::Lost)));
    assert_eq!(ended.unsent, [sent.into()]);
}
