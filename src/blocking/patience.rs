//! How long a peer may leave a message undone, and how many control frames it may send: looked at between reads.

#![forbid(unsafe_code)]

use core::mem;
use core::time::Duration;
use std::time::Instant;

use crate::options::Pace;
use crate::proto::{Connection, Event, ProtocolError};

/// What the peer left undone so far.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// How long reads waited for the rest of a message.
    waited: Duration,
    /// A message was given since the last read.
    given: bool,
    /// Control frames since they were last looked at, and when that was.
    controls: u32,
    controls_since: Option<Instant>,
}

impl Patience {
    /// Counts an event; too many control frames fail the connection.
    pub(super) fn note_event(&mut self, event: &Event, pace: &Pace, connection: &mut Connection) {
        match event {
            Event::Chunk(chunk) => self.given |= chunk.last,
            Event::Message(message) if message.is_data() => self.given = true,
            Event::Message(_) => self.note_control(pace.max_control_rate, connection),
        }
    }

    fn note_control(&mut self, max: u32, connection: &mut Connection) {
        if self.controls >= max {
            self.controls = 0;
            let since = self.controls_since.replace(Instant::now());
            if since.is_some_and(|since| since.elapsed() < Duration::from_secs(1)) {
                connection.fail(ProtocolError::TooManyControlFrames { max });
            }
        }
        self.controls = self.controls.saturating_add(1);
    }

    /// Reads; a peer that has taken too long for its message fails the connection.
    pub(super) fn wait<T>(
        &mut self,
        pace: &Pace,
        connection: &mut Connection,
        read: impl FnOnce(&mut Connection) -> T,
    ) -> T {
        if mem::take(&mut self.given) || connection.unfinished().is_none() {
            self.waited = Duration::ZERO;
        }
        if connection.unfinished().is_none() {
            return read(connection);
        }
        let start = Instant::now();
        let result = read(connection);
        self.waited += start.elapsed();
        let done = connection.unfinished().unwrap_or(0);
        if self.waited > pace.granted(pace.message_timeout, done) {
            connection.fail(ProtocolError::TooSlow);
        }
        result
    }
}
