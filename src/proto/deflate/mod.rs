//! permessage-deflate (RFC 7692 §7.2): a [`Compressor`] for what goes out, an [`Inflater`] for what comes in.
//!
//! Without the feature both are types without a value in them, which are never on. What a connection holds
//! between two messages is the windows of those directions in which context takeover was agreed on.

#![forbid(unsafe_code)]

#[cfg(feature = "deflate")]
mod compress;
#[cfg(feature = "deflate")]
mod inflate;
#[cfg(not(feature = "deflate"))]
mod off;
#[cfg(feature = "deflate")]
mod pool;

#[cfg(feature = "deflate")]
pub(crate) use compress::{Compressor, compress_once};
#[cfg(feature = "deflate")]
pub(crate) use inflate::Inflater;
#[cfg(not(feature = "deflate"))]
pub(crate) use off::{Compressor, Inflater};
#[cfg(feature = "deflate")]
pub(crate) use pool::Settings;
