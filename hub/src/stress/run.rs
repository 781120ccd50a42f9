//! One test from its first connection to its last: what its tasks share, and who waits for them.

#![forbid(unsafe_code)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use super::ledger::{Ledger, Series};
use super::pace::{Schedule, wake};
use super::payload::Payloads;
use super::plan::{Plan, Times};
use super::progress::Progress;
use super::settings::{Arguments, TestType};
use super::target::{Socket, Target, kind};
use super::{echo, fanout, slow, storm};

/// What the tasks of a test share.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) target: Target,
    pub(super) payloads: Payloads,
    pub(super) ledger: Ledger,
    /// Once all connections are open.
    times: watch::Sender<Option<Times>>,
    /// Whether the run is to end early.
    pub(super) stop: watch::Receiver<bool>,
    /// Whether all tasks have ended.
    pub(super) is_over: Arc<AtomicBool>,
    /// Connections whose compression the server did not agree to.
    pub(super) uncompressed: AtomicU32,
    gate: Semaphore,
}

/// What came of a test.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) run: Arc<Run>,
    pub(super) series: Series,
    /// How many connections were open when the test began; in a storm, how many ever were.
    pub(super) opened: u32,
    /// Connecting, up to the start.
    pub(super) connecting: Duration,
    pub(super) times: Times,
    /// When it was stopped, or all was done.
    pub(super) ended: Instant,
    pub(super) is_early: bool,
    /// What this program took of the processors, and in which time.
    pub(super) processor: (Duration, Duration),
    pub(super) slow: Option<slow::Outcome>,
}

impl Run {
    /// Runs a test.
    ///
    /// # Errors
    /// It could not begin.
    pub(super) async fn test(
        plan: Plan,
        arguments: &Arguments,
        stop: watch::Receiver<bool>,
        progress: &mut Progress,
    ) -> Result<Outcome, String> {
        let is_text = arguments.text || arguments.deflate;
        let run = Arc::new(Self {
            target: Target::new(arguments, &plan)?,
            payloads: Payloads::new(plan.size, is_text, arguments.hub, arguments.room.as_deref()),
            ledger: Ledger::new(plan.is_halved()),
            times: watch::Sender::new(None),
            stop,
            is_over: Arc::default(),
            uncompressed: AtomicU32::new(0),
            gate: Semaphore::new(plan.connecting as usize),
            plan,
        });
        if run.plan.test_type == TestType::Storm {
            return storm::run(run, progress).await;
        }
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        let (ready, mut opened) = mpsc::channel(64);
        let pulses = if run.plan.test_type == TestType::Fanout {
            fanout::spawn(&run, &mut tasks, &ready)
        } else {
            echo::spawn(&run, &mut tasks, &ready)
        };
        drop(ready);
        let mut open = 0;
        let waiting = async {
            while let Some(is_open) = opened.recv().await {
                open += u32::from(is_open);
            }
        };
        progress.connecting(&run, waiting).await;
        if open == 0 {
            return Err(none_opened(&run));
        }
        let mut slow_readers = JoinSet::new();
        let times = Times::new(&run.plan);
        let connecting = times.start - begun;
        let processor = processor_time();
        if run.plan.test_type == TestType::SlowReader {
            slow::spawn(&run, times, &mut slow_readers);
        }
        if let Some(schedule) = run.schedule(times, pulses.len()) {
            // It ends by the times, or by `is_over`; nobody has to wait for it.
            wake(schedule, times, pulses, run.is_over.clone())
                .map_err(|error| format!("no thread: {error}"))?;
        }
        run.times.send_replace(Some(times));
        let mut series = Series::new(times.measure, SECOND);
        let stopped = run.wait(&mut tasks, times, &mut series, progress).await;
        let (ended, is_early) = (stopped.unwrap_or_else(Instant::now), stopped.is_some());
        let processor = (processor_time().saturating_sub(processor), times.start.elapsed());
        let slow = match run.plan.test_type {
            TestType::SlowReader => Some(slow::Outcome::of(slow_readers).await),
            _ => None,
        };
        Ok(Outcome { run, series, opened: open, connecting, times, ended, is_early, processor, slow })
    }

    /// Opens a connection, when it is its turn, and counts it.
    pub(super) async fn connect(&self, number: u32) -> Option<Socket> {
        let mut stop = self.stop.clone();
        let connecting = async {
            let _turn = self.gate.acquire().await.ok()?;
            self.attempt(number, Instant::now()).await
        };
        tokio::select! {
            socket = connecting => socket,
            _ = stop.wait_for(|stop| *stop) => None,
        }
    }

    /// Opens a connection of a storm: one that was due at `since`, or when it is its turn, if there is time left.
    pub(super) async fn connect_by(
        &self,
        number: u32,
        since: Option<Instant>,
        times: Times,
    ) -> Option<Socket> {
        let mut stop = self.stop.clone();
        let connecting = async {
            let _turn = if since.is_none() { Some(self.gate.acquire().await.ok()?) } else { None };
            let now = Instant::now();
            if since.is_none() && times.is_over(now) {
                self.ledger.shard(number).count.not_tried += 1;
                return None;
            }
            if let Some(since) = since {
                self.ledger.shard(number).late_attempt(now - since);
            }
            self.attempt(number, since.unwrap_or(now)).await
        };
        tokio::select! {
            socket = connecting => socket,
            _ = stop.wait_for(|stop| *stop) => None,
        }
    }

    async fn attempt(&self, number: u32, since: Instant) -> Option<Socket> {
        match self.target.connect(number).await {
            Ok(socket) => {
                self.ledger.opened(number, since.elapsed());
                let is_plain =
                    socket.with_connection(|connection| connection.agreement().deflate().is_none());
                self.uncompressed.fetch_add(u32::from(is_plain), Ordering::Relaxed);
                Some(socket)
            }
            Err(error) => {
                self.ledger.fail(number, &kind(&error), || error.to_string());
                None
            }
        }
    }

    /// When things happen: waits until that is known, and polls `meanwhile`.
    pub(super) async fn times(&self, meanwhile: impl Future<Output = ()>) -> Option<Times> {
        let mut times = self.times.subscribe();
        let known = async { times.wait_for(Option::is_some).await.ok().and_then(|times| *times) };
        let mut stop = self.stop.clone();
        let meanwhile = async {
            meanwhile.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            times = known => times,
            _ = stop.wait_for(|stop| *stop) => None,
            () = meanwhile => None,
        }
    }

    pub(super) fn schedule(&self, times: Times, connections: usize) -> Option<Schedule> {
        self.plan.rate.map(|rate| Schedule::new(times.start, rate, connections as u32))
    }

    /// Waits for all tasks, and samples meanwhile; gives when the run was told to stop, if it was.
    pub(super) async fn wait(
        &self,
        tasks: &mut JoinSet<()>,
        times: Times,
        series: &mut Series,
        progress: &mut Progress,
    ) -> Option<Instant> {
        let mut stop = self.stop.clone();
        let mut stopped = None;
        progress.begins(&self.plan);
        let mut steps = interval_at((times.measure + series.step()).into(), series.step());
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ended = tasks.join_next() => if ended.is_none() { break },
                _ = steps.tick() => {
                    let point = series.sample(&self.ledger);
                    progress.show(&self.plan, &point);
                }
                _ = stop.wait_for(|stop| *stop), if stopped.is_none() => stopped = Some(Instant::now()),
            }
        }
        series.end(&self.ledger);
        progress.done();
        self.is_over.store(true, Ordering::Relaxed);
        stopped
    }
}

/// How often there is a point.
const SECOND: Duration = Duration::from_secs(1);

/// Where a connection tells whether it is open.
pub(super) type Ready = mpsc::Sender<bool>;

/// What wakes connections when they are due.
pub(super) type Pulses = Vec<Arc<Notify>>;

/// Why no test could begin.
pub(super) fn none_opened(run: &Run) -> String {
    let errors = run.ledger.errors();
    let errors =
        errors.iter().map(|(kind, failure)| format!("\n  {} × {kind}: {}", failure.count, failure.example));
    let errors: String = errors.collect();
    if errors.is_empty() {
        "stopped before a connection was open".into()
    } else {
        format!("no connection could be opened:{errors}")
    }
}

/// What this program took of the processors so far.
pub(super) fn processor_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}
