//! The oracle of `uri`: what is taken is written again as the same URI, nothing of it can break out of a request, and
//! an error tells a place that deserves it.

use std::str;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Buf;
use taut::proto::handshake::{ClientHandshake, ClientRequest, UriError, WebSocketUri};

use crate::script::{Piece, Script};

/// What may be a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The bytes; a line is a part of a URI or what looks like one.
    pub script: Script,
}

impl Input {
    /// The bytes that mean this input.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.script.encode(&mut out);
        out
    }
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self { script: Script::arbitrary(bytes)? })
    }
}

/// Parses it, and looks at what came out.
///
/// # Panics
/// If that is not as it must be.
pub fn check(input: &Input) {
    let wire = input.script.wire(MAX_URI, |number| PARTS[usize::from(number) % PARTS.len()].into());
    let Ok(text) = str::from_utf8(&wire.bytes) else { return };
    match WebSocketUri::parse(text) {
        Ok(uri) => check_uri(text, &uri),
        Err(error) => check_error(text, error),
    }
}

fn check_uri(text: &str, uri: &WebSocketUri) {
    assert_eq!(WebSocketUri::parse(&uri.to_string()).as_ref(), Ok(uri), "written and read again");
    assert_eq!(text.to_ascii_lowercase().starts_with("wss:"), uri.is_secure());
    assert!(!text.contains('#'), "RFC 6455 §3: no fragment");
    assert!(!uri.host().is_empty() && uri.port() > 0);
    assert!(!uri.host().contains(['/', '?', '#', '@', '[', ']']), "{}", uri.host());
    assert_eq!(uri.host(), uri.host().to_ascii_lowercase());
    let after = &text[text.find("://").expect("a scheme") + 3..];
    let resource = after.find(['/', '?']).map_or("", |at| &after[at..]);
    // RFC 6455 §3: "?" only "if the query component is non-empty".
    let resource = match resource.split_once('?') {
        Some((path, "")) => path,
        _ => resource,
    };
    assert_eq!(uri.resource().trim_start_matches('/'), resource.trim_start_matches('/'), "as it was written");
    assert!(uri.resource().starts_with('/'));
    let percents = uri.resource().match_indices('%');
    for (at, _) in percents {
        let digits = uri.resource().as_bytes().get(at + 1..at + 3).expect("two digits");
        assert!(digits.iter().all(u8::is_ascii_hexdigit));
    }
    let mut handshake = ClientHandshake::new(&ClientRequest::from_uri(uri), [0; 16]);
    let output = handshake.output();
    let request = output.copy_to_bytes(output.remaining());
    let request = str::from_utf8(&request).expect("a request is ASCII");
    let mut lines = request.split("\r\n");
    assert_eq!(lines.next(), Some(&*format!("GET {} HTTP/1.1", uri.resource())));
    let host = format!("Host: {}", uri.authority());
    assert_eq!(
        lines.filter(|line| line.to_ascii_lowercase().starts_with("host:")).collect::<Vec<_>>(),
        [host]
    );
}

fn check_error(text: &str, error: UriError) {
    match error {
        UriError::Scheme => {
            let lower = text.to_ascii_lowercase();
            assert!(!lower.starts_with("ws://") && !lower.starts_with("wss://"), "it begins as one");
        }
        UriError::UserInfo => assert!(text.contains('@')),
        UriError::Fragment => assert!(text.contains('#')),
        UriError::Percent { at } => assert_eq!(text.as_bytes()[at], b'%'),
        UriError::Character { at, found } => assert!(text[at..].starts_with(found)),
        UriError::SocketPath => panic!("there is no socket in a `ws` URI"),
        _ => {}
    }
}

/// The longest URI.
const MAX_URI: usize = 8 << 10;

/// Parts of URIs, and what looks like them.
const PARTS: [&str; 33] = [
    "ws://",
    "wss://",
    "WS://",
    "http://",
    "ws+unix://",
    "example.com",
    "EXAMPLE.com",
    "127.0.0.1",
    "[::1]",
    "[::ffff:1.2.3.4]",
    "[fe80::1%25eth0]",
    "[v1.a]",
    "xn--bcher-kva.example",
    ":80",
    ":443",
    ":0",
    ":65536",
    ":",
    ":+80",
    "user:password@",
    "@",
    "/",
    "/chat",
    "?room=1",
    "#top",
    "%20",
    "%2",
    "%zz",
    "/../.",
    "[",
    "]",
    "\r\nX: y",
    "?",
];

/// Every seed, with the name of its file.
#[must_use]
pub fn seeds() -> Vec<(String, Input)> {
    let mut seeds: Vec<_> = [
        ("plain", &[0, 5, 21][..]),
        ("secure", &[1, 5, 22, 23]),
        ("upper-case", &[2, 6, 22]),
        ("default-port", &[1, 5, 14, 22]),
        ("other-port", &[1, 5, 13, 22]),
        ("ipv4", &[0, 7, 14]),
        ("ipv6", &[0, 8, 13, 22]),
        ("ipv6-mapped", &[0, 9]),
        ("query-alone", &[0, 5, 23]),
        ("query-empty", &[0, 5, 22, 32]),
        ("punycode", &[0, 12, 22]),
        ("percent", &[0, 5, 22, 25]),
        ("dots", &[0, 5, 28]),
    ]
    .map(|(name, parts)| (name.to_owned(), parts.iter().copied().map(Piece::Line).collect::<Vec<_>>()))
    .into();
    for number in [3, 4, 10, 11, 15, 16, 17, 18, 19, 20, 24, 26, 27, 29, 30, 31] {
        let before = [Piece::Line(0), Piece::Line(number), Piece::Line(5), Piece::Line(22)];
        let behind = [Piece::Line(0), Piece::Line(5), Piece::Line(number), Piece::Line(22)];
        seeds.push((format!("part-{number}-before-the-host"), before.into()));
        seeds.push((format!("part-{number}-behind-the-host"), behind.into()));
    }
    seeds.into_iter().map(|(name, pieces)| (name, Input { script: Script::new(pieces) })).collect()
}
