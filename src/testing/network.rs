//! `MemoryNetwork`: hosts that clients reach by name, and what becomes of those who try.

#![forbid(unsafe_code)]

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::future::pending;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::tokio::sync::Mutex as AsyncMutex;
use ::tokio::sync::mpsc::{Receiver, Sender, channel};
use ::tokio::time::{Instant, sleep};

use super::link::{Cut, Link};
use super::stream::{MemoryStream, Shared, Wire};
use crate::tokio::{Client, Connector, Dialing, NetworkStream};

/// A network in memory, for clients of [`taut::tokio`](crate::tokio) and all that stands on it, and for servers of any
/// kind. Clones are the same network.
///
/// Every connection has the [`Link`] that the network has at that moment, with a seed of its own, which follows from the
/// link's and from how many there were before.
#[derive(Clone)]
pub struct MemoryNetwork(Arc<Mutex<State>>);

/// What becomes of those who connect to a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reach {
    /// They get through if somebody [listens](MemoryNetwork::listen), and are refused if not.
    #[default]
    Open,
    /// They are refused.
    Refused,
    /// They hear nothing.
    Silent,
}

/// An attempt to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The host of the URI.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Who tried.
    pub from: SocketAddr,
    /// When.
    pub at: Instant,
}

/// Where a server takes its connections from. Dropped, who comes is refused, and another may listen there.
#[derive(Debug)]
pub struct MemoryListener {
    network: MemoryNetwork,
    place: Place,
    arrivals: AsyncMutex<Receiver<Arrival>>,
}

/// A host and a port.
type Place = (String, u16);

type Arrival = (MemoryStream, SocketAddr);

struct State {
    link: Link,
    listeners: HashMap<Place, Sender<Arrival>>,
    reach: HashMap<String, Reach>,
    attempts: VecDeque<Attempt>,
    wires: Vec<Weak<Shared>>,
    /// How many there were.
    clients: u32,
    connections: u64,
}

/// The way of one client to the network.
struct Way {
    network: MemoryNetwork,
    address: IpAddr,
}

impl MemoryNetwork {
    /// A network whose connections have this link.
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self(Arc::new(Mutex::new(State {
            link,
            listeners: HashMap::new(),
            reach: HashMap::new(),
            attempts: VecDeque::new(),
            wires: Vec::new(),
            clients: 0,
            connections: 0,
        })))
    }

    /// Takes the connections to a host and a port, up to 1,024 that wait to be accepted.
    ///
    /// # Panics
    /// Somebody listens there.
    #[must_use]
    pub fn listen(&self, host: &str, port: u16) -> MemoryListener {
        let place = (host.to_owned(), port);
        let (sender, arrivals) = channel(BACKLOG);
        let before = self.lock().listeners.insert(place.clone(), sender);
        assert!(before.is_none(), "somebody listens on {host}:{port} already: drop that listener first");
        MemoryListener { network: self.clone(), place, arrivals: AsyncMutex::new(arrivals) }
    }

    /// A client with an address of its own, `10.0.0.1` and so on, that connects here and nowhere else.
    #[must_use]
    pub fn client(&self) -> Client {
        let number = {
            let mut state = self.lock();
            state.clients += 1;
            state.clients
        };
        self.client_from(Ipv4Addr::from_bits(FIRST_ADDRESS | number).into())
    }

    /// A client with this address.
    #[must_use]
    pub fn client_from(&self, address: IpAddr) -> Client {
        Client::new().connector(Way { network: self.clone(), address })
    }

    /// Connections that begin from here on have this link.
    pub fn set_link(&self, link: Link) {
        self.lock().link = link;
    }

    /// What becomes of those who connect to that host from here on. Default: [`Reach::Open`].
    pub fn set_reach(&self, host: &str, reach: Reach) {
        self.lock().reach.insert(host.to_owned(), reach);
    }

    /// Who tried to connect, the latest 10,000, in order.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        self.lock().attempts.iter().cloned().collect()
    }

    /// The connections that are open, in the order in which they came.
    #[must_use]
    pub fn wires(&self) -> Vec<Wire> {
        self.lock().wires.iter().filter_map(Wire::upgrade).collect()
    }

    /// Cuts all connections that are open.
    pub fn cut(&self, cut: Cut) {
        for wire in self.wires() {
            wire.cut(cut);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an attempt; gives what becomes of it, and the link.
    fn attempt(&self, attempt: Attempt) -> (Reach, Link) {
        let mut state = self.lock();
        let reach = state.reach.get(&attempt.host).copied().unwrap_or_default();
        let mut link = state.link;
        link.seed = link.seed.wrapping_add(state.connections);
        state.connections += 1;
        if state.attempts.len() == MOST_ATTEMPTS {
            state.attempts.pop_front();
        }
        state.attempts.push_back(attempt);
        (reach, link)
    }

    /// Connects, if somebody takes it.
    fn meet(&self, place: &Place, from: SocketAddr, link: &Link) -> Option<MemoryStream> {
        let sender = self.lock().listeners.get(place).cloned()?;
        let (near, far) = link.pair();
        let wire = near.wire().downgrade();
        sender.try_send((far, from)).ok()?;
        let mut state = self.lock();
        state.wires.retain(|wire| Wire::upgrade(wire).is_some());
        state.wires.push(wire);
        Some(near)
    }
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self::new(Link::new())
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wires = self.wires().len();
        let state = self.lock();
        f.debug_struct("MemoryNetwork")
            .field("link", &state.link)
            .field("listeners", &state.listeners.len())
            .field("connections", &state.connections)
            .field("open", &wires)
            .finish_non_exhaustive()
    }
}

impl Connector for Way {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a, NetworkStream> {
        Box::pin(async move {
            let at = Instant::now();
            let number = self.network.lock().connections;
            let from = SocketAddr::new(self.address, FIRST_PORT + (number % PORTS) as u16);
            let attempt = Attempt { host: host.to_owned(), port, from, at };
            let (reach, link) = self.network.attempt(attempt);
            if reach == Reach::Silent {
                return pending().await;
            }
            // There and back.
            let round_trip = link.latency * 2;
            if !round_trip.is_zero() {
                sleep(round_trip).await;
            }
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            if reach == Reach::Refused {
                return Err(refused());
            }
            let stream = self.network.meet(&(host.to_owned(), port), from, &link).ok_or_else(refused)?;
            Ok(NetworkStream::new(stream))
        })
    }
}

impl MemoryListener {
    /// The next connection, and where it comes from.
    ///
    /// **Cancel safety.** Nothing is lost.
    pub async fn accept(&self) -> (MemoryStream, SocketAddr) {
        let mut arrivals = self.arrivals.lock().await;
        match arrivals.recv().await {
            Some(arrival) => arrival,
            // The network has the sender for as long as this is there.
            None => pending().await,
        }
    }

    /// Serves what comes, as [`Builder::listen`](crate::server::Builder::listen) does from TCP: PROXY protocol and TLS are
    /// what its settings say. The listener is gone when the server shuts down.
    ///
    /// # Errors
    /// TLS, as [`Builder::bind`](crate::server::Builder::bind).
    #[cfg(feature = "server")]
    pub fn serve(self, builder: crate::server::Builder) -> io::Result<crate::server::Server> {
        builder.listen_on(self)
    }
}

#[cfg(feature = "server")]
impl crate::server::Listen for MemoryListener {
    type Stream = MemoryStream;

    async fn accept(&self) -> io::Result<(MemoryStream, Option<SocketAddr>)> {
        let (stream, address) = self.accept().await;
        Ok((stream, Some(address)))
    }

    fn set_up(_: &MemoryStream, _: &crate::server::Config) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        self.network.lock().listeners.remove(&self.place);
    }
}

/// How many connections wait to be accepted, about as many as on Linux.
const BACKLOG: usize = 1024;

const MOST_ATTEMPTS: usize = 10_000;

/// The network of the clients' addresses.
const FIRST_ADDRESS: u32 = 10 << 24;

/// The ports of clients (RFC 6335 §6).
const FIRST_PORT: u16 = 49_152;
const PORTS: u64 = 16_384;
