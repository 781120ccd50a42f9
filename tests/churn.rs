//! Connections that open, talk and die in a random way, over loopback, against a server in this process: whatever
//! they did, memory, open files, tasks, admission and budget end where they began.
//!
//! `cargo test --release --test churn -- --ignored --nocapture` has 100,000 of them, and prints its figures.
//! `TAUT_SEED` has the same happen again, as far as the system lets it.
#![cfg(all(target_os = "linux", feature = "tokio", feature = "deflate"))]

#[path = "support/heap.rs"]
mod heap;
mod support;

use std::fs;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime};

use heap::{Heap, LARGE_BLOCK};
use socket2::SockRef;
use support::frame;
use taut::proto::frame::OpCode;
use taut::proto::handshake::{Accept, ClientRequest};
use taut::proto::{CloseCode, Deflate, EventRef, Role};
use taut::tokio::{Incoming, WebSocket, connect_over};
use taut::{Admission, AdmissionLimits, Admitted, Budget, Error, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// How many connections there are at a time.
const BESIDE: usize = 200;

/// A port is free for one of these addresses although it rests (TIME_WAIT) for another.
const SERVERS: u8 = 8;

/// What the system holds of a stream in one direction, about.
const BUFFER: usize = 16 << 10;

/// What a runtime's queues and a map that has grown may keep. Of 3,000 connections, 21 bytes each.
const MOST_LEFT: isize = 64 << 10;

/// What stays resident beside the heap and in its gaps.
const MOST_RESIDENT: isize = 16 << 20;

#[test]
fn three_thousand_connections_leave_nothing() {
    churn(3_000);
}

#[test]
#[ignore = "takes a minute or some: see the top of this file"]
fn a_hundred_thousand_connections_leave_nothing() {
    churn(100_000);
}

fn churn(count: usize) {
    let seed = std::env::var("TAUT_SEED").ok().map(|seed| seed.parse().expect("TAUT_SEED is a number"));
    let seed = seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos().into()
    });
    println!("TAUT_SEED={seed}");
    let mut random = Random(seed);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::start().await;
        // What a runtime and a thread keep for good.
        run(&server, &mut random, BESIDE * 3, false).await;
        server.settle(None).await;
        let before = Figures::trimmed();
        println!("before: {before}");
        let start = Instant::now();
        let heap = Heap::now();
        let died = run(&server, &mut random, count, true).await;
        server.settle(Some(&before)).await;
        // A thread keeps two buffers to read into, if it ever needed two.
        let (left, buffers) = (heap.owned(), heap.large_blocks());
        let left = left - buffers * LARGE_BLOCK as isize;
        let after = Figures::trimmed();
        println!("after:  {after}; {left} bytes of heap more; {} s", start.elapsed().as_secs());
        println!("{died}");
        assert_eq!(after.files, before.files, "open files");
        assert_eq!(after.tasks, before.tasks, "tasks");
        assert!(left <= MOST_LEFT && buffers <= 2, "{left} bytes of heap are left, and {buffers} buffers");
        assert!(after.resident - before.resident <= MOST_RESIDENT, "{before} before, {after} after");
    });
}

/// Has so many connections live and die; tells how.
async fn run(server: &Server, random: &mut Random, count: usize, tells: bool) -> String {
    let mut clients = JoinSet::new();
    let mut counts = [0; DEATHS.len()];
    for number in 0..count {
        if clients.len() == BESIDE {
            clients.join_next().await.unwrap().unwrap();
        }
        let death = random.below(DEATHS.len());
        counts[death] += 1;
        clients.spawn(live(server.clone(), DEATHS[death], Random(random.next())));
        if tells && (number + 1) % 10_000 == 0 {
            println!("{:7} connections: {}", number + 1, Figures::now());
        }
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let died: Vec<_> = DEATHS.iter().zip(counts).map(|(death, count)| format!("{death:?} {count}")).collect();
    died.join(", ")
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    // With a client that does as it should.
    ClientCloses,
    ServerCloses,
    ClientDrops,
    ClientResets,
    /// The server drops its socket while it holds answers back.
    ServerDrops,
    ServerAborts,
    ServerTakesApart,
    // With one that does not.
    EofInHandshake,
    SilentInHandshake,
    NoHandshake,
    EofInFrame,
    ResetInMessage,
    BreaksProtocol,
    InflatesBadly,
    Pings,
    NeverReads,
    Drips,
}

const DEATHS: [Death; 17] = [
    Death::ClientCloses,
    Death::ServerCloses,
    Death::ClientDrops,
    Death::ClientResets,
    Death::ServerDrops,
    Death::ServerAborts,
    Death::ServerTakesApart,
    Death::EofInHandshake,
    Death::SilentInHandshake,
    Death::NoHandshake,
    Death::EofInFrame,
    Death::ResetInMessage,
    Death::BreaksProtocol,
    Death::InflatesBadly,
    Death::Pings,
    Death::NeverReads,
    Death::Drips,
];

#[derive(Clone)]
struct Server {
    addresses: Arc<Vec<SocketAddr>>,
    admission: Admission,
    budget: Budget,
    /// What is to be aborted, by the address of its client.
    open: Arc<Mutex<Vec<(SocketAddr, AbortHandle)>>>,
}

fn options() -> Options {
    let time = Duration::from_millis(300);
    Options::new()
        .handshake_timeout(time)
        .message_timeout(time)
        .write_timeout(time)
        .close_timeout(time)
        .deflate(Deflate::new())
}

impl Server {
    async fn start() -> Self {
        let limits = AdmissionLimits::new().max_connections(2 * BESIDE);
        let (admission, budget) = (Admission::new(limits), Budget::new(1 << 30));
        let mut listeners = Vec::new();
        for last in 1..=SERVERS {
            listeners.push(TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0)).await.unwrap());
        }
        let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let server = Self { addresses: Arc::new(addresses), admission, budget, open: Arc::default() };
        for listener in listeners {
            tokio::spawn(server.clone().listen(listener));
        }
        server
    }

    async fn listen(self, listener: TcpListener) {
        loop {
            let (stream, address) = listener.accept().await.unwrap();
            // After it was reset, a stream may tell no address; and more than may come in is turned away.
            let Ok(admitted) = self.admission.admit(address.ip()) else { continue };
            let task = tokio::spawn(serve(stream, admitted, self.budget.clone()));
            let mut open = self.open.lock().unwrap();
            open.retain(|(_, task)| !task.is_finished());
            open.push((address, task.abort_handle()));
        }
    }

    fn abort(&self, client: SocketAddr) {
        let mut open = self.open.lock().unwrap();
        open.retain(|(address, task)| {
            if *address == client {
                task.abort();
            }
            *address != client
        });
    }

    /// Waits until nothing is open any more, and tasks and files are as they were.
    async fn settle(&self, before: Option<&Figures>) {
        let is_settled = || {
            let counts = (self.admission.connections(), self.admission.handshakes(), self.budget.used());
            let figures = Figures::now();
            let is_back = |before: &Figures| (before.tasks, before.files) == (figures.tasks, figures.files);
            counts == (0, 0, 0) && before.is_none_or(is_back)
        };
        for _ in 0..300 {
            if is_settled() {
                self.open.lock().unwrap().clear();
                // Ended tasks are let go of in turn.
                return sleep(Duration::from_millis(100)).await;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let Self { admission, budget, .. } = self;
        panic!("{admission:?}, {} bytes of the budget, {}", budget.used(), Figures::now());
    }
}

/// Serves a client, and ends as it asks for.
async fn serve(stream: TcpStream, mut admitted: Admitted, budget: Budget) -> Result<(), Error> {
    // As little waits in the system as may be: it is the socket that is looked at.
    SockRef::from(&stream).set_send_buffer_size(BUFFER)?;
    let incoming = Incoming::read(stream, options()).await?;
    let target = incoming.request().target().to_owned();
    let mut socket = incoming.accept(Accept::new()).await?;
    admitted.opened();
    socket.set_budget(Some(&budget));
    if target == "/each" {
        let echo = socket.recv_each(|event, sender| match event {
            EventRef::Message(message) if message.is_data() => Ok(sender.send_ref(message)?),
            _ => Ok(()),
        });
        return echo.await;
    }
    let mut taken = 0;
    while let Some(message) = socket.recv().await? {
        if message.is_data() {
            taken += 1;
            socket.send(message).await?;
        }
        match target.as_str() {
            "/closes" if taken == 2 => return socket.close(CloseCode::AWAY, "bye").await.map(drop),
            "/drops" if taken == 2 => break,
            "/parts" if taken == 2 => {
                drop(socket.into_parts());
                break;
            }
            "/aborts" if taken == 2 => pending().await,
            _ => {}
        }
    }
    Ok(())
}

/// Opens a connection, talks, and has it die.
async fn live(server: Server, death: Death, mut random: Random) {
    let to = server.addresses[random.below(server.addresses.len())];
    let stream = match connect(to, &mut random).await {
        Ok(stream) => stream,
        // A port that rests for this address: few, and it is the system's.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return,
        Err(error) => panic!("{error}"),
    };
    // How it ends is checked elsewhere; that it ends, here.
    let ended = async {
        if death as usize <= Death::ServerTakesApart as usize {
            let _ = behave(&server, stream, death, &mut random).await;
        } else {
            let _ = misbehave(stream, death, &mut random).await;
        }
    };
    timeout(Duration::from_secs(60), ended).await.unwrap_or_else(|_| panic!("{death:?} never ends"));
}

async fn connect(to: SocketAddr, random: &mut Random) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // As from many clients.
    let from = Ipv4Addr::new(127, 0, 1, 1 + random.below(250) as u8);
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    socket.connect(to).await
}

async fn behave(server: &Server, stream: TcpStream, death: Death, random: &mut Random) -> Result<(), Error> {
    let target = match death {
        Death::ServerCloses => "/closes",
        Death::ServerDrops => "/drops",
        Death::ServerAborts => "/aborts",
        Death::ServerTakesApart => "/parts",
        _ => random.of(&["/", "/each"]),
    };
    let address = stream.local_addr()?;
    let deflate = random.of(&[None, Some(Deflate::new())]);
    let request = ClientRequest::new("a", target)?;
    let mut socket = connect_over(stream, &request, options().deflate(deflate)).await?;
    for _ in 0..2 + random.below(3) {
        socket.feed(random.message())?;
    }
    socket.flush().await?;
    match death {
        Death::ClientCloses => socket.close(CloseCode::NORMAL, "").await.map(drop),
        Death::ClientDrops => Ok(()),
        Death::ClientResets => {
            socket.recv().await?;
            reset(socket.into_parts().0)
        }
        Death::ServerAborts => {
            socket.recv().await?;
            server.abort(address);
            read_to_end(&mut socket).await
        }
        _ => read_to_end(&mut socket).await,
    }
}

async fn read_to_end(socket: &mut WebSocket<TcpStream>) -> Result<(), Error> {
    while socket.recv().await?.is_some() {}
    Ok(())
}

async fn misbehave(mut stream: TcpStream, death: Death, random: &mut Random) -> Result<(), Error> {
    let target = random.of(&["/", "/each"]);
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    );
    let cut = random.below(head.len() - 1);
    match death {
        Death::EofInHandshake => {
            stream.write_all(&head.as_bytes()[..cut]).await?;
            return end(stream, random).await;
        }
        Death::SilentInHandshake => {
            stream.write_all(&head.as_bytes()[..cut]).await?;
            return drain(&mut stream).await;
        }
        Death::NoHandshake => {
            stream.write_all(b"SSH-2.0-client\r\n\r\n").await?;
            return end(stream, random).await;
        }
        _ => stream.write_all(head.as_bytes()).await?,
    }
    stream.write_all(&frame(Role::Client, true, OpCode::Text, b"hello")).await?;
    let mut message = random.of(&FRAMES.each_ref()).clone();
    match death {
        Death::EofInFrame => {
            stream.write_all(&message[..random.below(message.len())]).await?;
            end(stream, random).await
        }
        Death::ResetInMessage => {
            stream.write_all(&frame(Role::Client, false, OpCode::Text, b"begun")).await?;
            stream.write_all(&frame(Role::Client, true, OpCode::Ping, b"?")).await?;
            message[0] = 0;
            stream.write_all(&message[..random.below(message.len())]).await?;
            reset(stream)
        }
        Death::BreaksProtocol => {
            let wrong: [&[u8]; 4] =
                [b"\x83\x80\0\0\0\0", b"\x81\x02hi", b"\x81\x81\0\0\0\0\xff", b"\x88\x81\0\0\0\0\0"];
            stream.write_all(random.of::<&[u8]>(&wrong)).await?;
            end(stream, random).await
        }
        Death::InflatesBadly => {
            // RSV1, and then what is no DEFLATE.
            message[0] |= 0x40;
            stream.write_all(&message).await?;
            end(stream, random).await
        }
        Death::Pings => {
            // The server is not patient.
            let _ = stream.write_all(&PINGS).await;
            end(stream, random).await
        }
        Death::NeverReads => {
            SockRef::from(&stream).set_recv_buffer_size(BUFFER)?;
            let talks = async { while stream.write_all(&FRAMES[3]).await.is_ok() {} };
            // The server takes nothing more either, and leaves.
            let _ = timeout(Duration::from_secs(2), talks).await;
            reset(stream)
        }
        Death::Drips => {
            for byte in &message {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                let mut answer = [0; 1_000];
                if let Ok(Ok(0) | Err(_)) = timeout(Duration::from_millis(50), stream.read(&mut answer)).await
                {
                    break;
                }
            }
            end(stream, random).await
        }
        other => unreachable!("{other:?} does as it should"),
    }
}

/// Messages of several lengths, as frames of a client.
static FRAMES: LazyLock<[Vec<u8>; 4]> = LazyLock::new(|| {
    [10, 200, 70_000, 300_000].map(|len| frame(Role::Client, true, OpCode::Binary, &vec![7; len]))
});

/// More than a client may send in a second.
static PINGS: LazyLock<Vec<u8>> =
    LazyLock::new(|| frame(Role::Client, true, OpCode::Ping, &[1; 100]).repeat(3_000));

/// What can be compressed a little.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random(0);
    (0..70_000).map(|_| (random.next() % 40) as u8).collect()
});

/// Ends a stream in one of the ways there are.
async fn end(mut stream: TcpStream, random: &mut Random) -> Result<(), Error> {
    match random.below(3) {
        0 => reset(stream),
        // With what came unread, or not.
        1 => Ok(()),
        _ => {
            stream.shutdown().await?;
            drain(&mut stream).await
        }
    }
}

fn reset(stream: TcpStream) -> Result<(), Error> {
    Ok(SockRef::from(&stream).set_linger(Some(Duration::ZERO))?)
}

async fn drain(stream: &mut TcpStream) -> Result<(), Error> {
    let mut dropped = [0; 4096];
    while stream.read(&mut dropped).await? > 0 {}
    Ok(())
}

/// What a process holds.
struct Figures {
    resident: isize,
    files: usize,
    tasks: usize,
}

impl Figures {
    /// Once the system has all that the allocator kept of what it was given back.
    fn trimmed() -> Self {
        #[cfg(target_env = "gnu")]
        {
            #[expect(unsafe_code, reason = "the C library has no other way to this")]
            unsafe extern "C" {
                safe fn malloc_trim(pad: usize) -> core::ffi::c_int;
            }
            malloc_trim(0);
        }
        Self::now()
    }

    fn now() -> Self {
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: isize = pages.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            resident: pages * 4096,
            files: fs::read_dir("/proc/self/fd").unwrap().count(),
            tasks: Handle::current().metrics().num_alive_tasks(),
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resident, files, tasks } = self;
        write!(f, "{} KiB resident, {files} open files, {tasks} tasks", resident >> 10)
    }
}

/// SplitMix64: any seed is as good as another.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn message(&mut self) -> Vec<u8> {
        let len = self.of(&[0, 1, 100, 1_000, 5_000, 70_000]);
        NOISE[..len].to_vec()
    }
}
