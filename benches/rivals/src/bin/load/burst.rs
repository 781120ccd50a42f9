//! Messages, the same ones in every run; the frames that carry them to a server; and the frames that must come back.

use std::str::FromStr;

/// What is in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Binary,
    /// ASCII.
    Text,
    /// Characters of one to four bytes, in an order that no processor foresees.
    Mixed,
}

/// Some messages of one size: what one write sends, and what its answer is.
pub(crate) struct Burst {
    pub(crate) frames: Vec<u8>,
    pub(crate) answers: Vec<u8>,
    /// How long each answer is.
    pub(crate) answer: usize,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "binary" => Ok(Self::Binary),
            "text" => Ok(Self::Text),
            "mixed" => Ok(Self::Mixed),
            _ => Err(format!("unknown kind {name}")),
        }
    }
}

impl Kind {
    pub(crate) const fn opcode(self) -> u8 {
        match self {
            Self::Text | Self::Mixed => TEXT,
            Self::Binary => BINARY,
        }
    }
}

impl Burst {
    pub(crate) fn new(kind: Kind, size: usize, depth: usize, raw: bool) -> Self {
        let mut random = Random::default();
        let (mut frames, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..depth {
            let message = message(kind, size, &mut random);
            let first = FINAL | kind.opcode();
            push_masked(&mut frames, first, &message, random.key());
            push_header(&mut answers, first, message.len(), 0);
            answers.extend(&message);
        }
        if raw {
            answers.clone_from(&frames);
        }
        let answer = answers.len() / depth;
        Self { frames, answers, answer }
    }
}

pub(crate) fn message(kind: Kind, size: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    match kind {
        Kind::Binary => {
            while bytes.len() < size {
                bytes.extend(random.next().to_le_bytes());
            }
            bytes.truncate(size);
        }
        Kind::Text => bytes.extend((0..size).map(|_| b' ' + (random.next() % 95) as u8)),
        Kind::Mixed => {
            let mut text = String::with_capacity(size);
            while text.len() < size {
                let first = FIRST_OF_LENGTH[random.next() as usize % FIRST_OF_LENGTH.len()];
                let char = char::from_u32(first + (random.next() % 64) as u32).unwrap_or('?');
                // What does not fit is replaced by what does.
                text.push(if text.len() + char.len_utf8() <= size { char } else { '.' });
            }
            bytes = text.into_bytes();
        }
    }
    bytes
}

/// RFC 6455 §5.2: a frame of a client.
pub(crate) fn push_masked(frames: &mut Vec<u8>, first: u8, payload: &[u8], key: [u8; 4]) {
    push_header(frames, first, payload.len(), MASKED);
    frames.extend(key);
    frames.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

fn push_header(frames: &mut Vec<u8>, first: u8, len: usize, masked: u8) {
    frames.push(first);
    match len {
        0..126 => frames.push(masked | len as u8),
        126..0x1_0000 => {
            frames.push(masked | 126);
            frames.extend((len as u16).to_be_bytes());
        }
        _ => {
            frames.push(masked | 127);
            frames.extend((len as u64).to_be_bytes());
        }
    }
}

/// Marsaglia's xorshift: the same numbers everywhere.
pub(crate) struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Random {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    pub(crate) const fn key(&mut self) -> [u8; 4] {
        (self.next() as u32).to_be_bytes()
    }
}

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Where 64 characters of one, two, three and four bytes begin.
const FIRST_OF_LENGTH: [u32; 4] = [0x20, 0x400, 0x4E00, 0x1_F600];
