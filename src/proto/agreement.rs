//! What the two ends agreed on in the opening handshake.

#![forbid(unsafe_code)]

use alloc::boxed::Box;

/// The outcome of an opening handshake, as far as the connection depends on it (RFC 6455 §4.1, §4.2.2).
///
/// Handshakes done elsewhere (hyper, HTTP/2) build one for [`Connection::with_agreement`](super::Connection::with_agreement).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    subprotocol: Option<Box<str>>,
}

impl Agreement {
    /// No subprotocol, no extension.
    #[must_use]
    pub const fn new() -> Self {
        Self { subprotocol: None }
    }

    /// With this subprotocol.
    #[must_use]
    pub fn with_subprotocol(mut self, name: &str) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// The subprotocol in use, if one was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }
}
