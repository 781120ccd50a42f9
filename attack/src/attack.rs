//! What every case can use: connections, measures of the server, deadlines.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::case::{Judged, Miss};
use crate::peer::Peer;
use crate::process::Process;
use crate::request::Request;
use crate::target::Target;
use crate::wire::{TEXT, text};

/// What a case is given.
#[derive(Clone, Debug)]
pub(crate) struct Attack {
    pub(crate) target: Rc<Target>,
    /// How long an answer may take that needs no waiting.
    pub(crate) patience: Duration,
    /// How long a server may let a handshake take.
    pub(crate) timeout: Duration,
    /// How long it may let anything else take.
    pub(crate) deadline: Duration,
    /// How many connections a flood has.
    pub(crate) connections: usize,
    /// How many files the attacker may open.
    pub(crate) ours: usize,
    pub(crate) process: Option<Process>,
}

impl Attack {
    pub(crate) fn request(&self) -> Request {
        Request::new(&self.target)
    }

    pub(crate) async fn connect(&self) -> Result<Peer, Miss> {
        Peer::connect(&self.target, self.patience).await
    }

    /// A connection that sent this request.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Peer, Miss> {
        let mut peer = self.connect().await?;
        peer.send(&request.bytes()).await;
        Ok(peer)
    }

    /// A WebSocket connection without extensions.
    pub(crate) async fn open(&self) -> Result<Peer, Miss> {
        Peer::open(&self.target, &self.request(), self.patience).await
    }

    /// A WebSocket connection for which this extension was offered.
    pub(crate) async fn open_with(&self, extension: &str) -> Result<Peer, Miss> {
        let request = self.request().add("Sec-WebSocket-Extensions", extension);
        Peer::open(&self.target, &request, self.patience).await
    }

    /// A healthy client: it connects, echoes one message, and closes. Gives the time that it took.
    pub(crate) async fn healthy(&self) -> Result<Duration, Miss> {
        let began = Instant::now();
        let mut peer = self.open().await?;
        peer.send(&text("is anybody there?").bytes()).await;
        peer.expect(TEXT, b"is anybody there?").await?;
        let took = began.elapsed();
        peer.closes(1000).await?;
        Ok(took)
    }

    /// The longest that `times` healthy clients waited, one after the other.
    pub(crate) async fn slowest_healthy(&self, times: usize) -> Result<Duration, Miss> {
        let mut slowest = Duration::ZERO;
        for _ in 0..times {
            let took = self.healthy().await.map_err(|miss| match miss {
                Miss::Failed(why) => Miss::Failed(format!("a healthy client meanwhile: {why}")),
                skipped @ Miss::Skipped(_) => skipped,
            })?;
            slowest = slowest.max(took);
        }
        Ok(slowest)
    }

    /// How long anything is waited for, be it in time or not.
    pub(crate) fn longest(&self) -> Duration {
        self.timeout.max(self.deadline)
    }

    pub(crate) fn process(&self) -> Result<&Process, Miss> {
        self.process.as_ref().ok_or_else(|| Miss::skipped("needs --pid"))
    }

    /// The processor's time that the server takes for this, with what it does behind it.
    pub(crate) async fn time_of(
        &self,
        work: impl Future<Output = Result<(), Miss>>,
    ) -> Result<Duration, Miss> {
        let before = self.settled_time().await?;
        work.await?;
        Ok(self.settled_time().await?.saturating_sub(before))
    }

    /// Judges that four times the work takes not much more than four times the processor's time.
    pub(crate) async fn linear<W>(&self, size: usize, work: impl Fn(Self, usize) -> W) -> Judged
    where
        W: Future<Output = Result<(), Miss>>,
    {
        self.process()?;
        let mut tries = 0;
        loop {
            let small = self.time_of(work(self.clone(), size)).await?;
            let large = self.time_of(work(self.clone(), 4 * size)).await?;
            let judged = judge_linear(small, large);
            tries += 1;
            // How bytes fall into reads is chance; what is quadratic is so each time.
            if judged.is_ok() || tries == MOST_TRIES {
                return judged;
            }
        }
    }

    /// Judges that the server closes what it opened since it had this many files open.
    pub(crate) async fn files_return(&self, before: Option<usize>) -> Result<(), Miss> {
        let (Some(process), Some(before)) = (&self.process, before) else { return Ok(()) };
        let limit = Instant::now() + self.timeout;
        loop {
            let open = process.files().unwrap_or(before);
            if open <= before {
                return Ok(());
            }
            if Instant::now() > limit {
                return Err(Miss::Failed(format!("{} connections stay open in the server", open - before)));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn files(&self) -> Option<usize> {
        self.process.as_ref().and_then(Process::files)
    }

    /// Waits until the server does nothing any more, or patience ends.
    pub(crate) async fn settled(&self) {
        // Without a process there is nothing to wait for.
        let _ = self.settled_time().await;
    }

    /// Judges that the server does nothing, since nobody asks for anything.
    pub(crate) async fn idles(&self) -> Result<(), Miss> {
        if self.process.is_none() {
            return Ok(());
        }
        let limit = Instant::now() + self.patience;
        loop {
            let before = self.settled_time().await?;
            sleep(WATCHED).await;
            let busy = self.process()?.time().unwrap_or_default().saturating_sub(before);
            if busy < WATCHED / 4 {
                return Ok(());
            }
            if Instant::now() > limit {
                let (busy, watched) = (busy.as_millis(), WATCHED.as_millis());
                return Err(Miss::Failed(format!(
                    "the server works for {busy} ms of {watched} although nobody asks for anything"
                )));
            }
        }
    }

    /// The server's time, once it does nothing any more, or patience ends.
    async fn settled_time(&self) -> Result<Duration, Miss> {
        let process = self.process()?;
        let limit = Instant::now() + self.patience;
        let mut last = process.time();
        loop {
            sleep(PAUSE).await;
            let time = process.time();
            let busy = time.zip(last).map_or(Duration::ZERO, |(time, last)| time.saturating_sub(last));
            if busy < PAUSE / 20 || Instant::now() > limit {
                return time.ok_or_else(|| Miss::failed("the server is gone"));
            }
            last = time;
        }
    }
}

/// Of the times of some work, and of four times as much.
fn judge_linear(small: Duration, large: Duration) -> Judged {
    let times = large.as_secs_f64() / small.as_secs_f64().max(1e-6);
    let (before, after) = (small.as_millis(), large.as_millis());
    if large < LEAST {
        return Ok(format!("{after} ms of a processor for four times the work"));
    }
    if times > MOST_GROWTH {
        return Err(Miss::Failed(format!(
            "four times the work takes {times:.0} times the time: {before} and {after} ms"
        )));
    }
    Ok(format!("four times the work takes {times:.1} times the time"))
}

/// Below this the clock of the scheduler says little, and nobody is hurt.
const LEAST: Duration = Duration::from_millis(100);

/// Linear work takes four times the time, quadratic work sixteen times.
const MOST_GROWTH: f64 = 8.0;

/// How long the server is watched doing nothing.
const WATCHED: Duration = Duration::from_millis(100);

const PAUSE: Duration = Duration::from_millis(20);

/// How often work is measured that takes too much.
const MOST_TRIES: usize = 3;
