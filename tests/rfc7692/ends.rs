//! Connections that agreed on permessage-deflate, what they send, and what they make of their input.

use taut::proto::{Agreement, Config, Connection, Deflate, Delivery, Message, ProtocolError, Role};

use crate::support::{self, Outcome, TAKES, Take, replay};
use crate::wire::{CONTINUATION, FIN, Sent, frame, sent};

/// RFC 7692 §6: the "Per-Message Compressed" bit.
pub(crate) const RSV1: u8 = 0x40;

/// An open connection under these parameters.
pub(crate) fn agreed(role: Role, config: Config, deflate: Deflate) -> Connection {
    support::connection(role, config).with_agreement(Agreement::new().with_deflate(deflate))
}

/// What compresses even the smallest message.
pub(crate) fn eager() -> Config {
    Config::new().deflate_above(0)
}

/// The parameters under which one end takes over its context or does not, within a window of so many bits.
pub(crate) fn sending(role: Role, takeover: bool, window_bits: u8) -> Deflate {
    match role {
        Role::Server => {
            Deflate::new().server_no_context_takeover(!takeover).server_max_window_bits(window_bits)
        }
        Role::Client => {
            Deflate::new().client_no_context_takeover(!takeover).client_max_window_bits(window_bits)
        }
    }
}

/// A compressed message in one frame.
pub(crate) fn compressed(from: Role, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(from, FIN | RSV1 | opcode, payload)
}

/// A compressed message in the frames that the cuts make.
pub(crate) fn fragmented(from: Role, opcode: u8, payload: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut wire = Vec::new();
    let (mut first, mut start) = (RSV1 | opcode, 0);
    for &end in cuts {
        wire.extend(frame(from, first, &payload[start..end]));
        (first, start) = (CONTINUATION, end);
    }
    wire.extend(frame(from, FIN | first, &payload[start..]));
    wire
}

/// A data message as it is on the wire.
#[derive(Debug, PartialEq)]
pub(crate) struct OnWire {
    pub(crate) opcode: u8,
    pub(crate) compressed: bool,
    pub(crate) fragments: Vec<Vec<u8>>,
}

impl OnWire {
    pub(crate) fn payload(&self) -> Vec<u8> {
        self.fragments.concat()
    }
}

/// The data messages that wait to be written. RSV1 stands where RFC 7692 §6 allows it.
#[track_caller]
pub(crate) fn on_wire(connection: &mut Connection) -> Vec<OnWire> {
    messages(sent(connection))
}

#[track_caller]
pub(crate) fn messages(frames: Vec<Sent>) -> Vec<OnWire> {
    let mut messages: Vec<OnWire> = Vec::new();
    let mut ended = true;
    for Sent { first, payload, .. } in frames {
        let opcode = first & 0xF;
        assert_eq!(first & 0x30, 0, "RSV2 and RSV3");
        if opcode > 2 {
            assert_eq!(first & RSV1, 0, "RSV1 of a control frame");
            continue;
        }
        assert_eq!(opcode != CONTINUATION, ended, "a message begins when the last has ended");
        if opcode == CONTINUATION {
            assert_eq!(first & RSV1, 0, "RSV1 of a continuation");
            messages.last_mut().unwrap().fragments.push(payload);
        } else {
            messages.push(OnWire { opcode, compressed: first & RSV1 != 0, fragments: vec![payload] });
        }
        ended = first & FIN != 0;
    }
    assert!(ended, "the last message has no end");
    messages
}

/// What a connection makes of its input: at once, byte by byte, cut anywhere once and (if it is short) twice, in
/// both delivery modes and all ways to take events. It must be the same everywhere.
#[track_caller]
pub(crate) fn everywhere(role: Role, config: Config, deflate: Deflate, input: &[u8]) -> Outcome {
    let mut all = vec![vec![], (1..input.len()).collect()];
    let here = |cut: &usize| {
        input.len() <= 300 || *cut <= 40 || *cut + 20 >= input.len() || (*cut).is_multiple_of(509)
    };
    all.extend((1..input.len()).filter(here).map(|cut| vec![cut]));
    if input.len() <= 24 {
        all.extend((1..input.len()).flat_map(|one| (one + 1..input.len()).map(move |two| vec![one, two])));
    }
    let first = replay(&mut agreed(role, config, deflate), input, &[], Take::Owned);
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        for (take, cuts) in TAKES.iter().flat_map(|&take| all.iter().map(move |cuts| (take, cuts))) {
            let mut connection = agreed(role, config.delivery(delivery), deflate);
            let mut outcome = replay(&mut connection, input, cuts, take);
            outcome.error = outcome.error.map(in_whole);
            assert_eq!(outcome, first, "{delivery:?}, {take:?}, cut at {cuts:?}: {input:x?}");
            if let Some(error) = first.error {
                let close = sent(&mut connection).pop().expect("a Close");
                assert_eq!(close.first, FIN | 8);
                assert_eq!(close.payload[..2], error.close_code().get().to_be_bytes());
            }
        }
    }
    first
}

/// The two modes have limits of their own names.
fn in_whole(error: ProtocolError) -> ProtocolError {
    match error {
        ProtocolError::StreamTooBig { max } => {
            ProtocolError::MessageTooBig { max: usize::try_from(max).unwrap() }
        }
        error => error,
    }
}

/// These messages come, and the connection stays open.
#[track_caller]
pub(crate) fn gives(role: Role, config: Config, deflate: Deflate, input: &[u8], messages: &[Message]) {
    let outcome = everywhere(role, config, deflate, input);
    assert_eq!(outcome, Outcome { messages: messages.into(), error: None }, "{role:?} got {input:x?}");
}

/// These messages come, and then the connection fails with this error and a Close of this code.
#[track_caller]
pub(crate) fn fails(
    role: Role,
    config: Config,
    deflate: Deflate,
    input: &[u8],
    messages: &[Message],
    (error, code): (ProtocolError, u16),
) {
    let outcome = everywhere(role, config, deflate, input);
    assert_eq!(outcome, Outcome { messages: messages.into(), error: Some(error) }, "{role:?} got {input:x?}");
    assert_eq!(error.close_code().get(), code);
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(len: usize, mut seed: u32) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Text that compresses about as well as JSON does.
pub(crate) fn prose(len: usize, seed: usize) -> String {
    let mut text = String::new();
    let mut line = seed;
    while text.len() < len {
        line += 1;
        text +=
            &format!("{{\"line\":{line},\"kind\":\"käse\",\"price\":{}}},\n", line * line * 7919 % 10_007);
    }
    let end = (0..=len).rev().find(|&end| text.is_char_boundary(end)).unwrap();
    text.truncate(end);
    text
}
