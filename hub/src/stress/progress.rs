//! What is shown while a test runs: one line on a terminal, else a line every five seconds.

#![forbid(unsafe_code)]

use std::future::Future;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use tokio::time::interval;

use super::ledger::Point;
use super::plan::Plan;
use super::run::Run;
use super::settings::TestType;

/// The display.
#[derive(Debug)]
pub(super) struct Progress {
    is_quiet: bool,
    is_terminal: bool,
    said: Option<Instant>,
}

impl Progress {
    pub(super) fn new(is_quiet: bool) -> Self {
        Self { is_quiet, is_terminal: stderr().is_terminal(), said: None }
    }

    /// Waits, and tells how many connections are open meanwhile.
    pub(super) async fn connecting(&mut self, run: &Run, waiting: impl Future<Output = ()>) {
        tokio::pin!(waiting);
        let mut seconds = interval(Duration::from_secs(1));
        seconds.tick().await;
        loop {
            tokio::select! {
                () = &mut waiting => return,
                _ = seconds.tick() => {
                    let (open, all) = (run.ledger.open(), run.plan.connections);
                    self.say(&format!("{}: {open} of {all} connections are open", run.plan.test_type.name()));
                }
            }
        }
    }

    /// Tells that all is ready.
    pub(super) fn begins(&mut self, plan: &Plan) {
        let warms_up = plan.test_type != TestType::Storm && !plan.warm_up.is_zero();
        self.say(&format!("{} begins{}", plan.test_type.name(), if warms_up { ", warming up" } else { "" }));
    }

    /// Tells of a point.
    pub(super) fn show(&mut self, plan: &Plan, point: &Point) {
        let took = (point.to - point.from).max(0.001);
        let rate = |count: u64| count as f64 / took;
        let name = plan.test_type.name();
        let all = match (plan.test_type, plan.duration) {
            (TestType::Storm, _) | (_, None) => String::new(),
            (_, Some(duration)) => format!(" of {:.0}", duration.as_secs_f64()),
        };
        let latency = point.p99.map(|p99| format!(", p99 {p99:.2} ms")).unwrap_or_default();
        let wrong = match point.count.wrong() {
            0 => String::new(),
            wrong => format!(", {wrong} errors"),
        };
        let messages = match plan.test_type {
            TestType::Storm => String::new(),
            _ => format!(
                ", {:.0} out and {:.0} in a second",
                rate(point.count.sent),
                rate(point.count.received)
            ),
        };
        self.say(&format!("{name} {:.0}{all} s: {} open{messages}{latency}{wrong}", point.to, point.open));
    }

    /// Makes room for what is printed next.
    pub(super) fn done(&mut self) {
        if self.is_terminal && self.said.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    fn say(&mut self, line: &str) {
        if self.is_quiet {
            return;
        }
        // Nothing depends on whether anybody can read it.
        if self.is_terminal {
            let _ = write!(stderr(), "\r\x1b[K{line}");
            let _ = stderr().flush();
        } else if self.said.is_some_and(|said| said.elapsed() < SELDOM) {
            return;
        } else {
            let _ = writeln!(stderr(), "{line}");
        }
        self.said = Some(Instant::now());
    }
}

/// How often a log has a line; a little less, since seconds are not counted exactly.
const SELDOM: Duration = Duration::from_millis(4_800);
