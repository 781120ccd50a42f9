//! A connection over any byte stream of tokio.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::future::{Future, poll_fn};
use core::ops::{Deref, DerefMut};
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::task;
use bytes::Bytes;
use spin::mutex::{SpinMutex, SpinMutexGuard};
use spin::relax::Yield;

use super::driver::Driver;
use super::held::{self, Held, Written};
use super::wakers::Side;
use crate::budget::Budget;
use crate::error::Error;
use crate::options::Options;
use crate::proto::{
    CloseCode, CloseFrame, CloseStatus, Connection, Event, EventRef, Message, SendError, Sender, Utf8Bytes,
};

/// A WebSocket over a byte stream.
///
/// **Cancel safety.** Every future here may be dropped at any time. [`recv`](Self::recv) loses nothing.
/// [`send`](Self::send) takes the message when it is first polled, or hands it back; what it took is written
/// whatever becomes of its future ([`new_local`](Self::new_local): by the next call that writes).
///
/// **One write for many messages.** While messages that came together wait to be received, [`send`](Self::send)
/// holds back what it takes: the answers to one read leave in one write, when the last of them was received, or
/// when the task suspends, whatever it waits for. So the loop that receives a message and sends its answer needs
/// no care. Outside of a task, in a future that is given to `block_on`, nothing is held.
///
/// **Nothing to remember.** While [`recv`](Self::recv) is polled, pongs and the answer to a Close leave by
/// themselves, also when the peer does not read and the write has to wait.
///
/// **Deadlines.** Once either end closes, or the connection fails, the rest may take
/// [`Options::close_timeout`]; every method keeps to it. While the connection is open, a message that has begun has
/// to go on ([`Options::message_timeout`]), and the peer has to take what waits for it
/// ([`Options::write_timeout`]). The timers need a runtime with time enabled.
///
/// **Memory.** A thread reads for all of its sockets into one buffer. A socket that waits holds nothing but what
/// came of a message that is not whole, and what its peer does not take.
pub struct WebSocket<S> {
    shared: Arc<Shared<S>>,
}

type Lock<S> = SpinMutex<Option<Driver<S>>, Yield>;
type LockGuard<'a, S> = SpinMutexGuard<'a, Option<Driver<S>>>;
type AsHeld<S> = fn(&Arc<Shared<S>>) -> Arc<dyn Held>;

/// What the task that writes held frames shares with the socket.
struct Shared<S> {
    /// How this type of stream gets to other tasks, if it can.
    hold: Option<AsHeld<S>>,
    subprotocol: Option<Box<str>>,
    /// Nothing once the socket is dropped.
    driver: Lock<S>,
}

impl<S> WebSocket<S> {
    /// Joins a stream that stays in its thread and a connection whose opening handshake is done; of the options only
    /// the deadlines and rates count. What [`send`](Self::send) takes it writes at once: no other task could do it later.
    #[must_use]
    pub fn new_local(stream: S, connection: Connection, options: &Options) -> Self {
        Self::join(stream, connection, options, None)
    }

    fn join(stream: S, connection: Connection, options: &Options, hold: Option<AsHeld<S>>) -> Self {
        let subprotocol = connection.agreement().subprotocol().map(Into::into);
        let watch = options.observer.opened(connection.role(), connection.agreement());
        let mut driver = Driver::new(stream, connection, options);
        driver.watch = watch;
        let driver = SpinMutex::new(Some(driver));
        Self { shared: Arc::new(Shared { hold, subprotocol, driver }) }
    }

    /// Looks at the stream. Nobody writes meanwhile; the methods of this socket wait for `look` to end, so that
    /// calling one of them there waits for ever.
    pub fn with_stream<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.driver().stream)
    }

    /// Looks at the engine: what was agreed on, the state, how many bytes wait. As
    /// [`with_stream`](Self::with_stream).
    pub fn with_connection<T>(&self, look: impl FnOnce(&Connection) -> T) -> T {
        look(&self.driver().connection)
    }

    /// The stream and the engine, with all that is buffered.
    #[must_use]
    pub fn into_parts(self) -> (S, Connection) {
        let driver = self.shared.take().expect(PRESENT);
        driver.wakers.wake();
        driver.into_parts()
    }

    /// The subprotocol in use, if one was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.shared.subprotocol.as_deref()
    }

    /// Counts the memory of this connection among that of others, until it ends; `None` for not.
    pub fn set_budget(&mut self, budget: Option<&Budget>) {
        self.driver().patience.set_budget(budget);
    }

    /// The span of this connection, for the application to enter; none if nobody collects it, or the connection ended.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn span(&self) -> tracing::Span {
        self.driver().watch.span()
    }

    /// How the connection ended, once the peer's Close came, or cannot come any more.
    #[must_use]
    pub fn close_status(&self) -> Option<CloseStatus> {
        self.with_connection(Connection::close_status)
    }

    /// Queues a Close behind all that was taken, and takes nothing more. Messages of the peer can still be
    /// received, until [`recv`](Self::recv) gives `None`. Later calls do nothing.
    pub fn start_close(&mut self, frame: impl Into<Option<CloseFrame>>) {
        self.driver().start_close(frame.into());
    }

    /// Whether [`recv`](Self::recv) has nothing more to give.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.driver().is_ended()
    }

    pub(super) fn driver(&self) -> DriverGuard<'_, S> {
        DriverGuard(self.shared.lock())
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> WebSocket<S> {
    /// Joins a stream and a connection whose opening handshake is done; of the options only the deadlines and rates
    /// count.
    #[must_use]
    pub fn new(stream: S, connection: Connection, options: &Options) -> Self {
        Self::join(stream, connection, options, Some(|shared| shared.clone()))
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
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// The next event: [`recv`](Self::recv) for those who take messages in chunks.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.driver().poll_event(Side::Receive, cx, |event| event)).await
    }

    /// Hands each event to `handler` as it lies in the read buffer, with the sending half to answer by, until the
    /// connection ends: neither allocates, counts or copies anything for a message. The answers to one read leave in
    /// one write. While the peer does not take them, nothing more is read.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and those of `handler`; after these the socket can be used on.
    ///
    /// ```no_run
    /// # async fn run(mut socket: taut::tokio::WebSocket<tokio::net::TcpStream>) -> Result<(), taut::Error> {
    /// use taut::proto::EventRef;
    ///
    /// let echo = socket.recv_each(|event, sender| match event {
    ///     EventRef::Message(message) if message.is_data() => Ok(sender.send_ref(message)?),
    ///     _ => Ok(()),
    /// });
    /// echo.await
    /// # }
    /// ```
    pub async fn recv_each<F>(&mut self, mut handler: F) -> Result<(), Error>
    where
        F: FnMut(EventRef<'_>, &mut Sender) -> Result<(), Error>,
    {
        poll_fn(|cx| self.driver().poll_each(cx, &mut handler)).await
    }

    /// Takes a message. It waits until that is written, and all that was queued before; or, while messages that
    /// came together wait to be received, holds it back for their answers to join it. It does not read meanwhile:
    /// two ends that both send more than the stream holds, and both wait here, wait for each other;
    /// [`feed`](Self::feed) and [`recv`](Self::recv) do not.
    ///
    /// # Errors
    /// [`Error::Send`] hands the message back. After any other error the message was taken, and the
    /// connection is of no more use: [`Error::Timeout`] if the peer takes too little for
    /// [`Options::write_timeout`]. The errors of a write for which this did not wait come from the next call.
    pub fn send(&mut self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> {
        Sending { message: Some(message.into()), socket: Some(self) }
    }

    /// Waits until there is room for a message; sending by the [`Permit`] cannot fail.
    ///
    /// # Errors
    /// [`Error::Send`] if no message can be sent any more, else as [`flush`](Self::flush).
    pub async fn reserve(&mut self) -> Result<Permit<'_, S>, Error> {
        poll_fn(|cx| self.driver().poll_room(cx)).await?;
        Ok(Permit { socket: self })
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// [`Error::Io`] if the stream does not take it, [`Error::Timeout`] if the peer takes too little of it, or the
    /// connection is closing and its time is over, [`Error::Lost`] after an end that was not clean.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.driver().poll_flush(cx)).await
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
        self.driver().poll_event(Side::Receive, cx, Event::into_message)
    }

    /// Takes a message; whether it is held back.
    fn take(&self, message: Message) -> Result<bool, SendError> {
        let mut guard = self.driver();
        let driver = &mut *guard;
        driver.connection.send(message)?;
        if driver.can_hold() {
            return Ok(self.ask(driver));
        }
        driver.note_closing();
        Ok(false)
    }
}

impl<S> WebSocket<S> {
    /// Has what waits written by another task, if the stream can get to one.
    #[inline]
    fn ask(&self, driver: &mut Driver<S>) -> bool {
        // Outside of a task, in a future that somebody polls, nothing need run after it.
        let (Some(hold), Some(task)) = (self.shared.hold, task::try_id()) else { return false };
        // Another task may be one of a runtime that does not run now.
        driver.held == Some(task) || self.ask_anew(driver, hold, task)
    }

    #[inline(never)]
    fn ask_anew(&self, driver: &mut Driver<S>, hold: AsHeld<S>, task: task::Id) -> bool {
        let asked = held::hold(task, || hold(&self.shared));
        if asked && driver.held.replace(task).is_some() {
            // Who waits for the rest on behalf of that other task ends.
            driver.wakers.wake();
        }
        asked
    }
}

/// The future of [`WebSocket::send`].
struct Sending<'a, S> {
    /// Until it is taken.
    message: Option<Message>,
    /// Until it is written, or somebody else writes it.
    socket: Option<&'a mut WebSocket<S>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Sending<'_, S> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { message, socket } = &mut *self;
        let Some(waiting) = socket else { return Poll::Ready(Ok(())) };
        let sent = match message.take().map(|message| waiting.take(message)) {
            Some(Ok(true)) => Ok(()),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(false)) | None => ready!(waiting.driver().poll_flush(cx)),
        };
        *socket = None;
        Poll::Ready(sent)
    }
}

impl<S> Drop for Sending<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        // What was taken is written, whether anybody waits for it or not.
        if let (Some(socket), None) = (&self.socket, &self.message) {
            socket.ask(&mut socket.driver());
        }
    }
}

impl<S> Drop for WebSocket<S> {
    fn drop(&mut self) {
        // One last try for what is held.
        let asker = self.shared.lock().as_ref().and_then(|driver| driver.held);
        if let (Some(hold), Some(asker)) = (self.shared.hold, asker) {
            hold(&self.shared).write_held(asker);
        }
        if let Some(driver) = self.shared.take() {
            driver.wakers.wake();
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.driver().fmt(f)
    }
}

impl<S> Shared<S> {
    fn lock(&self) -> LockGuard<'_, S> {
        self.driver.lock()
    }

    fn take(&self) -> Option<Driver<S>> {
        self.lock().take()
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Held for Shared<S> {
    fn write_held(&self, asker: task::Id) -> Written {
        // Who has the lock may be in the application's handler, for as long as that likes.
        let Some(mut shared) = self.driver.try_lock() else { return Written::Busy };
        let Some(driver) = shared.as_mut().filter(|driver| driver.held == Some(asker)) else {
            return Written::All;
        };
        // If that is not all, another task comes, and is the one that waits.
        if driver.poll_write(&mut Context::from_waker(Waker::noop())).is_ready() {
            driver.held = None;
            Written::All
        } else {
            Written::Part
        }
    }

    fn poll_held(&self, asker: task::Id, cx: &mut Context<'_>) -> Poll<()> {
        match self.lock().as_mut() {
            Some(driver) if driver.held == Some(asker) => driver.poll_held(cx),
            _ => Poll::Ready(()),
        }
    }

    fn give_up(&self, asker: task::Id) {
        if let Some(driver) = self.lock().as_mut()
            && driver.held == Some(asker)
        {
            driver.held = None;
        }
    }
}

/// The driver of a socket that is not dropped.
pub(super) struct DriverGuard<'a, S>(LockGuard<'a, S>);

impl<S> Deref for DriverGuard<'_, S> {
    type Target = Driver<S>;

    fn deref(&self) -> &Driver<S> {
        self.0.as_ref().expect(PRESENT)
    }
}

impl<S> DerefMut for DriverGuard<'_, S> {
    fn deref_mut(&mut self) -> &mut Driver<S> {
        self.0.as_mut().expect(PRESENT)
    }
}

/// Why there is a driver.
const PRESENT: &str = "only what consumes the socket takes it";

/// Room for one message: see [`WebSocket::reserve`].
#[derive(Debug)]
#[must_use = "without a message the room goes unused"]
pub struct Permit<'a, S> {
    socket: &'a mut WebSocket<S>,
}

impl<S> Permit<'_, S> {
    /// Queues a text message, as [`WebSocket::feed`] does. Cannot fail.
    pub fn send_text(self, text: impl Into<Utf8Bytes>) {
        let taken = self.socket.driver().connection.send(Message::Text(text.into()));
        debug_assert!(taken.is_ok(), "there was room, and nobody else could take it");
    }

    /// Queues a binary message, as [`WebSocket::feed`] does. Cannot fail.
    pub fn send_binary(self, bytes: impl Into<Bytes>) {
        let taken = self.socket.driver().connection.send(Message::Binary(bytes.into()));
        debug_assert!(taken.is_ok(), "there was room, and nobody else could take it");
    }
}
