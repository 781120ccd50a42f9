//! What others may know of connections: an [`Observer`] for counters, and spans and events of `tracing`.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::{fmt, ptr};

use crate::error::Error;
use crate::proto::{Agreement, CloseStatus, Role};

/// Hears how connections begin, move bytes and end: set one with [`Options::observer`](crate::Options::observer), and
/// count. Every method does nothing by default.
///
/// The methods are called from within the adapters, at most once for each read and write of the stream and never for
/// a message, so that a program without an observer pays for none. They must return at once. Messages are for the
/// application to count, which has each of them in its hands.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use taut::proto::{Agreement, Role};
/// use taut::{Ended, Observer, Options};
///
/// #[derive(Default)]
/// struct Counters {
///     open: AtomicU64,
///     lost: AtomicU64,
/// }
///
/// impl Observer for Counters {
///     fn opened(&self, _: Role, _: &Agreement) {
///         self.open.fetch_add(1, Ordering::Relaxed);
///     }
///
///     fn ended(&self, end: &Ended<'_>) {
///         self.open.fetch_sub(1, Ordering::Relaxed);
///         if !end.is_clean() {
///             self.lost.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// static COUNTERS: Counters = Counters { open: AtomicU64::new(0), lost: AtomicU64::new(0) };
/// let options = Options::new().observer(&COUNTERS);
/// ```
pub trait Observer: Send + Sync {
    /// An opening handshake of this end did not lead to a connection: the peer's is wrong, this server rejected it
    /// ([`Error::Rejected`]), or the transport failed.
    fn refused(&self, role: Role, error: &Error) {
        let _ = (role, error);
    }

    /// A connection is open. [`ended`](Self::ended) follows, once.
    fn opened(&self, role: Role, agreement: &Agreement) {
        let _ = (role, agreement);
    }

    /// So many bytes came in one read.
    fn received(&self, bytes: usize) {
        let _ = bytes;
    }

    /// The stream took so many bytes in one write.
    fn sent(&self, bytes: usize) {
        let _ = bytes;
    }

    /// A connection ended.
    fn ended(&self, end: &Ended<'_>) {
        let _ = end;
    }
}

/// How a connection ended, and what it moved.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// Which end of it this was.
    pub role: Role,
    /// How it closed; `None` if the application dropped it, or took it apart, before its end.
    pub status: Option<&'a CloseStatus>,
    /// The error that the application is told at the end.
    pub error: Option<&'a Error>,
    /// The bytes that came behind the handshake.
    pub received: u64,
    /// The bytes that the stream took, the answer of a server's handshake among them.
    pub sent: u64,
}

impl Ended<'_> {
    /// Whether there was a closing handshake, to its end.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.status.is_some_and(|status| status.clean)
    }
}

/// The observer that options name, if they do.
#[derive(Clone, Copy, Default)]
pub(crate) struct Observed(pub(crate) Option<&'static dyn Observer>);

impl Observed {
    /// A handshake failed.
    #[cold]
    pub(crate) fn refused(self, role: Role, error: &Error) {
        if let Some(observer) = self.0 {
            observer.refused(role, error);
        }
        #[cfg(feature = "tracing")]
        trace::refused(role, error);
    }

    /// The same, of what came of a handshake.
    pub(crate) fn outcome<T>(self, role: Role, outcome: Result<T, Error>) -> Result<T, Error> {
        outcome.inspect_err(|error| self.refused(role, error))
    }

    /// A connection is open.
    pub(crate) fn opened(self, role: Role, agreement: &Agreement) -> Watch {
        if let Some(observer) = self.0 {
            observer.opened(role, agreement);
        }
        #[cfg(feature = "tracing")]
        let span = trace::span(role, agreement);
        #[cfg(feature = "tracing")]
        let traced = !span.is_disabled();
        #[cfg(not(feature = "tracing"))]
        let traced = false;
        let watched = Watched {
            observer: self.0,
            role,
            received: 0,
            sent: 0,
            #[cfg(feature = "tracing")]
            span,
        };
        Watch((self.0.is_some() || traced).then(|| Box::new(watched)))
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observed" } else { "None" })
    }
}

impl PartialEq for Observed {
    fn eq(&self, other: &Self) -> bool {
        match (self.0, other.0) {
            (Some(one), Some(other)) => ptr::addr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Observed {}

/// What is heard of one connection: nothing, unless somebody listens. Its end is told when it is dropped at the latest.
#[derive(Debug, Default)]
pub(crate) struct Watch(Option<Box<Watched>>);

struct Watched {
    observer: Option<&'static dyn Observer>,
    role: Role,
    received: u64,
    sent: u64,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl Watch {
    /// Bytes came.
    #[inline]
    pub(crate) fn received(&mut self, bytes: usize) {
        if let Some(watched) = &mut self.0 {
            watched.received(bytes);
        }
    }

    /// Bytes went.
    #[inline]
    pub(crate) fn sent(&mut self, bytes: usize) {
        if let Some(watched) = &mut self.0 {
            watched.sent(bytes);
        }
    }

    /// The connection ended. Of several ends the first counts.
    pub(crate) fn ended(&mut self, status: impl FnOnce() -> Option<CloseStatus>, error: Option<&Error>) {
        if let Some(watched) = self.0.take() {
            watched.ended(status().as_ref(), error);
        }
    }

    /// The span of the connection; none if nobody listens, or it ended.
    #[cfg(all(feature = "tracing", feature = "tokio"))]
    pub(crate) fn span(&self) -> tracing::Span {
        self.0.as_ref().map_or_else(tracing::Span::none, |watched| watched.span.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended(|| None, None);
    }
}

impl Watched {
    fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
        if let Some(observer) = self.observer {
            observer.received(bytes);
        }
    }

    fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        if let Some(observer) = self.observer {
            observer.sent(bytes);
        }
    }

    fn ended(&self, status: Option<&CloseStatus>, error: Option<&Error>) {
        let end = Ended { role: self.role, status, error, received: self.received, sent: self.sent };
        #[cfg(feature = "tracing")]
        trace::ended(&self.span, &end);
        if let Some(observer) = self.observer {
            observer.ended(&end);
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, sent, .. } = self;
        f.debug_struct("Watched").field("received", received).field("sent", sent).finish_non_exhaustive()
    }
}

/// Spans and events. Nothing in them is a payload, a URI or the value of a field, but the subprotocol that was agreed on.
#[cfg(feature = "tracing")]
mod trace {
    use tracing::{Span, debug, debug_span};

    use super::Ended;
    use crate::error::Error;
    use crate::proto::{Agreement, Role};

    pub(super) fn span(role: Role, agreement: &Agreement) -> Span {
        #[cfg(feature = "deflate")]
        let compressed = agreement.deflate().is_some();
        #[cfg(not(feature = "deflate"))]
        let compressed = false;
        debug_span!("websocket", role = name(role), subprotocol = agreement.subprotocol(), compressed)
    }

    pub(super) fn refused(role: Role, error: &Error) {
        let status = match error {
            Error::Refused(response) => Some(response.status()),
            Error::Rejected(status) => Some(*status),
            _ => None,
        };
        debug!(role = name(role), error = kind(error), status, "handshake refused");
    }

    pub(super) fn ended(span: &Span, end: &Ended<'_>) {
        match end.error {
            Some(Error::Protocol(error)) => debug!(parent: span, %error, "the peer broke the protocol"),
            Some(Error::Timeout(deadline)) => debug!(parent: span, %deadline, "a deadline passed"),
            _ => {}
        }
        let code = end.status.map(|status| status.code);
        let (clean, error) = (end.is_clean(), end.error.map(kind));
        debug!(parent: span, code, clean, error, received = end.received, sent = end.sent, "closed");
    }

    const fn name(role: Role) -> &'static str {
        match role {
            Role::Client => "client",
            Role::Server => "server",
        }
    }

    /// The arm of an error. Its text could quote the peer.
    const fn kind(error: &Error) -> &'static str {
        match error {
            Error::Io(_) => "io",
            Error::Lost => "lost",
            Error::Protocol(_) => "protocol",
            Error::Handshake(_) => "handshake",
            Error::Refused(_) => "refused",
            Error::Rejected(_) => "rejected",
            Error::Uri(_) => "uri",
            Error::Build(_) => "build",
            Error::Timeout(_) => "timeout",
            _ => "other",
        }
    }
}
