//! What the fuzzer gives to `receive`: settings, and a script that writes the bytes of the peer.

use std::fmt;
use std::ops::Range;

use taut::proto::{Config, Delivery, Role};

use crate::format::{CLAIMS, COUNTS, KEYS, READS, SIZES, WRITES, filled};
use crate::script::{Wire, cuts_in_turn};

/// A conversation with one connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Input {
    /// How the connection is set up and driven.
    pub settings: Settings,
    /// The input is cut after so many bytes, after so many more, and so on in turn; a zero ends that.
    pub cuts: [u8; 2],
    /// What the peer sends.
    pub script: Vec<Piece>,
}

/// How the connection under test is set up and driven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which end it is.
    pub role: Role,
    /// See [`Config::auto_pong`].
    pub auto_pong: bool,
    /// See [`Config::auto_close`].
    pub auto_close: bool,
    /// Whether memory is given back whenever bytes are missing.
    pub release: bool,
    /// How bytes come in.
    pub feed: Feed,
    /// How events are taken.
    pub take: Take,
    /// See [`Config::max_message`]; also the limit of a message in chunks.
    pub max_message: usize,
    /// See [`Config::max_frame`].
    pub max_frame: usize,
    /// See [`Config::max_fragments`].
    pub max_fragments: u32,
    /// See [`Config::max_empty_fragments`].
    pub max_empty_fragments: u32,
    /// See [`Config::copy_below`].
    pub copy_below: usize,
    /// See [`Config::share_above`].
    pub share_above: usize,
    /// See [`Config::fragment_above`].
    pub fragment_above: usize,
    /// See [`Config::max_queued`].
    pub max_queued: usize,
    /// See [`Config::read_size`].
    pub read_size: u32,
    /// How many bytes are written after each read; zero: only when the queue is full, and at the end.
    pub write: usize,
    /// After how many events the application closes; zero: never.
    pub close_after: u8,
}

/// How bytes come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// They are copied.
    Copied,
    /// The buffer is lent out around each read.
    Lent,
    /// They are read into the room that the connection offers.
    Read,
}

/// How events are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Each in memory of its own.
    Owned,
    /// Each borrowed.
    Borrowed,
    /// Borrowed from the receiving half, and answered by the sending half meanwhile.
    Halves,
}

/// A step of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A frame, which may break rules.
    Frame(Frame),
    /// These bytes.
    Raw(Vec<u8>),
    /// The input is cut here.
    Cut,
    /// A byte, so many back from the end, is changed.
    Spoil {
        /// How many bytes lie behind it.
        back: u8,
        /// What is added to it.
        xor: u8,
    },
    /// So many bytes at the end are dropped.
    Truncate(u8),
    /// The last frame, or the last bytes, come so many times more.
    Repeat(u8),
}

/// A frame of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// FIN, the reserved bits and the opcode, as they are on the wire.
    pub first: u8,
    /// What the header says of the length.
    pub form: Form,
    /// Whether the frame is masked where it must not be, or the other way round.
    pub wrong_mask: bool,
    /// Which of [`KEYS`] masks it.
    pub key: u8,
    /// What it holds.
    pub payload: Payload,
}

/// What a header says of the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The truth, in the shortest form.
    Shortest,
    /// The truth, in 16 bits if it fits.
    Bits16,
    /// The truth, in 64 bits.
    Bits64,
    /// One of [`CLAIMS`], whatever the payload is, in the shortest form.
    Claim(u8),
}

/// The payload of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// These bytes, 255 at most.
    Literal(Vec<u8>),
    /// One of [`FILLINGS`](crate::format::FILLINGS), again and again, up to one of
    /// [`LENGTHS`](crate::format::LENGTHS).
    Filled {
        /// Which length.
        length: u8,
        /// Which filling.
        filling: u8,
    },
}

impl Input {
    /// An input with the default settings.
    #[must_use]
    pub const fn new(role: Role, script: Vec<Piece>) -> Self {
        Self { settings: Settings::new(role), cuts: [0; 2], script }
    }

    /// The bytes that the script writes, at most [`MAX_WIRE`].
    #[must_use]
    pub fn wire(&self) -> Wire {
        let from = self.settings.role.peer();
        let mut wire = Wire { bytes: Vec::new(), cuts: Vec::new() };
        let mut last = 0..0;
        for piece in &self.script {
            let start = wire.bytes.len();
            match piece {
                Piece::Frame(frame) => {
                    frame.write(from, &mut wire.bytes);
                    last = start..wire.bytes.len();
                }
                Piece::Raw(bytes) => {
                    wire.bytes.extend_from_slice(bytes);
                    last = start..wire.bytes.len();
                }
                Piece::Cut => wire.cuts.push(start),
                Piece::Spoil { back, xor } => {
                    if let Some(at) = start.checked_sub(usize::from(*back) + 1) {
                        wire.bytes[at] ^= xor;
                    }
                }
                Piece::Truncate(count) => {
                    wire.truncate(start.saturating_sub(usize::from(*count)));
                    last.end = last.end.min(wire.bytes.len());
                    last.start = last.start.min(last.end);
                }
                Piece::Repeat(count) => repeat(&mut wire.bytes, last.clone(), *count),
            }
            if wire.bytes.len() > MAX_WIRE {
                wire.truncate(MAX_WIRE);
                break;
            }
        }
        wire.cuts.extend(cuts_in_turn(self.cuts, wire.bytes.len()));
        wire.cuts.sort_unstable();
        wire
    }
}

/// With the bytes on the wire, ready to be pasted into a test.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wire = self.wire();
        let hex: String = wire.bytes.iter().take(MAX_SHOWN).map(|byte| format!("{byte:02x}")).collect();
        f.debug_struct("Input")
            .field("settings", &self.settings)
            .field("script", &self.script)
            .field("wire_length", &wire.bytes.len())
            .field("wire", &hex)
            .field("cuts", &&wire.cuts[..wire.cuts.len().min(MAX_SHOWN)])
            .finish()
    }
}

impl Settings {
    /// No limits, and the defaults of everything else.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self {
            role,
            auto_pong: true,
            auto_close: true,
            release: false,
            feed: Feed::Copied,
            take: Take::Owned,
            max_message: SIZES[0],
            max_frame: SIZES[0],
            max_fragments: COUNTS[0],
            max_empty_fragments: COUNTS[0],
            copy_below: SIZES[0],
            share_above: SIZES[0],
            fragment_above: SIZES[0],
            max_queued: SIZES[0],
            read_size: READS[0],
            write: WRITES[0],
            close_after: 0,
        }
    }

    /// The settings for the engine.
    #[must_use]
    pub fn config(&self, delivery: Delivery) -> Config {
        let clamp = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        Config::new()
            .delivery(delivery)
            .max_message(self.max_message)
            .max_frame(self.max_frame)
            .max_streamed(self.max_streamed())
            .max_fragments(self.max_fragments)
            .max_empty_fragments(self.max_empty_fragments)
            .copy_below(clamp(self.copy_below))
            .share_above(clamp(self.share_above))
            .fragment_above(self.fragment_above)
            .max_queued(self.max_queued)
            .read_size(self.read_size)
            .auto_pong(self.auto_pong)
            .auto_close(self.auto_close)
    }

    /// See [`Config::max_streamed`].
    #[must_use]
    pub fn max_streamed(&self) -> u64 {
        u64::try_from(self.max_message).unwrap_or(u64::MAX)
    }
}

impl Frame {
    fn write(&self, from: Role, out: &mut Vec<u8>) {
        let mut payload = self.payload.bytes();
        let claimed = match self.form {
            Form::Claim(claim) => CLAIMS[usize::from(claim) % CLAIMS.len()],
            _ => payload.len() as u64,
        };
        let masked = (from == Role::Client) != self.wrong_mask;
        let mask_bit = u8::from(masked) << 7;
        out.push(self.first);
        match (self.form, claimed) {
            (Form::Shortest | Form::Claim(_), 0..=125) => out.push(mask_bit | claimed as u8),
            (Form::Shortest | Form::Bits16 | Form::Claim(_), 0..=0xFFFF) => {
                out.push(mask_bit | 126);
                out.extend((claimed as u16).to_be_bytes());
            }
            _ => {
                out.push(mask_bit | 127);
                out.extend(claimed.to_be_bytes());
            }
        }
        if masked {
            let key = KEYS[usize::from(self.key) % KEYS.len()];
            out.extend(key);
            mask(&mut payload, key);
        }
        out.extend(payload);
    }
}

impl Payload {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Literal(bytes) => bytes.clone(),
            Self::Filled { length, filling } => filled(*length, *filling),
        }
    }
}

/// Appends a part of the bytes so many times more.
fn repeat(bytes: &mut Vec<u8>, range: Range<usize>, count: u8) {
    for _ in 0..count {
        if range.is_empty() || bytes.len() > MAX_REPEATED {
            break;
        }
        bytes.extend_from_within(range.clone());
    }
}

/// The most bytes that a script writes: the fuzzer should try much, not wait long.
pub const MAX_WIRE: usize = 72 << 10;

/// How long the wire grows by repetition: thousands of small frames are enough.
const MAX_REPEATED: usize = 4 << 10;

/// How many bytes and cuts a report shows.
const MAX_SHOWN: usize = 512;

/// Masks or unmasks, byte by byte (RFC 6455 §5.3).
pub(crate) fn mask(payload: &mut [u8], key: [u8; 4]) {
    for (i, byte) in payload.iter_mut().enumerate() {
        *byte ^= key[i % 4];
    }
}
