//! A storm: connections are opened, as many at a time or a second as asked for, and held until the last is there.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use super::echo::end;
use super::ledger::Series;
use super::pace::wake;
use super::plan::Times;
use super::progress::Progress;
use super::run::{Outcome, Run, none_opened, processor_time};
use super::target::{closed, is_close, kind};

/// Runs the test.
///
/// # Errors
/// No connection was opened.
pub(super) async fn run(run: Arc<Run>, progress: &mut Progress) -> Result<Outcome, String> {
    let processor = processor_time();
    let start = Instant::now();
    let limit = run.plan.duration.unwrap_or(Duration::MAX);
    let all_due = run.plan.rate.map(|rate| Duration::from_secs_f64(f64::from(run.plan.connections) / rate));
    let end = start.checked_add(all_due.unwrap_or(limit).min(limit));
    let times = Times { start, measure: start, end };
    let schedule = run.schedule(times, run.plan.connections as usize);
    let (done, all_done) = watch::channel(false);
    let (ended, attempts) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    let mut pulses = Vec::new();
    for number in 0..run.plan.connections {
        let pulse = Arc::new(Notify::new());
        let due = schedule.map(|schedule| (schedule.due(number, 0), pulse.clone()));
        tasks.spawn(attempt(run.clone(), number, due, times, ended.clone(), all_done.clone()));
        pulses.push(pulse);
    }
    drop(ended);
    if let Some(schedule) = schedule {
        wake(schedule, times, pulses, run.is_over.clone()).map_err(|error| format!("no thread: {error}"))?;
    }
    let attempts = tokio::spawn(collect(attempts, done, start));
    let mut series = Series::new(start, STEP);
    let stopped = run.wait(&mut tasks, times, &mut series, progress).await;
    let (opened, last) = attempts.await.unwrap_or((0, start));
    if opened == 0 {
        return Err(none_opened(&run));
    }
    let processor = (processor_time().saturating_sub(processor), start.elapsed());
    Ok(Outcome {
        run,
        series,
        opened,
        connecting: last - start,
        times,
        ended: last,
        is_early: stopped.is_some(),
        processor,
        slow: None,
    })
}

async fn attempt(
    run: Arc<Run>,
    number: u32,
    due: Option<(Instant, Arc<Notify>)>,
    times: Times,
    ended: mpsc::Sender<bool>,
    mut all_done: watch::Receiver<bool>,
) {
    let mut stop = run.stop.clone();
    let since = match due {
        Some((due, pulse)) if !times.is_over(due) => {
            tokio::select! {
                () = pulse.notified() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            Some(due)
        }
        Some(_) => return run.ledger.shard(number).count.not_tried += 1,
        None => None,
    };
    let socket = run.connect_by(number, since, times).await;
    let _ = ended.send(socket.is_some()).await;
    drop(ended);
    let Some(mut socket) = socket else { return };
    let lost = async {
        loop {
            match socket.recv().await {
                Ok(Some(message)) if is_close(&message) => {}
                Ok(Some(_)) => {}
                Ok(None) => return closed(&socket),
                Err(error) => return (kind(&error), error.to_string()),
            }
        }
    };
    let held = tokio::select! {
        lost = lost => Err(lost),
        _ = all_done.wait_for(|done| *done) => Ok(()),
        _ = stop.wait_for(|stop| *stop) => Ok(()),
    };
    match held {
        Ok(()) => end(&run, Some(socket), drop).await,
        Err((kind, example)) => {
            run.ledger.fail(number, &kind, || example);
            run.ledger.closed();
        }
    }
}

/// How many were opened, and when the last was; tells all when each attempt has ended.
async fn collect(
    mut attempts: mpsc::Receiver<bool>,
    done: watch::Sender<bool>,
    start: Instant,
) -> (u32, Instant) {
    let (mut opened, mut last) = (0, start);
    while let Some(is_open) = attempts.recv().await {
        if is_open {
            (opened, last) = (opened + 1, Instant::now());
        }
    }
    done.send_replace(true);
    (opened, last)
}

/// How often there is a point: a storm is short.
const STEP: Duration = Duration::from_millis(100);
