//! Servers that echo, each with a fault of its own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taut::proto::handshake::{Accept, Reject};
use taut::proto::{CloseCode, CloseFrame, Deflate, Message};
use taut::tokio::{ServerTls, TlsAcceptor, WebSocket, accept_with};
use taut::{Error, Options};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

/// What a server does with each tenth message; the first is number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Drops,
    Corrupts,
    Repeats,
    /// It answers the message after it first.
    Swaps,
    /// It does so once, with number 50: for this long it does nothing.
    Stalls(Duration),
    /// It holds it for this long.
    Delays(Duration),
    /// It closes instead.
    Closes,
    /// It never answers.
    Swallows,
    /// It refuses each other handshake.
    RefusesHalf,
    RefusesAll,
    /// It sends to all what anybody sends.
    Broadcasts,
    /// The same, but each tenth to nobody.
    BroadcastsWithGaps,
}

/// A server in the test's own process.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    messages: AtomicUsize,
    /// Connections that compress.
    compressed: AtomicUsize,
    /// Authorization and resource of each request.
    requests: Mutex<Vec<(Option<String>, String)>>,
    cookies: Mutex<Vec<String>>,
}

impl Server {
    pub(crate) async fn start(fault: Fault) -> Self {
        Self::with(fault, Options::new().deflate(Deflate::new()), None).await
    }

    pub(crate) async fn with(fault: Fault, options: Options, tls: Option<ServerTls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let all = broadcast::channel(4_096).0;
        let tls = tls.map(|tls| TlsAcceptor::new(tls).unwrap());
        let own = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut options = options;
                let (own, all, tls) = (own.clone(), all.clone(), tls.clone());
                tokio::spawn(async move {
                    // How a connection ends is the client's to see.
                    let _ = match tls {
                        Some(tls) => match tls.wrap(stream, &mut options).await {
                            Ok(stream) => own.serve(stream, fault, options, all).await,
                            Err(error) => Err(error),
                        },
                        None => own.serve(stream, fault, options, all).await,
                    };
                });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn messages(&self) -> usize {
        self.seen.messages.load(Ordering::SeqCst)
    }

    pub(crate) fn compressed(&self) -> usize {
        self.seen.compressed.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<(Option<String>, String)> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub(crate) fn cookies(&self) -> Vec<String> {
        self.seen.cookies.lock().unwrap().clone()
    }

    async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        self,
        stream: S,
        fault: Fault,
        options: Options,
        all: broadcast::Sender<Message>,
    ) -> Result<(), Error> {
        let number = self.seen.connections.fetch_add(1, Ordering::SeqCst);
        let is_refused = fault == Fault::RefusesAll || (fault == Fault::RefusesHalf && number % 2 == 1);
        let heard = all.subscribe();
        let socket = accept_with(stream, options, |request| {
            let authorization = request.fields().text("Authorization").map(str::to_owned);
            self.seen.requests.lock().unwrap().push((authorization, request.resource().to_owned()));
            let cookies = request.fields().text("Cookie").map(str::to_owned);
            self.seen.cookies.lock().unwrap().extend(cookies);
            if is_refused { Err(Reject::new(503).unwrap()) } else { Ok(Accept::new()) }
        });
        let socket = socket.await?;
        let is_compressed = socket.with_connection(|connection| connection.agreement().deflate().is_some());
        self.seen.compressed.fetch_add(usize::from(is_compressed), Ordering::SeqCst);
        match fault {
            Fault::Broadcasts | Fault::BroadcastsWithGaps => {
                self.pass_on(socket, all, heard, fault == Fault::BroadcastsWithGaps).await
            }
            _ => self.echo(socket, fault).await,
        }
    }

    async fn echo<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        mut socket: WebSocket<S>,
        fault: Fault,
    ) -> Result<(), Error> {
        let mut held = None;
        let mut number = 0;
        while let Some(message) = socket.recv().await? {
            if !message.is_data() {
                continue;
            }
            self.seen.messages.fetch_add(1, Ordering::SeqCst);
            let is_tenth = number % 10 == 9;
            number += 1;
            match fault {
                Fault::Stalls(time) if number == 51 => tokio::time::sleep(time).await,
                Fault::Swallows => continue,
                Fault::Delays(time) if is_tenth => tokio::time::sleep(time).await,
                Fault::Drops if is_tenth => continue,
                Fault::Repeats if is_tenth => socket.send(message.clone()).await?,
                Fault::Corrupts if is_tenth => {
                    socket.send(corrupted(message)).await?;
                    continue;
                }
                Fault::Swaps if is_tenth => {
                    held = Some(message);
                    continue;
                }
                Fault::Closes if is_tenth => {
                    socket.start_close(CloseFrame::new(CloseCode::AWAY, "<as told>").unwrap());
                    continue;
                }
                _ => {}
            }
            socket.send(message).await?;
            if let Some(held) = held.take() {
                socket.send(held).await?;
            }
        }
        Ok(())
    }

    async fn pass_on<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        mut socket: WebSocket<S>,
        all: broadcast::Sender<Message>,
        mut heard: broadcast::Receiver<Message>,
        has_gaps: bool,
    ) -> Result<(), Error> {
        let mut number = 0;
        loop {
            tokio::select! {
                came = socket.recv() => match came? {
                    Some(message) if message.is_data() => drop(all.send(message)),
                    Some(_) => {}
                    None => return Ok(()),
                },
                message = heard.recv() => {
                    number += 1;
                    if !has_gaps || number % 10 != 0 {
                        socket.send(message.expect("the channel is long enough")).await?;
                    }
                }
            }
        }
    }
}

/// With another last byte.
fn corrupted(message: Message) -> Message {
    let Message::Binary(bytes) = message else { panic!("the tests of faults send bytes") };
    let mut bytes = bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    Message::binary(bytes)
}
