//! What is measured, in memory that does not grow: histograms, counters, and a point for each second, or for more of
//! them in long runs.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

/// What all connections of a test write into.
#[derive(Debug)]
pub(super) struct Ledger {
    /// A connection has its shard, so that they seldom wait for each other.
    shards: Vec<Mutex<Shard>>,
    errors: Mutex<BTreeMap<String, Failure>>,
    open: AtomicU32,
    /// The most that were open since the last point.
    peak: AtomicU32,
}

/// A part of what is measured.
#[derive(Debug)]
pub(super) struct Shard {
    /// From the scheduled moment in the open model, else from sending.
    pub(super) latency: Histogram<u64>,
    /// From sending; in the open model.
    pub(super) service: Histogram<u64>,
    /// From the scheduled moment to sending; in the open model.
    pub(super) lateness: Histogram<u64>,
    /// From the attempt to the open connection.
    pub(super) connect: Histogram<u64>,
    /// The latency of each half, where they are compared.
    pub(super) halves: Option<Box<[Histogram<u64>; 2]>>,
    /// The latency since the last point.
    interval: Histogram<u64>,
    pub(super) count: Counts,
    /// When the last measured message came.
    pub(super) last: Option<Instant>,
}

/// Counters of measured messages, and of what went wrong at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Of payloads, before compression.
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) corrupt: u64,
    pub(super) reordered: u64,
    pub(super) duplicate: u64,
    /// Of the lost, those that came after all.
    pub(super) late: u64,
    pub(super) lost: u64,
    /// Without an answer when the run was ended early.
    pub(super) unanswered: u64,
    /// Due, and never sent.
    pub(super) never_sent: u64,
    /// Connections of a storm for which there was no time.
    pub(super) not_tried: u64,
    pub(super) reconnected: u64,
    /// Sends more than 10 ms behind the schedule.
    pub(super) behind: u64,
    pub(super) errors: u64,
}

/// Errors of one kind.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Failure {
    pub(super) count: u64,
    /// What the first of them said.
    pub(super) example: String,
}

/// A piece of time.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    /// Seconds since the measurement began. The first point has the errors of before as well.
    pub(super) from: f64,
    pub(super) to: f64,
    /// The most at a time.
    pub(super) open: u32,
    #[serde(flatten)]
    pub(super) count: Counts,
    /// Milliseconds; of the worst second of it, where points were put together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p99: Option<f64>,
}

impl Ledger {
    pub(super) fn new(is_halved: bool) -> Self {
        let shards = std::thread::available_parallelism().map_or(4, usize::from).clamp(1, 16) * 2;
        let shards = (0..shards).map(|_| Mutex::new(Shard::new(is_halved))).collect();
        Self { shards, errors: Mutex::default(), open: AtomicU32::new(0), peak: AtomicU32::new(0) }
    }

    /// The shard of a connection.
    pub(super) fn shard(&self, number: u32) -> MutexGuard<'_, Shard> {
        lock(&self.shards[number as usize % self.shards.len()])
    }

    /// Counts an error.
    pub(super) fn fail(&self, number: u32, kind: &str, example: impl FnOnce() -> String) {
        self.shard(number).count.errors += 1;
        let mut errors = lock(&self.errors);
        let kind =
            if errors.len() >= MOST_KINDS && !errors.contains_key(kind) { "of other kinds" } else { kind };
        let failure =
            errors.entry(kind.to_owned()).or_insert_with(|| Failure { count: 0, example: example() });
        failure.count += 1;
    }

    pub(super) fn opened(&self, number: u32, took: Duration) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(open, Ordering::Relaxed);
        record(&mut self.shard(number).connect, took);
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn errors(&self) -> BTreeMap<String, Failure> {
        lock(&self.errors).clone()
    }

    /// All shards as one.
    pub(super) fn sum(&self) -> Shard {
        let mut sum = Shard::new(lock(&self.shards[0]).halves.is_some());
        for shard in &self.shards {
            sum.add(&lock(shard));
        }
        sum
    }

    /// What the counters say, and the latencies since the last question.
    fn take_interval(&self) -> (Counts, Histogram<u64>) {
        let mut count = Counts::default();
        let mut interval = histogram();
        for shard in &self.shards {
            let mut shard = lock(shard);
            count = count.plus(&shard.count, 1);
            add(&mut interval, &shard.interval);
            shard.interval.reset();
        }
        (count, interval)
    }
}

impl Shard {
    fn new(is_halved: bool) -> Self {
        let halves = is_halved.then(|| Box::new([histogram(), histogram()]));
        let [latency, service, lateness, connect, interval] = std::array::from_fn(|_| histogram());
        Self { latency, service, lateness, connect, halves, interval, count: Counts::default(), last: None }
    }

    /// A measured message came.
    pub(super) fn came(&mut self, took: Duration, bytes: usize, now: Instant, is_second_half: bool) {
        record(&mut self.latency, took);
        record(&mut self.interval, took);
        if let Some(halves) = &mut self.halves {
            record(&mut halves[usize::from(is_second_half)], took);
        }
        self.count.received += 1;
        self.count.bytes_received += bytes as u64;
        self.last = self.last.max(Some(now));
    }

    /// A measured message left; in the open model, this long behind its time.
    pub(super) fn left(&mut self, bytes: usize, lateness: Option<Duration>) {
        self.count.sent += 1;
        self.count.bytes_sent += bytes as u64;
        if let Some(lateness) = lateness {
            self.late_attempt(lateness);
        }
    }

    /// Something was done this long behind its time.
    pub(super) fn late_attempt(&mut self, lateness: Duration) {
        record(&mut self.lateness, lateness);
        self.count.behind += u64::from(lateness > BEHIND);
    }

    fn add(&mut self, other: &Self) {
        add(&mut self.latency, &other.latency);
        add(&mut self.service, &other.service);
        add(&mut self.lateness, &other.lateness);
        add(&mut self.connect, &other.connect);
        if let (Some(own), Some(others)) = (&mut self.halves, &other.halves) {
            own.iter_mut().zip(others.iter()).for_each(|(own, other)| add(own, other));
        }
        self.count = self.count.plus(&other.count, 1);
        self.last = self.last.max(other.last);
    }
}

impl Counts {
    /// What is wrong with messages, or kept them from being measured; and errors of connections.
    pub(super) const fn wrong(&self) -> u64 {
        self.errors + self.corrupt + self.reordered + self.duplicate + self.lost
    }

    /// The sum, or the difference where `sign` is -1.
    fn plus(&self, other: &Self, sign: i64) -> Self {
        let sum = |one: u64, other: u64| one.wrapping_add_signed(sign * other as i64);
        Self {
            sent: sum(self.sent, other.sent),
            received: sum(self.received, other.received),
            bytes_sent: sum(self.bytes_sent, other.bytes_sent),
            bytes_received: sum(self.bytes_received, other.bytes_received),
            corrupt: sum(self.corrupt, other.corrupt),
            reordered: sum(self.reordered, other.reordered),
            duplicate: sum(self.duplicate, other.duplicate),
            late: sum(self.late, other.late),
            lost: sum(self.lost, other.lost),
            unanswered: sum(self.unanswered, other.unanswered),
            never_sent: sum(self.never_sent, other.never_sent),
            not_tried: sum(self.not_tried, other.not_tried),
            reconnected: sum(self.reconnected, other.reconnected),
            behind: sum(self.behind, other.behind),
            errors: sum(self.errors, other.errors),
        }
    }
}

impl Point {
    /// This time and the next as one.
    fn and(&self, next: &Self) -> Self {
        Self {
            from: self.from,
            to: next.to,
            open: self.open.max(next.open),
            count: self.count.plus(&next.count, 1),
            p50: larger(self.p50, next.p50),
            p99: larger(self.p99, next.p99),
        }
    }
}

/// The points of a test: at most [`MOST_POINTS`].
#[derive(Debug)]
pub(super) struct Series {
    begun: Instant,
    /// How long a point is, at first.
    step: Duration,
    /// Where the last point ended.
    until: Instant,
    before: Counts,
    points: Vec<Point>,
}

impl Series {
    /// From this moment on.
    pub(super) fn new(begun: Instant, step: Duration) -> Self {
        Self { begun, step, until: begun, before: Counts::default(), points: Vec::new() }
    }

    pub(super) const fn step(&self) -> Duration {
        self.step
    }

    /// Adds the time since the last point.
    pub(super) fn sample(&mut self, ledger: &Ledger) -> Point {
        let now = Instant::now();
        let (count, interval) = ledger.take_interval();
        let is_measured = !interval.is_empty();
        let milliseconds = |quantile| is_measured.then(|| interval.value_at_quantile(quantile) as f64 / 1e6);
        let point = Point {
            from: (self.until - self.begun).as_secs_f64(),
            to: (now - self.begun).as_secs_f64(),
            open: ledger.peak.swap(ledger.open(), Ordering::Relaxed),
            count: count.plus(&self.before, -1),
            p50: milliseconds(0.5),
            p99: milliseconds(0.99),
        };
        (self.until, self.before) = (now, count);
        self.points.push(point.clone());
        if self.points.len() >= MOST_POINTS {
            self.halve();
        }
        point
    }

    /// The last point; a short one is put to the one before, whose rates it would not have.
    pub(super) fn end(&mut self, ledger: &Ledger) {
        if self.until < Instant::now() {
            self.sample(ledger);
        }
        if let [.., before, last] = &self.points[..]
            && last.to - last.from < self.step.as_secs_f64() / 2.0
        {
            let joined = before.and(last);
            self.points.truncate(self.points.len() - 2);
            self.points.push(joined);
        }
    }

    pub(super) fn into_points(self) -> Vec<Point> {
        self.points
    }

    fn halve(&mut self) {
        let pairs = self.points.chunks(2).map(|pair| match pair {
            [first, second] => first.and(second),
            _ => pair[0].clone(),
        });
        self.points = pairs.collect();
    }
}

pub(super) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    sum.add(other).expect("all have the same bounds");
}

/// Of nanoseconds.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("three digits of up to an hour")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An hour: what takes longer counts as that.
const LONGEST: u64 = 3_600_000_000_000;

/// What is no longer on time.
const BEHIND: Duration = Duration::from_millis(10);

/// Kinds of errors: status and close codes are the server's choice.
const MOST_KINDS: usize = 64;

/// Points that are kept; then two become one.
const MOST_POINTS: usize = 1_200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_few_points_and_loses_no_count() {
        let ledger = Ledger::new(false);
        let mut series = Series::new(Instant::now(), Duration::from_secs(1));
        for number in 0..2_500 {
            ledger.shard(number).left(10, None);
            series.sample(&ledger);
        }
        let points = series.into_points();
        assert!(points.len() < MOST_POINTS);
        assert_eq!(points.iter().map(|point| point.count.sent).sum::<u64>(), 2_500);
        assert!(points.windows(2).all(|pair| pair[0].to == pair[1].from), "no gap");
        assert!(points.iter().all(|point| point.p50.is_none()), "what was not measured is not there");
    }

    #[test]
    fn kinds_of_errors_are_bounded_and_all_are_counted() {
        let ledger = Ledger::new(false);
        for code in 0..1_000 {
            ledger.fail(code, &format!("closed with {code}"), || format!("example {code}"));
        }
        let errors = ledger.errors();
        assert_eq!(errors.len(), MOST_KINDS + 1);
        assert_eq!(errors.values().map(|failure| failure.count).sum::<u64>(), 1_000);
        assert_eq!(ledger.sum().count.errors, 1_000);
    }
}
