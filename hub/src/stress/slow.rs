//! Slow readers: connections that ask for echoes and do not read them, until the server lets go of them or the time is
//! over.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use taut::proto::Message;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::plan::Times;
use super::run::Run;
use super::target::{Socket, closed, kind};

/// What became of them.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Outcome {
    pub(super) connected: u32,
    pub(super) not_connected: u32,
    /// Of payloads, before compression: what server and networks took of all of them.
    pub(super) bytes_taken: u64,
    /// How many the server let go, and how.
    pub(super) ended: BTreeMap<String, u32>,
    /// How many the server still had at the end.
    pub(super) held: u32,
}

/// What became of one: how much it could send, and how it ended if it did.
#[derive(Debug)]
pub(super) struct One(Option<(u64, Option<String>)>);

/// Starts them; they begin with the second half.
pub(super) fn spawn(run: &Arc<Run>, times: Times, tasks: &mut JoinSet<One>) {
    let (Some(half), Some(end)) = (times.half(), times.end) else { return };
    for number in 0..run.plan.slow_readers {
        tasks.spawn(one(run.clone(), run.plan.connections + number, half, end));
    }
}

impl Outcome {
    /// Waits for all of them.
    pub(super) async fn of(mut tasks: JoinSet<One>) -> Self {
        let mut outcome = Self::default();
        while let Some(one) = tasks.join_next().await {
            let Ok(One(Some((bytes, ended)))) = one else {
                outcome.not_connected += 1;
                continue;
            };
            outcome.connected += 1;
            outcome.bytes_taken += bytes;
            match ended {
                Some(how) => *outcome.ended.entry(how).or_default() += 1,
                None => outcome.held += 1,
            }
        }
        outcome
    }
}

async fn one(run: Arc<Run>, number: u32, half: Instant, end: Instant) -> One {
    let mut stop = run.stop.clone();
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    tokio::pin!(stopped);
    tokio::select! {
        () = sleep_until(half.into()) => {}
        () = &mut stopped => return One(None),
    }
    let Some(mut socket) = run.connect(number).await else { return One(None) };
    let mut bytes = 0;
    let flood = async {
        for message in 0_u64.. {
            let Ok(()) = socket.send(echo(&run, number, message)).await else { break };
            bytes += run.plan.size as u64;
        }
    };
    let is_ended = tokio::select! {
        () = flood => true,
        () = sleep_until(end.into()) => false,
        () = &mut stopped => false,
    };
    // A Close lies behind the echoes that nobody read.
    let ended = if is_ended {
        Some(timeout(READING, read(&mut socket)).await.unwrap_or_else(|_| UNREAD.to_owned()))
    } else {
        None
    };
    run.ledger.closed();
    One(Some((bytes, ended)))
}

fn echo(run: &Run, number: u32, message: u64) -> Message {
    run.payloads.echo(number, message)
}

/// Reads to the end, and tells what that is.
async fn read(socket: &mut Socket) -> String {
    loop {
        match socket.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => return closed(socket).0,
            Err(error) => return kind(&error),
        }
    }
}

/// How long it takes at most to read what came.
const READING: Duration = Duration::from_secs(5);

const UNREAD: &str = "ended, and what it said last could not be read";
