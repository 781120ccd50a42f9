//! What requests say, and what becomes of answers that are no upgrade.

use std::collections::BTreeSet;
use std::error::Error as _;

use taut::proto::Message;
use taut::proto::handshake::{BuildError, HandshakeError, UriError};
use taut::tokio::{Client, Connector, Dialing, NetworkStream};
use taut::{Error, ErrorKind, ProxyError, RedirectError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::futures::ends;
use super::network::{Arrivals, World, agree, field, read_head};

const HOSTS: &[(&str, &[&str])] =
    &[("one.test", &["192.0.2.1"]), ("two.test", &["192.0.2.2"]), ("proxy.test", &["192.0.2.9"])];

/// The head of the request that a client makes for a URI.
async fn request(change: impl FnOnce(Client) -> Client, uri: &str) -> String {
    let (world, mut arrivals) = World::new(HOSTS);
    let client = change(world.client());
    let server = async {
        let (_, mut stream) = arrivals.next().await;
        let head = read_head(&mut stream).await;
        agree(&mut stream, &head, "").await;
        (head, stream)
    };
    let (connected, (head, _)) = ends(async { tokio::join!(client.connect(uri), server) }).await;
    connected.unwrap();
    head
}

#[tokio::test(start_paused = true)]
async fn a_request_says_what_it_was_told() {
    let head = request(
        |client| {
            let client = client.origin("https://example.com").unwrap().cookie("a=b; c=d").unwrap();
            let client = client
                .bearer("token")
                .unwrap()
                .field("X-Number", "1")
                .unwrap()
                .field("X-Number", "2")
                .unwrap();
            client.subprotocol("chat").unwrap().subprotocol("echo").unwrap()
        },
        "ws://one.test:81/room?id=1",
    )
    .await;
    assert!(head.starts_with("GET /room?id=1 HTTP/1.1\r\nHost: one.test:81\r\n"), "{head}");
    for (name, value) in [
        ("Origin", "https://example.com"),
        ("Cookie", "a=b; c=d"),
        ("Authorization", "Bearer token"),
        ("Sec-WebSocket-Protocol", "chat, echo"),
    ] {
        assert_eq!(field(&head, name), Some(value), "{head}");
    }
    assert!(head.contains("X-Number: 1\r\nX-Number: 2\r\n"), "{head}");
    // The same again is instead of the first.
    let head =
        request(|client| client.bearer("one").unwrap().basic("user", "two").unwrap(), "ws://one.test").await;
    assert_eq!(head.matches("Authorization").count(), 1);
    assert_eq!(field(&head, "Authorization"), Some("Basic dXNlcjp0d28="));
}

#[tokio::test(start_paused = true)]
async fn credentials_in_the_uri_are_sent() {
    let sent = async |uri: &str| {
        let head = request(|client| client, uri).await;
        assert_eq!(field(&head, "Host"), Some("one.test"), "no credentials there");
        field(&head, "Authorization").map(String::from)
    };
    assert_eq!(sent("ws://user:pass@one.test/").await.as_deref(), Some("Basic dXNlcjpwYXNz"));
    assert_eq!(sent("ws://a%40b:c%3Ad%25@one.test").await.as_deref(), Some("Basic YUBiOmM6ZCU="));
    assert_eq!(sent("ws://user@one.test/").await.as_deref(), Some("Basic dXNlcjo="));
    assert_eq!(sent("ws://one.test/@").await, None);
    // What the program says itself goes first.
    let head = request(|client| client.bearer("token").unwrap(), "ws://user:pass@one.test/").await;
    assert_eq!(head.matches("Authorization").count(), 1);
    assert_eq!(field(&head, "Authorization"), Some("Bearer token"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_said_is_an_error_before_anything_is_sent() {
    assert!(matches!(Client::new().bearer("a\r\nb"), Err(BuildError::FieldValue { .. })));
    assert!(matches!(Client::new().basic("a:b", "c"), Err(BuildError::FieldValue { .. })));
    assert!(matches!(Client::new().field("Host", "a"), Err(BuildError::OwnedField(_))));
    assert!(matches!(Client::new().subprotocol("a b"), Err(BuildError::Subprotocol(_))));
    let twice = Client::new().subprotocol("a").unwrap().subprotocol("a");
    assert!(matches!(twice, Err(BuildError::RepeatedSubprotocol(_))));
    let (world, _arrivals) = World::new(HOSTS);
    for (uri, expected) in [
        ("http://one.test", UriError::Scheme),
        ("ws://a%3Ab:c@one.test", UriError::UserInfo),
        ("ws://a%zz@one.test", UriError::UserInfo),
        ("ws://a%0a@one.test", UriError::UserInfo),
        ("ws+unix://relative", UriError::SocketPath),
    ] {
        let error = ends(world.client().connect(uri)).await.unwrap_err();
        assert!(matches!(&error, Error::Uri(found) if *found == expected), "{uri}: {error:?}");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Usage, false));
    }
    assert_eq!(world.dialled(), []);
}

/// Never in the open instead.
#[cfg(not(any(feature = "rustls-ring", feature = "rustls-aws-lc-rs")))]
#[tokio::test(start_paused = true)]
async fn a_missing_feature_is_named() {
    let (world, _arrivals) = World::new(HOSTS);
    let proxy = taut::tokio::Proxy::parse("https://proxy.test").unwrap();
    for (client, uri) in [(world.client(), "wss://one.test"), (world.client().proxy(proxy), "ws://one.test")]
    {
        let error = ends(client.connect(uri)).await.unwrap_err();
        assert!(matches!(error, Error::Unsupported(what) if what.contains("rustls-ring")), "{error:?}");
        assert_eq!(world.dialled(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subprotocol_can_be_required() {
    for (required, answer, opens) in
        [(false, "", true), (true, "", false), (true, "Sec-WebSocket-Protocol: chat\r\n", true)]
    {
        let (world, mut arrivals) = World::new(HOSTS);
        let mut client = world.client().subprotocol("chat").unwrap();
        if required {
            client = client.require_subprotocol();
        }
        let server = async {
            let (_, mut stream) = arrivals.next().await;
            let head = read_head(&mut stream).await;
            agree(&mut stream, &head, answer).await;
            stream
        };
        let (connected, _) = ends(async { tokio::join!(client.connect("ws://one.test"), server) }).await;
        match connected {
            Ok(_) => assert!(opens),
            Err(Error::Handshake(HandshakeError::SubprotocolMissing)) => assert!(!opens),
            Err(other) => panic!("{other:?}"),
        }
    }
    // Where none is offered none can be chosen.
    request(Client::require_subprotocol, "ws://one.test").await;
}

/// Answers the requests in turn; gives what they were.
async fn answering(mut arrivals: Arrivals, answers: &[&str]) -> Vec<(String, String)> {
    let mut heads = Vec::new();
    for answer in answers {
        let (address, mut stream) = arrivals.next().await;
        let head = read_head(&mut stream).await;
        if answer.is_empty() {
            agree(&mut stream, &head, "").await;
        } else {
            stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.unwrap();
        }
        heads.push((address.to_string(), head));
    }
    heads
}

const BODY: &str = "\r\nContent-Length: 4\r\n\r\nbody";

async fn redirected(
    client: impl FnOnce(Client) -> Client,
    uri: &str,
    answers: &[&str],
) -> (Result<(), Error>, Vec<(String, String)>) {
    let (world, arrivals) = World::new(HOSTS);
    let client = client(world.client());
    let answers: Vec<String> = answers
        .iter()
        .map(|answer| if answer.is_empty() { String::new() } else { format!("{answer}{BODY}") })
        .collect();
    let answers: Vec<&str> = answers.iter().map(|answer| &**answer).collect();
    let (connected, heads) =
        ends(async { tokio::join!(client.connect(uri), answering(arrivals, &answers)) }).await;
    (connected.map(drop), heads)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_refuses_is_given_whole() {
    for (status, retryable) in [("403 Forbidden", false), ("503 Busy", true), ("302 Found", false)] {
        let answer = format!("{status}\r\nRetry-After: 7\r\nLocation: ws://two.test/");
        let (connected, heads) = redirected(|client| client, "ws://one.test", &[&answer]).await;
        let error = connected.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable(), heads.len()), (ErrorKind::Refused, retryable, 1));
        let Error::Refused(answer) = error else { panic!("{error:?}") };
        assert_eq!(format!("{} {}", answer.status(), answer.reason()), status);
        assert_eq!((answer.fields().text("Retry-After"), answer.body()), (Some("7"), &b"body"[..]));
    }
}

/// RFC 6455 §4.1: "The nonce MUST be selected randomly for each connection."; §5.3: "the client MUST pick a fresh masking
/// key".
#[tokio::test(start_paused = true)]
async fn each_connection_has_a_key_and_masks_of_its_own() {
    const CONNECTIONS: usize = 4;
    let (world, mut arrivals) = World::new(HOSTS);
    let client = world.client().max_redirects(1);
    let (mut keys, mut masks) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..CONNECTIONS {
        let server = async {
            // Where a redirect leads the client connects anew.
            let (_, mut redirecting) = arrivals.next().await;
            let first = read_head(&mut redirecting).await;
            let answer = "HTTP/1.1 302 A\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n";
            redirecting.write_all(answer.as_bytes()).await.unwrap();
            let (_, mut stream) = arrivals.next().await;
            let second = read_head(&mut stream).await;
            agree(&mut stream, &second, "").await;
            ([first, second], stream)
        };
        let (connected, (heads, mut stream)) =
            ends(async { tokio::join!(client.connect("ws://one.test/"), server) }).await;
        keys.extend(heads.iter().map(|head| field(head, "Sec-WebSocket-Key").unwrap().to_owned()));
        let mut socket = connected.unwrap();
        for _ in 0..2 {
            socket.send("same").await.unwrap();
            let mut frame = [0; 10];
            ends(stream.read_exact(&mut frame)).await.unwrap();
            assert_eq!(frame[..2], [0x81, 0x84]);
            let (mask, payload) = frame[2..].split_at(4);
            assert!(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask).eq(*b"same"));
            masks.insert(mask.to_owned());
        }
    }
    assert_eq!((keys.len(), masks.len()), (2 * CONNECTIONS, 2 * CONNECTIONS), "{keys:?} {masks:?}");
}

/// RFC 6455 §4.1: "If the server's response does not conform [...], the client MUST _Fail the WebSocket Connection_":
/// it closes, and says nothing more.
#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_conform_ends_the_connection() {
    let changes: &[(&str, &str)] = &[
        ("HTTP/1.1 101", "HTTP/1.0 101"),
        ("HTTP/1.1 101", "SSH-2.0-101"),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade", "Connection: close"),
        ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x-other\r\n\r\n"),
        ("\r\n\r\n", "\r\nX Y: z\r\n\r\n"),
    ];
    for (from, to) in changes {
        let (world, mut arrivals) = World::new(HOSTS);
        let client = world.client();
        let server = async {
            let (_, mut stream) = arrivals.next().await;
            let head = read_head(&mut stream).await;
            let mut answer = Vec::new();
            agree(&mut answer, &head, "").await;
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.contains(from));
            stream.write_all(answer.replacen(from, to, 1).as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            rest
        };
        let (connected, rest) =
            ends(async { tokio::join!(async { client.connect("ws://one.test/").await.map(drop) }, server) })
                .await;
        assert!(matches!(connected, Err(Error::Handshake(_))), "{to}: {connected:?}");
        assert_eq!(rest, b"", "{to}");
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_are_followed_as_far_as_allowed() {
    let circle = [
        "307 A\r\nLocation: /two",
        "308 B\r\nLocation: ws://two.test:8080/three?x#y",
        "302 C\r\nLocation: four",
    ];
    let (connected, heads) = redirected(
        |client| client.max_redirects(3),
        "ws://one.test/one",
        &[circle[0], circle[1], circle[2], ""],
    )
    .await;
    connected.unwrap();
    let seen: Vec<_> = heads.iter().map(|(at, head)| (&**at, head.split(' ').nth(1).unwrap())).collect();
    let expected = [
        ("192.0.2.1:80", "/one"),
        ("192.0.2.1:80", "/two"),
        ("192.0.2.2:8080", "/three?x"),
        ("192.0.2.2:8080", "/four"),
    ];
    assert_eq!(seen, expected);
    let (connected, heads) = redirected(|client| client.max_redirects(2), "ws://one.test/one", &circle).await;
    assert!(matches!(&connected, Err(Error::Refused(last)) if last.status() == 302), "{connected:?}");
    assert_eq!(heads.len(), 3);
    // A status that does not redirect ends it.
    let (connected, _) =
        redirected(|client| client.max_redirects(2), "ws://one.test/one", &[circle[0], "404 D"]).await;
    assert!(matches!(&connected, Err(Error::Refused(last)) if last.status() == 404), "{connected:?}");
    for wrong in ["301 A", "301 A\r\nLocation: ftp://one.test/", "301 A\r\nLocation: http://u:p@one.test/"] {
        let (connected, _) = redirected(|client| client.max_redirects(2), "ws://one.test/", &[wrong]).await;
        assert!(matches!(connected, Err(Error::Redirect(RedirectError::Location))), "{wrong}: {connected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_stay_with_the_server_that_they_are_for() {
    let secret = |client: Client| {
        let client = client.cookie("session=1").unwrap().field("X-Api-Key", "2").unwrap().max_redirects(3);
        client.origin("https://example.com").unwrap().field("User-Agent", "test").unwrap()
    };
    let there = "302 A\r\nLocation: ws://two.test/";
    let back = "302 A\r\nLocation: ws://one.test/";
    let same = "302 A\r\nLocation: /again";
    let (connected, heads) = redirected(secret, "ws://user:pass@one.test/", &[same, there, back, ""]).await;
    connected.unwrap();
    for (number, (_, head)) in heads.iter().enumerate() {
        let trusted = number < 2;
        for name in ["Authorization", "Cookie", "X-Api-Key"] {
            assert_eq!(field(head, name).is_some(), trusted, "{name} in request {number}");
        }
        for name in ["Origin", "User-Agent"] {
            assert!(field(head, name).is_some(), "{name} in request {number}");
        }
    }
    // Another port is another server.
    let (_, heads) =
        redirected(secret, "ws://u:p@one.test/", &["302 A\r\nLocation: ws://one.test:81/", ""]).await;
    assert_eq!(field(&heads[1].1, "Authorization").or(field(&heads[1].1, "Cookie")), None);
}

#[cfg(unix)]
#[tokio::test]
async fn a_socket_of_the_file_system() {
    let folder =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("unix {}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a.sock");
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        agree(&mut stream, &head, "").await;
        stream.write_all(&[0x81, 2, b'h', b'i']).await.unwrap();
        head
    };
    let uri = format!("ws+unix://{}:/room?x=1", path.display().to_string().replace(' ', "%20"));
    let (connected, head) = tokio::join!(taut::connect(&uri), server);
    assert!(head.starts_with("GET /room?x=1 HTTP/1.1\r\nHost: localhost\r\n"), "{head}");
    assert_eq!(connected.unwrap().recv().await.unwrap(), Some(Message::text("hi")));
    drop(listener);
    std::fs::remove_dir_all(&folder).unwrap();
    let error = taut::connect(&uri).await.unwrap_err();
    assert!(
        matches!(&error, Error::Connect(found) if found.host() == path.display().to_string()),
        "{error:?}"
    );
    assert!(error.source().is_some_and(|source| source.source().is_some()));
}

/// A way of one's own, which sees names.
struct Tunnel(tokio::sync::mpsc::UnboundedSender<(String, u16, tokio::io::DuplexStream)>);

impl Connector for Tunnel {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a, NetworkStream> {
        Box::pin(async move {
            if host == "broken.test" {
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
            let (ours, theirs) = duplex(1000);
            self.0.send((host.into(), port, theirs)).unwrap();
            Ok(NetworkStream::new(ours))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_brings_its_own_streams() {
    let (sender, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let client = Client::new().connector(Tunnel(sender));
    let server = async {
        let (host, port, mut stream) = arrivals.recv().await.unwrap();
        let head = read_head(&mut stream).await;
        agree(&mut stream, &head, "").await;
        (host, port)
    };
    let (connected, place) = ends(async { tokio::join!(client.connect("ws://inside.test/"), server) }).await;
    connected.unwrap();
    assert_eq!(place, ("inside.test".into(), 80));
    let error = ends(client.connect("ws://broken.test/")).await.unwrap_err();
    assert!(matches!(&error, Error::Connect(found) if found.host() == "broken.test"), "{error:?}");
}

#[test]
fn errors_have_kinds() {
    for (error, kind, retryable) in [
        (Error::Lost, ErrorKind::Lost, true),
        (Error::Io(std::io::ErrorKind::BrokenPipe.into()), ErrorKind::Lost, true),
        (Error::Rejected(403), ErrorKind::Refused, false),
        (Error::Redirect(RedirectError::Downgrade), ErrorKind::Refused, false),
        (Error::Proxy(ProxyError::CredentialsMissing), ErrorKind::Proxy, false),
        (Error::Proxy(ProxyError::Status(502)), ErrorKind::Proxy, true),
        (Error::Proxy(ProxyError::Status(403)), ErrorKind::Proxy, false),
        (Error::Proxy(ProxyError::Reply(5)), ErrorKind::Proxy, true),
        (Error::Proxy(ProxyError::Reply(2)), ErrorKind::Proxy, false),
        (Error::Handshake(HandshakeError::Accept), ErrorKind::Peer, false),
        (Error::Handshake(HandshakeError::UnexpectedEof { received: 0 }), ErrorKind::Peer, true),
        (Error::Unsupported("x"), ErrorKind::Usage, false),
    ] {
        assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{error:?}");
    }
}
