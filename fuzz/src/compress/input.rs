//! What the fuzzer gives to `compress`: settings, and what an application sends.
//!
//! An input is read from front to back, byte by byte, and every string of bytes is one:
//!
//! ```text
//!   settings, 6 bytes | step | step | …
//!
//!   step: kind (3 bits), text (1), behind the last message (1), way to send (3), then
//!     kind 0 to 4: a message: times | index of a length of noise (4 bits), how it is cut (4) | length | bytes
//!     kind 5: compression is switched on or off, if it is text
//!     kind 6: the context is forgotten
//!     kind 7: a ping
//! ```

use arbitrary::{Arbitrary, Unstructured};
use taut::proto::{Config, Deflate, Role};

use crate::format::{LENGTHS, SIZES, encode_literal, high, index, literal, low, rest};

/// A conversation from one connection to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// How the connections are set up.
    pub settings: Settings,
    /// What is sent.
    pub script: Vec<Step>,
}

/// How the connections are set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which end sends.
    pub role: Role,
    /// Whether its context goes over from one message to the next.
    pub takeover: bool,
    /// See [`Config::deflate_level`].
    pub level: u8,
    /// The largest window of the one that sends, 8 to 15.
    pub window_bits: u8,
    /// The same of another, which sends only what was prepared.
    pub other_window_bits: u8,
    /// See [`Config::deflate_above`].
    pub deflate_above: usize,
    /// See [`Config::fragment_above`].
    pub fragment_above: usize,
    /// See [`Config::share_above`].
    pub share_above: usize,
    /// How many bytes arrive at a time; zero: all of them.
    pub cut: u8,
}

/// What the application does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It sends a message.
    Send {
        /// How.
        way: Way,
        /// As text.
        text: bool,
        /// What.
        data: Data,
    },
    /// It switches compression on, or off.
    Compress(bool),
    /// It has the context forgotten.
    Forget,
    /// It sends a ping.
    Ping,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In memory of its own.
    Owned,
    /// Borrowed.
    Borrowed,
    /// Prepared, by both connections.
    Prepared,
    /// The last that was prepared once more, by both connections.
    PreparedAgain,
    /// In fragments, cut as the data says.
    Fragments,
    /// The same, with empty ones between them and at the end.
    EmptyFragments,
}

/// The payload of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// It begins with the last message.
    pub again: bool,
    /// These bytes, 255 at most, …
    pub bytes: Vec<u8>,
    /// … so many times over.
    pub times: u8,
    /// Then come so many bytes that nothing compresses, but not more than [`MAX_NOISE`].
    pub noise: usize,
    /// How many bytes a fragment has; without a limit, the message is one.
    pub fragment: usize,
}

impl Input {
    /// The bytes that mean this input. The numbers must come from the tables.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.settings.encode(&mut out);
        self.script.iter().for_each(|step| step.encode(&mut out));
        out
    }
}

impl Data {
    /// The bytes of the message; those of `last` if it comes again. Text is made of what is not.
    #[must_use]
    pub fn bytes(&self, last: &[u8], text: bool) -> Vec<u8> {
        let mut bytes = if self.again { last.to_vec() } else { Vec::new() };
        bytes.extend(self.bytes.repeat(usize::from(self.times)));
        let mut state = self
            .bytes
            .iter()
            .fold(1, |state: u64, &byte| state.wrapping_mul(31).wrapping_add(u64::from(byte) + 1));
        for _ in 0..self.noise.min(MAX_NOISE) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.push((state >> 56) as u8);
        }
        if text { String::from_utf8_lossy(&bytes).into_owned().into_bytes() } else { bytes }
    }
}

impl Settings {
    /// A server with the engine's defaults, but a low threshold.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            role: Role::Server,
            takeover: true,
            level: 3,
            window_bits: 15,
            other_window_bits: 15,
            deflate_above: 16,
            fragment_above: SIZES[0],
            share_above: 4096,
            cut: 0,
        }
    }

    /// The settings for the engine, on both sides.
    #[must_use]
    pub fn config(&self) -> Config {
        let clamp = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        Config::new()
            .deflate_level(self.level)
            .deflate_above(clamp(self.deflate_above))
            .fragment_above(self.fragment_above)
            .share_above(clamp(self.share_above))
            .max_empty_fragments(u32::MAX)
            .max_queued(usize::MAX)
    }

    /// What the two ends agreed on, with this window.
    #[must_use]
    pub const fn deflate(&self, window_bits: u8) -> Deflate {
        let deflate = if self.takeover { Deflate::new() } else { Deflate::no_context_takeover() };
        match self.role {
            Role::Server => deflate.server_max_window_bits(window_bits),
            Role::Client => deflate.client_max_window_bits(window_bits),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let bits = u8::from(self.role == Role::Client) | u8::from(!self.takeover) << 1;
        out.extend([
            bits,
            (15 - self.window_bits) | (15 - self.other_window_bits) << 4,
            self.level,
            index(&SIZES, self.deflate_above) | index(&SIZES, self.fragment_above) << 4,
            index(&SIZES, self.share_above),
            self.cut,
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
        Ok(Self { settings, script: rest(bytes, Step::arbitrary)? })
    }
}

impl<'a> Arbitrary<'a> for Settings {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let [bits, windows, level, sizes, share, cut]: [u8; 6] = bytes.arbitrary()?;
        Ok(Self {
            role: if bits & 1 == 0 { Role::Server } else { Role::Client },
            takeover: bits & 2 == 0,
            level: level % 10,
            window_bits: 15 - (windows & 7),
            other_window_bits: 15 - (windows >> 4 & 7),
            deflate_above: low(&SIZES, sizes),
            fragment_above: high(&SIZES, sizes),
            share_above: low(&SIZES, share),
            cut,
        })
    }
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let first: u8 = bytes.arbitrary()?;
        let text = first & 8 != 0;
        Ok(match first & 7 {
            5 => Self::Compress(text),
            6 => Self::Forget,
            7 => Self::Ping,
            _ => {
                let [times, sizes]: [u8; 2] = bytes.arbitrary()?;
                let data = Data {
                    again: first & 16 != 0,
                    bytes: literal(bytes)?,
                    times,
                    noise: low(&LENGTHS, sizes),
                    fragment: high(&SIZES, sizes),
                };
                Self::Send { way: WAYS[usize::from(first >> 5) % WAYS.len()], text, data }
            }
        })
    }
}

impl Step {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Send { way, text, data } => {
                let first = u8::from(*text) << 3 | u8::from(data.again) << 4 | index(&WAYS, *way) << 5;
                out.extend([
                    first,
                    data.times,
                    index(&LENGTHS, data.noise) | index(&SIZES, data.fragment) << 4,
                ]);
                encode_literal(&data.bytes, out);
            }
            Self::Compress(on) => out.push(5 | u8::from(*on) << 3),
            Self::Forget => out.push(6),
            Self::Ping => out.push(7),
        }
    }
}

/// How long a message is made that the fuzzer does not write itself.
pub const MAX_NOISE: usize = 20_000;

const WAYS: [Way; 6] =
    [Way::Owned, Way::Borrowed, Way::Prepared, Way::PreparedAgain, Way::Fragments, Way::EmptyFragments];
