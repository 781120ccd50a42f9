//! The results as text for people, and as lines of CSV.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use super::report::{Latency, Report, Test};

/// The summary of a test.
pub(super) fn summary(test: &Test) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: String| {
        let _ = writeln!(text, "  {name:<14}{what}");
    };
    line("model", test.model.clone());
    let early = if test.ended_early { ", ended early" } else { "" };
    let warm_up = match test.warm_up_seconds {
        0.0 => String::new(),
        seconds => format!(" after {seconds:.1} s of warm-up"),
    };
    line("measured", format!("{:.2} s{warm_up}{early}", test.measured_seconds));
    let connections = &test.connections;
    let again = match connections.reconnected {
        0 => String::new(),
        again => format!(", {} opened again", number(again)),
    };
    let (opened, wanted) = (number(u64::from(connections.opened)), number(u64::from(connections.wanted)));
    let others = if test.test.name() == "fanout" { ", one of which sends" } else { "" };
    line("connections", format!("{opened} of {wanted}{others}, open in {:.2} s{again}", connections.seconds));
    if let Some(connect) = &connections.connect {
        line("connect", percentiles(connect));
    }
    if let Some(messages) = &test.messages {
        line("messages", format!("{} sent, {} received", number(messages.sent), number(messages.received)));
        line("rate", format!("{} messages a second", number(messages.rate.round() as u64)));
        let seconds = test.measured_seconds.max(1e-9);
        line(
            "bytes",
            format!(
                "{} sent, {} received of {} each: {}/s; payloads, before compression",
                bytes(messages.bytes_sent as f64),
                bytes(messages.bytes_received as f64),
                test.settings.size,
                bytes(messages.bytes_received as f64 / seconds)
            ),
        );
    } else {
        line("rate", format!("{} connections a second", number(test.rate().round() as u64)));
    }
    if let Some(latency) = &test.latency {
        line("latency", percentiles(latency));
    } else if test.messages.is_some() {
        line("latency", "not measured: nothing came back".to_owned());
    }
    if let Some(service) = &test.service_time {
        line("from send", percentiles(service));
    }
    if let Some(halves) = &test.halves {
        let half = |half: &Option<Latency>| half.as_ref().map_or_else(|| "not measured".into(), percentiles);
        line("first half", half(&halves.first));
        line("second half", half(&halves.second));
    }
    if let Some(schedule) = &test.schedule {
        let lateness = schedule.lateness.as_ref();
        let late = lateness.map_or_else(
            || "nothing was sent".into(),
            |late| format!("late by p99 {}, at most {}", milliseconds(late.p99), milliseconds(late.max)),
        );
        line(
            "schedule",
            format!("{:.1} a second of {:.1}; {late}", schedule.rate_sent, schedule.rate_wanted),
        );
    }
    if let Some(slow) = &test.slow_readers {
        let ended: String = slow.ended.iter().map(|(how, count)| format!("; {count} {how}")).collect();
        let taken = bytes(slow.bytes_taken as f64);
        let missing = match slow.not_connected {
            0 => String::new(),
            missing => format!(", {missing} not connected"),
        };
        line(
            "slow readers",
            format!("{} sent {taken}{missing}, {} held to the end{ended}", slow.connected, slow.held),
        );
    }
    line("errors", errors(test));
    for (kind, failure) in &test.errors {
        let example =
            if failure.example.is_empty() { String::new() } else { format!(" ({})", failure.example) };
        line("", format!("{} × {kind}{example}", number(failure.count)));
    }
    let client = &test.client;
    let memory = client.peak_memory_bytes.map(|peak| format!(", {} of memory at most", bytes(peak as f64)));
    line(
        "this tool",
        format!(
            "{:.2} of {} processors{}",
            client.processors_used,
            client.processors,
            memory.unwrap_or_default()
        ),
    );
    for note in &test.notes {
        line("note", note.clone());
    }
    format!("\n{}\n{text}", test.test.name())
}

/// Which demands are met.
pub(super) fn verdict(report: &Report) -> String {
    let mut text = String::new();
    for note in &report.notes {
        let _ = writeln!(text, "\n{note}");
    }
    for threshold in &report.thresholds {
        let measured =
            threshold.measured.map_or_else(|| "not measured".to_owned(), |value| format!("{value:.3}"));
        let word = if threshold.met { "met" } else { "MISSED" };
        let _ = writeln!(text, "\n{word}: {}: {} ({measured})", threshold.test.name(), threshold.demand);
    }
    text
}

/// A line for each point, and for each test as a whole; empty where nothing was measured.
pub(super) fn csv(report: &Report) -> String {
    let mut text = format!("{}\n", COLUMNS.join(","));
    let shown = |value: Option<f64>| value.map(|value| format!("{value:.4}")).unwrap_or_default();
    for test in &report.tests {
        let name = test.test.name();
        let has_messages = test.messages.is_some();
        let count = |count: u64| if has_messages { count.to_string() } else { String::new() };
        for point in &test.points {
            let fields = [
                name.to_owned(),
                "interval".to_owned(),
                format!("{:.3}", point.from),
                format!("{:.3}", point.to),
                point.open.to_string(),
                count(point.count.sent),
                count(point.count.received),
                count(point.count.bytes_received),
                point.count.wrong().to_string(),
                shown(point.p50),
                String::new(),
                shown(point.p99),
                String::new(),
                String::new(),
            ];
            let _ = writeln!(text, "{}", fields.join(","));
        }
        let (messages, latency) = (test.messages.as_ref(), test.main_latency());
        let total = |of: fn(&super::report::Messages) -> u64| {
            messages.map(|all| of(all).to_string()).unwrap_or_default()
        };
        let fields = [
            name.to_owned(),
            "whole".to_owned(),
            "0.000".to_owned(),
            format!("{:.3}", test.measured_seconds),
            test.connections.opened.to_string(),
            total(|all| all.sent),
            total(|all| all.received),
            total(|all| all.bytes_received),
            test.error_count.to_string(),
            shown(latency.map(|latency| latency.p50)),
            shown(latency.map(|latency| latency.p90)),
            shown(latency.map(|latency| latency.p99)),
            shown(latency.and_then(|latency| latency.p99_9)),
            shown(latency.map(|latency| latency.max)),
        ];
        let _ = writeln!(text, "{}", fields.join(","));
    }
    text
}

/// What went wrong, in a line.
pub(super) fn errors(test: &Test) -> String {
    let mut parts = Vec::new();
    let mut part = |count: u64, name: &str| {
        if count > 0 {
            parts.push(format!("{} {name}", number(count)));
        }
    };
    part(test.errors.values().map(|failure| failure.count).sum(), "of connections");
    if let Some(messages) = &test.messages {
        part(messages.lost, "lost");
        part(messages.corrupt, "corrupt");
        part(messages.reordered, "out of order");
        part(messages.duplicate, "more than once");
        part(messages.late, "of the lost came after all");
        part(messages.unanswered, "without an answer yet, which counts as no error");
    }
    if parts.is_empty() && test.messages.is_some() {
        return "none: every byte of what came was checked".to_owned();
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// The usual percentiles.
pub(super) fn percentiles(latency: &Latency) -> String {
    let rare = latency.p99_9.map(|p99_9| format!("p99.9 {}  ", milliseconds(p99_9))).unwrap_or_default();
    format!(
        "p50 {}  p90 {}  p99 {}  {rare}max {}",
        milliseconds(latency.p50),
        milliseconds(latency.p90),
        milliseconds(latency.p99),
        milliseconds(latency.max)
    )
}

/// Three digits that count.
pub(super) fn milliseconds(value: f64) -> String {
    match value {
        10_000.0.. => format!("{:.1} s", value / 1e3),
        100.0.. => format!("{value:.0} ms"),
        10.0.. => format!("{value:.1} ms"),
        1.0.. => format!("{value:.2} ms"),
        _ => format!("{:.0} µs", value * 1e3),
    }
}

/// With spaces between thousands.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

pub(super) fn bytes(mut bytes: f64) -> String {
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if bytes < 1024.0 {
            return format!("{bytes:.1} {unit}");
        }
        bytes /= 1024.0;
    }
    format!("{bytes:.1} TiB")
}

const COLUMNS: [&str; 14] = [
    "test",
    "span",
    "from_s",
    "to_s",
    "open",
    "sent",
    "received",
    "bytes_received",
    "errors",
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "p99_9_ms",
    "max_ms",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1 000", "1 234 567"]);
        let shown = [0.0123, 1.234, 12.34, 123.4, 12_340.0].map(milliseconds);
        assert_eq!(shown, ["12 µs", "1.23 ms", "12.3 ms", "123 ms", "12.3 s"]);
        assert_eq!(bytes(1536.0), "1.5 KiB");
    }
}
