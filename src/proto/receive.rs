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

use alloc::boxed::Box;
use core::fmt;
use core::ops::Range;

use bytes::BytesMut;

use super::answer::Answer;
use super::chunk::Piece;
use super::close::{self, CloseFrame, InputEnd};
use super::config::{Config, Role, Settings};
use super::deflate::Inflater;
use super::end::End;
use super::error::ProtocolError;
use super::frame::Header;
use super::incoming::Incoming;
use super::input::Input;
use super::mask;
use super::message::{Event, EventRef, Kind, Message, MessageRef};
use super::payload::Payload;
use super::pool;
use super::utf8::{self, Utf8Bytes, Utf8Error};

/// The receiving half of a connection: bytes in, events out.
///
/// What it owes the peer (a pong, a Close) it hands to the sending half by [`take_answer`](Self::take_answer);
/// a [`Connection`](super::Connection) does so by itself.
pub struct Receiver {
    pub(super) input: Input,
    pub(super) config: Settings,
    /// Who sends what comes in.
    pub(super) peer: Role,
    pub(super) end: End,
    pub(super) eof: bool,
    /// A frame with so much payload, or more, takes the long way.
    short_below: u32,
    /// Of a message under way, or lent out. Kept for the next one until [`release`](Self::release).
    pub(super) payload: Option<Box<Payload>>,
    /// `payload` is in use.
    pub(super) busy: bool,
    pub(super) inflater: Inflater,
    pub(super) answer: Option<Box<Answer>>,
}

/// Where the next event lies, so that it can be lent or taken.
pub(super) enum Step {
    Nothing,
    Whole(Whole),
    /// A message that lies in `payload`.
    Gathered(Kind),
    Ping(Range<usize>),
    Pong(Range<usize>),
    Close,
    Chunk(Piece),
}

/// A message that lies in `input` as a whole, under its masking key.
pub(super) struct Whole {
    pub(super) kind: Kind,
    pub(super) key: Option<[u8; 4]>,
    pub(super) range: Range<usize>,
}

impl Receiver {
    pub(crate) fn new(peer: Role, config: Settings, inflater: Inflater, input: BytesMut) -> Self {
        Self {
            input: Input::new(input, &config),
            peer,
            end: End::Open,
            eof: false,
            short_below: Incoming::short_below(&config),
            config,
            payload: None,
            busy: false,
            inflater,
            answer: None,
        }
    }

    /// See [`Connection::input`](super::Connection::input).
    pub fn input(&mut self) -> &mut BytesMut {
        if self.reads_tail() {
            return self.tail();
        }
        let more = self.vouched();
        self.input.buffer(more)
    }

    /// See [`Connection::large_input`](super::Connection::large_input).
    pub fn large_input(&mut self) -> &mut BytesMut {
        if self.reads_tail() {
            return self.tail();
        }
        let rest = self.vouched();
        self.input.buffer_ahead(rest)
    }

    /// What the frame under way lacks, as far as the bytes that came vouch for it: a header alone claims nothing.
    fn vouched(&self) -> usize {
        let vouched = |payload: &Payload| payload.missing().min(payload.len()).min(Config::MOST_READ);
        self.payload.as_deref().map_or(0, vouched)
    }

    /// Whether the rest of a large frame is read right behind what came of it.
    fn reads_tail(&self) -> bool {
        self.input.is_empty()
            && self.payload.as_deref().is_some_and(|payload| payload.wants_tail(&self.config))
    }

    fn tail(&mut self) -> &mut BytesMut {
        // The tail there was is part of what can be had.
        self.input.continue_in(BytesMut::new());
        self.input.continue_in(self.payload.get_or_insert_default().tail(&self.config))
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
    #[inline]
    pub fn next_event(&mut self) -> Result<Option<Event>, ProtocolError> {
        match self.whole() {
            Some(whole) => self.own(whole).map(|message| Some(Event::Message(message))),
            None if self.is_at_rest() => Ok(None),
            None => owned_by_parts(self.next_other()),
        }
    }

    /// See [`Connection::next_event_ref`](super::Connection::next_event_ref).
    ///
    /// # Errors
    /// The rule that the peer broke. Every later call gives the same error.
    #[must_use = "an event that is not looked at is lost"]
    #[inline]
    pub fn next_event_ref(&mut self) -> Result<Option<EventRef<'_>>, ProtocolError> {
        match self.whole() {
            Some(whole) => self.lend(whole).map(|message| Some(EventRef::Message(message))),
            None if self.is_at_rest() => Ok(None),
            None => by_parts(self.next_other_ref()),
        }
    }

    /// What is owed to the peer since the last call; the sending half's
    /// [`answer`](super::Sender::answer) takes it. A later one takes the place of an earlier one.
    pub fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take().map(|answer| *answer)
    }

    /// Gives back memory that holds nothing, or far less than its size.
    #[inline]
    pub fn release(&mut self) {
        self.input.release();
        if let Some(payload) = &mut self.payload {
            payload.release();
            self.busy = !payload.is_idle();
            if !self.busy {
                self.payload = None;
            }
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

    pub(crate) fn set_inflater(&mut self, inflater: Inflater) {
        self.inflater = inflater;
    }

    /// See [`Connection::unparsed`](super::Connection::unparsed).
    #[must_use]
    pub fn unparsed(&self) -> &[u8] {
        self.input.unparsed()
    }

    /// See [`Connection::wants_own_input`](super::Connection::wants_own_input).
    #[must_use]
    pub fn wants_own_input(&self) -> bool {
        let in_large = |payload: &Payload| payload.wants_tail(&self.config);
        self.input.expects_large() || self.payload.as_deref().is_some_and(in_large)
    }

    /// See [`Connection::lend_input`](super::Connection::lend_input).
    pub fn lend_input(&mut self, buffer: BytesMut) {
        self.input.borrow(buffer);
    }

    /// See [`Connection::reclaim_input`](super::Connection::reclaim_input).
    pub fn reclaim_input(&mut self) -> Option<BytesMut> {
        self.input.give_back()
    }

    pub(crate) const fn input_end(&self) -> InputEnd {
        self.end.kind()
    }

    /// The peer's Close, if it came.
    pub(crate) fn close_frame(&self) -> Option<Option<&CloseFrame>> {
        self.end.close_frame()
    }

    pub(crate) fn owed(&self) -> Option<&Answer> {
        self.answer.as_deref()
    }

    /// Fails the connection (RFC 6455 §7.1.7).
    pub(super) fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.end.fail(&mut self.answer, error)
    }

    /// Whether a payload of `len` bytes in `input` is shared rather than copied.
    pub(super) fn shares(&self, len: usize) -> bool {
        len >= self.config.copy_below as usize && self.input.can_share(len)
    }

    /// Whether there is nothing to look at: all that came is parsed, and gave what it can.
    #[inline(always)]
    fn is_at_rest(&self) -> bool {
        self.input.is_empty() && !self.busy && !self.eof && matches!(self.end, End::Open)
    }

    /// A short message that lies in `input`: nearly all do.
    #[inline(always)]
    fn whole(&mut self) -> Option<Whole> {
        self.whole_if(|_, _| true)
    }

    /// The same, if its length is one that `suits`.
    #[inline(always)]
    pub(super) fn whole_if(&mut self, suits: impl FnOnce(&Self, usize) -> bool) -> Option<Whole> {
        if self.busy || !matches!(self.end, End::Open) || self.input.is_lent() {
            return None;
        }
        let (kind, key, header, len) = Header::decode_whole(self.input.unparsed(), self.peer)?;
        let fits = len < self.short_below as usize && header + len <= self.input.len();
        (fits && suits(self, len)).then(|| Whole { kind, key, range: self.input.consume_frame(header, len) })
    }

    /// Any other event.
    #[inline(never)]
    fn next_other(&mut self) -> Result<Option<Event>, ProtocolError> {
        Ok(Some(match self.step()? {
            Step::Nothing => return Ok(None),
            Step::Whole(whole) => Event::Message(self.own(whole)?),
            Step::Gathered(kind) => {
                let copy_below = self.config.copy_below as usize;
                let payload = self.payload.get_or_insert_default();
                Event::Message(match kind {
                    Kind::Binary => Message::Binary(payload.take(copy_below)),
                    Kind::Text => match payload.take_text(copy_below) {
                        Ok(text) => Message::Text(text),
                        Err(error) => return Err(self.fail(error.into())),
                    },
                })
            }
            step => return Ok(self.lend_other(step)?.map(|event| event.to_event())),
        }))
    }

    /// The same, lent.
    #[inline(never)]
    fn next_other_ref(&mut self) -> Result<Option<EventRef<'_>>, ProtocolError> {
        match self.step()? {
            Step::Whole(whole) => Ok(Some(EventRef::Message(self.lend(whole)?))),
            step => self.lend_other(step),
        }
    }

    /// Lends a message that lies in `input`.
    #[inline(always)]
    fn lend(&mut self, whole: Whole) -> Result<MessageRef<'_>, ProtocolError> {
        let Whole { kind, key, range } = whole;
        let payload = self.input.at_mut(range);
        match kind {
            Kind::Binary => {
                if let Some(key) = key {
                    mask::apply(payload, key, 0);
                }
                Ok(MessageRef::Binary(payload))
            }
            Kind::Text => match text(payload, key) {
                Ok(text) => Ok(MessageRef::Text(text)),
                Err(error) => Err(self.end.fail(&mut self.answer, error.into())),
            },
        }
    }

    /// Takes a message that lies in `input`: a copy, or a share of it if it is large.
    #[inline(always)]
    fn own(&mut self, whole: Whole) -> Result<Message, ProtocolError> {
        let Whole { kind, key, range } = whole;
        if self.shares(range.len()) {
            return self.share(kind, key, range);
        }
        if range.len() >= pool::LARGE {
            return self.own_large(kind, key, range);
        }
        let payload = self.input.at(range);
        match kind {
            Kind::Binary => Ok(Message::Binary(pool::copy::<false>(payload, key).0.into())),
            Kind::Text => match Utf8Bytes::copy(payload, key) {
                Ok(text) => Ok(Message::Text(text)),
                Err(error) => Err(self.fail(error.into())),
            },
        }
    }

    #[inline(never)]
    fn own_large(
        &mut self,
        kind: Kind,
        key: Option<[u8; 4]>,
        at: Range<usize>,
    ) -> Result<Message, ProtocolError> {
        let payload = self.input.at(at);
        match kind {
            Kind::Binary => Ok(Message::Binary(pool::copy_large::<false>(payload, key).0)),
            Kind::Text => match Utf8Bytes::copy_large(payload, key) {
                Ok(text) => Ok(Message::Text(text)),
                Err(error) => Err(self.fail(error.into())),
            },
        }
    }

    fn share(
        &mut self,
        kind: Kind,
        key: Option<[u8; 4]>,
        at: Range<usize>,
    ) -> Result<Message, ProtocolError> {
        if let Some(key) = key {
            mask::apply(self.input.at_mut(at.clone()), key, 0);
        }
        let payload = self.input.split(at);
        match kind {
            Kind::Binary => Ok(Message::Binary(payload)),
            Kind::Text => match Utf8Bytes::try_from(payload) {
                Ok(text) => Ok(Message::Text(text)),
                Err(error) => Err(self.fail(error.into())),
            },
        }
    }

    #[inline(never)]
    fn lend_other(&mut self, step: Step) -> Result<Option<EventRef<'_>>, ProtocolError> {
        let Self { input, payload, end, answer, .. } = self;
        let message = match step {
            Step::Nothing | Step::Whole(..) => return Ok(None),
            Step::Gathered(kind) => {
                let payload = payload.get_or_insert_default();
                match kind {
                    Kind::Binary => MessageRef::Binary(payload.lend()),
                    Kind::Text => match payload.lend_text() {
                        Ok(text) => MessageRef::Text(text),
                        Err(error) => return Err(end.fail(answer, error.into())),
                    },
                }
            }
            Step::Ping(range) => MessageRef::Ping(input.at(range)),
            Step::Pong(range) => MessageRef::Pong(input.at(range)),
            Step::Close => MessageRef::Close(end.close_frame().flatten()),
            Step::Chunk(piece) => {
                return match payload.get_or_insert_default().lend_chunk(piece, input) {
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
            .finish_non_exhaustive()
    }
}

/// The same event, put together anew. What a call returned lies in memory; where the two ways meet, so would an event
/// of the short way, written in halves and read as a whole, which stalls the processor for 5 ns.
#[inline(always)]
fn by_parts<E>(event: Result<Option<EventRef<'_>>, E>) -> Result<Option<EventRef<'_>>, E> {
    let message = match event? {
        None => return Ok(None),
        Some(EventRef::Chunk(chunk)) => return Ok(Some(EventRef::Chunk(chunk))),
        Some(EventRef::Message(message)) => message,
    };
    Ok(Some(EventRef::Message(match message {
        MessageRef::Text(text) => MessageRef::Text(text),
        MessageRef::Binary(bytes) => MessageRef::Binary(bytes),
        MessageRef::Ping(payload) => MessageRef::Ping(payload),
        MessageRef::Pong(payload) => MessageRef::Pong(payload),
        MessageRef::Close(frame) => MessageRef::Close(frame),
    })))
}

#[inline(always)]
fn owned_by_parts<E>(event: Result<Option<Event>, E>) -> Result<Option<Event>, E> {
    match event? {
        None => Ok(None),
        Some(event) => Ok(Some(event.by_parts())),
    }
}

/// The payload of a text message, unmasked and checked.
#[inline(always)]
fn text(payload: &mut [u8], key: Option<[u8; 4]>) -> Result<&str, Utf8Error> {
    match key {
        Some(key) => utf8::unmask_text(payload, key),
        None => utf8::check(payload),
    }
}
