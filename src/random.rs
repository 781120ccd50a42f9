//! The default source of masking keys and nonces.

#![forbid(unsafe_code)]

use crate::proto::MaskSource;

/// Masking keys from the thread's generator: ChaCha, seeded and reseeded by the operating system, in
/// batches (RFC 6455 §5.3, §10.3). There is no predictable source to choose instead.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RandomMasks;

impl RandomMasks {
    /// The source. It has no state of its own.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl MaskSource for RandomMasks {
    fn next_key(&mut self) -> [u8; 4] {
        rand::random()
    }
}

/// A nonce for an opening handshake: RFC 6455 §4.1: "a randomly selected 16-byte value".
#[must_use]
pub fn nonce() -> [u8; 16] {
    rand::random()
}
