//! The client's part of the opening handshake (RFC 6455 §4.1).

use bytes::Buf;
use taut::proto::handshake::{BuildError, ClientHandshake, ClientRequest, HandshakeError, Response};
use taut::proto::{Config, Event, Role, State};

use crate::heads::{ACCEPT_FIELD, Head, KEY_FIELD, NONCE, connect, connect_as, head_of};
use crate::support::KEY;
use crate::wire::{FIN, PING, PONG, TEXT, frame, ping, sent, text};
use crate::{CLIENT, Row};

pub(crate) const REQUEST: &[Row] = &[
    Row {
        id: "C7",
        section: "4.1",
        who: CLIENT,
        requirement: "\"a valid HTTP request\", \"The method of the request MUST be GET, and the HTTP \
            version MUST be at least 1.1.\"",
        check: |_| {
            let request = ClientRequest::new("a.example", "/chat").unwrap();
            let mut client = ClientHandshake::new(&request, NONCE);
            let bytes = client.output().chunk().to_vec();
            // Lines end in CR LF and nowhere else, the last one is empty, and nothing follows.
            assert!(bytes.ends_with(b"\r\n\r\n"));
            let lines: Vec<_> = bytes.split(|&byte| byte == b'\n').collect();
            assert!(lines[..lines.len() - 1].iter().all(|line| line.ends_with(b"\r")));
            let (head, rest) = Head::parse(&bytes);
            assert_eq!((head.line(), &rest[..]), ("GET /chat HTTP/1.1", &b""[..]));
            assert_eq!((head.get("Content-Length"), head.get("Transfer-Encoding")), (None, None));
            // What the application adds comes along, and cannot be more than a field.
            let added = request.field("Cookie", "a=b; c=d").unwrap();
            assert_eq!(head_of(&added).get("Cookie"), Some("a=b; c=d"));
            for (name, value) in
                [("X\r\nY", "z"), ("X", "y\r\nZ: z"), ("X", "y\n"), ("X", "y\0"), ("", "y"), ("X y", "z")]
            {
                assert!(added.clone().field(name, value).is_err(), "{name:?}: {value:?}");
            }
            for name in [
                "Host",
                "upgrade",
                "Connection",
                "Sec-WebSocket-Key",
                "sec-websocket-version",
                "Content-Length",
            ] {
                let error = added.clone().field(name, "x").unwrap_err();
                assert!(matches!(error, BuildError::OwnedField(_)), "{name}: {error}");
            }
        },
    },
    Row {
        id: "C8",
        section: "4.1",
        who: CLIENT,
        requirement: "\"The 'Request-URI' part of the request MUST match the /resource name/\"",
        check: |_| {
            for resource in ["/", "/chat", "/chat?room=1&x=%20", "/a//b/../c", "//a.example/b"] {
                let request = ClientRequest::new("a.example", resource).unwrap();
                assert_eq!(head_of(&request).line(), format!("GET {resource} HTTP/1.1"));
            }
        },
    },
    Row {
        id: "C9",
        section: "4.1",
        who: CLIENT,
        requirement: "\"a |Host| header field whose value contains /host/ plus optionally ':' followed by \
            /port/ (when not using the default port)\"",
        check: |_| {
            for host in
                ["a.example", "a.example:9001", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[2001:db8::1]:443"]
            {
                let request = ClientRequest::new(host, "/").unwrap();
                assert_eq!(head_of(&request).get("Host"), Some(host));
            }
            for (uri, host) in [
                ("ws://a.example:80/", "a.example"),
                ("ws://a.example:81/", "a.example:81"),
                ("wss://a.example:443/", "a.example"),
                ("wss://a.example:444/", "a.example:444"),
            ] {
                let request = ClientRequest::from_uri(&uri.parse().unwrap());
                assert_eq!(head_of(&request).get("Host"), Some(host), "{uri}");
            }
        },
    },
    Row {
        id: "C10",
        section: "4.1",
        who: CLIENT,
        requirement: "Upgrade \"MUST include the 'websocket' keyword\", Connection \"MUST include the \
            'Upgrade' token\"",
        check: |_| {
            let head = head_of(&ClientRequest::new("a.example", "/").unwrap());
            assert_eq!(head.get("Upgrade"), Some("websocket"));
            assert!(head.list("Connection").contains(&"upgrade".into()));
        },
    },
    Row {
        id: "C11",
        section: "4.1",
        who: CLIENT,
        requirement: "Sec-WebSocket-Key is \"a nonce consisting of a randomly selected 16-byte value that \
            has been base64-encoded\"",
        check: |_| {
            let request = ClientRequest::new("a.example", "/").unwrap();
            let bits = [
                0xFB, 0xEF, 0xBE, 0xFB, 0xEF, 0xBE, 0xFB, 0xEF, 0xBE, 0xFB, 0xEF, 0xBE, 0xFB, 0xEF, 0xBE,
                0xFB,
            ];
            for (nonce, key) in [
                (NONCE, KEY_FIELD),
                ([0; 16], "AAAAAAAAAAAAAAAAAAAAAA=="),
                ([0xFF; 16], "/////////////////////w=="),
                ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], "AQIDBAUGBwgJCgsMDQ4PEA=="),
                (bits, "+++++++++++++++++++++w=="),
            ] {
                // The same request with another nonce has another key: one request serves many connections.
                let mut client = ClientHandshake::new(&request, nonce);
                let (head, _) = Head::parse(client.output().chunk());
                assert_eq!(head.get("Sec-WebSocket-Key"), Some(key));
            }
        },
    },
    Row {
        id: "C12",
        section: "4.1",
        who: CLIENT,
        requirement: "Origin: browsers send it, others \"MAY include this header field\"",
        check: |_| {
            let request = ClientRequest::new("a.example", "/").unwrap();
            assert_eq!(head_of(&request).get("Origin"), None);
            let request = request.field("Origin", "http://www.example.com").unwrap();
            assert_eq!(head_of(&request).get("Origin"), Some("http://www.example.com"));
        },
    },
    Row {
        id: "C13",
        section: "4.1",
        who: CLIENT,
        requirement: "Sec-WebSocket-Version: \"The value of this header field MUST be 13.\"",
        check: |_| {
            let head = head_of(&ClientRequest::new("a.example", "/").unwrap());
            assert_eq!(head.get("Sec-WebSocket-Version"), Some("13"));
        },
    },
    Row {
        id: "C14",
        section: "4.1",
        who: CLIENT,
        requirement: "subprotocols \"MUST be non-empty strings with characters in the range U+0021 to \
            U+007E not including separator characters\" and \"MUST all be unique strings\"",
        check: |_| {
            let request = ClientRequest::new("a.example", "/").unwrap();
            assert_eq!(head_of(&request).get("Sec-WebSocket-Protocol"), None);
            for wrong in ["", " ", "a b", "a,b", "a\tb", "a\r\nb", "caf\u{E9}", "a\x7F"] {
                assert!(request.clone().subprotocol(wrong).is_err(), "{wrong:?}");
            }
            // The separators of RFC 2616 §2.2.
            for separator in "()<>@,;:\\\"/[]?={} \t".chars() {
                let error = request.clone().subprotocol(&format!("a{separator}b")).unwrap_err();
                assert!(matches!(error, BuildError::Subprotocol(_)), "{separator:?}: {error}");
            }
            let some = request.subprotocol("v2.chat").unwrap().subprotocol("Chat").unwrap();
            let error = some.clone().subprotocol("v2.chat").unwrap_err();
            assert_eq!(error, BuildError::RepeatedSubprotocol("v2.chat".into()));
            // In the order of preference; case tells names apart.
            let some = some.subprotocol("chat").unwrap().subprotocol("!#$%&'*+-.^_`|~").unwrap();
            let expected = "v2.chat, Chat, chat, !#$%&'*+-.^_`|~";
            assert_eq!(head_of(&some).get("Sec-WebSocket-Protocol"), Some(expected));
        },
    },
    Row {
        id: "C15",
        section: "4.1",
        who: CLIENT,
        requirement: "\"the client MUST wait for a response from the server before sending any further \
            data\"",
        check: |_| {
            // `connect` asserts at every cut that nothing leaves before the answer is whole.
            let established = connect(Head::answer().bytes()).unwrap();
            let mut client = established.into_connection(Config::new(), || KEY);
            assert!(!client.wants_output());
            client.send_text("now").unwrap();
            assert_eq!(sent(&mut client)[0].plain(), (FIN | TEXT, &b"now"[..]));
        },
    },
];

pub(crate) const ANSWER: &[Row] = &[
    Row {
        id: "C16",
        section: "4.1",
        who: CLIENT,
        requirement: "\"If the status code received from the server is not 101, the client handles the \
            response per HTTP [...] procedures.\"",
        check: |_| {
            for (status, reason, name, value) in [
                (200, "OK", "Content-Type", "text/html"),
                (301, "Moved Permanently", "Location", "wss://b.example/"),
                (307, "Temporary Redirect", "Location", "/other"),
                (401, "Unauthorized", "WWW-Authenticate", "Basic realm=\"a\""),
                (403, "Forbidden", "X", "y"),
                (404, "Not Found", "X", "y"),
                (407, "Proxy Authentication Required", "Proxy-Authenticate", "Basic"),
                (426, "Upgrade Required", "Sec-WebSocket-Version", "8"),
                (500, "Internal Server Error", "X", "y"),
                (503, "Service Unavailable", "Retry-After", "120"),
            ] {
                // All that a 101 has does not make it one.
                let head = Head::answer().with_line(format!("HTTP/1.1 {status} {reason}"));
                let head = head.and(name, value).and("Content-Length", "4");
                let response = refused(&[&head.bytes()[..], b"body"].concat(), false);
                assert_eq!((response.status(), response.reason()), (status, reason));
                assert_eq!(response.fields().text(name), Some(value));
                assert_eq!((response.body(), response.body_is_whole()), (&b"body"[..], true));
            }
            let head = Head::new("HTTP/1.1 502 Bad Gateway", &[("Connection", "close")]).bytes();
            let response = refused(&[&head[..], b"until the end"].concat(), true);
            assert_eq!(response.body(), b"until the end");
            // RFC 9110 §15.2: other 1xx come before the final answer.
            let early = Head::new("HTTP/1.1 103 Early Hints", &[("Link", "</a>")]).bytes();
            assert!(connect([early.clone(), Head::answer().bytes()].concat()).is_ok());
            let last = Head::new("HTTP/1.1 404 Not Found", &[("Content-Length", "0")]).bytes();
            assert_eq!(refused(&[early, last].concat(), false).status(), 404);
        },
    },
    Row {
        id: "C17",
        section: "4.1",
        who: CLIENT,
        requirement: "\"If the response lacks an |Upgrade| header field or [it] contains a value that is \
            not an ASCII case-insensitive match for the value 'websocket'\", the client fails",
        check: |_| {
            for value in ["websocket", "WebSocket", "WEBSOCKET", " websocket "] {
                assert!(connect(Head::answer().set("Upgrade", value).bytes()).is_ok(), "{value}");
            }
            assert_fails(Head::answer().without("Upgrade"), HandshakeError::Upgrade);
            for value in
                ["", "h2c", "websockets", "web socket", "websocket/13", "\"websocket\"", "w\u{E9}bsocket"]
            {
                assert_fails(Head::answer().set("Upgrade", value), HandshakeError::Upgrade);
            }
        },
    },
    Row {
        id: "C17",
        section: "4.1",
        who: CLIENT,
        requirement: "the value of Upgrade has to match as a whole; that of Connection has to contain a token",
        check: |_| {
            for value in ["websocket, h2c", "h2c, websocket"] {
                assert_fails(Head::answer().set("Upgrade", value), HandshakeError::Upgrade);
            }
            assert_fails(Head::answer().and("Upgrade", "h2c"), HandshakeError::Upgrade);
        },
    },
    Row {
        id: "C18",
        section: "4.1",
        who: CLIENT,
        requirement: "\"If the response lacks a |Connection| header field or [it] doesn't contain a token \
            that is an ASCII case-insensitive match for the value 'Upgrade'\", the client fails",
        check: |_| {
            for value in
                ["Upgrade", "upgrade", "UPGRADE", "keep-alive, Upgrade", "upgrade,close", "\tUpgrade , x"]
            {
                assert!(connect(Head::answer().set("Connection", value).bytes()).is_ok(), "{value}");
            }
            let two = Head::answer().set("Connection", "keep-alive").and("Connection", "Upgrade");
            assert!(connect(two.bytes()).is_ok());
            assert_fails(Head::answer().without("Connection"), HandshakeError::Connection);
            for value in ["", "close", "keep-alive", "Upgraded", "not-upgrade", "Up grade", "Upgrade;x"] {
                assert_fails(Head::answer().set("Connection", value), HandshakeError::Connection);
            }
        },
    },
    Row {
        id: "C19",
        section: "4.1",
        who: CLIENT,
        requirement: "\"If the response lacks a |Sec-WebSocket-Accept| header field or [it] contains a \
            value other than\" the hash of our key, \"ignoring any leading and trailing whitespace\", the \
            client fails",
        check: |_| {
            for value in [ACCEPT_FIELD, &format!("  \t{ACCEPT_FIELD}"), &format!("{ACCEPT_FIELD} \t ")] {
                assert!(
                    connect(Head::answer().set("Sec-WebSocket-Accept", value).bytes()).is_ok(),
                    "{value:?}"
                );
            }
            let error = HandshakeError::MissingField("Sec-WebSocket-Accept");
            assert_fails(Head::answer().without("Sec-WebSocket-Accept"), error);
            for value in [
                "",
                KEY_FIELD,
                // The answer to another key.
                "HSmrc0sMlYUkAGmm5OPpG2HaGWk=",
                // Case matters in base64, and so does each character.
                &ACCEPT_FIELD.to_ascii_lowercase(),
                &ACCEPT_FIELD[..27],
                &ACCEPT_FIELD.replace('=', ""),
                &ACCEPT_FIELD.replace("xOo", "xOp"),
                &format!("{ACCEPT_FIELD}="),
                &format!("{ACCEPT_FIELD}, {ACCEPT_FIELD}"),
                &format!("\"{ACCEPT_FIELD}\""),
                // The key not as a string, but decoded before it was hashed.
                "BXhwxM0SZasKmCD9S4BfpPmCnEw=",
            ] {
                assert_fails(Head::answer().set("Sec-WebSocket-Accept", value), HandshakeError::Accept);
            }
        },
    },
    Row {
        id: "C20",
        section: "4.1",
        who: CLIENT,
        requirement: "an answer with \"an extension that was not present in the client's handshake\" fails",
        check: |_| {
            for value in [
                "permessage-deflate",
                "x-unknown",
                "a; b=c, d",
                "permessage-deflate; server_no_context_takeover",
            ] {
                let head = Head::answer().and("Sec-WebSocket-Extensions", value);
                assert_fails(head, HandshakeError::ExtensionNotOffered);
            }
        },
    },
    Row {
        id: "C21",
        section: "4.1",
        who: CLIENT,
        requirement: "an answer with \"a subprotocol that was not present in the client's handshake\" fails",
        check: |_| {
            for (value, chosen) in
                [(None, None), (Some("chat"), Some("chat")), (Some(" superchat "), Some("superchat"))]
            {
                let head = value
                    .into_iter()
                    .fold(Head::answer(), |head, value| head.and("Sec-WebSocket-Protocol", value));
                let established = connect(head.bytes()).unwrap();
                assert_eq!(established.subprotocol(), chosen);
                let client = established.into_connection(Config::new(), || KEY);
                assert_eq!(client.agreement().subprotocol(), chosen);
            }
            for value in [
                "",
                "other",
                "Chat",
                "CHAT",
                "cha",
                "chatter",
                "chat, superchat",
                "chat,",
                "\"chat\"",
                "chat;v=1",
            ] {
                let head = Head::answer().and("Sec-WebSocket-Protocol", value);
                assert_fails(head, HandshakeError::SubprotocolNotOffered);
            }
            let none_offered = ClientRequest::new("a.example", "/").unwrap();
            let head = Head::answer().and("Sec-WebSocket-Protocol", "chat").bytes();
            let error = connect_as(&none_offered, &head, false).unwrap_err();
            assert_eq!(error, HandshakeError::SubprotocolNotOffered);
        },
    },
    Row {
        id: "C15",
        section: "4.1",
        who: CLIENT,
        requirement: "once the answer is validated the connection is open, and what came behind it is its \
            first input",
        check: |_| {
            let frames = [frame(Role::Server, FIN | TEXT, b"welcome"), frame(Role::Server, FIN | PING, b"1")];
            let answer = [&Head::answer().bytes()[..], &frames.concat()].concat();
            let mut client = connect(&answer).unwrap().into_connection(Config::new(), || KEY);
            assert_eq!(client.state(), State::Open);
            assert_eq!(client.next_event(), Ok(Some(Event::Message(text("welcome")))));
            assert_eq!(client.next_event(), Ok(Some(Event::Message(ping("1")))));
            assert_eq!(client.next_event(), Ok(None));
            assert_eq!(sent(&mut client)[0].plain(), (FIN | PONG, &b"1"[..]));
        },
    },
];

#[track_caller]
fn assert_fails(answer: Head, error: HandshakeError) {
    match connect(answer.bytes()) {
        Err(found) => assert_eq!(found, error, "{answer:?}"),
        Ok(established) => panic!("{established:?} for {answer:?}"),
    }
}

/// The answer that refuses; `eof` ends it.
#[track_caller]
fn refused(answer: &[u8], eof: bool) -> Response {
    let request = ClientRequest::new("a.example", "/").unwrap();
    match connect_as(&request, answer, eof).unwrap_err() {
        HandshakeError::Refused(response) => *response,
        error => panic!("{error}"),
    }
}
