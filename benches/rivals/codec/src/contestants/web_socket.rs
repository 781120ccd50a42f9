//! web-socket over a buffer for reading. It leaves UTF-8 to its caller, who has simdutf8, and fragments as well. It
//! writes each frame as it comes; a client masks a copy.

use simdutf8::basic::from_utf8;
use tokio::io::BufReader;
use web_socket::{DataType, Event, MessageType, WebSocket};

use super::{Contestant, MOST_MESSAGE, Receive, Seen, Send};
use crate::frames::{Case, Role};
use crate::stream::{Memory, run};

pub fn contestant() -> Contestant {
    Contestant {
        receive: Some(|case, memory| {
            let mut socket = socket(case, BufReader::with_capacity(BUFFER, memory));
            socket.max_payload_len = MOST_MESSAGE;
            Box::new(Receiving { socket })
        }),
        send: Some(|case, memory| {
            let socket = socket(case, memory);
            Box::new(Sending { socket, payload: case.payload(), is_text: case.kind.is_text() })
        }),
        gathers: false,
        ..Contestant::new("web-socket")
    }
}

struct Receiving {
    socket: WebSocket<BufReader<Memory>>,
}

impl Receive for Receiving {
    fn receive(&mut self, count: usize, seen: &mut Seen<'_>) {
        run(async {
            for _ in 0..count {
                match self.socket.recv_event().await.expect("the transport is ready") {
                    Event::Data { ty: DataType::Complete(MessageType::Text), data } => {
                        seen.note(from_utf8(&data).expect("it is text").as_bytes());
                    }
                    Event::Data { ty: DataType::Complete(MessageType::Binary), data } => seen.note(&data),
                    other => panic!("nobody sent {other:?}"),
                }
            }
        });
    }
}

struct Sending {
    socket: WebSocket<Memory>,
    payload: Vec<u8>,
    is_text: bool,
}

impl Send for Sending {
    fn send(&mut self, count: usize) {
        let text = if self.is_text { std::str::from_utf8(&self.payload).ok() } else { None };
        run(async {
            for _ in 0..count {
                match text {
                    Some(text) => self.socket.send(text).await,
                    None => self.socket.send(&self.payload[..]).await,
                }
                .expect("the transport is ready");
            }
        });
    }
}

fn socket<T>(case: Case, transport: T) -> WebSocket<T> {
    match case.role {
        Role::Server => WebSocket::server(transport),
        Role::Client => WebSocket::client(transport),
    }
}

/// More than the default of 8 KiB, so that it has to read no more often than others.
const BUFFER: usize = 64 << 10;
