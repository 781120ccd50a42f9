//! The server's side of the network: TLS, proxies in front, sockets of files and of systemd. `tests/network/run` has
//! nginx before it.

#![cfg(feature = "tokio")]

#[cfg(feature = "rustls-ring")]
#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/futures.rs"]
mod futures;
mod support;

#[cfg(all(unix, feature = "listenfd"))]
#[path = "server_network/activation.rs"]
mod activation;
#[path = "server_network/proxies.rs"]
mod proxies;
#[cfg(feature = "rustls-ring")]
#[path = "server_network/tls.rs"]
mod tls;
#[cfg(unix)]
#[path = "server_network/unix.rs"]
mod unix;

use futures::{ends, polled};

/// The request of a client.
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
