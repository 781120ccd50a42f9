//! Bytes to events.
//!
//! | payload                           | where it waits | what an event borrows | what an owned event costs |
//! |-----------------------------------|----------------|-----------------------|---------------------------|
//! | whole in one frame and one read   | `input`        | `input`               | a copy, or a share        |
//! | in several reads or frames, whole | `gathered`     | `gathered`            | nothing                   |
//! | in chunks                         | nowhere        | `input`               | a copy                    |

#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Range;

use bytes::{Bytes, BytesMut};

use super::answer::Answer;
use super::chunk::{Carry, Piece, Place, check_cut, invalid_utf8};
use super::close::{self, CloseCode, CloseFrame, InputEnd};
use super::config::{Config, Delivery, Role};
use super::error::ProtocolError;
use super::frame::{Header, OpCode};
use super::incoming::Incoming;
use super::input::Input;
use super::message::{Event, EventRef, Kind, Message, MessageRef};
use super::utf8::{self, Gathered, Utf8Bytes};

/// The receiving half of a connection: bytes in, events out.
///
/// What it owes the peer (a pong, a Close) it hands to the sending half by [`take_answer`](Self::take_answer);
/// a [`Connection`](super::Connection) does so by itself.
pub struct Receiver {
    input: Input,
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
    carry: Carry,
    answer: Option<Answer>,
}

/// How the frames of the peer ended.
#[derive(Debug)]
enum End {
    Open,
    Close(Option<CloseFrame>),
    Failed(ProtocolError),
    /// The transport ended, and all that came was parsed.
    Lost,
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

impl Receiver {
    pub(crate) fn new(peer: Role, config: Config, input: BytesMut) -> Self {
        Self {
            input: Input::new(input, &config),
            config,
            peer,
            end: End::Open,
            eof: false,
            frame: None,
            message: None,
            gathered: Gathered::default(),
            delivered: false,
            carry: Carry::default(),
            answer: None,
        }
    }

    /// See [`Connection::input`](super::Connection::input).
    pub fn input(&mut self) -> &mut BytesMut {
        // What the frame lacks, as far as the bytes that came vouch for it: a header alone claims nothing.
        let missing = self.frame.map_or(0, |frame| frame.missing());
        self.input.buffer(missing.min(self.gathered.as_bytes().len()))
    }

    /// See [`Connection::feed`](super::Connection::feed).
    pub fn feed(&mut self, data: &[u8]) {
        self.input.feed(data);
    }

    /// See [`Connection::take_input`](super::Connection::take_input).
    pub fn take_input(&mut self) -> BytesMut {
        self.input.take()
    }

    /// See [`Connection::put_input`](super::Connection::put_input).
    pub fn put_input(&mut self, input: BytesMut) {
        self.input.put(input);
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
                let payload = self.input.split(range);
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
    /// [`answer`](super::Sender::answer) takes it. A later one takes the place of an earlier one.
    pub fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }

    /// Gives back memory that holds nothing.
    pub fn release(&mut self) {
        self.input.release();
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

    /// Whether, after a failure, to go on reading only to throw the bytes away: see
    /// [`Connection::wants_discard`](super::Connection::wants_discard).
    #[must_use]
    pub const fn wants_discard(&self) -> bool {
        matches!(self.end, End::Failed(_)) && !self.eof
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
            End::Lost => InputEnd::Lost,
        }
    }

    /// The peer's Close, if it came.
    pub(crate) const fn close_frame(&self) -> Option<&Option<CloseFrame>> {
        match &self.end {
            End::Close(frame) => Some(frame),
            End::Open | End::Failed(_) | End::Lost => None,
        }
    }

    pub(crate) const fn owed(&self) -> Option<&Answer> {
        self.answer.as_ref()
    }

    /// Fails the connection (RFC 6455 §7.1.7).
    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.end.fail(&mut self.answer, error)
    }

    /// Whether a payload of `len` bytes in `input` is shared rather than copied.
    fn shares(&self, len: usize) -> bool {
        len >= self.config.copy_below as usize && self.input.can_share(len)
    }

    fn step(&mut self) -> Result<Step, ProtocolError> {
        match self.end {
            End::Open => {}
            // RFC 6455 §1.4: after a Close, "the endpoint discards any further data received";
            // §7.1.7: after a failure, it "MUST NOT continue to attempt to process data".
            End::Close(_) | End::Lost => {
                self.input.discard();
                return Ok(Step::Nothing);
            }
            End::Failed(error) => {
                self.input.discard();
                return Err(error);
            }
        }
        if self.input.is_lent() {
            return Ok(Step::Nothing);
        }
        if self.delivered {
            self.gathered.clear(Config::MOST_READ);
            self.delivered = false;
        }
        let step = self.parse().map_err(|error| self.fail(error))?;
        if self.eof && matches!(step, Step::Nothing) {
            self.end = End::Lost;
            self.answer = Some(Answer::Lost);
        }
        Ok(step)
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
                if self.input.len() < length + len {
                    return Ok(Step::Nothing);
                }
                self.input.consume(length);
                let payload = self.whole_payload(&header, len);
                return self.control(header.opcode, payload);
            }
            self.input.consume(length);
            let message = Incoming::enter(self.message, &header, &self.config)?;
            if header.fin && message.fragments == 1 && self.config.delivery == Delivery::Whole {
                if let Some(len) = usize::try_from(header.len).ok().filter(|&len| len <= self.input.len()) {
                    return Ok(Step::Whole(message.kind, self.whole_payload(&header, len)));
                }
            }
            self.message = Some(message);
            self.frame = Some(Frame { fin: header.fin, key: header.key, len: header.len, seen: 0 });
        }
    }

    /// The header at `start`, if all of it is there, checked as far as it is there.
    fn header(&self) -> Result<Option<(Header, usize)>, ProtocolError> {
        let bytes = self.input.unparsed();
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (_, rsv1, opcode) = Header::decode_first(first)?;
        // RFC 6455 §5.2: RSV1 "MUST be 0 unless an extension is negotiated that defines meanings".
        if rsv1 {
            return Err(ProtocolError::ReservedBit(1));
        }
        let message = self.message.as_ref();
        if !opcode.is_control() {
            Incoming::check_order(message, opcode, &self.config)?;
        }
        let decoded = Header::decode(bytes, self.peer)?;
        if !opcode.is_control() {
            let len = decoded.map_or_else(|| Header::least_len(bytes), |(header, _)| header.len);
            Incoming::check_len(message, len, &self.config)?;
        }
        Ok(decoded)
    }

    /// Takes what is there of a frame into `gathered`.
    fn gather(&mut self, mut frame: Frame, message: Incoming) -> Result<Step, ProtocolError> {
        let payload = self.take_payload(&mut frame);
        let len = payload.len();
        let piece = self.input.at(payload);
        // The last frame tells the length of the message.
        let limit = if frame.fin { message.announced as usize } else { self.config.max_message };
        match message.kind {
            Kind::Text => self.gathered.feed_text(piece, limit)?,
            Kind::Binary => self.gathered.feed(piece, limit),
        }
        self.input.consume(len);
        if !frame.is_done() {
            self.frame = Some(frame);
            return Ok(Step::Nothing);
        }
        self.frame = None;
        if !frame.fin {
            return Ok(Step::Nothing);
        }
        self.message = None;
        Ok(Step::Gathered(message.kind))
    }

    /// Finds the next chunk in what is there of a frame. Text is cut between characters: one whose end
    /// has not come stays in `input`, or in `carry` if it goes on in the next frame.
    fn chunk(&mut self, mut frame: Frame, mut message: Incoming) -> Result<Step, ProtocolError> {
        let payload = self.take_payload(&mut frame);
        let bytes = self.input.at(payload.clone());
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
        self.input.consume(consumed);
        let ends = frame.is_done() && consumed == available;
        self.frame = if ends { None } else { Some(frame) };
        let last = ends && frame.fin;
        if len == 0 && !last {
            return Ok(Step::Nothing);
        }
        if last && len == 0 && !self.carry.is_empty() {
            return Err(invalid_utf8(message.delivered));
        }
        let piece =
            Piece { kind: message.kind, place, offset: message.delivered, first: !message.started, last };
        message.delivered += len as u64;
        message.started = true;
        self.message = if last { None } else { Some(message) };
        Ok(Step::Chunk(piece))
    }

    /// Unmasks what is there of a frame, and gives all of it that was not consumed.
    fn take_payload(&mut self, frame: &mut Frame) -> Range<usize> {
        // Of the offset only the rest modulo 4 matters, which no cast loses.
        let (payload, new) = self.input.unmask(frame.key, frame.seen as usize, frame.missing());
        frame.seen += new as u64;
        payload
    }

    /// Unmasks and consumes a payload that is there as a whole.
    fn whole_payload(&mut self, header: &Header, len: usize) -> Range<usize> {
        self.input.unmask(header.key, 0, len);
        self.input.consume(len)
    }

    fn control(&mut self, opcode: OpCode, payload: Range<usize>) -> Result<Step, ProtocolError> {
        match opcode {
            OpCode::Ping => {
                // RFC 6455 §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response".
                if self.config.auto_pong {
                    self.answer = Some(Answer::Pong(Bytes::copy_from_slice(self.input.at(payload.clone()))));
                }
                Ok(Step::Ping(payload))
            }
            OpCode::Close => {
                let frame = decode_close(self.input.at(payload))?;
                // RFC 6455 §5.5.1: "If an endpoint receives a Close frame and did not previously send a
                // Close frame, the endpoint MUST send a Close frame in response."
                self.answer =
                    Some(if self.config.auto_close { Answer::Close(frame.clone()) } else { Answer::Closed });
                self.end = End::Close(frame);
                Ok(Step::Close)
            }
            _ => Ok(Step::Pong(payload)),
        }
    }

    /// Lends the event that `step` found.
    fn lend(&mut self, step: Step) -> Result<Option<EventRef<'_>>, ProtocolError> {
        let Self { input, gathered, carry, end, answer, .. } = self;
        let message = match step {
            Step::Nothing => return Ok(None),
            Step::Whole(Kind::Binary, range) => MessageRef::Binary(input.at(range)),
            Step::Whole(Kind::Text, range) => match utf8::check(input.at(range)) {
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
            Step::Ping(range) => MessageRef::Ping(input.at(range)),
            Step::Pong(range) => MessageRef::Pong(input.at(range)),
            Step::Close => match end {
                End::Close(frame) => MessageRef::Close(frame.as_ref()),
                End::Open | End::Failed(_) | End::Lost => MessageRef::Close(None),
            },
            Step::Chunk(piece) => {
                return match piece.lend(input, carry) {
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
            .field("buffered", &self.input.len())
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

    /// How much of the payload has not come, as far as memory can hold it.
    fn missing(&self) -> usize {
        usize::try_from(self.len - self.seen).unwrap_or(usize::MAX)
    }
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
