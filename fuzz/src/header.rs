//! The oracle of `header`: a frame header is read as a twin reads it that goes bit by bit; cut short, it asks for
//! more exactly as long as something could still follow; written and read again, it is the same, in the fewest
//! bytes.

use arbitrary::{Arbitrary, Unstructured};
use taut::proto::frame::{Header, MAX_HEADER, OpCode};
use taut::proto::{ProtocolError, Role};

use crate::format::{CLAIMS, KEYS};

/// Bytes to read, and a header to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Who sends the frame.
    pub from: Role,
    /// The header that is written: its first byte, …
    pub first: u8,
    /// … the length of its payload, of which the top bit is taken away, …
    pub len: u64,
    /// … and its masking key.
    pub key: [u8; 4],
    /// The bytes that are read.
    pub bytes: Vec<u8>,
}

impl Input {
    /// The bytes that mean this input.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.from == Role::Client), self.first];
        out.extend(self.len.to_le_bytes());
        out.extend(self.key);
        out.extend(&self.bytes);
        out
    }
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let [from, first]: [u8; 2] = bytes.arbitrary()?;
        Ok(Self {
            from: if from & 1 == 1 { Role::Client } else { Role::Server },
            first,
            len: u64::from_le_bytes(bytes.arbitrary()?),
            key: bytes.arbitrary()?,
            bytes: bytes.bytes(bytes.len())?.to_vec(),
        })
    }
}

/// Reads the bytes, and writes the header.
///
/// # Panics
/// If a header is read or written as it must not be.
pub fn check(input: &Input) {
    for end in 0..=input.bytes.len().min(MAX_HEADER + 2) {
        check_reading(&input.bytes[..end], input.from);
    }
    check_writing(input);
}

fn check_reading(bytes: &[u8], from: Role) {
    let found = Header::decode(bytes, from);
    match Twin::read(bytes, from) {
        Read::Whole(twin, length) => {
            let (header, end) = found.expect("a header that keeps the rules").expect("a whole header");
            assert_eq!((end, Twin::of(&header)), (length, twin));
            let mut written = [0; MAX_HEADER];
            let end = header.encode(&mut written);
            assert_eq!(written[..end], bytes[..length], "written again");
        }
        Read::More if can_go_on(bytes, from) => assert_eq!(found, Ok(None), "something could still follow"),
        Read::More | Read::Broken => {
            let error = found.expect_err("nothing that could follow would make it a header");
            assert!(is_broken(bytes, from, error), "{error:?}");
            assert!(bytes.is_empty() || can_fail_no_earlier(&bytes[..bytes.len() - 1], from, error));
        }
    }
}

/// Whether an error that was told of these bytes was told of them without the last one, or could not be.
fn can_fail_no_earlier(bytes: &[u8], from: Role, error: ProtocolError) -> bool {
    match Header::decode(bytes, from) {
        Ok(None) => can_go_on(bytes, from),
        Ok(Some(_)) => false,
        Err(before) => before == error,
    }
}

/// Whether there are bytes that make a header of these.
fn can_go_on(bytes: &[u8], from: Role) -> bool {
    // Each of the bytes that follow can be high; the second says how many there are and whether they are masked.
    let seconds = [0, 126, 127].map(|length| length | if from == Role::Client { 0x80 } else { 0 });
    [0x01, 0x82].iter().any(|first| {
        seconds.iter().any(|&second| {
            let mut whole = vec![*first, second, 0x7F];
            whole.extend([0xFF; MAX_HEADER]);
            whole[..bytes.len()].copy_from_slice(bytes);
            matches!(Twin::read(&whole, from), Read::Whole(..))
        })
    })
}

/// Whether the bytes break the rule of the error.
fn is_broken(bytes: &[u8], from: Role, error: ProtocolError) -> bool {
    let bits = Bits(bytes);
    let bit = |at| bits.number(at, 1) == Some(1);
    let opcode = bits.number(4, 4).expect("an error needs a byte") as u8;
    let length = bits.number(9, 7);
    let is_control = opcode >= 8;
    match error {
        ProtocolError::ReservedBit(number @ 1..=3) => bit(usize::from(number)) && (number > 1 || is_control),
        ProtocolError::ReservedOpcode(told) => told == opcode && !OPCODES.contains(&opcode),
        ProtocolError::FragmentedControl => is_control && !bit(0),
        ProtocolError::ControlTooLong => is_control && length > Some(125),
        ProtocolError::MaskedFromServer => from == Role::Server && bit(8),
        ProtocolError::UnmaskedFromClient => from == Role::Client && length.is_some() && !bit(8),
        ProtocolError::LengthTopBit => length == Some(127) && bit(16),
        ProtocolError::LengthNotMinimal => match length {
            Some(126) => bits.number(16, 16).is_some_and(|length| length < 126),
            Some(127) => bits.number(16, 48) == Some(0),
            _ => false,
        },
        _ => false,
    }
}

fn check_writing(input: &Input) {
    let Some(opcode) = opcode(input.first & 0x0F) else { return };
    let is_control = input.first & 8 != 0;
    let header = Header {
        fin: input.first & 0x80 != 0 || is_control,
        rsv1: input.first & 0x40 != 0 && !is_control,
        opcode,
        key: Some(input.key).filter(|_| input.from == Role::Client),
        len: if is_control { input.len % 126 } else { input.len & (u64::MAX >> 1) },
    };
    let mut written = [UNTOUCHED; MAX_HEADER];
    let end = header.encode(&mut written);
    let (written, rest) = written.split_at(end);
    assert_eq!(written, Twin::of(&header).write(), "as the twin writes it");
    assert!(rest.iter().all(|&byte| byte == UNTOUCHED), "no byte behind the header");
    assert_eq!(Header::decode(written, input.from), Ok(Some((header, end))), "read again");
}

/// A header as the figure of RFC 6455 §5.2 has it: its fields, in bits.
#[derive(Debug, PartialEq, Eq)]
struct Twin {
    fin: bool,
    rsv1: bool,
    opcode: u8,
    key: Option<u64>,
    len: u64,
}

enum Read {
    Whole(Twin, usize),
    More,
    Broken,
}

impl Twin {
    fn of(header: &Header) -> Self {
        let key = header.key.map(|key| u64::from(u32::from_be_bytes(key)));
        let Header { fin, rsv1, opcode, len, .. } = *header;
        Self { fin, rsv1, opcode: opcode as u8, key, len }
    }

    fn read(bytes: &[u8], from: Role) -> Read {
        match Self::fields(&Bits(bytes)) {
            None => Read::More,
            Some((twin, length)) if twin.keeps_the_rules(bytes, from, length) => Read::Whole(twin, length),
            Some(_) => Read::Broken,
        }
    }

    /// The fields and the length of the header in bytes, whatever they are.
    fn fields(bits: &Bits<'_>) -> Option<(Self, usize)> {
        let (len, at) = match bits.number(9, 7)? {
            126 => (bits.number(16, 16)?, 32),
            127 => (bits.number(16, 64)?, 80),
            short => (short, 16),
        };
        let masked = bits.number(8, 1)? == 1;
        let key = if masked { Some(bits.number(at, 32)?) } else { None };
        let twin = Self {
            fin: bits.number(0, 1)? == 1,
            rsv1: bits.number(1, 1)? == 1,
            opcode: bits.number(4, 4)? as u8,
            key,
            len,
        };
        Some((twin, at / 8 + if masked { 4 } else { 0 }))
    }

    fn keeps_the_rules(&self, bytes: &[u8], from: Role, length: usize) -> bool {
        let reserved = Bits(bytes).number(2, 2) != Some(0);
        let control = self.opcode >= 8;
        let rules = [
            !reserved,
            OPCODES.contains(&self.opcode),
            self.key.is_some() == (from == Role::Client),
            !control || (self.fin && !self.rsv1 && self.len <= 125),
            self.len <= i64::MAX as u64,
            self.write().len() == length,
        ];
        rules.iter().all(|&kept| kept)
    }

    /// Writes bit after bit, and counts how many a length takes.
    fn write(&self) -> Vec<u8> {
        let mut bits = String::new();
        bits += &format!("{}{}00{:04b}", u8::from(self.fin), u8::from(self.rsv1), self.opcode);
        bits += if self.key.is_some() { "1" } else { "0" };
        bits += &match self.len {
            short if short < 126 => format!("{short:07b}"),
            medium if medium < 1 << 16 => format!("{:07b}{medium:016b}", 126),
            long => format!("{:07b}{long:064b}", 127),
        };
        if let Some(key) = self.key {
            bits += &format!("{key:032b}");
        }
        let byte = |at| u8::from_str_radix(&bits[at..at + 8], 2).expect("eight bits");
        (0..bits.len()).step_by(8).map(byte).collect()
    }
}

/// Bytes, bit after bit.
struct Bits<'a>(&'a [u8]);

impl Bits<'_> {
    /// The number that these bits are, if all of them are there.
    fn number(&self, at: usize, count: usize) -> Option<u64> {
        let bit = |at: usize| self.0.get(at / 8).map(|byte| u64::from(*byte >> (7 - at % 8) & 1));
        (at..at + count).try_fold(0, |number, at| Some(number << 1 | bit(at)?))
    }
}

fn opcode(bits: u8) -> Option<OpCode> {
    let all = [OpCode::Continuation, OpCode::Text, OpCode::Binary, OpCode::Close, OpCode::Ping, OpCode::Pong];
    all.into_iter().find(|opcode| *opcode as u8 == bits)
}

/// RFC 6455 §11.8: the opcodes that have a meaning.
const OPCODES: [u8; 6] = [0, 1, 2, 8, 9, 10];

/// What stands where nothing was written.
const UNTOUCHED: u8 = 0xA5;

/// Every seed, with the name of its file.
#[must_use]
pub fn seeds() -> Vec<(String, Input)> {
    let mut seeds = Vec::new();
    let mut add = |name: String, from, first, len, bytes: Vec<u8>| {
        seeds.push((name, Input { from, first, len, key: KEYS[1], bytes }));
    };
    for (role, from) in [("client", Role::Client), ("server", Role::Server)] {
        let mask = if from == Role::Client { 0x80 } else { 0 };
        for (first, what) in
            [(0x01, "text"), (0xC2, "binary"), (0x80, "end"), (0x88, "close"), (0x09, "ping")]
        {
            add(format!("{what}-from-{role}"), from, first, 5, vec![first, mask | 5, 1, 2, 3, 4, 9]);
        }
        for claim in CLAIMS {
            let bytes = claim.to_be_bytes();
            let long = [&[0x82, mask | 127][..], &bytes, &KEYS[1]].concat();
            add(format!("claim-{claim:x}-from-{role}"), from, 0x82, claim, long);
            if claim <= 0xFFFF {
                let medium = [&[0x82, mask | 126][..], &bytes[6..], &KEYS[1]].concat();
                add(format!("claim-{claim:x}-from-{role}-in-16-bits"), from, 0x82, claim, medium);
            }
        }
    }
    seeds
}
