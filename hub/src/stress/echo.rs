//! A connection whose messages come back: sends what is due, and looks at every answer.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use taut::proto::{CloseCode, CloseFrame};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::pace::Schedule;
use super::payload::Came;
use super::plan::Times;
use super::run::{Pulses, Ready, Run};
use super::target::{Socket, closed, is_close, kind};
use super::tracker::{Answer, Sent, Tracker};

/// Starts the connections of a test; gives what wakes them.
pub(super) fn spawn(run: &Arc<Run>, tasks: &mut JoinSet<()>, ready: &Ready) -> Pulses {
    let start = |number| {
        let pulse = Arc::new(Notify::new());
        tasks.spawn(work(run.clone(), number, pulse.clone(), ready.clone()));
        pulse
    };
    (0..run.plan.connections).map(start).collect()
}

async fn work(run: Arc<Run>, number: u32, pulse: Arc<Notify>, ready: Ready) {
    let mut socket = run.connect(number).await;
    let _ = ready.send(socket.is_some()).await;
    drop(ready);
    let idle = async {
        // Pings are answered while the others connect. What ends here is seen by the first use.
        while let Some(socket) = &mut socket
            && let Ok(Some(_)) = socket.recv().await
        {}
    };
    let Some(times) = run.times(idle).await else {
        end(&run, socket, drop).await;
        return;
    };
    let schedule = run.schedule(times, run.plan.connections as usize);
    let (left, is_stopped) = (run.plan.quota(number), run.stop.clone());
    let tracker = Tracker::default();
    let mut worker = Worker { run: &run, number, pulse, times, schedule, tracker, left, stop: is_stopped };
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(open) = &mut socket {
            let Err((kind, example)) = worker.converse(open).await else { break };
            run.ledger.fail(number, &kind, || example);
            worker.give_up_all();
            run.ledger.closed();
            socket = None;
        }
        if worker.is_over(Instant::now()) {
            break;
        }
        worker.pause(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        if worker.is_over(Instant::now()) {
            break;
        }
        socket = run.connect(number).await;
        if socket.is_some() {
            pause = FIRST_PAUSE;
            run.ledger.shard(number).count.reconnected += 1;
        }
    }
    worker.account();
    end(&run, socket, |came| worker.take(came)).await;
}

/// Closes, and does not insist: the test is over. What still comes may be what came before.
pub(super) async fn end(run: &Run, socket: Option<Socket>, mut take: impl FnMut(Came)) {
    let Some(mut socket) = socket else { return };
    socket.start_close(CloseFrame::new(CloseCode::NORMAL, "").ok());
    let rest = async {
        while let Ok(Some(message)) = socket.recv().await {
            take(run.payloads.read(&message));
        }
    };
    let _ = tokio::time::timeout(CLOSING, rest).await;
    run.ledger.closed();
}

struct Worker<'a> {
    run: &'a Run,
    number: u32,
    pulse: Arc<Notify>,
    times: Times,
    schedule: Option<Schedule>,
    tracker: Tracker,
    /// How many messages are still to be measured.
    left: u64,
    stop: watch::Receiver<bool>,
}

impl Worker<'_> {
    /// Sends and receives until all is done; an error if the connection ends before.
    async fn converse(&mut self, socket: &mut Socket) -> Result<(), (String, String)> {
        let timeout = self.run.plan.timeout;
        let mut tick = interval((timeout / 2).clamp(Duration::from_millis(1), LONGEST_TICK));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (pulse, mut stop) = (self.pulse.clone(), self.stop.clone());
        let mut until = None;
        loop {
            let now = Instant::now();
            let is_over = self.is_over(now);
            if is_over {
                let is_stopped = *stop.borrow();
                if until.is_none() && !is_stopped {
                    // What was due before the end, and for which this task woke too late.
                    self.send_due(socket, now)?;
                }
                let patience = if is_stopped { timeout.min(EARLY_PATIENCE) } else { timeout };
                if self.tracker.waiting() == 0 || now >= *until.get_or_insert(now + patience) {
                    self.give_up_all();
                    return Ok(());
                }
            } else {
                self.send_due(socket, now)?;
            }
            tokio::select! {
                came = socket.recv() => match came {
                    // What follows is the end, which has its status.
                    Ok(Some(message)) if is_close(&message) => {}
                    Ok(Some(message)) => self.take(self.run.payloads.read(&message)),
                    Ok(None) => return Err(closed(socket)),
                    Err(error) => return Err((kind(&error), error.to_string())),
                },
                () = pulse.notified(), if self.schedule.is_some() && !is_over => {}
                _ = tick.tick() => {
                    let lost = self.tracker.expire(Instant::now(), timeout);
                    self.run.ledger.shard(self.number).count.lost += lost;
                }
                _ = stop.changed(), if !*self.stop.borrow() => {}
            }
        }
    }

    /// Queues what is due; receiving writes it.
    fn send_due(&mut self, socket: &mut Socket, now: Instant) -> Result<(), (String, String)> {
        let plan = &self.run.plan;
        while self.left > 0 && self.tracker.has_room(plan.in_flight) {
            let number = self.tracker.next();
            let due = self.schedule.map_or(now, |schedule| schedule.due(self.number, number));
            if due > now || self.times.is_over(due) {
                break;
            }
            let message = self.run.payloads.echo(self.number, number);
            let left = Instant::now();
            socket.feed(message).map_err(|error| (kind(&error), error.to_string()))?;
            self.tracker.sent(Sent { due, left });
            if due >= self.times.measure {
                self.left -= 1;
                let lateness = self.schedule.map(|_| left - due);
                self.run.ledger.shard(self.number).left(plan.size, lateness);
            }
        }
        Ok(())
    }

    fn take(&mut self, came: Came) {
        let now = Instant::now();
        let mut shard = self.run.ledger.shard(self.number);
        let answer = match came {
            Came::Payload { from, number } if from == self.number => self.tracker.answer(number),
            Came::Payload { .. } | Came::Corrupt => Answer::Unknown,
            Came::Refused(code) => {
                drop(shard);
                let kind = format!("the hub answered: {code}");
                return self.run.ledger.fail(self.number, &kind, String::new);
            }
            Came::Other => return,
        };
        let sent = match answer {
            Answer::InOrder(sent) => sent,
            Answer::Reordered(sent) => {
                shard.count.reordered += 1;
                sent
            }
            Answer::Duplicate => return shard.count.duplicate += 1,
            Answer::Late => return shard.count.late += 1,
            Answer::Unknown => return shard.count.corrupt += 1,
        };
        if sent.due < self.times.measure {
            return;
        }
        let is_second = self.times.half().is_some_and(|half| sent.due >= half);
        shard.came(now - sent.due, self.run.plan.size, now, is_second);
        if self.schedule.is_some() {
            super::ledger::record(&mut shard.service, now - sent.left);
        }
    }

    /// What waits gets no answer any more.
    fn give_up_all(&mut self) {
        let count = self.tracker.abandon();
        let mut shard = self.run.ledger.shard(self.number);
        if *self.stop.borrow() {
            shard.count.unanswered += count;
        } else {
            shard.count.lost += count;
        }
    }

    /// Whether nothing more is to be sent.
    fn is_over(&self, now: Instant) -> bool {
        self.left == 0 || self.times.is_over(now) || *self.stop.borrow()
    }

    /// Counts what was due, and is not sent.
    fn account(&self) {
        let Some(schedule) = self.schedule else { return };
        let now = Instant::now();
        let end = self.times.end.map_or(now, |end| end.min(now));
        let mut number = self.tracker.next();
        let mut missed = 0;
        while missed < self.left && schedule.due(self.number, number) < end {
            missed += u64::from(schedule.due(self.number, number) >= self.times.measure);
            number += 1;
        }
        self.run.ledger.shard(self.number).count.never_sent += missed;
    }

    async fn pause(&mut self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// Before the connection is opened again; then twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often it is looked for what is lost.
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// How long answers are waited for after an early end.
const EARLY_PATIENCE: Duration = Duration::from_secs(1);

const CLOSING: Duration = Duration::from_secs(2);
