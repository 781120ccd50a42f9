//! Status codes of Close frames (RFC 6455 §7.4).

use taut::proto::{CloseCode, CloseFrame, CloseStatus, Config, Event, ProtocolError};

use crate::support;
use crate::wire::{CLOSE, FIN, body, close, frame, receive, sent, status};
use crate::{BOTH, Row};

/// Both ends of each class of codes, and whether a Close may carry them: what RFC 6455 §7.4 defines, and what
/// is registered since.
const CLASSES: &[(u16, u16, bool)] = &[
    (0, 999, false),
    (1000, 1003, true),
    (1004, 1006, false),
    (1007, 1014, true),
    (1015, 2999, false),
    (3000, 3999, true),
    (4000, 4999, true),
    (5000, 65535, false),
];

/// Codes at the borders of classes, and some of note.
const BORDERS: &[u16] = &[
    0, 1, 999, 1000, 1001, 1003, 1004, 1005, 1006, 1007, 1010, 1011, 1012, 1014, 1015, 1016, 1100, 1999,
    2000, 2999, 3000, 3001, 3999, 4000, 4999, 5000, 5001, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF,
];

fn is_allowed(code: u16) -> bool {
    CLASSES.iter().any(|(first, last, allowed)| (*first..=*last).contains(&code) && *allowed)
}

pub(crate) const S7_4: &[Row] = &[
    Row {
        id: "X12",
        section: "7.4.1",
        who: BOTH,
        requirement: "1005, 1006 and 1015 \"MUST NOT be set as a status code in a Close control frame by an \
            endpoint\"; 1004 is reserved",
        check: |role| {
            for code in [1004, 1005, 1006, 1015] {
                // No frame can be built with one, and the peer's is not accepted.
                assert_eq!(CloseCode::new(code), None);
                let input = frame(role.peer(), FIN | CLOSE, body(code, "reserved"));
                let at = input.len();
                receive(role, input).fails(ProtocolError::CloseCode(code), 1002, at);
            }
            // Where 1005 and 1006 are reported, they do not leave.
            let mut connection = support::connection(role, Config::new());
            connection.feed(&frame(role.peer(), FIN | CLOSE, b""));
            assert!(connection.next_event().unwrap().is_some());
            assert_eq!(status(&connection).unwrap().0, CloseStatus::NO_CODE);
            assert_eq!(sent(&mut connection)[0].plain(), (FIN | CLOSE, &b""[..]));
            let mut connection = support::connection(role, Config::new());
            connection.input_eof();
            assert_eq!(connection.next_event(), Ok(None));
            assert_eq!(status(&connection).unwrap().0, CloseStatus::ABNORMAL);
            assert_eq!(sent(&mut connection), []);
            assert_eq!((CloseStatus::NO_CODE, CloseStatus::ABNORMAL), (1005, 1006));
        },
    },
    Row {
        id: "X13",
        section: "7.4.1",
        who: BOTH,
        requirement: "\"Endpoints MAY use the following pre-defined status codes when sending a Close \
            frame.\"",
        check: |role| {
            for (code, number) in [
                (CloseCode::NORMAL, 1000),
                (CloseCode::AWAY, 1001),
                (CloseCode::PROTOCOL, 1002),
                (CloseCode::UNSUPPORTED, 1003),
                (CloseCode::INVALID_DATA, 1007),
                (CloseCode::POLICY, 1008),
                (CloseCode::TOO_BIG, 1009),
                (CloseCode::EXTENSION, 1010),
                (CloseCode::INTERNAL, 1011),
                (CloseCode::RESTART, 1012),
                (CloseCode::TRY_AGAIN, 1013),
                (CloseCode::BAD_GATEWAY, 1014),
            ] {
                assert_eq!(code.get(), number);
                let mut connection = support::connection(role, Config::new());
                connection.close(Some(CloseFrame::new(code, "why").unwrap()));
                assert_eq!(sent(&mut connection)[0].plain(), (FIN | CLOSE, &body(number, "why")[..]));
            }
            // Each kind of failure has the code of its meaning.
            for (error, number) in [
                (ProtocolError::ReservedBit(1), 1002),
                (ProtocolError::ReservedOpcode(3), 1002),
                (ProtocolError::FragmentedControl, 1002),
                (ProtocolError::ControlTooLong, 1002),
                (ProtocolError::UnexpectedContinuation, 1002),
                (ProtocolError::ExpectedContinuation, 1002),
                (ProtocolError::MaskedFromServer, 1002),
                (ProtocolError::UnmaskedFromClient, 1002),
                (ProtocolError::LengthNotMinimal, 1002),
                (ProtocolError::LengthTopBit, 1002),
                (ProtocolError::ClosePayload, 1002),
                (ProtocolError::CloseCode(1005), 1002),
                (ProtocolError::InvalidUtf8 { offset: 0 }, 1007),
                (ProtocolError::TooManyFragments { max: 1 }, 1008),
                (ProtocolError::TooManyEmptyFragments { max: 1 }, 1008),
                (ProtocolError::FrameTooBig { max: 1 }, 1009),
                (ProtocolError::MessageTooBig { max: 1 }, 1009),
                (ProtocolError::StreamTooBig { max: 1 }, 1009),
            ] {
                assert_eq!(error.close_code().get(), number, "{error}");
            }
        },
    },
    Row {
        id: "X14",
        section: "7.4.2",
        who: BOTH,
        requirement: "the classes of codes, as they come",
        check: |role| {
            for code in 0..=u16::MAX {
                let mut connection = support::connection(role, Config::new());
                connection.feed(&frame(role.peer(), FIN | CLOSE, body(code, "")));
                let event = connection.next_event();
                let frames = sent(&mut connection);
                let answered = u16::from_be_bytes([frames[0].payload[0], frames[0].payload[1]]);
                if is_allowed(code) {
                    assert_eq!(event, Ok(Some(Event::Message(close(code, "")))));
                    assert_eq!((answered, frames.len(), frames[0].payload.len()), (code, 1, 2), "the echo");
                } else {
                    assert_eq!(event, Err(ProtocolError::CloseCode(code)));
                    assert_eq!((answered, frames.len()), (1002, 1), "{code}");
                }
            }
            for &code in BORDERS {
                let input = frame(role.peer(), FIN | CLOSE, body(code, "why"));
                let at = input.len();
                if is_allowed(code) {
                    let expected = receive(role, input).gives([close(code, "why")]);
                    expected.sends(FIN | CLOSE, body(code, "")).closes(code, "why");
                } else {
                    receive(role, input).fails(ProtocolError::CloseCode(code), 1002, at);
                }
            }
        },
    },
    Row {
        id: "X14",
        section: "7.4.2",
        who: BOTH,
        requirement: "the classes of codes, as they leave",
        check: |role| {
            for number in 0..=u16::MAX {
                assert_eq!(CloseCode::new(number).map(CloseCode::get), is_allowed(number).then_some(number));
            }
            for &number in BORDERS {
                let Some(code) = CloseCode::new(number) else { continue };
                let mut connection = support::connection(role, Config::new());
                connection.close(Some(code.into()));
                assert_eq!(sent(&mut connection)[0].plain(), (FIN | CLOSE, &number.to_be_bytes()[..]));
            }
        },
    },
];
