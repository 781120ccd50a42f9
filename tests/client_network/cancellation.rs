//! `Client::connect` dropped at every point at which it waits: nothing stays behind, and the next one gets through.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use taut::Options;
use taut::tokio::{Client, Proxy, connect, connect_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::futures::{ends, polled};
use super::network::{Fate, World, agree, read_head};

/// Drops the way to `uri` after every number of polls, against servers that play `play` in small pieces.
async fn drop_everywhere(
    change: impl Fn(Client) -> Client,
    uri: &str,
    play: impl AsyncFn(&mut DuplexStream) + Clone + 'static,
) -> usize {
    // Its first address is slow, so that two are under way.
    let names: &[(&str, &[&str])] =
        &[("host.test", &["2001:db8::1", "192.0.2.1"]), ("proxy.test", &["2001:db8::1", "192.0.2.1"])];
    let (world, mut arrivals) = World::new(names);
    let world =
        world.fate("2001:db8::1", Fate::Silent).fate("192.0.2.1", Fate::Answers(Duration::from_millis(3)));
    let client =
        change(world.resolving(Duration::from_millis(2)).client().attempt_delay(Duration::from_millis(2)));
    let counts = Rc::new(Cell::new((0, 0)));
    let counting = counts.clone();
    let server = tokio::task::spawn_local(async move {
        loop {
            let (_, mut stream) = arrivals.next().await;
            let (play, counting) = (play.clone(), counting.clone());
            counting.set((counting.get().0 + 1, counting.get().1));
            tokio::task::spawn_local(async move {
                // A connection that is dropped meanwhile ends this task by a panic.
                let playing = tokio::task::spawn_local(async move {
                    play(&mut stream).await;
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                });
                let _ = playing.await;
                counting.set((counting.get().0, counting.get().1 + 1));
            });
        }
    });
    let mut drops = 0;
    for polls in 0.. {
        if let Some(connected) = ends(polled(polls, client.connect(uri))).await {
            connected.unwrap();
            break;
        }
        drops += 1;
        assert!(drops < 10_000, "it never ends");
    }
    // The last one, and all those that were dropped, are closed; the way is free.
    ends(client.connect(uri)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    server.abort();
    let (begun, over) = counts.get();
    assert!(begun >= 2 && begun == over, "{begun} connections, of which {over} are closed");
    drops
}

/// In pieces, with pauses between them.
async fn write(stream: &mut DuplexStream, bytes: &[u8]) {
    for piece in bytes.chunks(16) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        sleep(Duration::from_micros(1500)).await;
    }
}

async fn upgrade(stream: &mut DuplexStream) {
    let head = read_head(stream).await;
    sleep(Duration::from_millis(2)).await;
    agree(stream, &head, "").await;
}

#[tokio::test(start_paused = true)]
async fn connecting_can_be_dropped_anywhere() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let plain = drop_everywhere(|client| client, "ws://host.test", upgrade).await;
            let tunnel = drop_everywhere(
                |client| client.proxy(Proxy::parse("http://proxy.test").unwrap()),
                "ws://host.test",
                async |stream: &mut DuplexStream| {
                    read_head(stream).await;
                    write(stream, b"HTTP/1.1 200 Connection established\r\nVia: proxy\r\n\r\n").await;
                    upgrade(stream).await;
                },
            )
            .await;
            let socks = drop_everywhere(
                |client| client.proxy(Proxy::parse("socks5://user:pass@proxy.test").unwrap()),
                "ws://host.test",
                async |stream: &mut DuplexStream| {
                    let mut request = [0; 600];
                    for answer in [&[5, 2][..], &[1, 0], &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]] {
                        assert!(stream.read(&mut request).await.unwrap() > 0);
                        write(stream, answer).await;
                    }
                    upgrade(stream).await;
                },
            )
            .await;
            let redirected = drop_everywhere(
                |client| client.max_redirects(1),
                "ws://host.test/first",
                async |stream: &mut DuplexStream| {
                    let head = read_head(stream).await;
                    if head.starts_with("GET /first ") {
                        write(stream, b"HTTP/1.1 302 A\r\nLocation: /\r\nContent-Length: 0\r\n\r\n").await;
                    } else {
                        agree(stream, &head, "").await;
                    }
                },
            )
            .await;
            #[cfg(feature = "rustls-ring")]
            let secure = drop_everywhere(
                |client| client.tls(super::tls::anything()).unwrap(),
                "wss://host.test",
                async |stream: &mut DuplexStream| super::tls::upgrade_slowly(stream).await,
            )
            .await;
            #[cfg(not(feature = "rustls-ring"))]
            let secure = 10;
            for drops in [plain, tunnel, socks, redirected, secure] {
                assert!(drops >= 5, "{:?}", [plain, tunnel, socks, redirected, secure]);
            }
        })
        .await;
}

/// Over the network of the operating system.
#[tokio::test]
async fn the_functions_can_be_dropped_anywhere() {
    let local = tokio::task::LocalSet::new();
    local.run_until(drop_functions()).await;
}

async fn drop_functions() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("ws://{}/", listener.local_addr().unwrap());
    let counts = Rc::new(Cell::new((0, 0)));
    let counting = counts.clone();
    let server = tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counting.set((counting.get().0 + 1, counting.get().1));
            let counting = counting.clone();
            tokio::task::spawn_local(async move {
                // A connection that is dropped meanwhile ends this task by a panic.
                let playing = tokio::task::spawn_local(async move {
                    let head = read_head(&mut stream).await;
                    agree(&mut stream, &head, "").await;
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                });
                let _ = playing.await;
                counting.set((counting.get().0, counting.get().1 + 1));
            });
        }
    });
    for prepared in [false, true] {
        let mut drops = 0;
        for polls in 0.. {
            let connected = if prepared {
                polled(polls, connect_with(&uri, Options::new(), Ok)).await
            } else {
                polled(polls, connect(&uri)).await
            };
            if let Some(connected) = connected {
                connected.unwrap();
                break;
            }
            drops += 1;
            assert!(drops < 10_000, "it never ends");
        }
        assert!(drops >= 2, "{drops}");
    }
    // All of them are closed.
    let closed = async {
        while counts.get().0 != counts.get().1 || counts.get().0 < 2 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    ends(closed).await;
    server.abort();
}
