//! What the hub counts, in Prometheus' format.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Counters and gauges.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub(crate) opened: Counter,
    pub(crate) received: Counter,
    pub(crate) delivered: Counter,
    pub(crate) lost: Counter,
    pub(crate) stored: Counter,
    pub(crate) duplicates: Counter,
    /// How long storing took, all together, in microseconds.
    pub(crate) storing: Counter,
    storing_times: Histogram,
    delivery_times: Histogram,
    /// The latest, in milliseconds: for percentiles.
    latest: Mutex<VecDeque<u32>>,
    pub(crate) failures: Counter,
    pub(crate) refused: Family<Reason, Counter>,
    pub(crate) ended: Family<Reason, Counter>,
    pub(crate) connections: Gauge,
    pub(crate) users: Gauge,
    pub(crate) rooms: Gauge,
    pub(crate) nodes: Gauge,
    pub(crate) memory: Gauge,
}

/// Why. Of words of the hub's own alone, so that nobody can make there be many.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("taut_hub"),
            opened: Counter::default(),
            received: Counter::default(),
            delivered: Counter::default(),
            lost: Counter::default(),
            stored: Counter::default(),
            duplicates: Counter::default(),
            storing: Counter::default(),
            storing_times: Histogram::new(exponential_buckets(0.0001, 4.0, 9)),
            delivery_times: Histogram::new(exponential_buckets(0.001, 4.0, 9)),
            latest: Mutex::default(),
            failures: Counter::default(),
            refused: Family::default(),
            ended: Family::default(),
            connections: Gauge::default(),
            users: Gauge::default(),
            rooms: Gauge::default(),
            nodes: Gauge::default(),
            memory: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "connections_opened",
            "Connections that were authenticated",
            metrics.opened.clone(),
        );
        registry.register("messages_received", "Messages of clients", metrics.received.clone());
        registry.register("messages_delivered", "Messages queued for receivers", metrics.delivered.clone());
        registry.register("messages_lost", "Messages that a receiver did not take", metrics.lost.clone());
        registry.register("messages_stored", "Messages that were stored", metrics.stored.clone());
        registry.register("messages_duplicate", "Messages that had come before", metrics.duplicates.clone());
        registry.register(
            "storing_seconds",
            "How long storing a message took",
            metrics.storing_times.clone(),
        );
        registry.register(
            "delivery_seconds",
            "From a message's timestamp to the queues of its receivers on this node",
            metrics.delivery_times.clone(),
        );
        registry.register("store_failures", "Messages that the store did not take", metrics.failures.clone());
        registry.register("refused", "Tokens and messages that were refused", metrics.refused.clone());
        registry.register("connections_ended", "How connections ended", metrics.ended.clone());
        registry.register("connections", "Authenticated connections", metrics.connections.clone());
        registry.register("users", "Users with a connection", metrics.users.clone());
        registry.register("rooms", "Rooms that somebody is in", metrics.rooms.clone());
        registry.register("nodes", "Nodes of the hub that are heard of", metrics.nodes.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program", build);
        registry.register("resident_memory_bytes", "Memory of the process", metrics.memory.clone());
        metrics
    }

    /// A message was stored, which took so long.
    pub(crate) fn store(&self, time: Duration, is_duplicate: bool) {
        let counter = if is_duplicate { &self.duplicates } else { &self.stored };
        counter.inc();
        self.storing.inc_by(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        self.storing_times.observe(time.as_secs_f64());
    }

    /// A message of this moment was delivered; one of a clock that is ahead took no time.
    pub(crate) fn deliver(&self, timestamp: Option<&str>) {
        let said = timestamp.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let Some(said) = said else { return };
        let late = Duration::try_from(OffsetDateTime::now_utc() - said).unwrap_or_default();
        self.delivery_times.observe(late.as_secs_f64());
        let mut latest = self.latest();
        if latest.len() == MOST_LATEST {
            latest.pop_front();
        }
        latest.push_back(u32::try_from(late.as_millis()).unwrap_or(u32::MAX));
    }

    /// Within how many milliseconds half of the latest messages were delivered, and 99 of 100.
    pub(crate) fn delivery(&self) -> Option<(u32, u32)> {
        let mut sorted: Vec<u32> = self.latest().iter().copied().collect();
        sorted.sort_unstable();
        let at = |part: usize| sorted.get(sorted.len().checked_sub(1)? * part / 100).copied();
        at(50).zip(at(99))
    }

    fn latest(&self) -> MutexGuard<'_, VecDeque<u32>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn end(&self, reason: &'static str) {
        self.ended.get_or_create(&Reason { reason }).inc();
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// How many deliveries the percentiles are of.
const MOST_LATEST: usize = 1024;

/// The memory of this process in bytes, where the system tells.
pub(crate) fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}
