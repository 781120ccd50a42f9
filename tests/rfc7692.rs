//! RFC 7692 as a table: a row for each requirement of permessage-deflate, with what comes in or is done, and
//! what must come of it. Behind it, what no table holds: random conversations, and corrupt data.
//!
//! Inputs are replayed at every cut, in both delivery modes and all ways to take events. What we compress is
//! judged by an inflater that is not ours.
#![cfg(feature = "deflate")]

mod support;

#[path = "rfc7692/bits.rs"]
mod bits;
#[path = "rfc7692/conversations.rs"]
mod conversations;
#[path = "rfc7692/corrupt.rs"]
mod corrupt;
#[path = "rfc7692/ends.rs"]
mod ends;
#[path = "rfc7692/examples.rs"]
mod examples;
#[path = "rfc7692/framing.rs"]
mod framing;
#[path = "rfc6455/heads.rs"]
#[expect(dead_code, reason = "written for RFC 6455, and used in part")]
mod heads;
#[path = "rfc7692/limits.rs"]
mod limits;
#[path = "rfc7692/negotiation.rs"]
mod negotiation;
#[path = "rfc7692/oracle.rs"]
mod oracle;
#[path = "rfc7692/payloads.rs"]
mod payloads;
#[path = "support/table.rs"]
mod table;
#[path = "rfc6455/wire.rs"]
#[expect(dead_code, reason = "written for RFC 6455, and used in part")]
mod wire;

use std::collections::BTreeSet;
use std::panic;

pub(crate) use table::{BOTH, CLIENT, SERVER};
use taut::proto::Role;

/// A requirement by its number.
pub(crate) type Row = table::Row<u8>;

table::table! {
    s5_a_client_offers_and_a_server_accepts_one: negotiation::S5,
    s6_rsv1_marks_compressed_messages_and_nothing_else: framing::S6,
    s6_1_and_s6_2_compressed_messages_are_framed_as_others_are: framing::S6_1,
    s7_1_parameters_that_are_invalid_decline_or_fail: negotiation::S7_1,
    s7_1_1_context_takeover_is_as_agreed: negotiation::S7_1_1,
    s7_1_2_windows_are_no_larger_than_agreed: negotiation::S7_1_2,
    s7_2_payloads_are_compressed_and_inflated: payloads::S7_2,
    s7_2_3_the_examples_of_the_rfc: examples::S7_2_3,
    s8_limits_hold_for_what_is_inflated: limits::S8,
}

fn run(rows: &[Row]) {
    assert!(!rows.is_empty());
    let mut broken = String::new();
    for row in rows {
        for &role in row.who {
            if panic::catch_unwind(|| (row.check)(role)).is_err() {
                let Row { id, section, requirement, .. } = row;
                broken += &format!("\nD{id} (RFC 7692 §{section}, {role:?}): {requirement}");
            }
        }
    }
    assert!(broken.is_empty(), "broken:{broken}");
}

#[test]
fn every_requirement_has_its_row() {
    let rows = || TABLE.iter().copied().flatten();
    let tested: BTreeSet<u8> = rows().map(|row| row.id).collect();
    assert!(tested.into_iter().eq(1..=28));
    for id in 1..=28 {
        let bound = match id {
            1 | 3 | 11 | 14 | 18 | 20 => CLIENT,
            2 | 10 | 16 | 19 => SERVER,
            _ => BOTH,
        };
        for role in bound {
            assert!(rows().any(|row| row.id == id && row.who.contains(role)), "D{id} also binds a {role:?}");
        }
    }
    for row in rows() {
        assert!(!row.who.is_empty(), "D{} binds nobody", row.id);
        assert!(row.section.starts_with(['5', '6', '7', '8']), "D{}: {}", row.id, row.section);
        assert!(row.requirement.len() > 10, "D{}", row.id);
    }
}

/// Expectations that are wrong, each in one point: a check that let one pass would prove nothing.
#[test]
fn a_wrong_expectation_is_noticed() {
    use ends::{RSV1, compressed, eager, fails, fragmented, gives, sending};
    use taut::proto::{Deflate, ProtocolError};
    use wire::{FIN, PING, TEXT, binary, frame, text};

    const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    const DEFLATE: ProtocolError = ProtocolError::Deflate;
    let wrong: &[fn(Role)] = &[
        // Of a message that is fine: another, none, two, another kind, an error.
        |role| gives(role, eager(), Deflate::new(), &compressed(role.peer(), TEXT, &HELLO), &[text("hello")]),
        |role| gives(role, eager(), Deflate::new(), &compressed(role.peer(), TEXT, &HELLO), &[]),
        |role| {
            let input = compressed(role.peer(), TEXT, &HELLO);
            gives(role, eager(), Deflate::new(), &input, &[text("Hello"), text("Hello")]);
        },
        |role| {
            gives(role, eager(), Deflate::new(), &compressed(role.peer(), TEXT, &HELLO), &[binary("Hello")])
        },
        |role| {
            let input = compressed(role.peer(), TEXT, &HELLO);
            fails(role, eager(), Deflate::new(), &input, &[text("Hello")], (DEFLATE, 1007));
        },
        // Of a message that is not: that it is, another error, another code, a message before it.
        |role| {
            gives(role, eager(), Deflate::new(), &compressed(role.peer(), TEXT, b"Hello"), &[text("Hello")])
        },
        |role| {
            let input = compressed(role.peer(), TEXT, &[]);
            fails(role, eager(), Deflate::new(), &input, &[], (ProtocolError::ReservedBit(1), 1002));
        },
        |role| {
            let input = compressed(role.peer(), TEXT, &[]);
            fails(role, eager(), Deflate::new(), &input, &[], (DEFLATE, 1002));
        },
        |role| {
            let input = compressed(role.peer(), TEXT, &[]);
            fails(role, eager(), Deflate::new(), &input, &[text("")], (DEFLATE, 1007));
        },
        // Of RSV1: that it may stand on a ping, or on a continuation.
        |role| {
            let input = frame(role.peer(), FIN | RSV1 | PING, b"");
            gives(role, eager(), Deflate::new(), &input, &[wire::ping("")]);
        },
        |role| {
            let mut input = fragmented(role.peer(), TEXT, &HELLO, &[3]);
            let second = if role == Role::Server { 9 } else { 5 };
            input[second] |= RSV1;
            gives(role, eager(), Deflate::new(), &input, &[text("Hello")]);
        },
        // Of an agreement: that the window is kept where it is not.
        |role| {
            let input = [
                compressed(role.peer(), TEXT, &HELLO),
                compressed(role.peer(), TEXT, &[0xf2, 0x00, 0x11, 0x00, 0x00]),
            ];
            let deflate = sending(role.peer(), false, 15);
            gives(role, eager(), deflate, &input.concat(), &[text("Hello"), text("Hello")]);
        },
    ];
    for (number, check) in wrong.iter().enumerate() {
        for &role in BOTH {
            assert!(panic::catch_unwind(|| check(role)).is_err(), "number {number} passed ({role:?})");
        }
    }
}
