//! The way to the server: proxies and cookies, which `taut connect` has by the same options.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::servers::{Fault, Server};
use crate::support::Scratch;
use crate::{Run, stress, stress_with};

const LITTLE: &str = "--messages 100 --connections 4 --warm-up 0ms";

#[tokio::test]
async fn every_connection_goes_through_the_proxy() {
    let server = Server::start(Fault::None).await;
    let proxy = Proxy::start(server.address, "200 OK").await;
    let option = format!("{LITTLE} --proxy http://ana:hunter2@{}", proxy.address);
    let run = stress("ws://nowhere.example/", &option).await;
    assert_eq!((run.status, run.number("/messages/received")), (0, 100.0), "{}", run.error);
    assert!(run.json["notes"].to_string().contains("through a proxy"), "{}", run.json["notes"]);
    assert_silent(&run);
    assert_eq!(proxy.heads().len(), 4);
    for head in proxy.heads() {
        assert!(head.starts_with("CONNECT nowhere.example:80 "), "{head}");
        assert!(head.contains("Proxy-Authorization: Basic YW5hOmh1bnRlcjI=\r\n"), "{head}");
    }
    assert_eq!(server.connections(), 4);
}

#[tokio::test]
async fn the_environment_names_a_proxy_and_who_goes_without() {
    let server = Server::start(Fault::None).await;
    let proxy = Proxy::start(server.address, "200 OK").await;
    let named = ("all_proxy", &*format!("http://{}", proxy.address));
    let run = stress_with("ws://nowhere.example/", LITTLE, &[named]).await;
    assert_eq!((run.status, proxy.heads().len()), (0, 4), "{}", run.error);
    let run = stress_with(&server.url(), LITTLE, &[named, ("no_proxy", "127.0.0.1")]).await;
    assert_eq!((run.status, proxy.heads().len(), server.connections()), (0, 4, 8), "{}", run.error);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_an_error_by_its_name() {
    let server = Server::start(Fault::None).await;
    let proxy = Proxy::start(server.address, "403 Forbidden").await;
    // From a file, since others see what is on a command line.
    let place = Scratch::new(format!("http://ana:hunter2@{}\n", proxy.address).as_bytes());
    let run = stress("ws://nowhere.example/", &format!("{LITTLE} --proxy @{}", place.path())).await;
    assert_eq!(server.connections(), 0);
    let told = format!("{}{}{}", run.out, run.error, run.json);
    assert!(told.contains("proxy or redirect"), "{told}");
    assert_silent(&run);
    let run = stress(&server.url(), "--proxy gopher://ana:hunter2@a").await;
    assert!(run.status == 2 && run.error.contains("--proxy"), "{}", run.error);
    assert_silent(&run);
}

#[tokio::test]
async fn cookies_go_with_every_request() {
    let server = Server::start(Fault::None).await;
    let secret = Scratch::new(b"b=hunter2\n");
    let run = stress(&server.url(), &format!("{LITTLE} --cookie a=1 --cookie @{}", secret.path())).await;
    assert_eq!((run.status, server.cookies()), (0, vec!["a=1; b=hunter2".to_owned(); 4]), "{}", run.error);
    assert_silent(&run);
}

/// Secrets are in no output.
fn assert_silent(run: &Run) {
    for shown in [&run.out, &run.error, &run.json.to_string(), &run.csv, &run.html] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

/// An HTTP proxy, whatever it is asked for, to one server; or one that refuses.
struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(server: SocketAddr, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), heads: Arc::default() };
        let heads = proxy.heads.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let heads = heads.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(client.read_u8().await.unwrap());
                    }
                    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
                    client.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await.unwrap();
                    if answer.starts_with("200") {
                        let mut server = TcpStream::connect(server).await.unwrap();
                        // How it ends is for the two to say.
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        proxy
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}
