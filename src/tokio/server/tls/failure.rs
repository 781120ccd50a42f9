//! What an error of rustls means to who runs a server.

#![forbid(unsafe_code)]

use std::io;

use tokio_rustls::rustls::{AlertDescription, Error as Cause};

use crate::error::Error;
use crate::network_error::{TlsError, TlsProblem};
use crate::tokio::cryptography::{cause_of, problem_of_either_end};

/// Why the handshake of TLS with a client failed.
pub(super) fn explained(error: io::Error) -> Error {
    if let Some(cause) = cause_of(&error) {
        return TlsError::with_client(problem(cause), cause.clone()).into();
    }
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return TlsError::with_client(TlsProblem::Ended, error).into();
    }
    Error::Io(error)
}

fn problem(cause: &Cause) -> TlsProblem {
    use AlertDescription as Alert;
    match cause {
        Cause::NoCertificatesPresented => TlsProblem::ClientCertificate,
        Cause::InvalidCertificate(_) => TlsProblem::Certificate,
        Cause::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            // A signature that is not of the authority it names.
            | Alert::DecryptError,
        ) => TlsProblem::ServerCertificate,
        _ => problem_of_either_end(cause),
    }
}
