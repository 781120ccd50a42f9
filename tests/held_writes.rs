//! The plain loop, `send(answer).await` for each `recv().await`: answers to what came together leave in one write,
//! and are never later than the task's next suspension, whatever it waits for. And `recv_each`, which does the same
//! with borrowed events.

mod support;

#[path = "held_writes/conversations.rs"]
mod conversations;
#[path = "held_writes/each.rs"]
mod each;
#[path = "support/futures.rs"]
mod futures;
#[path = "held_writes/leases.rs"]
mod leases;
#[path = "held_writes/rest.rs"]
mod rest;
#[path = "held_writes/runtimes.rs"]
mod runtimes;
#[path = "held_writes/short.rs"]
mod short;
#[path = "held_writes/stream.rs"]
mod stream;
#[path = "held_writes/tcp.rs"]
mod tcp;

use std::future::{pending, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::once;
use support::{Take, connection, frame, replay};
use taut::Error;
use taut::proto::frame::OpCode;
use taut::proto::{Config, Message, Role};
use taut::tokio::{Options, WebSocket};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};
use tokio::time::sleep;

pub(crate) use stream::{Far, Stream, pair};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const OPTIONS: Options = Options::new().close_timeout(CLOSE_TIMEOUT);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// A server's socket.
pub(crate) fn server(config: Config) -> (WebSocket<Stream>, Far) {
    let (stream, far) = pair();
    (WebSocket::new(stream, connection(Role::Server, config), &OPTIONS), far)
}

/// The frame of a client's text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    frame(Role::Client, true, OpCode::Text, text.as_bytes())
}

/// The frames of so many texts of a client: the numbers from `first` on.
pub(crate) fn numbers(first: usize, count: usize) -> Vec<u8> {
    (first..first + count).flat_map(|number| text(&number.to_string())).collect()
}

/// What a client makes of that.
pub(crate) fn received(wire: &[u8]) -> Vec<Message> {
    let outcome = replay(&mut connection(Role::Client, Config::new()), wire, &[], Take::Owned);
    assert_eq!(outcome.error, None);
    outcome.messages
}

/// The texts of so many answers.
pub(crate) fn expected(first: usize, count: usize) -> Vec<Message> {
    (first..first + count).map(|number| Message::text(number.to_string())).collect()
}

/// Receives a message and sends it back.
pub(crate) async fn echo_one(socket: &mut WebSocket<Stream>) {
    let message = socket.recv().await.unwrap().unwrap();
    socket.send(message).await.unwrap();
}

/// A task that echoes the first of its messages, and then does something else for good.
fn echo_one_and<F: Future + Send + 'static>(
    mut socket: WebSocket<Stream>,
    then: F,
) -> JoinHandle<WebSocket<Stream>>
where
    F::Output: Send,
{
    tokio::spawn(async move {
        echo_one(&mut socket).await;
        then.await;
        socket
    })
}

/// Until every task that can run has run.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

/// A task that echoes for ever.
fn echo(mut socket: WebSocket<Stream>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            echo_one(&mut socket).await;
        }
    })
}

#[tokio::test]
async fn answers_to_one_read_leave_in_one_write() {
    for count in [1, 2, 20, 5_000] {
        let (socket, far) = server(Config::new());
        let task = echo(socket);
        far.push(numbers(0, count));
        far.push(numbers(count, count));
        settle().await;
        while received(&far.output()).len() < 2 * count {
            yield_now().await;
        }
        assert_eq!(received(&far.output()), expected(0, 2 * count));
        // A turn that is too long ends earlier, and what was answered leaves.
        let turns = 2 * count / 200;
        assert!((2..=2 + turns).contains(&far.writes().len()), "{count}: {} writes", far.writes().len());
        task.abort();
    }
}

#[tokio::test]
async fn messages_of_any_size_leave_in_order_and_together() {
    let (socket, far) = server(Config::new());
    let sizes = [5, 300_000, 7, 0, 5_000, 70_000, 1];
    let texts: Vec<String> = sizes.iter().map(|&size| "x".repeat(size)).collect();
    far.push(texts.iter().flat_map(|large| text(large)).collect::<Vec<u8>>());
    let task = echo(socket);
    settle().await;
    assert_eq!(
        received(&far.output()),
        texts.iter().map(|text| Message::text(text.as_str())).collect::<Vec<_>>()
    );
    assert!(far.writes().len() <= 2, "{:?}", far.writes());
    task.abort();
}

#[tokio::test]
async fn a_pong_takes_what_is_held_along() {
    let (mut socket, far) = server(Config::new());
    far.push([numbers(0, 1), frame(Role::Client, true, OpCode::Ping, b"?"), numbers(1, 1)].concat());
    let task = tokio::spawn(async move {
        echo_one(&mut socket).await;
        assert_eq!(socket.recv().await.unwrap(), Some(Message::Ping(b"?"[..].into())));
        pending::<()>().await;
    });
    settle().await;
    // It goes first, as the next frame that is written.
    assert_eq!(received(&far.output()), [Message::Pong(b"?"[..].into()), Message::text("0")]);
    task.abort();
}

/// Each pong is a write, which takes along what is held; the rest leaves in one.
#[tokio::test]
async fn pongs_and_answers_leave_in_as_many_writes_as_there_are_pongs_and_one() {
    let (socket, far) = server(Config::new());
    let ping = |byte: u8| frame(Role::Client, true, OpCode::Ping, &[byte]);
    far.push([numbers(0, 2), ping(1), numbers(2, 3), ping(2), ping(3), numbers(5, 2)].concat());
    let task = tokio::spawn(async move {
        let mut socket = socket;
        loop {
            let message = socket.recv().await.unwrap().unwrap();
            if message.is_data() {
                socket.send(message).await.unwrap();
            }
        }
    });
    settle().await;
    let pong = |byte: u8| vec![Message::Pong(vec![byte].into())];
    let wire = [pong(1), expected(0, 2), pong(2), expected(2, 3), pong(3), expected(5, 2)].concat();
    assert_eq!((received(&far.output()), far.writes().len()), (wire, 4));
    task.abort();
}

/// Each read brings one: there is nothing to wait for.
#[tokio::test]
async fn answers_to_reads_of_one_message_leave_one_by_one() {
    let (socket, far) = server(Config::new());
    let task = echo(socket);
    (0..30).for_each(|number| far.push(numbers(number, 1)));
    settle().await;
    assert_eq!((received(&far.output()), far.writes().len()), (expected(0, 30), 30));
    task.abort();
}

/// What is behind the last whole message is no reason to hold for longer.
#[tokio::test]
async fn answers_leave_although_half_a_message_waits() {
    let (socket, far) = server(Config::new());
    let task = echo(socket);
    let (all, half) = (numbers(0, 4), numbers(3, 1).len() / 2);
    let (first, second) = all.split_at(all.len() - half);
    far.push(first);
    settle().await;
    assert_eq!((received(&far.output()), far.writes().len()), (expected(0, 3), 1));
    far.push(second);
    settle().await;
    assert_eq!((received(&far.output()), far.writes().len()), (expected(0, 4), 2));
    task.abort();
}

/// In one read, more than any runtime lets a task do in a turn: others run meanwhile, and see what was answered.
#[tokio::test]
async fn a_plain_loop_does_not_starve_other_tasks() {
    const FLOOD: usize = 20_000;
    let (socket, far) = server(Config::new());
    far.push(numbers(0, FLOOD));
    let task = echo(socket);
    let mut turns = 0;
    let mut last = 0;
    while last < numbers(0, FLOOD).len() - 4 * FLOOD {
        yield_now().await;
        let written = far.written();
        turns += usize::from(written > last);
        last = written;
        assert!(!task.is_finished());
    }
    assert!(turns >= FLOOD / 1_000, "{turns} turns for others");
    assert_eq!(received(&far.output()), expected(0, FLOOD));
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_held_leaves_before_the_task_sleeps() {
    let (socket, far) = server(Config::new());
    far.push(numbers(0, 3));
    let task = echo_one_and(socket, sleep(HOUR));
    settle().await;
    assert_eq!(received(&far.output()), expected(0, 1), "an hour before the task goes on");
    let mut socket = task.await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), Some(Message::text("1")));
}

#[tokio::test]
async fn whatever_the_task_waits_for() {
    let (socket, far) = server(Config::new());
    far.push(numbers(0, 3));
    let notify = std::sync::Arc::new(Notify::new());
    let never = notify.clone();
    let task = echo_one_and(socket, async move { never.notified().await });
    settle().await;
    assert_eq!(received(&far.output()), expected(0, 1));
    notify.notify_one();
    let (mut socket, far) = (task.await.unwrap(), far);
    // In a `select!`, and with other work after it in the same turn.
    let task = tokio::spawn(async move {
        tokio::select! {
            () = echo_one(&mut socket) => {}
            () = pending() => {}
        }
        let (sent, received) = tokio::sync::mpsc::channel::<()>(1);
        let mut received = received;
        received.recv().await;
        drop((sent, socket));
    });
    settle().await;
    assert_eq!(received(&far.output()), expected(0, 2));
    task.abort();
}

#[tokio::test]
async fn in_a_local_set_too() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (mut socket, far) = server(Config::new());
            far.push(numbers(0, 3));
            let task = spawn_local(async move {
                echo_one(&mut socket).await;
                pending::<()>().await;
            });
            settle().await;
            assert_eq!(received(&far.output()), expected(0, 1));
            task.abort();
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_many_threads_too() {
    for _ in 0..200 {
        let (socket, far) = server(Config::new());
        far.push(numbers(0, 3));
        let task = echo_one_and(socket, pending::<()>());
        tokio::task::block_in_place(|| far.wait(3));
        assert_eq!(received(&far.output()), expected(0, 1));
        task.abort();
    }
}

#[tokio::test]
async fn what_the_stream_does_not_take_leaves_later_without_a_call() {
    let (socket, far) = server(Config::new());
    far.set_room(1);
    far.push(numbers(0, 3));
    let task = echo_one_and(socket, pending::<()>());
    settle().await;
    assert_eq!(far.written(), 1);
    far.set_room(1);
    settle().await;
    assert_eq!(far.written(), 2);
    far.set_room(usize::MAX);
    settle().await;
    assert_eq!(received(&far.output()), expected(0, 1));
    task.abort();
}

/// The application waits for the same stream, and stops waiting.
#[tokio::test]
async fn a_flush_that_is_dropped_takes_nothing_with_it() {
    let (mut socket, far) = server(Config::new());
    far.set_room(0);
    far.push(numbers(0, 3));
    let task = tokio::spawn(async move {
        echo_one(&mut socket).await;
        yield_now().await;
        yield_now().await;
        {
            let mut flush = pin!(socket.flush());
            poll_fn(|cx| {
                assert!(flush.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        pending::<()>().await;
    });
    settle().await;
    far.set_room(usize::MAX);
    settle().await;
    assert_eq!(received(&far.output()), expected(0, 1));
    task.abort();
}

#[tokio::test]
async fn a_send_that_is_dropped_after_it_took_the_message_takes_nothing_with_it() {
    let (mut socket, far) = server(Config::new());
    far.set_room(0);
    let task = tokio::spawn(async move {
        {
            let mut send = pin!(socket.send("0"));
            poll_fn(|cx| {
                assert!(send.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        pending::<()>().await;
    });
    settle().await;
    far.set_room(usize::MAX);
    settle().await;
    assert_eq!(received(&far.output()), expected(0, 1));
    task.abort();
}

/// `select!` makes the futures of disabled branches too, and drops them.
#[tokio::test]
async fn a_send_that_is_never_polled_sends_nothing() {
    let (mut socket, far) = server(Config::new());
    let task = tokio::spawn(async move {
        drop(socket.send("0"));
        pending::<()>().await;
    });
    settle().await;
    assert!(far.output().is_empty());
    task.abort();
}

#[tokio::test]
async fn dropping_the_socket_writes_what_is_held_and_ends_the_stream() {
    let (mut socket, far) = server(Config::new());
    far.push(numbers(0, 3));
    let ours = far.clone();
    let task = tokio::spawn(async move {
        echo_one(&mut socket).await;
        assert_eq!(ours.written(), 0);
        drop(socket);
        assert!(ours.is_gone());
        assert_eq!(received(&ours.output()), expected(0, 1));
    });
    task.await.unwrap();
}

#[tokio::test]
async fn a_stream_that_takes_nothing_ends_with_its_socket() {
    let (socket, far) = server(Config::new());
    far.set_room(0);
    far.push(numbers(0, 3));
    let task = echo_one_and(socket, pending::<()>());
    settle().await;
    assert!(!far.is_gone());
    task.abort();
    settle().await;
    assert!(far.is_gone());
}

#[tokio::test]
async fn who_has_no_other_task_writes_at_once() {
    let (stream, far) = pair();
    let socket = WebSocket::new_local(stream, connection(Role::Server, Config::new()), &OPTIONS);
    far.push(numbers(0, 3));
    let task = echo(socket);
    settle().await;
    assert_eq!((received(&far.output()), far.writes().len()), (expected(0, 3), 3));
    task.abort();
}

#[tokio::test]
async fn a_write_error_of_held_frames_is_told_later_and_what_came_is_still_received() {
    let (mut socket, far) = server(Config::new());
    far.push(numbers(0, 3));
    far.finish();
    far.fail(ErrorKind::ConnectionReset);
    let task = tokio::spawn(async move {
        echo_one(&mut socket).await;
        yield_now().await;
        assert!(socket.send("x").await.is_err());
        assert_eq!(socket.recv().await.unwrap(), Some(Message::text("1")));
        assert_eq!(socket.recv().await.unwrap(), Some(Message::text("2")));
        match socket.recv().await {
            Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            other => panic!("{other:?}"),
        }
        assert!(socket.recv().await.unwrap().is_none());
    });
    task.await.unwrap();
}

/// Holding must not fill a queue that the peer would have emptied.
#[tokio::test]
async fn a_short_queue_is_not_filled_by_holding() {
    for max_queued in [1, 100, 5_000] {
        let (socket, far) = server(Config::new().max_queued(max_queued));
        far.push(numbers(0, 2_000));
        let task = echo(socket);
        while received(&far.output()).len() < 2_000 {
            assert!(!task.is_finished(), "a message was refused");
            yield_now().await;
        }
        assert_eq!(received(&far.output()), expected(0, 2_000));
        task.abort();
    }
}

/// Many sockets stop in the middle of a burst: some of them keep a buffer of the thread, the others a copy.
#[tokio::test]
async fn bursts_are_whole_wherever_their_sockets_wait_and_go_on() {
    let large: Vec<String> = (0..40).map(|number| number.to_string().repeat(5_000)).collect();
    let wire: Vec<u8> = large.iter().flat_map(|large| text(large)).collect();
    let mut tasks = Vec::new();
    for _ in 0..40 {
        let (socket, far) = server(Config::new());
        far.push(wire.clone());
        tasks.push((echo_one_and(socket, yield_now()), far));
    }
    settle().await;
    for (task, _far) in tasks {
        let mut socket = task.await.unwrap();
        // On another thread the rest is the same.
        let large = large.clone();
        let rest = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for text in &large[1..] {
                    assert_eq!(socket.recv().await.unwrap(), Some(Message::text(text.as_str())));
                }
            });
        });
        rest.join().unwrap();
    }
}
