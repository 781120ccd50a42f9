//! The adapter for `futures-io`, over streams that are pending before every byte: its futures are dropped, and made
//! anew, at every `Pending`; its deadlines go by tokio's paused clock.

#![cfg(feature = "futures-io")]

#[path = "support/futures.rs"]
mod futures;
mod support;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures::{ends, once, polled, restarted};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{SinkExt, StreamExt};
use support::{Take, connection, frame, replay};
use taut::futures_io::{Time, WebSocket, accept, accept_with, connect_over};
use taut::proto::frame::OpCode;
use taut::proto::handshake::{Accept, ClientRequest, Reject, accept_key};
use taut::proto::{
    ChunkData, CloseCode, CloseFrame, Config, Delivery, Event, Message, ProtocolError, Role, SendErrorKind,
};
use taut::testing::{MemoryStream, Turns, pair};
use taut::{Deadline, Error, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, advance, timeout};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const OPTIONS: Options = Options::new().close_timeout(CLOSE_TIMEOUT);
const ROLES: [Role; 2] = [Role::Client, Role::Server];
const TIME: Time = Time::new(|deadline| Box::pin(tokio::time::sleep_until(deadline.into())))
    .clock(|| Instant::now().into_std());

/// The stream as one of `futures-io`.
#[derive(Debug)]
struct Compat(MemoryStream);

impl AsyncRead for Compat {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(tokio::io::AsyncRead::poll_read(Pin::new(&mut self.0), cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for Compat {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.0), cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write_vectored(Pin::new(&mut self.0), cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

fn socket(role: Role, config: Config, stream: MemoryStream) -> WebSocket<Compat> {
    socket_with(role, config, stream, &OPTIONS)
}

fn socket_with(role: Role, config: Config, stream: MemoryStream, options: &Options) -> WebSocket<Compat> {
    WebSocket::new(Compat(stream), connection(role, config), TIME, options)
}

fn bytewise(stream: MemoryStream) -> MemoryStream {
    stream.reading(Turns::bytewise()).writing(Turns::bytewise())
}

/// What came over the wire, in order.
fn decode(from: Role, wire: &[u8]) -> Vec<Message> {
    let outcome = replay(&mut connection(from.peer(), Config::new()), wire, &[], Take::Owned);
    assert_eq!(outcome.error, None);
    outcome.messages
}

fn close_message(code: u16) -> Message {
    Message::Close(Some(CloseFrame::from(CloseCode::new(code).unwrap())))
}

/// The code of the Close that came, and nothing else.
fn told(from: Role, peer: &MemoryStream) -> u16 {
    match &decode(from, &peer.pull())[..] {
        [Message::Close(Some(frame))] => frame.code().get(),
        other => panic!("{other:?}"),
    }
}

fn messages() -> Vec<Message> {
    let mut messages: Vec<Message> = [0, 1, 2, 124, 125, 126, 127, 300, 1_023, 1_024, 5_000]
        .into_iter()
        .map(|len| Message::binary(vec![len as u8; len]))
        .collect();
    messages.extend((0..30).map(|number| Message::text(format!("number {number}"))));
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
        let (start, rest) = bytes.split_at(bytes.len() / 2);
        if index % 3 == 0 {
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

/// Reads all that the other end sends.
fn reader(mut peer: MemoryStream) -> tokio::task::JoinHandle<Vec<u8>> {
    tokio::spawn(async move {
        let mut wire = Vec::new();
        peer.read_to_end(&mut wire).await.unwrap();
        wire
    })
}

#[tokio::test(start_paused = true)]
async fn copies_are_queued_in_order_and_refused_after_a_close() {
    for role in ROLES {
        let (ours, peer) = pair(1 << 16);
        let mut socket = socket(role, Config::new(), ours);
        socket.feed_text("text").unwrap();
        socket.feed_binary(b"bytes").unwrap();
        socket.start_close(None);
        for refused in [socket.feed_text("late"), socket.feed_binary(b"late")] {
            assert!(matches!(refused, Err(Error::Send(error)) if error.kind() == SendErrorKind::Closed));
        }
        socket.flush().await.unwrap();
        let expected = [Message::text("text"), Message::binary("bytes"), Message::Close(None)];
        assert_eq!(decode(role, &peer.pull()), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn recv_loses_nothing() {
    for role in ROLES {
        let (stream, peer) = pair(64);
        let mut socket = socket(role, Config::new(), bytewise(stream));
        let expected = messages();
        let (wire, pings) = wire(role.peer(), &expected);
        peer.push(&wire);
        peer.push(&frame(role.peer(), true, OpCode::Close, &1001_u16.to_be_bytes()));
        peer.finish();
        let drops = Cell::new(0);
        let (mut got, mut answers) = (Vec::new(), Vec::new());
        while let Some(message) = ends(restarted(&drops, async || socket.recv().await)).await.unwrap() {
            got.push(message);
            answers.extend(peer.pull());
        }
        answers.extend(peer.pull());
        assert_eq!(got.iter().filter(|message| matches!(message, Message::Ping(_))).count(), pings);
        assert_eq!(got.last(), Some(&close_message(1001)));
        got.retain(Message::is_data);
        assert_eq!(got, expected);
        assert!(drops.get() >= wire.len(), "{} drops", drops.get());
        // The answers were written under dropped futures too.
        let answers = decode(role, &answers);
        assert!(matches!(answers.first(), Some(Message::Pong(_))), "{answers:?}");
        assert_eq!(answers.last(), Some(&close_message(1001)));
        assert!(socket.is_ended() && socket.close_status().unwrap().clean);
        assert!(ends(socket.recv()).await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn recv_event_loses_nothing_and_tells_of_an_end_without_close() {
    for role in ROLES {
        let (stream, peer) = pair(64);
        let mut socket = socket(role, Config::new().delivery(Delivery::Chunks), bytewise(stream));
        let expected = messages();
        peer.push(&wire(role.peer(), &expected).0);
        peer.finish();
        let drops = Cell::new(0);
        let (mut got, mut whole) = (Vec::new(), Vec::new());
        let lost = loop {
            match ends(restarted(&drops, async || socket.recv_event().await)).await {
                Ok(Some(Event::Chunk(chunk))) => match &chunk.data {
                    ChunkData::Text(text) => {
                        whole.extend_from_slice(text.as_bytes());
                        if chunk.last {
                            let text = String::from_utf8(std::mem::take(&mut whole)).unwrap();
                            got.push(Message::text(text));
                        }
                    }
                    ChunkData::Binary(bytes) => {
                        whole.extend_from_slice(bytes);
                        if chunk.last {
                            got.push(Message::binary(std::mem::take(&mut whole)));
                        }
                    }
                },
                Ok(Some(Event::Message(control))) => assert!(!control.is_data()),
                other => break other,
            }
            peer.pull();
        };
        assert!(matches!(lost, Err(Error::Lost)), "{lost:?}");
        assert_eq!(got, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_send_took_the_next_call_writes() {
    for (role, next, borrowed) in
        ROLES.into_iter().flat_map(|role| (0..6).map(move |case| (role, case / 2, case % 2 == 1)))
    {
        let (stream, peer) = pair(3);
        let mut socket = socket(role, Config::new(), stream.writing(Turns::bytewise()));
        let reader = reader(peer);
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
                    while socket.connection().wants_output() {
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
        let mut got = decode(role, &ends(reader).await.unwrap());
        assert_eq!(got.pop(), Some(close_message(1000)));
        assert_eq!(got, expected, "{role:?}, {next}, {borrowed}");
        assert!(drops.get() > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn feed_and_flush_keep_the_order_and_a_full_queue_hands_back() {
    for role in ROLES {
        let (stream, peer) = pair(7);
        let stream = stream.writing(Turns::pieces(5)).buffered();
        let mut socket = socket(role, Config::new().max_queued(200), stream);
        let reader = reader(peer);
        let drops = Cell::new(0);
        let expected = messages();
        let mut refused = 0;
        for message in &expected {
            while let Err(error) = socket.feed(message.clone()) {
                let Error::Send(error) = error else { panic!("{error}") };
                assert_eq!(error.kind(), SendErrorKind::Full);
                assert_eq!(error.into_message().as_ref(), Some(message));
                refused += 1;
                ends(restarted(&drops, async || socket.flush().await)).await.unwrap();
            }
        }
        ends(restarted(&drops, async || socket.flush().await)).await.unwrap();
        // What the flush wrote has left the buffer of the stream, which goes with it.
        drop(socket);
        assert_eq!(decode(role, &ends(reader).await.unwrap()), expected);
        assert!(drops.get() > 500 && refused > 5, "{} drops, {refused} refused", drops.get());
    }
}

#[tokio::test(start_paused = true)]
async fn close_goes_on_where_it_was_dropped() {
    for closes in ROLES {
        let (client, server) = pair(2);
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
            })
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
    for role in ROLES {
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

/// A `Stream` and a `Sink` that were split, in two tasks, against two others: each reads and writes for the other, and
/// no wake-up is lost, however little the stream takes.
#[tokio::test(start_paused = true)]
async fn a_stream_and_a_sink_in_two_tasks_wake_each_other() {
    for room in [1, 2, 7, 300] {
        let (client, server) = pair(room);
        let (mut client_sink, mut client) = socket(Role::Client, Config::new(), bytewise(client)).split();
        let (mut server_sink, server) = socket(Role::Server, Config::new(), bytewise(server)).split();
        let (all_came, came) = oneshot::channel();
        tokio::spawn(async move {
            for message in messages() {
                assert_same(&client.next().await.unwrap().unwrap(), &message);
            }
            all_came.send(()).unwrap();
        });
        tokio::spawn(async move {
            for message in messages() {
                server_sink.send(message).await.unwrap();
            }
        });
        let closed = tokio::spawn(async move {
            for message in messages() {
                client_sink.send(message).await.unwrap();
            }
            came.await.unwrap();
            client_sink.close().await
        });
        let got: Vec<_> = ends(server.map(Result::unwrap).collect()).await;
        ends(closed).await.unwrap().unwrap();
        assert_eq!(got.last(), Some(&close_message(1000)));
        let expected = messages();
        assert_eq!(got.len(), expected.len() + 1);
        expected.iter().zip(&got).for_each(|(one, other)| assert_same(one, other));
    }
}

/// Without printing what is long.
fn assert_same(one: &Message, other: &Message) {
    assert!(one == other, "{:.60} and {:.60}", format!("{one:?}"), format!("{other:?}"));
}

/// A stream that keeps a waker only while nothing was written since.
#[derive(Clone, Default)]
struct Forgetful(Arc<Mutex<(bool, Option<Waker>)>>);

impl AsyncRead for Forgetful {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

impl AsyncWrite for Forgetful {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (open, waker) = &mut *self.0.lock().unwrap();
        *waker = (!*open).then(|| cx.waker().clone());
        if *open { Poll::Ready(Ok(bytes.len())) } else { Poll::Pending }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The task that receives comes by for a reason of its own, and writes what the other waits for.
#[tokio::test(start_paused = true)]
async fn who_writes_for_another_task_wakes_it() {
    let line = Forgetful::default();
    let socket = WebSocket::new(line.clone(), connection(Role::Server, Config::new()), TIME, &OPTIONS);
    let (mut sink, mut stream) = socket.split();
    let sending = tokio::spawn(async move { sink.send(Message::text("hello")).await });
    tokio::task::yield_now().await;
    assert!(line.0.lock().unwrap().1.is_some(), "it waits for the stream");
    line.0.lock().unwrap().0 = true;
    assert!(once(stream.next()).await.is_none());
    let start = Instant::now();
    ends(sending).await.unwrap().unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// One task waits for the end, which is there as soon as another has written this end's Close.
#[tokio::test(start_paused = true)]
async fn who_writes_the_close_wakes_who_waits_for_the_end() {
    let (stream, peer) = pair(1000);
    let socket = Arc::new(Mutex::new(socket(Role::Server, Config::new().auto_close(false), stream)));
    peer.push(&frame(Role::Client, true, OpCode::Close, &1000_u16.to_be_bytes()));
    peer.finish();
    let receiving = {
        let socket = socket.clone();
        let mut recv = move |cx: &mut Context<'_>| pin!(socket.lock().unwrap().recv()).poll(cx);
        tokio::spawn(async move {
            assert_eq!(poll_fn(&mut recv).await.unwrap(), Some(close_message(1000)));
            poll_fn(&mut recv).await
        })
    };
    tokio::task::yield_now().await;
    let start = Instant::now();
    socket.lock().unwrap().start_close(CloseFrame::from(CloseCode::NORMAL));
    poll_fn(|cx| pin!(socket.lock().unwrap().flush()).poll(cx)).await.unwrap();
    assert!(ends(receiving).await.unwrap().unwrap().is_none());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_begins_to_close_gives_a_deadline_to_who_waits() {
    let (stream, peer) = pair(1000);
    let socket = Arc::new(Mutex::new(socket(Role::Server, Config::new(), stream)));
    let receiving = {
        let socket = socket.clone();
        tokio::spawn(poll_fn(move |cx| pin!(socket.lock().unwrap().recv()).poll(cx)))
    };
    tokio::task::yield_now().await;
    let start = Instant::now();
    socket.lock().unwrap().start_close(CloseFrame::from(CloseCode::NORMAL));
    let late = ends(receiving).await.unwrap();
    assert!(matches!(late, Err(Error::Timeout(Deadline::Close))), "{late:?}");
    assert_eq!(start.elapsed(), CLOSE_TIMEOUT);
    assert_eq!(told(Role::Server, &peer), 1000);
}

#[tokio::test(start_paused = true)]
async fn each_ping_is_answered_before_the_next_is_given() {
    let (stream, peer) = pair(1000);
    let mut socket = socket(Role::Server, Config::new(), stream);
    for number in 0..10 {
        peer.push(&frame(Role::Client, true, OpCode::Ping, &[number]));
    }
    for number in 0..10 {
        assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::Ping(vec![number].into())));
        assert_eq!(decode(Role::Server, &peer.pull()), [Message::Pong(vec![number].into())]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_breaks_the_protocol_is_told_once_and_what_it_sends_is_dropped() {
    for role in ROLES {
        let (stream, peer) = pair(1000);
        let mut socket = socket(role, Config::new(), stream);
        // Opcode 3 has no meaning.
        let mut wire = frame(role.peer(), true, OpCode::Binary, b"before");
        wire.extend(frame(role.peer(), true, OpCode::Binary, b"wrong"));
        wire[if role == Role::Server { 12 } else { 8 }] = 0x83;
        peer.push(&wire);
        peer.push(&frame(role.peer(), true, OpCode::Binary, b"behind"));
        assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::binary("before")));
        let mut failing = Box::pin(socket.recv());
        assert!(once(failing.as_mut()).await.is_none(), "it waits for the peer to go");
        assert_eq!(told(role, &peer), 1002);
        peer.push(&frame(role.peer(), true, OpCode::Binary, b"later"));
        assert!(once(failing.as_mut()).await.is_none());
        peer.finish();
        let failed = ends(failing).await;
        assert!(matches!(failed, Err(Error::Protocol(_))), "{failed:?}");
        assert!(ends(socket.recv()).await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_shutdown_waits_for_a_peer_that_speaks_first() {
    let (stream, peer) = pair(1000);
    let mut socket = socket(Role::Server, Config::new(), stream.shutdown_after_input());
    peer.push(&frame(Role::Client, true, OpCode::Close, &1000_u16.to_be_bytes()));
    assert_eq!(ends(socket.recv()).await.unwrap(), Some(close_message(1000)));
    let start = Instant::now();
    peer.finish();
    assert!(ends(socket.recv()).await.unwrap().is_none());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

mod deadlines {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_has_to_go_on() {
        for role in ROLES {
            let (stream, peer) = pair(1000);
            let options = OPTIONS.message_timeout(Duration::from_secs(30)).min_rate(10);
            let mut socket = socket_with(role, Config::new(), stream, &options);
            let start = Instant::now();
            let sent = frame(role.peer(), true, OpCode::Binary, &[7; 1000]);
            // A hundred bytes are worth ten seconds more.
            let head = sent.len() - 900;
            peer.push(&sent[..head]);
            assert!(timeout(Duration::from_secs(39), socket.recv()).await.is_err());
            let mut failing = Box::pin(socket.recv());
            assert!(timeout(Duration::from_secs(2), failing.as_mut()).await.is_err());
            assert_eq!(told(role, &peer), 1008);
            peer.finish();
            let failed = ends(failing).await;
            assert!(matches!(failed, Err(Error::Protocol(ProtocolError::TooSlow))), "{failed:?}");
            assert_eq!(start.elapsed(), Duration::from_secs(41));
        }
    }

    /// The peer may not have been let: nobody read.
    #[tokio::test(start_paused = true)]
    async fn a_message_for_which_nobody_waited_has_its_time_again() {
        let (stream, peer) = pair(1000);
        let mut socket = socket(Role::Server, Config::new(), stream);
        let sent = frame(Role::Client, true, OpCode::Binary, b"half of it");
        peer.push(&sent[..8]);
        assert!(once(socket.recv()).await.is_none());
        advance(Duration::from_secs(3600)).await;
        assert!(timeout(Duration::from_secs(25), socket.recv()).await.is_err());
        peer.push(&sent[8..]);
        assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::binary("half of it")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_has_to_take_what_waits() {
        for receiving in [false, true] {
            let (stream, _peer) = pair(10);
            let options = OPTIONS.write_timeout(Duration::from_secs(30));
            let mut socket = socket_with(Role::Server, Config::new(), stream, &options);
            let start = Instant::now();
            socket.feed(Message::binary(vec![7; 100])).unwrap();
            let late =
                if receiving { ends(socket.recv()).await.map(drop) } else { ends(socket.flush()).await };
            assert!(matches!(late, Err(Error::Timeout(Deadline::Write))), "{late:?}");
            assert_eq!(start.elapsed(), Duration::from_secs(30));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_has_to_give_signs_of_life() {
        let (stream, peer) = pair(1000);
        let options = OPTIONS.ping_interval(Duration::from_secs(30)).pong_timeout(Duration::from_secs(20));
        let mut socket = socket_with(Role::Server, Config::new(), stream, &options);
        let start = Instant::now();
        assert!(timeout(Duration::from_secs(31), socket.recv()).await.is_err());
        let [Message::Ping(payload)] = &decode(Role::Server, &peer.pull())[..] else { panic!("no ping") };
        peer.push(&frame(Role::Client, true, OpCode::Pong, payload));
        assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::Pong(payload.clone())));
        assert_eq!(socket.round_trip(), Some(Duration::from_secs(1)));
        let dead = ends(socket.recv()).await;
        assert!(matches!(dead, Err(Error::Timeout(Deadline::Pong))), "{dead:?}");
        assert_eq!(start.elapsed(), Duration::from_secs(30 + 30 + 20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_may_be_idle_for_so_long() {
        let (stream, peer) = pair(1000);
        let options = OPTIONS.idle_timeout(Duration::from_secs(300));
        let mut socket = socket_with(Role::Server, Config::new(), stream, &options);
        let start = Instant::now();
        let idle = ends(socket.recv()).await;
        assert!(matches!(idle, Err(Error::Timeout(Deadline::Idle))), "{idle:?}");
        assert_eq!(start.elapsed(), Duration::from_secs(300));
        assert_eq!(told(Role::Server, &peer), 1001);
    }

    #[tokio::test(start_paused = true)]
    async fn control_frames_are_counted() {
        let (stream, peer) = pair(1 << 20);
        let mut socket = socket_with(Role::Server, Config::new(), stream, &OPTIONS.max_control_rate(100));
        for _ in 0..201 {
            peer.push(&frame(Role::Client, true, OpCode::Pong, b""));
        }
        peer.finish();
        let mut count = 0;
        let failed = loop {
            match ends(socket.recv()).await {
                Ok(Some(_)) => count += 1,
                failed => break failed,
            }
        };
        let too_many = ProtocolError::TooManyControlFrames { max: 100 };
        assert!(matches!(failed, Err(Error::Protocol(error)) if error == too_many), "{failed:?}");
        assert_eq!(count, 201);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_has_its_time() {
        let (stream, peer) = pair(1000);
        let start = Instant::now();
        peer.push(b"GET / HTTP/1.1\r\n");
        let late = ends(accept(Compat(stream), TIME)).await;
        assert!(matches!(late, Err(Error::Timeout(Deadline::Handshake))), "{late:?}");
        assert!(peer.pull().starts_with(b"HTTP/1.1 408 "));
        let (stream, _peer) = pair(1000);
        let late =
            ends(connect_over(Compat(stream), TIME, &ClientRequest::new("a", "/").unwrap(), OPTIONS)).await;
        assert!(matches!(late, Err(Error::Timeout(Deadline::Handshake))), "{late:?}");
        assert_eq!(start.elapsed(), Duration::from_secs(20));
    }
}

const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: b\r\n\r\n";

/// Polls what `make` gives once, twice and so on before it drops it, until it is done; gives how many polls that took.
async fn dropped_at_every_poll<T>(mut make: impl AsyncFnMut(usize) -> Option<T>) -> (usize, T) {
    for polls in 1..10_000 {
        if let Some(done) = make(polls).await {
            return (polls, done);
        }
    }
    panic!("it never ends");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_accept_ends_the_stream() {
    let (polls, accepted) = dropped_at_every_poll(async |polls| {
        let (stream, mut peer) = pair(2000);
        let stream = Compat(stream.reading(Turns::pieces(10)).writing(Turns::pieces(10)));
        peer.push(REQUEST.as_bytes());
        let accepted = polled(polls, accept(stream, TIME)).await;
        if accepted.is_none() {
            // Dropped with what nobody read, or after it.
            let mut answer = Vec::new();
            let _ = ends(peer.read_to_end(&mut answer)).await;
            assert!(peer.is_at_end() || answer.is_empty());
        }
        accepted
    })
    .await;
    assert!(accepted.is_ok() && polls > 20, "{polls}: {accepted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connect_ends_the_stream() {
    let (polls, connected) = dropped_at_every_poll(async |polls| {
        let (stream, mut peer) = pair(2);
        let stream = Compat(stream.reading(Turns::pieces(10)).writing(Turns::pieces(10)));
        let request = ClientRequest::new("a", "/").unwrap();
        let connected = polled(polls, connect_over(stream, TIME, &request, Options::new()));
        let answered = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(peer.read_u8().await.ok()?);
            }
            let text = String::from_utf8(head).unwrap();
            let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                str::from_utf8(&accept_key(key.as_bytes())).unwrap()
            );
            let hello = frame(Role::Server, true, OpCode::Text, b"hello");
            peer.write_all(&[answer.as_bytes(), &hello].concat()).await.ok()?;
            Some(())
        };
        let connected = async {
            // A frame that comes with the handshake is there afterwards.
            let mut socket = match connected.await? {
                Ok(socket) => socket,
                Err(error) => return Some(Err(error)),
            };
            Some(socket.recv().await)
        };
        ends(async { tokio::join!(connected, answered) }).await.0
    })
    .await;
    assert!(matches!(&connected, Ok(Some(Message::Text(text))) if text == "hello"), "{connected:?}");
    assert!(polls > 20, "{polls}");
}

#[tokio::test(start_paused = true)]
async fn a_request_may_be_refused_and_wrong_ones_are_told() {
    let answer = async |request: &str, refuse: bool| {
        let (stream, peer) = pair(2000);
        peer.push(request.as_bytes());
        peer.finish();
        let accepted = accept_with(Compat(stream), TIME, OPTIONS, |request| {
            assert_eq!(request.target(), "/a");
            if refuse { Err(Reject::new(403).unwrap()) } else { Ok(Accept::new().subprotocol("b")) }
        });
        let accepted = ends(accepted).await;
        (accepted, String::from_utf8(peer.pull()).unwrap())
    };
    let (accepted, text) = answer(REQUEST, false).await;
    assert_eq!(accepted.unwrap().subprotocol(), Some("b"));
    assert!(text.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
    let (refused, text) = answer(REQUEST, true).await;
    assert!(matches!(refused, Err(Error::Rejected(403))), "{refused:?}");
    assert!(text.starts_with("HTTP/1.1 403 "), "{text}");
    let (wrong, text) = answer("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n", false).await;
    assert!(matches!(wrong, Err(Error::Handshake(_))), "{wrong:?}");
    assert!(text.starts_with("HTTP/1.1 426 "), "{text}");
    let (gone, text) = answer("", false).await;
    assert!(matches!(gone, Err(Error::NoRequest)) && text.is_empty(), "{gone:?} {text}");
}

/// A peer that sends without pause does not keep the task from others.
#[tokio::test(start_paused = true)]
async fn other_tasks_have_their_turn() {
    let (stream, peer) = pair(1 << 20);
    let mut socket = socket(Role::Server, Config::new(), stream);
    for _ in 0..5_000 {
        peer.push(&frame(Role::Client, true, OpCode::Text, b"again"));
    }
    let (mut turns, mut count) = (0, 0);
    while count < 5_000 {
        match once(socket.recv()).await {
            Some(message) => count += usize::from(message.unwrap().is_some()),
            None => turns += 1,
        }
    }
    assert!(turns >= 15, "{turns}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_holds_no_memory() {
    for role in ROLES {
        let (stream, peer) = pair(1 << 20);
        let mut socket = socket(role, Config::new(), stream);
        peer.push(&frame(role.peer(), true, OpCode::Binary, &[7; 100_000]));
        let got = ends(socket.recv()).await.unwrap().unwrap();
        ends(socket.send(got)).await.unwrap();
        assert!(once(socket.recv()).await.is_none());
        assert_eq!(socket.connection().memory(), 0);
    }
}
