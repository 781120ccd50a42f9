//! The two halves joined: one open connection.

#![forbid(unsafe_code)]

use alloc::boxed::Box;

use bytes::BytesMut;

use super::agreement::Agreement;
use super::close::{CloseFrame, CloseStatus, State};
use super::config::{Config, Role, Settings};
use super::deflate::{Compressor, Inflater};
use super::error::{ProtocolError, SendError, SendErrorKind};
use super::halves::ConnectionRef;
use super::mask::MaskSource;
use super::message::{Event, EventRef, Kind, Message, MessageRef};
use super::output::Output;
use super::prepared::Prepared;
use super::receive::Receiver;
use super::send::Sender;

/// One open connection: a [`Receiver`] and a [`Sender`] that answer each other.
///
/// The loop around it is the same in every runtime:
///
/// 1. write while [`wants_output`](Self::wants_output), from [`output`](Self::output);
/// 2. close the transport, or its sending side, once [`wants_shutdown`](Self::wants_shutdown);
/// 3. take events from [`next_event`](Self::next_event) until `Ok(None)` or an error;
/// 4. read into [`input`](Self::input) if [`wants_input`](Self::wants_input), and say
///    [`input_eof`](Self::input_eof) at the end of the transport.
///
/// After any call the connection is consistent; no order of calls is wrong. Write again after events and
/// after an error: pings, closes and failures queue their answers.
///
/// | situation                    | `state`           | `wants_input`          | `wants_shutdown` | `next_event`          |
/// |------------------------------|-------------------|------------------------|------------------|-----------------------|
/// | open                         | Open              | yes                    | no               | events                |
/// | we sent Close                | Closing           | yes                    | no               | events, then `Close`  |
/// | the peer's Close came        | Closing           | server no, client yes  | no               | `None`                |
/// | both, all written, server    | Closed            | no, but `wants_discard`| yes              | `None`                |
/// | both, all written, client    | Closed            | until the end          | at the end       | `None`                |
/// | protocol error               | Closing to Closed | no, but `wants_discard`| when written     | the same error        |
/// | the transport ended before   | Closing to Closed | no                     | when written     | what came, then `None`|
///
/// ```
/// use taut::proto::{Config, Connection, EventRef};
///
/// let mut server = Connection::server(Config::new());
/// // A masked text frame, as a client sends it.
/// server.feed(&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]);
/// let (receiver, sender) = server.halves();
/// while let Some(event) = receiver.next_event_ref()? {
///     if let EventRef::Message(message) = event {
///         sender.send_ref(message)?; // an echo, in no memory but the output's
///     }
/// }
/// assert_eq!(server.output().pop().unwrap(), &b"\x81\x02hi"[..]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    pub(super) receiver: Receiver,
    pub(super) sender: Sender,
    agreement: Agreement,
    role: Role,
}

impl Connection {
    /// The server's end of a connection whose handshake was done elsewhere.
    #[must_use]
    pub fn server(config: Config) -> Self {
        Self::from_handshake(config, None, Agreement::new(), BytesMut::new(), Output::new(Role::Server))
    }

    /// The client's end of a connection whose handshake was done elsewhere.
    #[must_use]
    pub fn client(config: Config, masks: impl MaskSource + 'static) -> Self {
        let masks: Box<dyn MaskSource> = Box::new(masks);
        Self::from_handshake(
            config,
            Some(masks),
            Agreement::new(),
            BytesMut::new(),
            Output::new(Role::Client),
        )
    }

    pub(crate) fn from_handshake(
        config: Config,
        masks: Option<Box<dyn MaskSource>>,
        agreement: Agreement,
        input: BytesMut,
        output: Output,
    ) -> Self {
        let role = if masks.is_some() { Role::Client } else { Role::Server };
        let (compressor, inflater) = both_ways(&agreement, role, &config);
        let config = Settings::from(config);
        Self {
            receiver: Receiver::new(role.peer(), config.clone(), inflater, input),
            sender: Sender::new(output, config, compressor, masks),
            agreement,
            role,
        }
    }

    /// With what a handshake done elsewhere settled: to be said before the first byte in or out. Bytes that came
    /// behind the handshake go to [`feed`](Self::feed).
    #[must_use]
    pub fn with_agreement(mut self, agreement: Agreement) -> Self {
        let (compressor, inflater) = both_ways(&agreement, self.role, self.sender.config());
        self.sender.set_compressor(compressor);
        self.receiver.set_inflater(inflater);
        self.agreement = agreement;
        self
    }

    /// Where the next read goes: append what was read, nothing else. It has spare room, which follows the
    /// traffic and never what a header claims.
    pub fn input(&mut self) -> &mut BytesMut {
        self.receiver.input()
    }

    /// Copies bytes in, for callers that read into memory of their own.
    pub fn feed(&mut self, data: &[u8]) {
        self.receiver.feed(data);
    }

    /// Takes the input buffer away, for I/O that owns its buffers; no state is lost. The bytes in it are
    /// not parsed yet: until [`put_input`](Self::put_input) brings them back there are no events.
    #[must_use = "the bytes in the buffer are part of the stream"]
    pub fn take_input(&mut self) -> BytesMut {
        self.receiver.take_input()
    }

    /// Brings an input buffer (back). Bytes that were fed meanwhile come behind those in it.
    pub fn put_input(&mut self, input: BytesMut) {
        self.receiver.put_input(input);
    }

    /// The bytes that came and are not parsed yet.
    #[must_use]
    pub fn unparsed(&self) -> &[u8] {
        self.receiver.unparsed()
    }

    /// Whether the next read belongs into [`large_input`](Self::large_input), since a large message goes on, or is
    /// expected: there it is put together without a copy. Else a buffer that many connections share, one after the
    /// other, does better: see [`lend_input`](Self::lend_input).
    #[must_use]
    pub fn wants_own_input(&self) -> bool {
        self.receiver.wants_own_input()
    }

    /// As [`input`](Self::input), with room for a frame as large as the one before, up to 2 MiB, or for up to three that
    /// are 64 KiB together, and not a byte more: owned messages from 16 KiB on are shares of it then. Who waits for bytes
    /// after that calls [`release`](Self::release), so that a connection that waits does not hold it.
    pub fn large_input(&mut self) -> &mut BytesMut {
        self.receiver.large_input()
    }

    /// Parses out of a buffer that is lent for one turn, say the one into which a thread reads for all of its
    /// connections. It holds what was [not parsed](Self::unparsed) before the read, and behind that what the read
    /// brought. Messages are lent out of it; owned ones are copies.
    pub fn lend_input(&mut self, buffer: BytesMut) {
        self.receiver.lend_input(buffer);
    }

    /// Gives the buffer of [`lend_input`](Self::lend_input) back, as large as it was; its contents are of no more
    /// use. What is not parsed moves to memory of its size, which the connection owns.
    pub fn reclaim_input(&mut self) -> Option<BytesMut> {
        self.receiver.reclaim_input()
    }

    /// Notes that the transport has no more bytes. Takes effect once all events that came were taken.
    pub fn input_eof(&mut self) {
        self.receiver.input_eof();
    }

    /// The next event, in memory of its own; `Ok(None)` if more bytes are needed, or none will come.
    ///
    /// Small payloads are copied, large ones share the input buffer where that is not much larger. Pings
    /// and Closes are answered already, see [`Config::auto_pong`] and [`Config::auto_close`].
    ///
    /// # Errors
    /// The rule that the peer broke. It is final: a Close with the error's code is queued, input is
    /// dropped, and every later call gives the same error.
    #[must_use = "an event that is not looked at is lost"]
    pub fn next_event(&mut self) -> Result<Option<Event>, ProtocolError> {
        let event = self.receiver.next_event();
        self.settle();
        event
    }

    /// The next event, lent from the connection's memory: no allocation, no copy, no reference count.
    /// To answer it in its own match arm, take it from [`halves`](Self::halves).
    ///
    /// # Errors
    /// As [`next_event`](Self::next_event).
    #[must_use = "an event that is not looked at is lost"]
    pub fn next_event_ref(&mut self) -> Result<Option<EventRef<'_>>, ProtocolError> {
        self.settle();
        self.receiver.next_event_ref()
    }

    /// Lends both halves, so that a borrowed event can be answered while it is looked at. Answers that the
    /// protocol demands are given by the connection, at the next call to it.
    pub fn halves(&mut self) -> (&mut Receiver, &mut Sender) {
        self.settle();
        (&mut self.receiver, &mut self.sender)
    }

    /// See [`Sender::send`].
    ///
    /// # Errors
    /// See [`Sender::send`].
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        self.settled().send(message)
    }

    /// See [`Sender::send_ref`].
    ///
    /// # Errors
    /// See [`Sender::send_ref`].
    pub fn send_ref(&mut self, message: MessageRef<'_>) -> Result<(), SendError> {
        self.settled().send_ref(message)
    }

    /// See [`Sender::send_ref_with`].
    ///
    /// # Errors
    /// See [`Sender::send_ref_with`].
    #[inline]
    pub fn send_ref_with(
        &mut self,
        message: MessageRef<'_>,
        write: impl FnOnce(&[u8], &[u8]) -> usize,
    ) -> Result<(), SendError> {
        self.settled().send_ref_with(message, write)
    }

    /// See [`Sender::send_text`].
    ///
    /// # Errors
    /// See [`Sender::send_text`].
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.settled().send_text(text)
    }

    /// See [`Sender::send_binary`].
    ///
    /// # Errors
    /// See [`Sender::send_binary`].
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.settled().send_binary(bytes)
    }

    /// See [`Sender::send_fragment`].
    ///
    /// # Errors
    /// See [`Sender::send_fragment`].
    pub fn send_fragment(&mut self, kind: Kind, data: &[u8], last: bool) -> Result<(), SendError> {
        self.settled().send_fragment(kind, data, last)
    }

    /// See [`Sender::send_prepared`].
    ///
    /// # Errors
    /// See [`Sender::send_prepared`].
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError> {
        self.settled().send_prepared(prepared)
    }

    /// See [`Sender::compress`].
    #[cfg(feature = "deflate")]
    pub const fn compress(&mut self, on: bool) {
        self.sender.compress(on);
    }

    /// See [`Sender::forget_context`].
    #[cfg(feature = "deflate")]
    pub fn forget_context(&mut self) {
        self.sender.forget_context();
    }

    /// See [`Sender::ping`].
    ///
    /// # Errors
    /// See [`Sender::ping`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.settled().ping(payload)
    }

    /// Starts the closing handshake, or answers the peer's (RFC 6455 §7.1.2). Later calls do nothing.
    pub fn close(&mut self, frame: Option<CloseFrame>) {
        self.settled().close(frame);
    }

    /// The bytes to write.
    pub fn output(&mut self) -> &mut Output {
        self.settled().output()
    }

    /// Notes that the transport takes no more bytes: drops those that wait, and refuses messages.
    pub fn output_lost(&mut self) {
        self.settled().output_lost();
    }

    /// Gives back memory that holds nothing: an idle connection that was released owns no heap.
    pub fn release(&mut self) {
        self.receiver.release();
        self.settled().release();
    }

    /// Takes the halves apart, for a reader and a writer that run by themselves. The reader must then pass
    /// [`Receiver::take_answer`] to [`Sender::answer`] after each event, and the two together decide what
    /// [`wants_shutdown`](Self::wants_shutdown) and [`close_status`](Self::close_status) tell here: a server
    /// closes the transport once both Closes are through, a client once the server has.
    #[must_use]
    pub fn into_split(self) -> (Receiver, Sender) {
        let (receiver, sender, _) = self.into_parts();
        (receiver, sender)
    }

    pub(crate) fn into_parts(mut self) -> (Receiver, Sender, Agreement) {
        self.settle();
        (self.receiver, self.sender, self.agreement)
    }

    /// Joins again what [`into_parts`](Self::into_parts) took apart.
    #[cfg(feature = "tokio")]
    pub(crate) fn from_parts(receiver: Receiver, sender: Sender, agreement: Agreement) -> Self {
        let role = sender.role();
        Self { receiver, sender, agreement, role }
    }

    /// Whether more bytes should be read.
    #[must_use]
    pub const fn wants_input(&self) -> bool {
        self.receiver.wants_input()
    }

    /// Whether bytes wait to be written.
    #[must_use]
    pub fn wants_output(&self) -> bool {
        self.view().wants_output()
    }

    /// Whether all is written and it is this end's turn to close the transport: a server after both Closes,
    /// a client once the server has closed (RFC 6455 §7.1.1), either after a failure.
    #[must_use]
    pub fn wants_shutdown(&self) -> bool {
        self.view().standing().wants_shutdown()
    }

    /// Whether to go on reading until the transport ends, or a deadline, only to throw the bytes away: after
    /// a failure, and after a server's shutdown (RFC 6455 §7.1.1). Closing a socket with unread bytes would
    /// reset it, and could destroy the Close on its way.
    #[must_use]
    pub fn wants_discard(&self) -> bool {
        self.view().standing().wants_discard()
    }

    /// How far the connection is from its end.
    #[must_use]
    pub fn state(&self) -> State {
        self.view().state()
    }

    /// How the connection ended, once that is known; clean only once our Close is written too.
    #[must_use]
    pub fn close_status(&self) -> Option<CloseStatus> {
        self.view().close_status()
    }

    /// Bytes that wait to be written: the measure of backpressure. An answer that is owed to the event taken
    /// last counts from the next call on.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.sender.queued()
    }

    /// See [`Sender::refusal`].
    #[must_use]
    pub fn refusal(&self) -> Option<SendErrorKind> {
        self.view().refusal()
    }

    /// Which end this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// What the handshake settled.
    #[must_use]
    pub const fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Both halves, to look at.
    #[must_use]
    pub const fn view(&self) -> ConnectionRef<'_> {
        ConnectionRef { receiver: &self.receiver, sender: &self.sender, agreement: &self.agreement }
    }

    /// The sender, after it has given the answers that the receiver owes.
    fn settled(&mut self) -> &mut Sender {
        self.settle();
        &mut self.sender
    }

    fn settle(&mut self) {
        if let Some(answer) = self.receiver.take_answer() {
            self.sender.answer(answer);
        }
    }
}

/// What compresses and what inflates under an agreement.
#[cfg(feature = "deflate")]
fn both_ways(agreement: &Agreement, role: Role, config: &Config) -> (Compressor, Inflater) {
    let deflate = agreement.deflate();
    (Compressor::new(deflate, role, config), Inflater::new(deflate, role.peer()))
}

#[cfg(not(feature = "deflate"))]
const fn both_ways(_: &Agreement, _: Role, _: &Config) -> (Compressor, Inflater) {
    (Compressor, Inflater)
}
