//! SIGHUP, for certificates and keys together: what is new is taken, what is bad is not, and connections live through both.

#![cfg(unix)]

mod support;

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use support::authority::Authority;
use support::program::Program;
use support::{Peer, SECRET, Scratch, claims};
use taut::Error;
use taut::tokio::rustls::pki_types::CertificateDer;
use taut::tokio::rustls::pki_types::pem::PemObject;
use taut::tokio::{Client, Tls};
use tokio::time::sleep;

const ANOTHER: &str = "another secret of thirty-two bytes, at least";

/// A hub with TLS and tokens, and the files that both are from.
struct Server {
    program: Program,
    roots: CertificateDer<'static>,
    certificate: Scratch,
    certificate_key: Scratch,
    token_key: Scratch,
    log: Scratch,
}

impl Server {
    async fn start(authority: &Authority, (certificate, key): &(String, String)) -> Self {
        let files = [certificate.as_bytes(), key.as_bytes(), SECRET.as_bytes(), b""];
        let [certificate, certificate_key, token_key, log] = files.map(Scratch::new);
        let named = [
            format!("server.tls_certificate={}", certificate.path()),
            format!("server.tls_key={}", certificate_key.path()),
            format!("auth.key_file={}", token_key.path()),
        ];
        let settings: Vec<&str> = named.iter().map(|setting| &**setting).collect();
        let settings = [&settings[..], &["auth.algorithms=HS256", "auth.key_refresh=24h"]].concat();
        let program = Program::start_logging(&log, &settings).await;
        let roots = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
        Self { program, roots, certificate, certificate_key, token_key, log }
    }

    /// A connection by a token of this secret; `None` if the token is refused.
    async fn connect(&self, secret: &str) -> Option<Peer> {
        let key = EncodingKey::from_secret(secret.as_bytes());
        let token = encode(&Header::default(), &claims("ana"), &key).unwrap();
        let client = Client::new().tls(Tls::new().roots([self.roots.clone()])).unwrap();
        match client.connect(&format!("wss://{}/ws?token={token}", self.program.address)).await {
            Ok(connected) => {
                let mut peer = Peer(connected);
                peer.next("system_message").await;
                Some(peer)
            }
            Err(Error::Refused(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The certificate that whoever comes is shown.
    async fn shown(&self, secret: &str) -> Option<Vec<u8>> {
        Some(certificate(&self.connect(secret).await?))
    }

    /// SIGHUP, after which the log says this once more.
    async fn reload(&self, said: &str) {
        let count = || std::fs::read_to_string(self.log.path()).unwrap().matches(said).count();
        let before = count();
        self.program.signal("HUP");
        self.until(async || count() > before).await;
    }

    /// Waits until this is so.
    async fn until(&self, mut is_so: impl AsyncFnMut() -> bool) {
        for _ in 0..400 {
            if is_so().await {
                return;
            }
            sleep(Duration::from_millis(25)).await;
        }
        panic!("never: {}", std::fs::read_to_string(self.log.path()).unwrap());
    }
}

/// The one that the server has shown.
fn certificate(peer: &Peer) -> Vec<u8> {
    peer.0.with_stream(|stream| stream.tls().expect("TLS").peer_certificates().expect("one")[0].to_vec())
}

#[tokio::test]
async fn certificates_and_keys_are_read_again_at_sighup_and_bad_ones_are_not_taken() {
    let authority = Authority::new();
    let [before, after] = [authority.issue("127.0.0.1"), authority.issue("127.0.0.1")];
    let [old, new] =
        [&before, &after].map(|(pem, _)| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec());
    let server = Server::start(&authority, &before).await;
    let mut ana = server.connect(SECRET).await.expect("let in");
    assert_eq!(server.shown(SECRET).await, Some(old.clone()));

    // What is no certificate, one whose key is not there yet, and one that is gone.
    for bad in [Some("nothing"), Some(&*after.0), None] {
        match bad {
            Some(bad) => server.certificate.write(bad.as_bytes()),
            None => std::fs::remove_file(server.certificate.path()).unwrap(),
        }
        server.reload("ERROR taut_hub::serve: the certificates of before stay").await;
        assert_eq!(server.shown(SECRET).await, Some(old.clone()), "{bad:?}");
    }
    // Keys that are none; the certificates, which are read with them, are new.
    server.token_key.write(b"short");
    server.certificate.write(after.0.as_bytes());
    server.certificate_key.write(after.1.as_bytes());
    server.reload("ERROR taut_hub::serve: the keys of before stay").await;
    server.until(async || server.shown(SECRET).await.expect("let in") == new).await;

    server.token_key.write(ANOTHER.as_bytes());
    server.program.signal("HUP");
    server.until(async || server.connect(ANOTHER).await.is_some()).await;
    assert!(server.connect(SECRET).await.is_none());
    assert_eq!(server.shown(ANOTHER).await, Some(new));
    // Who came by the old ones is still there.
    assert_eq!(certificate(&ana), old);
    assert_eq!(ana.ask(json!({ "id": "p", "message_type": "ping" })).await["message_type"], "pong");
    let log = std::fs::read_to_string(server.log.path()).unwrap();
    assert!(!log.contains("short") && !log.contains("PRIVATE KEY"), "{log}");
}
