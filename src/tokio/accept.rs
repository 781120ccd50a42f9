//! The server's opening handshake over a byte stream.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::any::Any;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::net::TcpStream;
use ::tokio::task::unconstrained;
use ::tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::closing::after;
use super::scratch::poll_head;
use super::websocket::WebSocket;
use crate::error::{Deadline, Error};
use crate::options::Options;
use crate::proto::handshake::{
    Accept, Answer, BuildError, HandshakeError, Pending, Reject, Request, ServerHandshake,
};
use crate::proto::{Output, Role};

/// Waits for a client's handshake and accepts it, without a subprotocol, under the default [`Options`].
///
/// A `TcpStream` is set to `TCP_NODELAY` first: small messages must not wait for others to fill a segment.
///
/// **Cancel safety.** Dropping the future closes the stream; so do those of [`Incoming`], [`Arrival`] and [`Plain`].
///
/// # Errors
/// [`Error::Handshake`] once the client was told what is wrong with its request, [`Error::NoRequest`] if it went away
/// before its first byte, [`Error::Io`], or [`Error::Timeout`] after [`Options::handshake_timeout`].
pub fn accept<S>(stream: S) -> impl Future<Output = Result<WebSocket<S>, Error>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    accept_with(stream, Options::new(), |_| Ok(Accept::new()))
}

/// Waits for a client's handshake, lets `decide` look at the request, and does as it says: accepts it with
/// a subprotocol and fields, or refuses it with an HTTP answer. To take the decision asynchronously, use
/// [`Incoming`]; to answer requests for other things, [`Arrival`].
///
/// **Cancel safety.** As [`accept`].
///
/// # Errors
/// As [`accept`]; [`Error::Rejected`] if `decide` refused, [`Error::Build`] if it accepted with a
/// subprotocol that the client did not offer (the client gets status 500).
pub fn accept_with<S, F>(
    stream: S,
    options: Options,
    decide: F,
) -> impl Future<Output = Result<WebSocket<S>, Error>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: FnOnce(&Request) -> Result<Accept, Reject>,
{
    let mut hello = Hello::new(stream, options);
    // On the heap until it is done: a task is as large as the largest that it ever waits for, and this one
    // would keep a kilobyte for as long as the connection lasts.
    Box::pin(async move {
        // What is not there any more while it waits takes no room in it.
        let decided = match poll_fn(|cx| hello.poll_request(cx)).await {
            Ok(pending) => {
                let left = hello.limit.left();
                match decide(pending.request()) {
                    Ok(accept) => Ok(Opened::new(hello.stream, pending, accept, &hello.options, left)),
                    Err(reject) => {
                        let status = reject.status();
                        let incoming =
                            Incoming { stream: hello.stream, pending, options: hello.options, left };
                        Err((status, Box::pin(incoming.reject(reject))))
                    }
                }
            }
            Err(error) => return Err(Box::pin(hello.refuse(error)).await),
        };
        match decided {
            Ok(opened) => opened.written().await,
            Err((status, rejected)) => {
                rejected.await?;
                Err(Error::Rejected(status))
            }
        }
    })
}

/// A valid request that waits for a decision. Dropping it closes the stream without an answer.
///
/// **Cancel safety.** As [`accept`]; a part of the answer may have been written.
#[derive(Debug)]
#[must_use = "the client waits for `accept` or `reject`"]
pub struct Incoming<S> {
    stream: S,
    pending: Pending,
    options: Options,
    /// What is left of the time for the handshake.
    left: Duration,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Incoming<S> {
    /// Waits for a client's handshake.
    ///
    /// # Errors
    /// As [`accept`].
    pub fn read(stream: S, options: Options) -> impl Future<Output = Result<Self, Error>> {
        let mut hello = Hello::new(stream, options);
        // An `async fn` would hold its arguments twice.
        async move {
            match poll_fn(|cx| hello.poll_request(cx)).await {
                Ok(pending) => Ok(hello.into_incoming(pending)),
                Err(error) => Err(Box::pin(hello.refuse(error)).await),
            }
        }
    }

    /// What the client asks for.
    #[must_use]
    pub const fn request(&self) -> &Request {
        self.pending.request()
    }

    /// The stream, to see who the peer is.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Accepts the request.
    ///
    /// # Errors
    /// [`Error::Build`] if the client did not offer the subprotocol (it gets status 500), [`Error::Io`], or
    /// [`Error::Timeout`].
    pub async fn accept(self, accept: Accept) -> Result<WebSocket<S>, Error> {
        let Self { stream, pending, options, left } = self;
        Opened::new(stream, pending, accept, &options, left).written().await
    }

    /// Refuses the request with an HTTP answer, and closes the stream.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Timeout`].
    pub async fn reject(mut self, reject: Reject) -> Result<(), Error> {
        self.options.observer.refused(Role::Server, &Error::Rejected(reject.status()));
        let mut output = self.pending.reject(reject);
        answer(&mut self.stream, &mut output, self.options.pace.close_timeout).await
    }
}

/// What came over a stream: for servers that answer more than WebSockets, such as health checks.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use taut::proto::handshake::{Accept, Answer};
/// use taut::tokio::{Arrival, Options};
///
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let mut client = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
/// # client.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
/// # let (stream, _) = listener.accept().await?;
/// # let serving = tokio::spawn(async move {
/// match Arrival::read(stream, Options::new()).await? {
///     Some(Arrival::WebSocket(incoming)) => drop(incoming.accept(Accept::new()).await?),
///     Some(Arrival::Plain(plain)) if plain.request().target() == "/health" => {
///         plain.answer(Answer::new(200)?.body("well")).await?;
///     }
///     Some(Arrival::Plain(plain)) => drop(plain.refuse().await),
///     None => {}
/// }
/// # Ok::<(), taut::Error>(()) });
/// # let mut answer = String::new();
/// # client.read_to_string(&mut answer).await?;
/// # assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("well"), "{answer}");
/// # drop(client);
/// # serving.await??;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
#[expect(clippy::large_enum_variant, reason = "nearly all are the large one")]
#[must_use = "the client waits for an answer"]
pub enum Arrival<S> {
    /// A valid request for a WebSocket.
    WebSocket(Incoming<S>),
    /// A request for something else.
    Plain(Plain<S>),
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Arrival<S> {
    /// Waits for a client's request; `None` if the client goes away before its first byte.
    ///
    /// Cancel safe: dropped, it closes the stream.
    ///
    /// # Errors
    /// As [`accept`], of a request that asks for a WebSocket, or is not HTTP/1.
    pub fn read(stream: S, options: Options) -> impl Future<Output = Result<Option<Self>, Error>> {
        let mut hello = Hello::new(stream, options);
        async move {
            match poll_fn(|cx| hello.poll_request(cx)).await {
                Ok(pending) => Ok(Some(Self::WebSocket(hello.into_incoming(pending)))),
                Err(error) => Ok(Box::pin(hello.plain(error)).await?.map(Self::Plain)),
            }
        }
    }
}

/// A handshake of which the request is not there yet.
struct Hello<S> {
    stream: S,
    handshake: ServerHandshake,
    options: Options,
    /// Something came.
    came: bool,
    limit: Limit,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Hello<S> {
    fn new(stream: S, options: Options) -> Self {
        set_nodelay(&stream);
        let handshake = ServerHandshake::with_limits(options.limits);
        Self { stream, handshake, options, came: false, limit: Limit::new(options.handshake_timeout) }
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<Pending, Error>> {
        let request = self.poll_read(cx);
        if request.is_pending() {
            return self.limit.poll(cx).map(Err);
        }
        request
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Pending, Error>> {
        let Self { stream, handshake, came, .. } = self;
        loop {
            let mut request = None;
            match ready!(poll_head(stream, cx, |head| request = Some(handshake.poll_with(head)))) {
                Ok(1..) => *came = true,
                Ok(0) => handshake.input_eof(),
                Err(error) if !*came && is_gone(&error) => handshake.input_eof(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
            if let Some(pending) = request.unwrap_or_else(|| handshake.poll())? {
                return Poll::Ready(Ok(pending));
            }
        }
    }

    fn into_incoming(self, pending: Pending) -> Incoming<S> {
        Incoming { stream: self.stream, pending, options: self.options, left: self.limit.left() }
    }

    /// What else it was than a request for a WebSocket.
    async fn plain(self, error: Error) -> Result<Option<Plain<S>>, Error> {
        let Self { mut stream, mut handshake, options, .. } = self;
        match error {
            Error::Handshake(HandshakeError::UnexpectedEof { received: 0 }) => return Ok(None),
            Error::Handshake(reason) if handshake.plain_request().is_some() => {
                return Ok(Some(Plain(Box::new(Unasked { stream, handshake, options, reason }))));
            }
            Error::Timeout(_) => {
                handshake.time_out();
                // The time is over: what the stream does not take at once is not sent.
                let _ = answer(&mut stream, handshake.output(), Duration::ZERO).await;
            }
            _ => {
                // The client's loss if it does not take the answer.
                let _ = answer(&mut stream, handshake.output(), options.pace.close_timeout).await;
            }
        }
        options.observer.refused(Role::Server, &error);
        Err(error)
    }

    /// Answers what is no request for a WebSocket.
    async fn refuse(self, error: Error) -> Error {
        match self.plain(error).await {
            Ok(Some(plain)) => plain.refuse().await,
            Ok(None) => Error::NoRequest,
            Err(error) => error,
        }
    }
}

/// A valid request of HTTP/1 that does not ask for a WebSocket. Dropping it closes the stream without an answer.
///
/// **Cancel safety.** As [`accept`]; a part of the answer may have been written.
#[derive(Debug)]
#[must_use = "the client waits for an answer"]
pub struct Plain<S>(Box<Unasked<S>>);

#[derive(Debug)]
struct Unasked<S> {
    stream: S,
    handshake: ServerHandshake,
    options: Options,
    /// Why it is none for a WebSocket.
    reason: HandshakeError,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Plain<S> {
    /// The request; its body, if it has one, was not read.
    ///
    /// # Panics
    /// Never: there is one.
    #[must_use]
    pub fn request(&self) -> &Request {
        self.0.handshake.plain_request().expect("this was made of a request")
    }

    /// The stream, to see who the peer is.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.0.stream
    }

    /// Answers the request, and closes the stream.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Timeout`].
    pub async fn answer(mut self, answer_with: impl Into<Answer>) -> Result<(), Error> {
        self.0.handshake.answer(answer_with);
        self.written().await
    }

    /// Tells the client that it should have asked for a WebSocket, as [`accept`] does; gives the error that this
    /// gives.
    pub async fn refuse(mut self) -> Error {
        // The client's loss if it does not take the answer.
        let _ = Box::pin(self.written()).await;
        let error = self.0.reason.into();
        self.0.options.observer.refused(Role::Server, &error);
        error
    }

    async fn written(&mut self) -> Result<(), Error> {
        let Unasked { stream, handshake, options, .. } = &mut *self.0;
        answer(stream, handshake.output(), options.pace.close_timeout).await
    }
}

/// How long a handshake may take. Its clock begins when it is first waited for: most are there at once.
#[derive(Debug)]
struct Limit {
    time: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Limit {
    const fn new(time: Duration) -> Self {
        Self { time, timer: None }
    }

    /// Ready once the time is over; to be polled where nothing could be done.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let time = self.time;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(after(time))));
        // What the task has done in its turn does not move the deadline.
        pin!(unconstrained(timer.as_mut())).poll(cx).map(|()| Error::Timeout(Deadline::Handshake))
    }

    fn left(&self) -> Duration {
        let left = |timer: &Pin<Box<Sleep>>| timer.deadline().saturating_duration_since(Instant::now());
        self.timer.as_ref().map_or(self.time, left)
    }
}

/// A connection whose first bytes are to be written, or a request that could not be accepted.
struct Opened<S> {
    socket: Result<WebSocket<S>, Box<(Incoming<S>, BuildError)>>,
    limit: Limit,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Opened<S> {
    fn new(stream: S, pending: Pending, accept: Accept, options: &Options, left: Duration) -> Self {
        let socket = match pending.accept(options.agree(accept), options.config) {
            Ok(connection) => Ok(WebSocket::new(stream, connection, options)),
            Err(error) => {
                let reason = error.reason().clone();
                let pending = error.into_pending();
                Err(Box::new((Incoming { stream, pending, options: *options, left }, reason)))
            }
        };
        Self { socket, limit: Limit::new(left) }
    }

    async fn written(mut self) -> Result<WebSocket<S>, Error> {
        if let Ok(socket) = &self.socket {
            let limit = &mut self.limit;
            let written = poll_fn(|cx| {
                let mut line = socket.line();
                let flushed = line.poll_flush(cx);
                if flushed.is_pending() {
                    // Memory of the thread is not to wait for a client.
                    line.sender.release();
                    return limit.poll(cx).map(Err);
                }
                flushed
            });
            written.await?;
        }
        match self.socket {
            Ok(socket) => Ok(socket),
            Err(refused) => {
                let (incoming, reason) = *refused;
                Box::pin(incoming.reject(Reject::new(500)?)).await?;
                Err(reason.into())
            }
        }
    }
}

/// Writes the answer and closes the stream; what the client still sends is read and dropped first, since
/// closing with unread bytes would reset the stream and could destroy the answer.
async fn answer<S>(stream: &mut S, output: &mut Output, time: Duration) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = after(time);
    let written = timeout_at(deadline, async {
        stream.write_all_buf(output).await?;
        stream.shutdown().await
    });
    written.await.map_err(|_| Error::Timeout(Deadline::Handshake))??;
    discard(stream, deadline).await;
    Ok(())
}

/// Reads and drops what the client still sends. Whether it goes on, resets or ends: it was answered.
pub(super) async fn discard<S: AsyncRead + Unpin>(stream: &mut S, deadline: Instant) {
    // Not in the future, where an accepted connection would keep it.
    let mut discarded = alloc::vec![0; 1024];
    let _ =
        timeout_at(deadline, async { while matches!(stream.read(&mut discarded).await, Ok(1..)) {} }).await;
}

/// Whether the peer left without a word. A reset is how many health checks do it.
pub(super) fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};

    matches!(error.kind(), ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Small messages must not wait for others to fill a segment. Streams other than TCP have no such delay.
pub(crate) fn set_nodelay<S: 'static>(stream: &S) {
    if let Some(tcp) = (stream as &dyn Any).downcast_ref::<TcpStream>() {
        // A socket that refuses this is broken, which the next read tells.
        let _ = tcp.set_nodelay(true);
    }
}
