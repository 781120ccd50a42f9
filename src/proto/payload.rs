//! The payload of the data message that comes in: put together, or lent in chunks; inflated on the way.

#![forbid(unsafe_code)]

use core::ops::Range;

use bytes::{Bytes, BytesMut};

use super::chunk::{Carry, Piece, Place, check_cut, invalid_utf8};
use super::config::{Config, Delivery};
use super::deflate::Inflater;
use super::error::ProtocolError;
use super::frame::Header;
use super::incoming::{Frame, Incoming};
use super::input::Input;
use super::message::{ChunkRef, Kind};
use super::utf8::{self, Gathered, Utf8Bytes, Utf8Error};

/// The message that comes in, as far as it does not lie in the input as a whole.
#[derive(Default)]
pub(crate) struct Payload {
    /// The frame whose payload is coming in.
    frame: Option<Frame>,
    message: Option<Incoming>,
    body: Body,
}

/// The bytes of the message.
#[derive(Default)]
struct Body {
    gathered: Gathered,
    /// How much of it was lent out, and is over.
    lent: usize,
    carry: Carry,
    /// The inflater filled its room: it may have more to give without more input.
    full: bool,
}

/// What lies in the bytes that came.
pub(crate) enum Found {
    /// Nothing yet.
    Nothing,
    /// The whole message, in [`Payload::lend`].
    Whole(Kind),
    /// A piece of it.
    Chunk(Piece),
}

impl Payload {
    /// Begins a frame of a message.
    pub(crate) fn begin(&mut self, message: Incoming, header: &Header, inflater: &mut Inflater) {
        if header.rsv1 {
            inflater.begin();
        }
        self.message = Some(message);
        self.frame = Some(Frame::new(header));
    }

    /// The message of which a frame came, but not the end.
    pub(crate) const fn message(&self) -> Option<&Incoming> {
        self.message.as_ref()
    }

    /// Whether a frame is coming in.
    pub(crate) const fn is_in_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Whether nothing is under way, and nothing lent out.
    pub(crate) fn is_idle(&self) -> bool {
        self.message.is_none() && self.body.gathered.as_bytes().is_empty()
    }

    /// What the frame lacks.
    pub(crate) fn missing(&self) -> usize {
        self.frame.map_or(0, |frame| frame.missing())
    }

    /// How much came of the message under way, as it lies on the wire.
    pub(crate) fn seen(&self) -> Option<u64> {
        let missing = self.missing() as u64;
        self.message.as_ref().map(|message| message.announced.saturating_sub(missing))
    }

    /// The memory that it holds.
    pub(crate) const fn memory(&self) -> usize {
        self.body.gathered.size
    }

    /// Whether so much of the frame came, and lacks, that it is worth reading straight behind what came.
    pub(crate) fn wants_tail(&self, config: &Config) -> bool {
        let compressed = self.message.is_some_and(|message| message.compressed);
        let large = self.len().min(self.missing()) >= Config::LARGE_REST;
        large && !compressed && config.delivery == Delivery::Whole
    }

    /// Memory behind what came, for the rest of the frame: at most as much as came already.
    pub(crate) fn tail(&mut self, config: &Config) -> BytesMut {
        self.body.gathered.tail(self.missing(), Config::LARGE_REST, config.max_message)
    }

    /// Takes what is there of a frame. `frame` and `message` become `None` where they end.
    pub(crate) fn take_frame(
        &mut self,
        input: &mut Input,
        inflater: &mut Inflater,
        config: &Config,
    ) -> Result<Found, ProtocolError> {
        let (Some(frame), Some(message)) = (&mut self.frame, &mut self.message) else {
            return Ok(Found::Nothing);
        };
        // Of the offset only the rest modulo 4 matters, which no cast loses.
        let (payload, new) = input.unmask(frame.key, frame.seen as usize, frame.missing());
        frame.seen += new as u64;
        let body = &mut self.body;
        let (found, ends) = match config.delivery {
            Delivery::Whole => body.gather(input, payload, frame, message, inflater, config)?,
            Delivery::Chunks if message.compressed => {
                body.inflate_chunk(input, payload, frame, message, inflater, config)?
            }
            Delivery::Chunks => body.chunk(input, payload, frame, message)?,
        };
        if ends {
            input.note_frame(frame.size());
            self.frame = None;
        }
        match &found {
            Found::Whole(_) | Found::Chunk(Piece { last: true, .. }) => self.message = None,
            Found::Nothing | Found::Chunk(_) => {}
        }
        Ok(found)
    }

    /// The whole message that was [found](Found::Whole).
    pub(crate) fn lend(&mut self) -> &[u8] {
        self.body.lent = self.len();
        self.body.gathered.as_bytes()
    }

    /// The same as text.
    pub(crate) fn lend_text(&mut self) -> Result<&str, Utf8Error> {
        self.body.lent = self.len();
        self.body.gathered.as_text()
    }

    /// Takes the whole message that was [found](Found::Whole), without a copy unless it is small.
    pub(crate) fn take(&mut self, copy_below: usize) -> Bytes {
        self.body.gathered.take(copy_below)
    }

    /// The same as text.
    pub(crate) fn take_text(&mut self, copy_below: usize) -> Result<Utf8Bytes, Utf8Error> {
        self.body.gathered.take_text(copy_below)
    }

    /// Lends a chunk.
    pub(crate) fn lend_chunk<'a>(
        &'a mut self,
        piece: Piece,
        input: &'a Input,
    ) -> Result<ChunkRef<'a>, ProtocolError> {
        if let Place::Gathered { len, .. } = piece.place {
            self.body.lent = len;
        }
        piece.lend(input, self.body.gathered.as_bytes(), &self.body.carry)
    }

    /// Forgets what was lent; keeps at most `kept` bytes of memory that holds nothing.
    pub(crate) fn forget_lent(&mut self, kept: usize) {
        if self.body.lent > 0 {
            self.body.gathered.drop_front(core::mem::take(&mut self.body.lent), kept);
        }
    }

    /// Gives back memory that holds nothing, or far less than its size.
    pub(crate) fn release(&mut self) {
        self.forget_lent(0);
        if self.body.gathered.as_bytes().is_empty() {
            self.body.gathered.clear(0);
        } else {
            self.body.gathered.shrink();
        }
    }

    /// How many bytes of the message wait for the rest of it.
    pub(crate) fn len(&self) -> usize {
        self.body.gathered.as_bytes().len()
    }
}

impl Body {
    /// Takes what is there of a frame into `gathered`.
    fn gather(
        &mut self,
        input: &mut Input,
        payload: Range<usize>,
        frame: &Frame,
        message: &Incoming,
        inflater: &mut Inflater,
        config: &Config,
    ) -> Result<(Found, bool), ProtocolError> {
        let piece = input.at(payload);
        let (start, len) = (piece.as_ptr(), piece.len());
        let is_text = message.kind == Kind::Text;
        let gathered = &mut self.gathered;
        if message.compressed {
            self.inflate(piece, message.kind, inflater, config)?;
            input.consume(len);
        } else if input.can_split()
            && (gathered.ends_at(start) || (gathered.as_bytes().is_empty() && len >= Config::LARGE_REST))
        {
            let (piece, size) = input.split_front(len);
            gathered.adopt(piece, size, is_text)?;
        } else {
            // The last frame tells the length of the message.
            let limit = if frame.fin { message.announced as usize } else { config.max_message };
            gathered.feed(piece, is_text, limit)?;
            input.consume(len);
        }
        let ends = frame.is_done();
        if !(ends && frame.fin) {
            return Ok((Found::Nothing, ends));
        }
        if message.compressed {
            inflater.finish()?;
        }
        Ok((Found::Whole(message.kind), true))
    }

    /// Inflates all of `piece` into `gathered`.
    fn inflate(
        &mut self,
        mut piece: &[u8],
        kind: Kind,
        inflater: &mut Inflater,
        config: &Config,
    ) -> Result<(), ProtocolError> {
        let max = config.max_message;
        loop {
            let room = room_for(piece.len()).min(max - self.gathered.as_bytes().len());
            if room == 0 {
                // A message of just the limit has nothing to put here.
                let (_, beyond) = inflater.inflate(piece, &mut [0; 1], config)?;
                return if beyond == 0 {
                    inflater.check()
                } else {
                    Err(ProtocolError::MessageTooBig { max })
                };
            }
            let (taken, filled) = self
                .gathered
                .fill(room, max, kind == Kind::Text, |room| inflater.inflate(piece, room, config))?;
            inflater.check()?;
            piece = &piece[taken..];
            if filled < room {
                return Ok(());
            }
        }
    }

    /// Inflates the next chunk, within one block. Of text, a character whose end is not inflated yet stays.
    fn inflate_chunk(
        &mut self,
        input: &mut Input,
        payload: Range<usize>,
        frame: &Frame,
        message: &mut Incoming,
        inflater: &mut Inflater,
        config: &Config,
    ) -> Result<(Found, bool), ProtocolError> {
        let bytes = input.at(payload);
        let available = bytes.len();
        let mut taken = 0;
        if self.full || available > 0 {
            let room = if self.full { Config::MOST_INFLATED } else { room_for(available) };
            let (of_input, filled) =
                self.gathered.fill(room, usize::MAX, false, |room| inflater.inflate(bytes, room, config))?;
            (taken, self.full) = (of_input, filled == room);
        }
        input.consume(taken);
        let ends = frame.is_done() && taken == available && !self.full;
        let last = ends && frame.fin;
        let max = config.max_streamed;
        let left = max.saturating_sub(message.delivered);
        let result = if self.gathered.as_bytes().len() as u64 > left {
            Err(ProtocolError::StreamTooBig { max })
        } else {
            inflater.check().and_then(|()| if last { inflater.finish() } else { Ok(()) })
        };
        if let Err(error) = result {
            // The first error is that of the first byte, wherever the input is cut.
            if message.kind == Kind::Text {
                let end = usize::try_from(left)
                    .map_or(self.gathered.as_bytes().len(), |left| self.gathered.as_bytes().len().min(left));
                check_cut(&self.gathered.as_bytes()[..end], message.delivered)?;
            }
            return Err(error);
        }
        let bytes = self.gathered.as_bytes();
        let len = match message.kind {
            Kind::Binary => bytes.len(),
            Kind::Text => utf8::whole_characters(bytes),
        };
        if len == 0 && !last {
            check_cut(bytes, message.delivered)?;
            return Ok((Found::Nothing, ends));
        }
        let place = Place::Gathered { len, cut: bytes.len() - len };
        Ok((Found::Chunk(message.next_piece(place, len, last)), ends))
    }

    /// Finds the next chunk in what is there of a frame. Text is cut between characters: one whose end
    /// has not come stays in `input`, or in `carry` if it goes on in the next frame.
    fn chunk(
        &mut self,
        input: &mut Input,
        payload: Range<usize>,
        frame: &Frame,
        message: &mut Incoming,
    ) -> Result<(Found, bool), ProtocolError> {
        let bytes = input.at(payload.clone());
        let available = bytes.len();
        let (consumed, len, place) = match message.kind {
            Kind::Binary => (available, available, Place::Input { range: payload, cut: 0 }),
            Kind::Text if !self.carry.is_empty() => {
                let (consumed, len) = self.carry.go_on(bytes, message.delivered)?;
                (consumed, len, Place::Carried { len })
            }
            Kind::Text => {
                let len = utf8::whole_characters(bytes);
                let place = Place::Input { range: payload.start..payload.start + len, cut: available - len };
                if len == 0 {
                    check_cut(bytes, message.delivered)?;
                }
                if frame.is_done() {
                    self.carry.begin(&bytes[len..]);
                    (available, len, place)
                } else {
                    (len, len, place)
                }
            }
        };
        input.consume(consumed);
        let ends = frame.is_done() && consumed == available;
        let last = ends && frame.fin;
        if len == 0 && !last {
            return Ok((Found::Nothing, ends));
        }
        if last && len == 0 && !self.carry.is_empty() {
            return Err(invalid_utf8(message.delivered));
        }
        Ok((Found::Chunk(message.next_piece(place, len, last)), ends))
    }
}

/// How much room `len` compressed bytes get at first: JSON and text become up to five times as many, and zlib's fast
/// loop wants 260 bytes beyond.
fn room_for(len: usize) -> usize {
    len.saturating_mul(5).saturating_add(300).clamp(LEAST_INFLATED, Config::MOST_INFLATED)
}

/// The least that is inflated in one go.
const LEAST_INFLATED: usize = 512;
