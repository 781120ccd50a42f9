//! sockudo-ws: its stream, and the engine below it. No timers: there is no runtime to have them, and they would cost.
//! The stream copies small payloads, masked on the way, and queues large ones of a server by reference.

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use sockudo_ws::protocol::Protocol;
use sockudo_ws::{Config, Message, RECV_BUFFER_SIZE, Role as Theirs, WebSocketStream};

use super::{Contestant, MOST_MESSAGE, Receive, Seen, Send, is_end};
use crate::frames::{Case, Role};
use crate::stream::{Memory, run};

pub fn contestants() -> Vec<Contestant> {
    vec![
        Contestant {
            receive: Some(|case, memory| Box::new(Socket::new(case, memory))),
            send: Some(|case, memory| Box::new(Socket::new(case, memory))),
            ..Contestant::new("sockudo-ws")
        },
        Contestant {
            receive: Some(|case, memory| Box::new(Engine::new(case, memory))),
            ..Contestant::new("sockudo-ws, Protocol")
        },
    ]
}

struct Socket {
    socket: WebSocketStream<Memory>,
    message: Message,
}

impl Socket {
    fn new(case: Case, memory: Memory) -> Self {
        let config = Config {
            max_message_size: MOST_MESSAGE,
            max_frame_size: MOST_MESSAGE,
            auto_ping: false,
            idle_timeout: 0,
            ..Config::default()
        };
        let socket = match case.role {
            Role::Server => WebSocketStream::server(memory, config),
            Role::Client => WebSocketStream::client(memory, config),
        };
        let payload = Bytes::from(case.payload());
        let message = if case.kind.is_text() { Message::Text(payload) } else { Message::Binary(payload) };
        Self { socket, message }
    }
}

impl Receive for Socket {
    fn receive(&mut self, count: usize, seen: &mut Seen<'_>) {
        run(async {
            for _ in 0..count {
                let message = self.socket.next().await.expect("the stream has no end");
                seen.note(message.expect("the frames are valid").as_bytes());
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

/// The engine by itself, with the buffer that its own stream has.
struct Engine {
    protocol: Protocol,
    memory: Memory,
    buffer: BytesMut,
    /// Those of the latest read that were not taken.
    messages: Vec<Message>,
}

impl Engine {
    fn new(case: Case, memory: Memory) -> Self {
        let role = match case.role {
            Role::Server => Theirs::Server,
            Role::Client => Theirs::Client,
        };
        let protocol = Protocol::new(role, MOST_MESSAGE, MOST_MESSAGE);
        let buffer = BytesMut::with_capacity(RECV_BUFFER_SIZE);
        Self { protocol, memory, buffer, messages: Vec::new() }
    }
}

impl Receive for Engine {
    fn receive(&mut self, mut count: usize, seen: &mut Seen<'_>) {
        loop {
            let taken = count.min(self.messages.len());
            for message in self.messages.drain(..taken) {
                seen.note(message.as_bytes());
            }
            count -= taken;
            if count == 0 {
                return;
            }
            if self.buffer.capacity() - self.buffer.len() < LEAST_ROOM {
                self.buffer.reserve(RECV_BUFFER_SIZE);
            }
            let filled = self.memory.fill(self.buffer.spare_capacity_mut());
            // SAFETY: so many bytes behind the others were written.
            unsafe { self.buffer.set_len(self.buffer.len() + filled) };
            self.protocol.process_into(&mut self.buffer, &mut self.messages).expect("the frames are valid");
        }
    }
}

const LEAST_ROOM: usize = 4 << 10;
