//! The default source of masking keys and nonces.

#![forbid(unsafe_code)]

use core::cell::RefCell;
use core::mem;

use rand::Rng;

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
        let key = BATCH.try_with(|batch| batch.borrow_mut().next());
        // At the end of a thread its batch is gone before its connections may be.
        key.unwrap_or_else(|_| rand::random())
    }
}

/// Keys that were made together: the generator is faster with many bytes at a time.
struct Batch {
    keys: [[u8; 4]; KEYS],
    left: usize,
}

impl Batch {
    fn next(&mut self) -> [u8; 4] {
        if self.left == 0 {
            rand::rng().fill_bytes(self.keys.as_flattened_mut());
            self.left = KEYS;
        }
        self.left -= 1;
        // No key is used twice, nor stays where somebody might find it.
        mem::take(&mut self.keys[self.left])
    }
}

std::thread_local! {
    static BATCH: RefCell<Batch> = const { RefCell::new(Batch { keys: [[0; 4]; KEYS], left: 0 }) };
}

const KEYS: usize = 64;

/// A nonce for an opening handshake: RFC 6455 §4.1: "a randomly selected 16-byte value".
#[must_use]
pub fn nonce() -> [u8; 16] {
    rand::random()
}
