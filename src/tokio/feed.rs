//! Queueing without writing, and how what is queued is compressed.

#![forbid(unsafe_code)]

use super::websocket::WebSocket;
use crate::error::Error;
use crate::proto::{Kind, Message, Prepared, SendError, Sender};

impl<S> WebSocket<S> {
    /// Queues a message without writing it: [`flush`](Self::flush) writes, and so do the other methods.
    /// Never waits.
    ///
    /// # Errors
    /// [`Error::Send`] hands the message back: see [`SendErrorKind`](crate::proto::SendErrorKind).
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.queue(|sender| sender.send(message))
    }

    /// Queues a copy of a text. Never waits.
    ///
    /// # Errors
    /// [`Error::Send`].
    pub fn feed_text(&mut self, text: &str) -> Result<(), Error> {
        self.queue(|sender| sender.send_text(text))
    }

    /// Queues a copy of some bytes. Never waits.
    ///
    /// # Errors
    /// [`Error::Send`].
    pub fn feed_binary(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.queue(|sender| sender.send_binary(bytes))
    }

    /// Queues a message that was encoded once for many connections. Never waits.
    ///
    /// # Errors
    /// [`Error::Send`].
    pub fn feed_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        self.queue(|sender| sender.send_prepared(message))
    }

    /// Queues a piece of a message whose length need not be known: see
    /// [`Sender::send_fragment`](crate::proto::Sender::send_fragment). Never waits:
    /// [`flush`](Self::flush) between pieces keeps a long message from filling the queue.
    ///
    /// # Errors
    /// [`Error::Send`], and nothing was queued.
    pub fn feed_fragment(&mut self, kind: Kind, data: &[u8], last: bool) -> Result<(), Error> {
        self.queue(|sender| sender.send_fragment(kind, data, last))
    }

    fn queue(&self, queue: impl FnOnce(&mut Sender) -> Result<(), SendError>) -> Result<(), Error> {
        let mut line = self.line();
        queue(&mut line.sender)?;
        line.note_closing();
        self.shared.note_queued(line.sender.queued());
        Ok(())
    }

    /// Whether messages taken from now on are compressed, if permessage-deflate was agreed on: see
    /// [`Sender::compress`](crate::proto::Sender::compress).
    #[cfg(feature = "deflate")]
    pub fn compress(&mut self, on: bool) {
        self.line().sender.compress(on);
    }

    /// Gives back the memory that context takeover holds for the next message to send: see
    /// [`Sender::forget_context`](crate::proto::Sender::forget_context).
    #[cfg(feature = "deflate")]
    pub fn forget_context(&mut self) {
        self.line().sender.forget_context();
    }
}
