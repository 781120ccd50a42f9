//! What was sent and received, and how long a message takes there and back.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::tap::{Direction, Wire};

/// Counts of a conversation.
#[derive(Debug, Default)]
pub(super) struct Stats {
    connections: u64,
    since: Option<Instant>,
    sent: Messages,
    received: Messages,
    /// Of connections that ended: frames and bytes, sent and received.
    before: [(u64, u64); 2],
    pings: VecDeque<(Vec<u8>, Instant)>,
    numbered: u64,
    round_trip: Option<Duration>,
}

#[derive(Debug, Default)]
struct Messages {
    messages: u64,
    bytes: u64,
}

impl Messages {
    fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}

impl Stats {
    /// The number of the connection.
    pub(super) fn opened(&mut self) -> u64 {
        self.connections += 1;
        self.since = Some(Instant::now());
        self.pings.clear();
        self.connections
    }

    pub(super) fn ended(&mut self, wire: &Wire) {
        self.before = [self.total(wire, Direction::Sent), self.total(wire, Direction::Received)];
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent.add(bytes);
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.received.add(bytes);
    }

    /// A ping leaves: with this payload, or with a number if that is empty.
    pub(super) fn ping(&mut self, payload: Vec<u8>) -> Vec<u8> {
        self.numbered += 1;
        let payload = if payload.is_empty() { self.numbered.to_string().into_bytes() } else { payload };
        self.pings.truncate(MOST_PINGS - 1);
        self.pings.push_front((payload.clone(), Instant::now()));
        payload
    }

    /// A pong came; after how long, if it answers such a ping.
    pub(super) fn pong(&mut self, payload: &[u8]) -> Option<Duration> {
        let place = self.pings.iter().position(|(sent, _)| sent == payload)?;
        // RFC 6455 §5.5.3: who gets several pings may answer the last alone.
        let mut answered = self.pings.drain(place..);
        self.round_trip = answered.next().map(|(_, sent)| sent.elapsed());
        self.round_trip
    }

    /// For a person.
    pub(super) fn shown(&self, wire: &Wire) -> String {
        let of = |name: &str, messages: &Messages, direction| {
            let (frames, bytes) = self.total(wire, direction);
            format!(
                "{name} {} messages of {} bytes; {frames} frames of {bytes} bytes",
                messages.messages, messages.bytes
            )
        };
        let open = self.since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        let mut shown = format!(
            "connection {}, open for {open:.1} s\n{}\n{}",
            self.connections,
            of("sent    ", &self.sent, Direction::Sent),
            of("received", &self.received, Direction::Received)
        );
        if let Some(time) = self.round_trip {
            shown += &format!("\nround trip {:.3} ms", 1e3 * time.as_secs_f64());
        }
        shown
    }

    fn total(&self, wire: &Wire, direction: Direction) -> (u64, u64) {
        let (frames, bytes) = wire.total(direction);
        let before = self.before[usize::from(direction == Direction::Received)];
        (before.0 + frames, before.1 + bytes)
    }
}

/// How many pings may wait for their pong.
const MOST_PINGS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_answers_its_ping_and_those_before() {
        let mut stats = Stats::default();
        let first = stats.ping(Vec::new());
        assert_eq!(stats.ping(b"a".to_vec()), b"a");
        let last = stats.ping(Vec::new());
        assert_ne!(first, last);
        assert_eq!(stats.pong(b"b"), None);
        assert!(stats.pong(b"a").is_some());
        assert_eq!((stats.pong(&first), stats.pong(b"a")), (None, None));
        assert!(stats.pong(&last).is_some());
        for _ in 0..2 * MOST_PINGS {
            stats.ping(Vec::new());
        }
        assert_eq!(stats.pings.len(), MOST_PINGS);
    }
}
