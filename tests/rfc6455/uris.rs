//! WebSocket URIs (RFC 6455 §3).

use taut::proto::handshake::{BuildError, ClientRequest, UriError, WebSocketUri};

use crate::heads::head_of;
use crate::{CLIENT, Row};

pub(crate) const S3: &[Row] = &[
    Row {
        id: "U1",
        section: "3",
        who: CLIENT,
        requirement: "\"Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT \
            be used on these URIs.\"",
        check: |_| {
            for uri in ["ws://a.example/#", "ws://a.example#b", "wss://a.example/c?d#e", "ws://a.example/?#"]
            {
                assert_eq!(WebSocketUri::parse(uri), Err(UriError::Fragment), "{uri}");
            }
            // "the character "#", when not indicating the start of a fragment, MUST be escaped as %23"
            for (uri, resource) in [("ws://a.example/%23", "/%23"), ("ws://a.example/b?c=%23d", "/b?c=%23d")]
            {
                assert_eq!(WebSocketUri::parse(uri).unwrap().resource(), resource);
            }
            let refused = ClientRequest::new("a.example", "/b#c").unwrap_err();
            assert_eq!(refused, BuildError::Resource(UriError::Fragment));
        },
    },
    Row {
        id: "U2",
        section: "3",
        who: CLIENT,
        requirement: "\"the default for 'ws' is port 80, while the default for 'wss' is port 443\"",
        check: |_| {
            for (uri, secure, port, host_field) in [
                ("ws://a.example/", false, 80, "a.example"),
                ("wss://a.example/", true, 443, "a.example"),
                ("ws://a.example:443/", false, 443, "a.example:443"),
                ("wss://a.example:80/", true, 80, "a.example:80"),
                ("WS://A.Example:80/", false, 80, "a.example"),
                ("wSs://a.example:443/", true, 443, "a.example"),
                ("ws://[2001:db8::1]:9001/", false, 9001, "[2001:db8::1]:9001"),
            ] {
                let parsed = WebSocketUri::parse(uri).unwrap();
                assert_eq!((parsed.is_secure(), parsed.port()), (secure, port), "{uri}");
                assert_eq!(head_of(&ClientRequest::from_uri(&parsed)).get("Host"), Some(host_field), "{uri}");
            }
        },
    },
    Row {
        id: "U2",
        section: "3",
        who: CLIENT,
        requirement: "the resource name is \"/\" if the path is empty, the path, \"?\" if the query is \
            non-empty, the query",
        check: |_| {
            for (uri, resource) in [
                ("ws://a.example", "/"),
                ("ws://a.example/", "/"),
                ("ws://a.example/chat", "/chat"),
                ("ws://a.example/chat/", "/chat/"),
                ("ws://a.example?room=1", "/?room=1"),
                ("ws://a.example/chat?room=1&x=/?", "/chat?room=1&x=/?"),
                ("ws://a.example/%E2%82%AC", "/%E2%82%AC"),
                // RFC 8307: well-known URIs.
                ("ws://a.example/.well-known/a", "/.well-known/a"),
            ] {
                assert_asks_for(uri, resource);
            }
        },
    },
    Row {
        id: "U2",
        section: "3",
        who: CLIENT,
        requirement: "\"?\" stands in it only \"if the query component is non-empty\"",
        check: |_| {
            assert_asks_for("ws://a.example?", "/");
            assert_asks_for("ws://a.example/chat?", "/chat");
        },
    },
    Row {
        id: "U3",
        section: "4.1",
        who: CLIENT,
        requirement: "the components of the URI \"MUST be valid\"; if not, the client fails before it \
            connects",
        check: |_| {
            for uri in [
                "",
                "a.example",
                "http://a.example/",
                "ws:a.example",
                "ws://",
                "ws:///chat",
                "ws://:80/",
                "ws://a.example:0/",
                "ws://a.example:65536/",
                "ws://a.example:80a/",
                "ws://user@a.example/",
                "ws://[::1/",
                "ws://a b/",
                "ws://a.example/a b",
                "ws://a.example/\r\nHost: evil.example",
                "ws://a.example\r\n/",
                "ws://a.example/%2",
                "ws://a.example/%zz",
                "ws://a.example/caf\u{E9}",
                "ws://caf\u{E9}.example/",
                "ws://a.example/<>",
                " ws://a.example/",
            ] {
                let error = WebSocketUri::parse(uri).expect_err(uri);
                assert!(error.to_string().len() > 20);
            }
            // Nor does any of it get into a request without a URI.
            for (host, resource) in [
                ("", "/"),
                ("a b", "/"),
                ("a.example\r\nX: y", "/"),
                ("a.example:99999", "/"),
                ("a.example/chat", "/"),
                ("user@a.example", "/"),
                ("a.example", "/a b"),
                ("a.example", "/ HTTP/1.1\r\nX: y"),
                ("a.example", "/caf\u{E9}"),
                ("a.example", "/%2"),
                ("a.example", "chat"),
            ] {
                assert!(ClientRequest::new(host, resource).is_err(), "{host:?}, {resource:?}");
            }
        },
    },
];

#[track_caller]
fn assert_asks_for(uri: &str, resource: &str) {
    let parsed = WebSocketUri::parse(uri).unwrap();
    let line = format!("GET {resource} HTTP/1.1");
    assert_eq!(head_of(&ClientRequest::from_uri(&parsed)).line(), line, "{uri}");
}
