//! What moves messages between a socket, its queue and its handler.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, ready};
use core::time::Duration;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::time::{Instant, Sleep, sleep, sleep_until};
use futures_core::Stream;
use futures_sink::Sink;

use super::config::{Config, OverRate};
use super::handle::{Handle, wake};
use super::outbox::{News, Phase};
use super::outcome::{By, Outcome};
use super::outgoing::{Outgoing, Payload};
use super::rate::{Bucket, Rate};
use crate::error::Error;
use crate::proto::{CloseCode, CloseFrame, Message, State};
use crate::tokio::WebSocket;

/// What came of moving messages.
pub(super) enum Step {
    /// There is a message for the handler.
    Turn,
    /// Nothing can be done until the task is woken.
    Rest,
    /// The connection ended.
    Ended(Outcome),
    /// It did, and so does its handler.
    Aborted(Outcome),
}

/// What was given to the engine.
#[derive(Clone, Copy, Debug, Default)]
struct Fed {
    /// Something was.
    some: bool,
    /// Something is left.
    more: bool,
}

/// What came of a read.
enum Came {
    /// A message for the handler.
    Given,
    /// Something else.
    Other,
    End,
}

/// A socket, and what is done for it beside its handler.
pub(super) struct Pump<S> {
    /// Nothing once it ended.
    socket: Option<WebSocket<S>>,
    handle: Handle,
    /// Where they are limited.
    rates: Option<Box<Rates>>,
    /// How long the handler may still take for what came before, once the stream takes nothing any more.
    broken: Option<Pin<Box<Sleep>>>,
    /// Nothing comes before the socket wakes the task.
    at_rest: bool,
    /// Who began to close, once somebody did.
    by: Option<By>,
    /// Nobody takes messages any more.
    discards: bool,
}

/// How fast the peer may send.
struct Rates {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    /// Nothing is read until then.
    wait_until: Option<Instant>,
    /// Allocated when first needed, and kept.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Pump<S> {
    pub(super) fn new(socket: WebSocket<S>, handle: Handle, config: &Config) -> Self {
        Self {
            socket: Some(socket),
            handle,
            rates: Rates::new(config).map(Box::new),
            broken: None,
            at_rest: false,
            by: None,
            discards: false,
        }
    }

    /// Drops what comes from here on.
    pub(super) fn discard(&mut self) {
        self.discards = true;
        self.handle.inbox().message = None;
        self.handle.tell(News::QUEUE);
    }

    /// Moves what can be moved, until the handler has something to take, or nothing is left to do. `woken` says that the
    /// waker of `cx` was called, or may have been.
    pub(super) fn poll(&mut self, woken: bool, config: &Config, cx: &mut Context<'_>) -> Step {
        self.at_rest &= !woken;
        loop {
            let fed = match self.feed(config) {
                Ok(fed) => fed,
                Err(by) => return Step::Aborted(self.end(by, None)),
            };
            if self.reads() {
                if self.at_rest && (!fed.some || self.writes_at_once(cx)) {
                    if fed.some && fed.more {
                        continue;
                    }
                    return Step::Rest;
                }
                self.at_rest = false;
                match self.poll_read(config, cx) {
                    // The answer joins what is to be written.
                    Poll::Ready(Ok(Came::Given)) => return Step::Turn,
                    Poll::Ready(Ok(Came::Other)) => continue,
                    Poll::Ready(Ok(Came::End)) => return Step::Ended(self.end(By::Transport, None)),
                    Poll::Ready(Err(error)) => return Step::Ended(self.end(By::of(&error), Some(error))),
                    Poll::Pending => self.at_rest = true,
                }
            } else if self.poll_unread(config, cx).is_ready() {
                self.discards = true;
                continue;
            }
            let waits = self.rates.as_mut().is_none_or(|rates| rates.poll_wait(cx).is_pending());
            if waits && !(fed.more && self.has_room(config)) {
                return Step::Rest;
            }
        }
    }

    /// Whether all that waits could be written: then a socket that was at rest is so again.
    fn writes_at_once(&mut self, cx: &mut Context<'_>) -> bool {
        let socket = self.socket.as_mut();
        socket.is_some_and(|socket| matches!(Pin::new(socket).poll_flush(cx), Poll::Ready(Ok(()))))
    }

    /// Whether a message of the peer has somewhere to go.
    fn reads(&self) -> bool {
        if self.by.is_some() || self.discards {
            return true;
        }
        let waits = self.rates.as_ref().is_some_and(|rates| rates.wait_until.is_some());
        !waits && self.handle.inbox().message.is_none()
    }

    fn has_room(&self, config: &Config) -> bool {
        self.socket.is_some() && self.queued() < config.write_buffer.max(1)
    }

    /// How many bytes the engine holds for the transport.
    fn queued(&self) -> usize {
        self.socket.as_ref().map_or(0, |socket| socket.with_connection(|connection| connection.queued()))
    }

    /// Gives the engine what waits, as far as it is to hold it; tells if the connection is to be aborted.
    fn feed(&mut self, config: &Config) -> Result<Fed, By> {
        let mut fed = Fed::default();
        loop {
            let has_room = self.has_room(config);
            let mut outbox = self.handle.outbox();
            match &outbox.phase {
                Phase::Aborted(by) => return Err(*by),
                Phase::Closing(frame, by) if self.by.is_none() && outbox.is_empty() => {
                    let (frame, by) = (frame.clone(), *by);
                    drop(outbox);
                    self.start_close(frame, by);
                    break;
                }
                _ => {}
            }
            let next = if has_room { outbox.pop() } else { None };
            fed.more = !outbox.is_empty();
            let is_done = !fed.more && matches!(outbox.phase, Phase::Open);
            let is_half_empty = outbox.is_half_empty(&self.handle.0.limits);
            drop(outbox);
            let Some(message) = next else { break };
            if is_half_empty {
                self.handle.0.room.notify_waiters();
            }
            fed.some = true;
            self.send(&message);
            if is_done {
                break;
            }
        }
        Ok(fed)
    }

    fn send(&mut self, message: &Outgoing) {
        let Some(socket) = &mut self.socket else { return };
        let taken = match &message.payload {
            Payload::Message(message) => socket.feed(message.clone()),
            Payload::Prepared(prepared) => socket.feed_prepared(prepared),
        };
        // Only what is closing takes none, and then nobody is there to get it.
        if taken.is_ok() {
            let counts = &self.handle.0.counts;
            add(&counts.sent, 1);
            add(&counts.sent_bytes, message.len() as u64);
        }
    }

    fn start_close(&mut self, frame: CloseFrame, by: By) {
        (self.by, self.at_rest) = (Some(by), false);
        if let Some(socket) = &mut self.socket {
            socket.start_close(frame);
        }
    }

    /// Reads one message.
    fn poll_read(&mut self, config: &Config, cx: &mut Context<'_>) -> Poll<Result<Came, Error>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(Came::End)) };
        let message = match Pin::new(socket).poll_next(cx) {
            Poll::Ready(Some(Ok(message))) => message,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
            Poll::Ready(None) => return Poll::Ready(Ok(Came::End)),
            Poll::Pending => return Poll::Pending,
        };
        match message {
            Message::Text(_) | Message::Binary(_) => {
                if self.receive(message, config.over_rate) {
                    return Poll::Ready(Ok(Came::Given));
                }
            }
            Message::Pong(_) => {
                if let Some(time) = self.socket.as_ref().and_then(WebSocket::round_trip) {
                    // Zero stands for "not measured".
                    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
                    self.handle.0.round_trip.store(nanos, Ordering::Relaxed);
                }
            }
            Message::Ping(_) => {}
            Message::Close(_) => {
                self.by.get_or_insert(By::Peer);
                self.handle.begin_close(CloseCode::NORMAL.into(), By::Peer);
                self.handle.outbox().forget();
            }
        }
        Poll::Ready(Ok(Came::Other))
    }

    /// Writes, while nothing is read. Ready once the connection failed and the handler does not take what came before:
    /// else reading tells how it ended.
    fn poll_unread(&mut self, config: &Config, cx: &mut Context<'_>) -> Poll<()> {
        let Some(socket) = &mut self.socket else { return Poll::Pending };
        if self.broken.is_none() {
            let flushed = Pin::new(&mut *socket).poll_flush(cx);
            let is_open = socket.with_connection(|connection| connection.state() == State::Open);
            if is_open && !matches!(flushed, Poll::Ready(Err(_))) {
                return Poll::Pending;
            }
        }
        if self.handle.inbox().message.is_none() {
            // It took it, or the peer is to wait.
            self.broken = None;
            return Poll::Pending;
        }
        self.broken.get_or_insert_with(|| Box::pin(sleep(config.handler_timeout))).as_mut().poll(cx)
    }

    /// Whether the handler gets it.
    fn receive(&mut self, message: Message, over_rate: OverRate) -> bool {
        let len = match &message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
            _ => 0,
        };
        let counts = &self.handle.0.counts;
        add(&counts.received, 1);
        add(&counts.received_bytes, len as u64);
        let allows = |rates: &mut Box<Rates>| rates.take(len) || over_rate == OverRate::Wait;
        if !self.rates.as_mut().is_none_or(allows) {
            self.handle
                .close_now(frame(CloseCode::POLICY, "too many messages: send fewer a second"), By::Rate);
            self.discards = true;
            return false;
        }
        let mut inbox = self.handle.inbox();
        // While it closes, what nobody takes is dropped.
        if self.discards || inbox.message.is_some() {
            return false;
        }
        inbox.message = Some(message);
        self.broken = None;
        let waker = inbox.waker.take();
        drop(inbox);
        wake(waker);
        true
    }

    /// Ends the connection for all who look at it.
    fn end(&mut self, by: By, error: Option<Error>) -> Outcome {
        let by = self.by.unwrap_or(by);
        let status = self.socket.take().and_then(|socket| socket.close_status());
        // Who hears of the end finds that nothing more can be sent.
        {
            let mut outbox = self.handle.outbox();
            outbox.phase = Phase::Ended;
            outbox.forget();
        }
        let waker = {
            let mut inbox = self.handle.inbox();
            inbox.end = Some(error.as_ref().and_then(again).map(Box::new));
            inbox.waker.take()
        };
        self.handle.0.room.notify_waiters();
        wake(waker);
        Outcome { by, status, error }
    }
}

impl Rates {
    fn new(config: &Config) -> Option<Self> {
        let now = Instant::now();
        let bucket = |rate: Option<Rate>| rate.map(|rate| Bucket::new(rate, now));
        let (messages, bytes) = (bucket(config.message_rate), bucket(config.byte_rate));
        let is_limited = messages.is_some() || bytes.is_some();
        is_limited.then_some(Self { messages, bytes, wait_until: None, sleep: None })
    }

    /// Counts a message; false if it came too early: then nothing is to be read for a while.
    fn take(&mut self, len: usize) -> bool {
        let now = Instant::now();
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let take = |bucket: &mut Option<Bucket>, cost| {
            bucket.as_mut().map_or(Duration::ZERO, |bucket| bucket.take(cost, now).err().unwrap_or_default())
        };
        let lacking = take(&mut self.messages, 1).max(take(&mut self.bytes, len));
        if lacking.is_zero() {
            return true;
        }
        self.wait_until = now.checked_add(lacking);
        false
    }

    /// Ready once a peer that was to wait has waited.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.wait_until else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        ready!(sleep.as_mut().poll(cx));
        self.wait_until = None;
        Poll::Ready(())
    }
}

/// The same error for another who wants to know: of those that an open connection ends with.
fn again(error: &Error) -> Option<Error> {
    Some(match error {
        Error::Io(error) => Error::Io(error.kind().into()),
        Error::Lost => Error::Lost,
        Error::Protocol(error) => Error::Protocol(*error),
        Error::Timeout(deadline) => Error::Timeout(*deadline),
        _ => return None,
    })
}

fn frame(code: CloseCode, reason: &'static str) -> CloseFrame {
    CloseFrame::new(code, reason).unwrap_or_else(|_| code.into())
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}
