//! A byte stream on whose both ways frames are looked at, without touching them.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use taut::proto::Role;
use taut::proto::frame::{Header, MAX_HEADER, OpCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::output::Output;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Received,
    Sent,
}

/// A frame that passed.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    pub(super) direction: Direction,
    pub(super) header: Header,
    /// The length of the header in bytes.
    pub(super) header_len: usize,
    /// The first bytes of the payload, unmasked, as they were on the wire.
    pub(super) start: Vec<u8>,
}

/// What passed on one connection.
#[derive(Debug)]
pub(super) struct Wire {
    output: Arc<Output>,
    counts: Mutex<[Count; 2]>,
}

/// What passed one way.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) frames: u64,
    /// Headers included.
    pub(super) bytes: u64,
    /// Of the message that is under way.
    message: u64,
    /// The payload on the wire of each message that nobody has asked for. The library hands out what came before it reads
    /// more, so that these are few.
    sizes: VecDeque<u64>,
}

impl Wire {
    pub(super) fn new(output: Arc<Output>) -> Self {
        Self { output, counts: Mutex::default() }
    }

    /// How long the next message was on the wire, in order; `None` if sizes are not kept.
    pub(super) fn size(&self, direction: Direction) -> Option<u64> {
        self.counts()[direction as usize].sizes.pop_front()
    }

    /// Frames and bytes so far.
    pub(super) fn total(&self, direction: Direction) -> (u64, u64) {
        let count = &self.counts()[direction as usize];
        (count.frames, count.bytes)
    }

    fn passed(&self, frame: &Passed) {
        {
            let count = &mut self.counts()[frame.direction as usize];
            let (header, opcode) = (&frame.header, frame.header.opcode);
            count.frames += 1;
            count.bytes += frame.header_len as u64 + header.len;
            if !opcode.is_control() && self.output.is_verbose() {
                count.message += header.len;
                if header.fin {
                    let size = std::mem::take(&mut count.message);
                    count.sizes.push_back(size);
                }
            }
        }
        self.output.frame(frame);
    }

    fn counts(&self) -> MutexGuard<'_, [Count; 2]> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream of a client.
#[derive(Debug)]
pub(super) struct Tap<S> {
    stream: S,
    received: Scanner,
    sent: Scanner,
}

impl<S> Tap<S> {
    /// With what came already.
    pub(super) fn new(stream: S, wire: &Arc<Wire>, unparsed: &[u8]) -> Self {
        let mut received = Scanner::new(Direction::Received, wire.clone());
        received.scan(unparsed);
        Self { stream, received, sent: Scanner::new(Direction::Sent, wire.clone()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.received.scan(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.sent.scan(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        let mut left = written;
        for slice in slices {
            let taken = left.min(slice.len());
            self.sent.scan(&slice[..taken]);
            left -= taken;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Finds frames in the bytes of one way.
#[derive(Debug)]
struct Scanner {
    wire: Arc<Wire>,
    direction: Direction,
    /// The header that is not whole.
    head: Vec<u8>,
    /// The frame whose payload passes, and how much of that is to come.
    current: Option<(Passed, u64)>,
    /// What passes are no frames: the connection fails.
    is_lost: bool,
}

impl Scanner {
    fn new(direction: Direction, wire: Arc<Wire>) -> Self {
        Self { wire, direction, head: Vec::with_capacity(MAX_HEADER), current: None, is_lost: false }
    }

    fn scan(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_lost {
            match &mut self.current {
                None => {
                    let (first, rest) = bytes.split_at(1);
                    bytes = rest;
                    self.head.extend_from_slice(first);
                    self.begin();
                }
                Some((passed, left)) => {
                    let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let (payload, rest) = bytes.split_at(taken);
                    bytes = rest;
                    *left -= taken as u64;
                    let kept = payload.len().min(START - passed.start.len());
                    passed.start.extend_from_slice(&payload[..kept]);
                }
            }
            self.end();
        }
    }

    /// Begins a frame, if its header is whole.
    fn begin(&mut self) {
        let from = match self.direction {
            Direction::Received => Role::Server,
            Direction::Sent => Role::Client,
        };
        match Header::decode(&self.head, from) {
            Ok(None) => {}
            Ok(Some((header, header_len))) => {
                let passed = Passed { direction: self.direction, header, header_len, start: Vec::new() };
                self.head.clear();
                self.current = Some((passed, header.len));
            }
            Err(_) => self.is_lost = true,
        }
    }

    /// Tells of a frame, if it is whole.
    fn end(&mut self) {
        if let Some((mut passed, _)) = self.current.take_if(|(_, left)| *left == 0) {
            if let Some(key) = passed.header.key {
                for (byte, key) in passed.start.iter_mut().zip(key.iter().cycle()) {
                    *byte ^= key;
                }
            }
            self.wire.passed(&passed);
        }
    }
}

/// The name of an opcode.
pub(super) const fn name(opcode: OpCode) -> &'static str {
    match opcode {
        OpCode::Continuation => "continuation",
        OpCode::Text => "text",
        OpCode::Binary => "binary",
        OpCode::Close => "close",
        OpCode::Ping => "ping",
        OpCode::Pong => "pong",
    }
}

/// How much of a payload is kept: all of a control frame's.
const START: usize = 125;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_they_are_cut() {
        // A text in two frames with a ping between them, masked by 1 2 3 4.
        let bytes = b"\x01\x82\x01\x02\x03\x04\x69\x6b\x89\x80\x01\x02\x03\x04\x80\x81\x01\x02\x03\x04\x20";
        for cut in 1..bytes.len() {
            let wire = Arc::new(Wire::new(Arc::new(Output::verbose())));
            let mut scanner = Scanner::new(Direction::Sent, wire.clone());
            for piece in bytes.chunks(cut) {
                scanner.scan(piece);
            }
            assert!(!scanner.is_lost && scanner.current.is_none());
            assert_eq!(wire.total(Direction::Sent), (3, bytes.len() as u64), "{cut}");
            assert_eq!((wire.size(Direction::Sent), wire.size(Direction::Sent)), (Some(3), None), "{cut}");
        }
    }
}
