//! A connection over any byte stream of tokio.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::fmt;
use core::future::{Future, poll_fn};
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use ::tokio::io::{AsyncRead, AsyncWrite};
use bytes::Bytes;

use super::intake::Intake;
use super::line::{Line, MOST_HELD};
use super::shared::{AsHeld, LineGuard, Owner, PRESENT};
use super::wakers::Side;
use crate::budget::Budget;
use crate::error::Error;
use crate::options::Options;
use crate::proto::{
    CloseCode, CloseFrame, CloseStatus, Connection, ConnectionRef, Event, EventRef, Kind, Message,
    MessageRef, SendError, Sender, Utf8Bytes,
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
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let address = listener.local_addr()?;
/// # tokio::spawn(async move {
/// #     while let Ok((stream, _)) = listener.accept().await {
/// #         let mut socket = taut::tokio::accept(stream).await?;
/// #         while let Some(message) = socket.recv().await? {
/// #             if message.is_data() {
/// #                 socket.send(message).await?;
/// #             }
/// #         }
/// #     }
/// #     Ok::<(), taut::Error>(())
/// # });
/// use taut::proto::{CloseCode, Message};
///
/// let mut socket = taut::connect(&format!("ws://{address}/")).await?;
/// socket.send("text").await?;
/// // Queued, and written together.
/// socket.feed(Message::binary(vec![1, 2, 3]))?;
/// socket.feed("more")?;
/// socket.flush().await?;
///
/// assert_eq!(socket.recv().await?, Some(Message::text("text")));
/// if let Some(Message::Binary(bytes)) = socket.recv().await? {
///     assert_eq!(bytes[..], [1, 2, 3]);
/// }
///
/// // For a task that receives and others that send.
/// let (mut receiver, mut sender) = socket.into_split();
/// let sending = tokio::spawn(async move {
///     sender.send("from another task").await?;
///     sender.close(CloseCode::NORMAL, "").await
/// });
/// let mut last = None;
/// while let Some(message) = receiver.recv().await? {
///     if message.is_data() {
///         last = Some(message);
///     }
/// }
/// assert_eq!(last, Some(Message::text("from another task")));
/// assert!(sending.await??.clean);
/// # Ok(()) }
/// ```
pub struct WebSocket<S> {
    /// What receiving needs, which nobody else uses.
    pub(super) intake: Box<Intake>,
    pub(super) shared: Owner<S>,
}

impl<S> WebSocket<S> {
    /// Joins a stream that stays in its thread and a connection whose opening handshake is done; of the options only
    /// the deadlines and rates count. What [`send`](Self::send) takes it writes at once: no other task could do it later.
    #[must_use]
    pub fn new_local(stream: S, connection: Connection, options: &Options) -> Self {
        Self::join(stream, connection, options, None)
    }

    fn join(stream: S, connection: Connection, options: &Options, hold: Option<AsHeld<S>>) -> Self {
        let watch = options.observer.opened(connection.role(), connection.agreement());
        let (receiver, sender, agreement) = connection.into_parts();
        let mut line = Line::new(stream, sender, options);
        line.watch = watch;
        Self { intake: Box::new(Intake::new(receiver)), shared: Owner::new(line, agreement, hold) }
    }

    /// Looks at the stream. Nobody writes meanwhile; the methods of this socket wait for `look` to end, so that
    /// calling one of them there waits for ever.
    pub fn with_stream<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.line().stream)
    }

    /// Looks at the engine: what was agreed on, the state, how many bytes wait. As
    /// [`with_stream`](Self::with_stream).
    pub fn with_connection<T>(&self, look: impl FnOnce(ConnectionRef<'_>) -> T) -> T {
        let line = self.line();
        look(ConnectionRef::new(&self.intake.receiver, &line.sender, &self.shared.agreement))
    }

    /// The stream and the engine, with all that is buffered.
    #[must_use]
    pub fn into_parts(self) -> (S, Connection) {
        let Self { intake, shared } = self;
        let Line { stream, sender, wakers, .. } = shared.take().expect(PRESENT);
        wakers.wake();
        (stream, Connection::from_parts(intake.into_receiver(), sender, shared.agreement.clone()))
    }

    /// The subprotocol in use, if one was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.shared.agreement.subprotocol()
    }

    /// Counts the memory of this connection among that of others, until it ends; `None` for not.
    pub fn set_budget(&mut self, budget: Option<&Budget>) {
        self.line().patience.set_budget(budget);
    }

    /// The span of this connection, for the application to enter; none if nobody collects it, or the connection ended.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn span(&self) -> tracing::Span {
        self.line().watch.span()
    }

    /// How the connection ended, once the peer's Close came, or cannot come any more.
    #[must_use]
    pub fn close_status(&self) -> Option<CloseStatus> {
        self.with_connection(|connection| connection.close_status())
    }

    /// How long a message takes to the peer and back, smoothed over the pings of
    /// [`Options::ping_interval`](crate::Options::ping_interval), once one was answered.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.line().round_trip()
    }

    /// Queues a Close behind all that was taken, and takes nothing more. Messages of the peer can still be
    /// received, until [`recv`](Self::recv) gives `None`. Later calls do nothing.
    pub fn start_close(&mut self, frame: impl Into<Option<CloseFrame>>) {
        self.line().start_close(frame.into());
    }

    /// Whether [`recv`](Self::recv) has nothing more to give.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.intake.is_ended()
    }

    pub(super) fn line(&self) -> LineGuard<'_, S> {
        self.shared.line()
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
        Receiving(self)
    }

    /// The next event: [`recv`](Self::recv) for those who take messages in chunks.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.poll_event(Side::Receive, cx, |event| event)).await
    }

    /// Hands each event to `handler` as it lies in the read buffer, with the sending half to answer by, until the
    /// connection ends: neither allocates, counts or copies anything for a message. The answers to one read leave in
    /// one write. While the peer does not take them, nothing more is read.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and those of `handler`; after these the socket can be used on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let uri = format!("ws://{}/", listener.local_addr()?);
    /// # let client = tokio::spawn(async move {
    /// #     let mut socket = taut::connect(&uri).await?;
    /// #     socket.send("hello").await?;
    /// #     assert_eq!(socket.recv().await?, Some("hello".into()));
    /// #     socket.close(taut::proto::CloseCode::NORMAL, "").await
    /// # });
    /// # let mut socket = taut::tokio::accept(listener.accept().await?.0).await?;
    /// use taut::proto::EventRef;
    ///
    /// let echo = socket.recv_each(|event, sender| match event {
    ///     EventRef::Message(message) if message.is_data() => Ok(sender.send_ref(message)?),
    ///     _ => Ok(()),
    /// });
    /// echo.await?;
    /// # assert!(client.await??.clean);
    /// # Ok(()) }
    /// ```
    pub async fn recv_each<F>(&mut self, mut handler: F) -> Result<(), Error>
    where
        F: FnMut(EventRef<'_>, &mut Sender) -> Result<(), Error>,
    {
        let Self { intake, shared } = self;
        poll_fn(|cx| shared.drive(intake, |driver| driver.poll_each(Side::Receive, cx, &mut handler))).await
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
        Sending::New(message.into(), self)
    }

    /// Takes a message that stays the caller's, as [`send`](Self::send): of what the stream takes at once nothing is
    /// copied, the rest is. Short messages, those of a client and those that are compressed are copied as a whole.
    ///
    /// # Errors
    /// [`Error::Send`], and the message was not taken; else as [`send`](Self::send).
    pub async fn send_ref(&mut self, message: MessageRef<'_>) -> Result<(), Error> {
        let take = |cx: &mut Context<'_>| {
            self.take(
                |line, alone| if alone { line.send_ref(message, cx) } else { line.sender.send_ref(message) },
            )
        };
        if poll_fn(|cx| Poll::Ready(take(cx))).await? {
            return Ok(());
        }
        let mut taken = Taken(Some(self));
        let written = poll_fn(|cx| taken.poll_flush(cx)).await;
        taken.0 = None;
        written
    }

    /// Waits until there is room for a message; sending by the [`Permit`] cannot fail.
    ///
    /// # Errors
    /// [`Error::Send`] if no message can be sent any more, else as [`flush`](Self::flush).
    pub async fn reserve(&mut self) -> Result<Permit<'_, S>, Error> {
        poll_fn(|cx| self.line().poll_room(cx)).await?;
        Ok(Permit { socket: self })
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// [`Error::Io`] if the stream does not take it, [`Error::Timeout`] if the peer takes too little of it, or the
    /// connection is closing and its time is over, [`Error::Lost`] after an end that was not clean.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.line().poll_flush(cx)).await
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

    #[inline(always)]
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.poll_event(Side::Receive, cx, Event::into_message)
    }

    #[inline(always)]
    pub(super) fn poll_event<T>(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        made: impl FnOnce(Event) -> T,
    ) -> Poll<Result<Option<T>, Error>> {
        self.intake.poll_event(&self.shared, side, cx, made)
    }

    /// Takes a copy of a short message that is held back for the answers to what came with it; false says nothing.
    #[inline(never)]
    fn hold(&self, message: &Message) -> bool {
        let Some((kind, payload)) = short(message) else { return false };
        let mut line = self.line();
        let line = &mut *line;
        line.is_open() && self.shared.ask(line) && line.sender.append_held(kind, payload, MOST_HELD)
    }

    /// Takes a copy of a short message, and writes it; none says nothing.
    #[inline(never)]
    fn write(&self, message: &Message, cx: &mut Context<'_>) -> Option<Poll<Result<(), Error>>> {
        let (kind, payload) = short(message)?;
        let mut line = self.line();
        let line = &mut *line;
        let taken = line.is_open() && line.sender.append_held(kind, payload, MOST_HELD);
        taken.then(|| line.poll_flush(cx))
    }

    /// Takes a message, by `queue`, which is told whether it may be written at once; gives whether it is held back.
    fn take(
        &self,
        queue: impl FnOnce(&mut Line<S>, bool) -> Result<(), SendError>,
    ) -> Result<bool, SendError> {
        let mut line = self.line();
        let amid = self.intake.has_input();
        queue(&mut line, !amid)?;
        // Frames may wait for others: those that the messages here will be answered with.
        if amid && line.is_open() && line.sender.queued() < line.most_held() {
            return Ok(self.shared.ask(&mut line));
        }
        line.note_closing();
        Ok(false)
    }
}

/// The future of [`WebSocket::recv`].
struct Receiving<'a, S>(&'a mut WebSocket<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Receiving<'_, S> {
    type Output = Result<Option<Message>, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_recv(cx)
    }
}

/// The future of [`WebSocket::send`]. One that is done has nothing to drop.
enum Sending<'a, S> {
    New(Message, &'a mut WebSocket<S>),
    Waiting(Taken<'a, S>),
    Done,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Sending<'_, S> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // In nearly all cases there is nothing to wait for, and nothing moves.
        if let Self::New(message, socket) = &*self {
            if socket.intake.has_input() {
                if socket.hold(message) {
                    *self = Self::Done;
                    return Poll::Ready(Ok(()));
                }
            } else if let Some(written) = socket.write(message, cx) {
                return self.poll_written(written);
            }
        }
        self.poll_other(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sending<'_, S> {
    /// What came of writing a message that was taken.
    #[inline(always)]
    fn poll_written(&mut self, written: Poll<Result<(), Error>>) -> Poll<Result<(), Error>> {
        let sent = mem::replace(self, Self::Done);
        if let (Poll::Pending, Self::New(_, socket)) = (&written, sent) {
            *self = Self::Waiting(Taken(Some(socket)));
        }
        written
    }

    #[inline(never)]
    fn poll_other(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut taken = match mem::replace(self, Self::Done) {
            Self::New(message, socket) => match socket.take(|line, _| line.sender.send(message)) {
                Ok(true) => return Poll::Ready(Ok(())),
                Ok(false) => Taken(Some(socket)),
                Err(error) => return Poll::Ready(Err(error.into())),
            },
            Self::Waiting(taken) => taken,
            Self::Done => return Poll::Ready(Ok(())),
        };
        let written = taken.poll_flush(cx);
        if written.is_pending() {
            *self = Self::Waiting(taken);
        } else {
            taken.0 = None;
        }
        written
    }
}

/// A socket that took a message; nothing once that is written.
struct Taken<'a, S>(Option<&'a mut WebSocket<S>>);

impl<S: AsyncWrite + Unpin> Taken<'_, S> {
    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.as_ref().map_or(Poll::Ready(Ok(())), |socket| socket.line().poll_flush(cx))
    }
}

impl<S> Drop for Taken<'_, S> {
    fn drop(&mut self) {
        // What was taken is written, whether anybody waits for it or not.
        if let Some(socket) = &self.0 {
            socket.shared.ask(&mut socket.line());
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line();
        f.debug_struct("WebSocket").field("intake", &self.intake).field("line", &*line).finish()
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
        let taken = self.socket.line().sender.send(Message::Text(text.into()));
        debug_assert!(taken.is_ok(), "there was room, and nobody else could take it");
    }

    /// Queues a binary message, as [`WebSocket::feed`] does. Cannot fail.
    pub fn send_binary(self, bytes: impl Into<Bytes>) {
        let taken = self.socket.line().sender.send(Message::Binary(bytes.into()));
        debug_assert!(taken.is_ok(), "there was room, and nobody else could take it");
    }
}

/// The payload of a message that may be copied.
#[inline(always)]
fn short(message: &Message) -> Option<(Kind, &[u8])> {
    MessageRef::from(message).data().filter(|(_, payload)| payload.len() <= MOST_SHORT)
}

/// What is longer is shared rather than copied, unless the settings say otherwise.
const MOST_SHORT: usize = 4 << 10;
