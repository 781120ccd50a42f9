//! A message on its way to one connection or to many.

#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::Serialize;

use crate::proto::{Message, Prepared, Utf8Bytes};

/// A message to send, and how it waits its turn: in the urgent lane or not, and under which key others of its kind may
/// take its place. Texts, bytes, [`Message`]s and [`Prepared`] ones become one by themselves.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub(super) payload: Payload,
    pub(super) key: Option<Arc<str>>,
    pub(super) urgent: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Payload {
    Message(Message),
    Prepared(Prepared),
}

impl Outgoing {
    /// A text message.
    #[must_use]
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Message::Text(text.into()).into()
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Message::Binary(bytes.into()).into()
    }

    /// A text message of JSON.
    ///
    /// # Errors
    /// The value's own, and maps whose keys are no strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self::text)
    }

    /// Goes before all that is not urgent, behind what is on its way already.
    #[must_use]
    pub const fn urgent(mut self) -> Self {
        self.urgent = true;
        self
    }

    /// Under [`SlowConsumer::Conflate`](super::SlowConsumer::Conflate), takes the place of a message with the same key that
    /// still waits, once the queue is full: the name of what the message tells the latest of.
    #[must_use]
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How many bytes the payload has.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.payload {
            Payload::Message(Message::Text(text)) => text.len(),
            Payload::Message(Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes)) => {
                bytes.len()
            }
            Payload::Message(Message::Close(_)) => 0,
            Payload::Prepared(prepared) => prepared.len(),
        }
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is data, which is all that waits here: control frames are the server's own.
    pub(super) const fn is_data(&self) -> bool {
        match &self.payload {
            Payload::Message(message) => message.is_data(),
            Payload::Prepared(_) => true,
        }
    }

    /// Encoded once, for many.
    pub(super) fn prepare(mut self) -> Self {
        let prepared = match &self.payload {
            Payload::Message(Message::Text(text)) => Prepared::text(text),
            Payload::Message(Message::Binary(bytes)) => Prepared::binary(bytes),
            _ => return self,
        };
        self.payload = Payload::Prepared(prepared);
        self
    }
}

impl From<Message> for Outgoing {
    fn from(message: Message) -> Self {
        Self { payload: Payload::Message(message), key: None, urgent: false }
    }
}

impl From<Prepared> for Outgoing {
    fn from(prepared: Prepared) -> Self {
        Self { payload: Payload::Prepared(prepared), key: None, urgent: false }
    }
}

impl From<&Prepared> for Outgoing {
    fn from(prepared: &Prepared) -> Self {
        prepared.clone().into()
    }
}

impl From<&str> for Outgoing {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Outgoing {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Bytes> for Outgoing {
    fn from(bytes: Bytes) -> Self {
        Self::binary(bytes)
    }
}

impl From<Vec<u8>> for Outgoing {
    fn from(bytes: Vec<u8>) -> Self {
        Self::binary(bytes)
    }
}
