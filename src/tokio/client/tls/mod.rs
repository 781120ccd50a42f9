//! TLS for clients, by rustls; or the error that tells which feature is missing.

#![forbid(unsafe_code)]

#[cfg(feature = "rustls")]
mod config;
#[cfg(feature = "rustls")]
mod failure;
#[cfg(not(feature = "rustls"))]
mod off;
#[cfg(feature = "rustls")]
mod session;
#[cfg(feature = "rustls")]
mod verify;

#[cfg(feature = "rustls")]
pub use config::Tls;
#[cfg(feature = "rustls")]
pub(super) use failure::told_by;
#[cfg(not(feature = "rustls"))]
pub(super) use off::{Session, Setting, told_by};
#[cfg(feature = "rustls")]
pub(super) use session::{Session, Setting};
