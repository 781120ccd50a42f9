//! The adapter for tokio: [`accept`], [`connect`], and [`WebSocket`] over any byte stream.
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
mod closing;
mod connect;
mod driver;
mod feed;
pub mod frames;
mod held;
mod patience;
mod scratch;
mod stream;
mod wakers;
mod websocket;
mod write;

pub use crate::options::Options;
pub use accept::{Incoming, accept, accept_with};
pub use connect::{connect, connect_over, connect_with};
pub use websocket::{Permit, WebSocket};
