//! An echo server on compio, straight over the engine: io_uring, where the kernel owns a buffer until it is done with it.
//!
//! `echo-server-compio ADDR`; prints the address it listens on.
//!
//! Nothing is copied between the two: a read fills the engine's own buffer, which is lent to the kernel meanwhile, and a
//! write takes the pieces of the engine's output. Who reads and writes in turn, as here, is slowed down by a peer that does
//! not read; a peer that does neither is left after a while.

use std::error::Error;
use std::time::Duration;

use compio::BufResult;
use compio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{Runtime, spawn};
use compio::time::{sleep, timeout};
use taut::proto::handshake::{Accept, ServerHandshake};
use taut::proto::{Config, Connection, EventRef, Output};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: echo-server-compio ADDR")?;
    Runtime::new()?.block_on(listen(&address))
}

async fn listen(address: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    loop {
        // An error here is one client's, or too many open files: others can still come.
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let serve = async {
            if let Err(error) = serve(stream).await {
                eprintln!("{error}");
            }
        };
        spawn(serve).detach();
    }
}

async fn serve(mut stream: TcpStream) -> Result<(), Box<dyn Error>> {
    // Small messages must not wait for others to fill a segment.
    stream.set_nodelay(true)?;
    let result = match timeout(PATIENCE, accept(&mut stream)).await?? {
        Some(mut connection) => echo(&mut stream, &mut connection).await,
        None => Ok(()),
    };
    // The end is the client's to see first: closing with unread bytes would reset the connection, and could destroy what was
    // written last.
    stream.shutdown().await?;
    let _ = timeout(PATIENCE, discard(&mut stream)).await;
    result
}

/// The opening handshake; nothing if it was answered with a refusal.
async fn accept(stream: &mut TcpStream) -> Result<Option<Connection>, Box<dyn Error>> {
    let mut handshake = ServerHandshake::new();
    let mut head = Vec::with_capacity(MOST_HEAD);
    loop {
        match handshake.poll() {
            Ok(Some(pending)) => {
                // What waits is what one read brought: nothing is read before it is written.
                let config = Config::new().max_queued(usize::MAX);
                return Ok(Some(pending.accept(Accept::new(), config)?));
            }
            Ok(None) => {}
            Err(error) => {
                eprintln!("{error}");
                write(stream, handshake.output()).await?;
                return Ok(None);
            }
        }
        let BufResult(count, read) = stream.read(head).await;
        head = read;
        match count? {
            0 => handshake.input_eof(),
            _ => handshake.feed(&head),
        }
    }
}

/// The loop that is the same in every runtime: see `Connection`.
async fn echo(stream: &mut TcpStream, connection: &mut Connection) -> Result<(), Box<dyn Error>> {
    loop {
        let answered = answer(connection);
        write(stream, connection.output()).await?;
        match answered {
            Ok(Answered::All) if connection.wants_input() => {}
            Ok(Answered::Part) => continue,
            // After an error the client has been told as well.
            over => return over.map(drop),
        }
        // Makes room, and gives it to the kernel.
        connection.input();
        let BufResult(count, input) = stream.append(connection.take_input()).await;
        connection.put_input(input);
        if count? == 0 {
            connection.input_eof();
        }
    }
}

/// How much of what came was answered.
enum Answered {
    All,
    /// What waits is to be written first.
    Part,
}

/// Echoes messages from where they lie. The engine answers pings and Closes by itself: one pong waits at most, so that
/// each is written before the next ping is looked at.
fn answer(connection: &mut Connection) -> Result<Answered, Box<dyn Error>> {
    let (receiver, sender) = connection.halves();
    while let Some(event) = receiver.next_event_ref()? {
        match event {
            EventRef::Message(message) if message.is_data() => sender.send_ref(message)?,
            _ => return Ok(Answered::Part),
        }
    }
    Ok(Answered::All)
}

/// Writes all that waits, in pieces that the kernel owns while it reads them.
async fn write(stream: &mut TcpStream, output: &mut Output) -> Result<(), Box<dyn Error>> {
    while let Some(piece) = output.pop() {
        timeout(PATIENCE, stream.write_all(piece)).await?.0?;
    }
    Ok(())
}

/// Reads and drops what still comes.
async fn discard(stream: &mut TcpStream) {
    let mut dropped = Vec::with_capacity(1024);
    loop {
        let BufResult(count, read) = stream.read(dropped).await;
        match count {
            Ok(1..) => dropped = read,
            _ => return,
        }
    }
}

/// The most that a read brings of a handshake.
const MOST_HEAD: usize = 4 << 10;
/// How long a client may take for its handshake, to read what waits for it, and to leave.
const PATIENCE: Duration = Duration::from_secs(10);
