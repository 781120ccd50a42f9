//! Messages that came before: their ids, and how they were answered.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use core::future::Future;
use std::collections::HashMap;
use std::sync::Mutex;

use ::tokio::sync::OnceCell;

use super::handle::lock;

/// The ids that were seen last, of all connections.
#[derive(Debug)]
pub(super) struct Seen {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<Arc<str>, Cell>,
    /// Those that were answered, the oldest first. Of others there are as many as handlers run.
    order: VecDeque<Arc<str>>,
}

/// How a message was answered, once it was; nothing for one with a long answer.
type Cell = Arc<OnceCell<Option<Box<str>>>>;

impl Seen {
    pub(super) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default() }
    }

    /// How the message with this id was answered; `answer` is run if it is the first, or if nobody came to the end with
    /// those before. `None` if it came before, and had an answer that was too long to keep.
    ///
    /// Dropped, it leaves the message to the next that has its id.
    pub(super) async fn once(&self, id: &str, answer: impl Future<Output = String>) -> Option<String> {
        let id: Arc<str> = id.into();
        let cell = lock(&self.state).answers.entry(id.clone()).or_default().clone();
        let entry = Entry { seen: self, id, cell };
        let mut whole = None;
        let first = &mut whole;
        let kept = entry.cell.get_or_init(|| async move {
            let answer = first.insert(answer.await);
            (answer.len() <= LONGEST_KEPT).then(|| answer.as_str().into())
        });
        let kept = kept.await.as_deref().map(Into::into);
        if whole.is_some() {
            entry.done();
        }
        whole.or(kept)
    }
}

/// The place of a message that is looked at.
struct Entry<'a> {
    seen: &'a Seen,
    id: Arc<str>,
    cell: Cell,
}

impl Entry<'_> {
    /// It was answered: it is the newest now.
    fn done(&self) {
        let mut state = lock(&self.seen.state);
        state.order.push_back(self.id.clone());
        while state.order.len() > self.seen.most {
            if let Some(oldest) = state.order.pop_front() {
                state.answers.remove(&oldest);
            }
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.seen.state);
        // The map has it, and this; who else has it will run it.
        if !self.cell.initialized() && Arc::strong_count(&self.cell) <= 2 {
            state.answers.remove(&self.id);
        }
    }
}

/// The longest answer that is kept, in bytes: most say only that the message came.
const LONGEST_KEPT: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use core::future::pending;

    use super::*;

    #[::tokio::test(start_paused = true)]
    async fn what_was_dropped_leaves_nothing_behind() {
        let seen = Seen::new(1);
        let soon = core::time::Duration::from_secs(1);
        assert!(::tokio::time::timeout(soon, seen.once("a", pending())).await.is_err());
        assert!(lock(&seen.state).answers.is_empty());
        assert_eq!(seen.once("a", async { "x".into() }).await.as_deref(), Some("x"));
        assert_eq!(seen.once("b", async { "y".into() }).await.as_deref(), Some("y"));
        assert_eq!(lock(&seen.state).answers.len(), 1);
    }
}
