//! How connections end over tokio: cleanly, too late, lost, or with an error of the peer's; each is told once,
//! and keeps to the deadline (RFC 6455 §7).

#[path = "support/futures.rs"]
mod futures;
mod support;

use std::io;
use std::pin::pin;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures::ends;
use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{Take, connection, frame, replay};
use taut::proto::frame::OpCode;
use taut::proto::{
    CloseCode, CloseFrame, CloseStatus, Config, Message, ProtocolError, Role, SendErrorKind, State,
};
use taut::testing::{MemoryStream, Turn, Turns, pair};
use taut::tokio::{Options, WebSocket};
use taut::{Deadline, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const OPTIONS: Options = Options::new().close_timeout(CLOSE_TIMEOUT);
const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// A socket of that role, and the other end of its stream.
fn socket(role: Role) -> (WebSocket<MemoryStream>, MemoryStream) {
    socket_with(role, Config::new(), 1 << 20)
}

fn socket_with(role: Role, config: Config, room: usize) -> (WebSocket<MemoryStream>, MemoryStream) {
    let (stream, peer) = pair(room);
    (WebSocket::new(stream, connection(role, config), &OPTIONS), peer)
}

fn close_frame(from: Role, code: u16, reason: &str) -> Vec<u8> {
    frame(from, true, OpCode::Close, &[&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

fn text_frame(from: Role, text: &str) -> Vec<u8> {
    frame(from, true, OpCode::Text, text.as_bytes())
}

/// The messages in what `from` wrote.
fn decode(from: Role, wire: &[u8]) -> Vec<Message> {
    let outcome = replay(&mut connection(from.peer(), Config::new()), wire, &[], Take::Owned);
    assert_eq!(outcome.error, None);
    outcome.messages
}

fn close_message(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame::new(CloseCode::new(code).unwrap(), reason).unwrap()))
}

fn assert_clean(closed: Result<CloseStatus, Error>, code: u16, reason: &str) {
    let status = closed.unwrap();
    assert_eq!((status.code, status.reason.as_str(), status.clean), (code, reason, true));
}

/// After the end there is nothing, however often it is asked for.
async fn assert_ended(socket: &mut WebSocket<MemoryStream>) {
    assert!(socket.is_ended());
    for _ in 0..3 {
        assert!(matches!(socket.recv().await, Ok(None)));
        assert!(matches!(socket.recv_event().await, Ok(None)));
        assert!(socket.next().await.is_none());
    }
    match socket.send("late").await {
        Err(Error::Send(error)) => {
            assert_eq!(error.kind(), SendErrorKind::Closed);
            assert_eq!(error.into_message(), Some(Message::text("late")));
        }
        other => panic!("{other:?}"),
    }
}

/// Runs something that would otherwise take a thread for ever.
fn watched<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_secs(60)).expect("it spins, or it panicked")
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_answered_is_clean() {
    for role in ROLES {
        let (ours, theirs) = pair(10);
        let mut closing = WebSocket::new(ours, connection(role, Config::new()), &OPTIONS);
        let mut other = WebSocket::new(theirs, connection(role.peer(), Config::new()), &OPTIONS);
        let start = Instant::now();
        let other = tokio::spawn(async move {
            assert_eq!(other.recv().await.unwrap(), Some(close_message(4000, "bye")));
            assert_eq!(other.recv().await.unwrap(), None);
            assert_clean(other.close_status().ok_or(Error::Lost), 4000, "bye");
            assert_ended(&mut other).await;
            // Closing what is closed tells how it ended.
            assert_clean(other.close(CloseCode::AWAY, "no").await, 4000, "bye");
        });
        // RFC 6455 §5.5.1: the answer echoes the code.
        let closed = ends(closing.close(CloseCode::new(4000).unwrap(), "bye")).await;
        assert_clean(closed, 4000, "");
        ends(other).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(closing.with_connection(|connection| connection.state()), State::Closed);
        assert_ended(&mut closing).await;
        assert_clean(closing.close(CloseCode::AWAY, "again").await, 4000, "");
        SinkExt::close(&mut closing).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_without_a_code_is_1005() {
    for role in ROLES {
        let (mut socket, peer) = socket(role);
        peer.push(&frame(role.peer(), true, OpCode::Close, b""));
        peer.finish();
        assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::Close(None)));
        assert_eq!(ends(socket.recv()).await.unwrap(), None);
        let status = socket.close_status().unwrap();
        assert_eq!((status.code, status.clean), (CloseStatus::NO_CODE, true));
        assert_eq!(decode(role, &peer.pull()), [Message::Close(None)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_is_given_exactly_its_time() {
    for role in ROLES {
        for time in [Duration::from_millis(1), CLOSE_TIMEOUT, Duration::from_secs(3600)] {
            let (stream, peer) = pair(1000);
            let mut socket =
                WebSocket::new(stream, connection(role, Config::new()), &Options::new().close_timeout(time));
            let start = Instant::now();
            let closed = ends(socket.close(CloseCode::NORMAL, "bye")).await;
            assert!(matches!(closed, Err(Error::Timeout(Deadline::Close))), "{closed:?}");
            assert_eq!(start.elapsed(), time);
            assert_eq!(decode(role, &peer.pull()), [close_message(1000, "bye")]);
            assert_ended(&mut socket).await;
            // The error was told; that it was not clean stays so.
            assert!(socket.close(CloseCode::NORMAL, "bye").await.is_err());
            let status = socket.close_status().unwrap();
            assert_eq!((status.code, status.clean), (CloseStatus::ABNORMAL, false));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_does_not_move_the_deadline() {
    for role in ROLES {
        let (mut socket, peer) = socket(role);
        let start = Instant::now();
        let talker = tokio::spawn(async move {
            for _ in 0..100 {
                sleep(Duration::from_millis(700)).await;
                peer.push(&text_frame(role.peer(), "and another thing"));
                peer.push(&frame(role.peer(), true, OpCode::Ping, b"?"));
            }
        });
        let closed = ends(socket.close(CloseCode::NORMAL, "")).await;
        assert!(matches!(closed, Err(Error::Timeout(Deadline::Close))), "{closed:?}");
        assert_eq!(start.elapsed(), CLOSE_TIMEOUT);
        talker.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_our_close_whoever_polls_then() {
    for role in ROLES {
        let (mut socket, _peer) = socket(role);
        let start = Instant::now();
        socket.start_close(CloseFrame::from(CloseCode::NORMAL));
        sleep(Duration::from_secs(2)).await;
        let ended = ends(socket.recv()).await;
        assert!(matches!(ended, Err(Error::Timeout(Deadline::Close))), "{ended:?}");
        assert_eq!(start.elapsed(), CLOSE_TIMEOUT);
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_the_peers_close_whoever_polls_then() {
    for role in ROLES {
        // The peer takes nothing: our answer does not leave.
        let (mut socket, peer) = socket_with(role, Config::new(), 0);
        peer.push(&close_frame(role.peer(), 1001, ""));
        let start = Instant::now();
        assert_eq!(ends(socket.recv()).await.unwrap(), Some(close_message(1001, "")));
        sleep(Duration::from_secs(2)).await;
        let ended = ends(socket.recv()).await;
        assert!(matches!(ended, Err(Error::Timeout(Deadline::Close))), "{ended:?}");
        assert_eq!(start.elapsed(), CLOSE_TIMEOUT);
        // RFC 6455 §7.1.4: our Close never left.
        assert!(!socket.close_status().unwrap().clean);
        assert!(socket.close(CloseCode::NORMAL, "").await.is_err());
    }
}

/// The application was busy; the peer was not late.
#[tokio::test(start_paused = true)]
async fn what_came_in_time_counts_though_nobody_looked() {
    for role in ROLES {
        let (mut socket, peer) = socket(role);
        socket.start_close(CloseFrame::from(CloseCode::NORMAL));
        ends(socket.flush()).await.unwrap();
        peer.push(&text_frame(role.peer(), "last"));
        peer.push(&close_frame(role.peer(), 1000, ""));
        peer.finish();
        sleep(CLOSE_TIMEOUT * 2).await;
        assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::text("last")));
        assert_eq!(ends(socket.recv()).await.unwrap(), Some(close_message(1000, "")));
        assert_eq!(ends(socket.recv()).await.unwrap(), None);
        assert_clean(socket.close(CloseCode::NORMAL, "").await, 1000, "");
    }
}

/// But a peer that floods cannot put the end off by being there whenever somebody looks.
#[tokio::test(start_paused = true)]
async fn a_flood_ends_at_the_deadline() {
    for role in ROLES {
        let (stream, peer) = pair(1 << 20);
        let stream = stream.reading(Turns::new([Turn::Bytes(100)]));
        let mut socket = WebSocket::new(stream, connection(role, Config::new()), &OPTIONS);
        socket.start_close(CloseFrame::from(CloseCode::NORMAL));
        peer.push(&text_frame(role.peer(), "and another thing").repeat(1_000));
        sleep(CLOSE_TIMEOUT * 2).await;
        let mut got = 0;
        let ended = loop {
            match ends(socket.recv()).await {
                Ok(Some(_)) => got += 1,
                other => break other,
            }
        };
        assert!(matches!(ended, Err(Error::Timeout(Deadline::Close))), "{ended:?}");
        assert!(got < 100, "{got} messages after the time was over");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_keeps_to_the_deadline() {
    for role in ROLES {
        let (mut socket, _peer) = socket_with(role, Config::new(), 3);
        let start = Instant::now();
        socket.feed("a message that does not fit").unwrap();
        socket.start_close(None);
        let flushed = ends(socket.flush()).await;
        assert!(matches!(flushed, Err(Error::Timeout(Deadline::Close))), "{flushed:?}");
        assert_eq!(start.elapsed(), CLOSE_TIMEOUT);
        // How it ended is still for the receiving side to learn.
        let received = ends(socket.recv()).await;
        assert!(matches!(received, Err(Error::Timeout(Deadline::Close))), "{received:?}");
        assert_ended(&mut socket).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_end_the_stream_is_left_cleanly() {
    let (mut client, server) = socket(Role::Client);
    let start = Instant::now();
    server.push(&close_frame(Role::Server, 1001, "down"));
    assert_clean(ends(client.close(CloseCode::NORMAL, "")).await, 1001, "down");
    // Both Closes were exchanged; the rest was waited for in vain.
    assert_eq!(start.elapsed(), CLOSE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn no_limit_is_no_deadline() {
    for role in ROLES {
        let (stream, peer) = pair(1000);
        let mut socket = WebSocket::new(
            stream,
            connection(role, Config::new()),
            &Options::new().close_timeout(Duration::MAX),
        );
        let closed = tokio::spawn(async move { socket.close(CloseCode::NORMAL, "").await });
        sleep(Duration::from_secs(3600)).await;
        assert!(!closed.is_finished(), "{:?}", closed.await);
        peer.push(&close_frame(role.peer(), 1000, ""));
        peer.finish();
        assert_clean(ends(closed).await.unwrap(), 1000, "");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_close_is_lost_behind_any_byte() {
    for role in ROLES {
        for reset in [false, true] {
            let texts = ["one", "two", "three"];
            let frames: Vec<Vec<u8>> = texts.iter().map(|text| text_frame(role.peer(), text)).collect();
            let wire = frames.concat();
            for cut in 0..=wire.len() {
                let (mut socket, peer) = socket(role);
                peer.push(&wire[..cut]);
                if reset {
                    peer.reset()
                } else {
                    peer.finish()
                }
                let mut end = 0;
                for (text, frame) in texts.iter().zip(&frames) {
                    end += frame.len();
                    if end <= cut {
                        assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::text(*text)), "{cut}");
                    }
                }
                match ends(socket.recv()).await {
                    Err(Error::Io(error)) if reset => {
                        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset)
                    }
                    Err(Error::Lost) if !reset => {}
                    other => panic!("{cut}, {reset}: {other:?}"),
                }
                assert_ended(&mut socket).await;
                let status = socket.close_status().unwrap();
                assert_eq!((status.code, status.clean), (CloseStatus::ABNORMAL, false));
                assert!(matches!(socket.close(CloseCode::NORMAL, "").await, Err(Error::Lost)));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_tells_that_the_transport_was_lost() {
    for role in ROLES {
        for cut in 0..6 {
            let (mut first, peer) = socket(role);
            peer.push(&text_frame(role.peer(), "data")[..cut]);
            peer.finish();
            let closed = ends(first.close(CloseCode::NORMAL, "")).await;
            assert!(matches!(closed, Err(Error::Lost)), "{closed:?}");
            assert_eq!(decode(role, &peer.pull()), [close_message(1000, "")]);

            let (mut second, peer) = socket(role);
            peer.push(&text_frame(role.peer(), "data")[..cut]);
            peer.reset();
            match ends(second.close(CloseCode::NORMAL, "")).await {
                Err(Error::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What breaks the protocol, under which settings, as what, and the code for it.
fn violations(from: Role) -> Vec<(Vec<u8>, Config, ProtocolError, u16)> {
    let mut reserved = text_frame(from, "x");
    reserved[0] |= 0x40;
    let empty = frame(from, false, OpCode::Text, b"");
    let more = frame(from, false, OpCode::Continuation, b"");
    let masked = if from == Role::Server {
        ProtocolError::MaskedFromServer
    } else {
        ProtocolError::UnmaskedFromClient
    };
    let config = Config::new();
    vec![
        (reserved, config, ProtocolError::ReservedBit(1), 1002),
        (text_frame(from.peer(), "x"), config, masked, 1002),
        (frame(from, true, OpCode::Text, b"ab\xff"), config, ProtocolError::InvalidUtf8 { offset: 2 }, 1007),
        (close_frame(from, 1005, ""), config, ProtocolError::CloseCode(1005), 1002),
        (
            text_frame(from, "too long"),
            config.max_message(7).max_frame(100),
            ProtocolError::MessageTooBig { max: 7 },
            1009,
        ),
        (
            [empty, more].concat(),
            config.max_empty_fragments(1),
            ProtocolError::TooManyEmptyFragments { max: 1 },
            1008,
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_protocol_error_is_told_once_the_peer_was() {
    for role in ROLES {
        for (bytes, config, error, code) in violations(role.peer()) {
            let (mut socket, peer) = socket_with(role, config, 1 << 20);
            peer.push(&text_frame(role.peer(), "before"));
            peer.push(&bytes);
            assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::text("before")));
            {
                // Not before the peer has ended, or the socket's end would destroy our Close.
                let mut failed = pin!(socket.recv());
                assert!(failed.as_mut().now_or_never().is_none(), "{error}");
                let told = decode(role, &peer.pull());
                assert!(
                    matches!(&told[..], [Message::Close(Some(frame))] if frame.code().get() == code),
                    "{told:?}"
                );
                assert!(peer.is_at_end(), "our sending side is shut down");
                peer.push(&[0x55; 100_000]);
                sleep(Duration::from_secs(1)).await;
                assert!(failed.as_mut().now_or_never().is_none());
                peer.finish();
                match ends(failed).await {
                    Err(Error::Protocol(told)) => assert_eq!(told, error),
                    other => panic!("{other:?}"),
                }
            }
            assert_ended(&mut socket).await;
            assert_eq!(socket.close_status().unwrap().code, CloseStatus::ABNORMAL);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_tells_a_protocol_error_too() {
    for role in ROLES {
        for (bytes, config, error, _) in violations(role.peer()) {
            let (mut socket, peer) = socket_with(role, config, 1 << 20);
            peer.push(&bytes);
            peer.finish();
            match ends(socket.close(CloseCode::NORMAL, "")).await {
                Err(Error::Protocol(told)) => assert_eq!(told, error),
                other => panic!("{other:?}"),
            }
            // RFC 6455 §5.5.1: one Close; ours left first.
            assert_eq!(decode(role, &peer.pull()), [close_message(1000, "")]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_goes_on_after_its_error_is_left_at_the_deadline() {
    for role in ROLES {
        let (mut socket, peer) = socket(role);
        let start = Instant::now();
        let talker = tokio::spawn(async move {
            peer.push(&frame(role.peer(), true, OpCode::Text, b"\xff"));
            for _ in 0..100 {
                sleep(Duration::from_millis(700)).await;
                peer.push(&text_frame(role.peer(), "and another thing"));
            }
        });
        let failed = ends(socket.recv()).await;
        assert!(matches!(failed, Err(Error::Protocol(ProtocolError::InvalidUtf8 { .. }))), "{failed:?}");
        assert_eq!(start.elapsed(), CLOSE_TIMEOUT);
        assert_ended(&mut socket).await;
        talker.abort();
    }
}

/// A stream whose shutdown waits for the peer, as one of TLS does while the peer takes nothing.
#[tokio::test(start_paused = true)]
async fn input_is_discarded_while_the_shutdown_waits() {
    for role in ROLES {
        let (stream, peer) = pair(1000);
        let stream = stream.shutdown_after_input();
        let mut socket = WebSocket::new(stream, connection(role, Config::new()), &OPTIONS);
        let start = Instant::now();
        let talker = tokio::spawn(async move {
            peer.push(&frame(role.peer(), true, OpCode::Text, b"\xff"));
            for _ in 0..10 {
                sleep(Duration::from_millis(100)).await;
                peer.push(&[0x55; 10_000]);
            }
            peer.finish();
            peer
        });
        let failed = ends(socket.recv()).await;
        assert!(matches!(failed, Err(Error::Protocol(ProtocolError::InvalidUtf8 { .. }))), "{failed:?}");
        assert_eq!(start.elapsed(), Duration::from_secs(1), "as soon as the peer has ended");
        let peer = talker.await.unwrap();
        assert!(matches!(&decode(role, &peer.pull())[..], [Message::Close(Some(_))]));
        assert!(peer.is_at_end());
    }
}

/// Real sockets: closing one with unread bytes resets the connection, and destroys the Close on its way.
#[tokio::test]
async fn over_tcp_the_peer_gets_the_close_and_no_reset() {
    for role in ROLES {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(listener.accept(), TcpStream::connect(address));
        let (ours, mut theirs) = (ours.unwrap().0, theirs.unwrap());
        let no_hurry = Duration::from_secs(600);
        let socket = tokio::spawn(async move {
            let mut socket = WebSocket::new(
                ours,
                connection(role, Config::new()),
                &Options::new().close_timeout(no_hurry),
            );
            let failed = socket.recv().await;
            drop(socket);
            failed
        });
        let peer = tokio::spawn(async move {
            theirs.write_all(&frame(role.peer(), true, OpCode::Text, b"\xff")).await.unwrap();
            let junk = vec![0x55; 1 << 20];
            for _ in 0..16 {
                theirs.write_all(&junk).await.expect("the rest is taken");
            }
            let mut answer = Vec::new();
            theirs.read_to_end(&mut answer).await.expect("an end, not a reset");
            answer
        });
        let answer = timeout(no_hurry, peer).await.unwrap().unwrap();
        let told = decode(role, &answer);
        assert!(matches!(&told[..], [Message::Close(Some(frame))] if frame.code().get() == 1007), "{told:?}");
        let failed = timeout(no_hurry, socket).await.unwrap().unwrap();
        assert!(
            matches!(failed, Err(Error::Protocol(ProtocolError::InvalidUtf8 { offset: 0 }))),
            "{failed:?}"
        );
    }
}

#[tokio::test]
async fn over_tcp_both_ends_close_cleanly() {
    for closes in ROLES {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(listener.accept(), TcpStream::connect(address));
        let no_hurry = Duration::from_secs(600);
        let socket = |stream, role| {
            WebSocket::new(stream, connection(role, Config::new()), &Options::new().close_timeout(no_hurry))
        };
        let (mut closing, mut other) =
            (socket(ours.unwrap().0, closes), socket(theirs.unwrap(), closes.peer()));
        let other = tokio::spawn(async move {
            assert_eq!(other.recv().await.unwrap(), Some(close_message(1001, "")));
            assert_eq!(other.recv().await.unwrap(), None);
            other.close_status().unwrap()
        });
        let closed = tokio::spawn(async move { closing.close(CloseCode::AWAY, "").await });
        assert_clean(timeout(no_hurry, closed).await.unwrap().unwrap(), 1001, "");
        assert!(timeout(no_hurry, other).await.unwrap().unwrap().clean);
    }
}

/// RFC 6455 §7.1.1: the server ends the stream; the client waits for that.
#[tokio::test(start_paused = true)]
async fn the_server_ends_the_stream_first() {
    // A client that closes, and one that is closed.
    for closes in [true, false] {
        let (mut client, server) = socket(Role::Client);
        server.push(&close_frame(Role::Server, 1000, ""));
        let ended = async {
            if closes {
                client.close(CloseCode::NORMAL, "").await.map(drop)
            } else {
                assert_eq!(client.recv().await?, Some(close_message(1000, "")));
                client.recv().await.map(|message| assert_eq!(message, None))
            }
        };
        let mut ended = pin!(ended);
        assert!(ended.as_mut().now_or_never().is_none());
        assert_eq!(decode(Role::Client, &server.pull()), [close_message(1000, "")]);
        assert!(!server.is_at_end(), "the client ended first");
        server.finish();
        ends(ended).await.unwrap();
        assert!(server.is_at_end());
    }
    for closes in [true, false] {
        let (mut server, client) = socket(Role::Server);
        client.push(&close_frame(Role::Client, 1000, ""));
        let ended = async {
            if closes {
                server.close(CloseCode::NORMAL, "").await.map(drop)
            } else {
                assert_eq!(server.recv().await?, Some(close_message(1000, "")));
                server.recv().await.map(|message| assert_eq!(message, None))
            }
        };
        let mut ended = pin!(ended);
        // RFC 6455 §5.5.1: the server closes "immediately"; §7.1.1: and reads until the client does too.
        assert!(ended.as_mut().now_or_never().is_none());
        assert_eq!(decode(Role::Server, &client.pull()), [close_message(1000, "")]);
        assert!(client.is_at_end());
        client.push(b"late");
        client.finish();
        ends(ended).await.unwrap();
    }
}

/// A shutdown may take its time, as one of TLS does.
#[tokio::test(start_paused = true)]
async fn the_end_comes_behind_the_shutdown() {
    for closes in [true, false] {
        let (stream, client) = pair(1000);
        let stream = stream.writing(Turns::bytewise());
        let mut server = WebSocket::new(stream, connection(Role::Server, Config::new()), &OPTIONS);
        client.push(&close_frame(Role::Client, 1000, ""));
        if closes {
            assert_clean(ends(server.close(CloseCode::NORMAL, "")).await, 1000, "");
        } else {
            assert_eq!(ends(server.recv()).await.unwrap(), Some(close_message(1000, "")));
            assert_eq!(ends(server.recv()).await.unwrap(), None);
        }
        assert_eq!(decode(Role::Server, &client.pull()), [close_message(1000, "")]);
        assert!(client.is_at_end());
    }
}

#[tokio::test(start_paused = true)]
async fn both_may_close_at_once() {
    for turns in [Turns::free(), Turns::bytewise()] {
        let (client, server) = pair(1000);
        let client = client.reading(turns.clone()).writing(turns.clone());
        let server = server.reading(turns.clone()).writing(turns);
        let mut client = WebSocket::new(client, connection(Role::Client, Config::new()), &OPTIONS);
        let mut server = WebSocket::new(server, connection(Role::Server, Config::new()), &OPTIONS);
        let client = tokio::spawn(async move { client.close(CloseCode::NORMAL, "client").await });
        let server = tokio::spawn(async move { server.close(CloseCode::AWAY, "server").await });
        assert_clean(ends(client).await.unwrap(), 1001, "server");
        assert_clean(ends(server).await.unwrap(), 1000, "client");
    }
}

#[tokio::test(start_paused = true)]
async fn data_before_the_peers_close_still_comes() {
    for role in ROLES {
        let (mut socket, peer) = socket(role);
        socket.feed("mine").unwrap();
        socket.start_close(CloseFrame::new(CloseCode::AWAY, "enough").unwrap());
        // Later calls do nothing.
        socket.start_close(None);
        assert!(
            matches!(socket.feed("more"), Err(Error::Send(error)) if error.kind() == SendErrorKind::Closed)
        );
        for text in ["one", "two", "three"] {
            peer.push(&text_frame(role.peer(), text));
        }
        peer.push(&close_frame(role.peer(), 1000, ""));
        peer.push(&text_frame(role.peer(), "dropped"));
        peer.finish();
        let mut got = Vec::new();
        while let Some(message) = ends(socket.recv()).await.unwrap() {
            got.push(message);
        }
        let texts = ["one", "two", "three"].map(Message::text);
        assert_eq!(got[..3], texts);
        assert_eq!(got[3..], [close_message(1000, "")]);
        assert_eq!(decode(role, &peer.pull()), [Message::text("mine"), close_message(1001, "enough")]);
    }
}

#[tokio::test(start_paused = true)]
async fn close_drops_the_data_that_still_comes() {
    for role in ROLES {
        let (mut socket, peer) = socket(role);
        peer.push(&text_frame(role.peer(), "late"));
        peer.push(&close_frame(role.peer(), 1000, ""));
        peer.finish();
        assert_clean(ends(socket.close(CloseCode::AWAY, "")).await, 1000, "");
        assert_ended(&mut socket).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_closes_with_1000_and_tells_errors() {
    for role in ROLES {
        let (mut answered, peer) = socket(role);
        peer.push(&text_frame(role.peer(), "dropped"));
        peer.push(&close_frame(role.peer(), 1001, ""));
        peer.finish();
        answered.feed(Message::text("last")).unwrap();
        ends(SinkExt::close(&mut answered)).await.unwrap();
        assert_eq!(decode(role, &peer.pull()), [Message::text("last"), close_message(1000, "")]);
        assert_clean(answered.close_status().ok_or(Error::Lost), 1001, "");
        assert!(answered.is_ended() && peer.is_at_end());

        let (mut silent, _peer) = socket(role);
        let start = Instant::now();
        let closed = ends(SinkExt::close(&mut silent)).await;
        assert!(matches!(closed, Err(Error::Timeout(Deadline::Close))), "{closed:?}");
        assert_eq!(start.elapsed(), CLOSE_TIMEOUT);

        let (mut lost, peer) = socket(role);
        peer.finish();
        let closed = ends(SinkExt::close(&mut lost)).await;
        assert!(matches!(closed, Err(Error::Lost)), "{closed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_can_be_the_close() {
    for role in ROLES {
        let (mut socket, peer) = socket(role);
        ends(socket.send(close_message(3000, "done"))).await.unwrap();
        assert_eq!(decode(role, &peer.pull()), [close_message(3000, "done")]);
        peer.push(&close_frame(role.peer(), 3000, ""));
        peer.finish();
        assert_clean(ends(socket.close(CloseCode::NORMAL, "")).await, 3000, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reason_that_is_too_long_closes_nothing() {
    for role in ROLES {
        let (mut socket, peer) = socket(role);
        match socket.close(CloseCode::NORMAL, &"x".repeat(124)).await {
            Err(Error::Reason(error)) => assert_eq!(error.len, 124),
            other => panic!("{other:?}"),
        }
        assert_eq!(socket.with_connection(|connection| connection.state()), State::Open);
        ends(socket.send("still open")).await.unwrap();
        peer.push(&close_frame(role.peer(), 1000, ""));
        peer.finish();
        let reason = "x".repeat(123);
        assert_clean(ends(socket.close(CloseCode::NORMAL, &reason)).await, 1000, "");
        assert_eq!(decode(role, &peer.pull()), [Message::text("still open"), close_message(1000, &reason)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_may_reset_behind_its_close() {
    for role in ROLES {
        // At once: our answer finds nobody.
        let (mut early, peer) = socket(role);
        peer.push(&text_frame(role.peer(), "data"));
        peer.push(&close_frame(role.peer(), 1001, "gone"));
        peer.reset();
        assert_eq!(ends(early.recv()).await.unwrap(), Some(Message::text("data")));
        assert_eq!(ends(early.recv()).await.unwrap(), Some(close_message(1001, "gone")));
        let ended = ends(early.recv()).await;
        let status = early.close_status().unwrap();
        assert_eq!((status.code, status.reason.as_str()), (1001, "gone"));
        // RFC 6455 §7.1.4: our Close never left.
        assert!(!status.clean);
        assert!(matches!(ended, Err(Error::Io(_))), "{ended:?}");
        assert_ended(&mut early).await;

        // After our answer: nothing is missing.
        let (mut late, peer) = socket(role);
        peer.push(&close_frame(role.peer(), 1001, "gone"));
        assert_eq!(ends(late.recv()).await.unwrap(), Some(close_message(1001, "gone")));
        assert_eq!(decode(role, &peer.pull()), [close_message(1001, "")]);
        peer.reset();
        assert_eq!(ends(late.recv()).await.unwrap(), None);
        assert!(late.close_status().unwrap().clean);
        assert_ended(&mut late).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_error_does_not_lose_what_the_peer_sent() {
    for role in ROLES {
        for (room, closes) in [(0, false), (3, false), (0, true), (3, true)] {
            let (mut socket, peer) = socket(role);
            peer.refuse(room, io::ErrorKind::BrokenPipe);
            match ends(socket.send("to nobody")).await {
                Err(Error::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe),
                other => panic!("{other:?}"),
            }
            for text in ["one", "two"] {
                peer.push(&text_frame(role.peer(), text));
                assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::text(text)));
            }
            // What is not taken comes back.
            match ends(socket.send("more")).await {
                Err(Error::Send(error)) => assert_eq!(error.into_message(), Some(Message::text("more"))),
                other => panic!("{other:?}"),
            }
            peer.push(&text_frame(role.peer(), "three"));
            if closes {
                peer.push(&close_frame(role.peer(), 1001, ""));
            }
            peer.finish();
            assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::text("three")));
            if closes {
                assert_eq!(ends(socket.recv()).await.unwrap(), Some(close_message(1001, "")));
                let status = socket.close_status().unwrap();
                assert_eq!((status.code, status.clean), (1001, false));
            }
            match ends(socket.recv()).await {
                Err(Error::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe),
                other => panic!("{other:?}"),
            }
            assert_ended(&mut socket).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_write_error_nothing_takes_longer_than_a_close() {
    for role in ROLES {
        // The peer goes on as if nothing was.
        let (mut first, peer) = socket(role);
        peer.refuse(0, io::ErrorKind::BrokenPipe);
        assert!(matches!(ends(first.send("to nobody")).await, Err(Error::Io(_))));
        let start = Instant::now();
        let closed = ends(first.close(CloseCode::NORMAL, "")).await;
        assert!(closed.is_err(), "{closed:?}");
        assert!(start.elapsed() <= CLOSE_TIMEOUT, "{:?}", start.elapsed());

        let (mut second, peer) = socket(role);
        peer.refuse(0, io::ErrorKind::BrokenPipe);
        assert!(matches!(ends(second.send("to nobody")).await, Err(Error::Io(_))));
        let start = Instant::now();
        let received = ends(second.recv()).await;
        assert!(received.is_err(), "{received:?}");
        assert!(start.elapsed() <= CLOSE_TIMEOUT, "{:?}", start.elapsed());
    }
}

#[test]
fn without_automatic_answers_the_application_closes() {
    for role in ROLES {
        for ends_stream in [false, true] {
            watched(move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
                    let config = Config::new().auto_close(false);
                    let (mut socket, peer) = socket_with(role, config, 1000);
                    peer.push(&close_frame(role.peer(), 1001, "bye"));
                    assert_eq!(ends(socket.recv()).await.unwrap(), Some(close_message(1001, "bye")));
                    assert_eq!(peer.pull(), b"");
                    peer.finish();
                    assert_clean(
                        ends(socket.close(CloseCode::new(3001).unwrap(), "mine")).await,
                        1001,
                        "bye",
                    );
                    assert_eq!(decode(role, &peer.pull()), [close_message(3001, "mine")]);

                    // One that does not: it is told so in the end, and its thread is not spun.
                    let (mut socket, peer) = socket_with(role, config, 1000);
                    peer.push(&close_frame(role.peer(), 1001, "bye"));
                    if ends_stream {
                        peer.finish();
                    }
                    assert_eq!(ends(socket.recv()).await.unwrap(), Some(close_message(1001, "bye")));
                    let start = Instant::now();
                    let ended = ends(socket.recv()).await;
                    assert!(matches!(ended, Err(Error::Timeout(Deadline::Close))), "{ended:?}");
                    assert!(start.elapsed() <= CLOSE_TIMEOUT);
                });
            });
        }
    }
}
