//! The network in memory, with the real clients and servers on it.

use std::time::Duration;

use taut::testing::{Cut, Direction, Link, MemoryNetwork, Reach};
use taut::tokio::{Options, WebSocket, accept};
use taut::{Deadline, Error, ErrorKind};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep};

use super::futures::{ends, once, polled};

const URI: &str = "ws://server.test/";

/// Echoes on every connection that comes, for ever.
fn echo(network: &MemoryNetwork) {
    let listener = network.listen("server.test", 80);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await;
            tokio::spawn(async move {
                let mut socket = accept(stream).await?;
                while let Some(message) = socket.recv().await? {
                    socket.send(message).await?;
                }
                Ok::<_, Error>(())
            });
        }
    });
}

async fn says<S>(socket: &mut WebSocket<S>, text: &str) -> Result<(), Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    socket.send(text).await?;
    let message = socket.recv().await?.ok_or(Error::Lost)?;
    assert_eq!(message.as_text(), Some(text));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn clients_reach_who_listens() {
    let network = MemoryNetwork::default();
    let client = network.client();
    let refused = ends(client.connect(URI)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unreachable, "{refused}");
    let listener = network.listen("server.test", 80);
    for (uri, reached) in [("ws://server.test:81/", false), ("ws://other.test/", false), (URI, true)] {
        let connecting = tokio::spawn({
            let client = client.clone();
            async move { client.connect(uri).await.is_ok() }
        });
        if reached {
            accept(ends(listener.accept()).await.0).await.unwrap();
        }
        assert_eq!(ends(connecting).await.unwrap(), reached, "{uri}");
    }
    // A server that is gone, and one that comes back.
    drop(listener);
    assert!(ends(client.connect(URI)).await.is_err());
    echo(&network);
    ends(client.connect(URI)).await.unwrap();
    let hosts: Vec<_> = network.attempts().into_iter().map(|attempt| attempt.host).collect();
    assert_eq!(
        hosts,
        ["server.test", "server.test", "other.test", "server.test", "server.test", "server.test"]
    );
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "somebody listens on a:80 already")]
async fn a_place_is_taken_once() {
    let network = MemoryNetwork::default();
    let _first = network.listen("a", 80);
    let _second = network.listen("a", 80);
}

#[tokio::test(start_paused = true)]
async fn hosts_refuse_or_keep_silent_as_told() {
    let network = MemoryNetwork::new(Link::new().latency(Duration::from_millis(50)));
    echo(&network);
    let client = network.client().options(Options::new().handshake_timeout(Duration::from_secs(7)));
    let start = Instant::now();
    network.set_reach("server.test", Reach::Refused);
    assert_eq!(ends(client.connect(URI)).await.unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(start.elapsed(), Duration::from_millis(100), "there and back");
    network.set_reach("server.test", Reach::Silent);
    let error = ends(client.connect(URI)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Deadline::Connect)), "{error:?}");
    network.set_reach("server.test", Reach::Open);
    let start = Instant::now();
    ends(client.connect(URI)).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(200), "two round trips");
}

#[tokio::test(start_paused = true)]
async fn connections_have_addresses_wires_and_links() {
    let network = MemoryNetwork::default();
    let listener = network.listen("server.test", 80);
    let clients = [network.client(), network.client(), network.client_from([192, 0, 2, 7].into())];
    let mut from = Vec::new();
    let mut sockets = Vec::new();
    for client in clients.iter().chain([&clients[0]]) {
        let connecting = tokio::spawn({
            let client = client.clone();
            async move { client.connect(URI).await.unwrap() }
        });
        let (stream, address) = ends(listener.accept()).await;
        from.push(address.to_string());
        sockets.push((accept(stream).await.unwrap(), ends(connecting).await.unwrap()));
    }
    assert_eq!(from, ["10.0.0.1:49152", "10.0.0.2:49153", "192.0.2.7:49154", "10.0.0.1:49155"]);
    assert_eq!(network.wires().len(), 4);
    network.wires()[1].cut(Cut::Reset);
    let lost = ends(sockets[1].0.recv()).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Lost, "{lost:?}");
    assert_eq!(network.wires().len(), 3);
    drop(sockets.remove(0));
    assert_eq!(network.wires().len(), 2);
    network.cut(Cut::End);
    assert!(network.wires().is_empty());
    network.set_link(Link::new().cut_at(Direction::ToServer, 5, Cut::Reset));
    let connecting = tokio::spawn({
        let client = clients[0].clone();
        async move { client.connect(URI).await.is_ok() }
    });
    let mut stream = ends(listener.accept()).await.0;
    let mut all = Vec::new();
    ends(stream.read_to_end(&mut all)).await.unwrap_err();
    assert_eq!(all, b"GET /");
    assert!(!ends(connecting).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn each_connection_has_chances_of_its_own_which_the_seed_repeats() {
    async fn sizes(seed: u64) -> Vec<Vec<usize>> {
        let network = MemoryNetwork::new(Link::new().pieces(9).seed(seed));
        let listener = network.listen("server.test", 80);
        let mut all = Vec::new();
        for _ in 0..3 {
            let client = network.client();
            let connecting = tokio::spawn(async move { client.connect(URI).await.is_ok() });
            let mut stream = ends(listener.accept()).await.0;
            let mut sizes = Vec::new();
            for _ in 0..20 {
                sizes.push(ends(stream.read(&mut [0; 64])).await.unwrap());
            }
            all.push(sizes);
            drop(stream);
            ends(connecting).await.unwrap();
        }
        all
    }
    let first = sizes(5).await;
    assert_eq!(first, sizes(5).await);
    assert_ne!(first, sizes(6).await);
    assert!(first[0] != first[1] && first[1] != first[2], "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_accepts_nothing_has_a_bounded_queue() {
    let network = MemoryNetwork::default();
    let listener = network.listen("server.test", 80);
    let mut waiting = Vec::new();
    for _ in 0..1024 {
        let client = network.client();
        let mut connecting = Box::pin(async move { client.connect(URI).await.is_ok() });
        assert!(once(&mut connecting).await.is_none());
        waiting.push(connecting);
    }
    assert!(ends(network.client().connect(URI)).await.is_err(), "nobody takes so many");
    ends(listener.accept()).await;
    let client = network.client();
    assert!(once(client.connect(URI)).await.is_none(), "there is room for one");
}

#[tokio::test(start_paused = true)]
async fn accept_can_be_dropped_anywhere() {
    let network = MemoryNetwork::default();
    let listener = network.listen("server.test", 80);
    for _ in 0..3 {
        assert!(once(listener.accept()).await.is_none());
        let client = network.client();
        let connecting = tokio::spawn(async move { client.connect(URI).await.is_ok() });
        sleep(Duration::from_millis(1)).await;
        let (stream, _) = polled(1, listener.accept()).await.expect("nothing is lost");
        accept(stream).await.unwrap();
        assert!(ends(connecting).await.unwrap());
    }
}

/// Sockets live through a bad line, and every loss of it is an error and no silence.
#[tokio::test(start_paused = true)]
async fn sockets_do_their_work_on_bad_lines_of_any_seed() {
    for seed in 0..200 {
        let link = Link::new()
            .seed(seed)
            .latency(Duration::from_millis(30))
            .jitter(Duration::from_millis(200))
            .bandwidth(20_000)
            .room(300)
            .pieces(40)
            .stalls(500, Duration::from_secs(1));
        let network = MemoryNetwork::new(link);
        echo(&network);
        let mut socket = ends(network.client().connect(URI)).await.unwrap();
        for text in ["a", "", &"long ".repeat(200), "z"] {
            ends(says(&mut socket, text)).await.unwrap();
        }
        network.set_link(link.cut_at(Direction::ToClient, 150 + seed * 5, Cut::Reset));
        let mut lost = false;
        if let Ok(mut socket) = ends(network.client().connect(URI)).await {
            for _ in 0..2 {
                lost |= ends(says(&mut socket, &"long ".repeat(200))).await.is_err();
            }
        } else {
            lost = true;
        }
        assert!(lost, "seed {seed}");
    }
}

#[cfg(feature = "client")]
#[tokio::test(start_paused = true)]
async fn a_client_comes_back_wherever_it_was_cut() {
    use taut::client::{Builder, Sent};
    use taut::testing::Peer;
    use tokio::io::AsyncWriteExt;

    for cut in [Cut::Reset, Cut::End] {
        for bytes in (0..300).step_by(7) {
            for direction in [Direction::ToServer, Direction::ToClient] {
                let network = MemoryNetwork::new(Link::new().cut_at(direction, bytes, cut));
                let listener = network.listen("server.test", 80);
                let (client, _updates) = Builder::new(URI).network(network.client()).start();
                client.subscribe("feed", "subscribe").unwrap();
                let (mut first, _) = ends(listener.accept()).await;
                network.set_link(Link::new());
                // It says too little to be cut off in the other direction at each place: the rest is pushed.
                let serving = tokio::spawn(async move {
                    let mut request = [0; 512];
                    while !matches!(first.read(&mut request).await, Ok(0) | Err(_)) {
                        if first.write_all(&[b'x'; 512]).await.is_err() {
                            break;
                        }
                    }
                });
                let (stream, _) = ends(listener.accept()).await;
                let mut peer = ends(Peer::accept(stream)).await;
                ends(peer.expect("subscribe")).await;
                assert_eq!(client.send("hello").await.unwrap(), Sent::Queued);
                ends(peer.expect("hello")).await;
                serving.abort();
            }
        }
    }
}

#[cfg(feature = "server")]
#[tokio::test(start_paused = true)]
async fn a_server_listens_here_and_drains() {
    use taut::server::{Config, Server, Shutdown};

    let network = MemoryNetwork::default();
    let builder = Server::builder(Config::new().heartbeat_interval(None));
    let server = network.listen("server.test", 80).serve(builder).unwrap();
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(ends(network.client().connect(URI)).await.unwrap());
    }
    let handles = server.registry().list();
    assert_eq!(handles.len(), 20);
    assert_eq!(handles[0].address().ip(), std::net::IpAddr::from([10, 0, 0, 1]));
    drop(handles);
    // One of them is there no more, and nobody knows.
    network.wires()[0].cut(Cut::Silence);
    let start = Instant::now();
    let draining = tokio::spawn({
        let server = server.clone();
        let plan = Shutdown::new().window(Duration::from_secs(10)).deadline(Duration::from_secs(15));
        async move { server.shutdown(plan).await }
    });
    let mut closing = tokio::task::JoinSet::new();
    for mut socket in sockets.drain(1..) {
        closing.spawn(async move {
            while socket.recv().await.unwrap().is_some() {}
            socket.close_status().unwrap().code
        });
    }
    assert_eq!(ends(closing.join_all()).await, [1001; 19]);
    assert!(start.elapsed() <= Duration::from_secs(10));
    let drained = ends(draining).await.unwrap();
    assert_eq!(drained.open, 20);
    assert!(start.elapsed() <= Duration::from_secs(16), "{:?}", start.elapsed());
    assert_eq!(server.tasks(), 0);
    assert_eq!(ends(network.client().connect(URI)).await.unwrap_err().kind(), ErrorKind::Unreachable);
}
