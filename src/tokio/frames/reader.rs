//! Frames that come.

#![forbid(unsafe_code)]

use core::future::{Future, poll_fn};
use core::mem;
use core::pin::pin;
use core::task::{Context, Poll, ready};
use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt};
use bytes::{Buf, Bytes, BytesMut};

use super::frame::Frame;
use crate::error::Error;
use crate::proto::frame::{Header, MAX_HEADER};
use crate::proto::{ProtocolError, Role, mask};

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

/// The default limit is that of [`Config`](crate::proto::Config).
const MAX_FRAME: usize = 16 << 20;

/// The size of a buffer to read into: more than a TCP segment of any network, and a record of TLS.
const READ: usize = 16 << 10;

/// With less room than a small segment a read is not worth its system call.
const LEAST_ROOM: usize = 1 << 10;
