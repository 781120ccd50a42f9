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

/// The requests that were sent and wait for a reply.
#[derive(Default)]
pub(super) struct Replies(HashMap<Box<str>, oneshot::Sender<Utf8Bytes>>);

/// The id of a request, and what its sender waits for.
#[derive(Debug)]
pub(super) struct Question {
    id: Box<str>,
    done: oneshot::Sender<Utf8Bytes>,
}

impl Question {
    pub(super) fn new(id: Box<str>) -> (Self, oneshot::Receiver<Utf8Bytes>) {
        let (done, reply) = oneshot::channel();
        (Self { id, done }, reply)
    }
}

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

impl<'a> Envelope<'a> {
    /// What stands in a message, if it is one of the JSON layer.
    pub(super) fn of(message: &'a Message) -> Option<Self> {
        serde_json::from_str(message.as_text()?).ok()
    }

    /// What an answer of the type `error` tells, as JSON: its `error`, or else its `data`.
    pub(super) fn told(&self) -> &str {
        self.error.or(self.data).map_or("null", RawValue::get)
    }
}

impl Replies {
    /// Notes that a request was sent. Who gives it up does so before it is taken from here.
    pub(super) fn wait(&mut self, question: Question) {
        if !question.done.is_closed() {
            self.0.insert(question.id, question.done);
        }
    }

    /// Who waits for the reply with this id, not to wait any more.
    pub(super) fn take(&mut self, id: &str) -> Option<oneshot::Sender<Utf8Bytes>> {
        self.0.remove(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
