//! tokio-tungstenite: tungstenite behind a `Stream` and `Sink`.

use futures::{SinkExt, StreamExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Contestant, Receive, Seen, Send, is_end, tungstenite};
use crate::frames::Case;
use crate::stream::{Memory, run};

pub fn contestant() -> Contestant {
    Contestant {
        receive: Some(|case, memory| Box::new(Socket::new(case, memory))),
        send: Some(|case, memory| Box::new(Socket::new(case, memory))),
        ..Contestant::new("tokio-tungstenite")
    }
}

struct Socket {
    socket: WebSocketStream<Memory>,
    message: Message,
}

impl Socket {
    fn new(case: Case, memory: Memory) -> Self {
        let role = tungstenite::role(case);
        let socket = run(WebSocketStream::from_raw_socket(memory, role, Some(tungstenite::config())));
        Self { socket, message: tungstenite::message(case) }
    }
}

impl Receive for Socket {
    fn receive(&mut self, count: usize, seen: &mut Seen<'_>) {
        run(async {
            for _ in 0..count {
                match self.socket.next().await.expect("the stream has no end").expect("the frames are valid")
                {
                    Message::Binary(bytes) => seen.note(&bytes),
                    Message::Text(text) => seen.note(text.as_bytes()),
                    other => panic!("nobody sent {other:?}"),
                }
            }
        });
    }
}

impl Send for Socket {
    fn send(&mut self, count: usize) {
        run(async {
            for number in 1..=count {
                self.socket.feed(self.message.clone()).await.expect("the transport is ready");
                if is_end(number, count) {
                    self.socket.flush().await.expect("the transport is ready");
                }
            }
        });
    }
}
