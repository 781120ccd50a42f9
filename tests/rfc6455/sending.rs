//! Sending and receiving data, and the masks on the way (RFC 6455 §5.3, §6).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Buf, Bytes};
use taut::proto::{
    Config, Connection, Event, Kind, Message, MessageRef, Prepared, Role, SendErrorKind, State,
};

use crate::support::{self, KEY};
use crate::wire::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Sent, TEXT, binary, body, close, close_frame, frame, parse,
    ping, pong, receive, sent, shortest_header, text, written, xor,
};
use crate::{BOTH, CLIENT, Row, SERVER};

pub(crate) const S5_3: &[Row] = &[
    Row {
        id: "F9",
        section: "5.3",
        who: CLIENT,
        requirement: "\"When preparing a masked frame, the client MUST pick a fresh masking key\"",
        check: |role| {
            // Keys as the source gives them: 1, 2, 3, …
            let drawn = Arc::new(AtomicU32::new(0));
            let source = {
                let drawn = Arc::clone(&drawn);
                move || (drawn.fetch_add(1, Ordering::Relaxed) + 1).to_be_bytes()
            };
            let mut client = Connection::client(Config::new().fragment_above(6000), source);
            let shared = Bytes::from(vec![0x5A; 20_000]);
            let prepared = Prepared::binary(vec![0x5A; 5000]);
            client.send_text("same").unwrap();
            client.send_text("same").unwrap();
            // The same memory twice: neither copy may carry the mask of the other.
            client.send(Message::Binary(shared.clone())).unwrap();
            client.send(Message::Binary(shared.clone())).unwrap();
            client.send_binary(&shared).unwrap();
            client.send_prepared(&prepared).unwrap();
            client.send_prepared(&prepared).unwrap();
            client.send_fragment(Kind::Text, b"a", false).unwrap();
            client.ping(b"").unwrap();
            client.send_fragment(Kind::Text, b"b", true).unwrap();
            client.send(pong("")).unwrap();
            let mut frames = sent(&mut client);
            for _ in 0..2 {
                client.feed(&frame(role.peer(), FIN | PING, b"same"));
                assert!(client.next_event().unwrap().is_some());
                frames.extend(sent(&mut client));
            }
            client.close(Some(close_frame(1000, "")));
            frames.extend(sent(&mut client));
            let keys: Vec<_> = frames.iter().map(|frame| frame.key.unwrap()).collect();
            let expected: Vec<_> = (1..=frames.len() as u32).map(u32::to_be_bytes).collect();
            assert_eq!(keys, expected, "one key for each frame, in order, none twice");
            assert_eq!(drawn.load(Ordering::Relaxed) as usize, frames.len(), "none is drawn in vain");
            assert_eq!(frames.len(), 2 + 3 * 4 + 2 + 4 + 2 + 1);
            let sizes = frames[2..14].iter().map(|frame| frame.payload.len());
            assert!(sizes.eq([6000, 6000, 6000, 2000].repeat(3)));
            assert!(frames[2..16].iter().all(|frame| frame.payload.iter().all(|&byte| byte == 0x5A)));
            assert!(shared.iter().all(|&byte| byte == 0x5A), "the application's bytes are left alone");
        },
    },
    Row {
        id: "F9",
        section: "5.3",
        who: CLIENT,
        requirement: "a Close after a failure has a key of its own as well",
        check: |_| {
            let mut key = 7;
            let mut client = Connection::client(Config::new(), move || {
                key += 1;
                [key; 4]
            });
            client.send_text("before").unwrap();
            client.feed(&[0xFF]);
            assert!(client.next_event().is_err());
            let keys: Vec<_> = sent(&mut client).iter().map(|frame| frame.key.unwrap()).collect();
            assert_eq!(keys, [[8; 4], [9; 4]]);
        },
    },
    Row {
        id: "F10",
        section: "5.3",
        who: BOTH,
        requirement: "\"transformed-octet-i = original-octet-i XOR masking-key-octet-j\", \"j = i MOD 4\"",
        check: |role| {
            for key in [[0; 4], [1, 2, 4, 8], [0xFF, 0, 0xFF, 0], [0xFF; 4], KEY, [0, 0, 0, 1]] {
                for len in (0..=40).chain([125, 126, 127, 1000, 5000]) {
                    let payload: Vec<u8> = (0..len).map(|i: u32| (i * 7) as u8).collect();
                    let mut bytes = shortest_header(Role::Client, FIN | BINARY, len.into());
                    let key_at = bytes.len() - 4;
                    bytes[key_at..].copy_from_slice(&key);
                    bytes.extend(xor(key, &payload));
                    if role == Role::Client {
                        let mut client = Connection::client(Config::new(), move || key);
                        client.send(binary(&payload)).unwrap();
                        assert!(written(&mut client) == bytes, "{len} bytes under {key:?}");
                    } else if len <= 40 {
                        receive(role, bytes).gives([binary(&payload)]).stays_open();
                    } else {
                        let mut server = Connection::server(Config::new());
                        server.feed(&bytes);
                        assert!(server.next_event() == Ok(Some(Event::Message(binary(&payload)))), "{len}");
                    }
                }
            }
        },
    },
];

pub(crate) const S6: &[Row] = &[
    Row {
        id: "T1",
        section: "6.1",
        who: BOTH,
        requirement: "\"The endpoint MUST ensure the WebSocket connection is in the OPEN state\"",
        check: |role| {
            let ends: &[(&str, End)] = &[
                ("we closed", |connection| connection.close(None)),
                ("the peer closed", |connection| {
                    connection.feed(&frame(connection.role().peer(), FIN | CLOSE, body(1000, "")));
                    assert!(connection.next_event().unwrap().is_some());
                }),
                ("the peer broke a rule", |connection| {
                    connection.feed(&[0xFF]);
                    assert!(connection.next_event().is_err());
                }),
                ("the transport ended", |connection| {
                    connection.input_eof();
                    assert_eq!(connection.next_event(), Ok(None));
                }),
                ("all at once", |connection| {
                    connection.close(None);
                    connection.feed(&frame(connection.role().peer(), FIN | CLOSE, body(1000, "")));
                    connection.input_eof();
                    while connection.next_event().unwrap().is_some() {}
                }),
            ];
            for (why, end) in ends {
                let mut connection = support::connection(role, Config::new());
                assert_eq!(connection.state(), State::Open);
                connection.send_text("while open").unwrap();
                end(&mut connection);
                assert_ne!(connection.state(), State::Open, "{why}");
                assert_refuses_data(&mut connection);
                let frames = sent(&mut connection);
                assert_eq!(frames[0].plain(), (FIN | TEXT, &b"while open"[..]), "{why}");
                assert!(frames[1..].iter().all(|frame| frame.first == FIN | CLOSE), "{why}: {frames:?}");
            }
            let mut connection = support::connection(role, Config::new());
            connection.send_text("too late").unwrap();
            connection.output_lost();
            assert_ne!(connection.state(), State::Open);
            assert_refuses_data(&mut connection);
            assert_eq!(written(&mut connection), b"");
        },
    },
    Row {
        id: "T1",
        section: "6.1",
        who: BOTH,
        requirement: "\"If at any point the state of the WebSocket connection changes, the endpoint MUST \
            abort the following steps.\"",
        check: |role| {
            let mut connection = support::connection(role, Config::new());
            connection.send_fragment(Kind::Text, b"begun", false).unwrap();
            connection.feed(&frame(role.peer(), FIN | CLOSE, body(1001, "")));
            assert!(connection.next_event().unwrap().is_some());
            for last in [false, true] {
                let error = connection.send_fragment(Kind::Text, b"more", last).unwrap_err();
                assert_eq!(error.kind(), SendErrorKind::Closed);
            }
            let frames = sent(&mut connection);
            let frames: Vec<_> = frames.iter().map(Sent::plain).collect();
            assert_eq!(frames, [(TEXT, &b"begun"[..]), (FIN | CLOSE, b"\x03\xE9")]);
        },
    },
    Row {
        id: "T2",
        section: "6.1",
        who: BOTH,
        requirement: "the first frame has the opcode of the type, the last has FIN, those between have \
            neither",
        check: |role| {
            for (kind, opcode) in [(Kind::Text, TEXT), (Kind::Binary, BINARY)] {
                // Fragments by the application.
                for count in 1..=4 {
                    let mut connection = support::connection(role, Config::new());
                    for i in 1..=count {
                        connection.send_fragment(kind, &[b'0' + i], i == count).unwrap();
                    }
                    assert_message(
                        &sent(&mut connection),
                        opcode,
                        usize::from(count),
                        &b"1234"[..count.into()],
                    );
                }
                // Fragments by the engine, in copied and in shared memory.
                for (above, len, frames) in [
                    (usize::MAX, 9000, 1),
                    (9000, 9000, 1),
                    (8999, 9000, 2),
                    (4500, 9000, 2),
                    (1000, 9000, 9),
                    (999, 9000, 10),
                    (1, 3, 3),
                    (1, 0, 1),
                ] {
                    let payload = vec![b'x'; len];
                    let string = String::from_utf8(payload.clone()).unwrap();
                    let config = Config::new().fragment_above(above);
                    let mut connection = support::connection(role, config);
                    let message = match kind {
                        Kind::Text => MessageRef::Text(&string),
                        Kind::Binary => MessageRef::Binary(&payload),
                    };
                    connection.send_ref(message).unwrap();
                    assert_message(&sent(&mut connection), opcode, frames, &payload);
                    connection.send(message.to_message()).unwrap();
                    assert_message(&sent(&mut connection), opcode, frames, &payload);
                }
            }
        },
    },
    Row {
        id: "T2",
        section: "6.1",
        who: BOTH,
        requirement: "text that is sent is text: what is not UTF-8 as a whole is refused",
        check: |role| {
            let mut connection = support::connection(role, Config::new());
            // Inside a character is no place to end the message, only the fragment.
            connection.send_fragment(Kind::Text, b"\xE2\x82", false).unwrap();
            for (data, last) in [(&b"\xFF"[..], false), (b"\xFF", true), (b"", true), (b"(", false)] {
                let error = connection.send_fragment(Kind::Text, data, last).unwrap_err();
                assert_eq!(error.kind(), SendErrorKind::InvalidUtf8, "{data:?}");
            }
            connection.send_fragment(Kind::Text, b"\xAC", true).unwrap();
            assert_message(&sent(&mut connection), TEXT, 2, "€".as_bytes());
        },
    },
    Row {
        id: "T3",
        section: "6.2",
        who: BOTH,
        requirement: "\"If a control frame [...] is received, the frame MUST be handled\", as it comes and \
            in its place",
        check: |role| {
            let peer = role.peer();
            let input = [
                frame(peer, FIN | PING, b"1"),
                frame(peer, FIN | TEXT, b"a"),
                frame(peer, BINARY, b"b"),
                frame(peer, FIN | PONG, b"2"),
                frame(peer, FIN | CONTINUATION, b"c"),
                frame(peer, FIN | CLOSE, body(1000, "")),
            ];
            let messages = [ping("1"), text("a"), pong("2"), binary("bc"), close(1000, "")];
            let expected = receive(role, input.concat()).gives(messages);
            expected.sends(FIN | PONG, "1").sends(FIN | CLOSE, body(1000, "")).closes(1000, "");
            // Amid a message that is not whole, the answer does not wait for its end.
            let mut connection = support::connection(role, Config::new());
            connection.feed(&[frame(peer, TEXT, b"begun"), frame(peer, FIN | PING, b"now")].concat());
            assert_eq!(connection.next_event(), Ok(Some(Event::Message(ping("now")))));
            assert_eq!(sent(&mut connection)[0].plain(), (FIN | PONG, &b"now"[..]));
        },
    },
    Row {
        id: "T3",
        section: "6.2",
        who: BOTH,
        requirement: "the two halves of a connection handle them just so when they run apart",
        check: |role| {
            let (mut receiver, mut sender) = support::connection(role, Config::new()).into_split();
            let peer = role.peer();
            let input = [frame(peer, FIN | PING, b"1"), frame(peer, FIN | CLOSE, body(1001, ""))].concat();
            receiver.feed(&input);
            let mut bytes = Vec::new();
            while let Some(event) = receiver.next_event().unwrap() {
                assert!(matches!(event, Event::Message(Message::Ping(_) | Message::Close(_))));
                sender.answer(receiver.take_answer().expect("each of the two has an answer"));
                while sender.wants_output() {
                    bytes.push(sender.output().get_u8());
                }
            }
            let frames = parse(role, &bytes);
            let frames: Vec<_> = frames.iter().map(Sent::plain).collect();
            assert_eq!(frames, [(FIN | PONG, &b"1"[..]), (FIN | CLOSE, b"\x03\xE9")]);
            assert_eq!(sender.send_text("late").unwrap_err().kind(), SendErrorKind::Closed);
        },
    },
    Row {
        id: "T4",
        section: "6.2",
        who: SERVER,
        requirement: "\"A server MUST remove masking for data frames received from a client\"",
        check: |role| {
            // All that comes is masked, control frames too; each frame with its own key, from its first byte.
            let mut input = Vec::new();
            for (key, first, payload) in [
                ([1, 2, 3, 4], TEXT, &b"Hel"[..]),
                ([9, 8, 7, 6], FIN | PING, b"abcde"),
                ([0xA0, 0xB0, 0xC0, 0xD0], FIN | CONTINUATION, b"lo"),
                ([5, 5, 0, 5], FIN | CLOSE, b"\x03\xE8why"),
            ] {
                input.extend([&[first, 0x80 | payload.len() as u8], &key[..], &xor(key, payload)].concat());
            }
            let expected = receive(role, input).gives([ping("abcde"), text("Hello"), close(1000, "why")]);
            expected.sends(FIN | PONG, "abcde").sends(FIN | CLOSE, body(1000, "")).closes(1000, "why");
        },
    },
];

/// What takes a connection out of the OPEN state.
type End = fn(&mut Connection);

/// The frames are one message.
#[track_caller]
fn assert_message(frames: &[Sent], opcode: u8, count: usize, payload: &[u8]) {
    assert_eq!(frames.len(), count);
    for (i, frame) in frames.iter().enumerate() {
        let kind = if i == 0 { opcode } else { CONTINUATION };
        let fin = if i + 1 == count { FIN } else { 0 };
        assert_eq!(frame.first, fin | kind, "frame {i} of {count}");
    }
    let joined: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.clone()).collect();
    assert!(joined == payload, "{} bytes for {}", joined.len(), payload.len());
}

/// Every way to send data is refused as closed, and what was given is handed back.
#[track_caller]
pub(crate) fn assert_refuses_data(connection: &mut Connection) {
    let before = connection.queued();
    for message in [text("late"), binary(vec![0; 9000])] {
        let error = connection.send(message.clone()).unwrap_err();
        assert_eq!(error.kind(), SendErrorKind::Closed);
        assert_eq!(error.into_message(), Some(message));
    }
    let results = [
        connection.send_text("late"),
        connection.send_binary(b"late"),
        connection.send_ref(MessageRef::Text("late")),
        connection.send_fragment(Kind::Text, b"late", false),
        connection.send_fragment(Kind::Binary, b"late", true),
        connection.send_prepared(&Prepared::text("late")),
    ];
    for result in results {
        assert_eq!(result.unwrap_err().kind(), SendErrorKind::Closed);
    }
    assert_eq!(connection.queued(), before, "nothing was queued");
}
