//! Requests and their replies, by id, as JSON.

#![forbid(unsafe_code)]

use alloc::borrow::Cow;
use alloc::boxed::Box;
use core::fmt;
use std::collections::HashMap;

use ::tokio::sync::oneshot;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::proto::{Message, Utf8Bytes};

/// The requests that wait for a reply.
#[derive(Default)]
pub(super) struct Replies(HashMap<Box<str>, oneshot::Sender<Utf8Bytes>>);

/// A message of the JSON layer.
#[derive(Deserialize, Serialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<&'a RawValue>,
    /// Of an answer of the type `error`: what was wrong.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a RawValue>,
}

impl Envelope<'_> {
    /// What an answer of the type `error` tells, as JSON: its `error`, or else its `data`.
    pub(super) fn told(&self) -> &str {
        self.error.or(self.data).map_or("null", RawValue::get)
    }
}

impl Replies {
    pub(super) fn wait(&mut self, id: Box<str>) -> oneshot::Receiver<Utf8Bytes> {
        let (sender, receiver) = oneshot::channel();
        self.0.insert(id, sender);
        receiver
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// Hands a reply to who waits for it; gives back any other message.
    pub(super) fn take(&mut self, message: Message) -> Option<Message> {
        if self.0.is_empty() {
            return Some(message);
        }
        let Message::Text(text) = message else { return Some(message) };
        let id = serde_json::from_str::<Envelope<'_>>(&text).ok().and_then(|envelope| envelope.id);
        match id.and_then(|id| self.0.remove(&*id)) {
            Some(waiting) => {
                // Who asked may not wait any more.
                let _ = waiting.send(text);
                None
            }
            None => Some(Message::Text(text)),
        }
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
