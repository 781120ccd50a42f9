//! One end as its driver has it: joined, or in two halves that pass answers on.

use bytes::BytesMut;
use taut::proto::{
    Agreement, Connection, Deflate, Event, EventRef, Output, ProtocolError, Receiver, Role, SendErrorKind,
    Sender,
};

use super::input::{ReadWay, Side};
use crate::format::KEYS;

/// An engine.
pub(super) enum Engine {
    Joined(Box<Connection>),
    Split(Box<(Receiver, Sender)>),
    /// Between the two.
    Nothing,
}

impl Engine {
    pub(super) fn new(role: Role, side: &Side, deflate: Option<Deflate>) -> Self {
        let mut next = 0;
        let mut connection = match role {
            Role::Server => Connection::server(side.config()),
            Role::Client => Connection::client(side.config(), move || {
                next += 1;
                KEYS[next % KEYS.len()]
            }),
        };
        if let Some(deflate) = deflate {
            connection = connection.with_agreement(Agreement::new().with_deflate(deflate));
        }
        Self::Joined(Box::new(connection))
    }

    pub(super) fn split(&mut self) {
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Joined(connection) => Self::Split(Box::new(connection.into_split())),
            other => other,
        };
    }

    /// The connection, until it is split.
    pub(super) fn joined(&self) -> Option<&Connection> {
        match self {
            Self::Joined(connection) => Some(connection),
            Self::Split(_) | Self::Nothing => None,
        }
    }

    pub(super) fn halves(&mut self) -> (&mut Receiver, &mut Sender) {
        match self {
            Self::Joined(connection) => connection.halves(),
            Self::Split(halves) => (&mut halves.0, &mut halves.1),
            Self::Nothing => unreachable!("it is one of the two"),
        }
    }

    pub(super) fn sender(&mut self) -> &mut Sender {
        self.halves().1
    }

    /// Passes on what the receiver owes: a [`Connection`] does so by itself.
    pub(super) fn settle(&mut self) {
        if let Self::Split(halves) = self {
            let (receiver, sender) = &mut **halves;
            if let Some(answer) = receiver.take_answer() {
                sender.answer(answer);
            }
            assert_eq!(receiver.take_answer(), None, "an answer is owed once");
        }
    }

    pub(super) fn next_event(&mut self) -> Result<Option<Event>, ProtocolError> {
        match self {
            Self::Joined(connection) => connection.next_event(),
            other => other.halves().0.next_event(),
        }
    }

    pub(super) fn next_event_ref(&mut self) -> Result<Option<EventRef<'_>>, ProtocolError> {
        match self {
            Self::Joined(connection) => connection.next_event_ref(),
            Self::Split(halves) => halves.0.next_event_ref(),
            Self::Nothing => unreachable!("it is one of the two"),
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        match self {
            Self::Joined(connection) => connection.feed(bytes),
            other => other.halves().0.feed(bytes),
        }
    }

    /// Reads into the room there is; gives how many bytes that were.
    pub(super) fn read(&mut self, bytes: &[u8], way: ReadWay) -> usize {
        let input = match (self, way) {
            (Self::Joined(connection), ReadWay::LargeInput) => connection.large_input(),
            (Self::Joined(connection), _) => connection.input(),
            (other, ReadWay::LargeInput) => other.halves().0.large_input(),
            (other, _) => other.halves().0.input(),
        };
        let room = input.capacity() - input.len();
        assert!(room > 0, "a read without room would look like the end");
        let count = room.min(bytes.len());
        input.extend_from_slice(&bytes[..count]);
        count
    }

    pub(super) fn take_input(&mut self) -> BytesMut {
        match self {
            Self::Joined(connection) => connection.take_input(),
            other => other.halves().0.take_input(),
        }
    }

    pub(super) fn put_input(&mut self, input: BytesMut) {
        match self {
            Self::Joined(connection) => connection.put_input(input),
            other => other.halves().0.put_input(input),
        }
    }

    /// Lends a buffer with what is not parsed, and these bytes behind it.
    pub(super) fn lend_input(&mut self, bytes: &[u8]) {
        let unparsed = self.unparsed();
        let mut buffer = BytesMut::with_capacity(unparsed.len() + bytes.len() + SPARE);
        buffer.extend_from_slice(unparsed);
        buffer.extend_from_slice(bytes);
        match self {
            Self::Joined(connection) => connection.lend_input(buffer),
            other => other.halves().0.lend_input(buffer),
        }
    }

    /// Takes the buffer back, which must have all of its room, whatever was parsed.
    pub(super) fn reclaim_input(&mut self, size: usize) {
        let buffer = match self {
            Self::Joined(connection) => connection.reclaim_input(),
            other => other.halves().0.reclaim_input(),
        };
        let mut buffer = buffer.expect("the buffer that was lent");
        buffer.clear();
        assert!(buffer.try_reclaim(size + SPARE), "the buffer came back smaller: {}", buffer.capacity());
    }

    pub(super) fn unparsed(&self) -> &[u8] {
        match self {
            Self::Joined(connection) => connection.unparsed(),
            Self::Split(halves) => halves.0.unparsed(),
            Self::Nothing => &[],
        }
    }

    pub(super) fn input_eof(&mut self) {
        match self {
            Self::Joined(connection) => connection.input_eof(),
            other => other.halves().0.input_eof(),
        }
    }

    pub(super) fn output(&mut self) -> &mut Output {
        match self {
            Self::Joined(connection) => connection.output(),
            other => other.sender().output(),
        }
    }

    pub(super) fn output_lost(&mut self) {
        match self {
            Self::Joined(connection) => connection.output_lost(),
            other => other.sender().output_lost(),
        }
    }

    pub(super) fn release(&mut self) {
        match self {
            Self::Joined(connection) => connection.release(),
            other => {
                let (receiver, sender) = other.halves();
                receiver.release();
                sender.release();
            }
        }
    }

    pub(super) fn wants_output(&self) -> bool {
        match self {
            Self::Joined(connection) => connection.wants_output(),
            Self::Split(halves) => halves.1.wants_output(),
            Self::Nothing => false,
        }
    }

    pub(super) fn wants_input(&self) -> bool {
        match self {
            Self::Joined(connection) => connection.wants_input(),
            Self::Split(halves) => halves.0.wants_input(),
            Self::Nothing => false,
        }
    }

    /// Why a message would be refused. A joined connection knows more than its sender until the next call.
    pub(super) fn refusal(&self) -> Option<SendErrorKind> {
        match self {
            Self::Joined(connection) => connection.refusal(),
            Self::Split(halves) => halves.1.refusal(),
            Self::Nothing => None,
        }
    }
}

/// The room of a lent buffer beyond what is in it.
const SPARE: usize = 64;
