//! Frames without a connection around them, for those who keep fragmentation, answers and closing in their own hands:
//! [`FrameReader`] and [`FrameWriter`] over the two halves of a byte stream whose opening handshake is done.
//!
//! What they do: the rules on a header (RFC 6455 §5.1, §5.2, §5.5), masking, and a limit on what is held. What they do
//! **not** do, and [`WebSocket`](super::WebSocket) does: answer a ping or a Close; refuse a continuation without a
//! start, or a start within a message; put fragments together; check that text is UTF-8; compress; end after a Close;
//! keep deadlines, rates and budgets; tell the peer what it did wrong. A peer can do all of that to whoever forgets it.
//!
//! ```no_run
//! # async fn run(stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
//! use taut::proto::frame::OpCode;
//! use taut::tokio::frames::{Frame, FrameReader, FrameWriter};
//!
//! // The handshake is that of any socket; what came behind it goes to the reader.
//! let (stream, connection) = taut::tokio::accept(stream).await?.into_parts();
//! let (read, write) = stream.into_split();
//! let mut reader = FrameReader::new(read, connection.role()).with_input(connection.unparsed());
//! let mut writer = FrameWriter::new(write, connection.role());
//! while let Some(frame) = reader.read().await? {
//!     match frame.opcode {
//!         OpCode::Ping => writer.write(&Frame::pong(frame.payload)).await?,
//!         OpCode::Pong => {}
//!         // The body as it came: a Close with the same code.
//!         OpCode::Close => {
//!             writer.write(&frame).await?;
//!             break;
//!         }
//!         OpCode::Text | OpCode::Binary | OpCode::Continuation => writer.write(&frame).await?,
//!     }
//! }
//! writer.shutdown().await?;
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::fmt;
use core::future::{Future, poll_fn};
use core::mem;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use std::io::{self, IoSlice};

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::Error;
use crate::proto::frame::{Header, MAX_CONTROL_PAYLOAD, MAX_HEADER, OpCode};
use crate::proto::{
    CloseFrame, MaskSource, ProtocolError, Role, SendError, SendErrorKind, Utf8Bytes, decode_close, mask,
};
use crate::random::RandomMasks;

/// A frame with its whole payload, unmasked.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the fields of RFC 6455 §5.2")]
pub struct Frame {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// The first reserved bit, which an extension gives its meaning: see [`FrameReader::allow_rsv1`].
    pub rsv1: bool,
    /// What the frame is for.
    pub opcode: OpCode,
    /// The payload; that of text is not checked.
    pub payload: Bytes,
}

impl Frame {
    /// A frame that ends its message.
    #[must_use]
    pub fn new(opcode: OpCode, payload: impl Into<Bytes>) -> Self {
        Self { fin: true, rsv1: false, opcode, payload: payload.into() }
    }

    /// A text message.
    #[must_use]
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::new(OpCode::Text, text.into().into_bytes())
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::new(OpCode::Binary, bytes)
    }

    /// A ping, of at most 125 bytes.
    #[must_use]
    pub fn ping(payload: impl Into<Bytes>) -> Self {
        Self::new(OpCode::Ping, payload)
    }

    /// A pong, of at most 125 bytes.
    #[must_use]
    pub fn pong(payload: impl Into<Bytes>) -> Self {
        Self::new(OpCode::Pong, payload)
    }

    /// A Close, with a code and a reason or without (RFC 6455 §5.5.1).
    #[must_use]
    pub fn close(body: impl Into<Option<CloseFrame>>) -> Self {
        let payload = body.into().map_or_else(Vec::new, |body| {
            [&body.code().get().to_be_bytes(), body.reason().as_bytes()].concat()
        });
        Self::new(OpCode::Close, payload)
    }

    /// The code and the reason of a Close, `None` if it has none.
    ///
    /// # Errors
    /// The rule of RFC 6455 §5.5.1 or §7.4 that the payload breaks.
    pub fn close_body(&self) -> Result<Option<CloseFrame>, ProtocolError> {
        decode_close(&self.payload)
    }

    /// The frame as one of several of its message, which another one ends.
    #[must_use]
    pub const fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads stay out of logs.
        let Self { fin, rsv1, opcode, payload } = self;
        let mut frame = f.debug_struct("Frame");
        frame.field("fin", fin).field("rsv1", rsv1).field("opcode", opcode).field("len", &payload.len());
        frame.finish_non_exhaustive()
    }
}

/// Reads frames, whole or in pieces.
///
/// Every future is cancel safe: what was read stays here. Memory: at most 32 KiB while something is read,
/// and at most twice of what came of a frame that is read whole, whatever its header announces; nothing while it waits
/// for a frame.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    peer: Role,
    max_frame: usize,
    rsv1: bool,
    /// What came and is not handed out. Nobody shares its memory.
    input: BytesMut,
    /// The frame that is not handed out to its end.
    current: Option<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    header: Header,
    /// How much of the payload is not handed out.
    left: u64,
}

impl<R> FrameReader<R> {
    /// Reads what the peer of `role` sends: the frames of clients are masked, those of servers are not.
    #[must_use]
    pub fn new(stream: R, role: Role) -> Self {
        let (peer, max_frame) = (role.peer(), MAX_FRAME);
        Self { stream, peer, max_frame, rsv1: false, input: BytesMut::new(), current: None }
    }

    /// The largest payload of a frame that is [read whole](Self::read). Default: 16 MiB.
    #[must_use]
    pub const fn max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes;
        self
    }

    /// Whether data frames may have RSV1, since an extension was agreed on that the caller speaks. Default: no. RFC
    /// 7692 §6.1 allows it on the first frame of a message only, which is for the caller to check.
    #[must_use]
    pub const fn allow_rsv1(mut self, on: bool) -> Self {
        self.rsv1 = on;
        self
    }

    /// With bytes that came already, say behind the handshake.
    #[must_use]
    pub fn with_input(mut self, bytes: &[u8]) -> Self {
        self.input.extend_from_slice(bytes);
        self
    }

    /// The stream.
    #[must_use]
    pub const fn get_ref(&self) -> &R {
        &self.stream
    }

    /// The stream, and the bytes that were read from it and not handed out. A header that was handed out is not among
    /// them.
    #[must_use]
    pub fn into_parts(self) -> (R, BytesMut) {
        (self.stream, self.input)
    }
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// The next frame; of one whose payload was taken [in part](Self::piece), the rest. `None` if the stream ended
    /// between two frames, which without a Close before it is an abnormal end (1006).
    ///
    /// # Errors
    /// [`Error::Protocol`] if the header breaks a rule, or announces more than [`max_frame`](Self::max_frame), and
    /// again at each further call; the payload of such a large frame can still be taken in pieces. The peer is not
    /// told: [`ProtocolError::close_code`] is what a Close would say. [`Error::Lost`] if the stream ends within a
    /// frame, [`Error::Io`].
    pub async fn read(&mut self) -> Result<Option<Frame>, Error> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// The header of the next frame, before its payload has come; the same again until all of that is taken.
    ///
    /// # Errors
    /// As [`read`](Self::read), without the limit.
    pub async fn header(&mut self) -> Result<Option<Header>, Error> {
        poll_fn(|cx| self.poll_header(cx)).await
    }

    /// The next piece of the payload that belongs to [`header`](Self::header), of at least one byte and at most
    /// 16 KiB; `None` at its end, behind which the next frame follows. No limit holds but that of a piece.
    ///
    /// # Errors
    /// [`Error::Lost`] if the stream ends within the frame, [`Error::Io`].
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, Error>> {
        let Some(Header { fin, rsv1, opcode, len, .. }) = ready!(self.poll_header(cx))? else {
            return Poll::Ready(Ok(None));
        };
        let left = self.current.map_or(0, |current| current.left);
        let left = match usize::try_from(left) {
            Ok(left) if len <= self.max_frame as u64 => left,
            _ => return Poll::Ready(Err(ProtocolError::FrameTooBig { max: self.max_frame }.into())),
        };
        while self.input.len() < left {
            ready!(self.poll_more(left - self.input.len(), cx))?;
        }
        let payload = self.take(left);
        self.current = None;
        Poll::Ready(Ok(Some(Frame { fin, rsv1, opcode, payload })))
    }

    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Header>, Error>> {
        loop {
            if let Some(current) = &self.current {
                return Poll::Ready(Ok(Some(current.header)));
            }
            // As early as every other rule: at the first byte.
            if let Some(&first) = self.input.first() {
                let (_, rsv1, _) = Header::decode_first(first)?;
                if rsv1 && !self.rsv1 {
                    return Poll::Ready(Err(ProtocolError::ReservedBit(1).into()));
                }
            }
            if let Some((header, length)) = Header::decode(&self.input, self.peer)? {
                self.input.advance(length);
                self.current = Some(Current { header, left: header.len });
            } else if ready!(self.poll_fill(MAX_HEADER, cx))? == 0 {
                return Poll::Ready(if self.input.is_empty() { Ok(None) } else { Err(Error::Lost) });
            }
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let Some(Current { left, .. }) = self.current.filter(|current| current.left > 0) else {
            self.current = None;
            return Poll::Ready(Ok(None));
        };
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if self.input.is_empty() {
            ready!(self.poll_more(left, cx))?;
        }
        Poll::Ready(Ok(Some(self.take(left.min(self.input.len()).min(READ)))))
    }

    /// Reads some of a payload of which so much lacks.
    fn poll_more(&mut self, lacks: usize, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match ready!(self.poll_fill(lacks, cx))? {
            0 => Poll::Ready(Err(Error::Lost)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Reads some of what lacks, and what comes behind it; gives how much.
    fn poll_fill(&mut self, lacks: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < LEAST_ROOM {
            // What came decides how much more there is room for, not what a header says.
            self.input.reserve(lacks.clamp(READ, self.input.len().max(READ)));
        }
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        if read.is_pending() && self.input.is_empty() {
            self.input = BytesMut::new();
        }
        read
    }

    /// The next bytes of the payload, unmasked.
    fn take(&mut self, len: usize) -> Bytes {
        let Some(Current { header, left }) = &mut self.current else { return Bytes::new() };
        if let Some(key) = header.key {
            // A key has four bytes: more than the remainder by it is not asked for.
            let offset = (header.len - *left) % key.len() as u64;
            mask::apply(&mut self.input[..len], key, offset as usize);
        }
        *left -= len as u64;
        if len <= READ {
            // Small ones would keep the memory of all that came with them.
            let bytes = Bytes::copy_from_slice(&self.input[..len]);
            self.input.advance(len);
            return bytes;
        }
        let behind = BytesMut::from(&self.input[len..]);
        let mut payload = mem::replace(&mut self.input, behind);
        payload.truncate(len);
        payload.freeze()
    }
}

/// Writes frames.
///
/// A frame is taken whole or not at all, by the call itself: a future that is dropped leaves the rest of it
/// to the next [`flush`](Self::flush) or [`write`](Self::write). Frames leave in the order of the calls. No socket option
/// is set; on TCP `TCP_NODELAY` is what small frames want.
///
/// Memory: what waits, and up to 8 KiB.
#[derive(Debug)]
pub struct FrameWriter<W> {
    stream: W,
    /// Of a client.
    masks: Option<RandomMasks>,
    max_queued: usize,
    rsv1: bool,
    /// Frames that wait, as bytes …
    output: BytesMut,
    /// … and behind them the payload of one that is large.
    large: Bytes,
    /// Bytes were written that the stream may still hold back.
    unflushed: bool,
}

impl<W> FrameWriter<W> {
    /// Writes as `role`: a client masks, each frame with a key from the thread's generator.
    #[must_use]
    pub fn new(stream: W, role: Role) -> Self {
        Self {
            stream,
            masks: (role == Role::Client).then(RandomMasks::new),
            max_queued: MAX_QUEUED,
            rsv1: false,
            output: BytesMut::new(),
            large: Bytes::new(),
            unflushed: false,
        }
    }

    /// How many bytes may wait to be written; a frame is refused only when that many wait already, so that one of any
    /// size can be sent. Default: 1 MiB.
    #[must_use]
    pub const fn max_queued(mut self, bytes: usize) -> Self {
        self.max_queued = bytes;
        self
    }

    /// Whether data frames may have RSV1: see [`FrameReader::allow_rsv1`]. Default: no.
    #[must_use]
    pub const fn allow_rsv1(mut self, on: bool) -> Self {
        self.rsv1 = on;
        self
    }

    /// Takes a frame without writing it.
    ///
    /// # Errors
    /// [`SendErrorKind::Full`], and what RFC 6455 §5.5 says of control frames, and
    /// [`SendErrorKind::ReservedBit`]. Nothing was taken then. The order of frames, such as a Close that is not the last,
    /// is not looked at.
    pub fn feed(&mut self, frame: &Frame) -> Result<(), SendError> {
        if self.queued() >= self.max_queued {
            return Err(SendErrorKind::Full.into());
        }
        let Frame { fin, rsv1, opcode, payload } = frame;
        if opcode.is_control() {
            // RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST
            // NOT be fragmented."
            if payload.len() > MAX_CONTROL_PAYLOAD {
                return Err(SendErrorKind::ControlTooLong.into());
            }
            if !fin {
                return Err(SendErrorKind::ControlFragmented.into());
            }
        }
        if *rsv1 && (!self.rsv1 || opcode.is_control()) {
            return Err(SendErrorKind::ReservedBit.into());
        }
        let key = self.masks.as_mut().map(MaskSource::next_key);
        let header = Header { fin: *fin, rsv1: *rsv1, opcode: *opcode, key, len: payload.len() as u64 };
        let mut bytes = [0; MAX_HEADER];
        let length = header.encode(&mut bytes);
        // What waits behind a large payload goes behind it.
        self.output.put(mem::take(&mut self.large));
        self.output.extend_from_slice(&bytes[..length]);
        if let Some(key) = key {
            let start = self.output.len();
            self.output.extend_from_slice(payload);
            mask::apply(&mut self.output[start..], key, 0);
        } else if payload.len() <= COPIED {
            self.output.extend_from_slice(payload);
        } else {
            self.large = payload.clone();
        }
        Ok(())
    }

    /// How many bytes wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.output.len() + self.large.len()
    }

    /// The stream.
    #[must_use]
    pub const fn get_ref(&self) -> &W {
        &self.stream
    }

    /// The stream, and the bytes that wait.
    #[must_use]
    pub fn into_parts(mut self) -> (W, BytesMut) {
        self.output.put(self.large);
        (self.stream, self.output)
    }
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Takes a frame, then writes all that waits.
    ///
    /// # Errors
    /// [`Error::Send`] as [`feed`](Self::feed): the frame was not taken. [`Error::Io`]: it was, and the stream is of no
    /// more use.
    pub fn write<'a>(&'a mut self, frame: &Frame) -> impl Future<Output = Result<(), Error>> + use<'a, W> {
        let taken = self.feed(frame);
        async move {
            taken?;
            self.flush().await
        }
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        Ok(poll_fn(|cx| self.poll_flush(cx)).await?)
    }

    /// Writes all that waits and ends this side of the stream.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn shutdown(&mut self) -> Result<(), Error> {
        self.flush().await?;
        Ok(poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.queued() > 0 {
            let parts = [IoSlice::new(&self.output), IoSlice::new(&self.large)];
            let stream = Pin::new(&mut self.stream);
            let written = match (self.output.is_empty(), self.large.is_empty()) {
                (false, false) => stream.poll_write_vectored(cx, &parts),
                (false, true) => stream.poll_write(cx, &self.output),
                (true, _) => stream.poll_write(cx, &self.large),
            };
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            let first = written.min(self.output.len());
            self.output.advance(first);
            self.large.advance(written - first);
        }
        self.output.clear();
        if self.output.capacity() > 2 * COPIED {
            self.output = BytesMut::new();
        }
        self.large = Bytes::new();
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// The default limits are those of [`Config`](crate::proto::Config).
const MAX_FRAME: usize = 16 << 20;
const MAX_QUEUED: usize = 1 << 20;

/// The size of a buffer to read into: more than a TCP segment of any network, and a record of TLS.
const READ: usize = 16 << 10;

/// With less room than a small segment a read is not worth its system call.
const LEAST_ROOM: usize = 1 << 10;

/// Payloads up to this size are copied behind their headers, which costs less than a second slice in a write.
const COPIED: usize = 4 << 10;
