//! Frames that go.

#![forbid(unsafe_code)]

use core::future::{Future, poll_fn};
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, IoSlice};

use ::tokio::io::AsyncWrite;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::frame::Frame;
use crate::error::Error;
use crate::proto::frame::{Header, MAX_CONTROL_PAYLOAD, MAX_HEADER};
use crate::proto::{MaskSource, Role, SendError, SendErrorKind, mask};
use crate::random::RandomMasks;

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

    /// Whether data frames may have RSV1: see [`FrameReader::allow_rsv1`](super::FrameReader::allow_rsv1). Default: no.
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

/// The default limit is that of [`Config`](crate::proto::Config).
const MAX_QUEUED: usize = 1 << 20;

/// Payloads up to this size are copied behind their headers, which costs less than a second slice in a write.
const COPIED: usize = 4 << 10;
