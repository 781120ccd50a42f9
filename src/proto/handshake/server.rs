//! The server's side of the opening handshake (RFC 6455 §4.2).

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::mem;

use bytes::{Buf, BytesMut};

use super::super::agreement::Agreement;
#[cfg(feature = "deflate")]
use super::super::agreement::Deflate;
use super::super::config::{Config, HandshakeLimits, Role};
use super::super::connection::Connection;
use super::super::output::Output;
use super::super::pool;
use super::check::Asked;
#[cfg(feature = "deflate")]
use super::deflate;
use super::error::{BuildError, HandshakeError};
#[cfg(feature = "deflate")]
use super::extensions::Extension;
use super::fields::Request;
use super::head::{FieldLines, Scanner, with_room};
use super::key::accept_key;
use super::reject::{Answer, Reject};

/// An opening handshake under way, on the server's side.
///
/// Read into [`input`](Self::input) and [`poll`](Self::poll), until that gives a request or an error; after
/// an error write what [`output`](Self::output) holds, then close.
pub struct ServerHandshake {
    input: BytesMut,
    eof: bool,
    output: Output,
    scanner: Scanner,
    /// The handshake is over; what later polls give.
    over: Option<HandshakeError>,
    /// A request for something else than a WebSocket.
    plain: Option<Request>,
}

impl ServerHandshake {
    /// Waits for a request within the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(HandshakeLimits::new())
    }

    /// Waits for a request within these limits.
    #[must_use]
    pub fn with_limits(limits: HandshakeLimits) -> Self {
        Self {
            input: BytesMut::new(),
            eof: false,
            output: Output::new(Role::Server),
            scanner: Scanner::new(limits),
            over: None,
            plain: None,
        }
    }

    /// Where the next read goes: it has room. Append only, and [`poll`](Self::poll) after each read: that
    /// keeps the buffer below [`HandshakeLimits::max_head`] and one read.
    pub fn input(&mut self) -> &mut BytesMut {
        with_room(&mut self.input)
    }

    /// Appends bytes that came to [`input`](Self::input), in memory of their size.
    pub fn feed(&mut self, data: &[u8]) {
        self.input.extend_from_slice(data);
    }

    /// Tells that the transport has no more bytes for us.
    pub const fn input_eof(&mut self) {
        self.eof = true;
    }

    /// The bytes to write: after an error the answer to it, if there is one.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Gives up waiting: [`output`](Self::output) then holds a 408 (RFC 9110 §15.5.9) to write before
    /// closing. For callers whose deadline passes.
    pub fn time_out(&mut self) {
        self.input = BytesMut::new();
        self.over = Some(HandshakeError::Finished);
        self.output = Reject::new(408)
            .map_or_else(|_| Output::new(Role::Server), |reject| Answer::from(reject).into_output(false));
    }

    /// After an error: the request, if it is valid HTTP/1 but does not ask for a WebSocket, such as that of a health
    /// check. What waits in [`output`](Self::output) refuses it; [`answer`](Self::answer) says something else.
    #[must_use]
    pub const fn plain_request(&self) -> Option<&Request> {
        self.plain.as_ref()
    }

    /// Answers the [plain request](Self::plain_request) in place of refusing it: write the output, then close. The
    /// body of the request, if it has one, was not read.
    pub fn answer(&mut self, answer: impl Into<Answer>) {
        let head_only = self.plain.as_ref().is_some_and(|request| request.method() == "HEAD");
        self.output = answer.into().into_output(head_only);
    }

    /// Looks at what has come. `Ok(None)`: read more. A result is final: later calls drop their input and
    /// give the same error, or [`HandshakeError::Finished`] once the request was handed over.
    ///
    /// # Errors
    /// A [`HandshakeError`] if the request breaks a rule, or ended early.
    pub fn poll(&mut self) -> Result<Option<Pending>, HandshakeError> {
        let mut input = mem::take(&mut self.input);
        let found = self.advance(&input)?;
        let Some((valid, length)) = found else {
            self.input = input;
            return Ok(None);
        };
        input.advance(length);
        Ok(Some(Pending { valid, input, eof: self.eof }))
    }

    /// As [`feed`](Self::feed) and [`poll`](Self::poll), without a copy of a head that comes in one piece.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn poll_with(&mut self, data: &[u8]) -> Result<Option<Pending>, HandshakeError> {
        if !self.input.is_empty() {
            self.feed(data);
            return self.poll();
        }
        let Some((valid, length)) = self.advance(data)? else {
            self.feed(data);
            return Ok(None);
        };
        Ok(Some(Pending { valid, input: data[length..].into(), eof: self.eof }))
    }

    /// Looks at all that came: the request, and the length of its head.
    fn advance(&mut self, input: &[u8]) -> Result<Option<(Valid, usize)>, HandshakeError> {
        if let Some(error) = &self.over {
            return Err(error.clone());
        }
        let result = self.parse(input);
        self.over = match &result {
            Ok(None) => None,
            Ok(Some(_)) => Some(HandshakeError::Finished),
            Err(error) => {
                if let Some(answer) = Reject::from_error(error) {
                    self.output = Answer::from(answer).into_output(false);
                }
                Some(error.clone())
            }
        };
        result
    }

    fn parse(&mut self, input: &[u8]) -> Result<Option<(Valid, usize)>, HandshakeError> {
        let (request, current, length) = match self.scanner.parse_at_once(input) {
            Some(parsed) => parsed,
            None => {
                let Some(length) = self.scanner.scan(input)? else {
                    return self.scanner.wait(input, self.eof).map(|()| None);
                };
                let (request, current) = self.scanner.parse_request(&input[..length])?;
                (request, current, length)
            }
        };
        let asked = Asked::by(request.fields());
        let checked = if request.method() != "GET" {
            Err(HandshakeError::Method)
        } else if !current {
            Err(HandshakeError::HttpVersion)
        } else {
            asked.check_upgrade(&request)
        };
        match checked {
            Ok(key) => Ok(Some((Valid { request, key }, length))),
            Err(error) => {
                if !asked.upgrade.named {
                    self.plain = Some(request);
                }
                Err(error)
            }
        }
    }
}

impl Default for ServerHandshake {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ServerHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Cookies and credentials in the input stay out of logs.
        f.debug_struct("ServerHandshake").field("over", &self.over).finish_non_exhaustive()
    }
}

/// A valid request that waits for the application's word. Dropped, it leaves the client without an answer.
#[must_use = "the client waits for `accept` or `reject`"]
pub struct Pending {
    valid: Valid,
    input: BytesMut,
    eof: bool,
}

/// A request that is as it should be, and its key.
struct Valid {
    request: Request,
    key: [u8; 24],
}

impl Pending {
    /// The request: what to decide on.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.valid.request
    }

    /// Opens the connection; its output begins with the 101. Frames that the client sent too early are its
    /// first input.
    ///
    /// # Errors
    /// [`AcceptError`] if the subprotocol was not offered; it hands this request back, so that it can still
    /// be answered.
    pub fn accept(self, accept: Accept, config: Config) -> Result<Connection, AcceptError> {
        let Settled { agreement, extensions } = match settle(&self.valid.request, &accept) {
            Ok(settled) => settled,
            Err(reason) => return Err(AcceptError(Box::new((reason, self)))),
        };
        let mut head = pool::take_arena();
        head.reserve(HEAD + accept.lines.as_bytes().len());
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
        put(&[b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"]);
        put(&[b"Sec-WebSocket-Accept: ", &accept_key(&self.valid.key), b"\r\n"]);
        if let Some(chosen) = agreement.subprotocol() {
            put(&[b"Sec-WebSocket-Protocol: ", chosen.as_bytes(), b"\r\n"]);
        }
        if let Some(answer) = extensions {
            put(&[b"Sec-WebSocket-Extensions: ", answer.as_bytes(), b"\r\n"]);
        }
        put(&[accept.lines.as_bytes(), b"\r\n"]);
        let output = Output::from_head(Role::Server, head);
        let mut connection = Connection::from_handshake(config, None, agreement, self.input, output);
        if self.eof {
            connection.input_eof();
        }
        Ok(connection)
    }

    /// Refuses: write the output, then close.
    #[must_use]
    pub fn reject(self, reject: Reject) -> Output {
        Answer::from(reject).into_output(false)
    }

    /// The request and the bytes that came behind it, for another engine.
    #[must_use]
    pub fn into_parts(self) -> (Request, BytesMut) {
        (self.valid.request, self.input)
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("request", &self.valid.request).finish_non_exhaustive()
    }
}

/// How to open a connection.
#[derive(Clone, Default)]
pub struct Accept {
    subprotocol: Option<Box<str>>,
    #[cfg(feature = "deflate")]
    deflate: Option<Deflate>,
    pub(super) lines: FieldLines,
}

impl Accept {
    /// With no subprotocol and no field of the application's.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses one of the [subprotocols](Request::subprotocols) that the client offered;
    /// [`Pending::accept`] checks it.
    #[must_use]
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// Agrees to permessage-deflate, if the client offers it, with at most this much takeover and these windows.
    /// What can be chosen by an attacker should not be compressed beside a secret: see
    /// [`Sender::compress`](crate::proto::Sender::compress).
    #[cfg(feature = "deflate")]
    #[must_use]
    pub const fn deflate(mut self, most: Deflate) -> Self {
        self.deflate = Some(most);
        self
    }

    /// As [`deflate`](Self::deflate), unless that was said.
    #[cfg(feature = "deflate")]
    pub(crate) fn or_deflate(mut self, most: Deflate) -> Self {
        self.deflate = self.deflate.or(Some(most));
        self
    }

    /// Adds a header field, such as Set-Cookie.
    ///
    /// # Errors
    /// [`BuildError::FieldName`], [`BuildError::FieldValue`], and [`BuildError::OwnedField`] for fields that
    /// the handshake sets by itself.
    pub fn field(mut self, name: &str, value: &str) -> Result<Self, BuildError> {
        self.lines.push(name, value)?;
        Ok(self)
    }
}

impl fmt::Debug for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept").field("subprotocol", &self.subprotocol).finish_non_exhaustive()
    }
}

/// A request that could not be accepted as the caller wanted, and why.
pub struct AcceptError(Box<(BuildError, Pending)>);

impl AcceptError {
    /// Why not.
    #[must_use]
    pub const fn reason(&self) -> &BuildError {
        &self.0.0
    }

    /// The request, which still waits for an answer.
    pub fn into_pending(self) -> Pending {
        self.0.1
    }
}

impl fmt::Debug for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptError").field("reason", self.reason()).finish_non_exhaustive()
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(f)
    }
}

impl core::error::Error for AcceptError {}

/// What the two ends agree on, and the value of Sec-WebSocket-Extensions that tells the client of it.
pub(super) struct Settled {
    pub(super) agreement: Agreement,
    pub(super) extensions: Option<String>,
}

/// What comes of a request and the application's word.
pub(super) fn settle(request: &Request, accept: &Accept) -> Result<Settled, BuildError> {
    let mut settled = Settled { agreement: Agreement::new(), extensions: None };
    if let Some(chosen) = &accept.subprotocol {
        // RFC 6455 §4.2.2: "The value chosen MUST be derived from the client's handshake". All of these
        // are tokens, so none can break out of its field.
        if !request.subprotocols().any(|offered| *offered == **chosen) {
            return Err(BuildError::SubprotocolNotOffered(chosen.clone()));
        }
        settled.agreement = settled.agreement.with_subprotocol(chosen);
    }
    #[cfg(feature = "deflate")]
    if let Some((agreed, answer)) = accept.deflate.and_then(|most| agree(request, most)) {
        settled.agreement = settled.agreement.with_deflate(agreed);
        settled.extensions = Some(answer);
    }
    Ok(settled)
}

/// What the server agrees to of the client's offers, and its answer.
#[cfg(feature = "deflate")]
fn agree(request: &Request, most: Deflate) -> Option<(Deflate, String)> {
    let offers = Extension::parse(request.fields().all("Sec-WebSocket-Extensions")).ok()?;
    deflate::accept(most, &offers)
}

/// The bytes of a 101 with a subprotocol, but for lines of the application's.
const HEAD: usize = 192;

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::proto::message::{Event, Message};

    const GET: &str = "GET /chat HTTP/1.1\r\n";
    /// The request of RFC 6455 §1.2, as lines that tests leave out or replace.
    const FIELDS: [&str; 7] = [
        "Host: server.example.com\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Origin: http://example.com\r\n",
        "Sec-WebSocket-Protocol: chat, superchat\r\n",
        "Sec-WebSocket-Version: 13\r\n",
    ];

    /// The valid request with the lines in `changed` in place of those with the same name; "" takes away,
    /// other names are added.
    fn request(start: &str, changed: &[(&str, &[&str])]) -> String {
        let mut head = String::from(start);
        for line in FIELDS {
            if !changed.iter().any(|(name, _)| line.starts_with(&format!("{name}: "))) {
                head += line;
            }
        }
        for (name, values) in changed {
            for value in *values {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head + "\r\n"
    }

    fn text(output: &mut Output) -> String {
        let mut text = Vec::new();
        while let Some(piece) = output.pop() {
            text.extend_from_slice(&piece);
        }
        String::from_utf8(text).unwrap()
    }

    fn handshake(input: &[u8]) -> ServerHandshake {
        let mut handshake = ServerHandshake::new();
        handshake.input().extend_from_slice(input);
        handshake
    }

    fn poll(input: &[u8]) -> Result<Option<Pending>, HandshakeError> {
        handshake(input).poll()
    }

    fn pending(input: &str) -> Pending {
        poll(input.as_bytes()).unwrap_or_else(|error| panic!("{input:?}: {error}")).expect("whole")
    }

    #[test]
    fn a_caller_that_gives_up_has_a_408_to_write() {
        let mut handshake = ServerHandshake::new();
        handshake.input().extend_from_slice(b"GET /chat HT");
        assert!(matches!(handshake.poll(), Ok(None)));
        // Bytes that a caller takes back, against the contract, are no reason to panic.
        handshake.input().clear();
        assert!(matches!(handshake.poll(), Ok(None)));
        handshake.time_out();
        assert!(
            text(handshake.output()).starts_with("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n")
        );
        assert!(matches!(handshake.poll(), Err(HandshakeError::Finished)));
    }

    #[test]
    fn s1_3_example() {
        let pending = pending(&request(GET, &[]));
        let request = pending.request();
        assert_eq!((request.method(), request.target(), request.resource()), ("GET", "/chat", "/chat"));
        assert_eq!((request.host(), request.origin()), ("server.example.com", Some("http://example.com")));
        assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["chat", "superchat"]);
        assert_eq!(request.fields().len(), 7);
        let accept = Accept::new().subprotocol("chat").field("Set-Cookie", "a=b").unwrap();
        let mut connection = pending.accept(accept, Config::new()).unwrap();
        assert_eq!(connection.agreement().subprotocol(), Some("chat"));
        assert_eq!(connection.role(), Role::Server);
        assert_eq!(
            text(connection.output()),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
             Set-Cookie: a=b\r\n\r\n"
        );
    }

    #[test]
    fn s4_2_1_requests_that_are_fine() {
        let lists = "Sec-WebSocket-Extensions";
        for changed in [
            &[("Origin", &[][..]), ("Sec-WebSocket-Protocol", &[])][..],
            &[("Upgrade", &["WebSocket"])],
            &[("Upgrade", &["h2c, WEBSOCKET"])],
            &[("Upgrade", &["h2c", "websocket"])],
            &[("Connection", &["keep-alive, Upgrade"])],
            &[("Connection", &["keep-alive", "upgrade"])],
            &[("Connection", &["close, upgrade"])],
            &[("Sec-WebSocket-Protocol", &["a", "b,c"])],
            &[("Sec-WebSocket-Protocol", &["chat, Chat"])],
            &[(lists, &["permessage-deflate; client_max_window_bits", "x"])],
            &[("Host", &["[::1]:9001"])],
            &[("Host", &["localhost:"])],
            &[("Origin", &["null"])],
            &[("Content-Length", &["0"])],
            &[("X-Binary", &["\u{fc}"])],
            &[("sec-websocket-key", &["AAAAAAAAAAAAAAAAAAAAAA=="]), ("Sec-WebSocket-Key", &[])],
        ] {
            let pending = pending(&request(GET, changed));
            let mut connection = pending.accept(Accept::new(), Config::new()).unwrap();
            let answer = text(connection.output());
            assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("=\r\n\r\n"), "{answer}");
            assert_eq!(connection.agreement(), &Agreement::new());
        }
        for target in
            ["/", "/?a", "//", "/a|b\"{", "http://server.example.com/chat", "WS://SERVER.example.com"]
        {
            let _ = pending(&request(&format!("GET {target} HTTP/1.1\r\n"), &[]));
        }
    }

    #[test]
    fn s4_2_1_requests_that_break_a_rule() {
        use HandshakeError::{
            Body, Connection, Extensions, Host, Key, MissingField, Origin, RepeatedField, Subprotocols,
            Upgrade, Version,
        };
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        for (name, values, error) in [
            ("Content-Length", &["1"][..], Body),
            ("Content-Length", &["0", "1"], Body),
            ("Content-Length", &["0, 0"], Body),
            ("Content-Length", &[""], Body),
            ("Content-Length", &["-0"], Body),
            ("Transfer-Encoding", &["chunked"], Body),
            ("Transfer-Encoding", &[""], Body),
            ("transfer-encoding", &["identity"], Body),
            ("Host", &[], MissingField("Host")),
            ("Host", &["a", "a"], RepeatedField("Host")),
            ("Host", &[""], Host),
            ("Host", &["a b"], Host),
            ("Host", &["a/b"], Host),
            ("Host", &["a@b"], Host),
            ("Host", &["a:b"], Host),
            ("Host", &["\u{fc}"], Host),
            ("Upgrade", &[], Upgrade),
            ("Upgrade", &["h2c"], Upgrade),
            ("Upgrade", &["websockets"], Upgrade),
            ("Upgrade", &["web socket"], Upgrade),
            ("Connection", &[], Connection),
            ("Connection", &["keep-alive"], Connection),
            ("Connection", &["Upgraded"], Connection),
            ("Sec-WebSocket-Version", &[], Version),
            ("Sec-WebSocket-Version", &["8"], Version),
            ("Sec-WebSocket-Version", &["013"], Version),
            ("Sec-WebSocket-Version", &["13, 8"], Version),
            ("Sec-WebSocket-Version", &["13", "13"], Version),
            ("Sec-WebSocket-Version", &["777"], Version),
            ("Sec-WebSocket-Key", &[], MissingField("Sec-WebSocket-Key")),
            ("Sec-WebSocket-Key", &[key, key], RepeatedField("Sec-WebSocket-Key")),
            ("Sec-WebSocket-Key", &[""], Key),
            ("Sec-WebSocket-Key", &["AAAA"], Key),
            ("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZQ="], Key),
            ("Origin", &["http://a", "http://b"], RepeatedField("Origin")),
            ("Origin", &["http://a http://b"], Origin),
            ("Origin", &["\u{fc}"], Origin),
            ("Sec-WebSocket-Protocol", &[""], Subprotocols),
            ("Sec-WebSocket-Protocol", &[" , ,"], Subprotocols),
            ("Sec-WebSocket-Protocol", &["a b"], Subprotocols),
            ("Sec-WebSocket-Protocol", &["a/b"], Subprotocols),
            ("Sec-WebSocket-Protocol", &["a", "a"], Subprotocols),
            ("Sec-WebSocket-Protocol", &["a, b, a"], Subprotocols),
            ("Sec-WebSocket-Extensions", &["a; b=\"c d\""], Extensions { at: 7 }),
            ("Sec-WebSocket-Extensions", &[""], Extensions { at: 0 }),
        ] {
            let request = request(GET, &[(name, values)]);
            assert_eq!(poll(request.as_bytes()).err(), Some(error), "{request:?}");
        }
        for (start, error) in [
            ("POST /chat HTTP/1.1\r\n", HandshakeError::Method),
            ("get /chat HTTP/1.1\r\n", HandshakeError::Method),
            ("HEAD /chat HTTP/1.1\r\n", HandshakeError::Method),
            ("GET /chat HTTP/1.0\r\n", HandshakeError::HttpVersion),
            ("GET /chat HTTP/2.0\r\n", HandshakeError::HttpVersion),
            ("GET * HTTP/1.1\r\n", HandshakeError::Target),
            ("GET chat HTTP/1.1\r\n", HandshakeError::Target),
            ("GET server.example.com:80 HTTP/1.1\r\n", HandshakeError::Target),
            ("GET http://other.example.com/chat HTTP/1.1\r\n", HandshakeError::Target),
            ("GET ftp://server.example.com/ HTTP/1.1\r\n", HandshakeError::Target),
            ("GET /chat#a HTTP/1.1\r\n", HandshakeError::Target),
            ("GET /\u{fc} HTTP/1.1\r\n", HandshakeError::Target),
            ("GET /a b HTTP/1.1\r\n", HandshakeError::HttpVersion),
        ] {
            assert_eq!(poll(request(start, &[]).as_bytes()).err(), Some(error), "{start:?}");
        }
    }

    #[test]
    fn s4_2_2_errors_are_answered_and_final() {
        for (changed, start) in [
            (&[("Sec-WebSocket-Key", &[][..])][..], "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"),
            (
                &[("Sec-WebSocket-Version", &["8"])],
                "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nConnection: close\r\n",
            ),
            (
                &[("Upgrade", &[])],
                "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nConnection: close\r\n",
            ),
            (&[("A", &["b"; 100])], "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"),
        ] {
            let mut handshake = handshake(request(GET, changed).as_bytes());
            let error = handshake.poll().expect_err("a rule is broken");
            let answer = text(handshake.output());
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
            assert!(head.starts_with(start), "{head}");
            assert_eq!(body, format!("{error}\n"));
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
            assert!(head.contains("\r\nContent-Type: text/plain"), "{head}");

            handshake.input().extend_from_slice(request(GET, &[]).as_bytes());
            assert_eq!(handshake.poll().err(), Some(error));
            assert!(handshake.input.is_empty() && handshake.output().is_empty());
        }
        let mut handshake = handshake(b"HEAD / HTTP/1.1\r\n\r\n");
        assert_eq!(handshake.poll().err(), Some(HandshakeError::Method));
        assert_eq!(
            text(handshake.output()),
            "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn other_protocols_are_answered_at_their_first_byte() {
        let mut handshake = handshake(b"\x16");
        assert_eq!(handshake.poll().err(), Some(HandshakeError::ForbiddenByte { byte: 0x16, at: 0 }));
        assert!(text(handshake.output()).starts_with("HTTP/1.1 400 "));
    }

    #[test]
    fn the_end_of_the_transport_is_told_apart() {
        for (input, received) in [("", 0), ("GET ", 4)] {
            let mut handshake = handshake(input.as_bytes());
            assert!(matches!(handshake.poll(), Ok(None)));
            handshake.input_eof();
            assert_eq!(handshake.poll().err(), Some(HandshakeError::UnexpectedEof { received }));
            assert!(handshake.output().is_empty());
        }
        let mut handshake = handshake(request(GET, &[]).as_bytes());
        handshake.input_eof();
        let connection = handshake.poll().unwrap().unwrap().accept(Accept::new(), Config::new()).unwrap();
        assert!(!connection.wants_input());
    }

    #[test]
    fn the_input_is_bounded() {
        for (unit, error) in [
            ("A", HandshakeError::HeadTooLong { max: 1000 }),
            ("A: b\r\n", HandshakeError::TooManyFields { max: 10 }),
        ] {
            let mut handshake =
                ServerHandshake::with_limits(HandshakeLimits::new().max_head(1000).max_fields(10));
            handshake.input().extend_from_slice(GET.as_bytes());
            let mut result = Ok(None);
            while matches!(result, Ok(None)) {
                assert!(handshake.input.len() < 1000);
                handshake.input().extend_from_slice(unit.as_bytes());
                result = handshake.poll();
            }
            assert_eq!(result.err(), Some(error));
            assert_eq!(handshake.input.capacity(), 0);
            assert!(text(handshake.output()).starts_with("HTTP/1.1 431 "));
        }
    }

    #[test]
    fn byte_by_byte_equals_whole() {
        let mut corpus = vec![
            request(GET, &[]).into_bytes(),
            request(GET, &[("Upgrade", &[])]).into_bytes(),
            request(GET, &[("Host", &["a", "b"])]).into_bytes(),
            request(GET, &[("A", &["b"; 100])]).into_bytes(),
            request("GET / HTTP/1.1\n", &[]).into_bytes(),
            b"\r\nGET / HTTP/1.1\r\n\r\n".to_vec(),
            b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n".to_vec(),
        ];
        let mut frames = request(GET, &[]).into_bytes();
        frames.extend_from_slice(b"\x81\x82\0\0\0\0Hi");
        corpus.push(frames);
        for input in corpus {
            let whole = outcome(&[&input]);
            for cut in 0..=input.len() {
                assert_eq!(outcome(&[&input[..cut], &input[cut..]]), whole);
                assert_eq!(outcome_with(&[&input[..cut], &input[cut..]]), whole);
            }
            assert_eq!(outcome(&input.chunks(1).collect::<Vec<_>>()), whole);
            assert_eq!(outcome_with(&input.chunks(1).collect::<Vec<_>>()), whole);
        }
    }

    #[test]
    fn fields_count_up_to_the_limit_and_the_last_one_counts() {
        let last = &[("A", &["b"; 93][..]), ("Upgrade", &[]), ("upgrade", &["websocket"])];
        assert_eq!(pending(&request(GET, last)).request().fields().len(), 100);
        let last = &[("A", &["b"; 94][..]), ("Upgrade", &[]), ("upgrade", &["websocket"])];
        let many = Some(HandshakeError::TooManyFields { max: 100 });
        assert_eq!(poll(request(GET, last).as_bytes()).err(), many);
    }

    /// What comes of input in pieces: the request and what follows it, or the error and its answer.
    fn outcome(pieces: &[&[u8]]) -> Result<(Request, Vec<u8>), (HandshakeError, String)> {
        let mut handshake = ServerHandshake::new();
        let mut pieces = pieces.iter();
        loop {
            match handshake.poll() {
                Ok(Some(pending)) => {
                    let (request, rest) = pending.into_parts();
                    let rest = rest.iter().copied().chain(pieces.flat_map(|piece| piece.iter().copied()));
                    return Ok((request, rest.collect()));
                }
                Ok(None) => match pieces.next() {
                    Some(piece) => handshake.input().extend_from_slice(piece),
                    None => handshake.input_eof(),
                },
                Err(error) => return Err((error, text(handshake.output()))),
            }
        }
    }

    /// The same with bytes that are looked at where they lie.
    fn outcome_with(pieces: &[&[u8]]) -> Result<(Request, Vec<u8>), (HandshakeError, String)> {
        let mut handshake = ServerHandshake::new();
        let mut pieces = pieces.iter();
        loop {
            let found = match pieces.next() {
                Some(piece) => handshake.poll_with(piece),
                None => {
                    handshake.input_eof();
                    handshake.poll()
                }
            };
            match found {
                Ok(Some(pending)) => {
                    assert_eq!(handshake.poll_with(b"GET").err(), Some(HandshakeError::Finished));
                    let (request, rest) = pending.into_parts();
                    let rest = rest.iter().copied().chain(pieces.flat_map(|piece| piece.iter().copied()));
                    return Ok((request, rest.collect()));
                }
                Ok(None) => {}
                Err(error) => {
                    assert_eq!(handshake.poll_with(b"GET").err(), Some(error.clone()));
                    return Err((error, text(handshake.output())));
                }
            }
        }
    }

    #[test]
    fn limits_hold_for_a_head_in_one_piece() {
        let head = request(GET, &[]);
        let fields = FIELDS.len();
        for (max_head, max_fields, error) in [
            (head.len(), fields, None),
            (head.len() - 1, fields, Some(HandshakeError::HeadTooLong { max: head.len() - 1 })),
            (head.len(), fields - 1, Some(HandshakeError::TooManyFields { max: fields - 1 })),
        ] {
            let limits = HandshakeLimits::new().max_head(max_head).max_fields(max_fields);
            let mut handshake = ServerHandshake::with_limits(limits);
            assert_eq!(handshake.poll_with(head.as_bytes()).err(), error);
        }
    }

    #[test]
    fn frames_behind_the_request_are_not_lost() {
        let mut handshake = handshake(request(GET, &[]).as_bytes());
        handshake.input().extend_from_slice(b"\x81\x82\0\0\0\0H");
        let pending = handshake.poll().unwrap().unwrap();
        assert_eq!(handshake.poll().err(), Some(HandshakeError::Finished));
        let mut connection = pending.accept(Accept::new(), Config::new()).unwrap();
        assert_eq!(connection.next_event(), Ok(None));
        connection.input().extend_from_slice(b"i");
        assert_eq!(connection.next_event(), Ok(Some(Event::Message(Message::text("Hi")))));
        connection.send_text("Ho").unwrap();
        let mut output = Vec::new();
        while let Some(piece) = connection.output().pop() {
            output.extend_from_slice(&piece);
        }
        assert!(output.ends_with(b"\r\n\r\n\x81\x02Ho"));
    }

    #[test]
    fn s4_2_2_a_subprotocol_that_was_not_offered_never_leaves() {
        for chosen in ["other", "Chat", "", "chat, superchat", "chat\r\nA: b"] {
            let accept = Accept::new().subprotocol(chosen);
            let error = pending(&request(GET, &[])).accept(accept, Config::new()).expect_err("not offered");
            assert_eq!(error.reason(), &BuildError::SubprotocolNotOffered(chosen.into()));
            let mut output = error.into_pending().reject(Reject::new(500).unwrap());
            assert!(text(&mut output).starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
        }
    }

    #[test]
    fn answers_of_callers_cannot_break_out() {
        let value = BuildError::FieldValue { name: "A".into(), at: 1 };
        assert_eq!(Accept::new().field("A", "b\r\nC: d").err(), Some(value.clone()));
        assert_eq!(Reject::new(403).unwrap().field("A", "b\nC: d").err(), Some(value));
        let owned = BuildError::OwnedField("Connection".into());
        assert_eq!(Accept::new().field("Connection", "x").err(), Some(owned.clone()));
        assert_eq!(Reject::new(403).unwrap().field("Connection", "x").err(), Some(owned));
    }

    #[test]
    fn refusals_refuse() {
        for status in [0, 99, 100, 101, 200, 299, 304, 600, 999, u16::MAX] {
            assert_eq!(Reject::new(status).err(), Some(BuildError::Status(status)));
        }
        let reject = Reject::new(403).unwrap().field("Content-Type", "text/plain").unwrap().body("no");
        assert_eq!(
            text(&mut pending(&request(GET, &[])).reject(reject)),
            "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nno"
        );
        let reject = Reject::new(599).unwrap();
        assert_eq!(
            text(&mut pending(&request(GET, &[])).reject(reject)),
            "HTTP/1.1 599 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
    }

    /// Each check looks at each element a bounded number of times, or in a sorted set.
    #[test]
    fn long_lists_are_checked_in_linear_time() {
        let limits = HandshakeLimits::new().max_head(usize::MAX);
        let names: String = (0..50_000).map(|number| format!("{number},")).collect();
        for list in [names, " ".repeat(500_000), ",".repeat(500_000), ", ".repeat(250_000)] {
            for name in ["Sec-WebSocket-Protocol", "Connection", "Upgrade", "Sec-WebSocket-Extensions"] {
                let mut handshake = ServerHandshake::with_limits(limits);
                let request = request(GET, &[(name, &[&*list])]);
                handshake.input().extend_from_slice(request.as_bytes());
                assert!(!matches!(handshake.poll(), Ok(None)));
            }
        }
    }

    #[test]
    fn junk_never_panics() {
        let valid = request(GET, &[("Sec-WebSocket-Extensions", &["a; b=\"c\", d"])]).into_bytes();
        let mut seed = 1_u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize
        };
        for _ in 0..20_000 {
            let mut input = valid.clone();
            for _ in 0..=random() % 4 {
                let at = random() % input.len();
                match random() % 3 {
                    0 => input[at] = random() as u8,
                    1 => drop(input.remove(at)),
                    _ => input.insert(at, b"\r\n :,;=\"\\/"[random() % 10]),
                }
            }
            let cut = random() % input.len();
            let whole = outcome(&[&input]);
            assert_eq!(outcome(&[&input[..cut], &input[cut..]]), whole);
            assert_eq!(outcome_with(&[&input]), whole);
        }
    }

    #[test]
    fn debug_keeps_secrets() {
        let mut handshake = handshake(request(GET, &[("Cookie", &["secret"])]).as_bytes());
        assert!(!format!("{handshake:?}").contains("secret"));
        assert!(!format!("{:?}", handshake.poll()).contains("secret"));
        let accept = Accept::new().field("Set-Cookie", "secret").unwrap();
        assert!(!format!("{accept:?}").contains("secret"));
    }
}
