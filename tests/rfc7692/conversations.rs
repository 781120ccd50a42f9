//! Random conversations: what goes in comes out, however it was compressed, cut and delivered; and it is what an
//! inflater that is not ours makes of the wire, within the window that was agreed on.

use proptest::prelude::*;
use proptest::sample::Index;
use taut::proto::{Config, Connection, Delivery, Kind, Message, Prepared, Role};

use crate::ends::{agreed, messages, noise, prose, sending};
use crate::oracle::Oracle;
use crate::support::{Outcome, TAKES, message_ref, replay};
use crate::wire::{TEXT, parse, written};

#[derive(Clone, Debug)]
enum Operation {
    Send(Message),
    SendRef(Message),
    Fragments(Message, Vec<Index>),
    Prepared(Message),
    Ping,
    Compress(bool),
    Forget,
}

fn data() -> impl Strategy<Value = Message> {
    let len = || prop_oneof![4 => 0_usize..40, 4 => 40_usize..2000, 1 => 2000_usize..40_000];
    prop_oneof![
        4 => (len(), 0_usize..4).prop_map(|(len, seed)| Message::text(prose(len, seed))),
        2 => (len(), 0_u32..4).prop_map(|(len, seed)| Message::binary(noise(len, seed))),
        1 => (len(), any::<u8>()).prop_map(|(len, byte)| Message::binary(vec![byte; len])),
        1 => "\\PC{0,40}".prop_map(Message::text),
        // Repetitions at any distance.
        1 => (1_usize..40_000, 0_u32..4).prop_map(|(gap, seed)| {
            let part = noise(300, seed);
            Message::binary([&part[..], &vec![seed as u8; gap], &part].concat())
        }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => data().prop_map(Operation::Send),
        4 => data().prop_map(Operation::SendRef),
        3 => (data(), prop::collection::vec(any::<Index>(), 0..5))
            .prop_map(|(message, cuts)| Operation::Fragments(message, cuts)),
        2 => data().prop_map(Operation::Prepared),
        1 => Just(Operation::Ping),
        1 => any::<bool>().prop_map(Operation::Compress),
        1 => Just(Operation::Forget),
    ]
}

fn cuts_of(cuts: &[Index], len: usize) -> Vec<usize> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    ends.sort_unstable();
    ends
}

fn parts(message: &Message) -> (Kind, &[u8]) {
    match message {
        Message::Text(text) => (Kind::Text, text.as_bytes()),
        Message::Binary(bytes) => (Kind::Binary, bytes),
        other => unreachable!("{other:?}"),
    }
}

/// What must be on the wire of one message.
struct Sent {
    message: Message,
    /// Whether it may be compressed at all.
    may: bool,
    /// Whether it must be, though it gains nothing.
    must: bool,
}

/// Does these; gives what was sent.
fn drive(
    sender: &mut Connection,
    able: bool,
    above: u32,
    operations: Vec<Operation>,
) -> (Vec<Sent>, Vec<Message>) {
    let (mut all, mut data, mut on) = (Vec::new(), Vec::new(), true);
    for operation in operations {
        let large = |message: &Message| parts(message).1.len() > above as usize;
        match operation {
            Operation::Send(message) => {
                sender.send(message.clone()).unwrap();
                data.push(Sent { may: able && on && large(&message), must: false, message: message.clone() });
                all.push(message);
            }
            Operation::SendRef(message) => {
                sender.send_ref(message_ref(&message)).unwrap();
                data.push(Sent { may: able && on && large(&message), must: false, message: message.clone() });
                all.push(message);
            }
            Operation::Fragments(message, cuts) => {
                let (kind, bytes) = parts(&message);
                let mut start = 0;
                for end in cuts_of(&cuts, bytes.len()) {
                    sender.send_fragment(kind, &bytes[start..end], false).unwrap();
                    start = end;
                }
                sender.send_fragment(kind, &bytes[start..], true).unwrap();
                data.push(Sent { may: able && on, must: able && on, message: message.clone() });
                all.push(message);
            }
            Operation::Prepared(message) => {
                let prepared = match &message {
                    Message::Text(text) => Prepared::text(text),
                    other => Prepared::binary(parts(other).1),
                };
                sender.send_prepared(&prepared).unwrap();
                data.push(Sent { may: able && on && large(&message), must: false, message: message.clone() });
                all.push(message);
            }
            Operation::Ping => {
                sender.ping(b"ping").unwrap();
                all.push(Message::Ping("ping".into()));
            }
            Operation::Compress(now) => {
                sender.compress(now);
                on = now;
            }
            Operation::Forget => sender.forget_context(),
        }
    }
    (data, all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_compressed_is_received(
        from in prop::sample::select(crate::BOTH),
        operations in prop::collection::vec(operation(), 0..12),
        takeover: bool,
        window_bits in prop_oneof![1 => Just(8_u8), 3 => Just(9), 6 => 10_u8..15, 3 => Just(15)],
        level in 0_u8..=9,
        above in prop_oneof![2 => Just(0_u32), 2 => Just(256), 1 => 0_u32..3000],
        fragment_above in prop_oneof![Just(usize::MAX), 1_usize..3000],
        cuts in prop::collection::vec(any::<Index>(), 0..30),
        take in prop::sample::select(&TAKES[..]),
    ) {
        let deflate = sending(from, takeover, window_bits);
        let config = Config::new().deflate_level(level).deflate_above(above).fragment_above(fragment_above);
        let mut sender = agreed(from, config.max_queued(usize::MAX), deflate);
        let (data, all) = drive(&mut sender, window_bits > 8, above, operations);
        let wire = written(&mut sender);

        let mut oracle = Oracle::new(window_bits, takeover);
        let on_wire = messages(parse(from, &wire));
        prop_assert_eq!(on_wire.len(), data.len());
        for (on_wire, sent) in on_wire.iter().zip(&data) {
            let (kind, bytes) = parts(&sent.message);
            prop_assert_eq!(on_wire.opcode == TEXT, kind == Kind::Text);
            let as_said = if sent.must { on_wire.compressed } else { sent.may || !on_wire.compressed };
            prop_assert!(as_said);
            let payload = on_wire.payload();
            if on_wire.compressed {
                let inflated = oracle.message(&payload);
                prop_assert!(inflated.as_deref() == Ok(bytes), "{} bytes: {:?}", bytes.len(), inflated.err());
                prop_assert!(takeover || sent.must || payload.len() < bytes.len());
            } else {
                prop_assert!(payload == bytes);
            }
        }

        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let mut receiver = agreed(from.peer(), Config::new().delivery(delivery), deflate);
            let outcome = replay(&mut receiver, &wire, &cuts_of(&cuts, wire.len()), take);
            let expected = Outcome { messages: all.clone(), error: None };
            prop_assert!(outcome == expected, "{:?}: {:?}", delivery, outcome.error);
        }
    }

    /// Whatever bytes come in compressed frames: chunked equals whole, cut equals uncut, nothing panics, and what comes
    /// out is within the limits.
    #[test]
    fn any_compressed_bytes_give_one_outcome(
        role in prop::sample::select(crate::BOTH),
        payloads in prop::collection::vec(
            (any::<bool>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..60), any::<Index>()), 1..5),
        seeds in prop::collection::vec((0_usize..4, any::<Index>(), any::<u8>()), 0..4),
        takeover: bool,
        cuts in prop::collection::vec(any::<Index>(), 0..20),
        take in prop::sample::select(&TAKES[..]),
        max in prop_oneof![Just(1_usize << 20), 0_usize..600],
    ) {
        let mut wire = Vec::new();
        // Messages that are fine but for one byte go before those that are noise.
        let mut peer = agreed(role.peer(), Config::new().deflate_above(0), sending(role.peer(), takeover, 15));
        for (seed, at, byte) in seeds {
            peer.send_text(&prose(200, seed)).unwrap();
            let mut frame = written(&mut peer);
            if byte < 128 {
                let at = frame.len() / 2 + at.index(frame.len() / 2);
                frame[at] ^= byte;
            }
            wire.extend(frame);
        }
        for (text, ends, payload, cut) in payloads {
            let opcode = if text { TEXT } else { crate::wire::BINARY };
            let cut = cut.index(payload.len() + 1);
            let mut frames = crate::ends::fragmented(role.peer(), opcode, &payload, &[cut]);
            if !ends {
                frames.truncate(frames.len() / 2);
            }
            wire.extend(frames);
        }
        let config = Config::new().max_message(max).max_streamed(max as u64);
        let deflate = sending(role.peer(), takeover, 15);
        let ends = cuts_of(&cuts, wire.len());
        let run = |delivery, ends: &[usize]| {
            replay(&mut agreed(role, config.delivery(delivery), deflate), &wire, ends, take)
        };
        let whole = run(Delivery::Whole, &[]);
        for message in &whole.messages {
            prop_assert!(!message.is_data() || parts(message).1.len() <= max);
        }
        for outcome in [run(Delivery::Whole, &ends), run(Delivery::Chunks, &[]), run(Delivery::Chunks, &ends)] {
            prop_assert_eq!(&outcome.messages, &whole.messages);
            // Where a message is broken in two ways, which of them comes first depends on how it arrives.
            prop_assert_eq!(outcome.error.is_some(), whole.error.is_some());
        }
    }
}

/// Both directions at once, each with its own parameters.
#[test]
fn an_echo_in_every_agreement() {
    for number in 0..64_u8 {
        let bits = |shift: u8| 8 + (number >> shift) % 8;
        let deflate = taut::proto::Deflate::new()
            .server_no_context_takeover(number % 2 == 0)
            .client_no_context_takeover(number % 4 < 2)
            .server_max_window_bits(bits(0))
            .client_max_window_bits(bits(3));
        let mut client = agreed(Role::Client, Config::new().deflate_above(20), deflate);
        let mut server = agreed(Role::Server, Config::new().deflate_above(20), deflate);
        for round in 0..6 {
            let message = Message::text(prose(round * round * 200, round));
            client.send(message.clone()).unwrap();
            server.feed(&written(&mut client));
            let echo = server.next_event().unwrap().unwrap().into_message();
            assert!(echo == message);
            server.send(echo).unwrap();
            client.feed(&written(&mut server));
            assert!(client.next_event().unwrap().unwrap().into_message() == message);
        }
    }
}
