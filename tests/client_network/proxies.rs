//! CONNECT and SOCKS, byte by byte.

use taut::tokio::Proxy;
use taut::{Error, ErrorKind, ProxyError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Duration, sleep};

use super::futures::ends;
use super::network::{World, agree, field, is_closed, read_head};

const HOSTS: &[(&str, &[&str])] = &[
    ("proxy.test", &["192.0.2.9"]),
    ("four.test", &["192.0.2.1"]),
    ("six.test", &["2001:db8::1", "192.0.2.1"]),
];

/// Connects through a proxy that does as `play` does; gives what `play` gives.
async fn through<T>(
    proxy: Proxy,
    uri: &str,
    play: impl AsyncFnOnce(&mut DuplexStream) -> T,
) -> (Result<(), Error>, T) {
    let (world, mut arrivals) = World::new(HOSTS);
    let client = world.client().proxy(proxy);
    let server = async {
        let (address, mut stream) = arrivals.next().await;
        assert_eq!(address.ip().to_string(), "192.0.2.9", "only the proxy is dialled");
        let played = play(&mut stream).await;
        (played, stream)
    };
    let (connected, (played, mut stream)) = ends(async { tokio::join!(client.connect(uri), server) }).await;
    let connected = connected.map(drop);
    assert!(is_closed(&mut stream).await, "nothing stays behind");
    (connected, played)
}

/// The server's part, once there is a tunnel.
async fn upgrade(stream: &mut DuplexStream) {
    let head = read_head(stream).await;
    assert!(head.starts_with("GET /room HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "Proxy-Authorization"), None, "the server does not see them");
    agree(stream, &head, "").await;
}

fn proxy(uri: &str) -> Proxy {
    Proxy::parse(uri).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_by_connect() {
    for (uri, authority) in [
        ("ws://unknown.test/room", "unknown.test:80"),
        ("ws://unknown.test:81/room", "unknown.test:81"),
        ("ws://[2001:db8::1]/room", "[2001:db8::1]:80"),
    ] {
        let (connected, head) = through(proxy("http://proxy.test:3128"), uri, async |stream| {
            let head = read_head(stream).await;
            // By the byte, with fields, and with an answer before the answer that counts.
            for byte in b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n" {
                stream.write_all(&[*byte]).await.unwrap();
                sleep(Duration::from_millis(1)).await;
            }
            upgrade(stream).await;
            head
        })
        .await;
        connected.unwrap();
        assert_eq!(head, format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
    }
    let with_password =
        [proxy("http://user:pass@proxy.test"), proxy("http://proxy.test").credentials("user", "pass")];
    for proxy in with_password {
        let (connected, head) = through(proxy, "ws://unknown.test/room", async |stream| {
            let head = read_head(stream).await;
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            upgrade(stream).await;
            head
        })
        .await;
        connected.unwrap();
        assert_eq!(field(&head, "Proxy-Authorization"), Some("Basic dXNlcjpwYXNz"));
    }
}

#[tokio::test(start_paused = true)]
async fn proxies_that_do_not_open_a_tunnel() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(20_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
    let answer = || ProxyError::Malformed("answer of HTTP/1.1 within 16 KiB and 100 fields");
    let cases = [
        ("http://proxy.test", "HTTP/1.1 407 Who?\r\n\r\n", ProxyError::CredentialsMissing),
        ("http://a:b@proxy.test", "HTTP/1.1 407 Who?\r\n\r\n", ProxyError::CredentialsRefused),
        ("http://a:b@proxy.test", "HTTP/1.1 401 Who?\r\n\r\n", ProxyError::CredentialsRefused),
        ("http://proxy.test", "HTTP/1.1 403 No\r\n\r\nbody", ProxyError::Status(403)),
        ("http://proxy.test", "HTTP/1.1 502 No\r\n\r\n", ProxyError::Status(502)),
        ("http://proxy.test", "SSH-2.0-OpenSSH_9.2\r\n\r\n", answer()),
        ("http://proxy.test", &long, answer()),
        ("http://proxy.test", &many, answer()),
        // It speaks for the server before that was asked.
        (
            "http://proxy.test",
            "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Yes\r\n",
            ProxyError::Malformed("silence after its answer"),
        ),
        ("http://proxy.test", "HTTP/1.1 200 OK\r\n", ProxyError::Ended),
    ];
    for (uri, answer, expected) in cases {
        let (connected, ()) = through(proxy(uri), "ws://four.test/", async |stream| {
            read_head(stream).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            stream.shutdown().await.unwrap();
        })
        .await;
        let error = connected.unwrap_err();
        assert!(matches!(&error, Error::Proxy(found) if *found == expected), "{answer:.40}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Proxy);
    }
}

async fn expect(stream: &mut DuplexStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, bytes);
}

#[tokio::test(start_paused = true)]
async fn a_way_by_socks() {
    let four = [1, 192, 0, 2, 1];
    let six = [&[4, 0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1]].concat();
    let name = [&[3, 12][..], b"unknown.test"].concat();
    for (scheme, host, address) in [
        ("socks5h", "unknown.test", &name[..]),
        ("socks5h", "192.0.2.1", &four),
        ("socks5h", "[2001:db8::1]", &six),
        ("socks5", "four.test", &four),
        // The best address.
        ("socks5", "six.test", &six),
    ] {
        for (bound, credentials) in [(&four[..], false), (&six, true), (&name, true)] {
            let at = if credentials { "user:pass@" } else { "" };
            let proxy = proxy(&format!("{scheme}://{at}proxy.test"));
            let (connected, ()) = through(proxy, &format!("ws://{host}:258/room"), async |stream| {
                if credentials {
                    expect(stream, &[5, 2, 0, 2]).await;
                    stream.write_all(&[5, 2]).await.unwrap();
                    expect(stream, b"\x01\x04user\x04pass").await;
                    stream.write_all(&[1, 0]).await.unwrap();
                } else {
                    expect(stream, &[5, 1, 0]).await;
                    stream.write_all(&[5, 0]).await.unwrap();
                }
                expect(stream, &[&[5, 1, 0], address, &[1, 2]].concat()).await;
                stream.write_all(&[&[5, 0, 0], bound, &[9, 9]].concat()).await.unwrap();
                upgrade(stream).await;
            })
            .await;
            connected.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn socks_proxies_that_refuse() {
    type Lines<'a> = &'a [&'a [u8]];
    let cases: &[(&str, Lines<'_>, ProxyError)] = &[
        ("socks5h://proxy.test", &[&[5, 0xff]], ProxyError::CredentialsMissing),
        ("socks5h://a:b@proxy.test", &[&[5, 0xff]], ProxyError::CredentialsRefused),
        ("socks5h://a:b@proxy.test", &[&[5, 2], &[1, 1]], ProxyError::CredentialsRefused),
        ("socks5h://proxy.test", &[&[5, 2]], ProxyError::Malformed("choice of a method of SOCKS 5")),
        ("socks5h://proxy.test", &[b"HT"], ProxyError::Malformed("choice of a method of SOCKS 5")),
        ("socks5h://proxy.test", &[&[5, 0], &[5, 2, 0, 1]], ProxyError::Reply(2)),
        ("socks5h://proxy.test", &[&[5, 0], &[5, 5, 0, 1]], ProxyError::Reply(5)),
        ("socks5h://proxy.test", &[&[5, 0], &[4, 0, 0, 1]], ProxyError::Malformed("answer of SOCKS 5")),
        ("socks5h://proxy.test", &[&[5, 0], &[5, 0, 0, 2]], ProxyError::Malformed("address of SOCKS 5")),
        ("socks5h://proxy.test", &[&[5, 0], &[5, 0, 0, 1, 1]], ProxyError::Ended),
        ("socks5h://proxy.test", &[], ProxyError::Ended),
        ("socks5h://user@proxy.test", &[&[5, 2]], ProxyError::TooLong),
    ];
    for (uri, answers, expected) in cases {
        let (connected, ()) = through(proxy(uri), "ws://four.test/", async |stream| {
            for answer in *answers {
                assert!(stream.read(&mut [0; 600]).await.unwrap() > 0);
                stream.write_all(answer).await.unwrap();
            }
            stream.shutdown().await.unwrap();
        })
        .await;
        let error = connected.unwrap_err();
        assert!(matches!(&error, Error::Proxy(found) if found == expected), "{answers:?}: {error:?}");
    }
    let sentences: Vec<_> = (1..=9).map(|code| ProxyError::Reply(code).to_string()).collect();
    assert!(
        sentences[1].contains("rules") && sentences[4].contains("refused the connection"),
        "{sentences:?}"
    );
}
