//! Servers in memory, which a client reaches one after the other.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taut::client::{Builder, Update, Updates};
use taut::proto::Message;
use taut::tokio::{Client, Connector, Dialing, NetworkStream, WebSocket, accept};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout};

use super::futures::ends;

/// The servers' side of the network.
pub(crate) struct World {
    arrivals: UnboundedReceiver<DuplexStream>,
    gates: Gates,
}

/// The client's side.
#[derive(Clone)]
pub(crate) struct Gates {
    arrivals: UnboundedSender<DuplexStream>,
    /// Whether nobody is there to connect to.
    shut: Arc<Mutex<bool>>,
    dialled: Arc<Mutex<Vec<Instant>>>,
}

pub(crate) type Server = WebSocket<DuplexStream>;

impl World {
    pub(crate) fn new() -> Self {
        let (sender, arrivals) = unbounded_channel();
        Self { arrivals, gates: Gates { arrivals: sender, shut: Arc::default(), dialled: Arc::default() } }
    }

    pub(crate) fn builder(&self) -> Builder {
        Builder::new("ws://server.test/").network(self.client())
    }

    pub(crate) fn client(&self) -> Client {
        Client::new().connector(self.gates.clone())
    }

    /// Lets no client in, or lets them in again.
    pub(crate) fn shut(&self, shut: bool) {
        *self.gates.shut.lock().unwrap() = shut;
    }

    /// When the client tried to connect.
    pub(crate) fn dialled(&self) -> Vec<Instant> {
        self.gates.dialled.lock().unwrap().clone()
    }

    /// The stream of the next connection.
    pub(crate) async fn stream(&mut self) -> DuplexStream {
        ends(self.arrivals.recv()).await.expect("the gates are in the client")
    }

    /// The server's end of the next connection.
    pub(crate) async fn server(&mut self) -> Server {
        accept(self.stream().await).await.unwrap()
    }

    /// Whether a connection comes in that time.
    pub(crate) async fn anybody_within(&mut self, time: Duration) -> bool {
        timeout(time, self.arrivals.recv()).await.is_ok()
    }
}

impl Connector for Gates {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> Dialing<'a, NetworkStream> {
        Box::pin(async move {
            self.dialled.lock().unwrap().push(Instant::now());
            if *self.shut.lock().unwrap() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = duplex(PIPE);
            self.arrivals.send(far).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(NetworkStream::new(near))
        })
    }
}

/// The next message as text; or what a pong has in it.
pub(crate) async fn text(server: &mut Server) -> String {
    match ends(server.recv()).await.unwrap() {
        Some(Message::Text(text)) => text.to_string(),
        Some(Message::Pong(payload)) => String::from_utf8(payload.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn texts<const N: usize>(server: &mut Server) -> [String; N] {
    let mut all = [const { String::new() }; N];
    for one in &mut all {
        *one = text(server).await;
    }
    all
}

/// Updates until the next of a kind.
pub(crate) async fn until<T>(updates: &mut Updates, wanted: impl Fn(Update) -> Option<T>) -> T {
    loop {
        let update = ends(updates.recv()).await.expect("the client goes on");
        if let Some(found) = wanted(update) {
            return found;
        }
    }
}

pub(crate) fn lost(update: Update) -> Option<(Arc<taut::client::Loss>, Duration, Arc<[Message]>)> {
    match update {
        Update::Lost { loss, retry_in, unwritten } => Some((loss, retry_in, unwritten)),
        _ => None,
    }
}

pub(crate) fn open(update: Update) -> Option<()> {
    matches!(update, Update::Open { .. }).then_some(())
}

const PIPE: usize = 4096;
