//! Limits and deadlines: what an adapter needs to know beside the stream.

#![forbid(unsafe_code)]

use alloc::sync::{Arc, Weak};
use core::cell::RefCell;
use core::ops::Deref;
use core::time::Duration;

use crate::observe::{Observed, Observer};
#[cfg(feature = "deflate")]
use crate::proto::Deflate;
use crate::proto::handshake::{Accept, ClientRequest};
use crate::proto::{Config, HandshakeLimits, shared_with};

/// Limits and deadlines of a connection. On a blocking stream, which has no timers, the time is looked at
/// between its reads.
///
/// ```
/// use std::time::Duration;
/// use taut::Options;
/// use taut::proto::{Config, HandshakeLimits};
///
/// const OPTIONS: Options = Options::new()
///     .config(Config::new().max_message(64 << 10).max_queued(256 << 10))
///     .limits(HandshakeLimits::new().max_head(8 << 10))
///     .handshake_timeout(Duration::from_secs(5))
///     .ping_interval(Duration::from_secs(30))
///     .idle_timeout(Duration::from_secs(600));
/// # let _ = OPTIONS;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub(crate) config: Config,
    pub(crate) limits: HandshakeLimits,
    pub(crate) handshake_timeout: Duration,
    pub(crate) pace: Pace,
    pub(crate) observer: Observed,
    #[cfg(feature = "deflate")]
    deflate: Compression,
}

/// How fast the peer of an open connection has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) close_timeout: Duration,
    pub(crate) message_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) min_rate: u32,
    pub(crate) max_control_rate: u32,
    pub(crate) ping_interval: Duration,
    pub(crate) pong_timeout: Duration,
    pub(crate) idle_timeout: Duration,
}

/// The [`Pace`] of a connection. The defaults take no memory, and others not for each connection.
#[derive(Clone, Debug)]
pub(crate) struct PaceOf(Option<Arc<Pace>>);

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
            pace: Pace::new(),
            observer: Observed(None),
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

    /// Who hears how connections begin, move bytes and end; for all that is counted, hence for as long as the program
    /// runs. Default: nobody.
    #[must_use]
    pub const fn observer(mut self, observer: &'static dyn Observer) -> Self {
        self.observer = Observed(Some(observer));
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
        self.pace.close_timeout = time;
        self
    }

    /// How long a message may take from its first byte to its last, beside the time that
    /// [`min_rate`](Self::min_rate) grants for its bytes; a peer that takes longer gets 1008. The time counts
    /// while the application waits for the message. `Duration::MAX` for ever.
    ///
    /// Default: 30 s. A peer that sends a byte now and then would else hold the memory of a message for ever.
    #[must_use]
    pub const fn message_timeout(mut self, time: Duration) -> Self {
        self.pace.message_timeout = time;
        self
    }

    /// How long bytes may wait for the peer to take them, beside the time that [`min_rate`](Self::min_rate)
    /// grants for those that it took meanwhile; then the connection ends with
    /// [`Error::Timeout`](crate::Error::Timeout), without a Close, which the peer would not take either. The time
    /// counts while the application waits for the socket. `Duration::MAX` for ever.
    ///
    /// Default: 30 s, for which a phone may lose its network.
    #[must_use]
    pub const fn write_timeout(mut self, time: Duration) -> Self {
        self.pace.write_timeout = time;
        self
    }

    /// How many bytes a second a peer has to send of a message that is under way, and to take of what waits for
    /// it, in the long run. Zero grants no time for bytes: [`message_timeout`](Self::message_timeout) and
    /// [`write_timeout`](Self::write_timeout) are then for messages of any size.
    ///
    /// Default: 1 KiB/s, less than the slowest of mobile networks: of a message of 1 MiB, 17 minutes and a half.
    #[must_use]
    pub const fn min_rate(mut self, bytes: u32) -> Self {
        self.pace.min_rate = bytes;
        self
    }

    /// How many pings, pongs and Closes a peer may send in a second, in the long run; one that sends more than twice
    /// as many gets 1008 at the latest. `u32::MAX` for any number.
    ///
    /// Default: 1,000. Each costs the work of a message and makes no progress; heartbeats need one in some seconds.
    #[must_use]
    pub const fn max_control_rate(mut self, frames: u32) -> Self {
        self.pace.max_control_rate = frames;
        self
    }

    /// How often the peer is pinged while the application waits for it, on tokio. The answers also tell how long a
    /// message takes there and back. They come to the application as pongs of 8 bytes. `Duration::MAX` for never.
    ///
    /// Default: never. 30 s keep most proxies from ending a connection that is silent.
    #[must_use]
    pub const fn ping_interval(mut self, time: Duration) -> Self {
        self.pace.ping_interval = time;
        self
    }

    /// How long the peer may stay silent after such a ping was written; anything that comes is as good as the answer.
    /// Then the connection ends with [`Error::Timeout`](crate::Error::Timeout) of
    /// [`Deadline::Pong`](crate::Deadline::Pong), without a Close, which nobody would read. `Duration::MAX` for ever.
    ///
    /// Default: 20 s.
    #[must_use]
    pub const fn pong_timeout(mut self, time: Duration) -> Self {
        self.pace.pong_timeout = time;
        self
    }

    /// How long the peer may send no whole message of text or bytes while the application waits for one, on tokio; then
    /// it gets a Close with 1001, if it takes one at once, and the connection ends with
    /// [`Error::Timeout`](crate::Error::Timeout) of [`Deadline::Idle`](crate::Deadline::Idle). `Duration::MAX` for ever.
    ///
    /// Default: for ever, since many peers only listen.
    #[must_use]
    pub const fn idle_timeout(mut self, time: Duration) -> Self {
        self.pace.idle_timeout = time;
        self
    }
}

impl Pace {
    const fn new() -> Self {
        Self {
            close_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            min_rate: 1 << 10,
            max_control_rate: 1_000,
            ping_interval: Duration::MAX,
            pong_timeout: Duration::from_secs(20),
            idle_timeout: Duration::MAX,
        }
    }

    /// The time that `done` bytes of work are granted beside `time`. What is too long for the clock is for ever.
    pub(crate) fn granted(&self, time: Duration, done: u64) -> Duration {
        let for_bytes = done.checked_div(self.min_rate.into()).unwrap_or(0);
        time.saturating_add(Duration::from_secs(for_bytes))
    }
}

impl From<&Options> for PaceOf {
    fn from(options: &Options) -> Self {
        if options.pace == Pace::new() {
            return Self(None);
        }
        std::thread_local! {
            static LATEST: RefCell<Weak<Pace>> = const { RefCell::new(Weak::new()) };
        }
        let shared = LATEST.try_with(|latest| shared_with(&mut latest.borrow_mut(), options.pace));
        Self(Some(shared.unwrap_or_else(|_| Arc::new(options.pace))))
    }
}

impl Deref for PaceOf {
    type Target = Pace;

    fn deref(&self) -> &Pace {
        static DEFAULT: Pace = Pace::new();
        self.0.as_deref().unwrap_or(&DEFAULT)
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
