//! What a peer may do against the RFC if somebody asked for it, and only then.

mod support;

use support::{TAKES, connection, drain, frame, replay};
use taut::proto::frame::OpCode;
use taut::proto::handshake::{ClientHandshake, ClientRequest, accept_key};
use taut::proto::{Config, Delivery, Message, ProtocolError, Role};

/// Frames without a mask, as only servers send them.
fn unmasked(parts: &[(bool, OpCode, &[u8])]) -> Vec<u8> {
    parts.iter().flat_map(|&(fin, opcode, payload)| frame(Role::Server, fin, opcode, payload)).collect()
}

#[test]
fn unmasked_frames_fail_a_server_by_default() {
    for opcode in [OpCode::Text, OpCode::Binary, OpCode::Ping, OpCode::Pong, OpCode::Close] {
        let mut server = connection(Role::Server, Config::new());
        let outcome = replay(&mut server, &unmasked(&[(true, opcode, b"")]), &[], TAKES[0]);
        assert_eq!(outcome.error, Some(ProtocolError::UnmaskedFromClient), "{opcode:?}");
    }
}

#[test]
fn unmasked_frames_are_taken_by_a_server_that_was_told_to() {
    let large = vec![7; 300_000];
    let mut wire = unmasked(&[
        (true, OpCode::Text, b"short"),
        (true, OpCode::Binary, &large),
        (false, OpCode::Text, b"in "),
        (true, OpCode::Ping, b"alive"),
        (false, OpCode::Continuation, b""),
    ]);
    // A message may come in both kinds of frames.
    wire.extend(frame(Role::Client, true, OpCode::Continuation, b"pieces"));
    wire.extend(frame(Role::Client, true, OpCode::Text, b"masked"));
    wire.extend(unmasked(&[(true, OpCode::Close, &[3, 232])]));
    let cuts: Vec<usize> = (1..40).chain([70, 131, 5_000, 300_010]).chain(300_020..wire.len()).collect();
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        for take in TAKES {
            for cuts in [&[][..], &cuts] {
                let config = Config::new().accept_unmasked(true).delivery(delivery);
                let mut server = connection(Role::Server, config);
                let outcome = replay(&mut server, &wire, cuts, take);
                assert_eq!(outcome.error, None);
                let data: Vec<_> = outcome.messages.iter().filter(|message| message.is_data()).collect();
                let expected = [
                    Message::text("short"),
                    Message::binary(large.clone()),
                    Message::text("in pieces"),
                    Message::text("masked"),
                ];
                assert!(data.into_iter().eq(&expected), "{delivery:?} {take:?}");
                let answers = drain(&mut server);
                assert_eq!(
                    answers,
                    unmasked(&[(true, OpCode::Pong, b"alive"), (true, OpCode::Close, &[3, 232])])
                );
            }
        }
    }
}

/// Nothing else is let through with it.
#[test]
fn the_other_rules_hold_for_unmasked_frames() {
    let config = Config::new().accept_unmasked(true).max_message(100);
    for (wire, error) in [
        (vec![0x81, 0x02, 0xff, 0xff], ProtocolError::InvalidUtf8 { offset: 0 }),
        (vec![0x82, 0x7e, 0, 200], ProtocolError::MessageTooBig { max: 100 }),
        (vec![0x82, 0x7e, 0, 1], ProtocolError::LengthNotMinimal),
        (vec![0xc2, 0x00], ProtocolError::ReservedBit(1)),
        (vec![0x89, 0x7e], ProtocolError::ControlTooLong),
        (vec![0x80, 0x00], ProtocolError::UnexpectedContinuation),
    ] {
        let outcome = replay(&mut connection(Role::Server, config), &wire, &[], TAKES[0]);
        assert_eq!(outcome.error, Some(error), "{wire:?}");
    }
    // It is about servers: a client takes no frames with a mask.
    let wire = frame(Role::Client, true, OpCode::Text, b"masked");
    let outcome = replay(&mut connection(Role::Client, config), &wire, &[], TAKES[0]);
    assert_eq!(outcome.error, Some(ProtocolError::MaskedFromServer));
}

/// RFC 6455 §4.1 lets a server choose none; `Client::require_subprotocol` is for those who want one.
#[test]
fn a_subprotocol_that_the_server_does_not_choose_is_no_failure() {
    let request = ClientRequest::new("example.com", "/").unwrap().subprotocol("chat").unwrap();
    let nonce = [7; 16];
    let mut handshake = ClientHandshake::new(&request, nonce);
    let head = String::from_utf8(drain_output(&mut handshake)).unwrap();
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = accept_key(key.as_bytes());
    handshake.feed(
        format!(
            "HTTP/1.1 101 A\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            std::str::from_utf8(&accept).unwrap()
        )
        .as_bytes(),
    );
    assert_eq!(handshake.poll().unwrap().unwrap().subprotocol(), None);
}

fn drain_output(handshake: &mut ClientHandshake) -> Vec<u8> {
    use bytes::Buf;

    let output = handshake.output();
    let mut bytes = vec![0; output.remaining()];
    output.copy_to_slice(&mut bytes);
    bytes
}
