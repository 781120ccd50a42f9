//! Payloads, the frames that carry them, and a slow parser that shares no code with anybody's.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Server,
    Client,
}

/// What payloads consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Binary,
    /// Text in ASCII.
    Text,
    /// Text in characters of one to four bytes.
    Mixed,
}

/// What is to be received or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Of the end that is measured.
    pub role: Role,
    pub kind: Kind,
    /// Bytes of a payload.
    pub size: usize,
}

impl Kind {
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Mixed)
    }

    /// Bytes of this kind, the same in every run.
    pub fn payload(self, size: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(size as u64);
        match self {
            Self::Binary => (0..size).map(|_| random.u8(..)).collect(),
            Self::Text => (0..size).map(|_| random.u8(b' '..=b'~')).collect(),
            Self::Mixed => {
                let mut text = String::with_capacity(size);
                while text.len() < size {
                    let character = CHARACTERS[random.usize(..CHARACTERS.len())];
                    text.push(if text.len() + character.len_utf8() > size { '.' } else { character });
                }
                text.into_bytes()
            }
        }
    }

    const fn opcode(self) -> u8 {
        if self.is_text() { TEXT } else { BINARY }
    }
}

impl Case {
    pub fn payload(&self) -> Vec<u8> {
        self.kind.payload(self.size)
    }

    /// Frames with the same payload for the end that is measured.
    pub fn frames(&self, count: usize) -> Arc<[u8]> {
        let payload = self.payload();
        let mut frames = Vec::with_capacity(count * (self.size + MOST_HEADER));
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..count {
            let key = (self.role == Role::Server).then(|| random.u32(..).to_ne_bytes());
            frame(&mut frames, FINAL | self.kind.opcode(), &payload, key);
        }
        frames.into()
    }

    /// One message for a server in `count` fragments.
    pub fn fragments(&self, count: usize) -> Arc<[u8]> {
        let payload = self.payload();
        let mut frames = Vec::with_capacity(count * (self.size + MOST_HEADER));
        let mut random = fastrand::Rng::with_seed(1);
        for number in 0..count {
            let opcode = if number == 0 { self.kind.opcode() } else { CONTINUATION };
            let fin = if number + 1 == count { FINAL } else { 0 };
            frame(&mut frames, fin | opcode, &payload, Some(random.u32(..).to_ne_bytes()));
        }
        frames.into()
    }

    /// Checks that `written` is `count` frames with this payload and nothing else, as the end that is measured has
    /// to send them. Of those that mask the caller's buffer, only the first payload is what the caller meant.
    pub fn verify(&self, mut written: &[u8], count: usize, in_place: bool) -> Result<(), String> {
        let payload = self.payload();
        for number in 0..count {
            let (first, second) = match written {
                [first, second, rest @ ..] => {
                    written = rest;
                    (*first, *second)
                }
                _ => return Err(format!("ends at frame {number}")),
            };
            if first != FINAL | self.kind.opcode() {
                return Err(format!("frame {number} begins with {first:#x}"));
            }
            if (second & MASKED != 0) != (self.role == Role::Client) {
                return Err(format!("frame {number} has the other role's mask bit"));
            }
            let extended = match second & !MASKED {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let mut len = [0; 8];
            len[8 - extended..].copy_from_slice(&take(&mut written, extended)?);
            let len =
                if extended == 0 { u64::from(second & !MASKED) } else { u64::from_be_bytes(len) } as usize;
            if len != self.size {
                return Err(format!("frame {number} has {len} bytes"));
            }
            let key = if second & MASKED != 0 { take(&mut written, 4)? } else { vec![0; 4] };
            let mut bytes = take(&mut written, len)?;
            bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte ^= key[index % 4]);
            if bytes != payload && !(in_place && number > 0) {
                return Err(format!("frame {number} has another payload"));
            }
        }
        if written.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", written.len())) }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Server { "server" } else { "client" })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Text => "text",
            Self::Mixed => "mixed",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Server, Self::Client]
            .into_iter()
            .find(|role| role.to_string() == text)
            .ok_or_else(|| format!("the role is server or client, not {text}"))
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Binary, Self::Text, Self::Mixed]
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| format!("the kind is binary, text or mixed, not {text}"))
    }
}

/// The header of a frame, as RFC 6455 §5.2 draws it; gives its length.
pub fn header(bytes: &mut [u8; MOST_HEADER], first: u8, len: usize, key: Option<[u8; 4]>) -> usize {
    bytes[0] = first;
    let end = match len {
        0..126 => {
            bytes[1] = len as u8;
            2
        }
        126..65536 => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    };
    let Some(key) = key else { return end };
    bytes[1] |= MASKED;
    bytes[end..end + 4].copy_from_slice(&key);
    end + 4
}

fn frame(frames: &mut Vec<u8>, first: u8, payload: &[u8], key: Option<[u8; 4]>) {
    let mut bytes = [0; MOST_HEADER];
    let end = header(&mut bytes, first, payload.len(), key);
    frames.extend_from_slice(&bytes[..end]);
    let key = key.unwrap_or_default();
    frames.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]));
}

fn take(bytes: &mut &[u8], len: usize) -> Result<Vec<u8>, String> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or("ends inside a frame")?;
    *bytes = rest;
    Ok(taken.to_vec())
}

/// What a header takes at most.
pub const MOST_HEADER: usize = 14;
pub const FINAL: u8 = 0x80;
pub const MASKED: u8 = 0x80;
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;

const CHARACTERS: [char; 10] = ['e', 'n', ' ', 'é', 'ß', 'ж', 'ת', '語', '한', '🦀'];
