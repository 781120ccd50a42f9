//! The end of a server: in order, within its time, with nothing left.

use std::collections::BTreeSet;

use taut::Error;
use taut::proto::CloseCode;
use taut::server::{By, Server, Shutdown};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn connections_are_closed_over_the_window_each_at_its_own_moment() {
    let notes = Notes::default();
    let told = notes.clone();
    let server = server(quiet())
        .on_disconnect(move |_, outcome| {
            assert!(outcome.is_clean());
            told.push(format!("{:?}", outcome.by));
            async {}
        })
        .detached();
    let start = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = connect(&server).await;
        client.send("x").await.unwrap();
        clients.push(tokio::spawn(async move { (close_code(&mut client).await, start.elapsed()) }));
    }
    settle().await;
    let plan = Shutdown::new().close(CloseCode::RESTART).window(seconds(10)).deadline(seconds(60));
    let drained = server.shutdown(plan).await;
    assert_eq!((drained.open, drained.aborted), (100, 0));
    assert!((8..=11).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    is_empty(&server).await;
    let mut moments = BTreeSet::new();
    for client in clients {
        let (code, moment) = client.await.unwrap();
        assert_eq!(code, 1012);
        moments.insert(moment.as_millis() / 100);
    }
    assert!(moments.len() > 30, "all at once: {moments:?}");
    assert_eq!(notes.take(), vec![format!("{:?}", By::Shutdown); 100]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_by_the_deadline_is_cut_off() {
    let notes = Notes::default();
    let told = notes.clone();
    let server = server(quiet().close_timeout(seconds(3600)).handler_timeout(seconds(3600)))
        .handler(|_connection| std::future::pending::<()>())
        .on_disconnect(move |_, outcome| {
            told.push(format!("{:?}", outcome.by));
            // A hook that never ends is cut off as well.
            std::future::pending::<()>()
        })
        .detached();
    let _frozen = connect(&server).await;
    let _amid_handshake = stream(&server, 10);
    settle().await;
    let start = Instant::now();
    let drained = server.shutdown(Shutdown::new().window(seconds(1)).deadline(seconds(4))).await;
    assert_eq!((drained.open, drained.aborted), (1, 2));
    assert!((4..=6).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(notes.take(), ["Shutdown"]);
    is_empty(&server).await;
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_comes_too_late_gets_503_and_a_dropped_shutdown_can_go_on() {
    let server = server(quiet().health_path("/health")).detached();
    let mut open = connect(&server).await;
    settle().await;
    let mut late = stream(&server, 1 << 16);
    let mut check = stream(&server, 1 << 16);
    {
        let plan = Shutdown::new().window(seconds(100)).deadline(seconds(1000));
        let shutdown = server.shutdown(plan);
        assert!(tokio::time::timeout(seconds(0), shutdown).await.is_err());
    }
    late.write_all(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )
    .await
    .unwrap();
    let mut head = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut late, &mut head).await.unwrap();
    assert_eq!(head, *b"HTTP/1.1 503");
    drop(late);
    check.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    ends(tokio::io::AsyncReadExt::read_to_string(&mut check, &mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("going\n"), "{answer}");
    drop(check);
    let stopped = {
        let server = server.clone();
        tokio::spawn(async move { server.stopped().await })
    };
    let closing = tokio::spawn(async move { close_code(&mut open).await });
    let drained = server.shutdown(Shutdown::new().window(seconds(0))).await;
    assert_eq!((drained.open, drained.aborted, closing.await.unwrap()), (1, 0, 1001));
    ends(stopped).await.unwrap();
    is_empty(&server).await;
}

#[tokio::test]
async fn a_listener_is_closed_at_once() {
    let server = Server::builder(quiet().address("127.0.0.1:0")).bind().await.unwrap();
    let url = format!("ws://{}/", server.address().unwrap());
    assert_eq!(server.tasks(), 1);
    let drained = server.shutdown(Shutdown::new()).await;
    assert_eq!((drained.open, drained.aborted, server.tasks()), (0, 0, 0));
    assert!(matches!(taut::tokio::connect(&url).await, Err(Error::Connect(_))));
}

#[tokio::test(start_paused = true)]
async fn a_server_under_load_ends_as_well() {
    let server = server(quiet())
        .on_connect(|handle: taut::server::Handle| async move { handle.join("room").map(drop) })
        .on_message(|handle, message| async move {
            if let Some(registry) = handle.registry() {
                registry.broadcast(message).to_room("room");
            }
        })
        .detached();
    let mut clients = Vec::new();
    for number in 0..20_u64 {
        let mut client = connect(&server).await;
        clients.push(tokio::spawn(async move {
            loop {
                if client.feed("x".repeat(500)).is_err() || client.recv().await.is_err() || client.is_ended()
                {
                    return;
                }
                sleep(std::time::Duration::from_millis(number + 1)).await;
            }
        }));
    }
    sleep(seconds(1)).await;
    let drained = server.shutdown(Shutdown::new().window(seconds(2))).await;
    assert_eq!((drained.open, drained.aborted), (20, 0));
    is_empty(&server).await;
    for client in clients {
        ends(client).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_authenticated_amid_a_shutdown_is_closed_as_well() {
    let server = server(quiet()).authenticate_by_message(|_, _| async { Ok(()) }).detached();
    let mut client = connect(&server).await;
    settle().await;
    let shutdown = {
        let server = server.clone();
        tokio::spawn(async move { server.shutdown(Shutdown::new()).await })
    };
    settle().await;
    client.send("who I am").await.unwrap();
    assert_eq!(close_code(&mut client).await, 1001);
    assert_eq!(shutdown.await.unwrap().aborted, 0);
    is_empty(&server).await;
}

#[test]
fn a_runtime_that_ends_leaves_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (server, _client) = runtime.block_on(async {
        let server = server(quiet()).detached();
        let client = connect(&server).await;
        while server.registry().is_empty() {
            tokio::task::yield_now().await;
        }
        server.registry().list()[0].join("room").unwrap();
        (server, client)
    });
    assert_eq!((server.registry().len(), server.tasks()), (1, 1));
    drop(runtime);
    assert_eq!((server.registry().len(), server.registry().rooms().len(), server.tasks()), (0, 0, 0));
    assert_eq!(server.admission().connections(), 0);
}
