//! What the hub counts, in Prometheus' format.

#![forbid(unsafe_code)]

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

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
    pub(crate) refused: Family<Reason, Counter>,
    pub(crate) ended: Family<Reason, Counter>,
    pub(crate) connections: Gauge,
    pub(crate) users: Gauge,
    pub(crate) rooms: Gauge,
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
            refused: Family::default(),
            ended: Family::default(),
            connections: Gauge::default(),
            users: Gauge::default(),
            rooms: Gauge::default(),
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
        registry.register("refused", "Tokens and messages that were refused", metrics.refused.clone());
        registry.register("connections_ended", "How connections ended", metrics.ended.clone());
        registry.register("connections", "Authenticated connections", metrics.connections.clone());
        registry.register("users", "Users with a connection", metrics.users.clone());
        registry.register("rooms", "Rooms that somebody is in", metrics.rooms.clone());
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

/// The memory of this process in bytes, where the system tells.
pub(crate) fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}
