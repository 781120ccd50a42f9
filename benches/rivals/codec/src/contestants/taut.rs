//! taut's engine. A program with a buffer of its own lends it to the connection after each read, except while a large
//! message goes on; one without reads into the connection's. Messages are borrowed or owned; sent
//! from a slice, given as `Bytes` that others have too, or as `Bytes` that are the caller's alone.

use bytes::{Buf, Bytes, BytesMut};
use std::io::IoSlice;
use taut::RandomMasks;
use taut::proto::{Config, Connection, Event, EventRef, MaskSource, Message, MessageRef, Utf8Bytes};

use super::{Contestant, MOST_MESSAGE, Receive, Seen, Send, is_end};
use crate::frames::{Case, Kind, Role};
use crate::stream::{MOST, Memory};

pub fn contestants() -> Vec<Contestant> {
    vec![
        Contestant {
            receive: Some(|case, memory| Box::new(Receiving::<true, true>::new(case, memory))),
            send: Some(|case, memory| Box::new(Lending::new(case, memory, RandomMasks::new()))),
            ..Contestant::new("taut, borrowed")
        },
        Contestant {
            receive: Some(|case, memory| Box::new(Receiving::<false, true>::new(case, memory))),
            send: Some(|case, memory| Box::new(Giving::new(case, memory))),
            ..Contestant::new("taut, owned")
        },
        Contestant {
            receive: Some(|case, memory| Box::new(Receiving::<true, false>::new(case, memory))),
            ..Contestant::new("taut, borrowed, large_input()")
        },
        Contestant {
            receive: Some(|case, memory| Box::new(Receiving::<false, false>::new(case, memory))),
            ..Contestant::new("taut, owned, large_input()")
        },
        Contestant {
            // No keys for use: anybody can guess them. Some rivals take such.
            send: Some(|case, memory| {
                Box::new(Lending::new(case, memory, || fastrand::u32(..).to_ne_bytes()))
            }),
            serves: false,
            ..Contestant::new("taut, borrowed, fastrand")
        },
        Contestant {
            send: Some(|case, memory| Box::new(Spending::new(case, memory))),
            in_place: true,
            serves: false,
            // Text that was masked is none any more, so that its type does not come back; short payloads are copied.
            suits: |case| case.kind == Kind::Binary && case.size > SHORT,
            ..Contestant::new("taut, in place")
        },
    ]
}

struct Receiving<const BORROWED: bool, const OWN_BUFFER: bool> {
    connection: Connection,
    memory: Memory,
    /// While it is not lent to the connection.
    buffer: BytesMut,
}

impl<const BORROWED: bool, const OWN_BUFFER: bool> Receiving<BORROWED, OWN_BUFFER> {
    fn new(case: Case, memory: Memory) -> Self {
        Self { connection: connection(case, RandomMasks::new()), memory, buffer: BytesMut::new() }
    }

    /// Takes the messages that came, up to so many; gives how many.
    #[inline]
    fn take(&mut self, most: usize, seen: &mut Seen<'_>) -> usize {
        for taken in 0..most {
            if BORROWED {
                let payload = match self.connection.next_event_ref().expect("the frames are valid") {
                    Some(EventRef::Message(MessageRef::Binary(bytes))) => bytes,
                    Some(EventRef::Message(MessageRef::Text(text))) => text.as_bytes(),
                    None => return taken,
                    Some(other) => panic!("nobody sent {other:?}"),
                };
                seen.note(payload);
            } else {
                let payload = match self.connection.next_event().expect("the frames are valid") {
                    Some(Event::Message(Message::Binary(bytes))) => bytes,
                    Some(Event::Message(Message::Text(text))) => text.into_bytes(),
                    None => return taken,
                    Some(other) => panic!("nobody sent {other:?}"),
                };
                seen.note(&payload);
            }
        }
        most
    }

    fn read(&mut self) {
        if !OWN_BUFFER || self.connection.wants_own_input() {
            fill(&mut self.memory, self.connection.large_input());
        } else {
            let mut buffer =
                self.connection.reclaim_input().unwrap_or_else(|| std::mem::take(&mut self.buffer));
            buffer.clear();
            buffer.reserve(MOST);
            // What is left of a frame comes first.
            buffer.extend_from_slice(self.connection.unparsed());
            fill(&mut self.memory, &mut buffer);
            self.connection.lend_input(buffer);
        }
    }
}

impl<const BORROWED: bool, const OWN_BUFFER: bool> Receive for Receiving<BORROWED, OWN_BUFFER> {
    fn receive(&mut self, count: usize, seen: &mut Seen<'_>) {
        let mut left = count;
        loop {
            left -= self.take(left, seen);
            if left == 0 {
                return;
            }
            self.read();
        }
    }
}

/// Sends slices: short ones, and all of a client, are copied; the others go where nothing waits before them.
struct Lending {
    connection: Connection,
    memory: Memory,
    payload: Vec<u8>,
    is_text: bool,
}

impl Lending {
    fn new(case: Case, memory: Memory, masks: impl MaskSource + 'static) -> Self {
        let is_text = case.kind.is_text();
        Self { connection: connection(case, masks), memory, payload: case.payload(), is_text }
    }
}

impl Send for Lending {
    fn send(&mut self, count: usize) {
        let message = if self.is_text {
            MessageRef::Text(std::str::from_utf8(&self.payload).expect("it is text"))
        } else {
            MessageRef::Binary(&self.payload)
        };
        for number in 1..=count {
            let sent = if self.payload.len() > SHORT {
                let memory = &mut self.memory;
                self.connection.send_ref_with(message, |header, payload| memory.put_all([header, payload]))
            } else {
                self.connection.send_ref(message)
            };
            sent.expect("the connection is open");
            write(&mut self.connection, &mut self.memory, number, count);
        }
    }
}

/// Gives its payloads away: large ones are queued by reference.
struct Giving {
    connection: Connection,
    memory: Memory,
    message: Message,
}

impl Giving {
    fn new(case: Case, memory: Memory) -> Self {
        let payload = Bytes::from(case.payload());
        let message = if case.kind.is_text() {
            Message::Text(Utf8Bytes::try_from(payload).expect("it is text"))
        } else {
            Message::Binary(payload)
        };
        Self { connection: connection(case, RandomMasks::new()), memory, message }
    }
}

impl Send for Giving {
    fn send(&mut self, count: usize) {
        for number in 1..=count {
            self.connection.send(self.message.clone()).expect("the connection is open");
            write(&mut self.connection, &mut self.memory, number, count);
        }
    }
}

/// Gives its only payload away, to be masked in place, and takes it back once it is written.
struct Spending {
    connection: Connection,
    memory: Memory,
    payload: Bytes,
}

impl Spending {
    fn new(case: Case, memory: Memory) -> Self {
        Self { connection: connection(case, RandomMasks::new()), memory, payload: case.payload().into() }
    }
}

impl Send for Spending {
    fn send(&mut self, count: usize) {
        for _ in 0..count {
            let payload = std::mem::take(&mut self.payload);
            self.connection.send(Message::Binary(payload)).expect("the connection is open");
            let output = self.connection.output();
            let (Some(header), Some(payload), None) = (output.pop(), output.pop(), output.pop()) else {
                panic!("a large payload is queued by reference, behind its header");
            };
            self.memory.put_all([&header[..], &payload[..]]);
            self.payload = payload;
        }
    }
}

/// Writes at the end of a burst, and when much waits.
#[inline]
fn write(connection: &mut Connection, memory: &mut Memory, number: usize, count: usize) {
    if !is_end(number, count) && connection.queued() < MUCH {
        return;
    }
    let output = connection.output();
    while output.has_remaining() {
        let written = if output.is_in_one() {
            memory.put(output.chunk())
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = output.chunks_vectored(&mut slices);
            memory.put_all(slices[..used].iter().map(|slice| &**slice))
        };
        output.advance(written);
    }
}

fn fill(memory: &mut Memory, buffer: &mut BytesMut) {
    let filled = memory.fill(buffer.spare_capacity_mut());
    // SAFETY: so many bytes behind the others were written.
    unsafe { buffer.set_len(buffer.len() + filled) };
}

fn connection(case: Case, masks: impl MaskSource + 'static) -> Connection {
    let config = Config::new()
        .max_message(MOST_MESSAGE)
        .max_frame(MOST_MESSAGE)
        .max_fragments(u32::MAX)
        .max_queued(usize::MAX);
    match case.role {
        Role::Server => Connection::server(config),
        Role::Client => Connection::client(config, masks),
    }
}

/// Above this, a program writes before it goes on: more would only leave the cache again.
const MUCH: usize = 64 << 10;
/// Up to here, the default, payloads are copied.
const SHORT: usize = 4 << 10;
/// How many pieces one write takes.
const SLICES: usize = 64;
