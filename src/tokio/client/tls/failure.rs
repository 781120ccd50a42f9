//! What an error of rustls means to a person.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error as Cause};

use super::verify::Refused;
use crate::error::Error;
use crate::network_error::{TlsError, TlsProblem};
use crate::tokio::cryptography::{cause_of, problem_of_either_end};

/// Why the handshake of TLS with `host` failed.
pub(super) fn explained(error: io::Error, host: &str) -> Error {
    if let Some(cause) = cause_of(&error) {
        return TlsError::new(problem(cause), host, Some(Box::new(cause.clone()))).into();
    }
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return TlsError::new(TlsProblem::Ended, host, Some(error.into())).into();
    }
    Error::Io(error)
}

/// Whether the server speaks nothing of what was offered (RFC 7301 §3.2).
pub(super) fn is_no_protocol(error: &io::Error) -> bool {
    matches!(
        cause_of(error),
        Some(Cause::AlertReceived(AlertDescription::NoApplicationProtocol) | Cause::NoApplicationProtocol)
    )
}

/// An error from above TLS: a server of TLS 1.3 tells what it thinks of our certificate once we believe to be done.
pub(in super::super) fn told_by(error: Error, host: &str) -> Error {
    match error {
        Error::Io(error) if cause_of(&error).is_some() => explained(error, host),
        error => error,
    }
}

fn problem(cause: &Cause) -> TlsProblem {
    use AlertDescription as Alert;
    match cause {
        Cause::InvalidCertificate(error) => match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongHost
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsProblem::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsProblem::NotYetValid
            }
            CertificateError::Revoked => TlsProblem::Revoked,
            CertificateError::UnknownIssuer => TlsProblem::Untrusted,
            CertificateError::Other(other) => match other.0.downcast_ref() {
                Some(Refused::SelfSigned) => TlsProblem::SelfSigned,
                Some(Refused::NotTheOne) => TlsProblem::NotTheOne,
                None => TlsProblem::Certificate,
            },
            _ => TlsProblem::Certificate,
        },
        Cause::NoCertificatesPresented => TlsProblem::Certificate,
        Cause::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => TlsProblem::ClientCertificate,
        _ => problem_of_either_end(cause),
    }
}
