//! What one test does, with the defaults of its type.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::settings::{Arguments, TestType};

/// One test.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) test_type: TestType,
    pub(super) connections: u32,
    /// Messages to measure, of all connections; none for as many as the duration lets through.
    pub(super) messages: Option<u64>,
    pub(super) duration: Option<Duration>,
    /// Of all connections; none for the closed model.
    pub(super) rate: Option<f64>,
    pub(super) in_flight: usize,
    pub(super) size: usize,
    pub(super) warm_up: Duration,
    pub(super) timeout: Duration,
    pub(super) connecting: u32,
    pub(super) slow_readers: u32,
}

impl Plan {
    /// The tests that the arguments ask for, and what they leave out.
    pub(super) fn all(arguments: &Arguments) -> Result<(Vec<Self>, Vec<String>), String> {
        let can_fan_out = arguments.hub || arguments.broadcast;
        let mut notes = Vec::new();
        if arguments.client.proxy.is_some() {
            notes.push("through a proxy: its time is in every figure".to_owned());
        }
        let tests = match arguments.test_type {
            TestType::All => {
                notes.push("soak is left out of --test-type all: it wants hours".to_owned());
                let mut tests = vec![TestType::Throughput, TestType::Storm, TestType::Sustained];
                if can_fan_out {
                    tests.push(TestType::Fanout);
                } else {
                    notes.push("fanout is left out: it wants --hub or --broadcast".to_owned());
                }
                tests.push(TestType::SlowReader);
                tests
            }
            TestType::Fanout if !can_fan_out => {
                return Err("a fan-out wants --hub, or --broadcast for a server that sends to all".to_owned());
            }
            one => vec![one],
        };
        Ok((tests.into_iter().map(|test_type| Self::of(test_type, arguments)).collect(), notes))
    }

    fn of(test_type: TestType, arguments: &Arguments) -> Self {
        let (connections, duration, rate_of_one) = match test_type {
            TestType::Throughput | TestType::All => (8, 10, None),
            TestType::Storm => (1_000, 60, None),
            TestType::Sustained => (100, 30, Some(10.0)),
            TestType::Fanout => (100, 10, None),
            TestType::Soak => (100, 3_600, Some(1.0)),
            TestType::SlowReader => (20, 20, Some(10.0)),
        };
        let connections = arguments.connections.unwrap_or(connections);
        let default = match test_type {
            // One sends, and all the others are asked to keep up.
            TestType::Fanout => Some(10.0),
            _ => rate_of_one.map(|rate| rate * f64::from(connections)),
        };
        let rate = arguments.rate.or(default);
        let most = match (rate, test_type) {
            (Some(_), _) => MOST_BEHIND,
            (None, TestType::Throughput) => ENOUGH,
            (None, _) => 1,
        };
        let held = (MOST_HELD / arguments.size).max(1);
        let by_messages = arguments.messages.is_some() && arguments.duration.is_none();
        let is_halved = matches!(test_type, TestType::Soak | TestType::SlowReader);
        Self {
            test_type,
            connections,
            messages: arguments.messages,
            // Halves are halves of a time.
            duration: (!by_messages || is_halved)
                .then(|| arguments.duration.unwrap_or(Duration::from_secs(duration))),
            rate,
            in_flight: arguments.in_flight.map_or(most.min(held), |in_flight| in_flight as usize),
            size: arguments.size,
            warm_up: arguments.warm_up,
            timeout: arguments.timeout,
            connecting: arguments.connecting,
            slow_readers: arguments.slow_readers,
        }
    }

    /// Whether the second half is held against the first.
    pub(super) const fn is_halved(&self) -> bool {
        matches!(self.test_type, TestType::Soak | TestType::SlowReader)
    }

    /// How many messages connection `number` measures.
    pub(super) fn quota(&self, number: u32) -> u64 {
        let connections = u64::from(self.connections);
        self.messages
            .map_or(u64::MAX, |all| all / connections + u64::from(u64::from(number) < all % connections))
    }

    /// How latencies of this test are to be read.
    pub(super) fn model(&self) -> String {
        match (self.test_type, self.rate) {
            (TestType::Storm, Some(rate)) => {
                format!("open: {rate} attempts a second by a schedule; times count from the scheduled moment")
            }
            (TestType::Storm, None) => {
                format!("closed: {} attempts at a time, the next when one ended", self.connecting)
            }
            (_, Some(rate)) => format!(
                "open: {rate} messages a second by a schedule. Latency counts from the scheduled moment: a stall shows \
                 in all that it delays"
            ),
            (_, None) if self.in_flight == 1 => {
                "closed: each connection sends the next message when the answer \
                 came. A stall shows in one message of each; --rate measures latency under load"
                    .to_owned()
            }
            (_, None) => format!(
                "closed: each connection keeps {} messages under way, whose wait for each other is in the latency; \
                 --rate measures it under load",
                self.in_flight
            ),
        }
    }
}

/// When things happen, once all connections are open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) start: Instant,
    /// The warm-up ends here.
    pub(super) measure: Instant,
    /// Sending ends here, unless the messages are the limit.
    pub(super) end: Option<Instant>,
}

impl Times {
    pub(super) fn new(plan: &Plan) -> Self {
        let start = Instant::now();
        let measure = start + plan.warm_up;
        Self { start, measure, end: plan.duration.map(|duration| measure + duration) }
    }

    /// Where the second half begins.
    pub(super) fn half(&self) -> Option<Instant> {
        self.end.map(|end| self.measure + (end - self.measure) / 2)
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| now >= end)
    }
}

/// The most messages of a connection without an answer in the open model: more wait for their turn, and the report says
/// how long.
const MOST_BEHIND: usize = 1_024;

/// Messages under way that keep a connection busy.
const ENOUGH: usize = 32;

/// The most bytes of them.
const MOST_HELD: usize = 4 << 20;
