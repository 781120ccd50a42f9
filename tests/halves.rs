//! The halves of a socket in tasks of their own: order, room, turns, what one does for the other, and their ends.

#[path = "halves/cancellation.rs"]
mod cancellation;
#[path = "halves/ends.rs"]
mod ends;
#[path = "support/futures.rs"]
mod futures;
#[path = "halves/schedules.rs"]
mod schedules;
mod support;

use std::time::Duration;

use futures::{ends, once};
use futures_util::{SinkExt, StreamExt};
use support::{Take, connection, frame, replay};
use taut::Error;
use taut::proto::frame::OpCode;
use taut::proto::{Config, Message, Role, SendErrorKind};
use taut::testing::{MemoryStream, Turns, pair};
use taut::tokio::{Options, ReuniteErrorKind, SendHalf, WebSocket};
use tokio::task::yield_now;

pub(crate) const OPTIONS: Options = Options::new().close_timeout(Duration::from_secs(5));

pub(crate) type Send = SendHalf<MemoryStream>;

pub(crate) fn socket(role: Role, config: Config, stream: MemoryStream) -> WebSocket<MemoryStream> {
    WebSocket::new(stream, connection(role, config), &OPTIONS)
}

pub(crate) async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

/// What a server's halves wrote.
pub(crate) fn written(wire: &[u8]) -> Vec<Message> {
    let outcome = replay(&mut connection(Role::Client, Config::new()), wire, &[], Take::Owned);
    assert_eq!(outcome.error, None);
    outcome.messages
}

pub(crate) fn ping(payload: &[u8]) -> Vec<u8> {
    frame(Role::Client, true, OpCode::Ping, payload)
}

/// Many tasks send to a peer that sends as much, through pipes of 64 bytes.
#[tokio::test(start_paused = true)]
async fn many_senders_get_all_through_a_narrow_pipe() {
    const SENDERS: usize = 8;
    const EACH: usize = 40;
    let (near, far) = pair(64);
    let sockets = [(Role::Server, near), (Role::Client, far.buffered())];
    let ends_of = sockets.map(|(role, stream)| {
        let (mut receive, send) = socket(role, Config::new().max_queued(300), stream).into_split();
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let mut send = send.clone();
                tokio::spawn(async move {
                    for number in 0..EACH {
                        let text = format!("{sender} {number} {}", "x".repeat(number * 7));
                        if number % 2 == 0 {
                            send.reserve().await.unwrap().send(text).unwrap();
                        } else {
                            if let Err(error) = send.send(text).await {
                                let Error::Send(error) = error else { panic!("{error}") };
                                assert_eq!(error.kind(), SendErrorKind::Full);
                                let message = error.into_message().unwrap();
                                send.reserve().await.unwrap().send(message).unwrap();
                            }
                        }
                    }
                    send.flush().await.unwrap();
                })
            })
            .collect();
        let receiver = tokio::spawn(async move {
            let mut next = [0; SENDERS];
            for _ in 0..SENDERS * EACH {
                let Some(Message::Text(text)) = receive.recv().await.unwrap() else { panic!() };
                let mut words = text.as_str().split(' ');
                let mut number = || words.next().unwrap().parse::<usize>().unwrap();
                let (sender, number) = (number(), number());
                assert_eq!(number, next[sender], "order is kept per handle");
                next[sender] += 1;
            }
            receive
        });
        (senders, receiver, send)
    });
    let mut halves = Vec::new();
    for (senders, receiver, send) in ends_of {
        for sender in senders {
            ends(sender).await.unwrap();
        }
        halves.push((receiver, send));
    }
    for (receiver, send) in halves {
        let receive = ends(receiver).await.unwrap();
        assert!(receive.reunite(send).is_ok());
    }
}

/// RFC 6455 §5.5.2 "as soon as is practical": ahead of what waits; the Close behind it.
#[tokio::test(start_paused = true)]
async fn a_pong_overtakes_and_a_close_does_not() {
    let (near, far) = pair(10);
    let (mut receive, mut send) = socket(Role::Server, Config::new(), near).into_split();
    send.feed("first").unwrap();
    send.feed("x".repeat(100)).unwrap();
    // A part of the long one has left.
    assert!(once(send.flush()).await.is_none());
    send.feed("second").unwrap();
    send.start_close(None);
    far.push(&ping(b"?"));
    let task = tokio::spawn(async move { while let Ok(Some(_)) = receive.recv().await {} });
    let mut wire = Vec::new();
    for _ in 0..100 {
        settle().await;
        wire.extend(far.pull());
    }
    let expected = [
        Message::text("first"),
        Message::text("x".repeat(100)),
        Message::Pong(b"?"[..].into()),
        Message::text("second"),
        Message::Close(None),
    ];
    assert_eq!(written(&wire), expected);
    task.abort();
}

/// Those who wait are served in the order in which they came, one woken after the other.
#[tokio::test(start_paused = true)]
async fn room_goes_to_who_waited_first() {
    let (near, far) = pair(16);
    let (_receive, mut send) = socket(Role::Server, Config::new().max_queued(50), near).into_split();
    while send.feed("0123456789").is_ok() {}
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..20 {
        let (mut send, done) = (send.clone(), done.clone());
        tokio::spawn(async move {
            send.reserve().await.unwrap().send("0123456789").unwrap();
            done.send(number).unwrap();
        });
        settle().await;
    }
    let mut seen = Vec::new();
    while seen.len() < 20 {
        // Who did not wait does not overtake.
        let refused = send.feed("overtaken");
        assert!(matches!(refused, Err(Error::Send(error)) if error.kind() == SendErrorKind::Full));
        far.pull();
        settle().await;
        while let Ok(number) = order.try_recv() {
            seen.push(number);
        }
    }
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_not_used_goes_to_the_next() {
    let (near, _far) = pair(1000);
    let (_receive, mut one) = socket(Role::Server, Config::new(), near).into_split();
    let mut two = one.clone();
    let permit = one.reserve().await.unwrap();
    let waiting = tokio::spawn(async move {
        two.reserve().await.unwrap().send("two").unwrap();
        two
    });
    settle().await;
    assert!(!waiting.is_finished());
    drop(permit);
    let two = ends(waiting).await.unwrap();
    assert!(two.queued() > 0);
}

/// Who waits first and does not come back holds nobody up once it is gone.
#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_dropped_passes_its_turn_on() {
    let (near, far) = pair(16);
    let (_receive, mut send) = socket(Role::Server, Config::new().max_queued(50), near).into_split();
    while send.feed("0123456789").is_ok() {}
    let mut waiting = Vec::new();
    for _ in 0..10 {
        let mut send = send.clone();
        waiting.push(tokio::spawn(async move {
            send.reserve().await.unwrap().send("0123456789").unwrap();
        }));
        settle().await;
    }
    let last = waiting.pop().unwrap();
    far.pull();
    for task in waiting {
        task.abort();
    }
    for _ in 0..30 {
        settle().await;
        far.pull();
    }
    ends(last).await.unwrap();
}

/// One waits for its own message, not for what others queue behind it.
#[tokio::test(start_paused = true)]
async fn a_send_ends_although_others_go_on() {
    let (near, far) = pair(64);
    let (_receive, mut send) = socket(Role::Server, Config::new(), near).into_split();
    let mut other = send.clone();
    let flood = tokio::spawn(async move {
        loop {
            while other.queued() < 2_000 {
                other.feed("x".repeat(100)).unwrap();
            }
            yield_now().await;
        }
    });
    settle().await;
    let sent = tokio::spawn(async move { send.send("one").await });
    let mut came = 0;
    for _ in 0..1_000 {
        settle().await;
        came += far.pull().len();
        if sent.is_finished() {
            break;
        }
    }
    sent.await.unwrap().unwrap();
    assert!(came < 10_000, "{came}");
    flood.abort();
}

/// The other end writes and never flushes; nor does this reader.
#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_does_not_keep_us_from_reading() {
    let (near, far) = pair(64);
    let (mut receive, send) = socket(Role::Server, Config::new(), near.buffered()).into_split();
    let mut send_all = send.clone();
    let sending = tokio::spawn(async move { send_all.send("x".repeat(10_000)).await });
    settle().await;
    for number in 0..1_000_u32 {
        far.push(&ping(&number.to_be_bytes()));
        far.push(&frame(Role::Client, true, OpCode::Binary, &number.to_be_bytes()));
        let Some(Message::Ping(_)) = ends(receive.recv()).await.unwrap() else { panic!() };
        let Some(Message::Binary(got)) = ends(receive.recv()).await.unwrap() else { panic!() };
        assert_eq!(got[..], number.to_be_bytes());
    }
    assert!(!sending.is_finished());
    // Two pongs at most wait beside the message.
    assert!(send.queued() < 10_000 + 500, "{}", send.queued());
}

#[tokio::test(start_paused = true)]
async fn halves_of_different_sockets_come_back() {
    let (a, _a) = pair(100);
    let (b, _b) = pair(100);
    let (receive_a, send_a) = socket(Role::Server, Config::new(), a).into_split();
    let (receive_b, send_b) = socket(Role::Server, Config::new(), b).into_split();
    let error = receive_a.reunite(send_b).unwrap_err();
    assert_eq!(error.kind, ReuniteErrorKind::Strangers);
    let (receive_a, send_b) = (error.receiver, error.sender);
    let other = send_b.clone();
    let error = receive_b.reunite(send_b).unwrap_err();
    assert_eq!(error.kind, ReuniteErrorKind::OtherSenders);
    drop(other);
    assert!(error.receiver.reunite(error.sender).is_ok());
    assert!(receive_a.reunite(send_a).is_ok());
}

/// What was buffered is there when the socket is whole again.
#[tokio::test(start_paused = true)]
async fn a_reunited_socket_has_all_that_came() {
    let (near, far) = pair(1000);
    far.push(
        &[frame(Role::Client, true, OpCode::Text, b"one"), frame(Role::Client, true, OpCode::Text, b"two")]
            .concat(),
    );
    let (mut receive, mut send) = socket(Role::Server, Config::new(), near).into_split();
    assert_eq!(receive.recv().await.unwrap(), Some(Message::text("one")));
    send.feed("held").unwrap();
    let mut whole = receive.reunite(send).unwrap();
    assert_eq!(whole.recv().await.unwrap(), Some(Message::text("two")));
    whole.flush().await.unwrap();
    assert_eq!(written(&far.pull()), [Message::text("held")]);
}

#[tokio::test(start_paused = true)]
async fn halves_are_a_stream_and_a_sink() {
    let (near, far) = pair(50);
    let (receive, send) = socket(Role::Server, Config::new().max_queued(40), near).into_split();
    let far = socket(Role::Client, Config::new(), far.writing(Turns::pieces(3)));
    let echo = tokio::spawn(
        receive.take_while(|next| std::future::ready(!matches!(next, Ok(Message::Close(_))))).forward(send),
    );
    let (mut far_receive, mut far_send) = far.into_split();
    let sending = tokio::spawn(async move {
        for number in 0..100 {
            SinkExt::send(&mut far_send, Message::text(number.to_string())).await.unwrap();
        }
        far_send
    });
    for number in 0..100 {
        assert_eq!(ends(far_receive.recv()).await.unwrap(), Some(Message::text(number.to_string())));
    }
    let mut far_send = ends(sending).await.unwrap();
    let (closed, _) = ends(async {
        tokio::join!(SinkExt::close(&mut far_send), async {
            while let Ok(Some(_)) = far_receive.recv().await {}
        })
    })
    .await;
    closed.unwrap();
    ends(echo).await.unwrap().unwrap();
}

/// The first in the queue has what it waited for, by a receiver that looked once, and neither comes by again.
#[tokio::test(start_paused = true)]
async fn who_was_woken_and_does_not_come_holds_nobody_up() {
    let (near, far) = pair(10);
    let (mut receive, mut first) = socket(Role::Server, Config::new(), near).into_split();
    let mut second = first.clone();
    first.feed("x".repeat(10)).unwrap();
    assert!(once(SinkExt::<Message>::flush(&mut first)).await.is_none(), "2 bytes wait");
    let task = tokio::spawn(async move { second.send("y".repeat(20)).await });
    settle().await;
    let mut wire = far.pull();
    assert!(once(receive.recv()).await.is_none());
    for _ in 0..4 {
        settle().await;
        wire.extend(far.pull());
    }
    ends(task).await.unwrap().unwrap();
    assert_eq!(written(&wire).len(), 2);
}
