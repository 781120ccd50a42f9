//! Both opening handshakes over a byte stream.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;
use std::time::Instant;

use ::futures_io::{AsyncRead, AsyncWrite};
use bytes::Buf;

use super::scratch;
use super::time::Time;
use super::websocket::WebSocket;
use crate::error::{Deadline, Error};
use crate::heartbeat::at;
use crate::options::Options;
use crate::proto::handshake::{
    Accept, ClientHandshake, ClientRequest, HandshakeError, Pending, Reject, Request, ServerHandshake,
};
use crate::proto::{Output, Role};
use crate::random::{RandomMasks, nonce};

/// Waits for a client's handshake and accepts it, without a subprotocol, under the default [`Options`].
///
/// Cancel safe: dropped, it closes the stream.
///
/// # Errors
/// [`Error::Handshake`] once the client was told what is wrong with its request, [`Error::NoRequest`] if it went away before
/// its first byte, [`Error::Io`], or [`Error::Timeout`] after [`Options::handshake_timeout`].
pub fn accept<S>(stream: S, time: Time) -> impl Future<Output = Result<WebSocket<S>, Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    accept_with(stream, time, Options::new(), |_| Ok(Accept::new()))
}

/// Waits for a client's handshake, lets `decide` look at the request, and does as it says: accepts it with a subprotocol and
/// fields, or refuses it with an HTTP answer.
///
/// Cancel safe: dropped, it closes the stream.
///
/// # Errors
/// As [`accept`]; [`Error::Rejected`] if `decide` refused, [`Error::Build`] if it accepted with a subprotocol that the client
/// did not offer (the client gets status 500).
pub fn accept_with<S, F>(
    stream: S,
    time: Time,
    options: Options,
    decide: F,
) -> impl Future<Output = Result<WebSocket<S>, Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: FnOnce(&Request) -> Result<Accept, Reject>,
{
    // On the heap until it is done: a task is as large as the largest that it ever waits for.
    Box::pin(async move {
        let socket = serve(stream, time, options, decide).await;
        options.observer.outcome(Role::Server, socket)
    })
}

async fn serve<S, F>(mut stream: S, time: Time, options: Options, decide: F) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: FnOnce(&Request) -> Result<Accept, Reject>,
{
    let start = time.now();
    let deadline = at(start, options.handshake_timeout);
    let answered_by = || at(time.now(), options.pace.close_timeout);
    let mut handshake = ServerHandshake::with_limits(options.limits);
    let pending = match time.within(deadline, request(&mut stream, &mut handshake)).await {
        Some(Ok(pending)) => pending,
        Some(Err(Error::Handshake(HandshakeError::UnexpectedEof { received: 0 }))) => {
            return Err(Error::NoRequest);
        }
        Some(Err(error)) => {
            // The client's loss if it does not take the answer.
            let _ = answer(&mut stream, handshake.output(), time, answered_by()).await;
            return Err(error);
        }
        None => {
            handshake.time_out();
            // The time is over: what the stream does not take at once is not sent.
            let _ = answer(&mut stream, handshake.output(), time, start).await;
            return Err(Error::Timeout(Deadline::Handshake));
        }
    };
    let (mut output, error) = match decide(pending.request()) {
        Ok(accept) => match pending.accept(options.agree(accept), options.config) {
            Ok(connection) => {
                let mut socket = WebSocket::new(stream, connection, time, &options);
                let flushed = time.within(deadline, socket.flush()).await;
                flushed.ok_or(Error::Timeout(Deadline::Handshake))??;
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
    answer(&mut stream, &mut output, time, answered_by()).await?;
    Err(error)
}

async fn request<S>(stream: &mut S, handshake: &mut ServerHandshake) -> Result<Pending, Error>
where
    S: AsyncRead + Unpin,
{
    loop {
        if let Some(pending) = handshake.poll()? {
            return Ok(pending);
        }
        if read(stream, |bytes| handshake.feed(bytes)).await? == 0 {
            handshake.input_eof();
        }
    }
}

/// Does the client's handshake over a stream that is connected already.
///
/// Cancel safe: dropped, it closes the stream.
///
/// # Errors
/// [`Error::Io`], [`Error::Refused`] with the whole answer if the server does not upgrade, [`Error::Handshake`] if it does so
/// wrongly, [`Error::Timeout`] after [`Options::handshake_timeout`].
pub fn connect_over<S>(
    stream: S,
    time: Time,
    request: &ClientRequest,
    options: Options,
) -> impl Future<Output = Result<WebSocket<S>, Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Box::pin(async move {
        let socket = shake_hands(stream, time, request, options).await;
        options.observer.outcome(Role::Client, socket)
    })
}

async fn shake_hands<S>(
    mut stream: S,
    time: Time,
    request: &ClientRequest,
    options: Options,
) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = at(time.now(), options.handshake_timeout);
    let mut handshake = ClientHandshake::with_limits(&options.offer(request), nonce(), options.limits);
    let answered = time.within(deadline, async {
        write_all(&mut stream, handshake.output()).await?;
        loop {
            if let Some(established) = handshake.poll()? {
                return Ok::<_, Error>(established);
            }
            if read(&mut stream, |bytes| handshake.feed(bytes)).await? == 0 {
                handshake.input_eof();
            }
        }
    });
    match answered.await {
        Some(established) => {
            let connection = established?.into_connection(options.config, RandomMasks::new());
            Ok(WebSocket::new(stream, connection, time, &options))
        }
        // A refusal whose body takes too long is still the server's answer.
        None => Err(match handshake.take_refusal() {
            Some(answer) => Error::Refused(answer),
            None => Error::Timeout(Deadline::Handshake),
        }),
    }
}

/// Writes the answer and closes the stream; what the client still sends is read and dropped first, since closing with
/// unread bytes would reset the stream and could destroy the answer.
async fn answer<S>(stream: &mut S, output: &mut Output, time: Time, deadline: Instant) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let written = time.within(deadline, async {
        write_all(stream, output).await?;
        poll_fn(|cx| Pin::new(&mut *stream).poll_close(cx)).await
    });
    written.await.ok_or(Error::Timeout(Deadline::Handshake))??;
    // Whether the client goes on, resets or ends: it was answered.
    let discarded = async { while matches!(read(stream, |_| {}).await, Ok(1..)) {} };
    let _ = time.within(deadline, discarded).await;
    Ok(())
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
    let mut read = |cx: &mut Context<'_>| {
        scratch::with(|buffer| {
            let buffer = &mut buffer[..MOST_HEAD];
            let count = ready!(Pin::new(&mut *stream).poll_read(cx, buffer))?;
            take(&buffer[..count]);
            Poll::Ready(Ok(count))
        })
    };
    retry(|cx| read(cx)).await
}

async fn write_all<S: AsyncWrite + Unpin>(stream: &mut S, output: &mut Output) -> io::Result<()> {
    while output.has_remaining() {
        let written = retry(|cx| Pin::new(&mut *stream).poll_write(cx, output.chunk())).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        output.advance(written);
    }
    poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await
}

/// Repeats a call that a signal interrupted.
async fn retry<T>(mut call: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<T> {
    loop {
        match poll_fn(&mut call).await {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The most that a read brings of a handshake.
const MOST_HEAD: usize = 4 << 10;
