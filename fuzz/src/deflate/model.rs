//! A receiver of compressed messages as RFC 7692 §7.2.2 describes it, over another inflater than the engine's:
//! miniz_oxide. It keeps all that was inflated since a stream began, and has no window to get wrong.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use taut::proto::{Delivery, Message, ProtocolError};

use super::input::{Frame, Settings};

/// What a receiver must make of some frames.
#[derive(Debug, Default)]
pub struct Expected {
    /// What is complete, up to the message that fails.
    pub messages: Vec<Message>,
    /// The message that is not complete: all that was inflated of it.
    pub partial: Vec<u8>,
    /// Why the connection fails, if it does: the error whose byte comes first; or another, if the message is
    /// [doomed](Self::doomed).
    pub broken: Vec<ProtocolError>,
    /// The message that fails is not DEFLATE as a whole. Inflaters differ in how early they find that: miniz_oxide
    /// sees at once that no code is defined for the lengths of codes, zlib that none is for the end of a
    /// block. Both guarantee that a message whose end comes is complete, or an error.
    pub doomed: bool,
    /// The end of the last message does not come.
    pub open: bool,
    /// How many messages were complete when one was above the highest ratio, be it for a while. That is looked
    /// at between two steps, so that it may be found or not.
    pub steep: Option<usize>,
}

/// The inflater of one direction.
pub struct Inflater {
    takeover: bool,
    oxide: Box<DecompressorOxide>,
    /// What was inflated since the stream began, as far as a distance reaches; and room behind it.
    history: Vec<u8>,
    filled: usize,
    /// The stream ended with BFINAL, and nothing came behind it.
    ended: bool,
}

/// What a receiver with these settings must make of frames that keep the rules of RFC 6455.
#[must_use]
pub fn receive(frames: &[Frame], settings: &Settings, delivery: Delivery) -> Expected {
    let mut expected = Expected::default();
    let mut inflater = Inflater::new(settings.takeover);
    let mut message = Incoming::default();
    for (number, frame) in frames.iter().enumerate() {
        if frame.ping {
            expected.messages.push(Message::Ping(frame.payload.clone().into()));
            continue;
        }
        if let Some((text, compressed)) = frame.begins {
            message = Incoming { text, compressed, ..Incoming::default() };
            if compressed {
                inflater.begin();
            }
        }
        message.frame(frame, &mut inflater, settings, delivery);
        if message.steep && expected.steep.is_none() {
            expected.steep = Some(expected.messages.len());
        }
        if !message.broken.is_empty() {
            let data = |frame: &&Frame| !frame.ping;
            let later: Vec<Frame> = frames[number + 1..].iter().filter(data).cloned().collect();
            let end = later.iter().position(Frame::ends).map_or(later.len(), |last| last + 1);
            let later = if frame.ends() { &[] } else { &later[..end] };
            expected.doomed = message.compressed && is_doomed(&frames[..=number], later, settings.takeover);
            if expected.doomed {
                message.rest(later, settings, delivery);
            }
            expected.open = !frame.ends() && !later.last().is_some_and(Frame::ends);
            expected.broken = message.broken;
            expected.partial = message.bytes;
            return expected;
        }
        if frame.ends() {
            let bytes = std::mem::take(&mut message.bytes);
            expected.messages.push(if message.text {
                Message::text(String::from_utf8(bytes).expect("the text was checked"))
            } else {
                Message::binary(bytes)
            });
        }
    }
    expected.open = frames.last().is_some_and(|frame| !frame.ends());
    expected.partial = message.bytes;
    expected
}

/// Whether the message that the last of `frames` belongs to, and those in `later` end, is not DEFLATE.
fn is_doomed(frames: &[Frame], later: &[Frame], takeover: bool) -> bool {
    let mut inflater = Inflater::new(takeover);
    let (mut compressed, mut intact, mut complete) = (false, true, false);
    for frame in frames.iter().chain(later).filter(|frame| !frame.ping) {
        if let Some((_, now)) = frame.begins {
            compressed = now;
            if compressed {
                inflater.begin();
            }
        }
        if compressed {
            intact = intact && inflater.feed(&frame.payload, &mut Vec::new(), usize::MAX);
            complete = intact && frame.ends() && inflater.finish();
        }
    }
    !complete
}

/// A message that is not complete.
#[derive(Default)]
struct Incoming {
    text: bool,
    compressed: bool,
    bytes: Vec<u8>,
    /// The payloads of its frames, as they came.
    wire: u64,
    frames: u64,
    broken: Vec<ProtocolError>,
    steep: bool,
}

impl Incoming {
    fn frame(&mut self, frame: &Frame, inflater: &mut Inflater, settings: &Settings, delivery: Delivery) {
        if let Some(error) = self.too_big(frame, settings, delivery) {
            return self.broken.push(error);
        }
        let (len, max) = (frame.payload.len() as u64, settings.max_message);
        self.frames += 1;
        let corrupt = if self.compressed {
            self.inflate(frame, inflater, settings) || (frame.ends() && !inflater.finish())
        } else {
            self.bytes.extend_from_slice(&frame.payload);
            self.wire += len;
            false
        };
        // Each with the place of the byte that proves it: the first is found, wherever the input is cut.
        let mut found = Vec::new();
        if self.bytes.len() > max {
            found.push((max, too_big(max, delivery)));
        }
        if self.text {
            found.extend(wrong_text(&self.bytes, frame.ends() && !corrupt));
        }
        if corrupt {
            found.push((self.bytes.len(), ProtocolError::Deflate));
        }
        found.sort_by_key(|&(place, _)| place);
        self.broken.extend(found.first().map(|&(_, error)| error));
        let ratio = settings.max_ratio;
        if self.broken.is_empty() && self.is_steep(self.wire, ratio) {
            self.broken.push(ProtocolError::RatioTooHigh { max: ratio });
        }
    }

    /// Adds what the headers of later frames tell, to which a receiver may come that finds late what is doomed.
    fn rest(&mut self, frames: &[Frame], settings: &Settings, delivery: Delivery) {
        for frame in frames {
            self.broken.extend(self.too_big(frame, settings, delivery));
            self.frames += 1;
            self.wire += frame.payload.len() as u64;
        }
    }

    /// What the header tells.
    fn too_big(&self, frame: &Frame, settings: &Settings, delivery: Delivery) -> Option<ProtocolError> {
        let (max, max_frame) = (settings.max_message, settings.max_frame);
        let len = frame.payload.len() as u64;
        // What a message becomes is not known yet, but one that becomes nothing has a limit, too: an eighth more
        // than the largest message, and a few bytes for each flush.
        let slack = if self.compressed { max as u64 / 8 + 64 * (self.frames + 1) } else { 0 };
        let left = (max as u64 + slack).saturating_sub(self.wire);
        // A frame may be as large as a message, so that a limit for it that is no smaller says nothing more.
        if delivery == Delivery::Whole && (max_frame as u64) < left && max_frame < max {
            (len > max_frame as u64).then_some(ProtocolError::FrameTooBig { max: max_frame })
        } else {
            (len > left).then_some(too_big(max, delivery))
        }
    }

    /// Inflates a frame, but no more than a block beyond the largest message. Whether it is corrupt.
    fn inflate(&mut self, frame: &Frame, inflater: &mut Inflater, settings: &Settings) -> bool {
        let most = settings.max_message + 2 * BLOCK;
        // Only a ratio asks which byte became how many.
        let step = if settings.max_ratio == u32::MAX { usize::MAX } else { 1 };
        let announced = self.wire + frame.payload.len() as u64;
        for bytes in frame.payload.chunks(step) {
            let intact = inflater.feed(bytes, &mut self.bytes, most);
            self.wire += bytes.len() as u64;
            // An inflater may have read two bytes more, or less, for what it gave.
            self.steep |= self.is_steep(self.wire.saturating_sub(2), settings.max_ratio);
            if !intact {
                self.wire = announced;
                return true;
            }
        }
        false
    }

    fn is_steep(&self, wire: u64, ratio: u32) -> bool {
        let most = wire.saturating_mul(ratio.into()).max(ANY_RATIO);
        self.compressed && ratio != u32::MAX && self.bytes.len() as u64 > most
    }
}

impl Inflater {
    /// An inflater that has seen nothing.
    #[must_use]
    pub fn new(takeover: bool) -> Self {
        Self { takeover, oxide: Box::default(), history: Vec::new(), filled: 0, ended: false }
    }

    /// Begins a message.
    pub fn begin(&mut self) {
        // Whether an empty message is complete does not depend on the one before.
        if !self.takeover || self.ended {
            self.reset();
        } else if self.filled > 2 * WINDOW {
            self.history.copy_within(self.filled - WINDOW..self.filled, 0);
            self.filled = WINDOW;
        }
    }

    /// Appends to `out` what these bytes become, until it has more than `most`. Whether they are DEFLATE.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>, most: usize) -> bool {
        while !bytes.is_empty() && out.len() <= most {
            // RFC 7692 §7.2.1: blocks with BFINAL may be followed by more; RFC 1951 §3.2.3: that bit ends a
            // stream. What follows is another, with an empty window.
            if self.ended {
                self.reset();
            }
            let (status, taken) = self.step(bytes, out, 0);
            bytes = &bytes[taken..];
            match status {
                TINFLStatus::NeedsMoreInput => assert_eq!(bytes, [], "more input, before all was taken"),
                TINFLStatus::Done => self.ended = true,
                _ => return false,
            }
        }
        true
    }

    /// Ends a message. Whether it was complete.
    pub fn finish(&mut self) -> bool {
        // RFC 7692 §7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload". They are
        // the end of a block, and nothing else; a message that ends with BFINAL can do without.
        let mut nothing = Vec::new();
        let whole = self.ended || {
            let (status, taken) =
                self.step(&[0, 0, 0xFF, 0xFF], &mut nothing, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY);
            self.ended = status == TINFLStatus::Done;
            taken == 4 && matches!(status, TINFLStatus::BlockBoundary | TINFLStatus::Done)
        };
        whole && nothing.is_empty()
    }

    /// Inflates until bytes are missing, or a stream or a block ends.
    fn step(&mut self, mut bytes: &[u8], out: &mut Vec<u8>, flags: u32) -> (TINFLStatus, usize) {
        let flags = flags | TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let len = bytes.len();
        loop {
            if self.history.len() < self.filled + WINDOW {
                self.history.resize(self.filled + 2 * WINDOW, 0);
            }
            let (status, taken, written) =
                decompress(&mut self.oxide, bytes, &mut self.history, self.filled, flags);
            out.extend_from_slice(&self.history[self.filled..][..written]);
            (bytes, self.filled) = (&bytes[taken..], self.filled + written);
            if status != TINFLStatus::HasMoreOutput {
                return (status, len - bytes.len());
            }
        }
    }

    fn reset(&mut self) {
        self.oxide.init();
        (self.filled, self.ended) = (0, false);
    }
}

const fn too_big(max: usize, delivery: Delivery) -> ProtocolError {
    match delivery {
        Delivery::Whole => ProtocolError::MessageTooBig { max },
        Delivery::Chunks => ProtocolError::StreamTooBig { max: max as u64 },
    }
}

/// Where text is wrong: the byte that proves it, and the error; the end, if it must be complete there.
fn wrong_text(bytes: &[u8], complete: bool) -> Option<(usize, ProtocolError)> {
    let offset = std::str::from_utf8(bytes).err()?.valid_up_to();
    let error = ProtocolError::InvalidUtf8 { offset: offset as u64 };
    let is_wrong = |end: &usize| {
        let begun = std::str::from_utf8(&bytes[offset..*end]);
        begun.is_err_and(|error| error.error_len().is_some())
    };
    match (offset + 1..=bytes.len()).find(is_wrong) {
        Some(end) => Some((end - 1, error)),
        None => complete.then_some((bytes.len(), error)),
    }
}

/// How much the engine inflates in one go, and holds beyond a limit.
pub const BLOCK: usize = 16 << 10;

/// How far back a distance reaches (RFC 1951 §2).
const WINDOW: usize = 32 << 10;

/// Up to this size a message may have any ratio.
const ANY_RATIO: u64 = 64 << 10;
