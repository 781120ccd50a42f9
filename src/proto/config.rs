//! Every limit of the engine, with its default and its reason. No other file names a limit's value.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
#[cfg(feature = "std")]
use alloc::sync::Weak;
#[cfg(feature = "std")]
use core::cell::RefCell;
use core::ops::Deref;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 §1.2 knows two parties")]
pub enum Role {
    /// Opened the connection; masks what it sends.
    Client,
    /// Accepted the connection; never masks.
    Server,
}

impl Role {
    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How the data of a message reaches the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a message comes whole or it does not")]
pub enum Delivery {
    /// One event for each message, at its end. Memory is bounded by [`Config::max_message`].
    #[default]
    Whole,
    /// An event for each piece as it arrives; a message of any size takes no more memory than one read.
    /// A piece of text never ends inside a character.
    Chunks,
}

/// The settings of one connection. `usize::MAX` (or `u64::MAX`, `u32::MAX`) means "no limit"; zero means zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) max_message: usize,
    pub(crate) max_frame: usize,
    pub(crate) max_streamed: u64,
    pub(crate) max_queued: usize,
    pub(crate) fragment_above: usize,
    pub(crate) max_fragments: u32,
    pub(crate) max_empty_fragments: u32,
    pub(crate) read_size: u32,
    pub(crate) copy_below: u32,
    pub(crate) share_above: u32,
    pub(crate) delivery: Delivery,
    pub(crate) auto_pong: bool,
    pub(crate) auto_close: bool,
    pub(crate) accept_unmasked: bool,
    #[cfg(feature = "deflate")]
    pub(crate) deflate_level: u8,
    #[cfg(feature = "deflate")]
    pub(crate) deflate_above: u32,
    #[cfg(feature = "deflate")]
    pub(crate) max_ratio: u32,
}

impl Config {
    /// The defaults that each method below states.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            max_message: 16 << 20,
            max_frame: 16 << 20,
            max_streamed: u64::MAX,
            max_queued: 1 << 20,
            fragment_above: usize::MAX,
            max_fragments: 1 << 17,
            max_empty_fragments: 64,
            read_size: 4 << 10,
            copy_below: 1 << 10,
            share_above: 4 << 10,
            delivery: Delivery::Whole,
            auto_pong: true,
            auto_close: true,
            accept_unmasked: false,
            #[cfg(feature = "deflate")]
            deflate_level: 3,
            #[cfg(feature = "deflate")]
            deflate_above: 256,
            #[cfg(feature = "deflate")]
            max_ratio: u32::MAX,
        }
    }

    /// The largest message in bytes that [`Delivery::Whole`] puts together, over all its fragments, after
    /// inflation. A larger one fails the connection with 1009: at the header that shows it, or, if it is
    /// compressed, at the byte that is one too many.
    ///
    /// Default: 16 MiB, the largest message of the Autobahn test suite.
    #[must_use]
    pub const fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// The largest payload of one frame under [`Delivery::Whole`], as it comes; a larger one fails with 1009. If it
    /// is not below [`max_message`](Self::max_message), that one decides.
    ///
    /// Default: 16 MiB, so that a message may come as one frame.
    #[must_use]
    pub const fn max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes;
        self
    }

    /// The largest message under [`Delivery::Chunks`], in bytes over all its chunks, after inflation; a larger
    /// one fails with 1009.
    ///
    /// Default: no limit, since such a message takes no memory.
    #[must_use]
    pub const fn max_streamed(mut self, bytes: u64) -> Self {
        self.max_streamed = bytes;
        self
    }

    /// How many bytes may wait to be written. A send is refused only when that many wait already, so
    /// that a message of any size can be sent; pongs and closes of the engine are never refused.
    ///
    /// Default: 1 MiB, which covers the bandwidth-delay product of a fast long-distance link.
    #[must_use]
    pub const fn max_queued(mut self, bytes: usize) -> Self {
        self.max_queued = bytes;
        self
    }

    /// Messages with more bytes than this leave in several frames, so that a pong can go between them;
    /// those that were [`Prepared`](super::Prepared) stay in one.
    ///
    /// Default: never, one frame for each message.
    #[must_use]
    pub const fn fragment_above(mut self, bytes: usize) -> Self {
        self.fragment_above = if bytes == 0 { 1 } else { bytes };
        self
    }

    /// How many frames one message may come in; one more fails the connection with 1008.
    ///
    /// Default: 131,072. A fragment costs time and no memory of its own; Autobahn's case 9.3.1 uses 65,536.
    #[must_use]
    pub const fn max_fragments(mut self, frames: u32) -> Self {
        self.max_fragments = frames;
        self
    }

    /// How many empty frames one message may hold, its last frame excepted; one more fails with 1008.
    ///
    /// Default: 64. Empty frames carry nothing, and every limit in bytes misses them.
    #[must_use]
    pub const fn max_empty_fragments(mut self, frames: u32) -> Self {
        self.max_empty_fragments = frames;
        self
    }

    /// How much room the first read of a connection gets. The room then follows the traffic, up to 64 KiB.
    ///
    /// Default: 4 KiB.
    #[must_use]
    pub const fn read_size(mut self, bytes: u32) -> Self {
        self.read_size = if bytes < Self::LEAST_READ { Self::LEAST_READ } else { bytes };
        self
    }

    /// Received payloads of fewer bytes are copied out of the read buffer; larger ones share it, if they are
    /// at least a quarter of it, since a payload that is kept keeps the buffer.
    ///
    /// Default: 1 KiB, a quarter of the first buffer. A share takes 23 ns where a copy takes 31, 15 against 19
    /// at 256 bytes, and a new buffer if it is kept: `cargo bench --bench thresholds`.
    #[must_use]
    pub const fn copy_below(mut self, bytes: u32) -> Self {
        self.copy_below = bytes;
        self
    }

    /// Payloads of more bytes, given as `Bytes`, are queued by reference, smaller ones are copied.
    ///
    /// Default: 4 KiB. In bursts of 32 into a TCP socket a copy takes 0.5 to 0.7 of the time of a share at 512
    /// bytes, 0.9 at 2 KiB, and from 4 KiB on they differ by less than their noise: `cargo bench --bench
    /// thresholds`. Sharing saves memory, then, where one payload waits in many queues.
    #[must_use]
    pub const fn share_above(mut self, bytes: u32) -> Self {
        self.share_above = bytes;
        self
    }

    /// Whether messages come whole or in pieces. Default: [`Delivery::Whole`].
    #[must_use]
    pub const fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Whether the engine answers pings by itself (RFC 6455 §5.5.2). Default: yes.
    #[must_use]
    pub const fn auto_pong(mut self, on: bool) -> Self {
        self.auto_pong = on;
        self
    }

    /// Whether the engine answers the peer's Close by itself (RFC 6455 §5.5.1). If not, the application
    /// must close once it has seen [`Message::Close`](super::Message::Close). Default: yes.
    #[must_use]
    pub const fn auto_close(mut self, on: bool) -> Self {
        self.auto_close = on;
        self
    }

    /// **Whether a server takes frames without a mask, against RFC 6455 §5.1**, from clients that cannot do better.
    /// Between a script in a browser, which always masks, and a cache on its way, masks keep what the script sends from
    /// looking like HTTP (RFC 6455 §10.3); where nothing else can connect, nothing is lost. Default: no.
    #[must_use]
    pub const fn accept_unmasked(mut self, on: bool) -> Self {
        self.accept_unmasked = on;
        self
    }

    /// How hard messages are compressed: 0 (stored in blocks as they are) to 9, as zlib counts; more becomes 9.
    ///
    /// Default: 3. On messages of 64 KiB level 6 takes 1.4 to 2.2 of its time and sends 0.93 to 0.97 of its
    /// bytes, level 1 takes 0.4 and sends 1.4 to 1.5 (`benches/zlib/results.md`).
    #[cfg(feature = "deflate")]
    #[must_use]
    pub const fn deflate_level(mut self, level: u8) -> Self {
        self.deflate_level = if level > 9 { 9 } else { level };
        self
    }

    /// Messages of more bytes than this are compressed, if permessage-deflate was agreed on; those sent in
    /// fragments always, since their length is not known.
    ///
    /// Default: 256. Without context takeover a quarter of 256 bytes of JSON is saved, and of 128 bytes a fifth, in
    /// 5 µs or more. With takeover smaller ones are worth it: half of 128 bytes (`benches/zlib/results.md`).
    #[cfg(feature = "deflate")]
    #[must_use]
    pub const fn deflate_above(mut self, bytes: u32) -> Self {
        self.deflate_above = bytes;
        self
    }

    /// How many bytes one byte of a compressed message may become, once the message is over 64 KiB; more
    /// fails the connection with 1009. DEFLATE reaches 1032.
    ///
    /// Default: no limit. [`max_message`](Self::max_message) bounds the memory, and long runs of one byte, which
    /// images and padding have, reach the highest ratios without any ill will.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub const fn max_ratio(mut self, ratio: u32) -> Self {
        self.max_ratio = ratio;
        self
    }

    /// Messages up to this size may have any ratio: small ones that repeat those before them are nearly nothing.
    #[cfg(feature = "deflate")]
    pub(crate) const ANY_RATIO: u64 = 64 << 10;
    /// The most that is inflated in one go, and the largest piece of a compressed message under
    /// [`Delivery::Chunks`].
    pub(crate) const MOST_INFLATED: usize = 16 << 10;
    /// The least room for a read: below it, system calls outweigh the bytes they bring.
    pub(crate) const LEAST_READ: u32 = 64;
    /// The most room for a read, and the largest buffer that is kept once it is empty.
    pub(crate) const MOST_READ: usize = 64 << 10;
    /// So much of a payload, where more of it is to come, is read straight into its place.
    pub(crate) const LARGE_REST: usize = 64 << 10;
    /// The memory that a header takes before a payload, at most.
    pub(crate) const MOST_BEFORE: usize = 16;
    /// A frame above this size is read into memory of its own, and the next one is expected to be as large: a
    /// thread's buffer would not hold two of them.
    pub(crate) const LARGE_FRAME: usize = 256 << 10;
    /// Above this size, a frame that is read into memory of its own is expected to be followed by another as large.
    pub(crate) const LEAST_AHEAD: usize = 16 << 10;
    /// The most room that is made for a frame before a byte of it came.
    pub(crate) const MOST_AHEAD: u32 = 2 << 20;
    /// A kept payload may pin at most this many times its size of the buffer it came in.
    pub(crate) const MOST_PINNED: usize = 4;
}

/// The settings of a connection, in both of its halves. The defaults take no memory, and others not for each connection.
#[derive(Clone, Debug)]
pub(crate) struct Settings(Option<Arc<Config>>);

impl From<Config> for Settings {
    fn from(config: Config) -> Self {
        Self(if config == Config::new() { None } else { Some(shared(config)) })
    }
}

/// What the latest connection of the thread has too, if that is the same: those of a server are alike.
#[cfg(feature = "std")]
fn shared(config: Config) -> Arc<Config> {
    let shared = LATEST.try_with(|latest| shared_with(&mut latest.borrow_mut(), config));
    shared.unwrap_or_else(|_| Arc::new(config))
}

#[cfg(not(feature = "std"))]
fn shared(config: Config) -> Arc<Config> {
    Arc::new(config)
}

/// Gives back what the thread keeps of the latest settings.
#[cfg(feature = "std")]
pub(super) fn forget_latest() {
    let _ = LATEST.try_with(RefCell::take);
}

#[cfg(feature = "std")]
std::thread_local! {
    static LATEST: RefCell<Weak<Config>> = const { RefCell::new(Weak::new()) };
}

/// The latest value if it is there and equal, or else this one, which is the latest then.
#[cfg(feature = "std")]
pub(crate) fn shared_with<T: Copy + PartialEq>(latest: &mut Weak<T>, value: T) -> Arc<T> {
    latest.upgrade().filter(|latest| **latest == value).unwrap_or_else(|| {
        let shared = Arc::new(value);
        *latest = Arc::downgrade(&shared);
        shared
    })
}

impl Deref for Settings {
    type Target = Config;

    fn deref(&self) -> &Config {
        static DEFAULT: Config = Config::new();
        self.0.as_deref().unwrap_or(&DEFAULT)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// What the peer may send before the connection is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeLimits {
    pub(crate) max_head: usize,
    pub(crate) max_fields: usize,
    pub(crate) max_body: usize,
}

impl HandshakeLimits {
    /// The defaults that each method below states.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_head: 16 << 10, max_fields: 100, max_body: 1 << 20 }
    }

    /// Bytes of a request or response up to the end of its header fields; a server answers 431 to more.
    ///
    /// Default: 16 KiB, what common servers allow for large cookies.
    #[must_use]
    pub const fn max_head(mut self, bytes: usize) -> Self {
        self.max_head = bytes;
        self
    }

    /// Header fields of a request or response; a server answers 431 to more. Default: 100.
    #[must_use]
    pub const fn max_fields(mut self, fields: usize) -> Self {
        self.max_fields = fields;
        self
    }

    /// Bytes of the body of an answer that refuses the upgrade; what goes beyond is cut off. Default: 1 MiB.
    #[must_use]
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn connections_with_the_same_settings_share_them() {
        let of = |read_size| Settings::from(Config::new().read_size(read_size)).0;
        let [one, two, other, back] = [1000, 1000, 2000, 1000].map(of);
        let (one, two, other) = (one.unwrap(), two.unwrap(), other.unwrap());
        assert!(Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&one, &other));
        assert_eq!((one.read_size, other.read_size), (1000, 2000));
        // Only the latest are known, and they live as long as their connections.
        assert!(back.is_some_and(|back| *back == *one && !Arc::ptr_eq(&back, &one)));
        assert_eq!(Arc::strong_count(&other), 1);
        assert!(Settings::from(Config::new()).0.is_none());
    }
}
