//! What the two ends agreed on in the opening handshake.

#![forbid(unsafe_code)]

use alloc::boxed::Box;

#[cfg(feature = "deflate")]
use super::config::Role;

/// The outcome of an opening handshake, as far as the connection depends on it (RFC 6455 §4.1, §4.2.2).
///
/// Handshakes done elsewhere (hyper, HTTP/2) build one for [`Connection::with_agreement`](super::Connection::with_agreement).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// One word in each connection; most have none.
    subprotocol: Option<Box<Box<str>>>,
    #[cfg(feature = "deflate")]
    deflate: Option<Deflate>,
}

impl Agreement {
    /// No subprotocol, no extension.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            subprotocol: None,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }

    /// With this subprotocol.
    #[must_use]
    pub fn with_subprotocol(mut self, name: &str) -> Self {
        self.subprotocol = Some(Box::new(name.into()));
        self
    }

    /// With permessage-deflate under these parameters.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub const fn with_deflate(mut self, deflate: Deflate) -> Self {
        self.deflate = Some(deflate);
        self
    }

    /// The subprotocol in use, if one was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_ref().map(|name| &***name)
    }

    /// The parameters of permessage-deflate, if it was agreed on.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub const fn deflate(&self) -> Option<Deflate> {
        self.deflate
    }
}

/// The four parameters of permessage-deflate (RFC 7692 §7.1): as a wish, what a client offers, or the most that
/// a server agrees to; as an agreement, what both keep to.
///
/// "Context takeover" means that a message may refer to the messages before it: a better ratio for small
/// messages, for memory that each connection then holds (`docs/deflate.md` has the table). Without it, no
/// connection holds any between two messages.
#[cfg(feature = "deflate")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deflate {
    server: Direction,
    client: Direction,
}

/// How one end compresses what it sends.
#[cfg(feature = "deflate")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Direction {
    pub(crate) takeover: bool,
    pub(crate) window_bits: u8,
}

#[cfg(feature = "deflate")]
impl Deflate {
    /// The parameters that hold when none is named: context takeover and windows of 15 bits, both ways.
    #[must_use]
    pub const fn new() -> Self {
        let direction = Direction { takeover: true, window_bits: Self::MOST_BITS };
        Self { server: direction, client: direction }
    }

    /// No context takeover, either way: for servers with many connections.
    #[must_use]
    pub const fn no_context_takeover() -> Self {
        Self::new().server_no_context_takeover(true).client_no_context_takeover(true)
    }

    /// Whether the server begins each message with an empty window (RFC 7692 §7.1.1.1).
    #[must_use]
    pub const fn server_no_context_takeover(mut self, on: bool) -> Self {
        self.server.takeover = !on;
        self
    }

    /// Whether the client begins each message with an empty window (RFC 7692 §7.1.1.2).
    #[must_use]
    pub const fn client_no_context_takeover(mut self, on: bool) -> Self {
        self.client.takeover = !on;
        self
    }

    /// The largest window of the server, as the logarithm of its bytes: 8 to 15 (RFC 7692 §7.1.2.1); other
    /// values become the nearest of these. A server whose own limit this is takes 9 for 8.
    #[must_use]
    pub const fn server_max_window_bits(mut self, bits: u8) -> Self {
        self.server.window_bits = Self::within(bits);
        self
    }

    /// The largest window of the client, as [`server_max_window_bits`](Self::server_max_window_bits) says
    /// (RFC 7692 §7.1.2.2). A server can ask only a client that offers to follow.
    #[must_use]
    pub const fn client_max_window_bits(mut self, bits: u8) -> Self {
        self.client.window_bits = Self::within(bits);
        self
    }

    /// Whether the end in this role takes its context over from one message to the next.
    #[must_use]
    pub const fn takes_over(&self, role: Role) -> bool {
        self.sent_by(role).takeover
    }

    /// The largest window of the end in this role, as the logarithm of its bytes.
    #[must_use]
    pub const fn window_bits(&self, role: Role) -> u8 {
        self.sent_by(role).window_bits
    }

    /// How the end in this role compresses what it sends.
    pub(crate) const fn sent_by(&self, role: Role) -> Direction {
        match role {
            Role::Server => self.server,
            Role::Client => self.client,
        }
    }

    const fn within(bits: u8) -> u8 {
        if bits < Self::LEAST_BITS {
            Self::LEAST_BITS
        } else if bits > Self::MOST_BITS {
            Self::MOST_BITS
        } else {
            bits
        }
    }

    /// RFC 7692 §7.1.2.1: a window is of "8 to 15" bits.
    pub(crate) const LEAST_BITS: u8 = 8;
    pub(crate) const MOST_BITS: u8 = 15;
    /// The smallest window of our compressor: zlib's needs more than 256 bytes.
    pub(crate) const LEAST_OWN_BITS: u8 = 9;
}

#[cfg(feature = "deflate")]
impl Default for Deflate {
    fn default() -> Self {
        Self::new()
    }
}
