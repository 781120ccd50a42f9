//! Requests to our own `accept` that ask for something else than a WebSocket: health checks, connections opened ahead.

#![cfg(feature = "tokio")]

use std::time::Duration;

use taut::proto::handshake::{Accept, Answer, BuildError, HandshakeError, Reject, ServerHandshake};
use taut::tokio::{Arrival, Incoming, Options, accept};
use taut::{Deadline, Error, blocking};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const WEBSOCKET: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const OPTIONS: Options = Options::new().close_timeout(Duration::ZERO);

/// The server's end of a stream over which this comes, and the client's.
async fn says(request: &str) -> (DuplexStream, DuplexStream) {
    let (ours, mut theirs) = duplex(1 << 16);
    theirs.write_all(request.as_bytes()).await.unwrap();
    (ours, theirs)
}

async fn hears(mut client: DuplexStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(start_paused = true)]
async fn plain_requests_are_the_callers_to_answer() {
    for (request, method) in [
        ("GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "GET"),
        ("GET /health HTTP/1.0\r\n\r\n", "GET"),
        ("OPTIONS /health HTTP/1.0\r\n\r\n", "OPTIONS"),
        ("POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", "POST"),
        ("GET /health HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "GET"),
    ] {
        let (server, client) = says(request).await;
        let Ok(Some(Arrival::Plain(plain))) = Arrival::read(server, OPTIONS).await else {
            panic!("{request}")
        };
        assert_eq!((plain.request().method(), plain.request().target()), (method, "/health"));
        let answer = Answer::new(200).unwrap().field("Content-Type", "text/plain").unwrap().body("well");
        plain.answer(answer).await.unwrap();
        assert_eq!(
            hears(client).await,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\nwell"
        );
    }
    let (server, client) = says(WEBSOCKET).await;
    let Ok(Some(Arrival::WebSocket(incoming))) = Arrival::read(server, OPTIONS).await else { panic!() };
    let _socket = incoming.accept(Accept::new()).await.unwrap();
    drop(_socket);
    assert!(hears(client).await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test(start_paused = true)]
async fn answers_have_a_body_only_where_http_allows_one() {
    for (method, status, expected) in [
        ("HEAD", 200, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"),
        ("GET", 204, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
        ("GET", 304, "HTTP/1.1 304 \r\nConnection: close\r\n\r\n"),
        ("GET", 404, "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 4\r\n\r\nwell"),
    ] {
        let (server, client) = says(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let Ok(Some(Arrival::Plain(plain))) = Arrival::read(server, OPTIONS).await else {
            panic!("{method}")
        };
        plain.answer(Answer::new(status).unwrap().body("well")).await.unwrap();
        assert_eq!(hears(client).await, expected);
    }
    for status in [0, 100, 101, 199, 600] {
        assert_eq!(Answer::new(status).err(), Some(BuildError::AnswerStatus(status)));
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_look_refuses_as_before() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (server, client) = says(request).await;
    let error = accept(server).await.unwrap_err();
    assert!(matches!(error, Error::Handshake(HandshakeError::Upgrade)), "{error:?}");
    let refused = hears(client).await;
    assert!(refused.starts_with("HTTP/1.1 426 "), "{refused}");

    let (server, client) = says(request).await;
    let Ok(Some(Arrival::Plain(plain))) = Arrival::read(server, OPTIONS).await else { panic!() };
    let error = plain.refuse().await;
    assert!(matches!(error, Error::Handshake(HandshakeError::Upgrade)), "{error:?}");
    assert_eq!(hears(client).await, refused);

    // What refuses a WebSocket may answer anything.
    let (server, client) = says(request).await;
    let Ok(Some(Arrival::Plain(plain))) = Arrival::read(server, OPTIONS).await else { panic!() };
    plain.answer(Reject::new(503).unwrap()).await.unwrap();
    assert!(hears(client).await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test(start_paused = true)]
async fn what_asks_for_a_websocket_wrongly_is_not_plain() {
    for request in [WEBSOCKET.replace("13", "8"), WEBSOCKET.replace("GET", "POST"), "\x16\x03\x01".into()] {
        let (server, client) = says(&request).await;
        let error = Arrival::read(server, OPTIONS).await.unwrap_err();
        assert!(matches!(error, Error::Handshake(_)), "{error:?}");
        assert!(hears(client).await.starts_with("HTTP/1.1 4"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_before_the_first_byte_is_no_failed_handshake() {
    let ended = || duplex(1).0;
    assert!(matches!(Arrival::read(ended(), OPTIONS).await, Ok(None)));
    assert!(matches!(Incoming::read(ended(), OPTIONS).await, Err(Error::NoRequest)));
    assert!(matches!(accept(ended()).await, Err(Error::NoRequest)));
    assert!(matches!(blocking::accept(std::io::Cursor::new(Vec::new())), Err(Error::NoRequest)));
    // Later it is.
    let (server, client) = says("G").await;
    drop(client);
    let error = Arrival::read(server, OPTIONS).await.unwrap_err();
    assert!(matches!(error, Error::Handshake(HandshakeError::UnexpectedEof { received: 1 })), "{error:?}");
    // And so is silence.
    let (server, _client) = says("").await;
    let error = Arrival::read(server, OPTIONS).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Deadline::Handshake)), "{error:?}");
}

#[test]
fn the_engine_hands_over_no_other_request() {
    let mut handshake = ServerHandshake::new();
    assert!(handshake.plain_request().is_none());
    handshake.feed(WEBSOCKET.as_bytes());
    assert!(handshake.poll().unwrap().is_some());
    assert!(handshake.plain_request().is_none());
}
