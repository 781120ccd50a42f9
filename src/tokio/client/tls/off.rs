//! The twin of TLS without the feature: it names what is missing.

#![forbid(unsafe_code)]

use core::future::Ready;

use super::super::stream::NetworkStream;
use crate::error::Error;

/// No settings.
#[derive(Clone)]
pub(in super::super) struct Setting;

/// TLS that there is not.
pub(in super::super) enum Session {}

impl Setting {
    pub(in super::super) const fn unset() -> Self {
        Self
    }

    pub(in super::super) const fn get(&self) -> Result<Session, Error> {
        Err(Error::Unsupported(
            "wss:// needs TLS, which is not compiled in: enable the feature rustls-ring or rustls-aws-lc-rs of taut, \
             or connect a TLS stream of your own and use connect_over",
        ))
    }
}

impl Session {
    #[cfg(feature = "http2")]
    pub(in super::super) const fn for_http2(&self) -> Self {
        match *self {}
    }

    pub(in super::super) fn wrap(&self, _: NetworkStream, _: &str) -> Ready<Result<NetworkStream, Error>> {
        match *self {}
    }
}

/// Errors stay as they are.
pub(in super::super) const fn told_by(error: Error, _: &str) -> Error {
    error
}
