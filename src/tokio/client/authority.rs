//! Credentials in URIs: `user:password@` before a host, as Basic authentication.

#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl Credentials {
    /// The value of Authorization, or Proxy-Authorization (RFC 7617). `None` for a user name with a colon, which it
    /// cannot say (§2), and for control characters.
    pub(super) fn basic(&self) -> Option<String> {
        let control = |text: &str| text.chars().any(char::is_control);
        if self.user.contains(':') || control(&self.user) || control(&self.password) {
            return None;
        }
        Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password))))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The URI without what stands before the `@` of its authority, and that; `Err` if it cannot be decoded.
pub(super) fn take_credentials(uri: &str) -> Result<(String, Option<Credentials>), ()> {
    let start = uri.find("://").map_or(0, |at| at + 3);
    let end = uri[start..].find(['/', '?', '#']).map_or(uri.len(), |length| start + length);
    // RFC 3986 §3.2.1: an @ in the user information is percent-encoded.
    let Some((before, host)) = uri[start..end].split_once('@') else { return Ok((uri.into(), None)) };
    let (user, password) = before.split_once(':').unwrap_or((before, ""));
    let credentials = Credentials { user: decoded(user).ok_or(())?, password: decoded(password).ok_or(())? };
    let rest = format!("{}{host}{}", &uri[..start], &uri[end..]);
    Ok((rest, (!before.is_empty()).then_some(credentials)))
}

/// RFC 3986 §2.1. `None` if a `%` has no two digits behind it, or the bytes are not UTF-8.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || (bytes.next()? as char).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_decoded_and_taken_out() {
        let taken = |uri| {
            let (rest, credentials) = take_credentials(uri).unwrap();
            (rest, credentials.map(|found| (found.user, found.password)))
        };
        let some = |user: &str, password: &str| Some((user.into(), password.into()));
        for (uri, rest, expected) in [
            ("ws://a/b@c", "ws://a/b@c", None),
            ("ws://u:p@a:1/b", "ws://a:1/b", some("u", "p")),
            ("ws://u@a", "ws://a", some("u", "")),
            ("ws://@a", "ws://a", None),
            ("ws://:p@a", "ws://a", some("", "p")),
            ("ws://u%40x:p%3Aq%25:r@a?b", "ws://a?b", some("u@x", "p:q%:r")),
            ("ws://%E2%82%AC:%c3%a9@[::1]:1", "ws://[::1]:1", some("€", "é")),
        ] {
            assert_eq!(taken(uri), (rest.into(), expected), "{uri}");
        }
        for uri in ["ws://%@a", "ws://%4@a", "ws://%zz@a", "ws://%ff@a", "ws://u:%+1@a"] {
            assert_eq!(take_credentials(uri), Err(()), "{uri}");
        }
    }

    #[test]
    fn basic_authentication_is_that_of_the_rfc() {
        let basic =
            |user: &str, password: &str| Credentials { user: user.into(), password: password.into() }.basic();
        assert_eq!(basic("Aladdin", "open sesame").unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic("test", "123\u{a3}").unwrap(), "Basic dGVzdDoxMjPCow==");
        assert_eq!(basic("a:b", "c"), None);
        assert_eq!(basic("a", "c\n"), None);
    }
}
