//! The adapter for blocking I/O: the engine over [`Read`](std::io::Read) and [`Write`](std::io::Write).
//!
//! It has no timers. The deadlines of [`Options`](crate::Options) are looked at between reads; what bounds one
//! read or write is the stream's own timeout (`TcpStream::set_read_timeout`, `set_write_timeout`): without one, a
//! silent peer holds the thread, and [`Options::write_timeout`](crate::Options::write_timeout) says nothing here. A call of a [`WebSocket`] that ends in [`Error::Io`](crate::Error::Io) of kind
//! `WouldBlock` or `TimedOut` has lost nothing, and can be called again; an opening handshake cannot.
//!
//! A peer that broke the protocol, or was refused, gets five seconds to read why.
//!
//! ```
//! use std::time::Duration;
//!
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let uri = format!("ws://{}/", listener.local_addr()?);
//! std::thread::spawn(move || {
//!     for stream in listener.incoming() {
//!         let stream = stream?;
//!         stream.set_read_timeout(Some(Duration::from_secs(60)))?;
//!         stream.set_write_timeout(Some(Duration::from_secs(10)))?;
//!         std::thread::spawn(move || {
//!             let mut socket = taut::blocking::accept(stream)?;
//!             while let Some(message) = socket.recv()? {
//!                 if message.is_data() {
//!                     socket.send(message)?;
//!                 }
//!             }
//!             Ok::<(), taut::Error>(())
//!         });
//!     }
//!     Ok::<(), std::io::Error>(())
//! });
//!
//! let mut socket = taut::blocking::connect(&uri)?;
//! socket.send("hello")?;
//! assert_eq!(socket.recv()?, Some("hello".into()));
//! assert!(socket.close(taut::proto::CloseCode::NORMAL, "")?.clean);
//! # Ok::<(), taut::Error>(())
//! ```

#![forbid(unsafe_code)]

mod gate;
mod handshake;
mod patience;
mod stream;
mod websocket;

pub use handshake::{accept, accept_with, connect, connect_over};
pub use websocket::WebSocket;
