//! Frames that others took, or died of: reserved bits, and Closes of every kind.

use taut::proto::{CloseCode, CloseFrame, Config, ProtocolError, Role};

use crate::heap::Heap;
use crate::support::{Take, connection, replay};
use crate::wire::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, body, close, frame, receive, sent, text,
};
use crate::{DELIVERIES, READ, ROLES, compressing};

const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;

/// Compressed frames that nobody agreed on.
#[test]
fn rsv1_without_agreement() {
    for role in ROLES {
        for first in
            [TEXT, BINARY, CONTINUATION, FIN | TEXT, FIN | BINARY, FIN, FIN | CLOSE, FIN | PING, FIN | PONG]
        {
            for payload in [&b""[..], b"x", &[0xCB, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]] {
                let wire = frame(role.peer(), first | RSV1, payload);
                receive(role, wire).fails(ProtocolError::ReservedBit(1), 1002, 1);
            }
        }
        // Agreed on, it marks the beginnings of messages only.
        for (begun, first) in [
            (&[][..], FIN | CLOSE),
            (&[], FIN | PING),
            (&[], FIN | PONG),
            (&frame(role.peer(), TEXT, "a"), FIN),
        ] {
            for delivery in DELIVERIES {
                let mut connection = compressing(role, Config::new().delivery(delivery));
                let wire = [begun, &frame(role.peer(), first | RSV1, b"")].concat();
                let outcome = replay(&mut connection, &wire, &[], Take::Owned);
                assert_eq!(outcome.error, Some(ProtocolError::ReservedBit(1)), "{first:x}");
            }
        }
    }
}

/// They are an error of one connection, told by a value: nothing else notices.
#[test]
fn rsv2_and_rsv3_fail_the_connection() {
    for role in ROLES {
        for (bits, number) in [(RSV2, 2), (RSV3, 3), (RSV2 | RSV3, 2)] {
            for opcode in [TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG] {
                let error = ProtocolError::ReservedBit(number);
                receive(role, frame(role.peer(), FIN | bits | opcode, b"")).fails(error, 1002, 1);
                let mut connection = compressing(role, Config::new());
                connection.feed(&frame(role.peer(), FIN | bits | opcode, b""));
                assert_eq!(connection.next_event(), Err(error), "with compression");
            }
        }
    }
}

#[test]
fn close_frame_tricks() {
    for role in ROLES {
        let peer = role.peer();
        let with = |body: Vec<u8>| receive(role, frame(peer, FIN | CLOSE, body));
        // One byte is no code.
        with(vec![3]).fails(ProtocolError::ClosePayload, 1002, if role == Role::Server { 7 } else { 3 });
        // Codes that nobody may send.
        for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 0x7FFF, 0xFFFF] {
            for reason in ["", "why"] {
                let mut connection = connection(role, Config::new());
                connection.feed(&frame(peer, FIN | CLOSE, body(code, reason)));
                assert_eq!(connection.next_event(), Err(ProtocolError::CloseCode(code)));
                assert_eq!(sent(&mut connection)[0].payload[..2], 1002_u16.to_be_bytes());
            }
        }
        for code in [1000, 1003, 1007, 1011, 1014, 3000, 4999] {
            let answer = body(code, "");
            with(body(code, "é")).gives([close(code, "é")]).sends(FIN | CLOSE, answer).closes(code, "é");
        }
        // A reason that is no text, or ends within a character.
        for reason in [&b"\xFF"[..], b"\xED\xA0\x80", b"\xF0\x9F\x98", b"a\xC0\xAF"] {
            let mut connection = connection(role, Config::new());
            connection.feed(&frame(peer, FIN | CLOSE, body(1000, reason)));
            let error = connection.next_event().unwrap_err();
            assert!(matches!(error, ProtocolError::InvalidUtf8 { .. }), "{error}");
            assert_eq!(sent(&mut connection)[0].payload[..2], 1007_u16.to_be_bytes());
        }
        // Too long, and in pieces: by the header.
        with(body(1000, [b'x'; 124])).fails(ProtocolError::ControlTooLong, 1002, 2);
        receive(role, frame(peer, CLOSE, body(1000, ""))).fails(ProtocolError::FragmentedControl, 1002, 1);
        // Whatever stands behind a Close is not looked at: `closes` sends that, too.
        for late in
            [frame(peer, FIN | TEXT, "late"), vec![0xFF; 50], frame(peer, FIN | CLOSE, body(1002, "no"))]
        {
            let wire =
                [frame(peer, FIN | TEXT, "a"), frame(peer, FIN | CLOSE, body(1000, "")), late].concat();
            let expected = receive(role, wire).gives([text("a"), close(1000, "")]);
            expected.sends(FIN | CLOSE, body(1000, "")).closes(1000, "");
        }
    }
}

/// One answer, one event, and no memory for the rest; also if our Close was the first.
#[test]
fn close_flood() {
    for (role, first) in ROLES.iter().flat_map(|&role| [false, true].map(|first| (role, first))) {
        let mut connection = connection(role, Config::new());
        if first {
            connection.close(Some(CloseFrame::new(CloseCode::NORMAL, "ours").unwrap()));
        }
        let flood = frame(role.peer(), FIN | CLOSE, body(1001, "again")).repeat(100);
        let before = Heap::now();
        let mut events = 0;
        for _ in 0..1000 {
            connection.feed(&flood);
            while connection.next_event().unwrap().is_some() {
                events += 1;
            }
            assert!(before.owned() <= READ, "{} bytes", before.owned());
        }
        assert_eq!(events, 1);
        let frames = sent(&mut connection);
        assert_eq!(frames.len(), 1, "{frames:?}");
        assert_eq!(frames[0].payload[..2], if first { 1000_u16 } else { 1001 }.to_be_bytes());
    }
}
