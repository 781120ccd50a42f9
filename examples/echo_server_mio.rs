//! An echo server that drives the engine by hand, on mio: one thread and no runtime.
//!
//! `echo_server_mio ADDR`; prints the address it listens on.
//!
//! All connections read into one buffer, which the thread lends to the engine for a turn; a connection has
//! memory of its own only for what came half. Small messages are echoed from where they lie, large ones leave
//! in the memory they came into, and all echoes of a read leave in one write.

use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use taut::proto::handshake::{Accept, ServerHandshake};
use taut::proto::{Config, Connection, Event, EventRef, Message, MessageRef};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: echo_server_mio ADDR")?;
    let address = address.parse().map_err(|_| format!("{address} is no address such as 127.0.0.1:9001"))?;
    let listener =
        TcpListener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("{}", listener.local_addr()?);
    Ok(Server::new(listener)?.run()?)
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    /// The place of a peer is its token.
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    /// The thread's buffer. What is in it between turns is done with.
    buffer: BytesMut,
    swept: Instant,
}

impl Server {
    fn new(mut listener: TcpListener) -> io::Result<Self> {
        let (poll, buffer) = (Poll::new()?, BytesMut::with_capacity(READ_SIZE));
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { poll, listener, peers: Vec::new(), free: Vec::new(), buffer, swept: Instant::now() })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            unless_blocked(|| self.poll.poll(&mut events, Some(SWEEP)))?;
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    Token(index) => self.turn(index, event.is_read_closed()),
                }
            }
            if self.swept.elapsed() >= SWEEP {
                self.sweep();
            }
        }
    }

    fn accept(&mut self) {
        loop {
            match unless_blocked(|| self.listener.accept()) {
                Ok(Some((stream, _))) => match self.enter(stream) {
                    Ok(()) => {}
                    Err(error) => eprintln!("cannot serve a client: {error}"),
                },
                Ok(None) => return,
                // One client's, or too many open files: the next sweep tries again.
                Err(error) => return eprintln!("cannot accept: {error}"),
            }
        }
    }

    fn enter(&mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let index = self.free.last().copied().unwrap_or(self.peers.len());
        self.poll.registry().register(&mut stream, Token(index), BOTH)?;
        let (phase, deadline) = (Phase::Opening(Box::default()), Some(Instant::now() + PATIENCE));
        let peer = Some(Peer { stream, phase, deadline });
        match self.free.pop() {
            Some(index) => self.peers[index] = peer,
            None => self.peers.push(peer),
        }
        Ok(())
    }

    /// Lets a peer do what it can. `ended`: behind what it sent comes its end of the stream.
    fn turn(&mut self, index: usize, ended: bool) {
        // It may have left since the event came.
        let Some(peer) = &mut self.peers[index] else { return };
        match peer.turn(&mut self.buffer, ended) {
            Ok(Turn::Over) => self.leave(index),
            Ok(Turn::Waits) if peer.owes() => {
                peer.deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
            }
            Ok(Turn::Waits) => peer.deadline = None,
            // Others first. An event tells of a change; to register anew brings it once more.
            Ok(Turn::HasMore) => {
                if self.poll.registry().reregister(&mut peer.stream, Token(index), BOTH).is_err() {
                    self.leave(index);
                }
            }
            Err(error) => {
                eprintln!("{error}");
                self.leave(index);
            }
        }
    }

    fn leave(&mut self, index: usize) {
        self.peers[index] = None;
        self.free.push(index);
    }

    fn sweep(&mut self) {
        self.swept = Instant::now();
        for index in 0..self.peers.len() {
            let deadline = self.peers[index].as_ref().and_then(|peer| peer.deadline);
            if deadline.is_some_and(|deadline| deadline <= self.swept) {
                eprintln!("a client took too long");
                self.leave(index);
            }
        }
        self.accept();
    }
}

struct Peer {
    stream: TcpStream,
    phase: Phase,
    /// Until when it has to do what it [owes](Self::owes).
    deadline: Option<Instant>,
}

#[expect(clippy::large_enum_variant, reason = "nearly all are open")]
enum Phase {
    Opening(Box<ServerHandshake>),
    Open(Connection),
    /// All is written. What still comes is dropped: to close a socket with unread bytes resets it, and could
    /// destroy what was written last.
    Ending,
}

/// How a turn ended.
enum Turn {
    Waits,
    HasMore,
    Over,
}

impl Peer {
    fn turn(&mut self, buffer: &mut BytesMut, ended: bool) -> io::Result<Turn> {
        let mut drained = false;
        for _ in 0..STEPS {
            match &mut self.phase {
                Phase::Opening(handshake) => match open(&mut self.stream, handshake)? {
                    Some(next) => self.phase = next,
                    None => return Ok(Turn::Waits),
                },
                Phase::Open(connection) => {
                    let stream = &mut self.stream;
                    // The echoes of all that one read brought leave together.
                    while connection.wants_output()
                        && unless_blocked(|| connection.write_to(stream))?.is_some()
                    {
                        // It reads.
                        self.deadline = None;
                    }
                    if connection.wants_input() {
                        if drained || connection.queued() > MOST_QUEUED {
                            connection.release();
                            return Ok(Turn::Waits);
                        }
                        let full = read(stream, connection, buffer)?;
                        // On Windows only a read that would block tells that there is no more: see `mio::Poll`.
                        drained = !full.is_some_and(|full| full || ended || cfg!(windows));
                    } else if connection.wants_shutdown() {
                        // A socket that is gone already needs no shutdown.
                        let _ = stream.shutdown(Shutdown::Write);
                        self.phase = Phase::Ending;
                    } else {
                        return Ok(Turn::Waits);
                    }
                }
                Phase::Ending => {
                    let received = unless_blocked(|| receive(&self.stream, buffer))?;
                    buffer.clear();
                    match received {
                        Some(0) => return Ok(Turn::Over),
                        Some(_) => {}
                        None => return Ok(Turn::Waits),
                    }
                }
            }
        }
        Ok(Turn::HasMore)
    }

    /// Whether it has to do something before its deadline: shake hands, or read what waits for it.
    fn owes(&self) -> bool {
        !matches!(&self.phase, Phase::Open(connection) if !connection.wants_output())
    }
}

/// Goes on with the opening handshake. Gives what comes behind it.
fn open(stream: &mut TcpStream, handshake: &mut ServerHandshake) -> io::Result<Option<Phase>> {
    while let Some(count) = unless_blocked(|| receive(stream, handshake.input()))? {
        if count == 0 {
            handshake.input_eof();
        }
        // What waits is bounded by not reading on: see `MOST_QUEUED`.
        let config = Config::new().max_queued(usize::MAX);
        match handshake.poll() {
            Ok(None) => {}
            Ok(Some(pending)) => {
                let connection = pending.accept(Accept::new(), config).map_err(io::Error::other)?;
                return Ok(Some(Phase::Open(connection)));
            }
            Err(error) => {
                eprintln!("{error}");
                // Nothing was written before, so that there is room for the answer.
                unless_blocked(|| stream.write(handshake.output().chunk()))?;
                let _ = stream.shutdown(Shutdown::Write);
                return Ok(Some(Phase::Ending));
            }
        }
    }
    Ok(None)
}

/// Reads once and queues the echoes. Tells whether that took all the room there was; `None` if nothing came.
fn read(stream: &TcpStream, connection: &mut Connection, buffer: &mut BytesMut) -> io::Result<Option<bool>> {
    let (room, received, echoed);
    if connection.wants_own_input() {
        let own = connection.large_input();
        room = own.capacity() - own.len();
        received = unless_blocked(|| receive(stream, own))?;
        echoed = echo_owned(connection, stream);
    } else {
        // What came half before goes to the front, and what is half then moves to memory of its size.
        buffer.clear();
        buffer.reserve(READ_SIZE);
        buffer.extend_from_slice(connection.unparsed());
        room = buffer.capacity() - buffer.len();
        received = unless_blocked(|| receive(stream, buffer))?;
        connection.lend_input(std::mem::take(buffer));
        echoed = echo(connection, stream);
        *buffer = connection.reclaim_input().unwrap_or_default();
    }
    if let Err(error) = echoed {
        // The engine has queued a Close that tells the peer as well.
        eprintln!("{error}");
    }
    if received == Some(0) {
        eprintln!("a client left without a Close");
        connection.input_eof();
        // There are no more events, which lets the end take effect.
        let _ = connection.next_event_ref();
    }
    Ok(received.map(|count| count == room))
}

/// Echoes messages from where they lie. The engine answers pings and Closes by itself.
fn echo(connection: &mut Connection, stream: &TcpStream) -> Result<(), Box<dyn Error>> {
    loop {
        let (receiver, sender) = connection.halves();
        loop {
            match receiver.next_event_ref()? {
                Some(EventRef::Message(message @ (MessageRef::Text(_) | MessageRef::Binary(_)))) => {
                    sender.send_ref(message)?;
                }
                Some(_) => break,
                None => return Ok(()),
            }
        }
        answer(connection, stream)?;
    }
}

/// The same for large messages: each leaves in the memory that it came in.
fn echo_owned(connection: &mut Connection, stream: &TcpStream) -> Result<(), Box<dyn Error>> {
    while let Some(event) = connection.next_event()? {
        match event {
            Event::Message(message @ (Message::Text(_) | Message::Binary(_))) => connection.send(message)?,
            _ => answer(connection, stream)?,
        }
    }
    Ok(())
}

/// Lets a pong begin to leave before the next ping is looked at: the engine holds one at most.
fn answer(connection: &mut Connection, mut stream: &TcpStream) -> io::Result<()> {
    if connection.wants_output() {
        unless_blocked(|| connection.write_to(&mut stream))?;
    }
    Ok(())
}

/// Reads once, behind what is in the buffer; its room need not be zeroed for that.
#[expect(unsafe_code, reason = "safe Rust reads only into memory that was written before")]
fn receive(stream: &TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    let count = socket2::SockRef::from(stream).recv(buffer.spare_capacity_mut())?;
    // SAFETY: the call has written so many bytes behind those that were there.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

/// Repeats a call that a signal interrupted. `None`: it would block.
fn unless_blocked<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result.map(Some),
        }
    }
}

const LISTENER: Token = Token(usize::MAX);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The thread's buffer: it stays in the cache, and takes bursts of many messages in one read.
const READ_SIZE: usize = 512 << 10;
/// While more bytes wait for a peer that does not read, nothing is read from it.
const MOST_QUEUED: usize = 1 << 20;
/// What is done in a turn: one peer must not keep the thread.
const STEPS: usize = 8;
/// How long a peer may take for what it owes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often that is looked at.
const SWEEP: Duration = Duration::from_secs(1);
