//! The PROXY protocol before the handshake, and what its address is for.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use taut::proto::Message;
use taut::proto::handshake::{Accept, HandshakeError};
use taut::tokio::{Incoming, Options, ProxyProtocol, accept_with};
use taut::{
    Admission, AdmissionLimits, Deadline, Error, ErrorKind, ProxyHeaderError, Refused, TrustedProxies,
};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep};

use super::support::frame;
use super::{REQUEST, ends, polled};
use taut::testing::{MemoryStream, Turns, pair};

const V1: &str = "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n";
const OPTIONS: Options = Options::new().handshake_timeout(Duration::from_secs(10));

fn proxies() -> ProxyProtocol {
    ProxyProtocol::new("10.0.0.0/8".parse().unwrap())
}

fn proxy() -> SocketAddr {
    "10.1.2.3:999".parse().unwrap()
}

fn v2() -> Vec<u8> {
    let body = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 1, 0xbb, 4, 0, 1, 0];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10", &body[..]].concat()
}

/// The client behind a trusted proxy, and a message that came in the same bytes as header and request.
#[tokio::test(start_paused = true)]
async fn a_trusted_proxy_tells_the_client() {
    for header in [V1.as_bytes().to_vec(), v2()] {
        for turns in [Turns::free(), Turns::bytewise()] {
            let (stream, peer) = pair(1 << 16);
            let stream = stream.reading(turns);
            peer.push(&header);
            peer.push(REQUEST.as_bytes());
            peer.push(&frame(taut::proto::Role::Client, true, taut::proto::frame::OpCode::Text, b"hello"));
            let mut options = OPTIONS;
            let (stream, client) = ends(proxies().read(stream, proxy(), &mut options)).await.unwrap();
            assert_eq!(client, "192.0.2.1:4711".parse().unwrap());
            let mut socket = ends(accept_with(stream, options, |_| Ok(Accept::new()))).await.unwrap();
            assert_eq!(ends(socket.recv()).await.unwrap(), Some(Message::text("hello")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_not_believed() {
    let stranger: SocketAddr = "192.0.2.9:999".parse().unwrap();
    let (stream, peer) = pair(1 << 16);
    peer.push(V1.as_bytes());
    peer.push(REQUEST.as_bytes());
    let mut options = OPTIONS;
    let (stream, client) = ends(proxies().read(stream, stranger, &mut options)).await.unwrap();
    assert_eq!(client, stranger);
    let error = Incoming::read(stream, options);
    peer.finish();
    let error = ends(error).await.unwrap_err();
    assert!(matches!(error, Error::Handshake(_)), "its header is no handshake: {error:?}");
}

/// Whether there is a header is never guessed: else a client that reaches the server past the proxy, or a proxy that
/// was set up wrongly, would pass for another.
#[tokio::test(start_paused = true)]
async fn a_trusted_proxy_without_a_header_is_refused() {
    for (wire, expected) in [
        (REQUEST.as_bytes(), ProxyHeaderError::Missing),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\n", ProxyHeaderError::Malformed("end of line")),
        (b"PROXY TCP4 192.", ProxyHeaderError::Ended),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", ProxyHeaderError::TooLong { max: 4096 }),
    ] {
        let (stream, peer) = pair(1 << 16);
        peer.push(wire);
        peer.finish();
        let error = ends(proxies().read(stream, proxy(), &mut OPTIONS.clone())).await.unwrap_err();
        let Error::ProxyHeader(found) = &error else { panic!("{error:?}") };
        assert_eq!(
            (found, error.kind(), matches!(error, taut::Error::NoRequest)),
            (&expected, ErrorKind::Peer, false)
        );
        assert!(error.to_string().contains("PROXY protocol"), "{error}");
    }
    let (stream, peer) = pair(1 << 16);
    peer.push(&v2());
    let error = ends(proxies().max_header(31).read(stream, proxy(), &mut OPTIONS.clone())).await.unwrap_err();
    assert!(matches!(error, Error::ProxyHeader(ProxyHeaderError::TooLong { max: 31 })), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_health_check_can_be_told() {
    for reset in [false, true] {
        let end = |peer: &MemoryStream| if reset { peer.reset() } else { peer.finish() };
        let (stream, peer) = pair(1 << 16);
        end(&peer);
        let error = ends(proxies().read(stream, proxy(), &mut OPTIONS.clone())).await.unwrap_err();
        assert!(matches!(error, taut::Error::NoRequest), "{error:?}");
        let (stream, peer) = pair(1 << 16);
        end(&peer);
        let error = ends(Incoming::read(stream, OPTIONS)).await.unwrap_err();
        assert!(matches!(error, taut::Error::NoRequest), "{error:?}");
        // With a byte it is an error like others.
        let (stream, peer) = pair(1 << 16);
        peer.push(b"G");
        let mut reading = Box::pin(Incoming::read(stream, OPTIONS));
        assert!(polled(3, &mut reading).await.is_none());
        end(&peer);
        let error = ends(reading).await.unwrap_err();
        assert!(!matches!(error, taut::Error::NoRequest), "{error:?}");
        let expected = matches!(error, Error::Handshake(HandshakeError::UnexpectedEof { received: 1 }));
        assert_eq!(expected, !reset, "{error:?}");
    }
}

/// Header and handshake have one deadline together.
#[tokio::test(start_paused = true)]
async fn the_deadline_does_not_move() {
    let start = Instant::now();
    let (stream, peer) = pair(1 << 16);
    peer.push(b"PROXY");
    let error = ends(proxies().read(stream, proxy(), &mut OPTIONS.clone())).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Deadline::ProxyHeader)), "{error:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));

    let start = Instant::now();
    let (stream, peer) = pair(1 << 16);
    let mut options = OPTIONS;
    let proxies = proxies();
    let slow = async {
        for byte in V1.as_bytes() {
            sleep(Duration::from_millis(150)).await;
            peer.push(&[*byte]);
        }
    };
    let (read, ()) = ends(async { tokio::join!(proxies.read(stream, proxy(), &mut options), slow) }).await;
    assert_eq!(start.elapsed(), Duration::from_millis(150 * V1.len() as u64));
    let error = ends(Incoming::read(read.unwrap().0, options)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Deadline::Handshake)), "{error:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

/// Dropped at any poll, it closes the stream; nothing is left half read.
#[tokio::test(start_paused = true)]
async fn dropped_at_any_poll() {
    let mut drops = 0;
    loop {
        let (stream, mut peer) = pair(1 << 16);
        let stream = stream.reading(Turns::bytewise());
        peer.push(V1.as_bytes());
        let mut options = OPTIONS;
        if polled(drops, proxies().read(stream, proxy(), &mut options)).await.is_some() {
            break;
        }
        // Without an end if bytes were left unread.
        assert!(!matches!(ends(peer.read(&mut [0])).await, Ok(1..)), "the stream is closed");
        drops += 1;
    }
    assert!(drops > V1.len(), "{drops}");
}

/// The point of it all: limits for each address hold for clients, not for the proxy.
#[tokio::test(start_paused = true)]
async fn limits_for_each_address_see_the_client() {
    let admission = Admission::new(AdmissionLimits::new().max_connections_from_one(1));
    let trusted = TrustedProxies::x_forwarded_for("10.0.0.0/8".parse().unwrap());
    let mut inside = Vec::new();
    for (client, expected) in
        [("192.0.2.1", None), ("192.0.2.2", None), ("192.0.2.1", Some(Refused::ConnectionsFromOne))]
    {
        let by_header = {
            let (stream, peer) = pair(1 << 16);
            peer.push(format!("PROXY TCP4 {client} 192.0.2.99 4711 443\r\n").as_bytes());
            let (_, found) = ends(proxies().read(stream, proxy(), &mut OPTIONS.clone())).await.unwrap();
            found.ip()
        };
        let by_field = {
            let (stream, peer) = pair(1 << 16);
            let request =
                REQUEST.replace("\r\n\r\n", &format!("\r\nX-Forwarded-For: 6.6.6.6, {client}\r\n\r\n"));
            peer.push(request.as_bytes());
            let incoming = ends(Incoming::read(stream, OPTIONS)).await.unwrap();
            trusted.client(proxy().ip(), incoming.request().fields())
        };
        assert_eq!((by_header, by_field), (client.parse::<IpAddr>().unwrap(), by_header));
        match admission.admit(by_field) {
            Ok(admitted) => {
                inside.push(admitted);
                assert_eq!(expected, None);
            }
            Err(refused) => assert_eq!(expected, Some(refused)),
        }
    }
}
