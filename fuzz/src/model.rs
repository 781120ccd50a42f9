//! A receiver as RFC 6455 describes it: slow, in one piece, over all bytes at once.
//!
//! It shares no code with the engine, not even the layout of headers.

use taut::proto::{CloseCode, CloseFrame, Kind, Message, ProtocolError, Role};

use crate::input::mask;

/// The limits that a receiver keeps: see [`Config`](taut::proto::Config).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest message.
    pub max_message: Size,
    /// The largest frame.
    pub max_frame: usize,
    /// The most frames of a message.
    pub max_fragments: u32,
    /// The most empty frames of a message, the last excepted.
    pub max_empty_fragments: u32,
}

/// The limit of a message, by the name that the engine gives it.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    /// [`Config::max_message`](taut::proto::Config::max_message).
    Whole(usize),
    /// [`Config::max_streamed`](taut::proto::Config::max_streamed).
    Streamed(u64),
}

/// What a receiver must make of some bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// The messages that are complete; a Close is the last.
    pub messages: Vec<Message>,
    /// What has come of the message that is not complete, in whole characters if it is text.
    pub partial: Option<(Kind, Vec<u8>)>,
    /// The rules that the next frame breaks, at the byte that proves it or behind it.
    pub broken: Vec<ProtocolError>,
    /// How many bytes were understood: up to the last border of a frame, or the byte behind a Close.
    pub understood: usize,
}

/// A header, as far as it has come.
struct Header {
    fin: bool,
    reserved: u8,
    opcode: u8,
    /// The second byte: whether there is a mask, the length in 7 bits.
    second: Option<(bool, u8)>,
    /// The length, once it has come, and the least that it can be.
    len: Option<u64>,
    least_len: u64,
    /// The length of the header and the key, once all of it has come.
    end: Option<(usize, Option<[u8; 4]>)>,
    /// The first byte of a 64-bit length.
    top: Option<u8>,
    /// The first six bytes of a 64-bit length are there, and zero.
    six_zeros: bool,
}

/// A message that is not complete.
struct Incoming {
    kind: Kind,
    bytes: Vec<u8>,
    /// How many bytes at the front are whole characters.
    characters: usize,
    announced: u64,
    frames: u32,
    empty_frames: u32,
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self {
        max_message: Size::Whole(usize::MAX),
        max_frame: usize::MAX,
        max_fragments: u32::MAX,
        max_empty_fragments: u32::MAX,
    };
}

/// What a receiver with these limits must make of the bytes that `from` sent.
#[must_use]
pub fn receive(wire: &[u8], from: Role, limits: &Limits) -> Expected {
    let mut expected = Expected::default();
    let mut message: Option<Incoming> = None;
    loop {
        let bytes = &wire[expected.understood..];
        if bytes.is_empty() {
            break;
        }
        let header = Header::read(bytes);
        expected.broken = header.broken(from, message.as_ref(), limits);
        if !expected.broken.is_empty() {
            break;
        }
        let (Some((start, key)), Some(len)) = (header.end, header.len) else { break };
        let rest = &bytes[start..];
        let there = usize::try_from(len).map_or(rest.len(), |len| len.min(rest.len()));
        let mut payload = rest[..there].to_vec();
        mask(&mut payload, key.unwrap_or_default());
        let whole = there as u64 == len;
        if header.opcode >= 8 {
            if !whole {
                break;
            }
            match control(header.opcode, payload) {
                Ok(control) => {
                    expected.understood += start + there;
                    let closes = matches!(control, Message::Close(_));
                    expected.messages.push(control);
                    if closes {
                        break;
                    }
                    continue;
                }
                Err(broken) => expected.broken = broken,
            }
            break;
        }
        let kind = if header.opcode == 1 { Kind::Text } else { Kind::Binary };
        let incoming = message.get_or_insert_with(|| Incoming::new(kind));
        incoming.announced = incoming.announced.saturating_add(len);
        incoming.frames += 1;
        incoming.empty_frames += u32::from(len == 0 && !header.fin);
        incoming.bytes.extend(payload);
        let last = whole && header.fin;
        if let Err(error) = incoming.check_text(last) {
            expected.broken.push(error);
            break;
        }
        if !whole {
            break;
        }
        expected.understood += start + there;
        if last {
            expected.messages.extend(message.take().map(Incoming::into_message));
        }
    }
    expected.partial = message.map(|message| {
        let end = if message.kind == Kind::Text { message.characters } else { message.bytes.len() };
        (message.kind, message.bytes[..end].to_vec())
    });
    expected
}

impl Header {
    fn read(bytes: &[u8]) -> Self {
        let second = bytes.get(1).map(|byte| (byte & 0x80 != 0, byte & 0x7F));
        let width = match second {
            Some((_, 126)) => 2,
            Some((_, 127)) => 8,
            _ => 0,
        };
        let mut least_len = second.filter(|_| width == 0).map_or(0, |(_, short)| u64::from(short));
        for at in 2..2 + width {
            least_len = least_len << 8 | u64::from(bytes.get(at).copied().unwrap_or(0));
        }
        let start = 2 + width;
        let len = (second.is_some() && bytes.len() >= start).then_some(least_len);
        let end = match second {
            Some((true, _)) => {
                let key = bytes.get(start..start + 4).and_then(|key| key.try_into().ok());
                key.map(|key| (start + 4, Some(key)))
            }
            Some((false, _)) => len.map(|_| (start, None)),
            None => None,
        };
        Self {
            fin: bytes[0] & 0x80 != 0,
            reserved: bytes[0] & 0x70,
            opcode: bytes[0] & 0x0F,
            second,
            len,
            least_len,
            end,
            top: bytes.get(2).copied().filter(|_| width == 8),
            six_zeros: width == 8 && bytes.get(2..8) == Some(&[0; 6]),
        }
    }

    /// Every rule that the header breaks.
    fn broken(&self, from: Role, message: Option<&Incoming>, limits: &Limits) -> Vec<ProtocolError> {
        let mut broken = Vec::new();
        let mut rule = |breaks: bool, error: ProtocolError| {
            if breaks {
                broken.push(error);
            }
        };
        let control = self.opcode >= 8;
        for (number, bit) in [(1, 0x40), (2, 0x20), (3, 0x10)] {
            rule(self.reserved & bit != 0, ProtocolError::ReservedBit(number));
        }
        rule(!matches!(self.opcode, 0..=2 | 8..=10), ProtocolError::ReservedOpcode(self.opcode));
        rule(control && !self.fin, ProtocolError::FragmentedControl);
        rule(self.opcode == 0 && message.is_none(), ProtocolError::UnexpectedContinuation);
        rule(matches!(self.opcode, 1 | 2) && message.is_some(), ProtocolError::ExpectedContinuation);
        if let Some((masked, short)) = self.second {
            rule(masked && from == Role::Server, ProtocolError::MaskedFromServer);
            rule(!masked && from == Role::Client, ProtocolError::UnmaskedFromClient);
            rule(control && short > 125, ProtocolError::ControlTooLong);
            rule(self.top.is_some_and(|top| top & 0x80 != 0), ProtocolError::LengthTopBit);
            let not_minimal = |len| (short == 126 && len < 126) || (short == 127 && len < 0x1_0000);
            // Six zeros of eight bytes tell it already.
            rule(self.six_zeros, ProtocolError::LengthNotMinimal);
            rule(self.len.is_some_and(not_minimal), ProtocolError::LengthNotMinimal);
        }
        if control {
            return broken;
        }
        let (frames, empty_frames, announced) =
            message.map_or((0, 0, 0), |message| (message.frames, message.empty_frames, message.announced));
        let max = limits.max_fragments;
        rule(frames >= max, ProtocolError::TooManyFragments { max });
        let max = limits.max_empty_fragments;
        let empty = self.end.is_some() && self.len == Some(0) && !self.fin;
        rule(empty && empty_frames >= max, ProtocolError::TooManyEmptyFragments { max });
        // A 64-bit length that has not come to its end may turn out not to be minimal.
        let proven = self.len.is_some() || self.least_len > 0xFFFF || self.top.is_none();
        match limits.max_message {
            Size::Whole(max) => {
                let left = (max as u64).saturating_sub(announced);
                rule(proven && self.least_len > left, ProtocolError::MessageTooBig { max });
                let max = limits.max_frame;
                rule(proven && self.least_len > max as u64, ProtocolError::FrameTooBig { max });
            }
            Size::Streamed(max) => {
                let left = max.saturating_sub(announced);
                rule(proven && self.least_len > left, ProtocolError::StreamTooBig { max });
            }
        }
        broken
    }
}

impl Incoming {
    const fn new(kind: Kind) -> Self {
        Self { kind, bytes: Vec::new(), characters: 0, announced: 0, frames: 0, empty_frames: 0 }
    }

    fn check_text(&mut self, last: bool) -> Result<(), ProtocolError> {
        if self.kind == Kind::Binary {
            return Ok(());
        }
        let result = std::str::from_utf8(&self.bytes[self.characters..]);
        let (valid, wrong) = match result {
            Ok(text) => (text.len(), false),
            Err(error) => (error.valid_up_to(), last || error.error_len().is_some()),
        };
        self.characters += valid;
        if wrong { Err(ProtocolError::InvalidUtf8 { offset: self.characters as u64 }) } else { Ok(()) }
    }

    fn into_message(self) -> Message {
        match self.kind {
            Kind::Text => Message::text(String::from_utf8(self.bytes).expect("the text was checked")),
            Kind::Binary => Message::binary(self.bytes),
        }
    }
}

fn control(opcode: u8, payload: Vec<u8>) -> Result<Message, Vec<ProtocolError>> {
    let (code, reason) = match (opcode, &payload[..]) {
        (9, _) => return Ok(Message::Ping(payload.into())),
        (10, _) => return Ok(Message::Pong(payload.into())),
        (_, []) => return Ok(Message::Close(None)),
        (_, [_]) => return Err(vec![ProtocolError::ClosePayload]),
        (_, [high, low, reason @ ..]) => (u16::from(*high) << 8 | u16::from(*low), reason),
    };
    let mut broken = Vec::new();
    // RFC 6455 §7.4 and the IANA registry.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        broken.push(ProtocolError::CloseCode(code));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) if broken.is_empty() => {
            let code = CloseCode::new(code).expect("the code may be on the wire");
            let frame = CloseFrame::new(code, reason).expect("a control frame is short");
            Ok(Message::Close(Some(frame)))
        }
        Ok(_) => Err(broken),
        Err(error) => {
            broken.push(ProtocolError::InvalidUtf8 { offset: error.valid_up_to() as u64 + 2 });
            Err(broken)
        }
    }
}
