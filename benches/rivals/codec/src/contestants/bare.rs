//! Bounds. `bare` parses one buffer, unmasks in it and lends slices, with the checks that a frame cannot do without;
//! it knows no fragments, control frames or limits. `memcpy` is what the transport copies, and nothing else.

use std::hint::black_box;

use simdutf8::basic::from_utf8;

use super::{Contestant, Receive, Seen, Send, is_end};
use crate::frames::{Case, FINAL, MASKED, MOST_HEADER, Role, TEXT, header};
use crate::kernels::xor;
use crate::stream::{MOST, Memory};

pub fn contestants() -> Vec<Contestant> {
    vec![
        Contestant {
            receive: Some(|case, memory| Box::new(Parser::new(case, memory))),
            send: Some(|case, memory| Box::new(Writer::new(case, memory))),
            gathers: false,
            ..Contestant::new("bare")
        },
        Contestant {
            receive: Some(|case, memory| Box::new(Copy::new(case, memory))),
            send: Some(|case, memory| Box::new(Copy::new(case, memory))),
            gathers: false,
            ..Contestant::new("memcpy")
        },
    ]
}

struct Parser {
    memory: Memory,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    mask_bit: u8,
}

impl Parser {
    fn new(case: Case, memory: Memory) -> Self {
        let mask_bit = if case.role == Role::Server { MASKED } else { 0 };
        Self { memory, buffer: vec![0; MOST], start: 0, end: 0, mask_bit }
    }

    /// The length of the header at the front, and of the payload, if the header is there.
    #[inline(always)]
    fn lengths(&self) -> Option<(usize, usize)> {
        let bytes = &self.buffer[self.start..self.end];
        let (&second, key) = (bytes.get(1)?, usize::from(self.mask_bit >> 5));
        assert!(bytes[0] & 0xF0 == FINAL && second & MASKED == self.mask_bit, "the frames are valid");
        Some(match second & !MASKED {
            126 => (4 + key, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
            127 => (10 + key, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
            len => (2 + key, usize::from(len)),
        })
    }

    #[cold]
    fn read(&mut self, needed: usize) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.buffer.len() < needed {
            self.buffer.resize(needed + MOST_HEADER, 0);
        }
        self.end += self.memory.get(&mut self.buffer[self.end..]);
    }
}

impl Receive for Parser {
    fn receive(&mut self, mut count: usize, seen: &mut Seen<'_>) {
        while count > 0 {
            let (header, len) = self.lengths().unwrap_or((MOST_HEADER, 0));
            if self.end - self.start < header + len {
                self.read(header + len);
                continue;
            }
            let frame = &mut self.buffer[self.start..self.start + header + len];
            let is_text = frame[0] == FINAL | TEXT;
            let (head, payload) = frame.split_at_mut(header);
            if self.mask_bit != 0 {
                xor(payload, *head.last_chunk().expect("a header ends with its key"));
            }
            assert!(!is_text || is_utf8(payload), "it is text");
            seen.note(payload);
            self.start += header + len;
            count -= 1;
        }
    }
}

/// Builds frames in one buffer; a server writes large payloads from where they are.
struct Writer {
    memory: Memory,
    payload: Vec<u8>,
    buffer: Vec<u8>,
    first: u8,
    role: Role,
}

impl Writer {
    fn new(case: Case, memory: Memory) -> Self {
        let first = FINAL | if case.kind.is_text() { TEXT } else { crate::frames::BINARY };
        Self { memory, payload: case.payload(), buffer: Vec::with_capacity(BUFFER), first, role: case.role }
    }

    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.memory.put(&self.buffer);
            self.buffer.clear();
        }
    }
}

impl Send for Writer {
    fn send(&mut self, count: usize) {
        for number in 1..=count {
            let key = (self.role == Role::Client).then(|| fastrand::u32(..).to_ne_bytes());
            let mut bytes = [0; MOST_HEADER];
            let end = header(&mut bytes, self.first, self.payload.len(), key);
            if self.buffer.len() + end + self.payload.len() > BUFFER {
                self.flush();
            }
            self.buffer.extend_from_slice(&bytes[..end]);
            match key {
                None if self.payload.len() >= LARGE => {
                    self.memory.put_all([&self.buffer[..], &self.payload[..]]);
                    self.buffer.clear();
                }
                None => self.buffer.extend_from_slice(&self.payload),
                // In pieces that stay in the nearest cache between the copy and the mask.
                Some(key) => {
                    for piece in self.payload.chunks(PIECE) {
                        let start = self.buffer.len();
                        self.buffer.extend_from_slice(piece);
                        xor(&mut self.buffer[start..], key);
                    }
                }
            }
            if is_end(number, count) {
                self.flush();
            }
        }
    }
}

/// The copies of the transport: reads into one buffer, a write for each payload.
struct Copy {
    memory: Memory,
    buffer: Vec<u8>,
    /// What a message takes in the stream.
    size: usize,
    /// How much of what was read is not accounted for.
    left: usize,
}

impl Copy {
    fn new(case: Case, memory: Memory) -> Self {
        let key = (case.role == Role::Server).then_some([0; 4]);
        let size = case.size + header(&mut [0; MOST_HEADER], 0, case.size, key);
        Self { memory, buffer: vec![1; MOST.max(size)], size, left: 0 }
    }
}

impl Receive for Copy {
    fn receive(&mut self, count: usize, seen: &mut Seen<'_>) {
        let mut wanted = count * self.size;
        while self.left < wanted {
            wanted -= self.left;
            self.left = self.memory.get(&mut self.buffer[..MOST]);
            black_box(&mut self.buffer);
        }
        self.left -= wanted;
        seen.bytes += count * self.size;
    }
}

impl Send for Copy {
    fn send(&mut self, count: usize) {
        for _ in 0..count {
            self.memory.put(black_box(&self.buffer[..self.size]));
        }
    }
}

#[inline(always)]
fn is_utf8(bytes: &[u8]) -> bool {
    (bytes.len() <= SHORT && bytes.is_ascii()) || from_utf8(bytes).is_ok()
}

/// The buffer for frames on their way out.
const BUFFER: usize = 64 << 10;
/// From here on, a payload is written from where it is.
const LARGE: usize = 8 << 10;
const PIECE: usize = 4 << 10;
/// Up to here, a look for ASCII is cheaper than the call of the validator.
const SHORT: usize = 64;
