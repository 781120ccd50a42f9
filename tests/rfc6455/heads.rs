//! Heads of HTTP requests and answers by hand, and what the two handshakes make of them at every cut.

use std::fmt;

use bytes::Buf;
use taut::proto::HandshakeLimits;
use taut::proto::handshake::{
    ClientHandshake, ClientRequest, Established, HandshakeError, Pending, Request, Response, ServerHandshake,
};

/// The nonce of RFC 6455 §1.3, the field it becomes, and the field that answers it.
pub(crate) const NONCE: [u8; 16] = *b"the sample nonce";
pub(crate) const KEY_FIELD: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT_FIELD: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request, or an answer up to its body.
#[derive(Clone)]
pub(crate) struct Head {
    line: Vec<u8>,
    fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// A request that conforms, with nothing but what it needs.
    pub(crate) fn request() -> Self {
        let fields = [
            ("Host", "server.example.com"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", KEY_FIELD),
            ("Sec-WebSocket-Version", "13"),
        ];
        Self::new("GET /chat HTTP/1.1", &fields)
    }

    /// An answer that opens a connection whose nonce is [`NONCE`].
    pub(crate) fn answer() -> Self {
        let fields =
            [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", ACCEPT_FIELD)];
        Self::new("HTTP/1.1 101 Switching Protocols", &fields)
    }

    pub(crate) fn new(line: &str, fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter().map(|(name, value)| ((*name).into(), value.as_bytes().into())).collect();
        Self { line: line.into(), fields }
    }

    /// Reads a head, and gives what comes behind it.
    pub(crate) fn parse(bytes: &[u8]) -> (Self, Vec<u8>) {
        let end = bytes.windows(4).position(|end| end == b"\r\n\r\n").expect("an empty line");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap().into();
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a field");
            (name.into(), value.into())
        };
        (Self { line, fields: lines.map(field).collect() }, bytes[end + 4..].into())
    }

    pub(crate) fn with_line(mut self, line: impl AsRef<[u8]>) -> Self {
        self.line = line.as_ref().into();
        self
    }

    /// With another value for a field, or with that field if it is not there.
    pub(crate) fn set(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        match self.fields.iter_mut().find(|field| field.0 == name) {
            Some(field) => field.1 = value.as_ref().into(),
            None => return self.and(name, value),
        }
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        let before = self.fields.len();
        self.fields.retain(|field| field.0 != name);
        assert_ne!(self.fields.len(), before, "{name} was not there");
        self
    }

    /// With one more field.
    pub(crate) fn and(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.into(), value.as_ref().into()));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.line[..], b"\r\n"].concat();
        for (name, value) in &self.fields {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        bytes
    }

    pub(crate) fn line(&self) -> &str {
        std::str::from_utf8(&self.line).unwrap()
    }

    /// The value of a field that stands there once or not at all.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        let value = values.next()?;
        assert_eq!(values.next(), None, "{name} stands there twice");
        Some(std::str::from_utf8(&value.1).unwrap())
    }

    /// The elements of all fields of that name, in small letters.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let fields = self.fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        let elements = fields.flat_map(|field| field.1.split(|&byte| byte == b','));
        elements
            .map(|element| String::from_utf8(element.trim_ascii().to_ascii_lowercase()).unwrap())
            .collect()
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes().escape_ascii())
    }
}

/// An answer that refuses.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads one, which has to be whole and to end the connection.
    #[track_caller]
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let (head, body) = Head::parse(bytes);
        let mut words = head.line().splitn(3, ' ');
        assert_eq!(words.next(), Some("HTTP/1.1"));
        let status = words.next().unwrap().parse().unwrap();
        assert!(words.next().is_some(), "RFC 9112 §4: the space behind the status stays");
        assert_eq!(head.get("Content-Length"), Some(&*body.len().to_string()));
        assert!(head.list("Connection").iter().any(|option| option == "close"), "{head:?}");
        Self { status, body, head }
    }
}

/// Why a server refused, what it answered, and after how many bytes of the request.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: HandshakeError,
    pub(crate) answer: Answer,
    pub(crate) at: usize,
}

/// At once, cut in two anywhere, and byte by byte.
fn all_cuts(len: usize) -> Vec<Vec<usize>> {
    let here = |cut: &usize| len <= 1000 || *cut <= 20 || *cut + 20 >= len;
    let mut all: Vec<Vec<usize>> = (0..=len).filter(here).map(|cut| vec![cut]).collect();
    all.push((1..len).collect());
    all
}

/// The head that a client writes.
#[track_caller]
pub(crate) fn head_of(request: &ClientRequest) -> Head {
    let mut client = ClientHandshake::new(request, NONCE);
    let (head, rest) = Head::parse(client.output().chunk());
    assert_eq!(rest, b"");
    head
}

/// What a server makes of a request, at every cut.
pub(crate) fn serve(request: impl AsRef<[u8]>) -> Result<Pending, Refusal> {
    serve_within(HandshakeLimits::new(), request.as_ref())
}

pub(crate) fn serve_within(limits: HandshakeLimits, request: &[u8]) -> Result<Pending, Refusal> {
    let mut results = Vec::new();
    for cuts in all_cuts(request.len()) {
        results.push(serve_cut(limits, request, &cuts).map(|(pending, rest)| (pending.into_parts().0, rest)));
        let (first, last) = (&results[0], &results[results.len() - 1]);
        let plain = |result: &Result<(Request, Vec<u8>), Failure>| match result {
            Ok(parts) => Ok(parts.clone()),
            Err(failure) => Err((failure.error.clone(), failure.output.clone())),
        };
        assert_eq!(plain(last), plain(first), "cut at {cuts:?}");
    }
    // The last one came byte by byte: it tells at which byte it failed.
    match results.pop().unwrap() {
        Ok(_) => Ok(serve_cut(limits, request, &[]).ok().unwrap().0),
        Err(failure) => {
            let answer = Answer::parse(&failure.output);
            Err(Refusal { error: failure.error, answer, at: failure.at })
        }
    }
}

struct Failure {
    error: HandshakeError,
    output: Vec<u8>,
    at: usize,
}

fn serve_cut(limits: HandshakeLimits, request: &[u8], cuts: &[usize]) -> Result<(Pending, Vec<u8>), Failure> {
    let mut server = ServerHandshake::with_limits(limits);
    let mut start = 0;
    for &end in cuts.iter().chain([&request.len()]) {
        server.input().extend_from_slice(&request[start..end]);
        start = end;
        match server.poll() {
            Ok(None) => assert!(server.output().is_empty(), "words before the decision"),
            Ok(Some(pending)) => {
                assert!(server.output().is_empty(), "words before the decision");
                // What comes behind the head is kept for the connection.
                let head = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
                return Ok((pending, request[head..].into()));
            }
            Err(error) => {
                // RFC 6455 §4.2.1: "the server MUST stop processing the client's handshake".
                for late in [&request[start..], &Head::request().bytes()] {
                    server.input().extend_from_slice(late);
                    assert_eq!(server.poll().unwrap_err(), error, "an error is final");
                    assert!(server.input().is_empty(), "input after it is dropped");
                }
                let mut output = vec![0; server.output().remaining()];
                server.output().copy_to_slice(&mut output);
                server.input().extend_from_slice(b"more");
                assert_eq!(server.poll().unwrap_err(), error);
                assert!(server.output().is_empty(), "a second answer");
                return Err(Failure { error, output, at: start });
            }
        }
    }
    panic!("no end to {:?}", String::from_utf8_lossy(request));
}

/// What a client that offers the subprotocols `chat` and `superchat` makes of an answer, at every cut.
pub(crate) fn connect(answer: impl AsRef<[u8]>) -> Result<Established, HandshakeError> {
    let request = ClientRequest::new("server.example.com", "/chat").unwrap();
    let request = request.subprotocol("chat").unwrap().subprotocol("superchat").unwrap();
    connect_as(&request, answer.as_ref(), false)
}

/// If `eof`, the transport ends behind the answer.
pub(crate) fn connect_as(
    request: &ClientRequest,
    answer: &[u8],
    eof: bool,
) -> Result<Established, HandshakeError> {
    let mut results: Vec<Result<(Response, Vec<u8>), HandshakeError>> = Vec::new();
    for cuts in all_cuts(answer.len()) {
        results.push(connect_cut(request, answer, &cuts, eof).map(|(established, late)| {
            let (response, rest) = established.into_parts();
            (response, [&rest, late].concat())
        }));
        assert_eq!(results.last(), results.first(), "cut at {cuts:?}");
    }
    connect_cut(request, answer, &[], eof).map(|(established, _)| established)
}

/// Also gives the bytes that were not fed any more.
fn connect_cut<'a>(
    request: &ClientRequest,
    answer: &'a [u8],
    cuts: &[usize],
    eof: bool,
) -> Result<(Established, &'a [u8]), HandshakeError> {
    let mut client = ClientHandshake::new(request, NONCE);
    let output = client.output();
    output.advance(output.len());
    let mut start = 0;
    for &end in cuts.iter().chain([&answer.len()]) {
        client.input().extend_from_slice(&answer[start..end]);
        start = end;
        let mut result = client.poll();
        if eof && end == answer.len() && matches!(result, Ok(None)) {
            client.input_eof();
            result = client.poll();
        }
        // RFC 6455 §4.1: it "MUST wait for a response from the server before sending any further data."
        assert!(client.output().is_empty(), "words before the answer");
        match result {
            Ok(None) => {}
            Ok(Some(established)) => return Ok((established, &answer[start..])),
            Err(error) => {
                let later = match error {
                    HandshakeError::Refused(_) => HandshakeError::Finished,
                    _ => error.clone(),
                };
                for late in [&answer[start..], &Head::answer().bytes()] {
                    client.input().extend_from_slice(late);
                    assert_eq!(client.poll().unwrap_err(), later, "an error is final");
                }
                assert!(client.output().is_empty());
                return Err(error);
            }
        }
    }
    panic!("no end to {:?}", String::from_utf8_lossy(answer));
}
