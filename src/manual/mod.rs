//! The manual, chapter by chapter. The [front page](crate) comes first; this module has nothing but documentation.
//!
#![doc = include_str!("contents.md")]
#![forbid(unsafe_code)]

// A document's links lead to files. The definitions before it come first, and so have their way here.

#[doc = include_str!("engine.md")]
pub mod engine {}

#[doc = include_str!("limits.md")]
pub mod limits {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("cancel_safety.md")]
pub mod cancel_safety {}

#[doc = include_str!("closing.md")]
pub mod closing {}

/// [results.md]: https://docs.rs/crate/taut/latest/source/docs/benchmarks/deflate.md
///
#[doc = include_str!("../../docs/deflate.md")]
pub mod compression {}

#[doc = include_str!("performance.md")]
///
#[doc = include_str!("../../docs/benchmarks/summary.md")]
pub mod performance {}

/// [docs/deflate.md]: crate::manual::compression
///
#[doc = include_str!("security.md")]
///
#[doc = include_str!("../../SECURITY.md")]
pub mod security {}

/// [deflate.md]: crate::manual::compression
/// [from-axum.md]: crate::manual::from_axum
/// [testing.md]: crate::manual::testing
///
// It has an example of TLS.
#[cfg_attr(feature = "rustls-ring", doc = include_str!("../../docs/features.md"))]
pub mod features {}

#[doc = include_str!("../../docs/testing.md")]
pub mod testing {}

/// [deflate.md]: crate::manual::compression
/// [frames by hand]: crate::manual::from_fastwebsockets
/// [`examples/from_tokio_tungstenite.rs`]: https://docs.rs/crate/taut/latest/source/examples/from_tokio_tungstenite.rs
///
#[doc = include_str!("../../docs/from-tokio-tungstenite.md")]
pub mod from_tokio_tungstenite {}

/// [deflate.md]: crate::manual::compression
/// [`examples/from_fastwebsockets.rs`]: https://docs.rs/crate/taut/latest/source/examples/from_fastwebsockets.rs
///
#[doc = include_str!("../../docs/from-fastwebsockets.md")]
pub mod from_fastwebsockets {}

/// [tokio-tungstenite's page]: crate::manual::from_tokio_tungstenite#what-is-different
/// [`examples/from_axum.rs`]: https://docs.rs/crate/taut/latest/source/examples/from_axum.rs
///
#[doc = include_str!("../../docs/from-axum.md")]
pub mod from_axum {}
