//! Certificates that are made for one test: an authority, and whom it signs.
#![allow(dead_code, reason = "each test uses its part")]

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use taut::tokio::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority, and what it signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
}

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// Both, as files have them.
    pub(crate) pem: [String; 2],
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, certificate) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), certificate, pem }
    }

    /// A certificate for `host.test`, with what `change` makes of it.
    pub(crate) fn signs(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        self.signs_key(&KeyPair::generate().unwrap(), change)
    }

    /// The same for a key that there is already.
    pub(crate) fn signs_key(&self, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = leaf();
        change(&mut params);
        Identity::new(&params.signed_by(key, &self.issuer).unwrap(), key)
    }
}

impl Identity {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            pem: [certificate.pem(), key.serialize_pem()],
        }
    }
}

/// A certificate for `host.test` that nobody else has signed.
pub(crate) fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = leaf();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Identity::new(&params.self_signed(&key).unwrap(), &key)
}

fn leaf() -> CertificateParams {
    let mut params = CertificateParams::new(["host.test".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "leaf");
    params
}
