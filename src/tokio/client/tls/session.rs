//! TLS over a stream, by settings that are made ready once.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
#[cfg(feature = "http2")]
use alloc::vec;
use std::sync::OnceLock;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::super::stream::NetworkStream;
use super::config::Tls;
use super::failure::{explained, is_no_protocol};
use crate::error::Error;
use crate::network_error::{TlsError, TlsProblem};

/// The settings of a client, shared by its clones.
#[derive(Clone)]
pub(in super::super) struct Setting(Arc<OnceLock<Session>>);

/// Settings that are ready.
#[derive(Clone)]
pub(in super::super) struct Session {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    /// The server has to choose HTTP/2.
    http2: bool,
}

impl Setting {
    pub(in super::super) fn unset() -> Self {
        Self(Arc::default())
    }

    pub(in super::super) fn new(tls: &Tls) -> Result<Self, Error> {
        Ok(Self(Arc::new(OnceLock::from(Session::new(tls)?))))
    }

    /// What was set, or the defaults. Those are made ready at the first use, once.
    pub(in super::super) fn get(&self) -> Result<Session, Error> {
        if let Some(ready) = self.0.get() {
            return Ok(ready.clone());
        }
        let ready = Session::new(&Tls::new())?;
        Ok(self.0.get_or_init(|| ready).clone())
    }
}

impl Session {
    fn new(tls: &Tls) -> Result<Self, Error> {
        Ok(Self { config: tls.build()?, server_name: tls.server_name.clone(), http2: false })
    }

    /// The same settings with `h2` as the only protocol that is offered.
    #[cfg(feature = "http2")]
    pub(in super::super) fn for_http2(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![HTTP2.into()];
        Self { config: Arc::new(config), server_name: self.server_name.clone(), http2: true }
    }

    /// TLS with the host.
    pub(in super::super) async fn wrap(
        &self,
        stream: NetworkStream,
        host: &str,
    ) -> Result<NetworkStream, Error> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_string())
                .map_err(|error| TlsError::new(TlsProblem::Configuration, host, Some(Box::new(error))))?,
        };
        let connecting = TlsConnector::from(self.config.clone()).connect(name, stream);
        let stream = connecting.await.map_err(|error| match error {
            error if self.http2 && is_no_protocol(&error) => Error::NoHttp2,
            error => explained(error, host),
        })?;
        // Who knows nothing of ALPN chooses nothing.
        if self.http2 && stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return Err(Error::NoHttp2);
        }
        Ok(NetworkStream::from_tls(stream))
    }
}

/// RFC 9113 §3.2.
const HTTP2: &[u8] = b"h2";
