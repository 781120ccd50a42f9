//! Ends of halves, and of their connection.

use taut::proto::{CloseCode, CloseStatus};
use taut::{Deadline, Error};

use super::*;

/// The stream goes on for those who send, and the protocol is kept while they wait.
#[tokio::test(start_paused = true)]
async fn without_a_receiver_senders_answer_for_it() {
    let (near, far) = pair(1000);
    let (receive, mut send) = socket(Role::Server, Config::new(), near).into_split();
    far.push(&frame(Role::Client, true, OpCode::Text, b"nobody will take this"));
    drop(receive);
    let task = tokio::spawn(async move {
        let closed = send.closed().await;
        (closed, send)
    });
    far.push(&ping(b"?"));
    settle().await;
    assert_eq!(written(&far.pull()), [Message::Pong(b"?"[..].into())]);
    far.push(&frame(Role::Client, true, OpCode::Close, &1001_u16.to_be_bytes()));
    settle().await;
    assert_eq!(written(&far.pull()), [Message::Close(Some(CloseCode::AWAY.into()))]);
    far.finish();
    let (closed, mut send) = ends(task).await.unwrap();
    closed.unwrap();
    let status = send.close_status().unwrap();
    assert_eq!((status.code, status.clean), (1001, true));
    assert!(matches!(send.send("late").await, Err(Error::Send(_))));
    assert!(matches!(send.reserve().await, Err(Error::Send(_))));
}

/// Who waits when the receiver goes takes over without being called.
#[tokio::test(start_paused = true)]
async fn a_sender_that_waits_takes_over() {
    let (near, far) = pair(10);
    let (receive, mut send) = socket(Role::Server, Config::new(), near).into_split();
    let task = tokio::spawn(async move { send.send("x".repeat(100)).await });
    settle().await;
    drop(receive);
    far.push(&ping(b"?"));
    let mut wire = Vec::new();
    for _ in 0..50 {
        settle().await;
        wire.extend(far.pull());
    }
    ends(task).await.unwrap().unwrap();
    assert_eq!(written(&wire), [Message::text("x".repeat(100)), Message::Pong(b"?"[..].into())]);
}

/// `let (_, receive) = …`: those who only listen.
#[tokio::test(start_paused = true)]
async fn without_senders_the_receiver_goes_on() {
    let (near, far) = pair(1000);
    let (mut receive, send) = socket(Role::Server, Config::new(), near).into_split();
    drop(send);
    far.push(&[ping(b"?"), frame(Role::Client, true, OpCode::Text, b"one")].concat());
    assert_eq!(receive.recv().await.unwrap(), Some(Message::Ping(b"?"[..].into())));
    assert_eq!(receive.recv().await.unwrap(), Some(Message::text("one")));
    let mut send = receive.sender();
    send.send("again").await.unwrap();
    assert_eq!(written(&far.pull()), [Message::Pong(b"?"[..].into()), Message::text("again")]);
    assert!(!far.is_at_end());
    drop(receive);
    assert!(!far.is_at_end());
    drop(send);
    assert!(far.is_at_end());
}

#[tokio::test(start_paused = true)]
async fn a_sender_closes_and_hears_how_it_ended() {
    let (near, far) = pair(1000);
    let (mut receive, mut send) = socket(Role::Server, Config::new(), near).into_split();
    let mut other = send.clone();
    let receiving = tokio::spawn(async move {
        let mut got = Vec::new();
        while let Some(message) = receive.recv().await.unwrap() {
            got.push(message);
        }
        got
    });
    let closing = tokio::spawn(async move { send.close(CloseCode::NORMAL, "bye").await });
    settle().await;
    assert!(
        matches!(other.send("late").await, Err(Error::Send(error)) if error.kind() == SendErrorKind::Closed)
    );
    far.push(&frame(Role::Client, true, OpCode::Text, b"still"));
    far.push(&frame(Role::Client, true, OpCode::Close, &1000_u16.to_be_bytes()));
    far.finish();
    let status: CloseStatus = ends(closing).await.unwrap().unwrap();
    assert!(status.clean);
    assert_eq!(ends(receiving).await.unwrap()[0], Message::text("still"));
}

/// The deadline of the close holds for whoever waits.
#[tokio::test(start_paused = true)]
async fn a_close_that_nobody_answers_ends_in_time() {
    for receiver in [true, false] {
        let (near, _far) = pair(1000);
        let (receive, mut send) = socket(Role::Server, Config::new(), near).into_split();
        let receive = receiver.then_some(receive);
        let start = tokio::time::Instant::now();
        let closed = ends(send.close(CloseCode::NORMAL, "")).await;
        assert!(matches!(closed, Err(Error::Timeout(Deadline::Close))), "{closed:?}");
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        drop(receive);
    }
}

/// All who wait hear of the end, wherever they wait.
#[tokio::test(start_paused = true)]
async fn a_reset_ends_all_who_wait() {
    for wait in 0..4 {
        let (near, far) = pair(10);
        let (mut receive, mut send) = socket(Role::Server, Config::new().max_queued(50), near).into_split();
        while send.feed("0123456789").is_ok() {}
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let mut send = send.clone();
                tokio::spawn(async move {
                    match wait {
                        0 => send.reserve().await.map(drop),
                        1 => send.flush().await,
                        2 => send.closed().await,
                        _ => SinkExt::send(&mut send, Message::text("x")).await,
                    }
                })
            })
            .collect();
        settle().await;
        far.reset();
        let told = ends(receive.recv()).await;
        assert!(matches!(told, Err(Error::Io(_))), "{told:?}");
        for task in waiting {
            let told = ends(task).await.unwrap();
            assert!(told.is_err() || wait == 2, "{told:?}");
        }
    }
}

/// A peer that breaks the protocol is told so although the receiver is gone, and who sends hears why.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_peer_is_told_to_who_sends() {
    let (near, far) = pair(1000);
    let (receive, mut send) = socket(Role::Server, Config::new(), near).into_split();
    drop(receive);
    far.push(&frame(Role::Client, true, OpCode::Text, b"\xff"));
    far.finish();
    let told = ends(send.closed()).await;
    assert!(matches!(told, Err(Error::Protocol(_))), "{told:?}");
    assert_eq!(written(&far.pull()).len(), 1);
}
