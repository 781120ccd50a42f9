//! Connections that come and end in any way leave nothing behind.

use std::sync::{Arc, OnceLock};

use taut::proto::CloseCode;
use taut::server::{BoxError, Connection, Handle, Registry, Shutdown, SlowConsumer};
use tokio::io::AsyncWriteExt;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn however_connections_end_nothing_is_left_of_them() {
    let config = quiet().max_queued_messages(4).write_timeout(seconds(10)).handler_timeout(seconds(5));
    let server = server(config)
        .on_connect(|handle: Handle| async move {
            handle.join("all")?;
            handle.join(&format!("own {}", handle.id()))?;
            handle.subscribe(&format!("a/{}/+", handle.id()))?;
            handle.subscribe("a/#")?;
            Ok::<_, BoxError>(())
        })
        .handler(|mut connection| async move {
            while let Some(message) = connection.recv().await? {
                match message.as_text() {
                    Some("end") => return Ok(()),
                    Some("fail") => return Err("failed".into()),
                    Some("panic") => panic!("on purpose"),
                    Some("hang") => std::future::pending().await,
                    Some("abort") => connection.abort(),
                    Some("close") => connection.close(CloseCode::POLICY, "go")?,
                    Some("flood") => while connection.send_text("x".repeat(1000)).is_ok() {},
                    _ => {}
                }
            }
            Ok::<_, BoxError>(())
        })
        .detached();
    std::panic::set_hook(Box::new(|_| {}));
    let ways = [
        "drop", "bye", "end", "fail", "panic", "hang", "abort", "close", "flood", "garbage", "silence",
        "half",
    ];
    for round in 0..30 {
        let mut running = Vec::new();
        for way in ways {
            if way == "silence" || way == "half" {
                let mut stream = stream(&server, 1 << 10);
                running.push(tokio::spawn(async move {
                    if way == "half" {
                        stream.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
                        tokio::time::sleep(seconds(round % 20)).await;
                    }
                }));
                continue;
            }
            let mut client = connect_to(&server, "ws://a/", 1 << 12, |request| request).await.unwrap();
            running.push(tokio::spawn(async move {
                match way {
                    "drop" => return,
                    "bye" => return drop(client.close(CloseCode::NORMAL, "").await),
                    "garbage" => {
                        let (mut stream, _) = client.into_parts();
                        stream.write_all(&[0xff; 100]).await.unwrap();
                        return tokio::time::sleep(seconds(10)).await;
                    }
                    way => client.send(way).await.unwrap(),
                }
                tokio::time::sleep(seconds(1)).await;
                if way == "flood" {
                    // It does not read.
                    tokio::time::sleep(seconds(60)).await;
                }
            }));
        }
        server.registry().broadcast("to all").to_room("all");
        server.registry().broadcast("to all").to_topic("a/b");
        for running in running {
            ends(running).await.unwrap();
        }
    }
    let _ = std::panic::take_hook();
    tokio::time::sleep(seconds(100)).await;
    is_empty(&server).await;
}

#[test]
fn threads_that_come_go_join_and_send_leave_nothing_behind() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let server = server(quiet().slow_consumer(SlowConsumer::DropOldest))
            .on_message(|handle: Handle, message| async move {
                let Some(registry) = handle.registry() else { return };
                let text = message.as_text().unwrap_or_default();
                // Whoever is there, in their tasks and on their threads.
                let other = registry.list().first().unwrap_or(&handle).clone();
                let _ = other.join("common");
                let _ = other.subscribe("a/+");
                let _ = handle.join(text);
                registry.broadcast(message.clone()).to_room("common");
                registry.broadcast(message.clone()).to_topic("a/b");
                other.leave("common");
                if text.ends_with('7') {
                    other.abort();
                }
                let _ = handle.queue(message);
            })
            .detached();
        let talking: Vec<_> = (0..8)
            .map(|thread| {
                let server = server.clone();
                tokio::spawn(async move {
                    for round in 0..50 {
                        let Ok(mut client) = connect_to(&server, "ws://a/", 1 << 12, |request| request).await
                        else {
                            continue;
                        };
                        for number in 0..10 {
                            // It may have been aborted.
                            if client.send(format!("{thread} {number}")).await.is_err() {
                                break;
                            }
                            // What was sent comes back, or the end does.
                            if number % 3 == 0 && !matches!(ends(client.recv()).await, Ok(Some(_))) {
                                break;
                            }
                        }
                        if round % 2 == 0 {
                            let _ = ends(client.close(CloseCode::NORMAL, "")).await;
                        }
                    }
                })
            })
            .collect();
        for talking in talking {
            talking.await.unwrap();
        }
        let drained = ends(server.shutdown(Shutdown::new().window(seconds(0)))).await;
        assert_eq!(drained.aborted, 0);
        is_empty(&server).await;
    });
}

#[test]
fn threads_that_echo_and_broadcast_at_the_same_time_lose_nothing() {
    const CLIENTS: usize = 16;
    const EACH: usize = 300;
    const SENDERS: usize = 3;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let config = quiet().max_queued_messages(10_000).write_buffer(256);
        let server = server(config)
            .handler(|mut connection| async move {
                while let Some(message) = connection.recv().await? {
                    if message.as_text().is_some_and(|text| text.ends_with('3')) {
                        tokio::task::yield_now().await;
                    }
                    connection.queue(message)?;
                }
                Ok::<_, BoxError>(())
            })
            .detached();
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            // So little room that a write has to wait, or so much that none does.
            clients
                .push(connect_to(&server, "ws://a/", 500 << (number % 8), |request| request).await.unwrap());
        }
        while server.registry().len() < CLIENTS {
            tokio::task::yield_now().await;
        }
        let hearing: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                tokio::spawn(async move {
                    let (mut echoes, mut others) = (0, 0);
                    client.send("0").await.unwrap();
                    while echoes < EACH || others < EACH * SENDERS {
                        match hear(&mut client).await.as_str() {
                            "broadcast" => others += 1,
                            echo => {
                                assert_eq!(echo, echoes.to_string());
                                echoes += 1;
                                if echoes < EACH {
                                    client.send(echoes.to_string()).await.unwrap();
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        for sender in 0..SENDERS {
            let registry = server.registry().clone();
            let send = move || {
                for _ in 0..EACH {
                    assert_eq!(registry.broadcast("broadcast").to_all().queued, CLIENTS);
                    std::thread::yield_now();
                }
            };
            if sender == 0 {
                drop(std::thread::spawn(send))
            } else {
                drop(tokio::spawn(async move { send() }))
            }
        }
        for hearing in hearing {
            ends(hearing).await.unwrap();
        }
    });
}

/// An application may keep the registry where its handler finds it.
#[tokio::test(start_paused = true)]
async fn a_registry_that_the_handler_holds_goes_with_the_server() {
    let state = Arc::new(OnceLock::new());
    let kept = state.clone();
    let server = server(quiet())
        .on_room(|_| {})
        .handler(move |connection: Connection| {
            let kept: Arc<OnceLock<Registry>> = kept.clone();
            async move {
                connection.join("all")?;
                kept.get().expect("set before anybody came").broadcast("welcome").to_room("all");
                Ok::<_, BoxError>(())
            }
        })
        .detached();
    state.set(server.registry().clone()).unwrap();
    let mut client = connect(&server).await;
    assert_eq!(hear(&mut client).await, "welcome");
    server.shutdown(Shutdown::new()).await;
    drop((server, client));
    settle().await;
    assert_eq!(Arc::strong_count(&state), 1);
}
