//! Heads that are long, come slowly, or name strange things.

use bytes::Buf;
use taut::proto::HandshakeLimits;
use taut::proto::handshake::{ClientHandshake, ClientRequest, HandshakeError, ServerHandshake};

use crate::heads::{Head, NONCE, connect, serve};
use crate::heap::Heap;

const SEC_FIELDS: [&str; 5] = [
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Accept",
];

fn client() -> ClientHandshake {
    let mut client = ClientHandshake::new(&ClientRequest::new("server.example.com", "/chat").unwrap(), NONCE);
    let output = client.output();
    output.advance(output.remaining());
    client
}

/// Before each byte, all that came before it is overwritten: with what no head has, and with what ends one. Who looks
/// at it again fails, or believes that the head ends there; only the last byte finds the head as it was.
#[test]
fn handshake_byte_by_byte_is_linear() {
    let long = "x".repeat(15_000);
    for junk in [&b"\0"[..], b"\r\n\r\n", b"\n"] {
        let junk = junk.repeat(20_000);
        let request = Head::request().and("X-Long", &long).bytes();
        let mut server = ServerHandshake::new();
        for (at, &byte) in request.iter().enumerate() {
            let seen = if at + 1 == request.len() { &request } else { &junk };
            server.input().copy_from_slice(&seen[..at]);
            server.input().extend_from_slice(&[byte]);
            let whole = server.poll().unwrap_or_else(|error| panic!("at {at}: {error}")).is_some();
            assert_eq!(whole, at + 1 == request.len(), "at {at}");
        }

        let answer = Head::answer().and("X-Long", &long).bytes();
        let mut client = client();
        for (at, &byte) in answer.iter().enumerate() {
            let seen = if at + 1 == answer.len() { &answer } else { &junk };
            client.input().copy_from_slice(&seen[..at]);
            client.input().extend_from_slice(&[byte]);
            let whole = client.poll().unwrap_or_else(|error| panic!("at {at}: {error}")).is_some();
            assert_eq!(whole, at + 1 == answer.len(), "at {at}");
        }
    }
}

/// A head without an end, in fields or in bytes, byte by byte or in large reads, takes the memory of its limit.
#[test]
fn endless_heads_end_at_their_limit() {
    for piece in [1_usize, 1000, 100_000] {
        for (begin, unit, fields) in [
            ("GET / HTTP/1.1\r\n", "A: b\r\n", true),
            ("GET / HTTP/1.1\r\nX: ", "x", false),
            ("GET /", "x", false),
            ("", "x", false),
        ] {
            let before = Heap::now();
            let mut server = ServerHandshake::new();
            server.input().extend_from_slice(begin.as_bytes());
            let wire = unit.repeat(piece.div_ceil(unit.len()));
            let mut fed = begin.len();
            let error = loop {
                match server.poll() {
                    Ok(pending) => assert!(pending.is_none()),
                    Err(error) => break error,
                }
                server.input().extend_from_slice(wire.as_bytes());
                fed += wire.len();
                assert!(fed <= (16 << 10) + wire.len() + 1, "{fed} bytes pass");
            };
            let expected =
                [HandshakeError::HeadTooLong { max: 16 << 10 }, HandshakeError::TooManyFields { max: 100 }];
            assert_eq!(error, expected[usize::from(fields)]);
            assert_eq!(error.status(), Some(431));
            assert!(
                before.peak() <= 2 * ((20 << 10) + wire.len() as isize) + (4 << 10) + wire.len() as isize
            );
            assert!(before.owned() <= (2 << 10) + wire.len() as isize, "{} bytes stay", before.owned());
        }
    }
}

/// So are all parts of an answer: its head, the answers before it, the body of a refusal, and the lines of its chunks.
#[test]
fn endless_answers_end_at_their_limit() {
    let refusal = "HTTP/1.1 403 No\r\n";
    let cases = [
        ("HTTP/1.1 101 Switching Protocols\r\n".to_owned(), "A: b\r\n"),
        ("HTTP/1.1 101 Switching Protocols\r\nX: ".into(), "x"),
        ("HTTP/1.1 101 ".into(), "x"),
        (String::new(), "HTTP/1.1 100 Continue\r\n\r\n"),
        (String::new(), "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"),
        (format!("{refusal}\r\n"), "x"),
        (format!("{refusal}Content-Length: 18446744073709551615\r\n\r\n"), "x"),
        (format!("{refusal}Transfer-Encoding: chunked\r\n\r\n"), "1\r\nx\r\n"),
        (format!("{refusal}Transfer-Encoding: chunked\r\n\r\n1;"), "x"),
        (format!("{refusal}Transfer-Encoding: chunked\r\n\r\n"), "0"),
        (format!("{refusal}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n"), "x"),
        (format!("{refusal}Transfer-Encoding: chunked\r\n\r\n0\r\n"), "A: b\r\n"),
    ];
    for (begin, unit) in cases {
        let request = ClientRequest::new("server.example.com", "/chat").unwrap();
        let before = Heap::now();
        let limits = HandshakeLimits::new().max_body(50_000);
        let mut client = ClientHandshake::with_limits(&request, NONCE, limits);
        let output = client.output();
        output.advance(output.remaining());
        client.input().extend_from_slice(begin.as_bytes());
        let wire = unit.repeat(1000_usize.div_ceil(unit.len()));
        let mut fed = 0;
        let error = loop {
            match client.poll() {
                Ok(established) => assert!(established.is_none()),
                Err(error) => break error,
            }
            client.input().extend_from_slice(wire.as_bytes());
            fed += wire.len();
            assert!(fed < 1 << 20, "{begin:?} and {unit:?} without an end");
        };
        if let HandshakeError::Refused(response) = &error {
            assert!(response.body().len() <= 50_000);
            // What comes behind the last chunk is not waited for.
            assert_eq!(response.body_is_whole(), unit == "A: b\r\n");
        }
        assert!(before.peak() <= 256 << 10, "{begin:?} and {unit:?} took {}", before.peak());
    }
}

/// Whatever stands in the last field that the limit allows is read, and nothing behind it: no field hides.
#[test]
fn header_count_at_its_limit() {
    let fill = |mut head: Head, last: &str, count: usize| {
        let value = head.get(last).unwrap().to_owned();
        head = head.without(last);
        for _ in 0..count {
            head = head.and("X-Fill", "x");
        }
        head.and(last, value)
    };
    for last in ["Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"] {
        assert!(serve(fill(Head::request(), last, 95).bytes()).is_ok(), "{last} is the hundredth");
        let refusal = serve(fill(Head::request(), last, 96).bytes()).unwrap_err();
        assert_eq!(refusal.error, HandshakeError::TooManyFields { max: 100 });
        assert_eq!(refusal.answer.status, 431);
    }
    for last in ["Upgrade", "Connection", "Sec-WebSocket-Accept"] {
        assert!(connect(fill(Head::answer(), last, 97).bytes()).is_ok(), "{last} is the hundredth");
        let error = connect(fill(Head::answer(), last, 98).bytes()).unwrap_err();
        assert_eq!(error, HandshakeError::TooManyFields { max: 100 });
    }
}

/// Names that mean something to the language of an implementation mean nothing here, and some are none.
#[test]
fn extension_names_of_objects() {
    let names = ["constructor", "__proto__", "toString", "hasOwnProperty", "prototype", "0", "-1", "null"];
    for name in names {
        for field in SEC_FIELDS.iter().take(2) {
            let pending = serve(Head::request().and(field, name).bytes()).unwrap();
            assert_eq!(pending.request().fields().get(field), Some(name.as_bytes()));
        }
        let parameter = format!("permessage-deflate; {name}={name}, permessage-deflate; {name}");
        assert!(serve(Head::request().and("Sec-WebSocket-Extensions", parameter).bytes()).is_ok());
        let error = connect(Head::answer().and("Sec-WebSocket-Extensions", name).bytes()).unwrap_err();
        assert_eq!(error, HandshakeError::ExtensionNotOffered);
        let error = connect(Head::answer().and("Sec-WebSocket-Protocol", name).bytes()).unwrap_err();
        assert_eq!(error, HandshakeError::SubprotocolNotOffered);
    }
    for value in [
        &b""[..],
        b",",
        b";",
        b"=",
        b"a;",
        b"a;=b",
        b"\"a\"",
        b"a b",
        b"\xE9",
        b"a;b=\xFF",
        b"a;b=\"\xC3\xA9\"",
    ] {
        let refusal = serve(Head::request().and("Sec-WebSocket-Extensions", value).bytes()).unwrap_err();
        assert!(matches!(refusal.error, HandshakeError::Extensions { .. }), "{value:?}: {}", refusal.error);
        let error = connect(Head::answer().and("Sec-WebSocket-Extensions", value).bytes()).unwrap_err();
        assert!(matches!(error, HandshakeError::Extensions { .. }), "{value:?}: {error}");
    }
}

/// Values that make a parser go back at each byte, as long as a head can be: they are decided on at once. What that
/// takes is counted in instructions: `instructions_grow_with_the_input`.
#[test]
fn header_values_that_backtrack() {
    for unit in [
        " ", ",", ", ", "\t", "\"", "\\", "\\\"", "a;b=\"", "a;b=\"\\", "a,", ";", "a;", "=", "a =", "\u{e9}",
    ] {
        for prefix in ["", "a", "a;b=\"", "a;b=\"\\", "x,"] {
            let value = format!("{prefix}{}", unit.repeat(15_000 / unit.len()));
            for field in SEC_FIELDS {
                // In place of the field that there is, if there is one.
                let mut server = ServerHandshake::new();
                server.input().extend_from_slice(&Head::request().set(field, &value).bytes());
                assert!(!matches!(server.poll(), Ok(None)), "{field}: {prefix} and {unit}");
                let mut client = client();
                client.input().extend_from_slice(&Head::answer().set(field, &value).bytes());
                assert!(!matches!(client.poll(), Ok(None)), "{field}: {prefix} and {unit}");
            }
        }
    }
}
