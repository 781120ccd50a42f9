//! [`WebSocket`] as a `Stream` and a `Sink` of messages.

#![forbid(unsafe_code)]

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncWrite};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use super::wakers::Side;
use super::websocket::WebSocket;
use crate::error::Error;
use crate::proto::{CloseCode, CloseFrame, Message};

/// As [`WebSocket::recv`].
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx).map(Result::transpose)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for WebSocket<S> {
    fn is_terminated(&self) -> bool {
        self.is_ended()
    }
}

/// `SinkExt::send` writes each message by itself; `feed` and one `flush` write many together.
/// `close` closes with 1000 and reads until the end or the deadline; data that still comes is dropped.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.line().poll_room(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.get_mut().feed(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.line().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let socket = self.get_mut();
        socket.start_close(CloseFrame::from(CloseCode::NORMAL));
        while ready!(socket.poll_event(Side::Send, cx, drop))?.is_some() {}
        Poll::Ready(Ok(()))
    }
}
