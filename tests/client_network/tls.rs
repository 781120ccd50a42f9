//! TLS against servers of rustls, with certificates that are made here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, date_time_ymd};
use taut::proto::Message;
use taut::tokio::rustls::crypto::{CryptoProvider, ring};
use taut::tokio::rustls::pki_types::CertificateDer;
use taut::tokio::rustls::server::WebPkiClientVerifier;
use taut::tokio::rustls::sign::{CertifiedKey, SingleCertAndKey};
use taut::tokio::rustls::version::{TLS12, TLS13};
use taut::tokio::rustls::{
    CipherSuite, ClientConfig, KeyLog, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use taut::tokio::{Client, NetworkStream, Proxy, Tls, WebSocket};
use taut::{Error, ErrorKind, RedirectError, TlsProblem};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::time::sleep;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::certificates::{Authority, Identity, self_signed};
use super::futures::ends;
use super::network::{World, agree, read_head};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The settings of a server; it wants certificates of clients if it knows their authority.
fn server(
    identity: &Identity,
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<&Authority>,
) -> TlsAcceptor {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.certificate.clone()).unwrap();
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider()).build().unwrap(),
            )
        }
    };
    let mut config =
        builder.with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key()).unwrap();
    config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
    Arc::new(config).into()
}

/// A server that chooses the first of these protocols that is offered.
pub(crate) fn choosing(identity: &Identity, protocols: &[&str]) -> TlsAcceptor {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(BOTH).unwrap();
    let builder = builder.with_no_client_auth();
    let mut config =
        builder.with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key()).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().into()).collect();
    Arc::new(config).into()
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// What a server saw of a connection.
struct Seen {
    name: Option<String>,
    protocol: Option<Vec<u8>>,
    clients: usize,
}

/// Agrees to a request over TLS, and sends a message.
async fn serve(
    acceptor: &TlsAcceptor,
    stream: DuplexStream,
) -> std::io::Result<(Seen, TlsStream<DuplexStream>)> {
    let mut stream = acceptor.accept(stream).await?;
    let head = head(&mut stream).await?;
    agree(&mut stream, &head, "").await;
    stream.write_all(&[0x81, 2, b'h', b'i']).await?;
    stream.flush().await?;
    let session = stream.get_ref().1;
    let seen = Seen {
        name: session.server_name().map(String::from),
        protocol: session.alpn_protocol().map(<[u8]>::to_vec),
        clients: session.peer_certificates().map_or(0, <[_]>::len),
    };
    Ok((seen, stream))
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).unwrap())
}

type Open = (WebSocket<NetworkStream>, Seen, TlsStream<DuplexStream>);

/// Connects to `uri`, where such a server is.
async fn connect(
    change: impl FnOnce(Client) -> Client,
    uri: &str,
    acceptor: &TlsAcceptor,
) -> Result<Open, Error> {
    let (world, mut arrivals) = World::new(&[("host.test", &["192.0.2.1"]), ("other.test", &["192.0.2.2"])]);
    let client = change(world.client());
    let server = async {
        let (_, stream) = arrivals.next().await;
        serve(acceptor, stream).await
    };
    let (connected, served) = ends(async { tokio::join!(client.connect(uri), server) }).await;
    let mut socket = connected?;
    let (seen, stream) = served.expect("a server");
    assert_eq!(ends(socket.recv()).await?, Some(Message::text("hi")));
    Ok((socket, seen, stream))
}

pub(crate) fn trusting(authority: &Authority) -> Tls {
    Tls::new().provider(provider()).roots([authority.certificate.clone()])
}

fn with(tls: Tls) -> impl FnOnce(Client) -> Client {
    |client| client.tls(tls).unwrap()
}

#[tokio::test]
async fn a_trusted_certificate_is_accepted() {
    let authority = Authority::new("authority");
    let identity = authority.signs(|_| {});
    for versions in [&[&TLS12][..], &[&TLS13], BOTH] {
        let acceptor = server(&identity, versions, None);
        let (socket, seen, _) =
            connect(with(trusting(&authority)), "wss://host.test/", &acceptor).await.unwrap();
        assert_eq!(seen.name.as_deref(), Some("host.test"));
        assert_eq!(seen.protocol.as_deref(), Some(&b"http/1.1"[..]));
        assert_eq!(
            socket.with_stream(|stream| stream.tls().unwrap().protocol_version()),
            Some(versions[0].version)
        );
        assert_eq!(socket.with_stream(|stream| stream.tls().unwrap().peer_certificates().unwrap().len()), 1);
        let tls = trusting(&authority).sni(false);
        let (_, seen, _) = connect(with(tls), "wss://host.test/", &acceptor).await.unwrap();
        assert_eq!(seen.name, None);
        // Reached by its address.
        let tls = trusting(&authority).server_name("host.test");
        let (_, seen, _) = connect(with(tls), "wss://192.0.2.1/", &acceptor).await.unwrap();
        assert_eq!(seen.name.as_deref(), Some("host.test"));
    }
    assert!(CryptoProvider::get_default().is_none(), "nothing is set for the process");
}

#[tokio::test]
async fn the_cryptography_that_is_passed_is_used() {
    let authority = Authority::new("authority");
    let acceptor = server(&authority.signs(|_| {}), BOTH, None);
    let only = |mut provider: CryptoProvider| {
        let suite = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
        provider.cipher_suites.retain(|known| known.suite() == suite);
        Tls::new().provider(provider).roots([authority.certificate.clone()])
    };
    let settings = [
        only(ring::default_provider()),
        #[cfg(feature = "rustls-aws-lc-rs")]
        only(taut::tokio::rustls::crypto::aws_lc_rs::default_provider()),
    ];
    for tls in settings {
        let (socket, ..) = connect(with(tls), "wss://host.test/", &acceptor).await.unwrap();
        let suite = socket.with_stream(|stream| stream.tls().unwrap().negotiated_cipher_suite().unwrap());
        assert_eq!(suite.suite(), CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    }
}

#[tokio::test]
async fn a_configuration_of_ones_own_decides_and_gets_a_protocol_if_it_names_none() {
    let authority = Authority::new("authority");
    let acceptor = server(&authority.signs(|_| {}), BOTH, None);
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS12]).unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let mut other = config.clone();
    other.alpn_protocols = vec![b"none of ours".into()];
    let (socket, seen, _) =
        connect(with(Tls::from_config(config)), "wss://host.test/", &acceptor).await.unwrap();
    assert_eq!(seen.protocol.as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(socket.with_stream(|stream| stream.tls().unwrap().protocol_version()), Some(TLS12.version));

    let (world, mut arrivals) = World::new(&[("host.test", &["192.0.2.1"])]);
    let client = world.client().tls(Tls::from_config(other)).unwrap();
    let server = async {
        let (_, stream) = arrivals.next().await;
        serve(&acceptor, stream).await.map(drop)
    };
    let (connected, _) = ends(async { tokio::join!(client.connect("wss://host.test/"), server) }).await;
    let Err(Error::Tls(found)) = connected else { panic!("{connected:?}") };
    assert_eq!(found.problem(), TlsProblem::NothingInCommon);
}

#[tokio::test]
async fn each_bad_certificate_has_its_own_error() {
    let authority = Authority::new("authority");
    let ca = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let cases = [
        (authority.signs(|params| params.subject_alt_names.clear()), TlsProblem::WrongHost, "another host"),
        (
            authority.signs(|params| *params = CertificateParams::new(["other.test".into()]).unwrap()),
            TlsProblem::WrongHost,
            "another host",
        ),
        (
            authority.signs(|params| params.not_after = date_time_ymd(2020, 1, 1)),
            TlsProblem::Expired,
            "expired",
        ),
        (
            authority.signs(|params| params.not_before = date_time_ymd(2999, 1, 1)),
            TlsProblem::NotYetValid,
            "not valid yet",
        ),
        (self_signed(|_| {}), TlsProblem::SelfSigned, "signed by itself"),
        // As openssl makes them.
        (self_signed(ca), TlsProblem::SelfSigned, "signed by itself"),
        (Authority::new("stranger").signs(|_| {}), TlsProblem::Untrusted, "authority that is not trusted"),
    ];
    for (identity, problem, part) in cases {
        for versions in [&[&TLS12][..], &[&TLS13]] {
            let acceptor = server(&identity, versions, None);
            let (world, mut arrivals) = World::new(&[("host.test", &["192.0.2.1"])]);
            let client = world.client().tls(trusting(&authority)).unwrap();
            let server = async {
                let (_, stream) = arrivals.next().await;
                serve(&acceptor, stream).await.map(drop)
            };
            let (connected, served) =
                ends(async { tokio::join!(client.connect("wss://host.test/"), server) }).await;
            let error = connected.unwrap_err();
            let Error::Tls(found) = &error else { panic!("{error:?}") };
            assert_eq!((found.problem(), found.host()), (problem, "host.test"), "{error}");
            assert!(error.to_string().contains(part), "{error}");
            assert!(std::error::Error::source(found).is_some(), "the cause is kept");
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Tls, false));
            assert!(served.is_err(), "no request came");
        }
    }
}

#[tokio::test]
async fn one_certificate_can_be_accepted_by_its_bytes() {
    let identity = self_signed(|params| {
        params.subject_alt_names.clear();
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let acceptor = server(&identity, BOTH, None);
    let exactly = |identity: &Identity| Tls::new().dangerous_accept_certificate(identity.certificate.clone());
    connect(with(exactly(&identity)), "wss://host.test/", &acceptor).await.unwrap();
    let other = self_signed(|_| {});
    let error = connect(with(exactly(&other)), "wss://host.test/", &acceptor).await.err().unwrap();
    assert!(matches!(&error, Error::Tls(found) if found.problem() == TlsProblem::NotTheOne), "{error:?}");
    assert!(error.to_string().contains("is not the one of Tls::dangerous_accept_certificate"), "{error}");
    connect(with(anything()), "wss://host.test/", &acceptor).await.unwrap();
    // Who has the certificate but not its key is nobody.
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let key = ring::sign::any_supported_type(&other.key).unwrap();
        let stolen = SingleCertAndKey::from(CertifiedKey::new(vec![identity.certificate.clone()], key));
        let config =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
        let config = config.with_no_client_auth().with_cert_resolver(Arc::new(stolen));
        let thief = TlsAcceptor::from(Arc::new(config));
        for tls in [exactly(&identity), anything()] {
            let error = connect(with(tls), "wss://host.test/", &thief).await.err().unwrap();
            assert!(
                matches!(&error, Error::Tls(found) if found.problem() == TlsProblem::Certificate),
                "{error:?}"
            );
        }
    }
}

/// By default the operating system says whom to trust, and it has never heard of ours.
#[tokio::test]
async fn the_platform_is_asked_by_default() {
    let authority = Authority::new("authority");
    let acceptor = server(&authority.signs(|_| {}), BOTH, None);
    let error = connect(|client| client, "wss://host.test/", &acceptor).await.err().unwrap();
    let problems = [TlsProblem::Untrusted, TlsProblem::Configuration];
    assert!(matches!(&error, Error::Tls(found) if problems.contains(&found.problem())), "{error:?}");
    let tls = Tls::new().extra_roots([authority.certificate.clone()]);
    connect(with(tls), "wss://host.test/", &acceptor).await.unwrap();
}

#[tokio::test]
async fn certificates_of_clients() {
    let (authority, people) = (Authority::new("authority"), Authority::new("people"));
    let identity = authority.signs(|_| {});
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let acceptor = server(&identity, versions, Some(&people));
        let show = |person: &Identity| {
            trusting(&authority).client_certificate([person.certificate.clone()], person.key.clone_key())
        };
        let person = people.signs(|_| {});
        let (_, seen, _) = connect(with(show(&person)), "wss://host.test/", &acceptor).await.unwrap();
        assert_eq!(seen.clients, 1);
        let stranger = Authority::new("strangers").signs(|_| {});
        for tls in [trusting(&authority), show(&stranger)] {
            let error = connect(with(tls), "wss://host.test/", &acceptor).await.err().unwrap();
            let Error::Tls(found) = &error else { panic!("{versions:?}: {error:?}") };
            assert!(
                matches!(found.problem(), TlsProblem::ClientCertificate | TlsProblem::NothingInCommon),
                "{error:?}"
            );
        }
    }
    // A key that is of another certificate is found before anything is sent.
    let (one, two) = (people.signs(|_| {}), people.signs(|_| {}));
    let error =
        Client::new().tls(trusting(&authority).client_certificate([one.certificate], two.key)).unwrap_err();
    assert!(matches!(&error, Error::Tls(found) if found.problem() == TlsProblem::Configuration), "{error:?}");
}

#[derive(Debug, Default)]
struct Log(Mutex<Vec<String>>);

impl KeyLog for Log {
    fn log(&self, label: &str, random: &[u8], secret: &[u8]) {
        assert!(random.len() == 32 && !secret.is_empty());
        self.0.lock().unwrap().push(label.into());
    }
}

#[tokio::test]
async fn keys_are_logged_only_if_asked_for() {
    let authority = Authority::new("authority");
    let acceptor = server(&authority.signs(|_| {}), &[&TLS13], None);
    let log = Arc::new(Log::default());
    connect(with(trusting(&authority)), "wss://host.test/", &acceptor).await.unwrap();
    assert_eq!(log.0.lock().unwrap().len(), 0);
    let tls = trusting(&authority).key_log(log.clone() as Arc<dyn KeyLog>);
    connect(with(tls), "wss://host.test/", &acceptor).await.unwrap();
    let labels = log.0.lock().unwrap().clone();
    assert!(labels.contains(&"CLIENT_TRAFFIC_SECRET_0".into()), "{labels:?}");
}

#[tokio::test(start_paused = true)]
async fn servers_that_do_not_speak_tls() {
    for (answer, problem, retryable) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], TlsProblem::NotTls, false),
        (b"", TlsProblem::Ended, true),
        // A fatal alert: handshake_failure.
        (&[21, 3, 3, 0, 2, 2, 40], TlsProblem::NothingInCommon, false),
    ] {
        let (world, mut arrivals) = World::new(&[("host.test", &["192.0.2.1"])]);
        let client = world.client().tls(anything()).unwrap();
        let server = async {
            let (_, mut stream) = arrivals.next().await;
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).await.unwrap();
            assert_eq!(hello[0], 22, "a handshake of TLS, and nothing in the open");
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            stream
        };
        let (connected, _) = ends(async { tokio::join!(client.connect("wss://host.test"), server) }).await;
        let error = connected.unwrap_err();
        assert!(matches!(&error, Error::Tls(found) if found.problem() == problem), "{error:?}");
        assert_eq!(error.is_retryable(), retryable, "{error:?}");
    }
}

/// RFC 6455 §7.1.1: an endpoint "SHOULD use a method that cleanly closes the TCP connection, as well as the TLS session".
#[tokio::test]
async fn tls_ends_with_close_notify() {
    let authority = Authority::new("authority");
    let acceptor = server(&authority.signs(|_| {}), BOTH, None);
    for (wire, clean) in [(&[0x88, 2, 3, 232][..], true), (&[0xFF], false)] {
        let (mut socket, _, mut stream) =
            connect(with(trusting(&authority)), "wss://host.test/", &acceptor).await.unwrap();
        let received = async move {
            let first = socket.recv().await;
            // What is left is the end; then the socket is dropped.
            while matches!(socket.recv().await, Ok(Some(_))) {}
            first
        };
        let peer = async {
            stream.write_all(wire).await.unwrap();
            if clean {
                // The server ends first.
                stream.shutdown().await.unwrap();
            }
            let mut rest = Vec::new();
            // Without close_notify this is an error.
            stream.read_to_end(&mut rest).await.expect("an end of TLS");
            stream.shutdown().await.unwrap();
            rest
        };
        let (received, rest) = ends(async { tokio::join!(received, peer) }).await;
        assert_eq!((received.is_ok(), rest[0]), (clean, 0x88), "{received:?}");
    }
}

/// The end of TLS need not be told where WebSocket's own is.
#[tokio::test]
async fn an_end_without_close_notify() {
    let authority = Authority::new("authority");
    let acceptor = server(&authority.signs(|_| {}), BOTH, None);
    let (mut socket, _, mut stream) =
        connect(with(trusting(&authority)), "wss://host.test/", &acceptor).await.unwrap();
    stream.write_all(&[0x88, 2, 3, 232]).await.unwrap();
    stream.flush().await.unwrap();
    let mut reply = [0; 8];
    let (received, _) = ends(async { tokio::join!(socket.recv(), stream.read_exact(&mut reply)) }).await;
    assert!(matches!(received, Ok(Some(Message::Close(_)))), "{received:?}");
    drop(stream.into_inner());
    assert_eq!(ends(socket.recv()).await.unwrap(), None);

    let (mut socket, _, stream) =
        connect(with(trusting(&authority)), "wss://host.test/", &acceptor).await.unwrap();
    drop(stream.into_inner());
    assert!(matches!(ends(socket.recv()).await, Err(Error::Lost)));
}

/// Through a proxy that is itself behind TLS, and from there by TLS to the server.
#[tokio::test]
async fn tls_within_tls() {
    let authority = Authority::new("authority");
    let outer = server(
        &authority.signs(|params| *params = CertificateParams::new(["proxy.test".into()]).unwrap()),
        BOTH,
        None,
    );
    let inner = server(&authority.signs(|_| {}), BOTH, None);
    let (world, mut arrivals) = World::new(&[("proxy.test", &["192.0.2.9"])]);
    let client = world.client().tls(trusting(&authority)).unwrap();
    let client = client.proxy(Proxy::parse("https://proxy.test").unwrap());
    let proxy = async {
        let (address, stream) = arrivals.next().await;
        assert_eq!(address.port(), 443);
        let mut stream = outer.accept(stream).await.unwrap();
        assert!(read_head(&mut stream).await.starts_with("CONNECT host.test:443 HTTP/1.1\r\n"));
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
        let mut stream = inner.accept(stream).await.unwrap();
        let head = read_head(&mut stream).await;
        agree(&mut stream, &head, "").await;
        stream
    };
    let (connected, _) = ends(async { tokio::join!(client.connect("wss://host.test/"), proxy) }).await;
    connected.unwrap();
}

/// In TLS 1.3, a proxy tells what it thinks of our certificate once we have asked for the tunnel.
#[tokio::test]
async fn a_proxy_that_refuses_our_certificate() {
    let (authority, people) = (Authority::new("authority"), Authority::new("people"));
    let identity = authority.signs(|params| *params = CertificateParams::new(["proxy.test".into()]).unwrap());
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let outer = server(&identity, versions, Some(&people));
        let (world, mut arrivals) = World::new(&[("proxy.test", &["192.0.2.9"])]);
        let client = world.client().tls(trusting(&authority)).unwrap();
        let client = client.proxy(Proxy::parse("https://proxy.test").unwrap());
        let proxy = async {
            let (_, stream) = arrivals.next().await;
            outer.accept(stream).await.map(drop)
        };
        let (connected, served) =
            ends(async { tokio::join!(client.connect("ws://host.test/"), proxy) }).await;
        assert!(served.is_err());
        let Err(Error::Tls(found)) = &connected else { panic!("{versions:?}: {connected:?}") };
        assert_eq!(found.host(), "proxy.test");
        assert!(
            matches!(found.problem(), TlsProblem::ClientCertificate | TlsProblem::NothingInCommon),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn a_redirect_does_not_leave_tls() {
    let authority = Authority::new("authority");
    let acceptor = server(&authority.signs(|_| {}), BOTH, None);
    for location in ["ws://host.test/", "http://host.test/"] {
        let (world, mut arrivals) = World::new(&[("host.test", &["192.0.2.1"])]);
        let client = world.client().max_redirects(5).tls(trusting(&authority)).unwrap();
        let server = async {
            let (_, stream) = arrivals.next().await;
            let mut stream = acceptor.accept(stream).await.unwrap();
            read_head(&mut stream).await;
            let answer = format!("HTTP/1.1 302 A\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            stream
        };
        let (connected, _) = ends(async { tokio::join!(client.connect("wss://host.test/"), server) }).await;
        assert!(matches!(connected, Err(Error::Redirect(RedirectError::Downgrade))), "{connected:?}");
        assert_eq!(world.dialled().len(), 1);
    }
}

#[test]
fn settings_that_are_wrong() {
    let empty = Tls::new().server_name("not a host");
    let error = Client::new().tls(empty).unwrap_err();
    assert!(matches!(&error, Error::Tls(found) if found.problem() == TlsProblem::Configuration), "{error:?}");
    let broken: CertificateDer<'static> = vec![1, 2, 3].into();
    assert!(Client::new().tls(Tls::new().roots([broken])).is_err());
    assert!(format!("{:?}", anything()).contains("ANYONE"));
}

/// Accepts what [`upgrade_slowly`] shows.
pub(crate) fn anything() -> Tls {
    Tls::new().dangerous_accept_any_certificate()
}

/// A server of TLS that takes and gives a few bytes at a time, until the client goes away.
pub(crate) async fn upgrade_slowly(stream: &mut DuplexStream) {
    let identity = self_signed(|_| {});
    let acceptor = server(&identity, BOTH, None);
    let (near, far) = tokio::io::duplex(100);
    let (mut reading, mut writing) = tokio::io::split(far);
    let (mut from, mut to) = tokio::io::split(stream);
    let session = async {
        let mut stream = acceptor.accept(near).await.unwrap();
        let head = read_head(&mut stream).await;
        agree(&mut stream, &head, "").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    tokio::select! {
        () = session => {}
        () = carry(&mut from, &mut writing) => {}
        () = carry(&mut reading, &mut to) => {}
    }
}

async fn carry(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) {
    let mut bytes = [0; 50];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if to.write_all(&bytes[..length]).await.is_err() {
            break;
        }
        sleep(Duration::from_micros(1500)).await;
    }
}
