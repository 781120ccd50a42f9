//! What is kept in a file of SQLite: one thread writes, and answers many in one transaction.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Appended, Fed, Feed, Limits, Page, Running, Since, Store, StoreError, Then};
use crate::envelope::Envelope;

/// A store in a file.
#[derive(Clone)]
pub struct Sqlite {
    work: mpsc::Sender<Work>,
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Work {
    Append(String, Box<Envelope>, Answer<Appended>),
    Open(String, Since, Then, Answer<()>),
    SetDisabled(String, bool, Answer<()>),
    Revoke(String, u64, Answer<()>),
    IsBarred(String, Option<String>, Answer<bool>),
    Close(Answer<()>),
}

/// What is answered once the transaction is on the disk.
enum Done {
    Appended(Answer<Appended>, Appended, Option<Fed>),
    Opened(Answer<()>, Fed),
    Set(Answer<()>),
    Asked(Answer<bool>, bool),
    Closed(Answer<()>),
}

/// What the thread does next.
enum Next {
    Go,
    /// Nobody is fed any more.
    Stop,
    /// Somebody wants the file closed, and to be told.
    Close(Answer<()>),
}

struct Writer {
    database: Connection,
    limits: Limits,
    feed: Feed,
}

impl Sqlite {
    /// Opens the file, made if there is none, and starts the thread, which ends with the store.
    ///
    /// # Errors
    /// The file cannot be opened, or is of somebody else.
    pub fn open_file(path: &Path, feed: Feed, limits: Limits) -> Result<Self, StoreError> {
        let database = Connection::open(path)?;
        database.execute_batch(SCHEMA)?;
        let (work, taken) = mpsc::channel(MOST_WAITING);
        let writer = Writer { database, limits, feed };
        thread::Builder::new()
            .name("sqlite".into())
            .spawn(move || writer.run(taken))
            .map_err(|_| StoreError::Stopped)?;
        Ok(Self { work })
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(Answer<T>) -> Work + Send + 'static,
    ) -> Running<'_, Result<T, StoreError>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.work.send(work(answer)).await.map_err(|_| StoreError::Stopped)?;
            answered.await.map_err(|_| StoreError::Stopped)?
        })
    }
}

impl Store for Sqlite {
    fn append(&self, stream: String, message: Envelope) -> Running<'_, Result<Appended, StoreError>> {
        self.ask(move |answer| Work::Append(stream, Box::new(message), answer))
    }

    fn open(&self, stream: String, from: Since, then: Then) -> Running<'_, Result<(), StoreError>> {
        self.ask(move |answer| Work::Open(stream, from, then, answer))
    }

    fn set_disabled(&self, user: String, disabled: bool) -> Running<'_, Result<(), StoreError>> {
        self.ask(move |answer| Work::SetDisabled(user, disabled, answer))
    }

    fn revoke(&self, token: String, until: u64) -> Running<'_, Result<(), StoreError>> {
        self.ask(move |answer| Work::Revoke(token, until, answer))
    }

    fn is_barred(&self, user: String, token: Option<String>) -> Running<'_, Result<bool, StoreError>> {
        self.ask(move |answer| Work::IsBarred(user, token, answer))
    }

    fn close(&self) -> Running<'_, ()> {
        Box::pin(async {
            // Stopped before, it has no file any more.
            let _ = self.ask(Work::Close).await;
        })
    }

    fn durability(&self) -> &str {
        "SQLite: on the disk (WAL, synchronous=FULL); survives the program's end and loss of power"
    }
}

impl Writer {
    fn run(mut self, mut taken: mpsc::Receiver<Work>) {
        let mut batch = Vec::new();
        while taken.blocking_recv_many(&mut batch, MOST_AT_ONCE) > 0 {
            match self.commit(batch.drain(..)) {
                Next::Go => {}
                Next::Stop => return,
                Next::Close(answer) => {
                    // Before it is answered.
                    drop(self);
                    let _ = answer.send(Ok(()));
                    return;
                }
            }
        }
    }

    /// Does all in one transaction, and answers once that is done.
    fn commit(&mut self, batch: impl Iterator<Item = Work>) -> Next {
        let done = match self.database.transaction() {
            Ok(transaction) => {
                let done: Vec<Done> = batch.filter_map(|work| work.run(&transaction, &self.limits)).collect();
                // Dropped, the answers say that nothing was stored.
                match transaction.commit() {
                    Ok(()) => done,
                    Err(error) => return failed(&error),
                }
            }
            Err(error) => return failed(&error),
        };
        let mut next = Next::Go;
        for done in done {
            match done {
                Done::Appended(answer, appended, fed) => {
                    if fed.is_some_and(|fed| self.feed.blocking_send(fed).is_err()) {
                        next = Next::Stop;
                    }
                    let _ = answer.send(Ok(appended));
                }
                Done::Opened(answer, fed) => {
                    if self.feed.blocking_send(fed).is_err() {
                        next = Next::Stop;
                    }
                    let _ = answer.send(Ok(()));
                }
                Done::Set(answer) => drop(answer.send(Ok(()))),
                Done::Asked(answer, barred) => drop(answer.send(Ok(barred))),
                Done::Closed(answer) => next = Next::Close(answer),
            }
        }
        next
    }
}

impl Work {
    /// Does it, within a transaction. What fails by itself is answered at once, and changes nothing.
    fn run(self, database: &Connection, limits: &Limits) -> Option<Done> {
        match self {
            Self::Append(stream, message, answer) => match append(database, &stream, *message, limits) {
                Ok((appended, message)) => {
                    let fed = message.map(|message| Fed::Message(stream.into(), Arc::new(message)));
                    Some(Done::Appended(answer, appended, fed))
                }
                Err(error) => refuse(answer, error),
            },
            Self::Open(stream, from, then, answer) => match open(database, &stream, &from, limits) {
                Ok(page) => Some(Done::Opened(answer, Fed::Opened(page, then))),
                Err(error) => refuse(answer, error),
            },
            Self::SetDisabled(user, disabled, answer) => {
                let statement = if disabled {
                    "INSERT OR IGNORE INTO disabled (user) VALUES (?1)"
                } else {
                    "DELETE FROM disabled WHERE user = ?1"
                };
                match database.execute(statement, [user]) {
                    Ok(_) => Some(Done::Set(answer)),
                    Err(error) => refuse(answer, error.into()),
                }
            }
            Self::Revoke(token, until, answer) => match revoke(database, &token, until) {
                Ok(()) => Some(Done::Set(answer)),
                Err(error) => refuse(answer, error.into()),
            },
            Self::IsBarred(user, token, answer) => {
                let asked = database.query_row(
                    "SELECT EXISTS (SELECT 1 FROM disabled WHERE user = ?1)
                         OR EXISTS (SELECT 1 FROM revoked WHERE token = ?2)",
                    params![user, token],
                    |row| row.get(0),
                );
                match asked {
                    Ok(barred) => Some(Done::Asked(answer, barred)),
                    Err(error) => refuse(answer, error.into()),
                }
            }
            Self::Close(answer) => Some(Done::Closed(answer)),
        }
    }
}

fn append(
    database: &Connection,
    name: &str,
    mut message: Envelope,
    limits: &Limits,
) -> Result<(Appended, Option<Envelope>), StoreError> {
    let (stream, epoch, last) = stream(database, name)?;
    let sender = message.from_user_id.clone().unwrap_or_default();
    let known = database
        .prepare_cached("SELECT seq FROM message WHERE stream = ?1 AND sender = ?2 AND id = ?3")?
        .query_row(params![stream, sender, message.id], |row| row.get::<_, i64>(0))
        .optional()?;
    if let Some(seq) = known {
        return Ok((Appended { seq: seq.cast_unsigned(), epoch, duplicate: true }, None));
    }
    let seq = last + 1;
    message.seq = Some(seq.cast_unsigned());
    // The number first: should the next statement fail, it is a number that nobody gets, in a transaction of others.
    database.prepare_cached("UPDATE stream SET seq = ?2 WHERE number = ?1")?.execute([stream, seq])?;
    database
        .prepare_cached("INSERT INTO message (stream, seq, sender, id, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![stream, seq, sender, message.id, message.to_json()])?;
    let kept = i64::try_from(limits.messages).unwrap_or(i64::MAX);
    database
        .prepare_cached("DELETE FROM message WHERE stream = ?1 AND seq <= ?2")?
        .execute([stream, seq.saturating_sub(kept)])?;
    Ok((Appended { seq: seq.cast_unsigned(), epoch, duplicate: false }, Some(message)))
}

fn open(database: &Connection, name: &str, from: &Since, limits: &Limits) -> Result<Page, StoreError> {
    let (stream, epoch, last) = stream(database, name)?;
    let oldest: i64 = database
        .prepare_cached("SELECT coalesce(min(seq), ?2 + 1) FROM message WHERE stream = ?1")?
        .query_row([stream, last], |row| row.get(0))?;
    let mut page = Page {
        recovered: true,
        seq: last.cast_unsigned(),
        messages: Vec::new(),
        more: false,
        epoch: epoch.clone(),
    };
    let after = match from {
        Since::Last(number) => last.saturating_sub(i64::try_from(*number).unwrap_or(i64::MAX)),
        Since::After(position) => {
            let seq = i64::try_from(position.seq).unwrap_or(i64::MAX);
            page.recovered = *position.epoch == *epoch && (oldest - 1..=last).contains(&seq);
            if page.recovered { seq } else { last }
        }
    };
    // One more than a page, to know whether there are more.
    let most = i64::try_from(limits.page).unwrap_or(i64::MAX).saturating_add(1);
    let mut statement = database
        .prepare_cached("SELECT body FROM message WHERE stream = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")?;
    let bodies = statement.query_map([stream, after, most], |row| row.get::<_, String>(0))?;
    let mut messages = Vec::new();
    for body in bodies {
        messages.push(Arc::new(serde_json::from_str::<Envelope>(&body?).map_err(StoreError::Corrupt)?));
    }
    page.fill(messages.into_iter(), limits);
    Ok(page)
}

/// The number of a stream, its epoch, and its last message's number.
fn stream(database: &Connection, name: &str) -> Result<(i64, Arc<str>, i64), StoreError> {
    let mut statement = database.prepare_cached("SELECT number, epoch, seq FROM stream WHERE name = ?1")?;
    let found = statement.query_row([name], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?)));
    if let Some((number, epoch, seq)) = found.optional()? {
        return Ok((number, epoch.into(), seq));
    }
    let epoch = Uuid::new_v4().to_string();
    database
        .prepare_cached("INSERT INTO stream (name, epoch, seq) VALUES (?1, ?2, 0)")?
        .execute(params![name, epoch])?;
    Ok((database.last_insert_rowid(), epoch.into(), 0))
}

fn revoke(database: &Connection, token: &str, until: u64) -> rusqlite::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    database.execute("DELETE FROM revoked WHERE until < ?1", [now.cast_signed()])?;
    let until = i64::try_from(until).unwrap_or(i64::MAX);
    database
        .execute("INSERT OR REPLACE INTO revoked (token, until) VALUES (?1, ?2)", params![token, until])?;
    Ok(())
}

fn refuse<T>(answer: Answer<T>, error: StoreError) -> Option<Done> {
    let _ = answer.send(Err(error));
    None
}

/// The database may be well again for the next.
fn failed(error: &rusqlite::Error) -> Next {
    tracing::error!(%error, "nothing could be stored");
    Next::Go
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").finish_non_exhaustive()
    }
}

/// How many may wait for the thread.
const MOST_WAITING: usize = 1024;

/// How many are done in one transaction.
const MOST_AT_ONCE: usize = 256;

/// The file is this program's alone: two that number the same streams would not know of each other.
const SCHEMA: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA busy_timeout = 5000;
    CREATE TABLE IF NOT EXISTS stream (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL, seq INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS message (
        stream INTEGER NOT NULL, seq INTEGER NOT NULL, sender TEXT NOT NULL, id TEXT, body TEXT NOT NULL,
        PRIMARY KEY (stream, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX IF NOT EXISTS message_id ON message (stream, sender, id) WHERE id IS NOT NULL;
    CREATE TABLE IF NOT EXISTS disabled (user TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS revoked (token TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";
