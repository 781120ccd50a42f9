//! Proxies from the environment, by the rules that curl made common.

#![forbid(unsafe_code)]

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::proxy::Proxy;
use crate::network_error::ProxyError;

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// For `ws`.
    open: Option<Proxy>,
    /// For `wss`.
    secure: Option<Proxy>,
    exempt: Vec<Exempt>,
}

/// Hosts that are reached without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exempt {
    All,
    /// A name, and those below it; at one port, or at all.
    Domain(Box<str>, Option<u16>),
    /// A network of addresses, with the length of its prefix in bits.
    Network(IpAddr, u8),
    /// An address at one port.
    Address(IpAddr, u16),
}

impl Environment {
    /// Reads the variables by `get`.
    pub(super) fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        // In a CGI program HTTP_PROXY is what the client sent as the field Proxy ("httpoxy", CVE-2016-5385).
        let is_cgi = get("REQUEST_METHOD").is_some();
        let value = |name: &'static str| {
            get(name).filter(|value| !(value.is_empty() || is_cgi && name == "HTTP_PROXY"))
        };
        let first = |names: &[&'static str]| {
            let found = names.iter().find_map(|&name| value(name).map(|uri| (name, uri)));
            found.map(|(name, uri)| Proxy::parse(&uri).map_err(|_| ProxyError::Uri(name))).transpose()
        };
        let exempt = value("no_proxy").or_else(|| value("NO_PROXY")).unwrap_or_default();
        Ok(Self {
            open: first(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])?,
            secure: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            exempt: exempt.split([',', ' ']).filter_map(Exempt::parse).collect(),
        })
    }

    /// The proxy for a host, which is in lower case and has no brackets.
    pub(super) fn proxy(&self, secure: bool, host: &str, port: u16) -> Option<&Proxy> {
        let proxy = if secure { self.secure.as_ref() } else { self.open.as_ref() };
        proxy.filter(|_| !self.exempt.iter().any(|exempt| exempt.has(host, port)))
    }
}

impl Exempt {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = text.split_once('/') {
            let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
            return (bits <= width(address)).then_some(Self::Network(address, bits));
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse() {
            return Some(Self::Network(address, width(address)));
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name.to_owned(), Some(port.parse().ok()?)),
            None => (text, None),
        };
        if let (Ok(address), Some(port)) = (name.trim_matches(['[', ']']).parse(), port) {
            return Some(Self::Address(address, port));
        }
        let name = name.strip_prefix('*').unwrap_or(&name).trim_matches('.');
        (!name.is_empty()).then(|| Self::Domain(name.into(), port))
    }

    fn has(&self, host: &str, at: u16) -> bool {
        let address = || host.parse::<IpAddr>().ok();
        match self {
            Self::All => true,
            Self::Domain(name, port) => {
                let host = host.strip_suffix('.').unwrap_or(host);
                let below = host.strip_suffix(&**name);
                port.is_none_or(|port| port == at)
                    && below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
            }
            Self::Network(network, bits) => address().is_some_and(|address| {
                let (network, address) = (number(*network), number(address));
                // Shifted by 128 where the prefix is empty: then all addresses of the family are in it.
                let shift = u32::from(network.1 - bits);
                network.1 == address.1
                    && network.0.checked_shr(shift).unwrap_or(0) == address.0.checked_shr(shift).unwrap_or(0)
            }),
            Self::Address(exempt, port) => *port == at && address() == Some(*exempt),
        }
    }
}

/// How many bits the addresses of the family have.
const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address as a number, and its width.
fn number(address: IpAddr) -> (u128, u8) {
    let bits = match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    };
    (bits, width(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Result<Environment, ProxyError> {
        Environment::read(|name| {
            variables.iter().find(|variable| variable.0 == name).map(|variable| variable.1.into())
        })
    }

    #[test]
    fn the_variable_of_the_scheme_goes_before_that_for_all() {
        let found = |variables: &[(&str, &str)], secure| {
            let environment = environment(variables).unwrap();
            environment.proxy(secure, "a", 1).map(|proxy| proxy.host.clone())
        };
        let all = [
            ("http_proxy", "one"),
            ("HTTP_PROXY", "two"),
            ("https_proxy", "three"),
            ("HTTPS_PROXY", "four"),
            ("all_proxy", "five"),
            ("ALL_PROXY", "six"),
        ];
        let orders = [(false, ["one", "two", "five", "six"]), (true, ["three", "four", "five", "six"])];
        for (secure, order) in orders {
            for (skipped, expected) in order.into_iter().enumerate() {
                let set: Vec<_> =
                    all.into_iter().filter(|pair| !order[..skipped].contains(&pair.1)).collect();
                assert_eq!(found(&set, secure).as_deref(), Some(expected), "{set:?}");
            }
        }
        assert_eq!(found(&[], true), None);
        assert_eq!(found(&[("http_proxy", ""), ("HTTP_PROXY", "two")], false).as_deref(), Some("two"));
        // A CGI program does not follow what its client wrote.
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil"), ("HTTPS_PROXY", "four")];
        assert_eq!(found(&cgi, false), None);
        assert_eq!(found(&cgi, true).as_deref(), Some("four"));
        let cgi = [("REQUEST_METHOD", "GET"), ("http_proxy", "one")];
        assert_eq!(found(&cgi, false).as_deref(), Some("one"));
        assert_eq!(environment(&[("ALL_PROXY", "ftp://a")]).unwrap_err(), ProxyError::Uri("ALL_PROXY"));
    }

    #[test]
    fn exempt_hosts() {
        for (exempt, host, port, expected) in [
            ("", "a", 80, false),
            ("*", "a", 80, true),
            ("a,*", "b", 80, true),
            ("example.com", "example.com", 80, true),
            ("example.com", "www.example.com", 80, true),
            ("example.com", "notexample.com", 80, false),
            ("example.com", "example.com.evil", 80, false),
            ("example.com", "com", 80, false),
            (".example.com", "www.example.com", 80, true),
            ("*.EXAMPLE.com", "www.example.com", 80, true),
            (" a , example.com. ", "example.com", 80, true),
            ("example.com", "example.com.", 80, true),
            ("example.com:81", "example.com", 80, false),
            ("example.com:81", "www.example.com", 81, true),
            ("127.0.0.1", "127.0.0.1", 80, true),
            ("127.0.0.1", "127.0.0.10", 80, false),
            ("127.0.0.1:81", "127.0.0.1", 81, true),
            ("127.0.0.1:81", "127.0.0.1", 80, false),
            ("10.0.0.0/8", "10.255.0.1", 80, true),
            ("10.0.0.0/8", "11.0.0.1", 80, false),
            ("10.0.0.0/8", "10.example.com", 80, false),
            ("0.0.0.0/0", "203.0.113.1", 80, true),
            ("0.0.0.0/0", "::1", 80, false),
            ("::/0", "2001:db8::1", 80, true),
            ("fe80::/10", "febf::1", 80, true),
            ("fe80::/10", "fec0::1", 80, false),
            ("::1", "::1", 80, true),
            ("[::1]:81", "::1", 81, true),
            ("10.0.0.0/33", "10.0.0.0", 80, false),
        ] {
            let environment = environment(&[("ALL_PROXY", "p"), ("NO_PROXY", exempt)]).unwrap();
            let direct = environment.proxy(false, host, port).is_none();
            assert_eq!(direct, expected, "{host}:{port} by {exempt:?}");
        }
    }
}
