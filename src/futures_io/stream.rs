//! [`WebSocket`] as a `Stream` and a `Sink` of messages.

#![forbid(unsafe_code)]

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use ::futures_io::{AsyncRead, AsyncWrite};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use super::wakers::Side;
use super::websocket::WebSocket;
use crate::error::Error;
use crate::proto::{CloseCode, CloseFrame, Event, Message};

/// As [`WebSocket::recv`].
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(self.0.poll_event(Side::Receive, cx));
        Poll::Ready(event.map(|event| event.map(Event::into_message)).transpose())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for WebSocket<S> {
    fn is_terminated(&self) -> bool {
        self.is_ended()
    }
}

/// `SinkExt::send` writes each message by itself; `feed` and one `flush` write many together. `close` closes with 1000 and
/// reads until the end or the deadline; data that still comes is dropped.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_room(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.feed(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_flush_queue(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.start_close(CloseFrame::from(CloseCode::NORMAL));
        while ready!(self.0.poll_event(Side::Send, cx))?.is_some() {}
        Poll::Ready(Ok(()))
    }
}
