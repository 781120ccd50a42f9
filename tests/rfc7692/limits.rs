//! Limits on what is inflated, and on what becomes nothing (RFC 7692 §8, RFC 6455 §10.4).

use std::slice;

use taut::proto::{Config, Connection, Deflate, Delivery, Event, Kind, ProtocolError, Role};

use crate::bits::{Bits, zeros};
use crate::ends::{
    RSV1, agreed, compressed, eager, fails, fragmented, gives, noise, on_wire, prose, sending,
};
use crate::examples::{EMPTY, ONE_BLOCK};
use crate::support::{Take, replay};
use crate::wire::{BINARY, CONTINUATION, FIN, TEXT, binary, frame, shortest_header, text};
use crate::{BOTH, Row};

const DELIVERIES: [Delivery; 2] = [Delivery::Whole, Delivery::Chunks];

/// Feeds the same frame until the connection fails; gives the error, and how many payloads were fed.
fn flood(mut connection: Connection, begin: &[u8], again: &[u8]) -> (ProtocolError, usize) {
    connection.feed(begin);
    for count in 0..1 << 20 {
        loop {
            match connection.next_event() {
                Ok(Some(Event::Chunk(chunk))) => assert!(!chunk.last),
                Ok(Some(event)) => panic!("{event:?}"),
                Ok(None) => break,
                Err(error) => return (error, count),
            }
        }
        connection.feed(again);
    }
    panic!("no end");
}

const fn too_big(delivery: Delivery, max: usize) -> ProtocolError {
    match delivery {
        Delivery::Whole => ProtocolError::MessageTooBig { max },
        Delivery::Chunks => ProtocolError::StreamTooBig { max: max as u64 },
    }
}

pub(crate) const S8: &[Row] = &[
    Row {
        id: 26,
        section: "8",
        who: BOTH,
        requirement: "the limit on a message counts inflated bytes: it passes at its number, and fails one over",
        check: |role| {
            let new = Deflate::new();
            for (payload, len) in [
                (ONE_BLOCK.to_vec(), 5),
                (Bits::default().stored(false, &[7; 300]).message(), 300),
                (zeros(511, true), 511),
                (zeros(512, true), 512),
                (zeros(513, true), 513),
                (zeros(70_000, true), 70_000),
            ] {
                let input = compressed(role.peer(), BINARY, &payload);
                let at = |max: usize| eager().max_message(max).max_streamed(max as u64).max_frame(1 << 20);
                let content = if len == 5 {
                    binary("Hello")
                } else {
                    binary(vec![if len == 300 { 7 } else { 0 }; len])
                };
                for max in [len, len + 1] {
                    gives(role, at(max), new, &input, slice::from_ref(&content));
                    // Each message begins at nothing.
                    let input = [&input[..], &fragmented(role.peer(), BINARY, &payload, &[3, 3, 4])].concat();
                    gives(role, at(max), new, &input, &[content.clone(), content.clone()]);
                }
                for max in [len - 1, len / 2, 1, 0] {
                    let error = (ProtocolError::MessageTooBig { max }, 1009);
                    // A frame that is itself too large fails too.
                    fails(role, at(max), new, &input, &[], error);
                }
            }
            // Also of text, and of a message that refers to one before.
            let input = compressed(role.peer(), TEXT, EMPTY);
            gives(role, eager().max_message(0).max_streamed(0), new, &input, &[text("")]);
            let input = [
                compressed(role.peer(), BINARY, &zeros(4000, true)),
                compressed(role.peer(), BINARY, &zeros(5000, false)),
            ]
            .concat();
            let (zero, more) = (binary(vec![0; 4000]), binary(vec![0; 5000]));
            gives(role, eager().max_message(5000).max_streamed(5000), new, &input, &[zero.clone(), more]);
            let error = (ProtocolError::MessageTooBig { max: 4999 }, 1009);
            fails(role, eager().max_message(4999).max_streamed(4999), new, &input, &[zero], error);
        },
    },
    Row {
        id: 26,
        section: "8",
        who: BOTH,
        requirement: "in chunks the limit is one of its own, and no chunk goes beyond it",
        check: |role| {
            let input = compressed(role.peer(), BINARY, &zeros(1_000_000, true));
            for max in [0, 100, 16 << 10, 100_000, 999_999] {
                let config = eager().delivery(Delivery::Chunks).max_message(0).max_frame(0).max_streamed(max);
                let mut connection = agreed(role, config, Deflate::new());
                connection.feed(&input);
                let mut count = 0;
                let error = loop {
                    match connection.next_event() {
                        Ok(Some(Event::Chunk(chunk))) => {
                            assert!(!chunk.last);
                            let taut::proto::ChunkData::Binary(bytes) = chunk.data else { panic!("text") };
                            assert!(bytes.len() <= 16 << 10, "a chunk of {}", bytes.len());
                            count += bytes.len() as u64;
                        }
                        Ok(other) => panic!("{other:?}"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error, ProtocolError::StreamTooBig { max });
                assert!(count <= max && count + (32 << 10) > max, "{count} of {max}");
            }
            let config = eager().delivery(Delivery::Chunks).max_message(0).max_frame(0);
            let mut connection = agreed(role, config.max_streamed(1_000_000), Deflate::new());
            let outcome = replay(&mut connection, &input, &[], Take::Owned);
            assert_eq!((outcome.messages.len(), outcome.error), (1, None));
        },
    },
    Row {
        id: 26,
        section: "8",
        who: BOTH,
        requirement: "the limit on a frame counts bytes on the wire",
        check: |role| {
            let payload = zeros(100_000, true);
            let config = |max| eager().max_frame(max).delivery(Delivery::Whole);
            for (max, passes) in [(payload.len(), true), (payload.len() - 1, false)] {
                let mut connection = agreed(role, config(max), Deflate::new());
                let input = compressed(role.peer(), BINARY, &payload);
                let outcome = replay(&mut connection, &input, &[], Take::Owned);
                let error = (!passes).then_some(ProtocolError::FrameTooBig { max });
                assert_eq!((outcome.messages.len(), outcome.error), (usize::from(passes), error));
            }
            // At its header, before a byte of it is taken.
            for first in [FIN | RSV1 | TEXT, RSV1 | BINARY] {
                let mut connection = agreed(role, config(1000), Deflate::new());
                connection.feed(&shortest_header(role.peer(), first, 1001));
                assert_eq!(connection.next_event(), Err(ProtocolError::FrameTooBig { max: 1000 }));
            }
            // Cut into frames that fit, the same message passes.
            let cuts: Vec<usize> = (1..payload.len()).filter(|at| at % 100 == 0).collect();
            let input = fragmented(role.peer(), BINARY, &payload, &cuts);
            let outcome = replay(&mut agreed(role, config(100), Deflate::new()), &input, &[], Take::Owned);
            assert_eq!((outcome.messages.len(), outcome.error), (1, None));
        },
    },
    Row {
        id: 26,
        section: "8",
        who: BOTH,
        requirement: "a limit on the ratio, where one is set, holds for messages over 64 KiB",
        check: |role| {
            for delivery in DELIVERIES {
                let run = |payload: &[u8], ratio: u32| {
                    let config = eager().delivery(delivery).max_ratio(ratio);
                    let mut connection = agreed(role, config, Deflate::new());
                    let input = compressed(role.peer(), BINARY, payload);
                    let outcome = replay(&mut connection, &input, &[], Take::Owned);
                    (outcome.messages.len(), outcome.error)
                };
                let refused = |max| (0, Some(ProtocolError::RatioTooHigh { max }));
                // Small messages may have any ratio, large ones only that.
                for ratio in [0, 1, 10, 1000] {
                    assert_eq!(run(&zeros(64 << 10, true), ratio), (1, None));
                    assert_eq!(run(&zeros(1 << 20, true), ratio), refused(ratio), "{delivery:?}");
                }
                assert_eq!(run(&zeros((64 << 10) + 1, true), 10), refused(10), "{delivery:?}");
                for ratio in [1033, 2000, u32::MAX - 1, u32::MAX] {
                    assert_eq!(run(&zeros(1 << 20, true), ratio), (1, None));
                }
                let plain = Bits::default().stored(false, &noise(60_000, 1)).stored(false, &noise(60_000, 2));
                assert_eq!(run(&plain.message(), 1), (1, None));
                assert_eq!(ProtocolError::RatioTooHigh { max: 1 }.close_code().get(), 1009);
                // Fragments count together, messages do not.
                let config = eager().delivery(delivery).max_ratio(10);
                let payload = zeros(100_000, true);
                let cuts: Vec<usize> = (1..payload.len()).collect();
                let input = fragmented(role.peer(), BINARY, &payload, &cuts);
                let outcome = replay(&mut agreed(role, config, Deflate::new()), &input, &[], Take::Owned);
                assert_eq!(outcome.error, refused(10).1);
                let input = compressed(role.peer(), BINARY, &zeros(60_000, true)).repeat(5);
                let outcome = replay(&mut agreed(role, config, Deflate::new()), &input, &[], Take::Owned);
                assert_eq!((outcome.messages.len(), outcome.error), (5, None));
            }
        },
    },
    Row {
        id: 26,
        section: "8",
        who: BOTH,
        requirement: "blocks that become nothing are bounded by what they are on the wire",
        check: |role| {
            let empty = Bits::default().stored(false, b"").bytes();
            let ended = Bits::default().fixed(true, b"").bytes();
            for (block, max) in [(&empty, 10_000), (&ended, 10_000), (&empty, 0), (&ended, 100)] {
                for delivery in DELIVERIES {
                    let config = eager().delivery(delivery).max_message(max).max_streamed(max as u64);
                    let connection = || agreed(role, config.max_fragments(3000), Deflate::new());
                    // In one frame: at its header.
                    let len = max + max / 8 + 64;
                    let header = shortest_header(role.peer(), FIN | RSV1 | BINARY, len as u64 + 1);
                    let mut one = connection();
                    one.feed(&header);
                    assert_eq!(one.next_event(), Err(too_big(delivery, max)));
                    // In endless ones, large and small.
                    for piece in [block.repeat(200), block.clone()] {
                        let begin = frame(role.peer(), RSV1 | BINARY, b"");
                        let again = frame(role.peer(), CONTINUATION, &piece);
                        let (error, count) = flood(connection(), &begin, &again);
                        let frames = count + 1;
                        if let ProtocolError::TooManyFragments { .. } = error {
                            // Each frame may have a flush in it, so that those of less are bounded by their number.
                            assert!(piece.len() <= 64 && frames == 3001, "{frames} frames");
                            continue;
                        }
                        assert_eq!(error, too_big(delivery, max));
                        let most = max + max / 8 + 64 * (frames + 1);
                        assert!(count * piece.len() <= most + piece.len(), "{count} times {}", piece.len());
                    }
                }
            }
            // Without any number: by those that are set.
            if role == Role::Server {
                let again = frame(Role::Client, CONTINUATION, empty.repeat(50 << 10));
                let connection = agreed(role, Config::new(), Deflate::new());
                let (error, count) = flood(connection, &frame(Role::Client, RSV1 | TEXT, b""), &again);
                assert_eq!(error, ProtocolError::MessageTooBig { max: 16 << 20 });
                assert!(count * (250 << 10) < 20 << 20, "{count}");
            }
        },
    },
    Row {
        id: 26,
        section: "8",
        who: BOTH,
        requirement: "a message that fits passes, however badly it was compressed, and in how many pieces",
        check: |role| {
            for level in [0, 3, 9] {
                for len in [1, 10, 100, 1000, 20_000] {
                    for payload in [noise(len, 3), prose(len, 6).into_bytes(), vec![0xFF; len]] {
                        for pieces in [1, 3, len.min(200)] {
                            let deflate = sending(role.peer(), true, 15);
                            let mut sender = agreed(
                                role.peer(),
                                eager().deflate_level(level).max_queued(usize::MAX),
                                deflate,
                            );
                            let size = len.div_ceil(pieces);
                            let mut pieces = payload.chunks(size).peekable();
                            while let Some(piece) = pieces.next() {
                                sender.send_fragment(Kind::Binary, piece, pieces.peek().is_none()).unwrap();
                            }
                            let input = crate::wire::written(&mut sender);
                            for delivery in DELIVERIES {
                                let config =
                                    eager().delivery(delivery).max_message(len).max_streamed(len as u64);
                                let mut connection = agreed(role, config, deflate);
                                let outcome = replay(&mut connection, &input, &[], Take::Borrowed);
                                assert_eq!(
                                    outcome.error, None,
                                    "{len} bytes at level {level} in pieces of {size}"
                                );
                                assert!(outcome.messages == [binary(&payload)]);
                            }
                        }
                    }
                }
            }
        },
    },
    Row {
        id: 26,
        section: "8",
        who: BOTH,
        requirement: "what would betray a secret by its length can be sent plain",
        check: |role| {
            let mut connection = agreed(role, eager(), Deflate::new());
            let length = |connection: &mut Connection, guess: &str| {
                connection.send_text(&format!("token=x8Dk20fjq; guess={guess}")).unwrap();
                on_wire(connection)[0].payload().len()
            };
            connection.compress(false);
            let lengths = ["token=x8Dk20fjq", "token=aaaaaaaaa"].map(|guess| length(&mut connection, guess));
            assert_eq!(lengths[0], lengths[1]);
            connection.compress(true);
            let lengths = ["token=x8Dk20fjq", "token=aBcDeFgHi"].map(|guess| length(&mut connection, guess));
            assert_ne!(lengths[0], lengths[1]);
        },
    },
];
