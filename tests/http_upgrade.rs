//! Upgrades on HTTP/1.1 of requests that others parse: [`taut::http`], and hyper and axum above it.

#![cfg(all(feature = "axum", feature = "http2", feature = "deflate"))]

#[path = "http/ends.rs"]
#[expect(dead_code, reason = "written for RFC 8441, and used in part")]
mod ends;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use ends::{RawServer, axum_server, hyper_server};
use http::{Request, Version};
use taut::axum::WebSocketUpgrade;
use taut::http::{Upgrade, refuse};
use taut::http2::Client;
use taut::proto::handshake::{Accept, ClientRequest, HandshakeError, Reject, ServerHandshake};
use taut::proto::{CloseCode, Config, Deflate, Message};
use taut::tokio::connect_over;
use taut::{Error, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

const FIELDS: [(&str, &str); 7] = [
    ("host", "server.example.com"),
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("origin", "http://example.com"),
    ("sec-websocket-protocol", "chat, superchat"),
    ("sec-websocket-version", "13"),
];

fn asking() -> ClientRequest {
    ClientRequest::new("example.com", "/echo").unwrap()
}

/// The fields of RFC 6455 §1.2 with others in place of those of the same name.
fn fields<'a>(name: &'a str, values: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let kept = FIELDS.into_iter().filter(|(known, _)| *known != name);
    kept.chain(values.iter().map(|value| (name, *value))).collect()
}

#[test]
fn the_rules_are_those_of_our_own_handshake() {
    let cases: [(&str, &str, &[&str]); 30] = [
        ("GET", "a", &[]),
        ("POST", "a", &[]),
        ("HEAD", "a", &[]),
        ("GET", "host", &[]),
        ("GET", "host", &["a", "b"]),
        ("GET", "host", &["a b"]),
        ("GET", "upgrade", &[]),
        ("GET", "upgrade", &["h2c"]),
        ("GET", "upgrade", &["h2c, WebSocket"]),
        ("GET", "connection", &[]),
        ("GET", "connection", &["keep-alive"]),
        ("GET", "connection", &["keep-alive, upgrade"]),
        ("GET", "sec-websocket-version", &[]),
        ("GET", "sec-websocket-version", &["8"]),
        ("GET", "sec-websocket-version", &["13", "13"]),
        ("GET", "sec-websocket-key", &[]),
        ("GET", "sec-websocket-key", &["AAAA"]),
        ("GET", "sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="]),
        ("GET", "origin", &["http://a", "http://b"]),
        ("GET", "origin", &["http://a http://b"]),
        ("GET", "sec-websocket-protocol", &[""]),
        ("GET", "sec-websocket-protocol", &["a b"]),
        ("GET", "sec-websocket-protocol", &["a, a"]),
        ("GET", "sec-websocket-extensions", &["a; b=\"c d\""]),
        ("GET", "sec-websocket-extensions", &["permessage-deflate"]),
        ("GET", "content-length", &["0"]),
        ("GET", "content-length", &["1"]),
        ("GET", "transfer-encoding", &["chunked"]),
        ("GET", "cookie", &["a=b"]),
        ("OPTIONS", "upgrade", &[]),
    ];
    for (method, name, values) in cases {
        let fields = fields(name, values);
        let mut head = format!("{method} /chat?a=b HTTP/1.1\r\n");
        let mut request = Request::builder().method(method).uri("/chat?a=b");
        for (name, value) in &fields {
            head += &format!("{name}: {value}\r\n");
            request = request.header(*name, *value);
        }
        let mut handshake = ServerHandshake::new();
        handshake.feed((head + "\r\n").as_bytes());
        let own = handshake.poll().map(|pending| pending.expect("the head is whole").request().clone());
        let parsed = Upgrade::new(&request.body(()).unwrap(), None, &Options::new());
        assert_eq!(parsed.map(|upgrade| upgrade.request().clone()), own, "{method} {name}: {values:?}");
    }
}

#[test]
fn versions_and_targets() {
    let check = |version, uri: &str, protocol| {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in FIELDS {
            request = request.header(name, value);
        }
        Upgrade::new(&request.body(()).unwrap(), protocol, &Options::new()).map(|_| ())
    };
    assert_eq!(check(Version::HTTP_11, "/chat", None), Ok(()));
    assert_eq!(check(Version::HTTP_11, "http://server.example.com/chat", None), Ok(()));
    assert_eq!(check(Version::HTTP_11, "http://other.example.com/chat", None), Err(HandshakeError::Target));
    assert_eq!(check(Version::HTTP_10, "/chat", None), Err(HandshakeError::HttpVersion));
    // HTTP/2 has no upgrade, whatever the fields say.
    assert_eq!(check(Version::HTTP_2, "/chat", Some("websocket")), Err(HandshakeError::Method));
}

/// RFC 8441 §4: `:scheme` and `:path` "MUST also be included"; §5: `:protocol` is "websocket", and Connection and Upgrade
/// "MUST NOT be included".
#[test]
fn an_extended_connect_has_its_own_fields_and_none_of_the_upgrade() {
    let check = |uri: &str, protocol, fields: &[(&str, &str)]| {
        let mut request = Request::builder().method("CONNECT").version(Version::HTTP_2).uri(uri);
        for (name, value) in [("sec-websocket-version", "13")].iter().chain(fields) {
            request = request.header(*name, *value);
        }
        Upgrade::new(&request.body(()).unwrap(), protocol, &Options::new()).map(|_| ())
    };
    let (whole, websocket) = ("https://example.com/chat?room=1", Some("websocket"));
    assert_eq!(check(whole, websocket, &[]), Ok(()));
    for protocol in [None, Some("connect-udp"), Some("WebSocket"), Some("")] {
        assert_eq!(check(whole, protocol, &[]), Err(HandshakeError::Protocol), "{protocol:?}");
    }
    // Without a scheme, or without a path.
    for partial in ["example.com:443", "/chat"] {
        let checked = check(partial, websocket, &[("host", "example.com:443")]);
        assert_eq!(checked, Err(HandshakeError::Target), "{partial}");
    }
    for (name, value, error) in [
        ("upgrade", "websocket", HandshakeError::Upgrade),
        ("connection", "Upgrade", HandshakeError::Connection),
        ("connection", "close", HandshakeError::Connection),
    ] {
        assert_eq!(check(whole, websocket, &[(name, value)]), Err(error), "{name}: {value}");
    }
}

#[test]
fn answers_are_those_of_rfc6455() {
    let mut request = Request::builder().uri("/chat");
    for (name, value) in FIELDS {
        request = request.header(name, value);
    }
    let request = request.header("sec-websocket-extensions", "permessage-deflate").body(()).unwrap();
    let options = Options::new().deflate(Deflate::no_context_takeover());
    let upgrade = Upgrade::new(&request, None, &options).unwrap();
    let accept = Accept::new().subprotocol("superchat").field("Set-Cookie", "a=b").unwrap();
    let (response, opening) = upgrade.accept(accept).unwrap();
    let headers: Vec<_> =
        response.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!((response.status().as_u16(), response.version()), (101, Version::HTTP_11));
    assert_eq!(
        headers,
        [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", "superchat"),
            (
                "sec-websocket-extensions",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            ),
            ("set-cookie", "a=b"),
        ]
    );
    assert_eq!(opening.agreement().subprotocol(), Some("superchat"));
    assert!(opening.agreement().deflate().is_some());
    assert!(upgrade.accept(Accept::new().subprotocol("other")).is_err());

    let status = |response: &http::Response<Vec<u8>>| response.status().as_u16();
    let field = |response: &http::Response<Vec<u8>>, name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let response = upgrade.reject(Reject::new(403).unwrap().field("A", "b").unwrap().body("no"));
    assert_eq!((status(&response), &response.body()[..], &*field(&response, "a")), (403, &b"no"[..], "b"));

    let response = refuse(&HandshakeError::Version, Version::HTTP_11);
    assert_eq!((status(&response), &*field(&response, "sec-websocket-version")), (426, "13"));
    assert_eq!((&*field(&response, "upgrade"), &*field(&response, "connection")), ("websocket", "Upgrade"));
    assert_eq!(response.body(), format!("{}\n", HandshakeError::Version).as_bytes());
    let response = refuse(&HandshakeError::Version, Version::HTTP_2);
    assert_eq!((status(&response), &*field(&response, "sec-websocket-version")), (400, "13"));
    assert!(!response.headers().contains_key("upgrade") && !response.headers().contains_key("connection"));
    for (version, allowed) in [(Version::HTTP_11, "GET"), (Version::HTTP_2, "CONNECT")] {
        let response = refuse(&HandshakeError::Method, version);
        assert_eq!((status(&response), &*field(&response, "allow")), (405, allowed));
    }
    assert_eq!(refuse(&HandshakeError::Finished, Version::HTTP_11).status(), 400);
}

#[tokio::test]
async fn a_socket_over_what_is_left_of_the_connection() {
    let mut request = Request::builder().uri("/chat");
    for (name, value) in FIELDS {
        request = request.header(name, value);
    }
    let upgrade = Upgrade::new(&request.body(()).unwrap(), None, &Options::new()).unwrap();
    let (_, opening) = upgrade.accept(Accept::new()).unwrap();
    let (ours, mut theirs) = duplex(1 << 10);
    // A frame that the HTTP library had read a part of.
    let mut socket = opening.into_socket_with(ours, b"\x81\x82\0\0\0");
    theirs.write_all(b"\0Hi").await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), Some(Message::text("Hi")));
    socket.send("Ho").await.unwrap();
    let mut answer = [0; 4];
    theirs.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"\x81\x02Ho");
}

#[tokio::test]
async fn axum_over_http1() {
    let request = asking().subprotocol("superchat").unwrap().subprotocol("chat").unwrap();
    let options = Options::new().deflate(Deflate::new());
    let mut socket = connect_over(axum_server(options), &request, options).await.unwrap();
    assert_eq!(socket.subprotocol(), Some("chat"));
    assert!(socket.with_connection(|connection| connection.agreement().deflate()).is_some());
    for message in [Message::text("Hello"), Message::binary(vec![7; 300_000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some(message));
    }
    assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
}

#[tokio::test]
async fn axum_over_http2() {
    let options = Options::new().deflate(Deflate::new());
    let client = Client::new(axum_server(options), false, options).await.unwrap();
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(client.connect(&asking().subprotocol("chat").unwrap()).await.unwrap());
    }
    for message in [Message::text("Hello"), Message::binary(vec![7; 300_000])] {
        for socket in &mut sockets {
            assert_eq!(socket.subprotocol(), Some("chat"));
            socket.send(message.clone()).await.unwrap();
        }
        for socket in &mut sockets {
            assert_eq!(socket.recv().await.unwrap(), Some(message.clone()));
        }
    }
    for socket in &mut sockets {
        assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
    }
}

#[tokio::test]
async fn hyper_hands_over_what_it_has_read_too_far() {
    let (told, mut ended) = unbounded_channel();
    let mut stream = hyper_server(Options::new(), move |end| drop(told.send(end)));
    let mut head = String::from("GET /echo HTTP/1.1\r\n");
    FIELDS.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    let bytes = [head.as_bytes(), b"\r\n\x81\x82\0\0\0\0Hi\x88\x82\0\0\0\0\x03\xe8"].concat();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    assert!(answer.ends_with(b"\r\n\r\n\x81\x02Hi\x88\x02\x03\xe8"));
    drop(stream);
    ended.recv().await.unwrap().unwrap();
}

#[tokio::test]
async fn who_asks_for_something_else_is_told() {
    let hyper = || hyper_server(Options::new(), |_| unreachable!("nothing opens"));
    for server in [axum_server(Options::new()), hyper()] {
        let mut stream = server;
        stream.write_all(b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
        assert!(answer.contains("sec-websocket-version: 13\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn axum_limits_and_refusals() {
    let router = Router::new()
        .route(
            "/small",
            any(async |upgrade: WebSocketUpgrade| {
                assert!(
                    upgrade.requested_protocols().next().is_none() && upgrade.selected_protocol().is_none()
                );
                let upgrade = upgrade.max_message_size(10).max_frame_size(8);
                upgrade.on_upgrade(async |mut socket| while let Ok(Some(_)) = socket.recv().await {})
            }),
        )
        .route("/closed", any(async |upgrade: WebSocketUpgrade| upgrade.reject(Reject::new(403).unwrap())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let request = |path| ClientRequest::new("example.com", path).unwrap();
    let stream = || TcpStream::connect(address);
    // axum's own `serve` announces extended CONNECT.
    let client = Client::new(stream().await.unwrap(), false, Options::new()).await.unwrap();
    for (size, fragment) in [(9, None), (11, Some(8))] {
        let mut config = Config::new();
        if let Some(most) = fragment {
            config = config.fragment_above(most);
        }
        let mut one =
            connect_over(stream().await.unwrap(), &request("/small"), Options::new().config(config))
                .await
                .unwrap();
        one.send("x".repeat(size)).await.unwrap();
        let Ok(Some(Message::Close(Some(close)))) = one.recv().await else { panic!("no Close for {size}") };
        assert_eq!(close.code(), CloseCode::TOO_BIG);
    }
    let mut two = client.connect(&request("/small")).await.unwrap();
    two.send("x".repeat(9)).await.unwrap();
    let Ok(Some(Message::Close(Some(close)))) = two.recv().await else { panic!("no Close") };
    assert_eq!(close.code(), CloseCode::TOO_BIG);
    let error = connect_over(stream().await.unwrap(), &request("/closed"), Options::new()).await.unwrap_err();
    assert!(matches!(&error, Error::Refused(answer) if answer.status() == 403), "{error:?}");
    let error = client.connect(&request("/closed")).await.unwrap_err();
    assert!(matches!(&error, Error::Refused(answer) if answer.status() == 403), "{error:?}");
}

#[tokio::test]
async fn axum_tells_of_failed_upgrades() {
    let (told, mut failed) = unbounded_channel();
    let mut parts = Request::builder().uri("/chat");
    for (name, value) in FIELDS {
        parts = parts.header(name, value);
    }
    let mut parts = parts.body(()).unwrap().into_parts().0;
    // Without a server there is no upgrade.
    let rejection = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.unwrap_err();
    assert!(matches!(rejection.error(), Error::Unsupported(_)));
    assert_eq!(rejection.into_response().status(), 500);

    // A client that is gone before the answer.
    let (calls, mut waiting) = unbounded_channel();
    let handler = async move |upgrade: WebSocketUpgrade| -> Response {
        let told = told.clone();
        let failed = move |error: Error| drop(told.send(error));
        let response =
            upgrade.on_failed_upgrade(failed).on_upgrade(async |_| unreachable!("nobody is there"));
        calls.send(()).unwrap();
        pending::<()>().await;
        response
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/echo", any(handler))).await });
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = String::from("GET /echo HTTP/1.1\r\n");
    FIELDS.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    stream.write_all((head + "\r\n").as_bytes()).await.unwrap();
    waiting.recv().await.unwrap();
    drop(stream);
    let error = timeout(Duration::from_secs(60), failed.recv()).await.expect("a call").unwrap();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
}

/// Polls a future, drops it at its `Pending` number `drops`, or gives its result.
async fn dropped_at<T>(drops: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let pending = Cell::new(0);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if pending.get() == drops => Poll::Ready(None),
        Poll::Pending => {
            pending.set(pending.get() + 1);
            Poll::Pending
        }
    })
    .await
}

/// Cancel safety: a `connect` that is dropped leaves the connection as it was, at every point.
#[tokio::test]
async fn connecting_over_http2_can_be_dropped() {
    let mut most = 0;
    for drops in 0.. {
        let server = axum_server(Options::new());
        let Some(client) = dropped_at(drops, Client::new(server, false, Options::new())).await else {
            continue;
        };
        let client = client.unwrap();
        if let Some(socket) = dropped_at(drops, client.connect(&asking())).await {
            socket.unwrap();
            most = drops;
        }
        let mut socket = client.connect(&asking()).await.unwrap();
        socket.send("Hi").await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some(Message::text("Hi")));
        if most > 0 {
            break;
        }
    }
    // A server that says nothing: dropped while it waits, the client closes the stream.
    let (ours, mut theirs) = duplex(1 << 10);
    assert!(dropped_at(0, Client::new(ours, false, Options::new())).await.is_none());
    theirs.read_to_end(&mut Vec::new()).await.unwrap();
    let (ours, theirs) = duplex(1 << 16);
    let mut server = RawServer::start(theirs, 100);
    let client = Client::new(ours, false, Options::new()).await.unwrap();
    assert!(dropped_at(0, client.connect(&asking())).await.is_none());
    drop(client);
    while !server.is_ended().await {}
}

/// Dropped before its first poll or at any other, the socket to come ends the connection.
#[tokio::test(start_paused = true)]
async fn upgrading_can_be_dropped() {
    let mut dropped = 0;
    for polls in 0.. {
        let (ours, theirs) = duplex(16);
        let (told, mut upgrades) = unbounded_channel();
        let service = hyper::service::service_fn(move |mut request| {
            let upgrade = taut::hyper::Upgrade::new(&mut request, &Options::new()).unwrap();
            let (response, upgrading) = upgrade.accept(Accept::new()).unwrap();
            told.send(upgrading).unwrap();
            async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok::<_, Error>(response.map(|()| String::new()))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(hyper_util::rt::TokioIo::new(theirs), service)
            .with_upgrades();
        let serving = tokio::spawn(connection);
        let client = tokio::spawn(async move {
            let mut socket = connect_over(ours, &asking(), Options::new()).await?;
            socket.recv().await
        });
        let upgrading = upgrades.recv().await.unwrap();
        let opened = match polls {
            0 => {
                drop(upgrading);
                None
            }
            _ => dropped_at(polls - 1, upgrading).await,
        };
        if let Some(socket) = opened {
            socket.unwrap().send("Hi").await.unwrap();
            assert_eq!(client.await.unwrap().unwrap(), Some(Message::text("Hi")));
            break;
        }
        dropped += 1;
        let lost = timeout(Duration::from_secs(60), client).await.expect("an end").unwrap();
        assert!(matches!(lost, Err(Error::Lost | Error::Io(_) | Error::Handshake(_))), "{lost:?}");
        serving.await.unwrap().unwrap();
    }
    assert!(dropped >= 2, "{dropped}");
}
