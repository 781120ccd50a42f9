//! What both ends of TLS share: the cryptography of this build, and what it is for.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;

use crate::error::Error;

/// The cryptography of this build.
pub(super) fn compiled_in() -> Result<Arc<CryptoProvider>, Error> {
    #[cfg(feature = "rustls-ring")]
    return Ok(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()));
    #[cfg(all(feature = "rustls-aws-lc-rs", not(feature = "rustls-ring")))]
    return Ok(Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(not(any(feature = "rustls-ring", feature = "rustls-aws-lc-rs")))]
    return Err(Error::Unsupported(
        "TLS needs cryptography: enable the feature rustls-ring or rustls-aws-lc-rs of taut, or pass a provider to \
         Tls::with_provider, or to ServerTls::provider",
    ));
}

/// RFC 7301; what WebSocket's handshake is made of.
pub(super) const ALPN: &[u8] = b"http/1.1";
