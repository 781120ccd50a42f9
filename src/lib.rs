//! WebSocket for Rust: a sans-IO engine of RFC 6455, and thin adapters around it.
//!
//! | module       | what it is                                                              | feature |
//! |--------------|-------------------------------------------------------------------------|---------|
//! | [`proto`]    | the engine: bytes in, events out; no I/O, no clock, no random numbers   |         |
//! | `blocking`   | the engine over `std::io::{Read, Write}`                                | `std`   |
//! | `tokio`      | the engine over tokio's byte streams, with deadlines                    | `tokio` |
//! | `futures_io` | the engine over the byte streams of smol and others, with deadlines     | `futures-io` |
//! | `client`     | a client that comes back when its connection is lost                    | `client` |
//! | `http`       | requests that an HTTP library has parsed                                | `http`  |
//! | `hyper`      | the servers of hyper 1, over HTTP/1.1 and HTTP/2                        | `hyper` |
//! | `axum`       | an extractor for axum                                                   | `axum`  |
//! | `http2`      | a client's WebSockets over HTTP/2                                       | `http2` |
//! | `server`     | a server with registry, rooms, broadcast, limits and graceful shutdown  | `server` |
//! | `testing`    | a test kit: networks, faulty streams and scripted peers, in memory      | `testing` |
//!
//! Use `taut::tokio` to serve and connect on tokio, `taut::futures_io` on smol and whatever has `AsyncRead` and
//! `AsyncWrite` of `futures-io`, `taut::blocking` on threads, and [`proto`] to put the engine into anything else: [`proto::Connection`] shows the loop, which is the same everywhere.
//!
//! The feature `deflate` adds permessage-deflate (RFC 7692) to all of them; `rustls-ring`, or `rustls-aws-lc-rs`, adds
//! TLS to clients and servers on tokio, `tracing` spans and events (docs/features.md).
//!
//! Without features the crate is `no_std` with `alloc`. Features only add; none changes what another does.

#![no_std]
// What users copy out of the documents gives them no warnings of results that nobody looks at.
#![doc(test(attr(deny(unused_must_use))))]
#![cfg_attr(docsrs, feature(doc_cfg))]
// What the engine can have without `std` it takes from `core` and `alloc`; examples and tests need not.
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "std")]
mod admission;
#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "std")]
pub mod blocking;
#[cfg(feature = "tokio")]
mod budget;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
mod forwarded;
#[cfg(feature = "futures-io")]
pub mod futures_io;
#[cfg(any(feature = "futures-io", feature = "tokio"))]
mod heartbeat;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http2")]
pub mod http2;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "std")]
mod network_error;
#[cfg(feature = "std")]
mod networks;
#[cfg(feature = "std")]
mod observe;
#[cfg(feature = "std")]
mod options;
pub mod proto;
#[cfg(feature = "std")]
mod random;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tokio")]
pub mod tokio;

// Its types are in the API of everything: users need not find the version that fits.
pub use bytes;

#[cfg(feature = "std")]
pub use admission::{Admission, AdmissionLimits, Admitted, Refused};
#[cfg(feature = "tokio")]
pub use budget::Budget;
#[cfg(feature = "std")]
pub use error::{Deadline, Error, ErrorKind};
#[cfg(feature = "std")]
pub use forwarded::TrustedProxies;
#[cfg(feature = "std")]
pub use network_error::{ConnectError, ProxyError, ProxyHeaderError, RedirectError, TlsError, TlsProblem};
#[cfg(feature = "std")]
pub use networks::{Networks, NetworksError};
#[cfg(feature = "std")]
pub use observe::{Ended, Observer};
#[cfg(feature = "std")]
pub use options::Options;
#[cfg(feature = "std")]
pub use random::{RandomMasks, nonce};
#[cfg(feature = "tokio")]
pub use tokio::connect;

/// The examples of README.md and of the documents, as tests.
#[cfg(all(doctest, feature = "tokio", feature = "deflate"))]
#[cfg_attr(all(feature = "axum", feature = "client", feature = "server"), doc = include_str!("../README.md"))]
#[doc = include_str!("../docs/deflate.md")]
#[doc = include_str!("../docs/features.md")]
#[cfg_attr(feature = "axum", doc = include_str!("../docs/from-axum.md"))]
#[doc = include_str!("../docs/from-fastwebsockets.md")]
#[doc = include_str!("../docs/from-tokio-tungstenite.md")]
#[cfg_attr(all(feature = "client", feature = "server", feature = "testing"), doc = include_str!("../docs/testing.md"))]
struct Documents;
