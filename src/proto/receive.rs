//! Bytes to events.
//!
//! | message                           | where it waits | what an event borrows | what an owned event costs  |
//! |-----------------------------------|----------------|-----------------------|----------------------------|
//! | whole in one frame and one read   | `input`        | `input`               | a copy, or a share         |
//! | in several reads or frames, whole | `payload`      | `payload`             | nothing, or a small copy   |
//! | in chunks                         | nowhere        | `input`               | a copy                     |
//! | compressed, whole                 | `payload`      | `payload`             | nothing, or a small copy   |
//! | compressed, in chunks             | nowhere        | `payload`             | a copy                     |

#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Range;

use bytes::{Bytes, BytesMut};

use super::answer::Answer;
use super::chunk::{Piece, invalid_utf8};
use super::close::{self, CloseCode, CloseFrame, InputEnd};
use super::config::{Config, Delivery, Role};
use super::deflate::Inflater;
use super::error::ProtocolError;
use super::frame::{Header, OpCode};
use super::incoming::{Frame, Incoming};
use super::input::Input;
use super::message::{Event, EventRef, Kind, Message, MessageRef};
use super::payload::{Found, Payload};
use super::utf8::{self, Utf8Bytes};

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
    payload: Payload,
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

/// Where the next event lies, so that it can be lent or taken.
enum Step {
    Nothing,
    /// A message that lies in `input` as a whole.
    Whole(Kind, Range<usize>),
    /// A message that lies in `payload`.
    Gathered(Kind),
    Ping(Range<usize>),
    Pong(Range<usize>),
    Close,
    Chunk(Piece),
}

impl Receiver {
    pub(crate) fn new(peer: Role, config: Config, inflater: Inflater, input: BytesMut) -> Self {
        Self {
            input: Input::new(input, &config),
            config,
            peer,
            end: End::Open,
            eof: false,
            frame: None,
            message: None,
            payload: Payload::new(inflater),
            answer: None,
        }
    }

    /// See [`Connection::input`](super::Connection::input).
    pub fn input(&mut self) -> &mut BytesMut {
        // What the frame lacks, as far as the bytes that came vouch for it: a header alone claims nothing.
        let missing = self.frame.map_or(0, |frame| frame.missing());
        self.input.buffer(missing.min(self.payload.len()))
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
            Step::Gathered(Kind::Binary) => {
                Event::Message(Message::Binary(self.payload.take(self.config.copy_below as usize)))
            }
            Step::Gathered(Kind::Text) => match self.payload.take_text(self.config.copy_below as usize) {
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
        self.payload.release();
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

    pub(crate) fn set_inflater(&mut self, inflater: Inflater) {
        self.payload = Payload::new(inflater);
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
                self.stop();
                return Ok(Step::Nothing);
            }
            End::Failed(error) => {
                self.stop();
                return Err(error);
            }
        }
        if self.input.is_lent() {
            return Ok(Step::Nothing);
        }
        self.payload.forget_lent(Config::MOST_READ);
        let step = match self.parse() {
            Ok(step) => step,
            Err(error) => {
                self.stop();
                return Err(self.fail(error));
            }
        };
        if self.eof && matches!(step, Step::Nothing) {
            self.end = End::Lost;
            self.answer = Some(Answer::Lost);
        }
        Ok(step)
    }

    /// Drops what comes from now on.
    fn stop(&mut self) {
        self.input.discard();
        self.payload.stop();
    }

    fn parse(&mut self) -> Result<Step, ProtocolError> {
        loop {
            if self.frame.is_some() {
                let Self { input, frame, message, payload, config, .. } = self;
                match payload.take_frame(input, frame, message, config)? {
                    // The frame held nothing to deliver: on to the next.
                    Found::Nothing if self.frame.is_none() => {}
                    Found::Nothing => return Ok(Step::Nothing),
                    Found::Whole(kind) => return Ok(Step::Gathered(kind)),
                    Found::Chunk(piece) => return Ok(Step::Chunk(piece)),
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
            let in_one = header.fin && message.fragments == 1 && !message.compressed;
            if in_one && self.config.delivery == Delivery::Whole {
                if let Some(len) = usize::try_from(header.len).ok().filter(|&len| len <= self.input.len()) {
                    return Ok(Step::Whole(message.kind, self.whole_payload(&header, len)));
                }
            }
            if header.rsv1 {
                self.payload.begin();
            }
            self.message = Some(message);
            self.frame = Some(Frame::new(&header));
        }
    }

    /// The header at `start`, if all of it is there, checked as far as it is there.
    fn header(&self) -> Result<Option<(Header, usize)>, ProtocolError> {
        let bytes = self.input.unparsed();
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (_, rsv1, opcode) = Header::decode_first(first)?;
        // RFC 6455 §5.2: RSV1 "MUST be 0 unless an extension is negotiated that defines meanings". RFC 7692
        // §6: that is for data messages, and §6.1 sets it "only on the first fragment".
        let begins = matches!(opcode, OpCode::Text | OpCode::Binary);
        if rsv1 && !(begins && self.payload.inflates()) {
            return Err(ProtocolError::ReservedBit(1));
        }
        let message = self.message.as_ref();
        if !opcode.is_control() {
            Incoming::check_order(message, opcode, &self.config)?;
        }
        let decoded = Header::decode(bytes, self.peer)?;
        if !opcode.is_control() {
            let len = decoded.map_or_else(|| Header::least_len(bytes), |(header, _)| header.len);
            Incoming::check_len(message, rsv1, len, &self.config)?;
        }
        Ok(decoded)
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
        let Self { input, payload, end, answer, .. } = self;
        let message = match step {
            Step::Nothing => return Ok(None),
            Step::Whole(Kind::Binary, range) => MessageRef::Binary(input.at(range)),
            Step::Whole(Kind::Text, range) => match utf8::check(input.at(range)) {
                Ok(text) => MessageRef::Text(text),
                Err(error) => return Err(end.fail(answer, error.into())),
            },
            Step::Gathered(Kind::Binary) => MessageRef::Binary(payload.lend()),
            Step::Gathered(Kind::Text) => match payload.lend_text() {
                Ok(text) => MessageRef::Text(text),
                Err(error) => return Err(end.fail(answer, error.into())),
            },
            Step::Ping(range) => MessageRef::Ping(input.at(range)),
            Step::Pong(range) => MessageRef::Pong(input.at(range)),
            Step::Close => match end {
                End::Close(frame) => MessageRef::Close(frame.as_ref()),
                End::Open | End::Failed(_) | End::Lost => MessageRef::Close(None),
            },
            Step::Chunk(piece) => {
                return match payload.lend_chunk(piece, input) {
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
