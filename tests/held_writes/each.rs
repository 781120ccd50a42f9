//! `recv_each`: borrowed events, and their answers.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use taut::Error;
use taut::proto::frame::OpCode;
use taut::proto::{Config, EventRef, Message, ProtocolError, Role, SendErrorKind};
use tokio::task::{JoinHandle, yield_now};

use crate::support::frame;
use crate::{Far, Stream, expected, numbers, received, server, settle};
use taut::tokio::WebSocket;

/// A task that echoes data for ever.
fn echo(mut socket: WebSocket<Stream>) -> JoinHandle<Result<(), Error>> {
    tokio::spawn(async move {
        socket
            .recv_each(|event, sender| match event {
                EventRef::Message(message) if message.is_data() => Ok(sender.send_ref(message)?),
                _ => Ok(()),
            })
            .await
    })
}

#[tokio::test]
async fn answers_to_one_read_leave_in_one_write() {
    let (socket, far) = server(Config::new());
    let task = echo(socket);
    far.push(numbers(0, 1_000));
    far.push(numbers(1_000, 1));
    settle().await;
    assert_eq!((received(&far.output()), far.writes().len()), (expected(0, 1_001), 2));
    task.abort();
}

/// Cut everywhere, in fragments, with control frames between: as `recv` has it.
#[tokio::test]
async fn events_equal_those_of_recv_wherever_the_input_is_cut() {
    let wire = [
        numbers(0, 2),
        frame(Role::Client, false, OpCode::Text, "é".as_bytes()),
        frame(Role::Client, true, OpCode::Ping, b"?"),
        frame(Role::Client, true, OpCode::Continuation, "€".as_bytes()),
        frame(Role::Client, true, OpCode::Binary, &[7; 300]),
        frame(Role::Client, true, OpCode::Close, &[3, 232]),
    ]
    .concat();
    for cut in 1..wire.len() {
        let mut kinds: Vec<Vec<Message>> = Vec::new();
        for each in [true, false] {
            let (mut socket, far) = server(Config::new());
            far.push(&wire[..cut]);
            far.push(&wire[cut..]);
            far.finish();
            let mut messages = Vec::new();
            if each {
                let seen = |event: EventRef<'_>, _: &mut _| {
                    messages.push(event.to_event().into_message());
                    Ok(())
                };
                socket.recv_each(seen).await.unwrap();
            } else {
                while let Some(message) = socket.recv().await.unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(received(&far.output()).len(), 2, "a pong and a Close");
            kinds.push(messages);
        }
        assert_eq!(kinds[0], kinds[1], "cut at {cut}");
        assert_eq!(kinds[0].len(), 6);
    }
}

#[tokio::test]
async fn an_error_of_the_handler_leaves_the_rest() {
    let (mut socket, far) = server(Config::new());
    far.push(numbers(0, 3));
    let mut seen = 0;
    let failed = socket.recv_each(|event, sender| {
        seen += 1;
        if let EventRef::Message(message) = event {
            sender.send_ref(message)?;
        }
        if seen == 2 { Err(Error::Unsupported("enough")) } else { Ok(()) }
    });
    assert!(matches!(failed.await, Err(Error::Unsupported("enough"))));
    assert_eq!(received(&far.output()), expected(0, 2));
    assert_eq!(socket.recv().await.unwrap(), Some(Message::text("2")));
}

#[tokio::test]
async fn who_breaks_the_protocol_is_told_and_the_error_is_given() {
    let (socket, far) = server(Config::new());
    far.push([numbers(0, 1), vec![0x83, 0x80, 0, 0, 0, 0]].concat());
    far.finish();
    let ended = echo(socket).await.unwrap();
    assert!(matches!(ended, Err(Error::Protocol(ProtocolError::ReservedOpcode(3)))), "{ended:?}");
    let told = received(&far.output());
    assert_eq!(told[0], Message::text("0"));
    assert!(matches!(&told[1], Message::Close(Some(frame)) if frame.code().get() == 1002));
}

/// A peer that does not read its answers is not read from, and its answers do not fill the queue.
#[tokio::test]
async fn who_does_not_read_is_not_read_from() {
    let (socket, far) = server(Config::new());
    far.set_room(0);
    let large = frame(Role::Client, true, OpCode::Binary, &[1; 60_000]);
    for _ in 0..100 {
        far.push(large.clone());
    }
    let task = echo(socket);
    settle().await;
    assert!(!task.is_finished(), "nothing was refused: {:?}", SendErrorKind::Full);
    assert!(far.unread() > 5 * 1_000_000, "{} bytes are not read", far.unread());
    far.set_room(usize::MAX);
    while far.written() < 100 * 60_000 {
        assert!(!task.is_finished());
        yield_now().await;
    }
    assert_eq!(received(&far.output()).len(), 100);
    task.abort();
}

/// Dropped at a place where it waits, it leaves what was answered to the stream.
#[tokio::test]
async fn dropped_where_it_lets_others_run_it_leaves_nothing_unwritten() {
    let (mut socket, far) = server(Config::new());
    far.push(numbers(0, 100_000));
    far.push(numbers(100_000, 1));
    let mut handled = 0;
    {
        let mut each = pin!(socket.recv_each(|event, sender| {
            if let EventRef::Message(message) = event {
                handled += 1;
                sender.send_ref(message)?;
            }
            Ok(())
        }));
        poll_fn(|cx| {
            assert!(each.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    assert!(handled > 0);
    assert_eq!(received(&far.output()), expected(0, handled));
    // And another call goes on where it was.
    assert_eq!(socket.recv().await.unwrap(), Some(Message::text(handled.to_string())));
}

#[tokio::test]
async fn a_flood_does_not_starve_other_tasks() {
    let (socket, far) = server(Config::new());
    let flood = numbers(0, 50_000);
    let reads = 40;
    for _ in 0..reads {
        far.push(flood.clone());
    }
    let task = echo(socket);
    let turns = Arc::new(AtomicUsize::new(0));
    let (counter, watched) = (turns.clone(), far.clone());
    let other = tokio::spawn(async move {
        while watched.unread() > 0 {
            counter.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
        }
        pending::<()>().await;
    });
    while far.unread() > 0 {
        yield_now().await;
    }
    assert!(turns.load(Ordering::Relaxed) >= reads / 4, "{turns:?} turns in {reads} reads");
    task.abort();
    other.abort();
}

/// One read brings it all, and a read is what a turn gives at most: as many messages as that has room for.
#[tokio::test]
async fn a_turn_hands_over_a_bounded_number() {
    const BUFFER: usize = 512 << 10;
    let (socket, far) = server(Config::new());
    let small = frame(Role::Client, true, OpCode::Binary, b"");
    for _ in 0..40 {
        far.push(small.repeat(BUFFER / small.len()));
    }
    let turn = Arc::new(AtomicUsize::new(0));
    let (counted, watched) = (turn.clone(), far.clone());
    let task = tokio::spawn(async move {
        let mut socket = socket;
        let (mut seen, mut count, mut most) = (0, 0, 0);
        let each = socket.recv_each(|_, _| {
            let now = counted.load(Ordering::Relaxed);
            (seen, count) = if now == seen { (seen, count + 1) } else { (now, 1) };
            most = most.max(count);
            if watched.unread() == 0 { Err(Error::Unsupported("all was read")) } else { Ok(()) }
        });
        assert!(each.await.is_err());
        most
    });
    while !task.is_finished() {
        turn.fetch_add(1, Ordering::Relaxed);
        yield_now().await;
    }
    let most = task.await.unwrap();
    assert!(most <= 2 * BUFFER / small.len(), "{most} messages in one turn");
}

/// Compressed messages, whole and in fragments, come as `recv` has them, wherever the input is cut.
#[cfg(feature = "deflate")]
#[tokio::test]
async fn compressed_events_equal_those_of_recv() {
    let agreement = || taut::proto::Agreement::new().with_deflate(taut::proto::Deflate::new());
    let mut client = crate::support::connection(Role::Client, Config::new()).with_agreement(agreement());
    let mut sent = Vec::new();
    for number in 0..10 {
        sent.push(Message::text(format!("number {number} ").repeat(40)));
        sent.push(Message::binary(vec![number; 700]));
    }
    sent.iter().for_each(|message| client.send(message.clone()).unwrap());
    let text = "in fragments ".repeat(50);
    let (start, end) = text.as_bytes().split_at(300);
    client.send_fragment(taut::proto::Kind::Text, start, false).unwrap();
    client.send_fragment(taut::proto::Kind::Text, end, true).unwrap();
    sent.push(Message::text(text));
    let wire = crate::support::drain(&mut client);
    for cut in 1..wire.len() {
        let (stream, far) = crate::pair();
        let connection = crate::support::connection(Role::Server, Config::new()).with_agreement(agreement());
        let mut socket = WebSocket::new(stream, connection, &crate::OPTIONS);
        far.push(&wire[..cut]);
        far.push(&wire[cut..]);
        far.finish();
        let mut got = Vec::new();
        let each = socket.recv_each(|event, _| {
            got.push(event.to_event().into_message());
            Ok(())
        });
        assert!(matches!(each.await, Err(Error::Lost)));
        assert_eq!(got, sent, "cut at {cut}");
    }
}

/// One and the other.
#[tokio::test]
async fn recv_and_recv_each_take_turns() {
    let (mut socket, far) = server(Config::new());
    push(&far);
    assert_eq!(socket.recv().await.unwrap(), Some(Message::text("0")));
    let mut second = None;
    let stopped = socket.recv_each(|event, _| {
        second = Some(event.to_event().into_message());
        Err(Error::Unsupported("one"))
    });
    assert!(stopped.await.is_err());
    assert_eq!(second, Some(Message::text("1")));
    assert_eq!(socket.recv().await.unwrap(), Some(Message::text("2")));
}

fn push(far: &Far) {
    far.push(numbers(0, 3));
}
