//! What is kept by PostgreSQL, for many nodes. One function numbers and keeps; it leaves entries in a table, the feed,
//! whose numbers have no gaps: every node reads it, is told by a bell when to, and knows whether it missed anything.

#![forbid(unsafe_code)]

mod database;
mod reader;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::database::Database;
pub use self::database::Fault;
use self::reader::Reader;
use self::writer::{Answer, Work, write};
use super::{Appended, Feed, Limits, Page, Running, SLACK, Since, Store, StoreError, Then, now, numbered};
use crate::bus::{Bus, BusError, MUTE, News};
use crate::envelope::Envelope;
use crate::outage::Outage;
use crate::secret::Secret;

/// A store, and the bus, of many nodes. Clones are the same.
#[derive(Clone)]
pub struct Postgres {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

/// They read, write, listen and forget, as long as the store is there.
struct Tasks([JoinHandle<()>; 4]);

/// Where it is, and how much it keeps.
#[derive(Clone, Debug)]
pub struct Place {
    /// `postgresql://…`; it may have a password.
    pub url: Secret,
    /// The schema of the tables, made if there is none: hubs with different ones do not know of each other.
    pub schema: String,
    /// How many connections a node has at most, beside the one that listens.
    pub connections: usize,
    /// A file of PEM: who may have issued the server's certificate. Without it those whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// How many entries the feed has. A node that is away for more has its clients recover.
    pub feed: usize,
    /// How many bytes they have, as for their number.
    pub feed_bytes: usize,
    /// How long a stream is kept after its last message.
    pub keep: Duration,
}

struct Shared {
    database: Database,
    place: Place,
    limits: Limits,
    /// The highest number of the feed that this node knows of.
    known: AtomicU64,
    /// There is something to read.
    bell: Notify,
    opens: mpsc::Sender<Open>,
    work: mpsc::Sender<Work>,
    durability: String,
    /// News do not go out.
    mute: Outage,
}

/// A stream that is to be opened in the order of the feed.
struct Open {
    stream: String,
    from: Since,
    then: Then,
    answer: Answer<()>,
}

impl Postgres {
    /// Connects, makes the schema or brings it up to date, and begins to read the feed: messages go to one channel, news
    /// to the other.
    ///
    /// # Errors
    /// PostgreSQL cannot be reached, or the schema cannot be had.
    pub async fn connect(
        place: Place,
        limits: Limits,
        feed: Feed,
        news: mpsc::Sender<News>,
    ) -> Result<Self, StoreError> {
        let database = Database::connect(&place).await?;
        let durability = database.durability().await?;
        let (opens, opened) = mpsc::channel(MOST_WAITING);
        let (work, taken) = mpsc::channel(MOST_WAITING);
        let (known, bell) = (AtomicU64::new(0), Notify::new());
        let mute = Outage::new(MUTE);
        let shared = Arc::new(Shared { database, place, limits, known, bell, opens, work, durability, mute });
        // From the last entry on.
        let begin = shared.entries(0, 0).await?;
        let tasks = Arc::new(Tasks([
            tokio::spawn(Reader::new(shared.clone(), begin.head, begin.era, feed, news).run(opened)),
            tokio::spawn(write(shared.clone(), taken)),
            tokio::spawn(listen(shared.clone())),
            tokio::spawn(forget(shared.clone())),
        ]));
        Ok(Self { shared, tasks })
    }
}

impl Shared {
    /// Reads a page, and the number of the feed's last entry at that moment.
    async fn page(&self, stream: &str, from: &Since) -> Result<(Page, u64), StoreError> {
        let (last, epoch, seq) = match from {
            Since::Last(most) => (Some(number(*most)), "", 0),
            Since::After(position) => {
                (None, position.epoch.as_str(), i64::try_from(position.seq).unwrap_or(i64::MAX))
            }
        };
        let (most, bytes) = (number(self.limits.page), number(self.limits.page_bytes));
        // Made, it may be forgotten in between.
        for _ in 0..3 {
            let rows = self.database.query(OPEN, &[&stream, &last, &epoch, &seq, &most, &bytes]).await?;
            if let Some(row) = rows.first() {
                return self.read(row);
            }
            self.database.query(MAKE, &[&stream]).await?;
        }
        Err(Fault::Answer.into())
    }

    fn read(&self, row: &tokio_postgres::Row) -> Result<(Page, u64), StoreError> {
        let count = |column| row.try_get::<_, i64>(column).map(i64::cast_unsigned).map_err(Fault::Database);
        let (head, seq) = (count(0)?, count(3)?);
        let epoch: String = row.try_get(2).map_err(Fault::Database)?;
        let recovered = row.try_get(4).map_err(Fault::Database)?;
        let numbers: Vec<i64> = row.try_get(5).map_err(Fault::Database)?;
        let bodies: Vec<&str> = row.try_get(6).map_err(Fault::Database)?;
        let kept = numbers.into_iter().map(i64::cast_unsigned).zip(bodies);
        let mut page = Page { epoch: epoch.into(), seq, messages: Vec::new(), more: false, recovered };
        page.fill(kept.map(|(seq, body)| numbered(body, seq).map(Arc::new)), &self.limits)?;
        page.ends_before_the_last();
        Ok((page, head))
    }

    async fn write<T>(&self, work: impl FnOnce(Answer<T>) -> Work) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.work.send(work(answer)).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }
}

impl Store for Postgres {
    fn append(&self, stream: String, message: Envelope) -> Running<'_, Result<Appended, StoreError>> {
        Box::pin(self.shared.write(move |answer| Work::Append(stream, Box::new(message), answer)))
    }

    fn open(&self, stream: String, from: Since, then: Then) -> Running<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let open = Open { stream, from, then, answer };
            self.shared.opens.send(open).await.map_err(|_| StoreError::Stopped)?;
            answered.await.map_err(|_| StoreError::Stopped)?
        })
    }

    fn set_disabled(&self, user: String, disabled: bool) -> Running<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let statement = if disabled {
                "INSERT INTO disabled (name) VALUES ($1) ON CONFLICT DO NOTHING"
            } else {
                "DELETE FROM disabled WHERE name = $1"
            };
            self.shared.database.query(statement, &[&user]).await?;
            Ok(())
        })
    }

    fn revoke(&self, token: String, until: u64) -> Running<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let until = i64::try_from(until).unwrap_or(i64::MAX);
            self.shared.database.query(REVOKE, &[&token, &until]).await?;
            Ok(())
        })
    }

    fn revoke_before(&self, user: String, time: u64) -> Running<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let time = i64::try_from(time).unwrap_or(i64::MAX);
            self.shared.database.query(REVOKE_BEFORE, &[&user, &time]).await?;
            Ok(())
        })
    }

    fn valid_from(&self, user: String) -> Running<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let rows =
                self.shared.database.query("SELECT time FROM valid_from WHERE name = $1", &[&user]).await?;
            let Some(row) = rows.first() else { return Ok(0) };
            Ok(row.try_get::<_, i64>(0).map_err(Fault::Database)?.cast_unsigned())
        })
    }

    fn is_barred(&self, user: String, token: Option<String>) -> Running<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let rows = self.shared.database.query(IS_BARRED, &[&user, &token]).await?;
            Ok(rows.first().ok_or(Fault::Answer)?.try_get(0).map_err(Fault::Database)?)
        })
    }

    fn close(&self) -> Running<'_, ()> {
        Box::pin(async {
            let (closed, is_closed) = oneshot::channel();
            // Closed before, there is nothing to wait for.
            if self.shared.work.send(Work::Close(closed)).await.is_ok() {
                let _ = is_closed.await;
            }
            self.tasks.end();
            self.shared.database.close();
        })
    }

    fn durability(&self) -> &str {
        &self.shared.durability
    }
}

impl Bus for Postgres {
    fn send(&self, news: News) -> Running<'_, Result<(), BusError>> {
        Box::pin(async move {
            let text = serde_json::to_string(&news).map_err(|_| BusError)?;
            let told = self.shared.write(|answer| Work::Tell(text, answer)).await;
            // That a store ends is no failure.
            if !matches!(told, Err(StoreError::Stopped)) {
                self.shared.mute.note(&told);
            }
            told.map_err(|_| BusError)
        })
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// Has the bell rung, again and again.
async fn listen(shared: Arc<Shared>) {
    let outage = Outage::new("the bell of the feed does not ring");
    loop {
        if let Err(error) = shared.database.listen(&shared.bell, &outage).await {
            outage.met(&error);
        }
        sleep(AGAIN).await;
    }
}

/// Forgets what nobody used for long.
async fn forget(shared: Arc<Shared>) {
    let keep = shared.place.keep;
    let outage = Outage::new("nothing is forgotten");
    let mut ticks = interval((keep / 2).min(LONGEST_KEPT_TOO_LONG));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A clock that differs must not let a token in again.
        let expired = now().saturating_sub(SLACK).cast_signed();
        let done = async {
            shared.database.query("SELECT forget($1)", &[&keep.as_secs_f64()]).await?;
            shared.database.query("DELETE FROM revoked WHERE until < $1", &[&expired]).await
        };
        outage.note(&done.await);
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Tasks {
    fn end(&self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("place", &self.shared.place).finish_non_exhaustive()
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        Self::Postgres(Arc::new(fault))
    }
}

const OPEN: &str = include_str!("postgres/open.sql");
const MAKE: &str = "INSERT INTO stream (name) VALUES ($1) ON CONFLICT DO NOTHING";

const REVOKE: &str = "
    INSERT INTO revoked (token, until) VALUES ($1, $2)
        ON CONFLICT (token) DO UPDATE SET until = greatest(revoked.until, $2)
";

const REVOKE_BEFORE: &str = "
    INSERT INTO valid_from (name, time) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET time = greatest(valid_from.time, $2)
";

const IS_BARRED: &str = "
    SELECT EXISTS (SELECT FROM disabled WHERE name = $1) OR EXISTS (SELECT FROM revoked WHERE token = $2)
";

/// How many requests wait for PostgreSQL.
const MOST_WAITING: usize = 1024;

/// After how long is connected again.
const AGAIN: Duration = Duration::from_millis(200);

/// How long what is not kept any more may still be there.
const LONGEST_KEPT_TOO_LONG: Duration = Duration::from_secs(60);
