//! One message as a stream of bytes: read, or written, by `tokio::io`, in memory that does not grow with it.

#![forbid(unsafe_code)]

use core::cmp::min;
use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use bytes::{Buf, Bytes};

use super::intake::Intake;
use super::queue::{leave, poll_until};
use super::shared::Owner;
use super::split::{ReceiveHalf, SendHalf, Turn};
use super::wakers::{Side, Until};
use super::websocket::WebSocket;
use crate::error::Error;
use crate::proto::{Chunk, ChunkData, CloseCode, CloseFrame, Event, Kind, Message};

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The next message of text or bytes, to be read as it comes; `None` after the end of the connection. Control
    /// frames between its fragments are answered, and not told. Memory stays flat only under
    /// [`Delivery::Chunks`](crate::proto::Delivery::Chunks). What is left of an earlier message is skipped.
    ///
    /// How long a message may be is bounded by [`Config::max_streamed`](crate::proto::Config::max_streamed),
    /// [`max_fragments`](crate::proto::Config::max_fragments), and [`Options::message_timeout`](crate::Options).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_stream(&mut self) -> Result<Option<MessageReader<'_, S>>, Error> {
        let Self { intake, shared } = self;
        MessageReader::begin(intake, shared).await
    }

    /// A message to be written as `AsyncWrite`, whose length need not be known. Nothing is read meanwhile; the
    /// [halves](Self::into_split) answer pings between its fragments.
    pub fn send_stream(&mut self, kind: Kind) -> MessageWriter<'_, S> {
        MessageWriter::new(&self.shared, kind, None)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ReceiveHalf<S> {
    /// The next message, to be read as it comes: see [`WebSocket::recv_stream`].
    ///
    /// # Errors
    /// As [`WebSocket::recv`].
    pub async fn recv_stream(&mut self) -> Result<Option<MessageReader<'_, S>>, Error> {
        let (intake, shared) = self.parts();
        MessageReader::begin(intake, shared).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> SendHalf<S> {
    /// Waits for this handle's turn, as [`reserve`](Self::reserve) does, to write a message as `AsyncWrite`. Other
    /// handles wait for its end.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    pub async fn send_stream(&mut self, kind: Kind) -> Result<MessageWriter<'_, S>, Error> {
        let turn = self.turn().await?;
        Ok(MessageWriter::new(turn.0, kind, Some(turn)))
    }
}

/// A message that comes: see [`WebSocket::recv_stream`].
///
/// **Cancel safety.** As `AsyncRead` asks for: a read that is dropped took nothing. What a dropped reader did not
/// take is skipped.
///
/// # Errors
/// Reading gives the [`Error`] of the connection within an [`io::Error`], and `UnexpectedEof` where the connection
/// closes before the message ends.
#[must_use = "the message is read from it"]
pub struct MessageReader<'a, S> {
    intake: &'a mut Intake,
    shared: &'a Owner<S>,
    kind: Kind,
    /// What came, and was not read.
    data: Bytes,
    last: bool,
}

impl<S> MessageReader<'_, S> {
    /// Whether it is text. Reads may cut its characters.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> MessageReader<'a, S> {
    async fn begin(intake: &'a mut Intake, shared: &'a Owner<S>) -> Result<Option<Self>, Error> {
        loop {
            let event = poll_fn(|cx| poll_piece(intake, shared, cx)).await?;
            return match event {
                None => Ok(None),
                Some(Some(Piece { kind, data, first: true, last })) => {
                    Ok(Some(Self { intake, shared, kind, data, last }))
                }
                Some(_) => continue,
            };
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MessageReader<'_, S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { intake, shared, data, last, .. } = self.get_mut();
        while data.is_empty() && !*last {
            match ready!(poll_piece(intake, shared, cx)).map_err(to_io)? {
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                // RFC 6455 §5.4: nothing but control frames comes between the pieces of a message.
                Some(None) => {}
                Some(Some(piece)) => (*data, *last) = (piece.data, piece.last),
            }
        }
        let count = min(data.len(), buf.remaining());
        buf.put_slice(&data[..count]);
        data.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S> fmt::Debug for MessageReader<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Reads a little at a time, since what came is copied.
fn poll_piece<S: AsyncRead + AsyncWrite + Unpin>(
    intake: &mut Intake,
    shared: &Owner<S>,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Option<Piece>>, Error>> {
    intake.in_pieces = true;
    let polled = intake.poll_event(shared, Side::Receive, cx, Piece::of);
    intake.in_pieces = false;
    polled
}

/// Some of a message.
struct Piece {
    kind: Kind,
    data: Bytes,
    first: bool,
    last: bool,
}

impl Piece {
    /// `None` of a control frame.
    fn of(event: Event) -> Option<Self> {
        let (data, first, last) = match event {
            Event::Message(Message::Text(text)) => (ChunkData::Text(text), true, true),
            Event::Message(Message::Binary(bytes)) => (ChunkData::Binary(bytes), true, true),
            Event::Message(_) => return None,
            Event::Chunk(Chunk { data, first, last }) => (data, first, last),
        };
        Some(match data {
            ChunkData::Text(text) => Self { kind: Kind::Text, data: text.into_bytes(), first, last },
            ChunkData::Binary(data) => Self { kind: Kind::Binary, data, first, last },
        })
    }
}

/// A message on its way: see [`WebSocket::send_stream`]. Each write is a frame of at most 32 KiB, and a peer may bound
/// their number, as [`Config::max_fragments`](crate::proto::Config::max_fragments) does; `BufWriter` joins small ones.
/// `shutdown` ends the message, and waits until it is written.
///
/// **Dropped before its end**, it cannot be taken back, nor ended as if it were whole: if any of it was taken, the
/// connection closes with 1011.
///
/// **Cancel safety.** A write that is dropped took nothing.
///
/// # Errors
/// Writing gives the [`Error`] of the connection within an [`io::Error`]: [`Error::Send`] if the connection closes, if
/// [fragments](WebSocket::feed_fragment) of another message are under way, or of text that is not UTF-8.
#[must_use = "the message is written to it"]
pub struct MessageWriter<'a, S> {
    shared: &'a Owner<S>,
    /// Of a handle that shares the socket with others.
    turn: Option<Turn<'a, S>>,
    place: Option<u64>,
    kind: Kind,
    stage: Stage,
    /// How far is to be waited for.
    mark: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    /// Some of it was taken.
    Begun,
    /// All of it.
    Ended,
}

impl<'a, S> MessageWriter<'a, S> {
    const fn new(shared: &'a Owner<S>, kind: Kind, turn: Option<Turn<'a, S>>) -> Self {
        Self { shared, turn, place: None, kind, stage: Stage::New, mark: None }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> MessageWriter<'_, S> {
    /// Waits until all is written that waits, or what was to be written when that wait began.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mark = *self.mark.get_or_insert_with(|| self.shared.line().appended());
        let written = ready!(poll_until(self.shared, &mut self.place, Until::Written(mark), cx));
        self.mark = None;
        Poll::Ready(written.map_err(to_io))
    }

    fn append(&mut self, data: &[u8], last: bool) -> io::Result<()> {
        let kind = self.kind;
        self.shared
            .append(|sender| sender.send_fragment(kind, data, last))
            .map_err(|error| to_io(error.into()))?;
        self.stage = if last { Stage::Ended } else { Stage::Begun };
        Ok(())
    }

    /// Waits while so much waits that more would only take memory.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = {
            let line = self.shared.line();
            line.sender.queued() >= min(MOST_WAITING, line.sender.config().max_queued)
        };
        if waiting || self.mark.is_some() { self.poll_written(cx) } else { Poll::Ready(Ok(())) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MessageWriter<'_, S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let writer = self.get_mut();
        if writer.stage == Stage::Ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(writer.poll_room(cx))?;
        let count = min(buf.len(), MOST_FRAME);
        if count > 0 {
            writer.append(&buf[..count], false)?;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_written(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let writer = self.get_mut();
        if writer.stage != Stage::Ended {
            ready!(writer.poll_room(cx))?;
            writer.append(&[], true)?;
            writer.turn = None;
        }
        writer.poll_written(cx)
    }
}

impl<S> Drop for MessageWriter<'_, S> {
    fn drop(&mut self) {
        leave(self.shared, &mut self.place);
        let line = &mut *self.shared.line();
        if self.stage == Stage::Begun {
            line.append_close(Some(CloseFrame::from(CloseCode::INTERNAL)));
        }
        if line.sender.wants_output() {
            self.shared.ask(line);
        }
    }
}

impl<S> fmt::Debug for MessageWriter<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter")
            .field("kind", &self.kind)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

fn to_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

/// The largest frame of a message that is written in pieces.
const MOST_FRAME: usize = 32 << 10;

/// How many bytes of it wait to be written at most, beside one frame.
const MOST_WAITING: usize = 64 << 10;
