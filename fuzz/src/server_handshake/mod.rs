//! The oracle of `server_handshake`: a request is handed over exactly if a slow reader finds all in it that RFC 6455
//! §4.2.1 asks for, however it is cut; no byte behind it is lost; each answer is one answer, whatever the request
//! says, and a client of ours understands it.

mod twin;

use bytes::{Buf, BytesMut};
use taut::proto::handshake::{
    Accept, BuildError, ClientHandshake, ClientRequest, HandshakeError, Pending, Reject, Request,
    ServerHandshake,
};
use taut::proto::{Config, Output};

use crate::extensions::twin as extensions;
use crate::extensions::wish;
use crate::handshake::{Handshake, MAX_WIRE, Run, compare, drive};
use crate::http::{Head, accept, nonce};
use crate::script::{Piece, Script, Wire};
use twin::Verdict;

pub use crate::handshake::Input;

/// Drives handshakes through the input, and compares what they make of it.
///
/// # Panics
/// If a handshake does what it must not.
pub fn check(input: &Input) {
    let wire = input.script.wire(MAX_WIRE, line);
    let (verdict, heads) = twin::read(&wire.bytes, input);
    let (outcome, _) = compare(&wire, |wire| {
        let mut handshake = ServerHandshake::with_limits(input.limits());
        let run = drive(&mut handshake, input, wire, &heads);
        outcome(handshake, run, wire, input)
    });
    match (&outcome, &verdict) {
        (Outcome::Waits(answer), Verdict::Further) => {
            assert!(!input.ends);
            check_refusal(answer, 408, "");
        }
        (Outcome::Fails(HandshakeError::UnexpectedEof { received }, answer), Verdict::Further) => {
            assert!(input.ends && *received == wire.bytes.len());
            assert!(answer.is_empty(), "nobody waits for an answer");
        }
        (Outcome::Fails(error, answer), Verdict::Fails(expected)) => {
            assert!(expected.as_ref().is_none_or(|expected| expected == error), "{error:?}");
            let status = error.status().expect("what is refused gets a status");
            check_refusal(answer, status, &error.to_string());
        }
        (Outcome::Opens { request, rest, answer }, Verdict::Opens(head, end)) => {
            if let Some(rest) = rest {
                assert_eq!(*rest, wire.bytes[*end..], "no byte behind the head is lost");
            }
            check_request(request, head);
            check_answer(input, head, answer);
        }
        _ => panic!("{outcome:?} instead of {verdict:?}"),
    }
}

/// What came of a handshake.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// Bytes are missing; what is answered when time is over.
    Waits(Vec<u8>),
    Fails(HandshakeError, Vec<u8>),
    /// The request, what came behind it, if the application sees that, and what it answers.
    Opens {
        request: Request,
        rest: Option<Vec<u8>>,
        answer: Vec<u8>,
    },
}

fn outcome(
    mut handshake: ServerHandshake,
    run: Run<Pending>,
    wire: &Wire,
    input: &Input,
) -> (Outcome, usize) {
    let outcome = match run.result {
        Ok(None) => {
            assert!(handshake.output().is_empty(), "nothing is said before the head is whole");
            handshake.time_out();
            assert_eq!(handshake.poll().expect_err("time is over"), HandshakeError::Finished);
            Outcome::Waits(written(handshake.output()))
        }
        Err(error) => Outcome::Fails(error, written(handshake.output())),
        Ok(Some(pending)) => {
            let request = pending.request().clone();
            let (answer, rest) = decide(input, pending);
            let rest = rest.map(|rest| [&rest[..], &wire.bytes[run.fed..]].concat());
            Outcome::Opens { request, rest, answer }
        }
    };
    (outcome, run.fed)
}

/// What the application answers, and what came behind the request.
fn decide(input: &Input, pending: Pending) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut accept = Accept::new();
    let offered: Vec<_> = pending.request().subprotocols().map(str::to_owned).collect();
    if let Some(name) = chosen(input, &offered) {
        accept = accept.subprotocol(&name);
    }
    if input.choice & 8 != 0 {
        accept = accept.deflate(wish(input.wish));
    }
    if input.choice & 16 != 0 {
        accept = accept.field("Set-Cookie", COOKIE).expect("a good field");
    }
    match input.choice & 7 {
        4 => (written(&mut pending.reject(refusal(403))), None),
        5 => (Vec::new(), Some(pending.into_parts().1.to_vec())),
        _ => match pending.accept(accept, Config::new()) {
            Ok(mut connection) => {
                let rest = connection.unparsed().to_vec();
                (written(connection.output()), Some(rest))
            }
            Err(error) => {
                assert!(matches!(error.reason(), BuildError::SubprotocolNotOffered(_)));
                (written(&mut error.into_pending().reject(refusal(500))), None)
            }
        },
    }
}

/// Which subprotocol the application wants of those that were offered.
fn chosen(input: &Input, offered: &[String]) -> Option<String> {
    match input.choice & 7 {
        1 => offered.first().cloned(),
        2 => Some("chat".to_owned()),
        3 => Some("chat\r\nX-Split: yes".to_owned()),
        _ => None,
    }
}

fn refusal(status: u16) -> Reject {
    let reject = Reject::new(status).expect("a status that refuses");
    reject.field("Content-Type", "text/plain").expect("a good field").body(BODY)
}

/// The request is what the slow reader read.
fn check_request(request: &Request, head: &Head) {
    let line = (request.method(), request.target(), "HTTP/1.1");
    assert_eq!(head.request_line(), Some(line));
    let fields: Vec<_> =
        request.fields().iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect();
    assert_eq!(fields, head.fields);
    assert_eq!(Some(request.host().as_bytes()), head.only("host"));
    assert_eq!(request.origin().map(str::as_bytes), head.only("origin"));
    let offered: Vec<_> = request.subprotocols().map(str::as_bytes).collect();
    assert_eq!(offered, head.list("sec-websocket-protocol"));
}

/// The answer to a good request: these lines, these values, and nothing else.
fn check_answer(input: &Input, request: &Head, answer: &[u8]) {
    let offered: Vec<_> = request.list("sec-websocket-protocol");
    let names: Vec<_> = offered.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let subprotocol = chosen(input, &names);
    match input.choice & 7 {
        4 => return check_refusal(answer, 403, BODY),
        5 => return assert!(answer.is_empty()),
        _ if subprotocol.as_ref().is_some_and(|name| !names.contains(name)) => {
            return check_refusal(answer, 500, BODY);
        }
        _ => {}
    }
    let head = Head::read(answer).expect("one head, and nothing behind it");
    assert_eq!(head.status_line(), Some(("HTTP/1.1", 101)));
    let key = request.only("sec-websocket-key").expect("a key");
    let mut expected = vec![("upgrade", "websocket".to_owned()), ("connection", "Upgrade".to_owned())];
    expected.push(("sec-websocket-accept", accept(key)));
    expected.extend(subprotocol.clone().map(|name| ("sec-websocket-protocol", name)));
    let offers = extensions::read(&request.all("sec-websocket-extensions")).expect("a good request");
    let most = Some(wish(input.wish)).filter(|_| input.choice & 8 != 0);
    let agreed = most.and_then(|most| extensions::accept(most, &offers));
    assert_eq!(head.all("sec-websocket-extensions").len(), usize::from(agreed.is_some()));
    expected.extend((input.choice & 16 != 0).then(|| ("set-cookie", COOKIE.to_owned())));
    let found = head.fields.iter().filter(|field| field.0 != "sec-websocket-extensions");
    let found: Vec<_> =
        found.map(|(name, value)| (&**name, String::from_utf8_lossy(value).into_owned())).collect();
    assert_eq!(found, expected);

    // A client that had sent this key, and offered this, takes the answer.
    if agreed.is_none() {
        let nonce = nonce(key).expect("a key of sixteen bytes");
        let mut client =
            names.iter().fold(client(), |client, name| client.subprotocol(name).expect("a token"));
        client = client.field("X-Padding", "").expect("a good field");
        let mut handshake = ClientHandshake::new(&client, nonce);
        handshake.feed(answer);
        let result = handshake.poll();
        // Bits that a key leaves over are not those that our client sends.
        if crate::http::base64(&nonce).as_bytes() == key {
            let established = result.expect("a good answer").expect("a whole answer");
            assert_eq!(established.subprotocol(), subprotocol.as_deref());
        }
    }
}

/// An answer that refuses is one answer, with no field of the peer's; a client of ours reads it whole.
fn check_refusal(answer: &[u8], status: u16, body: &str) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let (head, content) = answer.split_at(end);
    let head = Head::read(head).expect("a head");
    assert_eq!(head.status_line(), Some(("HTTP/1.1", status)));
    let mut names: Vec<_> = head.fields.iter().map(|field| &*field.0).collect();
    let needed = match status {
        405 => "allow",
        426 => "upgrade",
        _ => "connection",
    };
    assert!(names.contains(&needed));
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    // RFC 9110 §15.5.22: 426 names the protocol, which the Connection field has to list as well.
    assert_eq!(names.len() + usize::from(status == 426), count, "each field once");
    assert!(names.iter().all(|name| OURS.contains(name)), "{names:?}");
    assert!(head.names("connection", "close"));
    assert_eq!(head.only("content-length"), Some(content.len().to_string().as_bytes()));
    let expected = if status == 405 { "" } else { body };
    assert_eq!(String::from_utf8_lossy(content).trim_end_matches('\n'), expected);
    let mut handshake = ClientHandshake::new(&client(), [0; 16]);
    handshake.feed(answer);
    let Err(HandshakeError::Refused(response)) = handshake.poll() else { panic!("a refusal") };
    assert_eq!((response.status(), response.body()), (status, content));
    assert!(response.body_is_whole());
}

fn client() -> ClientRequest {
    ClientRequest::new("a", "/").expect("a host")
}

/// All that waits to be written.
fn written(output: &mut Output) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = output.pop() {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(output.remaining(), 0);
    bytes
}

impl Handshake for ServerHandshake {
    type Output = Pending;

    fn input(&mut self) -> &mut BytesMut {
        self.input()
    }

    fn feed(&mut self, data: &[u8]) {
        self.feed(data);
    }

    fn input_eof(&mut self) {
        self.input_eof();
    }

    fn poll(&mut self) -> Result<Option<Pending>, HandshakeError> {
        self.poll()
    }
}

fn line(number: u8) -> Vec<u8> {
    LINES[usize::from(number) % LINES.len()].as_bytes().to_vec()
}

const COOKIE: &str = "a=b; Path=/";
const BODY: &str = "not you";

/// The fields of our refusals.
const OURS: [&str; 6] =
    ["allow", "connection", "content-length", "content-type", "sec-websocket-version", "upgrade"];

/// What requests are made of.
const LINES: [&str; 48] = [
    "GET /chat?room=1 HTTP/1.1\r\n",
    "Host: example.com\r\n",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "Sec-WebSocket-Version: 13\r\n",
    "\r\n",
    "GET http://example.com/chat HTTP/1.1\r\n",
    "GET http://elsewhere/ HTTP/1.1\r\n",
    "GET /a#b HTTP/1.1\r\n",
    "GET * HTTP/1.1\r\n",
    "GET / HTTP/1.0\r\n",
    "POST / HTTP/1.1\r\n",
    "HEAD / HTTP/1.1\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "Host: [::1]:9001\r\n",
    "Host: a b\r\n",
    "Host: user@example.com\r\n",
    "Host: example.com:65536\r\n",
    "Upgrade: h2c, WebSocket\r\n",
    "Upgrade: h2c\r\n",
    "Connection: keep-alive, upgrade\r\n",
    "Connection: close\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n",
    "Sec-WebSocket-Version: 777\r\n",
    "Sec-WebSocket-Version: 13, 8\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Origin: http://example.com\r\n",
    "Origin: http://a http://b\r\n",
    "Sec-WebSocket-Protocol: chat, superchat\r\n",
    "Sec-WebSocket-Protocol: chat\r\n",
    "Sec-WebSocket-Protocol: ,\r\n",
    "Sec-WebSocket-Protocol: a b\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8, permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: a; b=\"c\r\n",
    "A: b\r\n",
    "Cookie: session=1\r\n",
    " folded: line\r\n",
    "name : value\r\n",
    "GET / HTTP/1.1\r\nHost: smuggled\r\n\r\n",
    "\u{81}\u{82}\0\0\0\0Hi",
    ",",
    "host: example.com\r\n",
    "Sec-WebSocket-Protocol: chat%0d%0aX: y\r\n",
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
    let good = |more: &[u8]| lines(&[&[0, 1, 2, 3, 4, 5][..], more].concat());
    // The good request with another line in place of one of its own.
    let with = |place: usize, line: u8| {
        let mut numbers = [0, 1, 2, 3, 4, 5, 6];
        numbers[place] = line;
        lines(&numbers)
    };
    add("good", good(&[6]), &|_| {});
    add("good-byte-by-byte", good(&[6]), &|input| input.script.cuts = [1, 1]);
    add("good-read", good(&[6, 44]), &|input| (input.reads, input.ends) = (true, false));
    add("good-then-frames", good(&[6, 44]), &|input| input.script.cuts = [150, 3]);
    add("good-then-a-request", good(&[6, 43]), &|_| {});
    for choice in [1, 2, 3, 4, 5, 9, 16, 27] {
        add(&format!("choice-{choice}"), good(&[32, 36, 40, 30, 6, 44]), &|input| input.choice = choice);
    }
    for (what, place, others) in [
        ("line", 0, &[7, 8, 9, 10, 11, 12, 13, 14][..]),
        ("host", 1, &[15, 16, 17, 18, 39]),
        ("upgrade", 2, &[19, 20, 39]),
        ("connection", 3, &[21, 22, 39]),
        ("key", 4, &[23, 24, 39]),
        ("version", 5, &[25, 26, 39]),
    ] {
        for other in others {
            add(&format!("{what}-{other}"), with(place, *other), &|input| input.choice = 8);
        }
    }
    for more in [1, 4, 5, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 41, 42, 46, 47] {
        add(&format!("more-{more}"), good(&[more, 6]), &|input| input.choice = 9);
    }
    add("protocol-twice", good(&[32, 33, 6]), &|input| input.choice = 1);
    add("origin-twice", good(&[30, 30, 6]), &|_| {});
    add("no-end", good(&[]), &|_| {});
    add("no-end-yet", good(&[]), &|input| input.ends = false);
    add("nothing", vec![], &|_| {});
    add("tls", vec![Piece::Raw(b"\x16\x03\x01\x02\x00".to_vec())], &|_| {});
    add("line-feed-alone", vec![Piece::Raw(b"GET / HTTP/1.1\n".to_vec())], &|_| {});
    for limit in [0, 1, 60, 150] {
        add(&format!("limit-head-{limit}"), good(&[6]), &|input| input.max_head = limit);
    }
    for limit in [0, 4, 5, 6] {
        add(&format!("limit-fields-{limit}"), good(&[6]), &|input| input.max_fields = limit);
    }
    let long = [good(&[]), vec![Piece::Line(39), Piece::Repeat(255), Piece::Line(6)]].concat();
    add("many-fields", long.clone(), &|_| {});
    add("many-fields-in-bytes", long, &|input| (input.max_fields, input.script.cuts) = (usize::MAX, [1, 1]));
    let long = [good(&[39]), vec![Piece::Truncate(2), Piece::Filled { length: 15, filling: 1 }]].concat();
    add("long-field", long, &|input| input.script.cuts = [200, 199]);
    seeds
}
