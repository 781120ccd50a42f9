//! The feed of Redis on its way to the clients of this node: in order, each entry once, and with what is opened at its
//! place in between.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Open, PATIENCE, Shared};
use crate::bus::News;
use crate::outage::Outage;
use crate::store::{Fed, Feed, StoreError, numbered};

/// Feeds what `watch` brings, and what it did not bring.
pub(super) struct Reader {
    shared: Arc<Shared>,
    /// The number of the last entry that was fed.
    at: u64,
    feed: Feed,
    news: mpsc::Sender<News>,
    outage: Outage,
}

/// An entry of the feed: its id, and names and values.
type Entry = (String, Vec<String>);

/// Why the reader ends: nobody is there any more.
struct Over;

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, at: u64, feed: Feed, news: mpsc::Sender<News>) -> Self {
        Self { shared, at, feed, news, outage: Outage::new("the feed cannot be read") }
    }

    pub(super) async fn run(
        mut self,
        mut batches: mpsc::Receiver<Vec<Entry>>,
        mut opens: mpsc::Receiver<Open>,
    ) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let shared = self.shared.clone();
            let done = tokio::select! {
                Some(batch) = batches.recv() => self.batch(batch).await,
                Some(open) = opens.recv() => self.open(open).await,
                // A script set right what Redis knows less than this node.
                () = shared.lost.notified() => self.gap(self.at).await,
                _ = ticks.tick() => self.look().await,
            };
            if done.is_err() {
                return;
            }
        }
    }

    async fn batch(&mut self, batch: Vec<Entry>) -> Result<(), Over> {
        for entry in batch {
            let Some(number) = number(&entry) else { continue };
            if number > self.at + 1 {
                // Entries are missing: they are still to be had, or are not.
                if let Err(error) = self.catch_up(number - 1).await? {
                    self.outage.met(&error);
                    return Ok(());
                }
            }
            if number == self.at + 1 {
                self.feed(number, &entry.1).await?;
            }
        }
        Ok(())
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

    /// Whether all is well: whatever the other connection says, or does not.
    async fn look(&mut self) -> Result<(), Over> {
        let looked = match self.shared.look().await {
            Ok((true, at)) => return self.gap(at).await,
            Ok((false, at)) => self.catch_up(at).await?,
            Err(error) => Err(error),
        };
        self.outage.note(&looked);
        Ok(())
    }

    /// Feeds all up to this number.
    async fn catch_up(&mut self, to: u64) -> Result<Result<(), StoreError>, Over> {
        while self.at < to {
            let mut range = redis::cmd("XRANGE");
            range.arg(self.shared.key("feed", "")).arg(format!("{}-0", self.at + 1)).arg(format!("{to}-0"));
            let entries: Vec<Entry> = match self.shared.ask(range.arg("COUNT").arg(MOST_AT_ONCE)).await {
                Ok(entries) => entries,
                Err(error) => return Ok(Err(error)),
            };
            if entries.first().and_then(number) != Some(self.at + 1) {
                self.gap(to).await?;
                continue;
            }
            for entry in &entries {
                let Some(number) = number(entry).filter(|number| *number == self.at + 1) else { break };
                self.feed(number, &entry.1).await?;
            }
        }
        Ok(Ok(()))
    }

    /// Something cannot be had any more: all clients have to recover.
    async fn gap(&mut self, to: u64) -> Result<(), Over> {
        tracing::error!(after = self.at, to, "entries of the feed are gone: all clients have to recover");
        self.at = to;
        self.feed.send(Fed::Gap).await.map_err(|_| Over)
    }

    async fn feed(&mut self, number: u64, fields: &[String]) -> Result<(), Over> {
        match fields {
            [_, stream, _, seq, _, body] => match numbered(body, seq.parse().unwrap_or(0)) {
                Ok(message) => {
                    let fed = Fed::Message(stream.as_str().into(), Arc::new(message));
                    self.feed.send(fed).await.map_err(|_| Over)?;
                }
                Err(error) => tracing::error!(%error, "an entry of the feed is no message"),
            },
            [_, news] => match serde_json::from_str(news) {
                Ok(news) => self.news.send(news).await.map_err(|_| Over)?,
                Err(error) => tracing::error!(%error, "an entry of the feed is no news: is a node newer?"),
            },
            _ => tracing::error!("an entry of the feed cannot be read: is a node newer?"),
        }
        self.at = number;
        self.shared.known.fetch_max(number, Ordering::AcqRel);
        Ok(())
    }
}

/// Waits for entries, on a connection of its own, and hands them on. What it hands on may have gaps, or come twice.
pub(super) async fn watch(client: Client, feed: String, mut at: u64, batches: mpsc::Sender<Vec<Entry>>) {
    // Redis answers after `WAIT`, at the latest.
    let settings = AsyncConnectionConfig::new()
        .set_response_timeout(Some(PATIENCE + WAIT))
        .set_connection_timeout(Some(PATIENCE));
    let outage = Outage::new("the feed does not come by itself");
    loop {
        if let Ok(mut connection) = client.get_multiplexed_async_connection_with_config(&settings).await {
            loop {
                match read(&mut connection, &feed, at).await {
                    Ok(batch) => {
                        outage.over();
                        at = batch.last().and_then(number).unwrap_or(at);
                        if !batch.is_empty() && batches.send(batch).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        outage.met(&error);
                        break;
                    }
                }
            }
        }
        if timeout(AGAIN, batches.closed()).await.is_ok() {
            return;
        }
        // Redis may have begun anew, at lower numbers: from its last entry on. The reader asks for those before.
        if let Some(last) = last(&client, &settings, &feed).await {
            at = at.min(last);
        }
    }
}

async fn read(connection: &mut MultiplexedConnection, feed: &str, at: u64) -> RedisResult<Vec<Entry>> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(MOST_AT_ONCE).arg("BLOCK").arg(WAIT.as_millis().to_string());
    command.arg("STREAMS").arg(feed).arg(format!("{at}-0"));
    let read: Option<Vec<(String, Vec<Entry>)>> = command.query_async(connection).await?;
    Ok(read.into_iter().flatten().flat_map(|(_, entries)| entries).collect())
}

async fn last(client: &Client, settings: &AsyncConnectionConfig, feed: &str) -> Option<u64> {
    let mut connection = client.get_multiplexed_async_connection_with_config(settings).await.ok()?;
    let mut command = redis::cmd("XREVRANGE");
    command.arg(feed).arg("+").arg("-").arg("COUNT").arg(1);
    let entries: Vec<Entry> = command.query_async(&mut connection).await.ok()?;
    Some(entries.first().and_then(number).unwrap_or(0))
}

fn number((id, _): &Entry) -> Option<u64> {
    id.split('-').next()?.parse().ok()
}

/// How long is waited for an entry.
const WAIT: Duration = Duration::from_secs(2);

/// After how long is connected again.
const AGAIN: Duration = Duration::from_millis(200);

/// How often is asked whether all is well.
const LOOK: Duration = Duration::from_secs(1);

/// How many entries are read at once.
const MOST_AT_ONCE: usize = 256;
