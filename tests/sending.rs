//! What `Connection`, its halves and its output promise to those who send: answers of the protocol, refusals,
//! backpressure, buffers that are lent out, and bytes that are queued by reference.

mod support;

use bytes::{Buf, Bytes};
use proptest::prelude::*;
use support::{KEY, connection, drain, frame, message_ref};
use taut::proto::frame::{Header, OpCode};
use taut::proto::{
    Answer, ChunkData, CloseCode, CloseFrame, Config, Connection, Delivery, Event, EventRef, Kind, Message,
    MessageRef, Output, Prepared, ProtocolError, Role, SendError, SendErrorKind, State,
};

const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// A frame as it was written, unmasked.
type Frame = (bool, OpCode, Vec<u8>);

fn frames(from: Role, mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (header, length) = Header::decode(bytes, from).unwrap().expect("a whole header");
        let (payload, rest) = bytes[length..].split_at(header.len as usize);
        let key = header.key.unwrap_or([0; 4]);
        let payload = payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        frames.push((header.fin, header.opcode, payload));
        bytes = rest;
    }
    frames
}

fn sent(connection: &mut Connection) -> Vec<Frame> {
    let from = connection.role();
    frames(from, &drain(connection))
}

fn whole(opcode: OpCode, payload: impl AsRef<[u8]>) -> Frame {
    (true, opcode, payload.as_ref().to_vec())
}

fn kind(result: Result<(), SendError>) -> Option<SendErrorKind> {
    result.err().map(|error| error.kind())
}

fn away() -> CloseFrame {
    CloseFrame::new(CloseCode::AWAY, "bye").unwrap()
}

fn close_bytes() -> Vec<u8> {
    [&1001_u16.to_be_bytes()[..], b"bye"].concat()
}

#[test]
fn halves_leave_the_answers_to_the_next_call() {
    for role in ROLES {
        let mut connection = connection(role, Config::new());
        connection.feed(&frame(role.peer(), true, OpCode::Ping, b"1"));
        connection.feed(&frame(role.peer(), true, OpCode::Ping, b"2"));
        let (receiver, sender) = connection.halves();
        let Some(EventRef::Message(MessageRef::Ping(b"1"))) = receiver.next_event_ref().unwrap() else {
            panic!("no ping")
        };
        // In the arm of the first ping: the second is not seen, the first not answered.
        assert!(!sender.wants_output());
        sender.send_text("text").unwrap();
        assert!(receiver.next_event_ref().unwrap().is_some());
        assert_eq!(sender.queued(), drain_len(role, "text"));
        assert!(connection.wants_output());
        // RFC 6455 §5.5.3: one pong, for the latest ping, and it does not wait for the text.
        assert_eq!(sent(&mut connection), [whole(OpCode::Pong, b"2"), whole(OpCode::Text, "text")]);
        assert!(!connection.wants_output());
    }
}

fn drain_len(role: Role, payload: &str) -> usize {
    2 + payload.len() + if role == Role::Client { 4 } else { 0 }
}

/// A name, and a call.
type Call = (&'static str, fn(&mut Connection));

/// Every way to call the connection again gives the answers.
#[test]
fn any_call_after_halves_gives_the_answers() {
    let calls: [Call; 8] = [
        ("halves", |connection| {
            connection.halves();
        }),
        ("output", |connection| {
            connection.output();
        }),
        ("next_event", |connection| assert_eq!(connection.next_event(), Ok(None))),
        ("next_event_ref", |connection| assert_eq!(connection.next_event_ref(), Ok(None))),
        ("release", Connection::release),
        ("send", |connection| assert!(connection.send("refused").is_err())),
        ("ping", |connection| assert!(connection.ping(b"refused").is_err())),
        ("close", |connection| connection.close(Some(CloseCode::NORMAL.into()))),
    ];
    for role in ROLES {
        for (name, call) in calls {
            let mut connection = connection(role, Config::new());
            connection.feed(&frame(role.peer(), true, OpCode::Close, &close_bytes()));
            let (receiver, _) = connection.halves();
            assert!(receiver.next_event_ref().unwrap().is_some());
            assert!(connection.wants_output() && !connection.wants_shutdown(), "an answer is owed");
            assert_eq!(connection.queued(), 0, "and not given yet");
            assert_eq!(connection.refusal(), Some(SendErrorKind::Closed));
            call(&mut connection);
            assert!(connection.queued() > 0, "{role:?} {name}");
            assert_eq!(
                sent(&mut connection),
                [whole(OpCode::Close, 1001_u16.to_be_bytes())],
                "{role:?} {name}"
            );
        }
    }
}

#[test]
fn a_failure_seen_in_halves_is_told_to_the_peer() {
    for role in ROLES {
        let mut connection = connection(role, Config::new());
        // A mask bit that is wrong for the peer.
        connection.feed(&frame(role, true, OpCode::Text, b"text"));
        let (receiver, sender) = connection.halves();
        let error = receiver.next_event_ref().unwrap_err();
        assert!(!sender.wants_output());
        assert_eq!(receiver.next_event_ref(), Err(error));
        assert_eq!(connection.refusal(), Some(SendErrorKind::Closed));
        assert_eq!(kind(connection.send_text("late")), Some(SendErrorKind::Closed));
        let close = [&1002_u16.to_be_bytes()[..], error.reason().as_bytes()].concat();
        assert_eq!(sent(&mut connection), [whole(OpCode::Close, close)]);
        assert!(connection.wants_shutdown() && connection.wants_discard());
    }
}

#[test]
fn split_halves_pass_answers_by_hand() {
    for role in ROLES {
        let peer = role.peer();
        let (mut receiver, mut sender) = connection(role, Config::new()).into_split();
        receiver.feed(&frame(peer, true, OpCode::Ping, b"1"));
        receiver.feed(&frame(peer, true, OpCode::Ping, b"2"));
        receiver.feed(&frame(peer, true, OpCode::Text, b"text"));
        assert_eq!(receiver.take_answer(), None);
        while receiver.next_event().unwrap().is_some() {}
        let answer = receiver.take_answer();
        assert_eq!(answer, Some(Answer::Pong(Bytes::from_static(b"2"))));
        assert_eq!(receiver.take_answer(), None, "an answer is owed once");
        sender.answer(answer.unwrap());
        assert!(sender.wants_output());
        let mut written = take_output(sender.output());
        assert_eq!(frames(role, &written), [whole(OpCode::Pong, b"2")]);

        receiver.feed(&frame(peer, true, OpCode::Close, &close_bytes()));
        assert_eq!(receiver.next_event(), Ok(Some(Event::Message(Message::Close(Some(away()))))));
        let answer = receiver.take_answer().unwrap();
        assert_eq!(answer, Answer::Close(Some(away())));
        sender.send_text("before").unwrap();
        sender.answer(answer);
        assert!(sender.is_closed());
        assert_eq!(kind(sender.send_text("after")), Some(SendErrorKind::Closed));
        written = take_output(sender.output());
        let close = whole(OpCode::Close, 1001_u16.to_be_bytes());
        assert_eq!(frames(role, &written), [whole(OpCode::Text, "before"), close]);
        assert!(!sender.wants_output());
    }
}

/// What is owed counts as output only if bytes come of it: a loop that writes while there is output would
/// write nothing, for ever.
#[test]
fn a_close_that_was_sent_already_is_no_output() {
    for role in ROLES {
        let mut connection = connection(role, Config::new());
        connection.close(Some(away()));
        drain(&mut connection);
        connection.feed(&frame(role.peer(), true, OpCode::Close, &close_bytes()));
        assert!(matches!(
            connection.next_event_ref(),
            Ok(Some(EventRef::Message(MessageRef::Close(Some(_)))))
        ));
        assert!(!connection.wants_output());
        assert_eq!(connection.output().remaining(), 0);
        assert_eq!(connection.state(), State::Closed);
    }
}

#[test]
fn an_answer_by_hand_fits_a_control_frame() {
    let (_, mut sender) = connection(Role::Server, Config::new()).into_split();
    sender.answer(Answer::Pong(Bytes::from(vec![7; 126])));
    assert!(!sender.wants_output());
    sender.answer(Answer::Pong(Bytes::from(vec![7; 125])));
    assert_eq!(frames(Role::Server, &take_output(sender.output())), [whole(OpCode::Pong, [7; 125])]);
}

#[test]
fn a_split_sender_hears_of_every_end() {
    for (auto_close, end) in [(true, Some(())), (false, Some(())), (true, None)] {
        let (mut receiver, mut sender) =
            connection(Role::Server, Config::new().auto_close(auto_close)).into_split();
        match end {
            Some(()) => receiver.feed(&frame(Role::Client, true, OpCode::Close, &close_bytes())),
            None => receiver.input_eof(),
        }
        let _ = receiver.next_event().unwrap();
        sender.answer(receiver.take_answer().expect("every end is told"));
        assert_eq!(kind(sender.send_text("late")), Some(SendErrorKind::Closed), "{auto_close}, {end:?}");
        assert_eq!(sender.wants_output(), auto_close && end.is_some());
    }
}

#[test]
fn a_split_receiver_that_fails_owes_a_close() {
    for role in ROLES {
        let (mut receiver, mut sender) = connection(role, Config::new()).into_split();
        receiver.feed(&frame(role.peer(), true, OpCode::Continuation, b""));
        let error = ProtocolError::UnexpectedContinuation;
        assert_eq!(receiver.next_event(), Err(error));
        assert!(!receiver.wants_input() && receiver.wants_discard());
        let answer = receiver.take_answer().unwrap();
        assert_eq!(answer, Answer::Fail(error));
        sender.answer(answer);
        assert!(sender.is_closed() && sender.wants_output());
        // Twice is as good as once.
        sender.answer(Answer::Fail(error));
        assert_eq!(frames(role, &take_output(sender.output())).len(), 1);
        assert_eq!(receiver.next_event(), Err(error));
        assert_eq!(receiver.take_answer(), None);
        receiver.input_eof();
        assert!(!receiver.wants_discard());
    }
}

#[test]
fn splitting_gives_what_was_owed() {
    for role in ROLES {
        let mut connection = connection(role, Config::new());
        connection.feed(&frame(role.peer(), true, OpCode::Ping, b"ping"));
        assert!(connection.next_event_ref().unwrap().is_some());
        let (mut receiver, mut sender) = connection.into_split();
        assert_eq!(receiver.take_answer(), None);
        assert_eq!(frames(role, &take_output(sender.output())), [whole(OpCode::Pong, b"ping")]);
    }
}

fn take_output(output: &mut Output) -> Vec<u8> {
    let mut bytes = vec![0; output.remaining()];
    output.copy_to_slice(&mut bytes);
    bytes
}

#[test]
fn the_application_answers_where_the_engine_is_told_not_to() {
    for role in ROLES {
        let mut connection = connection(role, Config::new().auto_pong(false).auto_close(false));
        connection.feed(&frame(role.peer(), true, OpCode::Ping, b"ping"));
        let Ok(Some(Event::Message(Message::Ping(payload)))) = connection.next_event() else {
            panic!("no ping")
        };
        assert!(!connection.wants_output());
        connection.send(Message::Pong(payload)).unwrap();
        assert_eq!(sent(&mut connection), [whole(OpCode::Pong, b"ping")]);
        connection.feed(&frame(role.peer(), true, OpCode::Close, &close_bytes()));
        assert_eq!(connection.next_event(), Ok(Some(Event::Message(Message::Close(Some(away()))))));
        assert!(!connection.wants_output() && !connection.wants_shutdown());
        assert_eq!(connection.state(), State::Closing);
        connection.send(Message::Close(Some(CloseCode::NORMAL.into()))).unwrap();
        assert_eq!(sent(&mut connection), [whole(OpCode::Close, 1000_u16.to_be_bytes())]);
        assert_eq!(connection.state(), State::Closed);
        // The code is the peer's.
        let status = connection.close_status().unwrap();
        assert_eq!((status.code, status.reason.as_str(), status.clean), (1001, "bye", true));
    }
}

#[test]
fn a_close_counts_once_however_it_is_said() {
    for role in ROLES {
        let says: [fn(&mut Connection); 3] = [
            |connection| connection.close(Some(away())),
            |connection| connection.send(Message::Close(Some(away()))).unwrap(),
            |connection| connection.send_ref(MessageRef::Close(Some(&away()))).unwrap(),
        ];
        for first in says {
            for second in says {
                let mut connection = connection(role, Config::new());
                first(&mut connection);
                second(&mut connection);
                connection.close(None);
                assert_eq!(sent(&mut connection), [whole(OpCode::Close, close_bytes())]);
                second(&mut connection);
                assert!(!connection.wants_output());
            }
        }
    }
}

/// All messages that can be sent, one of each kind.
fn messages() -> [Message; 4] {
    [
        Message::text("text"),
        Message::binary(vec![1; 10_000]),
        Message::Ping(Bytes::from_static(b"ping")),
        Message::Pong(Bytes::from_static(b"pong")),
    ]
}

/// Checks that every way to send is refused for `reason`, that owned messages come back, and that nothing
/// was queued.
fn assert_refused(connection: &mut Connection, message: &Message, reason: SendErrorKind) {
    let queued = connection.queued();
    let error = connection.send(message.clone()).unwrap_err();
    assert_eq!(error.kind(), reason, "{message:?}");
    assert_eq!(error.into_message().as_ref(), Some(message), "the message comes back");
    let error = connection.send_ref(message_ref(message)).unwrap_err();
    assert_eq!((error.kind(), error.into_message()), (reason, None));
    assert_eq!(connection.queued(), queued, "nothing of it was queued");
}

fn assert_all_refused(connection: &mut Connection, reason: SendErrorKind) {
    assert_eq!(connection.refusal(), Some(reason));
    for message in messages() {
        assert_refused(connection, &message, reason);
    }
    let queued = connection.queued();
    for result in [
        connection.send_text("text"),
        connection.send_binary(b"binary"),
        connection.ping(b"ping"),
        connection.send_fragment(Kind::Text, b"text", true),
        connection.send_fragment(Kind::Binary, b"binary", false),
        connection.send_prepared(&Prepared::text("text")),
        connection.send_prepared(&Prepared::binary(b"binary")),
    ] {
        assert_eq!(kind(result), Some(reason));
    }
    assert_eq!(connection.queued(), queued);
}

#[test]
fn a_closed_connection_refuses_and_hands_back() {
    for role in ROLES {
        let mut closed = connection(role, Config::new());
        closed.close(None);
        assert_all_refused(&mut closed, SendErrorKind::Closed);

        let mut ended = connection(role, Config::new());
        ended.input_eof();
        // "Takes effect once all events that came were taken."
        assert_eq!(ended.refusal(), None);
        assert_eq!(ended.next_event(), Ok(None));
        assert_all_refused(&mut ended, SendErrorKind::Closed);

        let mut lost = connection(role, Config::new());
        lost.send_text("dropped").unwrap();
        lost.output_lost();
        assert!(!lost.wants_output());
        assert_all_refused(&mut lost, SendErrorKind::Closed);
    }
}

/// A message of any size is taken while fewer bytes wait than may; then none, until some are written.
#[test]
fn a_full_queue_refuses_and_hands_back() {
    for role in ROLES {
        let mut connection = connection(role, Config::new().max_queued(1000));
        connection.send_binary(&[1; 900]).unwrap();
        assert_eq!(connection.refusal(), None);
        connection.send(vec![2; 5_000_000]).unwrap();
        assert_all_refused(&mut connection, SendErrorKind::Full);
        // One byte too many waits.
        let queued = connection.queued();
        connection.output().advance(queued - 1000);
        assert_all_refused(&mut connection, SendErrorKind::Full);
        connection.output().advance(1);
        assert_eq!(connection.refusal(), None);
        connection.send_text("again").unwrap();
    }
}

/// Config: "pongs and closes of the engine are never refused"; "zero means zero".
#[test]
fn a_full_queue_takes_what_the_protocol_demands() {
    for role in ROLES {
        let mut connection = connection(role, Config::new().max_queued(0));
        assert_all_refused(&mut connection, SendErrorKind::Full);
        connection.feed(&frame(role.peer(), true, OpCode::Ping, b"ping"));
        connection.feed(&frame(role.peer(), true, OpCode::Close, &close_bytes()));
        while connection.next_event().unwrap().is_some() {}
        let close = whole(OpCode::Close, 1001_u16.to_be_bytes());
        assert_eq!(sent(&mut connection), [whole(OpCode::Pong, b"ping"), close]);
    }
}

#[test]
fn a_long_ping_is_refused_and_handed_back() {
    for role in ROLES {
        let mut connection = connection(role, Config::new());
        for message in [Message::Ping(vec![0; 126].into()), Message::Pong(vec![0; 126].into())] {
            assert_refused(&mut connection, &message, SendErrorKind::ControlTooLong);
        }
        assert_eq!(kind(connection.ping(&[0; 126])), Some(SendErrorKind::ControlTooLong));
        connection.ping(&[0; 125]).unwrap();
        assert_eq!(sent(&mut connection), [whole(OpCode::Ping, [0; 125])]);
    }
}

#[test]
fn messages_wait_for_the_end_of_one_in_fragments() {
    for role in ROLES {
        let mut connection = connection(role, Config::new());
        connection.send_fragment(Kind::Text, "€".as_bytes(), false).unwrap();
        assert_eq!(connection.refusal(), Some(SendErrorKind::MessageInProgress));
        for message in [Message::text("text"), Message::binary(b"binary".to_vec())] {
            assert_refused(&mut connection, &message, SendErrorKind::MessageInProgress);
        }
        for result in [
            connection.send_prepared(&Prepared::text("text")),
            connection.send_fragment(Kind::Binary, b"", true),
        ] {
            assert_eq!(kind(result), Some(SendErrorKind::MessageInProgress));
        }
        // Control messages go between.
        connection.ping(b"ping").unwrap();
        connection.send_fragment(Kind::Text, b"", true).unwrap();
        assert_eq!(connection.refusal(), None);
        connection.send_text("next").unwrap();
        let expected = [
            (false, OpCode::Text, "€".into()),
            whole(OpCode::Ping, b"ping"),
            whole(OpCode::Continuation, b""),
            whole(OpCode::Text, "next"),
        ];
        assert_eq!(sent(&mut connection), expected);
    }
}

#[test]
fn text_in_fragments_is_utf_8_as_a_whole() {
    for role in ROLES {
        let mut connection = connection(role, Config::new());
        let euro = "€".as_bytes();
        let invalid = Some(SendErrorKind::InvalidUtf8);
        assert_eq!(kind(connection.send_fragment(Kind::Text, b"\xFF", false)), invalid);
        assert_eq!(kind(connection.send_fragment(Kind::Text, &euro[..2], true)), invalid);
        assert_eq!(connection.refusal(), None, "nothing began");
        connection.send_fragment(Kind::Text, &euro[..2], false).unwrap();
        assert_eq!(kind(connection.send_fragment(Kind::Text, b"x", false)), invalid);
        assert_eq!(kind(connection.send_fragment(Kind::Text, b"", true)), invalid);
        // "the message is still under way: end it with valid text"
        connection.send_fragment(Kind::Text, &euro[2..], true).unwrap();
        let expected = [(false, OpCode::Text, euro[..2].to_vec()), whole(OpCode::Continuation, &euro[2..])];
        assert_eq!(sent(&mut connection), expected);
        connection.send_fragment(Kind::Binary, b"\xFF", true).unwrap();
        assert_eq!(sent(&mut connection), [whole(OpCode::Binary, b"\xFF")]);
    }
}

#[test]
fn a_close_ends_a_message_in_fragments() {
    for role in ROLES {
        let mut connection = connection(role, Config::new());
        connection.send_fragment(Kind::Binary, b"1", false).unwrap();
        connection.close(None);
        assert_eq!(kind(connection.send_fragment(Kind::Binary, b"2", true)), Some(SendErrorKind::Closed));
        assert_eq!(
            sent(&mut connection),
            [(false, OpCode::Binary, b"1".to_vec()), whole(OpCode::Close, b"")]
        );
    }
}

/// RFC 6455 §5.5.1: "an endpoint MAY send the remaining fragments before sending a Close frame".
#[test]
fn a_message_in_fragments_may_end_after_the_peers_close() {
    for role in ROLES {
        for auto_close in [false, true] {
            let mut connection = connection(role, Config::new().auto_close(auto_close));
            connection.send_fragment(Kind::Text, b"1", false).unwrap();
            connection.feed(&frame(role.peer(), true, OpCode::Close, b""));
            assert_eq!(connection.next_event(), Ok(Some(Event::Message(Message::Close(None)))));
            assert_eq!(connection.refusal(), Some(SendErrorKind::Closed));
            assert_eq!(kind(connection.send_text("new")), Some(SendErrorKind::Closed));
            let rest = kind(connection.send_fragment(Kind::Text, b"2", true));
            let mut expected = vec![(false, OpCode::Text, b"1".to_vec())];
            if auto_close {
                // The Close stands in the queue already.
                assert_eq!(rest, Some(SendErrorKind::Closed));
            } else {
                assert_eq!(rest, None);
                expected.push(whole(OpCode::Continuation, b"2"));
                let another = connection.send_fragment(Kind::Text, b"3", false);
                assert_eq!(kind(another), Some(SendErrorKind::Closed));
                connection.close(None);
            }
            expected.push(whole(OpCode::Close, b""));
            assert_eq!(sent(&mut connection), expected);
            assert_eq!(connection.state(), State::Closed);
        }
    }
}

#[test]
fn prepared_messages_are_the_same_on_the_wire() {
    for role in ROLES {
        for len in [0, 1, 125, 126, 4096, 4097, 65_535, 65_536, 200_000] {
            let payload = vec![b'x'; len];
            let text = std::str::from_utf8(&payload).unwrap();
            for (prepared, message) in [
                (Prepared::text(text), MessageRef::Text(text)),
                (Prepared::binary(&payload), MessageRef::Binary(&payload)),
            ] {
                let mut by_hand = connection(role, Config::new());
                by_hand.send_ref(message).unwrap();
                let expected = drain(&mut by_hand);
                // Sent to several, and twice to one, it stays what it is.
                for _ in 0..2 {
                    let mut connection = connection(role, Config::new());
                    connection.send_prepared(&prepared).unwrap();
                    connection.send_prepared(&prepared).unwrap();
                    assert_eq!(drain(&mut connection), expected.repeat(2), "{role:?}, {len} bytes");
                }
            }
        }
    }
}

/// "every server connection queues by reference. Clients mask a copy."
#[test]
fn prepared_messages_are_shared_by_servers() {
    let prepared = Prepared::binary(vec![1; 10_000]);
    let mut places = Vec::new();
    for role in [Role::Server, Role::Server, Role::Client] {
        let mut connection = connection(role, Config::new());
        connection.send_prepared(&prepared).unwrap();
        let piece = connection.output().pop().unwrap();
        places.push((piece.as_ptr(), piece));
    }
    assert_eq!(places[0].0, places[1].0);
    assert_ne!(places[0].0, places[2].0);
}

#[test]
fn large_payloads_are_queued_by_reference_and_never_changed_under_their_owner() {
    let config = Config::new();
    for role in ROLES {
        let payload = Bytes::from(vec![7; 10_000]);
        let mut connection = connection(role, config);
        connection.send(payload.clone()).unwrap();
        assert_eq!(payload, vec![7; 10_000], "the caller's copy is the caller's");
        let header = connection.output().pop().unwrap();
        let piece = connection.output().pop().unwrap();
        assert!(header.len() <= 14);
        assert_eq!(piece.as_ptr() == payload.as_ptr(), role == Role::Server);

        // A payload that nobody else holds is masked where it lies.
        let place = payload.as_ptr();
        drop((header, piece));
        connection.send(payload).unwrap();
        connection.output().pop().unwrap();
        assert_eq!(connection.output().pop().unwrap().as_ptr(), place, "{role:?}");
    }
}

/// The text in an event, if there is some.
fn text_of(event: &Event) -> &str {
    match event {
        Event::Message(Message::Text(text)) => text,
        Event::Chunk(chunk) => match &chunk.data {
            ChunkData::Text(text) => text,
            ChunkData::Binary(_) => "",
        },
        Event::Message(_) => "",
    }
}

/// "Bytes that were fed meanwhile come behind those in it."
#[test]
fn an_input_buffer_that_was_lent_comes_before_what_was_fed_meanwhile() {
    for role in ROLES {
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let wire = [
                frame(role.peer(), true, OpCode::Text, b"one"),
                frame(role.peer(), true, OpCode::Text, b"two"),
            ];
            let wire = wire.concat();
            for first in 0..=wire.len() {
                for second in first..=wire.len() {
                    let mut connection = connection(role, Config::new().delivery(delivery));
                    connection.feed(&wire[..first]);
                    let lent = connection.take_input();
                    assert_eq!(lent, &wire[..first]);
                    assert!(connection.wants_input());
                    connection.feed(&wire[first..second]);
                    connection.put_input(lent);
                    connection.input().extend_from_slice(&wire[second..]);
                    let mut text = String::new();
                    while let Some(event) = connection.next_event().unwrap() {
                        text.push_str(text_of(&event));
                    }
                    assert_eq!(text, "onetwo", "{role:?} {delivery:?}, cut at {first} and {second}");
                }
            }
        }
    }
}

/// An input buffer may be taken in the middle of a frame, between events, at any time.
/// Against the contract; the stream is broken then, the process is not.
#[test]
fn an_input_buffer_that_comes_back_empty_is_no_panic() {
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        let mut connection = connection(Role::Server, Config::new().delivery(delivery));
        let wire = frame(Role::Client, true, OpCode::Text, "aéb".as_bytes());
        connection.feed(&wire[..wire.len() - 2]);
        let _ = connection.next_event().unwrap();
        connection.input().clear();
        let _ = connection.next_event();
        let _ = connection.take_input();
        connection.put_input(Default::default());
        connection.feed(&wire);
        let _ = connection.next_event();
    }
}

/// A character in chunks waits in the input, unmasked, for its last byte.
#[test]
fn events_wait_while_the_input_buffer_is_away() {
    let config = Config::new().delivery(Delivery::Chunks);
    let wire = [
        &frame(Role::Client, true, OpCode::Text, "aéb".as_bytes())[..],
        &frame(Role::Client, true, OpCode::Ping, b""),
    ]
    .concat();
    for cut in 0..wire.len() {
        let mut connection = connection(Role::Server, config);
        let mut text = String::new();
        let mut pings = 0;
        let mut take = |connection: &mut Connection| {
            while let Some(event) = connection.next_event().unwrap() {
                match event {
                    Event::Chunk(chunk) => match chunk.data {
                        ChunkData::Text(piece) => text.push_str(&piece),
                        ChunkData::Binary(_) => panic!("binary"),
                    },
                    Event::Message(_) => pings += 1,
                }
            }
        };
        connection.feed(&wire[..cut]);
        take(&mut connection);
        let mut lent = connection.take_input();
        // Asked too early, and fed from another side.
        take(&mut connection);
        lent.extend_from_slice(&wire[cut..]);
        connection.put_input(lent);
        take(&mut connection);
        assert_eq!((text.as_str(), pings), ("aéb", 1), "cut at {cut}");
    }
}

#[test]
fn an_input_buffer_is_lent_between_any_two_bytes() {
    for role in ROLES {
        let text = "a€𝄞é".repeat(3);
        let wire = [
            frame(role.peer(), false, OpCode::Text, &text.as_bytes()[..6]),
            frame(role.peer(), true, OpCode::Ping, b"ping"),
            frame(role.peer(), true, OpCode::Continuation, &text.as_bytes()[6..]),
        ]
        .concat();
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let mut connection = connection(role, Config::new().delivery(delivery));
            let (mut got, mut events) = (String::new(), Vec::new());
            for byte in wire.chunks(1) {
                let mut lent = connection.take_input();
                lent.extend_from_slice(byte);
                connection.put_input(lent);
                // And once more, with nothing in it.
                let lent = connection.take_input();
                connection.put_input(lent);
                while let Some(event) = connection.next_event().unwrap() {
                    got.push_str(text_of(&event));
                    events.push(event);
                }
            }
            assert_eq!(got, text, "{role:?} {delivery:?}");
            let ping = Event::Message(Message::Ping(Bytes::from_static(b"ping")));
            assert_eq!(events.iter().filter(|&event| *event == ping).count(), 1);
        }
    }
}

/// "Gives back memory that holds nothing": what holds something stays.
#[test]
fn release_loses_nothing() {
    for role in ROLES {
        let text = "a€𝄞é".repeat(200);
        let wire = [
            frame(role.peer(), false, OpCode::Text, &text.as_bytes()[..6]),
            frame(role.peer(), true, OpCode::Ping, b"ping"),
            frame(role.peer(), true, OpCode::Continuation, &text.as_bytes()[6..]),
        ]
        .concat();
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            for borrowed in [true, false] {
                let mut connection = connection(role, Config::new().delivery(delivery));
                let mut got = String::new();
                for bytes in wire.chunks(3) {
                    connection.feed(bytes);
                    connection.release();
                    loop {
                        let event = if borrowed {
                            connection.next_event_ref().unwrap().map(|event| event.to_event())
                        } else {
                            connection.next_event().unwrap()
                        };
                        connection.release();
                        let Some(event) = event else { break };
                        got.push_str(text_of(&event));
                    }
                }
                assert_eq!(got, text, "{role:?} {delivery:?}");
                connection.send(vec![1; 10_000]).unwrap();
                connection.release();
                connection.output().advance(3);
                connection.release();
                let rest = connection.queued();
                assert_eq!(drain(&mut connection).len(), rest);
            }
        }
    }
}

#[test]
fn messages_above_a_size_leave_in_fragments() {
    for role in ROLES {
        for send_owned in [true, false] {
            let mut connection = connection(role, Config::new().fragment_above(5000));
            let payload: Vec<u8> = (0..12_345_u32).map(|i| i as u8).collect();
            if send_owned {
                connection.send(payload.clone()).unwrap();
            } else {
                connection.send_binary(&payload).unwrap();
            }
            // A pong does not wait for the second and the third.
            let first = connection.output().chunk()[0];
            connection.output().advance(1);
            connection.feed(&frame(role.peer(), true, OpCode::Ping, b"ping"));
            assert!(connection.next_event().unwrap().is_some());
            connection.send_text("next").unwrap();
            let wire = [&[first][..], &drain(&mut connection)].concat();
            let expected = [
                (false, OpCode::Binary, payload[..5000].to_vec()),
                whole(OpCode::Pong, b"ping"),
                (false, OpCode::Continuation, payload[5000..10_000].to_vec()),
                whole(OpCode::Continuation, &payload[10_000..]),
                whole(OpCode::Text, "next"),
            ];
            assert_eq!(frames(role, &wire), expected, "{role:?}, owned {send_owned}");
        }
    }
}

#[test]
fn pop_gives_nothing_of_an_empty_output() {
    for role in ROLES {
        let mut connection = connection(role, Config::new());
        assert_eq!(connection.output().pop(), None);
        connection.send_text("text").unwrap();
        assert!(connection.output().pop().is_some());
        assert_eq!(connection.output().pop(), None);
        assert!(!connection.wants_output());
        assert_eq!(connection.queued(), 0);
    }
}

#[test]
#[should_panic(expected = "advanced by 7 of 6 bytes")]
fn an_output_is_not_advanced_past_its_end() {
    let mut connection = connection(Role::Server, Config::new());
    connection.send_text("text").unwrap();
    connection.output().advance(7);
}

/// What an application and a peer do to the sending half.
#[derive(Clone, Debug)]
enum Step {
    Copy(usize),
    Share(usize),
    Prepared(usize),
    Fragment(usize),
    Ping,
    Pop,
    Advance(usize),
    Vectored(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0_usize..10, 100_usize..200, 4000_usize..5000, Just(70_000)];
    prop_oneof![
        len.clone().prop_map(Step::Copy),
        len.clone().prop_map(Step::Share),
        len.clone().prop_map(Step::Prepared),
        len.clone().prop_map(Step::Fragment),
        Just(Step::Ping),
        Just(Step::Pop),
        len.clone().prop_map(Step::Advance),
        len.prop_map(Step::Vectored),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However the output is written, piece by owned piece, chunk by chunk or many slices at once, the bytes
    /// are the frames in their order, and the pongs go out between them.
    #[test]
    fn all_ways_to_write_are_one_stream(
        role in prop::sample::select(&ROLES[..]),
        steps in prop::collection::vec(step(), 0..40),
        share_above in prop::sample::select(&[0_u32, 100, 4096, u32::MAX][..]),
    ) {
        let config = Config::new().share_above(share_above).max_queued(usize::MAX);
        let mut connection = connection(role, config);
        let (mut wire, mut expected, mut pings) = (Vec::new(), Vec::new(), 0_u32);
        for (number, step) in steps.into_iter().enumerate() {
            let payload = |len: usize| vec![number as u8; len];
            let output_before = connection.queued();
            match step {
                Step::Copy(len) => {
                    connection.send_binary(&payload(len)).unwrap();
                    expected.push(whole(OpCode::Binary, payload(len)));
                }
                Step::Share(len) => {
                    connection.send(payload(len)).unwrap();
                    expected.push(whole(OpCode::Binary, payload(len)));
                }
                Step::Prepared(len) => {
                    connection.send_prepared(&Prepared::binary(payload(len))).unwrap();
                    expected.push(whole(OpCode::Binary, payload(len)));
                }
                Step::Fragment(len) => {
                    connection.send_fragment(Kind::Binary, &payload(len), false).unwrap();
                    connection.send_fragment(Kind::Binary, b"", true).unwrap();
                    expected.push((false, OpCode::Binary, payload(len)));
                    expected.push(whole(OpCode::Continuation, b""));
                }
                Step::Ping => {
                    pings += 1;
                    connection.feed(&frame(role.peer(), true, OpCode::Ping, &pings.to_be_bytes()));
                    prop_assert!(connection.next_event().unwrap().is_some());
                }
                Step::Pop => {
                    let before = connection.output().len();
                    if let Some(piece) = connection.output().pop() {
                        prop_assert!(!piece.is_empty());
                        wire.extend_from_slice(&piece);
                    }
                    prop_assert!(before == 0 || connection.output().len() < before || output_before > before);
                }
                Step::Advance(most) => {
                    let output = connection.output();
                    let count = most.min(output.chunk().len());
                    prop_assert!(output.is_empty() || !output.chunk().is_empty());
                    wire.extend_from_slice(&output.chunk()[..count]);
                    output.advance(count);
                }
                Step::Vectored(most) => {
                    let output = connection.output();
                    let mut slices = [std::io::IoSlice::new(&[]); 7];
                    let count = output.chunks_vectored(&mut slices);
                    let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
                    let count = most.min(bytes.len());
                    wire.extend_from_slice(&bytes[..count]);
                    output.advance(count);
                }
            }
        }
        while let Some(piece) = connection.output().pop() {
            wire.extend_from_slice(&piece);
        }
        let frames = frames(role, &wire);
        let (pongs, data): (Vec<Frame>, Vec<Frame>) =
            frames.into_iter().partition(|(_, opcode, _)| *opcode == OpCode::Pong);
        prop_assert_eq!(data, expected);
        prop_assert!(pongs.len() <= pings as usize);
        prop_assert_eq!(pongs.last().map(|(_, _, payload)| payload.clone()),
            (pings > 0).then(|| pings.to_be_bytes().to_vec()));
    }
}

/// What the tests above take for granted: keys are not zero, so that a client's bytes differ from a server's.
#[test]
fn a_client_masks() {
    assert!(KEY.iter().all(|&byte| byte != 0));
    let mut connection = connection(Role::Client, Config::new());
    connection.send_text("text").unwrap();
    assert!(!drain(&mut connection).windows(4).any(|window| window == b"text"));
}

/// What goes to the transport at once, and what is queued, are the bytes that `send_ref` queues, however many of them the
/// transport takes.
#[test]
fn a_borrowed_message_goes_at_once_as_it_would_from_the_queue() {
    let settings = [(4_096, usize::MAX), (0, usize::MAX), (4_096, 5_000)];
    for (role, (copied, whole_up_to)) in ROLES.into_iter().flat_map(|role| settings.map(|with| (role, with)))
    {
        let config = Config::new().share_above(copied).fragment_above(whole_up_to);
        for len in [0, 1, 125, 126, 4_096, 4_097, 5_001, 65_535, 65_536, 100_000] {
            let text = "x".repeat(len);
            for message in [MessageRef::Binary(text.as_bytes()), MessageRef::Text(&text)] {
                let mut queued = connection(role, config);
                queued.send_ref(message).unwrap();
                let expected = drain(&mut queued);
                for taken in [0, 1, 2, 3, 4, 9, 10, 11, len / 2, len, len + 2, len + 4, len + 10, usize::MAX]
                {
                    let mut connection = connection(role, config);
                    let mut wire = Vec::new();
                    let mut lent = false;
                    connection
                        .send_ref_with(message, |header, payload| {
                            lent = true;
                            wire.extend([header, payload].concat().into_iter().take(taken));
                            taken
                        })
                        .unwrap();
                    wire.extend(drain(&mut connection));
                    assert!(wire == expected, "{role:?} {config:?} {len} {taken}");
                    let as_it_lies = len > copied as usize && len <= whole_up_to;
                    assert_eq!(lent, role == Role::Server && as_it_lies, "{config:?} {len}");
                    // A pong still goes between frames, and what is refused stays so.
                    connection.feed(&frame(role.peer(), true, OpCode::Ping, b"?"));
                    assert_eq!(
                        connection.next_event().unwrap().unwrap().into_message(),
                        Message::Ping(Bytes::from_static(b"?"))
                    );
                    assert_eq!(sent(&mut connection), [whole(OpCode::Pong, "?")]);
                }
            }
        }
    }
}

#[test]
fn a_borrowed_message_joins_what_waits() {
    let payload = [1; 10_000];
    let never = |_: &[u8], _: &[u8]| -> usize { panic!("something waits") };
    let mut server = connection(Role::Server, Config::new().max_queued(9_000));
    server.send_text("first").unwrap();
    server.send_ref_with(MessageRef::Binary(&payload), never).unwrap();
    let refused = server.send_ref_with(MessageRef::Binary(&payload), never).unwrap_err();
    assert_eq!(refused.kind(), SendErrorKind::Full);
    server.feed(&frame(Role::Client, true, OpCode::Ping, b"!"));
    assert!(server.next_event().unwrap().is_some());
    let frames = [whole(OpCode::Pong, "!"), whole(OpCode::Text, "first"), whole(OpCode::Binary, payload)];
    let waiting = sent(&mut server);
    assert!(waiting.len() == 3 && frames.iter().all(|frame| waiting.contains(frame)));
    server.close(None);
    let refused = server.send_ref_with(MessageRef::Binary(&payload), never).unwrap_err();
    assert_eq!(refused.kind(), SendErrorKind::Closed);
    assert_eq!(sent(&mut server), [whole(OpCode::Close, "")]);
}
