//! Limits and deadlines: what an adapter needs to know beside the stream.

#![forbid(unsafe_code)]

use core::time::Duration;

#[cfg(feature = "deflate")]
use crate::proto::Deflate;
use crate::proto::handshake::{Accept, ClientRequest};
use crate::proto::{Config, HandshakeLimits};

/// Limits and deadlines of a connection. On a blocking stream, which has no timers, the time is looked at
/// between its reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub(crate) config: Config,
    pub(crate) limits: HandshakeLimits,
    pub(crate) handshake_timeout: Duration,
    pub(crate) close_timeout: Duration,
    #[cfg(feature = "deflate")]
    deflate: Compression,
}

/// Whether permessage-deflate is wanted.
#[cfg(feature = "deflate")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    /// By clients.
    Default,
    Off,
    On(Deflate),
}

impl Options {
    /// The defaults that each method below states.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            config: Config::new(),
            limits: HandshakeLimits::new(),
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            #[cfg(feature = "deflate")]
            deflate: Compression::Default,
        }
    }

    /// What a client offers, or a server agrees to, of permessage-deflate (RFC 7692); `None` for nothing.
    ///
    /// A request or an acceptance that names parameters itself
    /// ([`ClientRequest::deflate`], [`Accept::deflate`]) has its own way.
    ///
    /// Default: a client offers [`Deflate::new`], a server agrees to none: compression costs memory and
    /// time for each connection, and tells the length of what it compresses.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(mut self, deflate: impl Into<Option<Deflate>>) -> Self {
        self.deflate = deflate.into().map_or(Compression::Off, Compression::On);
        self
    }

    /// The settings of the engine. Default: [`Config::new`].
    #[must_use]
    pub const fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The limits on the peer's part of the handshake. Default: [`HandshakeLimits::new`].
    #[must_use]
    pub const fn limits(mut self, limits: HandshakeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How long connecting and the opening handshake may take together, the application's decision on a
    /// request excepted. Default: 10 s.
    #[must_use]
    pub const fn handshake_timeout(mut self, time: Duration) -> Self {
        self.handshake_timeout = time;
        self
    }

    /// How long the closing handshake may take, from its first Close to the end of the transport.
    /// Default: 5 s.
    #[must_use]
    pub const fn close_timeout(mut self, time: Duration) -> Self {
        self.close_timeout = time;
        self
    }
}

impl Options {
    /// The request with what these options offer.
    pub(crate) fn offer(&self, request: &ClientRequest) -> ClientRequest {
        let request = request.clone();
        #[cfg(feature = "deflate")]
        if request.deflate_offers().is_empty() {
            return match self.deflate {
                Compression::Default => request.deflate(Deflate::new()),
                Compression::Off => request,
                Compression::On(offer) => request.deflate(offer),
            };
        }
        request
    }

    /// The acceptance with what these options agree to.
    pub(crate) fn agree(&self, accept: Accept) -> Accept {
        #[cfg(feature = "deflate")]
        if let Compression::On(most) = self.deflate {
            return accept.or_deflate(most);
        }
        accept
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
