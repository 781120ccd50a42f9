//! The end of a connection, in order and out of order (RFC 6455 §7.1, §7.2).

use taut::proto::handshake::{ClientHandshake, ClientRequest, HandshakeError, ServerHandshake};
use taut::proto::{Config, Kind, Message, ProtocolError, Role, State};

use crate::heads::{Head, NONCE, serve};
use crate::support::{self, Take, replay};
use crate::wire::{
    BINARY, CLOSE, CONTINUATION, FIN, Form, PING, PONG, Sent, TEXT, assert_silent, binary, body, close,
    close_frame, frame, header, ping, pong, receive, sent, status, text, written,
};
use crate::{BOTH, CLIENT, Row, SERVER};

pub(crate) const S7_1: &[Row] = &[
    Row {
        id: "X1",
        section: "7.1.1",
        who: BOTH,
        requirement: "a clean close, \"discarding any trailing bytes that may have been received\"",
        check: |role| {
            // Behind the Close, in the same read and later, whole frames and junk.
            let end = frame(role.peer(), FIN | CLOSE, body(1000, ""));
            for trailing in
                [frame(role.peer(), FIN | TEXT, b"late"), vec![0xFF; 30], end.clone(), vec![FIN | PING]]
            {
                let input = [&end[..], &trailing].concat();
                let expected = receive(role, input).gives([close(1000, "")]);
                expected.sends(FIN | CLOSE, body(1000, "")).closes(1000, "");
            }
        },
    },
    Row {
        id: "X1",
        section: "7.1.1",
        who: BOTH,
        requirement: "after a failure the rest is read and dropped until the transport ends, so that our \
            Close arrives",
        check: |role| {
            let mut connection = support::connection(role, Config::new());
            connection.feed(&[0xFF]);
            assert!(connection.next_event().is_err());
            assert!(connection.wants_discard() && !connection.wants_input());
            assert_eq!(sent(&mut connection).len(), 1);
            for _ in 0..100 {
                connection.input().extend_from_slice(&[0x42; 10_000]);
                assert!(connection.next_event().is_err());
            }
            assert!(connection.input().capacity() < 200_000, "dropped, not kept");
            assert!(connection.wants_discard());
            connection.input_eof();
            assert!(!connection.wants_discard() && connection.wants_shutdown());
        },
    },
    Row {
        id: "X2",
        section: "7.1.1",
        who: BOTH,
        requirement: "the transport \"SHOULD be closed first by the server\"",
        check: |role| {
            for server_begins in [false, true] {
                let mut client = support::connection(Role::Client, Config::new());
                let mut server = support::connection(Role::Server, Config::new());
                if server_begins {
                    server.close(None)
                } else {
                    client.close(None)
                }
                for _ in 0..2 {
                    server.feed(&written(&mut client));
                    while server.next_event().unwrap().is_some() {}
                    client.feed(&written(&mut server));
                    while client.next_event().unwrap().is_some() {}
                }
                assert_eq!((client.state(), server.state()), (State::Closed, State::Closed));
                let first = if role == Role::Server { &server } else { &client };
                assert_eq!(first.wants_shutdown(), role == Role::Server);
            }
        },
    },
    Row {
        id: "X3",
        section: "7.1.2",
        who: BOTH,
        requirement: "\"an endpoint MUST send a Close control frame [...] whose status code is set to \
            /code/ and whose close reason is set to /reason/\"",
        check: |role| {
            let longest = "€".repeat(41);
            for (given, expected) in [
                (None, vec![]),
                (Some(close_frame(1000, "")), vec![0x03, 0xE8]),
                (Some(close_frame(1001, "bye")), b"\x03\xE9bye".to_vec()),
                (Some(close_frame(4999, &longest)), body(4999, &longest)),
            ] {
                let mut connection = support::connection(role, Config::new());
                connection.send_text("first").unwrap();
                connection.close(given.clone());
                // RFC 6455 §7.1.3: "Upon either sending or receiving a Close control frame [...] CLOSING".
                assert_eq!(connection.state(), State::Closing);
                // Only the first counts.
                connection.close(Some(close_frame(3000, "again")));
                let _ = connection.send(Message::Close(Some(close_frame(3001, "again"))));
                let frames = sent(&mut connection);
                let frames: Vec<_> = frames.iter().map(Sent::plain).collect();
                assert_eq!(frames, [(FIN | TEXT, &b"first"[..]), (FIN | CLOSE, &expected)]);
                assert!(connection.wants_input() && !connection.wants_shutdown(), "the response is awaited");
                // As a message it is the same.
                let mut connection = support::connection(role, Config::new());
                connection.send(Message::Close(given)).unwrap();
                assert_eq!(sent(&mut connection)[0].plain(), (FIN | CLOSE, &expected[..]));
                assert_eq!(connection.state(), State::Closing);
            }
        },
    },
    Row {
        id: "X3",
        section: "7.1.2",
        who: BOTH,
        requirement: "until the response comes, what the peer sent before it is received",
        check: |role| {
            let peer = role.peer();
            let input = [
                frame(peer, TEXT, b"on the "),
                frame(peer, FIN | PING, b"alive"),
                frame(peer, FIN | CONTINUATION, b"way"),
                frame(peer, FIN | CLOSE, body(1000, "")),
            ];
            let expected = receive(role, input.concat()).after(|connection| {
                connection.close(Some(close_frame(1000, "")));
                assert_eq!(sent(connection).len(), 1);
            });
            let expected = expected.gives([ping("alive"), text("on the way"), close(1000, "")]);
            expected.sends(FIN | PONG, "alive").closes(1000, "");
        },
    },
    Row {
        id: "X4",
        section: "7.1.4",
        who: BOTH,
        requirement: "clean only \"after the WebSocket closing handshake was completed\"",
        check: |role| {
            let peers = frame(role.peer(), FIN | CLOSE, body(1000, ""));
            // Neither Close.
            let mut connection = support::connection(role, Config::new());
            assert_eq!(status(&connection), None);
            connection.input_eof();
            assert_eq!(connection.next_event(), Ok(None));
            assert_eq!(status(&connection), Some((1006, String::new(), false)));
            // Ours only.
            let mut connection = support::connection(role, Config::new());
            connection.close(Some(close_frame(1000, "")));
            assert_eq!(sent(&mut connection).len(), 1);
            assert_eq!(status(&connection), None);
            connection.input_eof();
            assert_eq!(connection.next_event(), Ok(None));
            assert_eq!(status(&connection), Some((1006, String::new(), false)));
            // The peer's only: the application did not answer.
            let mut connection = support::connection(role, Config::new().auto_close(false));
            connection.feed(&peers);
            assert!(connection.next_event().unwrap().is_some());
            connection.input_eof();
            assert_eq!(connection.next_event(), Ok(None));
            assert_eq!(status(&connection), Some((1000, String::new(), false)));
            // Both.
            for begins in [false, true] {
                let mut connection = support::connection(role, Config::new());
                if begins {
                    connection.close(None);
                    assert_eq!(sent(&mut connection).len(), 1);
                }
                connection.feed(&peers);
                assert!(connection.next_event().unwrap().is_some());
                assert_eq!(sent(&mut connection).len(), usize::from(!begins));
                connection.input_eof();
                assert_eq!(status(&connection), Some((1000, String::new(), true)));
            }
        },
    },
    Row {
        id: "X4",
        section: "7.1.4",
        who: BOTH,
        requirement: "a Close that waits in a queue has not been sent: the transport may go before it",
        check: |role| {
            for arrives in [false, true] {
                let mut connection = support::connection(role, Config::new());
                connection.feed(&frame(role.peer(), FIN | CLOSE, body(1000, "")));
                assert!(connection.next_event().unwrap().is_some());
                connection.input_eof();
                assert_eq!(connection.next_event(), Ok(None));
                assert!(connection.wants_output());
                assert_eq!(connection.state(), State::Closing);
                if arrives {
                    assert_eq!(sent(&mut connection).len(), 1);
                } else {
                    connection.output_lost();
                    assert_eq!(written(&mut connection), b"");
                }
                assert_eq!((connection.state(), connection.wants_shutdown()), (State::Closed, true));
                assert_eq!(status(&connection), Some((1000, String::new(), arrives)));
            }
        },
    },
    Row {
        id: "X5",
        section: "7.1.5",
        who: BOTH,
        requirement: "\"the status code [...] contained in the first Close control frame received\", 1005, \
            or 1006",
        check: |role| {
            let peer = role.peer();
            let cases: [(Vec<u8>, u16, &str); 4] = [
                (frame(peer, FIN | CLOSE, b""), 1005, ""),
                (frame(peer, FIN | CLOSE, body(1000, "")), 1000, ""),
                (frame(peer, FIN | CLOSE, body(4321, "théâtre")), 4321, "théâtre"),
                (
                    [frame(peer, FIN | CLOSE, body(1001, "1")), frame(peer, FIN | CLOSE, body(1002, "2"))]
                        .concat(),
                    1001,
                    "1",
                ),
            ];
            for (input, code, reason) in cases {
                let message = if code == 1005 { Message::Close(None) } else { close(code, reason) };
                let reply = if code == 1005 { vec![] } else { body(code, "") };
                let expected = receive(role, input).gives([message]);
                expected.sends(FIN | CLOSE, reply).closes(code, reason);
            }
            // What this end said does not matter.
            let expected = receive(role, frame(peer, FIN | CLOSE, body(4000, "theirs")));
            let expected = expected.after(|connection| connection.close(Some(close_frame(3000, "ours"))));
            let expected = expected.gives([close(4000, "theirs")]);
            expected.sends(FIN | CLOSE, body(3000, "ours")).closes(4000, "theirs");
        },
    },
];

pub(crate) const S7_1_7: &[Row] = &[
    Row {
        id: "X6",
        section: "7.1.7",
        who: BOTH,
        requirement: "\"the endpoint SHOULD send a Close frame with an appropriate status code\"",
        check: |role| {
            let peer = role.peer();
            let config = Config::new().max_message(10).max_fragments(2).max_empty_fragments(0);
            for (input, code) in [
                (frame(peer, FIN | 0x10 | TEXT, b""), 1002),
                (frame(peer, FIN | 0xB, b""), 1002),
                (frame(peer, PING, b""), 1002),
                (header(peer, FIN | PING, Form::Bits16, 126), 1002),
                (frame(peer, CONTINUATION, b""), 1002),
                ([frame(peer, TEXT, b"a"), frame(peer, TEXT, b"b")].concat(), 1002),
                (frame(role, FIN | TEXT, b"a"), 1002),
                (header(peer, FIN | TEXT, Form::Bits16, 1), 1002),
                (header(peer, FIN | TEXT, Form::Bits64, u64::MAX), 1002),
                (frame(peer, FIN | CLOSE, b"\x03"), 1002),
                (frame(peer, FIN | CLOSE, body(1005, "")), 1002),
                (frame(peer, FIN | CLOSE, body(1000, b"\xFF")), 1007),
                (frame(peer, FIN | TEXT, b"\xFF"), 1007),
                (
                    [frame(peer, BINARY, b"a"), frame(peer, CONTINUATION, b"a"), vec![CONTINUATION]].concat(),
                    1008,
                ),
                (frame(peer, BINARY, b""), 1008),
                (frame(peer, FIN | BINARY, [0; 11]), 1009),
                ([frame(peer, BINARY, [0; 9]), frame(peer, FIN | CONTINUATION, [0; 2])].concat(), 1009),
            ] {
                for queued in [false, true] {
                    let mut connection = support::connection(role, config);
                    if queued {
                        connection.send_text("before").unwrap();
                    }
                    connection.feed(&input);
                    let error = connection.next_event().unwrap_err();
                    assert_eq!(error.close_code().get(), code, "{error}");
                    let frames = sent(&mut connection);
                    let close = frames.last().unwrap();
                    assert_eq!(
                        (frames.len(), close.first),
                        (1 + usize::from(queued), FIN | CLOSE),
                        "{error}"
                    );
                    assert_eq!(close.payload[..2], u16::to_be_bytes(code), "{error}");
                }
            }
        },
    },
    Row {
        id: "X6",
        section: "7.1.7",
        who: BOTH,
        requirement: "and no second one, where ours is on its way already",
        check: |role| {
            let bad = frame(role.peer(), FIN | 0x3, b"");
            let error = ProtocolError::ReservedOpcode(3);
            let waits = receive(role, bad.clone()).after(|connection| connection.close(None));
            waits.sends(FIN | CLOSE, b"").fails(error, 1002, 1);
            let gone = receive(role, bad).after(|connection| {
                connection.close(None);
                assert_eq!(sent(connection).len(), 1);
            });
            gone.fails(error, 1002, 1);
        },
    },
    Row {
        id: "X7",
        section: "7.1.7",
        who: BOTH,
        requirement: "\"An endpoint MUST NOT continue to attempt to process data (including a responding \
            Close frame)\"",
        check: |role| {
            let peer = role.peer();
            let good = [frame(peer, FIN | TEXT, b"good"), frame(peer, FIN | PING, b"heard")].concat();
            let bad = frame(peer, FIN | 0x20 | TEXT, b"bad");
            let after = [
                frame(peer, FIN | TEXT, b"late"),
                frame(peer, FIN | PING, b"late"),
                frame(peer, FIN | CLOSE, body(1000, "late")),
                frame(peer, FIN | 0x7, b"worse"),
            ];
            for last in after {
                let input = [&good[..], &bad, &last].concat();
                let expected = receive(role, input).gives([text("good"), ping("heard")]);
                let expected = expected.sends(FIN | PONG, "heard");
                expected.fails(ProtocolError::ReservedBit(2), 1002, good.len() + 1);
            }
            // `fails` sends more bytes, and a Close, into each failed connection.
        },
    },
    Row {
        id: "X8",
        section: "7.1.7",
        who: CLIENT,
        requirement: "\"clients SHOULD NOT close the connection\" without a reason that is named here",
        check: |role| {
            // Everything that is allowed, however odd.
            let mut input = Vec::new();
            let mut messages = Vec::new();
            for _ in 0..3 {
                input.extend(frame(Role::Server, FIN | TEXT, b""));
                messages.push(text(""));
                input.extend(frame(Role::Server, TEXT, b""));
                input.extend(frame(Role::Server, FIN | PONG, b"nobody asked"));
                input.extend(frame(Role::Server, FIN | CONTINUATION, b""));
                messages.extend([pong("nobody asked"), text("")]);
                input.extend(frame(Role::Server, FIN | BINARY, [0xFF; 126]));
                messages.push(binary([0xFF; 126]));
            }
            receive(role, input).gives(messages).stays_open();
            // Nor for idleness, or for what the application does wrong.
            let mut client = support::connection(role, Config::new().max_queued(10));
            client.release();
            for _ in 0..10 {
                assert_eq!(client.next_event(), Ok(None));
            }
            client.send_text("more than ten bytes").unwrap();
            assert!(client.send_text("full").is_err() && client.ping(&[0; 126]).is_err());
            assert_eq!(sent(&mut client).len(), 1);
            client.send_fragment(Kind::Text, b"\xFF", true).unwrap_err();
            assert_eq!(client.state(), State::Open);
            assert!(!client.wants_shutdown() && !client.wants_output() && client.wants_input());
        },
    },
];

pub(crate) const S7_2: &[Row] = &[
    Row {
        id: "X9",
        section: "7.2.1",
        who: BOTH,
        requirement: "\"If at any point the underlying transport layer connection is unexpectedly lost\", \
            the connection failed",
        check: |role| {
            let peer = role.peer();
            let frames = [
                frame(peer, FIN | TEXT, b"whole"),
                frame(peer, BINARY, b"never "),
                frame(peer, FIN | PONG, b"1"),
                frame(peer, CONTINUATION, b"ended"),
            ];
            let ends = [frames[0].len(), frames[..3].concat().len()];
            let input = frames.concat();
            for end in 0..=input.len() {
                for take in [Take::Owned, Take::Borrowed] {
                    let mut connection = support::connection(role, Config::new());
                    connection.input().extend_from_slice(&input[..end]);
                    // What came before the loss is delivered, what is not whole is not.
                    connection.input_eof();
                    let outcome = replay(&mut connection, &[], &[], take);
                    let whole = ends.iter().filter(|&&at| at <= end).count();
                    assert_eq!(outcome.messages, [text("whole"), pong("1")][..whole], "lost after {end}");
                    assert_eq!(outcome.error, None);
                    assert_eq!(connection.state(), State::Closed);
                    assert_eq!(status(&connection), Some((1006, String::new(), false)));
                    assert!(connection.wants_shutdown() && !connection.wants_input());
                    assert_silent(&mut connection);
                }
            }
        },
    },
    Row {
        id: "X9",
        section: "7.2.1",
        who: CLIENT,
        requirement: "and so did the opening handshake",
        check: |_| {
            let answer = Head::answer().bytes();
            for end in 0..answer.len() {
                let request = ClientRequest::new("a.example", "/").unwrap();
                let mut client = ClientHandshake::new(&request, NONCE);
                client.input().extend_from_slice(&answer[..end]);
                client.input_eof();
                let error = HandshakeError::UnexpectedEof { received: end };
                assert_eq!(client.poll().unwrap_err(), error);
                // Bytes behind the end are none.
                client.input().extend_from_slice(&answer[end..]);
                assert_eq!(client.poll().unwrap_err(), error);
            }
        },
    },
    Row {
        id: "X10",
        section: "7.2.2",
        who: SERVER,
        requirement: "to abort during the opening handshake, a server closes the connection",
        check: |_| {
            // `serve` asserts that a refusal is final and drops what comes behind it.
            let refusal = serve(Head::request().without("Upgrade").bytes()).unwrap_err();
            assert!((400..500).contains(&refusal.answer.status));
            assert!(refusal.answer.head.list("Connection").contains(&"close".into()));
            // A client that goes away gets no answer, and no connection comes of it.
            let request = Head::request().bytes();
            for end in 0..request.len() {
                let mut server = ServerHandshake::new();
                server.input().extend_from_slice(&request[..end]);
                server.input_eof();
                let error = HandshakeError::UnexpectedEof { received: end };
                assert_eq!(server.poll().unwrap_err(), error);
                server.input().extend_from_slice(&request[end..]);
                assert_eq!(server.poll().unwrap_err(), error);
                assert!(server.output().is_empty());
            }
        },
    },
];
