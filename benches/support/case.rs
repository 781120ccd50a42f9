//! One thing to measure: what it is called, how much it does, and how to set it up.

/// A case, not set up yet.
pub(crate) struct Case {
    /// The work, from the general to the special.
    pub(crate) group: String,
    /// What varies within the group: mostly a size.
    pub(crate) parameter: String,
    /// Messages, or handshakes, in a round.
    pub(crate) messages: usize,
    /// Bytes of their payloads, or heads.
    pub(crate) bytes: usize,
    /// Makes all that a round needs.
    pub(crate) setup: Box<dyn Fn() -> Round>,
}

/// What is measured, again and again.
pub(crate) type Round = Box<dyn FnMut()>;
