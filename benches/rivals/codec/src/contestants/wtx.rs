//! wtx, which lends frames out of its buffer. It writes each frame as it comes; a client masks the caller's buffer.

use wtx::collection::Vector;
use wtx::rng::{Xorshift64, simple_seed};
use wtx::web_socket::{Frame, OpCode, WebSocket, WebSocketBuffer, WebSocketPayloadOrigin};

use super::{Contestant, MOST_MESSAGE, Receive, Seen, Send};
use crate::frames::{Case, Role};
use crate::stream::{Memory, run};

pub fn contestant() -> Contestant {
    Contestant {
        receive: Some(|case, memory| match case.role {
            Role::Server => Box::new(Socket::<false>::new(case, memory)),
            Role::Client => Box::new(Socket::<true>::new(case, memory)),
        }),
        send: Some(|case, memory| match case.role {
            Role::Server => Box::new(Socket::<false>::new(case, memory)),
            Role::Client => Box::new(Socket::<true>::new(case, memory)),
        }),
        in_place: true,
        ..Contestant::new("wtx")
    }
}

struct Socket<const CLIENT: bool> {
    socket: WebSocket<(), Xorshift64, Memory, WebSocketBuffer, CLIENT>,
    gathered: Vector<u8>,
    payload: Vec<u8>,
    opcode: OpCode,
}

impl<const CLIENT: bool> Socket<CLIENT> {
    fn new(case: Case, memory: Memory) -> Self {
        // The generator of its own acceptor and connector.
        let random = Xorshift64::from(simple_seed());
        let buffer = WebSocketBuffer::with_capacity(BUFFER, 0, 0).expect("there is memory");
        let mut socket = WebSocket::new((), false, random, memory, buffer);
        socket.set_max_payload_len(MOST_MESSAGE);
        let opcode = if case.kind.is_text() { OpCode::Text } else { OpCode::Binary };
        Self { socket, gathered: Vector::new(), payload: case.payload(), opcode }
    }
}

impl<const CLIENT: bool> Receive for Socket<CLIENT> {
    fn receive(&mut self, count: usize, seen: &mut Seen<'_>) {
        run(async {
            for _ in 0..count {
                let origin = WebSocketPayloadOrigin::Adaptive;
                let frame = self.socket.read_frame(&mut self.gathered, origin).await;
                seen.note(frame.expect("the frames are valid").payload());
            }
        });
    }
}

impl<const CLIENT: bool> Send for Socket<CLIENT> {
    fn send(&mut self, count: usize) {
        run(async {
            for _ in 0..count {
                let mut frame = Frame::new_fin(self.opcode, &mut self.payload[..]);
                self.socket.write_frame(&mut frame).await.expect("the transport is ready");
            }
        });
    }
}

/// It grows by what a frame needs, and without this would read a frame at a time.
const BUFFER: usize = 128 << 10;
