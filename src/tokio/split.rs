//! The two halves of a socket, for tasks of their own.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use ::tokio::io::{AsyncRead, AsyncWrite};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use super::intake::Intake;
use super::line::Line;
use super::queue::{leave, poll_until};
use super::shared::Owner;
use super::wakers::{Side, Until};
use super::websocket::WebSocket;
use crate::error::Error;
use crate::proto::{CloseCode, CloseFrame, CloseStatus, Event, Message, Prepared, SendError, SendErrorKind};

impl<S> WebSocket<S> {
    /// Takes the socket apart, for a task that receives and others that send. Only the stream and the engine's
    /// sending half are behind a lock, for as long as one write takes.
    ///
    /// A message in [fragments](Self::feed_fragment) that is under way cannot be ended by the halves.
    #[must_use]
    pub fn into_split(self) -> (ReceiveHalf<S>, SendHalf<S>) {
        let Self { intake, shared } = self;
        shared.line().split();
        let sender = SendHalf { shared: shared.clone(), place: None, ready: false, mark: None };
        (ReceiveHalf { intake: Some(intake), shared }, sender)
    }
}

/// The half of a [`WebSocket`] that receives: see [`WebSocket::into_split`].
///
/// **While it is polled** it also answers pings and the peer's Close, and writes what those who send could not.
///
/// **If it is dropped**, the stream goes on for those who send. While one of their futures is polled, it receives in
/// the place of this half: pings and the peer's Close are answered, data is dropped. [`SendHalf::closed`] does only that.
///
/// **If all that send are dropped**, nothing happens: this half goes on receiving and answering, and
/// [`sender`](Self::sender) makes another. The stream ends, without a Close, when both halves are gone.
///
/// **Cancel safety.** As [`WebSocket`]: [`recv`](Self::recv) loses nothing.
pub struct ReceiveHalf<S> {
    /// Nothing once it is dropped, or reunited.
    intake: Option<Box<Intake>>,
    pub(super) shared: Owner<S>,
}

impl<S> ReceiveHalf<S> {
    /// Another half that sends.
    #[must_use]
    pub fn sender(&self) -> SendHalf<S> {
        SendHalf { shared: self.shared.clone(), place: None, ready: false, mark: None }
    }

    /// How the connection ended: see [`WebSocket::close_status`].
    #[must_use]
    pub fn close_status(&self) -> Option<CloseStatus> {
        self.shared.close_status()
    }

    /// How long a message takes to the peer and back, smoothed over the pings of
    /// [`Options::ping_interval`](crate::Options::ping_interval), once one was answered.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared.line().round_trip()
    }

    /// Whether [`recv`](Self::recv) has nothing more to give.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.intake.as_ref().is_none_or(|intake| intake.is_ended())
    }

    /// The socket again.
    ///
    /// # Errors
    /// [`ReuniteError`] with both halves in it, if they are not of one socket, or there are other senders.
    pub fn reunite(mut self, sender: SendHalf<S>) -> Result<WebSocket<S>, ReuniteError<S>> {
        let reason = if !Arc::ptr_eq(&self.shared, &sender.shared) {
            ReuniteErrorKind::Strangers
        } else if self.shared.owners() > 2 {
            ReuniteErrorKind::OtherSenders
        } else {
            let shared = self.shared.clone();
            // One of another socket would have no intake.
            if let Some(intake) = self.intake.take() {
                return Ok(WebSocket { intake, shared });
            }
            ReuniteErrorKind::Strangers
        };
        Err(ReuniteError { receiver: self, sender, kind: reason })
    }

    pub(super) fn parts(&mut self) -> (&mut Intake, &Owner<S>) {
        (self.intake.as_mut().expect("only what consumes the half takes it"), &self.shared)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ReceiveHalf<S> {
    /// The next message: see [`WebSocket::recv`].
    ///
    /// # Errors
    /// As [`WebSocket::recv`].
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> {
        poll_fn(|cx| self.poll_event(cx, Event::into_message))
    }

    /// The next event: see [`WebSocket::recv_event`].
    ///
    /// # Errors
    /// As [`WebSocket::recv`].
    pub fn recv_event(&mut self) -> impl Future<Output = Result<Option<Event>, Error>> {
        poll_fn(|cx| self.poll_event(cx, |event| event))
    }

    fn poll_event<T>(
        &mut self,
        cx: &mut Context<'_>,
        made: impl FnOnce(Event) -> T,
    ) -> Poll<Result<Option<T>, Error>> {
        let (intake, shared) = self.parts();
        intake.poll_event(shared, Side::Receive, cx, made)
    }
}

/// As [`recv`](ReceiveHalf::recv).
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for ReceiveHalf<S> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(cx, Event::into_message).map(Result::transpose)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for ReceiveHalf<S> {
    fn is_terminated(&self) -> bool {
        self.is_ended()
    }
}

impl<S> Drop for ReceiveHalf<S> {
    fn drop(&mut self) {
        if let Some(mut intake) = self.intake.take() {
            intake.give_back();
            self.shared.line().adopt(intake);
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for ReceiveHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveHalf")
            .field("intake", &self.intake)
            .field("line", &*self.shared.line())
            .finish()
    }
}

/// The half of a [`WebSocket`] that sends: see [`WebSocket::into_split`]. Clones send over the same connection.
///
/// **Order.** What one handle sends goes out in that order; messages of several are not ordered among each other, and
/// never mixed. A pong goes ahead of all that waits, a Close behind it.
///
/// **Fair turns.** Who waits stands in a queue; room goes to the first who [reserved](Self::reserve) it, and
/// [`send`](Self::send) does not overtake those.
///
/// **Cancel safety.** As [`WebSocket`]: each future may be dropped at any time, and what was taken is written.
pub struct SendHalf<S> {
    pub(super) shared: Owner<S>,
    /// In the queue of those who wait.
    pub(super) place: Option<u64>,
    /// `poll_ready` gave this handle the right to queue the next message.
    ready: bool,
    /// How far `poll_flush` or `poll_close` waits for.
    mark: Option<u64>,
}

impl<S> SendHalf<S> {
    /// Queues a message without writing it: see [`WebSocket::feed`]. Never waits.
    ///
    /// # Errors
    /// [`Error::Send`] hands the message back; [`SendErrorKind::Full`] also where others wait for the room there is.
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.take(message.into())?;
        Ok(())
    }

    /// Queues a message that was encoded once for many connections. Never waits.
    ///
    /// # Errors
    /// [`Error::Send`].
    pub fn feed_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        if self.shared.line().is_promised() {
            return Err(SendError::from(SendErrorKind::Full).into());
        }
        self.shared.append(|sender| sender.send_prepared(message))?;
        Ok(())
    }

    /// Queues a Close behind all that was taken by any handle: see [`WebSocket::start_close`].
    pub fn start_close(&mut self, frame: impl Into<Option<CloseFrame>>) {
        self.shared.line().append_close(frame.into());
    }

    /// Why a message would be refused at this moment.
    #[must_use]
    pub fn refusal(&self) -> Option<SendErrorKind> {
        self.shared.line().refusal()
    }

    /// How many bytes wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.line().sender.queued()
    }

    /// How the connection ended: see [`WebSocket::close_status`].
    #[must_use]
    pub fn close_status(&self) -> Option<CloseStatus> {
        self.shared.close_status()
    }

    /// How long a message takes to the peer and back, smoothed over the pings of
    /// [`Options::ping_interval`](crate::Options::ping_interval), once one was answered.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared.line().round_trip()
    }

    /// Whether both send over the same connection.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    fn pass_turn(&mut self) {
        if core::mem::take(&mut self.ready) {
            self.shared.line().release_turn();
        }
    }

    fn take(&self, message: Message) -> Result<u64, SendError> {
        let mut line = self.shared.line();
        let mark = line.append_message(message)?;
        self.shared.note_queued(line.sender.queued());
        Ok(mark)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> SendHalf<S> {
    /// Takes a message, and waits until that is written, and all that was queued before.
    ///
    /// # Errors
    /// As [`WebSocket::send`]. [`SendErrorKind::Full`] also where others wait for the room there is, and
    /// [`SendErrorKind::MessageInProgress`] while another handle [streams](Self::send_stream) one:
    /// [`reserve`](Self::reserve) waits.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let mark = self.take(message.into())?;
        self.until(Until::Written(mark)).await
    }

    /// Waits until there is room for a message, and it is this handle's turn. Others wait until the [`SendPermit`] is
    /// used or dropped.
    ///
    /// # Errors
    /// [`Error::Send`] if no message can be sent any more, else as [`flush`](Self::flush).
    pub async fn reserve(&mut self) -> Result<SendPermit<'_, S>, Error> {
        Ok(SendPermit { turn: self.turn().await? })
    }

    /// Waits until all that any handle has queued so far is written.
    ///
    /// # Errors
    /// As [`WebSocket::flush`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        let mark = self.shared.line().appended();
        self.until(Until::Written(mark)).await
    }

    /// Waits for the end of the connection. If nobody receives any more, this does what the protocol asks for
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the connection closes and the rest takes too long; without a [`ReceiveHalf`] also its errors.
    pub async fn closed(&mut self) -> Result<(), Error> {
        self.until(Until::End).await
    }

    /// Queues a Close and waits for the end of the connection, which whoever receives has to see: see
    /// [`WebSocket::close`].
    ///
    /// # Errors
    /// As [`WebSocket::close`].
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<CloseStatus, Error> {
        self.start_close(CloseFrame::new(code, reason)?);
        self.closed().await?;
        self.close_status().filter(|status| status.clean).ok_or(Error::Lost)
    }

    /// Waits until that much is written which `mark` gives when the wait begins.
    fn poll_mark(
        &mut self,
        cx: &mut Context<'_>,
        mark: impl FnOnce(&mut Line<S>) -> u64,
    ) -> Poll<Result<(), Error>> {
        let mark = *self.mark.get_or_insert_with(|| mark(&mut self.shared.line()));
        let result = ready!(poll_until(&self.shared, &mut self.place, Until::Written(mark), cx));
        self.mark = None;
        Poll::Ready(result)
    }

    pub(super) async fn turn(&mut self) -> Result<Turn<'_, S>, Error> {
        self.until(Until::Room).await?;
        Ok(Turn(&self.shared))
    }

    async fn until(&mut self, until: Until) -> Result<(), Error> {
        let waiting = Waiting(self);
        poll_fn(|cx| poll_until(&waiting.0.shared, &mut waiting.0.place, until, cx)).await
    }
}

/// Leaves the queue if its future is dropped; what was taken is written all the same.
struct Waiting<'a, S>(&'a mut SendHalf<S>);

impl<S> Drop for Waiting<'_, S> {
    fn drop(&mut self) {
        if self.0.place.is_some() {
            leave(&self.0.shared, &mut self.0.place);
            let line = &mut *self.0.shared.line();
            if line.sender.wants_output() {
                self.0.shared.ask(line);
            }
        }
    }
}

impl<S> Clone for SendHalf<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), place: None, ready: false, mark: None }
    }
}

impl<S> Drop for SendHalf<S> {
    fn drop(&mut self) {
        leave(&self.shared, &mut self.place);
        self.pass_turn();
    }
}

/// `close` queues a Close with 1000, behind all that was taken, and waits until that is written.
///
/// A handle that is pending here keeps its place in the queue until it is polled again, or dropped, and may hold up
/// those behind it; one that is ready has its turn until it sends, flushes or is dropped.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for SendHalf<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let half = self.get_mut();
        half.mark = None;
        if !half.ready {
            ready!(poll_until(&half.shared, &mut half.place, Until::Room, cx))?;
            half.ready = true;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.mark = None;
        if !self.ready {
            return self.feed(message);
        }
        let sent = self.shared.append(|sender| sender.send_reserved(message));
        self.pass_turn();
        sent.map(drop).map_err(Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let half = self.get_mut();
        half.pass_turn();
        half.poll_mark(cx, |line| line.appended())
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let half = self.get_mut();
        half.pass_turn();
        if half.refusal() != Some(SendErrorKind::Closed) {
            half.mark = None;
        }
        half.poll_mark(cx, |line| line.append_close(Some(CloseFrame::from(CloseCode::NORMAL))))
    }
}

impl<S: fmt::Debug> fmt::Debug for SendHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHalf").field("line", &*self.shared.line()).finish()
    }
}

/// The right to queue the next message, which goes to the next in the queue when it is dropped.
pub(super) struct Turn<'a, S>(pub(super) &'a Owner<S>);

impl<S> Drop for Turn<'_, S> {
    fn drop(&mut self) {
        self.0.line().release_turn();
    }
}

/// Room for one message: see [`SendHalf::reserve`].
#[must_use = "without a message the room goes unused"]
pub struct SendPermit<'a, S> {
    turn: Turn<'a, S>,
}

impl<S> SendPermit<'_, S> {
    /// Queues a message, as [`SendHalf::feed`] does. It is not refused for want of room.
    ///
    /// # Errors
    /// [`Error::Send`] with the message, if the connection began to close meanwhile.
    pub fn send(self, message: impl Into<Message>) -> Result<(), Error> {
        self.turn.0.append(|sender| sender.send_reserved(message.into()))?;
        Ok(())
    }
}

impl<S> fmt::Debug for SendPermit<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendPermit").finish_non_exhaustive()
    }
}

/// Halves that are no socket together: see [`ReceiveHalf::reunite`].
#[non_exhaustive]
pub struct ReuniteError<S> {
    /// The half that receives.
    pub receiver: ReceiveHalf<S>,
    /// The half that sends.
    pub sender: SendHalf<S>,
    /// Why they are not.
    pub kind: ReuniteErrorKind,
}

/// Why halves are no socket together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReuniteErrorKind {
    /// They are of different sockets.
    Strangers,
    /// There are other handles that send.
    OtherSenders,
}

impl<S> fmt::Debug for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReuniteError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<S> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ReuniteErrorKind::Strangers => {
                "the halves are not of one socket: reunite those of one into_split"
            }
            ReuniteErrorKind::OtherSenders => "other handles can send over this socket: drop them first",
        })
    }
}

impl<S> core::error::Error for ReuniteError<S> {}
