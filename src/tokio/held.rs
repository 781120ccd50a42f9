//! Frames that were taken and are held back for others to join them: who writes them if their task does not
//! come back to the socket.
//!
//! A task cannot be told that it is about to suspend. But a second task on the same thread, woken when the first
//! frame is held, runs no earlier than that, and no later than the runtime's next turn. There is one such task for
//! each thread that holds frames; it sleeps unless there are some.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::poll_fn;
use core::mem;
use core::task::{Context, Poll, Waker};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::tokio::runtime::{Handle, Id};
use ::tokio::task::{self, yield_now};

/// A socket that can hold frames back.
pub(super) trait Held: Send + Sync {
    /// Writes what is held, as far as the stream takes it at once.
    fn write_held(&self) -> Written;

    /// Writes the rest of it.
    fn poll_held(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// How much of what is held was written.
pub(super) enum Written {
    All,
    Part,
    /// Nothing, since somebody has the socket at this moment.
    Busy,
}

/// Has the frames that `socket` holds written once the task that is running suspends. False if there is no task, but a
/// future that somebody polls: then nothing need run after it.
pub(super) fn hold(socket: impl Fn() -> Arc<dyn Held>) -> bool {
    if task::try_id().is_none() {
        return false;
    }
    let Ok(runtime) = Handle::try_current() else { return false };
    let pushed = WRITER.try_with(|writer| {
        let mut writer = writer.borrow_mut();
        let known = writer.as_ref().filter(|writer| writer.runtime == runtime.id());
        known.is_some_and(|known| known.queue.push(&socket))
            || writer.insert(Writer::spawn(&runtime)).queue.push(&socket)
    });
    pushed.unwrap_or(false)
}

/// The task that writes for a thread, within the runtime that last ran there.
struct Writer {
    runtime: Id,
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    sockets: Vec<Arc<dyn Held>>,
    waker: Option<Waker>,
    /// The runtime ended, and the task with it.
    ended: bool,
    /// The thread ended, or has another runtime now.
    closed: bool,
}

impl Writer {
    fn spawn(runtime: &Handle) -> Self {
        let queue = Arc::new(Queue::default());
        let end = End(queue.clone());
        runtime.spawn(async move {
            let mut sockets = Vec::new();
            let mut busy = Vec::new();
            loop {
                let open = poll_fn(|cx| end.0.poll_take(&mut sockets, !busy.is_empty(), cx)).await;
                sockets.append(&mut busy);
                for socket in sockets.drain(..) {
                    match socket.write_held() {
                        Written::All => {}
                        Written::Part => {
                            ::tokio::spawn(async move { poll_fn(|cx| socket.poll_held(cx)).await });
                        }
                        Written::Busy => busy.push(socket),
                    }
                }
                if !busy.is_empty() {
                    yield_now().await;
                } else if !open {
                    return;
                }
            }
        });
        Self { runtime: runtime.id(), queue }
    }
}

impl Queue {
    /// False if nobody will look at it.
    fn push(&self, socket: &impl Fn() -> Arc<dyn Held>) -> bool {
        let mut state = self.lock();
        if state.ended {
            return false;
        }
        state.sockets.push(socket());
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Takes the sockets that wait; waits for some unless there are `others`. False if no more will come.
    fn poll_take(&self, sockets: &mut Vec<Arc<dyn Held>>, others: bool, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.lock();
        if state.sockets.is_empty() && !others && !state.closed {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        mem::swap(&mut state.sockets, sockets);
        Poll::Ready(!state.closed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Part of the task: dropped when its runtime ends.
struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        // The sockets may hold the last of something that comes back here.
        let sockets = mem::take(&mut state.sockets);
        drop(state);
        for socket in sockets {
            socket.write_held();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.closed = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

std::thread_local! {
    static WRITER: RefCell<Option<Writer>> = const { RefCell::new(None) };
}
