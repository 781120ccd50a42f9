//! What both halves of a socket share: the stream, the engine's sending half, and what is known about their end.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;

use ::tokio::task;

use super::closing::{Closing, Stage, now};
use super::intake::Intake;
use super::patience::{Late, Patience};
use super::scratch;
use super::wakers::{Side, Wakers};
use crate::observe::Watch;
use crate::options::{Options, PaceOf};
use crate::proto::{CloseFrame, Heard, ProtocolError, Sender, State};

/// A stream, and the half of the engine that writes to it.
#[derive(Debug)]
pub(super) struct Line<S> {
    pub(super) stream: S,
    pub(super) sender: Sender,
    /// What the receiving half knows of the end.
    pub(super) heard: Heard,
    pub(super) pace: PaceOf,
    /// Begins, once, when the connection begins to close.
    pub(super) closing: Closing,
    pub(super) patience: Patience,
    /// Bytes were written that the stream may still hold back.
    pub(super) unflushed: bool,
    /// The stream does not take bytes any more.
    pub(super) write_error: Option<io::ErrorKind>,
    /// The task that asked for what is held to be written.
    pub(super) held: Option<task::Id>,
    pub(super) stage: Stage,
    pub(super) wakers: Wakers,
    pub(super) watch: Watch,
    /// Where several may send.
    pub(super) senders: Option<Box<Senders>>,
}

/// What concerns those who send, where there may be several.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// The place in the queue that was given last.
    pub(super) last: u64,
    /// The bytes that were queued since the socket was split, those of answers to the peer excepted.
    pub(super) appended: u64,
    /// How many of them are written, and flushed.
    pub(super) flushed: u64,
    /// Somebody has the right to queue the next message.
    pub(super) reserved: bool,
    /// Nobody receives any more: who sends does what the protocol asks for.
    pub(super) orphan: Option<Box<Intake>>,
}

impl<S> Line<S> {
    pub(super) fn new(stream: S, sender: Sender, options: &Options) -> Self {
        Self {
            stream,
            sender,
            heard: Heard::new(),
            patience: Patience::new(&options.pace),
            pace: options.into(),
            closing: Closing::default(),
            unflushed: false,
            write_error: None,
            held: None,
            stage: Stage::Open,
            wakers: Wakers::default(),
            watch: Watch::default(),
            senders: None,
        }
    }

    pub(super) fn start_close(&mut self, frame: Option<CloseFrame>) {
        self.sender.close(frame);
        self.note_closing();
    }

    /// Whether neither end has begun to close, and nothing has failed.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.heard.is_open(&self.sender)
    }

    /// Whether bytes wait to be written, or for the stream to let go of them.
    #[inline]
    pub(super) fn has_output(&self) -> bool {
        self.sender.wants_output() || self.unflushed
    }

    /// How many bytes may wait for others: so few that the queue does not get full by it.
    pub(super) fn most_held(&self) -> usize {
        MOST_HELD.min(self.sender.config().max_queued / 2)
    }

    /// The time to close begins when either end closes, or the connection fails, and runs once.
    #[inline]
    pub(super) fn note_closing(&mut self) {
        if !self.is_open() && !self.closing.has_begun() {
            self.begin_closing();
        }
    }

    #[cold]
    fn begin_closing(&mut self) {
        if self.heard.standing(&self.sender).state() != State::Open {
            self.closing.begin(self.pace.close_timeout);
            // Who waits on the other side has a deadline now.
            self.wakers.wake();
        }
    }

    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.note_closing();
        self.closing.poll_deadline(cx)
    }

    /// Ready once the peer takes too long, or the connection wants too much memory. Is to be polled where nothing
    /// could be read, if that is what the task waits for, or else written.
    pub(super) fn poll_patience(&mut self, reading: bool, cx: &mut Context<'_>) -> Poll<Late> {
        if !self.is_open() {
            return Poll::Pending;
        }
        // What a stream holds back until it is flushed waits for the peer as well.
        if self.has_output() {
            self.patience.note_output();
        }
        if !self.patience.allows_memory(|| self.sender.memory()) {
            self.fail(ProtocolError::OverBudget);
            return Poll::Ready(Late::Message);
        }
        let late = ready!(self.patience.poll(&self.pace, reading, cx));
        if late == Late::Message {
            self.fail(ProtocolError::TooSlow);
        }
        Poll::Ready(late)
    }

    pub(super) fn round_trip(&mut self) -> Option<Duration> {
        self.patience.heartbeat().and_then(|heartbeat| heartbeat.round_trip())
    }

    /// Queues a ping, to see whether the peer is alive.
    pub(super) fn beat(&mut self) {
        let Self { patience, sender, .. } = self;
        if let Some(heartbeat) = patience.heartbeat() {
            // Refused only where so much waits that the peer is watched for taking it.
            heartbeat.ping(now(), |payload| sender.ping(payload).is_ok());
        }
    }

    /// Fails the connection; the receiving half finds out when it comes by.
    pub(super) fn fail(&mut self, error: ProtocolError) {
        self.heard.fail(error, &mut self.sender);
        self.note_closing();
        self.closing.fail(error);
    }

    /// Polls with the waker of all who wait.
    pub(super) fn with_wakers<T>(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        with_wakers(self, |line| &mut line.wakers, side, cx, poll)
    }
}

/// Polls what has the wakers with the waker of all who wait.
pub(super) fn with_wakers<D, T>(
    driver: &mut D,
    wakers: impl Fn(&mut D) -> &mut Wakers,
    side: Side,
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut D, &mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    if wakers(driver).are_all(cx.waker()) {
        let polled = poll(driver, cx);
        if polled.is_pending() {
            wakers(driver).note(side, cx.waker());
        }
        return polled;
    }
    match wakers(driver).note(side, cx.waker()) {
        Some(all) => poll(driver, &mut Context::from_waker(&all)),
        None => poll(driver, cx),
    }
}

/// How many bytes wait for others at most, while the application takes messages that are there already: as
/// many as one read brings.
pub(super) const MOST_HELD: usize = scratch::SIZE;
