//! Chromium and curl on an axum server: WebSockets over HTTP/2, for which browsers want TLS, and over HTTP/1.1.

use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::http::Version;
use axum::response::{Html, Response};
use axum::routing::{any, get};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use taut::Options;
use taut::axum::{WebSocket, WebSocketUpgrade};
use taut::proto::Deflate;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::chromium::{Chromium, Tools};
use super::exchange::in_time;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: tests/interop/run"]
async fn chromium_over_http2() {
    let (url, seen) = serve(Some(tls())).await;
    converse(&url, seen, Version::HTTP_2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: tests/interop/run"]
async fn chromium_over_http1() {
    let (url, seen) = serve(None).await;
    converse(&url, seen, Version::HTTP_11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs curl: tests/interop/run"]
async fn curl_over_http2() {
    let (url, _seen) = serve(Some(tls())).await;
    let (plain, _seen) = serve(None).await;
    for (version, url, expected) in [
        ("--http2", format!("{url}/"), "2 200"),
        // What is no CONNECT is told so.
        ("--http2", format!("{url}/echo"), "2 405"),
        ("--http1.1", format!("{url}/echo"), "1.1 426"),
        ("--http2-prior-knowledge", format!("{plain}/echo"), "2 405"),
    ] {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--insecure", "--max-time", "60", "--output", "/dev/null"]);
        curl.args([version, "--write-out", "%{http_version} %{http_code}", &url]).stderr(Stdio::inherit());
        let output = curl.output().await.expect("curl is installed");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{version} {url}");
    }
}

/// Has Chromium open the page, and looks at what the page and the server saw.
async fn converse(url: &str, mut seen: UnboundedReceiver<Seen>, version: Version) {
    let name = if version == Version::HTTP_2 { "http2" } else { "http1" };
    let (chromium, uri) = Chromium::start(name).await;
    let mut tools = Tools::connect(&uri).await;
    tools.open(url).await;
    let verdict = in_time("the page", tools.evaluate("finished")).await.unwrap();
    assert!(verdict.contains(r#""value":"all is well""#), "{verdict}");
    for _ in 0..SOCKETS {
        let opened = in_time("an opening", seen.recv()).await.unwrap().expect("the server runs");
        assert_eq!(opened, Seen::Opened { version, origin: url.to_string(), deflate: true });
    }
    for _ in 0..SOCKETS {
        let closed = in_time("an end", seen.recv()).await.unwrap().expect("the server runs");
        assert_eq!(closed, Seen::Closed(Some(4000)));
    }
    chromium.end().await;
}

/// What a server has seen of a WebSocket.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Opened { version: Version, origin: String, deflate: bool },
    Closed(Option<u16>),
}

/// How many WebSockets the page opens.
const SOCKETS: usize = 5;

/// All are open before the first is closed.
const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>taut</title><script>
const open = (number) => new Promise((resolve, reject) => {
  const socket = new WebSocket(location.origin.replace('http', 'ws') + '/echo', ['other', 'chat']);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => resolve(socket);
  socket.onclose = (event) => reject(`socket ${number} closed with ${event.code}`);
});
const echo = (socket, message) => new Promise((resolve, reject) => {
  socket.onmessage = (event) => resolve(event.data);
  socket.onclose = (event) => reject(`closed with ${event.code}`);
  socket.send(message);
});
const close = (socket) => new Promise((resolve) => {
  socket.onclose = resolve;
  socket.close(4000, 'done');
});
const finished = run().catch(String);
async function run() {
  const sockets = await Promise.all([0, 1, 2, 3, 4].map(open));
  await Promise.all(sockets.map(async (socket) => {
    if (socket.protocol !== 'chat') throw 'no subprotocol';
    if (!socket.extensions.includes('permessage-deflate')) throw 'no compression';
    for (const text of ['', 'Hello', '窓😀'.repeat(100_000)]) {
      if (await echo(socket, text) !== text) throw `${text.length} characters came back otherwise`;
    }
    const bytes = crypto.getRandomValues(new Uint8Array(65536));
    const echoed = new Uint8Array(await echo(socket, bytes));
    if (echoed.length !== bytes.length || echoed.some((byte, at) => byte !== bytes[at])) throw 'other bytes';
  }));
  for (const end of await Promise.all(sockets.map(close))) {
    if (!end.wasClean || end.code !== 4000) throw `an end with ${end.code}`;
  }
  return 'all is well';
}
</script>"#;

/// Serves the page, and echoes; gives the origin.
async fn serve(tls: Option<TlsAcceptor>) -> (String, UnboundedReceiver<Seen>) {
    let (sender, seen) = unbounded_channel();
    let handler = async move |version: Version, upgrade: WebSocketUpgrade| -> Response {
        let origin = upgrade.request().origin().unwrap_or_default().to_string();
        let upgrade = upgrade.protocols(["chat"]).options(Options::new().deflate(Deflate::new()));
        upgrade.on_upgrade(async move |socket| {
            let deflate = socket.with_connection(|connection| connection.agreement().deflate().is_some());
            sender.send(Seen::Opened { version, origin, deflate }).expect("the test waits");
            let code = echo(socket).await;
            // The test may have ended.
            let _ = sender.send(Seen::Closed(code));
        })
    };
    let router = Router::new().route("/", get(async || Html(PAGE))).route("/echo", any(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let port = listener.local_addr().expect("a listener has an address").port();
    let scheme = if tls.is_some() { "https" } else { "http" };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, router) = (tls.clone(), router.clone());
            tokio::spawn(async move {
                match tls {
                    Some(tls) => {
                        // Chromium gives up connections that it does not need.
                        if let Ok(stream) = tls.accept(stream).await {
                            serve_connection(stream, router).await;
                        }
                    }
                    None => serve_connection(stream, router).await,
                }
            });
        }
    });
    (format!("{scheme}://127.0.0.1:{port}"), seen)
}

async fn serve_connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, router: Router) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().enable_connect_protocol();
    let service = TowerToHyperService::new(router);
    // How a connection ends is not asked, but how its WebSockets do.
    drop(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await);
}

/// Echoes to the end; gives the code of the client's Close.
async fn echo(mut socket: WebSocket) -> Option<u16> {
    while let Ok(Some(message)) = socket.recv().await {
        if message.is_data() {
            socket.send(message).await.ok()?;
        }
    }
    let status = socket.close_status().filter(|status| status.clean)?;
    Some(status.code)
}

/// With a certificate made for this.
fn tls() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).expect("a name is given");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key in PKCS 8");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they belong together");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
