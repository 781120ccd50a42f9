//! WebSocket for Rust: a sans-IO engine of RFC 6455, and thin adapters around it.
//!
//! | module       | what it is                                                              | feature |
//! |--------------|-------------------------------------------------------------------------|---------|
//! | [`proto`]    | the engine: bytes in, events out; no I/O, no clock, no random numbers   |         |
//! | `blocking`   | the engine over `std::io::{Read, Write}`                                | `std`   |
//! | `tokio`      | the engine over tokio's byte streams, with deadlines                    | `tokio` |
//! | `server`     | a server with registry, rooms, broadcast, limits and graceful shutdown  | `server` |
//!
//! Use `taut::tokio` to serve and connect on tokio, `taut::blocking` on threads, and [`proto`] to put the
//! engine into anything else: [`proto::Connection`] shows the loop, which is the same everywhere.
//!
//! The feature `deflate` adds permessage-deflate (RFC 7692) to all of them.
//!
//! Without features the crate is `no_std` with `alloc`. Features only add; none changes what another does.

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
// What the engine can have without `std` it takes from `core` and `alloc`; examples and tests need not.
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "std")]
mod admission;
#[cfg(feature = "std")]
pub mod blocking;
#[cfg(feature = "tokio")]
mod budget;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
mod options;
pub mod proto;
#[cfg(feature = "std")]
mod random;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "tokio")]
pub mod tokio;

#[cfg(feature = "std")]
pub use admission::{Admission, AdmissionLimits, Admitted, Refused};
#[cfg(feature = "tokio")]
pub use budget::Budget;
#[cfg(feature = "std")]
pub use error::{Deadline, Error};
#[cfg(feature = "std")]
pub use options::Options;
#[cfg(feature = "std")]
pub use random::{RandomMasks, nonce};

/// The examples of README.md and of the documents, as tests.
#[cfg(all(doctest, feature = "tokio", feature = "deflate"))]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/deflate.md")]
struct Documents;
