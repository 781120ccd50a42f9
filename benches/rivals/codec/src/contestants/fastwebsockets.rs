//! fastwebsockets, its `FragmentCollector`. It writes each frame as it comes; a client masks the caller's buffer,
//! which is faster than the copy that it makes of a shared one.

use fastwebsockets::{FragmentCollector, Frame, Payload, Role as Theirs, WebSocket};

use super::{Contestant, MOST_MESSAGE, Receive, Seen, Send};
use crate::frames::{Case, Role};
use crate::stream::{Memory, run};

pub fn contestant() -> Contestant {
    Contestant {
        receive: Some(|case, memory| {
            Box::new(Receiving { socket: FragmentCollector::new(socket(case, memory)) })
        }),
        send: Some(|case, memory| {
            let is_text = case.kind.is_text();
            Box::new(Sending {
                socket: socket(case, memory),
                payload: case.payload(),
                is_text,
                role: case.role,
            })
        }),
        in_place: true,
        ..Contestant::new("fastwebsockets")
    }
}

struct Receiving {
    socket: FragmentCollector<Memory>,
}

impl Receive for Receiving {
    fn receive(&mut self, count: usize, seen: &mut Seen<'_>) {
        run(async {
            for _ in 0..count {
                seen.note(&self.socket.read_frame().await.expect("the frames are valid").payload);
            }
        });
    }
}

struct Sending {
    socket: WebSocket<Memory>,
    payload: Vec<u8>,
    is_text: bool,
    role: Role,
}

impl Send for Sending {
    fn send(&mut self, count: usize) {
        run(async {
            for _ in 0..count {
                let payload = match self.role {
                    Role::Server => Payload::Borrowed(&self.payload),
                    Role::Client => Payload::BorrowedMut(&mut self.payload),
                };
                let frame = if self.is_text { Frame::text(payload) } else { Frame::binary(payload) };
                self.socket.write_frame(frame).await.expect("the transport is ready");
            }
        });
    }
}

fn socket(case: Case, memory: Memory) -> WebSocket<Memory> {
    let role = match case.role {
        Role::Server => Theirs::Server,
        Role::Client => Theirs::Client,
    };
    let mut socket = WebSocket::after_handshake(memory, role);
    socket.set_max_message_size(MOST_MESSAGE);
    socket
}
