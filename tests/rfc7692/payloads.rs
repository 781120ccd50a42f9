//! What the payload of a compressed message is (RFC 7692 §7.2.1, §7.2.2).

use taut::proto::{Config, Deflate, Delivery, Kind, Message, Prepared, ProtocolError};

use crate::bits::{Bits, Distance, TAIL};
use crate::ends::{agreed, compressed, eager, fails, fragmented, gives, noise, on_wire, prose, sending};
use crate::examples::{BFINAL, EMPTY, ONE_BLOCK, SHARED, STORED, TWO_BLOCKS};
use crate::oracle::{Oracle, once};
use crate::support::{Take, replay};
use crate::wire::{BINARY, FIN, TEXT, binary, frame, text};
use crate::{BOTH, Row};

const DEFLATE: (ProtocolError, u16) = (ProtocolError::Deflate, 1007);

/// Payloads of all lengths up to a few hundred, and around powers of two.
fn lengths() -> impl Iterator<Item = usize> {
    (0..300).chain((9..=16).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]))
}

pub(crate) const S7_2: &[Row] = &[
    Row {
        id: 21,
        section: "7.2.1",
        who: BOTH,
        requirement: "compress, end with an empty block without compression, and \"Remove 4 octets (that are \
            0x00 0x00 0xff 0xff) from the tail end\"",
        check: |role| {
            for level in 0..=9 {
                let mut connection = agreed(role, eager().deflate_level(level), Deflate::new());
                connection.compress(true);
                let mut oracle = Oracle::new(15, true);
                for len in lengths().filter(|len| level % 3 == 0 || len % 16 == 0) {
                    for payload in [noise(len, len as u32), prose(len, len).into_bytes(), vec![0; len]] {
                        connection.send_binary(&payload).unwrap();
                        let messages = on_wire(&mut connection);
                        assert_eq!(messages.len(), 1);
                        // An empty one is not above the threshold of 0.
                        assert_eq!(messages[0].compressed, len > 0);
                        let wire = messages[0].payload();
                        if len == 0 {
                            continue;
                        }
                        assert!(!wire.ends_with(&TAIL), "the tail is still there: {wire:x?}");
                        assert!(
                            oracle.message(&wire).as_ref() == Ok(&payload),
                            "{len} bytes at level {level}: {wire:x?}"
                        );
                        // zlib's promise for what does not compress, and RFC 7692's for what ends it.
                        assert!(wire.len() <= len + len / 8 + 64, "{len} bytes became {}", wire.len());
                    }
                }
            }
        },
    },
    Row {
        id: 21,
        section: "7.2.1",
        who: BOTH,
        requirement: "so does a message in fragments, of which each is flushed and only the last is cut",
        check: |role| {
            for takeover in [true, false] {
                let mut connection = agreed(role, Config::new(), sending(role, takeover, 15));
                let mut oracle = Oracle::new(15, takeover);
                for pieces in [
                    &[&b"a"[..]][..],
                    &[b"", b""],
                    &[b"", b"a"],
                    &[b"a", b""],
                    &[b"a", b"", b"", b"a", b""],
                    &[b"", b"", b"", b"Hello", b"Hello", b"Hello"],
                    &[&[7; 70_000], &[7; 70_000], b"end"],
                ] {
                    let (last, before) = pieces.split_last().unwrap();
                    let mut come = Vec::new();
                    for piece in before {
                        connection.send_fragment(Kind::Binary, piece, false).unwrap();
                        come.extend_from_slice(piece);
                    }
                    connection.send_fragment(Kind::Binary, last, true).unwrap();
                    let messages = on_wire(&mut connection);
                    assert_eq!(messages.len(), 1);
                    assert!(messages[0].compressed);
                    assert_eq!(messages[0].fragments.len(), pieces.len());
                    for (piece, fragment) in pieces.iter().zip(&messages[0].fragments).take(before.len()) {
                        // All of the piece can be inflated, without the next.
                        assert!(piece.is_empty() || fragment.ends_with(&TAIL));
                    }
                    if !takeover {
                        let wire = messages[0].fragments[..before.len()].concat();
                        assert_eq!(once(&wire), Some(come));
                    }
                    assert_eq!(oracle.message(&messages[0].payload()).unwrap(), pieces.concat());
                }
            }
        },
    },
    Row {
        id: 22,
        section: "7.2.2",
        who: BOTH,
        requirement: "\"Append 4 octets of 0x00 0x00 0xff 0xff to the tail end\", then inflate",
        check: |role| {
            // A message that ends within a block has no such tail; one that ends behind the header of a block
            // without compression has, and behind a block with BFINAL there need not be another.
            let new = Deflate::new();
            for (payload, ends) in [
                (ONE_BLOCK, &[][..]),
                (STORED, &[(1, "")]),
                (BFINAL, &[(7, "Hello")]),
                (TWO_BLOCKS, &[(4, "He")]),
            ] {
                for end in 0..payload.len() {
                    let input = compressed(role.peer(), BINARY, &payload[..end]);
                    match ends.iter().find(|(at, _)| *at == end) {
                        Some((_, message)) => gives(role, eager(), new, &input, &[binary(message)]),
                        None => fails(role, eager(), new, &input, &[], DEFLATE),
                    }
                }
                // A tail that was not cut off, whole and in part.
                for end in 1..=TAIL.len() {
                    let input = compressed(role.peer(), BINARY, &[payload, &TAIL[..end]].concat());
                    fails(role, eager(), new, &input, &[], DEFLATE);
                }
            }
            // No bytes at all are not an empty message, in one frame or in two.
            fails(role, eager(), new, &compressed(role.peer(), TEXT, b""), &[], DEFLATE);
            fails(role, eager(), new, &fragmented(role.peer(), TEXT, b"", &[0]), &[], DEFLATE);
            let input =
                [compressed(role.peer(), TEXT, ONE_BLOCK), compressed(role.peer(), TEXT, b"")].concat();
            fails(role, eager(), new, &input, &[text("Hello")], DEFLATE);
            // What the tail would be taken for, if it were not looked at, is nothing that was said: within a block
            // with fixed codes, four bytes of it are four codes.
            let open = [0x4a, 0x4c, 0x4c];
            assert_eq!(once(&open).unwrap(), b"aa");
            assert!(once(&[&open[..], &TAIL].concat()).is_none_or(|whole| whole != b"aa"));
            fails(role, eager(), new, &compressed(role.peer(), BINARY, &open), &[], DEFLATE);
        },
    },
    Row {
        id: 22,
        section: "7.2.2",
        who: BOTH,
        requirement: "what is not DEFLATE fails with 1007, after the messages before it",
        check: |role| {
            let new = Deflate::new();
            for payload in [
                // A block of the type that is reserved, one whose length is not that of its complement, a literal
                // and a distance that have no meaning, a distance beyond the beginning.
                &[0x06][..],
                &[0x07, 0x00],
                &[0x00, 0x05, 0x00, 0x05, 0x00],
                &[0x1b, 0x03],
                &[0x63, 0x80, 0x1f],
                SHARED,
                &[0xff; 20],
                &Bits::default().run(0, Distance::One, 1).message(),
                &Bits::default().run(100, Distance::Farthest, 1).message(),
                &Bits::default()
                    .fixed(false, b"Hello")
                    .stored(false, b"")
                    .run(0, Distance::Farthest, 1)
                    .message(),
            ] {
                assert!(
                    once(&[payload, &TAIL].concat()).is_none() || payload == [0x07, 0x00],
                    "{payload:x?}"
                );
                let good = compressed(role.peer(), TEXT, EMPTY);
                for opcode in [TEXT, BINARY] {
                    let bad = [&good[..], &compressed(role.peer(), opcode, payload)].concat();
                    let outcome = crate::ends::everywhere(role, eager(), new, &bad);
                    assert_eq!(outcome.messages, [text("")]);
                    let error = outcome.error.unwrap_or_else(|| panic!("{payload:x?} passed"));
                    assert_eq!(error.close_code().get(), 1007, "{payload:x?}: {error}");
                    if opcode == BINARY {
                        assert_eq!(error, ProtocolError::Deflate, "{payload:x?}");
                    }
                }
            }
        },
    },
    Row {
        id: 23,
        section: "7.2.1",
        who: BOTH,
        requirement: "blocks may have BFINAL set: then the next block begins in the next byte, with no window",
        check: |role| {
            let new = Deflate::new();
            let bits = Bits::default;
            let hello = || bits().fixed(true, b"Hello");
            for (payload, message) in [
                // At the end, alone and with an empty block behind it.
                (hello().bytes(), "Hello"),
                (hello().align().message(), "Hello"),
                (bits().stored(true, b"Hello").bytes(), "Hello"),
                (bits().stored(true, b"Hello").message(), "Hello"),
                (bits().stored(true, b"").bytes(), ""),
                (bits().fixed(true, b"").bytes(), ""),
                (bits().fixed(true, b"").align().message(), ""),
                // Before others, with BFINAL and without.
                (hello().align().fixed(false, b", all").message(), "Hello, all"),
                (hello().align().fixed(true, b", ").align().fixed(true, b"all").bytes(), "Hello, all"),
                (bits().stored(true, b"Hel").stored(true, b"lo").stored(false, b"!").message(), "Hello!"),
                (bits().fixed(false, b"Hel").fixed(true, b"lo").align().stored(true, b"!").bytes(), "Hello!"),
                (hello().align().fixed(true, b"").align().fixed(true, b"").align().message(), "Hello"),
            ] {
                assert_eq!(
                    Oracle::new(15, true).message(&payload).unwrap(),
                    message.as_bytes(),
                    "{payload:x?}"
                );
                let next = compressed(role.peer(), TEXT, ONE_BLOCK);
                for cut in 0..=payload.len() {
                    let input = [&fragmented(role.peer(), TEXT, &payload, &[cut])[..], &next].concat();
                    let mut connection = agreed(role, eager(), new);
                    let outcome = replay(&mut connection, &input, &[], Take::Owned);
                    assert_eq!(outcome.messages, [text(message), text("Hello")], "{payload:x?} at {cut}");
                }
                let input = [&compressed(role.peer(), TEXT, &payload)[..], &next].concat();
                gives(role, eager(), new, &input, &[text(message), text("Hello")]);
            }
            // The window is gone, in the same message and in the next.
            for payload in [
                hello().align().run(0, Distance::One, 1).message(),
                bits().stored(true, b"Hello").run(0, Distance::One, 1).message(),
            ] {
                fails(role, eager(), new, &compressed(role.peer(), TEXT, &payload), &[], DEFLATE);
            }
            for payload in [hello().bytes(), BFINAL.to_vec()] {
                let input =
                    [&payload[..], SHARED].map(|payload| compressed(role.peer(), TEXT, payload)).concat();
                fails(role, eager(), new, &input, &[text("Hello")], DEFLATE);
            }
        },
    },
    Row {
        id: 25,
        section: "7.2.2",
        who: BOTH,
        requirement: "the window is kept from message to message, unless no context takeover was agreed on",
        check: |role| {
            let noise = noise(32 << 10, 1);
            // From the one end of the window to the other.
            let first = Bits::default().stored(false, &noise).message();
            let far = Bits::default().run(0, Distance::Farthest, 1).message();
            let input = [&first, &far, &far].map(|payload| compressed(role.peer(), BINARY, payload)).concat();
            let messages = [binary(&noise), binary(&noise[..258]), binary(&noise[258..516])];
            gives(role, eager(), sending(role.peer(), true, 15), &input, &messages);
            fails(role, eager(), sending(role.peer(), false, 15), &input, &messages[..1], DEFLATE);
            // One byte less does not do.
            let first = Bits::default().stored(false, &noise[1..]).message();
            let input = [&first, &far].map(|payload| compressed(role.peer(), BINARY, payload)).concat();
            fails(role, eager(), sending(role.peer(), true, 15), &input, &[binary(&noise[1..])], DEFLATE);
        },
    },
    Row {
        id: 25,
        section: "7.2.2",
        who: BOTH,
        requirement: "and so does our own: what repeats is nearly nothing, until the window is forgotten",
        check: |role| {
            let noise = noise(1000, 2);
            let prepared = Prepared::binary([&noise[..], &noise].concat());
            let mut connection = agreed(role, eager(), sending(role, true, 15));
            let mut oracle = Oracle::new(15, true);
            for (does, large) in [
                ("send", true),
                ("send", false),
                ("compress(false)", true),
                ("send", false),
                ("forget", true),
                ("send", false),
                ("prepared", true),
                ("send", true),
                ("send", false),
                ("fragments", false),
                ("send", false),
                // Within a message nothing is forgotten.
                ("forget within", false),
                ("send", false),
            ] {
                match does {
                    "send" => connection.send_binary(&noise).unwrap(),
                    "compress(false)" => {
                        connection.compress(false);
                        connection.send_binary(&noise).unwrap();
                        connection.compress(true);
                    }
                    "forget" => {
                        connection.forget_context();
                        connection.send_binary(&noise).unwrap();
                    }
                    "prepared" => connection.send_prepared(&prepared).unwrap(),
                    "fragments" | "forget within" => {
                        connection.send_fragment(Kind::Binary, &noise[..500], false).unwrap();
                        if does == "forget within" {
                            connection.forget_context();
                        }
                        connection.send_fragment(Kind::Binary, &noise[500..], true).unwrap();
                    }
                    _ => unreachable!(),
                }
                let messages = on_wire(&mut connection);
                let wire = messages[0].payload();
                assert_eq!(wire.len() > 500, large, "{does}: {} bytes", wire.len());
                if messages[0].compressed {
                    let expected =
                        if does == "prepared" { [&noise[..], &noise].concat() } else { noise.clone() };
                    assert!(oracle.message(&wire).unwrap() == expected, "{does}");
                }
            }
        },
    },
    Row {
        id: 25,
        section: "7.2.2",
        who: BOTH,
        requirement: "a window is never another connection's: what served one has forgotten it for the next",
        check: |role| {
            let secret = b"a secret of another connection".repeat(1200);
            let whole = Bits::default().stored(false, &secret).message();
            let near = compressed(role.peer(), BINARY, &Bits::default().run(0, Distance::One, 1).message());
            let far =
                compressed(role.peer(), BINARY, &Bits::default().run(0, Distance::Farthest, 1).message());
            let within = compressed(role.peer(), BINARY, &Bits::default().run(1, Distance::One, 1).message());
            let ended = Bits::default().stored(true, &secret).bytes();
            let broken = [&whole[..], &[0xFF; 9]].concat();
            let open = Bits::default().stored(false, &secret).fixed(false, &secret[..500]).bytes();
            for takeover in [true, false] {
                let deflate = sending(role.peer(), takeover, 15);
                for delivery in [Delivery::Whole, Delivery::Chunks] {
                    for payload in [&whole, &ended, &broken, &open] {
                        for end in [payload.len(), payload.len() - 100] {
                            for bad in [&near, &far] {
                                let mut one = agreed(role, eager().delivery(delivery), deflate);
                                let input = compressed(role.peer(), BINARY, payload);
                                replay(
                                    &mut one,
                                    &input[..input.len() - payload.len() + end],
                                    &[],
                                    Take::Owned,
                                );
                                drop(one);
                                let mut next = agreed(role, eager().delivery(delivery), deflate);
                                let outcome = replay(&mut next, &within, &[], Take::Owned);
                                assert_eq!(outcome.messages, [binary(vec![0; 259])]);
                                drop(next);
                                let mut next = agreed(role, eager().delivery(delivery), deflate);
                                let outcome = replay(&mut next, bad, &[], Take::Owned);
                                assert_eq!(outcome.messages, []);
                                assert_eq!(outcome.error, Some(ProtocolError::Deflate));
                            }
                        }
                    }
                }
            }
        },
    },
    Row {
        id: 25,
        section: "7.2.2",
        who: BOTH,
        requirement: "nor is a compressor's: each connection's first message stands alone",
        check: |role| {
            for takeover in [true, false] {
                let deflate = sending(role, takeover, 15);
                let message = prose(4000, 4);
                for _ in 0..3 {
                    let mut one = agreed(role, eager(), deflate);
                    one.send_text(&message).unwrap();
                    one.send_fragment(Kind::Text, message.as_bytes(), false).unwrap();
                    one.close(None);
                    drop(one);
                    let mut next = agreed(role, eager(), deflate);
                    next.send_text(&message).unwrap();
                    let wire = on_wire(&mut next)[0].payload();
                    assert_eq!(Oracle::new(15, takeover).message(&wire).unwrap(), message.as_bytes());
                }
            }
        },
    },
    Row {
        id: 22,
        section: "7.2.2",
        who: BOTH,
        requirement: "a match may still be copied when all bytes of the message were taken",
        check: |role| {
            // Its end lies in the byte that ends the message, and goes beyond the room of one step; each literal
            // moves both.
            for matches in [2, 63, 64, 127] {
                for literals in 1..=300 {
                    let payload = Bits::default().run(literals, Distance::One, matches).message();
                    let input = compressed(role.peer(), BINARY, &payload);
                    for delivery in [Delivery::Whole, Delivery::Chunks] {
                        let mut connection = agreed(role, eager().delivery(delivery), Deflate::new());
                        let outcome = replay(&mut connection, &input, &[], Take::Borrowed);
                        assert_eq!(outcome.error, None, "{literals} and {matches}");
                        assert!(outcome.messages == [binary(vec![0; (literals + 258 * matches) as usize])]);
                    }
                }
            }
        },
    },
    Row {
        id: 9,
        section: "7.2.2",
        who: BOTH,
        requirement: "a large message, compressed and not, in small reads and at once",
        check: |role| {
            let large = prose(200_000, 5);
            let mut sender = agreed(role.peer(), Config::new().fragment_above(9000), Deflate::new());
            sender.send_text(&large).unwrap();
            sender.send_text("€").unwrap();
            let wire = crate::wire::written(&mut sender);
            let wire = [&wire[..], &frame(role.peer(), FIN | TEXT, &large)].concat();
            let expected = [Message::text(large.as_str()), text("€"), Message::text(large.as_str())];
            for delivery in [Delivery::Whole, Delivery::Chunks] {
                for read in [97, 4096, usize::MAX] {
                    let cuts: Vec<usize> = (1..wire.len()).filter(|at| at % read == 0).collect();
                    let mut connection = agreed(role, Config::new().delivery(delivery), Deflate::new());
                    let outcome = replay(&mut connection, &wire, &cuts, Take::Borrowed);
                    assert!(outcome.error.is_none() && outcome.messages == expected);
                }
            }
        },
    },
];
