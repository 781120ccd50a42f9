//! Lengths that are announced, and lengths that no number holds.

use taut::proto::{Config, Connection, Delivery, ProtocolError, Role};

use crate::heap::Heap;
use crate::support::{KEY, connection};
use crate::wire::{BINARY, CONTINUATION, FIN, Form, TEXT, frame, header};
use crate::{DELIVERIES, Numbers, ROLES, compressing};

const fn no_limits(delivery: Delivery) -> Config {
    let config = Config::new().delivery(delivery).max_message(usize::MAX).max_frame(usize::MAX);
    config.max_fragments(u32::MAX).max_empty_fragments(u32::MAX)
}

/// A header alone takes the memory of the read that brought it, whatever it says.
#[test]
fn announced_length_allocates_nothing() {
    const RSV1: u8 = 0x40;
    for (role, delivery) in ROLES.iter().flat_map(|&role| DELIVERIES.map(|delivery| (role, delivery))) {
        for len in [1 << 24, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1] {
            for first in [FIN | TEXT, FIN | BINARY, BINARY, FIN | RSV1 | TEXT] {
                let wire = header(role.peer(), first, Form::Bits64, len);
                let zero = if role == Role::Server { KEY[0] } else { 0 };
                let new = || match first & RSV1 {
                    0 => connection(role, no_limits(delivery)),
                    _ => compressing(role, no_limits(delivery)),
                };
                let feeds: [&dyn Fn(&mut Connection); 3] = [
                    &|connection| connection.feed(&wire),
                    &|connection| {
                        for byte in &wire {
                            connection.input().extend_from_slice(&[*byte]);
                            assert_eq!(connection.next_event(), Ok(None));
                        }
                    },
                    // And a byte of the payload, whose place is made then.
                    &|connection| connection.feed(&[&wire[..], &[zero]].concat()),
                ];
                for (number, feed) in feeds.iter().enumerate() {
                    let mut connection = new();
                    let before = Heap::now();
                    feed(&mut connection);
                    while connection.next_event_ref().unwrap().is_some() {}
                    connection.input();
                    // The first read's room, twice as it is made, and an inflater where one begins.
                    let most = if first & RSV1 == 0 { 10 << 10 } else { 80 << 10 };
                    assert!(before.peak() <= most, "{role:?} {first:x} {len:x} {number}: {}", before.peak());
                }
            }
        }
    }
}

/// Lengths at the ends of every type against limits at the ends of every type: what is over its limit fails, what is
/// not is waited for, and no sum wraps.
#[test]
fn length_overflow() {
    let limits =
        [0, 1, 125, 0x7FFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FFFF, usize::MAX / 2, usize::MAX - 1, usize::MAX];
    let ends = [1 << 31, 1 << 32, 1 << 62, 1 << 63, usize::MAX as u64, u64::MAX - 1];
    let lengths = ends.iter().flat_map(|&end| [end - 1, end, end.saturating_add(1)]);
    for len in lengths.chain([0x1_0000]) {
        for (role, delivery) in ROLES.iter().flat_map(|&role| DELIVERIES.map(|delivery| (role, delivery))) {
            for (limit, begun) in limits.iter().flat_map(|&limit| [0_u64, 100].map(|begun| (limit, begun))) {
                let config = no_limits(delivery).max_message(limit).max_streamed(limit as u64);
                if begun > limit as u64 {
                    continue;
                }
                let mut connection = connection(role, config);
                if begun > 0 {
                    connection.feed(&frame(role.peer(), BINARY, vec![0; begun as usize]));
                    while connection.next_event_ref().unwrap().is_some() {}
                }
                let first = if begun > 0 { CONTINUATION } else { BINARY };
                connection.feed(&header(role.peer(), FIN | first, Form::Bits64, len));
                let found = connection.next_event_ref().map(|event| assert!(event.is_none()));
                let fits = u128::from(len) + u128::from(begun) <= limit as u128;
                let name = format!("{len:x} behind {begun} of {limit:x}, {role:?}, {delivery:?}");
                match found {
                    Err(ProtocolError::LengthTopBit) => assert!(len >= 1 << 63, "{name}"),
                    Err(error) => {
                        assert_eq!(error.close_code().get(), 1009, "{name}");
                        assert!(!fits && len < 1 << 63, "{name}: {error}");
                    }
                    Ok(()) => assert!(fits && len < 1 << 63, "{name}"),
                }
            }
        }
    }
}

/// The sign bit of a 64-bit length is no length, and nobody waits for the rest of it.
#[test]
fn length_top_bit() {
    for (role, delivery) in ROLES.iter().flat_map(|&role| DELIVERIES.map(|delivery| (role, delivery))) {
        for (config, byte) in [no_limits(delivery), Config::new().delivery(delivery)]
            .iter()
            .flat_map(|c| (0x80..=0xFF).map(move |b| (c, b)))
        {
            let wire = header(
                role.peer(),
                FIN | BINARY,
                Form::Bits64,
                u64::from_be_bytes([byte, 1, 2, 3, 4, 5, 6, 7]),
            );
            let mut connection = connection(role, *config);
            connection.feed(&wire[..2]);
            assert_eq!(connection.next_event(), Ok(None));
            connection.feed(&wire[2..3]);
            for _ in 0..3 {
                assert_eq!(connection.next_event(), Err(ProtocolError::LengthTopBit), "{byte:x}");
            }
            assert_eq!(ProtocolError::LengthTopBit.close_code().get(), 1002);
        }
    }
}

/// Whatever comes, each event takes a frame's worth of bytes, and `None` waits for more: there is no loop without end.
#[test]
fn each_call_takes_bytes_or_waits() {
    let mut numbers = Numbers::new(1);
    let mut events = 0;
    for round in 0..20_000 {
        let role = ROLES[round % 2];
        let mut connection = connection(role, Config::new().delivery(DELIVERIES[round / 2 % 2]));
        let mut wire = Vec::new();
        while wire.len() < 60 {
            let (len, first) =
                (numbers.below(9), [0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8A, 0x88][numbers.below(8)]);
            let payload = [b'a', 0xC3, 0xA9][..].repeat(3);
            wire.extend(frame(role.peer(), first, &payload[..len]));
        }
        for _ in 0..numbers.below(3) {
            let at = numbers.below(wire.len());
            wire[at] = numbers.byte();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + numbers.below(rest.len()));
            rest = after;
            connection.feed(piece);
            let mut calls = 0;
            while let Ok(Some(_)) = connection.next_event_ref() {
                calls += 1;
                // Two bytes are the shortest frame; what waited from before is below one of these.
                assert!(
                    calls <= piece.len().div_ceil(2) + 1,
                    "{calls} events of {} bytes: {wire:x?}",
                    piece.len()
                );
            }
            events += calls;
            let waits = connection.next_event_ref();
            assert!(matches!(waits, Ok(None) | Err(_)), "an event after none: {wire:x?}");
        }
    }
    assert!(events > 20_000, "{events}: this input tells nothing");
}
