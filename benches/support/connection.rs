//! Work on open connections, as a table: which way, of what, at which end, compressed or not.

use std::hint::black_box;
use std::io::IoSlice;
use std::mem;

use bytes::{Buf, Bytes, BytesMut};
use taut::RandomMasks;
use taut::proto::{
    Agreement, Config, Connection, Deflate, Event, EventRef, Kind, Message, MessageRef, Prepared, Role,
};

use super::case::{Case, Round};

/// Cases that differ only in what they carry, where, and how large it is.
pub(crate) struct Row {
    pub(crate) work: Work,
    pub(crate) contents: &'static [Content],
    pub(crate) roles: &'static [Role],
    pub(crate) compression: Compression,
    pub(crate) sizes: &'static [usize],
}

#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// Receives events that lie in the connection's memory.
    Borrowed,
    /// Receives events that own theirs.
    Owned,
    /// Receives messages in several frames, whole and borrowed.
    Fragmented,
    /// Sends what lies in the caller's memory.
    Copied,
    /// The same, to a transport that takes what is long from there.
    Lent,
    /// Sends `Bytes`, which may be queued by reference.
    Shared,
    /// Sends one message to many connections.
    Broadcast,
    /// Receives, and sends the same back, through both halves.
    Echo,
}

#[derive(Clone, Copy)]
pub(crate) enum Content {
    Binary,
    /// ASCII.
    Text,
    /// Characters of one to four bytes.
    Mixed,
    /// JSON, no two messages the same.
    Records,
}

#[derive(Clone, Copy)]
pub(crate) enum Compression {
    Off,
    Takeover,
    NoTakeover,
}

pub(crate) fn cases(rows: &'static [Row]) -> impl Iterator<Item = Case> {
    rows.iter().flat_map(|row| {
        row.contents.iter().flat_map(move |&content| {
            row.roles.iter().flat_map(move |&role| {
                row.sizes.iter().map(move |&size| Plan { row, content, role, size }.case())
            })
        })
    })
}

#[derive(Clone, Copy)]
struct Plan {
    row: &'static Row,
    content: Content,
    role: Role,
    size: usize,
}

impl Plan {
    fn case(self) -> Case {
        let work = match self.row.work {
            Work::Borrowed => "receive/borrowed",
            Work::Owned => "receive/owned",
            Work::Fragmented => "receive/fragmented",
            Work::Copied => "send/copied",
            Work::Lent => "send/lent",
            Work::Shared => "send/shared",
            Work::Broadcast => "broadcast",
            Work::Echo => "echo",
        };
        let content = match self.content {
            Content::Binary => "binary",
            Content::Text => "text",
            Content::Mixed => "mixed",
            Content::Records => "records",
        };
        let role = match self.role {
            Role::Server => "server",
            Role::Client => "client",
        };
        let compression = match self.row.compression {
            Compression::Off => "",
            Compression::Takeover => "/deflate",
            Compression::NoTakeover => "/deflate-no-takeover",
        };
        let messages = match self.row.work {
            Work::Broadcast => AUDIENCE,
            _ => self.burst(),
        };
        Case {
            group: format!("{work}/{content}/{role}{compression}"),
            parameter: self.size.to_string(),
            messages,
            bytes: messages * self.size,
            setup: Box::new(move || self.setup()),
        }
    }

    fn setup(self) -> Round {
        match self.row.work {
            Work::Borrowed | Work::Fragmented => self.receive(|connection| {
                let mut events = 0;
                while let Some(event) = connection.next_event_ref().unwrap() {
                    black_box::<EventRef<'_>>(event);
                    events += 1;
                }
                events
            }),
            Work::Owned => self.receive(|connection| {
                let mut events = 0;
                while let Some(event) = connection.next_event().unwrap() {
                    black_box::<Event>(event);
                    events += 1;
                }
                events
            }),
            Work::Copied => self.send(|connection, message| {
                connection.send_ref(MessageRef::from(black_box(message))).unwrap();
            }),
            Work::Lent => self.send(|connection, message| {
                let message = MessageRef::from(black_box(message));
                let written =
                    |header: &[u8], payload: &[u8]| black_box(header).len() + black_box(payload).len();
                connection.send_ref_with(message, written).unwrap();
            }),
            Work::Shared => self.send(|connection, message| {
                connection.send(black_box(message).clone()).unwrap();
            }),
            Work::Broadcast => self.broadcast(),
            Work::Echo => self.echo(),
        }
    }

    /// Reads are copies into one large buffer, such as a worker thread keeps for all its connections.
    fn receive(self, drain: impl Fn(&mut Connection) -> usize + 'static) -> Round {
        let wire = self.wire();
        let burst = self.burst();
        let mut connection = self.connection(self.role);
        let mut buffer = BytesMut::with_capacity(READ);
        Box::new(move || {
            let mut events = 0;
            for read in wire.chunks(READ) {
                buffer.extend_from_slice(read);
                connection.put_input(mem::take(&mut buffer));
                events += drain(&mut connection);
                buffer = connection.take_input();
            }
            assert_eq!(events, burst);
        })
    }

    fn send(self, send: impl Fn(&mut Connection, &Message) + 'static) -> Round {
        let messages = self.messages();
        let mut connection = self.connection(self.role);
        Box::new(move || {
            for message in &messages {
                send(&mut connection, message);
            }
            write(&mut connection);
        })
    }

    fn broadcast(self) -> Round {
        let message = self.content.message(self.size, 0);
        let mut audience: Vec<_> = (0..AUDIENCE).map(|_| self.connection(self.role)).collect();
        Box::new(move || {
            let prepared = match black_box(&message) {
                Message::Text(text) => Prepared::text(text),
                Message::Binary(bytes) => Prepared::binary(bytes),
                _ => unreachable!("contents are data"),
            };
            for connection in &mut audience {
                connection.send_prepared(&prepared).unwrap();
            }
            audience.iter_mut().for_each(write);
        })
    }

    /// The loop of the documentation of [`Connection`]: reads go where, and bring as much as, the engine says.
    fn echo(self) -> Round {
        let wire = self.wire();
        let burst = self.burst();
        let mut connection = self.connection(self.role);
        Box::new(move || {
            let mut rest = &wire[..];
            let mut echoed = 0;
            while !rest.is_empty() {
                let input = connection.input();
                let (read, behind) = rest.split_at(rest.len().min(input.capacity() - input.len()));
                input.extend_from_slice(read);
                rest = behind;
                let (receiver, sender) = connection.halves();
                while let Some(event) = receiver.next_event_ref().unwrap() {
                    let EventRef::Message(message) = event else { unreachable!("messages come whole") };
                    sender.send_ref(message).unwrap();
                    echoed += 1;
                }
                write(&mut connection);
            }
            assert_eq!(echoed, burst);
        })
    }

    /// What the peer sends.
    fn wire(self) -> Bytes {
        let mut peer = self.connection(self.role.peer());
        for message in self.messages() {
            match (self.row.work, &message) {
                (Work::Fragmented, Message::Text(text)) => {
                    self.fragments(&mut peer, Kind::Text, text.as_bytes())
                }
                (Work::Fragmented, Message::Binary(bytes)) => self.fragments(&mut peer, Kind::Binary, bytes),
                _ => peer.send(message).unwrap(),
            }
        }
        let output = peer.output();
        output.copy_to_bytes(output.remaining())
    }

    fn fragments(self, peer: &mut Connection, kind: Kind, payload: &[u8]) {
        let size = self.size.div_ceil(FRAGMENTS);
        for (index, fragment) in payload.chunks(size).enumerate() {
            peer.send_fragment(kind, fragment, (index + 1) * size >= payload.len()).unwrap();
        }
    }

    fn messages(self) -> Vec<Message> {
        (0..self.burst()).map(|number| self.content.message(self.size, number)).collect()
    }

    /// How many messages come or go together: so many that what a burst costs by itself is shared by many.
    fn burst(self) -> usize {
        (BURST / self.size.max(1)).clamp(1, 64)
    }

    fn connection(self, role: Role) -> Connection {
        let config = Config::new().max_queued(usize::MAX);
        let connection = match role {
            Role::Server => Connection::server(config),
            Role::Client => Connection::client(config, RandomMasks::new()),
        };
        match self.row.compression {
            Compression::Off => connection,
            Compression::Takeover => connection.with_agreement(Agreement::new().with_deflate(Deflate::new())),
            Compression::NoTakeover => {
                connection.with_agreement(Agreement::new().with_deflate(Deflate::no_context_takeover()))
            }
        }
    }
}

impl Content {
    fn message(self, size: usize, number: usize) -> Message {
        match self {
            Self::Binary => Message::binary((0..size).map(|index| index as u8).collect::<Vec<_>>()),
            Self::Text => Message::text("a".repeat(size)),
            Self::Mixed => Message::text(format!("{}{}", "aé€𐍈".repeat(size / 10), "a".repeat(size % 10))),
            Self::Records => Message::text(records(size, number)),
        }
    }
}

/// Prices of shares, nearly as an exchange would send them.
fn records(size: usize, number: usize) -> String {
    let mut text = String::with_capacity(size + 100);
    let mut state = number as u32;
    let mut random = |below: u32| {
        // Numerical Recipes' generator: any will do that is the same everywhere.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    while text.len() < size {
        let symbol = ["ACME", "INIT", "HOOL", "PIPR", "UMBR", "WAYN"][random(6) as usize];
        let (whole, cents, volume) = (random(900), random(100), random(50_000));
        text += &format!(r#"{{"symbol":"{symbol}","price":{whole}.{cents:02},"volume":{volume}}},"#);
    }
    text.truncate(size);
    text
}

/// What a vectored write would do, but for the write.
fn write(connection: &mut Connection) {
    let output = connection.output();
    while output.has_remaining() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = output.chunks_vectored(&mut slices);
        let written = black_box(&slices[..count]).iter().map(|slice| slice.len()).sum();
        output.advance(written);
    }
}

/// Connections that one message goes to.
const AUDIENCE: usize = 100;
/// Frames of a fragmented message.
const FRAGMENTS: usize = 4;
/// Bytes of a burst at most, unless one message is larger.
const BURST: usize = 64 << 10;
/// Bytes of one read at most.
const READ: usize = 256 << 10;
/// Pieces that one write takes.
const SLICES: usize = 32;
