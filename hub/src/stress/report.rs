//! The results, as they are written as JSON: what was not measured is not there.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::ledger::{Counts, Failure, Point};
use super::plan::Plan;
use super::run::Outcome;
use super::settings::{Arguments, TestType};
use super::slow;
use crate::envelope::timestamp;

/// All results.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) url: String,
    /// RFC 3339, UTC.
    pub(super) written: String,
    pub(super) version: &'static str,
    pub(super) tests: Vec<Test>,
    /// What was left out, and why.
    pub(super) notes: Vec<String>,
    pub(super) thresholds: Vec<Threshold>,
}

/// A demand on a test.
#[derive(Debug, Serialize)]
pub(super) struct Threshold {
    pub(super) test: TestType,
    pub(super) demand: String,
    /// Absent if it was not measured, which misses the demand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) measured: Option<f64>,
    pub(super) met: bool,
}

/// The results of a test.
#[derive(Debug, Serialize)]
pub(super) struct Test {
    pub(super) test: TestType,
    /// Which model, and how latencies are to be read.
    pub(super) model: String,
    pub(super) settings: Settings,
    /// Ended before its time, by a signal.
    pub(super) ended_early: bool,
    pub(super) warm_up_seconds: f64,
    /// What rates are of.
    pub(super) measured_seconds: f64,
    pub(super) connections: Connections,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) messages: Option<Messages>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latency: Option<Latency>,
    /// From sending to the answer, where `latency` counts from the scheduled moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_time: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) halves: Option<Halves>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schedule: Option<Schedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slow_readers: Option<slow::Outcome>,
    pub(super) error_count: u64,
    /// Of connections, by kind.
    pub(super) errors: BTreeMap<String, Failure>,
    pub(super) client: Client,
    pub(super) notes: Vec<String>,
    pub(super) points: Vec<Point>,
}

#[derive(Debug, Serialize)]
pub(super) struct Settings {
    pub(super) connections: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duration_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<f64>,
    pub(super) in_flight: usize,
    pub(super) size: usize,
    pub(super) text: bool,
    pub(super) deflate: bool,
    pub(super) hub: bool,
    pub(super) timeout_seconds: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Connections {
    /// In a fan-out, with the one that sends.
    pub(super) wanted: u32,
    pub(super) opened: u32,
    /// How long it took to open them.
    pub(super) seconds: f64,
    pub(super) reconnected: u64,
    /// Of a storm: the time was over before.
    pub(super) not_tried: u64,
    /// From the attempt to the open connection; in a storm by a schedule, from the scheduled moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connect: Option<Latency>,
}

#[derive(Debug, Serialize)]
pub(super) struct Messages {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Received in a second.
    pub(super) rate: f64,
    /// Of payloads, before compression.
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) corrupt: u64,
    pub(super) reordered: u64,
    pub(super) duplicate: u64,
    /// Of the lost, those that came after all.
    pub(super) late: u64,
    pub(super) lost: u64,
    /// Without an answer when the test was ended early.
    pub(super) unanswered: u64,
}

/// Milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) min: f64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    /// Only where there are a thousand values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p99_9: Option<f64>,
    pub(super) max: f64,
    /// Pairs of a percentile and its milliseconds.
    pub(super) percentiles: Vec<(f64, f64)>,
}

/// The second half beside the first.
#[derive(Debug, Serialize)]
pub(super) struct Halves {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) second: Option<Latency>,
}

/// How well the tool kept to its schedule.
#[derive(Debug, Serialize)]
pub(super) struct Schedule {
    pub(super) rate_wanted: f64,
    pub(super) rate_sent: f64,
    /// Sends more than 10 ms behind.
    pub(super) behind: u64,
    pub(super) never_sent: u64,
    /// From the scheduled moment to sending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lateness: Option<Latency>,
}

/// The tool itself.
#[derive(Debug, Serialize)]
pub(super) struct Client {
    /// Of all processors, since the connections were open.
    pub(super) processor_seconds: f64,
    /// How many processors that is on average.
    pub(super) processors_used: f64,
    pub(super) processors: usize,
    /// The most it ever held, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peak_memory_bytes: Option<u64>,
}

impl Report {
    pub(super) fn new(arguments: &Arguments, tests: Vec<Test>, notes: Vec<String>) -> Self {
        let thresholds = tests.iter().flat_map(|test| thresholds(arguments, test)).collect();
        let version = env!("CARGO_PKG_VERSION");
        Self { url: without_secrets(&arguments.url), written: timestamp(), version, tests, notes, thresholds }
    }
}

impl Test {
    pub(super) fn new(arguments: &Arguments, outcome: Outcome) -> Self {
        let Outcome { run, series, opened, connecting, times, ended, is_early, processor, slow } = outcome;
        let plan = &run.plan;
        let sum = run.ledger.sum();
        let count = sum.count;
        let is_storm = plan.test_type == TestType::Storm;
        let end = times.end.map_or(ended, |end| end.min(ended));
        // Answers that were waited for belong to the time; the wait for lost ones does not.
        let until = if is_storm {
            ended
        } else {
            sum.last.map_or(end, |last| if times.end.is_some() { last.max(end) } else { last })
        };
        let measured = until.saturating_duration_since(times.measure);
        let connect = Latency::of(&sum.connect);
        let mut notes = Vec::new();
        let schedule = plan.rate.map(|wanted| Schedule::new(wanted, &sum.lateness, &count, measured));
        if let Some(schedule) = &schedule
            && let Some(note) = schedule.note()
        {
            notes.push(note);
        }
        let client = Client::new(processor);
        if client.processors_used > BUSY * client.processors as f64 {
            notes.push(format!(
                "this tool used {:.1} of {} processors: it may be what limits the result",
                client.processors_used, client.processors
            ));
        }
        if count.not_tried > 0 {
            notes.push(format!("the time was over before {} connections were tried", count.not_tried));
        }
        let uncompressed = run.uncompressed.load(Ordering::Relaxed);
        if arguments.deflate && uncompressed > 0 {
            notes.push(format!("the server did not agree to compression on {uncompressed} connections"));
        }
        let wanted = plan.connections + u32::from(plan.test_type == TestType::Fanout);
        if !is_storm && opened < wanted {
            notes.push(format!("only {opened} of {wanted} connections were open at the start"));
        }
        let mut points = series.into_points();
        // While connections close nothing is measured.
        while points
            .last()
            .is_some_and(|last| last.from >= measured.as_secs_f64() && last.count == Counts::default())
        {
            points.pop();
        }
        Self {
            test: plan.test_type,
            model: plan.model(),
            settings: Settings::new(arguments, plan),
            ended_early: is_early,
            warm_up_seconds: if is_storm { 0.0 } else { plan.warm_up.as_secs_f64() },
            measured_seconds: measured.as_secs_f64(),
            connections: Connections {
                wanted,
                opened,
                seconds: connecting.as_secs_f64(),
                reconnected: count.reconnected,
                not_tried: count.not_tried,
                connect,
            },
            messages: (!is_storm).then(|| Messages::new(&count, measured)),
            latency: Latency::of(&sum.latency),
            service_time: Latency::of(&sum.service),
            halves: sum
                .halves
                .map(|halves| Halves { first: Latency::of(&halves[0]), second: Latency::of(&halves[1]) }),
            schedule,
            slow_readers: slow,
            error_count: count.wrong(),
            errors: run.ledger.errors(),
            client,
            notes,
            points,
        }
    }

    /// Connections a second in a storm, else messages that came.
    pub(super) fn rate(&self) -> f64 {
        match &self.messages {
            Some(messages) => messages.rate,
            None => {
                rate(u64::from(self.connections.opened), Duration::from_secs_f64(self.connections.seconds))
            }
        }
    }

    /// The latency that a threshold is about.
    pub(super) const fn main_latency(&self) -> Option<&Latency> {
        if self.messages.is_some() { self.latency.as_ref() } else { self.connections.connect.as_ref() }
    }
}

impl Settings {
    fn new(arguments: &Arguments, plan: &Plan) -> Self {
        Self {
            connections: plan.connections,
            messages: plan.messages,
            duration_seconds: plan.duration.map(|duration| duration.as_secs_f64()),
            rate: plan.rate,
            in_flight: plan.in_flight,
            size: plan.size,
            text: arguments.text || arguments.deflate || arguments.hub,
            deflate: arguments.deflate,
            hub: arguments.hub,
            timeout_seconds: plan.timeout.as_secs_f64(),
        }
    }
}

impl Messages {
    fn new(count: &Counts, measured: Duration) -> Self {
        Self {
            sent: count.sent,
            received: count.received,
            rate: rate(count.received, measured),
            bytes_sent: count.bytes_sent,
            bytes_received: count.bytes_received,
            corrupt: count.corrupt,
            reordered: count.reordered,
            duplicate: count.duplicate,
            late: count.late,
            lost: count.lost,
            unanswered: count.unanswered,
        }
    }
}

impl Latency {
    pub(super) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let at = |percentile: f64| milliseconds(histogram.value_at_percentile(percentile));
        let count = histogram.len();
        // A percentile that a single value decides is no measurement.
        let is_known = |percentile: f64| (1.0 - percentile / 100.0) * count as f64 >= 0.999_999;
        let percentiles = PERCENTILES.into_iter().filter(|&percentile| is_known(percentile));
        let max = milliseconds(histogram.max());
        Some(Self {
            count,
            min: milliseconds(histogram.min()),
            mean: histogram.mean() / 1e6,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p99_9: is_known(99.9).then(|| at(99.9)),
            max,
            percentiles: percentiles
                .map(|percentile| (percentile, at(percentile)))
                .chain([(100.0, max)])
                .collect(),
        })
    }
}

impl Schedule {
    fn new(wanted: f64, lateness: &Histogram<u64>, count: &Counts, measured: Duration) -> Self {
        Self {
            rate_wanted: wanted,
            rate_sent: rate(lateness.len(), measured),
            behind: count.behind,
            never_sent: count.never_sent,
            lateness: Latency::of(lateness),
        }
    }

    /// What has to be known if it was not kept.
    fn note(&self) -> Option<String> {
        if self.behind + self.never_sent == 0 {
            return None;
        }
        let all = self.lateness.as_ref().map_or(0, |lateness| lateness.count) + self.never_sent;
        let part = self.behind as f64 * 100.0 / all.max(1) as f64;
        let latest = self.lateness.as_ref().map_or(0.0, |lateness| lateness.max);
        Some(format!(
            "the schedule was not kept: {} of {all} sends ({part:.1} %) were more than 10 ms late, the latest by \
             {latest:.1} ms, and {} were never made; the latencies have it in them",
            self.behind, self.never_sent
        ))
    }
}

impl Client {
    fn new((processor, wall): (Duration, Duration)) -> Self {
        let processor_seconds = processor.as_secs_f64();
        Self {
            processor_seconds,
            processors_used: processor_seconds / wall.as_secs_f64().max(1e-9),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            peak_memory_bytes: peak_memory(),
        }
    }
}

fn thresholds(arguments: &Arguments, test: &Test) -> Vec<Threshold> {
    let mut thresholds = Vec::new();
    let mut demand = |demand: String, measured: Option<f64>, is_met: &dyn Fn(f64) -> bool| {
        let met = measured.is_some_and(is_met);
        thresholds.push(Threshold { test: test.test, demand, measured, met });
    };
    if let Some(most) = arguments.max_p99 {
        let p99 = test.main_latency().map(|latency| latency.p99);
        demand(format!("p99 of at most {most} ms"), p99, &|p99| p99 <= most);
    }
    if let Some(least) = arguments.min_rate {
        let unit = if test.messages.is_some() { "messages" } else { "connections" };
        demand(format!("at least {least} {unit} a second"), Some(test.rate()), &|rate| rate >= least);
    }
    if let Some(most) = arguments.max_errors {
        demand(format!("at most {most} errors"), Some(test.error_count as f64), &|errors| {
            errors <= most as f64
        });
    }
    thresholds
}

/// A URL to be shown: tokens stand in queries, passwords before the host.
fn without_secrets(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(before, _)| before);
    match url.split_once("://").and_then(|(scheme, rest)| {
        Some((scheme, rest.split_once('/').unwrap_or((rest, "")).0.rsplit_once('@')?, rest))
    }) {
        Some((scheme, (secret, _), rest)) => format!("{scheme}://{}", &rest[secret.len() + 1..]),
        None => url.to_owned(),
    }
}

fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// The most memory this program ever held.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// A part of the processors from which on the tool may be the limit.
const BUSY: f64 = 0.8;

const PERCENTILES: [f64; 20] = [
    0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.9, 99.95,
    99.99, 99.995, 99.999,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_single_value_would_decide_is_left_out() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        assert!(Latency::of(&histogram).is_none());
        (0..999).for_each(|value| histogram.record(value * 1_000_000).unwrap());
        assert!(Latency::of(&histogram).unwrap().p99_9.is_none());
        histogram.record(5).unwrap();
        let latency = Latency::of(&histogram).unwrap();
        assert!(latency.p99_9.is_some());
        assert!(latency.percentiles.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }

    #[test]
    fn urls_are_shown_without_what_is_secret() {
        for (url, shown) in [
            ("ws://a:9/ws?token=x", "ws://a:9/ws"),
            ("wss://u:p@a/ws?x", "wss://a/ws"),
            ("ws://a", "ws://a"),
            ("ws://a/@b", "ws://a/@b"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
