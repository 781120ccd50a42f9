//! Random conversations between two engines: what one sends the other receives, however the bytes are cut,
//! written, fragmented and interleaved.

mod support;

use bytes::{Buf, Bytes};
use proptest::prelude::*;
use support::{KEY, Outcome, TAKES, Take, connection, frame, message_ref, replay};
use taut::proto::frame::OpCode;
use taut::proto::{CloseCode, CloseFrame, Config, Connection, Delivery, Event, Kind, Message, Role, State};

/// What an application does with its sending side.
#[derive(Clone, Debug)]
enum Operation {
    Send(Message),
    SendRef(Message),
    Fragments(Message, Vec<prop::sample::Index>),
}

fn control() -> impl Strategy<Value = Message> {
    let payload = prop::collection::vec(any::<u8>(), 0..=125).prop_map(Bytes::from);
    prop_oneof![payload.clone().prop_map(Message::Ping), payload.prop_map(Message::Pong)]
}

fn data() -> impl Strategy<Value = Message> {
    prop_oneof![
        "\\PC{0,40}".prop_map(Message::text),
        "[\u{80}-\u{10ffff}]{0,60}".prop_map(Message::text),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Message::binary),
        (125_usize..127, any::<u8>()).prop_map(|(len, byte)| Message::binary(vec![byte; len])),
        (65_530_usize..65_540, any::<u8>()).prop_map(|(len, byte)| Message::binary(vec![byte; len])),
        (2_000_usize..9_000).prop_map(|len| Message::text("€".repeat(len))),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        data().prop_map(Operation::Send),
        data().prop_map(Operation::SendRef),
        control().prop_map(Operation::SendRef),
        (data(), prop::collection::vec(any::<prop::sample::Index>(), 0..5))
            .prop_map(|(message, cuts)| Operation::Fragments(message, cuts)),
    ]
}

fn roles() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

fn send_in_fragments(sender: &mut Connection, message: &Message, cuts: &[prop::sample::Index]) {
    let (kind, bytes) = match message {
        Message::Text(text) => (Kind::Text, text.as_bytes()),
        Message::Binary(bytes) => (Kind::Binary, &bytes[..]),
        _ => unreachable!("only data is fragmented"),
    };
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        sender.send_fragment(kind, &bytes[start..end], false).unwrap();
        start = end;
    }
    sender.send_fragment(kind, &bytes[start..], true).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_sent_is_received(
        from in roles(),
        operations in prop::collection::vec(operation(), 0..12),
        fragment_above in prop_oneof![Just(usize::MAX), 1000_usize..5000],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        chunks: bool,
        take in prop::sample::select(&TAKES[..]),
        writes in prop::collection::vec(1_usize..50_000, 1..10),
    ) {
        let config = Config::new().fragment_above(fragment_above).max_queued(usize::MAX);
        let mut sender = connection(from, config);
        let mut expected = Vec::new();
        let mut wire = Vec::new();
        let mut writes = writes.iter().cycle();
        for operation in operations {
            match operation {
                Operation::Send(message) => {
                    expected.push(message.clone());
                    sender.send(message).unwrap();
                }
                Operation::SendRef(message) => {
                    sender.send_ref(message_ref(&message)).unwrap();
                    expected.push(message);
                }
                Operation::Fragments(message, cuts) => {
                    send_in_fragments(&mut sender, &message, &cuts);
                    expected.push(message);
                }
            }
            // A partial write, of vectored slices, as a kernel takes it.
            write_some(&mut sender, &mut wire, *writes.next().unwrap());
        }
        while sender.wants_output() {
            write_some(&mut sender, &mut wire, *writes.next().unwrap());
        }
        let delivery = if chunks { Delivery::Chunks } else { Delivery::Whole };
        let mut receiver = connection(from.peer(), Config::new().delivery(delivery));
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        ends.sort_unstable();
        let outcome = replay(&mut receiver, &wire, &ends, take);
        prop_assert_eq!(outcome, Outcome { messages: expected, error: None });
    }

    /// Whatever bytes come: chunked equals whole, cut equals uncut, nothing panics.
    #[test]
    fn any_bytes_give_one_outcome(
        role in roles(),
        frames in prop::collection::vec(
            (any::<bool>(), 0_u8..16, prop::collection::vec(any::<u8>(), 0..20), any::<u8>()), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        spoil in prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
        take in prop::sample::select(&TAKES[..]),
        max in prop_oneof![Just(usize::MAX), 0_usize..60],
    ) {
        let mut wire = Vec::new();
        for (fin, opcode, payload, rare) in frames {
            let from = if rare == 0 { role } else { role.peer() };
            let mut bytes = frame(from, fin, OpCode::Text, &payload);
            bytes[0] = bytes[0] & 0xF0 | opcode;
            wire.extend(bytes);
        }
        if let (Some((at, byte)), false) = (spoil, wire.is_empty()) {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        ends.sort_unstable();
        let config = Config::new().max_message(max).max_streamed(max as u64);
        let whole = replay(&mut connection(role, config), &wire, &[], Take::Owned);
        let cut = replay(&mut connection(role, config), &wire, &ends, take);
        prop_assert_eq!(&cut, &whole);
        let config = config.delivery(Delivery::Chunks);
        let mut chunked = replay(&mut connection(role, config), &wire, &ends, take);
        // The two modes have limits of their own names.
        if let (Some(taut::proto::ProtocolError::StreamTooBig { .. }), Some(error)) = (chunked.error, whole.error) {
            prop_assert_eq!(error, taut::proto::ProtocolError::MessageTooBig { max });
            chunked.error = whole.error;
        }
        prop_assert_eq!(&chunked, &whole);
    }

    /// Pongs go out between frames, at most two wait, and nothing else is reordered.
    #[test]
    fn a_pong_never_splits_a_frame(
        role in roles(),
        steps in prop::collection::vec((any::<bool>(), 0_usize..9_000, 1_usize..9_000, any::<bool>()), 1..30),
    ) {
        let mut connection = connection(role, Config::new());
        let mut wire = Vec::new();
        let mut sent = Vec::new();
        let mut pings = 0_u32;
        for (ping, len, write, shared) in steps {
            if ping {
                pings += 1;
                connection.feed(&frame(role.peer(), true, OpCode::Ping, &pings.to_be_bytes()));
                assert!(matches!(connection.next_event(), Ok(Some(Event::Message(Message::Ping(_))))));
            } else {
                let message = Message::binary(vec![7; len]);
                if shared {
                    connection.send(message.clone()).unwrap();
                } else {
                    connection.send_ref(message_ref(&message)).unwrap();
                }
                sent.push(message);
            }
            write_some(&mut connection, &mut wire, write);
        }
        while connection.wants_output() {
            write_some(&mut connection, &mut wire, 10_000);
        }
        let mut peer = support::connection(role.peer(), Config::new());
        let outcome = replay(&mut peer, &wire, &[], Take::Owned);
        prop_assert_eq!(outcome.error, None);
        let (data, pongs): (Vec<Message>, Vec<Message>) = outcome.messages.into_iter().partition(Message::is_data);
        prop_assert_eq!(data, sent);
        let answers: Vec<u32> = pongs.iter().map(|pong| match pong {
            Message::Pong(payload) => u32::from_be_bytes(payload[..].try_into().unwrap()),
            other => panic!("{other:?}"),
        }).collect();
        prop_assert!(answers.is_sorted_by(|a, b| a < b), "{:?}", answers);
        // RFC 6455 §5.5.3: the most recent ping is the one that must be answered.
        prop_assert_eq!(answers.last().copied(), (pings > 0).then_some(pings));
    }

    /// The closing handshake ends, whoever starts it and however the bytes cross.
    #[test]
    fn both_ends_close(
        schedule in prop::collection::vec((0_u8..6, 1_usize..40), 0..60),
        code in prop_oneof![Just(1000_u16), Just(1001), 3000_u16..5000],
    ) {
        let mut ends = [Connection::client(Config::new(), || KEY), Connection::server(Config::new())];
        let mut pipes = [Vec::new(), Vec::new()];
        let close = CloseFrame::from(CloseCode::new(code).unwrap());
        for (action, amount) in schedule.into_iter().chain(std::iter::repeat_n((6, 1000), 1)) {
            let who = usize::from(action % 2);
            match action {
                0 | 1 => { let _ = ends[who].send_text("data"); }
                2 | 3 if amount < 5 => ends[who].close(Some(close.clone())),
                _ => {}
            }
            if action == 6 {
                ends[0].close(Some(close.clone()));
            }
            for _ in 0..if action == 6 { 100 } else { 1 } {
                for who in 0..2 {
                    write_some(&mut ends[who], &mut pipes[who], amount);
                    let count = amount.min(pipes[who].len());
                    let bytes: Vec<u8> = pipes[who].drain(..count).collect();
                    ends[1 - who].feed(&bytes);
                    while ends[1 - who].next_event().unwrap().is_some() {}
                }
            }
        }
        for end in &ends {
            prop_assert_eq!(end.state(), State::Closed);
            let status = end.close_status().unwrap();
            prop_assert_eq!((status.code, status.clean), (code, true));
        }
        let [client, server] = &mut ends;
        prop_assert!(server.wants_shutdown() && !client.wants_shutdown() && client.wants_input());
        client.input_eof();
        prop_assert!(client.wants_shutdown());
    }
}

/// Writes at most `most` bytes, out of vectored slices, and advances by what was written.
fn write_some(connection: &mut Connection, wire: &mut Vec<u8>, most: usize) {
    let output = connection.output();
    let mut slices = [std::io::IoSlice::new(&[]); 4];
    let count = output.chunks_vectored(&mut slices);
    let before = wire.len();
    for slice in &slices[..count] {
        let left = most - (wire.len() - before);
        wire.extend_from_slice(&slice[..left.min(slice.len())]);
    }
    let written = wire.len() - before;
    output.advance(written);
}
