//! A client that stays connected: it comes back when the connection is lost, and keeps what is to be sent meanwhile.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let uri = format!("ws://{}/feed", listener.local_addr()?);
//! # tokio::spawn(async move {
//! #     for price in ["41", "42"] {
//! #         let mut socket = taut::tokio::accept(listener.accept().await?.0).await?;
//! #         assert_eq!(socket.recv().await?, Some(r#"{"type":"subscribe","topic":"prices"}"#.into()));
//! #         socket.send(price).await?;
//! #     }
//! #     Ok::<(), taut::Error>(())
//! # });
//! use std::time::Duration;
//! use taut::client::{Backoff, Builder, Update};
//! use taut::proto::Message;
//!
//! let backoff = Backoff::new().first(Duration::from_millis(10));
//! let (client, mut updates) = Builder::new(uri).backoff(backoff).start();
//! // Sent first on each connection.
//! client.subscribe("prices", r#"{"type":"subscribe","topic":"prices"}"#)?;
//!
//! // The server sends one price, and is gone; the next comes on the next connection.
//! let mut prices = Vec::new();
//! while let Some(update) = updates.recv().await {
//!     match update {
//!         Update::Message(Message::Text(price)) => prices.push(price),
//!         Update::Lost { loss, retry_in, .. } => println!("{loss}; again in {retry_in:?}"),
//!         _ => {}
//!     }
//!     if prices.len() == 2 {
//!         break;
//!     }
//! }
//! assert_eq!(prices, ["41", "42"]);
//! # Ok(()) }
//! ```
//!
//! **What is sent how often.** A message is handed to one connection, once ([`Handle::send`]): if that is lost before
//! all was written, [`Update::Lost`] hands it back. One that is to be acknowledged ([`Handle::deliver`]) is sent until
//! it is, under one id, by which the server takes it once: [`JsonAcknowledge`] and `taut::server::Router` agree on how.
//!
//! **Deadlines.** Those of [`Options`](crate::Options) hold for each connection; a silent server is found by the
//! [heartbeat](Builder::heartbeat), and one that takes nothing by the deadline of writes.
//!
//! **Bounds.** What waits to be sent ([`Outbox`]), what waits for the application ([`Builder::incoming`]), what waits
//! for an acknowledgement (as the outbox), and subscriptions (10,000).

#![forbid(unsafe_code)]

mod backoff;
mod builder;
mod delivery;
mod error;
mod handle;
mod json;
mod outbox;
#[cfg(feature = "pool")]
pub mod pool;
mod replies;
mod session;
mod shared;
mod update;

pub use backoff::Backoff;
pub use builder::Builder;
pub use delivery::Acknowledge;
pub use error::{RequestError, Undelivered, Unsent, UnsentKind};
pub use handle::{Handle, Updates};
pub use json::JsonAcknowledge;
pub use outbox::{Batch, Outbox, Overflow, Sent};
pub use update::{Cause, Decision, Ended, Loss, Update};
