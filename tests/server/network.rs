//! Who is behind a proxy, health checks, and listeners that are not TCP's.

use std::net::SocketAddr;

use taut::proto::handshake::ClientRequest;
use taut::server::{Config, ForwardedBy, Server};
use taut::tokio::{Options, connect_over};
use taut::{AdmissionLimits, Error, Networks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

fn networks(text: &str) -> Networks {
    text.parse().unwrap()
}

/// Notes who opens a connection, and what goes wrong.
fn telling(config: Config, notes: &Notes) -> taut::server::Builder {
    let [told, faults] = [(); 2].map(|()| notes.clone());
    server(config)
        .on_connect(move |handle| {
            told.push(handle.address().to_string());
            async {}
        })
        .on_error(move |fault| faults.push(fault.to_string()))
}

#[tokio::test(start_paused = true)]
async fn clients_behind_an_http_proxy_count_one_by_one() {
    let limits = AdmissionLimits::new().max_connections_from_one(1);
    for (field, by, before) in [
        ("X-Forwarded-For", ForwardedBy::XForwardedFor, "1.1.1.1, 198.51.100."),
        ("Forwarded", ForwardedBy::Forwarded, "for=198.51.100."),
    ] {
        let value = |number: u8| format!("{before}{number}");
        let notes = Notes::default();
        // All of these come from 192.0.2.1.
        let config = quiet().trusted_proxies(networks("192.0.2.0/24")).forwarded_by(by).admission(limits);
        let server = telling(config, &notes).detached();
        let ask = async |number: u8| {
            try_connect(&server, |request| request.field(field, &value(number)).unwrap()).await
        };
        let first = ask(1).await.unwrap();
        let second = ask(2).await.unwrap();
        settle().await;
        assert_eq!(notes.take(), ["198.51.100.1:0", "198.51.100.2:0"]);
        match ask(1).await {
            Err(Error::Refused(response)) => assert_eq!(response.status(), 503),
            other => panic!("{other:?}"),
        }
        settle().await;
        assert_eq!(
            notes.take(),
            ["198.51.100.1:0 was not let in: the address has as many connections as it may"]
        );
        drop(first);
        settle().await;
        ask(1).await.unwrap();
        drop(second);
        is_empty(&server).await;
        // Who does not come by the proxy says what it likes.
        let config = quiet().trusted_proxies(networks("10.0.0.0/8")).forwarded_by(by);
        let server = telling(config, &notes).detached();
        notes.take();
        let _client = try_connect(&server, |request| request.field(field, &value(1)).unwrap()).await.unwrap();
        settle().await;
        assert_eq!(notes.take(), [address(1).to_string()]);
    }
}

#[tokio::test]
async fn clients_behind_a_tcp_proxy_count_one_by_one() {
    let notes = Notes::default();
    let config = quiet()
        .address("127.0.0.1:0")
        .proxy_protocol(networks("127.0.0.1"))
        .admission(AdmissionLimits::new().max_connections_from_one(1));
    let server = telling(config, &notes).bind().await.unwrap();
    let address = server.address().unwrap();
    let one = by_proxy(address, "PROXY TCP4 198.51.100.1 192.0.2.1 4711 443\r\n").await.unwrap();
    let two = by_proxy(address, "PROXY TCP4 198.51.100.2 192.0.2.1 4712 443\r\n").await.unwrap();
    assert!(by_proxy(address, "PROXY TCP4 198.51.100.1 192.0.2.1 4713 443\r\n").await.is_err());
    assert!(by_proxy(address, "").await.is_err(), "a proxy without its header");
    // One that goes away without a word is no fault.
    drop(TcpStream::connect(address).await.unwrap());
    drop((one, two));
    while server.tasks() > 1 {
        tokio::task::yield_now().await;
    }
    let notes = notes.take();
    assert_eq!(notes[..2], ["198.51.100.1:4711", "198.51.100.2:4712"]);
    assert_eq!(notes[2], "198.51.100.1:4713 was not let in: the address has as many connections as it may");
    assert!(notes[3].contains("a trusted proxy sent no header of the PROXY protocol"), "{notes:?}");
    assert_eq!((notes.len(), server.admission().connections()), (4, 0));
}

async fn by_proxy(address: SocketAddr, header: &str) -> Result<taut::tokio::WebSocket<TcpStream>, Error> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(header.as_bytes()).await.unwrap();
    connect_over(stream, &ClientRequest::new("a", "/").unwrap(), Options::new()).await
}

#[tokio::test(start_paused = true)]
async fn a_health_check_is_answered_and_no_fault() {
    let notes = Notes::default();
    let server = telling(quiet().health_path("/health").path("/chat"), &notes).detached();
    for (request, status) in [
        ("GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
        ("HEAD /health?deep HTTP/1.0\r\n\r\n", "200"),
        ("GET /healthy HTTP/1.1\r\nHost: a\r\n\r\n", "426"),
    ] {
        let mut stream = stream(&server, 1000);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        ends(stream.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{request} {answer}");
        drop(stream);
        settle().await;
        assert_eq!(notes.take().len(), usize::from(status != "200"));
    }
    // Without the setting it is a request like others.
    let server = telling(quiet(), &notes).detached();
    let mut stream = stream(&server, 1000);
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    ends(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_socket_of_the_file_system_is_served() {
    use tokio::net::UnixStream;

    let path = std::env::temp_dir().join(format!("taut-server-{}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    let socket = path.join("socket");
    let notes = Notes::default();
    let config = quiet()
        .trusted_proxies(Networks::loopback())
        .admission(AdmissionLimits::new().max_connections_from_one(1));
    let server = telling(config, &notes).bind_unix(&socket, 0o600).await.unwrap();
    let ask = async |from: &str| {
        let stream = UnixStream::connect(&socket).await.unwrap();
        let request = ClientRequest::new("a", "/").unwrap().field("X-Forwarded-For", from).unwrap();
        connect_over(stream, &request, Options::new()).await
    };
    let clients = [ask("198.51.100.1").await.unwrap(), ask("198.51.100.2").await.unwrap()];
    assert!(ask("198.51.100.2").await.is_err());
    while server.registry().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(notes.take()[..2], ["198.51.100.1:0", "198.51.100.2:0"]);
    let again = Server::builder(Config::new()).bind_unix(&socket, 0o600).await.unwrap_err();
    assert!(again.to_string().contains("a server listens there already"), "{again}");
    drop(clients);
    std::fs::remove_dir_all(&path).unwrap();
}

#[cfg(all(unix, feature = "listenfd"))]
#[tokio::test]
async fn the_sockets_of_the_program_are_served() {
    use taut::tokio::Activated;
    use tokio::net::TcpListener;

    let none = Server::builder(Config::new()).listen_activated(Activated::default()).unwrap_err();
    assert!(none.to_string().contains("started without sockets"), "{none}");
    let mut sockets = Activated::default();
    for _ in 0..2 {
        sockets.tcp.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let addresses: Vec<_> = sockets.tcp.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let server = Server::builder(quiet()).listen_activated(sockets).unwrap();
    assert_eq!(server.address(), Some(addresses[0]));
    for address in addresses {
        taut::tokio::connect(&format!("ws://{address}/")).await.unwrap();
    }
}
