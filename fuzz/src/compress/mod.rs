//! The oracle of `compress`: whatever is sent, and in whatever way, arrives as it was sent: at another connection,
//! and at another inflater, which has no more of a window than was agreed on.

pub mod input;
pub mod seeds;

use bytes::Bytes;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use taut::proto::{Connection, Delivery, Event, Kind, Message, MessageRef, Prepared};

use crate::deflate::connection;
use crate::deflate::model::Inflater;
use crate::input::mask;
use crate::receive::content;
use crate::sent::{add_chunk, payload};
use input::{Data, Input, Settings, Step, Way};

/// Sends what the input says, and compares what arrives.
///
/// # Panics
/// If something else arrives, or in another form than it must.
pub fn check(input: &Input) {
    let settings = &input.settings;
    let mut main = Sending::new(settings, settings.window_bits);
    let mut other = Sending::new(settings, settings.other_window_bits);
    let mut prepared: Option<(Prepared, Message)> = None;
    let mut last = Vec::new();
    let mut length = 0;
    for step in &input.script {
        match step {
            Step::Send { way, text, data } => {
                let bytes = data.bytes(&last, *text);
                length += bytes.len();
                if length > MAX_LENGTH {
                    break;
                }
                match way {
                    Way::Prepared => {
                        let message = message(*text, &bytes);
                        let encoded = match &message {
                            Message::Text(text) => Prepared::text(text),
                            _ => Prepared::binary(&bytes),
                        };
                        prepared = Some((encoded, message));
                    }
                    Way::PreparedAgain => {}
                    _ => main.send(*way, message(*text, &bytes), data),
                }
                if let (Way::Prepared | Way::PreparedAgain, Some((encoded, message))) = (way, &prepared) {
                    main.send_prepared(encoded, message);
                    other.send_prepared(encoded, message);
                }
                last = bytes;
            }
            Step::Compress(on) => main.compress(*on),
            Step::Forget => main.connection.forget_context(),
            Step::Ping => main.ping(),
        }
    }
    main.arrive();
    other.arrive();
}

/// A connection that sends, and what it sent.
struct Sending<'a> {
    settings: &'a Settings,
    window_bits: u8,
    connection: Connection,
    /// Whether messages are to be compressed.
    wanted: bool,
    sent: Vec<Sent>,
}

/// A message that was sent.
struct Sent {
    message: Message,
    way: Way,
    /// Whether compression was on.
    wanted: bool,
}

/// A message on the wire.
#[derive(Default)]
struct Seen {
    opcode: u8,
    compressed: bool,
    /// The lengths of its frames.
    frames: Vec<usize>,
    payload: Vec<u8>,
}

impl<'a> Sending<'a> {
    fn new(settings: &'a Settings, window_bits: u8) -> Self {
        let connection = connection(settings.role, settings.config(), settings.deflate(window_bits));
        Self { settings, window_bits, connection, wanted: true, sent: Vec::new() }
    }

    fn send(&mut self, way: Way, message: Message, data: &Data) {
        let (_, sender) = self.connection.halves();
        let borrowed = MessageRef::from(&message);
        let bytes = payload(&borrowed);
        let sent = match way {
            Way::Owned => sender.send(message.clone()),
            Way::Borrowed => sender.send_ref(borrowed),
            _ => {
                let kind = if message.as_text().is_some() { Kind::Text } else { Kind::Binary };
                let empty = way == Way::EmptyFragments;
                let mut pieces =
                    bytes.chunks(data.fragment.max(1).max(bytes.len() / MAX_FRAGMENTS)).peekable();
                let mut result = Ok(());
                while let Some(piece) = pieces.next() {
                    if empty {
                        result = result.and_then(|()| sender.send_fragment(kind, b"", false));
                    }
                    let last = pieces.peek().is_none() && !empty;
                    result = result.and_then(|()| sender.send_fragment(kind, piece, last));
                }
                if empty || bytes.is_empty() {
                    result = result.and_then(|()| sender.send_fragment(kind, b"", true));
                }
                result
            }
        };
        sent.expect("an open connection takes a message");
        self.sent.push(Sent { message, way, wanted: self.wanted });
    }

    fn send_prepared(&mut self, prepared: &Prepared, message: &Message) {
        self.connection.send_prepared(prepared).expect("an open connection takes a message");
        self.sent.push(Sent { message: message.clone(), way: Way::Prepared, wanted: self.wanted });
    }

    fn compress(&mut self, on: bool) {
        self.connection.compress(on);
        self.wanted = on;
    }

    fn ping(&mut self) {
        self.connection.ping(b"ping").expect("an open connection takes a ping");
        let message = Message::Ping(Bytes::from_static(b"ping"));
        self.sent.push(Sent { message, way: Way::Owned, wanted: false });
    }

    /// Compares what is on the wire, and what a peer makes of it, with what was sent.
    fn arrive(&mut self) {
        let mut wire = Vec::new();
        while let Some(piece) = self.connection.output().pop() {
            wire.extend_from_slice(&piece);
        }
        let seen = frames(&wire);
        assert_eq!(seen.len(), self.sent.len(), "as many messages as were sent");
        let mut inflater = Inflater::new(self.settings.takeover);
        let mut window = Window::new(self.settings.takeover, self.window_bits);
        for (sent, seen) in self.sent.iter().zip(&seen) {
            self.check_form(sent, seen);
            let borrowed = MessageRef::from(&sent.message);
            let bytes = payload(&borrowed);
            if !seen.compressed {
                assert!(seen.payload == bytes, "another message");
                continue;
            }
            let mut inflated = Vec::new();
            inflater.begin();
            assert!(inflater.feed(&seen.payload, &mut inflated, usize::MAX), "not DEFLATE");
            assert!(inflater.finish(), "the tail is missing, or left");
            assert!(inflated == bytes, "another message");
            assert!(window.inflate(&seen.payload) == bytes, "another message, in the window agreed on");
        }
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            self.receive(&wire, delivery);
        }
    }

    fn check_form(&self, sent: &Sent, seen: &Seen) {
        let borrowed = MessageRef::from(&sent.message);
        let len = payload(&borrowed).len();
        let opcode = match sent.message {
            Message::Text(_) => 1,
            Message::Binary(_) => 2,
            _ => 9,
        };
        assert_eq!(seen.opcode, opcode);
        let fragments = matches!(sent.way, Way::Fragments | Way::EmptyFragments);
        // RFC 7692 §6: "An endpoint can send" a message as it is; zlib has no window of 8 bits.
        let may = sent.wanted && self.window_bits > 8 && (fragments || len > self.settings.deflate_above);
        if fragments || (self.settings.takeover && sent.way != Way::Prepared) {
            assert_eq!(seen.compressed, may, "compressed, if it is wanted");
        } else if seen.compressed {
            assert!(
                may && seen.payload.len() < len,
                "compressed for nothing: {} for {len}",
                seen.payload.len()
            );
        }
        if !fragments && sent.way != Way::Prepared && sent.message.is_data() {
            let most = self.settings.fragment_above.max(1);
            let (last, others) = seen.frames.split_last().expect("a message has a frame");
            assert!(*last <= most && others.iter().all(|&frame| frame == most), "frames as long as wanted");
        }
    }

    /// Has a peer receive all, which takes no message larger than the largest.
    fn receive(&self, wire: &[u8], delivery: Delivery) {
        let lengths = self.sent.iter().map(|sent| payload(&MessageRef::from(&sent.message)).len());
        let max = lengths.max().unwrap_or(0);
        let config = self.settings.config().delivery(delivery).max_message(max).max_streamed(max as u64);
        let deflate = self.settings.deflate(self.window_bits);
        let mut peer = connection(self.settings.role.peer(), config, deflate);
        let cut = if self.settings.cut == 0 { usize::MAX } else { usize::from(self.settings.cut) };
        let mut messages = Vec::new();
        let mut partial = None;
        for bytes in wire.chunks(cut) {
            peer.feed(bytes);
            while let Some(event) = peer.next_event().expect("the peer understands it") {
                match event {
                    Event::Message(message) => messages.push(message),
                    Event::Chunk(chunk) => {
                        let (kind, bytes) = content(&chunk.data);
                        add_chunk(&mut partial, &mut messages, kind, bytes, chunk.last);
                    }
                }
            }
        }
        assert_eq!(partial, None);
        assert_eq!(messages.len(), self.sent.len());
        for (message, sent) in messages.iter().zip(&self.sent) {
            assert!(*message == sent.message, "another message");
        }
    }
}

/// An inflater with a window of a certain size, which takes no distance beyond it.
struct Window {
    takeover: bool,
    oxide: Box<DecompressorOxide>,
    ring: Vec<u8>,
    at: usize,
}

impl Window {
    fn new(takeover: bool, bits: u8) -> Self {
        Self { takeover, oxide: Box::default(), ring: vec![0; 1 << bits], at: 0 }
    }

    fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
        if !self.takeover {
            *self = Self { ring: vec![0; self.ring.len()], ..Self::new(false, 0) };
        }
        let bytes = [payload, &[0, 0, 0xFF, 0xFF]].concat();
        let mut bytes = &bytes[..];
        let mut out = Vec::new();
        loop {
            let (status, taken, written) =
                decompress(&mut self.oxide, bytes, &mut self.ring, self.at, TINFL_FLAG_HAS_MORE_INPUT);
            out.extend_from_slice(&self.ring[self.at..][..written]);
            self.at = (self.at + written) % self.ring.len();
            bytes = &bytes[taken..];
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput => return out,
                _ => panic!("{status:?}, with a window of {} bytes", self.ring.len()),
            }
        }
    }
}

fn message(text: bool, bytes: &[u8]) -> Message {
    match text {
        true => Message::text(String::from_utf8(bytes.to_vec()).expect("the data was made text")),
        false => Message::binary(bytes.to_vec()),
    }
}

/// The messages of these frames, which are whole, and keep the rules of RFC 6455.
fn frames(mut wire: &[u8]) -> Vec<Seen> {
    let mut messages = Vec::new();
    let mut message: Option<Seen> = None;
    while let [first, second, rest @ ..] = wire {
        let (opcode, fin, compressed) = (first & 0x0F, first & 0x80 != 0, first & 0x40 != 0);
        assert_eq!(first & 0x30, 0, "reserved bits");
        let width = [0, 2, 8][usize::from((second & 0x7F).saturating_sub(125))];
        let len = match width {
            0 => usize::from(second & 0x7F),
            _ => rest[..width].iter().fold(0, |len, &byte| len << 8 | usize::from(byte)),
        };
        let mut rest = &rest[width..];
        let mut key = [0; 4];
        if second & 0x80 != 0 {
            key.copy_from_slice(&rest[..4]);
            rest = &rest[4..];
        }
        let mut bytes = rest[..len].to_vec();
        wire = &rest[len..];
        mask(&mut bytes, key);
        if opcode >= 8 {
            assert!(fin && !compressed && message.is_none(), "a control frame between messages");
            messages.push(Seen { opcode, payload: bytes, ..Seen::default() });
            continue;
        }
        if opcode != 0 {
            assert!(message.is_none(), "a message within a message");
            message = Some(Seen { opcode, compressed, ..Seen::default() });
        }
        let begun = message.as_mut().expect("a frame that begins a message");
        // RFC 7692 §6.1: the bit is set "only on the first fragment".
        assert!(opcode != 0 || !compressed, "the bit is set again");
        begun.frames.push(len);
        begun.payload.extend(bytes);
        if fin {
            messages.extend(message.take());
        }
    }
    assert!(wire.is_empty() && message.is_none(), "whole messages");
    messages
}

/// How many bytes one input sends, before compression.
const MAX_LENGTH: usize = 96 << 10;

/// About how many fragments a message leaves in at most.
const MAX_FRAGMENTS: usize = 100;
