//! The engine: RFC 6455 as a state machine. Bytes come in, events go out, bytes to send come out.
//!
//! It does no I/O, has no clock and makes no random numbers: whoever drives it reads and writes, keeps the
//! deadlines, and gives it the masking keys ([`MaskSource`]) and the nonce of a client's handshake.
//!
//! Begin with [`handshake`]: a [`ServerHandshake`](handshake::ServerHandshake) or
//! [`ClientHandshake`](handshake::ClientHandshake) becomes a [`Connection`], whose documentation is the loop to
//! write around it. [`frame`], [`mask`] and [`utf8`] are the parts, for those who want only them.
mod account;
mod agreement;
mod answer;
mod chunk;
mod close;
mod config;
mod connection;
mod deflate;
mod direct;
mod encode;
mod end;
mod error;
pub mod frame;
mod halves;
pub mod handshake;
mod incoming;
mod input;
pub mod mask;
mod message;
mod output;
mod parse;
mod payload;
mod pool;
mod prepared;
mod queue;
mod receive;
mod send;
mod short;
mod simd;
mod text;
pub mod utf8;
mod utf8_vectors;

pub use agreement::Agreement;
#[cfg(feature = "deflate")]
pub use agreement::Deflate;
pub use answer::Answer;
#[cfg(feature = "tokio")]
pub(crate) use close::Standing;
pub use close::{CloseCode, CloseFrame, CloseStatus, ReasonTooLong, State};
#[cfg(feature = "std")]
pub(crate) use config::shared_with;
pub use config::{Config, Delivery, HandshakeLimits, Role};
pub use connection::Connection;
pub use end::decode_close;
pub use error::{ProtocolError, SendError, SendErrorKind};
pub use halves::ConnectionRef;
#[cfg(feature = "tokio")]
pub(crate) use halves::Heard;
pub use mask::MaskSource;
pub use message::{Chunk, ChunkData, ChunkDataRef, ChunkRef, Event, EventRef, Kind, Message, MessageRef};
pub use output::Output;
#[cfg(feature = "std")]
pub use pool::release_thread_memory;
pub use prepared::Prepared;
pub use receive::Receiver;
pub use send::Sender;
#[cfg(feature = "tokio")]
pub(crate) use short::Short;
pub use utf8::Utf8Bytes;
