//! Futures that are polled as often as a test says, and those that have to end.
#![allow(dead_code, reason = "each test uses its part")]

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

/// Fails instead of waiting for ever: when nothing else is left to happen, the paused clock runs to this end.
pub(crate) async fn ends<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(24 * 3600), future).await.expect("something waits for ever")
}

/// Polls once, and drops it if it is pending.
pub(crate) async fn once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Polls a future at most `polls` times, when it is woken or has waited for some time; `None` if it was still
/// pending then, and is dropped.
pub(crate) async fn polled<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Some(value) = once(future.as_mut()).await {
            return Some(value);
        }
        let _ = timeout(Duration::from_millis(1), woken()).await;
    }
    None
}

/// Makes a future, polls it once, drops it if it is pending, waits to be woken, and again until one ends.
pub(crate) async fn restarted<T>(drops: &Cell<usize>, mut make: impl AsyncFnMut() -> T) -> T {
    loop {
        if let Some(value) = once(make()).await {
            return value;
        }
        drops.set(drops.get() + 1);
        woken().await;
    }
}

/// Waits for a wake-up that somebody promised to this task.
async fn woken() {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}
