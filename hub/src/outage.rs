//! What a failure that lasts says in the log: when it begins, how often it was met since, and when it is over.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One kind of failure. However often it is met, and however often it comes and goes, the log has at most two lines of it
/// in [`INTERVAL`]; no failure is left out of their counts.
#[derive(Debug)]
pub(crate) struct Outage {
    /// A sentence without its full stop.
    what: &'static str,
    /// There is something to tell, or to count: so that success costs a load.
    is_troubled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When it began, if it is not over.
    since: Option<Instant>,
    /// Failures that no line has counted.
    untold: u64,
    /// Failures since the last line that it is over.
    all: u64,
    /// The log has that it began.
    is_told: bool,
    /// When the log had the last line.
    told: Option<Instant>,
}

impl Outage {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, is_troubled: AtomicBool::new(false), state: Mutex::default() }
    }

    /// Takes note of how it went.
    pub(crate) fn note<T>(&self, result: &Result<T, impl fmt::Display>) {
        match result {
            Ok(_) => self.over(),
            Err(error) => self.met(error),
        }
    }

    /// It failed.
    pub(crate) fn met(&self, error: &dyn fmt::Display) {
        self.is_troubled.store(true, Ordering::Relaxed);
        let mut state = self.state();
        let now = Instant::now();
        let since = *state.since.get_or_insert(now);
        state.all += 1;
        state.untold += 1;
        if state.told.is_some_and(|told| now - told < INTERVAL) {
            return;
        }
        let (times, seconds) = (state.untold, (now - since).as_secs());
        if state.is_told {
            tracing::error!(%error, times, seconds, "{}, still", self.what);
        } else {
            tracing::error!(%error, times, "{}", self.what);
        }
        state.is_told = true;
        state.untold = 0;
        state.told = Some(now);
    }

    /// It succeeded.
    pub(crate) fn over(&self) {
        if !self.is_troubled.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state();
        let seconds = state.since.take().map_or(0, |since| since.elapsed().as_secs());
        // What came and went behind the last line is told with the next one.
        if state.is_told || state.told.is_none_or(|told| told.elapsed() >= INTERVAL) {
            tracing::info!(times = state.all, seconds, "{}: it is over", self.what);
            *state = State { told: Some(Instant::now()), ..State::default() };
            self.is_troubled.store(false, Ordering::Relaxed);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often a failure that lasts is told.
const INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use tokio::time::advance;
    use tracing::subscriber::DefaultGuard;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        /// One that has what this thread logs, as long as the guard is there.
        fn start() -> (Self, DefaultGuard) {
            let log = Self::default();
            let writer = log.clone();
            let lines = tracing_subscriber::fmt().without_time().with_target(false).with_ansi(false);
            let lines = lines.with_writer(move || writer.clone()).finish();
            (log, tracing::subscriber::set_default(lines))
        }

        /// What came since the last time.
        fn lines(&self) -> Vec<String> {
            let bytes = std::mem::take(&mut *self.0.lock().unwrap());
            String::from_utf8(bytes).unwrap().lines().map(|line| line.trim().to_owned()).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn its_beginning_its_count_and_its_end_are_told() {
        let (log, _guard) = Log::start();
        let outage = Outage::new("the store fails");
        outage.over();
        assert!(log.lines().is_empty());
        // For 25 s, a hundred a second.
        for _ in 0..2500 {
            outage.met(&"gone");
            advance(Duration::from_millis(10)).await;
        }
        outage.over();
        outage.over();
        assert_eq!(
            log.lines(),
            [
                "ERROR the store fails error=gone times=1",
                "ERROR the store fails, still error=gone times=1000 seconds=10",
                "ERROR the store fails, still error=gone times=1000 seconds=20",
                "INFO the store fails: it is over times=2500 seconds=25",
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_and_goes_is_counted_and_does_not_fill_the_log() {
        let (log, _guard) = Log::start();
        let outage = Outage::new("the store fails");
        for _ in 0..1000 {
            outage.met(&"gone");
            outage.over();
            advance(Duration::from_millis(100)).await;
        }
        // Two each 10 s, for 100 s, and what is left when all is well.
        outage.over();
        let lines = log.lines();
        assert_eq!(lines.len(), 21, "{lines:#?}");
        let told: u64 = lines
            .iter()
            .filter_map(|line| line.strip_prefix("INFO the store fails: it is over times="))
            .map(|rest| rest.split(' ').next().unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(told, 1000);
        outage.over();
        assert!(log.lines().is_empty());
    }
}
