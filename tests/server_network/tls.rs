//! TLS for servers: what clients get, what they are told, and what a reload changes.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use taut::proto::handshake::Accept;
use taut::proto::{CloseCode, Config, Connection, Message};
use taut::tokio::rustls::crypto::{CryptoProvider, ring};
use taut::tokio::rustls::pki_types::{CertificateDer, ServerName};
use taut::tokio::rustls::version::{TLS12, TLS13};
use taut::tokio::rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use taut::tokio::{
    Incoming, Options, ServerTls, ServerTlsStream, TlsAcceptor, WebSocket, accept_with, connect_over,
};
use taut::{Deadline, Error, ErrorKind, TlsProblem, proto::handshake::ClientRequest};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::certificates::{Authority, Identity};
use super::{ends, polled};
use taut::testing::{Turns, pair};

fn tls(identity: &Identity) -> ServerTls {
    ServerTls::from_certificate([identity.certificate.clone()], identity.key.clone_key()).provider(provider())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const OPTIONS: Options = Options::new().handshake_timeout(Duration::from_secs(10));

/// A client that trusts this authority, and shows a certificate if it has one.
fn client(
    versions: &[&'static SupportedProtocolVersion],
    authority: &Authority,
    identity: Option<&Identity>,
    alpn: &[&str],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().into()).collect();
    Arc::new(config).into()
}

type Both<S> = (Result<ServerTlsStream<S>, Error>, std::io::Result<TlsStream<S>>);

/// TLS between the two; the client also reads, since with TLS 1.3 it is told behind its own end of the handshake.
async fn join<S>(acceptor: &TlsAcceptor, connector: &TlsConnector, streams: (S, S)) -> Both<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (near, far) = streams;
    let mut options = OPTIONS;
    let connecting = async {
        let mut stream = connector.connect(ServerName::try_from("host.test").unwrap(), far).await?;
        // Told with the server's last words.
        match stream.read_u8().await {
            Ok(b'!') => Ok(stream),
            Ok(other) => panic!("{other}"),
            Err(error) => Err(error),
        }
    };
    let accepting = async {
        let mut stream = acceptor.wrap(near, &mut options).await?;
        stream.write_all(b"!").await?;
        stream.flush().await?;
        Ok(stream)
    };
    ends(async { tokio::join!(accepting, connecting) }).await
}

fn problem(error: &Error) -> TlsProblem {
    let Error::Tls(found) = error else { panic!("{error:?}") };
    assert_eq!(
        (found.host(), error.kind(), matches!(error, taut::Error::NoRequest)),
        ("", ErrorKind::Tls, false)
    );
    assert!(std::error::Error::source(found).is_some(), "the cause is kept");
    found.problem()
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, connected)
}

#[tokio::test]
async fn a_websocket_over_tls() {
    let authority = Authority::new("authority");
    let acceptor = TlsAcceptor::new(tls(&authority.signs(|_| {}))).unwrap();
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let connector = client(versions, &authority, None, &["http/1.1"]);
        let (near, far) = tcp().await;
        let server = async {
            let mut options = OPTIONS;
            let stream = acceptor.wrap(near, &mut options).await?;
            assert!(stream.get_ref().nodelay().unwrap());
            assert_eq!(stream.session().alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(stream.session().server_name(), Some("host.test"));
            assert_eq!(stream.session().protocol_version(), Some(versions[0].version));
            assert!(!format!("{stream:?}").contains("Secret"));
            let mut socket = accept_with(stream, options, |_| Ok(Accept::new())).await?;
            while let Some(message) = socket.recv().await? {
                if message.is_data() {
                    socket.send(message).await?;
                }
            }
            Ok::<_, Error>(())
        };
        let talk = async {
            let stream = connector.connect(ServerName::try_from("host.test").unwrap(), far).await.unwrap();
            let request = ClientRequest::new("host.test", "/").unwrap();
            let mut socket = connect_over(stream, &request, Options::new()).await.unwrap();
            for message in [Message::text("hello"), Message::binary(vec![7; 3_000_000])] {
                socket.send(message.clone()).await.unwrap();
                assert!(socket.recv().await.unwrap() == Some(message));
            }
            socket.close(CloseCode::NORMAL, "").await.unwrap();
        };
        let (served, ()) = ends(async { tokio::join!(server, talk) }).await;
        served.unwrap();
    }
    assert!(CryptoProvider::get_default().is_none(), "nothing is set for the process");
}

/// RFC 6455 §7.1.1: an endpoint "SHOULD use a method that cleanly closes the TCP connection, as well as the TLS session".
#[tokio::test]
async fn tls_ends_with_close_notify() {
    const CLOSE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 3, 232];
    const UNMASKED: &[u8] = &[0x88, 0];
    let authority = Authority::new("authority");
    let acceptor = TlsAcceptor::new(tls(&authority.signs(|_| {}))).unwrap();
    for versions in [&[&TLS12][..], &[&TLS13]] {
        for (wire, clean) in [(CLOSE, true), (UNMASKED, false)] {
            let connector = client(versions, &authority, None, &[]);
            let (near, far) = join(&acceptor, &connector, duplex(1 << 16)).await;
            let (near, mut far) = (near.unwrap(), far.unwrap());
            let mut server = WebSocket::new(near, Connection::server(Config::new()), &OPTIONS);
            let peer = async {
                far.write_all(wire).await.unwrap();
                far.flush().await.unwrap();
                let mut rest = Vec::new();
                // Without close_notify this is an error.
                far.read_to_end(&mut rest).await.expect("an end of TLS");
                far.shutdown().await.unwrap();
                rest
            };
            let received = async move {
                let first = server.recv().await;
                // What is left is the end; then the socket is dropped.
                while matches!(server.recv().await, Ok(Some(_))) {}
                first
            };
            let (received, rest) = ends(async { tokio::join!(received, peer) }).await;
            assert_eq!((received.is_ok(), rest[0]), (clean, 0x88), "{received:?}");
        }
    }
}

/// A folder with files of this test's own.
fn files(name: &str) -> (PathBuf, PathBuf) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{name}"));
    fs::create_dir_all(&folder).unwrap();
    (folder.join("chain.pem"), folder.join("key.pem"))
}

/// The certificate that a new client sees.
async fn shown(acceptor: &TlsAcceptor, connector: &TlsConnector) -> CertificateDer<'static> {
    let (accepted, connected) = join(acceptor, connector, duplex(1 << 16)).await;
    accepted.unwrap();
    connected.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn a_reload_takes_all_or_nothing() {
    let authority = Authority::new("authority");
    let (chain, key) = files("reload");
    let write = |identity: &Identity| {
        fs::write(&chain, &identity.pem[0]).unwrap();
        fs::write(&key, &identity.pem[1]).unwrap();
    };
    let (first, second, third) = (authority.signs(|_| {}), authority.signs(|_| {}), authority.signs(|_| {}));
    write(&first);
    let acceptor = TlsAcceptor::new(ServerTls::from_pem_files(&chain, &key).provider(provider())).unwrap();
    let connector = client(BOTH, &authority, None, &[]);
    let (open, connected) = join(&acceptor, &connector, duplex(1 << 16)).await;
    let (mut open, mut connected) = (open.unwrap(), connected.unwrap());

    write(&second);
    assert_eq!(shown(&acceptor, &connector).await, first.certificate, "files alone change nothing");
    let clone = acceptor.clone();
    clone.reload().unwrap();
    assert_eq!(shown(&acceptor, &connector).await, second.certificate);

    // Half of the next one, nothing, nonsense: the last that was whole stays.
    for (break_it, part) in [
        (Box::new(|| fs::write(&chain, &third.pem[0]).unwrap()) as Box<dyn Fn()>, "key"),
        (Box::new(|| fs::write(&chain, "").unwrap()), "chain.pem"),
        (Box::new(|| fs::write(&chain, "-----BEGIN CERTIFICATE-----\n!").unwrap()), "chain.pem"),
        (Box::new(|| fs::write(&key, "no key").unwrap()), "key.pem"),
        (Box::new(|| fs::remove_file(&key).unwrap()), "key.pem"),
    ] {
        write(&second);
        break_it();
        let error = acceptor.reload().unwrap_err();
        assert_eq!(problem(&error), TlsProblem::Configuration);
        assert!(error.to_string().to_lowercase().contains(part), "{error}");
        assert_eq!(shown(&acceptor, &connector).await, second.certificate);
    }
    let error = acceptor.replace(ServerTls::from_pem_files("none.pem", "none.pem").provider(provider()));
    assert_eq!(problem(&error.unwrap_err()), TlsProblem::Configuration);
    write(&third);
    acceptor.reload().unwrap();
    assert_eq!(shown(&acceptor, &connector).await, third.certificate, "the settings of before were kept");
    acceptor.replace(tls(&first)).unwrap();
    acceptor.reload().unwrap();
    assert_eq!(shown(&acceptor, &connector).await, first.certificate);

    // What was open before all this goes on.
    open.write_all(b"still").await.unwrap();
    open.flush().await.unwrap();
    let mut still = [0; 5];
    connected.read_exact(&mut still).await.unwrap();
    assert_eq!(&still, b"still");
    assert!(format!("{acceptor:?}").starts_with("TlsAcceptor(ServerTls"), "{acceptor:?}");
    assert!(!format!("{acceptor:?}").contains("PRIVATE"), "{acceptor:?}");
}

/// Reloads and handshakes at a time: each client gets one whole identity or the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_amid_handshakes() {
    let authority = Authority::new("authority");
    let identities = [authority.signs(|_| {}), authority.signs(|_| {})];
    let acceptor = TlsAcceptor::new(tls(&identities[0])).unwrap();
    let connector = client(BOTH, &authority, None, &[]);
    let changing = {
        let acceptor = acceptor.clone();
        let settings = [tls(&identities[0]), tls(&identities[1])];
        tokio::task::spawn_blocking(move || {
            for round in 0..200 {
                acceptor.replace(settings[round % 2].clone()).unwrap();
            }
        })
    };
    for _ in 0..50 {
        let seen = shown(&acceptor, &connector).await;
        assert!(identities.iter().any(|identity| identity.certificate == seen));
    }
    changing.await.unwrap();
    assert_eq!(shown(&acceptor, &connector).await, identities[1].certificate);
}

#[tokio::test]
async fn certificates_of_clients() {
    let (authority, people, strangers) =
        (Authority::new("authority"), Authority::new("people"), Authority::new("strangers"));
    let identity = authority.signs(|_| {});
    let (path, _) = files("clients");
    fs::write(&path, &people.pem).unwrap();
    let required = tls(&identity).client_roots([people.certificate.clone()]);
    let (person, stranger) = (people.signs(|_| {}), strangers.signs(|_| {}));
    for tls in
        [required.clone(), tls(&identity).client_roots_file(&path), required.client_certificate_optional()]
    {
        let acceptor = TlsAcceptor::new(tls).unwrap();
        for versions in [&[&TLS12][..], &[&TLS13]] {
            let connector = client(versions, &authority, Some(&person), &[]);
            let (accepted, connected) = join(&acceptor, &connector, tcp().await).await;
            assert_eq!(accepted.unwrap().session().peer_certificates().unwrap()[0], person.certificate);
            connected.unwrap();
            // One of an authority that is not known here is refused, and the client is told so: by an alert, not by
            // a connection that is reset.
            let connector = client(versions, &authority, Some(&stranger), &[]);
            let (accepted, connected) = join(&acceptor, &connector, tcp().await).await;
            assert_eq!(problem(&accepted.unwrap_err()), TlsProblem::Certificate);
            let told = connected.unwrap_err();
            assert!(told.to_string().contains("alert"), "{told}");
        }
    }
}

#[tokio::test]
async fn clients_without_a_certificate() {
    let (authority, people) = (Authority::new("authority"), Authority::new("people"));
    let required = tls(&authority.signs(|_| {})).client_roots([people.certificate.clone()]);
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let connector = client(versions, &authority, None, &[]);
        let acceptor = TlsAcceptor::new(required.clone()).unwrap();
        let (accepted, connected) = join(&acceptor, &connector, tcp().await).await;
        let error = accepted.unwrap_err();
        assert_eq!(problem(&error), TlsProblem::ClientCertificate);
        assert!(error.to_string().contains("no certificate"), "{error}");
        let told = connected.unwrap_err();
        assert!(told.to_string().contains("alert"), "{told}");
        let acceptor = TlsAcceptor::new(required.clone().client_certificate_optional()).unwrap();
        let (accepted, connected) = join(&acceptor, &connector, tcp().await).await;
        assert!(accepted.unwrap().session().peer_certificates().is_none());
        connected.unwrap();
    }
    // No authority is no way in, and is found at once.
    let error = TlsAcceptor::new(tls(&authority.signs(|_| {})).client_roots([])).unwrap_err();
    assert_eq!(problem(&error), TlsProblem::Configuration);
}

#[tokio::test]
async fn what_connections_are_for() {
    let authority = Authority::new("authority");
    let identity = authority.signs(|_| {});
    let plain = TlsAcceptor::new(tls(&identity)).unwrap();
    let both = TlsAcceptor::new(tls(&identity).alpn(["h2", "http/1.1"])).unwrap();
    let own = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let own = own.with_no_client_auth();
    let own = own.with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key()).unwrap();
    let own = TlsAcceptor::new(ServerTls::from_config(own)).unwrap();
    for (acceptor, offers, agreed) in [
        (&plain, &[][..], Some(None)),
        (&plain, &["http/1.1"], Some(Some("http/1.1"))),
        (&plain, &["h2", "http/1.1"], Some(Some("http/1.1"))),
        (&plain, &["h2"], None),
        (&both, &["http/1.1", "h2"], Some(Some("h2"))),
        (&both, &["http/1.1"], Some(Some("http/1.1"))),
        (&own, &["h2", "http/1.1"], Some(Some("http/1.1"))),
        (&own, &["h2"], None),
    ] {
        let connector = client(BOTH, &authority, None, offers);
        let (accepted, _) = join(acceptor, &connector, duplex(1 << 16)).await;
        match agreed {
            Some(agreed) => {
                let accepted = accepted.unwrap();
                assert_eq!(accepted.session().alpn_protocol(), agreed.map(str::as_bytes), "{offers:?}");
            }
            None => assert_eq!(problem(&accepted.unwrap_err()), TlsProblem::NothingInCommon),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_fail() {
    let authority = Authority::new("authority");
    let acceptor = TlsAcceptor::new(tls(&authority.signs(|_| {}))).unwrap();
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let connector = client(versions, &Authority::new("another"), None, &[]);
        let (accepted, connected) = join(&acceptor, &connector, duplex(1 << 16)).await;
        let error = accepted.unwrap_err();
        assert_eq!(problem(&error), TlsProblem::ServerCertificate);
        assert!(error.to_string().contains("does not accept the certificate of this server"), "{error}");
        assert!(connected.is_err());
    }
    for (wire, expected) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], TlsProblem::NotTls),
        (&[22, 3, 1], TlsProblem::Ended),
        // A fatal alert: handshake_failure.
        (&[21, 3, 3, 0, 2, 2, 40], TlsProblem::NothingInCommon),
    ] {
        let (near, mut far) = duplex(1 << 16);
        far.write_all(wire).await.unwrap();
        far.shutdown().await.unwrap();
        let error = ends(acceptor.wrap(near, &mut OPTIONS.clone())).await.unwrap_err();
        assert_eq!(problem(&error), expected, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_health_check_can_be_told() {
    let acceptor = TlsAcceptor::new(tls(&Authority::new("authority").signs(|_| {}))).unwrap();
    for reset in [false, true] {
        let (stream, peer) = pair(1 << 16);
        if reset {
            peer.reset()
        } else {
            peer.finish()
        }
        let error = ends(acceptor.wrap(stream, &mut OPTIONS.clone())).await.unwrap_err();
        assert!(matches!(error, taut::Error::NoRequest), "{error:?}");
        let (stream, peer) = pair(1 << 16);
        peer.push(&[22]);
        let mut options = OPTIONS;
        let mut wrapping = Box::pin(acceptor.wrap(stream, &mut options));
        assert!(polled(3, &mut wrapping).await.is_none());
        if reset {
            peer.reset()
        } else {
            peer.finish()
        }
        let error = ends(wrapping).await.unwrap_err();
        assert!(!matches!(error, taut::Error::NoRequest), "{error:?}");
    }
}

/// TLS and the handshake have one deadline together, which bytes do not move.
#[tokio::test(start_paused = true)]
async fn the_deadline_does_not_move() {
    let authority = Authority::new("authority");
    let acceptor = TlsAcceptor::new(tls(&authority.signs(|_| {}))).unwrap();
    let start = Instant::now();
    let (near, mut far) = duplex(1 << 16);
    let dripping = async {
        // The length of a record that never gets whole.
        for byte in [22, 3, 1, 2, 0].into_iter().chain(std::iter::repeat(1)) {
            if far.write_u8(byte).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(500)).await;
        }
    };
    let mut options = OPTIONS;
    let error = ends(async {
        tokio::select! {
            wrapped = acceptor.wrap(near, &mut options) => wrapped.unwrap_err(),
            () = dripping => panic!("the stream is not dropped before the deadline"),
        }
    });
    let error = error.await;
    assert!(matches!(error, Error::Timeout(Deadline::Tls)), "{error:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));

    let start = Instant::now();
    let connector = client(BOTH, &authority, None, &[]);
    let (near, far) = duplex(1 << 16);
    let slow = async {
        sleep(Duration::from_secs(6)).await;
        connector.connect(ServerName::try_from("host.test").unwrap(), far).await.unwrap()
    };
    let mut options = OPTIONS;
    let (wrapped, _silent) = ends(async { tokio::join!(acceptor.wrap(near, &mut options), slow) }).await;
    let wrapped = wrapped.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(6));
    let error = ends(Incoming::read(wrapped, options)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Deadline::Handshake)), "{error:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

/// A client that was refused and goes on sending is not read for longer than a close may take.
#[tokio::test(start_paused = true)]
async fn a_refused_client_that_goes_on() {
    let acceptor = TlsAcceptor::new(tls(&Authority::new("authority").signs(|_| {}))).unwrap();
    let (near, mut far) = duplex(1 << 16);
    far.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let start = Instant::now();
    let error = ends(acceptor.wrap(near, &mut OPTIONS.close_timeout(Duration::from_secs(3)))).await;
    assert_eq!(problem(&error.unwrap_err()), TlsProblem::NotTls);
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

/// The end of TLS need not be told where WebSocket's own is.
#[tokio::test]
async fn an_end_without_close_notify() {
    let authority = Authority::new("authority");
    let acceptor = TlsAcceptor::new(tls(&authority.signs(|_| {}))).unwrap();
    let connector = client(BOTH, &authority, None, &[]);
    let open = async |streams: (DuplexStream, DuplexStream)| {
        let (accepted, connected) = join(&acceptor, &connector, streams).await;
        let mut connected = connected.unwrap();
        connected.write_all(super::REQUEST.as_bytes()).await.unwrap();
        connected.flush().await.unwrap();
        (accept_with(accepted.unwrap(), OPTIONS, |_| Ok(Accept::new())).await.unwrap(), connected)
    };
    let (mut socket, mut peer) = open(duplex(1 << 16)).await;
    peer.write_all(&[0x88, 0x82, 0, 0, 0, 0, 3, 232]).await.unwrap();
    peer.flush().await.unwrap();
    assert!(matches!(ends(socket.recv()).await, Ok(Some(Message::Close(_)))));
    drop(peer.into_inner());
    assert_eq!(ends(socket.recv()).await.unwrap(), None);

    let (mut socket, peer) = open(duplex(1 << 16)).await;
    drop(peer.into_inner());
    assert!(matches!(ends(socket.recv()).await, Err(Error::Lost)));
}

/// Dropped at any poll, it closes the stream.
#[tokio::test(start_paused = true)]
async fn dropped_at_any_poll() {
    let authority = Authority::new("authority");
    let acceptor = TlsAcceptor::new(tls(&authority.signs(|_| {}))).unwrap();
    let connector = client(&[&TLS13], &authority, None, &[]);
    let mut drops = 0;
    loop {
        let (near, far) = pair(1 << 16);
        let near = near.reading(Turns::pieces(10)).writing(Turns::pieces(10));
        let connecting = tokio::spawn({
            let connector = connector.clone();
            async move {
                let mut stream = connector.connect(ServerName::try_from("host.test").unwrap(), far).await?;
                stream.read_u8().await
            }
        });
        let mut options = OPTIONS;
        let wrapped = polled(drops, acceptor.wrap(near, &mut options)).await;
        let done = wrapped.is_some();
        drop(wrapped);
        assert!(ends(connecting).await.unwrap().is_err(), "the stream is closed");
        if done {
            break;
        }
        drops += 1;
    }
    assert!(drops > 10, "{drops}");
}
