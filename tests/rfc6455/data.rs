//! Text and its encoding, and extensions (RFC 6455 §5.6, §5.8, §8.1).

use taut::proto::handshake::{Accept, HandshakeError};
use taut::proto::{Config, ProtocolError, Role};

use crate::heads::{Head, connect, serve};
use crate::support::{self, KEY};
use crate::wire::{
    BINARY, CONTINUATION, FIN, PING, PONG, TEXT, binary, frame, ping, receive, sent, shortest_header, text,
    xor,
};
use crate::{BOTH, Row};

/// Sequences that are not UTF-8, and how many of their bytes prove it.
const INVALID: &[(&[u8], usize)] = &[
    // A continuation byte by itself.
    (b"\x80", 1),
    (b"\xBF", 1),
    // Bytes that UTF-8 never has.
    (b"\xC0\x80", 1),
    (b"\xC1\xBF", 1),
    (b"\xF5\x80\x80\x80", 1),
    (b"\xF8\x88\x80\x80\x80", 1),
    (b"\xFC\x84\x80\x80\x80\x80", 1),
    (b"\xFE", 1),
    (b"\xFF", 1),
    // No continuation where one belongs.
    (b"\xC2A", 2),
    (b"\xC2\xC2", 2),
    (b"\xE2\x28\xA1", 2),
    (b"\xE2\x82\x28", 3),
    (b"\xF0\x28\x8C\xBC", 2),
    (b"\xF0\x9F\x28\xBC", 3),
    (b"\xF0\x9F\x92A", 4),
    // Longer than need be.
    (b"\xE0\x80\x80", 2),
    (b"\xE0\x9F\xBF", 2),
    (b"\xF0\x80\x80\x80", 2),
    (b"\xF0\x8F\xBF\xBF", 2),
    // Surrogates.
    (b"\xED\xA0\x80", 2),
    (b"\xED\xBF\xBF", 2),
    // Beyond U+10FFFF.
    (b"\xF4\x90\x80\x80", 2),
    (b"\xF4\xBF\xBF\xBF", 2),
];

/// Sequences that are not UTF-8 because the text ends with them.
const CUT_SHORT: &[&[u8]] =
    &[b"\xC2", b"\xE2", b"\xE2\x82", b"\xED\x9F", b"\xF0\x9F", b"\xF0\x9F\x92", b"\xF4\x8F\xBF"];

pub(crate) const S5_6: &[Row] = &[
    Row {
        id: "F28",
        section: "5.6",
        who: BOTH,
        requirement: "\"text data encoded as UTF-8\", of any kind",
        check: |role| {
            for valid in [
                "",
                "\0",
                "plain",
                "\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}",
                "\u{FEFF}not skipped",
                "\u{D7FF}\u{E000}\u{FFFE}\u{1FFFF}",
                "κόσμε 日本語 \u{1F469}\u{200D}\u{1F680}",
            ] {
                receive(role, frame(role.peer(), FIN | TEXT, valid)).gives([text(valid)]).stays_open();
            }
        },
    },
    Row {
        id: "F28",
        section: "5.6",
        who: BOTH,
        requirement: "\"a particular text frame might include a partial UTF-8 sequence; however, the whole \
            message MUST contain valid UTF-8\"",
        check: |role| {
            let (peer, message) = (role.peer(), "a\u{E9}\u{20AC}\u{1F680}z");
            let bytes = message.as_bytes();
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let input = [
                        frame(peer, TEXT, &bytes[..first]),
                        frame(peer, FIN | PING, b"\xFF"),
                        frame(peer, CONTINUATION, &bytes[first..second]),
                        frame(peer, FIN | CONTINUATION, &bytes[second..]),
                    ];
                    let expected = receive(role, input.concat()).gives([ping(b"\xFF"), text(message)]);
                    expected.sends(FIN | PONG, b"\xFF").stays_open();
                }
            }
        },
    },
    Row {
        id: "F28",
        section: "8.1",
        who: BOTH,
        requirement: "text that is not UTF-8 fails at the byte that proves it, in one frame",
        check: |role| {
            let error = ProtocolError::InvalidUtf8 { offset: 2 };
            for (invalid, proof) in INVALID {
                let payload = [b"ok", *invalid, b" and more"].concat();
                let input = frame(role.peer(), FIN | TEXT, &payload);
                let header = input.len() - payload.len();
                receive(role, input).fails(error, 1007, header + 2 + proof);
                // The frame need not be there.
                let len = payload.len() as u64 + 1_000_000;
                let input = [shortest_header(role.peer(), FIN | TEXT, len), masked(role, &payload)].concat();
                let header = input.len() - payload.len();
                receive(role, input).fails(error, 1007, header + 2 + proof);
            }
            for cut_short in CUT_SHORT {
                let input = frame(role.peer(), FIN | TEXT, [b"ok", *cut_short].concat());
                let at = input.len();
                receive(role, input).fails(error, 1007, at);
            }
        },
    },
    Row {
        id: "F28",
        section: "8.1",
        who: BOTH,
        requirement: "text that is not UTF-8 fails at the byte that proves it, over several frames",
        check: |role| {
            let peer = role.peer();
            let error = ProtocolError::InvalidUtf8 { offset: 2 };
            let between = frame(peer, FIN | PING, b"between");
            for (invalid, proof) in INVALID {
                for cut in 0..=invalid.len() {
                    let first = frame(peer, TEXT, [b"ok", &invalid[..cut]].concat());
                    let rest = [&invalid[cut..], b" and more"].concat();
                    let last = frame(peer, FIN | CONTINUATION, &rest);
                    let input = [&first[..], &between, &last].concat();
                    if *proof <= cut {
                        let at = first.len() - cut + proof;
                        receive(role, input).fails(error, 1007, at);
                    } else {
                        let at = input.len() - rest.len() + proof - cut;
                        let expected = receive(role, input).gives([ping("between")]);
                        expected.sends(FIN | PONG, "between").fails(error, 1007, at);
                    }
                }
            }
            for cut_short in CUT_SHORT {
                let first = frame(peer, TEXT, [b"ok", &cut_short[..1]].concat());
                let last = frame(peer, FIN | CONTINUATION, &cut_short[1..]);
                let input = [first, last].concat();
                let at = input.len();
                receive(role, input).fails(error, 1007, at);
            }
        },
    },
    Row {
        id: "F28",
        section: "5.6",
        who: BOTH,
        requirement: "binary data and pings may hold any bytes",
        check: |role| {
            for bytes in INVALID.iter().map(|(bytes, _)| *bytes).chain(CUT_SHORT.iter().copied()) {
                let input = [frame(role.peer(), FIN | BINARY, bytes), frame(role.peer(), FIN | PING, bytes)];
                let expected = receive(role, input.concat()).gives([binary(bytes), ping(bytes)]);
                expected.sends(FIN | PONG, bytes).stays_open();
            }
        },
    },
    Row {
        id: "X15",
        section: "8.1",
        who: BOTH,
        requirement: "\"This rule applies both during the opening handshake and during subsequent data \
            exchange.\"",
        check: |role| {
            if role == Role::Server {
                let line = Head::request().with_line(b"GET /caf\xE9 HTTP/1.1");
                assert_eq!(serve(line.bytes()).unwrap_err().answer.status, 400);
                for name in [
                    "Host",
                    "Origin",
                    "Sec-WebSocket-Protocol",
                    "Sec-WebSocket-Extensions",
                    "Sec-WebSocket-Key",
                ] {
                    let head = Head::request().set(name, b"caf\xE9");
                    assert_eq!(serve(head.bytes()).unwrap_err().answer.status, 400, "{name}");
                }
                // What nobody interprets as UTF-8 is let through.
                assert!(serve(Head::request().set("Cookie", b"caf\xE9").bytes()).is_ok());
            } else {
                for (name, error) in [
                    ("Sec-WebSocket-Accept", HandshakeError::Accept),
                    ("Sec-WebSocket-Protocol", HandshakeError::SubprotocolNotOffered),
                    ("Sec-WebSocket-Extensions", HandshakeError::Extensions { at: 3 }),
                    ("Upgrade", HandshakeError::Upgrade),
                    ("Connection", HandshakeError::Connection),
                ] {
                    let head = Head::answer().set(name, b"caf\xE9");
                    assert_eq!(connect(head.bytes()).unwrap_err(), error, "{name}");
                }
                assert!(connect(Head::answer().set("Set-Cookie", b"caf\xE9").bytes()).is_ok());
            }
            let input = frame(role.peer(), FIN | TEXT, b"caf\xE9");
            let at = input.len();
            receive(role, input).fails(ProtocolError::InvalidUtf8 { offset: 3 }, 1007, at);
        },
    },
];

/// A payload as it comes to `role`.
fn masked(role: Role, payload: &[u8]) -> Vec<u8> {
    xor(if role == Role::Server { KEY } else { [0; 4] }, payload)
}

pub(crate) const S5_8: &[Row] = &[Row {
    id: "F29",
    section: "5.8",
    who: BOTH,
    requirement: "\"The endpoints of a connection MUST negotiate the use of any extensions during the \
        opening handshake.\"",
    check: |role| {
        // None is agreed on, whatever the peer would like to use.
        let offer = b"permessage-deflate; client_max_window_bits, x-other";
        let mut connection = if role == Role::Server {
            let head = Head::request().set("Sec-WebSocket-Extensions", offer);
            let pending = serve(head.bytes()).unwrap();
            pending.accept(Accept::new(), Config::new()).unwrap()
        } else {
            let head = Head::answer().set("Sec-WebSocket-Extensions", b"permessage-deflate");
            assert_eq!(connect(head.bytes()).unwrap_err(), HandshakeError::ExtensionNotOffered);
            connect(Head::answer().bytes()).unwrap().into_connection(Config::new(), || KEY)
        };
        let head = support::drain(&mut connection);
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert_eq!(head.starts_with("http/1.1 101"), role == Role::Server, "{head}");
        assert!(!head.contains("extensions") && !head.contains("deflate"), "{head}");
        // So neither end uses one.
        connection.send_text(&"compressible ".repeat(1000)).unwrap();
        assert_eq!(sent(&mut connection)[0].first, FIN | TEXT);
        connection.feed(&frame(role.peer(), FIN | 0x40 | TEXT, b"\xF2\x48\xCD\xC9\xC9\x07\x00"));
        assert_eq!(connection.next_event(), Err(ProtocolError::ReservedBit(1)));
        assert_eq!(sent(&mut connection)[0].payload[..2], 1002_u16.to_be_bytes());
    },
}];
