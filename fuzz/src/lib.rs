//! What the fuzz targets share: the inputs, naive receivers as the models, the oracles, and the seeds.
//!
//! `receive` takes frames, `deflate` takes compressed streams, `compress` sends messages.

#![deny(unsafe_code)]

pub mod allocations;
pub mod compress;
pub mod deflate;
pub mod format;
pub mod input;
pub mod model;
pub mod receive;
pub mod seeds;
mod sent;
