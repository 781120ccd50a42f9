//! Messages to bytes.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::fmt;

use bytes::{Buf, Bytes};

use super::answer::Answer;
use super::close::CloseFrame;
use super::config::{Config, Settings};
use super::deflate::Compressor;
use super::encode::{close_body, put_frame};
use super::error::{SendError, SendErrorKind};
use super::frame::{MAX_CONTROL_PAYLOAD, MAX_HEADER, OpCode};
use super::mask::MaskSource;
use super::message::{Kind, Message, MessageRef};
use super::output::Output;
use super::prepared::{Encoded, Prepared};
use super::queue::{Outgoing, Queue};
use super::utf8::Validator;

/// The sending half of a connection. Everything it takes is queued; [`output`](Self::output) holds
/// the bytes to write.
pub struct Sender {
    pub(super) queue: Queue,
    pub(super) config: Settings,
    /// A payload shorter than this goes out as a frame of its own, neither masked nor compressed.
    pub(super) whole_below: u32,
    pub(super) compressor: Compressor,
    /// The payload of the latest ping that is not answered yet.
    pong: Option<Box<Bytes>>,
    /// The message of which fragments were sent, but not the last.
    pub(super) message: Option<Box<Outgoing>>,
    /// No more data may be sent: our Close is queued, the peer's came, or the input ended.
    pub(super) closed: bool,
    /// Our Close is queued or written.
    close_sent: bool,
    /// The peer's Close came.
    pub(super) peer_closed: bool,
    /// The transport takes no more bytes.
    pub(super) output_lost: bool,
}

impl Sender {
    pub(crate) fn new(
        output: Output,
        config: Settings,
        compressor: Compressor,
        masks: Option<Box<dyn MaskSource>>,
    ) -> Self {
        let mut sender = Self {
            queue: Queue::new(output, masks),
            config,
            whole_below: 0,
            compressor,
            pong: None,
            message: None,
            closed: false,
            close_sent: false,
            peer_closed: false,
            output_lost: false,
        };
        sender.note_plain();
        sender
    }

    /// Queues a message. Large payloads are queued by reference, small ones are copied.
    /// A [`Message::Close`] starts, or answers, the closing handshake.
    ///
    /// # Errors
    /// [`SendError`] with the message in it, of which nothing was queued.
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        let short = match &message {
            Message::Text(text) => Some((Kind::Text, text.as_bytes())),
            Message::Binary(bytes) => Some((Kind::Binary, &bytes[..])),
            _ => None,
        };
        if short.is_some_and(|(kind, payload)| self.append_short(kind, payload)) {
            return Ok(());
        }
        self.send_other(message)
    }

    #[inline(never)]
    fn send_other(&mut self, message: Message) -> Result<(), SendError> {
        if let Some(kind) = self.refuses(&(&message).into()) {
            return Err(SendError::new(kind, Some(message)));
        }
        self.queue_message(message);
        Ok(())
    }

    pub(super) fn queue_message(&mut self, message: Message) {
        match message {
            Message::Text(text) => self.data_shared(OpCode::Text, text.into_bytes()),
            Message::Binary(bytes) => self.data_shared(OpCode::Binary, bytes),
            control => self.message(&(&control).into()),
        }
    }

    /// Queues a copy of a borrowed message, in no memory but the output's.
    ///
    /// # Errors
    /// [`SendError`], and nothing was queued.
    #[inline]
    pub fn send_ref(&mut self, message: MessageRef<'_>) -> Result<(), SendError> {
        match message.data() {
            Some((kind, payload)) if self.append_plain(kind, payload) => Ok(()),
            _ => self.send_other_ref(message),
        }
    }

    #[inline(never)]
    fn send_other_ref(&mut self, message: MessageRef<'_>) -> Result<(), SendError> {
        if let Some(kind) = self.refuses(&message) {
            return Err(SendError::new(kind, None));
        }
        self.message(&message);
        Ok(())
    }

    /// Queues a text message: [`send_ref`](Self::send_ref) of [`MessageRef::Text`].
    ///
    /// # Errors
    /// As [`send_ref`](Self::send_ref).
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.send_ref(MessageRef::Text(text))
    }

    /// Queues a binary message: [`send_ref`](Self::send_ref) of [`MessageRef::Binary`].
    ///
    /// # Errors
    /// As [`send_ref`](Self::send_ref).
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.send_ref(MessageRef::Binary(bytes))
    }

    /// Queues a ping with a payload of at most 125 bytes: [`send_ref`](Self::send_ref) of [`MessageRef::Ping`].
    ///
    /// # Errors
    /// As [`send_ref`](Self::send_ref).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.send_ref(MessageRef::Ping(payload))
    }

    /// Queues a piece of a message whose length need not be known. All pieces are of one kind; `last`
    /// ends the message. A piece of text may end inside a character, the whole may not.
    ///
    /// # Errors
    /// [`SendError`], and nothing was queued. After [`SendErrorKind::InvalidUtf8`] the message is still
    /// under way: end it with valid text, or close.
    pub fn send_fragment(&mut self, kind: Kind, data: &[u8], last: bool) -> Result<(), SendError> {
        let refused = |kind| Err(SendError::new(kind, None));
        if let Some(kind) = self.refuses_fragment() {
            return refused(kind);
        }
        let (opcode, mut message) = match &self.message {
            // RFC 6455 §5.4: fragments of one message are not interleaved with another's.
            Some(message) if message.kind != kind => return refused(SendErrorKind::MessageInProgress),
            Some(message) => (OpCode::Continuation, (**message).clone()),
            None => {
                let compressed = self.compressor.wants(None, &self.config);
                (kind.into(), Outgoing { kind, compressed, text: Validator::new() })
            }
        };
        let text = &mut message.text;
        if kind == Kind::Text && (text.feed(data).is_err() || (last && text.finish().is_err())) {
            return refused(SendErrorKind::InvalidUtf8);
        }
        if message.compressed {
            let compressed = self.compressor.piece(data, last);
            self.queue.frame(opcode, last, opcode != OpCode::Continuation, &compressed);
            Compressor::reuse(compressed);
        } else {
            self.queue.frame(opcode, last, false, data);
        }
        self.message = if last { None } else { Some(Box::new(message)) };
        Ok(())
    }

    /// Queues a message that was encoded once for many receivers.
    ///
    /// # Errors
    /// As [`send`](Self::send); the message handed back is `None`, the caller has it.
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError> {
        if let Some(kind) = self.refusal() {
            return Err(SendError::new(kind, None));
        }
        let encoded = self.encoding(prepared);
        if self.queue.masks() {
            self.queue.frame(encoded.opcode, true, encoded.rsv1, encoded.payload());
        } else {
            self.queue.output.append_encoded(&encoded.frame, self.config.share_above as usize);
        }
        Ok(())
    }

    /// Whether messages sent from now on are compressed, if permessage-deflate was agreed on; a message under
    /// way in fragments ends as it began. Not to compress hides what compression would tell: where an
    /// attacker chooses part of a message and sees the length of the whole, the rest can be guessed (RFC
    /// 7692 §8, RFC 3749 §6).
    #[cfg(feature = "deflate")]
    pub const fn compress(&mut self, on: bool) {
        self.compressor.want(on);
    }

    /// Gives back the memory that context takeover holds for the next message, which begins with an empty
    /// window then, as RFC 7692 lets a sender do at any time: for connections that have been idle for long.
    #[cfg(feature = "deflate")]
    pub fn forget_context(&mut self) {
        if self.message.is_none() {
            self.compressor.forget();
        }
    }

    /// Queues a Close behind all that was accepted, and refuses messages from now on. Later calls do nothing.
    pub fn close(&mut self, frame: Option<CloseFrame>) {
        self.close_with(frame.as_ref().map(|frame| (frame.code().get(), frame.reason().as_str())));
    }

    /// Does what the receiving half owes the peer: see [`Receiver::take_answer`](super::Receiver::take_answer).
    /// A pong with more than 125 bytes, which no ping asks for, is dropped.
    pub fn answer(&mut self, answer: Answer) {
        match answer {
            // RFC 6455 §5.5.3: a newer ping takes the place of one not answered yet.
            Answer::Pong(payload) => {
                let fits = payload.len() <= MAX_CONTROL_PAYLOAD;
                self.pong = Some(Box::new(payload)).filter(|_| fits && !self.output_lost);
            }
            // RFC 6455 §5.5.1: "When sending a Close frame in response, the endpoint typically echos the
            // status code it received."
            Answer::Close(frame) => {
                self.peer_closed();
                self.close_with(frame.map(|frame| (frame.code().get(), "")));
            }
            Answer::Closed => self.peer_closed(),
            Answer::Lost => self.refuse(),
            // RFC 6455 §7.1.7: to fail the connection, an endpoint "SHOULD send a Close frame with an
            // appropriate status code" first.
            Answer::Fail(error) => {
                self.close_with(Some((error.close_code().get(), error.reason())));
                self.refuse();
            }
        }
        self.place_pong();
    }

    /// The bytes to write.
    pub fn output(&mut self) -> &mut Output {
        self.place_pong();
        &mut self.queue.output
    }

    /// Notes that the transport takes no more bytes: drops those that wait, and refuses messages.
    pub fn output_lost(&mut self) {
        self.refuse();
        self.output_lost = true;
        // A Close that was dropped was not sent.
        self.close_sent &= !self.queue.output.has_close();
        let waiting = self.queue.output.remaining();
        self.queue.output.advance(waiting);
    }

    /// Gives back memory that holds nothing.
    #[inline]
    pub fn release(&mut self) {
        self.queue.output.release();
    }

    /// Whether bytes wait to be written.
    #[must_use]
    pub fn wants_output(&self) -> bool {
        !self.queue.output.is_empty() || self.pong.is_some()
    }

    /// Bytes that wait to be written: the measure of backpressure.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.output.len() + self.pong.as_ref().map_or(0, |payload| payload.len() + MAX_HEADER)
    }

    /// Whether messages are refused, since a Close was queued.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Why a data message would be refused now.
    #[must_use]
    pub fn refusal(&self) -> Option<SendErrorKind> {
        self.refuses_any().or_else(|| self.message.is_some().then_some(SendErrorKind::MessageInProgress))
    }

    /// Whether [`answer`](Self::answer) would queue bytes.
    pub(crate) const fn would_queue(&self, answer: &Answer) -> bool {
        match answer {
            Answer::Pong(_) => !self.output_lost,
            Answer::Close(_) | Answer::Fail(_) => !self.closed,
            Answer::Closed | Answer::Lost => false,
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn set_compressor(&mut self, compressor: Compressor) {
        self.compressor = compressor;
        self.note_plain();
    }

    /// Whether our Close is queued or written.
    pub(crate) const fn close_sent(&self) -> bool {
        self.close_sent
    }

    /// Whether our Close is queued, and not written.
    pub(crate) const fn close_waits(&self) -> bool {
        self.queue.output.has_close()
    }

    /// Refuses new messages, but takes the rest of one in fragments: the peer's Close came.
    /// RFC 6455 §5.5.2: a Ping is answered "unless it already received a Close frame".
    pub(crate) fn peer_closed(&mut self) {
        self.peer_closed = true;
        self.pong = None;
    }

    /// Refuses messages and pongs from now on: nobody listens any more.
    pub(crate) fn refuse(&mut self) {
        self.closed = true;
        self.pong = None;
        self.compressor.forget();
    }

    fn note_plain(&mut self) {
        self.whole_below = if self.queue.masks() { 0 } else { self.most_plain() as u32 + 1 };
    }

    /// The longest payload that goes out as a frame of its own, with a length of 16 bits, and is not compressed.
    pub(super) fn most_plain(&self) -> usize {
        let most = self.config.fragment_above.min(usize::from(u16::MAX));
        if self.compressor.is_on() { most.min(Compressor::most_plain(&self.config)) } else { most }
    }

    fn close_with(&mut self, body: Option<(u16, &str)>) {
        if !self.closed {
            let mut payload = [0; MAX_CONTROL_PAYLOAD];
            let payload = close_body(body, &mut payload);
            self.queue.frame(OpCode::Close, true, false, payload);
            self.queue.output.mark_close();
            (self.close_sent, self.closed) = (true, true);
            self.compressor.forget();
        }
    }

    pub(super) fn refuses(&self, message: &MessageRef<'_>) -> Option<SendErrorKind> {
        match message {
            MessageRef::Text(_) | MessageRef::Binary(_) => self.refusal(),
            MessageRef::Ping(payload) | MessageRef::Pong(payload) if payload.len() > MAX_CONTROL_PAYLOAD => {
                Some(SendErrorKind::ControlTooLong)
            }
            MessageRef::Ping(_) | MessageRef::Pong(_) => self.refuses_any(),
            MessageRef::Close(_) => None,
        }
    }

    fn refuses_any(&self) -> Option<SendErrorKind> {
        // RFC 6455 §6.1: "The endpoint MUST ensure the WebSocket connection is in the OPEN state"; a Close
        // that came, or that we sent, ends that (§7.1.3).
        if self.peer_closed { Some(SendErrorKind::Closed) } else { self.refuses_fragment() }
    }

    /// RFC 6455 §5.5.1: "if the majority of a fragmented message is already sent, an endpoint MAY send the
    /// remaining fragments before sending a Close frame".
    fn refuses_fragment(&self) -> Option<SendErrorKind> {
        // RFC 6455 §5.5.1: "The application MUST NOT send any more data frames after sending a Close frame."
        if self.closed || (self.peer_closed && self.message.is_none()) {
            Some(SendErrorKind::Closed)
        } else if self.queued() >= self.config.max_queued {
            Some(SendErrorKind::Full)
        } else {
            None
        }
    }

    /// Queues a message that nothing refuses.
    fn message(&mut self, message: &MessageRef<'_>) {
        match *message {
            MessageRef::Text(text) => self.data(OpCode::Text, text.as_bytes()),
            MessageRef::Binary(bytes) => self.data(OpCode::Binary, bytes),
            MessageRef::Ping(payload) => self.queue.frame(OpCode::Ping, true, false, payload),
            MessageRef::Pong(payload) => self.queue.frame(OpCode::Pong, true, false, payload),
            MessageRef::Close(frame) => self.close(frame.cloned()),
        }
    }

    #[inline]
    pub(super) fn data(&mut self, opcode: OpCode, payload: &[u8]) {
        if !(self.wants_deflate(payload) && self.data_deflated(opcode, payload)) {
            self.queue.frames_of(opcode, false, payload, &self.config);
        }
    }

    #[inline]
    fn data_shared(&mut self, opcode: OpCode, payload: Bytes) {
        if !(self.wants_deflate(&payload) && self.data_deflated(opcode, &payload)) {
            self.queue.frames(opcode, false, payload, &self.config);
        }
    }

    #[inline]
    pub(super) fn wants_deflate(&self, payload: &[u8]) -> bool {
        self.compressor.wants(Some(payload.len()), &self.config)
    }

    /// Queues a message compressed, by reference if it is large; or tells that this is not worth it.
    fn data_deflated(&mut self, opcode: OpCode, payload: &[u8]) -> bool {
        let Some(compressed) = self.compressor.message(payload) else { return false };
        if Compressor::may_share(&compressed, &self.config) {
            self.queue.frames(opcode, true, compressed.into(), &self.config);
        } else {
            self.queue.frames_of(opcode, true, &compressed, &self.config);
            Compressor::reuse(compressed);
        }
        true
    }

    /// The frame of a prepared message that suits this connection.
    #[cfg(feature = "deflate")]
    fn encoding<'a>(&mut self, prepared: &'a Prepared) -> &'a Encoded {
        let plain = prepared.plain();
        if !self.wants_deflate(plain.payload()) {
            return plain;
        }
        let deflated = self.compressor.settings().and_then(|settings| prepared.deflated(settings));
        if deflated.is_some() {
            // It shifts what lies in the peer's window, where ours would not have it.
            self.compressor.forget();
        }
        deflated.unwrap_or(plain)
    }

    #[cfg(not(feature = "deflate"))]
    const fn encoding<'a>(&mut self, prepared: &'a Prepared) -> &'a Encoded {
        prepared.plain()
    }

    /// Moves the waiting pong into the queue, if no earlier one is still there: RFC 6455 §5.5.3 lets an
    /// endpoint "send a Pong frame for only the most recently processed Ping frame", which bounds them to two.
    #[inline]
    fn place_pong(&mut self) {
        if self.pong.is_some() && !self.queue.output.has_pong() {
            self.insert_pong();
        }
    }

    #[inline(never)]
    fn insert_pong(&mut self) {
        if let Some(payload) = self.pong.take() {
            let header = self.queue.header(OpCode::Pong, true, false, payload.len());
            self.queue.output.insert_pong(|arena| put_frame(arena, &header, &payload));
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("role", &self.role())
            .field("queued", &self.queued())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
