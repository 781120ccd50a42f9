//! A socket whose peer costs next to nothing: it lives in the socket, sends what was made before, and throws answers away.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as Peer;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// The server's end of a socket of the system, on tokio.
///
/// The peer sends a burst once all answers to the one before are written and the server waits to read, so that no
/// count hangs on who is faster. After its last burst it closes.
pub(crate) struct Socket {
    stream: UnixStream,
    peer: Peer,
    burst: Arc<Burst>,
    /// Bursts that the peer has still to send.
    left: usize,
    /// Bytes of answers since the last.
    answered: usize,
    /// The server waits to read.
    waits: bool,
    thrown_away: Box<[u8]>,
}

/// What a peer sends at once, and how many bytes the answers to it have.
pub(crate) struct Burst {
    pub(crate) sent: Vec<u8>,
    pub(crate) answers: usize,
}

impl Socket {
    /// To be called within a runtime.
    pub(crate) fn new(burst: Arc<Burst>, bursts: usize) -> io::Result<Self> {
        let (stream, peer) = Peer::pair()?;
        stream.set_nonblocking(true)?;
        peer.set_nonblocking(true)?;
        Ok(Self {
            stream: UnixStream::from_std(stream)?,
            peer,
            answered: burst.answers,
            burst,
            left: bursts,
            waits: false,
            thrown_away: vec![0; 256 << 10].into(),
        })
    }

    fn note_written(&mut self, count: usize) -> io::Result<usize> {
        self.answered += count;
        self.peers_turn()?;
        Ok(count)
    }

    fn peers_turn(&mut self) -> io::Result<()> {
        if !self.waits || self.answered < self.burst.answers {
            return Ok(());
        }
        self.throw_away()?;
        self.waits = false;
        self.answered = 0;
        if self.left == 0 {
            return self.peer.shutdown(Shutdown::Write);
        }
        self.left -= 1;
        self.peer.write_all(&self.burst.sent)
    }

    fn throw_away(&mut self) -> io::Result<()> {
        match self.peer.read(&mut self.thrown_away) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_pending() {
            self.waits = true;
            self.peers_turn()?;
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        Poll::Ready(self.note_written(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        Poll::Ready(self.note_written(written))
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
