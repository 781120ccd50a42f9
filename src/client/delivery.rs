//! Messages that the server acknowledges: kept until it does, and sent again after a reconnect.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use core::fmt;

use ::tokio::sync::oneshot;

use crate::proto::Message;
use crate::random::nonce;

/// How messages and their acknowledgements look, as the server and this client agreed.
///
/// Each message gets an id that no other has, and keeps it when it is sent again: a server that knows the ids that it
/// has seen takes each message once.
pub trait Acknowledge: Send + Sync + 'static {
    /// The message with its id in it.
    fn wrap(&self, id: &str, message: Message) -> Message;

    /// The id of the message that this one acknowledges, if it is an acknowledgement. It goes no further then.
    fn acknowledged(&self, message: &Message) -> Option<String>;

    /// The id of the message that this one refuses, and what the server says, if it is a refusal. The message is not sent
    /// again then. By default nothing is.
    fn refused(&self, message: &Message) -> Option<(String, String)> {
        let _ = message;
        None
    }
}

/// The id of a message that is to be acknowledged, and what its sender waits for.
#[derive(Debug)]
pub(super) struct Tag {
    id: Box<str>,
    done: oneshot::Sender<Result<(), Box<str>>>,
}

impl Tag {
    pub(super) fn new(id: Box<str>) -> (Self, oneshot::Receiver<Result<(), Box<str>>>) {
        let (done, acknowledged) = oneshot::channel();
        (Self { id, done }, acknowledged)
    }
}

/// Ids that nobody else gives.
#[derive(Debug)]
pub(super) struct Ids {
    prefix: u128,
    last: u64,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self { prefix: u128::from_ne_bytes(nonce()), last: 0 }
    }

    pub(super) fn next(&mut self) -> Box<str> {
        self.last += 1;
        format!("{:032x}-{}", self.prefix, self.last).into()
    }
}

/// The messages that were sent and are not acknowledged, the oldest first.
#[derive(Default)]
pub(super) struct Unacknowledged {
    sent: VecDeque<(Tag, Message)>,
    bytes: usize,
}

impl Unacknowledged {
    pub(super) fn add(&mut self, tag: Tag, message: Message) {
        self.bytes += size(&message);
        self.sent.push_back((tag, message));
    }

    /// Tells who waits for it.
    pub(super) fn answer(&mut self, id: &str, answer: Result<(), Box<str>>) {
        // They come in the order of the messages, as a rule.
        let place = self.sent.iter().position(|(tag, _)| *tag.id == *id);
        if let Some((tag, message)) = place.and_then(|place| self.sent.remove(place)) {
            self.bytes -= size(&message);
            // Who sent it may not wait for it.
            let _ = tag.done.send(answer);
        }
    }

    /// Those to send again.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.sent.iter().map(|(_, message)| message)
    }

    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives them up.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Message> + use<> {
        self.bytes = 0;
        core::mem::take(&mut self.sent).into_iter().map(|(_, message)| message)
    }
}

impl fmt::Debug for Unacknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sent.iter().map(|(tag, _)| &tag.id)).finish()
    }
}

/// The bytes of a message's payload.
pub(super) fn size(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    }
}
