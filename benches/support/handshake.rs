//! Opening handshakes, at both ends.

use std::hint::black_box;

use bytes::{Buf, Bytes};
use taut::RandomMasks;
use taut::proto::handshake::{Accept, ClientHandshake, ClientRequest, ServerHandshake};
use taut::proto::{Config, Connection, Deflate, Output};

use super::case::{Case, Round};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (parameter, deflate) in [("plain", None), ("deflate", Some(Deflate::new()))] {
        let answer = answer(&drain(client(&request(deflate)).output()), deflate);
        for (group, bytes, setup) in [
            (
                "handshake/server",
                BROWSER.len(),
                Box::new(move || server_round(deflate)) as Box<dyn Fn() -> Round>,
            ),
            ("handshake/client", answer.len(), Box::new(move || client_round(deflate, answer.clone()))),
        ] {
            cases.push(Case { group: group.into(), parameter: parameter.into(), messages: 1, bytes, setup });
        }
    }
    cases
}

/// From the bytes of a request to an open connection and the bytes of the answer.
fn server_round(deflate: Option<Deflate>) -> Round {
    Box::new(move || {
        let mut connection = accept(black_box(BROWSER.as_bytes()), deflate);
        written(connection.output());
    })
}

/// From what to ask for to the bytes of the request, and from those of the answer to an open connection.
fn client_round(deflate: Option<Deflate>, answer: Bytes) -> Round {
    let request = request(deflate);
    Box::new(move || {
        let mut handshake = client(black_box(&request));
        written(handshake.output());
        handshake.input().extend_from_slice(black_box(&answer));
        let established = handshake.poll().unwrap().unwrap();
        black_box(established.into_connection(Config::new(), RandomMasks::new()));
    })
}

fn accept(head: &[u8], deflate: Option<Deflate>) -> Connection {
    let mut handshake = ServerHandshake::new();
    handshake.input().extend_from_slice(head);
    let pending = handshake.poll().unwrap().unwrap();
    let mut accept = Accept::new().subprotocol("chat.v2");
    if let Some(deflate) = deflate {
        accept = accept.deflate(deflate);
    }
    pending.accept(accept, Config::new()).unwrap()
}

fn client(request: &ClientRequest) -> ClientHandshake {
    // The same each time, so that one answer fits all.
    ClientHandshake::new(request, *b"the sample nonce")
}

fn request(deflate: Option<Deflate>) -> ClientRequest {
    let request = ClientRequest::new("chat.example.com", "/rooms/1024/events?since=188311").unwrap();
    let request = request.subprotocol("chat.v2").unwrap().subprotocol("chat.v1").unwrap();
    let request = request.field("Origin", "https://chat.example.com").unwrap();
    deflate.into_iter().fold(request, ClientRequest::deflate)
}

fn answer(request: &[u8], deflate: Option<Deflate>) -> Bytes {
    drain(accept(request, deflate).output())
}

fn drain(output: &mut Output) -> Bytes {
    output.copy_to_bytes(output.remaining())
}

fn written(output: &mut Output) {
    while output.has_remaining() {
        output.advance(black_box(output.chunk()).len());
    }
}

/// What Chromium sends.
const BROWSER: &str = "GET /rooms/1024/events?since=188311 HTTP/1.1\r\n\
    Host: chat.example.com\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
    Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://chat.example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,fr;q=0.8\r\n\
    Cookie: session=0c3b3c3e9a5d4f6f8f0e1d2c3b4a5968; theme=dark; consent=analytics%3Dno%26ads%3Dno\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
    Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n\
    \r\n";
