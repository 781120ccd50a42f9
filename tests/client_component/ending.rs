//! How a client ends.

use std::time::Duration;

use taut::client::{Cause, Update};
use taut::proto::{CloseCode, Message};
use tokio::time::sleep;

use super::futures::ends;
use super::world::{World, open, text, texts, until};
use taut::client::UnsentKind;

#[tokio::test(start_paused = true)]
async fn close_sends_what_waits_first() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().start();
    let mut server = world.server().await;
    until(&mut updates, open).await;
    for text in ["1", "2"] {
        client.send(text).await.unwrap();
    }
    let serving = async {
        assert_eq!(texts(&mut server).await, ["1", "2"]);
        // What the server still says is heard.
        server.send("last words").await.unwrap();
        let close = server.recv().await.unwrap().unwrap();
        let Message::Close(Some(frame)) = close else { panic!("{close:?}") };
        assert_eq!((frame.code().get(), &**frame.reason()), (1001, "off"));
        assert!(server.recv().await.unwrap().is_none());
    };
    let closing = async {
        let other = client.clone();
        let (first, second) = tokio::join!(client.close(CloseCode::AWAY, "off"), other.ended());
        let ended = first.unwrap();
        assert!(std::sync::Arc::ptr_eq(&ended, &second));
        assert!(
            matches!(&ended.cause, Cause::Closed(status) if status.clean && status.code == 1001),
            "{ended:?}"
        );
        assert!(ended.unsent.is_empty());
    };
    tokio::join!(serving, closing);
    assert_eq!(updates.recv_message().await, Some("last words".into()));
    assert!(matches!(updates.recv().await, Some(Update::Ended(_))));
    assert!(updates.recv().await.is_none());
    assert!(!world.anybody_within(Duration::from_secs(600)).await, "it came back");
}

#[tokio::test(start_paused = true)]
async fn close_without_a_connection_hands_back_what_waits() {
    let world = World::new();
    world.shut(true);
    let (client, _updates) = world.builder().start();
    client.send("1").await.unwrap();
    sleep(Duration::from_millis(1)).await;
    let ended = ends(client.close(CloseCode::NORMAL, "")).await.unwrap();
    assert!(matches!(&ended.cause, Cause::Stopped), "{ended:?}");
    assert_eq!(ended.unsent, ["1".into()]);
    assert!(client.close(CloseCode::NORMAL, &"r".repeat(124)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_a_close_does_not_hold_it() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().start();
    let _server = world.server().await;
    until(&mut updates, open).await;
    let ended = ends(client.close(CloseCode::NORMAL, "")).await.unwrap();
    assert!(matches!(&ended.cause, Cause::Broken(_)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn without_anybody_it_closes() {
    let mut world = World::new();
    let (client, mut updates) = world.builder().start();
    let mut server = world.server().await;
    until(&mut updates, open).await;
    client.send("1").await.unwrap();
    drop(client.clone());
    drop(updates);
    drop(client);
    assert_eq!(text(&mut server).await, "1");
    assert!(
        matches!(server.recv().await, Ok(Some(Message::Close(Some(frame)))) if frame.code() == CloseCode::NORMAL)
    );
    assert!(server.recv().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn with_one_end_it_goes_on() {
    let mut world = World::new();
    let (client, updates) = world.builder().start();
    drop(updates);
    let mut server = world.server().await;
    // Nobody wants these, and they do not stop it.
    for _ in 0..5_000 {
        server.feed("unheard").unwrap();
        if server.with_connection(|connection| connection.queued()) > 1_000 {
            server.flush().await.unwrap();
        }
    }
    client.send("still here").await.unwrap();
    assert_eq!(text(&mut server).await, "still here");

    let mut world = World::new();
    let (client, mut updates) = world.builder().start();
    drop(client);
    world.server().await.send("for the listener").await.unwrap();
    assert_eq!(ends(updates.recv_message()).await, Some("for the listener".into()));
    world.server().await.send("again").await.unwrap();
    assert_eq!(ends(updates.recv_message()).await, Some("again".into()));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_tells_everybody() {
    let world = World::new();
    let (client, mut updates, session) = world.builder().build();
    let mut session = Box::pin(session);
    let sending = client.clone();
    let waiting = tokio::spawn(async move { sending.ended().await });
    tokio::select! {
        () = &mut session => panic!("it ended"),
        () = sleep(Duration::from_millis(5)) => {}
    }
    drop(session);
    assert!(matches!(ends(waiting).await.unwrap().cause, Cause::Stopped));
    until(&mut updates, |update| matches!(update, Update::Ended(_)).then_some(())).await;
    assert!(client.try_send("late").is_err());
}

/// Several threads send while the client closes: each message that was taken came there, or is handed back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_taken_amid_a_close_is_not_lost() {
    for _ in 0..20 {
        let mut world = World::new();
        let (client, mut updates) = world.builder().start();
        let mut server = world.server().await;
        until(&mut updates, open).await;
        drop(updates);
        let counting = tokio::spawn(async move {
            let mut came = 0;
            while let Some(message) = server.recv().await.unwrap() {
                came += usize::from(message.is_data());
            }
            came
        });
        let senders = [0; 4].map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut taken = 0;
                loop {
                    match client.try_send("message") {
                        Ok(_) => taken += 1,
                        Err(unsent) if unsent.kind() == UnsentKind::Full => tokio::task::yield_now().await,
                        Err(_) => return taken,
                    }
                }
            })
        });
        while client.waiting().0 == 0 {
            tokio::task::yield_now().await;
        }
        let ended = ends(client.close(CloseCode::NORMAL, "")).await.unwrap();
        let mut taken = 0;
        for sender in senders {
            taken += ends(sender).await.unwrap();
        }
        assert_eq!(taken, ends(counting).await.unwrap() + ended.unsent.len());
    }
}
