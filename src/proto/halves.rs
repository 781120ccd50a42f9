//! What follows from both halves of a connection, whether they are together or not.

#![forbid(unsafe_code)]

#[cfg(feature = "tokio")]
use alloc::boxed::Box;

use super::agreement::Agreement;
#[cfg(feature = "tokio")]
use super::answer::Answer;
use super::close::{CloseFrame, CloseStatus, InputEnd, Standing, State};
use super::config::Role;
#[cfg(feature = "tokio")]
use super::error::ProtocolError;
use super::error::SendErrorKind;
use super::receive::Receiver;
use super::send::Sender;
use super::utf8::Utf8Bytes;

/// Both halves of a connection and what they agreed on, to look at.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionRef<'a> {
    pub(super) receiver: &'a Receiver,
    pub(super) sender: &'a Sender,
    pub(super) agreement: &'a Agreement,
}

impl<'a> ConnectionRef<'a> {
    #[cfg(feature = "tokio")]
    pub(crate) const fn new(receiver: &'a Receiver, sender: &'a Sender, agreement: &'a Agreement) -> Self {
        Self { receiver, sender, agreement }
    }

    /// See [`Connection::wants_input`](super::Connection::wants_input).
    #[must_use]
    pub const fn wants_input(self) -> bool {
        self.receiver.wants_input()
    }

    /// See [`Connection::wants_output`](super::Connection::wants_output).
    #[must_use]
    pub fn wants_output(self) -> bool {
        let owed = self.receiver.owed().is_some_and(|answer| self.sender.would_queue(answer));
        owed || self.sender.wants_output()
    }

    /// See [`Connection::state`](super::Connection::state).
    #[must_use]
    pub fn state(self) -> State {
        self.standing().state()
    }

    /// See [`Connection::close_status`](super::Connection::close_status).
    #[must_use]
    pub fn close_status(self) -> Option<CloseStatus> {
        let frame = self.receiver.close_frame().flatten();
        close_status(self.receiver.input_end(), frame, self.standing().clean())
    }

    /// See [`Connection::queued`](super::Connection::queued).
    #[must_use]
    pub fn queued(self) -> usize {
        self.sender.queued()
    }

    /// See [`Connection::refusal`](super::Connection::refusal).
    #[must_use]
    pub fn refusal(self) -> Option<SendErrorKind> {
        refusal(self.receiver.input_end(), self.sender)
    }

    /// See [`Connection::unfinished`](super::Connection::unfinished).
    #[must_use]
    pub fn unfinished(self) -> Option<u64> {
        self.receiver.unfinished()
    }

    /// See [`Connection::memory`](super::Connection::memory).
    #[must_use]
    pub fn memory(self) -> usize {
        self.receiver.memory() + self.sender.memory()
    }

    /// See [`Connection::role`](super::Connection::role).
    #[must_use]
    pub fn role(self) -> Role {
        self.sender.role()
    }

    /// See [`Connection::agreement`](super::Connection::agreement).
    #[must_use]
    pub const fn agreement(self) -> &'a Agreement {
        self.agreement
    }

    pub(super) fn standing(self) -> Standing {
        standing(self.receiver.input_end(), self.receiver.is_eof(), self.wants_output(), self.sender)
    }
}

/// What the receiving half knows of the end, for those who have the sending half alone.
#[cfg(feature = "tokio")]
#[derive(Debug)]
pub(crate) struct Heard {
    input: InputEnd,
    eof: bool,
    close: Option<Box<CloseFrame>>,
}

#[cfg(feature = "tokio")]
impl Heard {
    pub(crate) const fn new() -> Self {
        Self { input: InputEnd::Open, eof: false, close: None }
    }

    /// Passes what the receiving half owes, and what it knows, to the sending half.
    #[inline]
    pub(crate) fn settle(&mut self, receiver: &mut Receiver, sender: &mut Sender) {
        self.eof = receiver.is_eof();
        if receiver.owed().is_some() || receiver.input_end() != self.input {
            self.settle_answer(receiver, sender);
        }
    }

    #[cold]
    fn settle_answer(&mut self, receiver: &mut Receiver, sender: &mut Sender) {
        if let Some(answer) = receiver.take_answer() {
            // A failure that was told already is told once.
            if !(self.input == InputEnd::Failed && matches!(answer, Answer::Fail(_))) {
                sender.answer(answer);
            }
        }
        self.input = receiver.input_end();
        self.close = receiver.close_frame().flatten().map(|frame| Box::new(frame.clone()));
    }

    /// Fails the connection in the place of the receiving half, which is elsewhere: see
    /// [`Connection::fail`](super::Connection::fail).
    pub(crate) fn fail(&mut self, error: ProtocolError, sender: &mut Sender) {
        self.input = InputEnd::Failed;
        sender.answer(Answer::Fail(error));
    }

    /// Whether neither end has begun to close, and nothing has failed.
    #[inline]
    pub(crate) const fn is_open(&self, sender: &Sender) -> bool {
        matches!(self.input, InputEnd::Open) && !self.eof && !sender.is_closed()
    }

    /// See [`ConnectionRef::close_status`].
    pub(crate) fn close_status(&self, sender: &Sender) -> Option<CloseStatus> {
        close_status(self.input, self.close.as_deref(), self.standing(sender).clean())
    }

    /// See [`ConnectionRef::refusal`].
    pub(crate) fn refusal(&self, sender: &Sender) -> Option<SendErrorKind> {
        refusal(self.input, sender)
    }

    pub(crate) fn standing(&self, sender: &Sender) -> Standing {
        standing(self.input, self.eof, sender.wants_output(), sender)
    }
}

impl Sender {
    /// Whose half this is.
    pub(crate) const fn role(&self) -> Role {
        if self.queue.masks() { Role::Client } else { Role::Server }
    }
}

fn standing(input: InputEnd, eof: bool, wants_output: bool, sender: &Sender) -> Standing {
    Standing {
        role: sender.role(),
        input,
        eof,
        close_sent: sender.close_sent(),
        close_waits: sender.close_waits(),
        flushed: !wants_output,
        output_lost: sender.output_lost,
    }
}

fn close_status(input: InputEnd, frame: Option<&CloseFrame>, clean: bool) -> Option<CloseStatus> {
    let (code, reason) = match (input, frame) {
        (InputEnd::Open, _) => return None,
        (InputEnd::Close, Some(frame)) => (frame.code().get(), frame.reason().clone()),
        // RFC 6455 §7.1.5: "If this Close control frame contains no status code, _The WebSocket Connection
        // Close Code_ is considered to be 1005." "If … no Close control frame was received … 1006."
        (InputEnd::Close, None) => (CloseStatus::NO_CODE, Utf8Bytes::new()),
        (InputEnd::Failed | InputEnd::Lost, _) => (CloseStatus::ABNORMAL, Utf8Bytes::new()),
    };
    Some(CloseStatus { code, reason, clean })
}

fn refusal(input: InputEnd, sender: &Sender) -> Option<SendErrorKind> {
    match input {
        InputEnd::Open => sender.refusal(),
        // The sender may not know yet.
        InputEnd::Close | InputEnd::Failed | InputEnd::Lost => Some(SendErrorKind::Closed),
    }
}
