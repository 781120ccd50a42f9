//! taut without an operating system: an echo server and its client over `embedded-io-async`, with `alloc` and without `std`.
//!
//! Both are futures for any executor, embassy's for one. They have no clock: who runs them puts a deadline around them,
//! `embassy_time::with_timeout` for one.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod loopback;

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::{self, Debug};

use embassy_futures::block_on;
use embassy_futures::join::join;
use embedded_io_async::{Read, Write};
use taut::proto::handshake::{Accept, ClientHandshake, ClientRequest, HandshakeError, ServerHandshake};
use taut::proto::{CloseCode, Config, Connection, EventRef, HandshakeLimits, MaskSource, MessageRef};
use taut::proto::{Output, ProtocolError, SendError};

pub use loopback::{End, pair};

/// Why a connection ended before it should.
#[derive(Debug)]
pub enum Error<E> {
    Stream(E),
    Handshake(HandshakeError),
    Protocol(ProtocolError),
    Send(SendError),
    /// The request, or the answer to it, cannot be made.
    Build,
    /// The peer left without a Close.
    Lost,
    /// Another message came back than was sent.
    Different,
}

/// Serves one client: sends back what comes, until it closes.
///
/// # Errors
/// Those of the stream, and what the client did wrong; it has been told so.
pub async fn serve<S: Read + Write>(stream: &mut S) -> Result<(), Error<S::Error>> {
    let mut handshake = ServerHandshake::with_limits(LIMITS);
    let mut connection = loop {
        match handshake.poll() {
            Ok(Some(pending)) => break pending.accept(Accept::new(), CONFIG).map_err(|_| Error::Build)?,
            Ok(None) => {}
            Err(error) => {
                write(stream, handshake.output()).await?;
                return Err(error.into());
            }
        }
        if read(stream, |bytes| handshake.feed(bytes)).await? == 0 {
            handshake.input_eof();
        }
    };
    drive(stream, &mut connection, |message, connection| Ok(connection.send_ref(message)?)).await
}

/// Sends each message to an echo server when the one before has come back, and closes.
///
/// The nonce and the masking keys have to be random: a chip has a generator for that.
///
/// # Errors
/// Those of the stream, what the server did wrong, and [`Error::Different`].
pub async fn ask<S: Read + Write>(
    stream: &mut S,
    nonce: [u8; 16],
    masks: impl MaskSource + 'static,
    messages: &[&str],
) -> Result<(), Error<S::Error>> {
    let request = ClientRequest::new("loopback", "/").map_err(|_| Error::Build)?;
    let mut handshake = ClientHandshake::with_limits(&request, nonce, LIMITS);
    write(stream, handshake.output()).await?;
    let mut connection = loop {
        if let Some(established) = handshake.poll()? {
            break established.into_connection(CONFIG, masks);
        }
        if read(stream, |bytes| handshake.feed(bytes)).await? == 0 {
            handshake.input_eof();
        }
    };
    let mut rest = messages.iter();
    let mut sent = rest.next();
    if let Some(first) = sent {
        connection.send_text(first)?;
    }
    drive(stream, &mut connection, |message, connection| {
        match (message, sent) {
            (MessageRef::Text(came), Some(sent)) if came == *sent => {}
            _ => return Err(Error::Different),
        }
        sent = rest.next();
        match sent {
            Some(next) => connection.send_text(next)?,
            None => connection.close(Some(CloseCode::NORMAL.into())),
        }
        Ok(())
    })
    .await
}

/// The loop that is the same in every runtime: see [`Connection`].
async fn drive<S: Read + Write>(
    stream: &mut S,
    connection: &mut Connection,
    mut handle: impl FnMut(MessageRef<'_>, &mut taut::proto::Sender) -> Result<(), Error<S::Error>>,
) -> Result<(), Error<S::Error>> {
    loop {
        let (receiver, sender) = connection.halves();
        let event = match receiver.next_event_ref() {
            Ok(Some(EventRef::Message(message))) if message.is_data() => {
                handle(message, sender).map(|()| true)
            }
            // Answered by the engine.
            Ok(Some(_)) => Ok(true),
            Ok(None) => Ok(false),
            Err(error) => Err(error.into()),
        };
        write(stream, connection.output()).await?;
        if event? {
            continue;
        }
        if !connection.wants_input() {
            let clean = connection.close_status().is_some_and(|status| status.clean);
            return if clean { Ok(()) } else { Err(Error::Lost) };
        }
        if read(stream, |bytes| connection.feed(bytes)).await? == 0 {
            connection.input_eof();
        }
    }
}

/// Reads by a small buffer: what a message needs beyond it, the engine takes from the heap.
async fn read<S: Read>(stream: &mut S, feed: impl FnOnce(&[u8])) -> Result<usize, Error<S::Error>> {
    let mut buffer = [0; READ_SIZE];
    let count = stream.read(&mut buffer).await.map_err(Error::Stream)?;
    feed(&buffer[..count]);
    Ok(count)
}

async fn write<S: Write>(stream: &mut S, output: &mut Output) -> Result<(), Error<S::Error>> {
    while let Some(piece) = output.pop() {
        stream.write_all(&piece).await.map_err(Error::Stream)?;
    }
    stream.flush().await.map_err(Error::Stream)
}

/// Runs both ends on a network of the program's own, until the client has got everything back.
///
/// # Errors
/// Those of either end.
pub fn run() -> Result<usize, Box<dyn Debug>> {
    // A few bytes of room, so that every read and write is a part.
    let (mut client, mut server) = pair(61);
    let long: String = (0..1000_u32).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
    let messages = ["hello", "", "¿qué tal?", &long];
    // The generator of a chip goes here: these are not secret.
    let mut seed = 0x2545_F491_u32;
    let masks = move || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed.to_be_bytes()
    };
    let (served, asked) = block_on(join(
        async {
            let served = serve(&mut server).await;
            // The end of the stream, for which the client waits.
            drop(server);
            served
        },
        ask(&mut client, *b"not random at al", masks, &messages),
    ));
    served.map_err(boxed)?;
    asked.map_err(boxed)?;
    Ok(messages.len())
}

fn boxed<E: Debug + 'static>(error: Error<E>) -> Box<dyn Debug> {
    Box::new(error)
}

impl<E: Debug> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(error) => write!(f, "the stream failed: {error:?}"),
            Self::Handshake(error) => write!(f, "the opening handshake failed: {error}"),
            Self::Protocol(error) => write!(f, "the peer broke the protocol: {error}"),
            Self::Send(error) => write!(f, "the message was not sent: {error}"),
            Self::Build => f.write_str("the handshake cannot be made"),
            Self::Lost => f.write_str("the peer left without a Close"),
            Self::Different => f.write_str("another message came back than was sent"),
        }
    }
}

impl<E> From<HandshakeError> for Error<E> {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl<E> From<ProtocolError> for Error<E> {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl<E> From<SendError> for Error<E> {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

/// What a connection may hold at most.
const CONFIG: Config = Config::new().max_message(4 << 10).max_frame(4 << 10).max_queued(8 << 10);
const LIMITS: HandshakeLimits = HandshakeLimits::new().max_head(2 << 10).max_fields(32).max_body(256);
const READ_SIZE: usize = 256;
