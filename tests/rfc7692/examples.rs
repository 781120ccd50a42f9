//! The examples of RFC 7692 §7.2.3, byte for byte.

use std::slice;

use taut::proto::{Deflate, Kind, Message, ProtocolError, Role};

use crate::ends::{agreed, compressed, eager, everywhere, fails, fragmented, gives, on_wire, sending};
use crate::oracle::Oracle;
use crate::support::{Outcome, Take, replay};
use crate::wire::{BINARY, TEXT, binary, text};
use crate::{BOTH, Row};

pub(crate) const ONE_BLOCK: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
pub(crate) const SHARED: &[u8] = &[0xf2, 0x00, 0x11, 0x00, 0x00];
pub(crate) const STORED: &[u8] = &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
pub(crate) const BFINAL: &[u8] = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
pub(crate) const TWO_BLOCKS: &[u8] =
    &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
pub(crate) const EMPTY: &[u8] = &[0x00];

/// In all kinds of agreement, in one frame and in the two and three that any cuts make, as text and as binary.
fn says(role: Role, payload: &[u8], message: &str) {
    let both = [(TEXT, text(message)), (BINARY, binary(message))];
    for (opcode, message) in both {
        let one = compressed(role.peer(), opcode, payload);
        for takeover in [true, false] {
            for window_bits in [8, 15] {
                let deflate = sending(role.peer(), takeover, window_bits);
                gives(role, eager(), deflate, &one, slice::from_ref(&message));
            }
        }
        let deflate = sending(role.peer(), opcode == TEXT, 15);
        for one in 0..=payload.len() {
            let input = fragmented(role.peer(), opcode, payload, &[one]);
            gives(role, eager(), deflate, &input, slice::from_ref(&message));
            for two in one..=payload.len() {
                let input = fragmented(role.peer(), opcode, payload, &[one, two]);
                let outcome = replay(&mut agreed(role, eager(), deflate), &input, &[], Take::Borrowed);
                assert_eq!(outcome, Outcome { messages: vec![message.clone()], error: None });
            }
        }
    }
    assert_eq!(Oracle::new(15, true).message(payload).unwrap(), message.as_bytes());
}

/// All of them, one after the other.
fn all(role: Role, deflate: Deflate) -> Outcome {
    let payloads = [ONE_BLOCK, STORED, BFINAL, EMPTY, TWO_BLOCKS, ONE_BLOCK, SHARED, EMPTY];
    let input: Vec<u8> = payloads.iter().flat_map(|payload| compressed(role.peer(), TEXT, payload)).collect();
    everywhere(role, eager(), deflate, &input)
}

pub(crate) const S7_2_3: &[Row] = &[
    Row {
        id: 24,
        section: "7.2.3.1",
        who: BOTH,
        requirement: "\"A Message Compressed Using One Compressed DEFLATE Block\", whole and in two fragments",
        check: |role| {
            // "0xc1 0x07 0xf2 0x48 0xcd 0xc9 0xc9 0x07 0x00", and in fragments "0x41 0x03 0xf2 0x48 0xcd" and
            // "0x80 0x04 0xc9 0xc9 0x07 0x00".
            if role == Role::Client {
                let whole = [&[0xc1, 0x07][..], ONE_BLOCK].concat();
                assert_eq!(compressed(Role::Server, TEXT, ONE_BLOCK), whole);
                let two = [0x41, 0x03, 0xf2, 0x48, 0xcd, 0x80, 0x04, 0xc9, 0xc9, 0x07, 0x00];
                assert_eq!(fragmented(Role::Server, TEXT, ONE_BLOCK, &[3]), two);
            }
            says(role, ONE_BLOCK, "Hello");
        },
    },
    Row {
        id: 24,
        section: "7.2.3.2",
        who: BOTH,
        requirement: "\"Sharing LZ77 Sliding Window\": a message that refers to the one before",
        check: |role| {
            let first = compressed(role.peer(), TEXT, ONE_BLOCK);
            let again = [&first[..], &compressed(role.peer(), TEXT, ONE_BLOCK)].concat();
            let shared = [&first[..], &compressed(role.peer(), TEXT, SHARED)].concat();
            let hello = [text("Hello"), text("Hello")];
            for window_bits in [8, 15] {
                let deflate = sending(role.peer(), true, window_bits);
                gives(role, eager(), deflate, &again, &hello);
                gives(role, eager(), deflate, &shared, &hello);
                let deflate = sending(role.peer(), false, window_bits);
                gives(role, eager(), deflate, &again, &hello);
                fails(role, eager(), deflate, &shared, &hello[..1], (ProtocolError::Deflate, 1007));
            }
            let mut oracle = Oracle::new(15, true);
            assert_eq!(oracle.message(ONE_BLOCK).unwrap(), b"Hello");
            assert_eq!(oracle.message(SHARED).unwrap(), b"Hello");
        },
    },
    Row {
        id: 24,
        section: "7.2.3.3",
        who: BOTH,
        requirement: "\"Using a DEFLATE Block with No Compression\"",
        check: |role| says(role, STORED, "Hello"),
    },
    Row {
        id: 24,
        section: "7.2.3.4",
        who: BOTH,
        requirement: "\"Using a DEFLATE Block with \"BFINAL\" Set to 1\"",
        check: |role| says(role, BFINAL, "Hello"),
    },
    Row {
        id: 24,
        section: "7.2.3.5",
        who: BOTH,
        requirement: "\"Two DEFLATE Blocks in One Message\"",
        check: |role| says(role, TWO_BLOCKS, "Hello"),
    },
    Row {
        id: 24,
        section: "7.2.3.6",
        who: BOTH,
        requirement: "\"Generating an Empty Fragment\": one byte, 0x00, whatever came before",
        check: |role| {
            says(role, EMPTY, "");
            let hello = || compressed(role.peer(), TEXT, ONE_BLOCK);
            for before in [vec![], hello(), [hello(), hello()].concat()] {
                let count = before.len() / hello().len();
                let input = [&before[..], &compressed(role.peer(), TEXT, EMPTY).repeat(2)].concat();
                let mut messages = vec![text("Hello"); count];
                messages.extend([text(""), text("")]);
                gives(role, eager(), Deflate::new(), &input, &messages);
            }
            // The fragment that ends a message whose bytes came before it.
            let mut connection = agreed(role, eager(), Deflate::new());
            for _ in 0..2 {
                connection.send_fragment(Kind::Text, b"Hello", false).unwrap();
                connection.send_fragment(Kind::Text, b"", true).unwrap();
                let messages = on_wire(&mut connection);
                assert_eq!(messages.len(), 1);
                assert_eq!(messages[0].fragments.last().unwrap(), EMPTY);
            }
        },
    },
    Row {
        id: 24,
        section: "7.2.3",
        who: BOTH,
        requirement: "all examples on one connection",
        check: |role| {
            let hello = || text("Hello");
            let messages: Vec<Message> =
                vec![hello(), hello(), hello(), text(""), hello(), hello(), hello(), text("")];
            for window_bits in [8, 9, 15] {
                let outcome = all(role, sending(role.peer(), true, window_bits));
                assert_eq!(outcome, Outcome { messages: messages.clone(), error: None });
            }
        },
    },
    Row {
        id: 24,
        section: "7.2.3.1",
        who: BOTH,
        requirement: "what we make of the same text is as short, and says the same to an inflater that is not ours",
        check: |role| {
            let mut connection = agreed(role, eager(), Deflate::new());
            let mut oracle = Oracle::new(15, true);
            for length in [7, 5, 5] {
                connection.send_text("Hello").unwrap();
                let messages = on_wire(&mut connection);
                assert!(messages[0].compressed && messages.len() == 1);
                let payload = messages[0].payload();
                assert_eq!(oracle.message(&payload).unwrap(), b"Hello");
                assert!(payload.len() <= length, "{payload:x?}");
            }
        },
    },
];
