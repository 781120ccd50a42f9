//! The blocking adapter over real sockets, and over streams that interrupt, time out and buffer.
//!
//! Every socket has a read timeout far beyond what anything here takes: what would wait for ever fails instead.

mod support;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use support::{Take, connection, frame, replay};
use taut::blocking::{WebSocket, accept, accept_with, connect, connect_over};
use taut::proto::frame::OpCode;
use taut::proto::handshake::{
    Accept, BuildError, ClientRequest, HandshakeError, Reject, Request, accept_key,
};
use taut::proto::{
    ChunkData, CloseCode, CloseFrame, CloseStatus, Config, Delivery, Event, Message, ProtocolError, Role,
    SendErrorKind, State,
};
use taut::{Error, Options};

const FAR_AWAY: Duration = Duration::from_secs(120);
const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// Two ends of a connection over TCP.
fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let other = listener.accept().unwrap().0;
    for stream in [&one, &other] {
        stream.set_read_timeout(Some(FAR_AWAY)).unwrap();
        stream.set_write_timeout(Some(FAR_AWAY)).unwrap();
    }
    (one, other)
}

/// How long a connection may take to close: no test waits for it.
const TIME: Duration = Duration::from_secs(60);
const OPTIONS: Options = Options::new().close_timeout(TIME);

fn socket_over<S>(stream: S, connection: taut::proto::Connection) -> WebSocket<S> {
    WebSocket::new(stream, connection, &OPTIONS)
}

/// A socket of that role, and the other end of its stream.
fn socket(role: Role) -> (WebSocket<TcpStream>, TcpStream) {
    socket_with(role, Config::new())
}

fn socket_with(role: Role, config: Config) -> (WebSocket<TcpStream>, TcpStream) {
    let (ours, theirs) = tcp();
    (socket_over(ours, connection(role, config)), theirs)
}

fn text_frame(from: Role, text: &str) -> Vec<u8> {
    frame(from, true, OpCode::Text, text.as_bytes())
}

fn close_frame(from: Role, code: u16) -> Vec<u8> {
    frame(from, true, OpCode::Close, &code.to_be_bytes())
}

fn close_message(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame::new(CloseCode::new(code).unwrap(), reason).unwrap()))
}

/// The messages in what `from` wrote.
fn decode(from: Role, wire: &[u8]) -> Vec<Message> {
    let outcome = replay(&mut connection(from.peer(), Config::new()), wire, &[], Take::Owned);
    assert_eq!(outcome.error, None);
    outcome.messages
}

fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut wire = Vec::new();
    stream.read_to_end(&mut wire).expect("an end, not a reset");
    wire
}

fn assert_clean(closed: Result<CloseStatus, Error>, code: u16) {
    let status = closed.unwrap();
    assert_eq!((status.code, status.clean), (code, true));
}

fn assert_ended<S: Read + Write + 'static>(socket: &mut WebSocket<S>) {
    for _ in 0..3 {
        assert!(matches!(socket.recv(), Ok(None)));
    }
    match socket.send("late") {
        Err(Error::Send(error)) => {
            assert_eq!(error.kind(), SendErrorKind::Closed);
            assert_eq!(error.into_message(), Some(Message::text("late")));
        }
        other => panic!("{other:?}"),
    }
}

fn is_timeout(error: &Error) -> bool {
    use io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error, Error::Io(error) if matches!(error.kind(), TimedOut | WouldBlock))
}

/// A server that sends all data back until the end of the connection.
fn echo<S: Read + Write + 'static>(mut socket: WebSocket<S>) -> Result<(), Error> {
    while let Some(message) = socket.recv()? {
        if message.is_data() {
            socket.send(message)?;
        }
    }
    Ok(())
}

fn messages() -> Vec<Message> {
    let mut messages: Vec<Message> = [0, 1, 125, 126, 65_535, 65_536, 1 << 20]
        .into_iter()
        .map(|len| Message::binary(vec![7; len]))
        .collect();
    messages.extend(["", "a", "€uro"].map(Message::text));
    messages
}

#[test]
fn both_ends_may_block() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("ws://{}/echo", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let socket = accept(listener.accept().unwrap().0)?;
        assert!(socket.get_ref().nodelay().unwrap());
        echo(socket)
    });
    let mut client = connect(&uri).unwrap();
    assert!(client.get_ref().nodelay().unwrap());
    client.get_ref().set_read_timeout(Some(FAR_AWAY)).unwrap();
    assert_eq!((client.connection().role(), client.connection().state()), (Role::Client, State::Open));
    for message in messages() {
        client.send(message.clone()).unwrap();
        assert_eq!(client.recv().unwrap(), Some(message));
    }
    // Some together.
    for message in messages() {
        client.feed(message).unwrap_or_else(|_| panic!("the queue is not full yet"));
        if client.connection().queued() > 500_000 {
            break;
        }
    }
    client.flush().unwrap();
    for message in messages().into_iter().take(7) {
        assert_eq!(client.recv().unwrap(), Some(message));
    }
    assert_clean(client.close(CloseCode::NORMAL, "done"), 1000);
    assert_ended(&mut client);
    server.join().unwrap().unwrap();
}

#[test]
fn a_client_of_tokio_talks_to_a_blocking_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("ws://{}/echo", listener.local_addr().unwrap());
    let server = thread::spawn(move || echo(accept(listener.accept().unwrap().0)?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = taut::tokio::connect(&uri).await.unwrap();
        for message in messages() {
            client.send(message.clone()).await.unwrap();
            assert_eq!(client.recv().await.unwrap(), Some(message));
        }
        let status = client.close(CloseCode::AWAY, "").await.unwrap();
        assert_eq!((status.code, status.clean), (1001, true));
    });
    server.join().unwrap().unwrap();
}

#[test]
fn a_blocking_client_talks_to_a_server_of_tokio() {
    let (sender, address) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let mut socket = taut::tokio::accept(listener.accept().await.unwrap().0).await?;
            while let Some(message) = socket.recv().await? {
                if message.is_data() {
                    socket.send(message).await?;
                }
            }
            Ok::<_, Error>(socket.close_status())
        })
    });
    let mut client = connect(&format!("ws://{}/", address.recv().unwrap())).unwrap();
    client.get_ref().set_read_timeout(Some(FAR_AWAY)).unwrap();
    for message in messages() {
        client.send(message.clone()).unwrap();
        assert_eq!(client.recv().unwrap(), Some(message));
    }
    assert_clean(client.close(CloseCode::AWAY, "bye"), 1001);
    let status = server.join().unwrap().unwrap().unwrap();
    assert_eq!((status.code, status.reason.as_str(), status.clean), (1001, "bye", true));
}

#[test]
fn a_timeout_within_a_message_loses_nothing() {
    for role in ROLES {
        let (mut socket, mut peer) = socket(role);
        socket.get_ref().set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let wire = [text_frame(role.peer(), "first"), text_frame(role.peer(), "second")].concat();
        for cut in 0..wire.len() {
            peer.write_all(&wire[..cut]).unwrap();
            let mut got = Vec::new();
            let error = loop {
                match socket.recv() {
                    Ok(message) => got.push(message),
                    Err(error) => break error,
                }
            };
            assert!(is_timeout(&error), "{error}");
            peer.write_all(&wire[cut..]).unwrap();
            while got.len() < 2 {
                match socket.recv() {
                    Ok(message) => got.push(message),
                    Err(error) => assert!(is_timeout(&error), "{error}"),
                }
            }
            assert_eq!(got, [Some(Message::text("first")), Some(Message::text("second"))], "{cut}");
        }
    }
}

#[test]
fn a_timeout_while_writing_loses_nothing() {
    for (role, borrowed) in ROLES.into_iter().flat_map(|role| [(role, false), (role, true)]) {
        let (mut socket, mut peer) = socket(role);
        socket.get_ref().set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        // More than the buffers of both ends hold.
        let large = Message::binary((0..64_u32 << 20).map(|at| (at >> 8) as u8).collect::<Vec<_>>());
        let sent = if borrowed { socket.send_ref((&large).into()) } else { socket.send(large.clone()) };
        let error = sent.unwrap_err();
        assert!(is_timeout(&error), "{error}");
        let reader: JoinHandle<Vec<u8>> = thread::spawn(move || read_to_end(&mut peer));
        while let Err(error) = socket.flush() {
            assert!(is_timeout(&error), "{error}");
        }
        socket.feed("behind it").unwrap();
        while let Err(error) = socket.flush() {
            assert!(is_timeout(&error), "{error}");
        }
        socket.get_ref().shutdown(Shutdown::Write).unwrap();
        let config = Config::new().max_message(usize::MAX).max_frame(usize::MAX);
        let got = replay(&mut connection(role.peer(), config), &reader.join().unwrap(), &[], Take::Owned);
        assert!(got.error.is_none() && got.messages == [large, Message::text("behind it")]);
    }
}

#[test]
fn pings_are_answered_before_recv_returns() {
    for role in ROLES {
        let (mut socket, mut peer) = socket(role);
        peer.write_all(&frame(role.peer(), true, OpCode::Ping, b"?")).unwrap();
        assert_eq!(socket.recv().unwrap(), Some(Message::Ping((&b"?"[..]).into())));
        let answer = frame(role, true, OpCode::Pong, b"?");
        let mut wire = vec![0; answer.len()];
        peer.read_exact(&mut wire).unwrap();
        assert_eq!(wire, answer);
    }
}

#[test]
fn chunks_come_as_they_arrive() {
    let config = Config::new().delivery(Delivery::Chunks);
    let (mut socket, mut peer) = socket_with(Role::Server, config);
    peer.write_all(&frame(Role::Client, false, OpCode::Binary, b"one")).unwrap();
    let Some(Event::Chunk(chunk)) = socket.recv_event().unwrap() else { panic!("no chunk") };
    assert_eq!((chunk.data, chunk.first, chunk.last), (ChunkData::Binary((&b"one"[..]).into()), true, false));
    peer.write_all(&frame(Role::Client, true, OpCode::Continuation, b"two")).unwrap();
    let Some(Event::Chunk(chunk)) = socket.recv_event().unwrap() else { panic!("no chunk") };
    assert_eq!((chunk.data, chunk.first, chunk.last), (ChunkData::Binary((&b"two"[..]).into()), false, true));
}

// How it ends.

#[test]
fn a_close_is_clean_from_either_side() {
    for closes in ROLES {
        let (ours, theirs) = tcp();
        let other = thread::spawn(move || {
            let mut other = socket_over(theirs, connection(closes.peer(), Config::new()));
            assert_eq!(other.recv().unwrap(), Some(close_message(4000, "bye")));
            assert_eq!(other.recv().unwrap(), None);
            assert_ended(&mut other);
            assert_clean(other.close(CloseCode::AWAY, ""), 4000);
        });
        let mut closing = socket_over(ours, connection(closes, Config::new()));
        assert_clean(closing.close(CloseCode::new(4000).unwrap(), "bye"), 4000);
        assert_ended(&mut closing);
        assert_clean(closing.close(CloseCode::AWAY, ""), 4000);
        other.join().unwrap();
    }
}

#[test]
fn both_may_close_at_once() {
    let (client, server) = tcp();
    let client = thread::spawn(move || {
        socket_over(client, connection(Role::Client, Config::new())).close(CloseCode::NORMAL, "client")
    });
    let server =
        socket_over(server, connection(Role::Server, Config::new())).close(CloseCode::AWAY, "server");
    assert_clean(client.join().unwrap(), 1001);
    assert_clean(server, 1000);
}

#[test]
fn a_close_that_timed_out_can_go_on() {
    for role in ROLES {
        let (mut socket, mut peer) = socket(role);
        socket.get_ref().set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        for _ in 0..3 {
            let error = socket.close(CloseCode::NORMAL, "").unwrap_err();
            assert!(is_timeout(&error), "{error}");
        }
        peer.write_all(&close_frame(role.peer(), 1001)).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        socket.get_ref().set_read_timeout(Some(FAR_AWAY)).unwrap();
        assert_clean(socket.close(CloseCode::NORMAL, ""), 1001);
        drop(socket);
        // One Close, however often it was asked for.
        assert_eq!(decode(role, &read_to_end(&mut peer)), [close_message(1000, "")]);
    }
}

#[test]
fn messages_still_come_after_a_close_was_started() {
    for role in ROLES {
        let (mut socket, mut peer) = socket(role);
        socket.feed("last").unwrap();
        socket.start_close(CloseFrame::new(CloseCode::AWAY, "bye").unwrap());
        socket.start_close(None);
        assert!(
            matches!(socket.feed("late"), Err(Error::Send(error)) if error.kind() == SendErrorKind::Closed)
        );
        peer.write_all(&text_frame(role.peer(), "under way")).unwrap();
        peer.write_all(&close_frame(role.peer(), 1001)).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(socket.recv().unwrap(), Some(Message::text("under way")));
        assert_eq!((socket.is_ended(), socket.close_status()), (false, None));
        while socket.recv().unwrap().is_some() {}
        assert!(socket.is_ended() && socket.close_status().unwrap().clean);
        drop(socket);
        let expected = [Message::text("last"), close_message(1001, "bye")];
        assert_eq!(decode(role, &read_to_end(&mut peer)), expected);
    }
}

#[test]
fn copies_are_queued_in_order_and_refused_after_a_close() {
    for role in ROLES {
        let (mut socket, mut peer) = socket(role);
        socket.feed_text("text").unwrap();
        socket.feed_binary(b"bytes").unwrap();
        socket.start_close(None);
        for refused in [socket.feed_text("late"), socket.feed_binary(b"late")] {
            assert!(matches!(refused, Err(Error::Send(error)) if error.kind() == SendErrorKind::Closed));
        }
        socket.flush().unwrap();
        drop(socket);
        let expected = [Message::text("text"), Message::binary("bytes"), Message::Close(None)];
        assert_eq!(decode(role, &read_to_end(&mut peer)), expected);
    }
}

#[test]
fn a_socket_falls_into_its_parts_with_what_is_buffered() {
    let (mut socket, mut peer) = socket(Role::Server);
    let both = [text_frame(Role::Client, "one"), text_frame(Role::Client, "two")].concat();
    peer.write_all(&both).unwrap();
    while socket.get_ref().peek(&mut vec![0; both.len()]).unwrap() < both.len() {}
    assert_eq!(socket.recv().unwrap(), Some(Message::text("one")));
    socket.feed("three").unwrap();
    let (stream, connection) = socket.into_parts();
    let mut again = socket_over(stream, connection);
    assert_eq!(again.recv().unwrap(), Some(Message::text("two")));
    again.flush().unwrap();
    drop(again);
    assert_eq!(decode(Role::Server, &read_to_end(&mut peer)), [Message::text("three")]);
}

#[test]
fn an_end_without_a_close_is_lost() {
    for role in ROLES {
        for cut in 0..6 {
            let (mut first, mut peer) = socket(role);
            peer.write_all(&text_frame(role.peer(), "whole")).unwrap();
            peer.write_all(&text_frame(role.peer(), "part")[..cut]).unwrap();
            drop(peer);
            assert_eq!(first.recv().unwrap(), Some(Message::text("whole")));
            assert!(matches!(first.recv(), Err(Error::Lost)));
            assert_ended(&mut first);
            let status = first.close_status().unwrap();
            assert_eq!((status.code, status.clean), (CloseStatus::ABNORMAL, false));
            assert!(matches!(first.close(CloseCode::NORMAL, ""), Err(Error::Lost)));

            let (mut second, mut peer) = socket(role);
            peer.write_all(&text_frame(role.peer(), "part")[..cut]).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            assert!(matches!(second.close(CloseCode::NORMAL, ""), Err(Error::Lost)));
            drop(second);
            assert_eq!(decode(role, &read_to_end(&mut peer)), [close_message(1000, "")]);
        }
    }
}

#[test]
fn a_reset_is_an_error_of_the_transport() {
    for role in ROLES {
        let (mut socket, peer) = socket(role);
        socket.send("nobody reads this").unwrap();
        // Wait for it to arrive: dropping a socket with unread bytes resets the connection.
        peer.peek(&mut [0]).unwrap();
        drop(peer);
        match socket.recv() {
            Err(Error::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
            other => panic!("{other:?}"),
        }
        assert_ended(&mut socket);
        assert_eq!(socket.connection().close_status().unwrap().code, CloseStatus::ABNORMAL);
    }
}

#[test]
fn a_protocol_error_reaches_the_peer_as_a_close_and_not_a_reset() {
    for role in ROLES {
        let from = role.peer();
        let mut reserved = text_frame(from, "x");
        reserved[0] |= 0x20;
        let config = Config::new().max_message(100);
        for (bytes, error, code) in [
            (reserved, ProtocolError::ReservedBit(2), 1002),
            (frame(from, true, OpCode::Text, b"\xff"), ProtocolError::InvalidUtf8 { offset: 0 }, 1007),
            (frame(from, true, OpCode::Binary, &[0; 101]), ProtocolError::MessageTooBig { max: 100 }, 1009),
        ] {
            let (mut socket, mut peer) = socket_with(role, config);
            let peer = thread::spawn(move || {
                peer.write_all(&bytes).unwrap();
                for _ in 0..8 {
                    peer.write_all(&vec![0x55; 1 << 20]).expect("the rest is taken");
                }
                read_to_end(&mut peer)
            });
            match socket.recv() {
                Err(Error::Protocol(told)) => assert_eq!(told, error),
                other => panic!("{other:?}"),
            }
            assert_ended(&mut socket);
            drop(socket);
            let told = decode(role, &peer.join().unwrap());
            assert!(
                matches!(&told[..], [Message::Close(Some(frame))] if frame.code().get() == code),
                "{told:?}"
            );
        }
    }
}

#[test]
fn a_reason_that_is_too_long_closes_nothing() {
    let (mut socket, _peer) = socket(Role::Server);
    assert!(
        matches!(socket.close(CloseCode::NORMAL, &"x".repeat(124)), Err(Error::Reason(error)) if error.len == 124)
    );
    assert_eq!(socket.connection().state(), State::Open);
    socket.send("still open").unwrap();
}

#[test]
fn without_automatic_answers_the_application_closes() {
    for role in ROLES {
        let (mut socket, mut peer) = socket_with(role, Config::new().auto_close(false));
        peer.write_all(&close_frame(role.peer(), 1001)).unwrap();
        assert_eq!(socket.recv().unwrap(), Some(close_message(1001, "")));
        peer.shutdown(Shutdown::Write).unwrap();
        assert_clean(socket.close(CloseCode::new(3001).unwrap(), "mine"), 1001);
        drop(socket);
        assert_eq!(decode(role, &read_to_end(&mut peer)), [close_message(3001, "mine")]);
    }
}

// Handshakes.

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn a_server_sees_the_request_and_chooses() {
    let (client, server) = tcp();
    let server = thread::spawn(move || {
        accept_with(server, Options::new(), |request: &Request| {
            assert_eq!((request.resource(), request.host()), ("/chat?a=b", "example.com"));
            assert_eq!(request.origin(), Some("http://example.com"));
            Ok(Accept::new().subprotocol(request.subprotocols().nth(1).unwrap()))
        })
    });
    let request = ClientRequest::new("example.com", "/chat?a=b").unwrap();
    let request = request.subprotocol("one").unwrap().subprotocol("two").unwrap();
    let request = request.field("Origin", "http://example.com").unwrap();
    let mut client = connect_over(client, &request, Options::new()).unwrap();
    let mut server = server.join().unwrap().unwrap();
    assert_eq!((client.subprotocol(), server.subprotocol()), (Some("two"), Some("two")));
    server.send("hello").unwrap();
    assert_eq!(client.recv().unwrap(), Some(Message::text("hello")));
}

#[test]
fn refusals_arrive_whole() {
    let body = "nobody gets in here\n".repeat(5_000);
    let (client, server) = tcp();
    let reject = Reject::new(403).unwrap().field("X-Why", "because").unwrap().body(body.clone());
    let server = thread::spawn(move || accept_with(server, Options::new(), |_| Err(reject)));
    match connect_over(client, &ClientRequest::new("a", "/").unwrap(), Options::new()) {
        Err(Error::Refused(response)) => {
            assert_eq!((response.status(), response.fields().text("X-Why")), (403, Some("because")));
            assert!(response.body() == body.as_bytes() && response.body_is_whole());
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(server.join().unwrap(), Err(Error::Rejected(403))));

    let (client, server) = tcp();
    let server = thread::spawn(move || {
        accept_with(server, Options::new(), |_| Ok(Accept::new().subprotocol("not offered")))
    });
    match connect_over(client, &ClientRequest::new("a", "/").unwrap(), Options::new()) {
        Err(Error::Refused(response)) => assert_eq!(response.status(), 500),
        other => panic!("{other:?}"),
    }
    assert!(matches!(server.join().unwrap(), Err(Error::Build(BuildError::SubprotocolNotOffered(_)))));
}

#[test]
fn bad_requests_are_answered_and_not_reset() {
    for (request, status, part) in [
        (REQUEST.replace("Host: a\r\n", ""), 400, ""),
        (REQUEST.replace("GET", "POST"), 405, "Allow: GET\r\n"),
        (REQUEST.replace("Version: 13", "Version: 8"), 426, "Sec-WebSocket-Version: 13\r\n"),
        (REQUEST.replace("Host: a", &format!("Host: a\r\nX-Long: {}", "x".repeat(300_000))), 431, ""),
    ] {
        for behind in [0, 1 << 20] {
            let (mut client, server) = tcp();
            let server = thread::spawn(move || accept(server));
            client.write_all(request.as_bytes()).expect("the request is taken");
            client.write_all(&vec![b'x'; behind]).expect("what is behind it is taken, and dropped");
            client.shutdown(Shutdown::Write).unwrap();
            let answer = String::from_utf8(read_to_end(&mut client)).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(part), "{answer}");
            match server.join().unwrap() {
                Err(Error::Handshake(error)) => assert_eq!(error.status(), Some(status)),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_client_checks_the_answer() {
    for (change, expected) in [
        ("Accept: ", Some(HandshakeError::Accept)),
        ("Upgrade: websocket\r\n", Some(HandshakeError::Upgrade)),
        ("nothing", None),
    ] {
        let (client, mut server) = tcp();
        let server = thread::spawn(move || {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                server.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let accept = String::from_utf8(accept_key(key.as_bytes()).to_vec()).unwrap();
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            let answer = answer.replace(change, if change == "Accept: " { "Accept: x" } else { "" });
            // The first frame comes with the answer.
            server.write_all(&[answer.as_bytes(), &text_frame(Role::Server, "hello")].concat()).unwrap();
            server
        });
        match (connect_over(client, &ClientRequest::new("a", "/").unwrap(), Options::new()), expected) {
            (Err(Error::Handshake(error)), Some(expected)) => assert_eq!(error, expected),
            (Ok(mut socket), None) => assert_eq!(socket.recv().unwrap(), Some(Message::text("hello"))),
            (other, _) => panic!("{other:?}"),
        }
        drop(server.join().unwrap());
    }
}

#[test]
fn a_refusal_that_does_not_end_in_time_is_the_answer() {
    let (ours, mut theirs) = tcp();
    ours.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    theirs.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n\r\nwhy").unwrap();
    match connect_over(ours, &ClientRequest::new("example.com", "/").unwrap(), OPTIONS) {
        Err(Error::Refused(answer)) => {
            assert_eq!((answer.status(), answer.body(), answer.body_is_whole()), (503, &b"why"[..], false));
        }
        other => panic!("{other:?}"),
    }
    // Silence is none.
    let (ours, _theirs) = tcp();
    ours.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    match connect_over(ours, &ClientRequest::new("example.com", "/").unwrap(), OPTIONS) {
        Err(Error::Io(error)) => {
            assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// RFC 6455 §4.1: "There MUST be no more than one connection in a CONNECTING state."
#[test]
fn one_connection_to_an_address_at_a_time() {
    const CLIENTS: usize = 4;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("ws://{}/", listener.local_addr().unwrap());
    let start = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (uri, start) = (uri.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                // Open until all are, so that none is in another's way by being open.
                let socket = connect(&uri).unwrap();
                start.wait();
                drop(socket);
            })
        })
        .collect();
    let mut open = Vec::new();
    for _ in 0..CLIENTS {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(FAR_AWAY)).unwrap();
        let socket = accept_with(stream, OPTIONS, |_| {
            // Time enough for the others to come, if they did.
            thread::sleep(Duration::from_millis(50));
            listener.set_nonblocking(true).unwrap();
            assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "another connects");
            listener.set_nonblocking(false).unwrap();
            Ok(Accept::new())
        });
        open.push(socket.unwrap());
    }
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn what_cannot_be_connected_to_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for uri in [format!("{address}"), format!("http://{address}/"), format!("ws://{address}/#a")] {
        assert!(matches!(connect(&uri), Err(Error::Uri(_))), "{uri}");
    }
    assert!(matches!(connect(&format!("wss://{address}/")), Err(Error::Unsupported(_))));
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "somebody connected");
    drop(listener);
    match connect(&format!("ws://{address}/")) {
        Err(Error::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
        other => panic!("{other:?}"),
    }
}

// Other streams.

#[cfg(unix)]
fn unix() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    for stream in [&one, &other] {
        // Short enough that what waits for ever is told in a test's time.
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    (one, other)
}

#[cfg(unix)]
#[test]
fn unix_sockets_work() {
    let (client, server) = unix();
    let server = thread::spawn(move || echo(accept(server)?));
    let mut client = connect_over(client, &ClientRequest::new("a", "/").unwrap(), Options::new()).unwrap();
    for message in messages() {
        client.send(message.clone()).unwrap();
        assert_eq!(client.recv().unwrap(), Some(message));
    }
    assert_clean(client.close(CloseCode::NORMAL, ""), 1000);
    server.join().unwrap().unwrap();
}

/// After a failure one end waits for the other to end, which waits for the first: one of them has to.
#[cfg(unix)]
#[test]
fn a_protocol_error_ends_both_ends_of_a_unix_socket() {
    for fails in ROLES {
        let (ours, theirs) = unix();
        // `ours` takes no message of that size; `theirs` keeps its socket until it has seen the end.
        let failing = thread::spawn(move || {
            let mut socket = socket_over(ours, connection(fails, Config::new().max_message(3)));
            let failed = socket.recv();
            // Kept, as an application may.
            (failed, socket)
        });
        let mut other = socket_over(theirs, connection(fails.peer(), Config::new()));
        other.send("long").unwrap();
        let told = other.recv().unwrap();
        assert!(
            matches!(&told, Some(Message::Close(Some(frame))) if frame.code() == CloseCode::TOO_BIG),
            "{told:?}"
        );
        match other.recv() {
            Ok(None) => {}
            other => panic!("the end did not come: {other:?}"),
        }
        drop(other);
        let (failed, _socket) = failing.join().unwrap();
        assert!(
            matches!(failed, Err(Error::Protocol(ProtocolError::MessageTooBig { max: 3 }))),
            "{failed:?}"
        );
    }
}

/// What the next calls of a stream do.
#[derive(Clone, Debug)]
enum Call {
    Fail(io::ErrorKind),
    Bytes(usize),
}

/// A stream in memory that does what it is told, in turns.
#[derive(Debug)]
struct Script {
    input: VecDeque<u8>,
    reads: Vec<Call>,
    read: usize,
    writes: Vec<Call>,
    wrote: usize,
    /// Written, and not flushed yet.
    held: Vec<u8>,
    flushed: Vec<u8>,
}

impl Script {
    fn new(input: &[u8], reads: &[Call], writes: &[Call]) -> Self {
        Self {
            input: input.iter().copied().collect(),
            reads: reads.to_vec(),
            read: 0,
            writes: writes.to_vec(),
            wrote: 0,
            held: Vec::new(),
            flushed: Vec::new(),
        }
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read += 1;
        match self.reads[(self.read - 1) % self.reads.len()] {
            Call::Fail(kind) => Err(kind.into()),
            Call::Bytes(count) => {
                let count = count.min(buffer.len()).min(self.input.len());
                for (place, byte) in buffer.iter_mut().zip(self.input.drain(..count)) {
                    *place = byte;
                }
                Ok(count)
            }
        }
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wrote += 1;
        match self.writes[(self.wrote - 1) % self.writes.len()] {
            Call::Fail(kind) => Err(kind.into()),
            Call::Bytes(count) => {
                let count = count.min(bytes.len());
                self.held.extend_from_slice(&bytes[..count]);
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed.append(&mut self.held);
        Ok(())
    }
}

const ALL: [Call; 1] = [Call::Bytes(usize::MAX)];

#[test]
fn interruptions_are_nobodys_business() {
    let interrupted = [Call::Fail(io::ErrorKind::Interrupted), Call::Bytes(3)];
    for role in ROLES {
        let wire = [text_frame(role.peer(), "hello"), frame(role.peer(), true, OpCode::Ping, b"?")].concat();
        let script = Script::new(&wire, &interrupted, &interrupted);
        let mut socket = socket_over(script, connection(role, Config::new()));
        socket.send("a message in several writes").unwrap();
        assert_eq!(socket.recv().unwrap(), Some(Message::text("hello")));
        assert!(matches!(socket.recv().unwrap(), Some(Message::Ping(_))));
        assert!(matches!(socket.recv(), Err(Error::Lost)));
        let Script { held, flushed, .. } = socket.get_ref();
        let written = decode(role, &[&flushed[..], held].concat());
        assert_eq!(
            written,
            [Message::text("a message in several writes"), Message::Pong((&b"?"[..]).into())]
        );
    }
}

#[test]
fn streams_that_are_not_ready_lose_nothing() {
    let not_ready =
        [Call::Fail(io::ErrorKind::WouldBlock), Call::Bytes(1), Call::Fail(io::ErrorKind::TimedOut)];
    for role in ROLES {
        let expected = ["one", "two", "three"].map(Message::text);
        let wire: Vec<u8> = ["one", "two", "three"]
            .iter()
            .flat_map(|text| {
                [text_frame(role.peer(), text), frame(role.peer(), true, OpCode::Ping, b"")].concat()
            })
            .collect();
        let wire = [wire, close_frame(role.peer(), 1001)].concat();
        let mut socket =
            socket_over(Script::new(&wire, &not_ready, &not_ready), connection(role, Config::new()));
        let mut got = Vec::new();
        let error = socket.send("mine").unwrap_err();
        assert!(is_timeout(&error), "{error}");
        for round in 0.. {
            assert!(round < 10_000, "it never ends: {got:?}");
            match socket.recv() {
                Ok(Some(message)) => got.push(message),
                Ok(None) => break,
                Err(error) => assert!(is_timeout(&error), "{error}"),
            }
        }
        assert_eq!(got.pop(), Some(close_message(1001, "")));
        got.retain(Message::is_data);
        assert_eq!(got, expected);
        assert!(socket.connection().close_status().unwrap().clean);
        let Script { held, flushed, .. } = socket.get_ref();
        let written = decode(role, &[&flushed[..], held].concat());
        assert_eq!(
            (written.first(), written.last()),
            (Some(&Message::text("mine")), Some(&close_message(1001, "")))
        );
    }
}

#[test]
fn a_buffering_stream_is_flushed() {
    for role in ROLES {
        let wire = [frame(role.peer(), true, OpCode::Ping, b"?"), close_frame(role.peer(), 1001)].concat();
        let mut socket = socket_over(Script::new(&wire, &ALL, &ALL), connection(role, Config::new()));
        socket.send("sent").unwrap();
        assert_eq!(decode(role, &socket.get_ref().flushed), [Message::text("sent")]);
        socket.feed("fed").unwrap();
        socket.flush().unwrap();
        assert_eq!(decode(role, &socket.get_ref().flushed).len(), 2);
        assert!(matches!(socket.recv().unwrap(), Some(Message::Ping(_))));
        assert_eq!(decode(role, &socket.get_ref().flushed).len(), 3, "the pong left before recv returned");
        while socket.recv().unwrap().is_some() {}
        assert_eq!(decode(role, &socket.get_ref().flushed).last(), Some(&close_message(1001, "")));
    }
    let accepted = accept(Script::new(REQUEST.as_bytes(), &ALL, &ALL)).unwrap();
    assert!(accepted.get_ref().flushed.starts_with(b"HTTP/1.1 101 "));
}
