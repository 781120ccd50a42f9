//! Futures may be dropped at any poll: here each is dropped, and made anew, at every `Pending`, over streams
//! that are pending before every byte. Nothing is lost, doubled or reordered, and no deadline moves.

#[path = "support/futures.rs"]
mod futures;
mod support;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::{ends, polled, restarted};
use proptest::prelude::*;
use support::{Take, connection, frame, replay};
use taut::proto::frame::OpCode;
use taut::proto::handshake::{Accept, Answer, ClientRequest, Reject, accept_key};
use taut::proto::{ChunkData, CloseCode, CloseFrame, Config, Delivery, Event, Message, Role, SendErrorKind};
use taut::testing::{MemoryStream, Turn, Turns, pair};
use taut::tokio::{Arrival, Incoming, Options, WebSocket, accept, accept_with, connect_over};
use taut::{Deadline, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const OPTIONS: Options = Options::new().close_timeout(CLOSE_TIMEOUT);

fn socket(role: Role, config: Config, stream: MemoryStream) -> WebSocket<MemoryStream> {
    WebSocket::new(stream, connection(role, config), &OPTIONS)
}

/// The data that came over the wire, in order, and the code of the Close behind it.
fn decode(from: Role, wire: &[u8]) -> (Vec<Message>, Option<u16>) {
    let outcome = replay(&mut connection(from.peer(), Config::new()), wire, &[], Take::Owned);
    assert_eq!(outcome.error, None);
    let mut messages = outcome.messages;
    let code = match messages.last() {
        Some(Message::Close(frame)) => frame.as_ref().map(|frame| frame.code().get()),
        _ => None,
    };
    messages.retain(Message::is_data);
    (messages, code)
}

fn messages() -> Vec<Message> {
    let mut messages: Vec<Message> = [0, 1, 2, 124, 125, 126, 127, 300, 1_023, 1_024, 5_000]
        .into_iter()
        .map(|len| Message::binary(vec![len as u8; len]))
        .collect();
    messages.extend((0..30).map(|number| Message::text(format!("number {number}"))));
    messages.push(Message::text("€".repeat(700)));
    messages
}

/// The frames of all messages, some in fragments with a ping inside, and how many pings there are.
fn wire(from: Role, messages: &[Message]) -> (Vec<u8>, usize) {
    let (mut wire, mut pings) = (Vec::new(), 0);
    for (index, message) in messages.iter().enumerate() {
        let (opcode, bytes) = match message {
            Message::Text(text) => (OpCode::Text, text.as_bytes()),
            Message::Binary(bytes) => (OpCode::Binary, &bytes[..]),
            other => panic!("{other:?}"),
        };
        if index % 3 == 0 {
            let (start, rest) = bytes.split_at(bytes.len() / 2);
            wire.extend(frame(from, false, opcode, start));
            wire.extend(frame(from, true, OpCode::Ping, &[index as u8]));
            wire.extend(frame(from, true, OpCode::Continuation, rest));
            pings += 1;
        } else {
            wire.extend(frame(from, true, opcode, bytes));
        }
    }
    (wire, pings)
}

#[tokio::test(start_paused = true)]
async fn recv_loses_nothing() {
    for role in [Role::Client, Role::Server] {
        let (stream, peer) = pair(64);
        let stream = stream.reading(Turns::bytewise()).writing(Turns::bytewise());
        let mut socket = socket(role, Config::new(), stream);
        let expected = messages();
        let (wire, pings) = wire(role.peer(), &expected);
        peer.push(&wire);
        peer.push(&frame(role.peer(), true, OpCode::Close, &1001_u16.to_be_bytes()));
        peer.finish();
        let drops = Cell::new(0);
        let mut got = Vec::new();
        let mut answers = Vec::new();
        while let Some(message) = ends(restarted(&drops, async || socket.recv().await)).await.unwrap() {
            got.push(message);
            answers.extend(peer.pull());
        }
        answers.extend(peer.pull());
        assert_eq!(got.iter().filter(|message| matches!(message, Message::Ping(_))).count(), pings);
        assert_eq!(got.last(), Some(&Message::Close(Some(CloseCode::AWAY.into()))));
        got.retain(Message::is_data);
        assert_eq!(got, expected);
        assert!(drops.get() >= wire.len(), "{} drops", drops.get());
        // The answers were written under dropped futures too.
        let outcome = replay(&mut connection(role.peer(), Config::new()), &answers, &[], Take::Owned);
        assert_eq!(outcome.error, None);
        assert!(matches!(outcome.messages.first(), Some(Message::Pong(_))), "{outcome:?}");
        assert_eq!(outcome.messages.last(), Some(&Message::Close(Some(CloseCode::AWAY.into()))));
    }
}

#[tokio::test(start_paused = true)]
async fn recv_event_loses_nothing() {
    for role in [Role::Client, Role::Server] {
        let (stream, peer) = pair(64);
        let config = Config::new().delivery(Delivery::Chunks);
        let mut socket = socket(role, config, stream.reading(Turns::bytewise()));
        let expected = messages();
        peer.push(&wire(role.peer(), &expected).0);
        peer.finish();
        let drops = Cell::new(0);
        let mut got = Vec::new();
        let mut chunks: Option<Vec<u8>> = None;
        let lost = loop {
            match ends(restarted(&drops, async || socket.recv_event().await)).await {
                Ok(Some(Event::Chunk(chunk))) => {
                    assert_eq!(chunk.first, chunks.is_none());
                    let bytes = chunks.get_or_insert_default();
                    match &chunk.data {
                        ChunkData::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                        ChunkData::Binary(binary) => bytes.extend_from_slice(binary),
                    }
                    if chunk.last {
                        let whole = chunks.take().unwrap();
                        got.push(match chunk.data {
                            ChunkData::Text(_) => Message::text(String::from_utf8(whole).unwrap()),
                            ChunkData::Binary(_) => Message::binary(whole),
                        });
                    }
                }
                Ok(Some(Event::Message(control))) => assert!(!control.is_data()),
                other => break other,
            }
            peer.pull();
        };
        assert!(matches!(lost, Err(Error::Lost)), "{lost:?}");
        assert_eq!(got, expected);
    }
}

/// Each call hands over some, answers them and is dropped, or stopped by its handler; `recv` takes one between.
#[tokio::test(start_paused = true)]
async fn recv_each_loses_nothing() {
    for role in [Role::Client, Role::Server] {
        let (stream, peer) = pair(64);
        let stream = stream.reading(Turns::bytewise()).writing(Turns::bytewise());
        let mut socket = socket(role, Config::new(), stream);
        let expected = messages();
        let (wire, pings) = wire(role.peer(), &expected);
        peer.push(&wire);
        peer.push(&frame(role.peer(), true, OpCode::Close, &1001_u16.to_be_bytes()));
        peer.finish();
        let drops = Cell::new(0);
        let (mut got, mut answers) = (Vec::new(), Vec::new());
        let mut stops = 0;
        let ended = loop {
            let each = restarted(&drops, async || {
                answers.extend(peer.pull());
                let each = socket.recv_each(|event, sender| {
                    let message = event.to_event().into_message();
                    if message.is_data() {
                        sender.send(message.clone())?;
                    }
                    got.push(message);
                    if got.len() % 4 == 0 { Err(Error::Unsupported("every fourth")) } else { Ok(()) }
                });
                each.await
            });
            match ends(each).await {
                Err(Error::Unsupported(_)) => stops += 1,
                ended => break ended,
            }
            let next = ends(restarted(&drops, async || {
                answers.extend(peer.pull());
                socket.recv().await
            }));
            if let Some(message) = next.await.unwrap() {
                // It is answered as well.
                if message.is_data() {
                    socket.feed(message.clone()).unwrap();
                }
                got.push(message);
            }
        };
        ended.unwrap();
        assert!(stops > 5 && drops.get() >= wire.len(), "{stops} stops, {} drops", drops.get());
        assert_eq!(got.iter().filter(|message| matches!(message, Message::Ping(_))).count(), pings);
        assert_eq!(got.last(), Some(&Message::Close(Some(CloseCode::AWAY.into()))));
        got.retain(Message::is_data);
        assert_eq!(got, expected);
        answers.extend(peer.pull());
        assert_eq!(decode(role, &answers), (expected, Some(1001)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_send_took_the_next_call_writes() {
    for (role, next, borrowed) in [Role::Client, Role::Server]
        .into_iter()
        .flat_map(|role| (0..6).map(move |case| (role, case / 2, case % 2 == 1)))
    {
        let (stream, mut peer) = pair(3);
        let mut socket = socket(role, Config::new(), stream.writing(Turns::bytewise()));
        let reader = tokio::spawn(async move {
            let mut wire = Vec::new();
            peer.read_to_end(&mut wire).await.unwrap();
            wire
        });
        let drops = Cell::new(0);
        let expected = messages();
        for message in &expected {
            // Dropped at its first `Pending`, having taken the message.
            let sent = if borrowed {
                ends(polled(1, socket.send_ref(message.into()))).await
            } else {
                ends(polled(1, socket.send(message.clone()))).await
            };
            assert!(sent.is_none(), "the stream is pending before each byte: {sent:?}");
            match next {
                0 => ends(restarted(&drops, async || socket.flush().await)).await.unwrap(),
                1 => {
                    // Reads nothing, and writes.
                    while socket.with_connection(|connection| connection.wants_output()) {
                        assert!(ends(polled(1, socket.recv())).await.is_none());
                    }
                }
                // The next send writes, and the flush at the end.
                _ => {}
            }
        }
        socket.start_close(CloseFrame::from(CloseCode::NORMAL));
        ends(restarted(&drops, async || socket.flush().await)).await.unwrap();
        drop(socket);
        let (got, code) = decode(role, &ends(reader).await.unwrap());
        assert_eq!(got, expected, "{role:?}, {next}, {borrowed}");
        assert_eq!(code, Some(1000));
        assert!(drops.get() > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_handed_back_and_reserve_waits_for_room() {
    for role in [Role::Client, Role::Server] {
        let (stream, mut peer) = pair(2);
        let config = Config::new().max_queued(200);
        let mut socket = socket(role, config, stream.writing(Turns::bytewise()));
        let reader = tokio::spawn(async move {
            let mut wire = Vec::new();
            peer.read_to_end(&mut wire).await.unwrap();
            wire
        });
        let drops = Cell::new(0);
        let (mut refused, mut taken) = (0, 0);
        let expected = messages();
        for message in &expected {
            match ends(polled(1, socket.send(message.clone()))).await {
                None | Some(Ok(())) => taken += 1,
                Some(Err(Error::Send(error))) => {
                    refused += 1;
                    assert_eq!(error.kind(), SendErrorKind::Full);
                    assert_eq!(error.into_message().as_ref(), Some(message));
                    let reserved = restarted(&drops, async || {
                        socket.reserve().await.map(|permit| match message.clone() {
                            Message::Text(text) => permit.send_text(text),
                            Message::Binary(bytes) => permit.send_binary(bytes),
                            other => panic!("{other:?}"),
                        })
                    });
                    ends(reserved).await.unwrap();
                }
                Some(Err(error)) => panic!("{error}"),
            }
        }
        assert!(refused > 5 && taken > 2 && drops.get() > 100, "{refused}, {taken}, {}", drops.get());
        ends(restarted(&drops, async || socket.flush().await)).await.unwrap();
        drop(socket);
        let (got, _) = decode(role, &ends(reader).await.unwrap());
        assert_eq!(got, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn feed_and_flush_keep_the_order() {
    for role in [Role::Client, Role::Server] {
        let (stream, mut peer) = pair(7);
        let stream = stream.writing(Turns::pieces(5)).buffered();
        let mut socket = socket(role, Config::new(), stream);
        let reader = tokio::spawn(async move {
            let mut wire = Vec::new();
            peer.read_to_end(&mut wire).await.unwrap();
            wire
        });
        let drops = Cell::new(0);
        let expected = messages();
        for some in expected.chunks(5) {
            some.iter().for_each(|message| socket.feed(message.clone()).unwrap());
            ends(restarted(&drops, async || socket.flush().await)).await.unwrap();
        }
        // What the flush wrote has left the buffer of the stream, which goes with it.
        drop(socket);
        let (got, _) = decode(role, &ends(reader).await.unwrap());
        assert_eq!(got, expected);
        assert!(drops.get() > 1_000);
    }
}

#[tokio::test(start_paused = true)]
async fn close_goes_on_where_it_was_dropped() {
    for closes in [Role::Client, Role::Server] {
        let (client, server) = pair(2);
        let bytewise = |stream: MemoryStream| stream.reading(Turns::bytewise()).writing(Turns::bytewise());
        let mut closing = socket(closes, Config::new(), bytewise(client));
        let mut other = socket(closes.peer(), Config::new(), bytewise(server));
        let drops = Cell::new(0);
        let (closed, got) = ends(async {
            tokio::join!(restarted(&drops, async || closing.close(CloseCode::AWAY, "going").await), async {
                let mut got = Vec::new();
                while let Some(message) = restarted(&drops, async || other.recv().await).await.unwrap() {
                    got.push(message);
                }
                // The stream ends once this end is done.
                drop(other);
                got
            },)
        })
        .await;
        let status = closed.unwrap();
        assert_eq!((status.code, status.clean), (1001, true));
        let frame = CloseFrame::new(CloseCode::AWAY, "going").unwrap();
        assert_eq!(got, [Message::Close(Some(frame))]);
        assert!(drops.get() > 20);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_close_does_not_move_its_deadline() {
    for role in [Role::Client, Role::Server] {
        let (stream, _peer) = pair(1000);
        let mut socket = socket(role, Config::new(), stream);
        let start = Instant::now();
        let mut drops = 0;
        let closed = loop {
            // The wait ends between two deadlines of this loop, and not with one.
            match timeout(Duration::from_millis(300), socket.close(CloseCode::NORMAL, "")).await {
                Ok(closed) => break closed,
                Err(_) => drops += 1,
            }
            assert!(drops < 1000, "the deadline never comes");
        };
        assert!(matches!(closed, Err(Error::Timeout(Deadline::Close))), "{closed:?}");
        assert_eq!(start.elapsed(), CLOSE_TIMEOUT);
        assert_eq!(drops, 16);
    }
}

/// What can be done to a socket, and how often its future is polled before it is dropped.
#[derive(Clone, Debug)]
enum Operation {
    Send(Message, usize),
    SendRef(Message, usize),
    Feed(Message),
    Flush(usize),
    Receive(usize),
    /// Hands over so many.
    Each(usize, usize),
    Reserve(Message, usize),
    Sleep,
}

fn operation() -> impl Strategy<Value = Operation> {
    let message = || {
        prop_oneof![
            "\\PC{0,20}".prop_map(Message::text),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Message::binary),
            (4_000_usize..6_000).prop_map(|len| Message::binary(vec![9; len])),
        ]
    };
    prop_oneof![
        3 => (message(), 1_usize..5).prop_map(|(message, polls)| Operation::Send(message, polls)),
        2 => (message(), 1_usize..5).prop_map(|(message, polls)| Operation::SendRef(message, polls)),
        2 => message().prop_map(Operation::Feed),
        1 => (1_usize..9).prop_map(Operation::Flush),
        4 => (1_usize..9).prop_map(Operation::Receive),
        2 => (1_usize..5, 1_usize..9).prop_map(|(most, polls)| Operation::Each(most, polls)),
        1 => (message(), 1_usize..9).prop_map(|(message, polls)| Operation::Reserve(message, polls)),
        1 => Just(Operation::Sleep),
    ]
}

fn turns() -> impl Strategy<Value = Turns> {
    let turn = prop_oneof![1 => Just(Turn::Wait), 1 => (1_usize..400).prop_map(Turn::Bytes)];
    prop::collection::vec(turn, 0..6).prop_map(|mut turns| {
        turns.push(Turn::Bytes(700));
        Turns::new(turns)
    })
}

/// Does all that, then closes and takes what still comes. Gives what was taken from this end to be sent, and
/// what this end received.
async fn play(
    mut socket: WebSocket<MemoryStream>,
    operations: Vec<Operation>,
) -> (Vec<Message>, Vec<Message>) {
    let (mut taken, mut got) = (Vec::new(), Vec::new());
    for operation in operations {
        match operation {
            Operation::Send(message, polls) => {
                let sent = polled(polls, socket.send(message.clone())).await;
                note(sent.unwrap_or(Ok(())), message, &mut taken);
            }
            Operation::SendRef(message, polls) => {
                match polled(polls, socket.send_ref((&message).into())).await.unwrap_or(Ok(())) {
                    Ok(()) => taken.push(message),
                    Err(Error::Send(error)) => {
                        assert!(
                            matches!(error.kind(), SendErrorKind::Full | SendErrorKind::Closed),
                            "{error}"
                        );
                    }
                    Err(error) => panic!("send_ref: {error}"),
                }
            }
            Operation::Feed(message) => note(socket.feed(message.clone()), message, &mut taken),
            Operation::Flush(polls) => match polled(polls, socket.flush()).await {
                None | Some(Ok(())) => {}
                Some(Err(error)) => panic!("flush: {error}"),
            },
            Operation::Receive(polls) => match polled(polls, socket.recv()).await {
                Some(Ok(Some(message))) => got.push(message),
                None | Some(Ok(None)) => {}
                Some(Err(error)) => panic!("recv: {error}"),
            },
            Operation::Each(most, polls) => {
                let mut left = most;
                let each = socket.recv_each(|event, _| {
                    got.push(event.to_event().into_message());
                    left -= 1;
                    if left == 0 { Err(Error::Unsupported("enough")) } else { Ok(()) }
                });
                match polled(polls, each).await {
                    None | Some(Ok(()) | Err(Error::Unsupported(_))) => {}
                    Some(Err(error)) => panic!("recv_each: {error}"),
                }
            }
            Operation::Reserve(message, polls) => {
                let reserved = polled(polls, async {
                    socket.reserve().await.map(|permit| match message.clone() {
                        Message::Text(text) => permit.send_text(text),
                        Message::Binary(bytes) => permit.send_binary(bytes),
                        other => panic!("{other:?}"),
                    })
                });
                match reserved.await {
                    None => {}
                    Some(Ok(())) => taken.push(message),
                    Some(Err(Error::Send(error))) => assert_eq!(error.kind(), SendErrorKind::Closed),
                    Some(Err(error)) => panic!("reserve: {error}"),
                }
            }
            Operation::Sleep => sleep(Duration::from_millis(1)).await,
        }
    }
    socket.start_close(CloseFrame::from(CloseCode::NORMAL));
    let drops = Cell::new(0);
    while let Some(message) = restarted(&drops, async || socket.recv().await).await.unwrap() {
        got.push(message);
    }
    assert!(socket.close_status().unwrap().clean);
    assert_eq!(got.pop(), Some(Message::Close(Some(CloseCode::NORMAL.into()))));
    (taken, got)
}

fn note(sent: Result<(), Error>, message: Message, taken: &mut Vec<Message>) {
    match sent {
        Ok(()) => taken.push(message),
        Err(Error::Send(error)) => {
            assert!(matches!(error.kind(), SendErrorKind::Full | SendErrorKind::Closed), "{error}");
            assert_eq!(error.into_message(), Some(message));
        }
        Err(error) => panic!("send: {error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn dropped_at_random_both_ends_get_all(
        operations in prop::array::uniform2(prop::collection::vec(operation(), 0..25)),
        turns in prop::array::uniform4(turns()),
        room in 1_usize..2_000,
        buffered: bool,
        max_queued in prop_oneof![1_usize..500, Just(1 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        // Tasks of their own: a wake-up for one end does not poll the other.
        LocalSet::new().block_on(&runtime.unwrap(), async {
            let (client, server) = pair(room);
            let [a, b, c, d] = turns;
            let client = client.reading(a).writing(b);
            let server = server.reading(c).writing(d);
            let client = if buffered { client.buffered() } else { client };
            let config = Config::new().max_queued(max_queued);
            // All operations together take less virtual time than a close may.
            let client = play(socket(Role::Client, config, client), operations[0].clone());
            let server = play(socket(Role::Server, config, server), operations[1].clone());
            let (client, server) = ends(async { tokio::join!(spawn_local(client), spawn_local(server)) }).await;
            let ((from_client, at_client), (from_server, at_server)) = (client.unwrap(), server.unwrap());
            assert_eq!(from_client, at_server);
            assert_eq!(from_server, at_client);
        });
    }
}

/// A future of a handshake over this stream. What it gives is dropped.
type Handshake = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

type Opening = fn(MemoryStream) -> Handshake;

/// Each with the request it is for, and the end of its answer.
fn servers() -> [(&'static str, &'static str, &'static str, Opening); 8] {
    [
        ("accept", REQUEST, "\r\n\r\n", |stream| Box::pin(async { accept(stream).await.map(drop) })),
        ("accept_with", REQUEST, "\r\n\r\n", |stream| {
            Box::pin(async { accept_with(stream, Options::new(), |_| Ok(Accept::new())).await.map(drop) })
        }),
        ("accept_with, refused", REQUEST, "no", |stream| {
            Box::pin(async {
                accept_with(stream, Options::new(), |_| Err(Reject::new(403).unwrap().body("no")))
                    .await
                    .map(drop)
            })
        }),
        ("Incoming::accept", REQUEST, "\r\n\r\n", |stream| {
            Box::pin(async {
                Incoming::read(stream, Options::new()).await?.accept(Accept::new()).await.map(drop)
            })
        }),
        ("Incoming::reject", REQUEST, "\r\n\r\n", |stream| {
            Box::pin(async {
                Incoming::read(stream, Options::new()).await?.reject(Reject::new(403).unwrap()).await
            })
        }),
        ("Arrival::read", REQUEST, "\r\n\r\n", |stream| {
            Box::pin(async {
                match Arrival::read(stream, Options::new()).await? {
                    Some(Arrival::WebSocket(incoming)) => incoming.accept(Accept::new()).await.map(drop),
                    other => panic!("{other:?}"),
                }
            })
        }),
        ("Plain::answer", PLAIN, "well", |stream| {
            Box::pin(async {
                match Arrival::read(stream, Options::new()).await? {
                    Some(Arrival::Plain(plain)) => plain.answer(Answer::new(200).unwrap().body("well")).await,
                    other => panic!("{other:?}"),
                }
            })
        }),
        ("Plain::refuse", PLAIN, "\n", |stream| {
            Box::pin(async {
                match Arrival::read(stream, Options::new()).await? {
                    Some(Arrival::Plain(plain)) => {
                        assert!(matches!(plain.refuse().await, Error::Handshake(_)));
                        Ok(())
                    }
                    other => panic!("{other:?}"),
                }
            })
        }),
    ]
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const PLAIN: &str = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_dropped_accept_ends_the_stream() {
    for (name, request, end, server) in servers() {
        let mut polls = 0;
        let whole = loop {
            polls += 1;
            let (stream, mut peer) = pair(2);
            let stream = stream.reading(Turns::pieces(20)).writing(Turns::pieces(20));
            let client = async {
                // The server may be gone already.
                let _ = peer.write_all(request.as_bytes()).await;
                let _ = peer.shutdown().await;
                let mut answer = Vec::new();
                let _ = peer.read_to_end(&mut answer).await;
                answer
            };
            let (done, answer) = ends(async { tokio::join!(polled(polls, server(stream)), client) }).await;
            if done.is_some() {
                break answer;
            }
            assert!(polls < 10_000, "{name} never ends");
        };
        assert!(polls > 20, "{name} was dropped at {polls} polls");
        assert!(whole.ends_with(end.as_bytes()), "{name}: {whole:?}");
    }
}

/// A server of one connection that answers with what it is told, and says how its client ended.
async fn answer(mut peer: MemoryStream, with: impl FnOnce(&str) -> Vec<u8>) -> Vec<u8> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match peer.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return request,
        }
    }
    let text = String::from_utf8(request.clone()).unwrap();
    let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = String::from_utf8(accept_key(key.as_bytes()).to_vec()).unwrap();
    let _ = peer.write_all(&with(&accept)).await;
    let mut rest = Vec::new();
    let _ = peer.read_to_end(&mut rest).await;
    rest
}

fn upgrade(accept: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connect_ends_the_stream() {
    let mut polls = 0;
    loop {
        polls += 1;
        let (stream, peer) = pair(2);
        let stream = stream.reading(Turns::pieces(10)).writing(Turns::pieces(10));
        let request = ClientRequest::new("a", "/").unwrap();
        let connected = async {
            let connected = polled(polls, connect_over(stream, &request, Options::new())).await;
            connected.map(|socket| assert!(socket.is_ok(), "{socket:?}"))
        };
        let (done, _) = ends(async { tokio::join!(connected, answer(peer, upgrade)) }).await;
        if done.is_some() {
            break;
        }
        assert!(polls < 10_000, "never ends");
    }
    assert!(polls > 20, "{polls}");
}

/// A frame that arrives with the handshake, byte by byte, is there afterwards.
#[tokio::test(start_paused = true)]
async fn bytes_behind_the_handshake_are_kept() {
    for piece in 1..200 {
        let hello = frame(Role::Server, true, OpCode::Text, b"hello");
        let (stream, peer) = pair(1000);
        let request = ClientRequest::new("a", "/").unwrap();
        let client = async {
            let stream = stream.reading(Turns::pieces(piece));
            let mut socket = connect_over(stream, &request, Options::new()).await.unwrap();
            let drops = Cell::new(0);
            restarted(&drops, async || socket.recv().await).await.unwrap()
        };
        let server = answer(peer, |accept| [upgrade(accept), hello].concat());
        let (got, _) = ends(async { tokio::join!(client, server) }).await;
        assert_eq!(got, Some(Message::text("hello")));

        let hello = frame(Role::Client, true, OpCode::Text, b"hello");
        let (stream, peer) = pair(1000);
        peer.push(REQUEST.as_bytes());
        peer.push(&hello);
        let got = ends(async {
            let mut socket = accept(stream.reading(Turns::pieces(piece))).await.unwrap();
            let drops = Cell::new(0);
            restarted(&drops, async || socket.recv().await).await.unwrap()
        });
        assert_eq!(got.await, Some(Message::text("hello")));
    }
}
