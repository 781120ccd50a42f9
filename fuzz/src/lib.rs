//! What the fuzz targets share: the inputs, naive receivers as the models, the oracles, and the seeds.
//!
//! `receive` takes frames, `deflate` takes compressed streams, `compress` sends messages, `pair` has two
//! connections talk, `differential` compares with other libraries. `header`, `mask` and `utf8`
//! are the parts; `uri`, `proxies`, `client_handshake`, `server_handshake` and `extensions` come before the first frame.

#![deny(unsafe_code)]

pub mod allocations;
pub mod client_handshake;
pub mod compress;
pub mod deflate;
pub mod differential;
pub mod extensions;
pub mod format;
pub mod handshake;
pub mod header;
pub mod http;
pub mod input;
pub mod mask;
pub mod model;
pub mod pair;
pub mod proxies;
pub mod receive;
pub mod script;
pub mod seeds;
mod sent;
pub mod server_handshake;
pub mod uri;
pub mod utf8;
