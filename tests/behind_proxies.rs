//! The server behind the proxies of others, live: `tests/behind_proxies/run` installs them.

#![cfg(all(unix, feature = "rustls-ring"))]

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use taut::proto::handshake::{Accept, ClientRequest};
use taut::proto::{CloseCode, Config, Deflate, Message};
use taut::tokio::rustls::crypto::ring;
use taut::tokio::rustls::pki_types::ServerName;
use taut::tokio::rustls::{ClientConfig, RootCertStore};
use taut::tokio::{Incoming, Options, ProxyProtocol, WebSocket, bind_unix, connect_over};
use taut::{Error, Networks, TrustedProxies};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

/// How long a program may take for what takes it no time, on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Another address of this machine than the proxies have.
const CLIENT: [u8; 4] = [127, 0, 0, 2];

/// A running proxy. It is killed when it is dropped.
struct Proxy {
    child: Child,
    address: SocketAddr,
    certificate: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Proxy {
    /// Starts nginx with what `server` says of its HTTP; `tls` before its port.
    async fn nginx(name: &str, tls: bool, location: &str) -> Self {
        let server = |port: u16, folder: &Path| {
            let (folder, ssl) = (folder.display(), if tls { " ssl" } else { "" });
            format!(
                "daemon off; master_process off; pid {folder}/pid; error_log stderr warn; events {{}}
                 http {{
                    access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
                    fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
                    server {{
                        listen 127.0.0.1:{port}{ssl};
                        ssl_certificate {folder}/certificate; ssl_certificate_key {folder}/key;
                        location / {{ {location} }}
                    }}
                 }}"
            )
        };
        Self::start(name, server, |configuration| {
            let mut command = Command::new("nginx");
            command.args(["-e", "stderr", "-c"]).arg(configuration);
            command
        })
        .await
    }

    /// Starts nginx as a proxy of streams.
    async fn nginx_stream(name: &str, upstream: SocketAddr) -> Self {
        let stream = |port: u16, folder: &Path| {
            format!(
                "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
                 daemon off; master_process off; pid {}/pid; error_log stderr warn; events {{}}
                 stream {{ server {{
                    listen 127.0.0.1:{port}; proxy_pass {upstream}; proxy_protocol on; proxy_bind 127.0.0.1;
                 }} }}",
                folder.display()
            )
        };
        Self::start(name, stream, |configuration| {
            let mut command = Command::new("nginx");
            command.args(["-e", "stderr", "-c"]).arg(configuration);
            command
        })
        .await
    }

    async fn haproxy(name: &str, upstream: SocketAddr, send: &str) -> Self {
        let proxy = |port: u16, _: &Path| {
            format!(
                "defaults\n mode tcp\n timeout connect 10s\n timeout client 1m\n timeout server 1m\n\
                 listen proxy\n bind 127.0.0.1:{port}\n server taut {upstream} {send} source 127.0.0.1\n"
            )
        };
        Self::start(name, proxy, |configuration| {
            let mut command = Command::new("haproxy");
            command.args(["-db", "-f"]).arg(configuration);
            command
        })
        .await
    }

    async fn start(
        name: &str,
        configuration: impl FnOnce(u16, &Path) -> String,
        command: impl FnOnce(&Path) -> Command,
    ) -> Self {
        let folder = folder(name);
        let certificate = rcgen::generate_simple_self_signed(["host.test".to_owned()]).unwrap();
        fs::write(folder.join("certificate"), certificate.cert.pem()).unwrap();
        fs::write(folder.join("key"), certificate.signing_key.serialize_pem()).unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let file = folder.join("configuration");
        fs::write(&file, configuration(address.port(), &folder)).unwrap();
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
        let mut command = command(&file);
        command.env("PATH", path).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("tests/behind_proxies/run installs it");
        let mut proxy = Self { child, address, certificate };
        timeout(PATIENCE, async {
            while TcpStream::connect(address).await.is_err() {
                assert!(proxy.child.try_wait().unwrap().is_none(), "{name}: it ended");
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("it listens");
        proxy
    }

    /// A client at [`CLIENT`], over TLS or not.
    async fn connect(&self, tls: bool, request: &ClientRequest) -> Result<WebSocket<Box<dyn Stream>>, Error> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((CLIENT, 0))).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let stream: Box<dyn Stream> = if tls {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.cert.der().clone()).unwrap();
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
            let config = config.with_safe_default_protocol_versions().unwrap();
            let config = config.with_root_certificates(roots).with_no_client_auth();
            let name = ServerName::try_from("host.test").unwrap();
            Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap())
        } else {
            Box::new(stream)
        };
        connect_over(stream, request, OPTIONS).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

const OPTIONS: Options = Options::new().config(Config::new().max_message(64 << 20).max_frame(64 << 20));

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("proxy-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn localhost() -> Networks {
    "127.0.0.1".parse().unwrap()
}

fn request() -> ClientRequest {
    ClientRequest::new("host.test", "/").unwrap()
}

/// What a server noted of each connection: who its client is, and how it ended.
#[derive(Debug)]
enum Note {
    Client(IpAddr),
    Ended(Result<(), Error>),
}

/// Serves one stream: echoes.
async fn serve<S>(
    stream: S,
    peer: IpAddr,
    proxies: &TrustedProxies,
    notes: &UnboundedSender<Note>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let incoming = Incoming::read(stream, OPTIONS.deflate(Deflate::new())).await?;
    notes.send(Note::Client(proxies.client(peer, incoming.request().fields()))).unwrap();
    let mut socket = incoming.accept(Accept::new()).await?;
    while let Some(message) = socket.recv().await? {
        if message.is_data() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// An echo server behind proxies that write this field.
async fn server(proxies: TrustedProxies) -> (SocketAddr, UnboundedReceiver<Note>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (notes, noted) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let (notes, proxies) = (notes.clone(), proxies.clone());
            tokio::spawn(async move {
                let ended = serve(stream, peer.ip(), &proxies, &notes).await;
                // Nobody looks at all of them.
                let _ = notes.send(Note::Ended(ended));
            });
        }
    });
    (address, noted)
}

async fn noted(notes: &mut UnboundedReceiver<Note>) -> Note {
    timeout(PATIENCE, notes.recv()).await.expect("a note in time").unwrap()
}

/// What nginx needs for WebSocket, by its own documentation.
fn upgrading(upstream: impl std::fmt::Display) -> String {
    format!(
        "proxy_pass http://{upstream}; proxy_http_version 1.1; proxy_set_header Host $host;
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    )
}

async fn echo(socket: &mut WebSocket<Box<dyn Stream>>, message: Message) {
    socket.send(message.clone()).await.unwrap();
    let received = timeout(PATIENCE, socket.recv()).await.expect("an echo in time").unwrap();
    assert!(received == Some(message));
}

#[tokio::test]
#[ignore = "live: tests/behind_proxies/run"]
async fn an_upgrade_passes_and_the_client_is_seen() {
    for tls in [false, true] {
        // The client claims to be others, and comes from 127.0.0.2.
        let fields = [
            (TrustedProxies::x_forwarded_for(localhost()), "X-Forwarded-For", ""),
            (
                TrustedProxies::forwarded(localhost()),
                "Forwarded",
                "proxy_set_header Forwarded \"$http_forwarded, for=$remote_addr;host=\\\"$host\\\"\";",
            ),
        ];
        for (proxies, field, more) in fields {
            let (upstream, mut notes) = server(proxies).await;
            let name = format!("upgrade-{field}-{tls}");
            let proxy = Proxy::nginx(&name, tls, &(upgrading(upstream) + more)).await;
            let claim =
                if field == "Forwarded" { "for=6.6.6.6, for=127.0.0.1" } else { "6.6.6.6, 127.0.0.1" };
            let request = request().field(field, claim).unwrap();
            let mut socket = proxy.connect(tls, &request).await.unwrap();
            let Note::Client(client) = noted(&mut notes).await else { panic!("no client") };
            assert_eq!(client, IpAddr::from(CLIENT), "{field}");
            echo(&mut socket, Message::text("hello")).await;
            socket.close(CloseCode::NORMAL, "").await.unwrap();
            let Note::Ended(ended) = noted(&mut notes).await else { panic!("no end") };
            ended.unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "live: tests/behind_proxies/run"]
async fn big_messages_pass() {
    for tls in [false, true] {
        let (upstream, _notes) = server(TrustedProxies::x_forwarded_for(localhost())).await;
        let proxy = Proxy::nginx(&format!("big-{tls}"), tls, &upgrading(upstream)).await;
        let noise = |len: usize| -> Vec<u8> {
            let next = |state: &mut u64| {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                Some((*state >> 56) as u8)
            };
            std::iter::repeat(()).scan(1_u64, |state, ()| next(state)).take(len).collect()
        };
        for deflate in [false, true] {
            let request = if deflate { request().deflate(Deflate::new()) } else { request() };
            let mut socket = proxy.connect(tls, &request).await.unwrap();
            for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 20 << 20] {
                echo(&mut socket, Message::binary(noise(len))).await;
            }
            echo(&mut socket, Message::text("the same again, ".repeat(1 << 20))).await;
            socket.close(CloseCode::NORMAL, "").await.unwrap();
        }
    }
}

/// nginx ends both connections without a Close: both ends learn so, by an error that says what it is.
#[tokio::test]
#[ignore = "live: tests/behind_proxies/run"]
async fn a_silent_connection_is_closed_by_nginx() {
    for tls in [false, true] {
        let (upstream, mut notes) = server(TrustedProxies::x_forwarded_for(localhost())).await;
        let location = upgrading(upstream) + "proxy_read_timeout 1s;";
        let proxy = Proxy::nginx(&format!("silent-{tls}"), tls, &location).await;
        let mut socket = proxy.connect(tls, &request()).await.unwrap();
        let Note::Client(_) = noted(&mut notes).await else { panic!("no client") };
        echo(&mut socket, Message::text("hello")).await;
        let error = timeout(PATIENCE, socket.recv()).await.expect("nginx ends it").unwrap_err();
        assert!(matches!(error, Error::Lost), "{error:?}");
        assert!(error.is_retryable());
        let Note::Ended(Err(error)) = noted(&mut notes).await else { panic!("no error") };
        assert!(matches!(error, Error::Lost), "{error:?}");
    }
}

/// Without settings for WebSocket it asks by HTTP/1.0 and without Upgrade: the client gets an answer that tells.
#[tokio::test]
#[ignore = "live: tests/behind_proxies/run"]
async fn an_nginx_that_does_not_upgrade() {
    let (upstream, mut notes) = server(TrustedProxies::x_forwarded_for(localhost())).await;
    let proxy = Proxy::nginx("plain", false, &format!("proxy_pass http://{upstream};")).await;
    let error = proxy.connect(false, &request()).await.err().unwrap();
    let Error::Refused(answer) = &error else { panic!("{error:?}") };
    assert!((400..600).contains(&answer.status()) && answer.status() != 502, "{error}");
    let Note::Ended(Err(error)) = noted(&mut notes).await else { panic!("no error") };
    assert!(matches!(error, Error::Handshake(_)), "{error:?}");
}

#[tokio::test]
#[ignore = "live: tests/behind_proxies/run"]
async fn over_a_unix_socket() {
    let path = folder("unix-upstream").join("socket");
    let listener = bind_unix(&path, 0o600).await.unwrap();
    let (notes, mut noted_by) = unbounded_channel();
    tokio::spawn(async move {
        let proxies = TrustedProxies::x_forwarded_for(localhost());
        while let Ok((stream, _)) = listener.accept().await {
            // Whom the permissions of the socket let in is trusted.
            let ended = serve(stream, IpAddr::from([127, 0, 0, 1]), &proxies, &notes).await;
            let _ = notes.send(Note::Ended(ended));
        }
    });
    let proxy = Proxy::nginx("unix", false, &upgrading(format!("unix:{}:/", path.display()))).await;
    let mut socket = proxy.connect(false, &request()).await.unwrap();
    let Note::Client(client) = noted(&mut noted_by).await else { panic!("no client") };
    assert_eq!(client, IpAddr::from(CLIENT));
    echo(&mut socket, Message::text("hello")).await;
    socket.close(CloseCode::NORMAL, "").await.unwrap();
    let Note::Ended(ended) = noted(&mut noted_by).await else { panic!("no end") };
    ended.unwrap();
}

/// An echo server behind a proxy that sends a header of the PROXY protocol.
async fn server_of_streams() -> (SocketAddr, UnboundedReceiver<Note>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (notes, noted) = unbounded_channel();
    tokio::spawn(async move {
        let proxies = ProxyProtocol::new(localhost());
        let nobody = TrustedProxies::x_forwarded_for(Networks::default());
        while let Ok((stream, peer)) = listener.accept().await {
            let (notes, proxies, nobody) = (notes.clone(), proxies.clone(), nobody.clone());
            tokio::spawn(async move {
                let mut options = OPTIONS;
                let ended = async {
                    let (stream, client) = proxies.read(stream, peer, &mut options).await?;
                    serve(stream, client.ip(), &nobody, &notes).await
                };
                let ended = ended.await;
                let _ = notes.send(Note::Ended(ended));
            });
        }
    });
    (address, noted)
}

/// Connects through the proxy, and passes over what it does on its own behalf.
async fn client_is_seen(proxy: &Proxy, notes: &mut UnboundedReceiver<Note>) {
    let mut socket = proxy.connect(false, &request()).await.unwrap();
    let client = loop {
        match noted(notes).await {
            Note::Client(client) => break client,
            // A health check, or the test that looks whether the proxy listens.
            Note::Ended(Err(error)) => assert!(matches!(error, taut::Error::NoRequest), "{error:?}"),
            Note::Ended(Ok(())) => panic!("it is open"),
        }
    };
    assert_eq!(client, IpAddr::from(CLIENT));
    echo(&mut socket, Message::binary(vec![7; 1 << 20])).await;
    socket.close(CloseCode::NORMAL, "").await.unwrap();
}

#[tokio::test]
#[ignore = "live: tests/behind_proxies/run"]
async fn the_proxy_protocol_of_nginx() {
    let (upstream, mut notes) = server_of_streams().await;
    let proxy = Proxy::nginx_stream("stream", upstream).await;
    client_is_seen(&proxy, &mut notes).await;
}

#[tokio::test]
#[ignore = "live: tests/behind_proxies/run"]
async fn the_proxy_protocol_of_haproxy() {
    for (name, send) in [
        ("v1", "send-proxy"),
        ("v2", "send-proxy-v2"),
        ("v2-more", "send-proxy-v2 proxy-v2-options unique-id,crc32c"),
        ("check", "send-proxy-v2 check inter 20ms"),
        ("check-bare", "send-proxy check inter 20ms check-send-proxy"),
    ] {
        let (upstream, mut notes) = server_of_streams().await;
        let proxy = Proxy::haproxy(&format!("haproxy-{name}"), upstream, send).await;
        client_is_seen(&proxy, &mut notes).await;
    }
}
