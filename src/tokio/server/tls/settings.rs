//! `ServerTls`: who a server is, whom it lets in, and by which cryptography.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ServerConfig, WebPkiClientVerifier};
use tokio_rustls::rustls::{KeyLog, RootCertStore};

use super::super::super::cryptography::{ALPN, compiled_in};
use crate::error::Error;
use crate::network_error::{TlsError, TlsProblem};

/// The settings of TLS for a [`TlsAcceptor`](super::TlsAcceptor). Whatever is not set: clients need no certificate;
/// ALPN is `http/1.1`; versions 1.2 and 1.3.
#[derive(Clone)]
pub struct ServerTls {
    identity: Identity,
    provider: Option<Arc<CryptoProvider>>,
    clients: Option<Certificates>,
    clients_optional: bool,
    alpn: Vec<Vec<u8>>,
    key_log: Option<Arc<dyn KeyLog>>,
}

/// Who the server is.
#[derive(Clone)]
enum Identity {
    Certificates(Certificates, Key),
    Config(Arc<ServerConfig>),
}

#[derive(Clone)]
enum Certificates {
    File(PathBuf),
    Given(Vec<CertificateDer<'static>>),
}

#[derive(Clone)]
enum Key {
    File(PathBuf),
    Given(Arc<PrivateKeyDer<'static>>),
}

impl ServerTls {
    /// A server with the chain of certificates in one file, its own first, and its key in another, or in the same.
    /// Both are PEM; the key is PKCS#8, PKCS#1 or SEC1. They are read by the acceptor, and at each reload.
    #[must_use]
    pub fn from_pem_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        let chain = Certificates::File(chain.as_ref().into());
        Self::of(Identity::Certificates(chain, Key::File(key.as_ref().into())))
    }

    /// A server with this chain of certificates, its own first, and its key.
    #[must_use]
    pub fn from_certificate(
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: impl Into<PrivateKeyDer<'static>>,
    ) -> Self {
        let chain = Certificates::Given(chain.into_iter().collect());
        Self::of(Identity::Certificates(chain, Key::Given(Arc::new(key.into()))))
    }

    /// All settings by one's own configuration of rustls, such as one with a certificate for each name; ALPN is set to
    /// `http/1.1` if it names nothing. What else is set here has no effect.
    #[must_use]
    pub fn from_config(config: impl Into<Arc<ServerConfig>>) -> Self {
        Self::of(Identity::Config(config.into()))
    }

    fn of(identity: Identity) -> Self {
        Self {
            identity,
            provider: None,
            clients: None,
            clients_optional: false,
            alpn: vec![ALPN.into()],
            key_log: None,
        }
    }

    /// The cryptography. Default: that of the feature `rustls-ring`, else of `rustls-aws-lc-rs`; a default provider of
    /// the process is neither asked nor set.
    #[must_use]
    pub fn provider(mut self, provider: impl Into<Arc<CryptoProvider>>) -> Self {
        self.provider = Some(provider.into());
        self
    }

    /// Lets in clients only with a certificate of one of these authorities.
    #[must_use]
    pub fn client_roots(mut self, roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        self.clients = Some(Certificates::Given(roots.into_iter().collect()));
        self
    }

    /// The same with the authorities in a file (PEM), which each reload reads again.
    #[must_use]
    pub fn client_roots_file(mut self, roots: impl AsRef<Path>) -> Self {
        self.clients = Some(Certificates::File(roots.as_ref().into()));
        self
    }

    /// Lets in clients without a certificate too, beside those with one of the authorities:
    /// [`ServerTlsStream::session`](super::ServerTlsStream::session) tells which they are.
    #[must_use]
    pub const fn client_certificate_optional(mut self) -> Self {
        self.clients_optional = true;
        self
    }

    /// What the connections can be for, the first one rather (RFC 7301). Default: `http/1.1`. With `h2` before it, ask
    /// [`ServerTlsStream::session`](super::ServerTlsStream::session) what was agreed on. A client that names only
    /// others is refused; one that names none, as many do for WebSockets, is not.
    #[must_use]
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// **Gives the keys of each connection to `log`: who has them can read it.**
    #[must_use]
    pub fn key_log(mut self, log: impl Into<Arc<dyn KeyLog>>) -> Self {
        self.key_log = Some(log.into());
        self
    }

    /// The configuration of rustls; reads the files.
    pub(super) fn build(&self) -> Result<Arc<ServerConfig>, Error> {
        let (chain, key) = match &self.identity {
            Identity::Config(config) if config.alpn_protocols.is_empty() => {
                let mut config = ServerConfig::clone(config);
                config.alpn_protocols = vec![ALPN.into()];
                return Ok(Arc::new(config));
            }
            Identity::Config(config) => return Ok(config.clone()),
            Identity::Certificates(chain, key) => (chain.read()?, key.read()?),
        };
        let provider = self.provider.clone().map_or_else(compiled_in, Ok)?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(wrong)?;
        let builder = match &self.clients {
            Some(roots) => builder.with_client_cert_verifier(self.verifier(roots, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(wrong)?;
        config.alpn_protocols.clone_from(&self.alpn);
        if let Some(log) = &self.key_log {
            config.key_log = log.clone();
        }
        Ok(Arc::new(config))
    }

    fn verifier(
        &self,
        roots: &Certificates,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let mut store = RootCertStore::empty();
        for root in roots.read()? {
            store.add(root).map_err(wrong)?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(store.into(), provider);
        let builder = if self.clients_optional { builder.allow_unauthenticated() } else { builder };
        let built = builder.build();
        built.map_err(wrong)
    }
}

impl Certificates {
    fn read(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let path = match self {
            Self::Given(certificates) => return Ok(certificates.clone()),
            Self::File(path) => path,
        };
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = read.map_err(|error| unreadable(path, &error))?;
        if certificates.is_empty() {
            return Err(unreadable(path, &pem::Error::NoItemsFound));
        }
        Ok(certificates)
    }
}

impl Key {
    fn read(&self) -> Result<PrivateKeyDer<'static>, Error> {
        match self {
            Self::Given(key) => Ok(key.clone_key()),
            Self::File(path) => PrivateKeyDer::from_pem_file(path).map_err(|error| unreadable(path, &error)),
        }
    }
}

fn unreadable(path: &Path, error: &pem::Error) -> Error {
    wrong(format!("{}: {error}", path.display()))
}

fn wrong(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Error {
    TlsError::with_client(TlsProblem::Configuration, source).into()
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No keys.
        let mut debug = f.debug_struct("ServerTls");
        if let Identity::Certificates(Certificates::File(path), _) = &self.identity {
            debug.field("chain", path);
        }
        debug.field("clients", &self.clients.is_some()).finish_non_exhaustive()
    }
}
