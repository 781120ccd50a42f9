//! The tokio adapter: handshakes with good and bad peers, answers that leave by themselves, backpressure,
//! fairness, and the vocabulary of `futures`.

mod support;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{Take, connection, frame, replay};
use taut::proto::frame::OpCode;
use taut::proto::handshake::{
    Accept, BuildError, ClientRequest, HandshakeError, Reject, Request, accept_key,
};
use taut::proto::{
    ChunkData, CloseCode, Config, Delivery, Event, HandshakeLimits, Kind, Message, Prepared, Role,
    SendErrorKind,
};
use taut::testing::{MemoryStream, Turns, pair};
use taut::tokio::{Incoming, Options, WebSocket, accept, accept_with, connect, connect_over, connect_with};
use taut::{Deadline, Error};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{coop, yield_now};
use tokio::time::{Instant, sleep, timeout};

const TIME: Duration = Duration::from_secs(5);
const OPTIONS: Options = Options::new().close_timeout(TIME);
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// Fails instead of waiting for ever. On a paused clock this end comes once nothing else is left to happen;
/// on real sockets it is far away.
async fn ends<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(600), future).await.expect("something waits for ever")
}

fn socket(role: Role, config: Config, room: usize) -> (WebSocket<MemoryStream>, MemoryStream) {
    let (stream, peer) = pair(room);
    (WebSocket::new(stream, connection(role, config), &OPTIONS), peer)
}

/// Two sockets that are joined.
fn sockets(config: Config, room: usize) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (client, server) = duplex(room);
    let socket = |stream, role| WebSocket::new(stream, connection(role, config), &OPTIONS);
    (socket(client, Role::Client), socket(server, Role::Server))
}

fn text_frame(from: Role, text: &str) -> Vec<u8> {
    frame(from, true, OpCode::Text, text.as_bytes())
}

fn close_frame(from: Role) -> Vec<u8> {
    frame(from, true, OpCode::Close, &1000_u16.to_be_bytes())
}

/// The messages in what `from` wrote.
fn decode(from: Role, wire: &[u8]) -> Vec<Message> {
    let config = Config::new().max_message(usize::MAX).max_frame(usize::MAX);
    let outcome = replay(&mut connection(from.peer(), config), wire, &[], Take::Owned);
    assert_eq!(outcome.error, None);
    outcome.messages
}

fn pong(payload: &'static [u8]) -> Message {
    Message::Pong(payload.into())
}

// Answers, and who waits for whom.

#[tokio::test(start_paused = true)]
async fn pongs_leave_while_only_recv_is_polled() {
    for role in ROLES {
        let (mut socket, peer) = socket(role, Config::new(), 1000);
        tokio::spawn(async move { while let Ok(Some(_)) = socket.recv().await {} });
        for payload in [&b""[..], b"one", b"two"] {
            peer.push(&frame(role.peer(), true, OpCode::Ping, payload));
            sleep(Duration::from_millis(1)).await;
            assert_eq!(decode(role, &peer.pull()), [pong(payload)]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pong_that_had_to_wait_leaves_by_itself() {
    for role in ROLES {
        let (mut socket, peer) = socket(role, Config::new(), 64);
        let large = Message::binary(vec![1; 1000]);
        socket.feed(large.clone()).unwrap();
        assert!(socket.flush().now_or_never().is_none(), "64 bytes fit, 1000 do not");
        // From here on only `recv` is polled.
        let received = tokio::spawn(async move {
            socket.recv().await.map(|got| (got, socket.recv().now_or_never(), socket))
        });
        sleep(Duration::from_millis(1)).await;
        peer.push(&frame(role.peer(), true, OpCode::Ping, b"still there?"));
        let (got, next, mut socket) = ends(received).await.unwrap().unwrap();
        assert_eq!(got, Some(Message::Ping((&b"still there?"[..]).into())));
        assert!(next.is_none());
        tokio::spawn(async move { socket.recv().await });
        let mut wire = Vec::new();
        for _ in 0..100 {
            sleep(Duration::from_millis(1)).await;
            wire.extend(peer.pull());
        }
        // RFC 6455 §5.4: not inside the message under way, right behind it.
        assert_eq!(decode(role, &wire), [large, pong(b"still there?")]);
    }
}

#[tokio::test(start_paused = true)]
async fn two_ends_that_both_send_do_not_wait_for_each_other() {
    async fn exchange(mut socket: WebSocket<DuplexStream>, byte: u8) -> Message {
        socket.feed(vec![byte; 1 << 20]).unwrap();
        let got = socket.recv().await.unwrap().unwrap();
        // What this end sent has not all left yet.
        socket.flush().await.unwrap();
        got
    }
    let (client, server) = sockets(Config::new(), 64);
    let (client, server) = (tokio::spawn(exchange(client, 1)), tokio::spawn(exchange(server, 2)));
    assert_eq!(ends(client).await.unwrap(), Message::binary(vec![2; 1 << 20]));
    assert_eq!(ends(server).await.unwrap(), Message::binary(vec![1; 1 << 20]));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_messages_pass_through_a_narrow_pipe() {
    for room in [1, 2, 3, 13, 64] {
        for from in ROLES {
            let (client, server) = sockets(Config::new(), room);
            let (mut sender, mut receiver) =
                if from == Role::Client { (client, server) } else { (server, client) };
            let sending = tokio::spawn(async move {
                for number in 0..10_000 {
                    sender.send(format!("{number}")).await.unwrap();
                }
                sender.close(CloseCode::NORMAL, "").await.unwrap();
            });
            for number in 0..10_000 {
                assert_eq!(ends(receiver.recv()).await.unwrap(), Some(Message::text(format!("{number}"))));
            }
            assert_eq!(
                ends(receiver.recv()).await.unwrap(),
                Some(Message::Close(Some(CloseCode::NORMAL.into())))
            );
            assert_eq!(ends(receiver.recv()).await.unwrap(), None);
            drop(receiver);
            ends(sending).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_hands_the_message_back_and_reserve_waits() {
    for role in ROLES {
        let (mut socket, peer) = socket(role, Config::new().max_queued(100), 50);
        // One that fits before the limit may go over it.
        socket.feed(vec![1; 200]).unwrap();
        let refused = Message::text("refused");
        match socket.feed(refused.clone()) {
            Err(Error::Send(error)) => {
                assert_eq!(error.kind(), SendErrorKind::Full);
                assert_eq!(error.into_message(), Some(refused));
            }
            other => panic!("{other:?}"),
        }
        for refused in
            [socket.feed_text("no"), socket.feed_binary(b"no"), socket.feed_prepared(&Prepared::text("no"))]
        {
            assert!(matches!(refused, Err(Error::Send(error)) if error.kind() == SendErrorKind::Full));
        }
        assert!(socket.reserve().now_or_never().is_none());
        let reserved = tokio::spawn(async move {
            socket.reserve().await.unwrap().send_text("permitted");
            socket.flush().await.unwrap();
            socket
        });
        sleep(Duration::from_secs(1)).await;
        assert!(!reserved.is_finished());
        let mut wire = Vec::new();
        while !reserved.is_finished() {
            wire.extend(peer.pull());
            sleep(Duration::from_millis(1)).await;
        }
        let mut socket = reserved.await.unwrap();
        wire.extend(peer.pull());
        assert_eq!(decode(role, &wire), [Message::binary(vec![1; 200]), Message::text("permitted")]);
        // With room there is nothing to wait for.
        socket.reserve().now_or_never().unwrap().unwrap().send_binary(vec![2]);
        socket.start_close(None);
        match socket.reserve().now_or_never() {
            Some(Err(Error::Send(error))) => assert_eq!(error.kind(), SendErrorKind::Closed),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_queue_of_no_bytes_takes_nothing() {
    let (sender, receiver) = mpsc::channel();
    // On a thread of its own: one that spins is left behind.
    thread::spawn(move || {
        let full = |result| matches!(result, Err(Error::Send(error)) if error.kind() == SendErrorKind::Full);
        let (mut socket, _peer) = socket(Role::Server, Config::new().max_queued(0), 50);
        assert!(full(socket.feed("no")));
        // There is nothing to wait for.
        sender.send(full(socket.reserve().now_or_never().expect("nothing to wait for").map(drop)))
    });
    assert_eq!(receiver.recv_timeout(Duration::from_secs(60)), Ok(true));
}

#[tokio::test(start_paused = true)]
async fn prepared_messages_leave_as_any_other() {
    for role in ROLES {
        let (mut socket, peer) = socket(role, Config::new(), 1 << 20);
        let (text, binary) = (Prepared::text("to all"), Prepared::binary(vec![3; 10_000]));
        for _ in 0..2 {
            socket.feed_prepared(&text).unwrap();
            socket.feed_text("mine").unwrap();
            socket.feed_prepared(&binary).unwrap();
            socket.feed_binary(b"mine").unwrap();
        }
        ends(socket.flush()).await.unwrap();
        let once = [
            Message::text("to all"),
            Message::text("mine"),
            Message::binary(vec![3; 10_000]),
            Message::binary(&b"mine"[..]),
        ];
        assert_eq!(decode(role, &peer.pull()), [once.clone(), once].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn frames_of_a_busy_task_leave_together() {
    for role in ROLES {
        let (mut socket, peer) = socket(role, Config::new(), 1 << 20);
        peer.push(&text_frame(role.peer(), "x").repeat(16));
        tokio::spawn(async move {
            while let Ok(Some(message)) = socket.recv().await {
                socket.feed(message).unwrap();
            }
        });
        sleep(Duration::from_millis(1)).await;
        assert_eq!(decode(role, &peer.pull()), vec![Message::text("x"); 16]);
        assert!(peer.writes() <= 2, "{} writes for what came in one read", peer.writes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_buffering_stream_is_flushed() {
    for role in ROLES {
        let (stream, peer) = pair(1000);
        let mut socket = WebSocket::new(stream.buffered(), connection(role, Config::new()), &OPTIONS);
        ends(socket.send("sent")).await.unwrap();
        assert_eq!(decode(role, &peer.pull()), [Message::text("sent")]);
        socket.feed("fed").unwrap();
        peer.push(&frame(role.peer(), true, OpCode::Ping, b""));
        tokio::spawn(async move { while let Ok(Some(_)) = socket.recv().await {} });
        sleep(Duration::from_millis(1)).await;
        assert_eq!(decode(role, &peer.pull()), [Message::text("fed"), pong(b"")]);
        peer.push(&close_frame(role.peer()));
        sleep(Duration::from_millis(1)).await;
        assert_eq!(decode(role, &peer.pull()), [Message::Close(Some(CloseCode::NORMAL.into()))]);
    }
    let (stream, peer) = pair(1000);
    peer.push(request(&[]).as_bytes());
    let accepted = tokio::spawn(accept(stream.buffered()));
    sleep(Duration::from_millis(1)).await;
    assert!(peer.pull().starts_with(b"HTTP/1.1 101 "));
    accepted.await.unwrap().unwrap();
    let (stream, peer) = pair(1000);
    peer.push(b"GET / HTTP/1.1\r\n\r\n");
    tokio::spawn(accept(stream.buffered()));
    sleep(Duration::from_millis(1)).await;
    assert!(peer.pull().starts_with(b"HTTP/1.1 400 "));
    let (stream, peer) = pair(1000);
    tokio::spawn(async move { connect_over(stream.buffered(), &client_request(), Options::new()).await });
    sleep(Duration::from_millis(1)).await;
    assert!(peer.pull().starts_with(b"GET / HTTP/1.1\r\n"));
}

// Fairness.

/// The most things that a task did between two turns of another one on the same thread.
struct Bursts {
    turns: Arc<AtomicUsize>,
    seen: usize,
    burst: usize,
    most: usize,
}

impl Bursts {
    /// Starts the other task, which does nothing but to give its turn away.
    fn new() -> Self {
        let turns = Arc::new(AtomicUsize::new(0));
        let counter = turns.clone();
        tokio::spawn(async move {
            loop {
                counter.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        Self { turns, seen: 0, burst: 0, most: 0 }
    }

    fn count(&mut self) {
        let turns = self.turns.load(Ordering::Relaxed);
        self.burst = if turns == self.seen { self.burst + 1 } else { 1 };
        self.seen = turns;
        self.most = self.most.max(self.burst);
    }
}

/// More than any runtime lets a task do in one turn; far fewer than there are.
const MOST_IN_A_TURN: usize = 1_000;
const FLOOD: usize = 50_000;

#[tokio::test]
async fn a_flood_does_not_starve_other_tasks() {
    for opcode in [OpCode::Text, OpCode::Ping] {
        for chunks in [false, true] {
            let wire = frame(Role::Client, true, opcode, b"x").repeat(FLOOD);
            let (ours, mut theirs) = duplex(wire.len());
            theirs.write_all(&wire).await.unwrap();
            let delivery = if chunks { Delivery::Chunks } else { Delivery::Whole };
            let config = Config::new().delivery(delivery);
            let options = OPTIONS.max_control_rate(u32::MAX);
            let mut socket = WebSocket::new(ours, connection(Role::Server, config), &options);
            let received = tokio::spawn(async move {
                let mut bursts = Bursts::new();
                for _ in 0..FLOOD {
                    if chunks {
                        socket.recv_event().await.unwrap().unwrap();
                    } else {
                        socket.recv().await.unwrap().unwrap();
                    }
                    bursts.count();
                }
                bursts.most
            });
            let most = ends(received).await.unwrap();
            assert!(most <= MOST_IN_A_TURN, "{most} messages in one turn");
        }
    }
}

#[tokio::test]
async fn a_flood_does_not_starve_other_tasks_while_it_is_dropped() {
    let wire = [text_frame(Role::Client, "x").repeat(FLOOD), close_frame(Role::Client)].concat();
    let (ours, mut theirs) = duplex(wire.len());
    theirs.write_all(&wire).await.unwrap();
    let mut socket = WebSocket::new(ours, connection(Role::Server, Config::new()), &OPTIONS);
    let closed = tokio::spawn(async move {
        let bursts = Bursts::new();
        socket.close(CloseCode::NORMAL, "").await.unwrap();
        bursts.turns.load(Ordering::Relaxed)
    });
    let turns = ends(closed).await.unwrap();
    assert!(turns >= FLOOD / MOST_IN_A_TURN, "only {turns} turns for others");
}

// Streams and sinks.

#[tokio::test(start_paused = true)]
async fn a_stream_forwards_into_its_sink() {
    let (client, server) = sockets(Config::new(), 100);
    let echo = tokio::spawn(async move {
        let (sink, stream) = server.split();
        stream.take(100).forward(sink).await
    });
    let (mut sink, mut stream) = client.split();
    let sending = tokio::spawn(async move {
        for number in 0..100 {
            sink.send(Message::text(format!("{number}"))).await.unwrap();
        }
        sink
    });
    for number in 0..100 {
        assert_eq!(ends(stream.next()).await.unwrap().unwrap(), Message::text(format!("{number}")));
    }
    // At its end `forward` closes the sink, with 1000.
    assert_eq!(ends(stream.next()).await.unwrap().unwrap(), Message::Close(Some(CloseCode::NORMAL.into())));
    let sink = sending.await.unwrap();
    ends(echo).await.unwrap().unwrap();
    assert!(ends(stream.next()).await.is_none());
    let socket = sink.reunite(stream).unwrap();
    assert!(socket.close_status().unwrap().clean);
}

#[tokio::test(start_paused = true)]
async fn a_sink_feeds_and_flushes() {
    let (mut client, mut server) = sockets(Config::new(), 1000);
    for number in 0..5 {
        SinkExt::feed(&mut client, Message::text(format!("{number}"))).await.unwrap();
    }
    assert!(server.next().now_or_never().is_none(), "nothing was written yet");
    SinkExt::flush(&mut client).await.unwrap();
    for number in 0..5 {
        assert_eq!(ends(server.next()).await.unwrap().unwrap(), Message::text(format!("{number}")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_waits_for_room() {
    let (stream, peer) = pair(10);
    let mut sink = WebSocket::new(stream, connection(Role::Server, Config::new().max_queued(50)), &OPTIONS);
    let sending = tokio::spawn(async move {
        for _ in 0..20 {
            SinkExt::feed(&mut sink, Message::binary(vec![1; 60])).await?;
        }
        SinkExt::flush(&mut sink).await
    });
    let mut wire = Vec::new();
    while !sending.is_finished() {
        sleep(Duration::from_millis(1)).await;
        wire.extend(peer.pull());
    }
    sending.await.unwrap().unwrap();
    wire.extend(peer.pull());
    assert_eq!(decode(Role::Server, &wire), vec![Message::binary(vec![1; 60]); 20]);
}

/// The halves of `split` live in tasks of their own, and a stream knows one task that wants to write: the
/// one that tried last. Whichever that is, the other must hear of what happens.
#[tokio::test(start_paused = true)]
async fn a_writer_is_woken_although_a_reader_tried_to_write_after_it() {
    for role in ROLES {
        let (socket, peer) = socket(role, Config::new(), 64);
        let (mut sink, mut stream) = socket.split();
        let large = Message::binary(vec![7; 10_000]);
        let message = large.clone();
        let writer = tokio::spawn(async move { sink.send(message).await });
        let reader =
            tokio::spawn(async move { stream.next().await.map(|got| (got, stream.next().now_or_never())) });
        sleep(Duration::from_millis(1)).await;
        // The reader is woken, finds bytes to write, and waits for the stream in place of the writer.
        peer.push(&text_frame(role.peer(), "news"));
        let (got, _) = ends(reader).await.unwrap().unwrap();
        assert_eq!(got.unwrap(), Message::text("news"));
        let mut wire = Vec::new();
        for _ in 0..1_000 {
            sleep(Duration::from_millis(1)).await;
            wire.extend(peer.pull());
        }
        assert!(decode(role, &wire) == [large], "{role:?}: {} bytes", wire.len());
        ends(writer).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_is_woken_when_a_reader_wrote_its_message() {
    for role in ROLES {
        let (socket, peer) = socket(role, Config::new(), 64);
        let (mut sink, mut stream) = socket.split();
        let large = Message::binary(vec![7; 10_000]);
        let message = large.clone();
        let writer = tokio::spawn(async move { sink.send(message).await });
        tokio::spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
        sleep(Duration::from_millis(1)).await;
        peer.push(&text_frame(role.peer(), "news"));
        let mut wire = Vec::new();
        for _ in 0..1_000 {
            sleep(Duration::from_millis(1)).await;
            wire.extend(peer.pull());
        }
        assert!(decode(role, &wire) == [large], "{role:?}: {} bytes", wire.len());
        ends(writer).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_writes_on_after_a_writer_gave_up() {
    for role in ROLES {
        let (socket, peer) = socket(role, Config::new(), 64);
        let (mut sink, mut stream) = socket.split();
        let reader = tokio::spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
        peer.push(&frame(role.peer(), true, OpCode::Ping, b"?"));
        sleep(Duration::from_millis(1)).await;
        // The pong is in the pipe. Another one waits, and the writer's message too.
        let large = Message::binary(vec![7; 1_000]);
        let message = large.clone();
        let writer = tokio::spawn(async move { sink.send(message).await });
        sleep(Duration::from_millis(1)).await;
        writer.abort();
        let mut wire = Vec::new();
        for _ in 0..1_000 {
            sleep(Duration::from_millis(1)).await;
            wire.extend(peer.pull());
        }
        // What was taken leaves, since the reader is still there.
        assert!(decode(role, &wire) == [pong(b"?"), large], "{role:?}: {} bytes", wire.len());
        reader.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_hears_that_a_writer_ended_the_connection() {
    for role in ROLES {
        // The peer takes nothing any more: neither our data nor our answer to its Close.
        let (socket, peer) = socket(role, Config::new(), 10);
        let (mut sink, mut stream) = socket.split();
        let start = Instant::now();
        let reader = tokio::spawn(async move {
            while let Some(message) = stream.next().await {
                if let Err(error) = message {
                    return Some(error);
                }
            }
            None
        });
        let writer = tokio::spawn(async move { sink.send(Message::binary(vec![7; 1_000])).await });
        sleep(Duration::from_secs(1)).await;
        peer.push(&close_frame(role.peer()));
        let written = ends(writer).await.unwrap();
        assert!(written.is_err(), "{written:?}");
        let _ = ends(reader).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(1) + TIME);
    }
}

/// Nobody but the reader knows that the time to close has begun, and the reader looks no further.
#[tokio::test(start_paused = true)]
async fn a_writer_keeps_to_a_deadline_that_began_while_it_waited() {
    for role in ROLES {
        let (socket, peer) = socket(role, Config::new(), 10);
        let (mut sink, mut stream) = socket.split();
        let reader = tokio::spawn(async move { (stream.next().await, stream) });
        let writer = tokio::spawn(async move { sink.send(Message::binary(vec![7; 1_000])).await });
        sleep(Duration::from_secs(1)).await;
        peer.push(&close_frame(role.peer()));
        let start = Instant::now();
        let (got, _stream) = ends(reader).await.unwrap();
        assert_eq!(got.unwrap().unwrap(), Message::Close(Some(CloseCode::NORMAL.into())));
        let written = ends(writer).await.unwrap();
        assert!(matches!(written, Err(Error::Timeout(Deadline::Close))), "{written:?}");
        assert_eq!(start.elapsed(), TIME);
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_hears_that_a_reader_ended_the_connection() {
    for role in ROLES {
        let (socket, peer) = socket(role, Config::new(), 10);
        let (mut sink, mut stream) = socket.split();
        let reader = tokio::spawn(async move { stream.next().await });
        let writer = tokio::spawn(async move { sink.send(Message::binary(vec![7; 1_000])).await });
        sleep(Duration::from_secs(1)).await;
        peer.fail_reads();
        let start = Instant::now();
        let ended = ends(reader).await.unwrap();
        assert!(matches!(ended, Some(Err(Error::Io(_)))), "{ended:?}");
        let written = ends(writer).await.unwrap();
        assert!(matches!(written, Err(Error::Lost)), "{written:?}");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn chunks_come_as_they_arrive() {
    for role in ROLES {
        for whole in [Message::binary(vec![5; 300_000]), Message::text("€".repeat(100_000))] {
            let (kind, opcode, bytes) = match &whole {
                Message::Text(text) => (Kind::Text, OpCode::Text, text.as_bytes()),
                Message::Binary(bytes) => (Kind::Binary, OpCode::Binary, &bytes[..]),
                other => panic!("{other:?}"),
            };
            let config = Config::new().delivery(Delivery::Chunks).max_message(10);
            let wire =
                [frame(role.peer(), true, opcode, bytes), frame(role.peer(), true, OpCode::Ping, b"p")]
                    .concat();
            let (stream, peer) = pair(1000);
            peer.push(&wire);
            let stream = stream.reading(Turns::pieces(10_000));
            let mut socket = WebSocket::new(stream, connection(role, config), &OPTIONS);
            let (mut got, mut chunks) = (Vec::new(), 0);
            loop {
                let Some(Event::Chunk(chunk)) = ends(socket.recv_event()).await.unwrap() else {
                    panic!("only chunks up to the last")
                };
                assert_eq!(chunk.first, chunks == 0);
                chunks += 1;
                match (&chunk.data, kind) {
                    (ChunkData::Text(text), Kind::Text) => got.extend_from_slice(text.as_bytes()),
                    (ChunkData::Binary(bytes), Kind::Binary) => got.extend_from_slice(bytes),
                    other => panic!("{other:?}"),
                }
                if chunk.last {
                    break;
                }
            }
            assert!(got == bytes && chunks > 20, "{} bytes in {chunks} chunks", got.len());
            let ping = Message::Ping((&b"p"[..]).into());
            assert_eq!(ends(socket.recv_event()).await.unwrap(), Some(Event::Message(ping)));

            // As messages, where the borders say nothing.
            peer.push(&wire);
            let mut got = 0;
            while got < bytes.len() {
                match ends(socket.recv()).await.unwrap().unwrap() {
                    Message::Text(text) if kind == Kind::Text => got += text.len(),
                    Message::Binary(bytes) if kind == Kind::Binary => got += bytes.len(),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

// The server's handshake.

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A request, with these fields in place of those of the same names; without those that have no value.
fn request(changed: &[(&str, Option<&str>)]) -> String {
    let usual = [
        ("Host", "example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ];
    let mut request = String::from("GET / HTTP/1.1\r\n");
    for (name, value) in usual {
        if !changed.iter().any(|(other, _)| *other == name) {
            request += &format!("{name}: {value}\r\n");
        }
    }
    for (name, value) in changed {
        if let Some(value) = value {
            request += &format!("{name}: {value}\r\n");
        }
    }
    request + "\r\n"
}

fn client_request() -> ClientRequest {
    ClientRequest::new("example.com", "/").unwrap()
}

/// A server on a port of its own, and its address.
async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn sockets_do_not_delay_small_messages() {
    let (listener, address) = listener().await;
    let uri = format!("ws://{address}/");
    let server = async { accept(listener.accept().await.unwrap().0).await };
    let (server, client) = ends(async { tokio::join!(server, connect(&uri)) }).await;
    assert!(server.unwrap().with_stream(|stream| stream.nodelay()).unwrap());
    assert!(client.unwrap().with_stream(|stream| stream.tcp().expect("TCP").nodelay()).unwrap());

    let server = async { Incoming::read(listener.accept().await.unwrap().0, Options::new()).await };
    let client = async {
        let stream = TcpStream::connect(&address).await.unwrap();
        assert!(!stream.nodelay().unwrap(), "the default of the system");
        let request = client_request();
        let connected = tokio::spawn(async move { connect_over(stream, &request, Options::new()).await });
        connected.await.unwrap()
    };
    let (server, client) =
        ends(async { tokio::join!(async { server.await.unwrap().accept(Accept::new()).await }, client) })
            .await;
    assert!(server.unwrap().with_stream(|stream| stream.nodelay()).unwrap());
    assert!(client.unwrap().with_stream(|stream| stream.nodelay()).unwrap());
}

#[tokio::test]
async fn a_server_sees_the_request_and_chooses() {
    let (listener, address) = listener().await;
    let uri = format!("ws://{address}/chat?room=1");
    let server = async {
        let mut seen = None;
        let decide = |request: &Request| {
            seen = Some(request.clone());
            Ok(Accept::new().subprotocol("two").field("Set-Cookie", "a=b").unwrap())
        };
        let socket = accept_with(listener.accept().await.unwrap().0, Options::new(), decide).await;
        (socket.unwrap(), seen.unwrap())
    };
    let client = connect_with(&uri, Options::new(), |request| {
        request.subprotocol("one")?.subprotocol("two")?.field("Origin", "http://example.com")
    });
    let ((mut server, seen), client) = ends(async { tokio::join!(server, client) }).await;
    let mut client = client.unwrap();
    assert_eq!((seen.method(), seen.resource(), seen.host()), ("GET", "/chat?room=1", &*address));
    assert_eq!(seen.origin(), Some("http://example.com"));
    assert_eq!(seen.subprotocols().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!((server.subprotocol(), client.subprotocol()), (Some("two"), Some("two")));
    assert_eq!(server.with_connection(|connection| connection.role()), Role::Server);
    assert_eq!(client.with_connection(|connection| connection.role()), Role::Client);
    client.send("hello").await.unwrap();
    assert_eq!(ends(server.recv()).await.unwrap(), Some(Message::text("hello")));
    server.send("hello to you").await.unwrap();
    assert_eq!(ends(client.recv()).await.unwrap(), Some(Message::text("hello to you")));
}

#[tokio::test]
async fn a_refusal_arrives_whole() {
    let (listener, address) = listener().await;
    let uri = format!("ws://{address}/");
    let body = "nobody gets in here\n".repeat(5_000);
    let reject = Reject::new(403).unwrap().field("Content-Type", "text/plain").unwrap().body(body.clone());
    let server =
        async { accept_with(listener.accept().await.unwrap().0, Options::new(), |_| Err(reject)).await };
    let (server, client) = ends(async { tokio::join!(server, connect(&uri)) }).await;
    assert!(matches!(server, Err(Error::Rejected(403))), "{server:?}");
    match client {
        Err(Error::Refused(response)) => {
            assert_eq!((response.status(), response.reason()), (403, "Forbidden"));
            assert_eq!(response.fields().text("content-type"), Some("text/plain"));
            assert!(response.body() == body.as_bytes() && response.body_is_whole());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_subprotocol_that_was_not_offered_is_the_servers_fault() {
    let (client, server) = duplex(100);
    let decide = |_: &Request| Ok(Accept::new().subprotocol("other"));
    let request = client_request().subprotocol("chat").unwrap();
    let (server, client) = ends(async {
        tokio::join!(
            accept_with(server, Options::new(), decide),
            connect_over(client, &request, Options::new())
        )
    })
    .await;
    let not_offered = BuildError::SubprotocolNotOffered("other".into());
    assert!(matches!(server, Err(Error::Build(error)) if error == not_offered));
    match client {
        Err(Error::Refused(response)) => assert_eq!(response.status(), 500),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_decision_may_take_its_time() {
    for accepts in [true, false] {
        let (client, server) = duplex(100);
        let server = tokio::spawn(async move {
            let incoming = Incoming::read(server, Options::new()).await?;
            assert_eq!(incoming.request().resource(), "/");
            // Longer than a handshake may take: the client set itself no limit.
            sleep(HANDSHAKE_TIME * 3).await;
            if accepts {
                incoming.accept(Accept::new()).await.map(Some)
            } else {
                incoming.reject(Reject::new(401).unwrap().body("who?")).await.map(|()| None)
            }
        });
        let patient = Options::new().handshake_timeout(HANDSHAKE_TIME * 10);
        let connected = ends(connect_over(client, &client_request(), patient)).await;
        match (connected, accepts) {
            (Ok(mut client), true) => {
                let mut server = ends(server).await.unwrap().unwrap().unwrap();
                server.send("hello").await.unwrap();
                assert_eq!(ends(client.recv()).await.unwrap(), Some(Message::text("hello")));
            }
            (Err(Error::Refused(response)), false) => {
                assert_eq!((response.status(), response.body()), (401, &b"who?"[..]));
                assert!(ends(server).await.unwrap().unwrap().is_none());
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_left_at_the_deadline() {
    for time in [Duration::from_millis(1), HANDSHAKE_TIME, Duration::from_secs(300)] {
        let (stream, mut client) = duplex(1000);
        let start = Instant::now();
        let options = Options::new().handshake_timeout(time);
        let accepted = ends(accept_with(stream, options, |_| Ok(Accept::new()))).await;
        assert!(matches!(accepted, Err(Error::Timeout(Deadline::Handshake))), "{accepted:?}");
        assert_eq!(start.elapsed(), time);
        // It is told, and the stream is closed.
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_does_not_move_the_deadline() {
    let (stream, mut client) = duplex(100);
    let start = Instant::now();
    let dripping = tokio::spawn(async move {
        for byte in request(&[]).bytes() {
            if client.write_u8(byte).await.is_err() {
                return true;
            }
            sleep(Duration::from_millis(990)).await;
        }
        false
    });
    let accepted = ends(accept(stream)).await;
    assert!(matches!(accepted, Err(Error::Timeout(Deadline::Handshake))), "{accepted:?}");
    assert_eq!(start.elapsed(), HANDSHAKE_TIME);
    assert!(dripping.await.unwrap());
}

/// Always has a byte for a task whose turn is not over.
#[derive(Debug)]
struct Endless(usize);

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(coop::poll_proceed(cx)).made_progress();
        self.0 += 1;
        assert!(self.0 < 10_000, "nobody looks at the clock");
        buf.put_slice(b"a");
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_without_a_pause_has_the_same_time() {
    let options =
        Options::new().handshake_timeout(Duration::ZERO).limits(HandshakeLimits::new().max_head(1 << 20));
    let stream = tokio::io::join(Endless(0), tokio::io::sink());
    let accepted = tokio::spawn(accept_with(stream, options, |_| Ok(Accept::new())));
    let accepted = accepted.await.unwrap();
    assert!(matches!(accepted, Err(Error::Timeout(Deadline::Handshake))), "{accepted:?}");
}

/// One deadline for the request and the answer together, without the application's decision.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_the_answer_gets_no_time_of_its_own() {
    for decision in [Duration::ZERO, Duration::from_secs(100)] {
        let (stream, peer) = pair(1);
        let start = Instant::now();
        let accepted = tokio::spawn(async move {
            let incoming = Incoming::read(stream, Options::new()).await?;
            sleep(decision).await;
            incoming.accept(Accept::new()).await
        });
        sleep(HANDSHAKE_TIME - Duration::from_secs(1)).await;
        peer.push(request(&[]).as_bytes());
        let accepted = ends(accepted).await.unwrap();
        assert!(matches!(accepted, Err(Error::Timeout(Deadline::Handshake))), "{accepted:?}");
        assert_eq!(start.elapsed(), decision + HANDSHAKE_TIME);
    }
}

#[tokio::test(start_paused = true)]
async fn no_limit_is_no_deadline() {
    let options = Options::new().handshake_timeout(Duration::MAX).close_timeout(Duration::MAX);
    let (client, server) = duplex(100);
    let server = tokio::spawn(async move {
        sleep(Duration::from_secs(3600)).await;
        accept_with(server, options, |_| Ok(Accept::new())).await
    });
    let client = tokio::spawn(async move { connect_over(client, &client_request(), options).await });
    let (server, client) =
        timeout(Duration::from_secs(36_000), async { tokio::join!(server, client) }).await.unwrap();
    let (mut server, mut client) = (server.unwrap().unwrap(), client.unwrap().unwrap());
    client.send("hello").await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(Message::text("hello")));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_is_told_apart() {
    for cut in [0, 1, 50] {
        let (stream, peer) = pair(1000);
        peer.push(&request(&[]).as_bytes()[..cut]);
        peer.finish();
        match ends(accept(stream)).await {
            Err(Error::Handshake(HandshakeError::UnexpectedEof { received })) => assert_eq!(received, cut),
            Err(Error::NoRequest) => assert_eq!(cut, 0),
            other => panic!("{other:?}"),
        }
        let (stream, peer) = pair(1000);
        peer.push(&request(&[]).as_bytes()[..cut]);
        peer.reset();
        match ends(accept(stream)).await {
            // Before a byte it does not matter how it went.
            Err(error) if cut == 0 => assert!(matches!(error, Error::NoRequest), "{error:?}"),
            Err(Error::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
            other => panic!("{other:?}"),
        }
    }
}

/// What is wrong, and what the answer must have.
fn bad_requests() -> Vec<(String, u16, &'static [&'static str])> {
    let version = &["Sec-WebSocket-Version: 13\r\n", "Upgrade: websocket\r\n"][..];
    let many: Vec<(&str, Option<&str>)> = (0..101).map(|_| ("X-Many", Some("x"))).collect();
    let long = "x".repeat(300_000);
    let valid = request(&[]);
    vec![
        (request(&[("Host", None)]), 400, &[]),
        (request(&[("Connection", Some("close"))]), 400, &[]),
        (request(&[("Sec-WebSocket-Key", None)]), 400, &[]),
        (request(&[("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZQ=="))]), 400, &[]),
        (request(&[("Content-Length", Some("5"))]) + "body!", 400, &[]),
        (valid.replace("HTTP/1.1", "HTTP/1.0"), 400, &[]),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".into(), 400, &[]),
        (valid.replace("GET", "POST") + "and a body that nobody reads", 405, &["Allow: GET\r\n"]),
        (request(&[("Upgrade", None)]), 426, version),
        (request(&[("Sec-WebSocket-Version", Some("8"))]), 426, version),
        (request(&[("Sec-WebSocket-Version", None)]), 426, version),
        (request(&many), 431, &[]),
        (request(&[("X-Long", Some(&long))]), 431, &[]),
    ]
}

#[tokio::test]
async fn bad_requests_are_answered_and_the_connection_closed() {
    let (listener, address) = listener().await;
    for (request, status, parts) in bad_requests() {
        for behind in [0, 1 << 20] {
            let start: String = request.chars().take(60).collect();
            let mut client = TcpStream::connect(&address).await.unwrap();
            let server = listener.accept().await.unwrap().0;
            let server = tokio::spawn(accept(server));
            client.write_all(request.as_bytes()).await.unwrap();
            client.write_all(&vec![b'x'; behind]).await.expect("what is too much is taken, and dropped");
            let mut answer = String::new();
            ends(client.read_to_string(&mut answer)).await.expect("an end, not a reset");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{start}: {answer}");
            assert!(
                answer.contains("\r\nConnection: close\r\n") || answer.contains("Connection: Upgrade\r\n")
            );
            for part in parts {
                assert!(answer.contains(part), "{start}: {answer}");
            }
            drop(client);
            match ends(server).await.unwrap() {
                Err(Error::Handshake(error)) => assert_eq!(error.status(), Some(status), "{start}"),
                other => panic!("{start}: {other:?}"),
            }
        }
    }
}

/// More than the buffers of both ends hold: a server that closes with bytes unread resets the connection.
#[tokio::test]
async fn what_a_bad_client_still_sends_is_taken() {
    let (listener, address) = listener().await;
    for (request, decides) in [("GET / HTTP/1.1\r\n\r\n".to_owned(), false), (request(&[]), true)] {
        let mut client = TcpStream::connect(&address).await.unwrap();
        let server = listener.accept().await.unwrap().0;
        let refuse = |_: &Request| Err(Reject::new(400).unwrap());
        let server =
            tokio::spawn(accept_with(server, Options::new().close_timeout(Duration::from_secs(300)), refuse));
        client.write_all(request.as_bytes()).await.unwrap();
        for _ in 0..16 {
            client.write_all(&[b'x'; 1 << 20]).await.expect("it is taken, and dropped");
        }
        let mut answer = String::new();
        ends(client.read_to_string(&mut answer)).await.expect("an end, not a reset");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        drop(client);
        match ends(server).await.unwrap() {
            Err(Error::Handshake(HandshakeError::MissingField("Host"))) if !decides => {}
            Err(Error::Rejected(400)) if decides => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A client that never ends, and one that never reads, are left in bounded time.
#[tokio::test(start_paused = true)]
async fn a_bad_client_is_left_in_bounded_time() {
    for room in [0, 1000] {
        let (stream, peer) = pair(room);
        peer.push(b"GET / HTTP/1.1\r\n\r\n");
        let start = Instant::now();
        let accepted = ends(accept(stream)).await;
        assert!(
            matches!(accepted, Err(Error::Handshake(HandshakeError::MissingField("Host")))),
            "{accepted:?}"
        );
        assert!(start.elapsed() <= HANDSHAKE_TIME, "{:?}", start.elapsed());
        assert_eq!(peer.pull().is_empty(), room == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_the_options_hold() {
    let (stream, peer) = pair(1000);
    peer.push(
        request(&[("X-Long", Some("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))]).as_bytes(),
    );
    peer.finish();
    let options = Options::new().limits(HandshakeLimits::new().max_head(100));
    let accepted = ends(accept_with(stream, options, |_| Ok(Accept::new()))).await;
    assert!(
        matches!(accepted, Err(Error::Handshake(HandshakeError::HeadTooLong { max: 100 }))),
        "{accepted:?}"
    );
    assert!(peer.pull().starts_with(b"HTTP/1.1 431 "));

    let (stream, peer) = pair(1000);
    peer.push(&[b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n", &[b'x'; 100][..]].concat());
    let options = Options::new().limits(HandshakeLimits::new().max_body(7));
    match ends(connect_over(stream, &client_request(), options)).await {
        Err(Error::Refused(response)) => {
            assert_eq!((response.body(), response.body_is_whole()), (&b"xxxxxxx"[..], false));
        }
        other => panic!("{other:?}"),
    }

    // Those of the engine reach it.
    let (stream, peer) = pair(1000);
    peer.push(request(&[]).as_bytes());
    peer.push(&text_frame(Role::Client, "12345678"));
    peer.finish();
    let options = Options::new().config(Config::new().max_message(7));
    let mut socket = ends(accept_with(stream, options, |_| Ok(Accept::new()))).await.unwrap();
    assert!(matches!(ends(socket.recv()).await, Err(Error::Protocol(_))));
}

// The client's handshake.

/// The usual answer to the request in `wire`, with lines changed.
fn answer(wire: &[u8], change: impl FnOnce(String) -> String) -> Vec<u8> {
    let text = std::str::from_utf8(wire).unwrap();
    let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = accept_key(key.as_bytes());
    change(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        std::str::from_utf8(&accept).unwrap()
    ))
    .into_bytes()
}

/// Connects to a server that answers so, and then ends.
async fn connect_to(change: impl FnOnce(String) -> String) -> Result<WebSocket<MemoryStream>, Error> {
    let (stream, peer) = pair(1000);
    let request = client_request().subprotocol("chat").unwrap();
    let connected = tokio::spawn(async move { connect_over(stream, &request, Options::new()).await });
    sleep(Duration::from_millis(1)).await;
    peer.push(&answer(&peer.pull(), change));
    peer.finish();
    ends(connected).await.unwrap()
}

/// A task keeps the room of the largest future that it awaited: that of the handshake would stay for as long as
/// the connection.
#[tokio::test]
async fn a_future_that_accepts_is_small() {
    let (stream, _) = tokio::io::duplex(1);
    let size = size_of_val(&taut::tokio::accept(stream));
    assert!(size <= 256, "{size} bytes");
}

/// So is the room of these in each idle connection.
#[tokio::test]
async fn futures_of_a_socket_are_small() {
    let (stream, _) = pair(1);
    let mut socket = WebSocket::new(stream, connection(Role::Server, Config::new()), &OPTIONS);
    let pointer = size_of::<usize>();
    assert_eq!(size_of_val(&socket.recv()), pointer);
    assert_eq!(size_of_val(&socket.send("a")), pointer + size_of::<Message>());
}

#[tokio::test(start_paused = true)]
async fn a_client_checks_the_answer() {
    use HandshakeError::{
        Accept, Connection, DeflateAnswer, ExtensionNotOffered, HttpVersion, MissingField,
        SubprotocolNotOffered, UnexpectedEof, Upgrade,
    };
    let with = |answer: String, line: &str| answer.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
    let without = |answer: String, name: &str| -> String {
        answer.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect()
    };
    for (change, expected) in [
        (Box::new(|_| String::new()) as Box<dyn FnOnce(String) -> String>, UnexpectedEof { received: 0 }),
        (Box::new(|answer| answer.replace("Accept: ", "Accept: x")), Accept),
        (
            Box::new(move |answer| without(answer, "Sec-WebSocket-Accept")),
            MissingField("Sec-WebSocket-Accept"),
        ),
        (Box::new(move |answer| without(answer, "Upgrade")), Upgrade),
        (Box::new(move |answer| without(answer, "Connection")), Connection),
        (Box::new(|answer| answer.replace("Connection: Upgrade", "Connection: keep-alive")), Connection),
        (Box::new(|answer| answer.replace("websocket", "h2c")), Upgrade),
        (Box::new(|answer| answer.replace("HTTP/1.1", "HTTP/1.0")), HttpVersion),
        (Box::new(move |answer| with(answer, "Sec-WebSocket-Protocol: other")), SubprotocolNotOffered),
        (Box::new(move |answer| with(answer, "Sec-WebSocket-Extensions: x-other")), ExtensionNotOffered),
        (
            Box::new(move |answer| with(answer, "Sec-WebSocket-Extensions: permessage-deflate; x-other")),
            DeflateAnswer,
        ),
    ] {
        match connect_to(change).await {
            Err(Error::Handshake(error)) => assert_eq!(error, expected),
            other => panic!("{expected:?}: {other:?}"),
        }
    }
    for change in [
        |answer: String| answer,
        |answer: String| answer.replace("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        |answer: String| answer.replace("Connection: Upgrade", "connection: KEEP-ALIVE,upgrade"),
        |answer: String| answer.replace("Upgrade: websocket", "upgrade: WebSocket"),
        |answer: String| answer.replace("\r\n\r\n", "\r\nServer: x\r\nContent-Length: 0\r\n\r\n"),
    ] {
        assert_eq!(connect_to(change).await.unwrap().subprotocol(), None);
    }
    let chosen = connect_to(move |answer| with(answer, "Sec-WebSocket-Protocol: chat")).await.unwrap();
    assert_eq!(chosen.subprotocol(), Some("chat"));
}

#[tokio::test]
async fn frames_in_the_segment_of_the_101_are_kept() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let frames = [text_frame(Role::Server, "one"), text_frame(Role::Server, "two")].concat();
        stream.write_all(&[answer(&request, |answer| answer), frames].concat()).await.unwrap();
        stream
    });
    let mut client = ends(connect(&format!("ws://{address}"))).await.unwrap();
    assert_eq!(ends(client.recv()).await.unwrap(), Some(Message::text("one")));
    assert_eq!(ends(client.recv()).await.unwrap(), Some(Message::text("two")));
    drop(server.await.unwrap());
    assert!(matches!(ends(client.recv()).await, Err(Error::Lost)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_left_at_the_deadline() {
    for time in [Duration::from_millis(1), HANDSHAKE_TIME, Duration::from_secs(300)] {
        // One that does not even take the request, and one that takes it.
        for room in [1, 1000] {
            let (stream, peer) = pair(room);
            let start = Instant::now();
            let options = Options::new().handshake_timeout(time);
            let connected = ends(connect_over(stream, &client_request(), options)).await;
            assert!(matches!(connected, Err(Error::Timeout(Deadline::Handshake))), "{connected:?}");
            assert_eq!(start.elapsed(), time);
            peer.pull();
            assert!(peer.is_at_end(), "the stream is closed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_does_not_move_the_deadline() {
    let (stream, peer) = pair(1000);
    let start = Instant::now();
    let dripping = tokio::spawn(async move {
        sleep(Duration::from_millis(1)).await;
        for byte in answer(&peer.pull(), |answer| answer) {
            peer.push(&[byte]);
            sleep(Duration::from_millis(990)).await;
        }
    });
    let connected = ends(connect_over(stream, &client_request(), Options::new())).await;
    assert!(matches!(connected, Err(Error::Timeout(Deadline::Handshake))), "{connected:?}");
    assert_eq!(start.elapsed(), HANDSHAKE_TIME);
    dripping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_without_an_end_is_told_at_the_deadline() {
    let (stream, peer) = pair(1000);
    let start = Instant::now();
    peer.push(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\nso sor");
    match ends(connect_over(stream, &client_request(), Options::new())).await {
        Err(Error::Refused(response)) => {
            assert_eq!((response.status(), response.fields().text("Retry-After")), (503, Some("5")));
            assert_eq!((response.body(), response.body_is_whole()), (&b"so sor"[..], false));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(start.elapsed(), HANDSHAKE_TIME);
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_told_before_connecting() {
    let (listener, address) = listener().await;
    for uri in [
        "".into(),
        address.clone(),
        format!("http://{address}/"),
        format!("ws:/{address}/"),
        format!("ws://{address}/#part"),
        format!("ws://{address}/a b"),
        format!("ws://{address}/\r\nHost: evil"),
        format!("ws://us%er@{address}/"),
        "ws://".into(),
        "ws://[::1/".into(),
        "ws://127.0.0.1:65536/".into(),
    ] {
        match ends(connect(&uri)).await {
            Err(Error::Uri(_)) => {}
            other => panic!("{uri:?}: {other:?}"),
        }
    }
    // With the feature, tests/client_network.rs connects.
    #[cfg(not(feature = "rustls"))]
    {
        let connected = ends(connect(&format!("wss://{address}/"))).await;
        assert!(
            matches!(connected, Err(Error::Unsupported(what)) if what.contains("rustls-ring")),
            "{connected:?}"
        );
    }
    let uri = format!("ws://{address}/");
    let prepared = connect_with(&uri, Options::new(), |request| request.field("A", "b\r\nC: d"));
    match ends(prepared).await {
        Err(Error::Build(BuildError::FieldValue { name, at: 1 })) => assert_eq!(&*name, "A"),
        other => panic!("{other:?}"),
    }
    yield_now().await;
    assert!(listener.accept().now_or_never().is_none(), "somebody connected");
}

#[tokio::test]
async fn a_refused_connection_tells_the_address() {
    let (listener, address) = listener().await;
    drop(listener);
    match ends(connect(&format!("ws://{address}/"))).await {
        Err(Error::Connect(error)) => match error.attempts() {
            [(tried, why)] => {
                assert_eq!((tried.to_string(), why.kind()), (address, io::ErrorKind::ConnectionRefused))
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Errors say what was wrong and, where there is one, give what caused them.
#[test]
fn errors_can_be_read() {
    use std::error::Error as _;
    let refused = Error::from(HandshakeError::MissingField("Host"));
    assert_eq!(refused.to_string(), "the opening handshake failed: field Host is missing");
    assert!(refused.source().is_some_and(|source| source.to_string() == "field Host is missing"));
    let error = Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
    assert!(error.to_string().starts_with("the transport failed: ") && error.source().is_some());
    assert!(Error::Lost.to_string().contains("1006") && Error::Lost.source().is_none());
    assert_ne!(Error::Timeout(Deadline::Close).to_string(), Error::Timeout(Deadline::Handshake).to_string());
    fn sendable<T: Send + Sync + 'static>() {}
    sendable::<Error>();
    sendable::<WebSocket<TcpStream>>();
}
