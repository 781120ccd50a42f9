//! How commands of a client end: codes for scripts, and sentences for people.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use taut::client::Loss;
use taut::{Error, ErrorKind};

/// The exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Exit {
    /// Closed normally: by us, or by the server with 1000 or without a code.
    Closed = 0,
    /// Something here failed: a file, the standard input or output.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The server, or the proxy, cannot be reached, or the proxy refused.
    Unreachable = 3,
    /// There is no TLS with the server.
    Tls = 4,
    /// The server refused the handshake, or what it answered is none.
    Refused = 5,
    /// The server closed with another code.
    ClosedByCode = 6,
    /// Something took too long: connecting, the handshake, closing, or a sign of life.
    Timeout = 7,
    /// The connection was lost without a Close, or the server broke the protocol.
    Lost = 8,
    /// It ended before the messages of `--count` had come.
    Few = 9,
    /// By Ctrl-C.
    Interrupted = 130,
}

/// Why it ended, if not as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }
}

impl Exit {
    /// For an error of the library.
    pub(crate) fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Unreachable | ErrorKind::Proxy => Self::Unreachable,
            ErrorKind::Tls => Self::Tls,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::Peer if matches!(error, Error::Handshake(_)) => Self::Refused,
            _ => Self::Lost,
        }
    }

    /// For the end of a connection that this end did not begin.
    pub(crate) fn of_loss(loss: &Loss) -> Self {
        match loss {
            Loss::Connect(error) | Loss::Broken(error) => Self::of(error),
            Loss::Closed(status) if !status.clean => Self::Lost,
            // RFC 6455 §7.4.1: 1000, and 1005 for a Close without a code.
            Loss::Closed(status) if [1000, 1005].contains(&status.code) => Self::Closed,
            Loss::Closed(_) => Self::ClosedByCode,
            _ => Self::Lost,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { exit: Exit::of(&error), text: error.to_string() }
    }
}
