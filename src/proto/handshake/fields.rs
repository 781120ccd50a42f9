//! What a head says: header fields, requests and responses. Only what the rules of RFC 6455 need.

#![forbid(unsafe_code)]

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

/// The header fields of a request or response, in the order in which they came.
///
/// Names are compared without regard to case. Values have no spaces around them; they are bytes, since
/// HTTP does not say which characters those above 127 stand for (RFC 9110 §5.5).
#[derive(Clone, Default)]
pub struct Fields {
    /// For each field how long its name is, how long its value is, and both.
    bytes: Vec<u8>,
    count: usize,
}

impl Fields {
    /// With room for so many fields, and for the bytes of their names and values.
    pub(super) fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes + fields * 2 * LENGTH), count: 0 }
    }

    pub(super) fn push(&mut self, name: &str, value: &[u8]) {
        let value = trim(value);
        self.bytes.extend_from_slice(&name.len().to_ne_bytes());
        self.bytes.extend_from_slice(&value.len().to_ne_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(value);
        self.count += 1;
    }

    /// The value of the first field of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The value of the first field of that name, if it is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| core::str::from_utf8(value).ok())
    }

    /// The values of all fields of that name.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let named = move |field: &(&[u8], &[u8])| is(field.0, name);
        self.pairs().filter(named).map(|field| field.1)
    }

    /// The elements of the comma-separated lists in all fields of that name, without the spaces around
    /// them; empty ones are skipped (RFC 9110 §5.6.1). Quotes mean nothing here.
    pub fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(elements)
    }

    /// Names and values of all fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.pairs().map(|(name, value)| (core::str::from_utf8(name).unwrap_or_default(), value))
    }

    /// How many fields there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a list has this element, in any case.
    pub(super) fn names(&self, name: &str, element: &str) -> bool {
        self.all(name).any(|value| lists(value, element))
    }

    pub(super) fn pairs(&self) -> Pairs<'_> {
        Pairs(&self.bytes)
    }
}

/// Names and values.
pub(super) struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.split_first_chunk()?;
        let (value, rest) = rest.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(usize::from_ne_bytes(*name))?;
        let (value, rest) = rest.split_at_checked(usize::from_ne_bytes(*value))?;
        self.0 = rest;
        Some((name, value))
    }
}

/// How many bytes say how long something is.
const LENGTH: usize = size_of::<usize>();

/// Names and values, in this order. Spaces around values are left out.
impl<'a> FromIterator<(&'a str, &'a [u8])> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(pairs: I) -> Self {
        let mut fields = Self::default();
        pairs.into_iter().for_each(|(name, value)| fields.push(name, value));
        fields
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Cookies and credentials stay out of logs.
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// The request that asks for a WebSocket (RFC 6455 §4.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub(super) method: Cow<'static, str>,
    pub(super) target: Box<str>,
    pub(super) fields: Fields,
}

/// How a request asks for a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// In HTTP/1.1: GET with an Upgrade field, answered with 101 (RFC 6455 §4).
    Upgrade,
    /// In HTTP/2 and HTTP/3: CONNECT with `:protocol`, answered with 200 (RFC 8441 §4, RFC 9220 §3).
    ExtendedConnect,
}

impl Request {
    /// A request that another HTTP implementation has parsed, for [`Parsed::check`](super::Parsed::check). In HTTP/2
    /// the target is the whole URI, and what `:authority` says stands in the field Host.
    #[must_use]
    pub fn new(method: &str, target: &str, fields: Fields) -> Self {
        // The one that nearly all have takes no memory.
        let method = if method == "GET" { Cow::Borrowed("GET") } else { Cow::Owned(method.into()) };
        Self { method, target: target.into(), fields }
    }

    /// The method: `GET`; in HTTP/2, `CONNECT`.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The request target as it came: in origin form (`/chat?room=1`), or in absolute form
    /// (`http://example.com/chat?room=1`). See [`resource`](Self::resource).
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Path and query, in whichever form the target came.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.split_target().map_or("/", |(_, resource)| resource)
    }

    /// The value of the Host field: the name, and the port if it is not the default one. A target in
    /// absolute form names the same host. It is what the client says; never connect to it.
    #[must_use]
    pub fn host(&self) -> &str {
        self.fields.text("Host").unwrap_or_default()
    }

    /// The value of the Origin field: which site's page opens the connection. Browsers always send it, and
    /// nothing but comparing it keeps other sites' pages out (RFC 6455 §10.2). `None` says that the client
    /// is no browser, not who it is.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.fields.text("Origin")
    }

    /// The subprotocols that the client offers, those it would rather have first (RFC 6455 §4.2.1).
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.fields.list("Sec-WebSocket-Protocol").filter_map(|name| core::str::from_utf8(name).ok())
    }

    /// All header fields.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The host, if the target is in absolute form, and the resource; `None` for other forms
    /// (RFC 9112 §3.2).
    pub(super) fn split_target(&self) -> Option<(Option<&str>, &str)> {
        if self.target.starts_with('/') {
            return Some((None, &self.target));
        }
        let (scheme, rest) = self.target.split_once("://")?;
        if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return None;
        }
        match rest.find('/') {
            Some(at) => Some((Some(&rest[..at]), &rest[at..])),
            None => Some((Some(rest), "/")),
        }
    }
}

/// A server's answer (RFC 6455 §4.2.2): the 101 that opens the connection, or one that refuses.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    pub(super) status: u16,
    pub(super) reason: Box<str>,
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
    pub(super) body_is_whole: bool,
}

impl Response {
    /// An answer without a body.
    pub(super) fn without_body(status: u16, reason: &str, fields: Fields) -> Self {
        Self { status, reason: reason.into(), fields, body: Vec::new(), body_is_whole: true }
    }

    /// An answer in HTTP/2, which has no reason phrase.
    #[cfg(feature = "http2")]
    pub(crate) fn new(status: u16, fields: Fields, body: Vec<u8>, body_is_whole: bool) -> Self {
        Self { status, reason: "".into(), fields, body, body_is_whole }
    }

    /// The status code, 100 to 999.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase, which may be empty.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// All header fields.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The body without its transfer coding; a 101 has none.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the body is all that the server had to say: not cut at
    /// [`HandshakeLimits::max_body`](super::super::HandshakeLimits::max_body), not ended early by the
    /// transport, a deadline or a broken chunk.
    #[must_use]
    pub const fn body_is_whole(&self) -> bool {
        self.body_is_whole
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads stay out of logs.
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("reason", &self.reason)
            .field("fields", &self.fields)
            .field("body", &self.body.len())
            .field("body_is_whole", &self.body_is_whole)
            .finish()
    }
}

/// The elements of a list, without the spaces around them; empty ones are skipped.
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Whether a list has this element, in any case.
pub(super) fn lists(list: &[u8], element: &str) -> bool {
    // Most lists are of one, which is written as the RFCs do.
    list == element.as_bytes() || elements(list).any(|found| is(found, element))
}

/// Whether a name is this one, in any case.
#[inline]
pub(super) fn is(name: &[u8], known: &str) -> bool {
    // Nearly all write it as the RFCs do, which is found out at once.
    name == known.as_bytes() || name.eq_ignore_ascii_case(known.as_bytes())
}

/// Without the optional white space of RFC 9110 §5.6.3 at both ends.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether this is a token (RFC 9110 §5.6.2): a name in HTTP's sense.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Whether a token may hold this byte.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        || byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        list.iter().for_each(|(name, value)| fields.push(name, value.as_bytes()));
        fields
    }

    fn request(target: &str) -> Request {
        Request { method: "GET".into(), target: target.into(), fields: Fields::default() }
    }

    #[test]
    fn names_have_no_case_and_values_no_spaces_around() {
        let fields =
            fields(&[("Host", " \t a b \t"), ("X", ""), ("hOST", "c"), ("Hos", "t"), ("Empty", " ")]);
        assert_eq!(fields.get("host"), Some(&b"a b"[..]));
        assert_eq!(fields.text("HOST"), Some("a b"));
        assert_eq!(fields.get("x"), Some(&b""[..]));
        assert_eq!(fields.get("Empty"), Some(&b""[..]));
        assert_eq!(fields.get("y"), None);
        assert_eq!(fields.all("Host").collect::<Vec<_>>(), [&b"a b"[..], b"c"]);
        assert_eq!(
            fields.iter().map(|field| field.0).collect::<Vec<_>>(),
            ["Host", "X", "hOST", "Hos", "Empty"]
        );
        assert_eq!((fields.len(), fields.is_empty(), Fields::default().is_empty()), (5, false, true));
    }

    #[test]
    fn a_value_outlives_the_name_it_was_asked_by() {
        let fields = fields(&[("A", "1")]);
        let value = {
            let name = String::from("a");
            fields.all(&name).next()
        };
        assert_eq!(value, Some(&b"1"[..]));
    }

    #[test]
    fn values_that_are_not_text_are_no_text() {
        let mut fields = Fields::default();
        fields.push("A", b"\xFF");
        assert_eq!((fields.get("A"), fields.text("A")), (Some(&b"\xFF"[..]), None));
    }

    #[test]
    fn lists_run_over_all_fields_of_a_name() {
        let fields = fields(&[("L", "a, b\t,,c"), ("M", "x"), ("l", " , ,"), ("L", "d")]);
        assert_eq!(fields.list("L").collect::<Vec<_>>(), [&b"a"[..], b"b", b"c", b"d"]);
        assert!(fields.names("l", "B") && !fields.names("l", "x") && !fields.names("none", "a"));
    }

    #[test]
    fn fields_are_equal_by_names_and_values() {
        assert_eq!(fields(&[("A", "b ")]), fields(&[("A", " b")]));
        assert_ne!(fields(&[("A", "bc")]), fields(&[("Ab", "c")]));
        assert_ne!(fields(&[("A", "b")]), Fields::default());
    }

    #[test]
    fn debug_keeps_values_to_itself() {
        let fields = fields(&[("Cookie", "secret")]);
        assert_eq!(format!("{fields:?}"), "[\"Cookie\"]");
        let response = Response {
            status: 401,
            reason: "No".into(),
            fields,
            body: b"secret".to_vec(),
            body_is_whole: true,
        };
        assert!(!format!("{response:?}").contains("secret"));
    }

    #[test]
    fn s4_2_1_targets_in_origin_and_absolute_form() {
        for (target, split) in [
            ("/", Some((None, "/"))),
            ("/a?b=http://c/", Some((None, "/a?b=http://c/"))),
            ("//a/b", Some((None, "//a/b"))),
            ("http://a/b?c", Some((Some("a"), "/b?c"))),
            ("WSS://a:1", Some((Some("a:1"), "/"))),
            ("http://a?b", Some((Some("a?b"), "/"))),
            ("ftp://a/", None),
            ("*", None),
            ("a:443", None),
            ("", None),
        ] {
            assert_eq!(request(target).split_target(), split, "{target}");
        }
        assert_eq!(request("http://a/b?c").resource(), "/b?c");
    }

    #[test]
    fn a_token_is_what_rfc_9110_says() {
        let allowed = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        for byte in 0..=255 {
            assert_eq!(is_token_byte(byte), allowed.contains(&byte), "{byte}");
        }
        assert!(is_token(b"chat.v2") && !is_token(b"") && !is_token(b"a b"));
    }
}
