//! What a socket has of its thread while it is in the middle of something: a buffer, and a task that writes what is held.
//! Each way to leave it there gives that back.

use std::sync::PoisonError;

use taut::proto::frame::OpCode;
use taut::proto::{Config, Message, Role};
use taut::tokio::WebSocket;
use tokio::runtime::{Handle, Runtime};

use crate::heap::Heap;
use crate::stream::{Fate, Log, Plan, Stream, stream};
use crate::support::{connection, frame};
use crate::{ALONE, OPTIONS, RESET, others, runtime, settled};

/// How many of them there are, for all threads.
const LEASES: usize = 16;

/// A socket that has received one of many messages that came in one read, and keeps them if there is a lease.
async fn in_the_middle(end: Fate) -> (WebSocket<Stream>, Log) {
    let message = frame(Role::Client, true, OpCode::Text, b"a message");
    let (stream, log) = stream(Plan::new(&message.repeat(1_000)).cut(usize::MAX, end));
    let mut socket = WebSocket::new(stream, connection(Role::Server, Config::new()), &OPTIONS);
    assert_eq!(socket.recv().await.unwrap(), Some(Message::text("a message")));
    (socket, log)
}

/// One that answers, to a peer that takes nothing: another task waits to write the answer.
async fn with_an_answer_that_waits(room: usize) -> WebSocket<Stream> {
    let message = frame(Role::Client, true, OpCode::Text, b"a message");
    let plan = Plan::new(&message.repeat(3)).cut(usize::MAX, Fate::Silence).room(room, Fate::Silence);
    let mut socket = WebSocket::new(stream(plan).0, connection(Role::Server, Config::new()), &OPTIONS);
    let answering = tokio::spawn(async move {
        let message = socket.recv().await.unwrap().unwrap();
        socket.send(message).await.unwrap();
        socket
    });
    let socket = answering.await.unwrap();
    settled(2, || Handle::current().metrics().num_alive_tasks()).await;
    socket
}

type End = fn(&Runtime, WebSocket<Stream>, Fate);

/// The ways to end in the middle.
const ENDS: [(&str, End); 5] = [
    ("it is dropped", |_, socket, _| drop(socket)),
    ("it is taken apart", |_, socket, _| drop(socket.into_parts())),
    ("it is read to the end", |runtime, mut socket, end| {
        runtime.block_on(async {
            let ended = loop {
                match socket.recv().await {
                    Ok(Some(_)) => {}
                    ended => break ended,
                }
            };
            assert!(ended.is_err(), "{end:?}");
            // The socket stays, and its buffer does not.
            std::mem::forget(socket);
        });
    }),
    ("its task is aborted", |runtime, mut socket, _| {
        runtime.block_on(async {
            let task = tokio::spawn(async move {
                socket.recv().await.unwrap();
                std::future::pending::<()>().await;
            });
            tokio::task::yield_now().await;
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        });
    }),
    ("its thread ends", |_, socket, _| std::thread::spawn(move || drop(socket)).join().unwrap()),
];

#[test]
fn every_lease_comes_back() {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    let runtime = runtime();
    for (name, end) in ENDS {
        for fate in [Fate::Nothing, RESET] {
            // More often than there are leases.
            for _ in 0..3 * LEASES {
                let (socket, _) = runtime.block_on(in_the_middle(fate));
                end(&runtime, socket, fate);
            }
            let before = Heap::now();
            let sockets: Vec<_> = (0..2 * LEASES).map(|_| runtime.block_on(in_the_middle(fate))).collect();
            // The thread may have had two of them already.
            let kept = before.large_blocks();
            assert!((LEASES as isize - 2..=LEASES as isize + 2).contains(&kept), "{name}: {kept} are left");
            drop(sockets);
        }
    }
}

#[test]
fn no_task_stays_to_write_what_nobody_takes() {
    let _others = others();
    let runtime = runtime();
    for (name, end) in ENDS {
        for room in 0..11 {
            let socket = runtime.block_on(with_an_answer_that_waits(room));
            end(&runtime, socket, Fate::Silence);
            // The one that writes for the thread.
            let alive = || runtime.metrics().num_alive_tasks();
            runtime.block_on(async { settled(1, alive).await });
            assert_eq!(alive(), 1, "{name}, {room}");
        }
    }
}
