//! The examples of RFC 6455 §1.3 and §5.7, byte for byte.

use taut::proto::handshake::{Accept, ClientRequest};
use taut::proto::{Config, Connection, Kind, Role};

use crate::heads::{connect_as, head_of, serve};
use crate::support::KEY;
use crate::wire::{FIN, PONG, binary, ping, receive, text, written};
use crate::{BOTH, CLIENT, Row, SERVER};

pub(crate) const EXAMPLES: &[Row] = &[
    Row {
        id: "S9",
        section: "1.3",
        who: BOTH,
        requirement: "the opening handshake between a client and server.example.com",
        check: |role| {
            if role == Role::Client {
                let request = ClientRequest::new("server.example.com", "/chat").unwrap();
                let request = request.field("Origin", "http://example.com").unwrap();
                let request = request.subprotocol("chat").unwrap().subprotocol("superchat").unwrap();
                let head = String::from_utf8(head_of(&request).bytes()).unwrap();
                assert_same_lines(&head, EXAMPLE_REQUEST);
                let answer = EXAMPLE_ANSWER.replace('\n', "\r\n");
                let established = connect_as(&request, answer.as_bytes(), false).unwrap();
                assert_eq!(established.subprotocol(), Some("chat"));
            } else {
                let pending = serve(EXAMPLE_REQUEST.replace('\n', "\r\n")).unwrap();
                assert_eq!(pending.request().origin(), Some("http://example.com"));
                let mut connection =
                    pending.accept(Accept::new().subprotocol("chat"), Config::new()).unwrap();
                assert_same_lines(&String::from_utf8(written(&mut connection)).unwrap(), EXAMPLE_ANSWER);
            }
        },
    },
    Row {
        id: "F13",
        section: "5.7",
        who: CLIENT,
        requirement: "\"A single-frame unmasked text message\"",
        check: |role| {
            let example = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
            receive(role, example).gives([text("Hello")]).stays_open();
            let mut server = Connection::server(Config::new());
            server.send_text("Hello").unwrap();
            assert_eq!(written(&mut server), example);
        },
    },
    Row {
        id: "F10",
        section: "5.7",
        who: SERVER,
        requirement: "\"A single-frame masked text message\"",
        check: |role| {
            let example = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
            receive(role, example).gives([text("Hello")]).stays_open();
            let mut client = Connection::client(Config::new(), || KEY);
            client.send_text("Hello").unwrap();
            assert_eq!(written(&mut client), example);
        },
    },
    Row {
        id: "F13",
        section: "5.7",
        who: CLIENT,
        requirement: "\"A fragmented unmasked text message\"",
        check: |role| {
            let example = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
            receive(role, example).gives([text("Hello")]).stays_open();
            let mut server = Connection::server(Config::new());
            server.send_fragment(Kind::Text, b"Hel", false).unwrap();
            server.send_fragment(Kind::Text, b"lo", true).unwrap();
            assert_eq!(written(&mut server), example);
        },
    },
    Row {
        id: "F26",
        section: "5.7",
        who: CLIENT,
        requirement: "\"Unmasked Ping request and masked Ping response\"",
        check: |role| {
            let request = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
            receive(role, request).gives([ping("Hello")]).sends(FIN | PONG, "Hello").stays_open();
            let mut client = Connection::client(Config::new(), || KEY);
            client.feed(&request);
            assert!(client.next_event().unwrap().is_some());
            let response = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
            assert_eq!(written(&mut client), response);
        },
    },
    Row {
        id: "F7",
        section: "5.7",
        who: CLIENT,
        requirement: "\"256 bytes binary message in a single unmasked frame\", and 64 KiB in another",
        check: |role| {
            for (head, len) in [
                (&[0x82, 0x7E, 0x01, 0x00][..], 256),
                (&[0x82, 0x7F, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00], 65536),
            ] {
                let payload: Vec<u8> = (0..len).map(|i: u32| (i % 251) as u8).collect();
                let example = [head, &payload].concat();
                receive(role, example.clone()).gives([binary(&payload)]).stays_open();
                let mut server = Connection::server(Config::new());
                server.send_binary(&payload).unwrap();
                assert_eq!(written(&mut server), example);
            }
        },
    },
];

const EXAMPLE_REQUEST: &str = "GET /chat HTTP/1.1
Host: server.example.com
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Origin: http://example.com
Sec-WebSocket-Protocol: chat, superchat
Sec-WebSocket-Version: 13

";

const EXAMPLE_ANSWER: &str = "HTTP/1.1 101 Switching Protocols
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
Sec-WebSocket-Protocol: chat

";

/// The first line is the same, and so are the others, in any order.
#[track_caller]
fn assert_same_lines(head: &str, example: &str) {
    assert!(head.ends_with("\r\n\r\n"));
    let mut lines: Vec<_> = head.split_terminator("\r\n").collect();
    let mut expected: Vec<_> = example.lines().collect();
    lines[1..].sort_unstable();
    expected[1..].sort_unstable();
    assert_eq!(lines, expected);
}
