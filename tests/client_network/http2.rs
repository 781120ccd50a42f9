//! `Client::http2`: the way to a server of HTTP/2, which is hyper's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use taut::hyper::{Service, Stream};
use taut::proto::Message;
use taut::proto::handshake::{Accept, ClientRequest, HandshakeError, Request};
use taut::tokio::WebSocket;
use taut::{Deadline, Error, ErrorKind, Options, http2};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, duplex};
use tokio::time::sleep;

use super::futures::{ends, polled};
use super::network::World;

/// What a server was asked: resource and Authorization.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// Serves HTTP/2 with prior knowledge until the client is gone; echoes, and speaks the subprotocol `chat` at `/chat`.
async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, asked: Asked) {
    let decide = move |request: &Request| {
        let secret = request.fields().get("Authorization").map(|value| String::from_utf8_lossy(value).into());
        asked.lock().unwrap().push((request.target().into(), secret));
        let chats = request.target().ends_with("/chat");
        Ok(if chats { Accept::new().subprotocol("chat") } else { Accept::new() })
    };
    let echo = |socket: Result<WebSocket<Stream>, Error>| async move {
        let mut socket = socket.unwrap();
        while let Ok(Some(message)) = socket.recv().await {
            if message.is_data() && socket.send(message).await.is_err() {
                break;
            }
        }
    };
    let service = Service::new(Options::new(), decide, echo);
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.enable_connect_protocol();
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

async fn is_echoed(socket: &mut WebSocket<http2::Stream>) {
    socket.send("hello").await.unwrap();
    assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::text("hello")));
}

#[tokio::test]
async fn in_the_open_by_prior_knowledge() {
    let (world, mut arrivals) = World::new(&[("host.test", &["192.0.2.1"])]);
    let asked = Asked::default();
    let served = asked.clone();
    tokio::spawn(async move {
        let (address, stream) = arrivals.next().await;
        assert_eq!(address.port(), 80);
        serve(stream, served).await;
    });
    let network = world.client().bearer("secret").unwrap().subprotocol("chat").unwrap();
    let client = ends(network.http2("ws://host.test")).await.unwrap();
    let mut one = client.connect(&network.request("ws://host.test/chat").unwrap()).await.unwrap();
    let mut two = client.connect(&network.request("ws://host.test/2?a").unwrap()).await.unwrap();
    is_echoed(&mut one).await;
    is_echoed(&mut two).await;
    assert_eq!(one.subprotocol(), Some("chat"));
    assert_eq!(world.dialled().len(), 1, "one connection for all");
    let secret = Some("Bearer secret".to_owned());
    let resources = asked.lock().unwrap().clone();
    // RFC 8441 §5: the scheme is "http" for ws.
    assert_eq!((&*resources[0].0, &*resources[1].0), ("http://host.test/chat", "http://host.test/2?a"));
    assert!(resources.iter().all(|asked| asked.1 == secret), "{resources:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn on_a_socket_of_the_file_system() {
    let path = std::env::temp_dir().join(format!("taut-http2-{}.sock", std::process::id()));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move { serve(listener.accept().await.unwrap().0, Asked::default()).await });
    let network = taut::tokio::Client::new();
    let uri = format!("ws+unix://{}:/a", path.display());
    let client = ends(network.http2(&uri)).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    is_echoed(&mut client.connect(&network.request(&uri).unwrap()).await.unwrap()).await;
}

#[tokio::test]
async fn a_missing_subprotocol() {
    let (world, mut arrivals) = World::new(&[("host.test", &["192.0.2.1"])]);
    tokio::spawn(async move { serve(arrivals.next().await.1, Asked::default()).await });
    let network = world.client().subprotocol("chat").unwrap().require_subprotocol();
    let client = ends(network.http2("ws://host.test")).await.unwrap();
    client.connect(&network.request("ws://host.test/chat").unwrap()).await.unwrap();
    let missing = client.connect(&network.request("ws://host.test/").unwrap()).await;
    assert!(matches!(missing, Err(Error::Handshake(HandshakeError::SubprotocolMissing))), "{missing:?}");
    // Who offers none misses none.
    client.connect(&ClientRequest::new("host.test", "/").unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn servers_without_it() {
    // One that speaks HTTP/1.1 alone, one that says nothing, and one that goes away.
    for answer in [Some(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]), None, Some(b"")] {
        let (world, mut arrivals) = World::new(&[("host.test", &["192.0.2.1"])]);
        let client = world.client();
        let server = async {
            let (_, mut stream) = arrivals.next().await;
            match answer {
                Some(answer) => tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap(),
                None => drop(stream.read_to_end(&mut Vec::new()).await),
            }
        };
        let (client, ()) = ends(async { tokio::join!(client.http2("ws://host.test"), server) }).await;
        let error = client.unwrap_err();
        match answer {
            Some(_) => assert!(matches!(error, Error::Io(_)), "{error:?}"),
            None => assert!(matches!(error, Error::Timeout(Deadline::Handshake)), "{error:?}"),
        }
    }
}

/// Whatever was opened is closed, and the way is free for the next.
#[tokio::test(start_paused = true)]
async fn it_can_be_dropped_anywhere() {
    let (world, mut arrivals) = World::new(&[("host.test", &["192.0.2.1"])]);
    let network = world.resolving(Duration::from_millis(2)).client();
    let counts = Arc::new(Mutex::new((0, 0)));
    let counting = counts.clone();
    tokio::spawn(async move {
        loop {
            let (_, stream) = arrivals.next().await;
            counting.lock().unwrap().0 += 1;
            let counting = counting.clone();
            tokio::spawn(async move {
                // A few bytes at a time.
                let (near, mut far) = duplex(20);
                let serving = tokio::spawn(serve(near, Asked::default()));
                let mut stream = stream;
                let _ = tokio::io::copy_bidirectional_with_sizes(&mut far, &mut stream, 10, 10).await;
                drop((far, stream));
                serving.await.unwrap();
                counting.lock().unwrap().1 += 1;
            });
        }
    });
    let mut drops = 0;
    for polls in 0.. {
        if let Some(client) = ends(polled(polls, network.http2("ws://host.test"))).await {
            client.unwrap();
            break;
        }
        drops += 1;
        assert!(drops < 10_000, "it never ends");
    }
    let client = ends(network.http2("ws://host.test")).await.unwrap();
    is_echoed(&mut client.connect(&network.request("ws://host.test").unwrap()).await.unwrap()).await;
    drop(client);
    sleep(Duration::from_secs(10)).await;
    let (begun, over) = *counts.lock().unwrap();
    assert!(drops >= 5 && begun >= 2 && begun == over, "{drops} drops, {begun} begun, {over} over");
}

#[cfg(feature = "rustls-ring")]
mod secure {
    use taut::tokio::Proxy;
    use tokio::io::AsyncWriteExt;

    use super::super::certificates::Authority;
    use super::super::network::{agree, read_head};
    use super::super::tls::{choosing, trusting};
    use super::*;

    /// The server would rather have HTTP/1.1, which only `connect` offers.
    #[tokio::test]
    async fn tls_offers_http2_alone() {
        let authority = Authority::new("authority");
        let acceptor = choosing(&authority.signs(|_| {}), &["http/1.1", "h2"]);
        let (world, mut arrivals) = World::new(&[("host.test", &["192.0.2.1"])]);
        let network = world.client().tls(trusting(&authority)).unwrap();
        let asked = Asked::default();
        let served = asked.clone();
        let server = tokio::spawn(async move {
            let (address, stream) = arrivals.next().await;
            assert_eq!(address.port(), 443);
            let stream = acceptor.accept(stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            tokio::spawn(serve(stream, served));
            let mut stream = acceptor.accept(arrivals.next().await.1).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            let head = read_head(&mut stream).await;
            agree(&mut stream, &head, "").await;
            stream
        });
        let client = ends(network.http2("wss://host.test")).await.unwrap();
        let mut sockets = Vec::new();
        for resource in ["/a", "/b", "/c"] {
            let request = network.request(&format!("wss://host.test{resource}")).unwrap();
            sockets.push(client.connect(&request).await.unwrap());
        }
        for socket in &mut sockets {
            is_echoed(socket).await;
        }
        assert_eq!(world.dialled().len(), 1);
        // RFC 8441 §5: the scheme is "https" for wss.
        let schemes =
            asked.lock().unwrap().iter().filter(|asked| asked.0.starts_with("https://host.test/")).count();
        assert_eq!(schemes, 3, "{asked:?}");
        ends(network.connect("wss://host.test")).await.unwrap();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn servers_that_do_not_choose_it() {
        let authority = Authority::new("authority");
        // The first refuses by an alert, the second knows nothing of ALPN.
        for protocols in [&["http/1.1"][..], &[]] {
            let acceptor = choosing(&authority.signs(|_| {}), protocols);
            let (world, mut arrivals) = World::new(&[("host.test", &["192.0.2.1"])]);
            let network = world.client().tls(trusting(&authority)).unwrap();
            let server = async {
                let Ok(mut stream) = acceptor.accept(arrivals.next().await.1).await else { return };
                let mut sent = Vec::new();
                let _ = stream.read_to_end(&mut sent).await;
                assert!(sent.is_empty(), "nothing is said to a server that did not choose");
            };
            let (client, ()) = ends(async { tokio::join!(network.http2("wss://host.test"), server) }).await;
            let error = client.unwrap_err();
            assert!(matches!(error, Error::NoHttp2), "{protocols:?}: {error:?}");
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Refused, false));
        }
        // A certificate that is not trusted is no matter of protocols.
        let acceptor = choosing(&Authority::new("stranger").signs(|_| {}), &["h2"]);
        let (world, mut arrivals) = World::new(&[("host.test", &["192.0.2.1"])]);
        let network = world.client().tls(trusting(&authority)).unwrap();
        let server = async { drop(acceptor.accept(arrivals.next().await.1).await) };
        let (client, ()) = ends(async { tokio::join!(network.http2("wss://host.test"), server) }).await;
        assert!(matches!(client, Err(Error::Tls(_))), "{client:?}");
    }

    /// The proxy is spoken to by HTTP/1.1.
    #[tokio::test]
    async fn through_a_proxy_behind_tls() {
        let authority = Authority::new("authority");
        let name = rcgen::CertificateParams::new(["proxy.test".into()]).unwrap();
        let outer = choosing(&authority.signs(|params| *params = name), &["h2", "http/1.1"]);
        let inner = choosing(&authority.signs(|_| {}), &["http/1.1", "h2"]);
        let (world, mut arrivals) = World::new(&[("proxy.test", &["192.0.2.9"])]);
        let network = world.client().tls(trusting(&authority)).unwrap();
        let network = network.proxy(Proxy::parse("https://proxy.test").unwrap());
        tokio::spawn(async move {
            let mut stream = outer.accept(arrivals.next().await.1).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert!(read_head(&mut stream).await.starts_with("CONNECT host.test:443 HTTP/1.1\r\n"));
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            stream.flush().await.unwrap();
            serve(inner.accept(stream).await.unwrap(), Asked::default()).await;
        });
        let client = ends(network.http2("wss://host.test")).await.unwrap();
        let request = network.request("wss://host.test/").unwrap();
        is_echoed(&mut client.connect(&request).await.unwrap()).await;
    }
}
