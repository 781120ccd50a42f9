//! Compressed messages that were changed on their way.
//!
//! DEFLATE has no checksum, so that a changed message may be another message. What holds: nothing panics; what
//! comes out is what an inflater that is not ours makes of the same bytes, and text is UTF-8; all else fails with
//! 1007; and none of it depends on how the bytes arrived.

use taut::proto::{Deflate, Delivery, Kind, Message, ProtocolError, Role};

use crate::bits::{Bits, Distance, TAIL};
use crate::ends::{agreed, compressed, eager, noise, on_wire, prose};
use crate::examples::{BFINAL, ONE_BLOCK, STORED, TWO_BLOCKS};
use crate::oracle::once;
use crate::support::{Outcome, Take, replay};
use crate::wire::{BINARY, TEXT};

/// A few messages, compressed by hand and by ourselves, and what they say.
fn samples() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut samples: Vec<(Vec<u8>, Vec<u8>)> =
        [ONE_BLOCK, STORED, BFINAL, TWO_BLOCKS].map(|payload| (payload.to_vec(), b"Hello".to_vec())).into();
    let run = Bits::default().stored(false, b"ab").run(1, Distance::One, 2).run(83, Distance::One, 0);
    samples.push((run.fixed(false, b"c").message(), [&b"ab"[..], &[0; 600], b"c"].concat()));

    for (level, message) in [
        (9, prose(600, 1)),
        (3, prose(400, 2)),
        (1, prose(300, 3)),
        (3, "é€𝄞".repeat(20)),
        (3, "a".repeat(1000)),
    ] {
        let mut connection = agreed(Role::Server, eager().deflate_level(level), Deflate::new());
        connection.send_text(&message).unwrap();
        samples.push((on_wire(&mut connection)[0].payload(), message.into_bytes()));
    }
    let mut connection = agreed(Role::Server, eager(), Deflate::new());
    let noise = noise(80, 1);
    connection.send_fragment(Kind::Binary, &noise[..40], false).unwrap();
    connection.send_fragment(Kind::Binary, &noise[40..], true).unwrap();
    samples.push((on_wire(&mut connection)[0].payload(), noise));
    samples
}

/// What comes of a payload, in both delivery modes, at once and byte by byte. Gives the message, if one came.
#[track_caller]
fn outcome_of(role: Role, opcode: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let input = compressed(role.peer(), opcode, payload);
    let every: Vec<usize> = (1..input.len()).collect();
    let mut first: Option<Outcome> = None;
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        for cuts in [&[][..], &every] {
            let mut connection = agreed(role, eager().delivery(delivery), Deflate::new());
            let outcome = replay(&mut connection, &input, cuts, Take::Borrowed);
            if let Some(error) = outcome.error {
                assert_eq!(error.close_code().get(), 1007, "{error}");
                assert!(opcode == TEXT || error == ProtocolError::Deflate, "{error}");
            }
            // Where text is broken in two ways, which of them comes first depends on how it arrives.
            let same = |first: &Outcome| {
                first.messages == outcome.messages && first.error.is_some() == outcome.error.is_some()
            };
            assert!(
                first.as_ref().is_none_or(same),
                "{delivery:?}: {outcome:?} instead of {first:?}: {payload:x?}"
            );
            first.get_or_insert(outcome);
        }
    }
    let outcome = first.unwrap();
    assert_eq!(outcome.messages.len() + usize::from(outcome.error.is_some()), 1, "{payload:x?}");
    outcome.messages.into_iter().next().map(|message| match message {
        Message::Text(text) => text.into_bytes().to_vec(),
        Message::Binary(bytes) => bytes.to_vec(),
        other => panic!("{other:?}"),
    })
}

/// What the other inflater makes of it.
fn other(payload: &[u8]) -> Option<Vec<u8>> {
    once(&[payload, &TAIL].concat())
}

#[test]
fn a_flipped_bit_fails_or_says_what_it_says_to_others() {
    let (mut failed, mut changed, mut stricter) = (0, 0, 0);
    for (payload, message) in samples() {
        assert_eq!(outcome_of(Role::Client, BINARY, &payload).as_ref(), Some(&message));
        for bit in 0..payload.len() * 8 {
            let mut payload = payload.clone();
            payload[bit / 8] ^= 1 << (bit % 8);
            let (expected, role) = (other(&payload), if bit % 2 == 0 { Role::Client } else { Role::Server });
            match (outcome_of(role, BINARY, &payload), expected) {
                (None, None) => failed += 1,
                (Some(bytes), Some(expected)) => {
                    assert_eq!(bytes, expected, "bit {bit}");
                    changed += 1;
                }
                // It does not end where a message ends; see D22.
                (None, Some(_)) => stricter += 1,
                (Some(bytes), None) => panic!("bit {bit} gave {bytes:x?}, which is no message: {payload:x?}"),
            }
            let text = outcome_of(role, TEXT, &payload);
            assert!(text.is_none_or(|text| String::from_utf8(text).is_ok()));
        }
    }
    assert!(failed > 500 && changed > 500 && stricter > 100, "{failed} {changed} {stricter}");
}

/// A message cut short has lost the block that ends it, and with that is noticed; unless it was cut where another
/// block without compression begins, or behind one with BFINAL.
#[test]
fn a_message_cut_short_is_noticed() {
    for (payload, message) in samples() {
        for end in 0..payload.len() {
            for role in [Role::Client, Role::Server] {
                let short = outcome_of(role, BINARY, &payload[..end]);
                let Some(short) = short else { continue };
                assert!(message.starts_with(&short));
                let stored = matches!(payload[end..], [a, b, c, d, ..] if (c, d) == (!a, !b));
                let ended = payload == BFINAL && end == BFINAL.len() - 1;
                assert!(stored || ended, "cut at {end}, it says {short:x?}: {payload:x?}");
            }
        }
    }
}

/// Bytes in and bytes out of their place.
#[test]
fn bytes_that_are_missing_or_too_many_are_no_panic() {
    for (payload, _) in samples() {
        for at in 0..payload.len() {
            let without = [&payload[..at], &payload[at + 1..]].concat();
            let twice = [&payload[..=at], &payload[at..]].concat();
            for payload in [without, twice] {
                if let Some(bytes) = outcome_of(Role::Server, BINARY, &payload) {
                    assert_eq!(Some(bytes), other(&payload), "{payload:x?}");
                }
            }
        }
    }
}
