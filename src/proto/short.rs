//! The short way, which nearly all messages take: in, out of one frame that came in one read; out, as one frame with a
//! copy of the payload.

#![forbid(unsafe_code)]

#[cfg(feature = "tokio")]
use alloc::boxed::Box;

#[cfg(feature = "tokio")]
use super::config::Config;
#[cfg(feature = "tokio")]
use super::frame::MAX_HEADER;
use super::message::Kind;
#[cfg(feature = "tokio")]
use super::message::Message;
#[cfg(feature = "tokio")]
use super::pool;
#[cfg(feature = "tokio")]
use super::receive::{Receiver, Whole};
use super::send::Sender;
#[cfg(feature = "tokio")]
use super::utf8::{self, Utf8Bytes};

/// A message that was copied: two words, which stay in registers until the message is made of them where it is
/// wanted.
#[cfg(feature = "tokio")]
pub(crate) enum Short {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

#[cfg(feature = "tokio")]
impl From<Short> for Message {
    #[inline(always)]
    fn from(short: Short) -> Self {
        match short {
            Short::Text(text) => Self::Text(Utf8Bytes::from_box(text)),
            Short::Binary(bytes) => Self::Binary(bytes.into()),
        }
    }
}

#[cfg(feature = "tokio")]
impl Receiver {
    /// The next event, if it is a message that is short enough to be copied; none says nothing.
    #[inline(always)]
    pub(crate) fn next_short(&mut self) -> Option<Short> {
        let Whole { kind, key, range } =
            self.whole_if(|receiver, len| len < pool::LARGE && !receiver.shares(len))?;
        let payload = self.input.at(range);
        match kind {
            Kind::Binary => Some(Short::Binary(pool::copy::<false>(payload, key).0)),
            Kind::Text => match utf8::copy(payload, key) {
                Ok(text) => Some(Short::Text(text)),
                Err(error) => {
                    // Given by the next call that looks for events.
                    self.fail(error.into());
                    None
                }
            },
        }
    }
}

impl Sender {
    /// Queues a short message, unless something refuses it, or it takes more than a header.
    #[inline]
    pub(super) fn append_whole(&mut self, kind: Kind, payload: &[u8]) -> bool {
        let plain = payload.len() < self.whole_below as usize && self.refusal().is_none();
        if plain {
            self.queue.output.append_whole(kind, payload);
        }
        plain
    }

    /// Queues a copy of a short message as a frame of its own, if less than `most` bytes wait then. False if it is another,
    /// or something refuses it.
    #[cfg(feature = "tokio")]
    #[inline(always)]
    pub(crate) fn append_held(&mut self, kind: Kind, payload: &[u8], most: usize) -> bool {
        let Config { max_queued, share_above, .. } = *self.config;
        let refused = self.closed || self.peer_closed || self.message.is_some();
        if refused
            || payload.len() > share_above as usize
            || self.queued() + MAX_HEADER + payload.len() >= most.min(max_queued / 2)
        {
            return false;
        }
        if payload.len() >= self.whole_below as usize {
            return self.append_masked(kind, payload);
        }
        self.queue.output.append_whole(kind, payload);
        true
    }

    /// Queues a copy of a short message as a frame of its own; false if it is another, or something refuses it.
    #[inline]
    pub(super) fn append_short(&mut self, kind: Kind, payload: &[u8]) -> bool {
        payload.len() <= self.config.share_above as usize && self.append_plain(kind, payload)
    }

    /// The same without a limit for copies.
    #[inline]
    pub(super) fn append_plain(&mut self, kind: Kind, payload: &[u8]) -> bool {
        self.append_whole(kind, payload) || self.append_masked(kind, payload)
    }

    /// The same of a client.
    #[inline(never)]
    pub(super) fn append_masked(&mut self, kind: Kind, payload: &[u8]) -> bool {
        self.queue.masks()
            && payload.len() <= self.most_plain()
            && self.refusal().is_none()
            && self.queue.append_masked(kind, payload)
    }
}
