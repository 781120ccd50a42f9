//! What a client tells of itself, and how it ends.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::error::Error;
use crate::proto::{CloseCode, CloseStatus, Message};

/// What happened, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Update {
    /// An attempt begins: the first since the last connection that held, or a later one.
    #[non_exhaustive]
    Connecting {
        /// Counted from one.
        attempt: u32,
    },
    /// The connection is open; subscriptions and messages without acknowledgement are sent again.
    #[non_exhaustive]
    Open {
        /// The subprotocol in use.
        subprotocol: Option<Arc<str>>,
    },
    /// A text or binary message.
    Message(Message),
    /// There is no connection; another attempt follows.
    #[non_exhaustive]
    Lost {
        /// Why.
        loss: Arc<Loss>,
        /// The pause before the next attempt.
        retry_in: Duration,
        /// Messages that were handed to the connection, and may not have been written to the last byte. They are not
        /// sent again by themselves, since the server may have them. None that is to be acknowledged is among them.
        unwritten: Arc<[Message]>,
    },
    /// The last update.
    Ended(Arc<Ended>),
}

/// Why there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Loss {
    /// The attempt failed.
    Connect(Error),
    /// The connection broke.
    Broken(Error),
    /// The server closed it.
    Closed(CloseStatus),
}

/// What follows from a [`Loss`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision {
    /// Try again, after the pause that [`Backoff`](super::Backoff) says.
    Retry,
    /// Try again at once.
    RetryNow,
    /// End.
    GiveUp,
}

/// How a client ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ended {
    /// Why.
    pub cause: Cause,
    /// Messages that were taken, and not written to the last byte, or not acknowledged.
    pub unsent: Vec<Message>,
}

/// Why a client ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// [`Handle::close`](super::Handle::close) while there was no connection, or nobody polls the client any more.
    Stopped,
    /// The closing handshake, which [`Handle::close`](super::Handle::close) began, or the last of all handles and
    /// [`Updates`](super::Updates) when it was dropped.
    Closed(CloseStatus),
    /// The same, but the closing handshake did not come to its end.
    Broken(Error),
    /// What was lost is not worth another attempt, or there were too many.
    GaveUp(Arc<Loss>),
}

impl Loss {
    /// Whether another attempt makes sense. An [`Error`] tells by itself; a server that closes with 1000, 1002, 1003
    /// or 1007 to 1010 has done what it wanted to, or does not want this client; with any other code, one of the
    /// application's among them, it may have it back.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_retryable(),
            // What the peer did wrong was done on one connection.
            Self::Broken(_) => true,
            Self::Closed(status) => !FINAL.iter().any(|code| code.get() == status.code),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "the attempt to connect failed: {error}"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Closed(status) => {
                f.write_str("the server closed the connection")?;
                fmt_status(status, f)
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the client was stopped while there was no connection"),
            Self::Closed(status) => {
                f.write_str("the connection was closed; the server answered")?;
                fmt_status(status, f)
            }
            Self::Broken(error) => write!(f, "the closing handshake did not come to its end: {error}"),
            Self::GaveUp(loss) => write!(f, "no further attempt is made: {loss}"),
        }
    }
}

fn fmt_status(status: &CloseStatus, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, " with {}", status.code)?;
    if status.reason.is_empty() { Ok(()) } else { write!(f, ": {}", &*status.reason) }
}

impl core::error::Error for Loss {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Connect(error) | Self::Broken(error) => Some(error),
            Self::Closed(_) => None,
        }
    }
}

/// The codes after which a server does not want the same client again.
const FINAL: [CloseCode; 7] = [
    CloseCode::NORMAL,
    CloseCode::PROTOCOL,
    CloseCode::UNSUPPORTED,
    CloseCode::INVALID_DATA,
    CloseCode::POLICY,
    CloseCode::TOO_BIG,
    CloseCode::EXTENSION,
];

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;
    use crate::error::Deadline;

    #[test]
    fn it_is_worth_another_attempt_unless_the_server_has_decided() {
        let closed = |code| Loss::Closed(CloseStatus { code, reason: "".into(), clean: true }).is_retryable();
        for code in [1000, 1002, 1003, 1007, 1008, 1009, 1010] {
            assert!(!closed(code), "{code}");
        }
        for code in [1001, CloseStatus::NO_CODE, CloseStatus::ABNORMAL, 1011, 1012, 1013, 1014, 3000, 4999] {
            assert!(closed(code), "{code}");
        }
        for (error, is_retryable) in
            [(Error::Timeout(Deadline::Connect), true), (Error::Rejected(403), false)]
        {
            assert_eq!(Loss::Connect(error).is_retryable(), is_retryable);
        }
        assert!(Loss::Broken(Error::Lost).is_retryable());
    }

    #[test]
    fn a_cause_reads_as_a_sentence() {
        let status = |reason: &str| CloseStatus { code: 1001, reason: reason.into(), clean: true };
        let lost = Error::Lost.to_string();
        for (cause, expected) in [
            (Cause::Stopped, "the client was stopped while there was no connection".into()),
            (Cause::Closed(status("")), "the connection was closed; the server answered with 1001".into()),
            (
                Cause::GaveUp(Arc::new(Loss::Closed(status("bye")))),
                "no further attempt is made: the server closed the connection with 1001: bye".into(),
            ),
            (Cause::Broken(Error::Lost), format!("the closing handshake did not come to its end: {lost}")),
        ] {
            assert_eq!(cause.to_string(), expected);
        }
    }
}
