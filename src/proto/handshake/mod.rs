//! The opening handshake (RFC 6455 §4): from bytes to a [`Connection`](super::Connection).
//!
//! A server feeds a [`ServerHandshake`] and decides on the [`Pending`] request that comes out; a client
//! writes what [`ClientHandshake`] has to say and takes the [`Established`] connection, or the answer that
//! refuses it. A server whose requests come from another HTTP implementation checks them as
//! [`Parsed`]. Files import only those to their left:
//!
//! ```text
//! key fields uri | error | extensions head | body check deflate reject | client server | parsed
//! ```
//!
//! ```
//! use taut::proto::Config;
//! use taut::proto::handshake::{Accept, Reject, ServerHandshake};
//!
//! let request = "GET /chat HTTP/1.1\r\nHost: example.com\r\n\
//!     Upgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
//!     Sec-WebSocket-Protocol: chat, superchat\r\n\r\n";
//! for expected in ["HTTP/1.1 101 ", "HTTP/1.1 404 "] {
//!     let mut handshake = ServerHandshake::new();
//!     handshake.feed(request.as_bytes());
//!     let pending = handshake.poll()?.expect("the request is whole");
//!     let output = if expected.contains("101") {
//!         let accept = Accept::new().subprotocol("chat");
//!         let mut connection = pending.accept(accept, Config::new())?;
//!         connection.output().pop()
//!     } else {
//!         pending.reject(Reject::new(404)?).pop()
//!     };
//!     assert!(output.is_some_and(|bytes| bytes.starts_with(expected.as_bytes())));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod body;
mod check;
mod client;
#[cfg(feature = "deflate")]
pub mod deflate;
mod error;
mod extensions;
mod fields;
mod head;
mod key;
mod parsed;
mod reject;
mod server;
mod uri;

pub use client::{ClientHandshake, ClientRequest, Established};
pub use error::{BuildError, HandshakeError};
pub use extensions::Extension;
pub use fields::{Fields, Request, Response, Via};
pub use key::accept_key;
pub use parsed::Parsed;
pub use reject::{Answer, Reject};
pub use server::{Accept, AcceptError, Pending, ServerHandshake};
pub use uri::{UriError, WebSocketUri};
