//! What a server answers, and how often the fields of both sides may appear (RFC 6455 §4.2.2, §4.4, §11.3).

use bytes::Buf;
use taut::proto::handshake::{
    Accept, ClientRequest, Extension, HandshakeError, Reject, Response, accept_key,
};
use taut::proto::{Config, Connection, Event, Message, Output, Role, State};

use crate::heads::{ACCEPT_FIELD, Answer, Head, KEY_FIELD, connect, connect_as, head_of, serve};
use crate::server_handshake::assert_refused;
use crate::support::KEY;
use crate::wire::{FIN, TEXT, frame, text, written};
use crate::{BOTH, Row, SERVER};

pub(crate) const ANSWERING: &[Row] = &[
    Row {
        id: "S5",
        section: "4.2.2",
        who: SERVER,
        requirement: "\"If the requested service is not available, the server MUST send an appropriate HTTP \
            error code (such as 404 Not Found)\"",
        check: |_| {
            let pending = serve(Head::request().with_line("GET /none HTTP/1.1").bytes()).unwrap();
            assert_eq!(pending.request().resource(), "/none");
            let answer = rejected(pending.reject(Reject::new(404).unwrap().body("no such room")));
            assert_eq!((answer.status, &answer.body[..]), (404, &b"no such room"[..]));
        },
    },
    Row {
        id: "S6",
        section: "4.2.2",
        who: SERVER,
        requirement: "an origin that is not accepted: \"an appropriate HTTP error code (e.g., 403 \
            Forbidden)\"",
        check: |_| {
            let pending = serve(Head::request().and("Origin", "http://evil.example").bytes()).unwrap();
            assert_eq!(pending.request().origin(), Some("http://evil.example"));
            assert_eq!(rejected(pending.reject(Reject::new(403).unwrap())).status, 403);
        },
    },
    Row {
        id: "S7",
        section: "4.2.2",
        who: SERVER,
        requirement: "the subprotocol \"MUST be derived from the client's handshake\", or there is no such \
            field",
        check: |_| {
            let offers = [
                (Head::request().and("Sec-WebSocket-Protocol", "chat, superchat"), true),
                (
                    Head::request()
                        .and("Sec-WebSocket-Protocol", "chat")
                        .and("Sec-WebSocket-Protocol", "superchat"),
                    true,
                ),
                (Head::request(), false),
            ];
            for (head, offered) in offers {
                let bytes = head.bytes();
                for name in ["chat", "superchat", "other", "Chat", "", "chat, superchat", "chat\r\nX: y"] {
                    let pending = serve(&bytes).unwrap();
                    let result = pending.accept(Accept::new().subprotocol(name), Config::new());
                    if offered && ["chat", "superchat"].contains(&name) {
                        let mut connection = result.unwrap();
                        assert_eq!(connection.agreement().subprotocol(), Some(name));
                        assert_eq!(answer_of(&mut connection).get("Sec-WebSocket-Protocol"), Some(name));
                    } else {
                        // The request is handed back, to be answered in another way.
                        let pending = result.unwrap_err().into_pending();
                        assert_eq!(rejected(pending.reject(Reject::new(400).unwrap())).status, 400);
                    }
                }
                let mut connection = serve(&bytes).unwrap().accept(Accept::new(), Config::new()).unwrap();
                assert_eq!(connection.agreement().subprotocol(), None);
                assert_eq!(answer_of(&mut connection).get("Sec-WebSocket-Protocol"), None);
            }
        },
    },
    Row {
        id: "S8",
        section: "4.2.2",
        who: SERVER,
        requirement: "\"Extensions not listed by the client MUST NOT be listed.\"",
        check: |_| {
            let offers = [
                None,
                Some("permessage-deflate"),
                Some("x-one, x-two; a=b"),
                Some("permessage-deflate; client_max_window_bits"),
            ];
            for offer in offers {
                let head = offer
                    .into_iter()
                    .fold(Head::request(), |head, offer| head.and("Sec-WebSocket-Extensions", offer));
                let pending = serve(head.bytes()).unwrap();
                let mut connection = pending.accept(Accept::new(), Config::new()).unwrap();
                assert_eq!(answer_of(&mut connection).get("Sec-WebSocket-Extensions"), None);
            }
            assert!(Accept::new().field("Sec-WebSocket-Extensions", "x-one").is_err());
        },
    },
    Row {
        id: "S9",
        section: "4.2.2",
        who: SERVER,
        requirement: "\"A Status-Line with a 101 response code\", Upgrade, Connection, and \
            Sec-WebSocket-Accept",
        check: |_| {
            for (key, accept) in [
                (KEY_FIELD, ACCEPT_FIELD),
                ("x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="),
                // The key counts as it was written, not as it decodes.
                ("AQIDBAUGBwgJCgsMDQ4PEC==", "OfS0wDaT5NoxF2gqm7Zj2YtetzM="),
                ("AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI="),
                ("/////////////////////w==", "XXpj4jYzLM2yUE0C7TIgMwTQh2g="),
            ] {
                assert_eq!(accept_key(key.as_bytes()), accept.as_bytes());
                let pending =
                    serve(Head::request().set("Sec-WebSocket-Key", format!(" {key}\t")).bytes()).unwrap();
                let added = Accept::new().field("Set-Cookie", "a=b").unwrap();
                let mut connection = pending.accept(added, Config::new()).unwrap();
                let head = answer_of(&mut connection);
                assert!(head.line().starts_with("HTTP/1.1 101 "), "{head:?}");
                assert_eq!(head.get("Upgrade"), Some("websocket"));
                assert_eq!(head.get("Connection"), Some("Upgrade"));
                assert_eq!(head.get("Sec-WebSocket-Accept"), Some(accept));
                assert_eq!(head.get("Set-Cookie"), Some("a=b"));
                assert_eq!((head.get("Content-Length"), head.get("Transfer-Encoding")), (None, None));
                assert_eq!(connection.state(), State::Open);
            }
            for value in ["b\r\nX: y", "b\n", "b\0"] {
                assert!(Accept::new().field("Set-Cookie", value).is_err());
                assert!(Reject::new(401).unwrap().field("Set-Cookie", value).is_err());
            }
        },
    },
    Row {
        id: "S9",
        section: "4.2.2",
        who: SERVER,
        requirement: "\"the server considers the WebSocket connection to be established\": frames follow \
            the 101 in both directions",
        check: |role| {
            let early = frame(role.peer(), FIN | TEXT, b"too early");
            let request = [&Head::request().bytes()[..], &early].concat();
            let mut connection = serve(&request).unwrap().accept(Accept::new(), Config::new()).unwrap();
            assert_eq!(connection.next_event(), Ok(Some(Event::Message(text("too early")))));
            assert_eq!(connection.next_event(), Ok(None));
            connection.send_text("hello").unwrap();
            let bytes = written(&mut connection);
            let (head, frames) = Head::parse(&bytes);
            assert!(head.line().starts_with("HTTP/1.1 101 "));
            assert_eq!(frames, b"\x81\x05hello");
            // What one end writes opens the other.
            let mut client = connect(&bytes).unwrap().into_connection(Config::new(), || KEY);
            assert_eq!(client.next_event(), Ok(Some(Event::Message(Message::text("hello")))));
        },
    },
    Row {
        id: "S10",
        section: "4.2.2",
        who: SERVER,
        requirement: "\"additional client authentication, for example, by returning a 401\"; \"The server \
            MAY redirect the client using a 3xx\"",
        check: |_| {
            for (status, name, value) in [
                (401, "WWW-Authenticate", "Basic realm=\"a\""),
                (301, "Location", "wss://b.example/chat"),
                (302, "Location", "/elsewhere"),
                (307, "Location", "/elsewhere"),
                (503, "Retry-After", "120"),
            ] {
                let pending = serve(Head::request().and("Authorization", "Basic eA==").bytes()).unwrap();
                assert_eq!(pending.request().fields().text("Authorization"), Some("Basic eA=="));
                let reject = Reject::new(status).unwrap().field(name, value).unwrap();
                let mut output = pending.reject(reject.body("why"));
                let bytes = output.copy_to_bytes(output.remaining());
                let answer = Answer::parse(&bytes);
                assert_eq!((answer.status, answer.head.get(name)), (status, Some(value)));
                // The client sees the same.
                let request = ClientRequest::new("a.example", "/").unwrap();
                let response = refused(connect_as(&request, &bytes, false).unwrap_err());
                assert_eq!((response.status(), response.fields().text(name)), (status, Some(value)));
                assert_eq!((response.body(), response.body_is_whole()), (&b"why"[..], true));
            }
            for status in [0, 100, 101, 200, 204, 299, 304, 600, 999] {
                assert!(Reject::new(status).is_err(), "{status} does not refuse");
            }
        },
    },
    Row {
        id: "S12",
        section: "4.4",
        who: SERVER,
        requirement: "\"it MUST respond with a |Sec-WebSocket-Version| header field [...] containing all \
            versions it is willing to use\"; the client \"can repeat the WebSocket handshake\"",
        check: |_| {
            let old = Head::request().set("Sec-WebSocket-Version", "25");
            let refusal = serve(old.bytes()).unwrap_err();
            let spoken = refusal.answer.head.get("Sec-WebSocket-Version").unwrap().to_string();
            // "At this point, if the client supports one of the advertised versions, it can repeat".
            assert!(serve(old.set("Sec-WebSocket-Version", spoken).bytes()).is_ok());
            // An application that refuses with 426 says it as well.
            let pending = serve(Head::request().bytes()).unwrap();
            let answer = rejected(pending.reject(Reject::new(426).unwrap()));
            assert_eq!(answer.head.get("Sec-WebSocket-Version"), Some("13"));
        },
    },
];

pub(crate) const S11_3: &[Row] = &[
    Row {
        id: "S13",
        section: "11.3.1",
        who: BOTH,
        requirement: "Sec-WebSocket-Key \"MUST NOT appear more than once in an HTTP request\"",
        check: |role| {
            if role == Role::Client {
                let request = ClientRequest::new("a.example", "/").unwrap();
                // `get` asserts that there is no second one; nor can the application add one.
                assert_eq!(head_of(&request).get("Sec-WebSocket-Key"), Some(KEY_FIELD));
                assert!(request.field("sec-websocket-key", KEY_FIELD).is_err());
                return;
            }
            for second in [KEY_FIELD, "AAAAAAAAAAAAAAAAAAAAAA==", ""] {
                assert_refused(Head::request().and("Sec-WebSocket-Key", second), 400);
                assert_refused(Head::request().and("sec-websocket-key", second), 400);
            }
        },
    },
    Row {
        id: "S14",
        section: "11.3.2",
        who: BOTH,
        requirement: "Sec-WebSocket-Extensions \"MAY appear multiple times in an HTTP request\", \"MUST NOT \
            appear more than once in an HTTP response\"",
        check: |role| {
            let name = "Sec-WebSocket-Extensions";
            if role == Role::Server {
                let head = Head::request().and(name, "foo").and("X", "y").and(name, "bar; baz=2");
                let pending = serve(head.bytes()).unwrap();
                // "is exactly equivalent to" one field with both (§9.1).
                let offered = Extension::parse(pending.request().fields().all(name)).unwrap();
                assert_eq!(offered, Extension::parse([&b"foo, bar; baz=2"[..]]).unwrap());
                // Each of them has to conform.
                assert_refused(Head::request().and(name, "foo").and(name, "b ar"), 400);
            } else {
                let head = Head::answer().and(name, "foo").and(name, "bar");
                assert_eq!(connect(head.bytes()).unwrap_err(), HandshakeError::RepeatedField(name));
            }
        },
    },
    Row {
        id: "S15",
        section: "11.3.3",
        who: BOTH,
        requirement: "Sec-WebSocket-Accept \"MUST NOT appear more than once in an HTTP response\"",
        check: |role| {
            let name = "Sec-WebSocket-Accept";
            if role == Role::Server {
                let pending = serve(Head::request().bytes()).unwrap();
                let mut connection = pending.accept(Accept::new(), Config::new()).unwrap();
                // `get` asserts that there is no second one; nor can the application add one.
                assert!(answer_of(&mut connection).get(name).is_some());
                assert!(Accept::new().field(name, ACCEPT_FIELD).is_err());
            } else {
                for head in [
                    Head::answer().and(name, ACCEPT_FIELD),
                    Head::answer().and(name, "x"),
                    Head::answer().set(name, "x").and("sec-websocket-accept", ACCEPT_FIELD),
                ] {
                    assert_eq!(connect(head.bytes()).unwrap_err(), HandshakeError::RepeatedField(name));
                }
            }
        },
    },
    Row {
        id: "S16",
        section: "11.3.4",
        who: BOTH,
        requirement: "Sec-WebSocket-Protocol \"MAY appear multiple times in an HTTP request\", \"MUST NOT \
            appear more than once in an HTTP response\"",
        check: |role| {
            let name = "Sec-WebSocket-Protocol";
            if role == Role::Server {
                let head = Head::request().and(name, "a, b").and("X", "y").and(name, "c");
                let pending = serve(head.bytes()).unwrap();
                assert_eq!(pending.request().subprotocols().collect::<Vec<_>>(), ["a", "b", "c"]);
                assert!(Accept::new().field(name, "a").is_err());
            } else {
                for second in ["chat", "superchat", "other"] {
                    let head = Head::answer().and(name, "chat").and(name, second);
                    assert_eq!(connect(head.bytes()).unwrap_err(), HandshakeError::RepeatedField(name));
                }
            }
        },
    },
    Row {
        id: "S17",
        section: "11.3.5",
        who: BOTH,
        requirement: "Sec-WebSocket-Version \"MUST NOT appear more than once in an HTTP request\", \"MAY \
            appear multiple times in an HTTP response\"",
        check: |role| {
            let name = "Sec-WebSocket-Version";
            if role == Role::Server {
                for (first, second) in [("13", "13"), ("13", "8"), ("8", "13")] {
                    let refusal =
                        serve(Head::request().set(name, first).and(name, second).bytes()).unwrap_err();
                    assert!([400, 426].contains(&refusal.answer.status), "{}", refusal.error);
                }
            } else {
                let head = Head::new(
                    "HTTP/1.1 400 Bad Request",
                    &[(name, "13"), (name, "8, 7"), ("Content-Length", "0")],
                );
                let response = refused(connect(head.bytes()).unwrap_err());
                let versions: Vec<_> = response.fields().list(name).collect();
                assert_eq!(versions, [&b"13"[..], b"8", b"7"]);
            }
        },
    },
];

/// The answer that the application gave.
#[track_caller]
fn rejected(mut output: Output) -> Answer {
    let bytes = output.copy_to_bytes(output.remaining());
    Answer::parse(&bytes)
}

/// The 101 at the front of what a connection writes.
#[track_caller]
fn answer_of(connection: &mut Connection) -> Head {
    let bytes = written(connection);
    let (head, rest) = Head::parse(&bytes);
    assert_eq!(rest, b"");
    head
}

#[track_caller]
fn refused(error: HandshakeError) -> Response {
    match error {
        HandshakeError::Refused(response) => *response,
        error => panic!("{error}"),
    }
}
