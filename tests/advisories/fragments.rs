//! Messages in many pieces, or without an end.

use taut::proto::frame::OpCode;
use taut::proto::{Config, Connection, Delivery, EventRef, ProtocolError};

use crate::heap::Heap;
use crate::support::{connection, frame};
use crate::wire::{CLOSE, FIN, sent};
use crate::{DELIVERIES, KINDS, READ, ROLES};

/// What a message takes beside its bytes: counters and pointers.
const SMALL: isize = 512;

/// Takes all events, which are pieces of one message without its end; gives how many bytes they had.
fn pieces(connection: &mut Connection) -> Result<usize, ProtocolError> {
    let mut bytes = 0;
    while let Some(event) = connection.next_event_ref()? {
        match event {
            EventRef::Chunk(chunk) if !chunk.last => bytes += chunk.data.as_bytes().len(),
            EventRef::Message(message) if !message.is_data() => {}
            other => panic!("{other:?}"),
        }
    }
    Ok(bytes)
}

/// The code of the Close that leaves last.
fn close_code(connection: &mut Connection) -> u16 {
    let frames = sent(connection);
    let close = frames.last().unwrap();
    assert_eq!(close.first, FIN | CLOSE);
    u16::from_be_bytes([close.payload[0], close.payload[1]])
}

/// A message of which one byte comes at a time, for ever: it holds its bytes and nothing for each of them.
#[test]
fn fragment_flood_1_byte() {
    const LIMIT: usize = 100_000;
    for (role, opcode) in ROLES.iter().flat_map(|&role| KINDS.map(|opcode| (role, opcode))) {
        let first = frame(role.peer(), false, opcode, b"x");
        let next = frame(role.peer(), false, OpCode::Continuation, b"x");
        for (config, error, code) in [
            (Config::new(), ProtocolError::TooManyFragments { max: 1 << 17 }, 1008),
            (Config::new().max_message(LIMIT), ProtocolError::MessageTooBig { max: LIMIT }, 1009),
        ] {
            let mut connection = connection(role, config);
            let before = Heap::now();
            connection.feed(&first);
            let mut fed = 1;
            let found = loop {
                match pieces(&mut connection) {
                    Ok(_) => {}
                    Err(error) => break error,
                }
                // At most twice what came, and never a tenth more than the limit.
                let most =
                    (2 * fed as isize).min(if code == 1009 { LIMIT as isize * 11 / 10 } else { isize::MAX });
                let owned = before.owned();
                assert!(owned <= most + READ + SMALL, "{role:?} {opcode:?}: {owned} bytes of {fed}");
                connection.feed(&next.repeat(100));
                fed += 100;
                assert!(fed < 1 << 18, "no end");
            };
            assert_eq!(found, error);
            assert_eq!(close_code(&mut connection), code);
            assert!(before.owned() <= 2 * SMALL, "{} bytes stay", before.owned());
        }
    }
}

/// The same, where each read brings one byte of such a frame.
#[test]
fn reads_of_1_byte_hold_one_buffer() {
    for role in ROLES {
        let mut connection = connection(role, Config::new());
        let wire = [
            frame(role.peer(), false, OpCode::Binary, b"x"),
            frame(role.peer(), false, OpCode::Continuation, b"x").repeat(2000),
        ];
        let before = Heap::now();
        for byte in wire.concat() {
            connection.input().extend_from_slice(&[byte]);
            assert_eq!(pieces(&mut connection), Ok(0));
        }
        let owned = before.owned();
        assert!(owned <= 2 * 2001 + 2 * (4 << 10) + SMALL, "{role:?}: {owned} bytes");
    }
}

/// Frames without payload, which no limit in bytes sees: alone, behind bytes, and between pings.
#[test]
fn fragment_flood_empty() {
    for (role, delivery) in ROLES.iter().flat_map(|&role| DELIVERIES.map(|delivery| (role, delivery))) {
        let peer = role.peer();
        let empty = frame(peer, false, OpCode::Continuation, b"");
        let byte = frame(peer, false, OpCode::Continuation, b"x");
        let ping = frame(peer, true, OpCode::Ping, b"p");
        let cases = [
            (frame(peer, false, OpCode::Text, b""), empty.clone(), 63),
            (frame(peer, false, OpCode::Binary, b"x"), empty.clone(), 64),
            (frame(peer, false, OpCode::Text, b"x"), [byte, empty.clone()].concat(), 64),
            (frame(peer, false, OpCode::Binary, b""), [ping, empty].concat(), 63),
        ];
        for (first, unit, passes) in cases {
            let before = Heap::now();
            let mut connection = connection(role, Config::new().delivery(delivery));
            let own = before.owned();
            connection.feed(&first);
            for _ in 0..passes {
                connection.feed(&unit);
                pieces(&mut connection).unwrap();
                assert!(before.owned() <= own + READ + SMALL);
            }
            connection.feed(&unit);
            assert_eq!(pieces(&mut connection), Err(ProtocolError::TooManyEmptyFragments { max: 64 }));
            assert_eq!(close_code(&mut connection), 1008);
        }
    }
}

/// Each frame fits, and all of them together do not.
#[test]
fn cumulative_limit_across_fragments() {
    const LIMIT: usize = 1000;
    for (role, delivery) in ROLES.iter().flat_map(|&role| DELIVERIES.map(|delivery| (role, delivery))) {
        let config =
            Config::new().delivery(delivery).max_message(LIMIT).max_frame(400).max_streamed(LIMIT as u64);
        let error = match delivery {
            Delivery::Whole => ProtocolError::MessageTooBig { max: LIMIT },
            Delivery::Chunks => ProtocolError::StreamTooBig { max: LIMIT as u64 },
        };
        let ping = frame(role.peer(), true, OpCode::Ping, b"p");
        for (opcode, size, pings) in [
            (OpCode::Text, 1, false),
            (OpCode::Binary, 7, true),
            (OpCode::Binary, 300, false),
            (OpCode::Text, 400, true),
        ] {
            let mut connection = connection(role, config);
            // A message before it counts for nothing.
            connection.feed(&frame(role.peer(), true, OpCode::Binary, &[1; 400]));
            assert!(connection.next_event().unwrap().is_some());
            let mut sum = 0;
            let found = loop {
                let opcode = if sum == 0 { opcode } else { OpCode::Continuation };
                let wire = frame(role.peer(), false, opcode, &vec![b'x'; size]);
                sum += size;
                // The header that shows it is enough.
                connection.feed(if sum > LIMIT { &wire[..wire.len() - size] } else { &wire });
                if pings && sum <= LIMIT {
                    connection.feed(&ping);
                }
                match pieces(&mut connection) {
                    Ok(_) => assert!(sum <= LIMIT, "{sum} bytes in pieces of {size} pass"),
                    Err(error) => break error,
                }
            };
            assert_eq!(found, error);
            assert!(sum > LIMIT && sum <= LIMIT + size, "{sum}");
            assert_eq!(found.close_code().get(), 1009);
        }
    }
}

/// Twice as many fragments ask for twice as much memory, and hardly more often: what is there is not copied for each.
/// That it is not looked at either is counted in instructions: `instructions_grow_with_the_input`.
#[test]
fn reassembly_is_linear() {
    for (role, opcode) in ROLES.iter().flat_map(|&role| KINDS.map(|opcode| (role, opcode))) {
        for size in [1, 50] {
            let run = |count: usize| {
                let mut connection = connection(role, Config::new());
                let next = frame(role.peer(), false, OpCode::Continuation, &vec![b'x'; size]);
                connection.feed(&frame(role.peer(), false, opcode, b"x"));
                let before = Heap::now();
                for _ in 0..count {
                    connection.feed(&next);
                    assert_eq!(pieces(&mut connection), Ok(0));
                }
                (before.asked(), before.allocations())
            };
            let (once, twice) = (run(30_000), run(60_000));
            assert!(once.0 >= 30_000 * size, "{once:?}: the message is nowhere");
            assert!(twice.0 as f64 <= once.0 as f64 * 2.2, "{role:?} {opcode:?}: {twice:?} after {once:?}");
            assert!(twice.1 <= once.1 + 2, "{role:?} {opcode:?}: {twice:?} after {once:?}");
        }
    }
}

/// A message that was put together is gone once the application drops it.
#[test]
fn aggregated_messages_are_let_go() {
    for (role, opcode) in ROLES.iter().flat_map(|&role| KINDS.map(|opcode| (role, opcode))) {
        let piece = vec![b'x'; 50_000];
        let wire = [
            frame(role.peer(), false, opcode, &piece),
            frame(role.peer(), false, OpCode::Continuation, &piece),
            frame(role.peer(), true, OpCode::Continuation, &piece),
        ]
        .concat();
        let mut connection = connection(role, Config::new());
        let before = Heap::now();
        for _ in 0..50 {
            let mut rest = &wire[..];
            let mut message = None;
            while !rest.is_empty() {
                let room = connection.input();
                let count = (room.capacity() - room.len()).min(rest.len());
                room.extend_from_slice(&rest[..count]);
                rest = &rest[count..];
                message = connection.next_event().unwrap();
            }
            assert!(message.is_some() && before.owned() >= 150_000, "the message is nowhere");
            drop(message);
            assert!(before.owned() <= READ + SMALL, "{role:?} {opcode:?}: {} bytes stay", before.owned());
        }
    }
}
