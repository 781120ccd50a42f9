//! A test kit: connections, networks and peers in memory, that do as a test says.
//!
//! | type              | what it is                                                                            |
//! |-------------------|---------------------------------------------------------------------------------------|
//! | [`Peer`]          | the other end, by script: sends any frames, bad ones too, and says what it expected and what came |
//! | [`MemoryNetwork`] | hosts for clients to reach by name, for servers to listen on; refusals, silence, attempts |
//! | [`Link`]          | how connections behave: latency, bandwidth, partial reads and writes, stalls, cuts     |
//! | [`Wire`]          | a hand on one connection: cuts it, or holds it up                                     |
//! | [`MemoryStream`]  | an end of a connection, for whatever takes `AsyncRead` and `AsyncWrite`               |
//!
//! **Time is virtual.** The kit takes time from tokio alone: with `#[tokio::test(start_paused = true)]`, which wants tokio's
//! feature `test-util`, an hour passes as soon as all tasks wait for it, and nothing sleeps.
//!
//! **Chance is a seed's.** What [`Link`] does by chance, its seed repeats. What stays random are masking keys, the pauses of
//! `taut::client` and the moments of a server's shutdown, so that tests state bounds for those.
//!
//! docs/testing.md is the tutorial.
//!
//! # A client that comes back
//!
//! ```
//! # #[cfg(feature = "client")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use taut::client::{Builder, Update};
//! use taut::testing::{Cut, MemoryNetwork, Peer};
//!
//! let network = MemoryNetwork::default();
//! let listener = network.listen("server.test", 80);
//! let (client, mut updates) = Builder::new("ws://server.test/").network(network.client()).start();
//!
//! let mut peer = Peer::accept(listener.accept().await.0).await;
//! client.send("one").await.unwrap();
//! peer.expect("one").await;
//!
//! network.cut(Cut::Reset);
//! let mut peer = Peer::accept(listener.accept().await.0).await;
//! client.send("two").await.unwrap();
//! peer.expect("two").await;
//!
//! let mut lost = 0;
//! while let Some(update) = updates.recv().await {
//!     match update {
//!         Update::Lost { .. } => lost += 1,
//!         Update::Open { .. } if lost == 1 => break,
//!         _ => {}
//!     }
//! }
//! assert_eq!(network.attempts().len(), 2);
//! # }
//! # #[cfg(not(feature = "client"))]
//! # fn main() {}
//! ```
//!
//! # A server that drains
//!
//! ```
//! # #[cfg(feature = "server")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use std::time::Duration;
//!
//! use taut::proto::CloseCode;
//! use taut::server::{Config, Server, Shutdown};
//! use taut::testing::MemoryNetwork;
//!
//! let network = MemoryNetwork::default();
//! let server = network.listen("server.test", 80).serve(Server::builder(Config::new())).unwrap();
//! let mut client = network.client().connect("ws://server.test/").await.unwrap();
//!
//! let plan = Shutdown::new().close(CloseCode::RESTART).window(Duration::from_secs(30));
//! let drained = tokio::spawn(async move { server.shutdown(plan.deadline(Duration::from_secs(60))).await });
//! while client.recv().await.unwrap().is_some() {}
//! assert_eq!(client.close_status().unwrap().code, 1012);
//!
//! let drained = drained.await.unwrap();
//! assert_eq!((drained.open, drained.aborted), (1, 0));
//! assert!(network.client().connect("ws://server.test/").await.is_err(), "nobody listens");
//! # }
//! # #[cfg(not(feature = "server"))]
//! # fn main() {}
//! ```
//!
//! # Rooms
//!
//! ```
//! # #[cfg(feature = "server")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use taut::proto::Message;
//! use taut::server::{BoxError, Config, Server};
//! use taut::testing::MemoryNetwork;
//!
//! let network = MemoryNetwork::default();
//! let builder = Server::builder(Config::new()).handler(|mut connection| async move {
//!     connection.join("lobby")?;
//!     connection.send("welcome").await?;
//!     while let Some(message) = connection.recv().await? {
//!         let Some(registry) = connection.registry() else { break };
//!         registry.broadcast(message).except(connection.id()).to_room("lobby");
//!     }
//!     Ok::<_, BoxError>(())
//! });
//! let server = network.listen("chat.test", 80).serve(builder).unwrap();
//!
//! let mut sockets = Vec::new();
//! for _ in 0..3 {
//!     let mut socket = network.client().connect("ws://chat.test/").await.unwrap();
//!     assert_eq!(socket.recv().await.unwrap(), Some(Message::text("welcome")));
//!     sockets.push(socket);
//! }
//! sockets[0].send("hello").await.unwrap();
//! for socket in &mut sockets[1..] {
//!     assert_eq!(socket.recv().await.unwrap(), Some(Message::text("hello")));
//! }
//! assert_eq!(server.registry().members("lobby").len(), 3);
//! # }
//! # #[cfg(not(feature = "server"))]
//! # fn main() {}
//! ```

#![forbid(unsafe_code)]

mod came;
mod link;
mod network;
mod peer;
mod pipe;
mod raw_frame;
mod stream;
mod turns;

pub use link::{Cut, Direction, Link};
pub use network::{Attempt, MemoryListener, MemoryNetwork, Reach};
pub use peer::Peer;
pub use raw_frame::RawFrame;
pub use stream::{MemoryStream, Wire, pair};
pub use turns::{Turn, Turns};
