//! Bytes to events.
//!
//! ```text
//!   input: [ parsed | header | payload, unmasked where it lies | … ]
//!                   ^ start
//! ```
//!
//! | payload                           | where it waits | what an event borrows | what an owned event costs |
//! |-----------------------------------|----------------|-----------------------|---------------------------|
//! | whole in one frame and one read   | `input`        | `input`               | a copy, or a share        |
//! | in several reads or frames, whole | `gathered`     | `gathered`            | nothing                   |
//! | in chunks                         | nowhere        | `input`               | a copy                    |

#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use super::close::{self, CloseCode, CloseFrame, InputEnd};
use super::config::{Config, Delivery, Role};
use super::error::ProtocolError;
use super::frame::{Header, OpCode};
use super::mask;
use super::message::{ChunkDataRef, ChunkRef, Event, EventRef, Kind, Message, MessageRef};
use super::utf8::{self, Gathered, Utf8Bytes, Utf8Error, Validator};

/// The receiving half of a connection: bytes in, events out.
///
/// What it owes the peer (a pong, a Close) it hands to the sending half by [`take_answer`](Self::take_answer);
/// a [`Connection`](super::Connection) does so by itself.
pub struct Receiver {
    /// Bytes that are not parsed yet, from `start` on.
    input: BytesMut,
    start: usize,
    /// How many bytes from `start` on are unmasked already: the beginning of a character in a chunk.
    unmasked: usize,
    /// The room that the next read gets.
    room: usize,
    config: Config,
    /// Who sends what comes in.
    peer: Role,
    end: End,
    eof: bool,
    frame: Option<Frame>,
    message: Option<Incoming>,
    gathered: Gathered,
    /// Whether the gathered message was lent out.
    delivered: bool,
    /// A character in chunks whose bytes lie in two frames.
    carry: Carry,
    /// Such a character, once it is whole and lent out.
    carried: [u8; 4],
    answer: Option<Answer>,
}

/// What the receiving half owes the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 §5.5.1, §5.5.2 and §7.1.7 demand these three")]
pub enum Answer {
    /// A pong with this payload (RFC 6455 §5.5.3).
    Pong(Bytes),
    /// A Close that echoes the code of this one (RFC 6455 §5.5.1).
    Close(Option<CloseFrame>),
    /// A Close that says what was wrong (RFC 6455 §7.1.7).
    Fail(ProtocolError),
}

/// How the frames of the peer ended.
#[derive(Debug)]
enum End {
    Open,
    Close(Option<CloseFrame>),
    Failed(ProtocolError),
}

/// The data frame whose payload is coming in.
#[derive(Clone, Copy, Debug)]
struct Frame {
    fin: bool,
    key: Option<[u8; 4]>,
    len: u64,
    /// How much of it was unmasked.
    seen: u64,
}

/// The message whose frames are coming in.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    kind: Kind,
    /// The lengths of its frames so far, the one that is coming in included.
    announced: u64,
    fragments: u32,
    empty_fragments: u32,
    /// In chunks: the bytes before the chunk that is next.
    delivered: u64,
    /// In chunks: whether a chunk was delivered.
    started: bool,
}

/// Where the next event lies, so that it can be lent or taken.
enum Step {
    Nothing,
    /// A message that lies in `input` as a whole.
    Whole(Kind, Range<usize>),
    /// A message that lies in `gathered`.
    Gathered(Kind),
    Ping(Range<usize>),
    Pong(Range<usize>),
    Close,
    Chunk(Piece),
}

struct Piece {
    kind: Kind,
    place: Place,
    /// The bytes of the message before it.
    offset: u64,
    first: bool,
    last: bool,
}

enum Place {
    /// In `input`; for text, so many bytes behind it begin a character.
    Input { range: Range<usize>, cut: usize },
    /// In `carried`.
    Carried { len: usize },
}

impl Receiver {
    pub(crate) fn new(peer: Role, config: Config, input: BytesMut) -> Self {
        Self {
            input,
            start: 0,
            unmasked: 0,
            room: config.read_size as usize,
            config,
            peer,
            end: End::Open,
            eof: false,
            frame: None,
            message: None,
            gathered: Gathered::default(),
            delivered: false,
            carry: Carry::default(),
            carried: [0; 4],
            answer: None,
        }
    }

    /// See [`Connection::input`](super::Connection::input).
    pub fn input(&mut self) -> &mut BytesMut {
        self.discard_parsed();
        // What the frame lacks, within what a read should have, grows with the bytes that came and not
        // with what a header claims.
        let missing = self.frame.map_or(0, |frame| frame.len - frame.seen);
        let missing = usize::try_from(missing).unwrap_or(usize::MAX).min(self.gathered.as_bytes().len());
        let room = self.room.max(missing).min(Config::MOST_READ.max(self.room));
        if self.input.capacity() - self.input.len() < room {
            self.input.reserve(room);
        }
        &mut self.input
    }

    /// See [`Connection::feed`](super::Connection::feed).
    pub fn feed(&mut self, data: &[u8]) {
        self.discard_parsed();
        self.input.extend_from_slice(data);
    }

    /// See [`Connection::take_input`](super::Connection::take_input).
    pub fn take_input(&mut self) -> BytesMut {
        self.discard_parsed();
        core::mem::take(&mut self.input)
    }

    /// See [`Connection::put_input`](super::Connection::put_input).
    pub fn put_input(&mut self, mut input: BytesMut) {
        self.discard_parsed();
        input.extend_from_slice(&self.input);
        self.input = input;
    }

    /// See [`Connection::input_eof`](super::Connection::input_eof).
    pub fn input_eof(&mut self) {
        self.eof = true;
    }

    /// See [`Connection::next_event`](super::Connection::next_event).
    ///
    /// # Errors
    /// The rule that the peer broke. Every later call gives the same error.
    #[must_use = "an event that is not looked at is lost"]
    pub fn next_event(&mut self) -> Result<Option<Event>, ProtocolError> {
        Ok(Some(match self.step()? {
            Step::Nothing => return Ok(None),
            Step::Whole(kind, range) if self.shares(range.len()) => {
                // `start` is the end of `range`.
                let mut payload = self.input.split_to(range.end);
                self.start = 0;
                payload.advance(range.start);
                let payload = payload.freeze();
                Event::Message(match kind {
                    Kind::Binary => Message::Binary(payload),
                    Kind::Text => match Utf8Bytes::try_from(payload) {
                        Ok(text) => Message::Text(text),
                        Err(error) => return Err(self.fail(error.into())),
                    },
                })
            }
            Step::Gathered(Kind::Binary) => Event::Message(Message::Binary(self.gathered.take())),
            Step::Gathered(Kind::Text) => match self.gathered.take_text() {
                Ok(text) => Event::Message(Message::Text(text)),
                Err(error) => return Err(self.fail(error.into())),
            },
            step => return Ok(self.lend(step)?.map(|event| event.to_event())),
        }))
    }

    /// See [`Connection::next_event_ref`](super::Connection::next_event_ref).
    ///
    /// # Errors
    /// The rule that the peer broke. Every later call gives the same error.
    #[must_use = "an event that is not looked at is lost"]
    pub fn next_event_ref(&mut self) -> Result<Option<EventRef<'_>>, ProtocolError> {
        let step = self.step()?;
        self.lend(step)
    }

    /// What is owed to the peer since the last call; the sending half's
    /// [`answer`](super::Sender::answer) takes it. A later ping takes the place of an earlier one.
    pub fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }

    /// Gives back memory that holds nothing.
    pub fn release(&mut self) {
        self.discard_parsed();
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.room = self.config.read_size as usize;
        }
        if self.delivered || self.message.is_none() {
            self.gathered.clear(0);
            self.delivered = false;
        }
    }

    /// Whether more bytes can lead to more events, or (for a client after the closing handshake) to the
    /// end of the transport.
    #[must_use]
    pub const fn wants_input(&self) -> bool {
        close::wants_input(self.peer.peer(), self.input_end(), self.eof)
    }

    /// Whether the transport ended.
    #[must_use]
    pub const fn is_eof(&self) -> bool {
        self.eof
    }

    pub(crate) const fn input_end(&self) -> InputEnd {
        match self.end {
            End::Open => InputEnd::Open,
            End::Close(_) => InputEnd::Close,
            End::Failed(_) => InputEnd::Failed,
        }
    }

    /// The peer's Close, if it came.
    pub(crate) const fn close_frame(&self) -> Option<&Option<CloseFrame>> {
        match &self.end {
            End::Close(frame) => Some(frame),
            End::Open | End::Failed(_) => None,
        }
    }

    pub(crate) const fn owes(&self) -> bool {
        self.answer.is_some()
    }

    pub(crate) const fn owes_close(&self) -> bool {
        matches!(self.answer, Some(Answer::Close(_) | Answer::Fail(_)))
    }

    /// Fails the connection (RFC 6455 §7.1.7).
    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.end.fail(&mut self.answer, error)
    }

    fn discard_parsed(&mut self) {
        if self.start < self.input.len() {
            self.input.advance(self.start);
        } else if self.input.capacity() > Config::MOST_READ {
            // A `BytesMut` remembers its size: only a new one is small again.
            self.input = BytesMut::new();
        } else {
            self.adapt_room();
            self.input.clear();
        }
        self.start = 0;
    }

    /// Follows the traffic: twice the room when reads fill it, half when they leave most of it.
    fn adapt_room(&mut self) {
        let read = self.input.len();
        if read >= self.room && self.room < Config::MOST_READ {
            self.room *= 2;
        } else if read > 0 && read < self.room / 4 && self.room > self.config.read_size as usize {
            self.room /= 2;
        }
    }

    /// Whether a payload of `len` bytes in `input` is shared rather than copied.
    fn shares(&self, len: usize) -> bool {
        let buffer = self.room.max(self.input.capacity());
        len >= self.config.copy_below as usize && len.saturating_mul(Config::MOST_PINNED) >= buffer
    }

    fn step(&mut self) -> Result<Step, ProtocolError> {
        match self.end {
            End::Open => {}
            // RFC 6455 §1.4: after a Close, "the endpoint discards any further data received";
            // §7.1.7: after a failure, it "MUST NOT continue to attempt to process data".
            End::Close(_) => {
                self.start = self.input.len();
                return Ok(Step::Nothing);
            }
            End::Failed(error) => {
                self.start = self.input.len();
                return Err(error);
            }
        }
        if self.delivered {
            self.gathered.clear(Config::MOST_READ);
            self.delivered = false;
        }
        self.parse().map_err(|error| self.fail(error))
    }

    fn parse(&mut self) -> Result<Step, ProtocolError> {
        loop {
            if let (Some(frame), Some(message)) = (self.frame, self.message) {
                let step = match self.config.delivery {
                    Delivery::Whole => self.gather(frame, message)?,
                    Delivery::Chunks => self.chunk(frame, message)?,
                };
                match step {
                    // The frame held nothing to deliver: on to the next.
                    Step::Nothing if self.frame.is_none() => {}
                    step => return Ok(step),
                }
            }
            let Some((header, length)) = self.header()? else { return Ok(Step::Nothing) };
            if header.opcode.is_control() {
                // At most 125 bytes: waiting for all of them costs nothing.
                let len = header.len as usize;
                let payload = self.start + length..self.start + length + len;
                if self.input.len() < payload.end {
                    return Ok(Step::Nothing);
                }
                self.start = payload.end;
                self.unmask(payload.clone(), header.key, 0);
                return self.control(header.opcode, payload);
            }
            self.start += length;
            let message = self.enter(&header)?;
            if header.fin && message.fragments == 1 && self.config.delivery == Delivery::Whole {
                // Within `max_frame`, or the sum would be over `usize::MAX`, which no input reaches.
                let end = usize::try_from(header.len).ok().and_then(|len| self.start.checked_add(len));
                if let Some(end) = end.filter(|&end| end <= self.input.len()) {
                    let payload = self.start..end;
                    self.start = end;
                    self.unmask(payload.clone(), header.key, 0);
                    return Ok(Step::Whole(message.kind, payload));
                }
            }
            self.message = Some(message);
            self.frame = Some(Frame { fin: header.fin, key: header.key, len: header.len, seen: 0 });
        }
    }

    /// The header at `start`, if all of it is there, checked as far as it is there.
    fn header(&self) -> Result<Option<(Header, usize)>, ProtocolError> {
        let bytes = &self.input[self.start..];
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (_, rsv1, opcode) = Header::decode_first(first)?;
        // RFC 6455 §5.2: RSV1 "MUST be 0 unless an extension is negotiated that defines meanings".
        if rsv1 {
            return Err(ProtocolError::ReservedBit(1));
        }
        if !opcode.is_control() {
            match (opcode, &self.message) {
                // RFC 6455 §5.4: a message is one frame that begins it, then continuations.
                (OpCode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
                (OpCode::Text | OpCode::Binary, Some(_)) => return Err(ProtocolError::ExpectedContinuation),
                (_, Some(message)) if message.fragments >= self.config.max_fragments => {
                    return Err(ProtocolError::TooManyFragments { max: self.config.max_fragments });
                }
                _ => {}
            }
        }
        let decoded = Header::decode(bytes, self.peer)?;
        if !opcode.is_control() {
            self.check_len(decoded.map_or_else(|| Header::least_len(bytes), |(header, _)| header.len))?;
        }
        Ok(decoded)
    }

    /// RFC 6455 §10.4: limits on "the total message size after reassembly" and on the frame, before a
    /// byte of the payload is taken.
    fn check_len(&self, len: u64) -> Result<(), ProtocolError> {
        let before = self.message.map_or(0, |message| message.announced);
        if self.config.delivery == Delivery::Chunks {
            let max = self.config.max_streamed;
            return if len > max.saturating_sub(before) {
                Err(ProtocolError::StreamTooBig { max })
            } else {
                Ok(())
            };
        }
        let (max_message, max_frame) = (self.config.max_message, self.config.max_frame);
        let left = (max_message as u64).saturating_sub(before);
        // The tighter limit gives the error, so that a length cut short fails as the whole one would.
        if left <= max_frame as u64 {
            if len > left {
                return Err(ProtocolError::MessageTooBig { max: max_message });
            }
        } else if len > max_frame as u64 {
            return Err(ProtocolError::FrameTooBig { max: max_frame });
        }
        Ok(())
    }

    /// Counts a data frame into its message.
    fn enter(&self, header: &Header) -> Result<Incoming, ProtocolError> {
        let kind = if header.opcode == OpCode::Text { Kind::Text } else { Kind::Binary };
        let mut message = self.message.unwrap_or(Incoming {
            kind,
            announced: 0,
            fragments: 0,
            empty_fragments: 0,
            delivered: 0,
            started: false,
        });
        // Checked against the limit, or without one: 2^64 bytes never come.
        message.announced = message.announced.saturating_add(header.len);
        message.fragments = message.fragments.saturating_add(1);
        if header.len == 0 && !header.fin {
            message.empty_fragments = message.empty_fragments.saturating_add(1);
            if message.empty_fragments > self.config.max_empty_fragments {
                return Err(ProtocolError::TooManyEmptyFragments { max: self.config.max_empty_fragments });
            }
        }
        Ok(message)
    }

    /// Takes what is there of a frame into `gathered`.
    fn gather(&mut self, mut frame: Frame, message: Incoming) -> Result<Step, ProtocolError> {
        let payload = self.take_payload(&mut frame);
        let (start, end) = (payload.start, payload.end);
        let piece = &self.input[payload];
        // The last frame tells the length of the message.
        let limit = if frame.fin { message.announced as usize } else { self.config.max_message };
        match message.kind {
            Kind::Text => self.gathered.feed_text(piece, limit)?,
            Kind::Binary => self.gathered.feed(piece, limit),
        }
        if !self.leave(frame, end - start) || !frame.fin {
            return Ok(Step::Nothing);
        }
        self.message = None;
        Ok(Step::Gathered(message.kind))
    }

    /// Finds the next chunk in what is there of a frame. Text is cut between characters: one whose end
    /// has not come stays in `input`, or in `carry` if it goes on in the next frame.
    fn chunk(&mut self, mut frame: Frame, mut message: Incoming) -> Result<Step, ProtocolError> {
        let payload = self.take_payload(&mut frame);
        let bytes = &self.input[payload.clone()];
        let (consumed, place) = match message.kind {
            Kind::Binary => (bytes.len(), Place::Input { range: payload, cut: 0 }),
            Kind::Text if self.carry.len > 0 => {
                let consumed = self.carry.fill(bytes).map_err(|()| invalid_utf8(message.delivered))?;
                (consumed, Place::Carried { len: self.carry.take(&mut self.carried) })
            }
            Kind::Text => {
                let whole = utf8::whole_characters(bytes);
                let range = payload.start..payload.start + whole;
                let cut = bytes.len() - whole;
                if whole == 0 {
                    check_cut(bytes, message.delivered)?;
                }
                if frame.is_done() {
                    self.carry.set(&bytes[whole..]);
                    (bytes.len(), Place::Input { range, cut })
                } else {
                    (whole, Place::Input { range, cut })
                }
            }
        };
        let last = self.leave(frame, consumed) && frame.fin;
        let (len, cut) = match &place {
            Place::Input { range, cut } => (range.len(), *cut),
            Place::Carried { len } => (*len, 0),
        };
        if last && len == 0 && (cut > 0 || self.carry.len > 0) {
            return Err(invalid_utf8(message.delivered));
        }
        let piece =
            Piece { kind: message.kind, place, offset: message.delivered, first: !message.started, last };
        if len == 0 && !last {
            return Ok(Step::Nothing);
        }
        message.delivered += len as u64;
        message.started = true;
        self.message = if last { None } else { Some(message) };
        Ok(Step::Chunk(piece))
    }

    /// Unmasks what is there of a frame, and gives all of it that was not consumed.
    fn take_payload(&mut self, frame: &mut Frame) -> Range<usize> {
        // Bytes that were lent out may not have come back.
        let from = (self.start + self.unmasked).min(self.input.len());
        let left = usize::try_from(frame.len - frame.seen).unwrap_or(usize::MAX);
        let end = from + left.min(self.input.len() - from);
        // Only the offset modulo 4 matters.
        self.unmask(from..end, frame.key, frame.seen as usize);
        frame.seen += (end - from) as u64;
        self.unmasked = end - self.start;
        self.start..end
    }

    /// Consumes bytes of the payload; tells whether the frame ends with them.
    fn leave(&mut self, frame: Frame, consumed: usize) -> bool {
        self.start += consumed;
        self.unmasked -= consumed;
        let ends = frame.is_done() && self.unmasked == 0;
        self.frame = if ends { None } else { Some(frame) };
        ends
    }

    fn unmask(&mut self, range: Range<usize>, key: Option<[u8; 4]>, offset: usize) {
        // RFC 6455 §6.2: "the server MUST remove masking for data frames received from a client".
        if let Some(key) = key {
            mask::apply(&mut self.input[range], key, offset);
        }
    }

    fn control(&mut self, opcode: OpCode, payload: Range<usize>) -> Result<Step, ProtocolError> {
        match opcode {
            OpCode::Ping => {
                // RFC 6455 §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response".
                if self.config.auto_pong {
                    self.answer = Some(Answer::Pong(Bytes::copy_from_slice(&self.input[payload.clone()])));
                }
                Ok(Step::Ping(payload))
            }
            OpCode::Close => {
                let frame = decode_close(&self.input[payload])?;
                // RFC 6455 §5.5.1: "If an endpoint receives a Close frame and did not previously send a
                // Close frame, the endpoint MUST send a Close frame in response."
                if self.config.auto_close {
                    self.answer = Some(Answer::Close(frame.clone()));
                }
                self.end = End::Close(frame);
                Ok(Step::Close)
            }
            _ => Ok(Step::Pong(payload)),
        }
    }

    /// Lends the event that `step` found.
    fn lend(&mut self, step: Step) -> Result<Option<EventRef<'_>>, ProtocolError> {
        let Self { input, gathered, carried, end, answer, .. } = self;
        let message = match step {
            Step::Nothing => return Ok(None),
            Step::Whole(Kind::Binary, range) => MessageRef::Binary(&input[range]),
            Step::Whole(Kind::Text, range) => match utf8::check(&input[range]) {
                Ok(text) => MessageRef::Text(text),
                Err(error) => return Err(end.fail(answer, error.into())),
            },
            Step::Gathered(kind) => {
                self.delivered = true;
                match kind {
                    Kind::Binary => MessageRef::Binary(gathered.as_bytes()),
                    Kind::Text => match gathered.as_text() {
                        Ok(text) => MessageRef::Text(text),
                        Err(error) => return Err(end.fail(answer, error.into())),
                    },
                }
            }
            Step::Ping(range) => MessageRef::Ping(&input[range]),
            Step::Pong(range) => MessageRef::Pong(&input[range]),
            Step::Close => match end {
                End::Close(frame) => MessageRef::Close(frame.as_ref()),
                End::Open | End::Failed(_) => MessageRef::Close(None),
            },
            Step::Chunk(piece) => {
                return match piece.lend(input, carried) {
                    Ok(chunk) => Ok(Some(EventRef::Chunk(chunk))),
                    Err(error) => Err(end.fail(answer, error)),
                };
            }
        };
        Ok(Some(EventRef::Message(message)))
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads stay out of logs.
        f.debug_struct("Receiver")
            .field("peer", &self.peer)
            .field("end", &self.input_end())
            .field("eof", &self.eof)
            .field("buffered", &(self.input.len() - self.start))
            .field("frame", &self.frame)
            .finish_non_exhaustive()
    }
}

impl End {
    /// Fails the connection, and owes the peer a Close that says so.
    fn fail(&mut self, answer: &mut Option<Answer>, error: ProtocolError) -> ProtocolError {
        *self = Self::Failed(error);
        *answer = Some(Answer::Fail(error));
        error
    }
}

impl Frame {
    const fn is_done(&self) -> bool {
        self.seen == self.len
    }
}

impl Piece {
    fn lend<'a>(self, input: &'a [u8], carried: &'a [u8; 4]) -> Result<ChunkRef<'a>, ProtocolError> {
        let (bytes, cut) = match self.place {
            Place::Input { range, cut } => (&input[range.clone()], &input[range.end..range.end + cut]),
            Place::Carried { len } => (&carried[..len], &[][..]),
        };
        let data = match self.kind {
            Kind::Binary => ChunkDataRef::Binary(bytes),
            Kind::Text => {
                let text = utf8::check(bytes).map_err(|error| invalid_utf8(self.offset + error.offset))?;
                let end = self.offset + text.len() as u64;
                check_cut(cut, end)?;
                if self.last && !cut.is_empty() {
                    return Err(invalid_utf8(end));
                }
                ChunkDataRef::Text(text)
            }
        };
        Ok(ChunkRef { data, first: self.first, last: self.last })
    }
}

/// The beginning of a character, and then all of it.
#[derive(Debug, Default)]
struct Carry {
    bytes: [u8; 4],
    len: usize,
    whole: bool,
}

impl Carry {
    fn set(&mut self, bytes: &[u8]) {
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.len = bytes.len();
    }

    /// Adds bytes until the character is whole; gives how many it took.
    fn fill(&mut self, bytes: &[u8]) -> Result<usize, ()> {
        for (taken, &byte) in bytes.iter().enumerate() {
            self.bytes[self.len] = byte;
            self.len += 1;
            match core::str::from_utf8(&self.bytes[..self.len]) {
                Ok(_) => {
                    self.whole = true;
                    return Ok(taken + 1);
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(()),
            }
        }
        Ok(bytes.len())
    }

    /// Moves the character to `out` if it is whole; gives its length, or zero.
    fn take(&mut self, out: &mut [u8; 4]) -> usize {
        if !self.whole {
            return 0;
        }
        *out = self.bytes;
        self.whole = false;
        core::mem::take(&mut self.len)
    }
}

impl From<Utf8Error> for ProtocolError {
    fn from(error: Utf8Error) -> Self {
        invalid_utf8(error.offset)
    }
}

const fn invalid_utf8(offset: u64) -> ProtocolError {
    ProtocolError::InvalidUtf8 { offset }
}

/// Whether `bytes` can begin a character that ends later.
fn check_cut(bytes: &[u8], offset: u64) -> Result<(), ProtocolError> {
    Validator::new().feed(bytes).map_err(|_| invalid_utf8(offset))
}

/// RFC 6455 §5.5.1: the body of a Close is empty, or begins with a code of two bytes; the rest is a
/// reason in UTF-8.
fn decode_close(payload: &[u8]) -> Result<Option<CloseFrame>, ProtocolError> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(ProtocolError::ClosePayload),
        [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), reason),
    };
    let code = CloseCode::new(code).ok_or(ProtocolError::CloseCode(code))?;
    let reason = utf8::check(reason).map_err(|error| invalid_utf8(error.offset + 2))?;
    // The payload of a control frame is short enough for the reason to fit.
    Ok(CloseFrame::new(code, reason).ok())
}
