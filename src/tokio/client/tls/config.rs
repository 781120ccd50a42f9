//! `Tls`: whom a client trusts, who it is, and by which cryptography.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::client::{ClientConfig, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{KeyLog, KeyLogFile, RootCertStore};

use super::super::super::cryptography::{ALPN, compiled_in};
use super::verify::{Explained, Unverified, platform};
use crate::error::Error;
use crate::network_error::{TlsError, TlsProblem};

/// The settings of TLS, for [`Client::tls`](crate::tokio::Client::tls). Whatever is not set is as for any `wss://`
/// URI: certificates are judged by the operating system's verifier, for the host of the URI, which is also told to
/// the server (SNI); ALPN is `http/1.1`; versions 1.2 and 1.3.
///
/// ```
/// # #[cfg(feature = "rustls-ring")]
/// # fn make() -> Result<(), taut::Error> {
/// use taut::tokio::rustls::pki_types::CertificateDer;
/// use taut::tokio::{Client, Tls};
/// # let authority: CertificateDer<'static> = vec![].into();
///
/// let client = Client::new().tls(Tls::new().roots([authority]))?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tls {
    provider: Option<Arc<CryptoProvider>>,
    trust: Trust,
    identity: Option<Arc<Identity>>,
    pub(super) server_name: Option<ServerName<'static>>,
    wrong_name: bool,
    sni: bool,
    key_log: Option<Arc<dyn KeyLog>>,
    config: Option<Arc<ClientConfig>>,
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Whose certificates are accepted.
#[derive(Clone)]
enum Trust {
    Platform(Vec<CertificateDer<'static>>),
    Roots(Vec<CertificateDer<'static>>),
    Exactly(Vec<CertificateDer<'static>>),
    Anyone,
}

impl Tls {
    /// The defaults, with the cryptography that is compiled in: that of `rustls-ring`, else of `rustls-aws-lc-rs`.
    /// A default provider of the process is neither asked nor set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            provider: None,
            trust: Trust::Platform(Vec::new()),
            identity: None,
            server_name: None,
            wrong_name: false,
            sni: true,
            key_log: None,
            config: None,
        }
    }

    /// All settings by one's own configuration of rustls; ALPN is set to `http/1.1` if it names nothing. Only
    /// [`server_name`](Self::server_name) can be added.
    #[must_use]
    pub fn from_config(config: impl Into<Arc<ClientConfig>>) -> Self {
        Self { config: Some(config.into()), ..Self::new() }
    }

    /// The cryptography. Default: what is compiled in.
    #[must_use]
    pub fn provider(mut self, provider: impl Into<Arc<CryptoProvider>>) -> Self {
        self.provider = Some(provider.into());
        self
    }

    /// Trusts these authorities, and no others.
    #[must_use]
    pub fn roots(mut self, roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        self.trust = Trust::Roots(roots.into_iter().collect());
        self
    }

    /// Trusts these authorities as well as those of the operating system.
    #[must_use]
    pub fn extra_roots(mut self, roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        self.trust = Trust::Platform(roots.into_iter().collect());
        self
    }

    /// Accepts this one certificate, compared byte by byte, and no other. **Its host, its time and its issuer are not
    /// looked at**; the server has to show that it has the key. For a certificate that is signed by itself.
    #[must_use]
    pub fn dangerous_accept_certificate(mut self, certificate: CertificateDer<'static>) -> Self {
        self.trust = Trust::Exactly(vec![certificate]);
        self
    }

    /// **Accepts any certificate of anyone: whoever is on the way can read and change everything.** For experiments.
    #[must_use]
    pub fn dangerous_accept_any_certificate(mut self) -> Self {
        self.trust = Trust::Anyone;
        self
    }

    /// Shows this chain of certificates, one's own first, to servers that ask for one, with its key.
    #[must_use]
    pub fn client_certificate(
        mut self,
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: impl Into<PrivateKeyDer<'static>>,
    ) -> Self {
        self.identity = Some(Arc::new((chain.into_iter().collect(), key.into())));
        self
    }

    /// The name that the server's certificate has to be for, and that SNI tells, instead of the host of the URI: for
    /// a server that is reached by its address. Not for proxies of `https`.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Self {
        self.server_name = ServerName::try_from(name).ok().map(|name| name.to_owned());
        self.wrong_name = self.server_name.is_none();
        self
    }

    /// Whether the server is told which host is wanted (RFC 6066 §3). Default: yes.
    #[must_use]
    pub const fn sni(mut self, sni: bool) -> Self {
        self.sni = sni;
        self
    }

    /// **Gives the keys of each connection to `log`: who has them can read it.**
    #[must_use]
    pub fn key_log(mut self, log: impl Into<Arc<dyn KeyLog>>) -> Self {
        self.key_log = Some(log.into());
        self
    }

    /// **Writes the keys of each connection to the file that the environment variable `SSLKEYLOGFILE` names**, if it
    /// names one: for Wireshark.
    #[must_use]
    pub fn key_log_file(mut self) -> Self {
        self.key_log = Some(Arc::new(KeyLogFile::new()));
        self
    }

    /// The configuration of rustls. On most systems it reads the certificates of the platform from files.
    pub(super) fn build(&self) -> Result<Arc<ClientConfig>, Error> {
        if self.wrong_name {
            return Err(TlsError::new(
                TlsProblem::Configuration,
                "",
                Some("server_name is not a host".into()),
            )
            .into());
        }
        if let Some(config) = &self.config {
            if !config.alpn_protocols.is_empty() {
                return Ok(config.clone());
            }
            let mut config = ClientConfig::clone(config);
            config.alpn_protocols = vec![ALPN.into()];
            return Ok(Arc::new(config));
        }
        let provider = self.provider.clone().map_or_else(compiled_in, Ok)?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(&provider)?);
        let mut config = match self.identity.as_deref() {
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(wrong)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.into()];
        config.enable_sni = self.sni;
        if let Some(log) = &self.key_log {
            config.key_log = log.clone();
        }
        Ok(Arc::new(config))
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        Ok(match &self.trust {
            Trust::Platform(extra) => Arc::new(Explained(platform(provider, extra).map_err(wrong)?)),
            Trust::Roots(roots) => {
                let mut store = RootCertStore::empty();
                for root in roots {
                    store.add(root.clone()).map_err(wrong)?;
                }
                let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
                let verifier = builder.build();
                Arc::new(Explained(
                    verifier
                        .map_err(|error| TlsError::new(TlsProblem::Configuration, "", Some(error.into())))?,
                ))
            }
            Trust::Exactly(certificates) => Arc::new(Unverified::new(provider, Some(certificates.clone()))),
            Trust::Anyone => Arc::new(Unverified::new(provider, None)),
        })
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trust = match &self.trust {
            Trust::Platform(_) => "the platform",
            Trust::Roots(_) => "roots",
            Trust::Exactly(_) => "one certificate",
            Trust::Anyone => "ANYONE",
        };
        f.debug_struct("Tls").field("trusts", &trust).finish_non_exhaustive()
    }
}

fn wrong(error: tokio_rustls::rustls::Error) -> Error {
    TlsError::new(TlsProblem::Configuration, "", Some(error.into())).into()
}
