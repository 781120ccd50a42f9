//! The open model's schedule, and the thread that wakes connections when they are due: timers of the runtime are a
//! millisecond coarse, and would show in every latency.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::plan::Times;

/// When what is due: one after the other, at the same distance, the connections in turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    start: Instant,
    rate: f64,
    connections: u64,
}

impl Schedule {
    pub(super) fn new(start: Instant, rate: f64, connections: u32) -> Self {
        Self { start, rate, connections: u64::from(connections) }
    }

    /// When message `number` of a connection is due.
    pub(super) fn due(&self, connection: u32, number: u64) -> Instant {
        self.of_all(number * self.connections + u64::from(connection))
    }

    fn of_all(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / self.rate)
    }
}

/// Wakes each connection whenever it is due, until the time or the test is over.
pub(super) fn wake(
    schedule: Schedule,
    times: Times,
    pulses: Vec<Arc<Notify>>,
    is_over: Arc<AtomicBool>,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("schedule".into()).spawn(move || {
        let mut number = 0;
        loop {
            let due = schedule.of_all(number);
            // It looks up in between, so that an end is seen.
            while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(left.min(LONGEST_SLEEP));
            }
            if is_over.load(Ordering::Relaxed) || times.is_over(due) {
                return;
            }
            pulses[(number % pulses.len() as u64) as usize].notify_one();
            number += 1;
        }
    })
}

const LONGEST_SLEEP: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns_at_the_rate_of_all() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 1_000.0, 4);
        let at = |connection, number| (schedule.due(connection, number) - start).as_micros();
        assert_eq!([at(0, 0), at(1, 0), at(3, 0), at(0, 1), at(3, 250)], [0, 1_000, 3_000, 4_000, 1_003_000]);
    }
}
