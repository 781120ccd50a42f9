//! What is kept in a file of SQLite: one thread writes, and answers many in one transaction.

#![forbid(unsafe_code)]

mod stream;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};

use self::stream::{append_whole, epoch, open};
use super::{Appended, Fed, Feed, Limits, Running, SLACK, Since, Store, StoreError, Then, now};
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
    RevokeBefore(String, u64, Answer<()>),
    ValidFrom(String, Answer<u64>),
    IsBarred(String, Option<String>, Answer<bool>),
    Close(Answer<()>),
}

/// What is answered once the transaction is on the disk.
enum Done {
    Appended(Answer<Appended>, Appended, Option<Fed>),
    Opened(Answer<()>, Fed),
    Set(Answer<()>),
    Asked(Answer<bool>, bool),
    From(Answer<u64>, u64),
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
    /// How long a stream is kept after its last message.
    keep: Duration,
    /// How many streams there are.
    streams: usize,
    /// When was looked for those that are not kept any more.
    looked: Instant,
}

impl Sqlite {
    /// Opens the file, made if there is none, and starts the thread, which ends with the store. A stream in which nothing
    /// was said for `keep` is forgotten.
    ///
    /// # Errors
    /// The file cannot be opened, or is of somebody else.
    pub fn open_file(path: &Path, feed: Feed, limits: Limits, keep: Duration) -> Result<Self, StoreError> {
        let (work, taken) = mpsc::channel(MOST_WAITING);
        let writer = Writer::open(path, feed, limits, keep)?;
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

    fn revoke_before(&self, user: String, time: u64) -> Running<'_, Result<(), StoreError>> {
        self.ask(move |answer| Work::RevokeBefore(user, time, answer))
    }

    fn valid_from(&self, user: String) -> Running<'_, Result<u64, StoreError>> {
        self.ask(move |answer| Work::ValidFrom(user, answer))
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
    fn open(path: &Path, feed: Feed, limits: Limits, keep: Duration) -> Result<Self, StoreError> {
        let mut database = Connection::open(path)?;
        database.execute_batch(SCHEMA)?;
        let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version < 1 {
            let transaction = database.transaction()?;
            transaction.execute_batch(VERSION_1)?;
            transaction.execute("INSERT INTO era (epoch) VALUES (?1)", [epoch()])?;
            transaction.commit()?;
        }
        let streams: i64 = database.query_row("SELECT count(*) FROM stream", [], |row| row.get(0))?;
        let streams = usize::try_from(streams).unwrap_or(usize::MAX);
        Ok(Self { database, limits, feed, keep, streams, looked: Instant::now() })
    }

    fn run(mut self, mut taken: mpsc::Receiver<Work>) {
        let mut batch = Vec::new();
        while taken.blocking_recv_many(&mut batch, MOST_AT_ONCE) > 0 {
            match self.commit(batch.drain(..)) {
                Next::Go => {
                    if let Err(error) = self.forget() {
                        tracing::warn!(%error, "nothing is forgotten");
                    }
                }
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
                    self.streams += usize::from(appended.seq == 1 && !appended.duplicate);
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
                Done::From(answer, from) => drop(answer.send(Ok(from))),
                Done::Closed(answer) => next = Next::Close(answer),
            }
        }
        next
    }

    /// Forgets streams in which nothing was said for long, and if there are too many, those for longest: some at once, so
    /// that nobody waits for long.
    fn forget(&mut self) -> rusqlite::Result<()> {
        let over = self.streams.saturating_sub(self.limits.streams);
        let is_due = self.looked.elapsed() >= (self.keep / 2).min(LONGEST_KEPT_TOO_LONG);
        if over == 0 && !is_due {
            return Ok(());
        }
        // Some more than are too many, so that this is not done for each that comes.
        let spare = if over == 0 { 0 } else { (self.limits.streams / 16).min(16) };
        let keep = i64::try_from(self.keep.as_secs()).unwrap_or(i64::MAX);
        let transaction = self.database.transaction()?;
        let mut gone: Vec<(i64, bool)> = transaction
            .prepare_cached(
                "SELECT number, used < unixepoch() - ?1 FROM stream ORDER BY used, number LIMIT ?2",
            )?
            .query_map([keep, MOST_FORGOTTEN], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let too_many = gone.len().min(over + spare);
        let unused = gone.iter().take_while(|(_, is_unused)| *is_unused).count();
        let is_all = unused < gone.len();
        gone.truncate(too_many.max(unused));
        for (stream, _) in &gone {
            transaction.prepare_cached("DELETE FROM message WHERE stream = ?1")?.execute([stream])?;
            transaction.prepare_cached("DELETE FROM stream WHERE number = ?1")?.execute([stream])?;
        }
        if !gone.is_empty() {
            // A stream of the same name is another one.
            transaction.execute("UPDATE era SET epoch = ?1", [epoch()])?;
        }
        transaction.commit()?;
        self.streams = self.streams.saturating_sub(gone.len());
        if is_all || gone.is_empty() {
            self.looked = Instant::now();
        }
        Ok(())
    }
}

impl Work {
    /// Does it, within a transaction. What fails by itself is answered at once, and changes nothing.
    fn run(self, database: &Connection, limits: &Limits) -> Option<Done> {
        match self {
            Self::Append(stream, message, answer) => {
                match append_whole(database, &stream, *message, limits) {
                    Ok((appended, message)) => {
                        let fed = message.map(|message| Fed::Message(stream.into(), Arc::new(message)));
                        Some(Done::Appended(answer, appended, fed))
                    }
                    Err(error) => refuse(answer, error),
                }
            }
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
            Self::RevokeBefore(user, time, answer) => {
                let statement = "INSERT INTO valid_from (user, time) VALUES (?1, ?2)
                    ON CONFLICT (user) DO UPDATE SET time = max(time, excluded.time)";
                match database.execute(statement, params![user, i64::try_from(time).unwrap_or(i64::MAX)]) {
                    Ok(_) => Some(Done::Set(answer)),
                    Err(error) => refuse(answer, error.into()),
                }
            }
            Self::ValidFrom(user, answer) => {
                let statement = "SELECT coalesce(max(time), 0) FROM valid_from WHERE user = ?1";
                match database.query_row(statement, [user], |row| row.get::<_, i64>(0)) {
                    Ok(from) => Some(Done::From(answer, from.cast_unsigned())),
                    Err(error) => refuse(answer, error.into()),
                }
            }
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

fn revoke(database: &Connection, token: &str, until: u64) -> rusqlite::Result<()> {
    let expired = now().saturating_sub(SLACK).cast_signed();
    database.execute("DELETE FROM revoked WHERE until < ?1", [expired])?;
    let until = i64::try_from(until).unwrap_or(i64::MAX);
    let statement = "INSERT INTO revoked (token, until) VALUES (?1, ?2)
        ON CONFLICT (token) DO UPDATE SET until = max(until, excluded.until)";
    database.execute(statement, params![token, until])?;
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

/// How many streams are forgotten at once.
const MOST_FORGOTTEN: i64 = 100;

/// How long what is not kept any more may still be there, while something is done.
const LONGEST_KEPT_TOO_LONG: Duration = Duration::from_secs(60);

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

/// When a stream was used, so that it can be forgotten, and how many bytes it has. The era is another one whenever a stream
/// is forgotten: so a position in a stream of which nothing was said yet is good, and nothing is kept of it.
const VERSION_1: &str = "
    ALTER TABLE stream ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE stream ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    UPDATE stream SET used = unixepoch(), bytes =
        (SELECT coalesce(sum(octet_length(body)), 0) FROM message WHERE message.stream = stream.number);
    CREATE TABLE era (only_one INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_one = 1), epoch TEXT NOT NULL) STRICT;
    CREATE TABLE valid_from (user TEXT PRIMARY KEY, time INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::store::{Page, Position};

    const LIMITS: Limits =
        Limits { messages: 5, bytes: 10_000, streams: 3, memory: 0, page: 9, page_bytes: 5000 };

    fn writer(limits: Limits, keep: Duration) -> (Writer, mpsc::Receiver<Fed>) {
        let (feed, fed) = mpsc::channel(1);
        (Writer::open(Path::new(":memory:"), feed, limits, keep).unwrap(), fed)
    }

    fn message(id: usize, bytes: usize) -> Envelope {
        let data = RawValue::from_string(format!("{:?}", "x".repeat(bytes))).unwrap();
        Envelope { id: Some(id.to_string()), data: Some(data), ..Envelope::new("text") }
    }

    fn append(writer: &mut Writer, stream: &str, id: usize, bytes: usize) -> Appended {
        let appended = append_whole(&writer.database, stream, message(id, bytes), &writer.limits).unwrap().0;
        writer.streams += usize::from(appended.seq == 1 && !appended.duplicate);
        appended
    }

    fn read(writer: &Writer, stream: &str, from: &Since) -> Page {
        open(&writer.database, stream, from, &writer.limits).unwrap()
    }

    fn after(page: &Page) -> Since {
        Since::After(Position { epoch: (*page.epoch).to_owned(), seq: page.seq })
    }

    fn count(writer: &Writer, table: &str) -> i64 {
        writer.database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_stream_is_made_by_what_is_said_and_not_by_who_reads() {
        let (mut writer, _fed) = writer(LIMITS, Duration::from_secs(3600));
        let changes = writer.database.total_changes();
        let begin = after(&read(&writer, "a", &Since::Last(0)));
        assert!(read(&writer, "a", &begin).recovered);
        assert_eq!((count(&writer, "stream"), writer.database.total_changes()), (0, changes));
        append(&mut writer, "a", 1, 10);
        let page = read(&writer, "a", &begin);
        assert!(page.recovered && page.messages.len() == 1);
    }

    #[test]
    fn streams_are_forgotten_if_there_are_too_many_and_after_a_time() {
        let (mut writer, _fed) = writer(LIMITS, Duration::from_secs(3600));
        let begin = after(&read(&writer, "x", &Since::Last(0)));
        append(&mut writer, "a", 1, 10);
        let position = after(&read(&writer, "a", &Since::Last(0)));
        for name in ["b", "c", "d", "e", "f"] {
            append(&mut writer, name, 1, 10);
            writer.forget().unwrap();
            assert!(count(&writer, "stream") <= 3, "{name}");
        }
        assert_eq!((count(&writer, "stream"), count(&writer, "message"), writer.streams), (3, 3, 3));
        for (stream, position) in [("a", &position), ("x", &begin)] {
            assert!(!read(&writer, stream, position).recovered, "{stream}");
        }
        // Under another epoch, should it come again.
        append(&mut writer, "a", 1, 10);
        assert!(!read(&writer, "a", &position).recovered);
        writer.database.execute("UPDATE stream SET used = used - 3700 WHERE name <> 'a'", []).unwrap();
        writer.limits.streams = 100;
        writer.looked = Instant::now().checked_sub(LONGEST_KEPT_TOO_LONG).unwrap();
        writer.forget().unwrap();
        assert_eq!((count(&writer, "stream"), count(&writer, "message"), writer.streams), (1, 1, 1));
    }

    #[test]
    fn of_a_stream_so_many_bytes_are_kept_and_its_last_message() {
        let (mut writer, _fed) = writer(LIMITS, Duration::from_secs(3600));
        writer.limits.page_bytes = 1 << 20;
        for (id, bytes, kept) in [(1, 4000, 1), (2, 4000, 2), (3, 4000, 2), (4, 20_000, 1), (5, 10, 1)] {
            assert_eq!(append(&mut writer, "a", id, bytes).seq, id as u64);
            assert_eq!(read(&writer, "a", &Since::Last(9)).messages.len(), kept, "{id}");
            let [counted, kept] = ["bytes FROM stream", "sum(octet_length(body)) FROM message"].map(|what| {
                writer.database.query_row(&format!("SELECT {what}"), [], |row| row.get::<_, i64>(0))
            });
            assert_eq!(counted.unwrap(), kept.unwrap());
        }
        for id in 6..20 {
            append(&mut writer, "a", id, 10);
        }
        assert_eq!(read(&writer, "a", &Since::Last(9)).messages.len(), 5);
    }

    #[test]
    fn no_more_is_read_than_a_page_has() {
        let (mut writer, _fed) = writer(LIMITS, Duration::from_secs(3600));
        for id in 1..=4 {
            append(&mut writer, "a", id, 2000);
        }
        writer.database.execute("UPDATE message SET body = 'no message' WHERE seq = 4", []).unwrap();
        let page = read(&writer, "a", &Since::Last(9));
        assert!(page.more && page.messages.len() == 2);
    }

    #[test]
    fn a_file_of_before_has_what_it_had() {
        let file = std::env::temp_dir().join(format!("taut-hub-before-{}", epoch()));
        let before = Connection::open(&file).unwrap();
        before.execute_batch(SCHEMA).unwrap();
        before.execute_batch("INSERT INTO stream VALUES (1, 'a', 'e', 1)").unwrap();
        let body = Envelope { seq: Some(1), ..message(1, 10) }.to_json();
        before.execute("INSERT INTO message VALUES (1, 1, '', '1', ?1)", [&body]).unwrap();
        drop(before);
        for _ in 0..2 {
            let (feed, _fed) = mpsc::channel(1);
            let mut writer = Writer::open(&file, feed, LIMITS, Duration::from_secs(3600)).unwrap();
            writer.looked = Instant::now().checked_sub(LONGEST_KEPT_TOO_LONG).unwrap();
            writer.forget().unwrap();
            let page = read(&writer, "a", &Since::After(Position { epoch: "e".into(), seq: 0 }));
            assert!(page.recovered && page.messages.len() == 1 && writer.streams == 1);
            let bytes: i64 =
                writer.database.query_row("SELECT bytes FROM stream", [], |row| row.get(0)).unwrap();
            assert_eq!(bytes.cast_unsigned(), body.len() as u64);
        }
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", file.display()));
        }
    }
}
