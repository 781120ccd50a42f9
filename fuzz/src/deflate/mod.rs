//! The oracle of `deflate`: whatever a peer compresses, or seems to, and however it is cut, the connection
//! delivers what another inflater makes of it, fails where that one fails or a limit is reached, and holds no
//! more of it than it must.

pub mod input;
pub mod model;
pub mod seeds;

use taut::proto::{
    Agreement, CloseCode, Config, Connection, Deflate, Delivery, Event, Kind, Message, ProtocolError, Role,
    release_thread_memory,
};

use crate::allocations;
use crate::format::KEYS;
use crate::model::{Limits, receive};
use crate::receive::{by_its_whole_name, content};
use crate::sent::{add_chunk, payload};
use input::{Input, Settings, Wire};
use model::{BLOCK, Expected};

/// Drives connections through the input, and compares what they make of it.
///
/// # Panics
/// If a connection does what it must not.
pub fn check(input: &Input) {
    let settings = &input.settings;
    let wire = input.wire();
    let in_one = Wire { cuts: Vec::new(), ..wire.clone() };
    let mut errors = Vec::new();
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        let expected = model::receive(&wire.frames, settings, delivery);
        let mut uncut = Run::new(settings, delivery).through(&in_one);
        uncut.compare(&expected);
        if !wire.cuts.is_empty() {
            let mut cut = Run::new(settings, delivery).through(&wire);
            cut.compare(&expected);
            assert!(expected.steep.is_some() || cut.error == uncut.error, "cut equals uncut");
        }
        errors.push(uncut.error.filter(|_| expected.steep.is_none()).map(by_its_whole_name));
    }
    // Chunks are not put together, so that the limit of a frame does not apply to them.
    if settings.max_frame == usize::MAX {
        assert_eq!(errors[0], errors[1], "chunked equals whole");
    }
}

/// A connection that is driven through an input, and all that was seen of it.
struct Run<'a> {
    settings: &'a Settings,
    delivery: Delivery,
    connection: Connection,
    messages: Vec<Message>,
    /// The chunks of the message whose last has not come.
    partial: Option<(Kind, Vec<u8>)>,
    error: Option<ProtocolError>,
    /// What the connection took from the heap since it was made: for its input, and for all else. Known if
    /// events are borrowed, since an owned one takes memory along.
    input: isize,
    inflated: isize,
}

impl<'a> Run<'a> {
    fn new(settings: &'a Settings, delivery: Delivery) -> Self {
        fill_pool();
        let connection = connection(settings.role, settings.config(delivery), settings.deflate());
        Self {
            settings,
            delivery,
            connection,
            messages: Vec::new(),
            partial: None,
            error: None,
            input: 0,
            inflated: 0,
        }
    }

    fn through(mut self, wire: &Wire) -> Self {
        let mut start = 0;
        for &end in wire.cuts.iter().chain([&wire.bytes.len()]) {
            self.feed(&wire.bytes[start..end]);
            start = end;
        }
        self.release();
        if self.error.is_some() || !(self.settings.takeover || self.settings.unfinished) {
            let held = self.input + self.inflated;
            assert!(!self.settings.borrows || held <= ANSWERS, "{held} bytes are held for nothing");
        }
        self
    }

    fn feed(&mut self, mut piece: &[u8]) {
        loop {
            let before = allocations::held();
            if self.settings.reads {
                let input = self.connection.input();
                let (now, later) = piece.split_at((input.capacity() - input.len()).min(piece.len()));
                input.extend_from_slice(now);
                piece = later;
            } else {
                self.connection.feed(std::mem::take(&mut piece));
            }
            self.input += allocations::held() - before;
            while self.take_event() {}
            if piece.is_empty() {
                break;
            }
        }
        if self.settings.release {
            self.release();
        }
    }

    fn release(&mut self) {
        let before = allocations::held();
        self.connection.release();
        release_thread_memory();
        // Whatever it was for: whoever gives memory back meanwhile does not have what is inflated bounded.
        self.input += allocations::held() - before;
    }

    /// Whether there was an event.
    fn take_event(&mut self) -> bool {
        // What the thread keeps of messages before is its own.
        let kept = allocations::held();
        release_thread_memory();
        let before = allocations::held();
        self.inflated -= kept - before;
        let event = if self.settings.borrows {
            let (event, peak) = allocations::peak(|| self.connection.next_event_ref());
            let after = allocations::held();
            let most = match self.delivery {
                Delivery::Whole => self.settings.max_message + 1,
                Delivery::Chunks => BLOCK + 3,
            };
            let held = self.inflated + peak - before;
            // While the memory of a message grows, there is a copy of what was there (SECURITY.md).
            let bounded = self.settings.release || held <= 2 * most as isize + ANSWERS;
            assert!(bounded, "{held} bytes are held, of {most}");
            self.inflated += after - before;
            event.map(|event| event.map(|event| event.to_event()))
        } else {
            self.connection.next_event()
        };
        match event {
            Ok(Some(event)) => {
                assert_eq!(self.error, None, "nothing comes behind an error: {event:?}");
                self.record(event);
                true
            }
            Ok(None) => {
                assert_eq!(self.error, None, "an error is final");
                assert!(self.connection.wants_input(), "neither an event nor a wish for bytes");
                false
            }
            // Asked again, it says the same, and gives back what it holds.
            Err(error) => self.error.replace(error).inspect(|&first| assert_eq!(first, error)).is_none(),
        }
    }

    fn record(&mut self, event: Event) {
        let chunk = match event {
            Event::Message(message) => {
                assert!(self.delivery == Delivery::Whole || !message.is_data(), "data comes in chunks");
                return self.messages.push(message);
            }
            Event::Chunk(chunk) => chunk,
        };
        assert_eq!(self.delivery, Delivery::Chunks, "data comes whole");
        assert_eq!(chunk.first, self.partial.is_none(), "the first chunk begins a message");
        let (kind, bytes) = content(&chunk.data);
        assert!(chunk.last || !bytes.is_empty(), "an empty chunk that ends nothing");
        add_chunk(&mut self.partial, &mut self.messages, kind, bytes, chunk.last);
        let came = self.partial.as_ref().map_or(0, |(_, bytes)| bytes.len());
        assert!(came <= self.settings.max_message, "chunks beyond the limit");
    }

    /// Compares all that was received with what must be.
    fn compare(&mut self, expected: &Expected) {
        let ratio = ProtocolError::RatioTooHigh { max: self.settings.max_ratio };
        let steep = expected.steep.filter(|_| self.error == Some(ratio));
        let unsure = expected.doomed || expected.open;
        if steep.is_none() && !unsure {
            assert_eq!(self.messages, expected.messages);
        }
        // All up to here is sure; in the message that fails, pings may come before it does, or not.
        let whole = expected.messages.iter().rposition(Message::is_data).map_or(0, |last| last + 1);
        let sure = steep.unwrap_or(whole);
        assert!(self.messages.len() >= sure, "{} messages of {sure}", self.messages.len());
        let (before, behind) = self.messages.split_at(sure);
        assert_eq!(before, &expected.messages[..sure]);
        assert!(behind.iter().all(|message| !message.is_data()), "messages behind an error");

        let next = expected.messages[sure..].iter().find(|message| message.is_data());
        let came = next.map_or(&expected.partial[..], |message| payload(&message.into()));
        let partial = self.partial.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        assert!(came.starts_with(partial), "chunks of what was not sent");
        match self.error {
            Some(_) if steep.is_some() => {}
            Some(ProtocolError::Deflate) if unsure => {}
            Some(error) => {
                assert!(expected.broken.contains(&error), "{error:?} is none of {:?}", expected.broken);
            }
            None if expected.open && expected.broken == [ProtocolError::Deflate] => {}
            None => {
                assert_eq!(expected.broken, [], "an error that was not seen");
                // Of a character that is not complete, nothing.
                let behind = &came[partial.len()..];
                let all = self.delivery == Delivery::Whole || behind.len() < 4;
                assert!(all, "{} bytes came, and are not delivered", behind.len());
            }
        }
        self.compare_close();
    }

    /// RFC 6455 §7.4.1: 1007 tells of wrong data, 1009 of a message that is too big.
    fn compare_close(&mut self) {
        let mut written = Vec::new();
        while let Some(piece) = self.connection.output().pop() {
            written.extend_from_slice(&piece);
        }
        let code = receive(&written, self.settings.role, &Limits::NONE).messages.iter().find_map(|message| {
            let Message::Close(frame) = message else { return None };
            Some(frame.as_ref().expect("a Close with a code").code())
        });
        let expected = self.error.map(|error| match error {
            ProtocolError::Deflate | ProtocolError::InvalidUtf8 { .. } => CloseCode::INVALID_DATA,
            _ => CloseCode::TOO_BIG,
        });
        assert_eq!(code, expected);
    }
}

/// A connection whose handshake was done elsewhere.
pub(crate) fn connection(role: Role, config: Config, deflate: Deflate) -> Connection {
    let connection = match role {
        Role::Server => Connection::server(config),
        Role::Client => Connection::client(config, || KEYS[1]),
    };
    connection.with_agreement(Agreement::new().with_deflate(deflate))
}

/// Has an inflater wait for the next message on this thread, so that none has to be made while memory is counted.
fn fill_pool() {
    let mut first = connection(Role::Client, Config::new(), Deflate::no_context_takeover());
    first.feed(b"\xC2\x01\x00");
    assert_eq!(first.next_event(), Ok(Some(Event::Message(Message::binary("")))));
}

/// What the engine's answers take at most: a Close, and two pongs.
const ANSWERS: isize = 1024;
