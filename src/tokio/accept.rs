//! The server's opening handshake over a byte stream.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::any::Any;
use core::future::Future;
use core::time::Duration;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::net::TcpStream;
use ::tokio::time::{Instant, timeout, timeout_at};

use super::closing::after;
use super::scratch::read_head;
use super::websocket::WebSocket;
use crate::error::{Deadline, Error};
use crate::options::Options;
use crate::proto::handshake::{Accept, BuildError, Pending, Reject, Request, ServerHandshake};
use crate::proto::{Output, Role};

/// Waits for a client's handshake and accepts it, without a subprotocol, under the default [`Options`].
///
/// A `TcpStream` is set to `TCP_NODELAY` first: small messages must not wait for others to fill a segment.
///
/// # Errors
/// [`Error::Handshake`] once the client was told what is wrong with its request, [`Error::Io`], or
/// [`Error::Timeout`] after [`Options::handshake_timeout`].
pub fn accept<S>(stream: S) -> impl Future<Output = Result<WebSocket<S>, Error>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    accept_with(stream, Options::new(), |_| Ok(Accept::new()))
}

/// Waits for a client's handshake, lets `decide` look at the request, and does as it says: accepts it with
/// a subprotocol and fields, or refuses it with an HTTP answer. To take the decision asynchronously, use
/// [`Incoming`].
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
    // On the heap until it is done: a task is as large as the largest that it ever waits for, and this one
    // would keep a kilobyte for as long as the connection lasts.
    Box::pin(async move {
        let decided = {
            let incoming = Incoming::read(stream, options).await?;
            match decide(incoming.request()) {
                Ok(accept) => Ok(incoming.open(accept)),
                Err(reject) => Err((reject.status(), Box::pin(incoming.reject(reject)))),
            }
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
#[derive(Debug)]
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
    pub fn read(mut stream: S, options: Options) -> impl Future<Output = Result<Self, Error>> {
        set_nodelay(&stream);
        // An `async fn` would hold its arguments twice.
        async move {
            let start = Instant::now();
            let mut handshake = ServerHandshake::with_limits(options.limits);
            let read = async {
                loop {
                    match handshake.poll() {
                        Ok(Some(pending)) => return Ok(pending),
                        Ok(None) => {}
                        Err(error) => return Err(Error::from(error)),
                    }
                    if read_head(&mut stream, |head| handshake.feed(head)).await? == 0 {
                        handshake.input_eof();
                    }
                }
            };
            // Answers to what is no request are rare, and not to take room for others.
            let read = match timeout(options.handshake_timeout, read).await {
                Ok(Ok(pending)) => {
                    let left = options.handshake_timeout.saturating_sub(start.elapsed());
                    Ok(Self { stream, pending, options, left })
                }
                Ok(Err(error)) => {
                    // The client's loss if it does not take the answer.
                    let time = options.pace.close_timeout;
                    let _ = Box::pin(answer(&mut stream, handshake.output(), time)).await;
                    Err(error)
                }
                Err(_) => {
                    handshake.time_out();
                    // The time is over: what the stream does not take at once is not sent.
                    let _ = Box::pin(answer(&mut stream, handshake.output(), Duration::ZERO)).await;
                    Err(Error::Timeout(Deadline::Handshake))
                }
            };
            options.observer.outcome(Role::Server, read)
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
        self.open(accept).written().await
    }

    fn open(mut self, accept: Accept) -> Opened<S> {
        let left = self.left;
        match self.pending.accept(self.options.agree(accept), self.options.config) {
            Ok(connection) => {
                Opened { socket: Ok(WebSocket::new(self.stream, connection, &self.options)), left }
            }
            Err(error) => {
                let reason = error.reason().clone();
                self.pending = error.into_pending();
                Opened { socket: Err(Box::new((self, reason))), left }
            }
        }
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

/// A connection whose first bytes are to be written, or a request that could not be accepted.
struct Opened<S> {
    socket: Result<WebSocket<S>, Box<(Incoming<S>, BuildError)>>,
    left: Duration,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Opened<S> {
    async fn written(self) -> Result<WebSocket<S>, Error> {
        match self.socket {
            Ok(mut socket) => match timeout(self.left, socket.flush()).await {
                Ok(flushed) => flushed.map(|()| socket),
                Err(_) => Err(Error::Timeout(Deadline::Handshake)),
            },
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
    // Not in the future, where an accepted connection would keep it.
    let mut discarded = alloc::vec![0; 1024];
    // Whether the client goes on, resets or ends: it was answered.
    let _ =
        timeout_at(deadline, async { while matches!(stream.read(&mut discarded).await, Ok(1..)) {} }).await;
    Ok(())
}

/// Small messages must not wait for others to fill a segment. Streams other than TCP have no such delay.
pub(super) fn set_nodelay<S: 'static>(stream: &S) {
    if let Some(tcp) = (stream as &dyn Any).downcast_ref::<TcpStream>() {
        // A socket that refuses this is broken, which the next read tells.
        let _ = tcp.set_nodelay(true);
    }
}
