//! yawc with the buffers of its own comparison with others, and told to check UTF-8. It copies payloads into its
//! write buffer, and masks them on the way.

use bytes::Bytes;
use futures::SinkExt;
use yawc::{Frame, Options, Role as Theirs, WebSocket};

use super::{Contestant, MOST_MESSAGE, Receive, Seen, Send, is_end};
use crate::frames::{Case, Role};
use crate::stream::{Memory, run};

pub fn contestant() -> Contestant {
    Contestant {
        receive: Some(|case, memory| Box::new(Socket::new(case, memory))),
        send: Some(|case, memory| Box::new(Socket::new(case, memory))),
        ..Contestant::new("yawc")
    }
}

struct Socket {
    socket: WebSocket<Memory>,
    payload: Bytes,
    is_text: bool,
}

impl Socket {
    fn new(case: Case, memory: Memory) -> Self {
        let role = match case.role {
            Role::Server => Theirs::Server,
            Role::Client => Theirs::Client,
        };
        let options = Options::default()
            .with_utf8()
            .with_limits(MOST_MESSAGE, 2 * MOST_MESSAGE)
            .with_read_buffer_capacity(128 << 10)
            .with_backpressure_boundary(64 << 10);
        let socket = WebSocket::from_stream(memory, role, options).expect("the options fit each other");
        Self { socket, payload: case.payload().into(), is_text: case.kind.is_text() }
    }
}

impl Receive for Socket {
    fn receive(&mut self, count: usize, seen: &mut Seen<'_>) {
        run(async {
            for _ in 0..count {
                seen.note(self.socket.next_frame().await.expect("the frames are valid").payload());
            }
        });
    }
}

impl Send for Socket {
    fn send(&mut self, count: usize) {
        run(async {
            for number in 1..=count {
                let payload = self.payload.clone();
                let frame = if self.is_text { Frame::text(payload) } else { Frame::binary(payload) };
                self.socket.feed(frame).await.expect("the transport is ready");
                if is_end(number, count) {
                    self.socket.flush().await.expect("the transport is ready");
                }
            }
        });
    }
}
