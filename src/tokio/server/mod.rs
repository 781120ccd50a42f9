//! The server's side of the network: TLS, who is behind a proxy, and listeners that are not TCP's.

#![forbid(unsafe_code)]

#[cfg(all(unix, feature = "listenfd"))]
mod activation;
mod proxy_protocol;
#[cfg(feature = "rustls")]
mod tls;
#[cfg(unix)]
mod unix;

#[cfg(all(unix, feature = "listenfd"))]
pub use activation::{Activated, activated};
pub use proxy_protocol::ProxyProtocol;
#[cfg(feature = "rustls")]
pub use tls::{ServerTls, ServerTlsStream, TlsAcceptor};
#[cfg(unix)]
pub use unix::bind_unix;
