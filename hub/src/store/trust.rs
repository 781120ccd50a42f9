//! Who may have issued the certificate of a database: the roots in a file of PEM.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::fs;
use std::path::Path;

use taut::tokio::rustls::RootCertStore;
use taut::tokio::rustls::pki_types::CertificateDer;
use taut::tokio::rustls::pki_types::pem::PemObject;

/// The text of a file, and the roots in it, of which there is one at least.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, RootCertStore), String> {
    let wrong = |error: &dyn Display| format!("{}: {error}", path.display());
    let text = fs::read(path).map_err(|error| wrong(&error))?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&text) {
        roots.add(root.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() { Err(wrong(&"there is no certificate in it")) } else { Ok((text, roots)) }
}
