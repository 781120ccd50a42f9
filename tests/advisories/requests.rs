//! Heads that two readers could understand in two ways, and values that would write heads of their own.

use bytes::Buf;
use taut::proto::handshake::{
    Accept, BuildError, ClientHandshake, ClientRequest, HandshakeError, Pending, Reject, ServerHandshake,
    WebSocketUri,
};
use taut::proto::{Config, Output};

use crate::Numbers;
use crate::heads::{ACCEPT_FIELD, Head, KEY_FIELD, NONCE, connect, head_of, serve};
use crate::wire::written;

/// What a server makes of a request that comes at once.
fn at_once(request: &[u8]) -> Result<Pending, HandshakeError> {
    let mut server = ServerHandshake::new();
    server.input().extend_from_slice(request);
    server.poll().map(|pending| pending.expect("a whole head"))
}

/// The answer to a request that asks for an upgrade and is something else as well. `serve` also sees to it that nothing
/// behind it is read, and that the answer ends the connection.
#[test]
fn smuggling_through_upgrades() {
    let request = Head::request;
    for (head, status) in [
        (request().and("Content-Length", "1"), 400),
        (request().and("Content-Length", "00000000001"), 400),
        (request().and("Content-Length", "+0"), 400),
        (request().and("Content-Length", "0, 5"), 400),
        (request().and("Content-Length", "0").and("Content-Length", "5"), 400),
        (request().and("Content-Length", "-1"), 400),
        (request().and("Content-Length", "18446744073709551616"), 400),
        (request().and("Transfer-Encoding", "chunked"), 400),
        (request().and("Transfer-Encoding", "identity"), 400),
        (request().and("transfer-encoding", "\tchunked"), 400),
        (request().and("Transfer-Encoding", "chunked").and("Content-Length", "0"), 400),
        (request().set("Sec-WebSocket-Version", "777"), 426),
        (request().set("Sec-WebSocket-Version", "13, 8"), 426),
        (request().set("Sec-WebSocket-Version", "013"), 426),
        (request().set("Sec-WebSocket-Version", "+13"), 426),
        (request().set("Upgrade", "h2c"), 426),
        (request().set("Upgrade", "websocket2"), 426),
        (request().set("Connection", "close"), 400),
        (request().with_line("POST /chat HTTP/1.1"), 405),
        (request().with_line("CONNECT server.example.com:80 HTTP/1.1"), 405),
        (request().with_line("GET /chat HTTP/1.0"), 400),
        (request().with_line("GET /chat HTTP/2.0"), 400),
        (request().with_line("GET /chat HTTP/1.1 "), 400),
        (request().with_line("GET /a b HTTP/1.1"), 400),
        (request().with_line("GET http://other.example.com/chat HTTP/1.1"), 400),
        (request().and("Host", "other.example.com"), 400),
    ] {
        for behind in ["", "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n", "0\r\n\r\n"] {
            let wire = [&head.bytes()[..], behind.as_bytes()].concat();
            let refusal = serve(wire).map(drop).unwrap_err();
            assert_eq!(refusal.answer.status, status, "{head:?}: {}", refusal.error);
        }
    }
    // How a line, a name and a value may be written, by bytes.
    for (from, to) in [
        ("Host: ", "Host : "),
        ("Host: ", " Host: "),
        ("Host: ", "Host\t: "),
        ("\r\nHost", "\nHost"),
        ("\r\nHost", "\rHost"),
        ("\r\nHost", "\r\n\tHost"),
        ("\r\nHost", "\r\nX: a\r\n b\r\nHost"),
        ("\r\nHost", "\r\nX: a\0b\r\nHost"),
        ("\r\nHost", "\r\n: a\r\nHost"),
        ("\r\nHost", "\r\nX\r\nHost"),
        ("GET ", "\r\nGET "),
        ("GET ", " GET "),
    ] {
        let wire = String::from_utf8(request().bytes()).unwrap().replacen(from, to, 1);
        assert!(wire != String::from_utf8(request().bytes()).unwrap());
        let refusal = serve(&wire).map(drop).unwrap_err();
        assert_eq!(refusal.answer.status, 400, "{wire:?}: {}", refusal.error);
    }
    // Nothing is hidden by these.
    for head in [
        request().and("Content-Length", "0"),
        request().set("Connection", "close, upgrade"),
        request().set("Connection", "keep-alive, Upgrade"),
    ] {
        assert!(serve(head.bytes()).is_ok(), "{head:?}");
    }
}

/// A second request behind one that was accepted is no request: its bytes are no frames, and nobody answers it.
#[test]
fn a_pipelined_request_is_never_answered() {
    let second = "GET /admin HTTP/1.1\r\nHost: server.example.com\r\n\r\n";
    let wire = [Head::request().bytes(), second.into()].concat();
    let pending = serve(wire).unwrap();
    assert_eq!(pending.request().target(), "/chat");
    let mut connection = pending.accept(Accept::new(), Config::new()).unwrap();
    assert!(connection.next_event().is_err());
    let (head, frames) = Head::parse(&written(&mut connection));
    assert_eq!(head.line(), "HTTP/1.1 101 Switching Protocols");
    assert_eq!((frames[0], &frames[2..4]), (0x88, &1002_u16.to_be_bytes()[..]));
    assert_eq!(frames.len(), 2 + usize::from(frames[1]), "one Close, and nothing more");
}

/// Fields that are to stand once do, wherever a second one is, whatever it says; and their order does not matter.
#[test]
fn single_fields_stand_once() {
    let single = ["Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Origin"];
    let mut fields: Vec<(&str, &str)> = vec![
        ("Host", "server.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY_FIELD),
        ("Sec-WebSocket-Version", "13"),
        ("Origin", "http://server.example.com"),
        ("Sec-WebSocket-Protocol", "chat"),
        ("Sec-WebSocket-Protocol", "superchat"),
    ];
    let mut numbers = Numbers::new(3);
    let head = |fields: &[(&str, &str)]| Head::new("GET /chat HTTP/1.1", fields).bytes();
    for _ in 0..30 {
        for at in (1..fields.len()).rev() {
            fields.swap(at, numbers.below(at + 1));
        }
        assert!(at_once(&head(&fields)).is_ok(), "{fields:?}");
        for name in single {
            let value = fields.iter().find(|field| field.0 == name).unwrap().1;
            for second in [value, "", "x", "13"] {
                let mut fields = fields.clone();
                let written = [name.to_ascii_lowercase(), name.to_ascii_uppercase()];
                fields.insert(numbers.below(fields.len() + 1), (&written[numbers.below(2)], second));
                let error = at_once(&head(&fields)).map(drop).unwrap_err();
                // Two versions are answered with the one that is spoken.
                let expected = match name {
                    "Sec-WebSocket-Version" => HandshakeError::Version,
                    _ => HandshakeError::RepeatedField(name),
                };
                assert_eq!(error, expected, "{fields:?}");
            }
        }
    }
    for name in ["Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"] {
        for second in [ACCEPT_FIELD, "chat", ""] {
            let answer = Head::answer().set("Sec-WebSocket-Protocol", "chat").and(name, second);
            let error = connect(answer.bytes()).unwrap_err();
            assert_eq!(error, HandshakeError::RepeatedField(name));
        }
    }
}

/// What does not stand for sixteen bytes. (Bits that the last character leaves over may be anything.)
#[test]
fn malformed_keys() {
    for key in [
        "",
        "=",
        "====",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZTE=",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZQ==A",
        "dGhl IHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25j_-==",
        "dGhlIHNhbXBsZSBub25jZ\u{e9}==",
        "=dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
    ] {
        let refusal = serve(Head::request().set("Sec-WebSocket-Key", key).bytes()).map(drop).unwrap_err();
        assert_eq!(refusal.error, HandshakeError::Key, "{key}");
        assert_eq!(refusal.answer.status, 400);
    }
}

/// Each character counts, and there are no more and no fewer.
#[test]
fn accept_is_compared_in_full() {
    assert!(connect(Head::answer().bytes()).is_ok());
    let mut wrong: Vec<String> = (0..ACCEPT_FIELD.len())
        .flat_map(|at| {
            let mut other = ACCEPT_FIELD.as_bytes().to_vec();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            [String::from_utf8(other).unwrap(), ACCEPT_FIELD[..at].into(), ACCEPT_FIELD[at + 1..].into()]
        })
        .collect();
    wrong.extend([
        format!("{ACCEPT_FIELD}="),
        format!("{ACCEPT_FIELD}, {ACCEPT_FIELD}"),
        format!("\"{ACCEPT_FIELD}\""),
        ACCEPT_FIELD.to_ascii_lowercase(),
        KEY_FIELD.into(),
    ]);
    for accept in wrong {
        let error = connect(Head::answer().set("Sec-WebSocket-Accept", &accept).bytes()).unwrap_err();
        assert_eq!(error, HandshakeError::Accept, "{accept}");
    }
}

/// Bytes that end a line, or that some reader takes for such, in each value that callers give: an error, and nothing to
/// send.
#[test]
fn header_injection_by_caller_values() {
    let bad = (0..=0x1F).filter(|&byte| byte != b'\t').chain([0x7F]).map(char::from);
    let folds = ["\r\n ", "\r\n\t", "\r\nX: y", "\n ", "\r\n\r\nGET / HTTP/1.1\r\n"].map(str::to_owned);
    for bad in bad.map(String::from).chain(folds) {
        for value in [format!("a{bad}b"), format!("{bad}b"), format!("a{bad}")] {
            let request = || ClientRequest::new("server.example.com", "/chat").unwrap();
            let accept = Accept::new;
            let reject = || Reject::new(403).unwrap();
            for name in ["Cookie", "Origin", "Authorization"] {
                let found = [
                    request().field(name, &value).err(),
                    accept().field(name, &value).err(),
                    reject().field(name, &value).err(),
                ];
                for found in found {
                    assert!(matches!(found, Some(BuildError::FieldValue { .. })), "{value:?}: {found:?}");
                }
            }
            let name = &value;
            for found in [
                request().field(name, "x").err(),
                accept().field(name, "x").err(),
                reject().field(name, "x").err(),
            ] {
                assert!(matches!(found, Some(BuildError::FieldName(_))), "{value:?}: {found:?}");
            }
            assert!(matches!(request().subprotocol(&value), Err(BuildError::Subprotocol(_))), "{value:?}");
            assert!(matches!(ClientRequest::new(&value, "/"), Err(BuildError::Host(_))), "{value:?}");
            let resource = format!("/{value}");
            assert!(matches!(ClientRequest::new("a", &resource), Err(BuildError::Resource(_))), "{value:?}");
            for uri in [format!("ws://{value}/"), format!("ws://a/{value}"), format!("ws://a/?{value}")] {
                assert!(WebSocketUri::parse(&uri).is_err(), "{uri:?}");
            }
            let pending = at_once(&Head::request().and("Sec-WebSocket-Protocol", "a, b").bytes()).unwrap();
            assert!(pending.accept(accept().subprotocol(&value), Config::new()).is_err(), "{value:?}");
        }
    }
    // Fields of the handshake cannot be given a second time.
    for name in ["Host", "upgrade", "Sec-WebSocket-Accept", "Content-Length", "Transfer-Encoding"] {
        assert!(ClientRequest::new("a", "/").unwrap().field(name, "x").is_err(), "{name}");
        assert!(Accept::new().field(name, "x").is_err(), "{name}");
    }
    // And what is allowed stands in one line of its own.
    let request = ClientRequest::new("a", "/").unwrap().field("Cookie", "a\tb=\u{e9}; c").unwrap();
    assert_eq!(head_of(&request).get("Cookie"), Some("a\tb=\u{e9}; c"));
    let mut client = ClientHandshake::new(&request, NONCE);
    let output = client.output();
    let written = output.copy_to_bytes(output.remaining());
    assert_eq!(written.windows(4).filter(|end| end == b"\r\n\r\n").count(), 1);
}

/// Whatever the client offers, an answer has one of these subprotocols, as it was offered, or none.
#[test]
fn chosen_subprotocol_was_offered() {
    let mut numbers = Numbers::new(4);
    let names = ["chat", "Chat", "v1.json", "a", "x", "chat2", "", "\"a\"", "a b", "a;b", "\u{e9}"];
    let commas = [",", ", ", " ,", "\t,\t", ",,"];
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..1500 {
        let mut value = String::new();
        for _ in 0..=numbers.below(3) {
            // Mostly what may be offered.
            let most = if numbers.below(8) == 0 { names.len() } else { 6 };
            value += names[numbers.below(most)];
            value += commas[numbers.below(commas.len())];
        }
        let chosen = names[numbers.below(names.len())];
        let request = Head::request().and("Sec-WebSocket-Protocol", &value);
        let Ok(pending) = at_once(&request.bytes()) else {
            refused += 1;
            continue;
        };
        let offered: Vec<&str> = value.split(',').map(|name| name.trim_matches([' ', '\t'])).collect();
        let fits = offered.contains(&chosen) && !chosen.trim().is_empty();
        match pending.accept(Accept::new().subprotocol(chosen), Config::new()) {
            Ok(mut connection) => {
                assert!(fits, "{chosen:?} of {value:?}");
                let (head, rest) = Head::parse(&written(&mut connection));
                assert_eq!((head.get("Sec-WebSocket-Protocol"), &*rest), (Some(chosen), &b""[..]));
                accepted += 1;
            }
            Err(error) => {
                assert!(!fits, "{chosen:?} of {value:?}");
                assert_eq!(error.reason(), &BuildError::SubprotocolNotOffered(chosen.into()));
            }
        }
    }
    assert!(refused > 100 && accepted > 50, "{refused} {accepted}");
    // A client holds the server to it.
    for answer in ["chat2", "Chat", "chat, superchat", "", "\"chat\""] {
        assert!(connect(Head::answer().and("Sec-WebSocket-Protocol", answer).bytes()).is_err(), "{answer:?}");
    }
}

/// The origin is shown as it came, so that the application can compare it in full; what cannot be one is refused.
#[test]
fn origin_is_shown() {
    for origin in ["null", "https://example.com", "https://example.com:8443", "https://EXAMPLE.com.evil.test"]
    {
        let pending = serve(Head::request().and("Origin", origin).bytes()).unwrap();
        assert_eq!(pending.request().origin(), Some(origin));
        let answer = written_reject(pending.reject(Reject::new(403).unwrap()));
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n"), "{answer}");
    }
    assert_eq!(serve(Head::request().bytes()).unwrap().request().origin(), None);
    for origin in ["https://a.test\u{e9}", "https://a.test b"] {
        let refusal = serve(Head::request().and("Origin", origin).bytes()).map(drop).unwrap_err();
        assert_eq!(refusal.error, HandshakeError::Origin, "{origin}");
    }
}

fn written_reject(mut output: Output) -> String {
    String::from_utf8(output.copy_to_bytes(output.remaining()).to_vec()).unwrap()
}
