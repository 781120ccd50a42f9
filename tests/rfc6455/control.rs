//! Control frames: Close, Ping, Pong (RFC 6455 §5.5).

use bytes::Buf;
use taut::proto::{CloseFrame, Config, Event, Kind, Message, ProtocolError, Role, SendErrorKind, State};

use crate::sending::assert_refuses_data;
use crate::support;
use crate::wire::{
    BINARY, CLOSE, CONTINUATION, FIN, Form, PING, PONG, Sent, TEXT, body, close, close_frame, frame, header,
    parse, ping, pong, receive, sent, status, text, written,
};
use crate::{BOTH, CLIENT, Row, SERVER};

pub(crate) const S5_5: &[Row] = &[
    Row {
        id: "F18",
        section: "5.5",
        who: BOTH,
        requirement: "\"All control frames MUST have a payload length of 125 bytes or less\"",
        check: |role| {
            let begun = frame(role.peer(), BINARY, b"begun");
            for opcode in [CLOSE, PING, PONG] {
                let error = ProtocolError::ControlTooLong;
                for (form, len) in [
                    (Form::Bits16, 126),
                    (Form::Bits16, 0xFFFF),
                    (Form::Bits64, 0x1_0000),
                    (Form::Bits64, u64::MAX),
                    // Short ones in long forms announce themselves in the same byte.
                    (Form::Bits16, 2),
                    (Form::Bits64, 2),
                ] {
                    let bad = header(role.peer(), FIN | opcode, form, len);
                    receive(role, bad.clone()).fails(error, 1002, 2);
                    receive(role, [&begun[..], &bad].concat()).fails(error, 1002, begun.len() + 2);
                }
            }
            let longest = [b'x'; 125];
            let input = frame(role.peer(), FIN | PING, longest);
            receive(role, input).gives([ping(longest)]).sends(FIN | PONG, longest).stays_open();
            receive(role, frame(role.peer(), FIN | PONG, longest)).gives([pong(longest)]).stays_open();
            let reason = "x".repeat(123);
            let input = frame(role.peer(), FIN | CLOSE, body(1000, &reason));
            let expected = receive(role, input).gives([close(1000, &reason)]);
            expected.sends(FIN | CLOSE, body(1000, "")).closes(1000, &reason);
        },
    },
    Row {
        id: "F18",
        section: "5.5",
        who: BOTH,
        requirement: "longer ones are not sent either",
        check: |role| {
            let mut connection = support::connection(role, Config::new());
            let longest = [b'x'; 125];
            let too_long = [b'x'; 126];
            for message in [ping(too_long), pong(too_long)] {
                let error = connection.send(message.clone()).unwrap_err();
                assert_eq!(error.kind(), SendErrorKind::ControlTooLong);
                assert_eq!(error.into_message(), Some(message));
            }
            assert_eq!(connection.ping(&too_long).unwrap_err().kind(), SendErrorKind::ControlTooLong);
            assert!(CloseFrame::new(close_frame(1000, "").code(), "x".repeat(124)).is_err());
            assert_eq!(written(&mut connection), b"");
            connection.ping(&longest).unwrap();
            connection.send(pong(longest)).unwrap();
            connection.close(Some(close_frame(1000, &"x".repeat(123))));
            let frames = sent(&mut connection);
            let lengths: Vec<_> = frames.iter().map(|frame| (frame.first, frame.payload.len())).collect();
            assert_eq!(lengths, [(FIN | PING, 125), (FIN | PONG, 125), (FIN | CLOSE, 125)]);
        },
    },
];

pub(crate) const S5_5_1: &[Row] = &[
    Row {
        id: "F19",
        section: "5.5.1",
        who: BOTH,
        requirement: "\"the first two bytes of the body MUST be a 2-byte unsigned integer (in network byte \
            order)\"",
        check: |role| {
            let empty = receive(role, frame(role.peer(), FIN | CLOSE, b"")).gives([Message::Close(None)]);
            empty.sends(FIN | CLOSE, b"").closes(1005, "");
            // 0x03E9 and 0x0FA1: read the other way round they are 59651 and 41231.
            for (bytes, code) in [(b"\x03\xE9", 1001), (b"\x0F\xA1", 4001)] {
                let input = frame(role.peer(), FIN | CLOSE, bytes);
                receive(role, input).gives([close(code, "")]).sends(FIN | CLOSE, bytes).closes(code, "");
            }
            for byte in [0x00, 0x03, 0x0F, 0xFF] {
                let input = frame(role.peer(), FIN | CLOSE, [byte]);
                let at = input.len();
                receive(role, input).fails(ProtocolError::ClosePayload, 1002, at);
            }
        },
    },
    Row {
        id: "F19",
        section: "5.5.1",
        who: BOTH,
        requirement: "\"Following the 2-byte integer, the body MAY contain UTF-8-encoded data\"",
        check: |role| {
            for reason in ["going down", "κόσμε", "\u{10FFFF}\u{FFFF}\0", &"€".repeat(41)] {
                let input = frame(role.peer(), FIN | CLOSE, body(1000, reason));
                let expected = receive(role, input).gives([close(1000, reason)]);
                // "the endpoint typically echos the status code it received"
                expected.sends(FIN | CLOSE, body(1000, "")).closes(1000, reason);
            }
            for (reason, offset) in [
                (&b"\xFF"[..], 2),
                (b"ok\x80", 4),
                (b"\xC0\x80", 2),
                (b"\xED\xA0\x80", 2),
                (b"\xF4\x90\x80\x80", 2),
                (b"cut short \xE2\x82", 12),
                (b"\xC3", 2),
            ] {
                let input = frame(role.peer(), FIN | CLOSE, body(1000, reason));
                let at = input.len();
                receive(role, input).fails(ProtocolError::InvalidUtf8 { offset }, 1007, at);
            }
        },
    },
    Row {
        id: "F20",
        section: "5.5.1",
        who: BOTH,
        requirement: "\"The application MUST NOT send any more data frames after sending a Close frame.\"",
        check: |role| {
            let mut connection = support::connection(role, Config::new());
            connection.send_text("before").unwrap();
            connection.close(Some(close_frame(1000, "")));
            assert_refuses_data(&mut connection);
            let frames = sent(&mut connection);
            let frames: Vec<_> = frames.iter().map(Sent::plain).collect();
            assert_eq!(frames, [(FIN | TEXT, &b"before"[..]), (FIN | CLOSE, b"\x03\xE8")]);
            assert_refuses_data(&mut connection);
            assert_eq!(written(&mut connection), b"");
        },
    },
    Row {
        id: "F21",
        section: "5.5.1",
        who: BOTH,
        requirement: "\"If an endpoint receives a Close frame and did not previously send a Close frame, \
            the endpoint MUST send a Close frame in response.\"",
        check: |role| {
            let peer = role.peer();
            let input = [frame(peer, FIN | TEXT, b"last words"), frame(peer, FIN | CLOSE, body(3000, "bye"))];
            let input = input.concat();
            let expected = receive(role, input.clone()).gives([text("last words"), close(3000, "bye")]);
            expected.sends(FIN | CLOSE, body(3000, "")).closes(3000, "bye");
            // What this end has queued already, whole or not, leaves before the response.
            let expected = receive(role, input.clone()).after(|connection| {
                connection.send_text("queued").unwrap();
                connection.send_fragment(Kind::Binary, b"begun", false).unwrap();
            });
            let expected = expected.gives([text("last words"), close(3000, "bye")]);
            let expected = expected.sends(FIN | TEXT, "queued").sends(BINARY, "begun");
            expected.sends(FIN | CLOSE, body(3000, "")).closes(3000, "bye");
            // One that was sent before is the response: there is no second.
            let expected = receive(role, input).after(|connection| {
                connection.close(Some(close_frame(1001, "first")));
                assert_eq!(sent(connection).len(), 1);
            });
            expected.gives([text("last words"), close(3000, "bye")]).closes(3000, "bye");
        },
    },
    Row {
        id: "F21",
        section: "5.5.1",
        who: BOTH,
        requirement: "so too if the peer half-closes the transport behind its Close, in the same read",
        check: |role| {
            for begins in [false, true] {
                let mut connection = support::connection(role, Config::new());
                if begins {
                    connection.close(Some(close_frame(1001, "")));
                    assert_eq!(sent(&mut connection).len(), 1);
                }
                connection.feed(&frame(role.peer(), FIN | CLOSE, body(1000, "bye")));
                connection.input_eof();
                assert_eq!(connection.next_event(), Ok(Some(Event::Message(close(1000, "bye")))));
                let frames = sent(&mut connection);
                let frames: Vec<_> = frames.iter().map(Sent::plain).collect();
                let response = [(FIN | CLOSE, &b"\x03\xE8"[..])];
                assert_eq!(frames, response[usize::from(begins)..]);
                assert_eq!((connection.state(), connection.wants_shutdown()), (State::Closed, true));
                assert_eq!(status(&connection), Some((1000, "bye".into(), true)));
            }
        },
    },
    Row {
        id: "F21",
        section: "5.5.1",
        who: BOTH,
        requirement: "an application that answers by itself may finish its message first",
        check: |role| {
            let mut connection = support::connection(role, Config::new().auto_close(false));
            connection.send_fragment(Kind::Text, b"half, ", false).unwrap();
            connection.feed(&frame(role.peer(), FIN | CLOSE, body(1001, "")));
            assert_eq!(connection.next_event(), Ok(Some(Event::Message(close(1001, "")))));
            assert_eq!(connection.state(), State::Closing);
            // RFC 6455 §6.1: others are begun in OPEN only.
            assert_eq!(connection.send_text("other").unwrap_err().kind(), SendErrorKind::Closed);
            connection.send_fragment(Kind::Text, b"and half", true).unwrap();
            assert_refuses_data(&mut connection);
            let mut frames = sent(&mut connection);
            assert!(!connection.wants_shutdown(), "nothing waits, but our Close is still to come");
            connection.close(Some(close_frame(1001, "")));
            frames.extend(sent(&mut connection));
            let frames: Vec<_> = frames.iter().map(Sent::plain).collect();
            let expected =
                [(TEXT, &b"half, "[..]), (FIN | CONTINUATION, b"and half"), (FIN | CLOSE, b"\x03\xE9")];
            assert_eq!(frames, expected);
            assert_eq!(
                (connection.state(), connection.wants_shutdown()),
                (State::Closed, role == Role::Server)
            );
        },
    },
    Row {
        id: "F22",
        section: "5.5.1",
        who: SERVER,
        requirement: "\"The server MUST close the underlying TCP connection immediately\"",
        check: |role| {
            // The peer begins: as soon as the response is written.
            let mut server = support::connection(role, Config::new());
            server.feed(&frame(Role::Client, FIN | CLOSE, body(1000, "")));
            assert!(server.next_event().unwrap().is_some());
            assert!(!server.wants_shutdown() && server.wants_output());
            assert_eq!(sent(&mut server).len(), 1);
            assert!(server.wants_shutdown() && !server.wants_input());
            // This end begins: as soon as the response is read.
            let mut server = support::connection(role, Config::new());
            server.close(None);
            assert_eq!(sent(&mut server).len(), 1);
            assert!(!server.wants_shutdown() && server.wants_input());
            server.feed(&frame(Role::Client, FIN | CLOSE, body(1000, "")));
            assert!(server.next_event().unwrap().is_some());
            assert!(server.wants_shutdown() && !server.wants_input() && !server.wants_output());
        },
    },
    Row {
        id: "F23",
        section: "5.5.1",
        who: CLIENT,
        requirement: "\"the client SHOULD wait for the server to close the connection\"",
        check: |role| {
            for begins in [false, true] {
                let mut client = support::connection(role, Config::new());
                if begins {
                    client.close(None);
                    assert_eq!(sent(&mut client).len(), 1);
                }
                client.feed(&frame(Role::Server, FIN | CLOSE, body(1000, "")));
                assert!(client.next_event().unwrap().is_some());
                assert_eq!(sent(&mut client).len(), usize::from(!begins));
                // The state tells a deadline that nothing but the transport is left to close.
                assert_eq!(client.state(), State::Closed);
                assert!(!client.wants_shutdown() && client.wants_input());
                client.input_eof();
                assert!(client.wants_shutdown() && !client.wants_input());
            }
        },
    },
    Row {
        id: "F24",
        section: "5.5.1",
        who: BOTH,
        requirement: "\"If a client and server both send a Close message at the same time\", both consider \
            the connection closed",
        check: |role| {
            let mut near = support::connection(role, Config::new());
            let mut far = support::connection(role.peer(), Config::new());
            near.close(Some(close_frame(1000, "near")));
            far.close(Some(close_frame(1001, "far")));
            let (from_near, from_far) = (written(&mut near), written(&mut far));
            near.feed(&from_far);
            far.feed(&from_near);
            for (end, code, reason) in [(&mut near, 1001, "far"), (&mut far, 1000, "near")] {
                assert!(end.next_event().unwrap().is_some());
                assert_eq!(written(end), b"", "a second Close");
                assert_eq!(end.state(), State::Closed);
                assert_eq!(status(end), Some((code, reason.into(), true)));
                assert_eq!(end.wants_shutdown(), end.role() == Role::Server);
            }
        },
    },
];

pub(crate) const S5_5_2: &[Row] = &[
    Row {
        id: "F25",
        section: "5.5.2",
        who: BOTH,
        requirement: "\"Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response\"",
        check: |role| {
            let peer = role.peer();
            let one = frame(peer, FIN | PING, b"one");
            receive(role, one.clone()).gives([ping("one")]).sends(FIN | PONG, "one").stays_open();
            // Soon: before the data that waits.
            let mut connection = support::connection(role, Config::new());
            connection.send_text("being written").unwrap();
            connection.send_text("waits").unwrap();
            let mut bytes = vec![connection.output().get_u8()];
            connection.feed(&one);
            assert!(connection.next_event().unwrap().is_some());
            bytes.extend(written(&mut connection));
            let frames = parse(role, &bytes);
            let frames: Vec<_> = frames.iter().map(Sent::plain).collect();
            let expected =
                [(FIN | TEXT, &b"being written"[..]), (FIN | PONG, b"one"), (FIN | TEXT, b"waits")];
            assert_eq!(frames, expected);
            // Our own Close changes nothing: only one received does.
            let after_close = receive(role, one.clone()).after(|connection| {
                connection.close(None);
                assert_eq!(sent(connection).len(), 1);
            });
            after_close.gives([ping("one")]).sends(FIN | PONG, "one").stays_open();
        },
    },
    Row {
        id: "F25",
        section: "5.5.2",
        who: BOTH,
        requirement: "\"unless it already received a Close frame\"",
        check: |role| {
            let input =
                [frame(role.peer(), FIN | CLOSE, b""), frame(role.peer(), FIN | PING, b"late")].concat();
            let expected = receive(role, input).gives([Message::Close(None)]);
            expected.sends(FIN | CLOSE, b"").closes(1005, "");
        },
    },
    Row {
        id: "F26",
        section: "5.5.3",
        who: BOTH,
        requirement: "a Pong \"must have identical 'Application data' as found in the message body of the \
            Ping\"",
        check: |role| {
            for len in 0..=125 {
                let payload: Vec<u8> = (0..len).map(|i: u8| i.wrapping_mul(37) ^ 0x80).collect();
                let input = frame(role.peer(), FIN | PING, &payload);
                let mut connection = support::connection(role, Config::new());
                connection.feed(&input);
                assert!(connection.next_event_ref().unwrap().is_some());
                assert_eq!(sent(&mut connection)[0].plain(), (FIN | PONG, &payload[..]));
                if [0, 1, 4, 7, 124, 125].contains(&len) {
                    let expected = receive(role, input).gives([ping(&payload)]);
                    expected.sends(FIN | PONG, &payload).stays_open();
                }
            }
        },
    },
    Row {
        id: "F26",
        section: "5.5.3",
        who: BOTH,
        requirement: "\"MAY elect to send a Pong frame for only the most recently processed Ping frame\"",
        check: |role| {
            // Nobody writes meanwhile: the first is queued, then the latest, and memory does not grow.
            let pings = ["1", "2", "3", "4"];
            let input: Vec<u8> = pings.iter().flat_map(|one| frame(role.peer(), FIN | PING, one)).collect();
            let expected = receive(role, input).gives(pings.map(ping));
            expected.sends(FIN | PONG, "1").sends(FIN | PONG, "4").stays_open();
            // Who writes in time answers each.
            let mut connection = support::connection(role, Config::new());
            for one in pings {
                connection.feed(&frame(role.peer(), FIN | PING, one));
                assert!(connection.next_event().unwrap().is_some());
                assert_eq!(sent(&mut connection)[0].plain(), (FIN | PONG, one.as_bytes()));
            }
        },
    },
    Row {
        id: "F27",
        section: "5.5.3",
        who: BOTH,
        requirement: "\"A response to an unsolicited Pong frame is not expected.\"",
        check: |role| {
            for payload in [&b""[..], b"beat", &[0xFF; 125]] {
                receive(role, frame(role.peer(), FIN | PONG, payload)).gives([pong(payload)]).stays_open();
            }
            // And may be sent.
            let mut connection = support::connection(role, Config::new());
            connection.send(pong("beat")).unwrap();
            assert_eq!(sent(&mut connection)[0].plain(), (FIN | PONG, &b"beat"[..]));
        },
    },
];
