//! Heads of requests and responses: where they end, what they say, and the lines that callers add to ours.

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::mem::MaybeUninit;

use bytes::BytesMut;
use httparse::ParserConfig;

use super::super::config::{Config, HandshakeLimits};
use super::error::{BuildError, HandshakeError};
use super::fields::{Fields, Request, Response, is_token};

/// Finds the end of a head in bytes that come piece by piece. Looks at each byte once, and fails at the
/// first byte that no head has.
#[derive(Debug)]
pub(super) struct Scanner {
    max_head: usize,
    max_fields: usize,
    /// Bytes of the heads before this one.
    before: usize,
    /// How many bytes of this one it has seen.
    at: usize,
    /// How many lines have begun, the first one excepted.
    fields: usize,
    place: Place,
}

/// How many bytes are in front of the first control character. A tab is one, though it may stand in a line.
fn plain(line: &[u8]) -> usize {
    let (runs, rest) = line.as_chunks();
    for (index, run) in runs.iter().enumerate() {
        let controls = controls(u64::from_le_bytes(*run));
        if controls != 0 {
            return index * RUN + controls.trailing_zeros() as usize / 8;
        }
    }
    let plain = rest.iter().take_while(|byte| matches!(byte, b' '..=b'~' | 0x80..)).count();
    runs.len() * RUN + plain
}

/// The high bit of the first byte that is a control character, and perhaps some behind it; nothing if there is none.
const fn controls(run: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // A byte below the subtrahend borrows into its high bit; one that had the bit is no such byte. It borrows from
    // the next byte too.
    let below_space = run.wrapping_sub(ONES * 0x20) & !run;
    let delete = run ^ (ONES * 0x7F);
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below_space | is_delete) & HIGH
}

/// How many bytes of a line are looked at together.
const RUN: usize = 8;

/// Where in a head the next byte stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    Start,
    InLine,
    AfterCr,
    AtLine,
    AfterLastCr,
}

impl Scanner {
    pub(super) const fn new(limits: HandshakeLimits) -> Self {
        let HandshakeLimits { max_head, max_fields, .. } = limits;
        Self { max_head, max_fields, before: 0, at: 0, fields: 0, place: Place::Start }
    }

    /// Scans the bytes of `input` that came since the last call. The length of the head once it is whole.
    pub(super) fn scan(&mut self, input: &[u8]) -> Result<Option<usize>, HandshakeError> {
        let limit = self.max_head - self.before;
        // A caller that takes bytes back is waited for.
        let mut rest = input.get(self.at..input.len().min(limit)).unwrap_or_default();
        loop {
            if let Place::InLine = self.place {
                let plain = plain(rest);
                self.at += plain;
                rest = &rest[plain..];
            }
            let Some((&byte, after)) = rest.split_first() else { break };
            rest = after;
            self.place = match (self.place, byte) {
                (Place::InLine, b'\r') => Place::AfterCr,
                (Place::AfterCr, b'\n') => Place::AtLine,
                (Place::AtLine, b'\r') => Place::AfterLastCr,
                (Place::AfterLastCr, b'\n') => return Ok(Some(self.at + 1)),
                (Place::Start | Place::InLine, b'\t' | b' '..=b'~' | 0x80..) => Place::InLine,
                (Place::AtLine, b'\t' | b' '..=b'~' | 0x80..) => {
                    self.fields += 1;
                    if self.fields > self.max_fields {
                        return Err(HandshakeError::TooManyFields { max: self.max_fields });
                    }
                    Place::InLine
                }
                _ => return Err(HandshakeError::ForbiddenByte { byte, at: self.at }),
            };
            self.at += 1;
        }
        if self.at == limit {
            return Err(HandshakeError::HeadTooLong { max: self.max_head });
        }
        Ok(None)
    }

    /// More bytes are needed for a head: an error if none will come.
    pub(super) const fn wait(&self, input: &[u8], eof: bool) -> Result<(), HandshakeError> {
        if eof {
            return Err(HandshakeError::UnexpectedEof { received: self.before + input.len() });
        }
        Ok(())
    }

    /// Starts over for the head that follows one of `length` bytes; the limit is for both together.
    pub(super) const fn restart(&mut self, length: usize) {
        self.before += length;
        (self.at, self.fields, self.place) = (0, 0, Place::Start);
    }

    /// Parses the request of a head that came in one piece and is as nearly all are: it, whether it is HTTP/1.1, and the
    /// length of the head. None says nothing: the long way, by [`scan`](Self::scan), finds out.
    pub(super) fn parse_at_once(&self, input: &[u8]) -> Option<(Request, bool, usize)> {
        if self.at != 0 {
            return None;
        }
        let mut few = [const { MaybeUninit::uninit() }; FEW];
        let mut parsed = httparse::Request::new(&mut []);
        let Ok(httparse::Status::Complete(length)) = parsed.parse_with_uninit_headers(input, &mut few) else {
            return None;
        };
        let within_limits = length <= self.max_head && parsed.headers.len() <= self.max_fields;
        (within_limits && has_clean_lines(&input[..length])).then(|| {
            let (request, current) = request(&parsed);
            (request, current, length)
        })
    }

    /// Parses the request of a whole head: it, and whether it is HTTP/1.1.
    pub(super) fn parse_request(&self, head: &[u8]) -> Result<(Request, bool), HandshakeError> {
        let (mut few, mut many) = ([const { MaybeUninit::uninit() }; FEW], Vec::new());
        let mut parsed = httparse::Request::new(&mut []);
        whole(parsed.parse_with_uninit_headers(head, self.room(&mut few, &mut many)))?;
        Ok(request(&parsed))
    }

    /// Parses the response of a whole head, without its body: it, and whether it is HTTP/1.1.
    pub(super) fn parse_response(&self, head: &[u8]) -> Result<(Response, bool), HandshakeError> {
        let (mut few, mut many) = ([const { MaybeUninit::uninit() }; FEW], Vec::new());
        let mut parsed = httparse::Response::new(&mut []);
        let headers = self.room(&mut few, &mut many);
        whole(ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, headers))?;
        let response = Response {
            // RFC 9110 §15: codes outside 100 to 599 are invalid; 600 and above are in use nevertheless.
            status: parsed.code.filter(|&code| code >= 100).ok_or(HandshakeError::Malformed("status"))?,
            reason: parsed.reason.unwrap_or_default().into(),
            fields: fields(parsed.headers),
            body: Vec::new(),
            body_is_whole: true,
        };
        Ok((response, parsed.version == Some(1)))
    }

    /// Room for the fields of the head: on the stack, if they are few.
    fn room<'a, T>(
        &self,
        few: &'a mut [MaybeUninit<T>; FEW],
        many: &'a mut Vec<MaybeUninit<T>>,
    ) -> &'a mut [MaybeUninit<T>] {
        if self.fields <= FEW {
            return &mut few[..self.fields];
        }
        many.resize_with(self.fields, MaybeUninit::uninit);
        many
    }
}

/// As many fields as the request of a browser has, and some more.
const FEW: usize = 24;

fn whole(parsed: Result<httparse::Status<usize>, httparse::Error>) -> Result<(), HandshakeError> {
    match parsed {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Ok(httparse::Status::Partial) => Err(HandshakeError::Malformed("empty line")),
        Err(httparse::Error::Version) => Err(HandshakeError::HttpVersion),
        Err(httparse::Error::Status) => Err(HandshakeError::Malformed("status")),
        Err(httparse::Error::Token) => Err(HandshakeError::Malformed("request line")),
        Err(httparse::Error::HeaderName) => Err(HandshakeError::Malformed("field name")),
        Err(httparse::Error::HeaderValue) => Err(HandshakeError::Malformed("field value")),
        Err(httparse::Error::NewLine | httparse::Error::TooManyHeaders) => {
            Err(HandshakeError::Malformed("line break"))
        }
    }
}

/// Whether a head that httparse takes has no empty line in front, and CR LF at the end of each: it takes LF alone, too.
fn has_clean_lines(head: &[u8]) -> bool {
    // Without an early end, so that many bytes are looked at together.
    let bare = head
        .iter()
        .zip(head.iter().skip(1))
        .fold(false, |bare, (before, byte)| bare | ((*byte == b'\n') & (*before != b'\r')));
    !bare && !matches!(head, [b'\r' | b'\n', ..])
}

/// The request, and whether it is HTTP/1.1.
fn request(parsed: &httparse::Request<'_, '_>) -> (Request, bool) {
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    (Request::new(method, target, fields(parsed.headers)), parsed.version == Some(1))
}

fn fields(headers: &[httparse::Header<'_>]) -> Fields {
    let bytes = headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    let mut fields = Fields::with_capacity(headers.len(), bytes);
    for header in headers {
        fields.push(header.name, header.value);
    }
    fields
}

/// The value of a field that stands in a head exactly once.
pub(super) fn only<'a>(fields: &'a Fields, name: &'static str) -> Result<&'a [u8], HandshakeError> {
    Only::of(fields, name).only(name)
}

/// The value of a field that stands in a head once or not at all.
pub(super) fn at_most_one<'a>(
    fields: &'a Fields,
    name: &'static str,
) -> Result<Option<&'a [u8]>, HandshakeError> {
    Only::of(fields, name).at_most_one(name)
}

/// A field that may stand in a head once.
#[derive(Clone, Copy, Default)]
pub(super) struct Only<'a> {
    value: Option<&'a [u8]>,
    repeated: bool,
}

impl<'a> Only<'a> {
    fn of(fields: &'a Fields, name: &str) -> Self {
        let mut only = Self::default();
        fields.all(name).for_each(|value| only.note(value));
        only
    }

    pub(super) fn note(&mut self, value: &'a [u8]) {
        self.repeated = self.value.replace(value).is_some();
    }

    pub(super) fn only(self, name: &'static str) -> Result<&'a [u8], HandshakeError> {
        self.at_most_one(name)?.ok_or(HandshakeError::MissingField(name))
    }

    pub(super) const fn at_most_one(self, name: &'static str) -> Result<Option<&'a [u8]>, HandshakeError> {
        if self.repeated { Err(HandshakeError::RepeatedField(name)) } else { Ok(self.value) }
    }
}

/// The field that asks for, or agrees to, a change of protocol for this connection (RFC 6455 §4.1, §4.2.1).
pub(super) fn check_connection(fields: &Fields) -> Result<(), HandshakeError> {
    if fields.names("Connection", "Upgrade") { Ok(()) } else { Err(HandshakeError::Connection) }
}

/// Field lines that the caller adds to a head of ours, checked.
#[derive(Clone, Default)]
pub(super) struct FieldLines(Vec<u8>);

impl FieldLines {
    pub(super) fn push(&mut self, name: &str, value: &str) -> Result<(), BuildError> {
        if !is_token(name.as_bytes()) {
            return Err(BuildError::FieldName(name.into()));
        }
        if is_owned(name) {
            return Err(BuildError::OwnedField(name.into()));
        }
        // A line break in a value would let whoever chose it write fields, or a whole head, of its own.
        if let Some(at) = value.bytes().position(|byte| byte != b'\t' && byte.is_ascii_control()) {
            return Err(BuildError::FieldValue { name: name.into(), at });
        }
        self.push_owned((name, value));
        Ok(())
    }

    /// Adds a field of the handshake's own.
    pub(super) fn push_owned(&mut self, (name, value): (&str, &str)) {
        for part in [name, ": ", value, "\r\n"] {
            self.0.extend_from_slice(part.as_bytes());
        }
    }

    /// Names and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = core::str::from_utf8(&self.0).unwrap_or_default();
        text.split_terminator("\r\n").filter_map(|line| line.split_once(": "))
    }

    /// The lines, each with its CR LF.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn is_owned(name: &str) -> bool {
    const OWNED: [&str; 5] = ["Host", "Upgrade", "Connection", "Content-Length", "Transfer-Encoding"];
    const PREFIX: &[u8] = b"Sec-WebSocket-";
    OWNED.iter().any(|owned| name.eq_ignore_ascii_case(owned))
        || name.as_bytes().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// The input with room for the next read.
pub(super) fn with_room(input: &mut BytesMut) -> &mut BytesMut {
    if input.capacity() - input.len() < Config::LEAST_READ as usize {
        input.reserve(ROOM);
    }
    input
}

/// As much as the connection's first read gets by default: it takes over the buffer.
const ROOM: usize = Config::new().read_size as usize;

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use super::*;

    fn scanner(max_head: usize, max_fields: usize) -> Scanner {
        Scanner::new(HandshakeLimits::new().max_head(max_head).max_fields(max_fields))
    }

    /// Scans at every length of the input up to the end or the error: what came out, and how many bytes were seen.
    fn scan(mut scanner: Scanner, input: &[u8]) -> (Result<Option<usize>, HandshakeError>, usize) {
        for end in 0..input.len() {
            let result = scanner.scan(&input[..end]);
            if result != Ok(None) {
                return (result, end);
            }
        }
        (scanner.scan(input), input.len())
    }

    #[test]
    fn the_end_is_found_at_its_byte_and_what_follows_is_left() {
        let input = b"A b\r\nC: d\r\n\r\n\x81\x00";
        assert_eq!(scan(scanner(100, 100), input), (Ok(Some(13)), 13));
        assert_eq!(scanner(100, 100).scan(input), Ok(Some(13)));
        assert_eq!(scan(scanner(100, 100), b"A\r\n\r\n"), (Ok(Some(5)), 5));
        assert_eq!(scan(scanner(100, 100), b"A\r\n\r"), (Ok(None), 4));
    }

    #[test]
    fn a_line_is_plain_up_to_its_first_control_character() {
        for length in 0..3 * RUN {
            for place in 0..length {
                for byte in 0..=255 {
                    // Behind it another one, and bytes that a borrow may make look like one.
                    for others in [b' ', b'~', 0x80, 0xFF, b'\t'] {
                        let mut line = vec![b'a'; place];
                        line.resize(length, others);
                        line[place] = byte;
                        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | 0x80..);
                        assert_eq!(
                            plain(&line),
                            line.iter().take_while(|byte| is_plain(byte)).count(),
                            "{line:x?}"
                        );
                    }
                }
            }
            assert_eq!(plain(&vec![b' '; length]), length);
        }
    }

    #[test]
    fn each_byte_is_scanned_once() {
        // A scanner that went back would see the first bytes as they are now: forbidden ones.
        let mut input = b"GET / HTTP/1.1\r\nA: bcdefg\r\n\r\n".to_vec();
        let length = input.len();
        let mut scanner = scanner(100, 100);
        for end in 0..length {
            assert_eq!(scanner.scan(&input[..end]), Ok(None));
            assert_eq!(scanner.at, end);
            input[..end].fill(0);
        }
        assert_eq!(scanner.scan(&input), Ok(Some(length)));
    }

    #[test]
    fn bytes_that_no_head_has_fail_at_once() {
        for (input, at) in [
            (&b"\x16\x03\x01\x02\x00"[..], 0),
            (b"\r\nGET", 0),
            (b"\n", 0),
            (b"GET / HTTP/1.1\n", 14),
            (b"GET\rX", 4),
            (b"GET\r\r", 4),
            (b"GET\0", 3),
            (b"GET\x7f", 3),
            (b"G\r\nA: b\n", 7),
            (b"G\r\n\n", 3),
            (b"G\r\n\rX", 4),
            (b"G\r\n\x1b", 3),
        ] {
            let error = HandshakeError::ForbiddenByte { byte: input[at], at };
            assert_eq!(scan(scanner(100, 100), input), (Err(error.clone()), at + 1), "{input:?}");
            assert_eq!(scanner(100, 100).scan(input), Err(error));
        }
        for byte in (b' '..=b'~').chain([b'\t', 0x80, 0xFF]) {
            assert_eq!(scanner(100, 100).scan(&[b'A', byte]), Ok(None), "{byte}");
        }
    }

    #[test]
    fn limits_hold_at_their_number() {
        let head = b"A\r\nB: c\r\nD: e\r\n\r\n";
        let length = head.len();
        assert_eq!(scan(scanner(length, 2), head), (Ok(Some(length)), length));
        let long = Err(HandshakeError::HeadTooLong { max: length - 1 });
        assert_eq!(scan(scanner(length - 1, 2), head), (long.clone(), length - 1));
        assert_eq!(scanner(length - 1, 2).scan(head), long);
        let many = Err(HandshakeError::TooManyFields { max: 1 });
        assert_eq!(scan(scanner(length, 1), head), (many.clone(), 10));
        assert_eq!(scanner(length, 1).scan(head), many);
        assert_eq!(scanner(100, 0).scan(b"A\r\n\r\n"), Ok(Some(5)));
        assert_eq!(scanner(0, 0).scan(b""), Err(HandshakeError::HeadTooLong { max: 0 }));
        assert_eq!(scanner(usize::MAX, usize::MAX).scan(head), Ok(Some(length)));
    }

    #[test]
    fn the_limit_is_for_all_heads_together() {
        let mut scanner = scanner(9, 9);
        assert_eq!(scanner.scan(b"A\r\n\r\nB\r\n\r\n"), Ok(Some(5)));
        scanner.restart(5);
        assert_eq!(scanner.scan(b"B\r\n\r\n"), Err(HandshakeError::HeadTooLong { max: 9 }));
    }

    fn request(head: &str) -> Result<(Request, bool), HandshakeError> {
        let mut scanner = scanner(1000, 100);
        assert_eq!(scanner.scan(head.as_bytes()), Ok(Some(head.len())));
        scanner.parse_request(head.as_bytes())
    }

    fn response(head: &str) -> Result<(Response, bool), HandshakeError> {
        let mut scanner = scanner(1000, 100);
        assert_eq!(scanner.scan(head.as_bytes()), Ok(Some(head.len())));
        scanner.parse_response(head.as_bytes())
    }

    #[test]
    fn requests_say_what_they_say() {
        let (parsed, current) = request("POST /a?b HTTP/1.1\r\nA:b\r\na: \tc d \r\nE:\r\n\r\n").unwrap();
        assert_eq!((parsed.method(), parsed.target(), current), ("POST", "/a?b", true));
        let list = parsed.fields().iter().collect::<Vec<_>>();
        assert_eq!(list, [("A", &b"b"[..]), ("a", b"c d"), ("E", b"")]);
        assert!(!request("GET / HTTP/1.0\r\n\r\n").unwrap().1);
    }

    #[test]
    fn requests_that_are_no_http_fail() {
        use HandshakeError::{HttpVersion, Malformed};
        for (head, error) in [
            ("GET /\r\n\r\n", Malformed("request line")),
            ("GET\r\n\r\n", Malformed("request line")),
            ("GET  / HTTP/1.1\r\n\r\n", Malformed("request line")),
            (" GET / HTTP/1.1\r\n\r\n", Malformed("request line")),
            ("GET / HTTP/2.0\r\n\r\n", HttpVersion),
            ("PRI * HTTP/2.0\r\n\r\n", HttpVersion),
            ("GET / HTTP/1.1 \r\n\r\n", Malformed("line break")),
            ("GET / HTTP/1.1\r\nA\r\n\r\n", Malformed("field name")),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Malformed("field name")),
            ("GET / HTTP/1.1\r\n: b\r\n\r\n", Malformed("field name")),
            ("GET / HTTP/1.1\r\n A: b\r\n\r\n", Malformed("field name")),
            ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Malformed("field name")),
            ("GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", Malformed("field name")),
        ] {
            assert_eq!(request(head).err(), Some(error), "{head:?}");
        }
    }

    #[test]
    fn responses_say_what_they_say() {
        let (parsed, current) = response("HTTP/1.1 404 Not  Found\r\nA: b\r\n\r\n").unwrap();
        assert_eq!((parsed.status(), parsed.reason(), current), (404, "Not  Found", true));
        assert_eq!(parsed.fields().get("a"), Some(&b"b"[..]));
        assert_eq!(response("HTTP/1.1 200\r\n\r\n").unwrap().0.reason(), "");
        assert_eq!(response("HTTP/1.1 200 \r\n\r\n").unwrap().0.reason(), "");
        assert!(!response("HTTP/1.0 200 OK\r\n\r\n").unwrap().1);
        for (head, error) in [
            ("HTTP/2 200 OK\r\n\r\n", HandshakeError::HttpVersion),
            ("SSH-2.0-OpenSSH\r\n\r\n", HandshakeError::HttpVersion),
            ("HTTP/1.1 20 OK\r\n\r\n", HandshakeError::Malformed("status")),
            ("HTTP/1.1 099 OK\r\n\r\n", HandshakeError::Malformed("status")),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", HandshakeError::Malformed("field name")),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", HandshakeError::Malformed("field name")),
        ] {
            assert_eq!(response(head).err(), Some(error), "{head:?}");
        }
    }

    #[test]
    fn a_field_that_must_be_alone_is_alone() {
        let mut fields = Fields::default();
        assert_eq!(only(&fields, "A"), Err(HandshakeError::MissingField("A")));
        assert_eq!(at_most_one(&fields, "A"), Ok(None));
        fields.push("a", b"b");
        assert_eq!(only(&fields, "A"), Ok(&b"b"[..]));
        fields.push("A", b"b");
        assert_eq!(only(&fields, "A"), Err(HandshakeError::RepeatedField("A")));
    }

    #[test]
    fn lines_of_callers_cannot_break_out() {
        let mut lines = FieldLines::default();
        for byte in (0..=b'\x1f').filter(|&byte| byte != b'\t').chain([0x7f]) {
            let value = format!("a{}b", char::from(byte));
            let error = BuildError::FieldValue { name: "A".into(), at: 1 };
            assert_eq!(lines.push("A", &value), Err(error), "{byte}");
            let name = format!("A{}", char::from(byte));
            assert_eq!(lines.push(&name, ""), Err(BuildError::FieldName(name.into())));
        }
        for name in ["", "A b", "A:", "Ä", " A", "A\t"] {
            assert_eq!(lines.push(name, ""), Err(BuildError::FieldName(name.into())));
        }
        for name in [
            "host",
            "Upgrade",
            "CONNECTION",
            "Content-Length",
            "transfer-encoding",
            "Sec-WebSocket-Key",
            "sec-websocket-",
            "sec-webSocket-anything",
        ] {
            assert_eq!(lines.push(name, ""), Err(BuildError::OwnedField(name.into())));
        }
        assert_eq!(lines.as_bytes(), b"");
        lines.push("X-Sec-WebSocket-", "a\tb ü").unwrap();
        lines.push("Sec-WebSocket", "").unwrap();
        assert_eq!(lines.as_bytes(), "X-Sec-WebSocket-: a\tb ü\r\nSec-WebSocket: \r\n".as_bytes());
    }

    #[test]
    fn input_always_has_room() {
        let mut input = BytesMut::new();
        for _ in 0..100 {
            let room = with_room(&mut input);
            assert!(room.capacity() - room.len() >= 64);
            room.extend_from_slice(&[0; 50]);
        }
        assert!(input.capacity() <= 4 * 5000);
    }
}
