//! What a peer may leave undone, and how long, over tokio with a paused clock: the rest of a message, bytes that it does
//! not take; and how many control frames, and how much memory, it may have.

#[path = "support/futures.rs"]
mod futures;
mod support;

use std::time::Duration;

use bytes::Bytes;
use futures::ends;
use futures_util::FutureExt;
use support::{Take, connection, frame, replay};
use taut::proto::frame::OpCode;
use taut::proto::{CloseCode, Config, Delivery, EventRef, Message, ProtocolError, Role};
use taut::testing::{MemoryStream, pair};
use taut::tokio::{Options, WebSocket};
use taut::{Budget, Deadline, Error};
use tokio::time::{Instant, sleep, timeout};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn socket(
    role: Role,
    config: Config,
    options: Options,
    room: usize,
) -> (WebSocket<MemoryStream>, MemoryStream) {
    let (stream, peer) = pair(room);
    (WebSocket::new(stream, connection(role, config), &options), peer)
}

/// What `from` wrote last: the code of its Close, if that is one.
fn close_code(from: Role, wire: &[u8]) -> Option<u16> {
    let outcome = replay(&mut connection(from.peer(), Config::new()), wire, &[], Take::Owned);
    assert_eq!(outcome.error, None);
    match outcome.messages.last() {
        Some(Message::Close(Some(frame))) => Some(frame.code().get()),
        _ => None,
    }
}

/// All ways in which the rest of a message can lack.
fn unfinished(from: Role) -> Vec<Vec<u8>> {
    let whole = frame(from, true, OpCode::Binary, &[7; 70_000]);
    let mut all: Vec<_> = [1, 2, 5, 9, 20, 1000, 69_999].map(|len| whole[..len].to_vec()).into();
    // Whole frames of a message whose last is missing, and pings in between.
    let mut fragments = frame(from, false, OpCode::Text, b"begun");
    all.push(fragments.clone());
    fragments.extend(frame(from, true, OpCode::Ping, b"alive"));
    all.push(fragments.clone());
    fragments.extend(frame(from, false, OpCode::Continuation, b"and"));
    all.push(fragments);
    // Half a control frame is no better.
    all.push(frame(from, true, OpCode::Ping, b"alive")[..3].to_vec());
    all
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_message_has_its_time_and_no_more() {
    for role in ROLES {
        for wire in unfinished(role.peer()) {
            for delivery in [Delivery::Whole, Delivery::Chunks] {
                let options = Options::new().message_timeout(seconds(20)).min_rate(0);
                let (mut socket, peer) = socket(role, Config::new().delivery(delivery), options, 1 << 20);
                peer.push(&wire);
                let start = Instant::now();
                let error = loop {
                    match ends(socket.recv_event()).await {
                        Ok(event) => assert!(event.is_some()),
                        Err(error) => break error,
                    }
                    if start.elapsed() > seconds(3600) {
                        panic!("no end");
                    }
                    // The peer reads, and ends when it is told to.
                    if close_code(role, &peer.pull()).is_some() {
                        peer.finish();
                    }
                };
                assert!(matches!(error, Error::Protocol(ProtocolError::TooSlow)), "{error:?}");
                // What lingers is the close timeout.
                assert!((20..=26).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
                assert_eq!(close_code(role, &peer.pull()), Some(1008));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn slow_fragments_are_granted_time_for_their_bytes() {
    // 100 bytes a second against a rate of 50: it may go on as long as it likes; against 200 it may not.
    for (rate, finishes) in [(50, true), (200, false)] {
        let options = Options::new().message_timeout(seconds(10)).min_rate(rate);
        let (mut socket, peer) = socket(Role::Server, Config::new(), options, 1 << 20);
        let feeder = tokio::spawn(async move {
            peer.push(&frame(Role::Client, false, OpCode::Binary, &[1; 100]));
            for _ in 0..100 {
                sleep(seconds(1)).await;
                peer.push(&frame(Role::Client, false, OpCode::Continuation, &[1; 100]));
            }
            peer.push(&frame(Role::Client, true, OpCode::Continuation, b"end"));
            peer
        });
        let received = ends(socket.recv()).await;
        if finishes {
            assert_eq!(
                received.unwrap(),
                Some(Message::binary([vec![1; 101 * 100], b"end".to_vec()].concat()))
            );
        } else {
            assert!(matches!(received, Err(Error::Protocol(ProtocolError::TooSlow))), "{received:?}");
        }
        drop(feeder);
    }
}

#[tokio::test(start_paused = true)]
async fn one_byte_at_a_time_is_not_enough() {
    let (mut socket, peer) = socket(Role::Server, Config::new(), Options::new(), 1 << 20);
    let wire = frame(Role::Client, true, OpCode::Binary, &[1; 10_000]);
    let feeder = tokio::spawn(async move {
        for byte in wire {
            peer.push(&[byte]);
            sleep(seconds(5)).await;
        }
    });
    let start = Instant::now();
    let received = ends(socket.recv()).await;
    assert!(matches!(received, Err(Error::Protocol(ProtocolError::TooSlow))), "{received:?}");
    assert!(start.elapsed() <= seconds(36), "{:?}", start.elapsed());
    feeder.abort();
}

#[tokio::test(start_paused = true)]
async fn messages_that_end_begin_the_time_anew() {
    // Each read ends in the middle of the next message, for far longer than one message may take.
    let options = Options::new().message_timeout(seconds(10)).min_rate(0);
    for each in [false, true] {
        let (mut socket, peer) = socket(Role::Server, Config::new(), options, 1 << 20);
        let wire = frame(Role::Client, true, OpCode::Text, b"a message");
        tokio::spawn(async move {
            peer.push(&wire[..4]);
            for _ in 0..200 {
                sleep(seconds(3)).await;
                peer.push(&wire[4..]);
                peer.push(&wire[..4]);
            }
            peer.push(&wire[4..]);
            peer.finish();
        });
        let mut count = 0;
        let end = if each {
            let counted = socket.recv_each(|event, _| {
                count += usize::from(matches!(event, EventRef::Message(message) if message.is_data()));
                Ok(())
            });
            ends(counted).await
        } else {
            loop {
                match ends(socket.recv()).await {
                    Ok(Some(message)) => count += usize::from(message.is_data()),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
        };
        assert!(matches!(end, Err(Error::Lost)), "{end:?}");
        assert_eq!(count, 201);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_waits_as_long_as_it_likes() {
    for role in ROLES {
        let (mut socket, peer) = socket(role, Config::new(), Options::new(), 1 << 20);
        peer.push(&frame(role.peer(), true, OpCode::Text, b"one"));
        assert!(ends(socket.recv()).await.unwrap().is_some());
        assert!(timeout(seconds(3600), socket.recv()).await.is_err());
        peer.push(&frame(role.peer(), true, OpCode::Text, b"two"));
        assert!(ends(socket.recv()).await.unwrap().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_is_away_does_not_blame_the_peer() {
    let (mut socket, peer) = socket(Role::Server, Config::new(), Options::new(), 1 << 20);
    let wire = frame(Role::Client, true, OpCode::Binary, &[1; 100]);
    peer.push(&wire[..50]);
    assert!(socket.recv().now_or_never().is_none());
    sleep(seconds(3600)).await;
    assert!(socket.recv().now_or_never().is_none(), "the time begins anew");
    sleep(seconds(3600)).await;
    peer.push(&wire[50..]);
    assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::binary(vec![1; 100])));
}

#[tokio::test(start_paused = true)]
async fn time_without_end_needs_no_timer() {
    let forever = Options::new().message_timeout(Duration::MAX).write_timeout(Duration::MAX);
    let (mut socket, peer) = socket(Role::Server, Config::new(), forever, 100);
    peer.push(&frame(Role::Client, true, OpCode::Binary, &[1; 100])[..50]);
    socket.feed(Bytes::from(vec![0; 1000])).unwrap();
    assert!(timeout(seconds(1_000_000), socket.recv()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_ends_a_send() {
    for role in ROLES {
        let options = Options::new().write_timeout(seconds(20));
        let (mut socket, peer) = socket(role, Config::new(), options, 100);
        let start = Instant::now();
        let sent = ends(socket.send(vec![0; 1000])).await;
        assert!(matches!(sent, Err(Error::Timeout(Deadline::Write))), "{sent:?}");
        assert_eq!(start.elapsed().as_secs(), 20);
        // The same is told to who receives, once; then nothing.
        let received = ends(socket.recv()).await;
        assert!(matches!(received, Err(Error::Timeout(Deadline::Write))), "{received:?}");
        assert!(matches!(ends(socket.recv()).await, Ok(None)));
        assert!(socket.is_ended());
        assert_eq!(socket.with_connection(|connection| connection.memory()), 0);
        drop(peer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_ends_every_way_to_wait() {
    let options = Options::new().write_timeout(seconds(20));
    let new = || {
        let config = Config::new().max_queued(1000);
        let (mut socket, peer) = socket(Role::Server, config, options, 100);
        socket.feed(vec![0; 3000]).unwrap();
        (socket, peer)
    };
    let start = Instant::now();
    let (mut socket, _peer) = new();
    assert!(matches!(ends(socket.recv()).await, Err(Error::Timeout(Deadline::Write))));
    let (mut socket, _peer) = new();
    assert!(matches!(ends(socket.flush()).await, Err(Error::Timeout(Deadline::Write))));
    let (mut socket, _peer) = new();
    assert!(matches!(ends(socket.reserve()).await.map(drop), Err(Error::Timeout(Deadline::Write))));
    let (mut socket, peer) = new();
    peer.push(&frame(Role::Client, true, OpCode::Text, b"more"));
    let echo = socket.recv_each(|event, sender| match event {
        EventRef::Message(message) if message.is_data() => Ok(sender.send_ref(message)?),
        _ => Ok(()),
    });
    assert!(matches!(ends(echo).await, Err(Error::Timeout(Deadline::Write))));
    assert_eq!(start.elapsed().as_secs(), 80);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_is_granted_time_for_its_bytes() {
    for (rate, finishes) in [(50, true), (200, false)] {
        let options = Options::new().write_timeout(seconds(10)).min_rate(rate);
        let (mut socket, peer) = socket(Role::Server, Config::new(), options, 100);
        let reader = tokio::spawn(async move {
            let mut read = 0;
            while read < 10_004 {
                sleep(seconds(1)).await;
                read += peer.pull().len();
            }
            peer
        });
        let sent = ends(socket.send(vec![0; 10_000])).await;
        if finishes {
            sent.unwrap();
        } else {
            assert!(matches!(sent, Err(Error::Timeout(Deadline::Write))), "{sent:?}");
        }
        reader.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_control_frames_ends_with_1008() {
    for role in ROLES {
        for opcode in [OpCode::Ping, OpCode::Pong] {
            for each in [false, true] {
                let (mut socket, peer) =
                    socket(role, Config::new(), Options::new().max_control_rate(100), 1 << 20);
                for _ in 0..201 {
                    peer.push(&frame(role.peer(), true, opcode, b"x"));
                }
                peer.push(&frame(role.peer(), true, OpCode::Text, b"never seen"));
                let mut messages = Vec::new();
                let end = if each {
                    let seen = socket.recv_each(|event, _| {
                        if let EventRef::Message(message) = event {
                            messages.push(message.to_message());
                        }
                        Ok(())
                    });
                    ends(seen).await.err()
                } else {
                    loop {
                        match ends(socket.recv()).await {
                            Ok(Some(message)) => messages.push(message),
                            Ok(None) => break None,
                            Err(error) => break Some(error),
                        }
                    }
                };
                let flood = ProtocolError::TooManyControlFrames { max: 100 };
                assert!(matches!(end, Some(Error::Protocol(error)) if error == flood), "{end:?}");
                assert!(messages.iter().all(|message| !message.is_data()));
                assert!((200..=201).contains(&messages.len()), "{}", messages.len());
                assert_eq!(close_code(role, &peer.pull()), Some(1008));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn control_frames_within_their_rate_go_on_for_ever() {
    let (mut socket, peer) =
        socket(Role::Server, Config::new(), Options::new().max_control_rate(100), 1 << 20);
    tokio::spawn(async move {
        for _ in 0..100 {
            for _ in 0..100 {
                peer.push(&frame(Role::Client, true, OpCode::Ping, b"x"));
            }
            sleep(seconds(1)).await;
            peer.pull();
        }
        peer.push(&frame(Role::Client, true, OpCode::Text, b"still here"));
        sleep(seconds(1)).await;
    });
    let mut pings = 0;
    loop {
        match ends(socket.recv()).await.unwrap().unwrap() {
            Message::Ping(_) => pings += 1,
            message => break assert_eq!(message, Message::text("still here")),
        }
    }
    assert_eq!(pings, 10_000);
}

#[tokio::test(start_paused = true)]
async fn connections_share_a_budget_of_memory() {
    let budget = Budget::new(300_000);
    let half = frame(Role::Client, true, OpCode::Binary, &vec![1; 200_000]);
    let new = || {
        let (mut socket, peer) = socket(Role::Server, Config::new(), Options::new(), 1 << 20);
        socket.set_budget(Some(&budget));
        (socket, peer)
    };
    let ((mut first, peer), (mut second, other)) = (new(), new());
    peer.push(&half[..150_000]);
    assert!(first.recv().now_or_never().is_none());
    assert!((150_000..300_000).contains(&budget.used()), "{}", budget.used());

    other.push(&half[..160_000]);
    let refused = ends(second.recv()).await;
    assert!(matches!(refused, Err(Error::Protocol(ProtocolError::OverBudget))), "{refused:?}");
    assert_eq!(close_code(Role::Server, &other.pull()), Some(CloseCode::TRY_AGAIN.get()));

    // The first goes on, and gives its part back.
    peer.push(&half[150_000..]);
    assert_eq!(ends(first.recv()).await.unwrap(), Some(Message::binary(vec![1; 200_000])));
    assert!(first.recv().now_or_never().is_none());
    assert_eq!(budget.used(), 0);

    // What waits to be written counts as well; a socket that is dropped holds nothing.
    first.feed(vec![0; 100_000]).unwrap();
    let full = pair(100);
    let mut third = WebSocket::new(full.0, connection(Role::Server, Config::new()), &Options::new());
    third.set_budget(Some(&budget));
    third.feed(vec![0; 100_000]).unwrap();
    assert!(third.recv().now_or_never().is_none());
    assert!(budget.used() >= 99_000, "{}", budget.used());
    drop(third);
    assert_eq!(budget.used(), 0);
}
