//! The messages, and the frames that carry them to a server: the same ones in every run.

use std::fmt::Write as _;

use flate2::{Compress, Compression, FlushCompress, Status};
use taut_rivals::Mode;

/// What every client says: messages that all differ, over and over. One round of them is far longer than the
/// largest window, so that context takeover finds similar messages in it, and never the same one.
pub(crate) struct Conversation {
    pub(crate) messages: Vec<String>,
    /// Each message as the one frame of a client. Where context takeover was agreed on, the first one begins with
    /// an empty window, as a sender may at any time, so that it can follow the last one.
    pub(crate) frames: Vec<Vec<u8>>,
}

impl Conversation {
    pub(crate) fn new(mode: Mode, size: usize) -> Self {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let count = (ROUND_BYTES / size).clamp(64, 512);
        let messages: Vec<String> = (0..count).map(|number| message(number, size, &mut random)).collect();
        let mut compress = Compress::new_with_window_bits(Compression::new(LEVEL), false, 15);
        let frames = messages.iter().map(|message| {
            let payload = match mode {
                Mode::Plain => message.clone().into_bytes(),
                Mode::Takeover => deflate(&mut compress, message.as_bytes()),
                Mode::NoTakeover => {
                    compress.reset();
                    deflate(&mut compress, message.as_bytes())
                }
            };
            frame(mode != Mode::Plain, payload, (random.next() as u32).to_be_bytes())
        });
        Self { frames: frames.collect(), messages }
    }
}

/// A text of exactly `size` bytes: what a service tells its clients about orders.
fn message(number: usize, size: usize, random: &mut Random) -> String {
    let mut text = format!(r#"{{"type":"orders","sequence":{number},"records":["#);
    let mut next = record(random);
    while text.len() + next.len() + TAIL.len() <= size {
        text += &next;
        text.push(',');
        next = record(random);
    }
    if text.ends_with(',') {
        text.pop();
    }
    text += r#"],"note":""#;
    // Words up to the size; the last one may be cut.
    while text.len() + 2 < size {
        let word = random.of(&WORDS);
        let room = size - 2 - text.len();
        text += &word[..word.len().min(room)];
        if text.len() + 2 < size {
            text.push(' ');
        }
    }
    text += r#""}"#;
    assert_eq!(text.len(), size, "messages are longer than 300 bytes");
    text
}

fn record(random: &mut Random) -> String {
    let (first, last) = (random.of(&FIRST_NAMES), random.of(&LAST_NAMES));
    let mut text = String::new();
    let _ = write!(
        text,
        r#"{{"id":{},"customer":"{first} {last}","city":"{}","amount":{}.{:02},"currency":"{}","quantity":{},"paid":{},"created":"2025-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z","status":"{}"}}"#,
        10_000_000 + random.below(90_000_000),
        random.of(&CITIES),
        random.below(2000),
        random.below(100),
        random.of(&CURRENCIES),
        1 + random.below(12),
        random.below(4) != 0,
        1 + random.below(12),
        1 + random.below(28),
        random.below(24),
        random.below(60),
        random.below(60),
        random.below(1000),
        random.of(&STATES),
    );
    text
}

/// RFC 7692 §7.2.1: compress, flush, and take off the length of the empty block.
fn deflate(compress: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(message.len() + 64);
    let status = compress.compress_vec(message, &mut payload, FlushCompress::Sync);
    assert!(matches!(status, Ok(Status::Ok)) && payload.ends_with(&[0, 0, 0xFF, 0xFF]), "{status:?}");
    payload.truncate(payload.len() - 4);
    payload
}

/// RFC 6455 §5.2: a text message of a client in one frame.
fn frame(compressed: bool, payload: Vec<u8>, key: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![if compressed { 0xC1 } else { 0x81 }];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]));
    frame
}

/// Marsaglia's xorshift: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }
}

/// How long a round of messages is, at 64 to 512 of them.
const ROUND_BYTES: usize = 1 << 20;

/// The level of the client: zlib's default, which browsers have.
const LEVEL: u32 = 6;

const TAIL: &str = r#"],"note":""}"#;

const FIRST_NAMES: [&str; 24] = [
    "Amara", "Björn", "Chiara", "Dmitri", "Elena", "Farid", "Grace", "Hiro", "Inés", "Jonas", "Kavya",
    "Liam", "Mira", "Noor", "Oskar", "Priya", "Quentin", "Rosa", "Sven", "Tariq", "Ursula", "Víctor",
    "Wanda", "Yusuf",
];
const LAST_NAMES: [&str; 24] = [
    "Abe", "Berg", "Castillo", "Dvořák", "Eriksen", "Fischer", "García", "Haddad", "Ito", "Jensen",
    "Kowalski", "Lopez", "Müller", "Nguyen", "Okafor", "Petrov", "Quinn", "Rossi", "Sato", "Tanaka", "Usman",
    "Vasquez", "Weber", "Zhang",
];
const CITIES: [&str; 16] = [
    "Lisbon",
    "Oslo",
    "Nairobi",
    "Kyoto",
    "São Paulo",
    "Toronto",
    "Mumbai",
    "Berlin",
    "Warsaw",
    "Hanoi",
    "Lagos",
    "Lima",
    "Dublin",
    "Zürich",
    "Seoul",
    "Austin",
];
const CURRENCIES: [&str; 6] = ["EUR", "USD", "JPY", "GBP", "BRL", "INR"];
const STATES: [&str; 5] = ["pending", "packed", "shipped", "delivered", "returned"];
const WORDS: [&str; 24] = [
    "deliver",
    "before",
    "noon",
    "ring",
    "twice",
    "leave",
    "with",
    "the",
    "neighbour",
    "fragile",
    "gift",
    "wrap",
    "second",
    "floor",
    "call",
    "ahead",
    "return",
    "label",
    "inside",
    "side",
    "door",
    "blue",
    "box",
    "please",
];
