//! tungstenite over `Read` and `Write`. It copies payloads into its write buffer, and masks them there.

use bytes::Bytes;
use tungstenite::protocol::{Role as Theirs, WebSocketConfig};
use tungstenite::{Message, Utf8Bytes, WebSocket};

use super::{Contestant, MOST_MESSAGE, Receive, Seen, Send, is_end};
use crate::frames::{Case, Role};
use crate::stream::Memory;

pub fn contestant() -> Contestant {
    Contestant {
        receive: Some(|case, memory| Box::new(Socket::new(case, memory))),
        send: Some(|case, memory| Box::new(Socket::new(case, memory))),
        ..Contestant::new("tungstenite")
    }
}

struct Socket {
    socket: WebSocket<Memory>,
    message: Message,
}

impl Socket {
    fn new(case: Case, memory: Memory) -> Self {
        let socket = WebSocket::from_raw_socket(memory, role(case), Some(config()));
        Self { socket, message: message(case) }
    }
}

impl Receive for Socket {
    fn receive(&mut self, count: usize, seen: &mut Seen<'_>) {
        for _ in 0..count {
            match self.socket.read().expect("the frames are valid") {
                Message::Binary(bytes) => seen.note(&bytes),
                Message::Text(text) => seen.note(text.as_bytes()),
                other => panic!("nobody sent {other:?}"),
            }
        }
    }
}

impl Send for Socket {
    fn send(&mut self, count: usize) {
        for number in 1..=count {
            self.socket.write(self.message.clone()).expect("the transport is ready");
            if is_end(number, count) {
                self.socket.flush().expect("the transport is ready");
            }
        }
    }
}

pub(super) fn role(case: Case) -> Theirs {
    match case.role {
        Role::Server => Theirs::Server,
        Role::Client => Theirs::Client,
    }
}

/// The default buffers, which its documentation recommends for speed.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MOST_MESSAGE)).max_frame_size(Some(MOST_MESSAGE))
}

pub(super) fn message(case: Case) -> Message {
    let payload = Bytes::from(case.payload());
    if case.kind.is_text() {
        Message::Text(Utf8Bytes::try_from(payload).expect("it is text"))
    } else {
        Message::Binary(payload)
    }
}
