//! The engine's receiving half, as whoever receives has it.

#![forbid(unsafe_code)]

use super::scratch::{self, Lease};
use crate::proto::{Event, Receiver};

/// The engine's receiving half, and what concerns nobody else. It belongs to whoever receives, so that messages that
/// are there already are parsed without the lock.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) receiver: Receiver,
    /// The input lies in a buffer of the thread.
    pub(super) borrowed: bool,
    /// It may stay there.
    pub(super) lease: Option<Lease>,
    /// What came since the task was last asked whether its turn is over: in messages, and what weighs as much.
    pub(super) taken: u32,
    /// Control frames that came since they were last looked at.
    pub(super) controls: u32,
    /// A message was given since the peer was last waited for.
    pub(super) given: bool,
    /// A message is read in pieces, which are copied: a read brings a little.
    pub(super) in_pieces: bool,
    /// Something came since then.
    pub(super) heard: bool,
    /// The connection failed: what comes is dropped.
    pub(super) failed: bool,
    /// Nothing more is to be had.
    pub(super) ended: bool,
}

impl Intake {
    pub(super) const fn new(receiver: Receiver) -> Self {
        Self {
            receiver,
            borrowed: false,
            lease: None,
            taken: 0,
            controls: 0,
            given: false,
            in_pieces: false,
            heard: false,
            failed: false,
            ended: false,
        }
    }

    /// The receiving half, with all that is buffered, of a socket that is at its end.
    pub(super) fn into_receiver(mut self) -> Receiver {
        self.give_back();
        self.receiver
    }

    pub(super) const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether messages may be here that came together.
    pub(super) fn has_input(&self) -> bool {
        !self.receiver.unparsed().is_empty()
    }

    /// Notes what is no whole message; whether it is data.
    #[inline(never)]
    pub(super) fn note_other(&mut self, event: &Event) -> bool {
        if let Event::Chunk(chunk) = event {
            self.given |= chunk.last;
        }
        event.is_data()
    }

    /// Leaves the thread's buffer to others before the application does something else: a little that is not
    /// parsed yet moves to memory of its size; much of it may stay, where few connections do so.
    #[inline]
    pub(super) fn leave(&mut self) {
        if self.borrowed && self.lease.is_none() {
            self.leave_or_lease();
        }
    }

    pub(super) fn leave_or_lease(&mut self) {
        if self.receiver.unparsed().len() > MOST_MOVED {
            self.lease = Lease::new();
        }
        if self.lease.is_none() {
            self.give_back();
        }
    }

    pub(super) fn give_back(&mut self) {
        (self.borrowed, self.lease) = (false, None);
        if let Some(buffer) = self.receiver.reclaim_input() {
            scratch::put(buffer);
        }
    }
}

/// How many bytes are moved out of a thread's buffer rather than left there.
const MOST_MOVED: usize = 4 << 10;
