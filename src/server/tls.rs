//! TLS by the settings of a server, or word that it is not compiled in.

#![forbid(unsafe_code)]

use core::any::Any;
use std::io;

use ::tokio::net::TcpStream;

use super::config::Config;
use super::settings::SettingError;
use crate::error::Error;
#[cfg(feature = "rustls")]
pub(super) use crate::tokio::TlsAcceptor as Acceptor;
#[cfg(feature = "rustls")]
use crate::tokio::{ServerTls, ServerTlsStream};

/// What does TLS, if the settings want it.
pub(super) fn acceptor(config: &Config) -> io::Result<Option<Acceptor>> {
    let lacks = |name, expected| {
        io::Error::new(io::ErrorKind::InvalidInput, SettingError::new(name, "none", expected))
    };
    match (&config.tls_certificate, &config.tls_key) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(lacks("tls_key", "a file, as \"tls_certificate\" is")),
        (None, Some(_)) => Err(lacks("tls_certificate", "a file, as \"tls_key\" is")),
        #[cfg(feature = "rustls")]
        (Some(certificate), Some(key)) => of(ServerTls::from_pem_files(certificate, key)).map(Some),
        #[cfg(not(feature = "rustls"))]
        (Some(_), Some(_)) => Err(failed(Error::Unsupported(
            "TLS needs the feature `rustls-ring` or `rustls-aws-lc-rs`: compile one of them in",
        ))),
    }
}

#[cfg(feature = "rustls")]
pub(super) fn of(settings: ServerTls) -> io::Result<Acceptor> {
    Acceptor::new(settings).map_err(failed)
}

fn failed(error: Error) -> io::Error {
    let kind = match error {
        Error::Unsupported(_) => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::InvalidInput,
    };
    io::Error::new(kind, error)
}

/// The TCP connection that a stream is, with TLS or without.
pub(super) fn tcp<S: 'static>(stream: &S) -> Option<&TcpStream> {
    let stream = stream as &dyn Any;
    #[cfg(feature = "rustls")]
    if let Some(secure) = stream.downcast_ref::<ServerTlsStream<TcpStream>>() {
        return Some(secure.get_ref());
    }
    stream.downcast_ref()
}

/// There is none.
#[cfg(not(feature = "rustls"))]
#[derive(Clone, Debug)]
pub(super) enum Acceptor {}

#[cfg(not(feature = "rustls"))]
impl Acceptor {
    pub(super) async fn wrap<S>(&self, _: S, _: &mut crate::options::Options) -> Result<S, Error> {
        match *self {}
    }

    pub(super) fn reload(&self) -> Result<(), Error> {
        match *self {}
    }
}
