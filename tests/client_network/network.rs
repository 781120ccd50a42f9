//! A network in memory: names, addresses, and what becomes of those who dial them.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taut::proto::handshake::accept_key;
use taut::tokio::{Client, Dialing, Network, NetworkStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};

use super::futures::ends;

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Answers(Duration),
    Refuses(Duration),
    Silent,
}

pub(crate) const AT_ONCE: Fate = Fate::Answers(Duration::ZERO);

/// The names that are known; every address that has no fate answers at once.
#[derive(Clone)]
pub(crate) struct World {
    names: HashMap<String, Vec<SocketAddr>>,
    resolving: Duration,
    fates: HashMap<SocketAddr, Fate>,
    seen: Arc<Mutex<Seen>>,
    arrivals: UnboundedSender<(SocketAddr, DuplexStream)>,
}

#[derive(Default)]
struct Seen {
    start: Option<Instant>,
    /// Which addresses were dialled, and when.
    dialled: Vec<(Duration, SocketAddr)>,
    resolved: Vec<String>,
    dropped: Vec<SocketAddr>,
}

/// The other ends of the connections, as they come.
pub(crate) struct Arrivals(UnboundedReceiver<(SocketAddr, DuplexStream)>);

impl Arrivals {
    pub(crate) async fn next(&mut self) -> (SocketAddr, DuplexStream) {
        self.0.recv().await.expect("the world is gone")
    }
}

impl World {
    /// With names and their addresses.
    pub(crate) fn new(names: &[(&str, &[&str])]) -> (Self, Arrivals) {
        let (arrivals, receiver) = unbounded_channel();
        let addresses = |list: &[&str]| list.iter().map(|text| address(text)).collect();
        let world = Self {
            names: names.iter().map(|(name, list)| ((*name).into(), addresses(list))).collect(),
            resolving: Duration::ZERO,
            fates: HashMap::new(),
            seen: Arc::new(Mutex::new(Seen { start: Some(Instant::now()), ..Seen::default() })),
            arrivals,
        };
        (world, Arrivals(receiver))
    }

    pub(crate) fn fate(mut self, of: &str, fate: Fate) -> Self {
        self.fates.insert(address(of), fate);
        self
    }

    pub(crate) fn resolving(mut self, time: Duration) -> Self {
        self.resolving = time;
        self
    }

    pub(crate) fn client(&self) -> Client {
        Client::new().network(self.clone())
    }

    /// Which addresses were dialled, and after how many milliseconds.
    pub(crate) fn dialled(&self) -> Vec<(u128, String)> {
        let seen = self.seen.lock().unwrap();
        seen.dialled.iter().map(|(when, address)| (when.as_millis(), address.ip().to_string())).collect()
    }

    /// The attempts that were given up.
    pub(crate) fn dropped(&self) -> Vec<String> {
        self.seen.lock().unwrap().dropped.iter().map(|address| address.ip().to_string()).collect()
    }

    pub(crate) fn resolved(&self) -> Vec<String> {
        self.seen.lock().unwrap().resolved.clone()
    }
}

impl Network for World {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a, Vec<SocketAddr>> {
        self.seen.lock().unwrap().resolved.push(host.into());
        Box::pin(async move {
            sleep(self.resolving).await;
            let found = self.names.get(host).ok_or(io::ErrorKind::NotFound)?;
            Ok(found.iter().map(|found| SocketAddr::new(found.ip(), port)).collect())
        })
    }

    fn dial(&self, address: SocketAddr) -> Dialing<'_, NetworkStream> {
        let mut seen = self.seen.lock().unwrap();
        let when = seen.start.unwrap().elapsed();
        seen.dialled.push((when, address));
        drop(seen);
        Box::pin(async move {
            let guard = Guard { address, seen: Some(self.seen.clone()) };
            let fate = self.fates.iter().find(|(known, _)| known.ip() == address.ip());
            match fate.map_or(AT_ONCE, |(_, fate)| *fate) {
                Fate::Answers(time) => sleep(time).await,
                Fate::Refuses(time) => {
                    sleep(time).await;
                    guard.done();
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Fate::Silent => pending().await,
            }
            guard.done();
            let (ours, theirs) = duplex(1 << 16);
            self.arrivals.send((address, theirs)).map_err(|_| io::ErrorKind::NetworkDown)?;
            Ok(NetworkStream::new(ours))
        })
    }
}

struct Guard {
    address: SocketAddr,
    seen: Option<Arc<Mutex<Seen>>>,
}

impl Guard {
    fn done(mut self) {
        self.seen = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(seen) = &self.seen {
            seen.lock().unwrap().dropped.push(self.address);
        }
    }
}

fn address(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().expect("an address"), 0)
}

/// Reads up to the empty line that ends a head.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(head).unwrap()
}

/// The value of a field in a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("{name}: ");
    head.lines().find_map(|line| line.strip_prefix(&*start))
}

/// Agrees to a request, with more fields.
pub(crate) async fn agree(stream: &mut (impl AsyncWrite + Unpin), head: &str, fields: &str) {
    let key: &[u8; 24] = field(head, "Sec-WebSocket-Key").unwrap().as_bytes().try_into().unwrap();
    let accept = accept_key(key);
    let accept = std::str::from_utf8(&accept).unwrap();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Whether the other end has closed.
pub(crate) async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    ends(stream.read_to_end(&mut Vec::new())).await.is_ok()
}
