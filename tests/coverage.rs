//! What no other test of the engine comes by: what is printed, what converts, and the rare turns. `tests/coverage/run`
//! tells which lines those are.
#![cfg(feature = "deflate")]

mod support;

use std::borrow::Borrow;
use std::collections::HashSet;
use std::error::Error as _;
use std::fmt::{Debug, Display};

use bytes::{Buf, Bytes, BytesMut};
use support::{Take, connection, drain, frame, replay};
use taut::proto::frame::OpCode;
use taut::proto::handshake::{
    Accept, Answer, BuildError, ClientHandshake, ClientRequest, Reject, ServerHandshake, accept_key,
};
use taut::proto::{
    Agreement, ChunkDataRef, ChunkRef, CloseCode, CloseFrame, Config, Deflate, Delivery, Event, EventRef,
    HandshakeLimits, Kind, Message, MessageRef, Prepared, ProtocolError, Role, SendErrorKind, Utf8Bytes,
};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Of which nothing may come into a log.
const SECRET: &str = "the password is swordfish";

#[test]
fn protocol_errors_say_what_was_wrong_and_how_it_was_closed() {
    use ProtocolError::*;
    let cases: [(ProtocolError, &[&str]); 22] = [
        (ReservedBit(2), &["RSV2", "1002"]),
        (ReservedOpcode(3), &["opcode", "0x3", "1002"]),
        (FragmentedControl, &["header", "1002"]),
        (ControlTooLong, &["125", "header", "1002"]),
        (UnexpectedContinuation, &["outside", "header", "1002"]),
        (ExpectedContinuation, &["header", "1002"]),
        (MaskedFromServer, &["mask", "header", "1002"]),
        (UnmaskedFromClient, &["mask", "header", "1002"]),
        (LengthNotMinimal, &["shortest", "header", "1002"]),
        (LengthTopBit, &["top bit", "header", "1002"]),
        (InvalidUtf8 { offset: 77 }, &["UTF-8", "byte 77", "1007"]),
        (ClosePayload, &["one byte", "1002"]),
        (CloseCode(1005), &["(1005)", "closed with 1002"]),
        (FrameTooBig { max: 5 }, &["limit 5 bytes", "1009"]),
        (MessageTooBig { max: 6 }, &["limit 6 bytes", "1009"]),
        (StreamTooBig { max: 7 }, &["limit 7 bytes", "1009"]),
        (TooManyFragments { max: 8 }, &["limit 8", "1008"]),
        (TooManyEmptyFragments { max: 9 }, &["empty", "limit 9", "1008"]),
        (TooManyControlFrames { max: 10 }, &["limit 10 a second", "1008"]),
        (RatioTooHigh { max: 11 }, &["limit 11 bytes for each", "1009"]),
        (TooSlow, &["too long", "1008"]),
        (OverBudget, &["try again", "1013"]),
    ];
    for (error, parts) in cases {
        assert_says(error, parts);
        assert!(error.to_string().starts_with(error.reason()));
    }
    assert_says(Deflate, &["DEFLATE", "1007"]);
}

fn assert_says(error: impl Display, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn errors_of_the_caller_say_what_to_do() {
    let kinds = [
        (SendErrorKind::Closed, "open a new one"),
        (SendErrorKind::Full, "flush"),
        (SendErrorKind::ControlTooLong, "shorten"),
        (SendErrorKind::ControlFragmented, "set FIN"),
        (SendErrorKind::ReservedBit, "clear it"),
        (SendErrorKind::MessageInProgress, "last fragment"),
        (SendErrorKind::InvalidUtf8, "binary"),
    ];
    for (kind, what) in kinds {
        assert_says(kind, &[what]);
    }
    let too_long = CloseFrame::new(CloseCode::NORMAL, "x".repeat(124)).unwrap_err();
    assert_says(too_long, &["124", "123", "shorten"]);
    let not_text = Utf8Bytes::try_from(Bytes::from_static(b"ab\xff")).unwrap_err();
    assert_says(not_text, &["byte 2"]);

    let request = || ClientRequest::new("a", "/").unwrap();
    let built: [(BuildError, &str); 9] = [
        (ClientRequest::new("", "/").unwrap_err(), "host"),
        (ClientRequest::new("a", "no").unwrap_err(), "target"),
        (request().field("no token", "").unwrap_err(), "no token"),
        (request().field("Upgrade", "").unwrap_err(), "leave it out"),
        (request().field("A", "b\r\nC: d").unwrap_err(), "byte 1"),
        (request().subprotocol("no token").unwrap_err(), "no token"),
        (request().subprotocol("a").unwrap().subprotocol("a").unwrap_err(), "twice"),
        (Reject::new(200).unwrap_err(), "300 to 599"),
        (Answer::new(101).unwrap_err(), "200 to 599"),
    ];
    for (error, what) in built {
        assert_says(&error, &[what]);
        let has_source = matches!(error, BuildError::Host(_) | BuildError::Resource(_));
        assert_eq!(error.source().is_some(), has_source, "{error}");
    }
}

#[test]
fn a_subprotocol_that_was_not_offered_is_told_to_who_chose_it() {
    let mut handshake = ServerHandshake::default();
    handshake.feed(REQUEST.as_bytes());
    let pending = handshake.poll().unwrap().unwrap();
    let error = pending.accept(Accept::new().subprotocol("chat"), Config::default()).unwrap_err();
    assert_says(&error, &["chat", "not offered"]);
    assert!(format!("{error:?}").contains("SubprotocolNotOffered"));
}

#[test]
fn payloads_and_credentials_stay_out_of_logs() {
    let wire = frame(Role::Client, true, OpCode::Text, SECRET.as_bytes());
    let mut server = connection(Role::Server, Config::new());
    server.feed(&wire[..wire.len() - 1]);
    server.send(SECRET).unwrap();
    assert_silent(&server, &["queued"]);
    assert_silent(server.output(), &["len: 27"]);
    let (receiver, sender) = server.halves();
    assert_silent(receiver, &["buffered"]);
    assert_silent(sender, &["queued: 27", "Server"]);
    assert_silent(&connection(Role::Client, Config::new()).into_split().1, &["Client"]);

    let mut refused = connection(Role::Server, Config::new().max_queued(0));
    assert_silent(&refused.send(SECRET).unwrap_err(), &["Full"]);
    assert_says(refused.send(SECRET).unwrap_err(), &["flush"]);
    assert_silent(&Prepared::text(SECRET), &["Text", "len: 25"]);
    let rejected = Reject::new(403).unwrap().field("X-Token", SECRET).unwrap().body(SECRET);
    assert_silent(&rejected, &["403", "25"]);
    let answer = Answer::new(200).unwrap().field("X-Token", SECRET).unwrap().body(SECRET);
    assert_eq!(answer.status(), 200);
    assert_silent(&answer, &["200", "25"]);
    // The request of a client may have its key and its cookies.
    let request = ClientRequest::new("a", "/").unwrap().field("Cookie", SECRET).unwrap();
    let mut client = ClientHandshake::new(&request, [7; 16]);
    assert_silent(client.output(), &["len"]);
}

fn assert_silent(what: &impl Debug, parts: &[&str]) {
    let text = format!("{what:?}");
    assert!(!text.contains("swordfish"), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn an_established_connection_can_be_printed() {
    let mut client = ClientHandshake::new(&ClientRequest::new("a", "/").unwrap(), [7; 16]);
    let count = client.output().remaining();
    let request = String::from_utf8(client.output().copy_to_bytes(count).to_vec()).unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let head = "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    client.feed(&[head.as_bytes(), &accept_key(key.as_bytes()), b"\r\n\r\n"].concat());
    let established = client.poll().unwrap().unwrap();
    assert_silent(&established, &["101", "agreement"]);
}

#[test]
fn defaults_are_the_constructors() {
    assert_eq!(Config::default(), Config::new());
    assert_eq!(HandshakeLimits::default(), HandshakeLimits::new());
    assert_eq!(Deflate::default(), Deflate::new());
}

/// RFC 7692 §7.1.2.1: from 8 to 15 bits.
#[test]
fn s7_1_2_1_windows_are_within_their_bounds() {
    let bits = |bits| Deflate::new().server_max_window_bits(bits).window_bits(Role::Server);
    assert_eq!([0, 8, 9, 15, 16, 255].map(bits), [8, 8, 9, 15, 15, 15]);
}

/// What takes part in a connection with takeover is counted, and is given back.
#[test]
fn a_window_that_is_kept_is_memory_of_the_connection() {
    let agreement = Agreement::new().with_deflate(Deflate::new());
    let config = Config::new().deflate_above(0);
    let mut server = connection(Role::Server, config).with_agreement(agreement);
    assert_eq!(server.memory(), 0);
    server.send_text(&"again and again ".repeat(100)).unwrap();
    support::drain(&mut server);
    server.release();
    // See docs/deflate.md.
    assert!((200_000..400_000).contains(&server.memory()), "{}", server.memory());
    server.forget_context();
    server.release();
    assert_eq!(server.memory(), 0);
}

#[test]
fn texts_convert_and_compare_as_str_does() {
    let text = Utf8Bytes::from("constant");
    assert_eq!(text, Utf8Bytes::from_static("constant"));
    assert_eq!(text, *"constant");
    assert_eq!(text, "constant");
    assert_eq!(format!("{text:?} {text}"), "\"constant\" constant");
    // Found by `&str`, which needs the hash of `str`.
    assert!(HashSet::from([text.clone()]).contains("constant"));
    assert_eq!(Borrow::<str>::borrow(&text), "constant");
    assert_eq!(AsRef::<[u8]>::as_ref(&text), b"constant");
    assert_eq!(String::from(text.clone()), "constant");
    assert_eq!(Bytes::from(text.clone()), "constant");
    assert_eq!(Utf8Bytes::from('\u{20ac}'), "\u{20ac}");
    assert_eq!(Message::from(text.clone()), Message::Text(text));
    assert_eq!(Message::binary("x").as_text(), None);
}

#[test]
fn close_codes_convert_and_print() {
    let code = CloseCode::new(4000).unwrap();
    assert_eq!(
        (u16::from(code), format!("{code:?}"), code.to_string()),
        (4000, "CloseCode(4000)".into(), "4000".into())
    );
}

#[test]
fn lent_chunks_tell_what_they_are() {
    for (data, kind) in
        [(ChunkDataRef::Text("data"), Kind::Text), (ChunkDataRef::Binary(b"data"), Kind::Binary)]
    {
        assert_eq!((data.kind(), data.as_bytes()), (kind, &b"data"[..]));
        let chunk = EventRef::Chunk(ChunkRef { data, first: true, last: false });
        assert!(chunk.is_data());
        assert!(matches!(chunk.to_event(), Event::Chunk(chunk) if chunk.first && !chunk.last));
    }
    assert!(!EventRef::Message(MessageRef::Ping(b"")).is_data());
}

/// RFC 6455 §5.2: "the minimal number of bytes MUST be used".
#[test]
fn s5_2_a_whole_frame_with_a_longer_length_than_needed_fails() {
    for role in [Role::Client, Role::Server] {
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            // As `frame` has it, with 16 bits for the length.
            let mut wire = frame(role.peer(), true, OpCode::Binary, &[7; 20]);
            let masked = wire[1] & 0x80;
            wire.splice(1..2, [masked | 126, 0, 20]);
            let mut connection = connection(role, Config::new().delivery(delivery));
            let outcome = replay(&mut connection, &wire, &[], Take::Owned);
            assert_eq!(outcome.error, Some(ProtocolError::LengthNotMinimal));
        }
    }
}

/// Of every size there is a way of its own to take a text, and none takes one that is not UTF-8.
#[test]
fn s8_1_texts_of_any_size_are_checked() {
    for role in [Role::Client, Role::Server] {
        for size in [1_usize, 20, 100, 1_000, 5_000, 40_000, 70_000, 300_000] {
            for copy_below in [0, u32::MAX] {
                for take in support::TAKES {
                    let mut text = "\u{e9}".repeat(size.div_ceil(2)).into_bytes();
                    let config = Config::new().copy_below(copy_below).max_frame(1 << 20);
                    let right = frame(role.peer(), true, OpCode::Text, &text);
                    let last = text.len() - 1;
                    text[last] = b'?';
                    let wrong = frame(role.peer(), true, OpCode::Text, &text);
                    let mut connection = connection(role, config);
                    let outcome = replay(&mut connection, &[right, wrong].concat(), &[], take);
                    assert_eq!(outcome.messages.len(), 1, "{size} bytes, {take:?}");
                    let offset = last as u64 - 1;
                    assert_eq!(
                        outcome.error,
                        Some(ProtocolError::InvalidUtf8 { offset }),
                        "{size} bytes, {take:?}"
                    );
                }
            }
        }
    }
}

/// Reads into the connection's own memory, in pieces of any size, beside bytes that are fed.
#[test]
fn own_memory_gives_the_same_as_fed_bytes() {
    let sizes = [16_384, 0, 5, 16_370, 65_536, 65_520, 70_000, 262_144, 200_000, 1, 300_000, 40_000, 16_384];
    for step in [1_000, 16_388, 65_536, 100_000, usize::MAX] {
        for count in 1..4 {
            let payloads: Vec<Vec<u8>> =
                sizes.iter().flat_map(|&len| vec![vec![len as u8 | 1; len]; count]).collect();
            let wire: Vec<u8> = payloads
                .iter()
                .flat_map(|payload| frame(Role::Client, true, OpCode::Binary, payload))
                .collect();
            let mut own = connection(Role::Server, Config::new());
            let (mut rest, mut came) = (&wire[..], Vec::new());
            while !rest.is_empty() {
                let input = own.large_input();
                let room = input.capacity() - input.len();
                assert!(room > 0);
                let (read, behind) = rest.split_at(room.min(step).min(rest.len()));
                input.extend_from_slice(read);
                rest = behind;
                while let Some(event) = own.next_event().unwrap() {
                    let Event::Message(Message::Binary(payload)) = event else { panic!("{event:?}") };
                    came.push(payload);
                }
            }
            assert!(came == payloads, "{step}, {count}");
        }
    }
}

/// The loop of those who have one buffer for many connections, beside that of those who feed.
#[test]
fn lent_buffers_give_the_same_as_fed_bytes() {
    let payloads = [0, 5, 3_000, 70_000, 300_000, 1, 200_000, 9].map(|len| vec![b'x'; len]);
    let wire: Vec<u8> =
        payloads.iter().flat_map(|payload| frame(Role::Client, true, OpCode::Binary, payload)).collect();
    for step in [1_000, 65_536, 250_000] {
        let mut lent = connection(Role::Server, Config::new());
        let mut fed = connection(Role::Server, Config::new());
        let (mut came, mut own, mut shared) = (Vec::new(), 0, BytesMut::new());
        for bytes in wire.chunks(step) {
            if lent.wants_own_input() {
                own += 1;
                lent.large_input().extend_from_slice(bytes);
            } else {
                let mut buffer = lent.reclaim_input().unwrap_or(shared);
                buffer.clear();
                buffer.extend_from_slice(lent.unparsed());
                buffer.extend_from_slice(bytes);
                lent.lend_input(buffer);
            }
            fed.feed(bytes);
            while let Some(event) = lent.next_event().unwrap() {
                assert_eq!(fed.next_event().unwrap(), Some(event.clone()));
                came.push(event);
            }
            assert_eq!(fed.next_event().unwrap(), None);
            assert_eq!(lent.unfinished(), fed.unfinished());
            shared = lent.reclaim_input().unwrap_or_default();
        }
        let whole = payloads.iter().map(|payload| Event::Message(Message::binary(payload.clone())));
        assert!(came == whole.collect::<Vec<_>>());
        assert!(own > 0, "{step}");
    }
}

#[test]
fn what_an_adapter_fails_by_is_told_to_both_ends() {
    let mut server = connection(Role::Server, Config::new());
    server.fail(ProtocolError::TooSlow);
    assert_eq!(server.next_event().unwrap_err(), ProtocolError::TooSlow);
    let close = drain(&mut server);
    assert_eq!((close[0], &close[2..4]), (0x88, &1008_u16.to_be_bytes()[..]));
    // Only the first counts.
    server.fail(ProtocolError::OverBudget);
    assert_eq!(server.next_event().unwrap_err(), ProtocolError::TooSlow);
}

/// RFC 9110 §15.
#[test]
fn refusals_have_the_phrase_of_their_status() {
    for (status, phrase) in [
        (301, "Moved Permanently"),
        (302, "Found"),
        (307, "Temporary Redirect"),
        (308, "Permanent Redirect"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "Not Found"),
        (429, "Too Many Requests"),
        (503, "Service Unavailable"),
        (418, ""),
    ] {
        let mut server = ServerHandshake::new();
        server.feed(REQUEST.as_bytes());
        let mut answer = server.poll().unwrap().unwrap().reject(Reject::new(status).unwrap());
        let count = answer.remaining();
        let answer = answer.copy_to_bytes(count);
        assert!(answer.starts_with(format!("HTTP/1.1 {status} {phrase}\r\n").as_bytes()), "{answer:?}");
    }
}
