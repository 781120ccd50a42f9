//! `RawFrame`: any frame, also one that breaks the protocol.

#![forbid(unsafe_code)]

use alloc::vec::Vec;

use bytes::Bytes;

use crate::proto::frame::OpCode;
use crate::proto::{CloseFrame, Message, Role};
use crate::tokio::frames::Frame;

/// A frame bit by bit (RFC 6455 §5.2), which may break any rule. What is not said is as it should be.
///
/// ```
/// use taut::proto::Role;
/// use taut::testing::RawFrame;
///
/// // A ping in two pieces, with the second reserved bit, from a server.
/// let frame = RawFrame::new(0x9, "hey").fin(false).reserved(0b010);
/// assert_eq!(frame.to_bytes(Role::Server), b"\x29\x03hey");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    fin: bool,
    reserved: u8,
    opcode: u8,
    payload: Bytes,
    /// Whether it is masked, if that is not the sender's to say.
    masked: Option<bool>,
    /// What the header says of the length.
    announced: Option<u64>,
    /// How many bytes of the header say it.
    wide: usize,
}

impl RawFrame {
    /// A frame that ends its message. Only four bits of the opcode count.
    #[must_use]
    pub fn new(opcode: u8, payload: impl Into<Bytes>) -> Self {
        let payload = payload.into();
        Self { fin: true, reserved: 0, opcode: opcode & 0xf, payload, masked: None, announced: None, wide: 0 }
    }

    /// Text, which need not be UTF-8.
    #[must_use]
    pub fn text(payload: impl Into<Bytes>) -> Self {
        Self::new(OpCode::Text as u8, payload)
    }

    /// A Close with any body.
    #[must_use]
    pub fn close(body: impl Into<Bytes>) -> Self {
        Self::new(OpCode::Close as u8, body)
    }

    /// Whether it ends its message.
    #[must_use]
    pub const fn fin(mut self, fin: bool) -> Self {
        self.fin = fin;
        self
    }

    /// The reserved bits: RSV1 is 4, RSV2 is 2, RSV3 is 1.
    #[must_use]
    pub const fn reserved(mut self, bits: u8) -> Self {
        self.reserved = bits & 0b111;
        self
    }

    /// Masked or not, whoever sends it. Default: masked if a client sends it.
    #[must_use]
    pub const fn masked(mut self, masked: bool) -> Self {
        self.masked = Some(masked);
        self
    }

    /// Announces another length than the payload has.
    #[must_use]
    pub const fn announce(mut self, len: u64) -> Self {
        self.announced = Some(len);
        self
    }

    /// The length in at least so many bytes behind the second: none, 2 or 8, which RFC 6455 §5.2 forbids where fewer do.
    #[must_use]
    pub const fn wide_length(mut self, bytes: usize) -> Self {
        self.wide = bytes;
        self
    }

    /// The frame as `sender` puts it on the wire. The masking key is always the same, so that bytes can be compared.
    #[must_use]
    pub fn to_bytes(&self, sender: Role) -> Vec<u8> {
        let len = self.announced.unwrap_or(self.payload.len() as u64);
        let masked = self.masked.unwrap_or(sender == Role::Client);
        let mask_bit = u8::from(masked) << 7;
        let mut bytes = Vec::with_capacity(14 + self.payload.len());
        bytes.push(u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode);
        match (self.wide, u16::try_from(len)) {
            (0, Ok(short @ 0..=125)) => bytes.push(mask_bit | short as u8),
            (0..=2, Ok(len)) => {
                bytes.push(mask_bit | 126);
                bytes.extend(len.to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend(len.to_be_bytes());
            }
        }
        if masked {
            bytes.extend(KEY);
            bytes.extend(self.payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            bytes.extend_from_slice(&self.payload);
        }
        bytes
    }
}

impl From<Frame> for RawFrame {
    fn from(frame: Frame) -> Self {
        let Frame { fin, rsv1, opcode, payload } = frame;
        Self::new(opcode as u8, payload).fin(fin).reserved(u8::from(rsv1) << 2)
    }
}

impl From<Message> for RawFrame {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => Frame::text(text),
            Message::Binary(bytes) => Frame::binary(bytes),
            Message::Ping(payload) => Frame::ping(payload),
            Message::Pong(payload) => Frame::pong(payload),
            Message::Close(body) => Frame::close(body),
        }
        .into()
    }
}

impl From<CloseFrame> for RawFrame {
    fn from(body: CloseFrame) -> Self {
        Frame::close(body).into()
    }
}

impl From<&str> for RawFrame {
    fn from(text: &str) -> Self {
        Frame::text(text).into()
    }
}

/// The masking key of RFC 6455 §5.7.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn s5_7_examples() {
        assert_eq!(RawFrame::from("Hello").to_bytes(Role::Server), b"\x81\x05Hello");
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(RawFrame::from("Hello").to_bytes(Role::Client), masked);
        let unmasked = RawFrame::text("Hel").fin(false).masked(false);
        assert_eq!(unmasked.to_bytes(Role::Client), b"\x01\x03Hel");
        assert_eq!(RawFrame::new(0, "lo").to_bytes(Role::Server), b"\x80\x02lo");
        assert_eq!(RawFrame::from(Frame::ping("")).masked(true).to_bytes(Role::Server)[..2], [0x89, 0x80]);
        let compressed = Frame { rsv1: true, ..Frame::text("Hel").unfinished() };
        assert_eq!(RawFrame::from(compressed).to_bytes(Role::Server), b"\x41\x03Hel");
        for (len, start) in [
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (256, vec![0x82, 126, 1, 0]),
            (65535, vec![0x82, 126, 255, 255]),
            (65536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = RawFrame::new(2, vec![7; len]).to_bytes(Role::Server);
            assert_eq!(frame[..start.len()], start);
            assert_eq!(frame.len(), start.len() + len);
        }
    }

    #[test]
    fn lengths_may_be_wrong() {
        assert_eq!(RawFrame::text("a").wide_length(2).to_bytes(Role::Server), b"\x81\x7e\0\x01a");
        assert_eq!(RawFrame::text("a").wide_length(8).to_bytes(Role::Server), b"\x81\x7f\0\0\0\0\0\0\0\x01a");
        assert_eq!(RawFrame::text("a").announce(5).to_bytes(Role::Server), b"\x81\x05a");
        let most = RawFrame::text("").announce(u64::MAX).to_bytes(Role::Server);
        assert_eq!(most, [[0x81, 0x7f].as_slice(), &[0xff; 8]].concat());
    }
}
