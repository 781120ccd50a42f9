//! permessage-deflate: what may be said of it, and where its limits hold. Bombs are in tests/bombs.rs.

use taut::proto::handshake::{Accept, ClientRequest, HandshakeError};
use taut::proto::{Config, Connection, Deflate, Delivery, ProtocolError, Role};

use crate::bits::{Bits, zeros};
use crate::heads::{Head, connect_as, serve};
use crate::support::{KEY, Take, replay};
use crate::wire::{BINARY, FIN, TEXT, frame, sent, written};
use crate::{DELIVERIES, ROLES, compressing};

const FIELD: &str = "Sec-WebSocket-Extensions";
const RSV1: u8 = 0x40;

/// What a client makes of an answer with these parameters.
fn client_takes(parameters: &str) -> bool {
    let request = ClientRequest::new("server.example.com", "/chat").unwrap().deflate(Deflate::new());
    let answer = Head::answer().and(FIELD, format!("permessage-deflate{parameters}"));
    // Bytes that no grammar allows fail the answer as well.
    let established = connect_as(&request, &answer.bytes(), false);
    established.is_ok_and(|established| {
        let connection = established.into_connection(Config::new(), || KEY);
        let bits = connection.agreement().deflate().unwrap();
        [Role::Client, Role::Server].iter().all(|&role| (8..=15).contains(&bits.window_bits(role)))
    })
}

/// Whether a server agrees to an offer with these parameters; a request outside the grammar is refused.
fn server_agrees(parameters: &str) -> bool {
    let request = Head::request().and(FIELD, format!("permessage-deflate{parameters}"));
    let Ok(pending) = serve(request.bytes()) else { return false };
    let accept = Accept::new().deflate(Deflate::new());
    let mut connection = pending.accept(accept, Config::new()).unwrap();
    let (head, _) = Head::parse(&written(&mut connection));
    assert_eq!(head.get(FIELD).is_some(), connection.agreement().deflate().is_some());
    head.get(FIELD).is_some()
}

/// Every window that is none: no panic later, but no agreement at once.
#[test]
fn window_bits() {
    let none = [
        "=",
        "=0",
        "=1",
        "=7",
        "=16",
        "=99",
        "=015",
        "=008",
        "=09",
        "=+9",
        "=-9",
        "=\"+9\"",
        "=9.0",
        "=0x9",
        "=9a",
        "=nine",
        "=\"\"",
        "=\" 9\"",
        "=15 15",
        "=256",
        "=265",
        "=65545",
        "=4294967305",
        "=18446744073709551625",
        "=99999999999999999999999999999999999999",
    ];
    for name in ["server_max_window_bits", "client_max_window_bits"] {
        for value in none {
            assert!(!client_takes(&format!("; {name}{value}")), "{name}{value}");
            assert!(!server_agrees(&format!("; {name}{value}")), "{name}{value}");
        }
        for twice in ["=10; {name}=10", "=10; {name}=11", "=10; {name}"] {
            let parameters = format!("; {name}{}", twice.replace("{name}", name));
            assert!(!client_takes(&parameters) && !server_agrees(&parameters), "{parameters}");
        }
        for bits in 9..=15 {
            for value in [format!("={bits}"), format!("=\"{bits}\"")] {
                let parameters = format!("; {name}{value}");
                assert!(client_takes(&parameters) && server_agrees(&parameters), "{parameters}");
            }
        }
    }
    // Without a value it means something to one side only: "I know of this parameter".
    assert!(server_agrees("; client_max_window_bits") && !client_takes("; client_max_window_bits"));
    assert!(!server_agrees("; server_max_window_bits") && !client_takes("; server_max_window_bits"));
    // zlib has no window of 8 bits to compress with; to inflate, a larger one does.
    assert!(!server_agrees("; server_max_window_bits=8") && server_agrees("; client_max_window_bits=8"));
}

/// The limit counts what comes out, whether it was compressed or not, whole or in chunks, in one frame or two.
#[test]
fn limit_holds_on_both_paths() {
    const LIMIT: usize = 5000;
    for (role, delivery) in ROLES.iter().flat_map(|&role| DELIVERIES.map(|delivery| (role, delivery))) {
        let config = Config::new().delivery(delivery).max_message(LIMIT).max_streamed(LIMIT as u64);
        for len in [LIMIT, LIMIT + 1] {
            let plain = (vec![0; len], 0);
            let small = (zeros(len as u64, true), RSV1);
            let stored = (Bits::default().stored(false, &vec![0; len]).message(), RSV1);
            for ((payload, bit), opcode) in
                [plain, small, stored].iter().flat_map(|way| [TEXT, BINARY].map(|opcode| (way, opcode)))
            {
                let half = payload.len() / 2;
                let one = frame(role.peer(), FIN | bit | opcode, payload);
                let two = [
                    frame(role.peer(), bit | opcode, &payload[..half]),
                    frame(role.peer(), FIN, &payload[half..]),
                ];
                for wire in [one, two.concat()] {
                    let mut connection = compressing(role, config);
                    let outcome = replay(&mut connection, &wire, &[], Take::Borrowed);
                    let code = outcome.error.map(|error| error.close_code().get());
                    assert_eq!(code, (len > LIMIT).then_some(1009), "{role:?} {delivery:?} {len} {bit:x}");
                    assert_eq!(outcome.messages.len(), usize::from(len <= LIMIT));
                }
            }
        }
    }
}

/// A ratio that is too high ends a message that no limit in bytes would.
#[test]
fn inflation_ratio() {
    for (role, delivery) in ROLES.iter().flat_map(|&role| DELIVERIES.map(|delivery| (role, delivery))) {
        let wire = frame(role.peer(), FIN | RSV1 | BINARY, zeros(1 << 20, true));
        for (ratio, error) in [(200, Some(ProtocolError::RatioTooHigh { max: 200 })), (u32::MAX, None)] {
            let mut connection = compressing(role, Config::new().delivery(delivery).max_ratio(ratio));
            assert_eq!(replay(&mut connection, &wire, &[], Take::Borrowed).error, error);
        }
    }
}

/// What is compressed tells its length: servers do it only if told to, and each message can be left out.
#[test]
fn compression_side_channel() {
    let pending = serve(Head::request().and(FIELD, "permessage-deflate").bytes()).unwrap();
    let mut connection = pending.accept(Accept::new(), Config::new()).unwrap();
    assert_eq!(Head::parse(&written(&mut connection)).0.get(FIELD), None);
    assert_eq!(connection.agreement().deflate(), None);

    for role in ROLES {
        let mut connection = compressing(role, Config::new().delivery(Delivery::Whole).deflate_above(0));
        let mut length = |compress: bool, guess: &str| {
            connection.compress(compress);
            connection.forget_context();
            let secret = format!("cookie=7f3a9c51d0; and the guess is cookie={guess}");
            on_wire(&mut connection, &secret)
        };
        assert_eq!(length(false, "7f3a9c51d0"), length(false, "xqzwvkjypm"));
        assert!(length(true, "7f3a9c51d0") < length(true, "xqzwvkjypm"), "this secret would tell nothing");
    }
}

fn on_wire(connection: &mut Connection, message: &str) -> usize {
    connection.send_text(message).unwrap();
    sent(connection)[0].payload.len()
}

/// A server cannot agree to what was not offered.
#[test]
fn an_extension_that_was_not_offered() {
    let request = ClientRequest::new("server.example.com", "/chat").unwrap();
    for answer in ["permessage-deflate", "x-webkit-deflate-frame", "permessage-bzip2", "constructor"] {
        let answer = Head::answer().and(FIELD, answer);
        let error = connect_as(&request, &answer.bytes(), false).unwrap_err();
        assert_eq!(error, HandshakeError::ExtensionNotOffered, "{answer:?}");
    }
}
