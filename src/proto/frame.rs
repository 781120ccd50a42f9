//! Frame headers: the only file that knows where their bits lie (RFC 6455 §5.2).
//!
//! ```text
//!   byte 0                byte 1               then
//!  +---+-------+--------+------+-----------+-------------------+-------------+
//!  |FIN|RSV 1-3| opcode | MASK |  length   |  length, if 126:  | masking key |
//!  | 1 |   3   |   4    |  1   |     7     |  16, 127: 64 bits | 0 or 32     |
//!  +---+-------+--------+------+-----------+-------------------+-------------+
//! ```
//!
//! ```
//! use taut::proto::Role;
//! use taut::proto::frame::{Header, MAX_HEADER, OpCode};
//!
//! // A masked ping of a client, five bytes long.
//! let decoded = Header::decode(&[0x89, 0x85, 1, 2, 3, 4], Role::Client)?;
//! let (header, len) = decoded.expect("it is whole");
//! assert_eq!((header.opcode, header.fin, header.len, len), (OpCode::Ping, true, 5, 6));
//! let mut bytes = [0; MAX_HEADER];
//! assert_eq!(header.encode(&mut bytes), 6);
//! assert_eq!(bytes[..6], [0x89, 0x85, 1, 2, 3, 4]);
//! # Ok::<(), taut::proto::ProtocolError>(())
//! ```

#![forbid(unsafe_code)]

use super::config::Role;
use super::error::ProtocolError;
use super::message::Kind;

/// What a frame is for (RFC 6455 §5.2, §11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 defines six; the rest fail the connection")]
#[repr(u8)]
pub enum OpCode {
    /// A further fragment of a message.
    Continuation = 0x0,
    /// The first fragment of a text message.
    Text = 0x1,
    /// The first fragment of a binary message.
    Binary = 0x2,
    /// The last frame of a connection.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping.
    Pong = 0xA,
}

impl OpCode {
    const fn new(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }

    /// Whether frames of this kind control the connection instead of carrying data (RFC 6455 §5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        // RFC 6455 §5.5: control frames have opcodes "where the most significant bit of the opcode is 1".
        self as u8 & 0x8 != 0
    }
}

impl From<Kind> for OpCode {
    fn from(kind: Kind) -> Self {
        Self::of(kind)
    }
}

/// The longest header in bytes: two, a 64-bit length, a masking key.
pub const MAX_HEADER: usize = 14;

/// The most payload that a control frame holds (RFC 6455 §5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// A decoded frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the fields of RFC 6455 §5.2")]
pub struct Header {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// The first reserved bit: permessage-deflate marks compressed messages with it (RFC 7692 §6).
    pub rsv1: bool,
    /// What the frame is for.
    pub opcode: OpCode,
    /// The masking key, in frames from clients.
    pub key: Option<[u8; 4]>,
    /// Length of the payload in bytes.
    pub len: u64,
}

impl Header {
    /// Reads the header at the front of `bytes`, sent by `from`; gives it and its length, or `None` if
    /// bytes are missing.
    ///
    /// Every rule is checked at the first byte that can break it, so a header cut short fails as early
    /// as a whole one. Whether RSV1 and a continuation are in place is for the caller to say.
    ///
    /// # Errors
    /// The rule of RFC 6455 §5.1, §5.2 or §5.5 that the header breaks.
    #[inline]
    pub const fn decode(bytes: &[u8], from: Role) -> Result<Option<(Self, usize)>, ProtocolError> {
        Self::decode_with(bytes, from, false)
    }

    /// The same, with a leniency: see [`Config::accept_unmasked`](super::Config::accept_unmasked).
    #[inline]
    pub(crate) const fn decode_with(
        bytes: &[u8],
        from: Role,
        accept_unmasked: bool,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let [first, rest @ ..] = bytes else { return Ok(None) };
        let (fin, rsv1, opcode) = match Self::decode_first(*first) {
            Ok(parts) => parts,
            Err(error) => return Err(error),
        };
        let [second, rest @ ..] = rest else { return Ok(None) };
        let masked = *second & MASK != 0;
        match from {
            // RFC 6455 §5.1: "a client MUST mask all frames that it sends to the server".
            Role::Client if !masked && !accept_unmasked => return Err(ProtocolError::UnmaskedFromClient),
            // RFC 6455 §5.1: "A server MUST NOT mask any frames that it sends to the client."
            Role::Server if masked => return Err(ProtocolError::MaskedFromServer),
            _ => {}
        }
        let short = *second & LENGTH;
        // RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less".
        if opcode.is_control() && short as usize > MAX_CONTROL_PAYLOAD {
            return Err(ProtocolError::ControlTooLong);
        }
        // RFC 6455 §5.2: "the minimal number of bytes MUST be used to encode the length".
        let (len, rest) = match short {
            LENGTH_16 => {
                let [a, b, rest @ ..] = rest else { return Ok(None) };
                (u16::from_be_bytes([*a, *b]) as u64, rest)
            }
            LENGTH_64 => {
                // RFC 6455 §5.2: "the most significant bit MUST be 0".
                if let [top, ..] = rest
                    && *top & 0x80 != 0
                {
                    return Err(ProtocolError::LengthTopBit);
                }
                // Six zeros leave at most 65,535, whatever the last two bytes are.
                if let [0, 0, 0, 0, 0, 0, ..] = rest {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                let [a, b, c, d, e, f, g, h, rest @ ..] = rest else { return Ok(None) };
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
            }
            short => (short as u64, rest),
        };
        if short == LENGTH_16 && len <= MAX_7 {
            return Err(ProtocolError::LengthNotMinimal);
        }
        let (key, rest) = if masked {
            let [a, b, c, d, rest @ ..] = rest else { return Ok(None) };
            (Some([*a, *b, *c, *d]), rest)
        } else {
            (None, rest)
        };
        Ok(Some((Self { fin, rsv1, opcode, key, len }, bytes.len() - rest.len())))
    }

    /// Reads the header of a frame that is a data message by itself, is not compressed and has less than 64 KiB of
    /// payload, as nearly all are; gives it, its length and that of the payload. `None` says nothing:
    /// [`decode`](Self::decode) tells.
    #[inline]
    pub(crate) const fn decode_whole(
        bytes: &[u8],
        from: Role,
    ) -> Option<(Kind, Option<[u8; 4]>, usize, usize)> {
        const TEXT: u8 = FIN | OpCode::Text as u8;
        const BINARY: u8 = FIN | OpCode::Binary as u8;
        // One load, of as many bytes as the longest of these headers has.
        let Some(head) = bytes.first_chunk::<8>() else { return None };
        let head = u64::from_le_bytes(*head);
        let kind = match head as u8 {
            TEXT => Kind::Text,
            BINARY => Kind::Binary,
            _ => return None,
        };
        let masked = matches!(from, Role::Client);
        let short = (head >> 8) as u8 ^ if masked { MASK } else { 0 };
        let (len, key, length) = match short {
            0..LENGTH_16 => (short as usize, head >> 16, 2),
            LENGTH_16 => (((head >> 16) as u16).swap_bytes() as usize, head >> 32, 4),
            _ => return None,
        };
        if length == 4 && len <= MAX_7 as usize {
            return None;
        }
        if masked {
            Some((kind, Some((key as u32).to_le_bytes()), length + 4, len))
        } else {
            Some((kind, None, length, len))
        }
    }

    /// What the first byte of a header says: FIN, RSV1 and the opcode.
    pub(crate) const fn decode_first(byte: u8) -> Result<(bool, bool, OpCode), ProtocolError> {
        // RFC 6455 §5.2: reserved bits "MUST be 0 unless an extension is negotiated"; none defines RSV2 or RSV3.
        if byte & RSV2 != 0 {
            return Err(ProtocolError::ReservedBit(2));
        }
        if byte & RSV3 != 0 {
            return Err(ProtocolError::ReservedBit(3));
        }
        // RFC 6455 §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the
        // WebSocket Connection_."
        let Some(opcode) = OpCode::new(byte & OPCODE) else {
            return Err(ProtocolError::ReservedOpcode(byte & OPCODE));
        };
        let (fin, rsv1) = (byte & FIN != 0, byte & RSV1 != 0);
        if opcode.is_control() {
            // RFC 6455 §5.5: control frames "MUST NOT be fragmented".
            if !fin {
                return Err(ProtocolError::FragmentedControl);
            }
            // RFC 7692 §6: RSV1 marks data messages; no extension defines it for control frames.
            if rsv1 {
                return Err(ProtocolError::ReservedBit(1));
            }
        }
        Ok((fin, rsv1, opcode))
    }

    /// The least payload length that a header cut short can still announce.
    pub(crate) fn least_len(bytes: &[u8]) -> u64 {
        let [_, second, rest @ ..] = bytes else { return 0 };
        let width = match second & LENGTH {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            short => return u64::from(short),
        };
        let mut length = [0; 8];
        let known = rest.len().min(width);
        length[8 - width..][..known].copy_from_slice(&rest[..known]);
        u64::from_be_bytes(length)
    }

    /// The header of a server's frame that is a message by itself, of less than 64 KiB: 2 bytes up to 125, else 4.
    #[inline]
    pub(crate) const fn encode_whole(kind: Kind, len: usize) -> [u8; 4] {
        let first = FIN | OpCode::of(kind) as u8;
        let [high, low] = (len as u16).to_be_bytes();
        if len <= MAX_7 as usize { [first, low, 0, 0] } else { [first, LENGTH_16, high, low] }
    }

    /// The header of a client's frame of that kind, and its length: 6 bytes up to 125, else 8.
    #[inline]
    pub(crate) const fn encode_masked(kind: Kind, len: usize, key: [u8; 4]) -> ([u8; 8], usize) {
        let [first, length, high, low] = Self::encode_whole(kind, len);
        let [a, b, c, d] = key;
        if len <= MAX_7 as usize {
            ([first, MASK | length, a, b, c, d, 0, 0], 6)
        } else {
            ([first, MASK | length, high, low, a, b, c, d], 8)
        }
    }

    /// How long the header before so much payload is.
    pub(crate) const fn len_of(len: u64, masked: bool) -> usize {
        let length = if len <= MAX_7 {
            2
        } else if len <= MAX_16 {
            4
        } else {
            10
        };
        if masked { length + 4 } else { length }
    }

    /// Writes the header to the front of `out` and gives its length.
    #[inline]
    pub const fn encode(&self, out: &mut [u8; MAX_HEADER]) -> usize {
        out[0] = (self.fin as u8 * FIN) | (self.rsv1 as u8 * RSV1) | self.opcode as u8;
        let mask = if self.key.is_some() { MASK } else { 0 };
        let mut end = if self.len <= MAX_7 {
            out[1] = mask | self.len as u8;
            2
        } else if self.len <= MAX_16 {
            out[1] = mask | LENGTH_16;
            [out[2], out[3]] = (self.len as u16).to_be_bytes();
            4
        } else {
            out[1] = mask | LENGTH_64;
            [out[2], out[3], out[4], out[5], out[6], out[7], out[8], out[9]] = self.len.to_be_bytes();
            10
        };
        if let Some(key) = self.key {
            [out[end], out[end + 1], out[end + 2], out[end + 3]] = key;
            end += 4;
        }
        end
    }
}

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;
const OPCODE: u8 = 0x0F;
const MASK: u8 = 0x80;
const LENGTH: u8 = 0x7F;
/// The value of the 7-bit length that announces a 16-bit one.
const LENGTH_16: u8 = 126;
/// The value of the 7-bit length that announces a 64-bit one.
const LENGTH_64: u8 = 127;
/// The largest length that 7 bits hold beside the two announcements.
const MAX_7: u64 = 125;
/// The largest length that 16 bits hold.
const MAX_16: u64 = 0xFFFF;
