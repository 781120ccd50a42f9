//! Writing to a [`Line`].

#![forbid(unsafe_code)]

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, IoSlice};

use ::tokio::io::AsyncWrite;
use bytes::Buf;

use super::closing::Stage;
use super::line::Line;
use super::patience::Late;
use super::wakers::Side;
use crate::error::{Deadline, Error};
use crate::proto::{MessageRef, Output, SendError, SendErrorKind};

impl<S: AsyncWrite + Unpin> Line<S> {
    /// Waits for room in the queue.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            match self.refusal() {
                None => return Poll::Ready(Ok(())),
                Some(SendErrorKind::Full) if self.sender.queued() > 0 => ready!(self.poll_flush(cx))?,
                Some(kind) => return Poll::Ready(Err(SendError::from(kind).into())),
            }
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let polled = self.with_wakers(Side::Send, cx, Self::poll_flush_output);
        if polled.is_ready() {
            self.wakers.forget(Side::Send);
        }
        polled
    }

    pub(super) fn poll_flush_output(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.stage == Stage::Ended {
            let clean = self.heard.close_status(&self.sender).is_some_and(|status| status.clean);
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
        if written.is_pending() {
            return match ready!(self.poll_patience(false, cx)) {
                Late::Output => {
                    self.wakers.wake();
                    Poll::Ready(Err(Error::Timeout(Deadline::Write)))
                }
                // As after a Close: the failure is for `recv` to tell.
                Late::Message | Late::Beat(_) => self.poll_flush_output(cx),
            };
        }
        written.map(Ok)
    }

    /// Writes what is held, for a task that is not the application's. An error is for the application to find.
    pub(super) fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.stage == Stage::Ended {
            return Poll::Ready(());
        }
        let polled = self.with_wakers(Side::Held, cx, Self::poll_write);
        if polled.is_ready() {
            self.wakers.forget(Side::Held);
            self.held = None;
        }
        polled
    }

    /// Takes a borrowed message, of which nothing is copied that the stream takes at once.
    pub(super) fn send_ref(
        &mut self,
        message: MessageRef<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), SendError> {
        if self.unflushed || self.senders.is_some() {
            return self.sender.send_ref(message);
        }
        let Self { stream, sender, .. } = self;
        let mut written = 0;
        sender.send_ref_with(message, |header, payload| {
            let pieces = [IoSlice::new(header), IoSlice::new(payload)];
            // An error comes again where the rest is written.
            if let Poll::Ready(Ok(count)) = Pin::new(stream).poll_write_vectored(cx, &pieces) {
                written = count;
            }
            written
        })?;
        if written > 0 {
            self.note_written(written);
        }
        Ok(())
    }

    fn note_written(&mut self, count: usize) {
        self.patience.note_written(count);
        self.watch.sent(count);
        self.unflushed = true;
    }

    /// Writes as much as the stream takes; pending while something waits. An error of the stream is kept
    /// for the end: what the peer sent before may still be read.
    #[inline]
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_output() || self.senders.is_some() {
            return self.poll_write_output(cx);
        }
        self.patience.note_drained();
        Poll::Ready(())
    }

    #[inline(never)]
    fn poll_write_output(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let written = self.poll_try_write(cx);
        if self.senders.is_some() {
            self.wake_ready();
        }
        match ready!(written) {
            Ok(()) => {}
            Err(error) => {
                self.write_error = self.write_error.or(Some(error.kind()));
                self.sender.output_lost();
                self.unflushed = false;
            }
        }
        Poll::Ready(())
    }

    fn poll_try_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sender.wants_output() {
            let output = self.sender.output();
            let stream = Pin::new(&mut self.stream);
            let written = if output.is_in_one() {
                ready!(stream.poll_write(cx, output.chunk()))?
            } else {
                ready!(poll_write_pieces(stream, cx, output))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(written);
            self.note_written(written);
            if self.wants_flush() {
                ready!(self.poll_flush_stream(cx))?;
            }
        }
        if self.unflushed {
            ready!(self.poll_flush_stream(cx))?;
        }
        self.patience.note_drained();
        Poll::Ready(Ok(()))
    }

    fn poll_flush_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unflushed = false;
        self.note_flushed();
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A stream that is gone already needs no shutdown: its error says nothing new.
        if let Poll::Ready(Ok(()) | Err(_)) = Pin::new(&mut self.stream).poll_shutdown(cx) {
            self.stage = Stage::ShutDown;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

#[inline(never)]
fn poll_write_pieces<S: AsyncWrite>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    output: &Output,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = output.chunks_vectored(&mut slices);
    debug_assert_ne!(count, 0, "bytes that wait lie somewhere");
    stream.poll_write_vectored(cx, &slices[..count])
}

/// How many pieces one write takes: enough for a burst of large messages, and little on the stack.
const SLICES: usize = 32;
