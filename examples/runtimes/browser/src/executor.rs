//! Futures in a page: each is polled once it was woken, at the end of whatever the browser called.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake};

/// Runs a future until it is done, or as long as the page is there.
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    TASKS.with_borrow_mut(|tasks| tasks.push(Some(Task { future: Box::pin(future), woken })));
    run();
}

/// Polls all that were woken, until none is. Is to be called at the end of each call of the browser.
pub(crate) fn run() {
    if RUNNING.replace(true) {
        return;
    }
    let mut again = true;
    while std::mem::take(&mut again) {
        for index in 0..TASKS.with_borrow(Vec::len) {
            // It is not in the list while it is polled, since it may add others.
            let Some(mut task) = TASKS.with_borrow_mut(|tasks| tasks[index].take()) else { continue };
            let mut done = false;
            if task.woken.0.swap(false, Ordering::Relaxed) {
                let waker = task.woken.clone().into();
                done = task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                again = true;
            }
            if !done {
                TASKS.with_borrow_mut(|tasks| tasks[index] = Some(task));
            }
        }
    }
    TASKS.with_borrow_mut(|tasks| tasks.retain(Option::is_some));
    RUNNING.set(false);
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    static TASKS: RefCell<Vec<Option<Task>>> = const { RefCell::new(Vec::new()) };
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}
