//! A fan-out: one connection sends by the schedule, all others have to receive every message once, in order.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::echo::end;
use super::pace::Schedule;
use super::payload::Came;
use super::plan::Times;
use super::run::{Pulses, Ready, Run};
use super::target::{Socket, closed, is_close, kind};

/// Starts the connections of a test; gives what wakes the one that sends.
pub(super) fn spawn(run: &Arc<Run>, tasks: &mut JoinSet<()>, ready: &Ready) -> Pulses {
    let (sent, all_sent) = watch::channel(None);
    for number in 0..run.plan.connections {
        tasks.spawn(receive(run.clone(), number, all_sent.clone(), ready.clone()));
    }
    let pulse = Arc::new(Notify::new());
    tasks.spawn(publish(run.clone(), pulse.clone(), sent, ready.clone()));
    vec![pulse]
}

/// Which messages were sent: `first` is the first that is measured.
#[derive(Clone, Copy, Debug)]
struct Sent {
    first: u64,
    end: u64,
}

async fn publish(run: Arc<Run>, pulse: Arc<Notify>, sent: watch::Sender<Option<Sent>>, ready: Ready) {
    let number = run.plan.connections;
    let mut socket = enter(&run, number).await;
    let _ = ready.send(socket.is_some()).await;
    drop(ready);
    let times = run.times(idle(&run, socket.as_mut(), drop)).await;
    let schedule = times.and_then(|times| Some((times, run.schedule(times, 1)?)));
    let Some((times, schedule)) = schedule else { return end(&run, socket, drop).await };
    let first = (0..).find(|&number| schedule.due(0, number) >= times.measure).unwrap_or_default();
    let mut next = 0;
    loop {
        let limit = run.plan.messages.map_or(u64::MAX, |messages| first + messages);
        let is_over = |now: Instant, next| next >= limit || times.is_over(now) || *run.stop.borrow();
        if is_over(Instant::now(), next) {
            break;
        }
        let Some(open) = &mut socket else {
            sleep(PAUSE).await;
            socket = enter(&run, number).await;
            continue;
        };
        while schedule.due(0, next) <= Instant::now() && !is_over(schedule.due(0, next), next) {
            if let Err(error) = open.feed(run.payloads.publish(number, next)) {
                run.ledger.fail(number, &kind(&error), || error.to_string());
                break;
            }
            if next >= first {
                run.ledger.shard(number).left(run.plan.size, Some(schedule.due(0, next).elapsed()));
            }
            next += 1;
        }
        let lost = tokio::select! {
            came = open.recv() => ended(&run, number, open, came, |came| refused(&run, number, &came)),
            () = pulse.notified() => false,
            () = sleep(PAUSE) => false,
        };
        if lost {
            run.ledger.closed();
            socket = None;
        }
    }
    if let Some(open) = &mut socket {
        let _ = timeout(run.plan.timeout, open.flush()).await;
    }
    let now = Instant::now();
    let until = times.end.map_or(now, |end| end.min(now));
    let due = (next..).take_while(|&number| schedule.due(0, number) < until);
    let due = due.filter(|&number| number >= first).count() as u64;
    let left =
        run.plan.messages.map_or(u64::MAX, |messages| (first + messages).saturating_sub(next.max(first)));
    run.ledger.shard(number).count.never_sent += due.min(left);
    sent.send_replace(Some(Sent { first, end: next }));
    // Acknowledgements and refusals still come.
    let still = async {
        while let Some(open) = &mut socket
            && let Ok(Some(message)) = open.recv().await
        {
            refused(&run, number, &run.payloads.read(&message));
        }
    };
    let _ = timeout(LAST_ANSWERS, still).await;
    end(&run, socket, drop).await;
}

async fn receive(run: Arc<Run>, number: u32, mut all_sent: watch::Receiver<Option<Sent>>, ready: Ready) {
    let mut socket = enter(&run, number).await;
    let _ = ready.send(socket.is_some()).await;
    drop(ready);
    // The one that sends may hear of the start before this one does.
    let mut early = Vec::new();
    let times = run.times(idle(&run, socket.as_mut(), |came| early.push(came))).await;
    let schedule = times.and_then(|times| Some((times, run.schedule(times, 1)?)));
    let Some((times, schedule)) = schedule else { return end(&run, socket, drop).await };
    let mut subscriber =
        Subscriber { run: &run, number, times, schedule, seen: Seen::default(), measured: 0 };
    early.into_iter().for_each(|came| subscriber.take(came));
    let mut until = None;
    loop {
        let now = Instant::now();
        let sent = *all_sent.borrow();
        if let Some(sent) = sent {
            let patience =
                if *run.stop.borrow() { EARLY_PATIENCE.min(run.plan.timeout) } else { run.plan.timeout };
            let until = *until.get_or_insert(now + patience);
            if subscriber.measured >= sent.end.saturating_sub(sent.first) || now >= until {
                subscriber.account(sent);
                break;
            }
        } else if *run.stop.borrow() && all_sent.has_changed().is_err() {
            break;
        }
        let Some(open) = &mut socket else {
            sleep(PAUSE).await;
            if !*run.stop.borrow() {
                socket = enter(&run, number).await;
                run.ledger.shard(number).count.reconnected += u64::from(socket.is_some());
            }
            continue;
        };
        let lost = tokio::select! {
            came = open.recv() => ended(&run, number, open, came, |came| subscriber.take(came)),
            _ = all_sent.changed(), if sent.is_none() => false,
            () = sleep(PAUSE) => false,
        };
        if lost {
            run.ledger.closed();
            socket = None;
        }
    }
    end(&run, socket, |came| subscriber.take(came)).await;
}

/// Connects, and joins the room if there is one.
async fn enter(run: &Run, number: u32) -> Option<Socket> {
    let mut socket = run.connect(number).await?;
    let Some(join) = run.payloads.join() else { return Some(socket) };
    let joined = async {
        if let Err(error) = socket.send(join).await {
            return Err((kind(&error), error.to_string()));
        }
        loop {
            match socket.recv().await {
                Ok(Some(message)) if run.payloads.is_joined(&message) => return Ok(()),
                Ok(Some(message)) => {
                    if let Came::Refused(code) = run.payloads.read(&message) {
                        return Err((format!("the hub answered: {code}"), "the room was not joined".into()));
                    }
                }
                Ok(None) => return Err(closed(&socket)),
                Err(error) => return Err((kind(&error), error.to_string())),
            }
        }
    };
    let late = || Err(("the room was not joined in time".to_owned(), String::new()));
    let joined = timeout(run.plan.timeout, joined).await.unwrap_or_else(|_| late());
    if let Err((kind, example)) = joined {
        run.ledger.fail(number, &kind, || example);
        run.ledger.closed();
        return None;
    }
    Some(socket)
}

/// Answers pings, and hands over messages of this run, until it is dropped.
async fn idle(run: &Run, socket: Option<&mut Socket>, mut take: impl FnMut(Came)) {
    let Some(socket) = socket else { return };
    while let Ok(Some(message)) = socket.recv().await {
        let came = run.payloads.read(&message);
        if matches!(came, Came::Payload { .. }) {
            take(came);
        }
    }
}

/// Hands over what came; whether the connection ended instead.
fn ended(
    run: &Run,
    number: u32,
    socket: &Socket,
    came: Result<Option<taut::proto::Message>, taut::Error>,
    take: impl FnOnce(Came),
) -> bool {
    let (kind, example) = match came {
        Ok(Some(message)) if is_close(&message) => return false,
        Ok(Some(message)) => {
            take(run.payloads.read(&message));
            return false;
        }
        Ok(None) => closed(socket),
        Err(error) => (kind(&error), error.to_string()),
    };
    run.ledger.fail(number, &kind, || example);
    true
}

fn refused(run: &Run, number: u32, came: &Came) {
    if let Came::Refused(code) = came {
        run.ledger.fail(number, &format!("the hub answered: {code}"), String::new);
    }
}

struct Subscriber<'a> {
    run: &'a Run,
    number: u32,
    times: Times,
    schedule: Schedule,
    seen: Seen,
    /// How many of those that are measured came.
    measured: u64,
}

impl Subscriber<'_> {
    fn take(&mut self, came: Came) {
        let now = Instant::now();
        let number = match came {
            Came::Payload { from, number } if from == self.run.plan.connections => number,
            Came::Payload { .. } | Came::Corrupt => {
                return self.run.ledger.shard(self.number).count.corrupt += 1;
            }
            Came::Refused(_) => return refused(self.run, self.number, &came),
            Came::Other => return,
        };
        let mut shard = self.run.ledger.shard(self.number);
        match self.seen.see(number) {
            Seeing::InOrder => {}
            Seeing::Reordered => shard.count.reordered += 1,
            Seeing::Duplicate => return shard.count.duplicate += 1,
            Seeing::TooOld => return shard.count.late += 1,
        }
        let due = self.schedule.due(0, number);
        if due >= self.times.measure {
            self.measured += 1;
            shard.came(now.saturating_duration_since(due), self.run.plan.size, now, false);
        }
    }

    fn account(&self, sent: Sent) {
        let missing = sent.end.saturating_sub(sent.first).saturating_sub(self.measured);
        let mut shard = self.run.ledger.shard(self.number);
        if *self.run.stop.borrow() {
            shard.count.unanswered += missing;
        } else {
            shard.count.lost += missing;
        }
    }
}

/// Which numbers came, of the last [`Seen::LENGTH`].
#[derive(Debug, Default)]
struct Seen {
    /// The highest, and one.
    next: u64,
    bits: [u64; (Self::LENGTH / 64) as usize],
}

#[derive(Debug, PartialEq, Eq)]
enum Seeing {
    InOrder,
    Reordered,
    Duplicate,
    /// So far behind that nobody knows whether it came before.
    TooOld,
}

impl Seen {
    const LENGTH: u64 = 1_024;

    fn see(&mut self, number: u64) -> Seeing {
        let place = |number: u64| ((number % Self::LENGTH / 64) as usize, 1_u64 << (number % 64));
        let (word, bit) = place(number);
        if number >= self.next {
            let passed = (number - self.next).min(Self::LENGTH);
            for skipped in number - passed..number {
                let (word, bit) = place(skipped);
                self.bits[word] &= !bit;
            }
            self.bits[word] |= bit;
            self.next = number + 1;
            return Seeing::InOrder;
        }
        if self.next - number > Self::LENGTH {
            return Seeing::TooOld;
        }
        let came_before = self.bits[word] & bit != 0;
        self.bits[word] |= bit;
        if came_before { Seeing::Duplicate } else { Seeing::Reordered }
    }
}

/// Before a connection is opened again; and how often it is looked whether all is over.
const PAUSE: Duration = Duration::from_millis(250);

/// How long the rest is waited for after an early end.
const EARLY_PATIENCE: Duration = Duration::from_secs(1);

/// How long the one that sent stays for answers.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_twice_or_out_of_order_is_seen_around_the_ring() {
        let mut seen = Seen::default();
        for number in 0..3_000 {
            if number % 100 != 7 {
                assert_eq!(seen.see(number), Seeing::InOrder);
            }
        }
        assert_eq!(seen.see(2_907), Seeing::Reordered);
        assert_eq!(seen.see(2_907), Seeing::Duplicate);
        assert_eq!(seen.see(2_999), Seeing::Duplicate);
        assert_eq!(seen.see(1_976), Seeing::Duplicate);
        assert_eq!(seen.see(1_975), Seeing::TooOld);
        assert_eq!(seen.see(10_000), Seeing::InOrder);
        assert_eq!(seen.see(9_999), Seeing::Reordered);
    }
}
