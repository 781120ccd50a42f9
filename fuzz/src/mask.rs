//! The oracle of `mask`: masking is the XOR of RFC 6455 §5.3, byte by byte, wherever the bytes lie, whatever comes
//! before them, and in whatever pieces; and so it is on its way through two connections.

use arbitrary::{Arbitrary, Unstructured};
use bytes::{Buf, Bytes};
use taut::proto::frame::Header;
use taut::proto::{ChunkDataRef, Config, Connection, Delivery, EventRef, Kind, MessageRef, Role, mask};

use crate::format::{KEYS, LENGTHS};
use crate::script::{Piece, Script, Wire};

/// A payload and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The masking key.
    pub key: [u8; 4],
    /// How many bytes of the payload come before these.
    pub offset: u64,
    /// How far from a border of 64 bytes they lie.
    pub place: u8,
    /// The payload and where it is cut.
    pub script: Script,
}

impl Input {
    /// The bytes that mean this input.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.key.to_vec();
        out.extend(self.offset.to_le_bytes());
        out.push(self.place);
        self.script.encode(&mut out);
        out
    }
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self {
            key: bytes.arbitrary()?,
            offset: u64::from_le_bytes(bytes.arbitrary()?),
            place: bytes.arbitrary()?,
            script: Script::arbitrary(bytes)?,
        })
    }
}

/// Masks the payload in every way, and compares.
///
/// # Panics
/// If a byte is not what it must be.
pub fn check(input: &Input) {
    let wire = input.script.wire(MAX_PAYLOAD, |number| vec![number; usize::from(number)]);
    check_in_place(input, &wire);
    let masked = twin(&wire.bytes, input.key, 0);
    check_sending(input, &wire, &masked);
    check_receiving(input, &wire, &masked);
}

fn check_in_place(input: &Input, wire: &Wire) {
    let offset = input.offset as usize;
    let expected = twin(&wire.bytes, input.key, offset);
    let place = Place::new(input.place, wire.bytes.len());

    let mut whole = place.with(&wire.bytes);
    mask::apply(&mut whole[place.range()], input.key, offset);
    place.compare(&whole, &expected);
    mask::apply(&mut whole[place.range()], input.key, offset);
    place.compare(&whole, &wire.bytes);

    let mut pieces = place.with(&wire.bytes);
    let mut start = 0;
    for piece in wire.pieces() {
        let end = start + piece.len();
        mask::apply(&mut pieces[place.range()][start..end], input.key, offset.wrapping_add(start));
        start = end;
    }
    place.compare(&pieces, &expected);
}

/// What a client sends, owned, borrowed, and in the fragments that the cuts make.
fn check_sending(input: &Input, wire: &Wire, masked: &[u8]) {
    let key = input.key;
    let mut client = Connection::client(config(Delivery::Whole), move || key);
    client.send_binary(&wire.bytes).expect("the queue is empty");
    assert_eq!(frames(&written(&mut client), key), [masked], "borrowed");
    client.send(Bytes::copy_from_slice(&wire.bytes)).expect("the queue is empty");
    assert_eq!(frames(&written(&mut client), key), [masked], "owned");
    for piece in wire.pieces() {
        client.send_fragment(Kind::Binary, piece, false).expect("the queue is unlimited");
    }
    client.send_fragment(Kind::Binary, b"", true).expect("the queue is unlimited");
    let expected: Vec<_> = wire.pieces().map(|piece| twin(piece, key, 0)).chain([Vec::new()]).collect();
    assert_eq!(frames(&written(&mut client), key), expected, "in fragments");
}

/// What a server makes of a masked frame, whole and cut, put together and in chunks.
fn check_receiving(input: &Input, wire: &Wire, masked: &[u8]) {
    let len = masked.len() as u64;
    let opcode = taut::proto::frame::OpCode::Binary;
    let mut head = [0; taut::proto::frame::MAX_HEADER];
    let end = Header { fin: true, rsv1: false, opcode, key: Some(input.key), len }.encode(&mut head);
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        let mut whole = Connection::server(config(delivery));
        whole.feed(&[&head[..end], masked].concat());
        assert_eq!(received(&mut whole), wire.bytes, "whole");
        let mut cut = Connection::server(config(delivery));
        cut.feed(&head[..end]);
        let mut start = 0;
        let mut bytes = received(&mut cut);
        for piece in wire.pieces() {
            cut.feed(&masked[start..start + piece.len()]);
            start += piece.len();
            bytes.extend(received(&mut cut));
        }
        assert_eq!(bytes, wire.bytes, "cut");
    }
}

fn config(delivery: Delivery) -> Config {
    Config::new().delivery(delivery).max_message(usize::MAX).max_queued(usize::MAX)
}

/// All that waits to be written.
fn written(connection: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while connection.wants_output() {
        let output = connection.output();
        bytes.extend_from_slice(output.chunk());
        output.advance(output.chunk().len());
    }
    bytes
}

/// The payloads of frames, still masked; each with this key.
fn frames(mut bytes: &[u8], key: [u8; 4]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    while !bytes.is_empty() {
        let (header, end) = Header::decode(bytes, Role::Client).expect("no error").expect("a whole header");
        assert_eq!(header.key, Some(key));
        let end_of_frame = end + header.len as usize;
        payloads.push(bytes[end..end_of_frame].to_vec());
        bytes = &bytes[end_of_frame..];
    }
    payloads
}

/// The bytes of all events that there are.
fn received(connection: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(event) = connection.next_event_ref().expect("a good frame") {
        match event {
            EventRef::Message(MessageRef::Binary(data)) => bytes.extend_from_slice(data),
            EventRef::Chunk(chunk) => match chunk.data {
                ChunkDataRef::Binary(data) => bytes.extend_from_slice(data),
                ChunkDataRef::Text(_) => panic!("text out of binary"),
            },
            EventRef::Message(message) => panic!("{message:?} out of binary"),
        }
    }
    bytes
}

/// The definition of RFC 6455 §5.3, byte by byte.
fn twin(bytes: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
    let mut j = offset % 4;
    let mut masked = Vec::new();
    for byte in bytes {
        masked.push(byte ^ key[j]);
        j = if j == 3 { 0 } else { j + 1 };
    }
    masked
}

/// Where bytes lie in memory, and the bytes around them.
struct Place {
    start: usize,
    len: usize,
}

impl Place {
    fn new(place: u8, len: usize) -> Self {
        Self { start: AROUND + usize::from(place) % AROUND, len }
    }

    const fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.len
    }

    fn with(&self, bytes: &[u8]) -> Vec<u8> {
        let mut all = vec![UNTOUCHED; self.start + self.len + AROUND];
        all[self.range()].copy_from_slice(bytes);
        all
    }

    fn compare(&self, all: &[u8], expected: &[u8]) {
        assert_eq!(&all[self.range()], expected);
        let around = all[..self.start].iter().chain(&all[self.start + self.len..]);
        assert!(around.copied().all(|byte| byte == UNTOUCHED), "the bytes around were touched");
    }
}

/// The widest vector in bytes: a payload can lie at each place of one.
const AROUND: usize = 64;

/// What stands around the payload.
const UNTOUCHED: u8 = 0xA5;

/// The largest payload.
const MAX_PAYLOAD: usize = 72 << 10;

/// Every seed, with the name of its file.
#[must_use]
pub fn seeds() -> Vec<(String, Input)> {
    let mut seeds = Vec::new();
    let mut add = |name: String, key: usize, offset: u64, place: u8, script: Script| {
        seeds.push((name, Input { key: KEYS[key], offset, place, script }));
    };
    for (index, length) in (0..).zip(LENGTHS) {
        let fill = Piece::Filled { length: index, filling: 6 };
        let cuts = if length > 4096 { [251, 254] } else { [1, 3] };
        add(format!("length-{length}"), 1, u64::from(index), index, Script { cuts, pieces: vec![fill] });
    }
    for (index, key) in (0..).zip(KEYS) {
        let raw = Piece::Raw((0..=70).collect());
        let name = format!("key-{:08x}", u32::from_be_bytes(key));
        add(name, index, u64::MAX - 1, 63, Script { cuts: [5, 16], pieces: vec![raw] });
    }
    let pieces = [Piece::Line(7), Piece::Cut, Piece::Cut, Piece::Line(33), Piece::Repeat(9), Piece::Cut];
    add("cut-where-nothing-is".into(), 7, 3, 1, Script::new(pieces));
    seeds
}
