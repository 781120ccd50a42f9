//! Limits and deadlines: what an adapter needs to know beside the stream.

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::proto::{Config, HandshakeLimits};

/// Limits and deadlines of a connection. On a blocking stream, which has no timers, the time is looked at
/// between its reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub(crate) config: Config,
    pub(crate) limits: HandshakeLimits,
    pub(crate) handshake_timeout: Duration,
    pub(crate) close_timeout: Duration,
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
        }
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

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
