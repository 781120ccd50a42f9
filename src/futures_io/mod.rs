//! The adapter for the streams of `futures-io`, which smol, async-std and many others have: [`accept`], [`connect_over`],
//! and [`WebSocket`], on any executor.
//!
//! It needs no runtime but a timer, which is given as [`Time`]. `TCP_NODELAY` is the caller's to set: these streams have
//! no name for it.
//!
//! ```no_run
//! use taut::futures_io::{Time, accept};
//!
//! # async fn timer_until(deadline: std::time::Instant) {}
//! // On smol, `timer_until` is `smol::Timer::at`.
//! const TIME: Time = Time::new(|deadline| Box::pin(async move { timer_until(deadline).await; }));
//!
//! # async fn run<S>(stream: S) -> Result<(), taut::Error>
//! # where S: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin {
//! let mut socket = accept(stream, TIME).await?;
//! while let Some(message) = socket.recv().await? {
//!     if message.is_data() {
//!         socket.feed(message)?;
//!     }
//! }
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

mod driver;
mod handshake;
mod patience;
mod scratch;
mod stream;
mod time;
mod wakers;
mod websocket;

pub use handshake::{accept, accept_with, connect_over};
pub use time::{Sleep, Time};
pub use websocket::WebSocket;
