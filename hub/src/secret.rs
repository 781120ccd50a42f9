//! A text that is not shown.

#![forbid(unsafe_code)]

use std::fmt;

use uuid::Uuid;

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// White space around it is no part of it; `None` if it is too short.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (text.len() >= SHORTEST).then(|| Self(text.to_owned()))
    }

    /// One of any length, such as an address with a password.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// A new one, which nobody can guess: 244 random bits, in 64 bytes.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
    }

    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

const SHORTEST: usize = 16;
