//! TLS for servers, by rustls.

#![forbid(unsafe_code)]

mod acceptor;
mod failure;
mod settings;
mod stream;

pub use acceptor::TlsAcceptor;
pub use settings::ServerTls;
pub use stream::ServerTlsStream;
