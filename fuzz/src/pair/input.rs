//! What the fuzzer gives to `pair`: two ends, and what their applications and the transport between them do.
//!
//! An input is read from front to back, byte by byte, and every string of bytes is one:
//!
//! ```text
//!   compression, and who closes at the end, 1 byte | client, 4 bytes | server, 4 bytes | step | step | …
//!
//!   step: kind (4 bits), whose (the top bit) | how | what it takes
//!     kind 0: a message:   text, way (3 bits), filled          | payload
//!     kind 1: a fragment:  text, last, filled (bit 4)          | payload
//!     kind 2: a control:   pong                                | length | so many bytes
//!     kind 3: a Close:     index of a code (4 bits)            | length | so many bytes of the reason
//!     kind 4: a write:     index of an amount (4 bits), way
//!     kind 5: a read:      index of an amount (4 bits), way
//!     kind 6: events:      how many (4 bits; zero: all), way (2), whether they are sent back (bit 6)
//!     kind 7: the input buffer goes away, or comes back
//!     kind 8: memory is given back, and counted if the first bit is set
//!     kind 9: compression is switched on or off
//!     kind 10: the context is forgotten
//!     kind 11: the halves go apart
//!     kind 12: its side of the transport ends, but for so many bytes of those on their way
//!     other kinds: a turn of the loop at `Connection`
//! ```

use arbitrary::{Arbitrary, Unstructured};
use taut::proto::{Config, Deflate, Delivery};

use crate::format::{SIZES, TAKES, WRITES, bits, encode_literal, high, index, literal, low, rest};
use crate::input::{Payload, Take};

/// Two connections, and what happens to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What they agreed on.
    pub compression: Compression,
    /// Who closes, once all has arrived.
    pub closer: Closer,
    /// The client, and the server.
    pub sides: [Side; 2],
    /// What happens.
    pub script: Vec<Step>,
}

/// What the two ends agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    None,
    /// With context takeover.
    Takeover,
    /// Without.
    NoTakeover,
    /// With takeover, and the smallest windows that zlib has.
    SmallWindows,
}

/// Who closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closer {
    /// The client.
    Client,
    /// The server.
    Server,
    /// Both at once.
    Both,
}

/// How one end is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// With the defaults of the engine; what is below the next three does not count.
    pub default: bool,
    /// Messages come in chunks.
    pub chunks: bool,
    /// See [`Config::auto_pong`].
    pub auto_pong: bool,
    /// See [`Config::auto_close`].
    pub auto_close: bool,
    /// See [`Config::max_message`]; also the limit of a message in chunks.
    pub max_message: usize,
    /// See [`Config::max_queued`].
    pub max_queued: usize,
    /// See [`Config::fragment_above`].
    pub fragment_above: usize,
    /// See [`Config::deflate_above`].
    pub deflate_above: usize,
    /// See [`Config::copy_below`].
    pub copy_below: usize,
    /// See [`Config::share_above`].
    pub share_above: usize,
}

/// What happens to one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The client is 0, the server 1.
    pub who: usize,
    /// What.
    pub action: Action,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It sends a message.
    Send {
        /// As text, made of what is not.
        text: bool,
        /// How.
        way: Way,
        /// What.
        payload: Payload,
    },
    /// It sends a piece of a message.
    Fragment {
        /// Of a text.
        text: bool,
        /// The last.
        last: bool,
        /// What; in a text, as it is.
        payload: Payload,
    },
    /// It sends a ping, or a pong that nobody asked for.
    Control {
        /// A pong.
        pong: bool,
        /// What it holds.
        payload: Vec<u8>,
    },
    /// It closes.
    Close {
        /// Which of [`CODES`].
        code: u8,
        /// Why.
        reason: Vec<u8>,
    },
    /// It writes at most so many bytes.
    Write {
        /// How many.
        most: usize,
        /// How.
        way: WriteWay,
    },
    /// It reads at most so many bytes.
    Read {
        /// How many.
        most: usize,
        /// How.
        way: ReadWay,
    },
    /// It takes events.
    Take {
        /// How many; zero: all.
        count: u8,
        /// How.
        take: Take,
        /// It sends them back.
        echo: bool,
    },
    /// Its input buffer goes away, or comes back.
    Detach,
    /// It gives memory back.
    Release {
        /// So does the other, and what is left is counted.
        counted: bool,
    },
    /// It switches compression on, or off.
    Compress(bool),
    /// It has the context forgotten.
    Forget,
    /// Its halves go apart.
    Split,
    /// The transport takes no more of its bytes.
    End {
        /// How many of those on their way arrive.
        keep: u8,
    },
    /// It does all that there is to be done.
    Turn,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In memory of its own.
    Owned,
    /// Borrowed.
    Borrowed,
    /// Prepared.
    Prepared,
    /// The last that was prepared once more, by whomever.
    PreparedAgain,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteWay {
    /// Out of one piece.
    Chunk,
    /// Out of several.
    Vectored,
    /// A piece is taken away, whole.
    Pop,
}

/// How bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadWay {
    /// They are copied.
    Feed,
    /// Into the room that the connection offers.
    Input,
    /// The same, for large frames.
    LargeInput,
    /// Into the input buffer, which is taken away and brought back.
    Taken,
    /// Into a buffer that is lent for one turn.
    Lent,
}

impl Input {
    /// Two ends with the defaults of the engine.
    #[must_use]
    pub fn new(script: Vec<Step>) -> Self {
        let side = Side::decode(&mut Unstructured::new(&[0; 4])).expect("four bytes are there");
        Self { compression: Compression::None, closer: Closer::Client, sides: [side.clone(), side], script }
    }

    /// The bytes that mean this input. The numbers must come from the tables.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![index(&COMPRESSIONS, self.compression) | index(&CLOSERS, self.closer) << 4];
        self.sides.iter().for_each(|side| side.encode(&mut out));
        self.script.iter().for_each(|step| step.encode(&mut out));
        out
    }

    /// What the two ends agreed on, if they compress.
    #[must_use]
    pub const fn deflate(&self) -> Option<Deflate> {
        match self.compression {
            Compression::None => None,
            Compression::Takeover => Some(Deflate::new()),
            Compression::NoTakeover => Some(Deflate::no_context_takeover()),
            Compression::SmallWindows => {
                Some(Deflate::new().server_max_window_bits(9).client_max_window_bits(9))
            }
        }
    }
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let first: u8 = bytes.arbitrary()?;
        let sides = [Side::decode(bytes)?, Side::decode(bytes)?];
        Ok(Self {
            compression: COMPRESSIONS[usize::from(first & 3)],
            closer: CLOSERS[usize::from(first >> 4) % CLOSERS.len()],
            sides,
            script: rest(bytes, Step::decode)?,
        })
    }
}

impl Side {
    /// The settings for the engine.
    #[must_use]
    pub fn config(&self) -> Config {
        let clamp = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let delivery = if self.chunks { Delivery::Chunks } else { Delivery::Whole };
        let config = Config::new().delivery(delivery).auto_pong(self.auto_pong).auto_close(self.auto_close);
        if self.default {
            return config;
        }
        config
            .max_message(self.max_message)
            .max_streamed(self.max_message as u64)
            .max_frame(usize::MAX)
            .max_empty_fragments(u32::MAX)
            .max_queued(self.max_queued)
            .fragment_above(self.fragment_above)
            .deflate_above(clamp(self.deflate_above))
            .copy_below(clamp(self.copy_below))
            .share_above(clamp(self.share_above))
    }

    fn decode(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let [bits, limits, sending, sharing]: [u8; 4] = bytes.arbitrary()?;
        let bit = |number: u8| bits >> number & 1 == 1;
        Ok(Self {
            default: !bit(0),
            chunks: bit(1),
            auto_pong: !bit(2),
            auto_close: !bit(3),
            max_message: low(&SIZES, limits),
            max_queued: high(&SIZES, limits),
            fragment_above: low(&SIZES, sending),
            deflate_above: high(&SIZES, sending),
            copy_below: low(&SIZES, sharing),
            share_above: high(&SIZES, sharing),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([
            bits(&[!self.default, self.chunks, !self.auto_pong, !self.auto_close]),
            index(&SIZES, self.max_message) | index(&SIZES, self.max_queued) << 4,
            index(&SIZES, self.fragment_above) | index(&SIZES, self.deflate_above) << 4,
            index(&SIZES, self.copy_below) | index(&SIZES, self.share_above) << 4,
        ]);
    }
}

impl Step {
    fn decode(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let [kind, how]: [u8; 2] = bytes.arbitrary()?;
        let bit = |number: u8| how >> number & 1 == 1;
        let action = match kind & 15 {
            0 => Action::Send {
                text: bit(0),
                way: WAYS[usize::from(how >> 1 & 7) % WAYS.len()],
                payload: Payload::decode(bit(4), bytes)?,
            },
            1 => Action::Fragment { text: bit(0), last: bit(1), payload: Payload::decode(bit(4), bytes)? },
            2 => Action::Control { pong: bit(0), payload: literal(bytes)? },
            3 => Action::Close { code: how & 15, reason: literal(bytes)? },
            4 => Action::Write {
                most: low(&WRITES, how),
                way: WRITE_WAYS[usize::from(how >> 4) % WRITE_WAYS.len()],
            },
            5 => Action::Read {
                most: low(&WRITES, how),
                way: READ_WAYS[usize::from(how >> 4) % READ_WAYS.len()],
            },
            6 => Action::Take {
                count: how & 15,
                take: TAKES[usize::from(how >> 4 & 3) % TAKES.len()],
                echo: bit(6),
            },
            7 => Action::Detach,
            8 => Action::Release { counted: bit(0) },
            9 => Action::Compress(bit(0)),
            10 => Action::Forget,
            11 => Action::Split,
            12 => Action::End { keep: how },
            _ => Action::Turn,
        };
        Ok(Self { who: usize::from(kind >> 7), action })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut put = |kind: u8, how: u8| out.extend([kind | (self.who as u8) << 7, how]);
        match &self.action {
            Action::Send { text, way, payload } => {
                put(0, u8::from(*text) | index(&WAYS, *way) << 1 | payload.is_filled() << 4);
                payload.encode(out);
            }
            Action::Fragment { text, last, payload } => {
                put(1, u8::from(*text) | u8::from(*last) << 1 | payload.is_filled() << 4);
                payload.encode(out);
            }
            Action::Control { pong, payload } => {
                put(2, u8::from(*pong));
                encode_literal(payload, out);
            }
            Action::Close { code, reason } => {
                put(3, *code);
                encode_literal(reason, out);
            }
            Action::Write { most, way } => put(4, index(&WRITES, *most) | index(&WRITE_WAYS, *way) << 4),
            Action::Read { most, way } => put(5, index(&WRITES, *most) | index(&READ_WAYS, *way) << 4),
            Action::Take { count, take, echo } => {
                put(6, count | index(&TAKES, *take) << 4 | u8::from(*echo) << 6);
            }
            Action::Detach => put(7, 0),
            Action::Release { counted } => put(8, u8::from(*counted)),
            Action::Compress(on) => put(9, u8::from(*on)),
            Action::Forget => put(10, 0),
            Action::Split => put(11, 0),
            Action::End { keep } => put(12, *keep),
            Action::Turn => put(13, 0),
        }
    }
}

/// The codes with which an application closes; zero: without one.
pub const CODES: [u16; 16] =
    [0, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4999];

const COMPRESSIONS: [Compression; 4] =
    [Compression::None, Compression::Takeover, Compression::NoTakeover, Compression::SmallWindows];
const CLOSERS: [Closer; 3] = [Closer::Client, Closer::Server, Closer::Both];
const WAYS: [Way; 4] = [Way::Owned, Way::Borrowed, Way::Prepared, Way::PreparedAgain];
const WRITE_WAYS: [WriteWay; 3] = [WriteWay::Chunk, WriteWay::Vectored, WriteWay::Pop];
const READ_WAYS: [ReadWay; 5] =
    [ReadWay::Feed, ReadWay::Input, ReadWay::LargeInput, ReadWay::Taken, ReadWay::Lent];
