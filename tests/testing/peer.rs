//! Peers by script.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use taut::Error;
use taut::proto::frame::OpCode;
use taut::proto::{CloseCode, CloseFrame, Message, Role};
use taut::testing::{Link, MemoryStream, Peer, RawFrame, Turns, pair};
use taut::tokio::frames::Frame;
use taut::tokio::{Options, WebSocket, accept, connect_over};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::futures::{ends, once, polled};

const URI: &str = "ws://server.test/";

/// A socket of the library's, and a peer that plays the client.
async fn server() -> (WebSocket<MemoryStream>, Peer) {
    let (near, far) = pair(4096);
    let (socket, peer) = tokio::join!(accept(near), Peer::connect(far, URI));
    (socket.unwrap(), peer)
}

/// Two peers.
fn peers() -> (Peer, Peer) {
    let (near, far) = pair(4096);
    (Peer::new(near, Role::Client), Peer::new(far, Role::Server))
}

/// What a failing script says.
async fn failure(script: impl Future<Output = impl Sized>) -> String {
    let Err(panic) = AssertUnwindSafe(ends(script)).catch_unwind().await else {
        panic!("the script came true");
    };
    *panic.downcast::<String>().expect("a formatted sentence")
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_is_what_is_expected() {
    let (mut client, mut server) = peers();
    let close = CloseFrame::new(CloseCode::AWAY, "bye").unwrap();
    for message in [
        Message::text("hello"),
        Message::binary(vec![0; 70_000]),
        Message::Ping("ping".into()),
        Message::Pong("pong".into()),
        Message::Close(Some(close)),
        Message::Close(None),
    ] {
        tokio::join!(client.send(message.clone()), server.expect(message.clone()));
        tokio::join!(server.send(message.clone()), client.expect(message.clone()));
    }
    client.close(CloseCode::NORMAL).await;
    server.expect_close(1000).await;
    server.send(Message::Close(None)).await;
    client.expect_close(1005).await;
    client.finish().await;
    server.expect_end().await;
    server.get_ref().reset();
    client.expect_reset().await;
}

#[tokio::test(start_paused = true)]
async fn fragments_are_put_together_unless_frames_are_expected() {
    let (mut client, mut server) = peers();
    for _ in 0..2 {
        client.send(Frame::text("he").unfinished()).await;
        client.send(Frame::pong("between")).await;
        client.send(Frame::new(OpCode::Continuation, "llo")).await;
    }
    server.expect(Message::Pong("between".into())).await;
    server.expect("hello").await;
    server.expect_frame(Frame::text("he").unfinished()).await;
    server.expect_frame(Frame::pong("between")).await;
    server.expect_frame(Frame::new(OpCode::Continuation, "llo")).await;
    client.send("any").await;
    assert_eq!(server.recv().await, Message::text("any"));
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_unless_the_script_has_them() {
    let (mut client, mut server) = peers();
    client.send(Message::Ping("a".into())).await;
    client.send("text").await;
    server.expect("text").await;
    server.send("flushes").await;
    client.expect(Message::Pong("a".into())).await;
    client.expect("flushes").await;
    let mut server = server.leave_pings();
    client.send(Message::Ping("b".into())).await;
    assert_eq!(server.recv().await, Message::Ping("b".into()));
    client.expect_silence(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_says_where_what_was_expected_what_came_and_what_was_before() {
    let (mut client, mut server) = peers();
    client.send("one").await;
    client.send("two").await;
    server.send("three").await;
    server.expect("one").await;
    let line = line!() + 1;
    let said = failure(server.expect("zwei")).await;
    let expected = format!(
        "{}:{line}:31: the peer expected text \"zwei\"; what came: text \"two\"\nbefore that:\n  it sent \
         \"\\x81\\x05three\"\n  a frame Text \"one\" came\n  a frame Text \"two\" came",
        file!()
    );
    assert_eq!(said, expected);
}

#[tokio::test(start_paused = true)]
async fn every_expectation_fails_if_something_else_comes() {
    async fn fails<T>(script: impl AsyncFnOnce(&mut Peer) -> T, said: &str) {
        let (client, server) = pair(4096);
        let mut client = Peer::new(client, Role::Client);
        client.send(Message::binary(vec![1])).await;
        let mut server = Peer::new(server, Role::Server);
        let failed = failure(script(&mut server)).await;
        let told = format!("{said}; what came: binary \"\\x01\"");
        assert!(failed.contains(&told), "{failed}\nwithout {told}");
    }
    fails(async |peer| peer.expect("a").await, "expected text \"a\"").await;
    fails(async |peer| peer.expect_close(1000).await, "expected Close 1000").await;
    fails(async |peer| peer.expect_end().await, "expected the end").await;
    fails(async |peer| peer.expect_reset().await, "expected an error of the stream").await;
    fails(async |peer| peer.expect_silence(Duration::from_secs(1)).await, "expected nothing for 1s").await;
    let long = Message::text("x".repeat(61));
    fails(async |peer| peer.expect(long).await, &format!("expected text \"{}\"… (61 bytes)", "x".repeat(60)))
        .await;

    let (mut client, mut server) = peers();
    client.send(RawFrame::from("text").reserved(4)).await;
    let said = failure(server.expect_frame(Frame::text("text").unfinished())).await;
    let told = "expected a frame Text without FIN \"text\"; what came: a frame Text with RSV1 \"text\"";
    assert!(said.contains(told), "{said}");
}

#[tokio::test(start_paused = true)]
async fn what_no_message_is_fails_every_expectation() {
    let cases: [(&[RawFrame], &str); 7] = [
        (&[RawFrame::from("a").reserved(1)], "a frame that breaks the protocol: "),
        (&[RawFrame::new(0x3, "")], "a frame that breaks the protocol: "),
        (&[RawFrame::from("a").masked(false)], "a frame that breaks the protocol: "),
        (&[RawFrame::close("a")], "a frame that breaks the protocol: "),
        (&[RawFrame::text(&b"\xff"[..])], "text that is not UTF-8"),
        (&[RawFrame::new(0x0, "a")], "a frame Continuation \"a\""),
        (&[RawFrame::from("a").fin(false), RawFrame::from("b")], "a frame Text \"b\""),
    ];
    for (frames, came) in cases {
        let (mut client, mut server) = peers();
        for frame in frames {
            client.send(frame.clone()).await;
        }
        let said = failure(server.expect("text")).await;
        assert!(said.contains(&format!("what came: {came}")), "{said}\nwithout {came}");
    }
    let (mut client, mut server) = peers();
    client.send(RawFrame::text("").announce(1 << 40)).await;
    assert!(failure(server.recv()).await.contains("what came: a frame that breaks the protocol: "));
    let (mut client, mut server) = peers();
    client.finish().await;
    assert!(failure(server.recv()).await.contains("expected a message; what came: the end of the stream"));
    client.get_ref().refuse(0, std::io::ErrorKind::BrokenPipe);
    assert!(failure(server.send("a")).await.contains("expected what it sends to be taken; what came: "));
}

#[tokio::test(start_paused = true)]
async fn it_waits_as_long_as_its_patience() {
    let (client, server) = pair(16);
    let (mut client, mut server) =
        (Peer::new(client, Role::Client), Peer::new(server, Role::Server).patience(Duration::from_secs(3)));
    let start = Instant::now();
    assert!(failure(server.expect("a")).await.contains("what came: nothing within 3s"));
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    assert!(failure(server.send(vec_of(100))).await.contains("86 bytes were not, within 3s"));
    assert!(failure(client.expect("a")).await.contains("what came: nothing within 60s"));
    // Silence may last longer.
    let start = Instant::now();
    let (_client, mut server) = {
        let (client, server) = peers();
        (client, server.patience(Duration::from_secs(1)))
    };
    server.expect_silence(Duration::from_secs(10)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

fn vec_of(len: usize) -> Message {
    Message::binary(vec![0; len])
}

#[tokio::test(start_paused = true)]
async fn handshakes_are_done_or_scripted() {
    let (near, far) = pair(4096);
    let request = taut::proto::handshake::ClientRequest::from_uri(&"ws://server.test/chat".parse().unwrap());
    let connecting = connect_over(near, &request, Options::new());
    let (socket, mut peer) = tokio::join!(connecting, Peer::accept(far));
    assert_eq!(peer.request().unwrap().target(), "/chat");
    let mut socket = socket.unwrap();
    socket.send("hello").await.unwrap();
    peer.expect("hello").await;

    let (near, far) = pair(4096);
    let mut peer = Peer::new(far, Role::Server);
    let connecting = tokio::spawn(async move { connect_over(near, &request, Options::new()).await });
    assert!(peer.read_head().await.starts_with("GET /chat HTTP/1.1\r\n"));
    peer.send_bytes(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    assert!(matches!(ends(connecting).await.unwrap(), Err(Error::Refused(_))));

    let (near, far) = pair(4096);
    near.push(b"GET / HTTP/1.1\r\n\r\n");
    let said = failure(Peer::accept(far)).await;
    assert!(said.contains("the peer expected a client's request: "), "{said}");
    let (near, far) = pair(4096);
    near.push(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let said = failure(Peer::connect(far, URI)).await;
    assert!(said.contains("the peer expected its request to be accepted: "), "{said}");
    let (near, far) = pair(1 << 20);
    near.push(&[b'a'; 70_000]);
    let said = failure(Peer::new(far, Role::Server).read_head()).await;
    assert!(said.contains("expected a head; what came: more than 64 KiB without an empty line"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn sockets_refuse_every_bad_frame() {
    let text = || RawFrame::from("text");
    for (frames, code) in [
        (vec![text().reserved(4)], 1002),
        (vec![text().reserved(2)], 1002),
        (vec![text().reserved(1)], 1002),
        (vec![RawFrame::new(0x3, "")], 1002),
        (vec![RawFrame::new(0xf, "")], 1002),
        (vec![text().masked(false)], 1002),
        (vec![text().wide_length(2)], 1002),
        (vec![text().wide_length(8)], 1002),
        (vec![text().announce(u64::MAX)], 1002),
        (vec![text().announce(1 << 40)], 1009),
        (vec![RawFrame::new(0x0, "a")], 1002),
        (vec![text().fin(false), text()], 1002),
        (vec![RawFrame::new(0x9, "a").fin(false)], 1002),
        (vec![RawFrame::new(0x9, vec![0; 126])], 1002),
        (vec![RawFrame::text(&b"\xed\xa0\x80"[..])], 1007),
        (vec![RawFrame::close("a")], 1002),
        (vec![RawFrame::close(vec![3, 231])], 1002),
    ] {
        let (mut socket, mut peer) = server().await;
        let receiving = tokio::spawn(async move { socket.recv().await });
        for frame in &frames {
            peer.send(frame.clone()).await;
        }
        ends(peer.expect_close(code)).await;
        ends(peer.expect_end()).await;
        drop(peer);
        assert!(ends(receiving).await.unwrap().is_err(), "{frames:?}");
    }
}

/// Each future is dropped at each poll that is pending; then it goes on where it was.
#[tokio::test(start_paused = true)]
async fn futures_that_are_dropped_lose_nothing() {
    let (near, far) = pair(7);
    let slow = |stream: MemoryStream| stream.reading(Turns::bytewise()).writing(Turns::pieces(2));
    let mut client = Peer::new(slow(near), Role::Client);
    let mut server = Peer::new(slow(far), Role::Server);
    let script = tokio::spawn(async move {
        client.send_bytes(b"a head\r\n\r\n").await;
        for _ in 0..2 {
            client.send(Frame::text("frag").unfinished()).await;
            client.send(Message::Ping("p".into())).await;
            client.send(Frame::new(OpCode::Continuation, "mented")).await;
        }
        client.send("any").await;
        client.expect(Message::Pong("p".into())).await;
        client.expect(Message::Pong("p".into())).await;
        client.expect("sent").await;
        assert_eq!(client.recv().await, Message::text("raw"));
        client.expect_close(1000).await;
        client.close(CloseCode::NORMAL).await;
        client.expect_end().await;
        client.get_ref().fail_reads();
    });
    let mut drops = 0;
    /// Makes the future again until it ends.
    macro_rules! anew {
        ($future:expr) => {
            loop {
                if let Some(value) = polled(1, $future).await {
                    break value;
                }
                drops += 1;
                assert!(drops < 10_000, "it never ends");
                sleep(Duration::from_millis(1)).await;
            }
        };
    }
    assert_eq!(anew!(server.read_head()), "a head\r\n\r\n");
    anew!(server.expect("fragmented"));
    anew!(server.expect_frame(Frame::text("frag").unfinished()));
    anew!(server.expect_frame(Frame::new(OpCode::Continuation, "mented")));
    assert_eq!(anew!(server.recv()), Message::text("any"));
    // What is sent is taken by the call, and leaves with those that follow.
    let _ = polled(1, server.send("sent")).await;
    let _ = polled(1, server.send_bytes(b"\x81\x03raw")).await;
    let _ = polled(1, server.close(CloseCode::NORMAL)).await;
    anew!(server.expect_close(1000));
    anew!(server.finish());
    anew!(server.expect_reset());
    ends(script).await.unwrap();
    assert!(drops > 50, "{drops}");

    let (mut client, mut server) = peers();
    assert!(once(server.expect_end()).await.is_none());
    assert!(once(server.expect_silence(Duration::from_secs(1))).await.is_none());
    client.finish().await;
    server.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_handshake_ends_the_stream() {
    let (mut near, far) = Link::new().pair();
    assert!(once(Peer::accept(far)).await.is_none());
    assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
    let (mut near, far) = Link::new().pair();
    assert!(once(Peer::connect(far, URI)).await.is_none());
    let mut request = Vec::new();
    near.read_to_end(&mut request).await.unwrap();
    assert!(near.write_all(b"late").await.is_err());
}
