//! WebSocket for Rust: a sans-IO engine of RFC 6455, and thin adapters around it.
//!
//! - **Correct.** Each MUST and SHOULD of RFC 6455, 7692 and 8441 has its line in the code and its test; both roles pass the
//!   Autobahn suite.
//! - **Bounded.** Nothing that a peer sends makes memory, queues or waits grow without a limit, and each limit has a default.
//! - **Fast.** A payload is touched once, when it arrives; the answers to one read leave in one write.
//! - **Small.** One engine, which any runtime can drive: tokio, smol, threads, io_uring, a chip, a browser.
//!
//! This page is the beginning of a [manual](#the-manual). All examples in it are run as tests.
//!
//! # On tokio: a server and a client
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # mod example {
//! use taut::proto::CloseCode;
//! use tokio::net::{TcpListener, TcpStream};
//!
//! async fn echo(stream: TcpStream) -> Result<(), taut::Error> {
//!     let mut socket = taut::tokio::accept(stream).await?;
//!     while let Some(message) = socket.recv().await? {
//!         if message.is_data() {
//!             socket.send(message).await?;
//!         }
//!     }
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! # pub
//! async fn main() -> Result<(), taut::Error> {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     tokio::spawn(async move {
//!         while let Ok((stream, _)) = listener.accept().await {
//!             tokio::spawn(echo(stream));
//!         }
//!     });
//!
//!     let mut socket = taut::connect(&format!("ws://{address}/")).await?;
//!     socket.send("hello").await?;
//!     assert_eq!(socket.recv().await?, Some("hello".into()));
//!     let status = socket.close(CloseCode::NORMAL, "").await?;
//!     assert!(status.clean);
//!     Ok(())
//! }
//! # }
//! # #[cfg(feature = "tokio")]
//! # example::main().unwrap();
//! ```
//!
//! Pings and Closes are answered by themselves, and every wait has a deadline. `accept` takes any stream of tokio's, one of
//! TLS too. `taut::tokio::Client` has proxies, TLS, credentials and redirects; `taut::client` comes back when its
//! connection is lost.
//!
//! # A server with rooms
//!
//! What applications put around that loop, of the feature `server`: settings, a registry, rooms, queues that are bounded, limits,
//! authentication, TLS, and an end in order.
//!
//! ```
//! # #[cfg(all(feature = "server", feature = "tokio"))]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), taut::server::BoxError> {
//! use std::time::Duration;
//! use taut::server::{BoxError, Config, Server, Shutdown};
//!
//! let server = Server::builder(Config::new().address("127.0.0.1:0"))
//!     .handler(|mut connection| async move {
//!         connection.join("lobby")?;
//!         while let Some(message) = connection.recv().await? {
//!             let Some(registry) = connection.registry() else { break };
//!             registry.broadcast(message).to_room("lobby");
//!         }
//!         Ok::<_, BoxError>(())
//!     })
//!     .bind()
//!     .await?;
//! let uri = format!("ws://{}/", server.address().expect("it listens on TCP"));
//!
//! let mut socket = taut::connect(&uri).await?;
//! socket.send("hello, all").await?;
//! assert_eq!(socket.recv().await?, Some("hello, all".into()));
//!
//! // Each connection is closed at a moment of its own in this time.
//! // `server.run_until_signal(plan)` waits for SIGTERM first.
//! let plan = Shutdown::new().window(Duration::from_millis(10));
//! let client = async move { while let Ok(Some(_)) = socket.recv().await {} };
//! let (drained, ()) = tokio::join!(server.shutdown(plan), client);
//! assert_eq!(drained.open, 1);
//! # Ok(()) }
//! # #[cfg(not(all(feature = "server", feature = "tokio")))]
//! # fn main() {}
//! ```
//!
//! # The engine alone
//!
//! Bytes come in, events go out, bytes to send come out: no I/O, no clock, no random numbers, and without features no `std`.
//! Here two ends talk in memory.
//!
//! ```
//! use taut::proto::handshake::{Accept, ClientHandshake, ClientRequest, ServerHandshake};
//! use taut::proto::{Config, Event};
//!
//! // 16 random bytes and a source of masking keys: `taut::nonce()`, `taut::RandomMasks::new()`.
//! # let (nonce, masks) = ([7; 16], || [1, 2, 3, 4]);
//! let mut client = ClientHandshake::new(&ClientRequest::new("example.com", "/chat")?, nonce);
//! let mut server = ServerHandshake::new();
//!
//! while let Some(bytes) = client.output().pop() {
//!     server.feed(&bytes);
//! }
//! let request = server.poll()?.expect("all of the request came");
//! assert_eq!(request.request().target(), "/chat");
//! let mut server = request.accept(Accept::new(), Config::new())?;
//!
//! while let Some(bytes) = server.output().pop() {
//!     client.feed(&bytes);
//! }
//! let answer = client.poll()?.expect("all of the answer came");
//! let mut client = answer.into_connection(Config::new(), masks);
//!
//! client.send("hello")?;
//! while let Some(bytes) = client.output().pop() {
//!     server.feed(&bytes);
//! }
//! assert_eq!(server.next_event()?, Some(Event::Message("hello".into())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When to use it, and when not
//!
//! Use it where peers are not trusted, where connections are many, where messages are compressed and memory still has to have
//! a bound, where one protocol has to run on several runtimes, or where a server or client wants what comes around a socket:
//! heartbeats, proxies, HTTP/2, reconnects, rooms, an end in order, and a test kit.
//!
//! | if you need                                       | look at                                                      |
//! |---------------------------------------------------|--------------------------------------------------------------|
//! | what many programs have run for years             | tungstenite and tokio-tungstenite; this crate is young       |
//! | a Rust that is older                              | tungstenite 0.30 (1.85), soketto 0.8 (1.71)                   |
//! | OpenSSL, or the TLS of the operating system       | tokio-tungstenite with `native-tls`; or hand its stream to `accept` and `connect_over` |
//! | WebSockets over HTTP/3 (RFC 9220)                 | sockudo-ws                                                   |
//! | datagrams, or streams that do not wait for each other | WebTransport: not a WebSocket, and not here               |
//! | extensions of your own beside permessage-deflate  | soketto, ratchet                                             |
//! | no heap at all                                    | embedded-websocket, websocket-sans-io; the engine wants `alloc` |
//! | the WebSocket that a browser gives to a page      | gloo-net, ws_stream_wasm; the engine runs there, but gets no socket |
//! | the protocol of Socket.IO                         | socketioxide                                                 |
//! | a library for C, or the least memory of an idle connection | uWebSockets                                         |
//! | tests on macOS or Windows                         | tokio-tungstenite; here they are supported, and untested     |
//!
//! Nothing asks for an asynchronous runtime: threads take `taut::blocking`, with the feature `std` alone.
//!
//! # Layers
//!
//! A module uses those above it, never one below.
//!
//! | module         | what it is                                                                          | feature |
//! |----------------|-------------------------------------------------------------------------------------|---------|
//! | [`proto`]      | the engine: frames, messages, handshakes, closing, compression                      |         |
//! | [`blocking`]   | the engine over `std::io::{Read, Write}`, for threads                               | `std`   |
//! | [`futures_io`] | the engine over the byte streams of smol and others, with deadlines                 | `futures-io` |
//! | [`tokio`]      | the engine over tokio's byte streams, with deadlines; a client's way to a server     | `tokio` |
//! | [`client`]     | a client that comes back when its connection is lost                                | `client` |
//! | [`server`]     | a server: registry, rooms, broadcast, limits, an end in order                       | `server` |
//! | [`http`]       | requests that an HTTP library has parsed                                            | `http`  |
//! | [`hyper`]      | the servers of hyper 1, over HTTP/1.1 and HTTP/2                                    | `hyper` |
//! | [`http2`]      | many WebSockets of a client over one connection of HTTP/2                           | `http2` |
//! | [`axum`]       | an extractor for axum                                                               | `axum`  |
//! | [`testing`]    | a test kit: networks, faulty streams and scripted peers, in memory                  | `testing` |
//!
//! Whoever drives the engine has bytes, a clock and random numbers; [`proto::Connection`] shows the loop, which is the same
//! everywhere.
//!
//! # Features
//!
//! `tokio` and `deflate` are on by default. Features only add; none changes what another does. Beside those of the table:
//!
//! | feature       | what it adds                                                                                   |
//! |---------------|------------------------------------------------------------------------------------------------|
//! | `deflate`     | permessage-deflate (RFC 7692), to all layers                                                   |
//! | `rustls-ring`, `rustls-aws-lc-rs` | TLS for clients and servers on tokio, with the cryptography of either; `rustls`, with the program's own |
//! | `pool`        | `taut::client::pool`: connections for deadpool                                                 |
//! | `listenfd`    | `taut::tokio::activated`: sockets that systemd has opened (UNIX)                               |
//! | `tracing`     | a span for each connection, events for its end                                                 |
//!
//! ```toml
//! [dependencies]
#![doc = concat!(
    "taut = { version = \"",
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR"),
    "\", features = [\"server\", \"rustls-ring\"] }"
)]
//! ```
//!
//! Without features the crate is `no_std` with `alloc`.
#![doc = concat!("Rust ", env!("CARGO_PKG_RUST_VERSION"), " or later.")]
//!
//! # The manual
//!
#![cfg_attr(
    all(feature = "axum", feature = "client", feature = "deflate", feature = "server", feature = "testing"),
    doc = include_str!("manual/contents.md")
)]
#![cfg_attr(
    not(all(
        feature = "axum",
        feature = "client",
        feature = "deflate",
        feature = "server",
        feature = "testing"
    )),
    doc = "Its chapters are built with the features that they speak of: <https://docs.rs/taut/latest/taut/manual/>."
)]
//!
// A module that is not compiled in is a page elsewhere.
#![cfg_attr(feature = "axum", doc = "[`axum`]: crate::axum")]
#![cfg_attr(not(feature = "axum"), doc = "[`axum`]: https://docs.rs/taut/latest/taut/axum/")]
#![cfg_attr(feature = "std", doc = "[`blocking`]: crate::blocking")]
#![cfg_attr(not(feature = "std"), doc = "[`blocking`]: https://docs.rs/taut/latest/taut/blocking/")]
#![cfg_attr(feature = "client", doc = "[`client`]: crate::client")]
#![cfg_attr(not(feature = "client"), doc = "[`client`]: https://docs.rs/taut/latest/taut/client/")]
#![cfg_attr(feature = "futures-io", doc = "[`futures_io`]: crate::futures_io")]
#![cfg_attr(
    not(feature = "futures-io"),
    doc = "[`futures_io`]: https://docs.rs/taut/latest/taut/futures_io/"
)]
#![cfg_attr(feature = "http", doc = "[`http`]: crate::http")]
#![cfg_attr(not(feature = "http"), doc = "[`http`]: https://docs.rs/taut/latest/taut/http/")]
#![cfg_attr(feature = "http2", doc = "[`http2`]: crate::http2")]
#![cfg_attr(not(feature = "http2"), doc = "[`http2`]: https://docs.rs/taut/latest/taut/http2/")]
#![cfg_attr(feature = "hyper", doc = "[`hyper`]: crate::hyper")]
#![cfg_attr(not(feature = "hyper"), doc = "[`hyper`]: https://docs.rs/taut/latest/taut/hyper/")]
#![cfg_attr(feature = "server", doc = "[`server`]: crate::server")]
#![cfg_attr(not(feature = "server"), doc = "[`server`]: https://docs.rs/taut/latest/taut/server/")]
#![cfg_attr(feature = "testing", doc = "[`testing`]: crate::testing")]
#![cfg_attr(not(feature = "testing"), doc = "[`testing`]: https://docs.rs/taut/latest/taut/testing/")]
#![cfg_attr(feature = "tokio", doc = "[`tokio`]: crate::tokio")]
#![cfg_attr(not(feature = "tokio"), doc = "[`tokio`]: https://docs.rs/taut/latest/taut/tokio/")]
#![no_std]
// What users copy out of the documents gives them no warnings of results that nobody looks at.
#![doc(test(attr(deny(unused_must_use))))]
#![cfg_attr(docsrs, feature(doc_cfg))]
// What the engine can have without `std` it takes from `core` and `alloc`; examples and tests need not.
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "std")]
mod admission;
#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "std")]
pub mod blocking;
#[cfg(feature = "tokio")]
mod budget;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
mod forwarded;
#[cfg(feature = "futures-io")]
pub mod futures_io;
#[cfg(any(feature = "futures-io", feature = "tokio"))]
mod heartbeat;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http2")]
pub mod http2;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(all(
    any(doc, doctest),
    feature = "axum",
    feature = "client",
    feature = "deflate",
    feature = "server",
    feature = "testing"
))]
#[cfg_attr(docsrs, doc(auto_cfg = false))]
pub mod manual;
#[cfg(feature = "std")]
mod network_error;
#[cfg(feature = "std")]
mod networks;
#[cfg(feature = "std")]
mod observe;
#[cfg(feature = "std")]
mod options;
pub mod proto;
#[cfg(feature = "std")]
mod random;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tokio")]
pub mod tokio;

// Its types are in the API of everything: users need not find the version that fits.
pub use bytes;

#[cfg(feature = "std")]
pub use admission::{Admission, AdmissionLimits, Admitted, Refused};
#[cfg(feature = "tokio")]
pub use budget::Budget;
#[cfg(feature = "std")]
pub use error::{Deadline, Error, ErrorKind};
#[cfg(feature = "std")]
pub use forwarded::TrustedProxies;
#[cfg(feature = "std")]
pub use network_error::{ConnectError, ProxyError, ProxyHeaderError, RedirectError, TlsError, TlsProblem};
#[cfg(feature = "std")]
pub use networks::{Networks, NetworksError};
#[cfg(feature = "std")]
pub use observe::{Ended, Observer};
#[cfg(feature = "std")]
pub use options::Options;
#[cfg(feature = "std")]
pub use random::{RandomMasks, nonce};
#[cfg(feature = "tokio")]
pub use tokio::connect;

/// The examples of README.md, as tests.
#[cfg(all(doctest, feature = "axum", feature = "client", feature = "deflate", feature = "server"))]
#[doc = include_str!("../README.md")]
struct Readme;
