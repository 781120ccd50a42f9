//! Pings, and peers that do not answer them; the time is a paused clock's.

mod support;

use std::time::Duration;

use support::{Take, connection, frame, replay};
use taut::proto::frame::OpCode;
use taut::proto::{CloseCode, Config, Message, Role};
use taut::testing::{MemoryStream, pair};
use taut::tokio::{Options, WebSocket};
use taut::{Deadline, Error};
use tokio::time::{Instant, sleep, timeout};

const BEAT: Options =
    Options::new().ping_interval(Duration::from_secs(30)).pong_timeout(Duration::from_secs(10));

fn server(options: &Options, room: usize) -> (WebSocket<MemoryStream>, MemoryStream) {
    let (near, far) = pair(room);
    (WebSocket::new(near, connection(Role::Server, Config::new()), options), far)
}

fn written(far: &MemoryStream) -> Vec<Message> {
    let outcome = replay(&mut connection(Role::Client, Config::new()), &far.pull(), &[], Take::Owned);
    assert_eq!(outcome.error, None);
    outcome.messages
}

/// How a socket is waited for.
#[derive(Clone, Copy, Debug)]
enum Way {
    Recv,
    Each,
    Halves,
    Orphan,
}

const WAYS: [Way; 4] = [Way::Recv, Way::Each, Way::Halves, Way::Orphan];

/// Receives until the end.
async fn end(mut socket: WebSocket<MemoryStream>, way: Way) -> Result<(), Error> {
    match way {
        Way::Recv => {
            while socket.recv().await?.is_some() {}
            Ok(())
        }
        Way::Each => socket.recv_each(|_, _| Ok(())).await,
        Way::Halves => {
            let (mut receive, _send) = socket.into_split();
            while receive.recv().await?.is_some() {}
            Ok(())
        }
        Way::Orphan => {
            let (_, mut send) = socket.into_split();
            send.closed().await
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_lives_on_and_one_that_does_not_is_told_of() {
    for way in WAYS {
        let (socket, far) = server(&BEAT, 1000);
        let start = Instant::now();
        let task = tokio::spawn(end(socket, way));
        for beat in 1..=5_u64 {
            sleep(Duration::from_secs(30) + Duration::from_millis(5)).await;
            let ping = beat.to_be_bytes();
            assert_eq!(written(&far), [Message::Ping(ping.to_vec().into())], "{way:?}, {beat}");
            if beat < 5 {
                far.push(&frame(Role::Client, true, OpCode::Pong, &ping));
            }
        }
        let told = timeout(Duration::from_secs(1000), task).await.unwrap().unwrap();
        assert!(matches!(told, Err(Error::Timeout(Deadline::Pong))), "{way:?}: {told:?}");
        let took = start.elapsed().as_secs();
        assert_eq!(took, 5 * 30 + 10, "{way:?}");
        assert!(far.is_at_end());
    }
}

/// A large message may be on its way before the pong.
#[tokio::test(start_paused = true)]
async fn whatever_comes_is_a_sign_of_life() {
    for way in WAYS {
        let (socket, far) = server(&BEAT, 1000);
        let task = tokio::spawn(end(socket, way));
        for _ in 0..100 {
            sleep(Duration::from_secs(9)).await;
            far.push(&frame(Role::Client, true, OpCode::Binary, b"alive"));
        }
        assert_eq!(written(&far).len(), 1, "a ping waits for its answer");
        assert!(!task.is_finished(), "{way:?}");
        let last = Instant::now();
        let told = task.await.unwrap();
        assert!(matches!(told, Err(Error::Timeout(Deadline::Pong))), "{way:?}: {told:?}");
        assert_eq!(last.elapsed().as_secs(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn the_round_trip_is_measured_and_smoothed() {
    let (socket, far) = server(&BEAT, 1000);
    assert_eq!(socket.round_trip(), None);
    let (mut receive, send) = socket.into_split();
    let task = tokio::spawn(async move { while let Ok(Some(_)) = receive.recv().await {} });
    for (beat, delay, expected) in [(1_u64, 800, 800), (2, 0, 700), (3, 1500, 800)] {
        while !written(&far).contains(&Message::Ping(beat.to_be_bytes().to_vec().into())) {
            sleep(Duration::from_millis(1)).await;
        }
        // Pongs that answer nothing say nothing.
        far.push(&frame(Role::Client, true, OpCode::Pong, b"other"));
        far.push(&frame(Role::Client, true, OpCode::Pong, &(beat - 1).to_be_bytes()));
        sleep(Duration::from_millis(delay)).await;
        far.push(&frame(Role::Client, true, OpCode::Pong, &beat.to_be_bytes()));
        sleep(Duration::from_millis(1)).await;
        let measured = send.round_trip().unwrap().as_millis();
        assert!(measured.abs_diff(expected) <= 5, "{measured}, {expected}");
    }
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_no_data_is_idle() {
    let options = BEAT.idle_timeout(Duration::from_secs(300));
    for way in WAYS {
        let (socket, far) = server(&options, 1000);
        let task = tokio::spawn(end(socket, way));
        let (start, mut data, mut came) = (Instant::now(), None, Vec::new());
        while !task.is_finished() {
            sleep(Duration::from_millis(100)).await;
            if data.is_none() && start.elapsed().as_secs() == 100 {
                far.push(&frame(Role::Client, true, OpCode::Text, b"data"));
                data = Some(Instant::now());
            }
            for message in written(&far) {
                if let Message::Ping(payload) = &message {
                    far.push(&frame(Role::Client, true, OpCode::Pong, payload));
                }
                came.push(message);
            }
        }
        let told = task.await.unwrap();
        assert!(matches!(told, Err(Error::Timeout(Deadline::Idle))), "{way:?}: {told:?}");
        assert_eq!(data.unwrap().elapsed().as_secs(), 300, "{way:?}");
        assert_eq!(came.pop(), Some(Message::Close(Some(CloseCode::AWAY.into()))), "{way:?}");
    }
}

/// A peer that takes nothing is told of as such, and not for pings that it never saw.
#[tokio::test(start_paused = true)]
async fn a_ping_that_cannot_be_written_waits_for_no_answer() {
    let (mut socket, far) = server(&BEAT.write_timeout(Duration::from_secs(120)), 10);
    socket.feed("x".repeat(100)).unwrap();
    let start = Instant::now();
    let told = timeout(Duration::from_secs(1000), socket.recv()).await.unwrap();
    assert!(matches!(told, Err(Error::Timeout(Deadline::Write))), "{told:?}");
    assert_eq!(start.elapsed().as_secs(), 120);
    drop(far);
}

/// A ping for which there was no room in the queue has no answer that could be late.
#[tokio::test(start_paused = true)]
async fn a_ping_that_was_not_sent_waits_for_no_answer() {
    let (near, far) = pair(10);
    let options = BEAT.write_timeout(Duration::from_secs(120));
    let mut socket = WebSocket::new(near, connection(Role::Server, Config::new().max_queued(50)), &options);
    socket.feed("x".repeat(100)).unwrap();
    let task = tokio::spawn(end(socket, Way::Recv));
    sleep(Duration::from_secs(31)).await;
    // It is slow, and alive, and sees no ping yet.
    let mut wire = Vec::new();
    for second in 31..69 {
        sleep(Duration::from_secs(1)).await;
        wire.extend(far.pull());
        assert!(!task.is_finished(), "told of as silent after {second} s");
    }
    let seen = replay(&mut connection(Role::Client, Config::new()), &wire, &[], Take::Owned).messages;
    assert!(matches!(seen[..], [Message::Text(_), Message::Ping(_)]), "{seen:?}");
}

/// An application that was busy for long looks at what came meanwhile.
#[tokio::test(start_paused = true)]
async fn who_does_not_wait_misses_nothing() {
    let (mut socket, far) = server(&BEAT.idle_timeout(Duration::from_secs(60)), 1000);
    assert!(timeout(Duration::from_secs(31), socket.recv()).await.is_err());
    far.push(&frame(Role::Client, true, OpCode::Pong, &1_u64.to_be_bytes()));
    far.push(&frame(Role::Client, true, OpCode::Text, b"here"));
    sleep(Duration::from_secs(1000)).await;
    assert!(matches!(socket.recv().await, Ok(Some(Message::Pong(_)))));
    sleep(Duration::from_secs(1000)).await;
    assert_eq!(socket.recv().await.unwrap(), Some(Message::text("here")));
    assert!(timeout(Duration::from_secs(9), socket.recv()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_pinged_unasked() {
    let (mut socket, far) = server(&Options::new(), 1000);
    assert!(timeout(Duration::from_secs(100_000), socket.recv()).await.is_err());
    assert!(far.pull().is_empty());
}

/// A ping that waits behind much, or was not taken, is not late the moment the way is free.
#[tokio::test(start_paused = true)]
async fn the_time_for_an_answer_begins_when_the_ping_is_written() {
    // With room in the queue for the ping, and without.
    for (max_queued, alive) in [(1 << 20, 9), (50, 15)] {
        let options = BEAT.write_timeout(Duration::from_secs(1000));
        let (near, far) = pair(10);
        let engine = connection(Role::Server, Config::new().max_queued(max_queued));
        let mut socket = WebSocket::new(near, engine, &options);
        socket.feed("x".repeat(100)).unwrap();
        assert!(timeout(Duration::from_secs(49), socket.recv()).await.is_err());
        let mut came = 0;
        while came < 102 {
            came += far.pull().len();
            let _ = timeout(Duration::from_millis(1), socket.recv()).await;
        }
        for _ in 0..alive {
            assert!(timeout(Duration::from_secs(1), socket.recv()).await.is_err(), "{max_queued}");
            far.pull();
        }
    }
}
