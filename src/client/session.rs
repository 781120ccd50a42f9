//! The task of a client: connects, moves messages, and comes back.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;

use ::tokio::time::{Instant, Sleep, sleep, sleep_until};
use futures_core::Stream;
use futures_sink::Sink;

use super::backoff::Backoff;
use super::delivery::size;
use super::outbox::{Due, Waiter};
use super::shared::{Next, Shared};
use super::update::{Cause, Decision, Ended, Loss, Update};
use crate::error::Error;
use crate::proto::Message;
use crate::tokio::{Client, NetworkStream, WebSocket};

/// Gives the client of an attempt, which the number of tells.
pub(super) type Prepare = Box<dyn FnMut(Client, u32) -> Preparing + Send>;
pub(super) type Preparing = Pin<Box<dyn Future<Output = Result<Client, Error>> + Send>>;
pub(super) type Decide = Box<dyn FnMut(&Loss, u32) -> Decision + Send>;

/// What the task knows that others do not.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) uri: String,
    pub(super) network: Client,
    pub(super) heartbeat: Option<Duration>,
    pub(super) backoff: Backoff,
    pub(super) prepare: Option<Prepare>,
    pub(super) decide: Decide,
}

/// How a connection ended.
enum Over {
    Lost(Loss),
    /// We closed it.
    Closed(Cause),
}

impl Session {
    pub(super) async fn run(mut self) {
        let mut unsent = Vec::new();
        let cause = self.stay_connected(&mut unsent).await;
        self.shared.end(Ended { cause, unsent });
    }

    async fn stay_connected(&mut self, unwritten: &mut Vec<Message>) -> Cause {
        let mut failed = 0_u32;
        loop {
            let attempt = failed.saturating_add(1);
            self.shared.tell(Update::Connecting { attempt });
            let connecting =
                connect(&self.uri, self.network.clone(), self.prepare.as_mut(), self.heartbeat, attempt);
            let loss = match unless_closing(&self.shared, connecting).await {
                None => return Cause::Stopped,
                Some(Err(error)) => Loss::Connect(error),
                Some(Ok(socket)) => {
                    let since = Instant::now();
                    self.shared.opened();
                    let subprotocol = socket.subprotocol().map(Into::into);
                    self.shared.tell(Update::Open { subprotocol });
                    let mut serving = Serving::new(&self.shared, socket);
                    let over = poll_fn(|cx| serving.poll(cx)).await;
                    *unwritten = serving.handed;
                    self.shared.lost();
                    if since.elapsed() >= self.backoff.settled() {
                        failed = 0;
                    }
                    match over {
                        Over::Closed(cause) => {
                            if matches!(&cause, Cause::Closed(status) if status.clean) {
                                // All went before the Close.
                                unwritten.clear();
                            }
                            return cause;
                        }
                        Over::Lost(loss) => loss,
                    }
                }
            };
            let decision = (self.decide)(&loss, failed.saturating_add(1));
            let loss = Arc::new(loss);
            if decision == Decision::GiveUp || failed.saturating_add(1) >= self.backoff.attempts() {
                return Cause::GaveUp(loss);
            }
            let retry_in = match decision {
                Decision::RetryNow => Duration::ZERO,
                _ => self.backoff.delay(failed, rand::random()),
            };
            failed = failed.saturating_add(1);
            let told = core::mem::take(unwritten).into();
            self.shared.tell(Update::Lost { loss, retry_in, unwritten: told });
            if unless_closing(&self.shared, sleep(retry_in)).await.is_none() {
                return Cause::Stopped;
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Nobody polls it any more, or what the application gave it panicked.
        if self.shared.lock().ended.is_none() {
            self.shared.end(Ended { cause: Cause::Stopped, unsent: Vec::new() });
        }
    }
}

async fn connect(
    uri: &str,
    network: Client,
    prepare: Option<&mut Prepare>,
    heartbeat: Option<Duration>,
    attempt: u32,
) -> Result<WebSocket<NetworkStream>, Error> {
    let network = match prepare {
        Some(prepare) => prepare(network, attempt).await?,
        None => network,
    };
    let network = match heartbeat {
        Some(interval) => network.with_heartbeat(interval),
        None => network,
    };
    network.connect(uri).await
}

/// What the future gives, unless the client is to close first.
async fn unless_closing<F: Future>(shared: &Shared, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if shared.poll_closing(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// A connection.
struct Serving<'a> {
    shared: &'a Shared,
    socket: WebSocket<NetworkStream>,
    /// Messages that the connection took, and may not have written to the last byte.
    handed: Vec<Message>,
    /// The bytes of their payload.
    handed_bytes: usize,
    /// Something was queued since the last flush that ended.
    unflushed: bool,
    /// The connection takes nothing more; what the server sent before may still be read.
    broken: bool,
    /// When a batch is due.
    timer: Option<Pin<Box<Sleep>>>,
    closing: bool,
}

impl<'a> Serving<'a> {
    const fn new(shared: &'a Shared, socket: WebSocket<NetworkStream>) -> Self {
        Self {
            shared,
            socket,
            handed: Vec::new(),
            handed_bytes: 0,
            unflushed: false,
            broken: false,
            timer: None,
            closing: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let is_closing = self.shared.poll_closing(cx).is_ready();
        loop {
            while self.shared.wants_messages() {
                match Pin::new(&mut self.socket).poll_next(cx) {
                    Poll::Ready(Some(Ok(message))) if message.is_data() => self.shared.received(message),
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(self.end(Some(error))),
                    Poll::Ready(None) => return Poll::Ready(self.end(None)),
                    Poll::Pending => break,
                }
            }
            let waits = self.poll_send(cx).is_pending();
            if !is_closing || self.closing || waits && !self.broken {
                return Poll::Pending;
            }
            // All that was taken goes before the Close, which the next read writes.
            let frame = self.shared.lock().closing.clone().flatten();
            self.socket.start_close(frame);
            self.closing = true;
        }
    }

    /// Sends what is due; pending while something waits.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.broken && !self.closing {
            match self.shared.due() {
                Some(Due::Now) => {}
                Some(Due::At(at)) => {
                    let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
                    if timer.deadline() != at {
                        timer.as_mut().reset(at);
                    }
                    if timer.as_mut().poll(cx).is_pending() {
                        break;
                    }
                    continue;
                }
                None => break,
            }
            // An outbox that never gets empty must not let these grow.
            if self.handed.len() >= MOST_HANDED || self.handed_bytes >= MOST_HANDED_BYTES {
                ready!(self.poll_flush(cx));
            }
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => self.broken = true,
                Poll::Pending => return Poll::Pending,
            }
            if let (false, Some(next)) = (self.broken, self.shared.next()) {
                self.hand_over(next);
            }
        }
        self.poll_flush(cx)
    }

    /// Waits until all is written that the connection took.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unflushed && !self.broken {
            match ready!(Pin::new(&mut self.socket).poll_flush(cx)) {
                Ok(()) => {
                    (self.unflushed, self.handed_bytes) = (false, 0);
                    self.handed.clear();
                }
                // Why is told by what is read.
                Err(_) => self.broken = true,
            }
        }
        Poll::Ready(())
    }

    fn hand_over(&mut self, next: Next) {
        let message = match &next {
            Next::Urgent(message) => message.clone(),
            Next::Item(item) => item.message.clone(),
        };
        if Pin::new(&mut self.socket).start_send(message).is_err() {
            // It closes; the message is for the next connection.
            self.shared.put_back(next);
            self.broken = true;
            return;
        }
        self.unflushed = true;
        if let Next::Item(item) = next {
            match item.waiter {
                Some(Waiter::Acknowledged(tag)) => return self.shared.sent(tag, item.message),
                Some(Waiter::Answered(question)) => self.shared.asked(question),
                None => {}
            }
            self.handed_bytes += size(&item.message);
            self.handed.push(item.message);
        }
    }

    fn end(&self, error: Option<Error>) -> Over {
        let status = self.socket.close_status();
        match (error, status, self.closing) {
            (None, Some(status), true) => Over::Closed(Cause::Closed(status)),
            (Some(error), _, true) => Over::Closed(Cause::Broken(error)),
            (None, Some(status), false) => Over::Lost(Loss::Closed(status)),
            (Some(error), _, false) => Over::Lost(Loss::Broken(error)),
            (None, None, true) => Over::Closed(Cause::Broken(Error::Lost)),
            (None, None, false) => Over::Lost(Loss::Broken(Error::Lost)),
        }
    }
}

/// How many messages are handed to a connection before all of them are written.
const MOST_HANDED: usize = 1_024;

/// The same, in bytes of payload; the last of them may have more.
const MOST_HANDED_BYTES: usize = 1 << 20;
