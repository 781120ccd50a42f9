//! The adapter for the streams of `futures-io`, which smol, async-std and many others have: [`accept`], [`connect_over`],
//! and [`WebSocket`], on any executor.
//!
//! It needs no runtime but a timer, which is given as [`Time`]. `TCP_NODELAY` is the caller's to set: these streams have
//! no name for it.
//!
//! A stream has to end its own side when it is closed (`poll_close`), as `smol::net::TcpStream` does. One that only flushes,
//! such as `smol::Async`, leaves each end to wait for the other until [`Options::close_timeout`](crate::Options::close_timeout).
//!
//! ```
//! use smol::net::{TcpListener, TcpStream};
//! use taut::futures_io::{Time, accept, connect_over};
//! use taut::proto::CloseCode;
//! use taut::proto::handshake::ClientRequest;
//!
//! const TIME: Time = Time::new(|deadline| {
//!     Box::pin(async move {
//!         smol::Timer::at(deadline).await;
//!     })
//! });
//!
//! # smol::block_on(async {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let server = smol::spawn(async move {
//!     let (stream, _) = listener.accept().await?;
//!     let mut socket = accept(stream, TIME).await?;
//!     while let Some(message) = socket.recv().await? {
//!         if message.is_data() {
//!             socket.feed(message)?;
//!         }
//!     }
//!     Ok::<(), taut::Error>(())
//! });
//!
//! let stream = TcpStream::connect(address).await?;
//! let request = ClientRequest::new("localhost", "/chat")?;
//! let mut socket = connect_over(stream, TIME, &request, taut::Options::new()).await?;
//! socket.send("hello").await?;
//! assert_eq!(socket.recv().await?, Some("hello".into()));
//! assert!(socket.close(CloseCode::NORMAL, "").await?.clean);
//! # drop(socket);
//! server.await?;
//! # Ok::<(), taut::Error>(())
//! # })?;
//! # Ok::<(), taut::Error>(())
//! ```

#![forbid(unsafe_code)]

mod driver;
mod handshake;
mod patience;
mod scratch;
mod stream;
mod time;
mod wakers;
mod websocket;

pub use handshake::{accept, accept_with, connect_over};
pub use time::{Sleep, Time};
pub use websocket::WebSocket;
