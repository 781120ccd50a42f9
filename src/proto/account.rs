//! What a connection leaves undone and what it holds: for adapters, which have the clock and know of the others.

#![forbid(unsafe_code)]

use super::close::InputEnd;
use super::connection::Connection;
use super::error::ProtocolError;
#[cfg(feature = "tokio")]
use super::error::{SendError, SendErrorKind};
#[cfg(feature = "tokio")]
use super::message::Message;
use super::receive::Receiver;
use super::send::Sender;

impl Connection {
    /// Fails the connection (RFC 6455 §7.1.7) by a rule that the engine cannot check for want of a clock, or of
    /// knowledge of other connections: the peer gets a Close with the code of `error`, and every later call of
    /// [`next_event`](Self::next_event) gives `error`. After the peer's Close, or another failure, it does nothing.
    pub fn fail(&mut self, error: ProtocolError) {
        self.receiver.fail_by(error);
    }

    /// How many bytes came of a message, or of a frame, whose end has not come; `None` between messages. The
    /// bytes are those on the wire, headers excepted, and are to be looked at once
    /// [`next_event`](Self::next_event) has given all.
    #[must_use]
    pub fn unfinished(&self) -> Option<u64> {
        self.receiver.unfinished()
    }

    /// The bytes of memory that this connection alone holds beside its own size: the message that comes in, what
    /// waits to be written, and the windows of permessage-deflate. Payloads that were handed out, and what a
    /// thread keeps for all of its connections, are not among them.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.view().memory()
    }
}

impl Receiver {
    /// See [`Connection::fail`].
    pub fn fail_by(&mut self, error: ProtocolError) {
        if self.input_end() == InputEnd::Open {
            self.fail(error);
        }
    }

    /// See [`Connection::unfinished`].
    #[must_use]
    pub fn unfinished(&self) -> Option<u64> {
        if self.input_end() != InputEnd::Open {
            return None;
        }
        let message = self.payload.as_deref().and_then(|payload| payload.seen());
        let unparsed = self.input.len();
        (message.is_some() || unparsed > 0).then(|| message.unwrap_or(0) + unparsed as u64)
    }

    /// See [`Connection::memory`].
    #[must_use]
    pub fn memory(&self) -> usize {
        let payload = self.payload.as_deref().map_or(0, |payload| payload.memory());
        self.input.owned() + payload + self.inflater.memory()
    }
}

impl Sender {
    /// Queues a message for which there was room, whatever was queued since.
    #[cfg(feature = "tokio")]
    pub(crate) fn send_reserved(&mut self, message: Message) -> Result<(), SendError> {
        match self.refuses(&(&message).into()) {
            Some(kind) if kind != SendErrorKind::Full => Err(SendError::new(kind, Some(message))),
            _ => {
                self.queue_message(message);
                Ok(())
            }
        }
    }

    /// See [`Connection::memory`].
    #[must_use]
    pub fn memory(&self) -> usize {
        self.queue.output.memory() + self.compressor.memory()
    }
}
