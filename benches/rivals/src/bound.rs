//! The least that an echo on tokio takes: what no library can be much faster than. All connections read into one
//! buffer of the thread, answers are made in it in place, and all answers to one read leave in one write. A connection
//! owns memory only for a frame that is not there yet or an answer that the socket has no room for, from a pool.

mod frames;
mod mask;
mod pool;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::{Settings, handshake};
use pool::{Buffer, Pool};

/// Answers each frame with one of the same payload, and checks text; neither fragments nor control frames.
///
/// # Errors
/// The stream's, or that a frame is none.
pub async fn echo_frames(stream: TcpStream, _: Settings) -> Result<()> {
    echo(stream, frames::rewrite).await
}

/// Sends back the bytes that come after the opening handshake.
///
/// # Errors
/// The stream's.
pub async fn echo_bytes(stream: TcpStream, _: Settings) -> Result<()> {
    let same = |bytes: &mut [u8]| Some(Rewritten { answer: 0..bytes.len(), used: bytes.len(), frame: 0 });
    echo(stream, same).await
}

/// What became of the bytes of one read.
struct Rewritten {
    /// Where the answers are.
    answer: Range<usize>,
    /// How many bytes were answered.
    used: usize,
    /// How long the frame is that is incomplete, or else the last one; zero if that is not known.
    frame: usize,
}

async fn echo(mut stream: TcpStream, rewrite: fn(&mut [u8]) -> Option<Rewritten>) -> Result<()> {
    handshake(&mut stream, None).await?;
    let mut connection =
        Connection { stream, held: Buffer::default(), unsent: Buffer::default(), frame: 0, rewrite };
    poll_fn(|context| SHARED.with_borrow_mut(|shared| connection.poll(shared, context))).await
}

struct Connection {
    stream: TcpStream,
    /// The beginning of a frame.
    held: Buffer,
    /// Answers that the socket had no room for.
    unsent: Buffer,
    /// How long the frame is that `held` begins, or else the last one was.
    frame: usize,
    rewrite: fn(&mut [u8]) -> Option<Rewritten>,
}

/// What the connections of a thread share.
struct Shared {
    buffer: Vec<u8>,
    pool: Pool,
}

impl Connection {
    fn poll(&mut self, shared: &mut Shared, context: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            ready!(self.flush(shared, context))?;
            let got = if self.frame > shared.buffer.len() / 2 {
                self.large(shared, context)
            } else {
                self.small(shared, context)
            };
            if ready!(got)? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads into the buffer of the thread, behind the beginning that is held.
    fn small(&mut self, shared: &mut Shared, context: &mut Context<'_>) -> Poll<Result<usize>> {
        let held = self.held.len();
        let got = ready!(read(&mut self.stream, &mut shared.buffer[held..], context))?;
        if held > 0 {
            shared.buffer[..held].copy_from_slice(self.held.filled());
            shared.pool.give(&mut self.held);
        }
        let end = held + got;
        let Rewritten { answer, used, frame } =
            (self.rewrite)(&mut shared.buffer[..end]).ok_or(ErrorKind::InvalidData)?;
        self.frame = frame;
        if used < end {
            self.held = shared.pool.take(frame.max(end - used));
            self.held.extend(&shared.buffer[used..end]);
        }
        let sent = write_now(&mut self.stream, &shared.buffer[answer.clone()], context)?;
        if sent < answer.len() {
            self.unsent = shared.pool.take(answer.len() - sent);
            self.unsent.extend(&shared.buffer[answer.start + sent..answer.end]);
        }
        Poll::Ready(Ok(got))
    }

    /// Reads a frame into memory of its own, no further than to its end.
    fn large(&mut self, shared: &mut Shared, context: &mut Context<'_>) -> Poll<Result<usize>> {
        if self.held.room() == 0 {
            let mut buffer = shared.pool.take(self.frame.max(self.held.len() + 1));
            buffer.extend(self.held.filled());
            shared.pool.give(&mut self.held);
            self.held = buffer;
        }
        let end = self.frame.max(self.held.len() + 1);
        let read = read(&mut self.stream, self.held.unfilled(end), context);
        let Poll::Ready(got) = read else {
            // A connection that is idle owns nothing.
            if self.held.len() == 0 {
                shared.pool.give(&mut self.held);
            }
            return Poll::Pending;
        };
        let got = got?;
        self.held.advance(got);
        if self.held.len() < self.frame {
            return Poll::Ready(Ok(got));
        }
        let Rewritten { answer, used, frame } =
            (self.rewrite)(self.held.filled_mut()).ok_or(ErrorKind::InvalidData)?;
        self.frame = frame;
        let mut rest = Buffer::default();
        if used < self.held.len() {
            rest = shared.pool.take(frame.max(self.held.len() - used));
            rest.extend(&self.held.filled()[used..]);
        }
        let sent = write_now(&mut self.stream, &self.held.filled()[answer.clone()], context);
        let mut answered = std::mem::replace(&mut self.held, rest);
        let sent = sent?;
        if sent < answer.len() {
            // The answers stay where they are until they have left.
            answered.narrow(answer.start + sent..answer.end);
            self.unsent = answered;
        } else {
            shared.pool.give(&mut answered);
        }
        Poll::Ready(Ok(got))
    }

    /// Waits until all answers have left.
    fn flush(&mut self, shared: &mut Shared, context: &mut Context<'_>) -> Poll<Result<()>> {
        while self.unsent.len() > 0 {
            match ready!(write(&mut self.stream, self.unsent.filled(), context))? {
                0 => return Poll::Ready(Err(Error::from(ErrorKind::WriteZero))),
                sent => self.unsent.narrow(sent..self.unsent.len()),
            }
            if self.unsent.len() == 0 {
                shared.pool.give(&mut self.unsent);
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn read(stream: &mut TcpStream, room: &mut [u8], context: &mut Context<'_>) -> Poll<Result<usize>> {
    let mut room = ReadBuf::new(room);
    ready!(Pin::new(stream).poll_read(context, &mut room))?;
    Poll::Ready(Ok(room.filled().len()))
}

/// Writes what the socket has room for.
fn write_now(stream: &mut TcpStream, answer: &[u8], context: &mut Context<'_>) -> Result<usize> {
    if answer.is_empty() {
        return Ok(0);
    }
    match write(stream, answer, context) {
        Poll::Ready(sent) => sent,
        Poll::Pending => Ok(0),
    }
}

fn write(stream: &mut TcpStream, answer: &[u8], context: &mut Context<'_>) -> Poll<Result<usize>> {
    Pin::new(stream).poll_write(context, answer)
}

thread_local! {
    static SHARED: RefCell<Shared> =
        RefCell::new(Shared { buffer: vec![0; SHARED_BUFFER], pool: Pool::default() });
}

/// As much as the level-2 cache holds beside the rest, and a burst of four messages of 64 KiB.
const SHARED_BUFFER: usize = 512 << 10;
