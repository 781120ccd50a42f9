//! The lock around what both halves of a socket share, and who else has it: the task that writes held frames.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::task;
use spin::mutex::{SpinMutex, SpinMutexGuard};
use spin::relax::Yield;

use super::held::{self, Held, Written};
use super::line::{Line, MOST_HELD};
use super::wakers::Side;
use crate::proto::{Agreement, CloseStatus, SendError, Sender};

/// What the halves of a socket share with each other, and with the task that writes held frames.
pub(super) struct Shared<S> {
    /// How this type of stream gets to other tasks, if it can.
    pub(super) hold: Option<AsHeld<S>>,
    pub(super) agreement: Agreement,
    /// So much waits that whoever receives next begins to write it.
    full: AtomicBool,
    owners: AtomicU32,
    /// Nothing once the socket is dropped.
    line: Lock<S>,
}

/// One of those who own the socket: with the last of them the stream ends.
pub(super) struct Owner<S>(Arc<Shared<S>>);

pub(super) type AsHeld<S> = fn(&Arc<Shared<S>>) -> Arc<dyn Held>;
type Lock<S> = SpinMutex<Option<Line<S>>, Yield>;
type LockGuard<'a, S> = SpinMutexGuard<'a, Option<Line<S>>>;

impl<S> Owner<S> {
    pub(super) fn new(line: Line<S>, agreement: Agreement, hold: Option<AsHeld<S>>) -> Self {
        let line = SpinMutex::new(Some(line));
        let (full, owners) = (AtomicBool::new(false), AtomicU32::new(1));
        Self(Arc::new(Shared { hold, agreement, full, owners, line }))
    }
}

impl<S> Clone for Owner<S> {
    fn clone(&self) -> Self {
        self.owners.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl<S> Drop for Owner<S> {
    fn drop(&mut self) {
        // What the others did comes before the end.
        if self.owners.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.close();
        }
    }
}

impl<S> Deref for Owner<S> {
    type Target = Arc<Shared<S>>;

    #[inline]
    fn deref(&self) -> &Arc<Shared<S>> {
        &self.0
    }
}

impl<S> Shared<S> {
    /// The line of a socket that is not dropped.
    pub(super) fn line(&self) -> LineGuard<'_, S> {
        LineGuard(self.lock())
    }

    /// The same, if it is.
    pub(super) fn lock(&self) -> LockGuard<'_, S> {
        self.line.lock()
    }

    pub(super) fn take(&self) -> Option<Line<S>> {
        self.lock().take()
    }

    /// Queues something of one who sends; tells how far has to be written until that is.
    pub(super) fn append(
        &self,
        queue: impl FnOnce(&mut Sender) -> Result<(), SendError>,
    ) -> Result<u64, SendError> {
        let mut line = self.line();
        let mark = line.append(queue)?;
        self.note_queued(line.sender.queued());
        Ok(mark)
    }

    /// How many own the socket.
    pub(super) fn owners(&self) -> u32 {
        self.owners.load(Ordering::Acquire)
    }

    /// How the connection ended, as far as the sending half knows.
    pub(super) fn close_status(&self) -> Option<CloseStatus> {
        let line = self.line();
        line.heard.close_status(&line.sender)
    }

    /// Whether so much waits that it should be written although more may join it.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        // A hint, which publishes nothing.
        self.full.load(Ordering::Relaxed)
    }

    /// Notes how many bytes wait.
    #[inline]
    pub(super) fn note_queued(&self, queued: usize) {
        let full = queued >= MOST_HELD;
        if full != self.is_full() {
            self.full.store(full, Ordering::Relaxed);
        }
    }

    /// Has what waits written by another task, if the stream can get to one.
    #[inline(always)]
    pub(super) fn ask(self: &Arc<Self>, line: &mut Line<S>) -> bool {
        // Outside of a task, in a future that somebody polls, nothing need run after it.
        let (Some(hold), Some(task)) = (self.hold, task::try_id()) else { return false };
        // Another task may be one of a runtime that does not run now.
        line.held == Some(task) || self.ask_anew(line, hold, task)
    }

    #[inline(never)]
    fn ask_anew(self: &Arc<Self>, line: &mut Line<S>, hold: AsHeld<S>, task: task::Id) -> bool {
        let asked = held::hold(task, || hold(self));
        if asked && line.held.replace(task).is_some() {
            // Who waits for the rest on behalf of that other task ends.
            line.wakers.wake();
        }
        asked
    }

    /// Ends the stream, after one last try for what is held.
    fn close(self: &Arc<Self>) {
        let asker = self.lock().as_ref().and_then(|line| line.held);
        if let (Some(hold), Some(asker)) = (self.hold, asker) {
            hold(self).write_held(asker);
        }
        if let Some(mut line) = self.take() {
            line.wakers.wake_others(Side::Receive);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Held for Shared<S> {
    fn write_held(&self, asker: task::Id) -> Written {
        // Who has the lock may be in the application's handler, for as long as that likes.
        let Some(mut shared) = self.line.try_lock() else { return Written::Busy };
        let Some(line) = shared.as_mut().filter(|line| line.held == Some(asker)) else {
            return Written::All;
        };
        // If that is not all, another task comes, and is the one that waits.
        if line.poll_write(&mut Context::from_waker(Waker::noop())).is_ready() {
            line.held = None;
            Written::All
        } else {
            Written::Part
        }
    }

    fn poll_held(&self, asker: task::Id, cx: &mut Context<'_>) -> Poll<()> {
        match self.lock().as_mut() {
            Some(line) if line.held == Some(asker) => line.poll_held(cx),
            _ => Poll::Ready(()),
        }
    }

    fn give_up(&self, asker: task::Id) {
        if let Some(line) = self.lock().as_mut()
            && line.held == Some(asker)
        {
            line.held = None;
        }
    }
}

/// The line of a socket that is not dropped.
pub(super) struct LineGuard<'a, S>(LockGuard<'a, S>);

impl<S> Deref for LineGuard<'_, S> {
    type Target = Line<S>;

    #[inline]
    fn deref(&self) -> &Line<S> {
        self.0.as_ref().expect(PRESENT)
    }
}

impl<S> DerefMut for LineGuard<'_, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Line<S> {
        self.0.as_mut().expect(PRESENT)
    }
}

/// Why there is a line.
pub(super) const PRESENT: &str = "only what consumes the socket takes it";
