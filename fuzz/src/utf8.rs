//! The oracle of `utf8`: text is what the standard library takes for text, in whatever pieces it comes. What is
//! not fails at the first byte that proves it, and the place told is where its first wrong sequence begins.

use std::str;

use arbitrary::{Arbitrary, Unstructured};
use bytes::{BufMut, Bytes};
use taut::proto::frame::{Header, MAX_CONTROL_PAYLOAD, MAX_HEADER, OpCode};
use taut::proto::utf8::{Utf8Error, Validator};
use taut::proto::{
    ChunkDataRef, Config, Connection, Delivery, EventRef, MessageRef, ProtocolError, Role, Utf8Bytes,
};

use crate::format::{FILLINGS, KEYS, LENGTHS};
use crate::script::{Piece, Script, Wire};

/// What may be text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Which of [`KEYS`] masks it on its way to a server.
    pub key: u8,
    /// The bytes and where they are cut; a line is a character or what looks like one.
    pub script: Script,
}

impl Input {
    /// The bytes that mean this input.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.key];
        self.script.encode(&mut out);
        out
    }
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let key: u8 = bytes.arbitrary()?;
        Ok(Self { key: key & 7, script: Script::arbitrary(bytes)? })
    }
}

/// Checks the bytes in every way, and compares.
///
/// # Panics
/// If a way differs from the standard library.
pub fn check(input: &Input) {
    let wire =
        input.script.wire(MAX_TEXT, |number| SEQUENCES[usize::from(number) % SEQUENCES.len()].to_vec());
    let verdict = Verdict::of(&wire.bytes);
    for wire in [wire.uncut(), wire.clone(), wire.in_bytes()] {
        check_pieces(&wire, &verdict);
    }
    let found = Utf8Bytes::try_from(Bytes::copy_from_slice(&wire.bytes));
    match (found, verdict.error()) {
        (Ok(text), None) => assert_eq!(text.as_str().as_bytes(), wire.bytes),
        (found, expected) => assert_eq!(found.err().map(|error| error.offset), expected),
    }
    for role in [Role::Server, Role::Client] {
        let header = |opcode, len: usize| {
            let key = Some(KEYS[usize::from(input.key)]).filter(|_| role == Role::Server);
            Header { fin: true, rsv1: false, opcode, key, len: len as u64 }
        };
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let text = header(OpCode::Text, wire.bytes.len());
            check_frame(role, delivery, text, &wire.uncut(), &verdict);
            check_frame(role, delivery, text, &wire, &verdict);
        }
        if wire.bytes.len() + 2 <= MAX_CONTROL_PAYLOAD {
            let body = [&1000_u16.to_be_bytes()[..], &wire.bytes].concat();
            let mut connection = connection(role, Delivery::Whole);
            connection.feed(&frame(header(OpCode::Close, body.len()), &body));
            let result = connection.next_event().map(|event| event.is_some());
            // The code comes before it.
            let offset = verdict.error().map(|offset| offset + 2);
            let expected = offset.map_or(Ok(true), |offset| Err(ProtocolError::InvalidUtf8 { offset }));
            assert_eq!(result, expected, "the reason of a Close");
        }
    }
}

/// What the standard library says.
struct Verdict {
    /// How many bytes are text.
    valid: usize,
    /// After how many bytes it is certain that all of them are not text.
    fails: Option<usize>,
    len: usize,
}

impl Verdict {
    fn of(bytes: &[u8]) -> Self {
        let valid = str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        // The first byte that nothing could follow, found by looking at one more each time.
        let rest = &bytes[valid..];
        let is_wrong =
            |end: &usize| str::from_utf8(&rest[..*end]).is_err_and(|error| error.error_len().is_some());
        let fails = (1..=rest.len().min(4)).find(is_wrong).map(|end| valid + end);
        Self { valid, fails, len: bytes.len() }
    }

    /// Where the error is told if no more bytes come.
    fn error(&self) -> Option<u64> {
        (self.valid < self.len).then_some(self.valid as u64)
    }
}

fn check_pieces(wire: &Wire, verdict: &Verdict) {
    let text = str::from_utf8(&wire.bytes[..verdict.valid]).expect("text up to there");
    let mut validator = Validator::new();
    let mut end = 0;
    for piece in wire.pieces() {
        end += piece.len();
        let result = validator.feed(piece);
        if verdict.fails.is_some_and(|at| at <= end) {
            let error = result.expect_err("no byte could make it text");
            assert_eq!(error.offset, verdict.valid as u64);
            return;
        }
        assert_eq!(result, Ok(()), "bytes could follow that make it text");
        assert!(validator.held() <= 3);
        let whole = end - validator.held();
        assert!(text.is_char_boundary(whole), "what is not held is whole characters");
        let is_whole = str::from_utf8(&wire.bytes[whole..end]).is_ok();
        assert_eq!(is_whole, validator.held() == 0, "a character is held as long as its end is missing");
        let finish = validator.finish();
        assert_eq!(
            finish.map_err(|error: Utf8Error| error.offset),
            if is_whole { Ok(()) } else { Err(whole as u64) }
        );
    }
}

/// A message in one frame, fed in pieces.
fn check_frame(role: Role, delivery: Delivery, header: Header, wire: &Wire, verdict: &Verdict) {
    let mut connection = connection(role, delivery);
    let frame = frame(header, &wire.bytes);
    let start = frame.len() - wire.bytes.len();
    let mut text = String::new();
    let mut result = Ok(());
    // The header comes with the first piece, so that a frame in one piece is one.
    let mut end = start;
    let mut fed = 0;
    for piece in wire.pieces() {
        end += piece.len();
        connection.feed(&frame[fed..end]);
        fed = end;
        result = result.and_then(|()| take(&mut connection, &mut text));
        if delivery == Delivery::Chunks && verdict.fails.is_some_and(|at| at <= end - start) {
            assert!(result.is_err(), "no byte could make it text");
        }
    }
    assert_eq!(result, expected(verdict));
    match verdict.error() {
        None => assert_eq!(text.as_bytes(), wire.bytes),
        Some(_) => assert!(wire.bytes[..verdict.valid].starts_with(text.as_bytes()), "only what is text"),
    }
}

fn expected(verdict: &Verdict) -> Result<(), ProtocolError> {
    verdict.error().map_or(Ok(()), |offset| Err(ProtocolError::InvalidUtf8 { offset }))
}

/// Takes all events.
fn take(connection: &mut Connection, text: &mut String) -> Result<(), ProtocolError> {
    let start = text.len();
    while let Some(event) = connection.next_event_ref()? {
        match event {
            EventRef::Message(MessageRef::Text(message)) => text.push_str(message),
            EventRef::Chunk(chunk) => match chunk.data {
                ChunkDataRef::Text(chunk) => text.push_str(chunk),
                ChunkDataRef::Binary(_) => panic!("binary out of text"),
            },
            EventRef::Message(message) => panic!("{message:?} out of text"),
        }
    }
    assert!(str::from_utf8(&text.as_bytes()[start..]).is_ok(), "what is handed out is text");
    Ok(())
}

fn connection(role: Role, delivery: Delivery) -> Connection {
    let config = Config::new().delivery(delivery).max_message(usize::MAX);
    match role {
        Role::Server => Connection::server(config),
        Role::Client => Connection::client(config, || KEYS[1]),
    }
}

fn frame(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut head = [0; MAX_HEADER];
    let end = header.encode(&mut head);
    let mut frame = head[..end].to_vec();
    frame.put_slice(payload);
    crate::input::mask(&mut frame[end..], header.key.unwrap_or_default());
    frame
}

/// The longest text.
const MAX_TEXT: usize = 72 << 10;

/// The first and the last character of each width, and what stands right beside them (RFC 3629 §4).
const SEQUENCES: [&[u8]; 32] = [
    b"\x00",
    b"\x7F",
    b"\x80",
    b"\xBF",
    b"\xC0\x80",
    b"\xC1\xBF",
    b"\xC2\x80",
    b"\xDF\xBF",
    b"\xC2\x7F",
    b"\xC2\xC0",
    b"\xE0\x9F\xBF",
    b"\xE0\xA0\x80",
    b"\xED\x9F\xBF",
    b"\xED\xA0\x80",
    b"\xED\xBF\xBF",
    b"\xEE\x80\x80",
    b"\xEF\xBF\xBF",
    b"\xE2\x82",
    b"\xE2\x82\x41",
    b"\xE2\x28\xA1",
    b"\xF0\x8F\xBF\xBF",
    b"\xF0\x90\x80\x80",
    b"\xF4\x8F\xBF\xBF",
    b"\xF4\x90\x80\x80",
    b"\xF0\x9F\x98",
    b"\xF0\x9F",
    b"\xF0",
    b"\xF5\x80\x80\x80",
    b"\xF8\x88\x80\x80\x80",
    b"\xFE",
    b"\xFF",
    b"\xEF\xBB\xBF",
];

/// Every seed, with the name of its file.
#[must_use]
pub fn seeds() -> Vec<(String, Input)> {
    let mut seeds = Vec::new();
    let mut add = |name: String, cuts: [u8; 2], pieces: Vec<Piece>| {
        seeds.push((name, Input { key: 1, script: Script { cuts, pieces } }));
    };
    let literal = |bytes: &[u8]| Piece::Raw(bytes.to_vec());
    for (number, sequence) in (0..).zip(SEQUENCES) {
        let hex: String = sequence.iter().map(|byte| format!("{byte:02x}")).collect();
        add(format!("sequence-{hex}"), [1, 1], vec![literal(b"a"), Piece::Line(number), literal(b"b")]);
    }
    for (filling, bytes) in (0..).zip(FILLINGS).skip(1).take(5) {
        for length in [3, 9, 11, 14] {
            let name =
                format!("{}-times-{}", str::from_utf8(bytes).expect("text"), LENGTHS[usize::from(length)]);
            let fill = Piece::Filled { length, filling };
            add(
                name.replace("aé€😀", "all")
                    .replace('😀', "4-bytes")
                    .replace('€', "3-bytes")
                    .replace('é', "2-bytes"),
                [200, 255],
                vec![fill],
            );
        }
    }
    // A character over a border of blocks, or half of one right before it, and nothing but ASCII behind.
    let ascii = |length| Piece::Filled { length, filling: 1 };
    for (at, before) in [(4095, vec![9]), (4096, vec![10]), (8191, vec![9, 10]), (65_535, vec![13])] {
        for (what, number) in [("character", 21), ("surrogate", 13), ("half", 24), ("lead", 26)] {
            let mut pieces: Vec<_> = before.iter().copied().map(ascii).collect();
            pieces.extend([Piece::Line(number), ascii(8)]);
            add(format!("{what}-at-{at}"), [0; 2], pieces);
        }
    }
    seeds
}
