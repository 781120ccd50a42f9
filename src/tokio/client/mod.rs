//! The client's side of the network: where a server is, how to get there, and that it is the right one.

#![forbid(unsafe_code)]

mod authority;
mod builder;
mod environment;
mod gate;
mod network;
mod proxy;
mod race;
mod redirect;
mod socks;
mod stream;
mod target;
mod tls;
mod tunnel;
mod way;

pub use builder::Client;
#[cfg(feature = "http2")]
pub(crate) use builder::Reached;
pub use network::{Connector, Dialing, Network};
pub use proxy::Proxy;
pub use stream::NetworkStream;
#[cfg(feature = "rustls")]
pub use tls::Tls;
/// The release of rustls whose types [`Tls`] takes.
#[cfg(feature = "rustls")]
pub use tokio_rustls::rustls;
