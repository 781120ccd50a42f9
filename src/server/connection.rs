//! A connection as its handler has it: a [`Handle`] that receives.

#![forbid(unsafe_code)]

use core::fmt;
use core::future::{Future, poll_fn};
use core::ops::Deref;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::Stream;

use super::handle::Handle;
use super::outbox::News;
use crate::error::Error;
use crate::proto::Message;

/// The connection of a handler: receives, and sends as the [`Handle`] that it is as well. It ends with its handler,
/// wherever it was moved to.
///
/// One message is read ahead. While the handler does something else, the peer has to wait with what it says, and
/// messages to it, pings and the end are seen to nevertheless.
pub struct Connection(Handle);

impl Connection {
    pub(super) const fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// The next message, text or binary; `None` after the end. Pings are answered, and the peer's Close is the end.
    ///
    /// **Cancel safety.** Nothing is lost.
    ///
    /// # Errors
    /// As [`WebSocket::recv`](crate::tokio::WebSocket::recv); given once. A handler passes it on by `?`: it says how the
    /// connection ended, and is no failure of the handler.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> + Send {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// The connection for others.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.0
    }

    fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        let mut inbox = self.0.inbox();
        if let Some(message) = inbox.message.take() {
            drop(inbox);
            self.0.tell(News::QUEUE);
            return Poll::Ready(Ok(Some(message)));
        }
        if let Some(end) = &mut inbox.end {
            return Poll::Ready(end.take().map_or(Ok(None), |error| Err(*error)));
        }
        match &mut inbox.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Deref for Connection {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.0
    }
}

/// As [`Connection::recv`].
impl Stream for Connection {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.0.id()).finish()
    }
}
