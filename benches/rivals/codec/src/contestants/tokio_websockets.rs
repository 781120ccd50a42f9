//! tokio-websockets, without limits and with frames as long as their messages, as its own benchmark has them. It
//! queues payloads by reference; a client copies one that others share, and masks the copy.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio_websockets::{ClientBuilder, Config, Limits, Message, ServerBuilder, WebSocketStream};

use super::{Contestant, Receive, Seen, Send, is_end};
use crate::frames::{Case, Role};
use crate::stream::{Memory, run};

pub fn contestant() -> Contestant {
    Contestant {
        receive: Some(|case, memory| Box::new(Socket::new(case, memory))),
        send: Some(|case, memory| Box::new(Socket::new(case, memory))),
        ..Contestant::new("tokio-websockets")
    }
}

struct Socket {
    socket: WebSocketStream<Memory>,
    payload: Bytes,
    is_text: bool,
}

impl Socket {
    fn new(case: Case, memory: Memory) -> Self {
        let config = Config::default().frame_size(usize::MAX);
        let socket = match case.role {
            Role::Server => ServerBuilder::new().config(config).limits(Limits::unlimited()).serve(memory),
            Role::Client => ClientBuilder::new().config(config).limits(Limits::unlimited()).take_over(memory),
        };
        Self { socket, payload: case.payload().into(), is_text: case.kind.is_text() }
    }
}

impl Receive for Socket {
    fn receive(&mut self, count: usize, seen: &mut Seen<'_>) {
        run(async {
            for _ in 0..count {
                let message = self.socket.next().await.expect("the stream has no end");
                seen.note(message.expect("the frames are valid").as_payload());
            }
        });
    }
}

impl Send for Socket {
    fn send(&mut self, count: usize) {
        run(async {
            for number in 1..=count {
                let payload = self.payload.clone();
                let message = if self.is_text { Message::text(payload) } else { Message::binary(payload) };
                self.socket.feed(message).await.expect("the transport is ready");
                if is_end(number, count) {
                    self.socket.flush().await.expect("the transport is ready");
                }
            }
        });
    }
}
