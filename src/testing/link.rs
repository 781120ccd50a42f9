//! `Link`: how a connection in memory behaves.

#![forbid(unsafe_code)]

use core::time::Duration;

/// How a connection in memory behaves. Both directions are alike; only [cuts](Self::cut_at) are of one.
///
/// All that happens by chance follows from the [seed](Self::seed): the same program sees the same again. Time is that
/// of tokio, whose clock a test pauses; it counts in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub(super) seed: u64,
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    pub(super) bandwidth: u64,
    pub(super) room: usize,
    pub(super) pieces: Option<usize>,
    pub(super) stalls: Option<(u64, Duration)>,
    pub(super) cuts: [Option<(u64, Cut)>; 2],
    pub(super) cut_after: Option<(Duration, Cut)>,
}

/// One of the directions of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a connection has two")]
pub enum Direction {
    /// What the first end of a pair writes.
    ToServer,
    /// What the second writes.
    ToClient,
}

/// How a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cut {
    /// As by a crash: what is under way is lost; behind what has arrived both ends read an error, and their writes fail
    /// with `ConnectionReset`.
    Reset,
    /// As by a proxy that goes: what is under way arrives; behind it both ends read the end, and their writes fail with
    /// `BrokenPipe`.
    End,
    /// One direction alone ends so; the other goes on.
    HalfClose(Direction),
    /// As by a cable that was pulled: nothing arrives any more, and neither end hears of it, not even if the other is
    /// dropped. [`Wire::resume`](super::Wire::resume) heals it.
    Silence,
}

impl Link {
    /// One on which nothing takes time, and nothing goes wrong.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            seed: 0,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            bandwidth: u64::MAX,
            room: 64 << 10,
            pieces: None,
            stalls: None,
            cuts: [None; 2],
            cut_after: None,
        }
    }

    /// What chance follows from. Default: 0.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How long each byte is under way, in one direction. To connect by a [`MemoryNetwork`](super::MemoryNetwork) takes
    /// twice that. Default: no time.
    #[must_use]
    pub const fn latency(mut self, time: Duration) -> Self {
        self.latency = time;
        self
    }

    /// How much longer it may be, by chance. Nothing overtakes what left before. Default: no longer.
    #[must_use]
    pub const fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// How many bytes leave in a second, at least one; `u64::MAX` for any number. Default: any number.
    #[must_use]
    pub const fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = if bytes_per_second == 0 { 1 } else { bytes_per_second };
        self
    }

    /// How many bytes wait at most in each direction, those under way included; beyond, writes wait. Default: 64 KiB.
    #[must_use]
    pub const fn room(mut self, bytes: usize) -> Self {
        self.room = bytes;
        self
    }

    /// Each read and each write moves one to `most` bytes, by chance, and one in four is pending first. Default: as many
    /// as there are.
    #[must_use]
    pub const fn pieces(mut self, most: usize) -> Self {
        self.pieces = Some(if most == 0 { 1 } else { most });
        self
    }

    /// At places of chance, `every` so many bytes on average, nothing leaves for up to `most`. Default: nowhere.
    #[must_use]
    pub const fn stalls(mut self, every: u64, most: Duration) -> Self {
        self.stalls = Some((every, most));
        self
    }

    /// The connection is cut as soon as so many bytes were written in this direction, the handshake among them. They still
    /// arrive, unless the cut is [`Cut::Silence`]; under [`Cut::Reset`], what is under way in the other direction does
    /// not. Later calls for the same direction take the place of earlier ones.
    #[must_use]
    pub const fn cut_at(mut self, direction: Direction, bytes: u64, cut: Cut) -> Self {
        self.cuts[direction as usize] = Some((bytes, cut));
        self
    }

    /// The connection is cut at that age.
    #[must_use]
    pub const fn cut_after(mut self, time: Duration, cut: Cut) -> Self {
        self.cut_after = Some((time, cut));
        self
    }

    /// Whether bytes arrive as soon as they are written.
    pub(super) fn is_instant(&self) -> bool {
        self.latency.is_zero() && self.jitter.is_zero() && self.bandwidth == u64::MAX && self.stalls.is_none()
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}
