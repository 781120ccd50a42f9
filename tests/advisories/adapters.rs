//! What one peer can do to the others of a server, and what stays behind when it goes.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use taut::proto::frame::OpCode;
use taut::proto::handshake::{Accept, ClientRequest, HandshakeError};
use taut::proto::{CloseCode, Config, EventRef, Message, Role};
use taut::tokio::{Options, WebSocket, accept, accept_with, connect_over, connect_with};
use taut::{Admission, AdmissionLimits, Budget, Deadline, Error, Refused};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::ROLES;
use crate::futures::ends;
use crate::heads::Head;
use crate::heap::Heap;
use crate::support::{connection, frame};
use taut::testing::{MemoryStream, pair};

fn socket<S>(role: Role, stream: S, config: Config) -> WebSocket<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    WebSocket::new(stream, connection(role, config), &Options::new())
}

async fn echo<S>(mut socket: WebSocket<S>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    while let Some(message) = socket.recv().await? {
        if message.is_data() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

fn text(from: Role, text: &str) -> Vec<u8> {
    frame(from, true, OpCode::Text, text.as_bytes())
}

/// Each ends with an error that its task returns; nobody else, and not the loop that accepts, notices.
#[tokio::test]
async fn one_bad_connection_does_not_end_the_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bad = [
        vec![0xA1, 0x80, 0, 0, 0, 0],
        vec![0x91, 0x80, 0, 0, 0, 0],
        vec![0xF1, 0xFF],
        vec![0x81, 0x01, b'a'],
        vec![0x81, 0x82, 0, 0, 0, 0, 0xC0, 0x80],
        vec![0x83, 0x80],
        vec![0x88, 0x81, 0, 0, 0, 0, 3],
        vec![0x80, 0x80, 0, 0, 0, 0],
        b"\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    let count = 2 * bad.len() + 1;
    let server = tokio::spawn(async move {
        let mut tasks = Vec::new();
        for _ in 0..count {
            let (stream, _) = listener.accept().await.unwrap();
            tasks.push(tokio::spawn(async move { echo(accept(stream).await?).await }));
        }
        tasks
    });
    let uri = format!("ws://{address}/");
    let mut healthy = ends(connect_with(&uri, Options::new(), Ok)).await.unwrap();
    for wire in &bad {
        for before_the_handshake in [true, false] {
            let mut peer = TcpStream::connect(address).await.unwrap();
            let head = if before_the_handshake { Vec::new() } else { Head::request().bytes() };
            peer.write_all(&[&head[..], wire].concat()).await.unwrap();
            peer.shutdown().await.unwrap();
            let _ = ends(peer.read_to_end(&mut Vec::new())).await;
            healthy.send("still there?").await.unwrap();
            assert_eq!(ends(healthy.recv()).await.unwrap(), Some(Message::text("still there?")));
        }
    }
    ends(healthy.close(CloseCode::NORMAL, "")).await.unwrap();
    for (number, task) in ends(server).await.unwrap().into_iter().enumerate() {
        let result = ends(task).await.expect("no panic");
        assert_eq!(result.is_ok(), number == 0, "{result:?}");
    }
}

/// A stream that counts how often it is asked, and is asked no more often than that.
struct Asked<S> {
    stream: S,
    times: usize,
}

impl<S> Asked<S> {
    fn ask(&mut self) -> Pin<&mut S>
    where
        S: Unpin,
    {
        self.times += 1;
        assert!(self.times < 1000, "it spins");
        Pin::new(&mut self.stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Asked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ask().poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Asked<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.ask().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask().poll_shutdown(cx)
    }
}

fn asked(room: usize) -> (Asked<MemoryStream>, MemoryStream) {
    let (stream, peer) = pair(room);
    (Asked { stream, times: 0 }, peer)
}

/// A reset, or an end, behind any byte of a handshake, of messages, and of a Close, while nothing, a message or a Close
/// of ours waits: the call ends, in few polls, and the connection holds nothing.
#[tokio::test(start_paused = true)]
async fn reset_in_every_state() {
    let end = |peer: &MemoryStream, reset: bool| if reset { peer.reset() } else { peer.finish() };
    let request = Head::request().bytes();
    let answer = Head::answer().bytes();
    for reset in [false, true] {
        for cut in 0..request.len() {
            let (stream, peer) = asked(1000);
            peer.push(&request[..cut]);
            end(&peer, reset);
            let result = ends(accept(stream)).await.map(drop);
            let right = match &result {
                Err(Error::NoRequest) => cut == 0,
                result => matches!(result, Err(Error::Handshake(_) | Error::Io(_))),
            };
            assert!(right, "{cut}: {result:?}");
        }
        for cut in 0..answer.len() {
            let (stream, peer) = asked(1000);
            peer.push(&answer[..cut]);
            end(&peer, reset);
            let request = ClientRequest::new("server.example.com", "/chat").unwrap();
            let result = ends(connect_over(stream, &request, Options::new())).await.map(drop);
            assert!(matches!(&result, Err(Error::Handshake(_) | Error::Io(_))), "{cut}: {result:?}");
        }
        for role in ROLES {
            let from = role.peer();
            let wire = [
                text(from, "a"),
                frame(from, true, OpCode::Ping, b"p"),
                frame(from, false, OpCode::Binary, b"begun"),
                frame(from, true, OpCode::Continuation, b"ended"),
                frame(from, true, OpCode::Close, &[3, 0xE8]),
            ]
            .concat();
            for (cut, state) in (0..=wire.len()).flat_map(|cut| (0..4).map(move |state| (cut, state))) {
                let (stream, peer) = asked(if state == 2 { 10 } else { 1 << 20 });
                let mut socket = socket(role, stream, Config::new());
                match state {
                    0 => {}
                    // Our Close has left, or waits.
                    1 => socket.start_close(None),
                    // A message waits for a peer that does not read.
                    2 => socket.feed(vec![7; 1000]).unwrap(),
                    _ => drop(timeout(Duration::ZERO, socket.recv()).await),
                }
                peer.push(&wire[..cut]);
                end(&peer, reset);
                let mut errors = 0;
                loop {
                    match ends(socket.recv()).await {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => errors += 1,
                    }
                }
                assert!(errors <= 1, "{errors} errors");
                assert!(
                    errors == 1 || cut == wire.len() || state == 1,
                    "{cut}, {state}: the loss was not told"
                );
                assert!(socket.is_ended());
                assert_eq!(socket.with_connection(|connection| connection.memory()), 0, "{cut}, {state}");
            }
        }
    }
}

/// Ways in which a connection of a server ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Eof,
    Reset,
    ResetInTheHandshake,
    Silence,
    BadRequest,
    BadFrame,
    HalfAMessage,
    NeverReads,
    Abort,
}

const ENDS: [End; 10] = [
    End::Close,
    End::Eof,
    End::Reset,
    End::ResetInTheHandshake,
    End::Silence,
    End::BadRequest,
    End::BadFrame,
    End::HalfAMessage,
    End::NeverReads,
    End::Abort,
];

/// Places at the door, bytes of the budget, and memory: what a connection held is given back, however it ends.
#[tokio::test(start_paused = true)]
async fn every_way_of_ending_gives_back_what_it_held() {
    let admission = Admission::new(AdmissionLimits::new());
    let budget = Budget::new(1 << 30);
    // The first of everything is kept.
    run_all(&admission, &budget).await;
    let before = Heap::now();
    for _ in 0..5 {
        run_all(&admission, &budget).await;
        assert_eq!((admission.connections(), admission.handshakes(), budget.used()), (0, 0, 0));
    }
    assert!(before.owned() < 16 << 10, "{} bytes stay", before.owned());
}

async fn run_all(admission: &Admission, budget: &Budget) {
    for end in ENDS {
        let (stream, peer) = pair(1000);
        let mut admitted = admission.admit(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        let budget = budget.clone();
        let task = tokio::spawn(async move {
            let mut socket = accept(stream).await?;
            admitted.opened();
            socket.set_budget(Some(&budget));
            echo(socket).await
        });
        let request = Head::request().bytes();
        match end {
            End::ResetInTheHandshake => peer.push(&request[..20]),
            End::Silence => {}
            End::BadRequest => peer.push(b"GET / HTTP/1.0\r\n\r\n"),
            _ => peer.push(&request),
        }
        settle().await;
        let large = frame(Role::Client, true, OpCode::Binary, &vec![7; 100_000]);
        match end {
            End::Close => peer.push(&frame(Role::Client, true, OpCode::Close, &[])),
            End::BadFrame => peer.push(&[0xFF, 0xFF]),
            End::HalfAMessage => peer.push(&large[..50_000]),
            End::NeverReads | End::Abort => peer.push(&large),
            End::Eof | End::Reset | End::ResetInTheHandshake | End::Silence | End::BadRequest => {}
        }
        settle().await;
        match end {
            End::Reset | End::ResetInTheHandshake => peer.reset(),
            End::Eof | End::Close => peer.finish(),
            End::Abort => task.abort(),
            _ => {}
        }
        let ended = ends(task).await;
        assert!(matches!(end, End::Close) == matches!(ended, Ok(Ok(()))), "{end:?}: {ended:?}");
        drop(peer);
    }
}

async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

/// Ten thousand that say nothing, or a byte now and then, from one address: few are let in, and none stays.
#[tokio::test(start_paused = true)]
async fn half_open_handshakes_are_capped() {
    let admission = Admission::new(AdmissionLimits::new());
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let mut tasks = Vec::new();
    for number in 0..10_000 {
        let (stream, peer) = pair(1000);
        let admitted = match admission.admit(address) {
            Ok(admitted) => admitted,
            Err(refused) => {
                assert_eq!(refused, Refused::HandshakesFromOne);
                continue;
            }
        };
        tasks.push(tokio::spawn(async move {
            let result = accept(stream).await;
            drop(admitted);
            result.map(drop)
        }));
        tokio::spawn(async move {
            for byte in Head::request().bytes() {
                sleep(Duration::from_secs(1)).await;
                if number % 2 == 0 {
                    peer.push(&[byte]);
                }
            }
        });
    }
    assert_eq!((tasks.len(), admission.handshakes()), (256, 256));
    assert!(admission.admit(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))).is_ok(), "others get in");
    sleep(Duration::from_secs(11)).await;
    assert_eq!(admission.connections(), 0);
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Err(Error::Timeout(Deadline::Handshake))));
    }
}

/// What a flood is made of.
#[derive(Clone, Copy, Debug)]
enum Flood {
    Messages,
    Each,
    Pings,
    Fragments,
}

/// How often that comes.
const TIMES: usize = 20;

/// One socket with more than it can handle in seconds, and a hundred with one message each: these are answered while
/// nearly all of the flood still waits.
#[tokio::test]
async fn one_flooder_and_a_hundred_quiet_sockets() {
    for flood in [Flood::Messages, Flood::Each, Flood::Pings, Flood::Fragments] {
        let (stream, peer) = pair(usize::MAX);
        let piece = |fin, opcode| frame(Role::Client, fin, opcode, b"x");
        let message = match flood {
            Flood::Messages => piece(true, OpCode::Text).repeat(5_000),
            // A turn is 512 KiB.
            Flood::Each => piece(true, OpCode::Text).repeat(50_000),
            Flood::Pings => piece(true, OpCode::Ping).repeat(5_000),
            Flood::Fragments => [
                piece(false, OpCode::Binary),
                piece(false, OpCode::Continuation).repeat(99_998),
                piece(true, OpCode::Continuation),
            ]
            .concat(),
        };
        let wire = message.repeat(TIMES);
        peer.push(&wire);
        peer.finish();
        let options = Options::new().max_control_rate(u32::MAX);
        let mut flooded = WebSocket::new(stream, connection(Role::Server, Config::new()), &options);
        let handled = Arc::new(AtomicUsize::new(0));
        let counter = handled.clone();
        let task = tokio::spawn(async move {
            let count = || counter.fetch_add(1, Ordering::Relaxed);
            if let Flood::Each = flood {
                let each = |event: EventRef<'_>, _: &mut _| {
                    assert!(matches!(event, EventRef::Message(_)));
                    count();
                    Ok(())
                };
                return drop(flooded.recv_each(each).await);
            }
            while let Ok(Some(_)) = flooded.recv().await {
                count();
            }
        });
        let mut quiet: Vec<_> = (0..100)
            .map(|_| {
                let (stream, peer) = pair(1000);
                tokio::spawn(echo(socket(Role::Server, stream, Config::new())));
                peer.push(&text(Role::Client, "anybody there?"));
                peer
            })
            .collect();
        while !quiet.is_empty() {
            yield_now().await;
            quiet.retain(|peer| peer.pull() != text(Role::Server, "anybody there?"));
        }
        let before = handled.load(Ordering::Relaxed);
        ends(task).await.unwrap();
        let all = handled.load(Ordering::Relaxed);
        assert!(all >= TIMES && before <= all / 4, "{flood:?}: {before} of {all} came first");
    }
}

/// A target in absolute form says where to, and nobody goes there.
#[tokio::test]
async fn absolute_form_target_connects_nowhere() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = other.local_addr().unwrap().to_string();
    for scheme in ["http", "ws", "HTTP"] {
        let (stream, peer) = pair(1000);
        let line = format!("GET {scheme}://{host}/admin HTTP/1.1");
        peer.push(&Head::request().with_line(line).set("Host", &host).bytes());
        let mut seen = None;
        let accepted = accept_with(stream, Options::new(), |request| {
            seen = Some((request.host().to_owned(), request.resource().to_owned()));
            Ok(Accept::new())
        });
        let socket = ends(accepted).await.unwrap();
        assert_eq!(seen, Some((host.clone(), "/admin".into())));
        assert!(peer.pull().starts_with(b"HTTP/1.1 101 "), "the answer goes to who asked");
        drop(socket);
    }
    for line in
        ["GET file:///etc/passwd HTTP/1.1", "GET //other/admin@a HTTP/1.1", "GET http://a@b/ HTTP/1.1"]
    {
        let (stream, peer) = pair(1000);
        peer.push(&Head::request().with_line(line).bytes());
        peer.finish();
        // Path or nonsense: in no case another host.
        if let Err(error) = ends(accept(stream)).await {
            assert!(matches!(error, Error::Handshake(HandshakeError::Target)), "{line}: {error}");
        }
    }
    assert!(timeout(Duration::from_millis(1), other.accept()).await.is_err(), "somebody connected");
}
