//! What one half of a connection has to tell the other.

#![forbid(unsafe_code)]

use bytes::Bytes;

use super::close::CloseFrame;
use super::error::ProtocolError;

/// What the receiving half owes the peer, or has to tell the sending half.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "all that one half has to tell the other")]
pub enum Answer {
    /// A pong with this payload (RFC 6455 §5.5.3).
    Pong(Bytes),
    /// A Close that echoes the code of this one (RFC 6455 §5.5.1).
    Close(Option<CloseFrame>),
    /// A Close that says what was wrong (RFC 6455 §7.1.7).
    Fail(ProtocolError),
    /// Nothing yet: the peer's Close came, and the application is to answer it, since
    /// [`Config::auto_close`](super::Config::auto_close) is off. New messages are refused.
    Closed,
    /// Nothing more: the transport ended. Messages are refused.
    Lost,
}
