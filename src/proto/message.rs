//! What the application sends and receives.

#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::close::CloseFrame;
use super::utf8::Utf8Bytes;

/// The two kinds of data message (RFC 6455 §5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 §5.6 defines two")]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

/// A whole message, in either direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 §5.5 and §5.6 close the set")]
pub enum Message {
    /// UTF-8 text (RFC 6455 §5.6).
    Text(Utf8Bytes),
    /// Any bytes (RFC 6455 §5.6).
    Binary(Bytes),
    /// Asks for a pong with the same payload, at most 125 bytes (RFC 6455 §5.5.2).
    /// A received one is answered already, unless [`Config::auto_pong`](super::Config::auto_pong) is off.
    Ping(Bytes),
    /// The answer to a ping, or a sign of life, at most 125 bytes (RFC 6455 §5.5.3).
    Pong(Bytes),
    /// The last message (RFC 6455 §5.5.1).
    /// A received one is answered already, unless [`Config::auto_close`](super::Config::auto_close) is off.
    Close(Option<CloseFrame>),
}

impl Message {
    /// A text message.
    #[must_use]
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// Whether this is text or binary, not one of the control messages.
    #[must_use]
    pub const fn is_data(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Binary(_))
    }

    /// The text of a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Utf8Bytes> for Message {
    fn from(text: Utf8Bytes) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// A [`Message`] that lies in the connection's own memory until the connection is touched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the arms of `Message`")]
pub enum MessageRef<'a> {
    /// See [`Message::Text`].
    Text(&'a str),
    /// See [`Message::Binary`].
    Binary(&'a [u8]),
    /// See [`Message::Ping`].
    Ping(&'a [u8]),
    /// See [`Message::Pong`].
    Pong(&'a [u8]),
    /// See [`Message::Close`].
    Close(Option<&'a CloseFrame>),
}

impl<'a> MessageRef<'a> {
    /// The bytes of a message that is not a control message.
    #[inline(always)]
    pub(crate) const fn data(&self) -> Option<(Kind, &'a [u8])> {
        match *self {
            Self::Text(text) => Some((Kind::Text, text.as_bytes())),
            Self::Binary(bytes) => Some((Kind::Binary, bytes)),
            Self::Ping(_) | Self::Pong(_) | Self::Close(_) => None,
        }
    }

    /// Whether this is text or binary, not one of the control messages.
    #[must_use]
    pub const fn is_data(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Binary(_))
    }

    /// A copy that lives by itself.
    #[must_use]
    pub fn to_message(&self) -> Message {
        match *self {
            Self::Text(text) => Message::Text(text.into()),
            Self::Binary(bytes) => Message::Binary(Bytes::copy_from_slice(bytes)),
            Self::Ping(bytes) => Message::Ping(Bytes::copy_from_slice(bytes)),
            Self::Pong(bytes) => Message::Pong(Bytes::copy_from_slice(bytes)),
            Self::Close(frame) => Message::Close(frame.cloned()),
        }
    }
}

impl<'a> From<&'a Message> for MessageRef<'a> {
    fn from(message: &'a Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text),
            Message::Binary(bytes) => Self::Binary(bytes),
            Message::Ping(bytes) => Self::Ping(bytes),
            Message::Pong(bytes) => Self::Pong(bytes),
            Message::Close(frame) => Self::Close(frame.as_ref()),
        }
    }
}

/// What the engine found in its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "data comes whole or in pieces")]
pub enum Event {
    /// A whole message; control messages always come so.
    Message(Message),
    /// A piece of a message, under [`Delivery::Chunks`](super::Delivery::Chunks) only.
    Chunk(Chunk),
}

impl Event {
    /// Whether this is text or binary, or a part of it, not a control message.
    #[must_use]
    pub const fn is_data(&self) -> bool {
        match self {
            Self::Message(message) => message.is_data(),
            Self::Chunk(_) => true,
        }
    }

    /// The same event, put together anew where it is wanted.
    #[inline(always)]
    pub(crate) fn by_parts(self) -> Self {
        match self {
            Self::Message(Message::Text(text)) => Self::Message(Message::Text(text)),
            Self::Message(Message::Binary(bytes)) => Self::Message(Message::Binary(bytes)),
            Self::Message(Message::Ping(payload)) => Self::Message(Message::Ping(payload)),
            Self::Message(Message::Pong(payload)) => Self::Message(Message::Pong(payload)),
            Self::Message(Message::Close(frame)) => Self::Message(Message::Close(frame)),
            Self::Chunk(chunk) => Self::Chunk(chunk),
        }
    }

    /// The message; or the chunk as a message of its kind, for those to whom the borders say nothing.
    #[must_use]
    #[inline]
    pub fn into_message(self) -> Message {
        match self {
            Self::Message(message) => message,
            Self::Chunk(chunk) => match chunk.data {
                ChunkData::Text(text) => Message::Text(text),
                ChunkData::Binary(bytes) => Message::Binary(bytes),
            },
        }
    }
}

/// An [`Event`] that lies in the connection's own memory until the connection is touched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the arms of `Event`")]
pub enum EventRef<'a> {
    /// See [`Event::Message`].
    Message(MessageRef<'a>),
    /// See [`Event::Chunk`].
    Chunk(ChunkRef<'a>),
}

impl EventRef<'_> {
    /// Whether this is text or binary, or a part of it, not a control message.
    #[must_use]
    pub const fn is_data(&self) -> bool {
        match self {
            Self::Message(message) => message.is_data(),
            Self::Chunk(_) => true,
        }
    }

    /// A copy that lives by itself.
    #[must_use]
    pub fn to_event(&self) -> Event {
        match self {
            Self::Message(message) => Event::Message(message.to_message()),
            Self::Chunk(chunk) => Event::Chunk(chunk.to_chunk()),
        }
    }
}

/// A piece of a message. Where pieces end says nothing: it depends on how the bytes arrived.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "all that there is to say of a piece")]
pub struct Chunk {
    /// The bytes of this piece; empty only in a last one.
    pub data: ChunkData,
    /// Whether the message begins here.
    pub first: bool,
    /// Whether the message ends here.
    pub last: bool,
}

/// The bytes of a [`Chunk`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 §5.6 defines two kinds")]
pub enum ChunkData {
    /// Part of a text message, cut between characters.
    Text(Utf8Bytes),
    /// Part of a binary message.
    Binary(Bytes),
}

/// A [`Chunk`] that lies in the connection's own memory until the connection is touched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "the fields of `Chunk`")]
pub struct ChunkRef<'a> {
    /// See [`Chunk::data`].
    pub data: ChunkDataRef<'a>,
    /// See [`Chunk::first`].
    pub first: bool,
    /// See [`Chunk::last`].
    pub last: bool,
}

impl ChunkRef<'_> {
    /// A copy that lives by itself.
    #[must_use]
    pub fn to_chunk(&self) -> Chunk {
        let data = match self.data {
            ChunkDataRef::Text(text) => ChunkData::Text(text.into()),
            ChunkDataRef::Binary(bytes) => ChunkData::Binary(Bytes::copy_from_slice(bytes)),
        };
        Chunk { data, first: self.first, last: self.last }
    }
}

/// The bytes of a [`ChunkRef`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the arms of `ChunkData`")]
pub enum ChunkDataRef<'a> {
    /// See [`ChunkData::Text`].
    Text(&'a str),
    /// See [`ChunkData::Binary`].
    Binary(&'a [u8]),
}

impl ChunkDataRef<'_> {
    /// Which kind of message this is a part of.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// The bytes, of either kind.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}
