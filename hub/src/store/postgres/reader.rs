//! The feed of PostgreSQL on its way to the clients of this node: in order, each entry once, and with what is opened at
//! its place in between.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_postgres::Row;

use super::{Fault, Open, Shared};
use crate::bus::News;
use crate::outage::Outage;
use crate::store::{Fed, Feed, StoreError, numbered};

/// Feeds what is in the feed.
pub(super) struct Reader {
    shared: Arc<Shared>,
    /// The number of the last entry that was fed.
    at: u64,
    /// Under which it was numbered.
    era: String,
    feed: Feed,
    news: mpsc::Sender<News>,
    outage: Outage,
}

/// What is in the feed, up to some number.
pub(super) struct Entries {
    /// The number of the last entry that there is.
    pub(super) head: u64,
    pub(super) era: String,
    rows: Vec<Row>,
}

/// Why the reader ends: nobody is there any more.
struct Over;

impl Reader {
    pub(super) fn new(
        shared: Arc<Shared>,
        at: u64,
        era: String,
        feed: Feed,
        news: mpsc::Sender<News>,
    ) -> Self {
        Self { shared, at, era, feed, news, outage: Outage::new("the feed cannot be read") }
    }

    pub(super) async fn run(mut self, mut opens: mpsc::Receiver<Open>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let shared = self.shared.clone();
            let done = tokio::select! {
                Some(open) = opens.recv() => self.open(open).await,
                () = shared.bell.notified() => self.look().await,
                // The bell may be away, or not ring.
                _ = ticks.tick() => self.look().await,
            };
            if done.is_err() {
                return;
            }
        }
    }

    /// Reads the stream, feeds what came before that moment, and then what was read.
    async fn open(&mut self, open: Open) -> Result<(), Over> {
        let opened = match self.shared.page(&open.stream, &open.from).await {
            Ok((page, at)) => self.catch_up(at).await?.map(|()| page),
            Err(error) => Err(error),
        };
        let answer = match opened {
            Ok(page) => {
                self.feed.send(Fed::Opened(page, open.then)).await.map_err(|_| Over)?;
                Ok(())
            }
            Err(error) => Err(error),
        };
        let _ = open.answer.send(answer);
        Ok(())
    }

    async fn look(&mut self) -> Result<(), Over> {
        let looked = self.catch_up(u64::MAX).await?;
        self.outage.note(&looked);
        Ok(())
    }

    /// Feeds all up to this number.
    async fn catch_up(&mut self, to: u64) -> Result<Result<(), StoreError>, Over> {
        loop {
            let entries = match self.shared.entries(self.at, to).await {
                Ok(entries) => entries,
                Err(error) => return Ok(Err(error)),
            };
            if entries.head < self.at {
                let (head, era) = match self.shared.guard(self.at).await {
                    Ok(guarded) => guarded,
                    Err(error) => return Ok(Err(error)),
                };
                return self.gap(head, era).await.map(Ok);
            }
            if entries.era != self.era {
                return self.gap(entries.head, entries.era).await.map(Ok);
            }
            if self.at >= entries.head.min(to) {
                return Ok(Ok(()));
            }
            let before = self.at;
            for row in &entries.rows {
                if let Err(error) = self.feed(row).await? {
                    return Ok(Err(error));
                }
            }
            if self.at == before {
                return self.gap(entries.head, entries.era).await.map(Ok);
            }
        }
    }

    /// Something cannot be had any more: all clients have to recover.
    async fn gap(&mut self, to: u64, era: String) -> Result<(), Over> {
        tracing::error!(after = self.at, to, "entries of the feed are gone: all clients have to recover");
        self.learn(to);
        self.era = era;
        self.feed.send(Fed::Gap).await.map_err(|_| Over)
    }

    /// Feeds an entry, if it is the next one.
    async fn feed(&mut self, row: &Row) -> Result<Result<(), StoreError>, Over> {
        let (number, stream, seq, body) = match read(row) {
            Ok(entry) => entry,
            Err(error) => return Ok(Err(error.into())),
        };
        if number != Some(self.at + 1) {
            return Ok(Ok(()));
        }
        if let Some(stream) = stream {
            match numbered(body, seq) {
                Ok(message) => {
                    let fed = Fed::Message(stream.into(), Arc::new(message));
                    self.feed.send(fed).await.map_err(|_| Over)?;
                }
                Err(error) => tracing::error!(%error, "an entry of the feed is no message"),
            }
        } else {
            match serde_json::from_str(body) {
                Ok(news) => self.news.send(news).await.map_err(|_| Over)?,
                Err(error) => tracing::error!(%error, "an entry of the feed is no news: is a node newer?"),
            }
        }
        self.learn(self.at + 1);
        Ok(Ok(()))
    }

    fn learn(&mut self, at: u64) {
        self.at = at;
        self.shared.known.fetch_max(at, Ordering::AcqRel);
    }
}

impl Shared {
    /// The head, and what is between these numbers, or the first part of it.
    pub(super) async fn entries(&self, after: u64, to: u64) -> Result<Entries, StoreError> {
        let (after, to) = (after.cast_signed(), i64::try_from(to).unwrap_or(i64::MAX));
        let rows = self.database.query(ENTRIES, &[&after, &to, &MOST_AT_ONCE, &MOST_BYTES]).await?;
        let first = rows.first().ok_or(Fault::Answer)?;
        let head: i64 = first.try_get(0).map_err(Fault::Database)?;
        Ok(Entries { head: head.cast_unsigned(), era: first.try_get(1).map_err(Fault::Database)?, rows })
    }

    /// Sets right what the database does not know any more: the head and era from which on it goes on.
    async fn guard(&self, known: u64) -> Result<(u64, String), StoreError> {
        let known = known.cast_signed();
        let rows = self.database.query("SELECT front, this_era::text FROM guard($1)", &[&known]).await?;
        let row = rows.first().ok_or(Fault::Answer)?;
        let head: i64 = row.try_get(0).map_err(Fault::Database)?;
        Ok((head.cast_unsigned(), row.try_get(1).map_err(Fault::Database)?))
    }
}

type Entry<'a> = (Option<u64>, Option<&'a str>, u64, &'a str);

/// The number, the stream and number of a message, and the text. The head alone has no number.
fn read(row: &Row) -> Result<Entry<'_>, Fault> {
    let number: Option<i64> = row.try_get(2)?;
    let seq: Option<i64> = row.try_get(4)?;
    let body: Option<&str> = row.try_get(5)?;
    let seq = seq.unwrap_or_default().cast_unsigned();
    Ok((number.map(i64::cast_unsigned), row.try_get(3)?, seq, body.unwrap_or_default()))
}

const ENTRIES: &str = include_str!("entries.sql");

/// How often is looked without being told to.
const LOOK: Duration = Duration::from_secs(1);

/// How many entries are read at once.
const MOST_AT_ONCE: i64 = 256;

/// How many bytes are, but for one entry.
const MOST_BYTES: i64 = 4 << 20;
