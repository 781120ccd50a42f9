//! A connection over any byte stream of tokio.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::future::{Future, poll_fn};
use core::mem;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io::{self, IoSlice};

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use ::tokio::task::coop;
use ::tokio::time::{Instant, Sleep, sleep_until};
use bytes::{Buf, Bytes};

use super::wakers::{Side, Wakers};
use crate::error::{Deadline, Error};
use crate::proto::{
    CloseCode, CloseFrame, CloseStatus, Connection, Event, Message, ProtocolError, SendError, SendErrorKind,
    State, Utf8Bytes,
};

/// A WebSocket over a byte stream.
///
/// **Cancel safety.** Every future here may be dropped at any time. [`recv`](Self::recv) loses nothing.
/// [`send`](Self::send) takes the message when it is first polled, or hands it back; what it took, the next
/// call that writes ([`flush`](Self::flush), [`send`](Self::send), [`recv`](Self::recv),
/// [`close`](Self::close)) writes. [`close`](Self::close) can be called again to go on.
///
/// **Nothing to remember.** While [`recv`](Self::recv) is polled, pongs and the answer to a Close leave by
/// themselves, also when the peer does not read and the write has to wait.
///
/// **Deadlines.** Once either end closes, or the connection fails, the rest may take
/// [`Options::close_timeout`](crate::Options::close_timeout); every method keeps to it. The timer needs a
/// runtime with time enabled.
#[derive(Debug)]
pub struct WebSocket<S> {
    stream: S,
    pub(super) connection: Connection,
    close_timeout: Duration,
    /// Set, once, when the connection begins to close.
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes were written that the stream may still hold back.
    unflushed: bool,
    /// The stream does not take bytes any more.
    write_error: Option<io::ErrorKind>,
    /// The peer broke the protocol; to be told once the peer was.
    failure: Option<ProtocolError>,
    /// The time to close was over, and the stream was to be read once more.
    late: bool,
    wakers: Wakers,
    stage: Stage,
}

/// How far the stream is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// Our sending side is shut down.
    ShutDown,
    /// Nothing more is to be had or done.
    Ended,
}

impl<S> WebSocket<S> {
    /// Joins a stream and a connection whose opening handshake is done.
    #[must_use]
    pub fn new(stream: S, connection: Connection, close_timeout: Duration) -> Self {
        Self {
            stream,
            connection,
            close_timeout,
            deadline: None,
            timer: None,
            unflushed: false,
            write_error: None,
            failure: None,
            late: false,
            wakers: Wakers::default(),
            stage: Stage::Open,
        }
    }

    /// The stream.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The engine: what was agreed on, the state, how many bytes wait.
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

    /// Queues a Close behind all that was taken, and takes nothing more. Messages of the peer can still be
    /// received, until [`recv`](Self::recv) gives `None`. Later calls do nothing.
    pub fn start_close(&mut self, frame: impl Into<Option<CloseFrame>>) {
        self.connection.close(frame.into());
        self.note_closing();
    }

    /// Whether [`recv`](Self::recv) has nothing more to give.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// The time to close begins when either end closes, or the connection fails, and runs once.
    pub(super) fn note_closing(&mut self) {
        if self.deadline.is_none() && self.connection.state() != State::Open {
            self.deadline = Some(after(self.close_timeout));
            // Who waits on the other side has a deadline now.
            self.wakers.wake();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The next message; `None` after the end of the connection. The peer's Close is a message too, the
    /// last one.
    ///
    /// Under [`Delivery::Chunks`](crate::proto::Delivery::Chunks) each chunk comes as a message of its own;
    /// [`recv_event`](Self::recv_event) tells where messages begin and end.
    ///
    /// # Errors
    /// [`Error::Protocol`] once the peer was told what it did wrong, [`Error::Lost`], [`Error::Io`] or
    /// [`Error::Timeout`]. Each is given once; afterwards there is `None`.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next event: [`recv`](Self::recv) for those who take messages in chunks.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.poll_event(Side::Receive, cx)).await
    }

    /// Takes a message and writes all that waits. It does not read meanwhile: two ends that both send more than
    /// the stream holds, and both wait here, wait for each other; [`feed`](Self::feed) and
    /// [`recv`](Self::recv) do not. While the connection is open there is no deadline for a peer that does not
    /// read: put one around it.
    ///
    /// # Errors
    /// [`Error::Send`] hands the message back. After any other error the message was taken, and the
    /// connection is of no more use.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.feed(message)?;
        self.flush().await
    }

    /// Waits until there is room for a message; sending by the [`Permit`] cannot fail.
    ///
    /// # Errors
    /// [`Error::Send`] if no message can be sent any more, else as [`flush`](Self::flush).
    pub async fn reserve(&mut self) -> Result<Permit<'_, S>, Error> {
        poll_fn(|cx| self.poll_room(cx)).await?;
        Ok(Permit { socket: self })
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// [`Error::Io`] if the stream does not take it, [`Error::Timeout`] if the connection is closing and
    /// its time is over, [`Error::Lost`] after an end that was not clean.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush_all(cx)).await
    }

    /// Runs the closing handshake to its end, and tells how the peer closed. Data that still comes is
    /// dropped: to have it, [`start_close`](Self::start_close) and [`recv`](Self::recv) until `None`.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the peer did not answer in time, [`Error::Lost`] or [`Error::Io`] if the
    /// transport ended first, [`Error::Protocol`] if the peer broke the protocol: the connection is closed
    /// all the same. [`Error::Reason`] if the reason has more than 123 bytes: the connection is still open.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<CloseStatus, Error> {
        self.start_close(CloseFrame::new(code, reason)?);
        while self.recv_event().await?.is_some() {}
        self.close_status().filter(|status| status.clean).ok_or(Error::Lost)
    }

    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.poll_event(Side::Receive, cx).map_ok(|event| event.map(Event::into_message))
    }

    pub(super) fn poll_event(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Event>, Error>> {
        let polled = match self.wakers.note(side, cx.waker()) {
            Some(both) => self.poll_next_event(&mut Context::from_waker(&both)),
            None => self.poll_next_event(cx),
        };
        if polled.is_ready() {
            self.wakers.forget(side);
        }
        polled
    }

    fn poll_next_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        loop {
            if self.stage == Stage::Ended {
                return Poll::Ready(Ok(None));
            }
            // A peer that sends without pause must not keep other tasks from running.
            let turn = ready!(coop::poll_proceed(cx));
            if self.failure.is_none() {
                match self.connection.next_event() {
                    Ok(Some(event)) => {
                        turn.made_progress();
                        // A pong, or the answer to a Close, begins to leave before the event is looked at.
                        // What the application fed leaves together, once there is nothing more to take.
                        let control = matches!(&event, Event::Message(message) if !message.is_data());
                        if control || self.connection.queued() >= MOST_HELD {
                            let _ = self.poll_write(cx);
                        }
                        if matches!(event, Event::Message(Message::Close(_))) {
                            self.note_closing();
                        }
                        return Poll::Ready(Ok(Some(event)));
                    }
                    Ok(None) => {}
                    Err(error) => self.failure = Some(error),
                }
            } else {
                // Discards what was read: the error is known.
                let _ = self.connection.next_event();
            }
            // Reading never waits for writing: two ends that both write would wait for each other.
            let _ = self.poll_write(cx);
            let shutting = self.connection.wants_shutdown()
                && self.stage == Stage::Open
                && self.poll_shutdown(cx).is_pending();
            if self.is_over() {
                return Poll::Ready(self.end(None).map(|()| None));
            }
            if self.poll_deadline(cx).is_ready() {
                // What came in time counts, though nobody looked: one more read, and no more.
                if mem::replace(&mut self.late, true) || !self.connection.wants_input() {
                    return Poll::Ready(self.end(Some(Error::Timeout(Deadline::Close))).map(|()| None));
                }
            }
            // A peer that takes nothing before it has said all would let the shutdown wait for ever.
            if shutting && !self.connection.wants_discard() {
                return Poll::Pending;
            }
            if !self.connection.wants_input() && !self.connection.wants_discard() {
                // All that is left is to write, or for the application to close.
                return Poll::Pending;
            }
            let read = {
                let read = pin!(self.stream.read_buf(self.connection.input()));
                read.poll(cx)
            };
            match read {
                Poll::Ready(Ok(count)) => {
                    turn.made_progress();
                    if count == 0 {
                        self.connection.input_eof();
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.connection.input_eof();
                    return Poll::Ready(self.end(Some(Error::Io(error))).map(|()| None));
                }
                Poll::Pending if self.late => {}
                Poll::Pending => {
                    // An idle connection holds no memory.
                    self.connection.release();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Whether nothing is left to do but to tell how it ended.
    fn is_over(&self) -> bool {
        let connection = &self.connection;
        let busy = connection.wants_input() || connection.wants_output() || connection.wants_discard();
        let waits = connection.wants_shutdown() && self.stage == Stage::Open;
        connection.state() == State::Closed && !busy && !waits
    }

    /// Ends the connection; gives the error to tell, if it did not end well.
    fn end(&mut self, error: Option<Error>) -> Result<(), Error> {
        self.stage = Stage::Ended;
        self.timer = None;
        self.connection.input_eof();
        // The engine learns that no Close will come. What nobody took before the end is dropped.
        while let Ok(Some(_)) = self.connection.next_event() {}
        self.connection.output_lost();
        self.wakers.wake();
        self.connection.release();
        if let Some(failure) = self.failure.take() {
            return Err(Error::Protocol(failure));
        }
        match self.close_status() {
            // After both Closes it does not matter how the transport ends.
            Some(status) if status.clean => Ok(()),
            _ => Err(match (error, self.write_error) {
                // Why there was no end in time, where that is known.
                (None | Some(Error::Timeout(_)), Some(kind)) => Error::Io(kind.into()),
                (Some(error), _) => error,
                (None, None) => Error::Lost,
            }),
        }
    }

    /// Waits for room in the queue.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            match self.connection.refusal() {
                None => return Poll::Ready(Ok(())),
                Some(SendErrorKind::Full) if self.connection.queued() > 0 => ready!(self.poll_flush_all(cx))?,
                Some(kind) => return Poll::Ready(Err(SendError::from(kind).into())),
            }
        }
    }

    pub(super) fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let polled = match self.wakers.note(Side::Send, cx.waker()) {
            Some(both) => self.poll_flush_output(&mut Context::from_waker(&both)),
            None => self.poll_flush_output(cx),
        };
        if polled.is_ready() {
            self.wakers.forget(Side::Send);
        }
        polled
    }

    fn poll_flush_output(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.stage == Stage::Ended {
            let clean = self.close_status().is_some_and(|status| status.clean);
            return Poll::Ready(if clean { Ok(()) } else { Err(Error::Lost) });
        }
        let written = self.poll_write(cx);
        if let Some(kind) = self.write_error {
            return Poll::Ready(Err(Error::Io(kind.into())));
        }
        if written.is_pending() && self.poll_deadline(cx).is_ready() {
            // How it ended is for `recv` to tell.
            self.wakers.wake();
            return Poll::Ready(Err(Error::Timeout(Deadline::Close)));
        }
        written.map(Ok)
    }

    /// Writes as much as the stream takes; pending while something waits. An error of the stream is kept
    /// for the end: what the peer sent before may still be read.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.poll_try_write(cx)) {
            Ok(()) => {}
            Err(error) => {
                self.write_error = self.write_error.or(Some(error.kind()));
                self.connection.output_lost();
                self.unflushed = false;
            }
        }
        Poll::Ready(())
    }

    fn poll_try_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.wants_output() {
            let output = self.connection.output();
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = output.chunks_vectored(&mut slices);
            debug_assert_ne!(count, 0, "bytes that wait lie somewhere");
            let stream = Pin::new(&mut self.stream);
            let written = match &slices[..count] {
                [slice] => ready!(stream.poll_write(cx, slice))?,
                slices => ready!(stream.poll_write_vectored(cx, slices))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A stream that is gone already needs no shutdown: its error says nothing new.
        if let Poll::Ready(Ok(()) | Err(_)) = Pin::new(&mut self.stream).poll_shutdown(cx) {
            self.stage = Stage::ShutDown;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Ready once the time to close is over.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.note_closing();
        let Some(deadline) = self.deadline else { return Poll::Pending };
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline))).as_mut().poll(cx)
    }
}

/// Room for one message: see [`WebSocket::reserve`].
#[derive(Debug)]
#[must_use = "without a message the room goes unused"]
pub struct Permit<'a, S> {
    socket: &'a mut WebSocket<S>,
}

impl<S> Permit<'_, S> {
    /// Queues a text message, as [`WebSocket::feed`] does. Cannot fail.
    pub fn send_text(self, text: impl Into<Utf8Bytes>) {
        let taken = self.socket.connection.send(Message::Text(text.into()));
        debug_assert!(taken.is_ok(), "there was room, and nobody else could take it");
    }

    /// Queues a binary message, as [`WebSocket::feed`] does. Cannot fail.
    pub fn send_binary(self, bytes: impl Into<Bytes>) {
        let taken = self.socket.connection.send(Message::Binary(bytes.into()));
        debug_assert!(taken.is_ok(), "there was room, and nobody else could take it");
    }
}

/// The time so long from now. What is too far away for the clock is as good as never.
pub(super) fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or_else(|| now + FAR_AWAY)
}

/// Thirty years, which any clock can tell: as good as never.
const FAR_AWAY: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// How many pieces one write takes: enough for a burst of large messages, and little on the stack.
const SLICES: usize = 32;

/// How many bytes wait for others at most, while the application takes events that are there already: as
/// many as one read brings.
const MOST_HELD: usize = 64 << 10;
