//! The client's network, live: proxies, TLS and servers of others over loopback.
//!
//! `tests/network/run` installs what is missing and runs them; tests/network/README.md tells what they show.

#![cfg(all(feature = "rustls-ring", unix))]

#[path = "support/certificates.rs"]
mod certificates;
#[path = "network/programs.rs"]
mod programs;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use certificates::{Authority, Identity};
use programs::{Folder, Program, Refusing, example, in_time, installed, source};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use taut::proto::handshake::HandshakeError;
use taut::proto::{CloseCode, Message};
use taut::tokio::rustls::crypto::ring;
use taut::tokio::rustls::{HandshakeKind, ServerConfig};
use taut::tokio::{Client, Dialing, Network, NetworkStream, Proxy, Tls, WebSocket, accept};
use taut::{Error, ProxyError, TlsProblem};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;

#[tokio::test]
#[ignore = "needs tinyproxy: tests/network/run"]
async fn connect_by_tinyproxy() {
    let authority = Authority::new("authority");
    let (open, secure) = (echo(None).await, echo(Some(&authority)).await);
    let (nobody, forbidden) = (Refusing::new(), echo(None).await);
    let tinyproxy =
        Program::tinyproxy(&Folder::new("connect"), ("user", "pass-word"), &[open, secure, nobody.port])
            .await;
    let by =
        |at: &str| trusting(&authority).proxy(proxy(&format!("http://{at}127.0.0.1:{}", tinyproxy.port)));
    let client = by("user:pass-word@");
    for uri in [format!("ws://127.0.0.1:{open}/"), format!("wss://localhost:{secure}/")] {
        converse(&client, &uri).await.unwrap();
    }
    let (open, status) = (format!("ws://localhost:{open}/"), ProxyError::Status);
    for (client, uri, expected) in [
        (by(""), open.clone(), ProxyError::CredentialsMissing),
        // Which it says by 401.
        (by("user:word@"), open, ProxyError::CredentialsRefused),
        (client.clone(), format!("ws://localhost:{forbidden}/"), status(403)),
        (client, format!("ws://localhost:{}/", nobody.port), status(500)),
    ] {
        let error = converse(&client, &uri).await.unwrap_err();
        assert!(matches!(&error, Error::Proxy(found) if *found == expected), "{expected}: {error:?}");
    }
}

#[tokio::test]
#[ignore = "needs microsocks: tests/network/run"]
async fn socks_by_microsocks() {
    let authority = Authority::new("authority");
    let (open, secure) = (echo(None).await, echo(Some(&authority)).await);
    let microsocks = Program::microsocks(("user", "pass word")).await;
    let by = |scheme: &str, at: &str| {
        trusting(&authority).proxy(proxy(&format!("{scheme}://{at}127.0.0.1:{}", microsocks.port)))
    };
    for scheme in ["socks5", "socks5h"] {
        let client = by(scheme, "user:pass%20word@");
        for uri in [format!("ws://127.0.0.1:{open}/"), format!("wss://localhost:{secure}/")] {
            converse(&client, &uri).await.unwrap();
        }
    }
    let nobody = Refusing::new();
    for (at, port, expected) in [
        ("", open, ProxyError::CredentialsMissing),
        ("user:word@", open, ProxyError::CredentialsRefused),
        ("user:pass%20word@", nobody.port, ProxyError::Reply(5)),
    ] {
        let error = converse(&by("socks5h", at), &format!("ws://127.0.0.1:{port}/")).await.unwrap_err();
        assert!(matches!(&error, Error::Proxy(found) if *found == expected), "{expected}: {error:?}");
    }
}

/// A URI, the variables of the environment, and what the example says if it does not get through.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);

#[tokio::test]
#[ignore = "needs tinyproxy and microsocks: tests/network/run"]
async fn proxies_of_the_environment() {
    let authority = Authority::new("authority");
    let folder = Folder::new("environment");
    let (open, secure) = (echo(None).await, echo(Some(&authority)).await);
    let tinyproxy = Program::tinyproxy(&folder, ("user", "word"), &[open, secure]).await;
    let (open, secure) = (format!("ws://localhost:{open}/"), format!("wss://localhost:{secure}/"));
    let microsocks = Program::microsocks(("user", "word")).await;
    let roots = folder.write("authority.pem", &authority.pem);
    let http = |password: &str| format!("http://user:{password}@127.0.0.1:{}", tinyproxy.port);
    let socks = |password: &str| format!("socks5h://user:{password}@127.0.0.1:{}", microsocks.port);
    let (http, wrong_http) = (http("word"), http("wrong"));
    let (socks, wrong_socks) = (socks("word"), socks("wrong"));
    let refused = Some("did not accept the user name and password");
    // Which password a proxy gets shows which variable was followed.
    let cases: [Case<'_>; 9] = [
        (&open, &[("http_proxy", &http)], None),
        (&open, &[("http_proxy", &wrong_http)], refused),
        (&open, &[("https_proxy", &wrong_http)], None),
        (&secure, &[("HTTPS_PROXY", &http), ("ALL_PROXY", &wrong_socks)], None),
        (&secure, &[("http_proxy", &http), ("ALL_PROXY", &wrong_socks)], refused),
        (&secure, &[("ALL_PROXY", &socks)], None),
        (&secure, &[("ALL_PROXY", &wrong_socks), ("NO_PROXY", "localhost")], None),
        (&secure, &[("ALL_PROXY", &wrong_socks), ("NO_PROXY", "localhost:1")], refused),
        (&open, &[("http_proxy", "ftp://127.0.0.1")], Some("the environment variable http_proxy is not")),
    ];
    for (uri, variables, problem) in cases {
        let arguments = ["--roots", roots.to_str().unwrap(), uri, "hello"];
        let output = example("wss_client", variables, &arguments).await;
        told(&output, problem, &format!("{uri} with {variables:?}"));
    }
}

#[tokio::test]
#[ignore = "needs the example wss_client: tests/network/run"]
async fn the_platform_trusts_its_own_roots() {
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    let folder = Folder::new("platform");
    let uri = format!("wss://localhost:{}/", echo(Some(&authority)).await);
    let problem = "the certificate of localhost is signed by an authority that is not trusted here";
    for (root, expected) in [(&authority, None), (&stranger, Some(problem))] {
        let file = folder.write("roots.pem", &root.pem);
        let variables = [("SSL_CERT_FILE", file.to_str().unwrap())];
        told(&example("wss_client", &variables, &[&uri, "hello"]).await, expected, "wss_client");
    }
}

#[tokio::test]
#[ignore = "needs openssl: tests/network/run"]
async fn corners_of_openssl() {
    let authority = Authority::new("authority");
    let folder = Folder::new("corners");
    let elliptic = key(&folder, "-algorithm EC -pkeyopt ec_paramgen_curve:P-256").await;
    let long = key(&folder, "-algorithm EC -pkeyopt ec_paramgen_curve:P-384").await;
    let edwards = key(&folder, "-algorithm ED25519").await;
    let rsa = key(&folder, "-algorithm RSA -pkeyopt rsa_keygen_bits:2048").await;
    let connect = async |key: &KeyPair, arguments: &str| {
        let files = write(&folder, "server", &authority.signs_key(key, localhost));
        let openssl = Program::openssl(&files, &words(arguments)).await;
        greeted(&trusting(&authority), &openssl).await
    };
    for (key, arguments, cipher) in [
        (
            &elliptic,
            "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ),
        (&rsa, "-tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
        (&rsa, "-tls1_2 -cipher ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
        (&rsa, "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256", "TLS13_AES_128_GCM_SHA256"),
        (&edwards, "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256", "TLS13_CHACHA20_POLY1305_SHA256"),
        // For which the server has to ask a second time.
        (&long, "-groups P-384 -ciphersuites TLS_AES_256_GCM_SHA384", "TLS13_AES_256_GCM_SHA384"),
        (&rsa, "-alpn h2,http/1.1 -ciphersuites TLS_AES_256_GCM_SHA384", "TLS13_AES_256_GCM_SHA384"),
    ] {
        let socket = connect(key, arguments).await.unwrap_or_else(|error| panic!("{arguments}: {error}"));
        let suite = socket.with_stream(|stream| stream.tls().unwrap().negotiated_cipher_suite().unwrap());
        assert_eq!(format!("{:?}", suite.suite()), cipher, "{arguments}");
    }
    for (key, arguments) in [
        (&rsa, "-tls1_1 -cipher DEFAULT@SECLEVEL=0"),
        (&rsa, "-tls1_2 -cipher AES128-GCM-SHA256"),
        (&elliptic, "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA"),
        (&elliptic, "-alpn h2"),
    ] {
        let error = connect(key, arguments).await.err().unwrap_or_else(|| panic!("{arguments}"));
        fails_by(&error, TlsProblem::NothingInCommon, arguments);
    }
}

#[tokio::test]
#[ignore = "needs openssl: tests/network/run"]
async fn bad_certificates_of_openssl() {
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    let folder = Folder::new("certificates");
    let own = [folder.path("own.crt"), folder.path("own.key")];
    let own_names = own.each_ref().map(|path| path.to_str().unwrap());
    let request = format!(
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost -out {} -keyout {}",
        own_names[0], own_names[1]
    );
    openssl(&words(&request)).await;
    let expired = authority.signs(|params| {
        localhost(params);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    for (files, problem, sentence) in [
        (own, TlsProblem::SelfSigned, "the certificate of localhost is signed by itself"),
        (
            write(&folder, "wrong", &authority.signs(|_| {})),
            TlsProblem::WrongHost,
            "the certificate of localhost is for another host",
        ),
        (
            write(&folder, "expired", &expired),
            TlsProblem::Expired,
            "the certificate of localhost has expired",
        ),
        (
            write(&folder, "stranger", &stranger.signs(localhost)),
            TlsProblem::Untrusted,
            "the certificate of localhost is signed by an authority that is not trusted here",
        ),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let openssl = Program::openssl(&files, &[version]).await;
            let error = greeted(&trusting(&authority), &openssl).await.expect_err(sentence);
            fails_by(&error, problem, version);
            assert!(error.to_string().starts_with(sentence), "{error}");
        }
    }
}

#[tokio::test]
#[ignore = "needs openssl: tests/network/run"]
async fn clients_show_certificates_to_openssl() {
    let (authority, people) = (Authority::new("authority"), Authority::new("people"));
    let folder = Folder::new("clients");
    let files = write(&folder, "server", &authority.signs(localhost));
    let file = folder.write("people.pem", &people.pem);
    let trusting = || Tls::new().roots([authority.certificate.clone()]);
    let showing = |person: &Identity| {
        trusting().client_certificate([person.certificate.clone()], person.key.clone_key())
    };
    let (person, other) = (people.signs(|_| {}), Authority::new("others").signs(|_| {}));
    // With TLS 1.2 openssl says no more of a missing one than that the handshake failed.
    for (version, missing) in
        [("-tls1_2", TlsProblem::NothingInCommon), ("-tls1_3", TlsProblem::ClientCertificate)]
    {
        let arguments = [version, "-Verify", "1", "-verify_return_error", "-CAfile", file.to_str().unwrap()];
        let openssl = Program::openssl(&files, &arguments).await;
        for (tls, problem) in [
            (showing(&person), None),
            (showing(&other), Some(TlsProblem::ClientCertificate)),
            (trusting(), Some(missing)),
        ] {
            match (greeted(&Client::new().tls(tls).unwrap(), &openssl).await, problem) {
                (Ok(_), None) => {}
                (Err(error), Some(problem)) => fails_by(&error, problem, version),
                (connected, problem) => panic!("{version}: {problem:?}: {:?}", connected.err()),
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs openssl: tests/network/run"]
async fn a_second_connection_resumes_the_session() {
    let authority = Authority::new("authority");
    let files = write(&Folder::new("resumption"), "server", &authority.signs(localhost));
    for version in ["-tls1_2", "-tls1_3"] {
        let openssl = Program::openssl(&files, &[version]).await;
        let client = trusting(&authority);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let socket = greeted(&client, &openssl).await.unwrap();
            let kind = socket.with_stream(|stream| stream.tls().unwrap().handshake_kind());
            assert_eq!(kind, Some(expected), "{version}");
        }
    }
}

#[tokio::test]
#[ignore = "needs node and ws: tests/network/run"]
async fn wss_of_ws_on_node() {
    let mut node = Command::new("node");
    node.arg(source("wss.cjs")).env("NODE_PATH", installed("node/node_modules/ws").with_file_name(""));
    speak_to(node, "node").await;
}

#[tokio::test]
#[ignore = "needs Python and websockets: tests/network/run"]
async fn wss_of_websockets_on_python() {
    let mut python = Command::new(installed("python/bin/python"));
    python.arg(source("wss.py"));
    speak_to(python, "python").await;
}

#[tokio::test]
#[ignore = "wants the port of a server on both families: tests/network/run"]
async fn a_host_of_which_one_family_answers() {
    let both = || Client::new().network(BothFamilies);
    converse(&both(), &format!("ws://host.test:{}/", echo(None).await)).await.unwrap();
    // A machine may be without IPv6.
    if let Ok(listener) = TcpListener::bind("[::1]:0").await {
        let port = serve(listener, None);
        converse(&both(), &format!("ws://host.test:{port}/")).await.unwrap();
    }
    let nobody = Refusing::new();
    let closed = nobody.port;
    let error = converse(&both(), &format!("ws://host.test:{closed}/")).await.unwrap_err();
    let Error::Connect(error) = &error else { panic!("{error:?}") };
    let attempts: Vec<_> = error.attempts().iter().map(|(address, _)| address.to_string()).collect();
    assert_eq!(attempts, [format!("[::1]:{closed}"), format!("127.0.0.1:{closed}")]);
}

/// A host with two addresses, of which IPv6 is said to be the better one.
struct BothFamilies;

impl Network for BothFamilies {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> Dialing<'a, Vec<SocketAddr>> {
        Box::pin(
            async move { Ok(vec![(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()]) },
        )
    }
}

/// A server of `wss://` by the files of its certificate and key, which tells what Authorization it got.
async fn speak_to(mut command: Command, name: &str) {
    let authority = Authority::new("authority");
    command.args(write(&Folder::new(name), "server", &authority.signs(localhost)));
    let server = Program::printing(command).await;
    let (port, client) =
        (server.port, trusting(&authority).subprotocol("chat").unwrap().require_subprotocol());
    in_time(async {
        let mut socket = client.connect(&format!("wss://us%40er:p%C3%A4ss@localhost:{port}/")).await.unwrap();
        // "us@er:päss" in UTF-8.
        let basic = Message::text("Basic dXNAZXI6cMOkc3M=");
        assert_eq!(socket.recv().await.unwrap(), Some(basic));
        for message in [Message::text("¿qué tal?"), Message::binary(vec![7; 1 << 20]), Message::text("")] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.recv().await.unwrap(), Some(message));
        }
        socket.close(CloseCode::NORMAL, "").await.unwrap();

        let bearer = client.clone().bearer("token").unwrap();
        let mut socket = bearer.connect(&format!("wss://localhost:{port}/")).await.unwrap();
        let greeting = socket.recv().await.unwrap();
        assert_eq!(greeting, Some(Message::text("Bearer token")));
        // Of a protocol that it does not know it says nothing, or it refuses.
        let other = trusting(&authority).subprotocol("other").unwrap().require_subprotocol();
        let error = other.connect(&format!("wss://localhost:{port}/")).await.err().unwrap();
        assert!(
            matches!(&error, Error::Handshake(HandshakeError::SubprotocolMissing))
                || matches!(&error, Error::Refused(answer) if answer.status() == 400),
            "{error:?}"
        );
        // Its certificate is for the name.
        let error = client.connect(&format!("wss://127.0.0.1:{port}/")).await.err().unwrap();
        fails_by(&error, TlsProblem::WrongHost, name);
    })
    .await;
}

/// Says something, wants it back, and a clean end.
async fn converse(client: &Client, uri: &str) -> Result<(), Error> {
    in_time(async {
        let mut socket = client.connect(uri).await?;
        socket.send("hello").await?;
        assert_eq!(socket.recv().await?, Some(Message::text("hello")));
        assert!(matches!(socket.recv().await?, Some(Message::Close(_))));
        assert_eq!(socket.recv().await?, None);
        Ok(())
    })
    .await
}

/// Connects to `openssl s_server`, whose greeting comes.
async fn greeted(client: &Client, openssl: &Program) -> Result<WebSocket<NetworkStream>, Error> {
    in_time(async {
        let mut socket = client.connect(&format!("wss://localhost:{}/", openssl.port)).await?;
        assert_eq!(socket.recv().await?, Some(Message::text("hi")));
        Ok(socket)
    })
    .await
}

/// A server of ours that sends one message back and closes; with an authority, over TLS. Gives its port.
async fn echo(authority: Option<&Authority>) -> u16 {
    serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), authority)
}

fn serve(listener: TcpListener, authority: Option<&Authority>) -> u16 {
    let acceptor = authority.map(|authority| acceptor(&authority.signs(localhost)));
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    // Clients that do not get through end here.
                    Some(acceptor) => answer(accept(acceptor.accept(stream).await?).await?).await,
                    None => answer(accept(stream).await?).await,
                }
            });
        }
    });
    port
}

async fn answer<S>(mut socket: WebSocket<S>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if let Some(message) = socket.recv().await? {
        socket.send(message).await?;
        socket.close(CloseCode::NORMAL, "").await?;
    }
    Ok(())
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let chain = vec![identity.certificate.clone()];
    Arc::new(builder.with_single_cert(chain, identity.key.clone_key()).unwrap()).into()
}

fn trusting(authority: &Authority) -> Client {
    Client::new().tls(Tls::new().roots([authority.certificate.clone()])).unwrap()
}

fn proxy(uri: &str) -> Proxy {
    Proxy::parse(uri).unwrap()
}

fn localhost(params: &mut CertificateParams) {
    params.subject_alt_names = CertificateParams::new(["localhost".into()]).unwrap().subject_alt_names;
}

fn fails_by(error: &Error, problem: TlsProblem, what: &str) {
    assert!(matches!(error, Error::Tls(found) if found.problem() == problem), "{what}: {error:?}");
}

/// Whether an example that says "hello" to our server got it back; else what it had to say.
fn told(output: &Output, problem: Option<&str>, what: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    match problem {
        None => assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n", "{what}: {errors}"),
        Some(problem) => {
            assert!(errors.contains(problem), "{what}: {errors}");
            assert_eq!((&*output.stdout, output.status.code()), (&b""[..], Some(1)), "{what}");
        }
    }
}

/// The files of a certificate and of its key.
fn write(folder: &Folder, name: &str, identity: &Identity) -> [PathBuf; 2] {
    let [certificate, key] = &identity.pem;
    [folder.write(&format!("{name}.crt"), certificate), folder.write(&format!("{name}.key"), key)]
}

/// A key that openssl makes: it has kinds that rcgen has not, and does not read all that it writes.
async fn key(folder: &Folder, kind: &str) -> KeyPair {
    let file = folder.path("made.key");
    openssl(&words(&format!("genpkey -quiet {kind} -out {}", file.display()))).await;
    KeyPair::from_pem(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Runs a command of openssl to its end.
async fn openssl(arguments: &[&str]) {
    let output = in_time(Command::new("openssl").args(arguments).output()).await.expect("openssl");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn words(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}
