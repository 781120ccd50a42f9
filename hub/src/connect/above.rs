//! What is shown above the prompt. A thread writes it, since that waits for the prompt's own thread, and that one for the
//! connection: who receives must not wait for either.

#![forbid(unsafe_code)]

use std::io::{Write, stdout};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use rustyline::ExternalPrinter;
use tokio::sync::Notify;

/// Writes above the prompt.
pub(super) type Printer = Box<dyn ExternalPrinter + Send>;

/// Lines that wait to be shown.
#[derive(Debug)]
pub(super) struct Above {
    lines: Sender<String>,
    waiting: Arc<Waiting>,
}

/// How much waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: AtomicUsize,
    less: Notify,
}

impl Above {
    pub(super) fn start(mut printer: Printer) -> Self {
        let (lines, receiver) = channel::<String>();
        let waiting = Arc::new(Waiting::default());
        let less = waiting.clone();
        std::thread::spawn(move || {
            for line in receiver {
                let length = line.len();
                if printer.print(line.clone()).is_err() {
                    // The prompt is gone, and the terminal as it was. If that is gone too, there is nobody to tell.
                    let _ = stdout().write_all(line.as_bytes());
                }
                less.bytes.fetch_sub(length, Ordering::Relaxed);
                less.less.notify_waiters();
            }
        });
        Self { lines, waiting }
    }

    pub(super) fn show(&self, line: String) {
        self.waiting.bytes.fetch_add(line.len(), Ordering::Relaxed);
        // The thread lives for as long as this.
        let _ = self.lines.send(line);
    }

    pub(super) fn waiting(&self) -> Arc<Waiting> {
        self.waiting.clone()
    }
}

impl Waiting {
    /// Waits until there is room for what one read brings. Dropping the future changes nothing.
    pub(super) async fn room(&self) {
        self.at_most(MOST).await;
    }

    /// Waits until all is shown.
    pub(super) async fn nothing(&self) {
        self.at_most(0).await;
    }

    async fn at_most(&self, bytes: usize) {
        loop {
            let mut less = pin!(self.less.notified());
            less.as_mut().enable();
            if self.bytes.load(Ordering::Relaxed) <= bytes {
                return;
            }
            less.await;
        }
    }
}

/// How many bytes may wait before no more messages are received.
const MOST: usize = 1 << 20;
