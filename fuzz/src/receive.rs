//! The oracle of `receive`: whatever a peer sends, and however it is cut, the connection makes of it what
//! the model does, tells it in any way of asking, and answers with frames that its peer understands.

use bytes::Bytes;
use taut::proto::frame::{MAX_CONTROL_PAYLOAD, MAX_HEADER};
use taut::proto::{
    ChunkData, ChunkDataRef, ChunkRef, CloseCode, CloseFrame, CloseStatus, Connection, Delivery, Event,
    EventRef, Kind, Message, ProtocolError, Role, SendErrorKind, State,
};

use crate::format::KEYS;
use crate::input::{Feed, Input, Settings, Take};
use crate::model::{self, Expected, Limits, Size};
use crate::script::Wire;
use crate::sent::{Sent, add_chunk, frames, payload};

/// Drives connections through the input, and compares what they make of it.
///
/// # Panics
/// If a connection does what it must not.
pub fn check(input: &Input) {
    let settings = &input.settings;
    let wire = input.wire();
    let limits = Limits {
        max_message: Size::Whole(settings.max_message),
        max_frame: settings.max_frame,
        max_fragments: settings.max_fragments,
        max_empty_fragments: settings.max_empty_fragments,
    };
    let whole = model::receive(&wire.bytes, settings.role.peer(), &limits);
    let limits = Limits { max_message: Size::Streamed(settings.max_streamed()), ..limits };
    let streamed = model::receive(&wire.bytes, settings.role.peer(), &limits);

    let plain = Settings { feed: Feed::Copied, take: Take::Owned, close_after: 0, ..settings.clone() };
    let in_one = Wire { bytes: wire.bytes.clone(), cuts: Vec::new() };
    let uncut = Run::new(&plain, Delivery::Whole, false).through(&in_one);
    uncut.compare(&whole);
    let cut = Run::new(settings, Delivery::Whole, true).through(&wire);
    cut.compare(&whole);
    assert_eq!(cut.error, uncut.error, "cut equals uncut");
    let chunked = Run::new(settings, Delivery::Chunks, true).through(&wire);
    chunked.compare(&streamed);
    // Chunks are not put together, so that the limit of a frame does not apply to them.
    if settings.max_frame == usize::MAX {
        assert_eq!(chunked.error.map(by_its_whole_name), uncut.error, "chunked equals whole");
        assert_eq!(chunked.messages, uncut.messages, "chunked equals whole");
    }
}

/// The error that a message in chunks would have caused as a whole: the limits have names of their own.
pub(crate) fn by_its_whole_name(error: ProtocolError) -> ProtocolError {
    match error {
        ProtocolError::StreamTooBig { max } => {
            ProtocolError::MessageTooBig { max: usize::try_from(max).unwrap_or(usize::MAX) }
        }
        error => error,
    }
}

/// A connection that is driven through an input, and all that was seen of it.
struct Run<'a> {
    settings: &'a Settings,
    delivery: Delivery,
    connection: Connection,
    /// Whether the application sends back what it receives.
    echoes: bool,
    /// How many bytes came in.
    fed: usize,
    events: usize,
    messages: Vec<Message>,
    /// The chunks of a message whose last has not come.
    partial: Option<(Kind, Vec<u8>)>,
    error: Option<ProtocolError>,
    sent: Sent,
}

impl<'a> Run<'a> {
    fn new(settings: &'a Settings, delivery: Delivery, echoes: bool) -> Self {
        Self {
            settings,
            delivery,
            connection: connection(settings, delivery),
            echoes,
            fed: 0,
            events: 0,
            messages: Vec::new(),
            partial: None,
            error: None,
            sent: Sent::default(),
        }
    }

    fn through(mut self, wire: &Wire) -> Self {
        let mut start = 0;
        for &end in wire.cuts.iter().chain([&wire.bytes.len()]) {
            self.feed(&wire.bytes[start..end]);
            start = end;
        }
        self.end();
        self
    }

    fn feed(&mut self, mut piece: &[u8]) {
        self.fed += piece.len();
        match self.settings.feed {
            Feed::Copied => self.connection.feed(piece),
            Feed::Lent => {
                let mut input = self.connection.take_input();
                input.extend_from_slice(piece);
                self.connection.put_input(input);
            }
            Feed::Read => loop {
                let input = self.connection.input();
                let room = input.capacity() - input.len();
                assert!(room > 0, "a read without room would look like the end");
                let (now, later) = piece.split_at(room.min(piece.len()));
                input.extend_from_slice(now);
                piece = later;
                if piece.is_empty() {
                    break;
                }
                self.take_events();
            },
        }
        self.take_events();
        if self.settings.release {
            self.connection.release();
        }
        if self.settings.write > 0 {
            self.sent.write(self.connection.output(), self.settings.write);
        }
    }

    /// Takes events until bytes are missing.
    fn take_events(&mut self) {
        while self.take_event() {
            self.check_queue();
        }
        self.check_queue();
        if self.error.is_none() && !self.peer_closed() {
            assert!(self.connection.wants_input(), "neither an event nor a wish for bytes");
        }
        assert!(self.events <= self.fed, "{} events in {} bytes", self.events, self.fed);
        if self.settings.feed == Feed::Lent {
            let left = self.unparsed();
            assert!(left <= CONTROL_FRAME, "{left} bytes wait without a reason");
        }
    }

    /// Whether there was an event.
    fn take_event(&mut self) -> bool {
        let before = (self.settings.feed == Feed::Lent).then(|| self.unparsed());
        let event = match self.settings.take {
            Take::Owned => self.connection.next_event(),
            Take::Borrowed => {
                self.connection.next_event_ref().map(|event| event.map(|event| event.to_event()))
            }
            Take::Halves => {
                let (receiver, sender) = self.connection.halves();
                let event = receiver.next_event_ref();
                if let (Ok(Some(event)), true) = (&event, self.echoes) {
                    self.sent.echo(sender, self.settings, event);
                }
                event.map(|event| event.map(|event| event.to_event()))
            }
        };
        let event = match event {
            Ok(Some(event)) => event,
            Ok(None) => {
                assert_eq!(self.connection.next_event(), Ok(None), "no event without more bytes");
                return false;
            }
            Err(error) => {
                assert_eq!(*self.error.get_or_insert(error), error, "an error is final");
                assert_eq!(self.connection.next_event(), Err(error), "an error is final");
                return false;
            }
        };
        if let Some(before) = before {
            assert!(self.unparsed() < before, "an event that takes no bytes: {event:?}");
        }
        assert_eq!(self.error, None, "nothing comes behind an error: {event:?}");
        assert!(!self.peer_closed(), "nothing comes behind a Close: {event:?}");
        self.events += 1;
        if self.echoes && self.settings.take != Take::Halves {
            self.echo(&event);
        }
        self.record(event);
        if self.events == usize::from(self.settings.close_after) {
            self.close(Some(CloseFrame::from(CloseCode::AWAY)));
        }
        true
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
    }

    /// Sends back an event that was taken.
    fn echo(&mut self, event: &Event) {
        let (_, sender) = self.connection.halves();
        match event {
            // By reference: the payload is shared with the event.
            Event::Message(message) if message.is_data() && self.sent.messages.len().is_multiple_of(3) => {
                let payload = payload(&message.into());
                let frames = frames(payload, self.settings);
                let accepted = self.sent.offer(sender, self.settings, payload, frames, |sender| {
                    let refused = sender.send(message.clone());
                    refused.inspect_err(|error| {
                        assert_eq!(error.clone().into_message().as_ref(), Some(message), "it is handed back");
                    })
                });
                if accepted {
                    self.sent.messages.push(message.clone());
                }
            }
            event => self.sent.echo(sender, self.settings, &lend(event)),
        }
    }

    fn close(&mut self, frame: Option<CloseFrame>) {
        self.connection.close(frame.clone());
        // If the engine has answered the peer's Close, there is nothing left to do.
        if self.sent.close.is_none() && !(self.peer_closed() && self.settings.auto_close) {
            self.sent.close = Some(frame);
        }
    }

    /// Two pongs and a Close may wait beyond what the application sent.
    fn check_queue(&mut self) {
        let application = match self.echoes {
            true => self.settings.max_queued.saturating_add(self.sent.largest),
            false => 0,
        };
        let queued = self.connection.queued();
        assert!(queued <= application.saturating_add(3 * CONTROL_FRAME), "{queued} bytes wait to be written");
    }

    /// Writes all, asks all there is to be asked, and ends the transport.
    fn end(&mut self) {
        let (failed, peer_closed) = (self.error.is_some(), self.peer_closed());
        if peer_closed && !self.settings.auto_close {
            self.close(None);
        }
        while self.connection.wants_output() {
            self.sent.write(self.connection.output(), usize::MAX);
        }
        assert_eq!(self.connection.queued(), 0, "all is written");

        let (done, is_client) = (failed || peer_closed, self.settings.role == Role::Client);
        let state = match (done, self.sent.close.is_some()) {
            (true, _) => State::Closed,
            (false, true) => State::Closing,
            (false, false) => State::Open,
        };
        assert_eq!(self.connection.state(), state);
        assert_eq!(self.connection.wants_input(), !failed && (!peer_closed || is_client));
        let shuts_down = failed || (peer_closed && !is_client);
        assert_eq!(self.connection.wants_shutdown(), shuts_down);
        assert_eq!(self.connection.wants_discard(), shuts_down);
        assert_eq!(self.connection.close_status().is_some(), done);
        if state != State::Open {
            self.refuses();
        }
        if done {
            self.feed(b"\x89\x80\0\0\0\0\x89\x00dropped and not answered");
            assert!(!self.connection.wants_output());
        }

        self.connection.input_eof();
        assert_eq!(self.connection.next_event(), self.error.map_or(Ok(None), Err));
        self.refuses();
        assert_eq!(self.connection.state(), State::Closed);
        assert!(!self.connection.wants_input() && !self.connection.wants_discard());
        assert!(self.connection.wants_shutdown() && !self.connection.wants_output());
        let status = self.connection.close_status().expect("the transport ended");
        let frame = match self.messages.last() {
            Some(Message::Close(frame)) => frame.as_ref().map(|frame| (frame.code().get(), frame.reason())),
            _ => None,
        };
        assert_eq!(status.clean, peer_closed);
        assert_eq!(&status.reason, frame.map_or("", |(_, reason)| reason));
        let without_code = if peer_closed { CloseStatus::NO_CODE } else { CloseStatus::ABNORMAL };
        assert_eq!(status.code, frame.map_or(without_code, |(code, _)| code));
        if done {
            self.connection.release();
            assert_eq!(self.connection.take_input().capacity(), 0, "a released connection owns no heap");
        }
    }

    fn refuses(&mut self) {
        let error = self.connection.send_text("late").expect_err("a closed connection takes no message");
        assert_eq!(error.kind(), SendErrorKind::Closed);
    }

    fn unparsed(&mut self) -> usize {
        let input = self.connection.take_input();
        let length = input.len();
        self.connection.put_input(input);
        length
    }

    fn peer_closed(&self) -> bool {
        matches!(self.messages.last(), Some(Message::Close(_)))
    }

    /// Compares all that was received, and all that was written, with what must be.
    fn compare(&self, expected: &Expected) {
        assert_eq!(self.messages, expected.messages);
        match self.error {
            None => assert_eq!(expected.broken, [], "an error that was not seen"),
            Some(error) => {
                assert!(expected.broken.contains(&error), "{error:?} is none of {:?}", expected.broken);
            }
        }
        if self.delivery == Delivery::Chunks {
            let seen = self.partial.as_ref().map_or(&[][..], |(_, bytes)| bytes);
            let came = expected.partial.as_ref().map_or(&[][..], |(_, bytes)| bytes);
            match self.error {
                None => assert_eq!(seen, came, "all that came is delivered"),
                Some(_) => assert!(came.starts_with(seen), "chunks that did not come"),
            }
        }
        self.compare_written();
    }

    fn compare_written(&self) {
        let bytes = &self.sent.bytes[..];
        let role = self.settings.role;
        let written = model::receive(bytes, role, &Limits::NONE);
        assert_eq!(written.broken, [], "what was written breaks rules");
        let mut peer = connection(&Settings::new(role.peer()), Delivery::Whole);
        peer.feed(bytes);
        let mut understood = Vec::new();
        while let Some(event) = peer.next_event().expect("the peer understands what was written") {
            understood.push(event.into_message());
        }
        assert_eq!(understood, written.messages, "the peer understands what was written");

        let behind = model::receive(&bytes[written.understood..], role, &Limits::NONE);
        assert_eq!(behind.broken, [], "what was written breaks rules");
        assert_eq!(written.understood + behind.understood, bytes.len(), "whole frames are written");
        // RFC 6455 §5.5.1: no data behind a Close; §5.5.2: pings are answered until the peer's comes.
        let late = behind.messages.iter().find(|message| !matches!(message, Message::Pong(_)));
        assert_eq!(late, None, "behind a Close");
        let mut data = Vec::new();
        let mut pongs = Vec::new();
        let mut close = None;
        for message in written.messages.into_iter().chain(behind.messages) {
            match message {
                Message::Text(_) | Message::Binary(_) => data.push(message),
                Message::Pong(payload) => pongs.push(payload),
                Message::Close(frame) => close = Some(frame),
                Message::Ping(payload) => panic!("nobody sent the ping {payload:?}"),
            }
        }
        assert_eq!(data, self.sent.messages, "the echo");
        assert_eq!(written.partial, self.sent.partial, "the echo of a message that is not complete");
        self.compare_pongs(&pongs);
        let answer = match (self.error, self.messages.last()) {
            (Some(error), _) => Some(CloseFrame::new(error.close_code(), error.reason()).ok()),
            (None, Some(Message::Close(frame))) => {
                Some(frame.as_ref().map(|frame| CloseFrame::from(frame.code())))
            }
            (None, _) => None,
        };
        assert_eq!(close, self.sent.close.clone().or(answer), "the Close");
    }

    fn compare_pongs(&self, pongs: &[Bytes]) {
        let mut pings = self.messages.iter().filter_map(|message| match message {
            Message::Ping(payload) => Some(payload),
            _ => None,
        });
        let latest = pings.clone().last();
        assert!(pongs.iter().all(|pong| pings.any(|ping| ping == pong)), "pongs answer pings in order");
        if !self.settings.auto_pong {
            assert_eq!(pongs.len(), 0, "the application answers pings");
        } else if self.error.is_none() && !self.peer_closed() {
            // RFC 6455 §5.5.3: the latest ping must be answered, the earlier ones may.
            assert_eq!(pongs.last(), latest, "the latest ping is answered");
        }
    }
}

/// The longest control frame.
pub(crate) const CONTROL_FRAME: usize = MAX_HEADER + MAX_CONTROL_PAYLOAD;

fn connection(settings: &Settings, delivery: Delivery) -> Connection {
    let config = settings.config(delivery);
    match settings.role {
        Role::Server => Connection::server(config),
        Role::Client => {
            let mut next = 0;
            Connection::client(config, move || {
                next += 1;
                KEYS[next % KEYS.len()]
            })
        }
    }
}

pub(crate) fn content(data: &ChunkData) -> (Kind, &[u8]) {
    match data {
        ChunkData::Text(text) => (Kind::Text, text.as_bytes()),
        ChunkData::Binary(bytes) => (Kind::Binary, bytes),
    }
}

pub(crate) fn lend(event: &Event) -> EventRef<'_> {
    match event {
        Event::Message(message) => EventRef::Message(message.into()),
        Event::Chunk(chunk) => {
            let data = match &chunk.data {
                ChunkData::Text(text) => ChunkDataRef::Text(text),
                ChunkData::Binary(bytes) => ChunkDataRef::Binary(bytes),
            };
            EventRef::Chunk(ChunkRef { data, first: chunk.first, last: chunk.last })
        }
    }
}
