//! The client's way to a server: addresses, proxies, TLS, redirects, and every deadline, on a network and a clock that
//! do as a test says. `tests/network/run` has the same with the programs of others.

#![cfg(feature = "tokio")]

#[path = "client_network/attempts.rs"]
mod attempts;
#[path = "client_network/cancellation.rs"]
mod cancellation;
#[cfg(feature = "rustls-ring")]
#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/futures.rs"]
mod futures;
#[cfg(all(feature = "http2", feature = "hyper"))]
#[path = "client_network/http2.rs"]
mod http2;
#[path = "client_network/network.rs"]
mod network;
#[path = "client_network/proxies.rs"]
mod proxies;
#[path = "client_network/requests.rs"]
mod requests;
#[cfg(feature = "rustls-ring")]
#[path = "client_network/tls.rs"]
mod tls;
