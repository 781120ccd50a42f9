//! Frames and fragments as they come in (RFC 6455 §5.1, §5.2, §5.4).

use taut::proto::frame::Header;
use taut::proto::{Config, Delivery, Kind, MessageRef, Prepared, ProtocolError, Role, SendErrorKind};

use crate::support::{self, KEY};
use crate::wire::{
    BINARY, CLOSE, CONTINUATION, FIN, Form, PING, PONG, TEXT, binary, body, close, frame, header, ping, pong,
    receive, sent, shortest_header, text,
};
use crate::{BOTH, CLIENT, Row, SERVER};

pub(crate) const S5_1: &[Row] = &[
    Row {
        id: "F2",
        section: "5.1",
        who: SERVER,
        requirement: "\"The server MUST close the connection upon receiving a frame that is not masked.\"",
        check: |role| wrongly_masked(role, ProtocolError::UnmaskedFromClient),
    },
    Row {
        id: "F4",
        section: "5.1",
        who: CLIENT,
        requirement: "\"A client MUST close a connection if it detects a masked frame.\"",
        check: |role| wrongly_masked(role, ProtocolError::MaskedFromServer),
    },
    Row {
        id: "F1",
        section: "5.1",
        who: CLIENT,
        requirement: "\"a client MUST mask all frames that it sends to the server\"",
        check: sends_all_kinds,
    },
    Row {
        id: "F3",
        section: "5.1",
        who: SERVER,
        requirement: "\"A server MUST NOT mask any frames that it sends to the client.\"",
        check: sends_all_kinds,
    },
];

/// Frames of each kind as this end itself would send them.
fn wrongly_masked(role: Role, error: ProtocolError) {
    for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
        for payload in [&b""[..], b"\x03\xE8"] {
            receive(role, frame(role, FIN | opcode, payload)).fails(error, 1002, 2);
        }
    }
    receive(role, header(role, BINARY, Form::Bits64, 1 << 20)).fails(error, 1002, 2);
    // The first frame of a message does not vouch for the next.
    let good = [frame(role.peer(), TEXT, b"a"), frame(role.peer(), FIN | PING, b"b")].concat();
    let bad = frame(role, FIN | CONTINUATION, b"c");
    let input = [&good[..], &bad].concat();
    receive(role, input).gives([ping("b")]).sends(FIN | PONG, b"b").fails(error, 1002, good.len() + 2);
}

/// Each way to send; `parse` checks the mask bit of all that leaves.
fn sends_all_kinds(role: Role) {
    let large = vec![0xA5; 70_000];
    let mut connection = support::connection(role, Config::new().fragment_above(50_000));
    connection.send(text("text")).unwrap();
    connection.send(binary(&large)).unwrap();
    connection.send_ref(MessageRef::Binary(&large)).unwrap();
    connection.send_text("").unwrap();
    connection.send_binary(b"binary").unwrap();
    connection.send_fragment(Kind::Text, b"frag", false).unwrap();
    connection.ping(b"ping").unwrap();
    connection.send_fragment(Kind::Text, b"ment", true).unwrap();
    connection.send(pong("pong")).unwrap();
    connection.send_prepared(&Prepared::text("prepared")).unwrap();
    connection.send_prepared(&Prepared::binary(&large)).unwrap();
    let mut frames = sent(&mut connection);
    connection.feed(&frame(role.peer(), FIN | PING, b"answered"));
    assert!(connection.next_event().unwrap().is_some());
    frames.extend(sent(&mut connection));
    connection.feed(&frame(role.peer(), FIN | CLOSE, body(1001, "")));
    assert!(connection.next_event().unwrap().is_some());
    frames.extend(sent(&mut connection));
    let all = [
        (FIN | TEXT, &b"text"[..]),
        (BINARY, &large[..50_000]),
        (FIN | CONTINUATION, &large[50_000..]),
        (BINARY, &large[..50_000]),
        (FIN | CONTINUATION, &large[50_000..]),
        (FIN | TEXT, b""),
        (FIN | BINARY, b"binary"),
        (TEXT, b"frag"),
        (FIN | PING, b"ping"),
        (FIN | CONTINUATION, b"ment"),
        (FIN | PONG, b"pong"),
        (FIN | TEXT, b"prepared"),
        (FIN | BINARY, &large),
        (FIN | PONG, b"answered"),
        (FIN | CLOSE, &[0x03, 0xE9]),
    ];
    assert_eq!(frames.len(), all.len());
    for (frame, expected) in frames.iter().zip(all) {
        assert!(frame.plain() == expected, "{:x} for {:x}", frame.first, expected.0);
    }
    // And the two that end a connection from this side: a Close of one's own, and a failure.
    let mut connection = support::connection(role, Config::new());
    connection.close(None);
    assert_eq!(sent(&mut connection)[0].plain(), (FIN | CLOSE, &b""[..]));
    let mut connection = support::connection(role, Config::new());
    connection.feed(&[0xFF]);
    assert!(connection.next_event().is_err());
    assert_eq!(sent(&mut connection)[0].first, FIN | CLOSE);
}

pub(crate) const S5_2: &[Row] = &[
    Row {
        id: "F5",
        section: "5.2",
        who: BOTH,
        requirement: "\"MUST be 0 unless an extension is negotiated that defines meanings for non-zero \
            values\"",
        check: |role| {
            let peer = role.peer();
            for bit in 1..=3 {
                let reserved = 0x80 >> bit;
                let error = ProtocolError::ReservedBit(bit);
                for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
                    receive(role, frame(peer, FIN | reserved | opcode, b"")).fails(error, 1002, 1);
                }
                for opcode in [TEXT, BINARY] {
                    receive(role, frame(peer, reserved | opcode, b"a")).fails(error, 1002, 1);
                }
                for first in [reserved | CONTINUATION, FIN | reserved | CONTINUATION, FIN | reserved | PING] {
                    let good = frame(peer, BINARY, b"begun");
                    let input = [&good[..], &frame(peer, first, b"more")].concat();
                    receive(role, input).fails(error, 1002, good.len() + 1);
                }
            }
        },
    },
    Row {
        id: "F6",
        section: "5.2",
        who: BOTH,
        requirement: "\"If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket \
            Connection_.\"",
        check: |role| {
            let begun = frame(role.peer(), TEXT, b"begun");
            let whole = frame(role.peer(), FIN | TEXT, b"whole");
            for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
                let error = ProtocolError::ReservedOpcode(opcode);
                for first in [opcode, FIN | opcode] {
                    let bad = frame(role.peer(), first, b"?");
                    receive(role, bad.clone()).fails(error, 1002, 1);
                    receive(role, [&begun[..], &bad].concat()).fails(error, 1002, begun.len() + 1);
                    let input = [&whole[..], &bad].concat();
                    receive(role, input).gives([text("whole")]).fails(error, 1002, whole.len() + 1);
                }
            }
        },
    },
    Row {
        id: "F7",
        section: "5.2",
        who: BOTH,
        requirement: "\"the minimal number of bytes MUST be used to encode the length\"",
        check: |role| {
            // "the length of a 124-byte-long string can't be encoded as the sequence 126, 0, 124"
            for len in [0, 1, 124, 125] {
                for opcode in [TEXT, BINARY] {
                    let input = header(role.peer(), FIN | opcode, Form::Bits16, len);
                    receive(role, input).fails(ProtocolError::LengthNotMinimal, 1002, 4);
                }
            }
            for len in [0, 125, 126, 0xFFFF] {
                let input = header(role.peer(), FIN | BINARY, Form::Bits64, len);
                assert_eq!(
                    Header::decode(&input, role.peer()),
                    Err(ProtocolError::LengthNotMinimal),
                    "{len}"
                );
            }
        },
    },
    Row {
        id: "F7",
        section: "5.2",
        who: BOTH,
        requirement: "six zeros of a 64-bit length leave at most 65535, whatever the last two bytes are",
        check: |role| {
            for len in [0, 125, 126, 0xFFFF] {
                for opcode in [TEXT, BINARY] {
                    let input = header(role.peer(), FIN | opcode, Form::Bits64, len);
                    receive(role, input).fails(ProtocolError::LengthNotMinimal, 1002, 8);
                }
            }
        },
    },
    Row {
        id: "F7",
        section: "5.2",
        who: BOTH,
        requirement: "the longest of each form: 125, 65535; and the shortest of the next: 126, 65536",
        check: |role| {
            for len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000] {
                let payload: Vec<u8> = (0..len).map(|i: u32| (i % 253) as u8).collect();
                receive(role, frame(role.peer(), FIN | BINARY, &payload))
                    .gives([binary(&payload)])
                    .stays_open();
                let mut connection = support::connection(role, Config::new());
                connection.send_binary(&payload).unwrap();
                // `sent` asserts the shortest form.
                assert!(sent(&mut connection)[0].plain() == (FIN | BINARY, &payload[..]), "{len}");
            }
        },
    },
    Row {
        id: "F7",
        section: "5.2",
        who: BOTH,
        requirement: "\"(the most significant bit MUST be 0)\", with no limit of ours in the way",
        check: |role| {
            let unlimited = Config::new().max_message(usize::MAX).max_frame(usize::MAX);
            for len in [1 << 63, (1 << 63) + 1, u64::MAX] {
                for opcode in [TEXT, BINARY] {
                    let input = header(role.peer(), FIN | opcode, Form::Bits64, len);
                    receive(role, input).config(unlimited).fails(ProtocolError::LengthTopBit, 1002, 3);
                }
            }
            // One less is a length like any other; what came of it is in memory, and no more.
            let mut input = header(role.peer(), FIN | BINARY, Form::Bits64, (1 << 63) - 1);
            input.extend(b"the first few of them");
            receive(role, input.clone()).config(unlimited).stays_open();
            let mut connection = support::connection(role, unlimited);
            connection.feed(&input);
            assert_eq!(connection.next_event(), Ok(None));
            assert!(connection.input().capacity() < 1 << 20);
        },
    },
    Row {
        id: "F7",
        section: "5.2",
        who: BOTH,
        requirement: "a header is read the same by itself, at each place where it can be cut short",
        check: |role| {
            for len in [0, 125, 126, 0xFFFF, 0x1_0000, (1 << 63) - 1] {
                let bytes = shortest_header(role.peer(), FIN | BINARY, len);
                for end in 0..bytes.len() {
                    assert_eq!(Header::decode(&bytes[..end], role.peer()), Ok(None), "{end} of {bytes:x?}");
                }
                let (decoded, length) = Header::decode(&bytes, role.peer()).unwrap().unwrap();
                assert_eq!((decoded.len, length, decoded.fin), (len, bytes.len(), true));
                assert_eq!(decoded.key, (role == Role::Server).then_some(KEY));
            }
            let over = header(role.peer(), FIN | BINARY, Form::Bits64, u64::MAX);
            assert_eq!(Header::decode(&over[..3], role.peer()), Err(ProtocolError::LengthTopBit));
        },
    },
    Row {
        id: "F8",
        section: "5.2",
        who: BOTH,
        requirement: "the payload is as long as the header says, and the next frame begins behind it",
        check: |role| {
            for len in [0, 1, 2, 3, 4, 5, 7, 8, 125, 126, 127, 4096, 0xFFFF, 0x1_0000] {
                let payload = vec![0x81; len];
                let input = [
                    frame(role.peer(), FIN | BINARY, &payload),
                    frame(role.peer(), FIN | PONG, b"between"),
                    frame(role.peer(), FIN | TEXT, b"behind"),
                ];
                let messages = [binary(&payload), pong("between"), text("behind")];
                receive(role, input.concat()).gives(messages).stays_open();
            }
        },
    },
];

pub(crate) const S5_4: &[Row] = &[
    Row {
        id: "F11",
        section: "5.4",
        who: BOTH,
        requirement: "\"Control frames themselves MUST NOT be fragmented.\"",
        check: |role| {
            let begun = frame(role.peer(), TEXT, b"begun");
            for opcode in [CLOSE, PING, PONG] {
                for payload in [&b""[..], b"\x03\xE8"] {
                    let error = ProtocolError::FragmentedControl;
                    let bad = frame(role.peer(), opcode, payload);
                    receive(role, bad.clone()).fails(error, 1002, 1);
                    receive(role, [&begun[..], &bad].concat()).fails(error, 1002, begun.len() + 1);
                }
            }
            // Nor is what follows one a part of it.
            let whole = frame(role.peer(), FIN | PING, b"whole");
            let input = [&whole[..], &frame(role.peer(), FIN | CONTINUATION, b"more")].concat();
            let error = ProtocolError::UnexpectedContinuation;
            receive(role, input).gives([ping("whole")]).sends(FIN | PONG, "whole").fails(
                error,
                1002,
                whole.len() + 1,
            );
        },
    },
    Row {
        id: "F12",
        section: "5.4",
        who: BOTH,
        requirement: "\"An endpoint MUST be capable of handling control frames in the middle of a \
            fragmented message.\"",
        check: |role| {
            let peer = role.peer();
            for (kind, whole) in [(TEXT, text("abcd")), (BINARY, binary("abcd"))] {
                let input = [
                    frame(peer, kind, b"ab"),
                    frame(peer, FIN | PING, b"1"),
                    frame(peer, FIN | PONG, b"2"),
                    frame(peer, CONTINUATION, b"c"),
                    frame(peer, FIN | PONG, b""),
                    frame(peer, FIN | CONTINUATION, b"d"),
                ];
                let messages = [ping("1"), pong("2"), pong(""), whole];
                receive(role, input.concat()).gives(messages).sends(FIN | PONG, "1").stays_open();
            }
            let input = [frame(peer, TEXT, b"cut off"), frame(peer, FIN | CLOSE, body(1001, "bye"))];
            let close_only = receive(role, input.concat()).gives([close(1001, "bye")]);
            close_only.sends(FIN | CLOSE, body(1001, "")).closes(1001, "bye");
        },
    },
    Row {
        id: "F13",
        section: "5.4",
        who: BOTH,
        requirement: "\"Clients and servers MUST support receiving both fragmented and unfragmented \
            messages.\"",
        check: |role| {
            let peer = role.peer();
            let mut input = frame(peer, FIN | TEXT, b"one");
            input.extend(frame(peer, TEXT, b"t"));
            input.extend(frame(peer, FIN | CONTINUATION, b"wo"));
            input.extend(frame(peer, BINARY, b""));
            for byte in b"three" {
                input.extend(frame(peer, CONTINUATION, [*byte]));
            }
            input.extend(frame(peer, FIN | CONTINUATION, b""));
            input.extend(frame(peer, FIN | BINARY, b"four"));
            let messages = [text("one"), text("two"), binary("three"), binary("four")];
            receive(role, input).gives(messages).stays_open();
        },
    },
    Row {
        id: "F14",
        section: "5.4",
        who: BOTH,
        requirement: "\"The fragments of one message MUST NOT be interleaved between the fragments of \
            another message\"",
        check: |role| {
            // As they come: in order, and never with another message between.
            let input: Vec<u8> = (0..=9)
                .flat_map(|i| {
                    frame(
                        role.peer(),
                        [CONTINUATION, BINARY][usize::from(i == 0)] | [0, FIN][usize::from(i == 9)],
                        [i],
                    )
                })
                .collect();
            receive(role, input).gives([binary([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])]).stays_open();
            // As they leave: whole messages, and fragments of the other kind, wait for the end.
            let mut connection = support::connection(role, Config::new());
            connection.send_fragment(Kind::Text, b"first", false).unwrap();
            let refused = [
                connection.send(text("other")),
                connection.send_binary(b"other"),
                connection.send_prepared(&Prepared::text("other")),
                connection.send_fragment(Kind::Binary, b"other", true),
            ];
            for result in refused {
                assert_eq!(result.unwrap_err().kind(), SendErrorKind::MessageInProgress);
            }
            connection.ping(b"may go between").unwrap();
            connection.send_fragment(Kind::Text, b"last", true).unwrap();
            connection.send_text("other").unwrap();
            let frames = sent(&mut connection);
            let frames: Vec<_> = frames.iter().map(|frame| frame.plain()).collect();
            let expected = [
                (TEXT, &b"first"[..]),
                (FIN | PING, b"may go between"),
                (FIN | CONTINUATION, b"last"),
                (FIN | TEXT, b"other"),
            ];
            assert_eq!(frames, expected);
        },
    },
    Row {
        id: "F15",
        section: "5.4",
        who: BOTH,
        requirement: "a continuation continues a message, and none begins inside another",
        check: |role| {
            let peer = role.peer();
            let whole = frame(peer, FIN | TEXT, b"whole");
            let ended = [frame(peer, TEXT, b"wh"), frame(peer, FIN | CONTINUATION, b"ole")].concat();
            let error = ProtocolError::UnexpectedContinuation;
            for first in [CONTINUATION, FIN | CONTINUATION] {
                let bad = frame(peer, first, b"more");
                receive(role, bad.clone()).fails(error, 1002, 1);
                for before in [&whole, &ended] {
                    let input = [&before[..], &bad].concat();
                    receive(role, input).gives([text("whole")]).fails(error, 1002, before.len() + 1);
                }
            }
            let error = ProtocolError::ExpectedContinuation;
            for kind in [TEXT, BINARY] {
                let begun = [frame(peer, kind, b"beg"), frame(peer, CONTINUATION, b"un")].concat();
                for first in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
                    let input = [&begun[..], &frame(peer, first, b"other")].concat();
                    receive(role, input).fails(error, 1002, begun.len() + 1);
                }
            }
        },
    },
    Row {
        id: "F16",
        section: "5.4",
        who: BOTH,
        requirement: "\"all fragments of a message are of the same type, as set by the first fragment's \
            opcode\"",
        check: |role| {
            let first = |kind| frame(role.peer(), kind, b"ab");
            let last = frame(role.peer(), FIN | CONTINUATION, b"c\xFF");
            let bytes = [first(BINARY), last.clone()].concat();
            receive(role, bytes).gives([binary(b"abc\xFF")]).stays_open();
            let input = [first(TEXT), last].concat();
            let at = input.len();
            receive(role, input).fails(ProtocolError::InvalidUtf8 { offset: 3 }, 1007, at);
        },
    },
    Row {
        id: "F17",
        section: "5.4",
        who: BOTH,
        requirement: "\"senders and receivers must not depend on the presence of specific frame boundaries\"",
        check: |role| {
            // All 64 ways to cut seven bytes, four characters, into fragments, with an empty one at each end.
            let message = "Zoë€";
            let bytes = message.as_bytes();
            for cuts in 0..1_u32 << (bytes.len() - 1) {
                for empty in [false, true] {
                    let mut pieces: Vec<&[u8]> = Vec::new();
                    let mut start = 0;
                    for end in 1..=bytes.len() {
                        if end == bytes.len() || cuts >> (end - 1) & 1 == 1 {
                            pieces.push(&bytes[start..end]);
                            start = end;
                        }
                    }
                    if empty {
                        pieces.insert(0, b"");
                        pieces.push(b"");
                    }
                    let last = pieces.len() - 1;
                    let frames = |kind| -> Vec<u8> {
                        let first =
                            |i| [CONTINUATION, kind][usize::from(i == 0)] | [0, FIN][usize::from(i == last)];
                        let piece = |(i, piece): (usize, &&[u8])| frame(role.peer(), first(i), piece);
                        pieces.iter().enumerate().flat_map(piece).collect()
                    };
                    receive(role, frames(TEXT)).gives([text(message)]).stays_open();
                    receive(role, frames(BINARY)).only(Delivery::Whole).gives([binary(bytes)]).stays_open();
                }
            }
        },
    },
];
