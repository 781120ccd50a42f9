//! How a client reaches others: names to addresses, addresses to streams. Programs may have ways of their own.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::Future;
use core::net::SocketAddr;
use core::pin::Pin;
use std::io;

use ::tokio::net::{TcpStream, lookup_host};

use super::stream::NetworkStream;

/// A future of [`Network`] and [`Connector`].
pub type Dialing<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// Names and addresses. Each method has a default, which is what [`Client`](super::Client) does by itself: a
/// resolver of one's own replaces [`resolve`](Self::resolve); sockets with options of their own (an interface to
/// bind to, a mark) replace [`dial`](Self::dial).
///
/// ```
/// # use core::net::SocketAddr;
/// # use taut::tokio::{Client, Dialing, Network};
/// /// Knows one name.
/// struct Staging;
///
/// impl Network for Staging {
///     fn resolve<'a>(&'a self, _: &'a str, port: u16) -> Dialing<'a, Vec<SocketAddr>> {
///         Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) })
///     }
/// }
///
/// let client = Client::new().network(Staging);
/// ```
pub trait Network: Send + Sync + 'static {
    /// The addresses of a name: the best first. Hosts that are addresses already do not come here. Families are interleaved
    /// later (RFC 8305 §4). Default: the operating system's, by `tokio::net::lookup_host`.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a, Vec<SocketAddr>> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    /// Connects to an address. Several attempts may be under way at a time; those that lose are dropped. Default: a
    /// `TcpStream` with `TCP_NODELAY`.
    fn dial(&self, address: SocketAddr) -> Dialing<'_, NetworkStream> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            // A socket that refuses this is broken, which the next read tells.
            let _ = stream.set_nodelay(true);
            Ok(stream.into())
        })
    }
}

/// A way to hosts that needs no addresses: a tunnel, a stream in memory. It takes the place of resolving, of happy
/// eyeballs and of TCP; proxies and TLS still run above it.
pub trait Connector: Send + Sync + 'static {
    /// A stream to a host, which is that of the URI, or the proxy's.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a, NetworkStream>;
}

/// The network of the operating system.
pub(super) struct System;

impl Network for System {}
