//! The engine for JavaScript: it feeds bytes, takes events, and carries the output to wherever it likes.

use std::cell::RefCell;

use taut::proto::handshake::{Accept, ClientHandshake, ClientRequest, ServerHandshake};
use taut::proto::{CloseCode, CloseStatus, Config, Connection, Event, Message};

use crate::memory::{given, random_bytes, taken};

/// One end of a connection.
enum Engine {
    Server(ServerHandshake),
    Client(ClientHandshake),
    Open(Connection),
    /// The handshake failed; what is left is to tell the peer.
    Failed(Vec<u8>),
}

#[unsafe(no_mangle)]
extern "C" fn engine_server() -> usize {
    add(Engine::Server(ServerHandshake::new()))
}

#[unsafe(no_mangle)]
extern "C" fn engine_client() -> usize {
    let request = ClientRequest::new("browser", "/").expect("host and resource can stand in a request");
    add(Engine::Client(ClientHandshake::new(&request, random_bytes())))
}

/// Forgets it; its number is not given again.
#[unsafe(no_mangle)]
extern "C" fn engine_drop(engine: usize) {
    ENGINES.with_borrow_mut(|engines| engines[engine] = None);
}

/// Takes the bytes in the buffer; none are the end of the stream.
#[unsafe(no_mangle)]
extern "C" fn engine_feed(engine: usize) {
    let bytes = taken();
    with(engine, |engine| match (engine, bytes.is_empty()) {
        (Engine::Server(handshake), false) => handshake.feed(&bytes),
        (Engine::Server(handshake), true) => handshake.input_eof(),
        (Engine::Client(handshake), false) => handshake.feed(&bytes),
        (Engine::Client(handshake), true) => handshake.input_eof(),
        (Engine::Open(connection), false) => connection.feed(&bytes),
        (Engine::Open(connection), true) => connection.input_eof(),
        (Engine::Failed(_), _) => {}
    });
}

/// Puts the next event into the buffer, its opcode of RFC 6455 first, or [`ERROR`]; gives its length, zero if there is none.
#[unsafe(no_mangle)]
extern "C" fn engine_event(engine: usize) -> usize {
    with(engine, |engine| match engine.next() {
        Ok(None) => 0,
        Ok(Some(Message::Text(text))) => tagged(0x1, text.as_bytes()),
        Ok(Some(Message::Binary(bytes))) => tagged(0x2, &bytes),
        Ok(Some(Message::Close(frame))) => {
            let code = frame.map_or(CloseStatus::NO_CODE, |frame| frame.code().get());
            tagged(0x8, &code.to_be_bytes())
        }
        Ok(Some(Message::Ping(bytes))) => tagged(0x9, &bytes),
        Ok(Some(Message::Pong(bytes))) => tagged(0xA, &bytes),
        Err(error) => tagged(ERROR, error.as_bytes()),
    })
}

/// Puts all bytes that are to be sent into the buffer; gives how many.
#[unsafe(no_mangle)]
extern "C" fn engine_output(engine: usize) -> usize {
    with(engine, |engine| {
        let mut bytes = Vec::new();
        let output = match engine {
            Engine::Server(handshake) => handshake.output(),
            Engine::Client(handshake) => handshake.output(),
            Engine::Open(connection) => connection.output(),
            Engine::Failed(answer) => return given(std::mem::take(answer)),
        };
        while let Some(piece) = output.pop() {
            bytes.extend_from_slice(&piece);
        }
        given(bytes)
    })
}

/// Sends the buffer as a message of that opcode; whether it was taken.
#[unsafe(no_mangle)]
extern "C" fn engine_send(engine: usize, opcode: u8) -> bool {
    let bytes = taken();
    with(engine, |engine| match (engine, opcode, String::from_utf8(bytes)) {
        (Engine::Open(connection), 0x1, Ok(text)) => connection.send(Message::text(text)).is_ok(),
        (Engine::Open(connection), 0x2, Ok(text)) => connection.send(Message::binary(text)).is_ok(),
        (Engine::Open(connection), 0x2, Err(bytes)) => {
            connection.send(Message::binary(bytes.into_bytes())).is_ok()
        }
        _ => false,
    })
}

#[unsafe(no_mangle)]
extern "C" fn engine_close(engine: usize, code: u16) {
    with(engine, |engine| {
        if let Engine::Open(connection) = engine {
            connection.close(CloseCode::new(code).map(Into::into));
        }
    });
}

/// Whether it is for this end to end the stream.
#[unsafe(no_mangle)]
extern "C" fn engine_ends(engine: usize) -> bool {
    with(engine, |engine| match engine {
        Engine::Open(connection) => connection.wants_shutdown(),
        Engine::Failed(answer) => answer.is_empty(),
        Engine::Server(_) | Engine::Client(_) => false,
    })
}

impl Engine {
    fn next(&mut self) -> Result<Option<Message>, String> {
        loop {
            match self {
                Self::Server(handshake) => match handshake.poll() {
                    Ok(None) => return Ok(None),
                    Ok(Some(pending)) => {
                        let accepted = pending.accept(Accept::new(), Config::new());
                        *self = Self::Open(accepted.map_err(|error| error.reason().to_string())?);
                    }
                    Err(error) => {
                        let mut answer = Vec::new();
                        while let Some(piece) = handshake.output().pop() {
                            answer.extend_from_slice(&piece);
                        }
                        *self = Self::Failed(answer);
                        return Err(error.to_string());
                    }
                },
                Self::Client(handshake) => match handshake.poll() {
                    Ok(None) => return Ok(None),
                    Ok(Some(established)) => {
                        *self = Self::Open(established.into_connection(Config::new(), random_bytes));
                    }
                    Err(error) => {
                        *self = Self::Failed(Vec::new());
                        return Err(error.to_string());
                    }
                },
                Self::Open(connection) => {
                    let event = connection.next_event().map_err(|error| error.to_string())?;
                    return Ok(event.map(Event::into_message));
                }
                Self::Failed(_) => return Ok(None),
            }
        }
    }
}

fn tagged(tag: u8, bytes: &[u8]) -> usize {
    given([&[tag], bytes].concat())
}

fn add(engine: Engine) -> usize {
    ENGINES.with_borrow_mut(|engines| {
        engines.push(Some(engine));
        engines.len() - 1
    })
}

fn with<T>(number: usize, work: impl FnOnce(&mut Engine) -> T) -> T {
    ENGINES.with_borrow_mut(|engines| work(engines[number].as_mut().expect("the engine was not dropped")))
}

/// The tag of an error, whose text follows.
const ERROR: u8 = 0xFF;

thread_local! {
    static ENGINES: RefCell<Vec<Option<Engine>>> = const { RefCell::new(Vec::new()) };
}
