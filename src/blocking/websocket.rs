//! A connection over a blocking stream.

#![forbid(unsafe_code)]

use std::io::{self, IoSlice, Read, Write};
use std::time::Instant;

use super::patience::Patience;
use super::stream::{can_be_retried, linger, retry, shut_down};
use crate::error::{Deadline, Error};
use crate::observe::Watch;
use crate::options::{Options, PaceOf};
use crate::proto::{
    CloseCode, CloseFrame, CloseStatus, Connection, Event, Kind, Message, MessageRef, Prepared,
    ProtocolError, State,
};

/// A WebSocket over a blocking stream.
///
/// ```
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let uri = format!("ws://{}/", listener.local_addr()?);
/// # let server = std::thread::spawn(move || {
/// #     let mut socket = taut::blocking::accept(listener.accept()?.0)?;
/// #     while socket.recv()?.is_some() {}
/// #     Ok::<(), taut::Error>(())
/// # });
/// use std::io::ErrorKind;
/// use std::time::Duration;
///
/// let mut socket = taut::blocking::connect(&uri)?;
/// socket.get_ref().set_read_timeout(Some(Duration::from_millis(10)))?;
/// // A read that takes too long has lost nothing: do other things, and receive again.
/// match socket.recv() {
///     Err(taut::Error::Io(error)) => {
///         assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
///         socket.send("are you there?")?;
///     }
///     other => panic!("{other:?}"),
/// }
/// # socket.get_ref().set_read_timeout(None)?;
/// assert!(socket.close(taut::proto::CloseCode::NORMAL, "")?.clean);
/// # drop(socket);
/// # server.join().unwrap()?;
/// # Ok::<(), taut::Error>(())
/// ```
#[derive(Debug)]
pub struct WebSocket<S> {
    stream: S,
    connection: Connection,
    pace: PaceOf,
    patience: Patience,
    /// When the connection began to close.
    closing: Option<Instant>,
    /// The peer broke the protocol; to be told once the peer was.
    failure: Option<ProtocolError>,
    /// Bytes were written that the stream may still hold back.
    unflushed: bool,
    /// A write beside an event took too long: to be told before the next event, since a peer that asks and
    /// does not read could hold the thread at each of its pings.
    late: Option<io::Error>,
    /// The stream does not take, or give, bytes any more.
    broken: Option<io::ErrorKind>,
    ended: bool,
    watch: Watch,
}

impl<S> WebSocket<S> {
    /// Joins a stream and a connection whose opening handshake is done.
    #[must_use]
    pub fn new(stream: S, connection: Connection, options: &Options) -> Self {
        let closing = None;
        let watch = options.observer.opened(connection.role(), connection.agreement());
        Self {
            stream,
            connection,
            pace: options.into(),
            patience: Patience::default(),
            closing,
            failure: None,
            unflushed: false,
            late: None,
            broken: None,
            ended: false,
            watch,
        }
    }

    /// The stream, to set its timeouts.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The engine: what was agreed on, the state, how it closed.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The stream and the engine, with all that is buffered.
    #[must_use]
    pub fn into_parts(self) -> (S, Connection) {
        (self.stream, self.connection)
    }

    /// The subprotocol in use, if one was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.connection.agreement().subprotocol()
    }

    /// How the connection ended, once the peer's Close came, or cannot come any more.
    #[must_use]
    pub fn close_status(&self) -> Option<CloseStatus> {
        self.connection.close_status()
    }

    /// Whether [`recv`](Self::recv) has nothing more to give.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Queues a message without writing it.
    ///
    /// # Errors
    /// [`Error::Send`] hands the message back.
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        Ok(self.connection.send(message)?)
    }

    /// Queues a copy of a text.
    ///
    /// # Errors
    /// [`Error::Send`].
    pub fn feed_text(&mut self, text: &str) -> Result<(), Error> {
        Ok(self.connection.send_text(text)?)
    }

    /// Queues a copy of some bytes.
    ///
    /// # Errors
    /// [`Error::Send`].
    pub fn feed_binary(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.connection.send_binary(bytes)?)
    }

    /// Queues a piece of a message whose length need not be known: see
    /// [`Sender::send_fragment`](crate::proto::Sender::send_fragment). [`flush`](Self::flush) between
    /// pieces keeps a long message from filling the queue.
    ///
    /// # Errors
    /// [`Error::Send`], and nothing was queued.
    pub fn feed_fragment(&mut self, kind: Kind, data: &[u8], last: bool) -> Result<(), Error> {
        Ok(self.connection.send_fragment(kind, data, last)?)
    }

    /// Queues a message that was encoded once for many connections.
    ///
    /// # Errors
    /// [`Error::Send`].
    pub fn feed_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        Ok(self.connection.send_prepared(message)?)
    }

    /// Whether messages taken from now on are compressed, if permessage-deflate was agreed on: see
    /// [`Sender::compress`](crate::proto::Sender::compress).
    #[cfg(feature = "deflate")]
    pub const fn compress(&mut self, on: bool) {
        self.connection.compress(on);
    }

    /// Gives back the memory that context takeover holds for the next message to send: see
    /// [`Sender::forget_context`](crate::proto::Sender::forget_context).
    #[cfg(feature = "deflate")]
    pub fn forget_context(&mut self) {
        self.connection.forget_context();
    }

    /// Queues a Close behind all that was taken, and takes nothing more. Messages of the peer can still be received, until
    /// [`recv`](Self::recv) gives `None`. Later calls do nothing.
    pub fn start_close(&mut self, frame: impl Into<Option<CloseFrame>>) {
        self.connection.close(frame.into());
    }
}

impl<S: Read + Write + 'static> WebSocket<S> {
    /// The next message; `None` after the end of the connection. Pongs and the answer to a Close leave
    /// before it returns. Under [`Delivery::Chunks`](crate::proto::Delivery::Chunks) each chunk comes as a
    /// message of its own; [`recv_event`](Self::recv_event) tells where messages begin and end.
    ///
    /// # Errors
    /// [`Error::Protocol`] once the peer was told what it did wrong, [`Error::Lost`] or [`Error::Io`].
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        Ok(self.recv_event()?.map(Event::into_message))
    }

    /// The next event: [`recv`](Self::recv) for those who take messages in chunks.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        if let Some(error) = self.late.take() {
            return Err(Error::Io(error));
        }
        while !self.ended {
            match self.connection.next_event() {
                Ok(Some(event)) => {
                    self.patience.note_event(&event, &self.pace, &mut self.connection);
                    if let Err(error) = self.write() {
                        self.late = Some(error);
                    }
                    return Ok(Some(event));
                }
                Ok(None) => {}
                Err(error) => self.failure = Some(error),
            }
            self.write()?;
            if self.connection.wants_shutdown() {
                shut_down(&self.stream);
            }
            if self.connection.wants_discard() {
                linger(&mut self.stream);
                return self.end(None);
            }
            if self.is_late() {
                return self.end(Some(Error::Timeout(Deadline::Close)));
            }
            if self.connection.wants_input() {
                let Self { patience, pace, connection, stream, .. } = self;
                match patience.wait(pace, connection, |connection| connection.read_from(stream)) {
                    Ok(count) => self.watch.received(count),
                    // After both Closes it does not matter how the transport ends.
                    Err(_) if self.is_clean() => return self.end(None),
                    Err(error) if can_be_retried(&error) => return Err(Error::Io(error)),
                    Err(error) => {
                        self.connection.input_eof();
                        self.broken = self.broken.or_else(|| Some(error.kind()));
                    }
                }
            } else if self.connection.state() == State::Closed {
                return self.end(None);
            } else {
                // It is for the application to close: see `Config::auto_close`.
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Takes a message and writes all that waits.
    ///
    /// # Errors
    /// [`Error::Send`] hands the message back. After [`Error::Io`] it was taken: [`flush`](Self::flush)
    /// goes on with it.
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.feed(message)?;
        self.flush()
    }

    /// Takes a message that stays the caller's, and writes all that waits: of what the stream takes at once nothing is
    /// copied, the rest is. Short messages, those of a client and those that are compressed are copied as a whole.
    ///
    /// # Errors
    /// As [`send`](Self::send); the message is the caller's anyway.
    pub fn send_ref(&mut self, message: MessageRef<'_>) -> Result<(), Error> {
        let Self { stream, connection, watch, unflushed, .. } = self;
        let mut waits = None;
        connection.send_ref_with(message, |header, payload| {
            let pieces = [IoSlice::new(header), IoSlice::new(payload)];
            match retry(|| stream.write_vectored(&pieces)) {
                Ok(count) => {
                    watch.sent(count);
                    *unflushed = true;
                    count
                }
                // Any other comes again where the rest is written.
                Err(error) => {
                    waits = Some(error).filter(can_be_retried);
                    0
                }
            }
        })?;
        waits.map_or_else(|| self.flush(), |error| Err(Error::Io(error)))
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write()?;
        self.broken.map_or(Ok(()), |kind| Err(Error::Io(kind.into())))
    }

    /// Runs the closing handshake to its end, and tells how the peer closed. Data that still comes is dropped.
    ///
    /// # Errors
    /// [`Error::Lost`] or [`Error::Io`] if the transport ended first, [`Error::Timeout`] if the peer went on
    /// sending without an answer, [`Error::Protocol`] if it broke the protocol, [`Error::Reason`] if the
    /// reason has more than 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<CloseStatus, Error> {
        self.connection.close(Some(CloseFrame::new(code, reason)?));
        while self.recv_event()?.is_some() {}
        self.connection.close_status().filter(|status| status.clean).ok_or(Error::Lost)
    }

    /// Writes all that waits. An error that will not go away is kept for the end: what the peer sent before
    /// may still be read.
    fn write(&mut self) -> io::Result<()> {
        match self.try_write() {
            Err(error) if can_be_retried(&error) => Err(error),
            Err(error) => {
                self.connection.output_lost();
                self.unflushed = false;
                self.broken = self.broken.or_else(|| Some(error.kind()));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        while self.connection.wants_output() {
            let written = retry(|| self.connection.write_to(&mut self.stream))?;
            self.watch.sent(written);
            self.unflushed = true;
        }
        if self.unflushed {
            retry(|| self.stream.flush())?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Whether the time to close is over. It begins when that is first seen.
    fn is_late(&mut self) -> bool {
        self.connection.state() != State::Open
            && self.closing.get_or_insert_with(Instant::now).elapsed() >= self.pace.close_timeout
    }

    fn is_clean(&self) -> bool {
        self.connection.close_status().is_some_and(|status| status.clean)
    }

    fn end(&mut self, error: Option<Error>) -> Result<Option<Event>, Error> {
        self.ended = true;
        self.connection.input_eof();
        // What came behind the end is dropped.
        while let Ok(Some(_)) = self.connection.next_event_ref() {}
        self.connection.output_lost();
        self.connection.release();
        let ended = match (self.failure.take(), self.broken) {
            (Some(failure), _) => Err(Error::Protocol(failure)),
            (None, _) if self.is_clean() => Ok(None),
            (None, Some(kind)) => Err(Error::Io(kind.into())),
            (None, None) => Err(error.unwrap_or(Error::Lost)),
        };
        self.watch.ended(|| self.connection.close_status(), ended.as_ref().err());
        ended
    }
}
