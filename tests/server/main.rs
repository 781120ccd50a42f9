//! The server component: over streams in memory with a paused clock, where time matters, and over TCP.

mod auth;
mod basics;
mod broadcast;
mod cancellation;
mod churn;
#[path = "../support/futures.rs"]
mod futures;
mod limits;
mod network;
#[cfg(feature = "client")]
mod replay;
mod rooms;
mod router;
mod settings;
mod shutdown;
mod support;
mod time;
#[cfg(feature = "rustls-ring")]
mod tls;
