//! A server: connections in a registry, rooms, broadcast, limits and an orderly end.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use taut::server::{BoxError, Config, Server, Shutdown};
//!
//! // `Config::load()` takes the settings from a file and from the environment.
//! let server = Server::builder(Config::new().address("127.0.0.1:0"))
//!     .handler(|mut connection| async move {
//!         while let Some(message) = connection.recv().await? {
//!             connection.send(message).await?;
//!         }
//!         Ok::<_, BoxError>(())
//!     })
//!     .bind()
//!     .await?;
//! let uri = format!("ws://{}/", server.address().expect("it listens on TCP"));
//!
//! let mut socket = taut::connect(&uri).await?;
//! socket.send("hello").await?;
//! assert_eq!(socket.recv().await?, Some("hello".into()));
//! assert_eq!(server.registry().len(), 1);
//! socket.close(taut::proto::CloseCode::NORMAL, "").await?;
//!
//! // `server.run_until_signal(Shutdown::new())` runs until SIGTERM or SIGINT, and then does this:
//! server.shutdown(Shutdown::new()).await;
//! assert!(taut::connect(&uri).await.is_err(), "nobody listens");
//! # Ok(()) }
//! ```
//!
//! # How it works
//!
//! It holds no knowledge of the protocol: it accepts by [`taut::tokio`](crate::tokio), counts by
//! [`Admission`](crate::Admission) and [`Budget`](crate::Budget), and has nothing that an application could not write.
//!
//! **A connection is one task**, which polls two things, each when it was woken: the socket, and the application's
//! handler. So what others send leaves, and pings are answered, while the handler waits for something else. One message
//! is read ahead; beyond that the peer waits for the handler. A handler that panics ends its connection, with 1011, and
//! nothing else.
//!
//! **Sending never waits.** [`Handle::queue`] puts a message into the connection's queue, which is bounded in
//! messages and bytes; when it is full, [`SlowConsumer`] decides, and [`Sent`] says what became of the message. The task
//! takes from the queue no more than [`Config::write_buffer`] ahead of the transport, urgent messages first, so that a
//! policy has something to choose from. A receiver that stalls costs its own queue, and nobody's time.
//! [`Handle::send`] waits for room, for those who send more than a queue holds.
//!
//! **A broadcast** is encoded once, and compressed once for each size of window ([`Prepared`](crate::proto::Prepared)).
//! The sender walks over a snapshot of the receivers, shared as long as nobody comes or goes, and queues a reference for
//! each; the worker threads write. No lock is held across I/O; the one that is held while queueing keeps the order of
//! messages the same for all members of a room. A task that was told of one message is not woken for the next before
//! it ran, so that a burst costs one wake-up and one write for each receiver.
//!
//! **Rooms and topics** are both groups with a name; a topic's name may be a pattern. A connection keeps the names of its
//! groups, and leaves all of them when it ends, in whatever way: its place in the registry is a value that its task
//! owns.
//!
//! **Shutting down** is closing, each connection at its own moment, and waiting: [`Server::shutdown`].
//!
//! **Messages of JSON** have a layer of their own, which knows nothing that an application could not: [`Router`] has a
//! handler for each type, answers those who ask, and lets the server ask by [`Handle::ask`]. `taut::client` speaks the
//! same JSON: its requests are answered, and what it sends again is handled once ([`Router::remember`]).
//!
//! # Settings
//!
//! [`Config`] has them all; [`Config::load`] takes them from a file and from the environment, [`Config::set`] lists their
//! names. Later ones count: defaults, file, environment, methods.
//!
//! # TLS, proxies and listeners
//!
//! [`Config::tls`] names certificate and key, which [`Server::reload_tls`], or SIGHUP under
//! [`Server::run_until_signal`], reads again; it needs the feature `rustls-ring` or `rustls-aws-lc-rs`. Behind proxies,
//! [`Config::proxy_protocol`] and [`Config::trusted_proxies`] say whom to believe about the client's address, which the
//! limits then count and [`Handle::address`] tells. Besides TCP there are sockets of the file system and of the
//! environment ([`Builder`]), and [`Server::serve`] for any stream that was accepted elsewhere.

#![forbid(unsafe_code)]

mod ask;
mod broadcast;
mod builder;
mod config;
mod connection;
mod entrance;
mod group;
mod handle;
mod hooks;
mod id;
mod listen;
mod opening;
mod origin;
mod outbox;
mod outcome;
mod outgoing;
mod pump;
mod rate;
mod registry;
mod router;
mod run;
mod seen;
mod serve;
mod settings;
mod shared;
mod tasks;
mod tls;
mod upgrade;

pub use ask::AskError;
pub use broadcast::{Broadcast, Tally};
pub use builder::Builder;
pub use config::{Compression, Config, ForwardedBy, OverRate};
pub use connection::Connection;
#[cfg(feature = "testing")]
pub(crate) use entrance::Listen;
pub use group::NameError;
pub use handle::{Handle, Traffic};
pub use hooks::{BoxError, Ending, Grant};
pub use id::ConnectionId;
pub use listen::{Drained, Server, Shutdown};
pub use origin::{OriginError, Origins};
pub use outbox::{Refusal, Sent, SlowConsumer};
pub use outcome::{By, Fault, Outcome};
pub use outgoing::Outgoing;
pub use rate::Rate;
pub use registry::{JoinError, Registry, RoomChange, RoomEvent};
pub use router::{MessageError, Router, Sender};
pub use settings::SettingError;
pub use upgrade::{Upgrade, forbidden, unauthorized};
