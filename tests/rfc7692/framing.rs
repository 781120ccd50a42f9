//! Where RSV1 stands, and how compressed messages are framed (RFC 7692 §6).

use taut::proto::frame::Header;
use taut::proto::{Config, Deflate, Delivery, Kind, Message, Prepared, ProtocolError, Role};

use crate::bits::Bits;
use crate::ends::{RSV1, agreed, compressed, eager, fails, fragmented, gives, on_wire, prose, sending};
use crate::examples::{EMPTY, ONE_BLOCK};
use crate::oracle::Oracle;
use crate::support::{Outcome, Take, replay};
use crate::wire::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, binary, frame, ping, pong, receive, sent, text, xor,
};
use crate::{BOTH, Row};

const DELIVERIES: [Delivery; 2] = [Delivery::Whole, Delivery::Chunks];
const RESERVED: (ProtocolError, u16) = (ProtocolError::ReservedBit(1), 1002);

pub(crate) const S6: &[Row] = &[
    Row {
        id: 4,
        section: "6",
        who: BOTH,
        requirement: "without agreement RSV1 has no meaning: it fails at the first byte, and is never sent",
        check: |role| {
            for opcode in [TEXT, BINARY] {
                for first in [RSV1, FIN | RSV1] {
                    for payload in [ONE_BLOCK, EMPTY, &[]] {
                        let input = frame(role.peer(), first | opcode, payload);
                        receive(role, input).fails(ProtocolError::ReservedBit(1), 1002, 1);
                    }
                }
            }
            let mut connection = crate::support::connection(role, eager());
            connection.compress(true);
            connection.send_text(&prose(5000, 0)).unwrap();
            connection.send(Message::binary(vec![0; 100_000])).unwrap();
            connection.send_fragment(Kind::Text, b"Hello", false).unwrap();
            connection.send_fragment(Kind::Text, b"Hello", true).unwrap();
            connection.send_prepared(&Prepared::text(prose(5000, 0))).unwrap();
            let messages = on_wire(&mut connection);
            assert_eq!(messages.len(), 4);
            assert!(messages.iter().all(|message| !message.compressed));
        },
    },
    Row {
        id: 4,
        section: "6",
        who: BOTH,
        requirement: "permessage-deflate gives RSV1 a meaning, and RSV2 and RSV3 none",
        check: |role| {
            for (bit, number) in [(0x20, 2), (0x10, 3)] {
                for first in [FIN | TEXT, FIN | RSV1 | TEXT, FIN | RSV1 | BINARY, FIN | PING] {
                    let input = frame(role.peer(), first | bit, ONE_BLOCK);
                    let error = (ProtocolError::ReservedBit(number), 1002);
                    fails(role, eager(), Deflate::new(), &input, &[], error);
                }
            }
        },
    },
    Row {
        id: 6,
        section: "6",
        who: BOTH,
        requirement: "\"An endpoint MUST NOT set the \"Per-Message Compressed\" bit of control frames and \
            non-first fragments of a data message. An endpoint receiving such a frame MUST _Fail the WebSocket \
            Connection_.\"",
        check: |role| {
            let peer = role.peer();
            for opcode in [CLOSE, PING, PONG] {
                let input = frame(peer, FIN | RSV1 | opcode, b"");
                fails(role, eager(), Deflate::new(), &input, &[], RESERVED);
                let input = [frame(peer, RSV1 | TEXT, &ONE_BLOCK[..3]), input].concat();
                fails(role, eager(), Deflate::new(), &input, &[], RESERVED);
            }
            for begins in [RSV1 | TEXT, RSV1 | BINARY, TEXT, BINARY] {
                for goes_on in [RSV1 | CONTINUATION, FIN | RSV1 | CONTINUATION] {
                    let input = [frame(peer, begins, b""), frame(peer, goes_on, ONE_BLOCK)].concat();
                    fails(role, eager(), Deflate::new(), &input, &[], RESERVED);
                }
            }
            for first in [RSV1 | CONTINUATION, FIN | RSV1 | CONTINUATION] {
                fails(role, eager(), Deflate::new(), &frame(peer, first, ONE_BLOCK), &[], RESERVED);
            }
            // The bit fails, not what comes behind it.
            for first in [FIN | RSV1 | PING, FIN | RSV1 | CONTINUATION] {
                let mut connection = agreed(role, eager(), Deflate::new());
                connection.feed(&[first]);
                assert_eq!(connection.next_event(), Err(RESERVED.0));
            }
            // Whoever reads headers alone is told so too.
            let (masked, pong) = (if peer == Role::Client { 0x80 } else { 0 }, FIN | RSV1 | PONG);
            assert_eq!(Header::decode(&[pong, masked, 0, 0, 0, 0], peer), Err(RESERVED.0));
            // A message that begins inside another fails as any does.
            let input = [frame(peer, RSV1 | TEXT, ONE_BLOCK), compressed(peer, TEXT, ONE_BLOCK)].concat();
            let error = (ProtocolError::ExpectedContinuation, 1002);
            fails(role, eager(), Deflate::new(), &input, &[], error);
        },
    },
    Row {
        id: 6,
        section: "6",
        who: BOTH,
        requirement: "what we send has RSV1 on first fragments only, and control frames between them are plain",
        check: |role| {
            let mut connection = agreed(role, eager().fragment_above(10), Deflate::new());
            connection.send_text(&prose(2000, 1)).unwrap();
            connection.send_fragment(Kind::Binary, &[7; 500], false).unwrap();
            connection.feed(&frame(role.peer(), FIN | PING, b"beat"));
            assert_eq!(connection.next_event().unwrap().unwrap().into_message(), ping("beat"));
            connection.ping(b"ours").unwrap();
            connection.send_fragment(Kind::Binary, &[7; 500], false).unwrap();
            connection.send_fragment(Kind::Binary, &[], true).unwrap();
            connection.close(None);
            let frames = sent(&mut connection);
            let control: Vec<_> =
                frames.iter().map(|frame| frame.first).filter(|first| first & 8 != 0).collect();
            assert_eq!(control.len(), 3);
            assert!(control.iter().all(|first| first & 0x70 == 0));
            let first: Vec<_> =
                frames.iter().map(|frame| frame.first).filter(|first| first & RSV1 != 0).collect();
            assert_eq!(first, [RSV1 | TEXT, RSV1 | BINARY]);
        },
    },
];

pub(crate) const S6_1: &[Row] = &[
    Row {
        id: 7,
        section: "6.1",
        who: BOTH,
        requirement: "a message is compressed as a whole, and fragmented as any other: opcode and order stay",
        check: |role| {
            let peer = role.peer();
            let message = prose(3000, 2);
            for fragment_above in [1, 7, 100, 1000, usize::MAX] {
                for shared in [true, false] {
                    let mut connection = agreed(role, eager().fragment_above(fragment_above), Deflate::new());
                    if shared {
                        connection.send(Message::text(message.as_str())).unwrap();
                    } else {
                        connection.send_text(&message).unwrap();
                    }
                    let messages = on_wire(&mut connection);
                    let [on_wire] = &messages[..] else { panic!("{} messages", messages.len()) };
                    assert!(on_wire.compressed && on_wire.opcode == TEXT);
                    let (last, before) = on_wire.fragments.split_last().unwrap();
                    assert!(before.iter().all(|fragment| fragment.len() == fragment_above));
                    assert!(last.len() <= fragment_above && !last.is_empty());
                    let inflated = Oracle::new(15, true).message(&on_wire.payload()).unwrap();
                    assert_eq!(inflated, message.as_bytes());
                }
            }
            // Fragments are cut anywhere, may be empty, and have control frames between them.
            let cuts = [0, 0, 2, 2, 3, 7, 7];
            let mut input = Vec::new();
            for piece in fragmented(peer, TEXT, ONE_BLOCK, &cuts).chunks(1) {
                input.extend_from_slice(piece);
            }
            gives(role, eager(), Deflate::new(), &input, &[text("Hello")]);
            let input = [
                frame(peer, RSV1 | TEXT, &ONE_BLOCK[..1]),
                frame(peer, FIN | PING, b"a"),
                frame(peer, CONTINUATION, &ONE_BLOCK[1..5]),
                frame(peer, FIN | PONG, b"b"),
                frame(peer, FIN | CONTINUATION, &ONE_BLOCK[5..]),
            ];
            gives(role, eager(), Deflate::new(), &input.concat(), &[ping("a"), pong("b"), text("Hello")]);
        },
    },
    Row {
        id: 7,
        section: "6.1",
        who: BOTH,
        requirement: "what is masked is the compressed payload (RFC 6455 §5.3)",
        check: |role| {
            let mut connection = agreed(role, eager(), Deflate::new());
            connection.send_text("Hello").unwrap();
            let bytes = crate::support::drain(&mut connection);
            let header = if role == Role::Client { 6 } else { 2 };
            let key = if role == Role::Client { crate::support::KEY } else { [0; 4] };
            assert_eq!(bytes[0], FIN | RSV1 | TEXT);
            assert_eq!(Oracle::new(15, true).message(&xor(key, &bytes[header..])).unwrap(), b"Hello");
        },
    },
    Row {
        id: 8,
        section: "6.1",
        who: BOTH,
        requirement: "any message may be sent uncompressed: short ones, those the application says, those that \
            would not shrink",
        check: |role| {
            let new = Deflate::new();
            let plain = |connection: &mut taut::proto::Connection| {
                let messages = on_wire(connection);
                assert_eq!(messages.len(), 1);
                !messages[0].compressed
            };
            for above in [0_u32, 1, 100, 256, 5000] {
                for (len, is_plain) in [(above as usize, true), (above as usize + 1, false)] {
                    for shared in [true, false] {
                        let mut connection = agreed(role, Config::new().deflate_above(above), new);
                        let payload = vec![b'a'; len];
                        if shared {
                            connection.send(Message::binary(payload)).unwrap();
                        } else {
                            connection.send_binary(&payload).unwrap();
                        }
                        assert_eq!(plain(&mut connection), is_plain, "{len} bytes, above {above}");
                        // One in fragments has no length that could be compared.
                        connection.send_fragment(Kind::Binary, b"a", false).unwrap();
                        connection.send_fragment(Kind::Binary, b"a", true).unwrap();
                        assert!(!plain(&mut connection));
                    }
                }
            }
            let mut connection = agreed(role, Config::new(), new);
            connection.send_binary(&[0; 256]).unwrap();
            assert!(plain(&mut connection), "the threshold unless another is set");
            let long = prose(5000, 3);
            let prepared = Prepared::text(&long);
            for on in [true, false, true, true, false] {
                connection.compress(on);
                connection.send_text(&long).unwrap();
                assert_eq!(plain(&mut connection), !on);
                connection.send_prepared(&prepared).unwrap();
                assert_eq!(plain(&mut connection), !on);
                // A message ends as it began.
                connection.send_fragment(Kind::Text, &long.as_bytes()[..1000], false).unwrap();
                connection.compress(!on);
                connection.send_fragment(Kind::Text, &long.as_bytes()[1000..], true).unwrap();
                assert_eq!(plain(&mut connection), !on);
            }
            // Without takeover the window need not have seen it.
            let noise = crate::ends::noise(1000, 1);
            let mut connection = agreed(role, eager(), Deflate::no_context_takeover());
            connection.send_binary(&noise).unwrap();
            assert!(plain(&mut connection));
            connection.send_prepared(&Prepared::binary(&noise)).unwrap();
            assert!(plain(&mut connection));
        },
    },
    Row {
        id: 9,
        section: "6.2",
        who: BOTH,
        requirement: "messages come compressed and not, each as its RSV1 says",
        check: |role| {
            let peer = role.peer();
            let input = [
                frame(peer, FIN | TEXT, b"plain"),
                compressed(peer, TEXT, ONE_BLOCK),
                frame(peer, FIN | BINARY, ONE_BLOCK),
                frame(peer, TEXT, b"pl"),
                frame(peer, FIN | PING, b"p"),
                frame(peer, FIN | CONTINUATION, b"ain"),
                fragmented(peer, BINARY, ONE_BLOCK, &[4]),
                frame(peer, FIN | BINARY, b""),
                compressed(peer, BINARY, EMPTY),
                // The plain ones are not in the window.
                compressed(peer, TEXT, crate::examples::SHARED),
            ];
            let messages = [
                text("plain"),
                text("Hello"),
                binary(ONE_BLOCK),
                ping("p"),
                text("plain"),
                binary("Hello"),
                binary(""),
                binary(""),
                text("Hello"),
            ];
            gives(role, eager(), Deflate::new(), &input.concat(), &messages);
        },
    },
    Row {
        id: 27,
        section: "6.2",
        who: BOTH,
        requirement: "what is UTF-8 is the inflated text (RFC 6455 §5.6), judged as it comes",
        check: |role| {
            let peer = role.peer();
            let new = sending(role, true, 15);
            // Compressed bytes need not be text, and text may be cut anywhere.
            let words = "κόσμε, ça va? 𝄞";
            let stored = Bits::default().stored(false, words.as_bytes()).message();
            let fixed = Bits::default().fixed(false, words.as_bytes()).message();
            for payload in [&stored, &fixed] {
                gives(role, eager(), new, &compressed(peer, TEXT, payload), &[text(words)]);
                for cut in 0..=payload.len() {
                    let input = fragmented(peer, TEXT, payload, &[cut]);
                    for delivery in DELIVERIES {
                        let mut connection = agreed(role, eager().delivery(delivery), new);
                        let outcome = replay(&mut connection, &input, &[], Take::Borrowed);
                        assert_eq!(outcome, Outcome { messages: vec![text(words)], error: None });
                    }
                }
            }
            for (bytes, offset) in [
                (&b"\xFF"[..], 0),
                (b"Hello\x80", 5),
                (b"Hello\xC3", 5),
                (b"Hello\xE2\x82", 5),
                (b"Hello\xF0\x9D\x84", 5),
                (b"Hello\xED\xA0\x80!", 5),
                (b"Hello\xC0\x80!", 5),
                (b"\xCE\xBAHello\xF4\x90\x80\x80", 7),
            ] {
                let error = (ProtocolError::InvalidUtf8 { offset }, 1007);
                for payload in [
                    Bits::default().stored(false, bytes).message(),
                    Bits::default().fixed(false, bytes).message(),
                ] {
                    fails(role, eager(), new, &compressed(peer, TEXT, &payload), &[], error);
                    for cut in 0..=payload.len() {
                        let input = fragmented(peer, TEXT, &payload, &[cut]);
                        for delivery in DELIVERIES {
                            let mut connection = agreed(role, eager().delivery(delivery), new);
                            let outcome = replay(&mut connection, &input, &[], Take::Borrowed);
                            assert_eq!(outcome, Outcome { messages: vec![], error: Some(error.0) });
                        }
                    }
                    gives(role, eager(), new, &compressed(peer, BINARY, &payload), &[binary(bytes)]);
                }
            }
            // Early: at the byte that proves it, with the rest of a long frame, or of the message, to come.
            for fin in [0, FIN] {
                for delivery in DELIVERIES {
                    let payload = Bits::default().stored(false, b"Hello\xFFHello").stored(false, &[0; 5000]);
                    let mut input = frame(peer, fin | RSV1 | TEXT, payload.message());
                    let header = if role == Role::Server { 8 } else { 4 };
                    input.truncate(header + 5 + 6);
                    let mut connection = agreed(role, eager().delivery(delivery), new);
                    connection.feed(&input[..header + 5 + 5]);
                    while let Some(event) = connection.next_event().unwrap() {
                        assert!(delivery == Delivery::Chunks, "{event:?}");
                    }
                    connection.feed(&input[header + 5 + 5..]);
                    assert_eq!(connection.next_event(), Err(ProtocolError::InvalidUtf8 { offset: 5 }));
                }
            }
        },
    },
];
