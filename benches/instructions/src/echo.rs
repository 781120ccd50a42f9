//! The whole adapter: an echo server on tokio, in the loop that everybody writes or by `recv_each`, with all that tokio
//! does for it.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use taut::RandomMasks;
use taut::proto::{Config, Connection, EventRef};
use taut::tokio::{Options, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::Job;
use super::socket::{Burst, Socket};

pub(crate) fn jobs() -> impl Iterator<Item = Job> {
    CASES.into_iter().map(|case| {
        let Case { server, size, connections, depth } = case;
        let server = match server {
            Server::Bare => "bare",
            Server::Binary => "taut/binary",
            Server::Text => "taut/text",
            Server::Each => "each/binary",
        };
        Job {
            name: format!("tokio/{server}/{size}/{connections}x{depth}"),
            messages: connections * depth,
            rounds: super::rounds(connections * depth, connections * depth * size),
            run: Box::new(move |rounds| case.run(rounds)),
        }
    })
}

#[derive(Clone, Copy)]
struct Case {
    server: Server,
    size: usize,
    connections: usize,
    /// Messages of a burst.
    depth: usize,
}

#[derive(Clone, Copy)]
enum Server {
    /// Writes what it read, whatever that is: what tokio and the socket take of the others' figures.
    Bare,
    Binary,
    Text,
    /// Binary, by `recv_each`.
    Each,
}

impl Case {
    /// A round is a burst on each connection.
    fn run(self, rounds: usize) {
        let burst = Arc::new(self.burst());
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let servers: Vec<_> =
            (0..self.connections).map(|_| self.serve(&runtime, Arc::clone(&burst), rounds)).collect();
        for server in servers {
            let echoed = runtime.block_on(server).unwrap();
            let all = rounds * if matches!(self.server, Server::Bare) { burst.answers } else { self.depth };
            assert_eq!(echoed, all);
        }
    }

    /// Gives how much was echoed.
    fn serve(self, runtime: &Runtime, burst: Arc<Burst>, bursts: usize) -> JoinHandle<usize> {
        runtime.spawn(async move {
            let socket = Socket::new(burst, bursts).unwrap();
            match self.server {
                Server::Bare => bare(socket).await,
                Server::Binary | Server::Text => taut(socket).await,
                Server::Each => each(socket).await,
            }
        })
    }

    fn burst(self) -> Burst {
        let mut client = Connection::client(Config::new().max_queued(usize::MAX), RandomMasks::new());
        for _ in 0..self.depth {
            match self.server {
                Server::Text => client.send_text(&"a".repeat(self.size)).unwrap(),
                Server::Bare | Server::Binary | Server::Each => {
                    client.send_binary(&vec![b'a'; self.size]).unwrap()
                }
            }
        }
        let output = client.output();
        let sent = output.copy_to_bytes(output.remaining()).to_vec();
        let answers = match self.server {
            Server::Bare => sent.len(),
            // RFC 6455 §5.2: a server's frames have no masking key.
            Server::Binary | Server::Text | Server::Each => sent.len() - self.depth * size_of::<u32>(),
        };
        Burst { sent, answers }
    }
}

async fn taut(socket: Socket) -> usize {
    let connection = Connection::server(Config::new());
    let mut socket = WebSocket::new(socket, connection, &Options::new());
    let mut echoed = 0;
    // The peer ends without a Close: that is an error, and the end.
    while let Ok(Some(message)) = socket.recv().await {
        socket.send(message).await.unwrap();
        echoed += 1;
    }
    echoed
}

async fn each(socket: Socket) -> usize {
    let connection = Connection::server(Config::new());
    let mut socket = WebSocket::new(socket, connection, &Options::new());
    let mut echoed = 0;
    let ended = socket.recv_each(|event, sender| {
        if let EventRef::Message(message) = event {
            sender.send_ref(message)?;
            echoed += 1;
        }
        Ok(())
    });
    // As above.
    let _ = ended.await;
    echoed
}

async fn bare(mut socket: Socket) -> usize {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    let mut echoed = 0;
    while socket.read_buf(&mut buffer).await.unwrap() > 0 {
        echoed += buffer.len();
        socket.write_all(&buffer).await.unwrap();
        buffer.clear();
    }
    echoed
}

const CASES: [Case; 17] = [
    case(Server::Binary, 20, 1, 1),
    case(Server::Binary, 20, 1, 16),
    case(Server::Binary, 20, 20, 1),
    case(Server::Binary, 20, 20, 16),
    case(Server::Binary, 125, 20, 8),
    case(Server::Binary, 1 << 10, 20, 8),
    case(Server::Text, 1 << 10, 20, 8),
    case(Server::Binary, 16 << 10, 10, 4),
    case(Server::Each, 20, 20, 1),
    case(Server::Each, 20, 20, 16),
    case(Server::Each, 1 << 10, 20, 8),
    case(Server::Each, 16 << 10, 10, 4),
    case(Server::Bare, 20, 1, 1),
    case(Server::Bare, 20, 20, 1),
    case(Server::Bare, 20, 20, 16),
    case(Server::Bare, 1 << 10, 20, 8),
    case(Server::Bare, 16 << 10, 10, 4),
];

const fn case(server: Server, size: usize, connections: usize, depth: usize) -> Case {
    Case { server, size, connections, depth }
}
