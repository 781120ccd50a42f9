//! The results as a page: all in one file, light and dark, for screens of any size.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use super::ledger::Point;
use super::plot::{Line, Plot, escape};
use super::report::{Latency, Report, Test};
use super::text::{bytes, errors, milliseconds, number};

/// The page.
pub(super) fn page(report: &Report) -> String {
    let url = escape(&report.url);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>taut stress: {url}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n\
         <h1>Load test of <code>{url}</code></h1>\n<p>{} · taut stress {}</p>\n</header>\n",
        escape(&report.written),
        report.version
    );
    if !report.thresholds.is_empty() {
        page.push_str("<ul class=\"verdict\">\n");
        for threshold in &report.thresholds {
            let (class, word) = if threshold.met { ("good", "met") } else { ("bad", "missed") };
            let measured =
                threshold.measured.map_or_else(|| "not measured".into(), |value| format!("{value:.3}"));
            let _ = writeln!(
                page,
                "<li class=\"{class}\"><b>{word}</b> {}: {} <small>{measured}</small></li>",
                threshold.test.name(),
                escape(&threshold.demand)
            );
        }
        page.push_str("</ul>\n");
    }
    report.tests.iter().for_each(|test| section(&mut page, test));
    for note in &report.notes {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(note));
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn section(page: &mut String, test: &Test) {
    let early = if test.ended_early { " <small class=\"bad\">ended early</small>" } else { "" };
    let _ = writeln!(
        page,
        "<section>\n<h2>{}{early}</h2>\n<p class=\"model\">{}</p>",
        test.test.name(),
        escape(&test.model)
    );
    page.push_str("<dl class=\"figures\">\n");
    let mut figure = |name: &str, value: String| {
        let _ = writeln!(page, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    };
    if let Some(messages) = &test.messages {
        figure("messages a second", number(messages.rate.round() as u64));
        figure("received", number(messages.received));
    } else {
        figure("connections a second", number(test.rate().round() as u64));
    }
    if let Some(latency) = test.main_latency() {
        figure("p50", milliseconds(latency.p50));
        figure("p99", milliseconds(latency.p99));
        figure("max", milliseconds(latency.max));
    }
    figure("errors", number(test.error_count));
    page.push_str("</dl>\n<div class=\"plots\">\n");
    for plot in plots(test) {
        page.push_str(&plot);
    }
    page.push_str("</div>\n");
    table(page, test);
    for note in &test.notes {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(note));
    }
    page.push_str("</section>\n");
}

fn plots(test: &Test) -> Vec<String> {
    let over_time = |title, up, lines| Plot { title, across: "seconds", up, lines, marks: Vec::new() };
    let by = |value: fn(&Point) -> f64| -> Vec<(f64, f64)> {
        test.points.iter().map(|point| (point.to, value(point))).collect()
    };
    let known = |value: fn(&Point) -> Option<f64>| -> Vec<(f64, f64)> {
        test.points.iter().filter_map(|point| Some((point.to, value(point)?))).collect()
    };
    let mut plots = vec![by_percentile(test)];
    if test.messages.is_some() {
        let received = by(|point| a_second(point, point.count.received));
        let line = |name, class, points| Line { name, class, points };
        let mut lines = vec![line("received", "a", received)];
        // In a fan-out one message is received many times.
        if test.test.name() != "fanout" {
            lines.push(line("sent", "c", by(|point| a_second(point, point.count.sent))));
            lines.reverse();
        }
        plots.push(over_time("Throughput", "messages a second", lines).figure());
        let latencies =
            vec![line("p99", "b", known(|point| point.p99)), line("p50", "a", known(|point| point.p50))];
        plots.push(over_time("Latency over time", "ms", latencies).figure());
    } else {
        let open = vec![Line { name: "", class: "a", points: by(|point| f64::from(point.open)) }];
        plots.push(over_time("Open connections", "", open).figure());
    }
    if test.error_count > 0 {
        let wrong =
            vec![Line { name: "", class: "b", points: by(|point| a_second(point, point.count.wrong())) }];
        plots.push(over_time("Errors", "a second", wrong).figure());
    }
    plots
}

/// Latency by percentile, the rare ones as wide as the others: each mark is ten times rarer.
fn by_percentile(test: &Test) -> String {
    let rarity = |percentile: f64| -(1.0 - percentile / 100.0).log10();
    let line = |name, class, latency: &Latency| {
        let known = latency.percentiles.iter().filter(|(percentile, _)| *percentile < 100.0);
        let points = known.map(|&(percentile, value)| (rarity(percentile), value));
        // The highest value stands where a single one is as rare.
        let highest = ((latency.count as f64).log10(), latency.max);
        Line { name, class, points: points.chain([highest]).collect() }
    };
    let mut lines = Vec::new();
    let is_open = test.service_time.is_some();
    if let Some(service) = &test.service_time {
        lines.push(line("since sent", "c", service));
    }
    let (title, name) = match test.messages {
        Some(_) => ("Latency by percentile", if is_open { "since due" } else { "" }),
        None => ("Time to connect by percentile", ""),
    };
    if let Some(latency) = test.main_latency() {
        lines.push(line(name, "a", latency));
    }
    let marks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    let marks = marks.iter().map(|&percentile| (rarity(percentile), format!("{percentile}"))).collect();
    Plot { title, across: "percentile", up: "ms", lines, marks }.figure()
}

fn table(page: &mut String, test: &Test) {
    let mut rows = Vec::new();
    let mut latency = |name: &str, latency: Option<&Latency>| {
        if let Some(latency) = latency {
            let rare = latency.p99_9.map_or_else(|| "–".to_owned(), milliseconds);
            let cells = [latency.p50, latency.p90, latency.p99].map(milliseconds);
            let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
            rows.push(format!(
                "<tr><th>{name}</th>{cells}<td>{rare}</td><td>{}</td></tr>",
                milliseconds(latency.max)
            ));
        }
    };
    latency("latency", test.latency.as_ref());
    latency("from sending", test.service_time.as_ref());
    if let Some(halves) = &test.halves {
        latency("first half", halves.first.as_ref());
        latency("second half", halves.second.as_ref());
    }
    latency("connecting", test.connections.connect.as_ref());
    if !rows.is_empty() {
        let _ = writeln!(
            page,
            "<div class=\"wide\"><table>\n<tr><td></td><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>\n{}\n</table></div>",
            rows.join("\n")
        );
    }
    page.push_str("<table class=\"facts\">\n");
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(page, "<tr><th>{name}</th><td>{}</td></tr>", escape(&value));
    };
    let (opened, wanted) =
        (number(u64::from(test.connections.opened)), number(u64::from(test.connections.wanted)));
    fact("connections", format!("{opened} of {wanted}, open in {:.2} s", test.connections.seconds));
    let warm_up = match test.warm_up_seconds {
        0.0 => String::new(),
        seconds => format!(" after {seconds:.2} s of warm-up"),
    };
    fact("measured", format!("{:.2} s{warm_up}", test.measured_seconds));
    if let Some(messages) = &test.messages {
        let (sent, received) = (number(messages.sent), number(messages.received));
        let size = test.settings.size;
        fact("messages", format!("{sent} sent, {received} received, of {size} bytes each"));
        let (sent, received) = (bytes(messages.bytes_sent as f64), bytes(messages.bytes_received as f64));
        fact("bytes", format!("{sent} sent, {received} received; payloads, before compression"));
    }
    if let Some(schedule) = &test.schedule {
        let latest =
            schedule.lateness.as_ref().map(|late| format!(", at most {} late", milliseconds(late.max)));
        let (sent, wanted) = (schedule.rate_sent, schedule.rate_wanted);
        fact("schedule", format!("{sent:.1} a second of {wanted:.1}{}", latest.unwrap_or_default()));
    }
    if let Some(slow) = &test.slow_readers {
        let ended: String = slow.ended.iter().map(|(how, count)| format!("; {count} {how}")).collect();
        let taken = bytes(slow.bytes_taken as f64);
        fact(
            "slow readers",
            format!("{} sent {taken}, {} held to the end{ended}", slow.connected, slow.held),
        );
    }
    fact("errors", errors(test));
    for (kind, failure) in &test.errors {
        fact("", format!("{} × {kind}. {}", number(failure.count), failure.example));
    }
    let client = &test.client;
    let memory = client.peak_memory_bytes.map(|peak| format!(", {} of memory at most", bytes(peak as f64)));
    let (used, all) = (client.processors_used, client.processors);
    fact("the tool itself", format!("{used:.2} of {all} processors{}", memory.unwrap_or_default()));
    page.push_str("</table>\n");
}

fn a_second(point: &Point, count: u64) -> f64 {
    count as f64 / (point.to - point.from).max(0.001)
}

const STYLE: &str = "
:root{color-scheme:light dark;--back:#fbfbfa;--card:#fff;--text:#1c1f23;--soft:#667079;--line:#e3e6e8;--a:#1769c4;--b:#c2410c;--c:#8a94a0;--good:#15803d;--bad:#b91c1c;--note:#fff6dc}
@media(prefers-color-scheme:dark){:root{--back:#14171a;--card:#1c2024;--text:#e6e9ec;--soft:#98a2ac;--line:#31373d;--a:#6cb2ff;--b:#ff9b63;--c:#7f8a96;--good:#5fd08a;--bad:#ff8b86;--note:#332c17}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1000px;padding:1.25rem 1rem 3rem;background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.35rem;margin:0}
h2{font-size:1.15rem;margin:0 0 .25rem}
header p,.model,small,dt{color:var(--soft)}
header p,.model{margin:.2rem 0 1rem}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem;margin:1rem 0}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(95px,1fr));gap:.75rem;margin:0 0 1rem}
dt{font-size:.8rem}
dd{margin:0;font-size:1.25rem;font-weight:600;font-variant-numeric:tabular-nums}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr));gap:1rem}
figure{margin:0}
figcaption{font-weight:600;font-size:.9rem}
.key{display:inline-block;white-space:nowrap}
figcaption small{font-weight:400;margin-right:.5rem}
.key{font-weight:400;font-size:.8rem;margin-right:.6rem;border-bottom:3px solid}
.key.a{border-color:var(--a)}.key.b{border-color:var(--b)}.key.c{border-color:var(--c)}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}
.up{text-anchor:end}.across{text-anchor:middle}
.grid{stroke:var(--line)}
polyline{fill:none;stroke-width:2;stroke-linejoin:round}
polyline.a,circle.a{stroke:var(--a)}polyline.b,circle.b{stroke:var(--b)}polyline.c,circle.c{stroke:var(--c)}
.wide{overflow-x:auto}
table{border-collapse:collapse;margin-top:1rem;font-size:.9rem;font-variant-numeric:tabular-nums}
.wide table{min-width:100%;white-space:nowrap}
th,td{padding:.3rem .6rem .3rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
.wide th:not(:first-child),.wide td{text-align:right}
th{font-weight:600}
@media(max-width:520px){.wide table{font-size:.78rem}.wide th,.wide td{padding-right:.35rem}}
.facts th{color:var(--soft);font-weight:400;white-space:nowrap}
.facts td{width:100%}
.note{background:var(--note);border-radius:6px;padding:.5rem .75rem;margin:1rem 0 0}
.verdict{list-style:none;padding:0;margin:1rem 0}
.verdict li{padding:.35rem .75rem;border-left:4px solid;background:var(--card);margin:.3rem 0}
.verdict .good{border-color:var(--good)}.verdict .bad{border-color:var(--bad)}
.good b{color:var(--good)}.bad b,small.bad{color:var(--bad)}
";
