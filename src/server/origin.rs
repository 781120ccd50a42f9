//! Which sites' pages may connect (RFC 6455 §10.2).

#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::proto::handshake::Request;

/// Which origins may connect. Browsers name the page's origin and cannot be made to lie by it; other clients name what
/// they like, or nothing, so that this protects the users of browsers and nobody else.
#[derive(Clone, Default)]
pub struct Origins {
    any: bool,
    listed: Vec<Origin>,
    decide: Option<Decide>,
}

type Decide = Arc<dyn Fn(&Request) -> bool + Send + Sync>;

impl Origins {
    /// Pages of the same host and port as the request's Host, and clients that name no origin. The default.
    #[must_use]
    pub fn same() -> Self {
        Self::default()
    }

    /// All pages: right where nothing depends on who the user is, as no cookie and no address does.
    #[must_use]
    pub fn any() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// These as well: scheme, host and port have to be the same, where `https://example.com` has port 443.
    ///
    /// # Errors
    /// The origin that is none: `scheme://host` or `scheme://host:port`, and nothing behind it.
    pub fn and<I: AsRef<str>>(mut self, origins: impl IntoIterator<Item = I>) -> Result<Self, OriginError> {
        for origin in origins {
            let origin = origin.as_ref();
            self.listed.push(Origin::parse(origin).ok_or_else(|| OriginError { origin: origin.into() })?);
        }
        Ok(self)
    }

    /// Those as well for which `decide` says so. It is asked last.
    #[must_use]
    pub fn or(mut self, decide: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.decide = Some(Arc::new(decide));
        self
    }

    /// Whether the request may be accepted.
    #[must_use]
    pub fn allow(&self, request: &Request) -> bool {
        let Some(origin) = request.origin() else { return true };
        if self.any {
            return true;
        }
        // "null", and what is no origin, is of no site that could be named.
        let named = Origin::parse(origin)
            .is_some_and(|origin| origin.is_at(request.host()) || self.listed.contains(&origin));
        named || self.decide.as_ref().is_some_and(|decide| decide(request))
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origins")
            .field("any", &self.any)
            .field("listed", &self.listed)
            .field("decide", &self.decide.is_some())
            .finish()
    }
}

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError {
    origin: String,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no origin: write scheme://host or scheme://host:port", self.origin)
    }
}

impl core::error::Error for OriginError {}

/// RFC 6454 §4: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let known = !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_port(authority)?;
        let port = port.or(default_port(&scheme));
        known.then_some(Self { scheme, host, port })
    }

    /// Whether a request with this Host is for the site itself. The Host names no scheme, and a proxy may have taken
    /// TLS away: without a port it has the one of the origin's scheme.
    fn is_at(&self, host: &str) -> bool {
        split_port(host)
            .is_some_and(|(host, port)| host == self.host && port.or(default_port(&self.scheme)) == self.port)
    }
}

fn split_port(authority: &str) -> Option<(String, Option<u16>)> {
    let port_at = match authority.rfind(':') {
        // An IPv6 address is in brackets.
        Some(at) if !authority[at..].contains(']') => Some(at),
        _ => None,
    };
    let (host, port) = match port_at {
        Some(at) => {
            let port = &authority[at + 1..];
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            (&authority[..at], Some(port.parse().ok().filter(|_| digits)?))
        }
        None => (authority, None),
    };
    let is_host = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@\\\"<>,;".contains(&byte));
    is_host.then(|| (host.to_ascii_lowercase(), port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;
    use crate::proto::handshake::ServerHandshake;

    fn request(host: &str, origin: Option<&str>) -> Request {
        let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\n{origin}Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        let mut handshake = ServerHandshake::new();
        handshake.feed(head.as_bytes());
        handshake.poll().unwrap().unwrap().request().clone()
    }

    #[test]
    fn pages_of_the_same_site_connect_and_others_do_not() {
        for (host, origin, allowed) in [
            ("example.com", None, true),
            ("example.com", Some("https://example.com"), true),
            ("example.com", Some("http://EXAMPLE.com"), true),
            ("example.com", Some("http://example.com:80"), true),
            ("example.com:443", Some("https://example.com"), true),
            ("example.com:8080", Some("http://example.com:8080"), true),
            ("[::1]:8080", Some("http://[::1]:8080"), true),
            ("example.com:8080", Some("http://example.com"), false),
            ("example.com", Some("http://example.com:8080"), false),
            ("example.com", Some("https://example.com.evil.net"), false),
            ("example.com", Some("https://evil.net"), false),
            ("example.com", Some("https://sub.example.com"), false),
            ("example.com", Some("null"), false),
            ("example.com", Some("example.com"), false),
        ] {
            assert_eq!(Origins::same().allow(&request(host, origin)), allowed, "{host} {origin:?}");
        }
    }

    #[test]
    fn listed_ones_are_compared_in_scheme_host_and_port() {
        let origins = Origins::same().and(["https://app.net", "http://localhost:3000"]).unwrap();
        for (origin, allowed) in [
            ("https://app.net", true),
            ("https://APP.net:443", true),
            ("http://app.net", false),
            ("https://app.net:444", false),
            ("https://x.app.net", false),
            ("http://localhost:3000", true),
            ("http://localhost", false),
        ] {
            assert_eq!(origins.allow(&request("a", Some(origin))), allowed, "{origin}");
        }
        let all = origins.or(|request| request.origin() == Some("null"));
        assert!(all.allow(&request("a", Some("null"))) && !all.allow(&request("a", Some("http://b"))));
        assert!(Origins::any().allow(&request("a", Some("https://evil.net"))));
    }

    #[test]
    fn what_is_no_origin_is_named() {
        for wrong in
            ["app.net", "https://", "https://a/", "https://a:x", "https://a:", "://a", "https://a:99999", "*"]
        {
            let error = Origins::same().and([wrong]).unwrap_err().to_string();
            assert!(error.contains(&format!("{wrong:?} is no origin")), "{error}");
        }
    }
}
