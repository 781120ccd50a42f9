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
    /// Writes what is held, as far as the stream takes it at once, unless another task than `asker` has asked since.
    fn write_held(&self, asker: task::Id) -> Written;

    /// Writes the rest of it.
    fn poll_held(&self, asker: task::Id, cx: &mut Context<'_>) -> Poll<()>;

    /// What that task asked for will not be done.
    fn give_up(&self, asker: task::Id);
}

/// How much of what is held was written.
pub(super) enum Written {
    All,
    Part,
    /// Nothing, since somebody has the socket at this moment.
    Busy,
}

/// Has the frames that `socket` holds written once the task that is running, `asker`, suspends. False if no runtime can.
pub(super) fn hold(asker: task::Id, socket: impl Fn() -> Arc<dyn Held>) -> bool {
    let socket = || Asked { socket: Some(socket()), asker };
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
    sockets: Vec<Asked>,
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
                for asked in sockets.drain(..) {
                    match asked.write() {
                        Written::All => asked.done(),
                        Written::Part => {
                            ::tokio::spawn(async move {
                                poll_fn(|cx| asked.poll(cx)).await;
                                asked.done();
                            });
                        }
                        Written::Busy => busy.push(asked),
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
    fn push(&self, socket: &impl Fn() -> Asked) -> bool {
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
    fn poll_take(&self, sockets: &mut Vec<Asked>, others: bool, cx: &mut Context<'_>) -> Poll<bool> {
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
        for asked in sockets {
            if matches!(asked.write(), Written::All) {
                asked.done();
            }
        }
    }
}

/// A socket, and the task that asked to have written what it holds.
struct Asked {
    /// Nothing once it is done.
    socket: Option<Arc<dyn Held>>,
    asker: task::Id,
}

impl Asked {
    fn write(&self) -> Written {
        self.socket.as_ref().map_or(Written::All, |socket| socket.write_held(self.asker))
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.as_ref().map_or(Poll::Ready(()), |socket| socket.poll_held(self.asker, cx))
    }

    fn done(mut self) {
        self.socket = None;
    }
}

/// With its runtime, which ended.
impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            socket.give_up(self.asker);
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
