//! What several tests need: frames by hand, and a connection's events in a form that does not depend on
//! how its input was cut.
#![allow(dead_code, reason = "each test uses its part")]

use bytes::Buf;
use taut::proto::frame::{Header, MAX_HEADER, OpCode};
use taut::proto::{
    ChunkData, Config, Connection, Delivery, Event, Kind, Message, MessageRef, ProtocolError, Role,
};

/// The masking key of every frame that a test writes as a client.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as `from` would send it.
pub(crate) fn frame(from: Role, fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let key = (from == Role::Client).then_some(KEY);
    let header = Header { fin, rsv1: false, opcode, key, len: payload.len() as u64 };
    let mut bytes = [0; MAX_HEADER];
    let length = header.encode(&mut bytes);
    let mut frame = bytes[..length].to_vec();
    frame.extend(payload.iter().enumerate().map(|(i, byte)| match key {
        Some(key) => byte ^ key[i % 4],
        None => *byte,
    }));
    frame
}

/// A connection of that role whose masking keys are [`KEY`].
pub(crate) fn connection(role: Role, config: Config) -> Connection {
    match role {
        Role::Server => Connection::server(config),
        Role::Client => Connection::client(config, || KEY),
    }
}

/// All bytes that wait to be written.
pub(crate) fn drain(connection: &mut Connection) -> Vec<u8> {
    let output = connection.output();
    let mut bytes = vec![0; output.remaining()];
    output.copy_to_slice(&mut bytes);
    bytes
}

/// All that a connection makes of its input: the messages, and the error if there was one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) messages: Vec<Message>,
    pub(crate) error: Option<ProtocolError>,
}

/// How the test takes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    Owned,
    Borrowed,
    /// The buffer is lent out around each read.
    Lent,
}

pub(crate) const TAKES: [Take; 3] = [Take::Owned, Take::Borrowed, Take::Lent];

/// Feeds `input` in pieces that end at `cuts`, takes all events after each, and puts chunks together.
pub(crate) fn replay(connection: &mut Connection, input: &[u8], cuts: &[usize], take: Take) -> Outcome {
    let mut outcome = Outcome::default();
    let mut chunks = Vec::new();
    let mut start = 0;
    for &end in cuts.iter().chain([&input.len()]) {
        let piece = &input[start..end.max(start)];
        start = end.max(start);
        if take == Take::Lent {
            let mut lent = connection.take_input();
            lent.extend_from_slice(piece);
            connection.put_input(lent);
        } else {
            connection.feed(piece);
        }
        collect(connection, take, &mut chunks, &mut outcome);
    }
    outcome
}

fn collect(connection: &mut Connection, take: Take, chunks: &mut Vec<u8>, outcome: &mut Outcome) {
    loop {
        let event = match take {
            Take::Borrowed => connection.next_event_ref().map(|event| event.map(|event| event.to_event())),
            Take::Owned | Take::Lent => connection.next_event(),
        };
        match event {
            Ok(None) => return,
            Ok(Some(Event::Message(message))) => outcome.messages.push(message),
            Ok(Some(Event::Chunk(chunk))) => {
                assert_eq!(chunk.first, chunks.is_empty() && chunk.first, "only a first chunk begins");
                let bytes: &[u8] = match &chunk.data {
                    ChunkData::Text(text) => text.as_bytes(),
                    ChunkData::Binary(bytes) => bytes,
                };
                assert!(!bytes.is_empty() || chunk.last, "an empty chunk that ends nothing");
                chunks.extend_from_slice(bytes);
                if chunk.last {
                    let whole = std::mem::take(chunks);
                    outcome.messages.push(match chunk.data {
                        ChunkData::Text(_) => Message::text(String::from_utf8(whole).unwrap()),
                        ChunkData::Binary(_) => Message::binary(whole),
                    });
                }
            }
            Err(error) => {
                assert_eq!(connection.next_event(), Err(error), "an error is final");
                match outcome.error {
                    None => outcome.error = Some(error),
                    Some(first) => assert_eq!(first, error),
                }
                return;
            }
        }
    }
}

/// Replays at every single split point, in both delivery modes and all ways to take events; gives the
/// outcome, which must be the same everywhere.
pub(crate) fn replay_everywhere(role: Role, config: Config, input: &[u8]) -> Outcome {
    let whole = replay(&mut connection(role, config), input, &[], Take::Owned);
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        for take in TAKES {
            for cut in 0..=input.len() {
                let mut connection = connection(role, config.delivery(delivery));
                let outcome = replay(&mut connection, input, &[cut], take);
                assert_eq!(outcome, whole, "{delivery:?}, {take:?}, cut at {cut} of {input:x?}");
            }
            let every: Vec<usize> = (1..input.len()).collect();
            let mut connection = connection(role, config.delivery(delivery));
            let outcome = replay(&mut connection, input, &every, take);
            assert_eq!(outcome, whole, "{delivery:?}, {take:?}, byte by byte: {input:x?}");
        }
    }
    whole
}

/// A message that borrows from nothing, as the reference that sends it.
pub(crate) fn message_ref(message: &Message) -> MessageRef<'_> {
    message.into()
}

pub(crate) fn kind_of(message: &Message) -> Option<Kind> {
    match message {
        Message::Text(_) => Some(Kind::Text),
        Message::Binary(_) => Some(Kind::Binary),
        _ => None,
    }
}
