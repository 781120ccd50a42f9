//! What the servers share: their settings, a loop that accepts connections on one thread, the opening handshake
//! for libraries that have none, and the loops that answer in batches; and what Linux tells the loads of a server.

#![deny(unsafe_code)]

#[cfg(feature = "bounds")]
pub mod bound;
#[cfg(feature = "handshake")]
mod handshake;
#[cfg(feature = "process")]
pub mod process;
#[cfg(feature = "server")]
mod server;
mod settings;
#[cfg(feature = "stream")]
mod stream;

#[cfg(feature = "handshake")]
pub use handshake::handshake;
#[cfg(feature = "server")]
pub use server::{serve, serve_as_accepted};
pub use settings::{Form, Mode, Purpose, Settings, number};
#[cfg(feature = "stream")]
pub use stream::{echo_by_turns, echo_while_ready};
