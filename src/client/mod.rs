//! A client that stays connected: it comes back when the connection is lost, and keeps what is to be sent meanwhile.
//!
//! ```no_run
//! # async fn run() {
//! use taut::client::{Builder, Update};
//!
//! let (client, mut updates) = Builder::new("wss://example.com/feed").start();
//! // Sent first on each connection.
//! client.subscribe("prices", r#"{"type":"subscribe","topic":"prices"}"#).expect("the client has just begun");
//! while let Some(update) = updates.recv().await {
//!     match update {
//!         Update::Message(message) => println!("{message:?}"),
//!         Update::Lost { loss, retry_in, .. } => println!("{loss}; again in {retry_in:?}"),
//!         _ => {}
//!     }
//! }
//! # }
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
