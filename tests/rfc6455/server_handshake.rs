//! What a server takes for an opening handshake, and what it refuses (RFC 6455 §4.2.1, §4.3).

use taut::proto::handshake::{Extension, HandshakeError, ServerHandshake};
use taut::proto::{HandshakeLimits, Role};

use crate::heads::{Answer, Head, KEY_FIELD, Refusal, connect, serve, serve_within};
use crate::{BOTH, Row, SERVER};

pub(crate) const READING: &[Row] = &[
    Row {
        id: "S1",
        section: "4.2.1",
        who: SERVER,
        requirement: "\"the server MUST stop processing the client's handshake and return an HTTP response \
            with an appropriate error code (such as 400 Bad Request)\"",
        check: |_| {
            // `serve` asserts that processing stops, and that the answer is whole and ends the connection.
            for (head, status) in [
                (Head::request().without("Host"), 400),
                (Head::request().with_line("POST /chat HTTP/1.1"), 405),
                (Head::request().without("Upgrade"), 426),
                (Head::request().set("Sec-WebSocket-Version", "8"), 426),
                (Head::request().without("Connection"), 400),
                (Head::request().and("Content-Length", "5"), 400),
                (Head::request().and("Transfer-Encoding", "chunked"), 400),
                (Head::request().and("X Y", "no field name"), 400),
                (Head::request().and("X", "folded\r\n over two lines"), 400),
                (Head::request().and("X", "a\0b"), 400),
                (Head::request().and("X", "a\nY: b"), 400),
            ] {
                let refusal = assert_refused(head, status);
                assert!(refusal.head.get("Sec-WebSocket-Accept").is_none());
            }
        },
    },
    Row {
        id: "S1",
        section: "4.2.1",
        who: SERVER,
        requirement: "a head over our limits is refused at its limit, whatever it would say (RFC 6585 §5: \
            431)",
        check: |_| {
            let limits = HandshakeLimits::new().max_head(300).max_fields(6);
            let fits = Head::request().and("X", "y");
            let padding = "x".repeat(300 - fits.bytes().len());
            let fits = fits.set("X", format!("y{padding}"));
            assert_eq!(fits.bytes().len(), 300);
            assert!(serve_within(limits, &fits.bytes()).is_ok());
            let long = serve_within(limits, &fits.set("X", format!("yy{padding}")).bytes()).unwrap_err();
            assert_eq!(long.error, HandshakeError::HeadTooLong { max: 300 });
            assert_eq!((long.answer.status, long.at), (431, 300));
            let endless = serve_within(limits, &[b'G'; 1000]).unwrap_err();
            assert_eq!((endless.answer.status, endless.at), (431, 300));
            let many = Head::request().and("X", "1").and("Y", "2");
            let at = many.bytes().windows(3).position(|window| window == b"\nY:").unwrap() + 2;
            let many = serve_within(limits, &many.bytes()).unwrap_err();
            assert_eq!(many.error, HandshakeError::TooManyFields { max: 6 });
            assert_eq!((many.answer.status, many.at), (431, at));
            // Without a word from the application there is a limit, too.
            let many = (0..2000).fold(Head::request(), |head, _| head.and("X", "y"));
            let mut server = ServerHandshake::new();
            server.input().extend_from_slice(&many.bytes());
            assert_eq!(server.poll().unwrap_err().status(), Some(431));
        },
    },
    Row {
        id: "S2",
        section: "4.2.1",
        who: SERVER,
        requirement: "\"An HTTP/1.1 or higher GET request, including a 'Request-URI'\"",
        check: |_| {
            for method in ["POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "get", "Get", "GETS"] {
                let head = Head::request().with_line(format!("{method} /chat HTTP/1.1"));
                let answer = assert_refused(head, 405);
                assert_eq!(answer.head.get("Allow"), Some("GET"), "RFC 9110 §15.5.6");
                assert!(method != "HEAD" || answer.body.is_empty(), "RFC 9110 §9.3.2");
            }
            for version in
                ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "http/1.1", "HTTP/1.1.1", "HTTP/1,1", "WS/1.1", ""]
            {
                let head = Head::request().with_line(format!("GET /chat {version}"));
                assert_refused(head, 400);
            }
            for (target, resource) in [
                ("/", "/"),
                ("/chat?room=1", "/chat?room=1"),
                ("/%E2%82%AC", "/%E2%82%AC"),
                // "(or an absolute HTTP/HTTPS URI containing the /resource name/)"
                ("http://server.example.com/chat?x", "/chat?x"),
                ("HTTPS://Server.Example.com/", "/"),
                ("http://server.example.com", "/"),
            ] {
                let head = Head::request().with_line(format!("GET {target} HTTP/1.1"));
                let pending = serve(head.bytes()).unwrap();
                assert_eq!((pending.request().target(), pending.request().resource()), (target, resource));
            }
            for target in [
                "*",
                "chat",
                "server.example.com:80",
                "ftp://server.example.com/",
                "/chat#x",
                "/a b",
                "http://evil.example/",
            ] {
                assert_refused(Head::request().with_line(format!("GET {target} HTTP/1.1")), 400);
            }
        },
    },
    Row {
        id: "S2",
        section: "4.2.1",
        who: SERVER,
        requirement: "\"A |Host| header field containing the server's authority.\"",
        check: |_| {
            for host in
                ["server.example.com", "server.example.com:9001", "127.0.0.1:80", "[::1]:80", "localhost"]
            {
                let pending = serve(Head::request().set("Host", host).bytes()).unwrap();
                assert_eq!(pending.request().host(), host);
            }
            assert_refused(Head::request().without("Host"), 400);
            for host in ["", "a b", "a/b", "a@b", "a:b", "a:99999", "[::1", "a, b"] {
                assert_refused(Head::request().set("Host", host), 400);
            }
            // RFC 9112 §3.2: "more than one Host header field line".
            assert_refused(Head::request().and("Host", "server.example.com"), 400);
        },
    },
    Row {
        id: "S2",
        section: "4.2.1",
        who: SERVER,
        requirement: "\"An |Upgrade| header field containing the value 'websocket'\", a \"|Connection| \
            header field that includes the token 'Upgrade'\", in any case",
        check: |_| {
            for value in ["websocket", "WebSocket", "WEBSOCKET", "h2c, websocket", "\twebsocket ,x"] {
                assert!(serve(Head::request().set("Upgrade", value).bytes()).is_ok(), "{value}");
            }
            for value in ["Upgrade", "upgrade", "UPGRADE", "keep-alive, Upgrade", "Upgrade,close"] {
                assert!(serve(Head::request().set("Connection", value).bytes()).is_ok(), "{value}");
            }
            let two = Head::request().set("Connection", "keep-alive").and("Connection", "Upgrade");
            assert!(serve(two.bytes()).is_ok());
            assert_refused(Head::request().without("Upgrade"), 426);
            for value in ["", "h2c", "websockets", "web socket", "websocket/13", "\"websocket\""] {
                let answer = assert_refused(Head::request().set("Upgrade", value), 426);
                assert_eq!(answer.head.get("Upgrade"), Some("websocket"), "RFC 9110 §15.5.22");
            }
            assert_refused(Head::request().without("Connection"), 400);
            for value in ["", "close", "keep-alive", "Upgraded", "Up grade"] {
                assert_refused(Head::request().set("Connection", value), 400);
            }
        },
    },
    Row {
        id: "S2",
        section: "4.2.1",
        who: SERVER,
        requirement: "a key that \"when decoded, is 16 bytes in length\", and a version \"with a value of \
            13\"",
        check: |_| {
            // The second is the example of §4.1, which leaves bits over.
            for key in [
                KEY_FIELD,
                "AQIDBAUGBwgJCgsMDQ4PEC==",
                "+/+/+/+/+/+/+/+/+/+/+w==",
                " AAAAAAAAAAAAAAAAAAAAAA== ",
            ] {
                assert!(serve(Head::request().set("Sec-WebSocket-Key", key).bytes()).is_ok(), "{key}");
            }
            assert_refused(Head::request().without("Sec-WebSocket-Key"), 400);
            for key in [
                "",
                "the sample nonce",
                "dGhlIHNhbXBsZSBub25jZQ",
                "dGhlIHNhbXBsZSBub25jZQ=",
                "dGhlIHNhbXBsZSBub25jZQ===",
                // 15 and 17 bytes.
                "dGhlIHNhbXBsZSBub25j",
                "dGhlIHNhbXBsZSBub25jZSE=",
                "dGhlIHNhbXBsZSBub25jZSEh",
                // The other alphabet, and none.
                "-_-_-_-_-_-_-_-_-_-_-w==",
                "dGhlIHNhbXBs ZSBub25jZQ=",
                "dGhlIHNhbXBsZSBub2.jZQ==",
                "========================",
            ] {
                assert_refused(Head::request().set("Sec-WebSocket-Key", key), 400);
            }
            assert!(serve(Head::request().set("Sec-WebSocket-Version", " 13 ").bytes()).is_ok());
        },
    },
    Row {
        id: "S2",
        section: "4.2.1",
        who: SERVER,
        requirement: "\"the order of the header fields is not important\", names have no case, \"Unknown \
            header fields are ignored\"",
        check: |_| {
            let head = Head::new(
                "GET /chat HTTP/1.1",
                &[
                    ("sec-websocket-version", "13"),
                    ("X-Unknown", "\u{E9}, ;=\""),
                    ("SEC-WEBSOCKET-KEY", KEY_FIELD),
                    ("cONNECTION", "Upgrade"),
                    ("Cookie", "a=b"),
                    ("upgrade", "websocket"),
                    ("Authorization", "Basic eA=="),
                    ("host", "server.example.com"),
                    ("Content-Length", "0"),
                ],
            );
            let pending = serve(head.bytes()).unwrap();
            assert_eq!(pending.request().fields().text("cookie"), Some("a=b"));
            assert_eq!(pending.request().fields().text("AUTHORIZATION"), Some("Basic eA=="));
        },
    },
    Row {
        id: "S3",
        section: "4.2.1",
        who: SERVER,
        requirement: "\"A connection attempt lacking this header field SHOULD NOT be interpreted as coming \
            from a browser client.\"",
        check: |_| {
            let without = serve(Head::request().bytes()).unwrap();
            assert_eq!(without.request().origin(), None);
            for origin in ["http://www.example.com", "null", "https://a.example:8443"] {
                let pending = serve(Head::request().and("Origin", origin).bytes()).unwrap();
                assert_eq!(pending.request().origin(), Some(origin));
            }
            // One that cannot be read must not pass for none.
            for origin in [&b"http://caf\xE9.example"[..], b"http://a.example http://b.example"] {
                assert_refused(Head::request().and("Origin", origin), 400);
            }
            let two = Head::request().and("Origin", "http://a.example").and("Origin", "http://b.example");
            assert_refused(two, 400);
        },
    },
    Row {
        id: "S4",
        section: "4.2.2",
        who: SERVER,
        requirement: "another version: \"an appropriate HTTP error code (such as 426 Upgrade Required) and \
            a |Sec-WebSocket-Version| header field\"",
        check: |_| {
            for version in [
                "0", "7", "8", "12", "14", "25", "255", "130", "1", "3", "13, 8", "013", "+13", "13a", "1 3",
                "0x0d", "",
            ] {
                let answer = assert_refused(Head::request().set("Sec-WebSocket-Version", version), 426);
                assert_eq!(answer.head.get("Sec-WebSocket-Version"), Some("13"), "{version:?}");
                assert_eq!(answer.head.get("Upgrade"), Some("websocket"), "RFC 9110 §15.5.22");
                assert!(answer.head.list("Connection").contains(&"upgrade".into()), "RFC 9110 §7.8");
            }
            let answer = assert_refused(Head::request().without("Sec-WebSocket-Version"), 426);
            assert_eq!(answer.head.get("Sec-WebSocket-Version"), Some("13"));
        },
    },
    Row {
        id: "S11",
        section: "4.3",
        who: BOTH,
        requirement: "extension-list = 1#extension; \"the value after quoted-string unescaping MUST conform \
            to the 'token' ABNF\"",
        check: |role| {
            let good = [
                "foo",
                "foo, bar; baz=2",
                "a;b=\"c\"",
                "a; b=\"\\c\\d\" , e",
                ",a,,b,",
                "mux; max-channels=4; flow-control",
            ];
            for value in good {
                if role == Role::Server {
                    assert!(
                        serve(Head::request().set("Sec-WebSocket-Extensions", value).bytes()).is_ok(),
                        "{value}"
                    );
                } else {
                    let head = Head::answer().set("Sec-WebSocket-Extensions", value);
                    assert_eq!(
                        connect(head.bytes()).unwrap_err(),
                        HandshakeError::ExtensionNotOffered,
                        "{value}"
                    );
                }
            }
            let quoted = Extension::parse([&b"a; b=\"\\c\\d\"; e"[..]]).unwrap();
            assert_eq!(quoted[0].parameters().collect::<Vec<_>>(), [("b", Some("cd")), ("e", None)]);
            for value in [
                "",
                ",",
                " , ,",
                ";",
                "a b",
                "a;",
                "a; ,b",
                "a;=b",
                "a;b=",
                "a;b==c",
                "a;b=c d",
                "a;b=\"\"",
                "a;b=\"c d\"",
                "a;b=\"c",
                "a;b=\"c\"d",
                "a;b=\"c,d\"",
                "\"a\"",
                "a/b",
                "a;b=(c)",
                "a;b=\"\\",
                "a\u{E9}",
            ] {
                // RFC 6455 §9.1: "the recipient of such malformed data MUST immediately _Fail_".
                if role == Role::Server {
                    assert_refused(Head::request().set("Sec-WebSocket-Extensions", value), 400);
                } else {
                    let head = Head::answer().set("Sec-WebSocket-Extensions", value);
                    let error = connect(head.bytes()).unwrap_err();
                    assert!(matches!(error, HandshakeError::Extensions { .. }), "{value:?}: {error}");
                }
            }
        },
    },
    Row {
        id: "S11",
        section: "4.3",
        who: SERVER,
        requirement: "Sec-WebSocket-Protocol-Client = 1#token",
        check: |_| {
            for (value, offered) in [
                ("chat", &["chat"][..]),
                ("chat, superchat", &["chat", "superchat"]),
                (" ,chat ,,\tsuperchat,", &["chat", "superchat"]),
                ("chat, Chat", &["chat", "Chat"]),
                ("!#$%&'*+-.^_`|~09az", &["!#$%&'*+-.^_`|~09az"]),
            ] {
                let pending = serve(Head::request().set("Sec-WebSocket-Protocol", value).bytes()).unwrap();
                assert_eq!(pending.request().subprotocols().collect::<Vec<_>>(), offered);
            }
            for value in ["ch at", "chat;v=1", "chat/1", "\"chat\"", "chat, (x)", "a@b", "caf\u{E9}"] {
                assert_refused(Head::request().set("Sec-WebSocket-Protocol", value), 400);
            }
            // §4.1: they "MUST all be unique strings".
            assert_refused(Head::request().set("Sec-WebSocket-Protocol", "chat, x, chat"), 400);
            let split =
                Head::request().and("Sec-WebSocket-Protocol", "chat").and("Sec-WebSocket-Protocol", "chat");
            assert_refused(split, 400);
        },
    },
    Row {
        id: "S11",
        section: "4.3",
        who: SERVER,
        requirement: "1#token has at least one element: a Sec-WebSocket-Protocol without any is outside the \
            grammar",
        check: |_| {
            for value in ["", ",", " , ,"] {
                assert_refused(Head::request().set("Sec-WebSocket-Protocol", value), 400);
            }
        },
    },
];

/// The answer to a request that breaks a rule.
#[track_caller]
pub(crate) fn assert_refused(head: Head, status: u16) -> Answer {
    match serve(head.bytes()) {
        Err(Refusal { error, answer, .. }) => {
            assert_eq!(answer.status, status, "{error} for {head:?}");
            answer
        }
        Ok(pending) => panic!("{pending:?} for {head:?}"),
    }
}
