//! What the fuzzer gives to `deflate`: settings, and a script that writes the payloads of messages. The frames
//! around them are right, so that the fuzzer's bytes reach the inflater.
//!
//! An input is read from front to back, byte by byte, and every string of bytes is one:
//!
//! ```text
//!   settings, 3 bytes | cuts, 2 bytes | piece | piece | …
//!
//!   piece: kind (3 bits), argument (5 bits), then
//!     kind 0: bytes of the payload: as many as the argument says, at least one
//!     kind 1: the same, behind a length of one byte
//!     kind 2: a frame ends
//!     kind 3: a message ends; of the argument: the next is text, or not compressed
//!     kind 4: count: the last bytes come so many times more
//!     kind 5: times | length | so many bytes, which come compressed, so many times over; of the argument: how
//!             hard, and what comes at the end
//!     kind 6: a ping comes, between two frames
//!     kind 7: the input is cut here
//! ```

use std::fmt;

use arbitrary::{Arbitrary, Unstructured};
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output, create_comp_flags_from_zip_params,
};
use taut::proto::{Config, Deflate, Delivery, Role};

use crate::format::{KEYS, SIZES, bits, encode_literal, index, literal, rest};
use crate::input::mask;
use crate::script::cuts_in_turn;

/// Messages to one connection.
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
    /// Whether the peer's context goes over from one message to the next.
    pub takeover: bool,
    /// Whether the first message is text.
    pub text: bool,
    /// Whether memory is given back whenever bytes are missing.
    pub release: bool,
    /// Whether bytes are read into the room that the connection offers.
    pub reads: bool,
    /// Whether events are borrowed.
    pub borrows: bool,
    /// The last message lacks its last frame: another may follow.
    pub unfinished: bool,
    /// See [`Config::max_message`]; also the limit of a message in chunks. Never without a limit.
    pub max_message: usize,
    /// See [`Config::max_frame`].
    pub max_frame: usize,
    /// See [`Config::max_ratio`].
    pub max_ratio: u32,
}

/// A step of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the payload, 255 at most.
    Bytes(Vec<u8>),
    /// A frame ends.
    Frame,
    /// A message ends, and so does its last frame; of the next one:
    Message {
        /// It is text.
        text: bool,
        /// It is not compressed, whatever its bytes look like.
        plain: bool,
    },
    /// The last bytes come so many times more.
    Repeat(u8),
    /// These bytes, 255 at most, come so many times over, compressed.
    Compressed {
        /// How hard: one of [`LEVELS`].
        level: u8,
        /// What comes at the end.
        end: End,
        /// How often.
        times: u8,
        /// What.
        data: Vec<u8>,
    },
    /// A ping comes, between two frames.
    Ping,
    /// The input is cut here.
    Cut,
}

/// How compressed bytes end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an empty block, as more may follow.
    Flush,
    /// The same without its length, as a message ends (RFC 7692 §7.2.1).
    Cut,
    /// With a block that has BFINAL.
    Final,
}

/// What comes from the peer, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// It is a ping, and nothing else of this is true.
    pub ping: bool,
    /// It begins a message: of text, and compressed.
    pub begins: Option<(bool, bool)>,
    /// It ends a message.
    pub fin: bool,
    /// As it is before it is masked.
    pub payload: Vec<u8>,
}

/// The frames, their bytes, and where these are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// All frames.
    pub frames: Vec<Frame>,
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Where a read ends, in ascending order.
    pub cuts: Vec<usize>,
}

impl Input {
    /// The bytes that mean this input. The numbers of the settings must come from the tables.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.settings.encode(&mut out);
        out.extend(self.cuts);
        self.script.iter().for_each(|piece| piece.encode(&mut out));
        out
    }

    /// The frames that the script writes, with at most [`MAX_PAYLOAD`] bytes of payload.
    #[must_use]
    pub fn wire(&self) -> Wire {
        let mut writer = Writer { from: self.settings.role.peer(), ..Writer::new(self.settings.text) };
        for piece in &self.script {
            if writer.payload >= MAX_PAYLOAD {
                break;
            }
            writer.piece(piece);
        }
        if self.settings.unfinished {
            writer.frame(false)
        } else {
            writer.frame(true)
        }
        let mut wire = writer.wire;
        wire.cuts.extend(cuts_in_turn(self.cuts, wire.bytes.len()));
        wire.cuts.sort_unstable();
        wire
    }
}

impl Frame {
    /// Whether it is the last of a message.
    #[must_use]
    pub const fn ends(&self) -> bool {
        self.fin && !self.ping
    }
}

/// Writes frames.
struct Writer {
    wire: Wire,
    from: Role,
    /// How many bytes of payload were written.
    payload: usize,
    /// The message that the next frame begins: of text, and compressed.
    begins: Option<(bool, bool)>,
    /// What the frame holds so far.
    frame: Vec<u8>,
    /// Where in it the input is cut.
    cuts: Vec<usize>,
    /// The last bytes that were written.
    last: Vec<u8>,
}

impl Writer {
    const fn new(text: bool) -> Self {
        Self {
            wire: Wire { frames: Vec::new(), bytes: Vec::new(), cuts: Vec::new() },
            from: Role::Client,
            payload: 0,
            begins: Some((text, true)),
            frame: Vec::new(),
            cuts: Vec::new(),
            last: Vec::new(),
        }
    }

    fn piece(&mut self, piece: &Piece) {
        match piece {
            Piece::Bytes(bytes) => self.bytes(bytes.clone()),
            Piece::Frame => self.frame(false),
            Piece::Message { text, plain } => {
                self.frame(true);
                self.begins = Some((*text, !plain));
            }
            Piece::Repeat(count) => {
                for _ in 0..*count {
                    if self.payload >= MAX_PAYLOAD {
                        break;
                    }
                    self.payload += self.last.len();
                    self.frame.extend_from_slice(&self.last);
                }
            }
            Piece::Compressed { level, end, times, data } => {
                let data = data.repeat(usize::from(*times));
                self.bytes(compressed(&data, *level, *end));
            }
            Piece::Ping => {
                if !self.frame.is_empty() {
                    self.frame(false);
                }
                self.put(Frame { ping: true, begins: None, fin: true, payload: b"ping".to_vec() });
            }
            Piece::Cut => self.cuts.push(self.frame.len()),
        }
    }

    fn bytes(&mut self, bytes: Vec<u8>) {
        self.payload += bytes.len();
        self.frame.extend_from_slice(&bytes);
        self.last = bytes;
    }

    fn frame(&mut self, fin: bool) {
        let payload = std::mem::take(&mut self.frame);
        let begins = self.begins.take();
        self.put(Frame { ping: false, begins, fin, payload });
    }

    fn put(&mut self, frame: Frame) {
        let opcode = match frame.begins {
            _ if frame.ping => 9,
            Some((true, _)) => 1,
            Some((false, _)) => 2,
            None => 0,
        };
        let rsv1 = matches!(frame.begins, Some((_, true)));
        let out = &mut self.wire.bytes;
        out.push(opcode | u8::from(rsv1) << 6 | u8::from(frame.fin) << 7);
        let masked = self.from == Role::Client;
        let mask_bit = u8::from(masked) << 7;
        match frame.payload.len() {
            len @ 0..=125 => out.push(mask_bit | len as u8),
            len @ 126..=0xFFFF => {
                out.push(mask_bit | 126);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(mask_bit | 127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        let mut payload = frame.payload.clone();
        if masked {
            out.extend(KEYS[1]);
            mask(&mut payload, KEYS[1]);
        }
        let start = out.len();
        out.extend(payload);
        if !frame.ping {
            self.wire.cuts.extend(self.cuts.drain(..).map(|cut| start + cut));
        }
        self.wire.frames.push(frame);
    }
}

/// The data as one DEFLATE stream.
fn compressed(data: &[u8], level: u8, end: End) -> Vec<u8> {
    let level = LEVELS[usize::from(level) % LEVELS.len()];
    let mut stream = CompressorOxide::new(create_comp_flags_from_zip_params(level, -15, 0));
    let flush = if end == End::Final { TDEFLFlush::Finish } else { TDEFLFlush::Sync };
    let mut out = Vec::new();
    let (status, taken) = compress_to_output(&mut stream, data, flush, |bytes| {
        out.extend_from_slice(bytes);
        true
    });
    assert!(taken == data.len() && matches!(status, TDEFLStatus::Okay | TDEFLStatus::Done));
    if end == End::Cut {
        assert_eq!(out.split_off(out.len() - 4), [0, 0, 0xFF, 0xFF]);
    }
    out
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
    /// A server with takeover, without narrow limits, that gets binary.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            role: Role::Server,
            takeover: true,
            text: false,
            release: false,
            reads: false,
            borrows: false,
            unfinished: false,
            max_message: MESSAGES[0],
            max_frame: SIZES[0],
            max_ratio: RATIOS[0],
        }
    }

    /// The settings for the engine.
    #[must_use]
    pub const fn config(&self, delivery: Delivery) -> Config {
        Config::new()
            .delivery(delivery)
            .max_message(self.max_message)
            .max_frame(self.max_frame)
            .max_streamed(self.max_message as u64)
            .max_ratio(self.max_ratio)
            .max_empty_fragments(u32::MAX)
    }

    /// What the two ends agreed on.
    #[must_use]
    pub const fn deflate(&self) -> Deflate {
        if self.takeover { Deflate::new() } else { Deflate::no_context_takeover() }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([
            bits(&[
                self.role == Role::Client,
                !self.takeover,
                self.text,
                self.release,
                self.reads,
                self.borrows,
                self.unfinished,
            ]),
            index(&MESSAGES, self.max_message) | index(&SIZES, self.max_frame) << 4,
            index(&RATIOS, self.max_ratio),
        ]);
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let settings = Settings::arbitrary(bytes)?;
        let cuts = bytes.arbitrary()?;
        Ok(Self { settings, cuts, script: rest(bytes, Piece::arbitrary)? })
    }
}

impl<'a> Arbitrary<'a> for Settings {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let [bits, sizes, ratio]: [u8; 3] = bytes.arbitrary()?;
        let bit = |number: u8| bits >> number & 1 == 1;
        Ok(Self {
            role: if bit(0) { Role::Client } else { Role::Server },
            takeover: !bit(1),
            text: bit(2),
            release: bit(3),
            reads: bit(4),
            borrows: bit(5),
            unfinished: bit(6),
            max_message: MESSAGES[usize::from(sizes & 15)],
            max_frame: SIZES[usize::from(sizes >> 4)],
            max_ratio: RATIOS[usize::from(ratio & 15)],
        })
    }
}

impl<'a> Arbitrary<'a> for Piece {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let first: u8 = bytes.arbitrary()?;
        let argument = first >> 3;
        Ok(match first & 7 {
            0 => {
                let length = usize::from(argument).max(1).min(bytes.len());
                Self::Bytes(bytes.bytes(length)?.to_vec())
            }
            1 => Self::Bytes(literal(bytes)?),
            2 => Self::Frame,
            3 => Self::Message { text: argument & 1 != 0, plain: argument & 2 != 0 },
            4 => Self::Repeat(bytes.arbitrary()?),
            5 => Self::Compressed {
                level: argument & 7,
                end: [End::Flush, End::Cut, End::Cut, End::Final][usize::from(argument >> 3)],
                times: bytes.arbitrary()?,
                data: literal(bytes)?,
            },
            6 => Self::Ping,
            _ => Self::Cut,
        })
    }
}

impl Piece {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => {
                out.push(1);
                encode_literal(bytes, out);
            }
            Self::Frame => out.push(2),
            Self::Message { text, plain } => out.push(3 | u8::from(*text) << 3 | u8::from(*plain) << 4),
            Self::Repeat(count) => out.extend([4, *count]),
            Self::Compressed { level, end, times, data } => {
                let end = match end {
                    End::Flush => 0,
                    End::Cut => 1,
                    End::Final => 3,
                };
                out.extend([5 | level << 3 | end << 6, *times]);
                encode_literal(data, out);
            }
            Self::Ping => out.push(6),
            Self::Cut => out.push(7),
        }
    }
}

/// The largest messages, all small: the oracle inflates what goes beyond, and the fuzzer should try much.
pub const MESSAGES: [usize; 16] =
    [200_000, 0, 1, 2, 3, 7, 16, 60, 125, 300, 1000, 4096, 16_383, 16_384, 65_536, 100_000];

/// The highest ratios.
pub const RATIOS: [u32; 16] = [u32::MAX, 0, 1, 2, 3, 5, 8, 16, 50, 100, 200, 400, 700, 1000, 1031, 1032];

/// How hard inputs are compressed, as miniz_oxide counts.
pub const LEVELS: [i32; 8] = [6, 0, 1, 2, 3, 5, 9, 10];

/// The most bytes of payload that a script begins another piece with.
pub const MAX_PAYLOAD: usize = 16 << 10;

/// How many bytes and cuts a report shows.
const MAX_SHOWN: usize = 512;
