//! WebSocket URIs (RFC 6455 §3, RFC 3986).
//!
//! ```text
//!   wss://[::1]:9001/chat?room=1
//!         |--------|                authority, as the Host field has it
//!          |-|  |--|                host, port
//!                  |-----------|    resource
//! ```

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

/// Where a WebSocket server is: a parsed `ws:` or `wss:` URI. Its host is in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebSocketUri {
    secure: bool,
    host: Box<str>,
    port: u16,
    resource: Box<str>,
}

impl WebSocketUri {
    /// Parses a URI such as `wss://example.com/chat?room=1`.
    ///
    /// # Errors
    /// [`UriError`] says what is wrong. Nothing is repaired: a space, or a character outside ASCII, has to
    /// be percent-encoded (in the path and the query) or in punycode (in the host).
    pub fn parse(uri: &str) -> Result<Self, UriError> {
        if let Some((at, found)) = uri.char_indices().find(|(_, found)| !found.is_ascii_graphic()) {
            return Err(UriError::Character { at, found });
        }
        let (secure, start) = match uri.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("ws") => (false, 5),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("wss") => (true, 6),
            _ => return Err(UriError::Scheme),
        };
        let end = uri[start..].find(['/', '?', '#']).map_or(uri.len(), |length| start + length);
        let (host, port) = split_authority(&uri[start..end]).map_err(|error| error.shifted(start))?;
        let resource = checked_resource(&uri[end..]).map_err(|error| error.shifted(end))?;
        Ok(Self {
            secure,
            host: host.trim_matches(['[', ']']).to_ascii_lowercase().into(),
            port: port.unwrap_or_else(|| default_port(secure)),
            resource,
        })
    }

    /// Whether the scheme is `wss`: the connection runs over TLS.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host to connect to: a name, an IPv4 address, or an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to: 80 or 443 (RFC 6455 §3) if the URI names none.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The value of the Host field: the host, an IPv6 address in brackets, with the port if it is not the
    /// default one (RFC 6455 §4.1).
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { (*self.host).into() };
        if self.port == default_port(self.secure) { host } else { format!("{host}:{}", self.port) }
    }

    /// Path and query: the target of the request.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }
}

impl FromStr for WebSocketUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        Self::parse(uri)
    }
}

impl fmt::Display for WebSocketUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority(), self.resource)
    }
}

/// Why a text is not the URI of a WebSocket server. Places are counted in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UriError {
    /// It does not begin with `ws://` or `wss://`.
    Scheme,
    /// There is a user name or password before the host.
    UserInfo,
    /// The host is empty, or in brackets but not an IPv6 address.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// RFC 6455 §3: "Fragment identifiers are meaningless in the context of WebSocket URIs".
    Fragment,
    /// A `ws+unix://` without the absolute path of a socket, or with a resource that does not begin with `/`.
    SocketPath,
    /// A `%` without two hexadecimal digits behind it.
    Percent {
        /// Where the `%` stands.
        at: usize,
    },
    /// A character that may not stand where it does (RFC 3986 §2).
    Character {
        /// Where it stands.
        at: usize,
        /// The character.
        found: char,
    },
}

impl UriError {
    /// The same, found in a part that starts at `start`.
    const fn shifted(self, start: usize) -> Self {
        match self {
            Self::Percent { at } => Self::Percent { at: start + at },
            Self::Character { at, found } => Self::Character { at: start + at, found },
            other => other,
        }
    }
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("URI does not begin with ws:// or wss://"),
            Self::UserInfo => f.write_str(
                "URI has a user name or password before the host: put credentials into an Authorization field",
            ),
            Self::Host => f.write_str("host is empty, or in brackets but not an IPv6 address"),
            Self::Port => f.write_str("port is not a number from 1 to 65535"),
            Self::Fragment => f.write_str("URI has a fragment: leave it out, or write # as %23"),
            Self::SocketPath => f.write_str(
                "no absolute path of a socket, or no path of a resource behind its colon: write \
                 ws+unix:///run/chat.sock:/resource",
            ),
            Self::Percent { at } => {
                write!(f, "% at byte {at} has no two hexadecimal digits behind it: write % as %25")
            }
            Self::Character { at, found } => write!(
                f,
                "{found:?} at byte {at} may not stand there: use percent-encoding in path and query, \
                 punycode in the host"
            ),
        }
    }
}

impl core::error::Error for UriError {}

/// Splits `host[:port]` and checks both (RFC 3986 §3.2); brackets stay on.
pub(super) fn split_authority(authority: &str) -> Result<(&str, Option<u16>), UriError> {
    if authority.as_bytes().contains(&b'@') {
        return Err(UriError::UserInfo);
    }
    let find = |wanted| authority.bytes().position(|byte| byte == wanted);
    let bracket = if authority.starts_with('[') { find(b']') } else { None };
    let host_end = match bracket {
        Some(bracket) => bracket + 1,
        None => find(b':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').ok_or(UriError::Host)?;
        Ipv6Addr::from_str(address).map_err(|_| UriError::Host)?;
    } else if host.is_empty() {
        return Err(UriError::Host);
    } else {
        // RFC 3986 §3.2.2 also allows percent-encoded names; resolvers do not know them.
        check_characters(host, |byte| is_unreserved(byte) || is_sub_delim(byte))?;
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return Err(UriError::Host),
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|&port| port != 0).ok_or(UriError::Port)?)
        }
        Some(_) => return Err(UriError::Port),
    };
    Ok((host, port))
}

/// A path, which may be empty, with or without a query, as the target of a request (RFC 3986 §3.3, §3.4).
pub(super) fn checked_resource(resource: &str) -> Result<Box<str>, UriError> {
    // RFC 6455 §3: "Fragment identifiers [...] MUST NOT be used on these URIs."
    if resource.contains('#') {
        return Err(UriError::Fragment);
    }
    let allowed = |byte| is_unreserved(byte) || is_sub_delim(byte) || b":@/?%".contains(&byte);
    check_characters(resource, allowed)?;
    let escaped = |at: usize| {
        let digits = resource.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if let Some((at, _)) = resource.match_indices('%').find(|&(at, _)| !escaped(at)) {
        return Err(UriError::Percent { at });
    }
    // RFC 6455 §3: the resource name has a "?" only "if the query component is non-empty".
    let resource = resource.strip_suffix('?').filter(|path| !path.contains('?')).unwrap_or(resource);
    match resource.chars().next() {
        Some('/') => Ok(resource.into()),
        // RFC 6455 §3: the resource name has "/" if the path component is empty.
        None | Some('?') => Ok(format!("/{resource}").into()),
        Some(found) => Err(UriError::Character { at: 0, found }),
    }
}

fn check_characters(text: &str, allowed: impl Fn(u8) -> bool) -> Result<(), UriError> {
    match text.char_indices().find(|(_, found)| !u8::try_from(*found).is_ok_and(&allowed)) {
        Some((at, found)) => Err(UriError::Character { at, found }),
        None => Ok(()),
    }
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 §2.2.
const fn is_sub_delim(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

const fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn s3_what_a_uri_says() {
        for (uri, secure, host, port, authority, resource) in [
            ("ws://example.com", false, "example.com", 80, "example.com", "/"),
            ("wss://example.com", true, "example.com", 443, "example.com", "/"),
            ("WsS://EXAMPLE.com/A", true, "example.com", 443, "example.com", "/A"),
            ("ws://a:80/", false, "a", 80, "a", "/"),
            ("ws://a:443/", false, "a", 443, "a:443", "/"),
            ("wss://a:80/", true, "a", 80, "a:80", "/"),
            ("wss://a:443/", true, "a", 443, "a", "/"),
            ("ws://a:/", false, "a", 80, "a", "/"),
            ("ws://a:0080/", false, "a", 80, "a", "/"),
            ("ws://a:65535", false, "a", 65535, "a:65535", "/"),
            ("ws://a?b=c", false, "a", 80, "a", "/?b=c"),
            ("ws://a:9001?b", false, "a", 9001, "a:9001", "/?b"),
            ("ws://a/b/../c?d=e&f=%23?/", false, "a", 80, "a", "/b/../c?d=e&f=%23?/"),
            ("ws://a//b", false, "a", 80, "a", "//b"),
            ("ws://a/@b:c", false, "a", 80, "a", "/@b:c"),
            ("ws://127.0.0.1:8080/x", false, "127.0.0.1", 8080, "127.0.0.1:8080", "/x"),
            ("ws://[::1]", false, "::1", 80, "[::1]", "/"),
            ("wss://[2001:DB8::1]:9001/x", true, "2001:db8::1", 9001, "[2001:db8::1]:9001", "/x"),
            ("ws://a_b.~c-d!$&'()*+,;=/", false, "a_b.~c-d!$&'()*+,;=", 80, "a_b.~c-d!$&'()*+,;=", "/"),
            ("ws://xn--bcher-kva.example/", false, "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/"),
        ] {
            let parsed = WebSocketUri::parse(uri).unwrap_or_else(|error| panic!("{uri}: {error}"));
            assert_eq!(parsed.is_secure(), secure, "{uri}");
            assert_eq!(parsed.host(), host, "{uri}");
            assert_eq!(parsed.port(), port, "{uri}");
            assert_eq!(parsed.authority(), authority, "{uri}");
            assert_eq!(parsed.resource(), resource, "{uri}");
            assert_eq!(parsed.to_string().parse().as_ref(), Ok(&parsed), "{uri}");
        }
    }

    #[test]
    fn s3_what_is_no_uri() {
        use UriError::{Fragment, Host, Percent, Port, Scheme, UserInfo};
        let character = |at, found| UriError::Character { at, found };
        for (uri, error) in [
            ("", Scheme),
            ("ws", Scheme),
            ("ws:", Scheme),
            ("ws:/a", Scheme),
            ("ws:a", Scheme),
            ("://a", Scheme),
            ("http://a/", Scheme),
            ("https://a/", Scheme),
            ("wsss://a/", Scheme),
            ("a/ws://b", Scheme),
            ("ws://", Host),
            ("ws:///a", Host),
            ("ws://:80", Host),
            ("ws://?a", Host),
            ("ws://[::1", Host),
            ("ws://[::1]a", Host),
            ("ws://[]", Host),
            ("ws://[1]", Host),
            ("ws://[v1.a]", Host),
            ("ws://[fe80::1%25eth0]/", Host),
            ("ws://[::1]]/", Host),
            ("ws://::1/", Host),
            ("ws://a]/", character(6, ']')),
            ("ws://a[/", character(6, '[')),
            ("ws://a:b", Port),
            ("ws://a:0", Port),
            ("ws://a:00", Port),
            ("ws://a:65536", Port),
            ("ws://a:+80", Port),
            ("ws://a:-1", Port),
            ("ws://a:80:80", Port),
            ("ws://a:99999999999999999999", Port),
            ("ws://user@a", UserInfo),
            ("ws://user:pw@a:1/", UserInfo),
            ("ws://@a", UserInfo),
            ("ws://a#", Fragment),
            ("ws://a/#b", Fragment),
            ("ws://a/?b#c", Fragment),
            ("ws://a/%", Percent { at: 7 }),
            ("ws://a/%2", Percent { at: 7 }),
            ("ws://a/%20%2G", Percent { at: 10 }),
            ("ws://a/?%zz", Percent { at: 8 }),
            ("ws://a%41/", character(6, '%')),
            (" ws://a", character(0, ' ')),
            ("ws://a b", character(6, ' ')),
            ("ws://a/\r\nb", character(7, '\r')),
            ("ws://a/\0", character(7, '\0')),
            ("ws://a/\x7f", character(7, '\x7f')),
            ("ws://bücher/", character(6, 'ü')),
            ("ws://a/ü", character(7, 'ü')),
            ("ws://a\\b/", character(6, '\\')),
            ("ws://a/\\", character(7, '\\')),
            ("ws://a/b|c", character(8, '|')),
            ("ws://a/?\"", character(8, '"')),
            ("ws://a/[", character(7, '[')),
        ] {
            assert_eq!(WebSocketUri::parse(uri), Err(error), "{uri}");
            assert!(error.to_string().len() > 30);
        }
    }

    #[test]
    fn junk_never_panics() {
        let parts =
            ["ws://", "wss://", "[", "]", ":", "/", "?", "#", "%", "%41", "@", "a", "::1", "80", "ü", " "];
        let mut seed = 1_u32;
        for _ in 0..20_000 {
            let mut uri = String::new();
            for _ in 0..8 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                uri.push_str(parts[(seed >> 28) as usize]);
            }
            if let Ok(parsed) = WebSocketUri::parse(&uri) {
                assert_eq!(parsed.to_string().parse(), Ok(parsed), "{uri}");
            }
        }
    }
}
