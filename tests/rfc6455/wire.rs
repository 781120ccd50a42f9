//! Frames by hand, from the picture in RFC 6455 §5.2 and not from the engine's own code, and what a
//! connection makes of them.

use std::fmt;

use bytes::{Buf, Bytes};
use taut::proto::{
    CloseCode, CloseFrame, CloseStatus, Config, Connection, Delivery, Message, ProtocolError, Role,
    SendErrorKind, State,
};

use crate::support::{self, KEY, Outcome, TAKES, Take, replay};

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// In which form a header writes the payload length.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Bits7,
    Bits16,
    Bits64,
}

/// The shortest form for a length.
const fn shortest(len: u64) -> Form {
    match len {
        0..=125 => Form::Bits7,
        126..=0xFFFF => Form::Bits16,
        _ => Form::Bits64,
    }
}

/// A header as `from` writes it; `first` is FIN, RSV1 to RSV3 and the opcode.
pub(crate) fn header(from: Role, first: u8, form: Form, len: u64) -> Vec<u8> {
    let mask = if from == Role::Client { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match form {
        Form::Bits7 => bytes.push(mask | u8::try_from(len).unwrap()),
        Form::Bits16 => {
            bytes.push(mask | 126);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        Form::Bits64 => {
            bytes.push(mask | 127);
            bytes.extend(len.to_be_bytes());
        }
    }
    if from == Role::Client {
        bytes.extend(KEY);
    }
    bytes
}

/// The same, with the length in its shortest form.
pub(crate) fn shortest_header(from: Role, first: u8, len: u64) -> Vec<u8> {
    header(from, first, shortest(len), len)
}

/// A frame as `from` writes it.
pub(crate) fn frame(from: Role, first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let len = payload.len() as u64;
    let mut bytes = shortest_header(from, first, len);
    let key = if from == Role::Client { KEY } else { [0; 4] };
    bytes.extend(xor(key, payload));
    bytes
}

/// Masks or unmasks by the definition of RFC 6455 §5.3.
pub(crate) fn xor(key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect()
}

/// A frame that an endpoint wrote.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    pub(crate) first: u8,
    pub(crate) key: Option<[u8; 4]>,
    /// Unmasked.
    pub(crate) payload: Vec<u8>,
}

impl Sent {
    /// What it is, whoever sent it.
    pub(crate) fn plain(&self) -> (u8, &[u8]) {
        (self.first, &self.payload)
    }
}

/// Reads what `from` wrote: whole frames with shortest lengths, masked by clients only.
#[track_caller]
pub(crate) fn parse(from: Role, mut bytes: &[u8]) -> Vec<Sent> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (first, second) = (bytes.get_u8(), bytes.get_u8());
        assert_eq!(second & 0x80 != 0, from == Role::Client, "the mask bit of a frame from a {from:?}");
        let len = match second & 0x7F {
            126 => u64::from(bytes.get_u16()),
            127 => bytes.get_u64(),
            len => u64::from(len),
        };
        let announced = [125, 126, 127][shortest(len) as usize];
        assert_eq!((second & 0x7F).max(125), announced, "the form of length {len}");
        let mut key = [0; 4];
        if from == Role::Client {
            bytes.copy_to_slice(&mut key);
        }
        let (payload, rest) = bytes.split_at(usize::try_from(len).unwrap());
        bytes = rest;
        frames.push(Sent { first, key: (from == Role::Client).then_some(key), payload: xor(key, payload) });
    }
    frames
}

/// Writes until nothing more waits, and gives what was written.
pub(crate) fn written(connection: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while connection.wants_output() {
        let piece = support::drain(connection);
        assert!(!piece.is_empty(), "nothing to write, though something waits");
        bytes.extend(piece);
    }
    bytes
}

/// The frames that wait to be written, which are written now.
#[track_caller]
pub(crate) fn sent(connection: &mut Connection) -> Vec<Sent> {
    let role = connection.role();
    parse(role, &written(connection))
}

pub(crate) fn text(text: &str) -> Message {
    Message::text(text)
}

pub(crate) fn binary(bytes: impl AsRef<[u8]>) -> Message {
    Message::Binary(Bytes::copy_from_slice(bytes.as_ref()))
}

pub(crate) fn ping(bytes: impl AsRef<[u8]>) -> Message {
    Message::Ping(Bytes::copy_from_slice(bytes.as_ref()))
}

pub(crate) fn pong(bytes: impl AsRef<[u8]>) -> Message {
    Message::Pong(Bytes::copy_from_slice(bytes.as_ref()))
}

/// The body of a Close.
pub(crate) fn body(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_ref()].concat()
}

pub(crate) fn close_frame(code: u16, reason: &str) -> CloseFrame {
    CloseFrame::new(CloseCode::new(code).unwrap(), reason).unwrap()
}

pub(crate) fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some(close_frame(code, reason)))
}

/// Code, reason and cleanness.
pub(crate) fn status(connection: &Connection) -> Option<(u16, String, bool)> {
    let CloseStatus { code, reason, clean, .. } = connection.close_status()?;
    Some((code, reason.as_str().into(), clean))
}

/// One way in which an input arrives.
pub(crate) struct Way {
    delivery: Delivery,
    take: Take,
    cuts: Vec<usize>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {:?}, ", self.delivery, self.take)?;
        match self.cuts[..] {
            [cut] => write!(f, "cut at {cut}"),
            _ => f.write_str("byte by byte"),
        }
    }
}

/// In both delivery modes and all ways to take events: at once, cut in two anywhere, and byte by byte. Long
/// inputs are cut at their ends, where headers lie, and here and there between.
fn ways(len: usize) -> Vec<Way> {
    let here = |cut: &usize| len <= 300 || *cut <= 40 || *cut + 40 >= len || (*cut).is_multiple_of(4093);
    let mut all: Vec<Vec<usize>> = (0..=len).filter(here).map(|cut| vec![cut]).collect();
    all.push((1..len).collect());
    let mut ways = Vec::new();
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        for take in TAKES {
            ways.extend(all.iter().map(|cuts| Way { delivery, take, cuts: cuts.clone() }));
        }
    }
    ways
}

/// What an endpoint must make of its input. Built up, then checked by one of the three last methods.
pub(crate) struct Receive {
    role: Role,
    input: Vec<u8>,
    config: Config,
    only: Option<Delivery>,
    before: fn(&mut Connection),
    messages: Vec<Message>,
    sent: Vec<(u8, Vec<u8>)>,
}

/// `role` receives `input`.
pub(crate) fn receive(role: Role, input: impl Into<Vec<u8>>) -> Receive {
    Receive {
        role,
        input: input.into(),
        config: Config::new(),
        only: None,
        before: |_| {},
        messages: Vec::new(),
        sent: Vec::new(),
    }
}

impl Receive {
    pub(crate) fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// In one delivery mode only: the limits of the two have different names.
    pub(crate) fn only(mut self, delivery: Delivery) -> Self {
        self.only = Some(delivery);
        self
    }

    /// What the endpoint does before the input comes.
    pub(crate) fn after(mut self, before: fn(&mut Connection)) -> Self {
        self.before = before;
        self
    }

    /// Messages that must come out.
    pub(crate) fn gives(mut self, messages: impl IntoIterator<Item = Message>) -> Self {
        self.messages.extend(messages);
        self
    }

    /// A frame that must leave, after those said before.
    pub(crate) fn sends(mut self, first: u8, payload: impl AsRef<[u8]>) -> Self {
        self.sent.push((first, payload.as_ref().into()));
        self
    }

    /// The connection goes on.
    #[track_caller]
    pub(crate) fn stays_open(self) {
        self.each_way(None, |connection| {
            self.check_sent(connection, None);
            let state = if self.has_closed() { State::Closing } else { State::Open };
            assert_eq!(connection.state(), state);
            assert!(connection.wants_input() && !connection.wants_shutdown() && !connection.wants_discard());
            assert_eq!(connection.close_status(), None);
        });
    }

    /// The connection ends with the peer's Close, which says `code` (1005: nothing) and `reason`, and ours.
    #[track_caller]
    pub(crate) fn closes(self, code: u16, reason: &str) {
        self.each_way(None, |connection| {
            let waits = !self.sent.is_empty();
            assert_eq!(connection.wants_output(), waits);
            assert_eq!(connection.state(), if waits { State::Closing } else { State::Closed });
            assert!(!waits || !connection.wants_shutdown(), "a Close waits");
            self.check_sent(connection, None);
            // RFC 6455 §5.5.1: the server closes the transport at once, the client waits for that.
            let server = self.role == Role::Server;
            for round in 0..2 {
                assert_eq!(connection.state(), State::Closed);
                assert_eq!(status(connection), Some((code, reason.into(), true)));
                assert_eq!(connection.wants_shutdown(), server || round == 1);
                assert_eq!(connection.wants_input(), !server && round == 0);
                // RFC 6455 §7.1.1: trailing bytes are read until the client ends its side too.
                assert_eq!(connection.wants_discard(), server && round == 0);
                let mut late = frame(self.role.peer(), FIN | PING, b"late");
                late.extend([0xFF; 20]);
                connection.feed(&late);
                assert_eq!(connection.next_event(), Ok(None), "input after the Close");
                assert_eq!(connection.next_event_ref(), Ok(None), "input after the Close");
                assert_silent(connection);
                connection.input_eof();
            }
        });
    }

    /// The connection fails with `error`, which the first `at` bytes of the input prove, and says `code`.
    #[track_caller]
    pub(crate) fn fails(self, error: ProtocolError, code: u16, at: usize) {
        assert!(at > 0 && at <= self.input.len());
        self.each_way(Some(error), |connection| {
            let waits = !self.sent.is_empty() || !self.has_closed();
            assert_eq!(connection.wants_output(), waits);
            assert_eq!(connection.state(), if waits { State::Closing } else { State::Closed });
            assert!(!waits || !connection.wants_shutdown(), "a Close waits");
            assert!(!connection.wants_input());
            self.check_sent(connection, Some(code));
            for round in 0..2 {
                assert_eq!(connection.state(), State::Closed);
                // RFC 6455 §7.1.5: no Close of the peer's counts.
                assert_eq!(status(connection), Some((1006, String::new(), false)));
                assert!(connection.wants_shutdown() && !connection.wants_input());
                assert_eq!(connection.wants_discard(), round == 0);
                // RFC 6455 §7.1.7: "(including a responding Close frame)".
                connection.feed(&frame(self.role.peer(), FIN | TEXT, b"late"));
                connection.feed(&frame(self.role.peer(), FIN | CLOSE, body(1000, "")));
                assert_eq!(connection.next_event(), Err(error), "an error is final");
                assert_eq!(connection.next_event_ref(), Err(error), "an error is final");
                assert_silent(connection);
                connection.input_eof();
            }
        });
        for delivery in self.deliveries() {
            for take in TAKES {
                for (end, expected) in [(at - 1, None), (at, Some(error))] {
                    let mut connection = self.connection(delivery);
                    let outcome = replay(&mut connection, &self.input[..end], &[], take);
                    assert_eq!(
                        outcome.error, expected,
                        "after {end} bytes, {delivery:?}, {take:?}: {:x?}",
                        self.input
                    );
                }
            }
        }
    }

    fn deliveries(&self) -> impl Iterator<Item = Delivery> {
        let only = self.only;
        [Delivery::Whole, Delivery::Chunks].into_iter().filter(move |&mode| only.unwrap_or(mode) == mode)
    }

    fn connection(&self, delivery: Delivery) -> Connection {
        let mut connection = support::connection(self.role, self.config.delivery(delivery));
        (self.before)(&mut connection);
        connection
    }

    /// Whether the endpoint closes before the input comes: its Close has left, or waits.
    fn has_closed(&self) -> bool {
        self.connection(Delivery::Whole).state() == State::Closing
    }

    #[track_caller]
    fn each_way(&self, error: Option<ProtocolError>, look: impl Fn(&mut Connection)) {
        for way in ways(self.input.len()) {
            if !self.deliveries().any(|delivery| delivery == way.delivery) {
                continue;
            }
            let mut connection = self.connection(way.delivery);
            let outcome = replay(&mut connection, &self.input, &way.cuts, way.take);
            let expected = Outcome { messages: self.messages.clone(), error };
            if outcome != expected {
                let input = &self.input[..self.input.len().min(200)];
                panic!("{:?} got {input:x?}, {way:?}:\n{outcome:?}\nexpected:\n{expected:?}", self.role);
            }
            look(&mut connection);
        }
    }

    /// What leaves is what was said, and, for a failure, a Close with its code unless a Close left before.
    #[track_caller]
    fn check_sent(&self, connection: &mut Connection, failure: Option<u16>) {
        let mut frames = sent(connection);
        if let Some(code) = failure.filter(|_| !self.has_closed()) {
            let close = frames.pop().expect("a Close");
            assert_eq!(close.first, FIN | CLOSE);
            assert_eq!(close.payload[..2], code.to_be_bytes(), "the code of the Close");
            let reason = std::str::from_utf8(&close.payload[2..]).unwrap();
            assert!(!reason.is_empty() && reason.len() <= 123, "{reason:?}");
        }
        let frames: Vec<_> = frames.iter().map(Sent::plain).collect();
        let expected: Vec<_> = self.sent.iter().map(|(first, payload)| (*first, &payload[..])).collect();
        assert_eq!(frames, expected, "what leaves after {:x?}", self.input);
    }
}

/// Nothing can be sent, and nothing leaves.
#[track_caller]
pub(crate) fn assert_silent(connection: &mut Connection) {
    let message = text("late");
    let error = connection.send(message.clone()).unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Closed);
    assert_eq!(error.into_message(), Some(message), "a refused message is handed back");
    connection.close(Some(close_frame(1001, "late")));
    assert!(!connection.wants_output());
    assert_eq!(written(connection), b"");
}
