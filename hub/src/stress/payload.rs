//! What messages say: who sent them, their number, and bytes that follow from both, so that each can be checked.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use taut::proto::Message;
use uuid::Uuid;

use crate::envelope::Envelope;

/// The messages of a run.
#[derive(Debug)]
pub(super) struct Payloads {
    /// Of this run alone: what others send is not taken for an answer.
    tag: u16,
    size: usize,
    is_text: bool,
    /// The room of a fan-out, where the server is a hub.
    hub: Option<String>,
    /// Messages are pieces of this.
    pattern: Vec<u8>,
}

/// What a message that came turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// The payload of this connection and number, whole.
    Payload { from: u32, number: u64 },
    /// Something that nobody here sent.
    Corrupt,
    /// The hub refused something.
    Refused(String),
    /// What a hub says besides.
    Other,
}

impl Payloads {
    pub(super) fn new(size: usize, is_text: bool, is_hub: bool, room: Option<&str>) -> Self {
        let tag = Uuid::new_v4().as_u128() as u16;
        let is_text = is_text || is_hub;
        let hub = is_hub.then(|| room.map_or_else(|| format!("taut-stress-{tag:04x}"), str::to_owned));
        let pattern = if is_text { words(size + SHIFTS) } else { noise(size + SHIFTS) };
        Self { tag, size, is_text, hub, pattern }
    }

    /// The message to be echoed.
    pub(super) fn echo(&self, from: u32, number: u64) -> Message {
        if self.hub.is_none() {
            return self.raw(from, number);
        }
        let payload = self.text(from, number);
        Message::text(format!("{{\"message_type\":\"ping\",\"data\":\"{payload}\"}}"))
    }

    /// The message to be sent to all.
    pub(super) fn publish(&self, from: u32, number: u64) -> Message {
        let Some(room) = &self.hub else { return self.raw(from, number) };
        let payload = self.text(from, number);
        let envelope = Envelope { room: Some(room.clone()), ..Envelope::default() };
        let envelope = Envelope { message_type: "text".into(), ..envelope }.data(&payload);
        Message::text(envelope.answering(Some(&format!("{}-{number}", self.tag))).to_json())
    }

    /// What asks a hub for the room.
    pub(super) fn join(&self) -> Option<Message> {
        let room = self.hub.clone()?;
        let join = Envelope { message_type: "join".into(), room: Some(room), ..Envelope::default() };
        Some(Message::text(join.answering(Some(JOIN)).to_json()))
    }

    /// Reads what came: every byte.
    pub(super) fn read(&self, message: &Message) -> Came {
        let bytes = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes.as_ref(),
            _ => return Came::Other,
        };
        if self.hub.is_none() {
            let is_kind = matches!(message, Message::Text(_)) == self.is_text;
            return if is_kind { self.check(bytes) } else { Came::Corrupt };
        }
        let Some(envelope) = message.as_text().and_then(|text| Envelope::read(text).ok()) else {
            return Came::Corrupt;
        };
        match envelope.message_type.as_str() {
            "pong" | "text" => match envelope.read_data::<Cow<'_, str>>() {
                Ok(data) => self.check(data.as_bytes()),
                Err(_) => Came::Corrupt,
            },
            "error" => Came::Refused(code(&envelope)),
            _ => Came::Other,
        }
    }

    /// Whether this tells that the room was joined.
    pub(super) fn is_joined(&self, message: &Message) -> bool {
        let envelope = message.as_text().and_then(|text| Envelope::read(text).ok());
        envelope
            .is_some_and(|envelope| envelope.message_type == "join" && envelope.id.as_deref() == Some(JOIN))
    }

    fn raw(&self, from: u32, number: u64) -> Message {
        if self.is_text {
            Message::text(self.text(from, number))
        } else {
            Message::binary(self.make(from, number))
        }
    }

    fn text(&self, from: u32, number: u64) -> String {
        String::from_utf8(self.make(from, number)).expect("words and digits are text")
    }

    fn make(&self, from: u32, number: u64) -> Vec<u8> {
        let mut payload = self.stamp(from, number).into_bytes();
        payload.reserve_exact(self.size - SMALLEST);
        payload.extend_from_slice(self.rest(from, number));
        payload
    }

    fn stamp(&self, from: u32, number: u64) -> String {
        format!("{:04x}{from:08x}{number:012x}", self.tag)
    }

    /// The bytes behind the stamp.
    fn rest(&self, from: u32, number: u64) -> &[u8] {
        let at = (u64::from(from).wrapping_mul(31).wrapping_add(number) % SHIFTS as u64) as usize;
        &self.pattern[at..at + self.size - SMALLEST]
    }

    fn check(&self, payload: &[u8]) -> Came {
        let Some((stamp, rest)) = payload.split_at_checked(SMALLEST) else { return Came::Corrupt };
        let digits = |range: std::ops::Range<usize>| {
            std::str::from_utf8(&stamp[range]).ok().and_then(|text| u64::from_str_radix(text, 16).ok())
        };
        let (Some(from), Some(number)) = (digits(4..12), digits(12..SMALLEST)) else { return Came::Corrupt };
        let from = from as u32;
        let is_whole = stamp == self.stamp(from, number).as_bytes() && rest == self.rest(from, number);
        if is_whole { Came::Payload { from, number } } else { Came::Corrupt }
    }
}

fn code(envelope: &Envelope) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        code: String,
    }
    envelope.read_data::<Refusal>().map_or_else(|_| "error".to_owned(), |refusal| refusal.code)
}

/// Bytes that cannot be compressed, the same in each run: splitmix64.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0_u64;
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    });
    words.flat_map(u64::to_le_bytes).take(length).collect()
}

/// Text that can be compressed about as texts are: words by chance.
fn words(length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(length + 16);
    for byte in noise(length) {
        if text.len() >= length {
            break;
        }
        text.extend_from_slice(WORDS[usize::from(byte) % WORDS.len()].as_bytes());
        text.push(b' ');
    }
    text.truncate(length);
    text
}

/// The stamp: tag, connection and number.
pub(super) const SMALLEST: usize = 24;

/// How many different pieces of the pattern there are.
const SHIFTS: usize = 4_093;

const JOIN: &str = "stress-join";

const WORDS: [&str; 24] = [
    "a", "again", "all", "and", "back", "before", "by", "came", "every", "from", "hears", "in", "message",
    "of", "one", "room", "says", "sends", "server", "that", "the", "to", "what", "with",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Payloads> {
        let text = |hub| Payloads::new(100, true, hub, None);
        vec![
            Payloads::new(SMALLEST, false, false, None),
            Payloads::new(9_000, false, false, None),
            text(false),
            text(true),
        ]
    }

    #[test]
    fn what_was_sent_is_known_again_and_has_its_size() {
        for payloads in all() {
            for (from, number) in [(0, 0), (7, 4_093), (u32::MAX, (1 << 48) - 1)] {
                assert_eq!(payloads.make(from, number).len(), payloads.size);
                let sent = payloads.publish(from, number);
                assert_eq!(payloads.read(&sent), Came::Payload { from, number }, "{sent:?}");
            }
        }
    }

    #[test]
    fn no_byte_can_change_unseen() {
        let payloads = Payloads::new(200, false, false, None);
        let whole = payloads.make(3, 5);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(payloads.read(&Message::binary(changed)), Came::Corrupt, "{at}");
        }
        for wrong in [&whole[..199], &whole[..10], &[]] {
            assert_eq!(payloads.read(&Message::binary(wrong.to_vec())), Came::Corrupt);
        }
        let text = Payloads::new(200, true, false, None);
        assert_eq!(text.read(&Message::binary(text.make(1, 1))), Came::Corrupt, "the kind counts as well");
    }

    #[test]
    fn what_a_hub_says_besides_is_no_answer() {
        let hub = Payloads::new(50, false, true, Some("here"));
        let said = |text: &str| hub.read(&Message::text(text.to_owned()));
        assert_eq!(said(r#"{"message_type":"system_message","data":{}}"#), Came::Other);
        assert_eq!(said(r#"{"message_type":"error","data":{"code":"rate"}}"#), Came::Refused("rate".into()));
        assert_eq!(said("{"), Came::Corrupt);
        assert!(hub.is_joined(&Message::text(r#"{"message_type":"join","id":"stress-join"}"#)));
    }
}
