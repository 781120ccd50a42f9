//! soketto over buffers for reading and writing, as its documentation recommends. It leaves UTF-8 to its caller, who
//! has simdutf8; a client masks the caller's bytes, and a copy of text.

use futures::io::{BufReader, BufWriter};
use simdutf8::basic::from_utf8;
use soketto::connection::Builder;
use soketto::{Mode, Receiver, Sender};

use super::{Contestant, MOST_MESSAGE, Receive, Seen, Send, is_end};
use crate::frames::{Case, Role};
use crate::stream::{Memory, run};

pub fn contestant() -> Contestant {
    Contestant {
        receive: Some(|case, memory| {
            Box::new(Receiving { receiver: halves(case, memory).1, message: Vec::new() })
        }),
        send: Some(|case, memory| {
            let text = case.kind.is_text().then(|| String::from_utf8(case.payload()).expect("it is text"));
            Box::new(Sending {
                sender: halves(case, memory).0,
                payload: case.payload(),
                text,
                role: case.role,
            })
        }),
        in_place: true,
        ..Contestant::new("soketto")
    }
}

type Buffered = BufReader<BufWriter<Memory>>;

struct Receiving {
    receiver: Receiver<Buffered>,
    message: Vec<u8>,
}

impl Receive for Receiving {
    fn receive(&mut self, count: usize, seen: &mut Seen<'_>) {
        run(async {
            for _ in 0..count {
                self.message.clear();
                let data = self.receiver.receive_data(&mut self.message).await.expect("the frames are valid");
                if data.is_text() {
                    seen.note(from_utf8(&self.message).expect("it is text").as_bytes());
                } else {
                    seen.note(&self.message);
                }
            }
        });
    }
}

struct Sending {
    sender: Sender<Buffered>,
    payload: Vec<u8>,
    text: Option<String>,
    role: Role,
}

impl Send for Sending {
    fn send(&mut self, count: usize) {
        run(async {
            for number in 1..=count {
                match (&self.text, self.role) {
                    (Some(text), _) => self.sender.send_text(text).await,
                    (None, Role::Server) => self.sender.send_binary(&self.payload).await,
                    (None, Role::Client) => self.sender.send_binary_mut(&mut self.payload).await,
                }
                .expect("the transport is ready");
                if is_end(number, count) {
                    self.sender.flush().await.expect("the transport is ready");
                }
            }
        });
    }
}

fn halves(case: Case, memory: Memory) -> (Sender<Buffered>, Receiver<Buffered>) {
    let mode = match case.role {
        Role::Server => Mode::Server,
        Role::Client => Mode::Client,
    };
    let buffered = BufReader::with_capacity(BUFFER, BufWriter::with_capacity(BUFFER, memory));
    let mut builder = Builder::new(buffered, mode);
    builder.set_max_message_size(MOST_MESSAGE);
    builder.set_max_frame_size(MOST_MESSAGE);
    builder.finish()
}

/// More than the default of 8 KiB, so that it has to read no more often than others.
const BUFFER: usize = 64 << 10;
