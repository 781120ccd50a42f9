//! RFC 6455 as a table: a row for each requirement, with what comes in or is done, and what must come of it.
//!
//! Every input is replayed at every cut, in both delivery modes and all ways to take events; what leaves on
//! the wire and the state at the end are part of the outcome. Each `#[test]` runs the rows of one section.

mod support;

#[path = "rfc6455/client_handshake.rs"]
mod client_handshake;
#[path = "rfc6455/closing.rs"]
mod closing;
#[path = "rfc6455/codes.rs"]
mod codes;
#[path = "rfc6455/control.rs"]
mod control;
#[path = "rfc6455/data.rs"]
mod data;
#[path = "rfc6455/examples.rs"]
mod examples;
#[path = "rfc6455/framing.rs"]
mod framing;
#[path = "rfc6455/heads.rs"]
mod heads;
#[path = "rfc6455/limits.rs"]
mod limits;
#[path = "rfc6455/sending.rs"]
mod sending;
#[path = "rfc6455/server_answer.rs"]
mod server_answer;
#[path = "rfc6455/server_handshake.rs"]
mod server_handshake;
#[path = "support/table.rs"]
mod table;
#[path = "rfc6455/uris.rs"]
mod uris;
#[path = "rfc6455/wire.rs"]
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::panic;

pub(crate) use table::{BOTH, CLIENT, SERVER};
use taut::proto::Role;

/// A requirement by its name: U for URIs, C and S for the handshake of clients and servers, F for frames, T for
/// transfer, X for the end.
pub(crate) type Row = table::Row<&'static str>;

table::table! {
    s1_3_and_s5_7_the_examples_of_the_rfc_come_out_byte_for_byte: examples::EXAMPLES,
    s3_a_client_connects_to_valid_uris_only: uris::S3,
    s4_1_a_client_asks_with_a_request_that_conforms: client_handshake::REQUEST,
    s4_1_a_client_fails_on_an_answer_that_does_not_conform: client_handshake::ANSWER,
    s4_2_1_a_server_refuses_a_request_that_does_not_conform: server_handshake::READING,
    s4_2_2_a_server_answers_as_the_request_allows: server_answer::ANSWERING,
    s11_3_fields_appear_as_often_as_they_may: server_answer::S11_3,
    s5_1_clients_mask_and_servers_do_not: framing::S5_1,
    s5_2_headers_outside_the_format_fail: framing::S5_2,
    s5_3_payloads_are_masked_with_a_fresh_key_for_each_frame: sending::S5_3,
    s5_4_messages_come_whole_or_in_fragments: framing::S5_4,
    s5_5_control_frames_are_short_and_whole: control::S5_5,
    s5_5_1_a_close_is_answered_once: control::S5_5_1,
    s5_5_2_and_s5_5_3_a_ping_is_answered_by_its_pong: control::S5_5_2,
    s5_6_and_s8_1_text_is_utf_8_or_fails: data::S5_6,
    s5_8_extensions_are_used_by_agreement_only: data::S5_8,
    s6_messages_are_sent_while_open_and_received_in_their_type: sending::S6,
    s7_1_closing_ends_in_a_known_state: closing::S7_1,
    s7_1_7_a_failed_connection_says_why_and_hears_no_more: closing::S7_1_7,
    s7_2_a_lost_transport_is_a_failure: closing::S7_2,
    s7_4_codes_are_those_that_may_be_on_the_wire: codes::S7_4,
    s10_4_limits_hold_at_their_number: limits::S10_4,
    s10_7_nonsense_is_met_with_a_close_or_a_refusal: limits::S10_7,
}

/// Requirements that no endpoint of this crate can be held to by itself, and why.
const NOT_HERE: &[(&str, &str)] = &[
    (
        "C1",
        "who opens several connections at once queues them by address: a matter of the code that connects",
    ),
    ("C2", "how many connections to one host are too many is the application's policy"),
    ("C3", "proxies are asked for a tunnel by the code that connects"),
    ("C4", "a transport that cannot be opened never reaches the engine, which is built on an open one"),
    ("C5", "TLS runs below the engine"),
    ("C6", "Server Name Indication is part of TLS"),
    ("X11", "an engine is one connection: waiting before the next is up to what reconnects"),
    ("X17", "TLS runs below the engine"),
];

fn run(rows: &[Row]) {
    assert!(!rows.is_empty());
    let mut broken = String::new();
    for row in rows {
        for &role in row.who {
            if panic::catch_unwind(|| (row.check)(role)).is_err() {
                let Row { id, section, requirement, .. } = row;
                broken += &format!("\n{id} (RFC 6455 §{section}, {role:?}): {requirement}");
            }
        }
    }
    assert!(broken.is_empty(), "broken:{broken}");
}

#[test]
fn every_requirement_has_its_row() {
    let mut wanted = BTreeMap::new();
    for (letter, count, who) in [
        ("U", 3, CLIENT),
        ("C", 21, CLIENT),
        ("S", 17, SERVER),
        ("F", 29, BOTH),
        ("T", 4, BOTH),
        ("X", 18, BOTH),
    ] {
        wanted.extend((1..=count).map(|number| (format!("{letter}{number}"), who)));
    }
    for (ids, who) in [
        (&["F1", "F4", "F9", "F23", "X8", "X9", "X11"][..], CLIENT),
        (&["F2", "F3", "F22", "T4", "X10"], SERVER),
        (&["S11", "S13", "S14", "S15", "S16", "S17"], BOTH),
    ] {
        wanted.extend(ids.iter().map(|id| ((*id).into(), who)));
    }
    let rows = || TABLE.iter().copied().flatten();
    let tested: BTreeSet<String> = rows().map(|row| row.id.into()).collect();
    let not_here: BTreeSet<String> = NOT_HERE.iter().map(|(id, _)| (*id).into()).collect();
    assert_eq!(NOT_HERE.len(), not_here.len());
    assert_eq!(tested.intersection(&not_here).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(tested.union(&not_here).eq(wanted.keys()), "{tested:?} and {not_here:?}");
    for id in &tested {
        for role in wanted[id] {
            assert!(rows().any(|row| row.id == id && row.who.contains(role)), "{id} also binds a {role:?}");
        }
    }
    for row in rows() {
        assert!(!row.who.is_empty(), "{} binds nobody", row.id);
        assert!(row.section.starts_with(|first: char| first.is_ascii_digit()), "{}: {}", row.id, row.section);
        assert!(row.requirement.len() > 10, "{}", row.id);
    }
}

/// Expectations that are wrong, each in one point: a check that let one pass would prove nothing.
#[test]
fn a_wrong_expectation_is_noticed() {
    use taut::proto::{Config, Delivery, ProtocolError};
    use wire::{CLOSE, FIN, PING, PONG, TEXT, body, close, frame, ping, receive, text};

    const ERROR: ProtocolError = ProtocolError::ReservedOpcode(3);
    let wrong: &[fn(Role)] = &[
        // Of an input that is fine: another message, none, one more, an answer that does not leave, an end.
        |role| receive(role, frame(role.peer(), FIN | TEXT, b"a")).gives([text("b")]).stays_open(),
        |role| receive(role, frame(role.peer(), FIN | TEXT, b"a")).stays_open(),
        |role| receive(role, frame(role.peer(), FIN | TEXT, b"a")).gives([text("a"), text("")]).stays_open(),
        |role| {
            receive(role, frame(role.peer(), FIN | TEXT, b"a"))
                .gives([text("a")])
                .sends(FIN | PONG, "")
                .stays_open()
        },
        |role| receive(role, frame(role.peer(), FIN | TEXT, b"a")).gives([text("a")]).closes(1000, ""),
        |role| receive(role, frame(role.peer(), FIN | TEXT, b"a")).gives([text("a")]).fails(ERROR, 1002, 1),
        // Of a ping: no answer, another, a second one.
        |role| receive(role, frame(role.peer(), FIN | PING, b"a")).gives([ping("a")]).stays_open(),
        |role| {
            receive(role, frame(role.peer(), FIN | PING, b"a"))
                .gives([ping("a")])
                .sends(FIN | PONG, "b")
                .stays_open()
        },
        |role| {
            let expected = receive(role, frame(role.peer(), FIN | PING, b"a")).gives([ping("a")]);
            expected.sends(FIN | PONG, "a").sends(FIN | PONG, "a").stays_open();
        },
        // Of a failure: another code, another error, a later byte, an earlier one, one delivery mode, none.
        |role| receive(role, frame(role.peer(), 0x83, b"")).fails(ERROR, 1007, 1),
        |role| receive(role, frame(role.peer(), 0x84, b"")).fails(ERROR, 1002, 1),
        |role| receive(role, frame(role.peer(), 0x83, b"")).fails(ERROR, 1002, 2),
        |role| {
            let input = [frame(role.peer(), FIN | PONG, b""), frame(role.peer(), 0x83, b"")].concat();
            receive(role, input).gives([wire::pong("")]).fails(ERROR, 1002, 1);
        },
        |role| {
            let config = Config::new().max_message(0).max_streamed(0);
            let input = frame(role.peer(), FIN | TEXT, b"a");
            receive(role, input).config(config).fails(ProtocolError::MessageTooBig { max: 0 }, 1009, 2);
        },
        |role| receive(role, frame(role.peer(), 0x83, b"")).only(Delivery::Chunks).stays_open(),
        // Of a Close: another code, another reason, another answer, no end.
        |role| {
            let expected =
                receive(role, frame(role.peer(), FIN | CLOSE, body(1000, "a"))).gives([close(1000, "a")]);
            expected.sends(FIN | CLOSE, body(1000, "")).closes(1001, "a");
        },
        |role| {
            let expected =
                receive(role, frame(role.peer(), FIN | CLOSE, body(1000, "a"))).gives([close(1000, "a")]);
            expected.sends(FIN | CLOSE, body(1000, "")).closes(1000, "");
        },
        |role| {
            let expected =
                receive(role, frame(role.peer(), FIN | CLOSE, body(1000, "a"))).gives([close(1000, "a")]);
            expected.sends(FIN | CLOSE, body(1000, "a")).closes(1000, "a");
        },
        |role| {
            let expected =
                receive(role, frame(role.peer(), FIN | CLOSE, body(1000, "a"))).gives([close(1000, "a")]);
            expected.sends(FIN | CLOSE, body(1000, "")).stays_open();
        },
    ];
    for (number, check) in wrong.iter().enumerate() {
        for &role in BOTH {
            assert!(panic::catch_unwind(|| check(role)).is_err(), "number {number} passed ({role:?})");
        }
    }
}
