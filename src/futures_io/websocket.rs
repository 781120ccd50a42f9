//! A connection over any byte stream of `futures-io`.

#![forbid(unsafe_code)]

use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;

use ::futures_io::{AsyncRead, AsyncWrite};

use super::driver::{Driver, Stage};
use super::time::Time;
use super::wakers::Side;
use crate::error::Error;
use crate::options::Options;
use crate::proto::{
    CloseCode, CloseFrame, CloseStatus, Connection, Event, Kind, Message, MessageRef, Prepared,
};

/// A WebSocket over a byte stream.
///
/// **Cancel safety.** Every future here may be dropped at any time. [`recv`](Self::recv) loses nothing.
/// [`send`](Self::send) takes the message when it is first polled, or hands it back; what it took is written by the next
/// call that writes, whatever becomes of its future.
///
/// **One write for many messages.** [`feed`](Self::feed) queues without writing, and [`recv`](Self::recv) writes all that
/// is queued before it waits: the answers to one read leave together.
///
/// **Nothing to remember.** While [`recv`](Self::recv) is polled, pongs and the answer to a Close leave by themselves, also
/// when the peer does not read and the write has to wait.
///
/// **Deadlines.** Those of [`Options`], all of them, by the [`Time`] that was given. Once either end closes, or the
/// connection fails, the rest may take [`Options::close_timeout`].
///
/// **Two tasks.** The halves that `StreamExt::split` of futures makes may be in different tasks.
///
/// **Memory.** A thread reads for all of its sockets into one buffer. A socket that waits holds nothing but what came of a
/// message that is not whole, and what its peer does not take.
#[derive(Debug)]
pub struct WebSocket<S>(pub(super) Driver<S>);

impl<S> WebSocket<S> {
    /// Joins a stream and a connection whose opening handshake is done; of the options only the deadlines and rates
    /// count.
    #[must_use]
    pub fn new(stream: S, connection: Connection, time: Time, options: &Options) -> Self {
        Self(Driver::new(stream, connection, time, options))
    }

    /// The stream.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.0.stream
    }

    /// The engine: what was agreed on, the state, how many bytes wait.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// The stream and the engine, with all that is buffered.
    #[must_use]
    pub fn into_parts(self) -> (S, Connection) {
        (self.0.stream, self.0.connection)
    }

    /// The subprotocol in use, if one was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.connection.agreement().subprotocol()
    }

    /// How the connection ended, once the peer's Close came, or cannot come any more.
    #[must_use]
    pub fn close_status(&self) -> Option<CloseStatus> {
        self.0.connection.close_status()
    }

    /// How long a message takes to the peer and back, smoothed over the pings of [`Options::ping_interval`], once one was
    /// answered.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.0.patience.round_trip()
    }

    /// Whether [`recv`](Self::recv) has nothing more to give.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.0.stage == Stage::Ended
    }

    /// Queues a message without writing it.
    ///
    /// # Errors
    /// [`Error::Send`] hands the message back: while too much waits, [`flush`](Self::flush) makes room.
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        Ok(self.0.connection.send(message)?)
    }

    /// Queues a copy of a text.
    ///
    /// # Errors
    /// [`Error::Send`].
    pub fn feed_text(&mut self, text: &str) -> Result<(), Error> {
        Ok(self.0.connection.send_text(text)?)
    }

    /// Queues a copy of some bytes.
    ///
    /// # Errors
    /// [`Error::Send`].
    pub fn feed_binary(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.0.connection.send_binary(bytes)?)
    }

    /// Queues a piece of a message whose length need not be known: see
    /// [`Sender::send_fragment`](crate::proto::Sender::send_fragment).
    ///
    /// # Errors
    /// [`Error::Send`], and nothing was queued.
    pub fn feed_fragment(&mut self, kind: Kind, data: &[u8], last: bool) -> Result<(), Error> {
        Ok(self.0.connection.send_fragment(kind, data, last)?)
    }

    /// Queues a message that was encoded once for many connections.
    ///
    /// # Errors
    /// [`Error::Send`].
    pub fn feed_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        Ok(self.0.connection.send_prepared(message)?)
    }

    /// Whether messages taken from here on are compressed, if permessage-deflate was agreed on: see
    /// [`Sender::compress`](crate::proto::Sender::compress).
    #[cfg(feature = "deflate")]
    pub const fn compress(&mut self, on: bool) {
        self.0.connection.compress(on);
    }

    /// Gives back the memory that context takeover holds for the next message to send: see
    /// [`Sender::forget_context`](crate::proto::Sender::forget_context).
    #[cfg(feature = "deflate")]
    pub fn forget_context(&mut self) {
        self.0.connection.forget_context();
    }

    /// Queues a Close behind all that was taken, and takes nothing more. Messages of the peer can still be received, until
    /// [`recv`](Self::recv) gives `None`. Later calls do nothing.
    pub fn start_close(&mut self, frame: impl Into<Option<CloseFrame>>) {
        self.0.connection.close(frame.into());
        self.0.note_closing();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The next message; `None` after the end of the connection. The peer's Close is a message too, the last one. Before it
    /// waits, all that is queued is written.
    ///
    /// Under [`Delivery::Chunks`](crate::proto::Delivery::Chunks) each chunk comes as a message of its own;
    /// [`recv_event`](Self::recv_event) tells where messages begin and end.
    ///
    /// # Errors
    /// [`Error::Protocol`] once the peer was told what it did wrong, [`Error::Lost`], [`Error::Io`] or
    /// [`Error::Timeout`]. Each is given once; afterwards there is `None`.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        Ok(self.recv_event().await?.map(Event::into_message))
    }

    /// The next event: [`recv`](Self::recv) for those who take messages in chunks.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.0.poll_event(Side::Receive, cx)).await
    }

    /// Takes a message, and waits until that is written, and all that was queued before. It does not read meanwhile: two
    /// ends that both send more than the stream holds, and both wait here, wait for each other; [`feed`](Self::feed) and
    /// [`recv`](Self::recv) do not.
    ///
    /// # Errors
    /// [`Error::Send`] hands the message back. After any other error the message was taken: as [`flush`](Self::flush).
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.feed(message)?;
        self.flush().await
    }

    /// Takes a message that stays the caller's, and waits until that is written, as [`send`](Self::send): of what the
    /// stream takes at once nothing is copied, the rest is. Short messages, those of a client and those that are
    /// compressed are copied as a whole.
    ///
    /// # Errors
    /// [`Error::Send`], and the message was not taken; else as [`flush`](Self::flush).
    pub async fn send_ref(&mut self, message: MessageRef<'_>) -> Result<(), Error> {
        poll_fn(|cx| Poll::Ready(self.0.send_ref(message, cx))).await?;
        self.flush().await
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// [`Error::Io`] if the stream does not take it, [`Error::Timeout`] if the peer takes too little of it, or the
    /// connection is closing and its time is over, [`Error::Lost`] after an end that was not clean.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.0.poll_flush_queue(cx)).await
    }

    /// Runs the closing handshake to its end, and tells how the peer closed. Data that still comes is dropped: to have it,
    /// [`start_close`](Self::start_close) and [`recv`](Self::recv) until `None`.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the peer did not answer in time, [`Error::Lost`] or [`Error::Io`] if the transport ended first,
    /// [`Error::Protocol`] if the peer broke the protocol: the connection is closed all the same. [`Error::Reason`] if the
    /// reason has more than 123 bytes: the connection is still open.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<CloseStatus, Error> {
        self.start_close(CloseFrame::new(code, reason)?);
        while self.recv_event().await?.is_some() {}
        self.close_status().filter(|status| status.clean).ok_or(Error::Lost)
    }
}
