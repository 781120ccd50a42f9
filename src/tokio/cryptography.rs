//! What both ends of TLS share: the cryptography of this build, what it is for, and how it fails.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use std::io;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::{AlertDescription as Alert, Error as Cause};

use crate::error::Error;
use crate::network_error::TlsProblem;

/// The cryptography of this build.
pub(super) fn compiled_in() -> Result<Arc<CryptoProvider>, Error> {
    #[cfg(feature = "rustls-ring")]
    return Ok(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()));
    #[cfg(all(feature = "rustls-aws-lc-rs", not(feature = "rustls-ring")))]
    return Ok(Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(not(any(feature = "rustls-ring", feature = "rustls-aws-lc-rs")))]
    return Err(Error::Unsupported(
        "TLS needs cryptography: enable the feature rustls-ring or rustls-aws-lc-rs of taut, or pass a provider to \
         Tls::provider, or to ServerTls::provider",
    ));
}

/// The error of rustls that lies in one of tokio-rustls.
pub(super) fn cause_of(error: &io::Error) -> Option<&Cause> {
    error.get_ref()?.downcast_ref()
}

/// What an error means, whichever end it hit.
pub(super) fn problem_of_either_end(cause: &Cause) -> TlsProblem {
    match cause {
        Cause::AlertReceived(
            Alert::HandshakeFailure
            | Alert::ProtocolVersion
            | Alert::InsufficientSecurity
            | Alert::NoApplicationProtocol,
        )
        | Cause::PeerIncompatible(_)
        | Cause::NoApplicationProtocol => TlsProblem::NothingInCommon,
        Cause::InvalidMessage(_) => TlsProblem::NotTls,
        _ => TlsProblem::Other,
    }
}

/// RFC 7301; what WebSocket's handshake is made of.
pub(super) const ALPN: &[u8] = b"http/1.1";
