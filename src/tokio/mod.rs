//! The adapter for tokio: [`accept`], [`connect`] and [`Client`], and [`WebSocket`] over any byte stream.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9001").await?;
//! loop {
//!     let (stream, _) = listener.accept().await?;
//!     tokio::spawn(async move {
//!         let mut socket = taut::tokio::accept(stream).await?;
//!         while let Some(message) = socket.recv().await? {
//!             if message.is_data() {
//!                 socket.send(message).await?;
//!             }
//!         }
//!         Ok::<(), taut::Error>(())
//!     });
//! }
//! # }
//! ```

#![forbid(unsafe_code)]

mod accept;
mod client;
mod closing;
mod connect;
#[cfg(feature = "rustls")]
mod cryptography;
mod driver;
mod events;
mod feed;
pub mod frames;
mod held;
mod intake;
mod line;
mod message_stream;
mod opening;
mod patience;
mod queue;
mod scratch;
mod server;
mod shared;
mod split;
mod stream;
mod wakers;
mod websocket;
mod write;

pub use crate::options::Options;
#[cfg(feature = "http2")]
pub(crate) use accept::set_nodelay;
pub use accept::{Arrival, Incoming, Plain, accept, accept_with};
#[cfg(feature = "http2")]
pub(crate) use client::Reached;
#[cfg(not(feature = "rustls"))]
pub use client::{Client, Connector, Dialing, Network, NetworkStream, Proxy};
#[cfg(feature = "rustls")]
pub use client::{Client, Connector, Dialing, Network, NetworkStream, Proxy, Tls, rustls};
pub use connect::{connect, connect_over, connect_with};
pub use message_stream::{MessageReader, MessageWriter};
pub use server::ProxyProtocol;
#[cfg(unix)]
pub use server::bind_unix;
#[cfg(all(unix, feature = "listenfd"))]
pub use server::{Activated, activated};
#[cfg(feature = "rustls")]
pub use server::{ServerTls, ServerTlsStream, TlsAcceptor};
pub use split::{ReceiveHalf, ReuniteError, ReuniteErrorKind, SendHalf, SendPermit};
pub use websocket::{Permit, WebSocket};
