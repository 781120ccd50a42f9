//! TLS by the settings: certificates that are read again, and what is said where they are wrong.

use std::fs;
use std::path::{Path, PathBuf};

use taut::TlsProblem;
use taut::proto::Message;
use taut::server::{BoxError, Config, Fault, Server, Shutdown};
use taut::tokio::rustls::pki_types::CertificateDer;
use taut::tokio::{Client, ServerTls, Tls};

use crate::support::*;

/// A folder with a certificate and its key.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("taut-{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes both anew.
    fn sign(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).unwrap();
        fs::write(self.path("chain.pem"), made.cert.pem()).unwrap();
        fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    fn config(&self) -> Config {
        quiet().address("127.0.0.1:0").tls(self.path("chain.pem"), self.path("key.pem"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Says hello, trusting this certificate and no other.
async fn greet(server: &Server, certificate: &CertificateDer<'static>) -> Result<(), taut::Error> {
    let tls = Tls::new().roots([certificate.clone()]);
    let url = format!("wss://{}/", server.address().unwrap());
    let mut client = Client::new().tls(tls)?.connect(&url).await?;
    client.send("hello").await?;
    assert_eq!(client.recv().await?, Some(Message::text("hello")));
    Ok(())
}

fn echoing(config: Config, notes: &Notes) -> taut::server::Builder {
    let told = notes.clone();
    server(config)
        .handler(|mut connection| async move {
            while let Some(message) = connection.recv().await? {
                connection.send(message).await?;
            }
            Ok::<_, BoxError>(())
        })
        .on_error(move |fault| {
            told.push(match fault {
                Fault::Handshake(_, error) => format!("handshake: {error}"),
                Fault::Reload(error) => format!("reload: {error}"),
                other => other.to_string(),
            });
        })
}

#[tokio::test]
async fn certificates_are_read_again_and_stay_if_they_are_wrong() {
    let files = Files::new("reload");
    let first = files.sign();
    let notes = Notes::default();
    let server = echoing(files.config().nodelay(false), &notes).bind().await.unwrap();
    greet(&server, &first).await.unwrap();
    let second = files.sign();
    greet(&server, &first).await.unwrap();
    server.reload_tls().unwrap();
    greet(&server, &second).await.unwrap();
    assert!(greet(&server, &first).await.is_err());
    fs::write(files.path("key.pem"), "no key").unwrap();
    match server.reload_tls() {
        Err(taut::Error::Tls(error)) => assert_eq!(error.problem(), TlsProblem::Configuration),
        other => panic!("{other:?}"),
    }
    greet(&server, &second).await.unwrap();
    // Who does not speak TLS is told of; who says nothing is not.
    let url = format!("ws://{}/", server.address().unwrap());
    assert!(taut::tokio::connect(&url).await.is_err());
    drop(tokio::net::TcpStream::connect(server.address().unwrap()).await.unwrap());
    greet(&server, &second).await.unwrap();
    let _ = server.shutdown(Shutdown::new().window(seconds(0))).await;
    let notes = notes.take();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes.iter().all(|note| note.starts_with("handshake: the client")), "{notes:?}");
    // Without TLS there is nothing to read.
    Server::builder(quiet()).detached().reload_tls().unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_hangup_reloads_and_a_signal_ends() {
    let files = Files::new("hangup");
    files.sign();
    let notes = Notes::default();
    let server = echoing(files.config(), &notes).bind().await.unwrap();
    let running = tokio::spawn({
        let server = server.clone();
        async move { server.run_until_signal(Shutdown::new().window(seconds(0))).await }
    });
    // Before anything waits for it, the signal would end this program.
    tokio::task::yield_now().await;
    let second = files.sign();
    signal("HUP");
    ends(async { while greet(&server, &second).await.is_err() {} }).await;
    notes.take();
    fs::write(files.path("chain.pem"), "nothing").unwrap();
    signal("HUP");
    ends(async {
        while !notes.take().iter().any(|note| note.starts_with("reload: ")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    greet(&server, &second).await.unwrap();
    signal("TERM");
    ends(running).await.unwrap().unwrap();
}

#[cfg(unix)]
fn signal(name: &str) {
    let id = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
}

#[tokio::test]
async fn settings_that_are_wrong_are_told() {
    let files = Files::new("wrong");
    let certificate = files.sign();
    let bind = async |config: Config| Server::builder(config).bind().await.unwrap_err();
    let mut lacks = Config::new().address("127.0.0.1:0");
    lacks.set("tls_certificate", files.path("chain.pem").to_str().unwrap()).unwrap();
    let error = bind(lacks).await.to_string();
    assert_eq!(error, "tls_key is \"none\", and has to be a file, as \"tls_certificate\" is");
    let error = bind(files.config().tls(Path::new("/nowhere"), files.path("key.pem"))).await;
    let inside = error.get_ref().and_then(|error| error.downcast_ref::<taut::Error>());
    assert!(matches!(inside, Some(taut::Error::Tls(_))), "{error}");
    // What the builder is given counts for more.
    let notes = Notes::default();
    let tls = ServerTls::from_pem_files(files.path("chain.pem"), files.path("key.pem"));
    let server = echoing(quiet().address("127.0.0.1:0").tls("/nowhere", "/nowhere"), &notes);
    greet(&server.tls(tls).bind().await.unwrap(), &certificate).await.unwrap();
}
