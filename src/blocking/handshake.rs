//! Both opening handshakes over a blocking stream.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Instant;

use super::gate;
use super::stream::{linger, read, set_nodelay, shut_down, write_all};
use super::websocket::WebSocket;
use crate::error::{Deadline, Error};
use crate::options::Options;
use crate::proto::handshake::{
    Accept, ClientHandshake, ClientRequest, HandshakeError, Reject, Request, ServerHandshake, WebSocketUri,
};
use crate::proto::{Output, Role};
use crate::random::{RandomMasks, nonce};

/// Waits for a client's handshake and accepts it with the default settings. `TCP_NODELAY` is set first.
///
/// # Errors
/// [`Error::Handshake`] once the client was told what is wrong with its request, [`Error::NoRequest`] if it went away
/// before its first byte, or [`Error::Io`].
pub fn accept<S: Read + Write + 'static>(stream: S) -> Result<WebSocket<S>, Error> {
    accept_with(stream, Options::new(), |_| Ok(Accept::new()))
}

/// Waits for a client's handshake, lets `decide` look at the request, and does as it says.
///
/// # Errors
/// As [`accept`], and [`Error::Timeout`]; [`Error::Rejected`] if `decide` refused, [`Error::Build`] if it
/// accepted with a subprotocol that the client did not offer (the client gets status 500).
pub fn accept_with<S, F>(stream: S, options: Options, decide: F) -> Result<WebSocket<S>, Error>
where
    S: Read + Write + 'static,
    F: FnOnce(&Request) -> Result<Accept, Reject>,
{
    let mut socket = options.observer.outcome(Role::Server, serve(stream, options, decide))?;
    socket.flush()?;
    Ok(socket)
}

/// As far as the bytes that wait to be written.
fn serve<S, F>(mut stream: S, options: Options, decide: F) -> Result<WebSocket<S>, Error>
where
    S: Read + Write + 'static,
    F: FnOnce(&Request) -> Result<Accept, Reject>,
{
    set_nodelay(&stream);
    let start = Instant::now();
    let mut handshake = ServerHandshake::with_limits(options.limits);
    let pending = loop {
        match handshake.poll() {
            Ok(Some(pending)) => break pending,
            Ok(None) => {}
            Err(error) => {
                // The client's loss if it does not take the answer.
                let _ = answer(handshake.output(), &mut stream);
                return Err(match error {
                    HandshakeError::UnexpectedEof { received: 0 } => Error::NoRequest,
                    error => error.into(),
                });
            }
        }
        if start.elapsed() >= options.handshake_timeout {
            handshake.time_out();
            let _ = answer(handshake.output(), &mut stream);
            return Err(Error::Timeout(Deadline::Handshake));
        }
        if read(handshake.input(), &mut stream)? == 0 {
            handshake.input_eof();
        }
    };
    let (mut output, error) = match decide(pending.request()) {
        Ok(accept) => match pending.accept(options.agree(accept), options.config) {
            Ok(connection) => return Ok(WebSocket::new(stream, connection, &options)),
            Err(error) => {
                let reason = error.reason().clone();
                (error.into_pending().reject(Reject::new(500)?), reason.into())
            }
        },
        Err(reject) => {
            let status = reject.status();
            (pending.reject(reject), Error::Rejected(status))
        }
    };
    answer(&mut output, &mut stream)?;
    Err(error)
}

/// Connects to a `ws://` URI, by the first of its addresses that answers. `TCP_NODELAY` is set.
///
/// While a thread connects to an address, others wait for it to be done (RFC 6455 §4.1). All of it has the time of
/// [`Options::handshake_timeout`], save what the system takes to resolve the name; reads of the open socket have no
/// timeout.
///
/// # Errors
/// As [`connect_over`]; [`Error::Uri`], [`Error::Unsupported`] for `wss://`, and [`Error::Timeout`].
pub fn connect(uri: &str) -> Result<WebSocket<TcpStream>, Error> {
    let uri = WebSocketUri::parse(uri)?;
    if uri.is_secure() {
        return Err(Error::Unsupported("wss needs TLS: connect a TLS stream, then use connect_over"));
    }
    let request = ClientRequest::from_uri(&uri);
    let deadline = Instant::now() + Options::new().handshake_timeout;
    let mut unreached = io::Error::from(io::ErrorKind::NotFound);
    for address in (uri.host(), uri.port()).to_socket_addrs()? {
        let late = || Error::Timeout(Deadline::Connect);
        let _pass = gate::enter(address, deadline).ok_or_else(late)?;
        let left = || Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
        match TcpStream::connect_timeout(&address, left().ok_or_else(late)?) {
            Ok(stream) => {
                let left = left().ok_or_else(late)?;
                stream.set_read_timeout(Some(left))?;
                let connected = connect_over(stream, &request, Options::new().handshake_timeout(left));
                let socket = connected.map_err(|error| match error {
                    Error::Io(error) if is_timeout(&error) => Error::Timeout(Deadline::Handshake),
                    error => error,
                })?;
                socket.get_ref().set_read_timeout(None)?;
                return Ok(socket);
            }
            Err(error) => unreached = error,
        }
    }
    Err(unreached.into())
}

/// Does the client's handshake over a stream that is connected already.
///
/// # Errors
/// [`Error::Refused`] with the whole answer if the server does not upgrade, [`Error::Handshake`] if it does
/// so wrongly, [`Error::Io`], [`Error::Timeout`].
pub fn connect_over<S>(stream: S, request: &ClientRequest, options: Options) -> Result<WebSocket<S>, Error>
where
    S: Read + Write + 'static,
{
    options.observer.outcome(Role::Client, shake_hands(stream, request, options))
}

fn shake_hands<S>(mut stream: S, request: &ClientRequest, options: Options) -> Result<WebSocket<S>, Error>
where
    S: Read + Write + 'static,
{
    set_nodelay(&stream);
    let start = Instant::now();
    let mut handshake = ClientHandshake::with_limits(&options.offer(request), nonce(), options.limits);
    write_all(handshake.output(), &mut stream)?;
    loop {
        if let Some(established) = handshake.poll()? {
            let connection = established.into_connection(options.config, RandomMasks::new());
            return Ok(WebSocket::new(stream, connection, &options));
        }
        // A refusal whose body takes too long is still the server's answer.
        let too_late = |handshake: &mut ClientHandshake, error| match handshake.take_refusal() {
            Some(answer) => Error::Refused(answer),
            None => error,
        };
        if start.elapsed() >= options.handshake_timeout {
            return Err(too_late(&mut handshake, Error::Timeout(Deadline::Handshake)));
        }
        match read(handshake.input(), &mut stream) {
            Ok(0) => handshake.input_eof(),
            Ok(_) => {}
            Err(error) if is_timeout(&error) => return Err(too_late(&mut handshake, error.into())),
            Err(error) => return Err(error.into()),
        }
    }
}

/// As systems tell it of reads: on Windows by the latter.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Answers a request that is not accepted, and ends the stream.
fn answer<S: Read + Write + 'static>(output: &mut Output, stream: &mut S) -> io::Result<()> {
    write_all(output, stream)?;
    shut_down(stream);
    linger(stream);
    Ok(())
}
