//! How a connection ended, and what went wrong on the way.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::String;
use core::error::Error as StdError;
use core::fmt;
use core::net::SocketAddr;
use std::io;

use super::id::ConnectionId;
use crate::admission::Refused;
use crate::error::{Deadline, Error};
use crate::proto::CloseStatus;

/// How a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// Who ended it, or what.
    pub by: By,
    /// What the peer's Close said, if one came or could not come any more.
    pub status: Option<CloseStatus>,
    /// Why there was no clean end.
    pub error: Option<Error>,
}

/// Who ended a connection, or what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum By {
    /// The peer closed.
    Peer,
    /// The application closed it, or its handler came to its end.
    Application,
    /// The handler failed or panicked: the peer got 1011.
    Handler,
    /// The transport ended or failed, or the peer broke the protocol or a limit of the engine.
    Transport,
    /// The queue was full under [`SlowConsumer::Disconnect`](super::SlowConsumer::Disconnect).
    SlowConsumer,
    /// The peer took too little of what waited for it, for [`Config::write_timeout`](super::Config::write_timeout).
    Stalled,
    /// The peer sent nothing for [`Config::idle_timeout`](super::Config::idle_timeout): it got 1001.
    Idle,
    /// The peer gave no sign of life in time after a ping.
    Heartbeat,
    /// The peer sent more than [`Config::message_rate`](super::Config::message_rate) allows: it got 1008.
    Rate,
    /// The first message was refused, or did not come in time: the peer got the hook's Close, or 1008.
    Authentication,
    /// The server shuts down.
    Shutdown,
    /// [`Handle::abort`](super::Handle::abort).
    Aborted,
}

/// Something that went wrong, for logs and counters. It ended one connection at most.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The system gave no connection; there will be another try after a pause.
    Accept(io::Error),
    /// A connection was not let in.
    Refused(SocketAddr, Refused),
    /// There was no handshake, nor perhaps TLS before it.
    Handshake(SocketAddr, Error),
    /// The certificates could not be loaded anew at SIGHUP; those of before stay.
    Reload(Error),
    /// The hook that decides on a request panicked; with what it said.
    Refusing(SocketAddr, String),
    /// The stream could not be set up: the socket's options, or what
    /// [`Builder::listen_with`](super::Builder::listen_with) does with it.
    Stream(SocketAddr, io::Error),
    /// The handler, or a hook, returned an error.
    Failed(ConnectionId, Box<dyn StdError + Send + Sync>),
    /// The handler, or a hook, panicked; with what it said.
    Panicked(ConnectionId, String),
    /// The handler went on for too long after its connection had ended, and was dropped.
    Lingered(ConnectionId),
}

impl By {
    /// Whom an error of the socket stands for.
    pub(super) const fn of(error: &Error) -> Self {
        match error {
            Error::Timeout(Deadline::Pong) => Self::Heartbeat,
            Error::Timeout(Deadline::Idle) => Self::Idle,
            Error::Timeout(Deadline::Write) => Self::Stalled,
            _ => Self::Transport,
        }
    }
}

impl Outcome {
    /// Whether both ends said goodbye.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.clean)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept(error) => write!(f, "no connection could be accepted: {error}"),
            Self::Refused(address, refused) => write!(f, "{address} was not let in: {refused}"),
            Self::Handshake(address, error) => write!(f, "no handshake with {address}: {error}"),
            Self::Reload(error) => write!(f, "the certificates stay as they were: {error}"),
            Self::Refusing(address, said) => write!(f, "the hook for {address} panicked: {said}"),
            Self::Stream(address, error) => write!(f, "no stream with {address}: {error}"),
            Self::Failed(id, error) => write!(f, "the handler of connection {id} failed: {error}"),
            Self::Panicked(id, said) => write!(f, "the handler of connection {id} panicked: {said}"),
            Self::Lingered(id) => write!(f, "the handler of connection {id} did not end, and was dropped"),
        }
    }
}
