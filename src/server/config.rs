//! Every setting of a server, with its default and reason.

#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use std::path::PathBuf;

use super::origin::Origins;
use super::outbox::{QueueLimits, SlowConsumer};
use super::rate::Rate;
use crate::admission::AdmissionLimits;
use crate::forwarded::TrustedProxies;
use crate::networks::Networks;
use crate::options::Options;
use crate::proto::CloseCode;
#[cfg(feature = "deflate")]
use crate::proto::Deflate;

/// The settings of a [`Server`](super::Server). [`set`](Self::set) takes them by name, as the environment and files do.
///
/// Of several values for one setting the later one counts: [`Config::load`] takes defaults, then the file, then the
/// environment; methods that are called on the result come last.
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) address: String,
    pub(super) path: Option<String>,
    pub(super) health_path: Option<String>,
    pub(super) tls_certificate: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) proxy_protocol: Networks,
    pub(super) trusted_proxies: Networks,
    pub(super) forwarded_by: ForwardedBy,
    pub(super) admission: AdmissionLimits,
    pub(super) max_message: usize,
    pub(super) max_memory: Option<usize>,
    pub(super) handshake_timeout: Duration,
    pub(super) auth_timeout: Duration,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) read_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) handler_timeout: Duration,
    pub(super) heartbeat_interval: Option<Duration>,
    pub(super) heartbeat_timeout: Duration,
    pub(super) nodelay: bool,
    pub(super) keepalive: Option<Duration>,
    pub(super) read_buffer: usize,
    pub(super) write_buffer: usize,
    pub(super) compression: Compression,
    pub(super) subprotocols: Vec<String>,
    pub(super) origins: Origins,
    pub(super) queue: QueueLimits,
    pub(super) max_groups: usize,
    pub(super) message_rate: Option<Rate>,
    pub(super) byte_rate: Option<Rate>,
    pub(super) over_rate: OverRate,
}

/// Whether messages are compressed, where clients offer permessage-deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not.
    Off,
    /// Each by itself: connections hold no memory for it.
    PerMessage,
    /// With what the connection sent before: smaller, for about 300 KiB a connection.
    Takeover,
}

/// What a peer gets that sends faster than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OverRate {
    /// Close 1008.
    Close,
    /// To wait: nothing more is read from it meanwhile.
    Wait,
}

/// In which field trusted proxies tell for whom they ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, as most proxies do.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl Config {
    /// The defaults that each method below states.
    #[must_use]
    pub fn new() -> Self {
        Self {
            address: "127.0.0.1:9001".into(),
            path: None,
            health_path: None,
            tls_certificate: None,
            tls_key: None,
            proxy_protocol: Networks::default(),
            trusted_proxies: Networks::default(),
            forwarded_by: ForwardedBy::XForwardedFor,
            admission: AdmissionLimits::new(),
            max_message: 1 << 20,
            max_memory: None,
            handshake_timeout: Duration::from_secs(10),
            auth_timeout: Duration::from_secs(10),
            idle_timeout: None,
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            handler_timeout: Duration::from_secs(30),
            heartbeat_interval: Some(Duration::from_secs(30)),
            heartbeat_timeout: Duration::from_secs(20),
            nodelay: true,
            keepalive: None,
            read_buffer: 4 << 10,
            write_buffer: 64 << 10,
            compression: Compression::Off,
            subprotocols: Vec::new(),
            origins: Origins::same(),
            queue: QueueLimits {
                messages: 1024,
                bytes: 1 << 20,
                policy: SlowConsumer::Disconnect,
                code: CloseCode::TRY_AGAIN,
            },
            max_groups: 256,
            message_rate: None,
            byte_rate: None,
            over_rate: OverRate::Close,
        }
    }

    /// Where to listen: an address or name, and a port. Port 0 takes a free one, which
    /// [`Server::address`](super::Server::address) tells. Default: `127.0.0.1:9001`, which only this machine reaches.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// The path of the URL; others get 404. `None` for any. Default: any.
    #[must_use]
    pub fn path<P: Into<String>>(mut self, path: impl Into<Option<P>>) -> Self {
        self.path = path.into().map(Into::into);
        self
    }

    /// A path that answers requests for no WebSocket with 200, and with 503 once the server shuts down: for load
    /// balancers. They count as connections amid a handshake. Default: none.
    #[must_use]
    pub fn health_path<P: Into<String>>(mut self, path: impl Into<Option<P>>) -> Self {
        self.health_path = path.into().map(Into::into);
        self
    }

    /// Speaks TLS: the file of the certificate chain and that of its key, both of them PEM, which
    /// [`Server::reload_tls`](super::Server::reload_tls) reads again. Needs a feature, `rustls-ring` or
    /// `rustls-aws-lc-rs`, without which [`Builder::bind`](super::Builder::bind) fails. Default: no TLS.
    #[must_use]
    pub fn tls(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls_certificate = Some(certificate.into());
        self.tls_key = Some(key.into());
        self
    }

    /// The TCP proxies in front of the server, each of which has to begin with a header of the PROXY protocol: see
    /// [`ProxyProtocol`](crate::tokio::ProxyProtocol). Default: none.
    #[must_use]
    pub fn proxy_protocol(mut self, proxies: Networks) -> Self {
        self.proxy_protocol = proxies;
        self
    }

    /// The HTTP proxies in front of the server, which say for whom they ask: see
    /// [`TrustedProxies`](crate::TrustedProxies). A connection over a socket of the file system comes from
    /// `127.0.0.1`. Default: none.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: Networks) -> Self {
        self.trusted_proxies = proxies;
        self
    }

    /// In which field they say so. One that they do not write, clients can. Default: `X-Forwarded-For`.
    #[must_use]
    pub const fn forwarded_by(mut self, field: ForwardedBy) -> Self {
        self.forwarded_by = field;
        self
    }

    /// How many connections there may be, in all and from one address, and how many amid a handshake.
    /// Default: [`AdmissionLimits::new`].
    #[must_use]
    pub const fn admission(mut self, limits: AdmissionLimits) -> Self {
        self.admission = limits;
        self
    }

    /// The largest message in bytes, after inflation; a larger one gets 1009. Default: 1 MiB.
    #[must_use]
    pub const fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// How many bytes all connections may hold together of what comes in and goes out: see [`Budget`](crate::Budget).
    /// What waits in their queues is not among them: it has [`max_queued_bytes`](Self::max_queued_bytes). Default: no
    /// limit.
    #[must_use]
    pub fn max_memory(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.max_memory = bytes.into();
        self
    }

    /// How long TLS, the header of a proxy and the opening handshake may take together. What
    /// [`Builder::listen_with`](super::Builder::listen_with) does has as much time for itself. Default: 10 s.
    #[must_use]
    pub const fn handshake_timeout(mut self, time: Duration) -> Self {
        self.handshake_timeout = time;
        self
    }

    /// How long the hook before the upgrade may take (then the client gets 503), and how long a client may take for
    /// the first message where one has to authenticate it, its check included (then it gets 1008). Default: 10 s.
    #[must_use]
    pub const fn auth_timeout(mut self, time: Duration) -> Self {
        self.auth_timeout = time;
        self
    }

    /// How long a peer may send no message of data while the handler waits for one: see [`Options::idle_timeout`]. What
    /// is sent to it does not count. Default: for ever, since many peers only listen.
    #[must_use]
    pub fn idle_timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = time.into();
        self
    }

    /// See [`Options::message_timeout`]. Default: 30 s.
    #[must_use]
    pub const fn read_timeout(mut self, time: Duration) -> Self {
        self.read_timeout = time;
        self
    }

    /// See [`Options::write_timeout`]. Default: 30 s.
    #[must_use]
    pub const fn write_timeout(mut self, time: Duration) -> Self {
        self.write_timeout = time;
        self
    }

    /// See [`Options::close_timeout`]. Default: 5 s.
    #[must_use]
    pub const fn close_timeout(mut self, time: Duration) -> Self {
        self.close_timeout = time;
        self
    }

    /// How long a handler, and the hook on the end, may go on after the connection ended; then they are dropped. Once a
    /// write failed, a handler has as long for each message that came before: then the rest is dropped, and the
    /// connection ends. Default: 30 s.
    #[must_use]
    pub const fn handler_timeout(mut self, time: Duration) -> Self {
        self.handler_timeout = time;
        self
    }

    /// How often a ping asks whether the peer is there, which also measures the round-trip time; `None` for never. None is
    /// sent while nothing is read, because the handler or a rate wants it so. See [`Options::ping_interval`]. Default:
    /// 30 s, less than the time after which most translators of addresses forget a connection.
    #[must_use]
    pub fn heartbeat_interval(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.heartbeat_interval = time.into();
        self
    }

    /// How long a peer may be silent after a ping; then the connection ends, without a Close that nobody would see.
    /// Anything that comes is a sign of life. No time passes while nothing is read, nor while the peer has bytes to take,
    /// which have [`write_timeout`](Self::write_timeout). See [`Options::pong_timeout`]. Default: 20 s.
    #[must_use]
    pub const fn heartbeat_timeout(mut self, time: Duration) -> Self {
        self.heartbeat_timeout = time;
        self
    }

    /// Whether small messages leave at once (`TCP_NODELAY`). Default: yes.
    #[must_use]
    pub const fn nodelay(mut self, on: bool) -> Self {
        self.nodelay = on;
        self
    }

    /// After how much silence TCP asks whether the peer is there. Default: not, since the heartbeat asks.
    #[must_use]
    pub fn keepalive(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.keepalive = time.into();
        self
    }

    /// How many bytes a connection reads at once at first: see
    /// [`proto::Config::read_size`](crate::proto::Config::read_size). Default: 4 KiB.
    #[must_use]
    pub const fn read_buffer(mut self, bytes: usize) -> Self {
        self.read_buffer = bytes;
        self
    }

    /// How many bytes of messages are encoded ahead of the transport, beyond which they wait in the queue, where urgent
    /// ones overtake them. Default: 64 KiB.
    #[must_use]
    pub const fn write_buffer(mut self, bytes: usize) -> Self {
        self.write_buffer = bytes;
        self
    }

    /// Whether messages are compressed. Default: not. Needs the feature `deflate`, without which it stays off.
    #[must_use]
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The subprotocols that are spoken, the preferred first: the first of them that a client offers is agreed on. A
    /// client that offers none of them gets none. Default: none.
    #[must_use]
    pub fn subprotocols<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Which sites' pages may connect; others get 403. Default: [`Origins::same`].
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// How many messages may wait for one connection. Default: 1,024.
    #[must_use]
    pub const fn max_queued_messages(mut self, messages: usize) -> Self {
        self.queue.messages = messages;
        self
    }

    /// How many bytes of payload may wait for one connection. Default: 1 MiB.
    #[must_use]
    pub const fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.queue.bytes = bytes;
        self
    }

    /// What happens when either is reached. Default: [`SlowConsumer::Disconnect`], since no other loses nothing unseen.
    #[must_use]
    pub const fn slow_consumer(mut self, policy: SlowConsumer) -> Self {
        self.queue.policy = policy;
        self
    }

    /// With which code [`SlowConsumer::Disconnect`] does so: 1013, "try again later", or 1008. Default: 1013.
    #[must_use]
    pub const fn slow_consumer_code(mut self, code: CloseCode) -> Self {
        self.queue.code = code;
        self
    }

    /// How many rooms and topics one connection may be in. Default: 256.
    #[must_use]
    pub const fn max_groups(mut self, groups: usize) -> Self {
        self.max_groups = groups;
        self
    }

    /// How many messages a peer may send. Default: any number.
    #[must_use]
    pub fn message_rate(mut self, rate: impl Into<Option<Rate>>) -> Self {
        self.message_rate = rate.into();
        self
    }

    /// How many bytes of messages a peer may send. The burst has to hold a message, or longer ones wait longer. Default:
    /// any number.
    #[must_use]
    pub fn byte_rate(mut self, rate: impl Into<Option<Rate>>) -> Self {
        self.byte_rate = rate.into();
        self
    }

    /// What a peer gets that sends more. Default: [`OverRate::Close`].
    #[must_use]
    pub const fn over_rate(mut self, then: OverRate) -> Self {
        self.over_rate = then;
        self
    }

    /// Who the client is, by what proxies say.
    pub(super) fn forwarding(&self) -> TrustedProxies {
        let proxies = self.trusted_proxies.clone();
        match self.forwarded_by {
            ForwardedBy::XForwardedFor => TrustedProxies::x_forwarded_for(proxies),
            ForwardedBy::Forwarded => TrustedProxies::forwarded(proxies),
        }
    }

    /// The adapter's part of the settings.
    pub(super) fn options(&self) -> Options {
        let config = crate::proto::Config::new()
            .max_message(self.max_message)
            .max_frame(self.max_message)
            // A message that was taken out of the queue never finds the engine full.
            .max_queued(self.write_buffer.max(1).saturating_add(MOST_BESIDE))
            .read_size(u32::try_from(self.read_buffer).unwrap_or(u32::MAX));
        let options = Options::new()
            .config(config)
            .handshake_timeout(self.handshake_timeout)
            .message_timeout(self.read_timeout)
            .write_timeout(self.write_timeout)
            .close_timeout(self.close_timeout)
            .ping_interval(self.heartbeat_interval.unwrap_or(Duration::MAX))
            .pong_timeout(self.heartbeat_timeout)
            .idle_timeout(self.idle_timeout.unwrap_or(Duration::MAX));
        #[cfg(feature = "deflate")]
        let options = options.deflate(match self.compression {
            Compression::Off => None,
            Compression::PerMessage => Some(Deflate::no_context_takeover()),
            Compression::Takeover => Some(Deflate::new()),
        });
        options
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// Room in the engine for the pings that go beside messages.
const MOST_BESIDE: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_of_the_adapter_is_handed_on() {
        let [handshake, read, write, close, interval, pong, idle] =
            [1, 2, 3, 4, 5, 6, 7].map(Duration::from_secs);
        let config = Config::new()
            .handshake_timeout(handshake)
            .read_timeout(read)
            .write_timeout(write)
            .close_timeout(close)
            .heartbeat_interval(interval)
            .heartbeat_timeout(pong)
            .idle_timeout(idle)
            .read_buffer(800);
        let options = config.options();
        let pace = options.pace;
        assert_eq!((options.handshake_timeout, options.config.read_size), (handshake, 800));
        assert_eq!((pace.message_timeout, pace.write_timeout, pace.close_timeout), (read, write, close));
        assert_eq!((pace.ping_interval, pace.pong_timeout, pace.idle_timeout), (interval, pong, idle));
        let never = config.heartbeat_interval(None).idle_timeout(None).options().pace;
        assert_eq!([never.ping_interval, never.idle_timeout], [Duration::MAX; 2]);
    }

    #[test]
    fn the_limits_of_the_engine_follow_from_those_of_the_server() {
        for bytes in [10, 64 << 20] {
            let options = Config::new().max_message(bytes).write_buffer(bytes).options();
            assert_eq!((options.config.max_message, options.config.max_frame), (bytes, bytes));
            assert!(options.config.max_queued > bytes);
        }
    }
}
