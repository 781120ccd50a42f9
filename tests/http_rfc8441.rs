//! RFC 8441, WebSockets over HTTP/2: a test for each requirement on either end. What the other end says and sees is that
//! of the crate h2, driven by hand.

#![cfg(all(feature = "axum", feature = "http2", feature = "deflate"))]

#[path = "http/ends.rs"]
mod ends;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ends::{RawClient, RawServer, axum_server, client_of, data, extended, hyper_server};
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Response, StatusCode};
use taut::http2::{Client, Stream};
use taut::proto::handshake::{ClientRequest, HandshakeError};
use taut::proto::{CloseCode, Config, Deflate, Message};
use taut::tokio::WebSocket;
use taut::{Deadline, Error, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tokio::time::{sleep, timeout};

fn request() -> ClientRequest {
    ClientRequest::new("example.com", "/echo").unwrap()
}

/// H1. RFC 8441 §3: the server's settings say that it takes extended CONNECT.
#[tokio::test]
async fn h1_the_server_announces_extended_connect() {
    let client = RawClient::start(axum_server(Options::new())).await;
    assert!(client.requests.is_extended_connect_protocol_enabled());
}

/// H2. RFC 8441 §3: a client sends none before the server has announced it.
#[tokio::test(start_paused = true)]
async fn h2_without_the_setting_nothing_is_asked() {
    let (ours, theirs) = duplex(1 << 16);
    let server = tokio::spawn(async move {
        let mut connection = h2::server::handshake(theirs).await.unwrap();
        connection.accept().await.is_none()
    });
    let error = Client::new(ours, false, Options::new()).await.unwrap_err();
    assert!(matches!(error, Error::NoExtendedConnect), "{error:?}");
    assert!(server.await.unwrap(), "a request came");

    // A server whose settings do not come is waited for, and asked nothing.
    let (ours, mut theirs) = duplex(1 << 16);
    let error = Client::new(ours, false, Options::new()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Deadline::Handshake)), "{error:?}");
    let mut sent = Vec::new();
    theirs.read_to_end(&mut sent).await.unwrap();
    let mut frames = sent.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("the preface");
    while let Some((head, rest)) = frames.split_at_checked(9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        assert_ne!(head[3], 1, "a HEADERS frame");
        frames = &rest[length..];
    }
}

/// H3. RFC 8441 §4, and H5, §5: the pseudo-header fields.
#[tokio::test]
async fn h3_and_h5_the_request_names_protocol_scheme_path_and_authority() {
    for (secure, scheme) in [(false, "http"), (true, "https")] {
        let (client, mut server) = client_of(secure, Options::new()).await;
        let asking = ClientRequest::new("example.com:8443", "/chat?room=1").unwrap();
        let opening = tokio::spawn(async move { client.connect(&asking).await });
        let (request, mut respond) = server.accept().await;
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.extensions().get::<h2::ext::Protocol>().unwrap().as_str(), "websocket");
        assert_eq!(request.uri().scheme_str(), Some(scheme));
        assert_eq!(request.uri().authority().unwrap(), "example.com:8443");
        assert_eq!(request.uri().path_and_query().unwrap(), "/chat?room=1");
        let _sending = respond.send_response(Response::new(()), false).unwrap();
        opening.await.unwrap().unwrap();
    }
}

/// H4. RFC 8441 §4: `:authority` names no tunnel; who asks for one, or for another protocol, is refused.
#[tokio::test]
async fn h4_no_tunnel_to_the_authority() {
    let mut client = RawClient::start(axum_server(Options::new())).await;
    for protocol in [None, Some("connect-udp"), Some("WebSocket")] {
        let mut asking = extended("http://127.0.0.1:1/echo");
        asking.extensions_mut().remove::<h2::ext::Protocol>();
        match protocol {
            Some(name) => drop(asking.extensions_mut().insert(h2::ext::Protocol::from(name))),
            None => *asking.uri_mut() = "127.0.0.1:1".parse().unwrap(),
        }
        let (response, _) = client.ask(asking).await;
        // axum routes by the path, which a plain CONNECT does not have.
        let expected = if protocol.is_some() { StatusCode::NOT_IMPLEMENTED } else { StatusCode::NOT_FOUND };
        assert_eq!(response.status(), expected, "{protocol:?}");
    }
    // Another authority is but a name.
    let (response, _socket) = client.ask(extended("http://127.0.0.1:1/echo")).await;
    assert_eq!(response.status(), StatusCode::OK);
}

/// H5. RFC 8441 §5: the scheme is http or https.
#[tokio::test]
async fn h5_another_scheme_is_refused() {
    let mut client = RawClient::start(axum_server(Options::new())).await;
    for (scheme, status) in [("http", 200), ("https", 200), ("ftp", 400), ("ws", 400)] {
        let (response, _) = client.ask(extended(&format!("{scheme}://example.com/echo"))).await;
        assert_eq!(response.status(), status, "{scheme}");
    }
}

/// H6. RFC 8441 §5: no fields of the upgrade of HTTP/1.1, and no key.
#[tokio::test]
async fn h6_no_upgrade_no_key_no_accept() {
    const NONE: [&str; 5] = ["upgrade", "connection", "sec-websocket-key", "sec-websocket-accept", "host"];
    let (client, mut server) = client_of(false, Options::new()).await;
    let opening = tokio::spawn(async move { client.connect(&request()).await });
    let (asked, mut respond) = server.accept().await;
    assert!(NONE.iter().all(|name| !asked.headers().contains_key(*name)), "{:?}", asked.headers());
    // An accept that fits no key is not looked at.
    let answer = Response::builder().header("sec-websocket-accept", "x").body(()).unwrap();
    let _sending = respond.send_response(answer, false).unwrap();
    opening.await.unwrap().unwrap();

    let mut client = RawClient::start(axum_server(Options::new())).await;
    for key in ["", "no key", "dGhlIHNhbXBsZSBub25jZQ=="] {
        let mut asking = extended("http://example.com/echo");
        asking.headers_mut().insert("sec-websocket-key", key.parse().unwrap());
        let (response, _) = client.ask(asking).await;
        assert_eq!(response.status(), StatusCode::OK, "{key:?}");
        assert!(NONE.iter().all(|name| !response.headers().contains_key(*name)), "{:?}", response.headers());
    }
}

/// H7. RFC 8441 §5: Origin, Sec-WebSocket-Version, -Protocol and -Extensions as in RFC 6455: on the server.
#[tokio::test]
async fn h7_the_server_keeps_the_rules_of_rfc6455() {
    let mut client = RawClient::start(axum_server(Options::new().deflate(Deflate::new()))).await;
    for (name, value, status) in [
        ("sec-websocket-version", "8", 400),
        ("sec-websocket-version", "", 400),
        ("origin", "http://a http://b", 400),
        ("sec-websocket-protocol", "a b", 400),
        ("sec-websocket-protocol", "a, a", 400),
        ("sec-websocket-extensions", "a; b=\"c d\"", 400),
        ("host", "other.example.com", 400),
        ("content-length", "0", 400),
        ("host", "example.com", 200),
        ("origin", "http://a", 200),
    ] {
        let mut asking = extended("http://example.com/echo");
        asking.headers_mut().insert(name, value.parse().unwrap());
        let (response, _) = client.ask(asking).await;
        assert_eq!(response.status(), status, "{name}: {value}");
    }
    let mut asking = extended("http://example.com/echo");
    asking.headers_mut().remove("sec-websocket-version");
    let (response, _) = client.ask(asking).await;
    assert_eq!(response.status(), 400);

    let mut asking = extended("http://example.com/echo");
    asking.headers_mut().insert("sec-websocket-protocol", "other, superchat, chat".parse().unwrap());
    asking.headers_mut().insert("sec-websocket-extensions", "x, permessage-deflate".parse().unwrap());
    let (response, _) = client.ask(asking).await;
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    assert_eq!(response.headers()["sec-websocket-extensions"], "permessage-deflate");
}

/// H7, on the client.
#[tokio::test]
async fn h7_the_client_keeps_the_rules_of_rfc6455() {
    let asking = || request().subprotocol("chat").unwrap().field("Origin", "http://a").unwrap();
    let (client, mut server) = client_of(false, Options::new()).await;
    for (name, value, error) in [
        ("sec-websocket-protocol", "other", Some(HandshakeError::SubprotocolNotOffered)),
        ("sec-websocket-extensions", "x", Some(HandshakeError::ExtensionNotOffered)),
        ("sec-websocket-extensions", "permessage-deflate; x", Some(HandshakeError::DeflateAnswer)),
        ("sec-websocket-extensions", "a b", Some(HandshakeError::Extensions { at: 2 })),
        ("sec-websocket-protocol", "chat", None),
        ("sec-websocket-extensions", "permessage-deflate", None),
    ] {
        let client = client.clone();
        let opening = tokio::spawn(async move { client.connect(&asking()).await });
        let (asked, mut respond) = server.accept().await;
        assert_eq!(asked.headers()["sec-websocket-version"], "13");
        assert_eq!(asked.headers()["sec-websocket-protocol"], "chat");
        assert_eq!(asked.headers()["origin"], "http://a");
        assert_eq!(asked.headers()["sec-websocket-extensions"], "permessage-deflate; client_max_window_bits");
        let answer = Response::builder().header(name, value).body(()).unwrap();
        let mut sending = respond.send_response(answer, false).unwrap();
        match (opening.await.unwrap(), error) {
            (Ok(socket), None) => {
                assert_eq!(socket.subprotocol(), (value == "chat").then_some("chat"));
                let deflate = socket.with_connection(|connection| connection.agreement().deflate());
                assert_eq!(deflate.is_some(), value == "permessage-deflate");
            }
            (Err(Error::Handshake(found)), Some(error)) => {
                assert_eq!(found, error);
                let reason = poll_fn(|cx| sending.poll_reset(cx)).await.unwrap();
                assert_eq!(reason, Reason::CANCEL);
            }
            (result, error) => panic!("{result:?} is not {error:?}"),
        }
    }
}

/// H8. RFC 8441 §5: 2xx accepts, and nothing else does.
#[tokio::test]
async fn h8_success_is_two_hundred_and_something() {
    let mut client = RawClient::start(axum_server(Options::new())).await;
    let (response, _) = client.ask(extended("http://example.com/echo")).await;
    assert_eq!(response.status(), StatusCode::OK);

    let (client, mut server) = client_of(false, Options::new()).await;
    for status in [200, 201, 204, 299, 300, 302, 401, 404, 503] {
        let client = client.clone();
        let opening = tokio::spawn(async move { client.connect(&request()).await });
        let (_, mut respond) = server.accept().await;
        let answer = Response::builder().status(status).header("a", "b").body(()).unwrap();
        let mut sending = respond.send_response(answer, false).unwrap();
        if status >= 300 {
            sending.send_data(Bytes::from_static(b"why"), true).unwrap();
        }
        match opening.await.unwrap() {
            Ok(_) => assert!(status < 300, "{status}"),
            Err(Error::Refused(answer)) => {
                assert_eq!((answer.status(), answer.body()), (status, &b"why"[..]));
                assert_eq!((answer.fields().text("A"), answer.body_is_whole()), (Some("b"), true));
            }
            Err(error) => panic!("{status}: {error}"),
        }
    }
}

/// H8: a body that is too long is cut.
#[tokio::test]
async fn h8_a_refusal_is_bounded() {
    let (client, mut server) = client_of(false, Options::new()).await;
    let opening = tokio::spawn(async move { client.connect(&request()).await });
    let (_, mut respond) = server.accept().await;
    let mut sending =
        respond.send_response(Response::builder().status(500).body(()).unwrap(), false).unwrap();
    let pouring = tokio::spawn(async move { while data(&mut sending, &[b'x'; 10_000]).await.is_ok() {} });
    let Err(Error::Refused(answer)) = opening.await.unwrap() else { panic!("not refused") };
    assert!(!answer.body_is_whole() && answer.body().len() <= 1 << 20, "{} bytes", answer.body().len());
    pouring.await.unwrap();
}

/// H9. RFC 8441 §5: an orderly close is END_STREAM on both sides.
#[tokio::test]
async fn h9_a_close_ends_the_stream() {
    let (client, mut server) = client_of(false, Options::new()).await;
    let opening = tokio::spawn(async move {
        let mut socket = client.connect(&request()).await?;
        socket.close(CloseCode::NORMAL, "bye").await
    });
    let (asked, mut respond) = server.accept().await;
    let mut sending = respond.send_response(Response::new(()), false).unwrap();
    let mut receiving = asked.into_body();
    let close = receiving.data().await.unwrap().unwrap();
    assert_eq!(close[..2], [0x88, 0x85]);
    // RFC 6455 §7.1.1: the server ends the connection first.
    data(&mut sending, b"\x88\x05\x03\xe8bye").await.unwrap();
    sending.send_data(Bytes::new(), true).unwrap();
    let status = opening.await.unwrap().unwrap();
    assert!(status.clean);
    let end = receiving.data().await.transpose().expect("END_STREAM, and no reset");
    assert!(end.is_none_or(|data| data.is_empty()) && receiving.is_end_stream());

    let mut client = RawClient::start(axum_server(Options::new())).await;
    let (response, mut sending) = client.ask(extended("http://example.com/echo")).await;
    data(&mut sending, b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
    let mut receiving = response.into_body();
    assert_eq!(receiving.data().await.unwrap().unwrap(), &b"\x88\x02\x03\xe8"[..]);
    let end = receiving.data().await.transpose().expect("END_STREAM, and no reset");
    assert!(end.is_none_or(|data| data.is_empty()) && receiving.is_end_stream());
}

/// H9: END_STREAM without a Close is an abnormal end as well, and no reason for a reset.
#[tokio::test]
async fn h9_an_end_without_a_close_is_lost() {
    let (client, mut server) = client_of(false, Options::new()).await;
    let (mut socket, mut end) = open(&client, &mut server).await;
    end.sending.send_data(Bytes::new(), true).unwrap();
    assert!(matches!(socket.recv().await, Err(Error::Lost)));
    drop(socket);
    let last = end.receiving.data().await.transpose().expect("END_STREAM, and no reset");
    assert!(last.is_none_or(|data| data.is_empty()) && end.receiving.is_end_stream());
}

/// H9: a reset is an abnormal end (1006) to whom it comes.
#[tokio::test]
async fn h9_a_reset_is_an_error() {
    for (reason, kind) in [
        (Reason::CANCEL, io::ErrorKind::ConnectionReset),
        (Reason::INTERNAL_ERROR, io::ErrorKind::ConnectionReset),
        (Reason::REFUSED_STREAM, io::ErrorKind::ConnectionRefused),
    ] {
        let (client, mut server) = client_of(false, Options::new()).await;
        let opening = tokio::spawn(async move { client.connect(&request()).await });
        let (_asked, mut respond) = server.accept().await;
        let mut sending = respond.send_response(Response::new(()), false).unwrap();
        let mut socket = opening.await.unwrap().unwrap();
        sending.send_reset(reason);
        let Err(Error::Io(error)) = socket.recv().await else { panic!("{reason}: no error") };
        assert_eq!(error.kind(), kind);
        let cause = error.get_ref().and_then(|error| error.downcast_ref::<h2::Error>()).unwrap();
        assert_eq!(cause.reason(), Some(reason));
        assert_eq!(socket.close_status().map(|status| status.clean), Some(false));
        assert!(matches!(socket.recv().await, Ok(None)));
    }
    // The same before the answer.
    let (client, mut server) = client_of(false, Options::new()).await;
    let opening = tokio::spawn(async move { client.connect(&request()).await });
    let (_, mut respond) = server.accept().await;
    respond.send_reset(Reason::REFUSED_STREAM);
    let Err(Error::Io(error)) = opening.await.unwrap() else { panic!("no error") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

    // On the server.
    let (told, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let mut client = RawClient::start(hyper_server(Options::new(), move |end| drop(told.send(end)))).await;
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let (_response, mut sending) = client.ask(extended("http://example.com/echo")).await;
        sending.send_reset(reason);
        let end = ended.recv().await.unwrap();
        assert!(matches!(end, Err(Error::Lost | Error::Io(_))), "{reason}: {end:?}");
    }
}

/// H9: who drops a WebSocket resets its stream, and no other.
#[tokio::test]
async fn h9_dropping_resets_the_stream() {
    let (client, mut server) = client_of(false, Options::new()).await;
    let mut sockets = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..3 {
        let client = client.clone();
        let opening = tokio::spawn(async move { client.connect(&request()).await });
        let (asked, mut respond) = server.accept().await;
        streams.push((respond.send_response(Response::new(()), false).unwrap(), asked.into_body()));
        sockets.push(opening.await.unwrap().unwrap());
    }
    drop(sockets.remove(1));
    let (mut sending, mut receiving) = streams.remove(1);
    assert_eq!(poll_fn(|cx| sending.poll_reset(cx)).await.unwrap(), Reason::CANCEL);
    assert_eq!(receiving.data().await.unwrap().unwrap_err().reason(), Some(Reason::CANCEL));
    for (socket, (sending, _)) in sockets.iter_mut().zip(&mut streams) {
        data(sending, b"\x81\x02Hi").await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some(Message::text("Hi")));
    }
}

/// H10. RFC 8441 §5.1: frames are those of RFC 6455, those of clients masked.
#[tokio::test]
async fn h10_frames_are_as_in_rfc6455() {
    let (client, mut server) = client_of(false, Options::new()).await;
    let opening = tokio::spawn(async move {
        let mut socket = client.connect(&request()).await?;
        socket.send("Hello").await?;
        Ok::<_, Error>(socket)
    });
    let (asked, mut respond) = server.accept().await;
    let _sending = respond.send_response(Response::new(()), false).unwrap();
    let _socket = opening.await.unwrap().unwrap();
    let mut frame = asked.into_body().data().await.unwrap().unwrap().to_vec();
    assert_eq!(frame[..2], [0x81, 0x85]);
    let key: [u8; 4] = frame[2..6].try_into().unwrap();
    frame[6..].iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    assert_eq!(&frame[6..], b"Hello");

    let mut client = RawClient::start(axum_server(Options::new())).await;
    let (response, mut sending) = client.ask(extended("http://example.com/echo")).await;
    // A frame in three DATA frames.
    for part in [&b"\x81"[..], b"\x85\0\0\0", b"\0Hello"] {
        data(&mut sending, part).await.unwrap();
    }
    let mut receiving = response.into_body();
    assert_eq!(receiving.data().await.unwrap().unwrap(), &b"\x81\x05Hello"[..]);
    data(&mut sending, b"\x81\x02Hi").await.unwrap();
    let close = receiving.data().await.unwrap().unwrap();
    assert_eq!(close[0], 0x88);
    assert_eq!(close[2..4], 1002_u16.to_be_bytes(), "an unmasked frame");
}

/// H10: every one of many pings is answered, whether they come together or one by one.
#[tokio::test(start_paused = true)]
async fn h10_all_pings_are_answered() {
    for together in [true, false] {
        let mut client = RawClient::start(axum_server(Options::new())).await;
        let (response, mut sending) = client.ask(extended("http://example.com/echo")).await;
        let ping = b"\x89\x85\0\0\0\0Hello";
        if together {
            data(&mut sending, &ping.repeat(10)).await.unwrap();
        } else {
            for _ in 0..10 {
                data(&mut sending, ping).await.unwrap();
            }
        }
        let mut receiving = response.into_body();
        let mut answers = Vec::new();
        while answers.len() < 70 {
            let data = timeout(Duration::from_secs(1), receiving.data()).await.expect("a pong is missing");
            answers.extend_from_slice(&data.unwrap().unwrap());
        }
        assert_eq!(answers, b"\x8a\x05Hello".repeat(10));
    }
}

/// H11. RFC 9113 §5.2: the window opens as the application receives; a socket that is not read holds up no other.
#[tokio::test(start_paused = true)]
async fn h11_the_window_opens_as_the_application_receives() {
    let (client, mut server) = client_of(false, Options::new()).await;
    let (mut idle, mut idle_end) = open(&client, &mut server).await;
    let (mut busy, mut busy_end) = open(&client, &mut server).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let pouring = tokio::spawn(async move {
        data(&mut idle_end.sending, b"\x82\x7f\0\0\0\0\0\x03\x0d\x40").await?;
        for _ in 0..200 {
            data(&mut idle_end.sending, &[7; 1000]).await?;
            counter.fetch_add(1000, Ordering::Relaxed);
        }
        Ok::<_, h2::Error>(idle_end)
    });
    sleep(Duration::from_secs(1)).await;
    let before = sent.load(Ordering::Relaxed);
    assert!((60_000..=64 << 10).contains(&before), "{before} bytes that nobody receives");
    data(&mut busy_end.sending, b"\x81\x02Hi").await.unwrap();
    assert_eq!(busy.recv().await.unwrap(), Some(Message::text("Hi")));
    assert_eq!(sent.load(Ordering::Relaxed), before);
    assert_eq!(idle.recv().await.unwrap(), Some(Message::binary(vec![7; 200_000])));
    pouring.await.unwrap().unwrap();
}

/// H11: what the server does not take waits, and is bounded.
#[tokio::test(start_paused = true)]
async fn h11_sending_waits_for_the_window() {
    let (client, mut server) = client_of(false, Options::new()).await;
    let (mut socket, mut end) = open(&client, &mut server).await;
    let (mut other, mut other_end) = open(&client, &mut server).await;
    assert!(
        timeout(Duration::from_secs(1), socket.send(vec![7_u8; 200_000])).await.is_err(),
        "it should wait"
    );
    other.send("Hi").await.unwrap();
    assert_eq!(other_end.receiving.data().await.unwrap().unwrap().len(), 8);
    let reading = tokio::spawn(async move {
        let mut total = 0;
        while total < 200_014 {
            let data = end.receiving.data().await.unwrap().unwrap();
            end.receiving.flow_control().release_capacity(data.len()).unwrap();
            total += data.len();
        }
        (total, end)
    });
    socket.flush().await.unwrap();
    let (total, _end) = reading.await.unwrap();
    assert_eq!(total, 200_014);

    // A server that never takes it is given up.
    assert!(matches!(
        timeout(Duration::from_secs(3600), async {
            loop {
                socket.send(vec![7_u8; 200_000]).await?;
            }
        })
        .await
        .expect("a deadline"),
        Err::<(), _>(Error::Timeout(Deadline::Write))
    ));
}

/// H12. RFC 8441 §7: a stream has its limits, which end it alone.
#[tokio::test]
async fn h12_a_limit_ends_one_stream() {
    let options = Options::new().config(Config::new().max_message(100).max_frame(100));
    let client = Client::new(axum_server(options), false, Options::new()).await.unwrap();
    let mut first = client.connect(&request()).await.unwrap();
    let mut second = client.connect(&request()).await.unwrap();
    first.send("x".repeat(101)).await.unwrap();
    let Ok(Some(Message::Close(Some(close)))) = first.recv().await else { panic!("no Close") };
    assert_eq!(close.code(), CloseCode::TOO_BIG);
    second.send("x".repeat(100)).await.unwrap();
    assert_eq!(second.recv().await.unwrap(), Some(Message::text("x".repeat(100))));
}

/// H12: no more streams than the server allows; the next one waits.
#[tokio::test(start_paused = true)]
async fn h12_streams_over_the_limit_wait() {
    let (ours, theirs) = duplex(1 << 16);
    let mut server = RawServer::start(theirs, 1);
    let client = Client::new(ours, false, Options::new()).await.unwrap();
    let (first, end) = open(&client, &mut server).await;
    let waiting = client.clone();
    let waiting = tokio::spawn(async move { waiting.connect(&request()).await });
    sleep(Duration::from_secs(1)).await;
    assert!(!server.is_asked() && !waiting.is_finished());
    drop((first, end));
    let (_asked, mut respond) = server.accept().await;
    let _sending = respond.send_response(Response::new(()), false).unwrap();
    waiting.await.unwrap().unwrap();

    // Not for ever.
    let error = client.connect(&request()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Deadline::Handshake)), "{error:?}");
}

/// H12: a server counts streams that are opened and reset at once, and ends the connection.
#[tokio::test]
async fn h12_floods_of_resets_end_the_connection() {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let head = [0, 0, payload.len() as u8, kind, flags];
        [&head[..], &stream.to_be_bytes(), payload].concat()
    };
    let asking = b"\x02\x07CONNECT\0\x09:protocol\x09websocket\x86\x04\x05/echo\x01\x01a";
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(4, 0, 0, b""));
    for stream in (1..2_000).step_by(2) {
        flood.extend(frame(1, 4, stream, asking));
        flood.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let (mut reading, mut writing) = split(axum_server(Options::new()));
    // The server may be gone before the end of it.
    tokio::spawn(async move { drop(writing.write_all(&flood).await) });
    let mut answer = Vec::new();
    timeout(Duration::from_secs(60), reading.read_to_end(&mut answer)).await.expect("an end").unwrap();
    let mut frames = &answer[..];
    let mut reason = None;
    while let Some((head, rest)) = frames.split_at_checked(9) {
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        if head[3] == 7 {
            reason = Some(rest[7]);
        }
        frames = &rest[length..];
    }
    assert_eq!(reason, Some(11), "ENHANCE_YOUR_CALM");
}

/// A connection lasts as long as its client or one of its WebSockets.
#[tokio::test(start_paused = true)]
async fn the_connection_ends_with_its_last_user() {
    let (client, mut server) = client_of(false, Options::new()).await;
    let (mut socket, mut end) = open(&client, &mut server).await;
    drop(client);
    data(&mut end.sending, b"\x81\x02Hi").await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), Some(Message::text("Hi")));
    drop(socket);
    assert!(server.is_ended().await);
}

struct End {
    sending: SendStream<Bytes>,
    receiving: RecvStream,
}

async fn open(client: &Client, server: &mut RawServer) -> (WebSocket<Stream>, End) {
    let client = client.clone();
    let opening = tokio::spawn(async move { client.connect(&request()).await });
    let (asked, mut respond) = server.accept().await;
    let sending = respond.send_response(Response::new(()), false).unwrap();
    (opening.await.unwrap().unwrap(), End { sending, receiving: asked.into_body() })
}
