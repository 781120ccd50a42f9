//! What the engine needs of a stream: reads, writes, and an end that does not destroy what was written.

#![forbid(unsafe_code)]

use core::any::Any;
use core::time::Duration;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Instant;

use bytes::{Buf, BytesMut};

use crate::proto::{Connection, Output};

/// The engine's own calls to blocking or non-blocking I/O, for loops that drive it by hand.
impl Connection {
    /// Reads once into [`input`](Self::input), and notes the end of the stream.
    ///
    /// # Errors
    /// Those of the stream; nothing is lost by them.
    pub fn read_from(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        let count = read(self.input(), stream)?;
        if count == 0 {
            self.input_eof();
        }
        Ok(count)
    }

    /// Writes once out of [`output`](Self::output), many pieces together.
    ///
    /// # Errors
    /// Those of the stream, or `WriteZero` if it takes nothing; nothing is lost by them.
    pub fn write_to(&mut self, stream: &mut impl Write) -> io::Result<usize> {
        write(self.output(), stream)
    }
}

fn write(output: &mut Output, stream: &mut impl Write) -> io::Result<usize> {
    let waits = !output.is_empty();
    let written = if output.is_in_one() {
        stream.write(output.chunk())?
    } else {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = output.chunks_vectored(&mut slices);
        stream.write_vectored(&slices[..count])?
    };
    if written == 0 && waits {
        return Err(io::ErrorKind::WriteZero.into());
    }
    output.advance(written);
    Ok(written)
}

pub(super) fn write_all(output: &mut Output, stream: &mut impl Write) -> io::Result<()> {
    while !output.is_empty() {
        retry(|| write(output, stream))?;
    }
    retry(|| stream.flush())
}

pub(super) fn read(input: &mut BytesMut, stream: &mut impl Read) -> io::Result<usize> {
    let start = input.len();
    // A reader may look at the bytes it is given, so they are zeroed, within the room there is.
    input.resize(input.capacity(), 0);
    let read = retry(|| stream.read(&mut input[start..]));
    input.truncate(start + read.as_ref().map_or(0, |&count| count));
    read
}

/// Repeats a call that a signal interrupted.
pub(super) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Whether the same call can succeed later: the stream's timeout passed, or it does not block.
pub(super) fn can_be_retried(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Small messages must not wait for others to fill a segment. Streams other than TCP have no such delay.
pub(super) fn set_nodelay<S: 'static>(stream: &S) {
    if let Some(tcp) = (stream as &dyn Any).downcast_ref::<TcpStream>() {
        // A socket that refuses this is broken, which the next read tells.
        let _ = tcp.set_nodelay(true);
    }
}

/// Ends our side of a socket, so that the peer sees the end; other streams end when they are dropped.
pub(super) fn shut_down<S: 'static>(stream: &S) {
    // A socket that is gone already needs no shutdown.
    let stream: &dyn Any = stream;
    if let Some(tcp) = stream.downcast_ref::<TcpStream>() {
        let _ = tcp.shutdown(Shutdown::Write);
    }
    #[cfg(unix)]
    if let Some(unix) = stream.downcast_ref::<UnixStream>() {
        let _ = unix.shutdown(Shutdown::Write);
    }
}

/// Reads and drops what the peer still sends, until its end: closing a socket with unread bytes would reset
/// it, and could destroy what was written last. Takes [`LINGER`] at most; other streams are left at once.
pub(super) fn linger<S: Read + 'static>(stream: &mut S) {
    let end = Instant::now() + LINGER;
    let mut dropped = [0; 1024];
    // A timeout of zero is an error, and the end.
    while set_read_timeout(stream, end.saturating_duration_since(Instant::now())) {
        if !matches!(retry(|| stream.read(&mut dropped)), Ok(1..)) {
            return;
        }
    }
}

/// Tells whether the stream has such a timeout.
fn set_read_timeout<S: 'static>(stream: &S, time: Duration) -> bool {
    let stream: &dyn Any = stream;
    #[cfg(unix)]
    if let Some(unix) = stream.downcast_ref::<UnixStream>() {
        return unix.set_read_timeout(Some(time)).is_ok();
    }
    stream.downcast_ref::<TcpStream>().is_some_and(|tcp| tcp.set_read_timeout(Some(time)).is_ok())
}

/// How long a peer that was told to go may take to do so.
const LINGER: Duration = Duration::from_secs(5);

/// How many pieces one write takes: enough for a burst of large messages, and little on the stack.
const SLICES: usize = 32;
