//! One end: an engine, its application, and what they have done so far.

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use taut::proto::{
    CloseFrame, CloseStatus, Deflate, Event, Kind, Message, ProtocolError, Role, SendErrorKind, Sender, State,
};

use super::engine::Engine;
use super::input::{ReadWay, Side, WriteWay};
use super::sending::{Sending, copy_event, max_queued, metered};
use crate::input::Take;
use crate::receive::{CONTROL_FRAME, content, lend};
use crate::sent::add_chunk;

/// One end of the conversation.
pub(super) struct End<'a> {
    pub(super) role: Role,
    pub(super) side: &'a Side,
    pub(super) engine: Engine,
    pub(super) sending: Sending,
    /// What arrived, but for the answers to our pings.
    pub(super) received: Vec<Message>,
    /// The chunks of a message whose last has not come.
    pub(super) partial: Option<(Kind, Vec<u8>)>,
    /// The answers to our pings.
    pub(super) pongs: Vec<Bytes>,
    /// How many of these were looked at.
    pub(super) answered: usize,
    /// The pings that arrived and may still be answered.
    pub(super) pings: Vec<Bytes>,
    pub(super) latest_ping: Option<Bytes>,
    pub(super) error: Option<ProtocolError>,
    pub(super) eof: bool,
    /// The transport ended without a Close, and all that came was taken.
    input_lost: bool,
    pub(super) output_lost: bool,
    /// All was written once, our Close too.
    pub(super) close_written: bool,
    /// The input buffer, while it is away.
    detached: Option<BytesMut>,
    fed: usize,
    /// How much of it ends with the latest message.
    fed_at_message: usize,
    events: usize,
    /// Bytes of data in events: what is compressed may come in more chunks than it has bytes.
    delivered: usize,
}

/// Bytes on their way from one end to the other.
#[derive(Default)]
pub(super) struct Pipe {
    bytes: Vec<u8>,
    /// No more will come.
    pub(super) ended: bool,
    /// The transport has lost some.
    pub(super) lost: bool,
}

impl<'a> End<'a> {
    pub(super) fn new(role: Role, side: &'a Side, deflate: Option<Deflate>) -> Self {
        let mut sending = Sending::default();
        let engine = metered(&mut sending.memory, || Engine::new(role, side, deflate));
        Self {
            role,
            side,
            engine,
            sending,
            received: Vec::new(),
            partial: None,
            pongs: Vec::new(),
            answered: 0,
            pings: Vec::new(),
            latest_ping: None,
            error: None,
            eof: false,
            input_lost: false,
            output_lost: false,
            close_written: false,
            detached: None,
            fed: 0,
            fed_at_message: 0,
            events: 0,
            delivered: 0,
        }
    }

    /// What sends, and what may be sent. A connection gives the answers that it owes now.
    pub(super) fn sending(&mut self) -> (&mut Sending, &mut Sender, &'a Side) {
        let Self { engine, sending, side, .. } = self;
        let (_, sender) = metered(&mut sending.memory, || engine.halves());
        (sending, sender, side)
    }

    /// Writes at most so many bytes; gives how many.
    pub(super) fn write(&mut self, pipe: &mut Pipe, most: usize, way: WriteWay) -> usize {
        let Self { engine, sending, .. } = self;
        if pipe.ended {
            if pipe.lost {
                metered(&mut sending.memory, || engine.output_lost());
                (sending.over, self.output_lost) = (true, true);
            }
            assert!(!engine.wants_output(), "bytes for a transport that takes none");
            return 0;
        }
        let wants = engine.wants_output();
        let output = metered(&mut sending.memory, || engine.output());
        assert_eq!(wants, !output.is_empty(), "what it wants to write is there");
        let before = pipe.bytes.len();
        match way {
            WriteWay::Chunk => {
                let chunk = output.chunk();
                pipe.bytes.extend_from_slice(&chunk[..chunk.len().min(most)]);
            }
            WriteWay::Vectored => {
                let mut slices = [IoSlice::new(&[]); 3];
                let count = output.chunks_vectored(&mut slices);
                for slice in &slices[..count] {
                    let left = most - (pipe.bytes.len() - before);
                    pipe.bytes.extend_from_slice(&slice[..slice.len().min(left)]);
                }
            }
            WriteWay::Pop => {
                let piece = metered(&mut sending.memory, || output.pop()).unwrap_or_default();
                pipe.bytes.extend_from_slice(&piece);
                metered(&mut sending.memory, || drop(piece));
            }
        }
        let written = pipe.bytes.len() - before;
        assert!(written > 0 || most == 0 || !wants, "no piece of the bytes that wait");
        if way != WriteWay::Pop {
            metered(&mut sending.memory, || output.advance(written));
        }
        self.close_written |= sending.close.is_some() && !engine.wants_output();
        written
    }

    /// Reads at most so many bytes; gives how many. Of a buffer that is lent it gives the size, to be handed to
    /// [`reclaim`](Self::reclaim).
    pub(super) fn read(&mut self, pipe: &mut Pipe, most: usize, way: ReadWay) -> (usize, Option<usize>) {
        let Self { engine, sending, .. } = self;
        if pipe.bytes.is_empty() {
            if pipe.ended && most > 0 {
                engine.input_eof();
                self.eof = true;
            }
            return (0, None);
        }
        let bytes = &pipe.bytes[..most.min(pipe.bytes.len())];
        let mut lent = None;
        let count = metered(&mut sending.memory, || match way {
            ReadWay::Input | ReadWay::LargeInput => engine.read(bytes, way),
            ReadWay::Taken if self.detached.is_none() => {
                let mut input = engine.take_input();
                input.extend_from_slice(bytes);
                engine.put_input(input);
                bytes.len()
            }
            ReadWay::Lent if self.detached.is_none() => {
                lent = Some(engine.unparsed().len() + bytes.len());
                engine.lend_input(bytes);
                bytes.len()
            }
            _ => {
                engine.feed(bytes);
                bytes.len()
            }
        });
        pipe.bytes.drain(..count);
        self.fed += count;
        (count, lent)
    }

    pub(super) fn reclaim(&mut self, size: usize) {
        metered(&mut self.sending.memory, || self.engine.reclaim_input(size));
    }

    /// Takes the input buffer away, or brings it back.
    pub(super) fn detach(&mut self) {
        metered(&mut self.sending.memory, || match self.detached.take() {
            Some(input) => self.engine.put_input(input),
            None => self.detached = Some(self.engine.take_input()),
        });
    }

    pub(super) fn attach(&mut self) {
        if self.detached.is_some() {
            self.detach();
        }
    }

    pub(super) const fn is_detached(&self) -> bool {
        self.detached.is_some()
    }

    /// The next event, in memory of its own.
    pub(super) fn take(&mut self, take: Take, echo: bool) -> Option<Event> {
        let Self { engine, sending, side, .. } = self;
        let memory = &mut sending.memory;
        let result = match take {
            Take::Owned => metered(memory, || engine.next_event()).map(|event| {
                let event = event?;
                let copy = copy_event(lend(&event));
                metered(memory, || drop(event));
                Some(copy)
            }),
            Take::Borrowed => {
                let event = metered(memory, || engine.next_event_ref());
                event.map(|event| event.map(copy_event))
            }
            Take::Halves => {
                let (receiver, sender) = metered(memory, || engine.halves());
                let event = metered(memory, || receiver.next_event_ref());
                if let (Ok(Some(event)), true) = (&event, echo) {
                    sending.echo(sender, side, event);
                }
                event.map(|event| event.map(copy_event))
            }
        };
        metered(&mut sending.memory, || engine.settle());
        match result {
            Ok(Some(event)) => {
                assert_eq!(self.error, None, "nothing comes behind an error: {event:?}");
                assert!(!sending.peer_closed, "nothing comes behind a Close: {event:?}");
                self.events += 1;
                self.delivered += match &event {
                    Event::Chunk(chunk) => content(&chunk.data).1.len(),
                    Event::Message(_) => 0,
                };
                assert!(self.events <= self.fed + self.delivered, "more events than bytes");
                if echo && take != Take::Halves {
                    let (sending, sender, side) = self.sending();
                    sending.echo(sender, side, &lend(&event));
                }
                Some(event)
            }
            Ok(None) => {
                assert_eq!(self.error, None, "an error is final");
                if self.eof && !sending.peer_closed && self.detached.is_none() {
                    (sending.over, self.input_lost) = (true, true);
                }
                None
            }
            Err(error) => {
                assert_eq!(*self.error.get_or_insert(error), error, "an error is final");
                assert!(!sending.peer_closed, "an error behind a Close: {error:?}");
                sending.note_close(CloseFrame::new(error.close_code(), error.reason()).ok());
                sending.over = true;
                None
            }
        }
    }

    /// Notes an event. Gives the message that it completes, unless that is the answer to a ping.
    pub(super) fn record(&mut self, event: Event) -> Option<Message> {
        let message = match event {
            Event::Message(message) => {
                assert!(!(self.side.chunks && message.is_data()), "data comes in chunks");
                message
            }
            Event::Chunk(chunk) => {
                assert!(self.side.chunks, "data comes whole");
                assert_eq!(chunk.first, self.partial.is_none(), "the first chunk begins a message");
                let (kind, bytes) = content(&chunk.data);
                assert!(chunk.last || !bytes.is_empty(), "an empty chunk that ends nothing");
                let mut messages = Vec::new();
                add_chunk(&mut self.partial, &mut messages, kind, bytes, chunk.last);
                messages.pop()?
            }
        };
        match &message {
            Message::Text(_) | Message::Binary(_) => {
                self.fed_at_message = self.fed - self.engine.unparsed().len();
            }
            Message::Ping(payload) => {
                self.pings.push(payload.clone());
                self.latest_ping = Some(payload.clone());
            }
            Message::Pong(payload) if !payload.starts_with(UNASKED) => {
                self.pongs.push(payload.clone());
                return None;
            }
            Message::Pong(_) => {}
            Message::Close(frame) => {
                self.sending.peer_closed = true;
                if self.side.auto_close {
                    let answer = frame.as_ref().map(|frame| CloseFrame::from(frame.code()));
                    self.sending.note_close(answer);
                }
                return Some(message);
            }
        }
        self.received.push(message.clone());
        Some(message)
    }

    /// Whether it is this end's turn to end the transport: what [`Connection`](taut::proto::Connection) tells as
    /// `wants_shutdown`, made of what two halves tell.
    pub(super) fn wants_shutdown(&self) -> bool {
        let failed = self.error.is_some() || self.input_lost;
        let closed = self.sending.peer_closed && (self.sending.close.is_some() || self.output_lost);
        let wants = match self.role {
            Role::Server => closed || failed,
            Role::Client => (closed && self.eof) || failed,
        };
        let wants = wants && !self.engine.wants_output();
        if let Some(connection) = self.engine.joined() {
            assert_eq!(connection.wants_shutdown(), wants, "whose turn it is");
        }
        wants
    }

    /// Whether to read only to throw the bytes away.
    pub(super) fn wants_discard(&self) -> bool {
        match self.engine.joined() {
            Some(connection) => connection.wants_discard(),
            None => !self.eof && (self.error.is_some() || self.sending.peer_closed),
        }
    }

    /// Checks all that there is to be asked.
    pub(super) fn check(&mut self) {
        let wants_input = match (self.error, self.sending.peer_closed) {
            _ if self.eof => false,
            (Some(_), _) => false,
            (None, closed) => !closed || self.role == Role::Client,
        };
        assert_eq!(self.engine.wants_input(), wants_input, "whether it reads on");
        let (sending, sender, side) = self.sending();
        let queued = sender.queued();
        let most = max_queued(side).saturating_add(sending.largest).saturating_add(3 * CONTROL_FRAME);
        assert!(queued <= most, "{queued} bytes wait to be written, of {most}");
        let refusal = sending.refusal(sender, side);
        assert_eq!(self.engine.refusal(), refusal, "what it would say to a message");
        if self.error.is_some() || self.sending.over {
            assert_eq!(refusal, Some(SendErrorKind::Closed));
        }
        self.wants_shutdown();
        let Some(connection) = self.engine.joined() else { return };
        // A reason is shared with what is told here.
        let status = metered(&mut self.sending.memory, || connection.close_status());
        let Sending { close, peer_closed, .. } = &self.sending;
        let answered = close.is_some() || self.output_lost;
        let ended = *peer_closed || self.error.is_some() || self.input_lost;
        let state = match (ended, answered) {
            (true, false) if *peer_closed => State::Closing,
            (true, _) if !connection.wants_output() => State::Closed,
            (false, false) => State::Open,
            _ => State::Closing,
        };
        assert_eq!(connection.state(), state);
        assert_eq!(status.is_some(), ended);
    }

    /// Checks what is told once the transport ended on both sides, and all was taken.
    pub(super) fn check_end(&mut self, peer_close: Option<&Option<CloseFrame>>, was_written: bool) {
        assert!(self.take(Take::Owned, false).is_none(), "an event behind the end");
        let Some(connection) = self.engine.joined() else { return };
        assert_eq!(connection.state(), State::Closed);
        assert!(!connection.wants_input() && !connection.wants_discard() && !connection.wants_output());
        assert!(connection.wants_shutdown());
        let status = metered(&mut self.sending.memory, || connection.close_status()).expect("it ended");
        let (code, reason) = match peer_close {
            Some(Some(frame)) => (frame.code().get(), &**frame.reason()),
            Some(None) => (CloseStatus::NO_CODE, ""),
            None => (CloseStatus::ABNORMAL, ""),
        };
        assert_eq!((status.code, &*status.reason), (code, reason));
        // RFC 6455 §7.1.4: "clean" is a connection whose closing handshake was completed.
        let handshake = peer_close.is_some() && self.sending.close.is_some();
        assert!(!status.clean || handshake, "clean without a handshake");
        assert!(status.clean || !(handshake && was_written), "not clean in spite of a handshake");
    }

    /// How many bytes there are a reason to hold.
    pub(super) fn reasons(&mut self) -> usize {
        let queued = self.sending().1.queued();
        // What is queued by reference takes a place in the queue, and memory of its own.
        let least =
            if self.side.default { usize::MAX } else { self.side.share_above.min(self.side.fragment_above) };
        let shared = queued / least.saturating_add(2) * PLACE;
        queued + shared + self.engine.unparsed().len() + (self.fed - self.fed_at_message)
    }
}

impl Pipe {
    /// Loses all but so many of the bytes on their way, and all that would come.
    pub(super) fn lose(&mut self, keep: usize) {
        self.bytes.truncate(keep);
        (self.ended, self.lost) = (true, true);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// How the payload of a pong begins that nobody asked for.
pub(super) const UNASKED: &[u8] = b"unasked";

/// What the place of a shared piece takes, in quarters.
const PLACE: usize = 32;
