//! The oracle of `client_handshake`: an answer opens the connection exactly if a slow reader finds all in it that RFC
//! 6455 §4.1 asks for, however it is cut; no byte behind it is lost; one that refuses is told with its body.

mod twin;

use bytes::{Buf, BytesMut};
use taut::proto::handshake::{
    ClientHandshake, ClientRequest, Established, HandshakeError, Response, ServerHandshake,
};
use taut::proto::{Config, Deflate};

use crate::extensions::wish;
use crate::handshake::{Handshake, MAX_WIRE, Run, compare, drive};
use crate::http::{Head, accept, base64};
use crate::script::{Piece, Script, Wire};
use twin::{Body, Verdict};

pub use crate::handshake::Input;

/// Drives handshakes through the input, and compares what they make of it.
///
/// # Panics
/// If a handshake does what it must not.
pub fn check(input: &Input) {
    check_request(input);
    let wire = input.script.wire(MAX_WIRE, line);
    let (verdict, heads) = twin::read(&wire.bytes, input, &subprotocols(input), &offers(input));
    let (outcome, _) = compare(&wire, |wire| {
        let mut handshake = ClientHandshake::with_limits(&request(input), NONCE, input.limits());
        let run = drive(&mut handshake, input, wire, &heads);
        outcome(handshake, run, wire)
    });
    match (&outcome, &verdict) {
        (Outcome::Waits(None), Verdict::Further) => assert!(!input.ends),
        (Outcome::Fails(HandshakeError::UnexpectedEof { received }), Verdict::Further) => {
            assert!(input.ends && *received == wire.bytes.len());
        }
        (Outcome::Fails(error), Verdict::Fails(expected)) => {
            assert!(expected.as_ref().is_none_or(|expected| expected == error), "{error:?}");
        }
        (Outcome::Refuses(response) | Outcome::Waits(Some(response)), Verdict::Refuses(head, body)) => {
            check_refusal(input, response, head, body, matches!(outcome, Outcome::Waits(_)));
        }
        (Outcome::Opens { response, rest, subprotocol, deflate }, Verdict::Opens(head, end, agreed)) => {
            assert_eq!(*rest, wire.bytes[*end..], "no byte behind the head is lost");
            assert_eq!((subprotocol.as_deref(), *deflate), (agreed.0.as_deref(), agreed.1));
            compare_heads(response, head);
            assert!(response.body().is_empty() && response.body_is_whole());
        }
        _ => panic!("{outcome:?} instead of {verdict:?}"),
    }
}

/// What came of a handshake.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// Bytes are missing; perhaps the answer refuses already.
    Waits(Option<Box<Response>>),
    Fails(HandshakeError),
    Refuses(Box<Response>),
    Opens {
        response: Response,
        rest: Vec<u8>,
        subprotocol: Option<String>,
        deflate: Option<Deflate>,
    },
}

fn outcome(mut handshake: ClientHandshake, run: Run<Established>, wire: &Wire) -> (Outcome, usize) {
    let outcome = match run.result {
        Ok(None) => Outcome::Waits(handshake.take_refusal()),
        Err(HandshakeError::Refused(response)) => {
            assert_eq!(handshake.take_refusal(), None, "it is told once");
            Outcome::Refuses(response)
        }
        Err(error) => Outcome::Fails(error),
        Ok(Some(established)) => {
            let (response, agreement) = (established.response().clone(), established.agreement().clone());
            let (subprotocol, deflate) = (agreement.subprotocol().map(str::to_owned), agreement.deflate());
            let mut connection = established.into_connection(Config::new(), || [0; 4]);
            assert!(
                connection.output().chunk().starts_with(b"GET "),
                "the request still waits to be written"
            );
            let mut rest = connection.unparsed().to_vec();
            rest.extend_from_slice(&wire.bytes[run.fed..]);
            Outcome::Opens { response, rest, subprotocol, deflate }
        }
    };
    (outcome, run.fed)
}

/// The request says what it must (RFC 6455 §4.1), and a server of ours takes it.
fn check_request(input: &Input) {
    let mut handshake = ClientHandshake::new(&request(input), NONCE);
    let bytes = handshake.output().chunk().to_vec();
    assert_eq!(bytes.len(), handshake.output().len(), "in one piece");
    let head = Head::read(&bytes).expect("a head, and nothing behind it");
    assert_eq!(head.request_line(), Some(("GET", "/chat?room=1", "HTTP/1.1")));
    let key = base64(&NONCE);
    for (name, value) in [
        ("host", "example.com:8080"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", &*key),
        ("sec-websocket-version", "13"),
    ] {
        assert_eq!(head.only(name), Some(value.as_bytes()), "{name}");
    }
    let offered: Vec<_> = subprotocols(input).iter().map(|name| name.as_bytes()).collect();
    assert_eq!(head.list("sec-websocket-protocol"), offered);
    let mut server = ServerHandshake::new();
    server.feed(&bytes);
    assert!(server.poll().expect("a good request").is_some());
}

fn check_refusal(input: &Input, response: &Response, head: &Head, body: &Body, waits: bool) {
    compare_heads(response, head);
    assert!(response.body().len() <= input.max_body);
    match body {
        Body::Whole(bytes) => assert_eq!((response.body(), response.body_is_whole()), (&bytes[..], true)),
        Body::Cut(bytes) => assert_eq!((response.body(), response.body_is_whole()), (&bytes[..], false)),
        Body::Further(bytes) => {
            assert_eq!((response.body(), response.body_is_whole()), (&bytes[..], false));
            assert_eq!(waits, !input.ends);
        }
        Body::Unclear => {}
    }
}

fn compare_heads(response: &Response, head: &Head) {
    assert_eq!(Some(response.status()), head.status_line().map(|line| line.1));
    let fields: Vec<_> =
        response.fields().iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect();
    assert_eq!(fields, head.fields);
}

fn request(input: &Input) -> ClientRequest {
    let request = ClientRequest::new("example.com:8080", "/chat?room=1").expect("a host and a resource");
    let offered = |request: ClientRequest, name: &&str| request.subprotocol(name).expect("a token");
    let request = subprotocols(input).iter().fold(request, offered);
    offers(input).into_iter().fold(request, ClientRequest::deflate)
}

fn subprotocols(input: &Input) -> Vec<&'static str> {
    (0..).zip(SUBPROTOCOLS).filter(|(bit, _)| input.choice >> bit & 1 == 1).map(|(_, name)| name).collect()
}

fn offers(input: &Input) -> Vec<Deflate> {
    let offers = [(8, wish(input.wish)), (16, Deflate::new())];
    offers.into_iter().filter(|(bit, _)| input.choice & bit != 0).map(|(_, offer)| offer).collect()
}

impl Handshake for ClientHandshake {
    type Output = Established;

    fn input(&mut self) -> &mut BytesMut {
        self.input()
    }

    fn feed(&mut self, data: &[u8]) {
        self.feed(data);
    }

    fn input_eof(&mut self) {
        self.input_eof();
    }

    fn poll(&mut self) -> Result<Option<Established>, HandshakeError> {
        self.poll()
    }
}

fn line(number: u8) -> Vec<u8> {
    let line = LINES[usize::from(number) % LINES.len()];
    line.replace("ACCEPT", &accept(base64(&NONCE).as_bytes())).into_bytes()
}

const NONCE: [u8; 16] = *b"the sample nonce";

const SUBPROTOCOLS: [&str; 3] = ["chat", "Chat", "v2.chat"];

/// What answers are made of; `ACCEPT` stands for the right value.
const LINES: [&str; 40] = [
    "HTTP/1.1 101 Switching Protocols\r\n",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    "Sec-WebSocket-Accept: ACCEPT\r\n",
    "\r\n",
    "HTTP/1.1 101\r\n",
    "HTTP/1.0 101 Switching Protocols\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 403 Forbidden\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n",
    "HTTP/1.1 999 \r\n",
    "upgrade: WebSocket\r\n",
    "Upgrade: websocket, h2c\r\n",
    "connection: keep-alive, upgrade\r\n",
    "Connection: close\r\n",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n",
    "Sec-WebSocket-Protocol: chat\r\n",
    "Sec-WebSocket-Protocol: Chat\r\n",
    "Sec-WebSocket-Protocol: chat, Chat\r\n",
    "Sec-WebSocket-Protocol: \r\n",
    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_max_window_bits=10\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16\r\n",
    "Sec-WebSocket-Extensions: x-other\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 18446744073709551615\r\n",
    "Transfer-Encoding: chunked\r\n",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "a;name=\"value\"\r\n0123456789\r\n",
    "hello",
    "\u{81}\u{2}Hi",
    "A: b\r\n",
    " folded: line\r\n",
    "Sec-WebSocket-Version: 13\r\n",
    "ffffffffffffffff\r\n",
];

/// Every seed, with the name of its file.
#[must_use]
pub fn seeds() -> Vec<(String, Input)> {
    let mut seeds = Vec::new();
    let mut add = |name: &str, pieces: Vec<Piece>, change: &dyn Fn(&mut Input)| {
        let mut input = Input::new(Script::new(pieces));
        change(&mut input);
        seeds.push((name.to_owned(), input));
    };
    let lines = |numbers: &[u8]| numbers.iter().map(|&number| Piece::Line(number)).collect::<Vec<_>>();
    let good = |more: &[u8]| lines(&[&[0, 1, 2, 3][..], more].concat());
    let all = |input: &mut Input| input.choice = 31;
    add("good", good(&[4]), &|_| {});
    add("good-byte-by-byte", good(&[4]), &|input| input.script.cuts = [1, 1]);
    add("good-read", good(&[4, 35]), &|input| (input.reads, input.ends) = (true, false));
    add("good-then-frames", good(&[4, 35]), &|input| input.script.cuts = [129, 3]);
    add("good-in-other-words", lines(&[5, 14, 16, 3, 4]), &|_| {});
    add("good-after-others", [lines(&[7, 8]), good(&[4])].concat(), &|_| {});
    add("good-after-many", [lines(&[7]), vec![Piece::Repeat(255)], good(&[4])].concat(), &|input| {
        input.max_head = HEADS_FOR_MANY
    });
    for number in [19, 20, 21, 22] {
        add(&format!("subprotocol-{number}"), good(&[number, 4]), &all);
    }
    for number in [23, 24, 25, 26] {
        add(&format!("extension-{number}"), good(&[number, 4]), &all);
        add(&format!("extension-{number}-not-offered"), good(&[number, 4]), &|_| {});
    }
    add("extension-twice", good(&[23, 23, 4]), &all);
    add("accept-wrong", lines(&[0, 1, 2, 18, 4]), &|_| {});
    add("accept-twice", good(&[3, 4]), &|_| {});
    add("accept-missing", lines(&[0, 1, 2, 4]), &|_| {});
    add("upgrade-to-more", lines(&[0, 15, 2, 3, 4]), &|_| {});
    add("connection-close", lines(&[0, 1, 17, 3, 4]), &|_| {});
    add("version-1.0", lines(&[6, 1, 2, 3, 4]), &|_| {});
    add("folded", good(&[37, 4]), &|_| {});
    add("no-end", good(&[]), &|_| {});
    add("no-end-yet", good(&[]), &|input| input.ends = false);
    add("nothing", vec![], &|_| {});
    add("other-protocol", vec![Piece::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec())], &|_| {});
    add(
        "control-byte",
        good(&[36, 4]).into_iter().chain([Piece::Spoil { back: 4, xor: b'b' }]).collect(),
        &|_| {},
    );
    for limit in [0, 1, 60, 129] {
        add(&format!("limit-head-{limit}"), good(&[4]), &|input| input.max_head = limit);
    }
    for limit in [0, 2, 3, 4] {
        add(&format!("limit-fields-{limit}"), good(&[36, 4]), &|input| input.max_fields = limit);
    }
    for (name, body) in [
        ("length", &[10, 27, 4, 34][..]),
        ("length-zero", &[10, 28, 4, 34]),
        ("length-huge", &[10, 29, 4, 34]),
        ("length-cut", &[10, 27, 4]),
        ("until-the-end", &[9, 4, 34]),
        ("without", &[11, 4, 34]),
        ("redirect", &[12, 4]),
        ("status-999", &[13, 4]),
        ("chunks", &[10, 30, 4, 31, 33, 32]),
        ("chunk-huge", &[10, 30, 4, 39, 34]),
        ("chunk-cut", &[10, 30, 4, 31]),
        ("chunk-and-length", &[10, 30, 27, 4, 31, 32]),
    ] {
        add(&format!("refusal-{name}"), lines(body), &|_| {});
        add(&format!("refusal-{name}-limit"), lines(body), &|input| {
            (input.max_body, input.ends) = (3, false);
            input.script.cuts = [1, 1];
        });
    }
    seeds
}

/// A limit that many interim answers reach.
const HEADS_FOR_MANY: usize = 1000;
