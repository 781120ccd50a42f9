//! The payload of the data message that comes in: put together, or lent in chunks; inflated on the way.

#![forbid(unsafe_code)]

use core::ops::Range;

use super::chunk::{Carry, Piece, Place, check_cut, invalid_utf8};
use super::config::{Config, Delivery};
use super::deflate::Inflater;
use super::error::ProtocolError;
use super::incoming::{Frame, Incoming};
use super::input::Input;
use super::message::{ChunkRef, Kind};
use super::utf8::{self, Gathered, Utf8Bytes, Utf8Error};

/// What came of a message, as far as it does not lie in the input.
pub(crate) struct Payload {
    gathered: Gathered,
    /// How much of it was lent out, and is over.
    lent: usize,
    carry: Carry,
    inflater: Inflater,
    /// The inflater filled its room: it may have more to give without more input.
    full: bool,
}

/// What lies in the bytes that came.
pub(crate) enum Found {
    /// Nothing yet.
    Nothing,
    /// The whole message, in [`Payload::as_bytes`].
    Whole(Kind),
    /// A piece of it.
    Chunk(Piece),
}

impl Payload {
    pub(crate) fn new(inflater: Inflater) -> Self {
        Self { gathered: Gathered::default(), lent: 0, carry: Carry::default(), inflater, full: false }
    }

    /// Begins a message.
    pub(crate) fn begin(&mut self) {
        self.inflater.begin();
    }

    /// Takes what is there of a frame. `frame` and `message` become `None` where they end.
    pub(crate) fn take_frame(
        &mut self,
        input: &mut Input,
        frame: &mut Option<Frame>,
        message: &mut Option<Incoming>,
        config: &Config,
    ) -> Result<Found, ProtocolError> {
        let (Some(now), Some(of)) = (frame.as_mut(), message.as_mut()) else { return Ok(Found::Nothing) };
        // Of the offset only the rest modulo 4 matters, which no cast loses.
        let (payload, new) = input.unmask(now.key, now.seen as usize, now.missing());
        now.seen += new as u64;
        let (found, ends) = match config.delivery {
            Delivery::Whole => self.gather(input, payload, *now, of, config)?,
            Delivery::Chunks if of.compressed => self.inflate_chunk(input, payload, *now, of, config)?,
            Delivery::Chunks => self.chunk(input, payload, *now, of)?,
        };
        if ends {
            *frame = None;
        }
        match &found {
            Found::Whole(_) | Found::Chunk(Piece { last: true, .. }) => *message = None,
            Found::Nothing | Found::Chunk(_) => {}
        }
        Ok(found)
    }

    /// The whole message that was [found](Found::Whole).
    pub(crate) fn lend(&mut self) -> &[u8] {
        self.lent = self.gathered.as_bytes().len();
        self.gathered.as_bytes()
    }

    /// The same as text.
    pub(crate) fn lend_text(&mut self) -> Result<&str, Utf8Error> {
        self.lent = self.gathered.as_bytes().len();
        self.gathered.as_text()
    }

    /// Takes the whole message that was [found](Found::Whole), without a copy unless it is small.
    pub(crate) fn take(&mut self, copy_below: usize) -> bytes::Bytes {
        self.gathered.take(copy_below)
    }

    /// The same as text.
    pub(crate) fn take_text(&mut self, copy_below: usize) -> Result<Utf8Bytes, Utf8Error> {
        self.gathered.take_text(copy_below)
    }

    /// Lends a chunk.
    pub(crate) fn lend_chunk<'a>(
        &'a mut self,
        piece: Piece,
        input: &'a Input,
    ) -> Result<ChunkRef<'a>, ProtocolError> {
        if let Place::Gathered { len, .. } = piece.place {
            self.lent = len;
        }
        piece.lend(input, self.gathered.as_bytes(), &self.carry)
    }

    /// Forgets what was lent; keeps at most `kept` bytes of memory that holds nothing.
    pub(crate) fn forget_lent(&mut self, kept: usize) {
        if self.lent > 0 {
            self.gathered.drop_front(core::mem::take(&mut self.lent), kept);
        }
    }

    /// Gives back memory that holds nothing.
    pub(crate) fn release(&mut self) {
        self.forget_lent(0);
        if self.gathered.as_bytes().is_empty() {
            self.gathered.clear(0);
        }
    }

    /// No more messages come: gives back all memory.
    pub(crate) fn stop(&mut self) {
        self.inflater.stop();
        self.lent = 0;
        self.gathered.clear(0);
    }

    /// Whether the peer may send compressed messages.
    pub(crate) const fn inflates(&self) -> bool {
        self.inflater.is_on()
    }

    /// How many bytes of the message wait for the rest of it.
    pub(crate) fn len(&self) -> usize {
        self.gathered.as_bytes().len()
    }

    /// Takes what is there of a frame into `gathered`.
    fn gather(
        &mut self,
        input: &mut Input,
        payload: Range<usize>,
        frame: Frame,
        message: &Incoming,
        config: &Config,
    ) -> Result<(Found, bool), ProtocolError> {
        let piece = input.at(payload);
        let len = piece.len();
        if message.compressed {
            self.inflate(piece, message.kind, config)?;
        } else {
            // The last frame tells the length of the message.
            let limit = if frame.fin { message.announced as usize } else { config.max_message };
            match message.kind {
                Kind::Text => self.gathered.feed_text(piece, limit)?,
                Kind::Binary => self.gathered.feed(piece, limit),
            }
        }
        input.consume(len);
        let ends = frame.is_done();
        if !(ends && frame.fin) {
            return Ok((Found::Nothing, ends));
        }
        if message.compressed {
            self.inflater.finish()?;
        }
        Ok((Found::Whole(message.kind), true))
    }

    /// Inflates all of `piece` into `gathered`.
    fn inflate(&mut self, mut piece: &[u8], kind: Kind, config: &Config) -> Result<(), ProtocolError> {
        let max = config.max_message;
        let inflater = &mut self.inflater;
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
        frame: Frame,
        message: &mut Incoming,
        config: &Config,
    ) -> Result<(Found, bool), ProtocolError> {
        let bytes = input.at(payload);
        let available = bytes.len();
        let mut taken = 0;
        if self.full || available > 0 {
            let room = if self.full { Config::MOST_INFLATED } else { room_for(available) };
            let inflater = &mut self.inflater;
            let (of_input, filled) =
                self.gathered.fill(room, usize::MAX, false, |room| inflater.inflate(bytes, room, config))?;
            (taken, self.full) = (of_input, filled == room);
        }
        input.consume(taken);
        let ends = frame.is_done() && taken == available && !self.full;
        let last = ends && frame.fin;
        let max = config.max_streamed;
        let left = max.saturating_sub(message.delivered);
        let result = if self.len() as u64 > left {
            Err(ProtocolError::StreamTooBig { max })
        } else {
            self.inflater.check().and_then(|()| if last { self.inflater.finish() } else { Ok(()) })
        };
        if let Err(error) = result {
            // The first error is that of the first byte, wherever the input is cut.
            if message.kind == Kind::Text {
                let end = usize::try_from(left).map_or(self.len(), |left| self.len().min(left));
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
        frame: Frame,
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
