//! What the fuzz targets share: the inputs, a naive receiver as the model, the oracle, and the seeds.

#![forbid(unsafe_code)]

pub mod format;
pub mod input;
pub mod model;
pub mod receive;
pub mod seeds;
mod sent;
