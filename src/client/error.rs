//! Why a message was not sent, not delivered, or not answered.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::fmt;

use crate::proto::Message;

/// A message that was not taken; [`into_message`](Self::into_message) hands it back.
pub struct Unsent(Box<(UnsentKind, Message)>);

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnsentKind {
    /// There is no room.
    Full,
    /// The client has ended, or is closing.
    Ended,
    /// A Close, which [`Handle::close`](super::Handle::close) sends, or a ping or pong of more than 125 bytes.
    Control,
}

/// Why a message was not acknowledged.
#[derive(Debug)]
#[non_exhaustive]
pub enum Undelivered {
    /// It was not taken.
    Unsent(Unsent),
    /// The client ended first, or its outbox dropped the message for others.
    Lost,
    /// The client has no [`Acknowledge`](super::Acknowledge).
    NoScheme,
    /// The server got it, and refused it: with what it said.
    Refused(Box<str>),
    /// The value is not to be had as JSON.
    Value(serde_json::Error),
}

/// Why there is no reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// The value is not to be had as JSON.
    Value(serde_json::Error),
    /// The message was not taken.
    Unsent(Unsent),
    /// The deadline passed.
    Late,
    /// The connection by which it was sent was lost before the reply came, the client ended, or its outbox dropped the
    /// request for others.
    Lost,
    /// The server replied with an error: its `error`, or else its `data`, as JSON.
    Refused(Box<str>),
    /// The reply is not what was expected.
    Reply(serde_json::Error),
}

impl Unsent {
    #[cold]
    pub(super) fn new(kind: UnsentKind, message: Message) -> Self {
        Self(Box::new((kind, message)))
    }

    /// Why it was not taken.
    #[must_use]
    pub fn kind(&self) -> UnsentKind {
        self.0.0
    }

    /// The message.
    #[must_use]
    pub fn into_message(self) -> Message {
        self.0.1
    }
}

impl fmt::Display for UnsentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the outbox is full: wait by `send`, or choose another `Overflow`",
            Self::Ended => "the client has ended, or is closing",
            Self::Control => "a Close is sent by `close`, and a ping or pong has at most 125 bytes",
        })
    }
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message was not taken: {}", self.kind())
    }
}

/// The payload stays out of logs.
impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unsent").field(&self.kind()).finish()
    }
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent(error) => error.fmt(f),
            Self::Lost => f.write_str("the client ended, or dropped the message, before it was acknowledged"),
            Self::Refused(said) => write!(f, "the server refused the message: {said}"),
            Self::Value(error) => write!(f, "the value is not to be had as JSON: {error}"),
            Self::NoScheme => {
                f.write_str("the client knows no acknowledgements: give it `Builder::acknowledge`")
            }
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(error) => write!(f, "the value is not to be had as JSON: {error}"),
            Self::Unsent(error) => error.fmt(f),
            Self::Late => f.write_str("no reply came in time"),
            Self::Lost => {
                f.write_str("the connection was lost before the reply came; ask again if that does no harm")
            }
            Self::Refused(data) => write!(f, "the server refused the request: {data}"),
            Self::Reply(error) => write!(f, "the reply is not what was expected: {error}"),
        }
    }
}

impl core::error::Error for Unsent {}

impl core::error::Error for Undelivered {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unsent(error) => Some(error),
            Self::Value(error) => Some(error),
            Self::Lost | Self::NoScheme | Self::Refused(_) => None,
        }
    }
}

impl core::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Value(error) | Self::Reply(error) => Some(error),
            Self::Unsent(error) => Some(error),
            Self::Late | Self::Lost | Self::Refused(_) => None,
        }
    }
}

impl From<Unsent> for Undelivered {
    fn from(error: Unsent) -> Self {
        Self::Unsent(error)
    }
}

impl From<Unsent> for RequestError {
    fn from(error: Unsent) -> Self {
        Self::Unsent(error)
    }
}
