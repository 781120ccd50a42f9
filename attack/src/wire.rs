//! Frames of RFC 6455, right or wrong, written and read by hand.

/// The opcodes (RFC 6455 §5.2).
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

/// The reserved bits, as they stand in the first byte of a header.
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const RSV2: u8 = 0x20;
pub(crate) const RSV3: u8 = 0x10;

/// A frame to send. As made it is a right one of a client; its methods make it wrong.
#[derive(Clone, Debug)]
pub(crate) struct Craft {
    first: u8,
    form: Form,
    announced: Option<u64>,
    mask: Option<[u8; 4]>,
    payload: Vec<u8>,
}

/// How a length is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Shortest,
    Sixteen,
    SixtyFour,
}

impl Craft {
    pub(crate) fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        let payload = payload.as_ref().to_vec();
        Self { first: FIN | opcode, form: Form::Shortest, announced: None, mask: Some(MASK), payload }
    }

    /// Without FIN.
    pub(crate) fn unfinished(mut self) -> Self {
        self.first &= !FIN;
        self
    }

    /// With these bits of the first byte too.
    pub(crate) fn bits(mut self, bits: u8) -> Self {
        self.first |= bits;
        self
    }

    pub(crate) fn unmasked(mut self) -> Self {
        self.mask = None;
        self
    }

    pub(crate) fn mask(mut self, mask: [u8; 4]) -> Self {
        self.mask = Some(mask);
        self
    }

    pub(crate) fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// A header that tells this length, whatever the payload is.
    pub(crate) fn announce(mut self, length: u64) -> Self {
        self.announced = Some(length);
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let length = self.announced.unwrap_or(self.payload.len() as u64);
        let mask_bit = if self.mask.is_some() { 0x80 } else { 0 };
        let mut bytes = Vec::with_capacity(self.payload.len() + 14);
        bytes.push(self.first);
        match (self.form, length) {
            (Form::Shortest, 0..=125) => bytes.push(mask_bit | length as u8),
            (Form::Shortest, 126..=0xffff) | (Form::Sixteen, _) => {
                bytes.push(mask_bit | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        let Some(mask) = self.mask else {
            bytes.extend(self.payload);
            return bytes;
        };
        bytes.extend(mask);
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }
}

pub(crate) fn text(payload: impl AsRef<[u8]>) -> Craft {
    Craft::new(TEXT, payload)
}

pub(crate) fn binary(payload: impl AsRef<[u8]>) -> Craft {
    Craft::new(BINARY, payload)
}

pub(crate) fn continuation(payload: impl AsRef<[u8]>) -> Craft {
    Craft::new(CONTINUATION, payload)
}

pub(crate) fn ping(payload: impl AsRef<[u8]>) -> Craft {
    Craft::new(PING, payload)
}

pub(crate) fn pong(payload: impl AsRef<[u8]>) -> Craft {
    Craft::new(PONG, payload)
}

pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Craft {
    Craft::new(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// The bytes of these frames.
pub(crate) fn frames<const N: usize>(frames: [Craft; N]) -> Vec<u8> {
    frames.map(Craft::bytes).concat()
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) bits: u8,
    pub(crate) opcode: u8,
    pub(crate) masked: bool,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The first frame of these bytes and its length, once it is whole.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (length, mut at) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
            short => (u64::from(short), 2),
        };
        let masked = second & 0x80 != 0;
        let mask: [u8; 4] = if masked { bytes.get(at..at + 4)?.try_into().ok()? } else { [0; 4] };
        at += if masked { 4 } else { 0 };
        let end = at.checked_add(usize::try_from(length).ok()?)?;
        let payload = bytes.get(at..end)?.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key);
        let (fin, bits, opcode) = (first & FIN != 0, first & 0x70, first & 0xf);
        Some((Self { fin, bits, opcode, masked, payload: payload.collect() }, end))
    }

    /// What is wrong with it, coming from a server that agreed to no extension but compression.
    pub(crate) fn fault(&self, compression: bool) -> Option<String> {
        if self.masked {
            // RFC 6455 §5.1: "A server MUST NOT mask any frames that it sends to the client."
            return Some("the server masks what it sends".to_owned());
        }
        if self.bits & !(if compression { RSV1 } else { 0 }) != 0 {
            return Some(format!("the server sets reserved bits: {:#04x}", self.bits));
        }
        if self.opcode & 0x8 != 0 && (!self.fin || self.payload.len() > 125) {
            return Some("the server sends a control frame in fragments, or over 125 bytes".to_owned());
        }
        if self.opcode == CLOSE { self.close_fault() } else { None }
    }

    /// The code of a Close that has one.
    pub(crate) fn code(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.payload.get(..2)?.try_into().ok()?))
    }

    fn close_fault(&self) -> Option<String> {
        let Some(code) = self.code() else {
            return (!self.payload.is_empty()).then(|| "the server's Close has a body of 1 byte".to_owned());
        };
        // RFC 6455 §7.4.1: "MUST NOT be set as a status code in a Close control frame by an endpoint"
        if matches!(code, 1005 | 1006 | 1015) {
            return Some(format!("the server sends a Close with {code}, which must not be sent"));
        }
        std::str::from_utf8(&self.payload[2..])
            .is_err()
            .then(|| "the server's Close has a reason that is not UTF-8".to_owned())
    }
}

const FIN: u8 = 0x80;

/// Any key will do: nobody in between has to be kept from guessing.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
