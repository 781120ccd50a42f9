//! Frames of a client become frames of a server, in place: their headers are shorter by the masking key, so that each
//! payload moves down to the answer before it.

#![forbid(unsafe_code)]

use super::Rewritten;
use super::mask::unmask;

/// The answers to all whole frames; nothing if one of them is not to be answered.
pub(super) fn rewrite(bytes: &mut [u8]) -> Option<Rewritten> {
    let mut answer = KEY..KEY;
    let (mut used, mut frame) = (0, 0);
    while used < bytes.len() {
        let Some(header) = Header::read(&bytes[used..]) else {
            frame = 0;
            break;
        };
        let payload = used + header.len;
        frame = header.len.checked_add(header.payload)?;
        if frame > MOST {
            return None;
        }
        if bytes.len() - used < frame {
            break;
        }
        let masked = bytes[used + 1] & 0x80 != 0;
        let (first, second) = (bytes[used], bytes[used + 1] & 0x7F);
        // A whole message, or a fragment of one, with no reserved bit.
        if !masked || first & 0x70 != 0 || first & 0x0F > BINARY {
            return None;
        }
        let key = *bytes[..payload].last_chunk::<KEY>()?;
        let start = answer.end;
        if header.len > 2 + KEY {
            bytes.copy_within(used + 2..payload - KEY, start + 2);
        }
        bytes[start] = first;
        bytes[start + 1] = second;
        let start = start + header.len - KEY;
        answer.end = start + header.payload;
        if start != payload {
            shift(bytes, payload, start, header.payload);
        }
        let payload = &mut bytes[start..answer.end];
        unmask(payload, key);
        if first == FINAL_TEXT && simdutf8::basic::from_utf8(payload).is_err() {
            return None;
        }
        used += frame;
    }
    if used == 0 {
        answer = 0..0;
    }
    Some(Rewritten { answer, used, frame })
}

/// Moves a payload down by the keys before it; a short one in words, for which a call would take longer than the move.
fn shift(bytes: &mut [u8], from: usize, to: usize, len: usize) {
    if len > SHORT {
        return bytes.copy_within(from..from + len, to);
    }
    let mut offset = 0;
    while offset + 8 <= len {
        move_word::<8>(bytes, from + offset, to + offset);
        offset += 8;
    }
    while offset + KEY <= len {
        move_word::<KEY>(bytes, from + offset, to + offset);
        offset += KEY;
    }
    while offset < len {
        bytes[to + offset] = bytes[from + offset];
        offset += 1;
    }
}

fn move_word<const LEN: usize>(bytes: &mut [u8], from: usize, to: usize) {
    if let Some(word) = bytes[from..].first_chunk::<LEN>().copied() {
        bytes[to..to + LEN].copy_from_slice(&word);
    }
}

struct Header {
    /// With the masking key.
    len: usize,
    payload: usize,
}

impl Header {
    /// RFC 6455 §5.2.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (len, payload) = match *bytes {
            [_, second, ..] if second & 0x7F < 126 => (2, usize::from(second & 0x7F)),
            [_, second, high, low, ..] if second & 0x7F == 126 => {
                (4, usize::from(u16::from_be_bytes([high, low])))
            }
            [_, second, ref rest @ ..] if second & 0x7F == 127 => {
                (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?)
            }
            _ => return None,
        };
        Some(Self { len: len + KEY, payload })
    }
}

const KEY: usize = 4;
const BINARY: u8 = 2;
const FINAL_TEXT: u8 = 0x81;
const SHORT: usize = 64;
/// The largest frame that is answered.
const MOST: usize = 65 << 20;
