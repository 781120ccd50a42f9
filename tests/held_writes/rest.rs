//! A stream that does not take what is held: the rest leaves later by itself, whatever the application does, and
//! the task that waits for it ends.

use std::future::pending;
use std::io::ErrorKind;

use taut::Error;
use taut::proto::{Config, Message, Role};
use taut::tokio::WebSocket;
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::support::{connection, drain};
use crate::{Far, HOUR, OPTIONS, Stream, echo_one, expected, numbers, once, received, server, settle, text};
use taut::testing;

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// A socket with messages to come, and an answer that the stream does not take: a task waits for it.
async fn blocked() -> (WebSocket<Stream>, Far) {
    let (mut socket, far) = server(Config::new());
    far.set_room(0);
    far.push(numbers(0, 3));
    let holds = async move {
        echo_one(&mut socket).await;
        yield_now().await;
        socket
    };
    let socket = tokio::spawn(holds).await.unwrap();
    settle().await;
    (socket, far)
}

#[tokio::test]
async fn one_task_waits_however_often_frames_are_held() {
    let counted = async {
        let (mut socket, far) = server(Config::new());
        far.set_room(0);
        let before = tasks();
        for round in 0..100 {
            far.push(numbers(2 * round, 2));
            echo_one(&mut socket).await;
            settle().await;
            socket.recv().await.unwrap().unwrap();
        }
        // Who writes for the thread, and who waits for this stream.
        assert!(tasks() <= before + 2, "{} tasks", tasks() - before);
        far.set_room(usize::MAX);
        settle().await;
        assert!(tasks() <= before + 1, "{} tasks", tasks() - before);
        assert_eq!(received(&far.output()).len(), 100);
    };
    tokio::spawn(counted).await.unwrap();
}

#[tokio::test]
async fn the_task_ends_with_the_socket() {
    for takes_apart in [false, true] {
        drop(blocked().await);
        settle().await;
        let before = tasks();
        for _ in 0..100 {
            let (socket, far) = blocked().await;
            if takes_apart {
                let (stream, mut connection) = socket.into_parts();
                assert_eq!(received(&drain(&mut connection)), expected(0, 1));
                assert!(!far.is_gone());
                drop(stream);
            } else {
                drop(socket);
            }
            assert!(far.is_gone());
        }
        settle().await;
        assert_eq!(tasks(), before, "taken apart: {takes_apart}");
    }
}

/// The same for a task that waits since a `send` was dropped.
#[tokio::test]
async fn the_task_of_a_dropped_send_ends_with_the_socket() {
    drop(blocked().await);
    settle().await;
    let before = tasks();
    for _ in 0..100 {
        let (mut socket, far) = server(Config::new());
        far.set_room(0);
        let task = tokio::spawn(async move {
            assert!(once(socket.send("0")).await.is_none());
            settle().await;
            assert!(once(socket.send("1")).await.is_none());
            settle().await;
        });
        task.await.unwrap();
        assert!(far.is_gone());
    }
    settle().await;
    assert_eq!(tasks(), before);
}

/// A stream that keeps what is written until it is flushed, and whose flush waits.
#[tokio::test(start_paused = true)]
async fn what_the_stream_keeps_is_flushed_for_a_dropped_send() {
    for room in 1..4 {
        let (stream, peer) = testing::pair(room);
        let connection = connection(Role::Server, Config::new());
        let mut socket = WebSocket::new(stream.buffered(), connection, &OPTIONS);
        let task = tokio::spawn(async move {
            let _ = once(socket.send("0")).await;
            pending::<()>().await;
        });
        let mut wire = Vec::new();
        for _ in 0..10 {
            settle().await;
            wire.extend(peer.pull());
        }
        assert_eq!(received(&wire), expected(0, 1), "room for {room}");
        task.abort();
    }
}

/// Everything that waits for the same stream, dropped at every `Pending`, while it takes byte after byte.
#[tokio::test]
async fn nothing_is_lost_or_doubled_by_who_waits_meanwhile() {
    for bytes in 1..5 {
        let (mut socket, far) = server(Config::new());
        far.set_room(0);
        far.push(numbers(0, 50));
        let ours = far.clone();
        let task = tokio::spawn(async move {
            let mut sent = Vec::new();
            for number in 0..49_usize {
                let message = socket.recv().await.unwrap().unwrap();
                sent.push(message.clone());
                // Held, or taken by a future that is dropped.
                let _ = once(socket.send(message)).await;
                match number % 5 {
                    0 => assert!(once(socket.flush()).await.is_none()),
                    1 => {
                        let message = Message::text(format!("sent {number}"));
                        sent.push(message.clone());
                        let _ = once(socket.send(message)).await;
                    }
                    2 => {
                        let message = Message::text(format!("fed {number}"));
                        sent.push(message.clone());
                        socket.feed(message).unwrap();
                    }
                    _ => {}
                }
                ours.set_room(bytes);
                for _ in 0..number % 4 {
                    yield_now().await;
                }
            }
            // The last one is not answered. Behind it, waiting for more writes too.
            socket.recv().await.unwrap().unwrap();
            for _ in 0..20 {
                assert!(once(socket.recv()).await.is_none());
                ours.set_room(bytes);
                yield_now().await;
            }
            let last = Message::text("last");
            sent.push(last.clone());
            let _ = once(socket.send(last)).await;
            ours.set_room(usize::MAX);
            settle().await;
            assert_eq!(received(&ours.output()), sent);
        });
        task.await.unwrap();
    }
}

#[tokio::test]
async fn an_error_found_meanwhile_is_told_by_the_next_call() {
    let (mut socket, far) = blocked().await;
    far.fail(ErrorKind::ConnectionReset);
    settle().await;
    match socket.flush().await {
        Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        other => panic!("{other:?}"),
    }
    assert_eq!(socket.recv().await.unwrap(), Some(Message::text("1")));
    assert_eq!(socket.recv().await.unwrap(), Some(Message::text("2")));
}

/// A peer that reads nothing makes `send` wait, and refuses nothing; a `feed` is refused at the limit.
#[tokio::test]
async fn a_peer_that_does_not_read_makes_send_wait() {
    const LIMIT: usize = 1_000;
    let (mut socket, far) = server(Config::new().max_queued(LIMIT));
    far.set_room(0);
    far.push(numbers(0, 2_000));
    let task = tokio::spawn(async move {
        for _ in 0..1_999 {
            echo_one(&mut socket).await;
        }
        pending::<()>().await;
    });
    settle().await;
    assert!(!task.is_finished());
    // Half of the limit is held, and the message behind it waits.
    let queued = far.written();
    assert_eq!(queued, 0);
    far.set_room(LIMIT / 4);
    settle().await;
    assert_eq!(far.written(), LIMIT / 4);
    far.set_room(usize::MAX);
    while received(&far.output()).len() < 1_999 {
        assert!(!task.is_finished());
        yield_now().await;
    }
    assert_eq!(received(&far.output()), expected(0, 1_999));
    task.abort();
}

#[tokio::test]
async fn what_is_held_before_the_stream_blocks_is_at_most_half_of_the_queue() {
    const LIMIT: usize = 1_000;
    let (mut socket, far) = server(Config::new().max_queued(LIMIT));
    far.set_room(0);
    far.push(numbers(0, 2_000));
    let task = tokio::spawn(async move {
        let waits = loop {
            let message = socket.recv().await.unwrap().unwrap();
            if once(socket.send(message)).await.is_none() {
                break socket.with_connection(|connection| connection.queued());
            }
        };
        assert!((LIMIT / 2..LIMIT / 2 + 10).contains(&waits), "{waits}");
        // The rest of it is for what does not wait.
        while socket.feed("x").is_ok() {}
        assert!(socket.with_connection(|connection| connection.queued()) >= LIMIT);
    });
    task.await.unwrap();
}

/// Messages of the queue's own size are refused by nobody who waits.
#[tokio::test(start_paused = true)]
async fn large_answers_are_held_one_at_a_time() {
    let large = "x".repeat(400_000);
    let (mut socket, far) = server(Config::new());
    far.push((0..6).flat_map(|_| text(&large)).collect::<Vec<u8>>());
    let task = tokio::spawn(async move {
        for _ in 0..6 {
            echo_one(&mut socket).await;
            let queued = socket.with_connection(|connection| connection.queued());
            assert!(queued < 512 << 10, "{queued} bytes");
        }
        sleep(HOUR).await;
    });
    settle().await;
    assert_eq!(received(&far.output()).len(), 6);
    task.abort();
}
