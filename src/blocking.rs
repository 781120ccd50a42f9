//! The adapter for blocking I/O: the engine over [`Read`] and [`Write`].
//!
//! It has no timers. The deadlines of [`Options`] are looked at between reads; what bounds one read or write is
//! the stream's own timeout (`TcpStream::set_read_timeout`, `set_write_timeout`): without one, a silent peer holds
//! the thread. A call of a [`WebSocket`] that ends in [`Error::Io`] of kind `WouldBlock` or `TimedOut` has lost
//! nothing, and can be called again; an opening handshake cannot.
//!
//! A peer that broke the protocol, or was refused, gets five seconds to read why.
//!
//! ```no_run
//! let listener = std::net::TcpListener::bind("127.0.0.1:9001")?;
//! for stream in listener.incoming() {
//!     let stream = stream?;
//!     stream.set_read_timeout(Some(std::time::Duration::from_secs(60)))?;
//!     std::thread::spawn(move || {
//!         let mut socket = taut::blocking::accept(stream)?;
//!         while let Some(message) = socket.recv()? {
//!             if message.is_data() {
//!                 socket.send(message)?;
//!             }
//!         }
//!         Ok::<(), taut::Error>(())
//!     });
//! }
//! # Ok::<(), taut::Error>(())
//! ```

#![forbid(unsafe_code)]

use core::any::Any;
use core::time::Duration;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Instant;

use bytes::{Buf, BytesMut};

use crate::error::{Deadline, Error};
use crate::options::Options;
use crate::proto::handshake::{
    Accept, ClientHandshake, ClientRequest, Reject, Request, ServerHandshake, WebSocketUri,
};
use crate::proto::{
    CloseCode, CloseFrame, CloseStatus, Connection, Event, Message, Output, ProtocolError, State,
};
use crate::random::{RandomMasks, nonce};

/// A WebSocket over a blocking stream.
#[derive(Debug)]
pub struct WebSocket<S> {
    stream: S,
    connection: Connection,
    close_timeout: Duration,
    /// When the connection began to close.
    closing: Option<Instant>,
    /// The peer broke the protocol; to be told once the peer was.
    failure: Option<ProtocolError>,
    /// Bytes were written that the stream may still hold back.
    unflushed: bool,
    /// A write beside an event took too long: to be told before the next event, since a peer that asks and
    /// does not read could hold the thread at each of its pings.
    late: Option<io::Error>,
    /// The stream does not take, or give, bytes any more.
    broken: Option<io::ErrorKind>,
    ended: bool,
}

/// Waits for a client's handshake and accepts it with the default settings. `TCP_NODELAY` is set first.
///
/// # Errors
/// [`Error::Handshake`] once the client was told what is wrong with its request, or [`Error::Io`].
pub fn accept<S: Read + Write + 'static>(stream: S) -> Result<WebSocket<S>, Error> {
    accept_with(stream, Options::new(), |_| Ok(Accept::new()))
}

/// Waits for a client's handshake, lets `decide` look at the request, and does as it says.
///
/// # Errors
/// As [`accept`], and [`Error::Timeout`]; [`Error::Rejected`] if `decide` refused, [`Error::Build`] if it
/// accepted with a subprotocol that the client did not offer (the client gets status 500).
pub fn accept_with<S, F>(mut stream: S, options: Options, decide: F) -> Result<WebSocket<S>, Error>
where
    S: Read + Write + 'static,
    F: FnOnce(&Request) -> Result<Accept, Reject>,
{
    set_nodelay(&stream);
    let start = Instant::now();
    let mut handshake = ServerHandshake::with_limits(options.limits);
    let pending = loop {
        match handshake.poll() {
            Ok(Some(pending)) => break pending,
            Ok(None) => {}
            Err(error) => {
                // The client's loss if it does not take the answer.
                let _ = answer(handshake.output(), &mut stream);
                return Err(error.into());
            }
        }
        if start.elapsed() >= options.handshake_timeout {
            handshake.time_out();
            let _ = answer(handshake.output(), &mut stream);
            return Err(Error::Timeout(Deadline::Handshake));
        }
        if read(handshake.input(), &mut stream)? == 0 {
            handshake.input_eof();
        }
    };
    let (mut output, error) = match decide(pending.request()) {
        Ok(accept) => match pending.accept(options.agree(accept), options.config) {
            Ok(connection) => {
                let mut socket = WebSocket::new(stream, connection, options.close_timeout);
                socket.flush()?;
                return Ok(socket);
            }
            Err(error) => {
                let reason = error.reason().clone();
                (error.into_pending().reject(Reject::new(500)?), reason.into())
            }
        },
        Err(reject) => {
            let status = reject.status();
            (pending.reject(reject), Error::Rejected(status))
        }
    };
    answer(&mut output, &mut stream)?;
    Err(error)
}

/// Connects to a `ws://` URI. `TCP_NODELAY` is set.
///
/// # Errors
/// As [`connect_over`]; [`Error::Uri`], and [`Error::Unsupported`] for `wss://`.
pub fn connect(uri: &str) -> Result<WebSocket<TcpStream>, Error> {
    let uri = WebSocketUri::parse(uri)?;
    if uri.is_secure() {
        return Err(Error::Unsupported("wss needs TLS: connect a TLS stream, then use connect_over"));
    }
    let stream = TcpStream::connect((uri.host(), uri.port()))?;
    connect_over(stream, &ClientRequest::from_uri(&uri), Options::new())
}

/// Does the client's handshake over a stream that is connected already.
///
/// # Errors
/// [`Error::Refused`] with the whole answer if the server does not upgrade, [`Error::Handshake`] if it does
/// so wrongly, [`Error::Io`], [`Error::Timeout`].
pub fn connect_over<S>(
    mut stream: S,
    request: &ClientRequest,
    options: Options,
) -> Result<WebSocket<S>, Error>
where
    S: Read + Write + 'static,
{
    set_nodelay(&stream);
    let start = Instant::now();
    let mut handshake = ClientHandshake::with_limits(&options.offer(request), nonce(), options.limits);
    write_all(handshake.output(), &mut stream)?;
    loop {
        if let Some(established) = handshake.poll()? {
            let connection = established.into_connection(options.config, RandomMasks::new());
            return Ok(WebSocket::new(stream, connection, options.close_timeout));
        }
        if start.elapsed() >= options.handshake_timeout {
            // A refusal whose body takes too long is still the server's answer.
            return Err(match handshake.take_refusal() {
                Some(answer) => Error::Refused(answer),
                None => Error::Timeout(Deadline::Handshake),
            });
        }
        if read(handshake.input(), &mut stream)? == 0 {
            handshake.input_eof();
        }
    }
}

impl<S> WebSocket<S> {
    /// Joins a stream and a connection whose opening handshake is done.
    #[must_use]
    pub const fn new(stream: S, connection: Connection, close_timeout: Duration) -> Self {
        let closing = None;
        Self {
            stream,
            connection,
            close_timeout,
            closing,
            failure: None,
            unflushed: false,
            late: None,
            broken: None,
            ended: false,
        }
    }

    /// The stream, to set its timeouts.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The engine: what was agreed on, the state, how it closed.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Queues a message without writing it.
    ///
    /// # Errors
    /// [`Error::Send`] hands the message back.
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        Ok(self.connection.send(message)?)
    }
}

impl<S: Read + Write + 'static> WebSocket<S> {
    /// The next message; `None` after the end of the connection. Pongs and the answer to a Close leave
    /// before it returns. Under [`Delivery::Chunks`](crate::proto::Delivery::Chunks) each chunk comes as a
    /// message of its own; [`recv_event`](Self::recv_event) tells where messages begin and end.
    ///
    /// # Errors
    /// [`Error::Protocol`] once the peer was told what it did wrong, [`Error::Lost`] or [`Error::Io`].
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        Ok(self.recv_event()?.map(Event::into_message))
    }

    /// The next event: [`recv`](Self::recv) for those who take messages in chunks.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        if let Some(error) = self.late.take() {
            return Err(Error::Io(error));
        }
        while !self.ended {
            match self.connection.next_event() {
                Ok(Some(event)) => {
                    if let Err(error) = self.write() {
                        self.late = Some(error);
                    }
                    return Ok(Some(event));
                }
                Ok(None) => {}
                Err(error) => self.failure = Some(error),
            }
            self.write()?;
            if self.connection.wants_shutdown() {
                shut_down(&self.stream);
            }
            if self.connection.wants_discard() {
                linger(&mut self.stream);
                return self.end(None);
            }
            if self.is_late() {
                return self.end(Some(Error::Timeout(Deadline::Close)));
            }
            if self.connection.wants_input() {
                match self.connection.read_from(&mut self.stream) {
                    Ok(_) => {}
                    // After both Closes it does not matter how the transport ends.
                    Err(_) if self.is_clean() => return self.end(None),
                    Err(error) if can_be_retried(&error) => return Err(Error::Io(error)),
                    Err(error) => {
                        self.connection.input_eof();
                        self.broken = self.broken.or_else(|| Some(error.kind()));
                    }
                }
            } else if self.connection.state() == State::Closed {
                return self.end(None);
            } else {
                // It is for the application to close: see `Config::auto_close`.
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Takes a message and writes all that waits.
    ///
    /// # Errors
    /// [`Error::Send`] hands the message back. After [`Error::Io`] it was taken: [`flush`](Self::flush)
    /// goes on with it.
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.feed(message)?;
        self.flush()
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write()?;
        self.broken.map_or(Ok(()), |kind| Err(Error::Io(kind.into())))
    }

    /// Runs the closing handshake to its end, and tells how the peer closed. Data that still comes is dropped.
    ///
    /// # Errors
    /// [`Error::Lost`] or [`Error::Io`] if the transport ended first, [`Error::Timeout`] if the peer went on
    /// sending without an answer, [`Error::Protocol`] if it broke the protocol, [`Error::Reason`] if the
    /// reason has more than 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<CloseStatus, Error> {
        self.connection.close(Some(CloseFrame::new(code, reason)?));
        while self.recv_event()?.is_some() {}
        self.connection.close_status().filter(|status| status.clean).ok_or(Error::Lost)
    }

    /// Writes all that waits. An error that will not go away is kept for the end: what the peer sent before
    /// may still be read.
    fn write(&mut self) -> io::Result<()> {
        match self.try_write() {
            Err(error) if can_be_retried(&error) => Err(error),
            Err(error) => {
                self.connection.output_lost();
                self.unflushed = false;
                self.broken = self.broken.or_else(|| Some(error.kind()));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        while self.connection.wants_output() {
            retry(|| self.connection.write_to(&mut self.stream))?;
            self.unflushed = true;
        }
        if self.unflushed {
            retry(|| self.stream.flush())?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Whether the time to close is over. It begins when that is first seen.
    fn is_late(&mut self) -> bool {
        self.connection.state() != State::Open
            && self.closing.get_or_insert_with(Instant::now).elapsed() >= self.close_timeout
    }

    fn is_clean(&self) -> bool {
        self.connection.close_status().is_some_and(|status| status.clean)
    }

    fn end(&mut self, error: Option<Error>) -> Result<Option<Event>, Error> {
        self.ended = true;
        self.connection.output_lost();
        match (self.failure.take(), self.broken) {
            (Some(failure), _) => Err(Error::Protocol(failure)),
            (None, _) if self.is_clean() => Ok(None),
            (None, Some(kind)) => Err(Error::Io(kind.into())),
            (None, None) => Err(error.unwrap_or(Error::Lost)),
        }
    }
}

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
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = output.chunks_vectored(&mut slices);
    let written = stream.write_vectored(&slices[..count])?;
    if written == 0 && count > 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    output.advance(written);
    Ok(written)
}

fn write_all(output: &mut Output, stream: &mut impl Write) -> io::Result<()> {
    while !output.is_empty() {
        retry(|| write(output, stream))?;
    }
    retry(|| stream.flush())
}

fn read(input: &mut BytesMut, stream: &mut impl Read) -> io::Result<usize> {
    let start = input.len();
    // A reader may look at the bytes it is given, so they are zeroed, within the room there is.
    input.resize(input.capacity(), 0);
    let read = retry(|| stream.read(&mut input[start..]));
    input.truncate(start + read.as_ref().map_or(0, |&count| count));
    read
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Answers a request that is not accepted, and ends the stream.
fn answer<S: Read + Write + 'static>(output: &mut Output, stream: &mut S) -> io::Result<()> {
    write_all(output, stream)?;
    shut_down(stream);
    linger(stream);
    Ok(())
}

/// Whether the same call can succeed later: the stream's timeout passed, or it does not block.
fn can_be_retried(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Small messages must not wait for others to fill a segment. Streams other than TCP have no such delay.
fn set_nodelay<S: 'static>(stream: &S) {
    if let Some(tcp) = (stream as &dyn Any).downcast_ref::<TcpStream>() {
        // A socket that refuses this is broken, which the next read tells.
        let _ = tcp.set_nodelay(true);
    }
}

/// Ends our side of a socket, so that the peer sees the end; other streams end when they are dropped.
fn shut_down<S: 'static>(stream: &S) {
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
fn linger<S: Read + 'static>(stream: &mut S) {
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
