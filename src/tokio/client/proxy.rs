//! A proxy: where it is, what it speaks, and who we are to it.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::format;

use super::authority::{Credentials, take_credentials};
use crate::network_error::ProxyError;
use crate::proto::handshake::WebSocketUri;

/// A proxy that connections go through: one of HTTP by CONNECT (RFC 9110 §9.3.6), or of SOCKS 5 (RFC 1928).
#[derive(Clone, Debug)]
pub struct Proxy {
    pub(super) speaks: Speaks,
    pub(super) host: Box<str>,
    pub(super) port: u16,
    pub(super) credentials: Option<Credentials>,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// CONNECT.
    Http,
    /// CONNECT over TLS.
    Https,
    /// SOCKS, with addresses that are resolved here.
    Socks5,
    /// SOCKS, with names that are resolved there.
    Socks5h,
}

impl Proxy {
    /// Parses `SCHEME://[USER[:PASSWORD]@]HOST[:PORT]`, user name and password percent-encoded. The schemes, with
    /// their default ports:
    ///
    /// | scheme    | port | what it is                                                |
    /// |-----------|------|-----------------------------------------------------------|
    /// | `http`    | 80   | CONNECT of HTTP/1.1; also if there is no scheme           |
    /// | `https`   | 443  | the same over TLS, by the settings of the client          |
    /// | `socks5`  | 1080 | SOCKS 5; names are resolved here, and the first address is taken |
    /// | `socks5h` | 1080 | SOCKS 5; the proxy resolves names                         |
    ///
    /// # Errors
    /// [`ProxyError::Uri`].
    pub fn parse(uri: &str) -> Result<Self, ProxyError> {
        Self::read(uri).ok_or(ProxyError::Uri(""))
    }

    /// With this user name and password, neither percent-encoded: Basic authentication with HTTP, RFC 1929 with SOCKS.
    #[must_use]
    pub fn credentials(mut self, user: &str, password: &str) -> Self {
        self.credentials = Some(Credentials { user: user.into(), password: password.into() });
        self
    }

    fn read(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://").unwrap_or(("http", uri));
        let (speaks, default) = match &*scheme.to_ascii_lowercase() {
            "http" => (Speaks::Http, 80),
            "https" => (Speaks::Https, 443),
            "socks5" => (Speaks::Socks5, 1080),
            "socks5h" => (Speaks::Socks5h, 1080),
            _ => return None,
        };
        // Its host and port follow the rules of any other URI.
        let (uri, credentials) = take_credentials(&format!("ws://{rest}")).ok()?;
        let place = WebSocketUri::parse(&uri).ok().filter(|place| place.resource() == "/")?;
        let has_port = uri.trim_end_matches('/').ends_with(":80") || place.port() != 80;
        let port = if has_port { place.port() } else { default };
        Some(Self { speaks, host: place.host().into(), port, credentials })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_proxies() {
        for (uri, speaks, host, port) in [
            ("http://a", Speaks::Http, "a", 80),
            ("a:3128", Speaks::Http, "a", 3128),
            ("http://u:p@[::1]:8080/", Speaks::Http, "::1", 8080),
            ("HTTPS://A", Speaks::Https, "a", 443),
            ("https://a:80", Speaks::Https, "a", 80),
            ("socks5://a", Speaks::Socks5, "a", 1080),
            ("socks5h://a:80/", Speaks::Socks5h, "a", 80),
        ] {
            let proxy = Proxy::parse(uri).unwrap();
            assert_eq!((proxy.speaks, &*proxy.host, proxy.port), (speaks, host, port), "{uri}");
            assert_eq!(proxy.credentials.is_some(), uri.contains('@'));
        }
        for uri in
            ["", "http://", "ftp://a", "socks4://a", "http://a/b", "http://a:0", "http://a b", "http://%@a"]
        {
            assert_eq!(Proxy::parse(uri).unwrap_err(), ProxyError::Uri(""), "{uri}");
        }
        let proxy = Proxy::parse("http://user:secret@a").unwrap();
        assert!(!format!("{proxy:?}").contains("secret"));
    }
}
