//! The adapter for tokio: [`accept`], [`connect`] and [`Client`], and [`WebSocket`] over any byte stream.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use taut::proto::handshake::{Accept, ClientRequest, Reject, Request};
//! use taut::tokio::{Options, accept_with, connect_with};
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let uri = format!("ws://{}/chat", listener.local_addr()?);
//! tokio::spawn(async move {
//!     while let Ok((stream, _)) = listener.accept().await {
//!         tokio::spawn(async move {
//!             let decide = |request: &Request| match request.target() {
//!                 "/chat" => Ok(Accept::new().subprotocol("echo")),
//!                 _ => Err(Reject::new(404).expect("a status that refuses")),
//!             };
//!             let mut socket = accept_with(stream, Options::new(), decide).await?;
//!             while let Some(message) = socket.recv().await? {
//!                 if message.is_data() {
//!                     socket.send(message).await?;
//!                 }
//!             }
//!             Ok::<(), taut::Error>(())
//!         });
//!     }
//! });
//!
//! let offer = |request: ClientRequest| request.subprotocol("echo");
//! let mut socket = connect_with(&uri, Options::new(), offer).await?;
//! assert_eq!(socket.subprotocol(), Some("echo"));
//! socket.send("hello").await?;
//! assert_eq!(socket.recv().await?, Some("hello".into()));
//! # Ok(()) }
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
