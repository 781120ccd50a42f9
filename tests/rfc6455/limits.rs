//! Limits, and data that makes no sense (RFC 6455 §10.4, §10.7).

use taut::proto::handshake::HandshakeError;
use taut::proto::{Config, Delivery, ProtocolError, Role};

use crate::heads::{connect, serve};
use crate::support;
use crate::wire::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, binary, frame, pong, receive, sent, shortest_header,
    text,
};
use crate::{BOTH, Row};

pub(crate) const S10_4: &[Row] = &[
    Row {
        id: "X16",
        section: "10.4",
        who: BOTH,
        requirement: "a limit \"on frame sizes\" holds at its number, before the payload comes",
        check: |role| {
            // The limit, a length over it, and the byte of the header that proves it.
            for (max, len, at) in [
                (0, 1, 2),
                (100, 101, 2),
                (124, 125, 2),
                (1000, 1001, 4),
                (1000, 1024, 3),
                (1000, 0xFFFF, 3),
                (1000, 0x1_0000, 8),
                (0x1_0000, 0x1_0001, 10),
                (16 << 20, (16 << 20) + 1, 10),
                (16 << 20, 32 << 20, 7),
                // "a single big frame (e.g., of size 2**60)"
                (16 << 20, 1 << 60, 3),
                (16 << 20, (1 << 63) - 1, 3),
            ] {
                for opcode in [TEXT, BINARY] {
                    let input = shortest_header(role.peer(), FIN | opcode, len);
                    let config = Config::new().max_frame(max).max_message(usize::MAX);
                    let error = ProtocolError::FrameTooBig { max };
                    receive(role, input.clone()).config(config).only(Delivery::Whole).fails(error, 1009, at);
                    let config = Config::new().max_message(max).max_frame(usize::MAX);
                    let error = ProtocolError::MessageTooBig { max };
                    receive(role, input.clone()).config(config).only(Delivery::Whole).fails(error, 1009, at);
                    let config = Config::new().max_streamed(max as u64);
                    let error = ProtocolError::StreamTooBig { max: max as u64 };
                    receive(role, input).config(config).only(Delivery::Chunks).fails(error, 1009, at);
                }
            }
            for len in [0, 1, 125, 126, 1000, 0x1_0000] {
                let config = Config::new().max_frame(len).max_message(len).max_streamed(len as u64);
                let input = frame(role.peer(), FIN | BINARY, vec![1; len]);
                receive(role, input).config(config).gives([binary(vec![1; len])]).stays_open();
            }
        },
    },
    Row {
        id: "X16",
        section: "10.4",
        who: BOTH,
        requirement: "and \"the total message size after reassembly from multiple frames\"",
        check: |role| {
            let peer = role.peer();
            let begun = [
                frame(peer, BINARY, [1; 60]),
                frame(peer, FIN | PONG, b""),
                frame(peer, CONTINUATION, [2; 30]),
            ];
            let begun = begun.concat();
            let config = Config::new().max_message(100).max_streamed(100);
            let fits = [&begun[..], &frame(peer, FIN | CONTINUATION, [3; 10])].concat();
            let whole = [&[1; 60][..], &[2; 30], &[3; 10]].concat();
            let beat = pong("");
            let expected = receive(role, fits).config(config).gives([beat.clone(), binary(&whole)]);
            expected.stays_open();
            for (last, at) in
                [(frame(peer, CONTINUATION, [3; 11]), 2), (shortest_header(role.peer(), FIN, 0x100), 3)]
            {
                let input = [&begun[..], &last].concat();
                let at = begun.len() + at;
                let expected = receive(role, input.clone()).config(config).gives([beat.clone()]);
                let error = ProtocolError::MessageTooBig { max: 100 };
                expected.only(Delivery::Whole).fails(error, 1009, at);
                let expected = receive(role, input).config(config).gives([beat.clone()]);
                let error = ProtocolError::StreamTooBig { max: 100 };
                expected.only(Delivery::Chunks).fails(error, 1009, at);
            }
            // The limit is for one message: another begins at nothing.
            let config = Config::new().max_message(4).max_streamed(4);
            let input = frame(peer, FIN | BINARY, b"four").repeat(3);
            receive(role, input).config(config).gives(vec![binary("four"); 3]).stays_open();
        },
    },
    Row {
        id: "X16",
        section: "10.4",
        who: BOTH,
        requirement: "\"a long stream of small frames that are a part of a fragmented message\" ends at a \
            limit",
        check: |role| {
            let peer = role.peer();
            let control = frame(peer, FIN | PONG, b"");
            let beat = pong("");
            let config = Config::new().max_fragments(3).max_empty_fragments(2);
            let small = [frame(peer, TEXT, b"a"), control.clone(), frame(peer, CONTINUATION, b"b")].concat();
            let fits = [&small[..], &frame(peer, FIN | CONTINUATION, b"c")].concat();
            let expected = receive(role, fits).config(config).gives([beat.clone(), text("abc")]);
            expected.stays_open();
            let begun = [&small[..], &frame(peer, CONTINUATION, b"c")].concat();
            let error = ProtocolError::TooManyFragments { max: 3 };
            for first in [CONTINUATION, FIN | CONTINUATION] {
                let input = [&begun[..], &frame(peer, first, b"d")].concat();
                let expected = receive(role, input).config(config).gives([beat.clone()]);
                expected.fails(error, 1008, begun.len() + 1);
            }
            let config = Config::new().max_fragments(100).max_empty_fragments(2);
            let begun = [frame(peer, BINARY, b""), control, frame(peer, CONTINUATION, b"")].concat();
            let fits = [&begun[..], &frame(peer, CONTINUATION, b"x"), &frame(peer, FIN | CONTINUATION, b"")];
            let expected = receive(role, fits.concat()).config(config).gives([beat.clone(), binary("x")]);
            expected.stays_open();
            let input = [&begun[..], &frame(peer, CONTINUATION, b"")].concat();
            let at = input.len();
            let error = ProtocolError::TooManyEmptyFragments { max: 2 };
            receive(role, input).config(config).gives([beat]).fails(error, 1008, at);
        },
    },
    Row {
        id: "X16",
        section: "10.4",
        who: BOTH,
        requirement: "without a word from the application, each of these limits is set",
        check: |role| {
            let peer = role.peer();
            let mut connection = support::connection(role, Config::new());
            let empty: Vec<u8> = frame(peer, CONTINUATION, b"").repeat(1000);
            connection.feed(&[frame(peer, TEXT, b"a"), empty].concat());
            let error = connection.next_event().unwrap_err();
            assert!(matches!(error, ProtocolError::TooManyEmptyFragments { .. }), "{error}");
            let mut connection = support::connection(role, Config::new());
            let small: Vec<u8> = frame(peer, CONTINUATION, b"a").repeat(200_000);
            connection.feed(&[frame(peer, TEXT, b"a"), small].concat());
            let error = connection.next_event().unwrap_err();
            assert!(matches!(error, ProtocolError::TooManyFragments { .. }), "{error}");
            let mut connection = support::connection(role, Config::new());
            connection.feed(&shortest_header(role.peer(), FIN | BINARY, 1 << 40));
            assert_eq!(connection.next_event().unwrap_err().close_code().get(), 1009);
        },
    },
];

pub(crate) const S10_7: &[Row] = &[
    Row {
        id: "X18",
        section: "10.7",
        who: BOTH,
        requirement: "\"Incoming data MUST always be validated by both clients and servers.\": all \
            beginnings of a connection",
        check: |role| {
            let masked = if role == Role::Server { 0x80 } else { 0 };
            for first in 0..=255 {
                let good = match first {
                    0x01 | 0x02 | 0x81 | 0x82 => 127,
                    0x88..=0x8A => 125,
                    _ => {
                        assert_fails(role, &[first], 1002);
                        continue;
                    }
                };
                for second in 0..=255 {
                    if second & 0x80 == masked && second & 0x7F <= good {
                        let mut connection = support::connection(role, Config::new());
                        connection.feed(&[first, second]);
                        let event = connection.next_event();
                        assert!(event.is_ok(), "{first:x} {second:x}: {event:?}");
                    } else {
                        let mut connection = support::connection(role, Config::new());
                        connection.feed(&[first]);
                        assert_eq!(connection.next_event(), Ok(None));
                        assert_fails(role, &[first, second], 1002);
                    }
                }
            }
        },
    },
    Row {
        id: "X18",
        section: "10.7",
        who: BOTH,
        requirement: "\"the endpoint SHOULD send a Close frame with an appropriate status code\"",
        check: |role| {
            for nonsense in [
                &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03",
                b"SSH-2.0-OpenSSH_9.6\r\n",
                &[0; 20],
                &[0xFF; 20],
            ] {
                assert_fails(role, nonsense, 1002);
            }
            // Whatever comes: a failure says so in a Close of its code.
            let mut seed = 0x9E37_79B9_u32;
            let mut failures = 0;
            for _ in 0..20_000 {
                let junk: Vec<u8> = (0..24)
                    .map(|_| {
                        seed ^= seed << 13;
                        seed ^= seed >> 17;
                        seed ^= seed << 5;
                        (seed >> 8) as u8
                    })
                    .collect();
                let mut connection = support::connection(role, Config::new());
                // The first byte makes sense, so that the rest is looked at.
                let first = [FIN | TEXT, TEXT, FIN | PING, FIN | CLOSE, BINARY][usize::from(junk[0]) % 5];
                connection.feed(&[&[first], &junk[1..]].concat());
                let error = loop {
                    match connection.next_event() {
                        Ok(Some(_)) => {}
                        Ok(None) => break None,
                        Err(error) => break Some(error),
                    }
                };
                let frames = sent(&mut connection);
                if let Some(error) = error {
                    failures += 1;
                    let close = frames.last().unwrap();
                    assert_eq!(close.first, FIN | CLOSE);
                    assert_eq!(close.payload[..2], error.close_code().get().to_be_bytes());
                    assert!([1002, 1007, 1009].contains(&error.close_code().get()), "{error}");
                }
            }
            assert!(failures > 5_000, "{failures}");
        },
    },
    Row {
        id: "X18",
        section: "10.7",
        who: BOTH,
        requirement: "\"If the invalid data is sent during the WebSocket handshake, the server SHOULD \
            return an appropriate HTTP [...] status code.\"",
        check: |role| {
            for nonsense in [
                &b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03"[..],
                b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
                b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
                b"\x00\x00\x00\x00",
                b"\xFF\xFF\xFF\xFF\r\n\r\n",
                b"\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"GET / HTTP/1.1\nHost: a\n\n",
                b"GET\r\n\r\n",
                b"HTTP/1.1 999999 No\r\n\r\n",
            ] {
                if role == Role::Server {
                    let refusal = serve(nonsense).unwrap_err();
                    assert_eq!(refusal.answer.status, 400, "{nonsense:?}: {}", refusal.error);
                } else {
                    let error = connect(nonsense).unwrap_err();
                    assert!(!matches!(error, HandshakeError::Refused(_)), "{nonsense:?}: {error}");
                }
            }
        },
    },
];

/// The connection fails on `input`, and its Close has that code.
#[track_caller]
fn assert_fails(role: Role, input: &[u8], code: u16) {
    let mut connection = support::connection(role, Config::new());
    connection.feed(input);
    assert!(connection.next_event().is_err(), "{input:x?}");
    let frames = sent(&mut connection);
    assert_eq!(frames.len(), 1);
    assert_eq!(
        (frames[0].first, &frames[0].payload[..2]),
        (FIN | CLOSE, &code.to_be_bytes()[..]),
        "{input:x?}"
    );
    assert!(connection.wants_shutdown() && connection.wants_discard());
}
