//! One direction of a connection in memory: what waits in it, what is under way, and how it ends.

#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use core::mem;
use core::task::{Context, Waker};
use core::time::Duration;
use std::io;

use ::tokio::time::Instant;

use super::link::{Cut, Direction, Link};
use super::turns::{Chance, Turn, Turns};

/// One direction. As a socket does, it keeps one waker for reading and one for writing: the latest. Nothing but that is
/// woken, and only when something happens, so that a wake-up that a caller loses is lost here too.
pub(super) struct Pipe {
    link: Link,
    chance: Chance,
    /// It is cut behind so many bytes.
    cut: Option<(u64, Cut)>,
    /// What was not read.
    bytes: VecDeque<u8>,
    /// Its last part, that is under way: how many bytes arrive when.
    flight: VecDeque<(usize, Instant)>,
    in_flight: usize,
    /// When the line is free for more, and when the last of what is under way arrives.
    free: Option<Instant>,
    latest: Option<Instant>,
    /// How many bytes leave before the next stall.
    stall: u64,
    /// What the reader finds behind the bytes, and when it arrives.
    end: Option<End>,
    end_at: Option<Instant>,
    /// What the writer has not flushed.
    held: VecDeque<u8>,
    /// The reading end is gone.
    gone: bool,
    /// After so many more bytes, writes fail.
    failure: Option<(usize, io::ErrorKind)>,
    /// The connection was cut: with what writes fail.
    broken: Option<io::ErrorKind>,
    /// Nothing arrives, and nobody hears of an end.
    stalled: bool,
    pub(super) reading: Turns,
    pub(super) writing: Turns,
    wakers: [Option<Waker>; 2],
    /// To be woken, and to be dropped, without the lock.
    rung: [Option<Waker>; 2],
    stale: [Option<Waker>; 2],
    /// How many bytes entered, and how many writes took some.
    pub(super) written: u64,
    pub(super) writes: usize,
}

/// How a direction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Eof,
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Reader,
    Writer,
}

/// What the reader gets.
pub(super) enum Reading {
    /// So many bytes may be taken.
    Bytes(usize),
    End(End),
    /// Nothing yet; it was told whom to wake.
    Nothing,
    /// Nothing before that.
    Until(Instant),
    /// It has to be woken later.
    Later,
}

/// What the writer gets.
pub(super) enum Writing {
    Bytes(usize),
    Failed(io::ErrorKind),
    /// It has to wait; it was told whom to wake.
    Nothing,
    /// It has to be woken later.
    Later,
    /// What is held has to be flushed first.
    Full,
    /// Nothing is held.
    Flushed,
}

impl Pipe {
    pub(super) fn new(link: &Link, direction: Direction) -> Self {
        let mut chance = Chance::new(link.seed.wrapping_mul(2).wrapping_add(direction as u64));
        let mut turns = || link.pieces.map_or_else(Turns::free, |most| Turns::random(chance.next(), most));
        let (reading, writing) = (turns(), turns());
        let stall = link.stalls.map_or(0, |(every, _)| chance.up_to(every.saturating_mul(2)));
        Self {
            link: *link,
            chance,
            cut: link.cuts[direction as usize],
            bytes: VecDeque::new(),
            flight: VecDeque::new(),
            in_flight: 0,
            free: None,
            latest: None,
            stall,
            end: None,
            end_at: None,
            held: VecDeque::new(),
            gone: false,
            failure: None,
            broken: None,
            stalled: false,
            reading,
            writing,
            wakers: [None, None],
            rung: [None, None],
            stale: [None, None],
            written: 0,
            writes: 0,
        }
    }

    /// What a read of at most so many bytes finds.
    pub(super) fn read(&mut self, most: usize, cx: &Context<'_>) -> Reading {
        if self.reading.get() == Turn::Wait {
            self.reading.advance();
            self.wait(Side::Reader, cx);
            return Reading::Later;
        }
        let arrived = self.arrived();
        if arrived == 0 || self.stalled {
            if !self.stalled
                && self.in_flight == 0
                && let Some(end) = self.end
                && self.end_at.is_none_or(|at| at <= Instant::now())
            {
                return Reading::End(end);
            }
            self.wait(Side::Reader, cx);
            let next = self.flight.front().map_or(self.end_at, |&(_, at)| Some(at));
            return next.filter(|_| !self.stalled).map_or(Reading::Nothing, Reading::Until);
        }
        let Turn::Bytes(turn) = self.reading.get() else { return Reading::Later };
        self.reading.advance();
        Reading::Bytes(turn.min(most).min(arrived))
    }

    /// Takes bytes that have arrived.
    pub(super) fn take(&mut self, count: usize, into: impl FnMut(&[u8])) {
        each_slice(&self.bytes, count, into);
        self.bytes.drain(..count);
        self.ring(Side::Writer);
    }

    /// How many bytes a writer may enter, of so many; or hold, if it is `buffered`.
    pub(super) fn write(&mut self, wanted: usize, buffered: bool, cx: &Context<'_>) -> Writing {
        let Turn::Bytes(mut most) = self.writing.get() else {
            self.writing.advance();
            self.wait(Side::Writer, cx);
            return Writing::Later;
        };
        if let Some(kind) = self.refusal() {
            return Writing::Failed(kind);
        }
        match self.failure {
            Some((0, kind)) => return Writing::Failed(kind),
            Some((left, _)) => most = most.min(left),
            None => {}
        }
        let waiting = if buffered { self.held.len() } else { self.bytes.len() };
        most = most.min(self.link.room.saturating_sub(waiting)).min(wanted);
        if !buffered {
            most = most.min(self.before_cut());
        }
        if most == 0 && wanted > 0 {
            if buffered {
                return Writing::Full;
            }
            self.wait(Side::Writer, cx);
            return Writing::Nothing;
        }
        self.writing.advance();
        self.writes += 1;
        if let Some((left, _)) = &mut self.failure {
            *left -= most;
        }
        Writing::Bytes(most)
    }

    /// Holds bytes until a flush.
    pub(super) fn hold(&mut self, bytes: &[u8]) {
        self.held.extend(bytes);
    }

    /// Moves some of what is held.
    pub(super) fn flush(&mut self, cx: &Context<'_>) -> Writing {
        if self.held.is_empty() {
            return Writing::Flushed;
        }
        let Turn::Bytes(turn) = self.writing.get() else {
            self.writing.advance();
            self.wait(Side::Writer, cx);
            return Writing::Later;
        };
        if let Some(kind) = self.refusal() {
            return Writing::Failed(kind);
        }
        let room = self.link.room.saturating_sub(self.bytes.len());
        let count = turn.min(self.held.len()).min(room).min(self.before_cut());
        if count == 0 && turn > 0 {
            self.wait(Side::Writer, cx);
            return Writing::Nothing;
        }
        self.writing.advance();
        let mut held = mem::take(&mut self.held);
        each_slice(&held, count, |bytes| self.enter(bytes));
        held.drain(..count);
        self.held = held;
        Writing::Bytes(count)
    }

    /// A turn of the writer without bytes.
    pub(super) fn turn(&mut self, cx: &Context<'_>) -> bool {
        let waits = self.writing.get() == Turn::Wait;
        self.writing.advance();
        if waits {
            self.wait(Side::Writer, cx);
        }
        waits
    }

    /// Bytes begin their way.
    pub(super) fn enter(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let mut len = bytes.len();
        self.written += len as u64;
        if !self.link.is_instant() {
            self.in_flight += len;
            while len > 0 {
                let piece = len.min(SEGMENT);
                len -= piece;
                let at = self.arrival(piece);
                self.flight.push_back((piece, at));
            }
        }
        self.ring(Side::Reader);
    }

    /// How the connection is to be cut, once, if so many bytes were written.
    pub(super) fn due(&mut self) -> Option<Cut> {
        let (_, cut) = self.cut.take_if(|(bytes, _)| *bytes == self.written)?;
        Some(cut)
    }

    /// The reader finds this behind what was written.
    pub(super) fn end(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            if !self.link.is_instant() {
                self.end_at = Some(self.arrival(0));
            }
        }
        self.ring(Side::Reader);
    }

    /// Writes fail after so many more bytes.
    pub(super) fn refuse(&mut self, count: usize, kind: io::ErrorKind) {
        self.failure = Some((count, kind));
        self.ring(Side::Writer);
    }

    /// Writes fail at once.
    pub(super) fn break_off(&mut self, kind: io::ErrorKind) {
        self.stalled = false;
        self.broken = Some(kind);
        self.ring(Side::Writer);
    }

    /// An error comes behind what has arrived, or also behind what is under way.
    pub(super) fn reset(&mut self, keeps_flight: bool) {
        if !keeps_flight {
            let arrived = self.arrived();
            self.bytes.truncate(arrived);
            self.flight.clear();
            self.in_flight = 0;
        }
        self.end = Some(End::Reset);
        self.end_at = self.flight.back().map(|&(_, at)| at);
        self.ring(Side::Reader);
        self.break_off(io::ErrorKind::ConnectionReset);
    }

    /// Nothing arrives until it goes on.
    pub(super) fn stall(&mut self, on: bool) {
        self.stalled = on;
        self.ring(Side::Reader);
        self.ring(Side::Writer);
    }

    /// The reading end was dropped.
    pub(super) fn abandon(&mut self) {
        self.gone = true;
        self.stale[Side::Reader as usize] = self.wakers[Side::Reader as usize].take();
        self.ring(Side::Writer);
    }

    /// The writing end was dropped.
    pub(super) fn forget_writer(&mut self) {
        self.stale[Side::Writer as usize] = self.wakers[Side::Writer as usize].take();
    }

    pub(super) const fn is_gone(&self) -> bool {
        self.gone || self.broken.is_some()
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes can be read.
    pub(super) fn arrived(&mut self) -> usize {
        if !self.flight.is_empty() {
            let now = Instant::now();
            while let Some(&(count, at)) = self.flight.front()
                && at <= now
            {
                self.in_flight -= count;
                self.flight.pop_front();
            }
        }
        self.bytes.len() - self.in_flight
    }

    /// Wakes who waits on that side, once the lock is gone.
    pub(super) fn ring(&mut self, side: Side) {
        if let Some(waker) = self.wakers[side as usize].take() {
            self.rung[side as usize] = Some(waker);
        }
    }

    /// Remembers whom to wake.
    pub(super) fn wait(&mut self, side: Side, cx: &Context<'_>) {
        self.stale[side as usize] = self.wakers[side as usize].replace(cx.waker().clone());
    }

    /// Who is to be woken, and which wakers are to be dropped.
    pub(super) fn take_wakers(&mut self) -> [[Option<Waker>; 2]; 2] {
        [mem::take(&mut self.rung), mem::take(&mut self.stale)]
    }

    /// Why nothing can be written.
    fn refusal(&self) -> Option<io::ErrorKind> {
        let ended = self.end.is_some() || (self.gone && !self.stalled);
        self.broken.or(ended.then_some(io::ErrorKind::BrokenPipe))
    }

    /// How many bytes enter before the cut.
    fn before_cut(&self) -> usize {
        let left = self.cut.map_or(u64::MAX, |(bytes, _)| bytes - self.written);
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// When so many bytes arrive that leave as soon as the line is free.
    fn arrival(&mut self, len: usize) -> Instant {
        let now = Instant::now();
        let mut free = self.free.map_or(now, |free| free.max(now));
        if self.link.bandwidth < u64::MAX {
            free += Duration::from_secs_f64(len as f64 / self.link.bandwidth as f64);
        }
        if let Some((every, most)) = self.link.stalls {
            self.stall = self.stall.saturating_sub(len as u64);
            if self.stall == 0 {
                self.stall = self.chance.up_to(every.saturating_mul(2));
                free += self.chance.time(most);
            }
        }
        self.free = Some(free);
        let at = free + self.link.latency + self.chance.time(self.link.jitter);
        let at = self.latest.map_or(at, |latest| latest.max(at));
        self.latest = Some(at);
        at
    }
}

/// The first bytes of a queue, in one or two pieces.
fn each_slice(bytes: &VecDeque<u8>, count: usize, mut each: impl FnMut(&[u8])) {
    let (front, back) = bytes.as_slices();
    let front = &front[..count.min(front.len())];
    each(front);
    each(&back[..count - front.len()]);
}

/// What leaves at once where bytes take their time, as on Ethernet.
const SEGMENT: usize = 1460;
