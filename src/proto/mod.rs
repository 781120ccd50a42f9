//! The engine.
mod agreement;
mod chunk;
mod close;
mod config;
mod connection;
mod error;
pub mod frame;
pub mod handshake;
mod incoming;
mod input;
pub mod mask;
mod message;
mod output;
mod receive;
mod send;
pub mod utf8;

pub use agreement::Agreement;
pub use close::{CloseCode, CloseFrame, CloseStatus, ReasonTooLong, State};
pub use config::{Config, Delivery, HandshakeLimits, Role};
pub use connection::Connection;
pub use error::{ProtocolError, SendError, SendErrorKind};
pub use mask::MaskSource;
pub use message::{Chunk, ChunkData, ChunkDataRef, ChunkRef, Event, EventRef, Kind, Message, MessageRef};
pub use output::Output;
pub use receive::{Answer, Receiver};
pub use send::{Prepared, Sender};
pub use utf8::Utf8Bytes;
