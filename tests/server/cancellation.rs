//! Futures that are dropped while they wait: nothing is lost, and nothing stays behind.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::{Value, json};
use taut::proto::CloseCode;
use taut::server::{AskError, BoxError, Router, Server, Shutdown};
use tokio::task::coop::consume_budget;
use tokio::time::{sleep, timeout};

use crate::support::*;

/// Polls a future once, and drops it.
fn once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_drops_what_it_receives_by_loses_nothing() {
    const COUNT: usize = 50;
    let server = server(quiet())
        .handler(|mut connection| async move {
            let mut dropped = 0;
            loop {
                let Poll::Ready(received) = once(connection.recv()) else {
                    dropped += 1;
                    sleep(Duration::from_millis(1)).await;
                    continue;
                };
                let Some(message) = received? else { return Ok::<_, BoxError>(()) };
                assert!(dropped > 0, "it waited for none");
                dropped = 0;
                connection.send(message).await?;
            }
        })
        .detached();
    let mut client = connect(&server).await;
    for number in 0..COUNT {
        sleep(Duration::from_millis(100)).await;
        client.send(number.to_string()).await.unwrap();
    }
    for number in 0..COUNT {
        assert_eq!(hear(&mut client).await, number.to_string());
    }
    client.close(CloseCode::NORMAL, "").await.unwrap();
    sleep(seconds(1)).await;
    is_empty(&server).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_has_sent_nothing() {
    let server = server(quiet().max_queued_messages(2).write_buffer(1)).detached();
    let mut client = connect_to(&server, "ws://a/", 200, |request| request).await.unwrap();
    settle().await;
    let handle = server.registry().list()[0].clone();
    for number in 0..3 {
        handle.send_text(format!("{number}{}", ".".repeat(300))).unwrap();
        settle().await;
    }
    for _ in 0..3 {
        assert!(once(handle.send("never")).is_pending());
        assert!(once(handle.ready()).is_pending());
    }
    for number in ["0", "1", "2"] {
        assert_eq!(hear(&mut client).await[..1], *number);
    }
    handle.ready().await.unwrap();
    handle.send("after").await.unwrap();
    assert_eq!(hear(&mut client).await, "after");
}

#[tokio::test(start_paused = true)]
async fn a_question_whose_answer_nobody_awaits_was_asked_and_takes_no_place() {
    const MORE_THAN_MAY_WAIT: usize = 300;
    let router = Router::new().on("note", |_, (): ()| async { Ok::<_, BoxError>(()) });
    let server = server(quiet()).router(router).detached();
    let mut client = connect(&server).await;
    settle().await;
    let handle = server.registry().list()[0].clone();
    let mut ids = Vec::new();
    for number in 0..MORE_THAN_MAY_WAIT {
        assert!(once(handle.ask::<_, ()>("q", &number, seconds(5))).is_pending());
        let asked: Value = serde_json::from_str(&hear(&mut client).await).unwrap();
        assert_eq!((&asked["type"], &asked["data"]), (&json!("q"), &json!(number)));
        ids.push(asked["id"].clone());
    }
    // Answers that nobody waits for are no errors.
    for id in ids {
        client.send(json!({"type": "ack", "id": id}).to_string()).await.unwrap();
    }
    let asking = tokio::spawn(async move { handle.ask::<_, ()>("q", "last", seconds(5)).await });
    let asked: Value = serde_json::from_str(&hear(&mut client).await).unwrap();
    assert_eq!(asked["data"], "last");
    client.send(json!({"type": "ack", "id": asked["id"]}).to_string()).await.unwrap();
    let answered: Result<(), AskError> = asking.await.unwrap();
    answered.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_is_dropped_goes_on_with_the_next() {
    let server = server(quiet()).detached();
    let clients = [connect(&server).await, connect(&server).await];
    settle().await;
    // Who waits for the end may go before there is any shutdown, and amid it.
    assert!(once(server.stopped()).is_pending());
    let long = || Shutdown::new().window(seconds(1000)).deadline(seconds(5000));
    assert!(timeout(seconds(1), server.shutdown(long())).await.is_err());
    assert!(once(server.stopped()).is_pending());
    let refused = try_connect(&server, |request| request).await;
    assert!(refused.is_err(), "nobody is let in from the first poll on");
    let ends_well = clients.map(|mut client| tokio::spawn(async move { close_code(&mut client).await }));
    let drained = server.shutdown(Shutdown::new().window(seconds(0))).await;
    assert_eq!(drained.aborted, 0);
    server.stopped().await;
    for client in ends_well {
        assert_eq!(client.await.unwrap(), 1001);
    }
    is_empty(&server).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_runs_on_when_nobody_waits_for_signals_any_more() {
    let server = Server::builder(quiet().address("127.0.0.1:0")).bind().await.unwrap();
    let plan = || Shutdown::new().window(seconds(0));
    assert!(once(server.run_until_signal(plan())).is_pending());
    let url = format!("ws://{}/", server.address().unwrap());
    let mut client = taut::tokio::connect(&url).await.unwrap();
    client.send("x").await.unwrap();
    let mut running = pin!(server.run_until_signal(plan()));
    assert!(running.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let this = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &this]).status().unwrap().success());
    let closing = tokio::spawn(async move { while let Ok(Some(_)) = client.recv().await {} });
    let drained = running.await.unwrap();
    assert_eq!((drained.open, drained.aborted, server.tasks()), (1, 0, 0));
    closing.await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_bound_yet_listens_nowhere() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let build = || Server::builder(quiet().address("localhost:0"));
    for _ in 0..5 {
        let bound = poll_fn(|cx| {
            // The name is found by another thread, which may be faster: a turn that is over waits for it all the same.
            while pin!(consume_budget()).poll(cx).is_ready() {}
            Poll::Ready(once(build().bind()))
        });
        assert!(bound.await.is_pending());
    }
    assert_eq!(tasks(), 0);
    build().bind().await.unwrap();
    assert_eq!(tasks(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_that_waits_for_a_folder_leaves_nothing_there() {
    let folder = std::env::temp_dir().join(format!("taut-server-dropped-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("socket");
    let lock = std::fs::File::open(&folder).unwrap();
    lock.lock().unwrap();
    for _ in 0..5 {
        assert!(once(Server::builder(quiet()).bind_unix(&path, 0o600)).is_pending());
        assert!(!path.exists());
    }
    lock.unlock().unwrap();
    Server::builder(quiet()).bind_unix(&path, 0o600).await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}
