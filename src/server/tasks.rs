//! The tasks of a server: how many there are, and that all end.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::HashMap;
use std::sync::Mutex;

use ::tokio::sync::Notify;
use ::tokio::task::AbortHandle;

use super::handle::lock;

/// Tasks that run. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: Mutex<Running>,
    /// Told when the last one ended.
    none: Notify,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    /// Nothing for one that is about to begin.
    handles: HashMap<u64, Option<AbortHandle>>,
}

impl Tasks {
    /// Runs a task.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + Unpin + 'static) {
        let number = {
            let mut running = lock(&self.0.running);
            running.next += 1;
            let number = running.next;
            running.handles.insert(number, None);
            number
        };
        let ended = Ended { tasks: self.clone(), number };
        // Without the lock: a runtime that ends drops the task here.
        let handle = ::tokio::spawn(Counted { future, _ended: ended });
        if let Some(place) = lock(&self.0.running).handles.get_mut(&number) {
            *place = Some(handle.abort_handle());
        }
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.0.running).handles.len()
    }

    /// Waits until there is none.
    pub(super) async fn none(&self) {
        loop {
            let mut notified = core::pin::pin!(self.0.none.notified());
            notified.as_mut().enable();
            if self.len() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Drops what runs, where it waits.
    pub(super) fn abort(&self) {
        let handles: Vec<AbortHandle> = lock(&self.0.running).handles.values().flatten().cloned().collect();
        for handle in handles {
            handle.abort();
        }
    }
}

/// A task, and then its end.
struct Counted<F> {
    future: F,
    _ended: Ended,
}

impl<F: Future<Output = ()> + Unpin> Future for Counted<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.future).poll(cx)
    }
}

/// Part of a task: dropped with it.
struct Ended {
    tasks: Tasks,
    number: u64,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut running = lock(&self.tasks.0.running);
        running.handles.remove(&self.number);
        if running.handles.is_empty() {
            running.handles = HashMap::new();
            self.tasks.0.none.notify_waiters();
        }
    }
}
