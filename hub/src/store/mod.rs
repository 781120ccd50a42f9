//! Where messages, users and revocations are kept.
//!
//! A store numbers the messages of each stream, keeps the last of them, and hands everything that it took to its feed, in
//! the order of the numbers. Who opens a stream does so in the same feed: so what was read of the past and what comes
//! from there on meet without a gap, and without anybody waiting for anybody.

#![forbid(unsafe_code)]

pub mod memory;
pub mod postgres;
pub mod redis;
pub mod sqlite;
mod trust;
pub(crate) mod watched;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::envelope::Envelope;

/// A store.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Numbers a message and keeps it. Done when it is as durable as [`durability`](Self::durability) says. A message
    /// whose sender and id the stream still has is the same one: it gets the number that it has, and is not fed again.
    fn append(&self, stream: String, message: Envelope) -> Running<'_, Result<Appended, StoreError>>;

    /// Reads a stream, and has `then` called with it in the feed's order: all that is fed later has a higher number.
    fn open(&self, stream: String, from: Since, then: Then) -> Running<'_, Result<(), StoreError>>;

    /// Bars a user, or lets them in again.
    fn set_disabled(&self, user: String, disabled: bool) -> Running<'_, Result<(), StoreError>>;

    /// Takes a token back, by its `jti`, up to the time (seconds since 1970) at which it expires by itself, and an hour
    /// longer. An earlier time takes nothing away from a later one.
    fn revoke(&self, token: String, until: u64) -> Running<'_, Result<(), StoreError>>;

    /// Takes all tokens of a user back that were issued before a time (seconds since 1970). An earlier time takes nothing away
    /// from a later one.
    fn revoke_before(&self, user: String, time: u64) -> Running<'_, Result<(), StoreError>>;

    /// From when on the tokens of a user have to be issued; zero if all are good.
    fn valid_from(&self, user: String) -> Running<'_, Result<u64, StoreError>>;

    /// Whether a user is barred, or a token was taken back.
    fn is_barred(&self, user: String, token: Option<String>) -> Running<'_, Result<bool, StoreError>>;

    /// Ends the store: what came before is done, what comes later is refused. Done when files are closed.
    fn close(&self) -> Running<'_, ()>;

    /// What an acknowledged message survives.
    fn durability(&self) -> &str;
}

/// What a store does, while it does it. Dropped, it may be done or not.
pub type Running<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is to be done with what was read.
pub type Then = Box<dyn FnOnce(Page) + Send>;

/// What a store feeds to those who deliver.
pub enum Fed {
    /// A message of a stream, with its number.
    Message(Arc<str>, Arc<Envelope>),
    /// A stream that was opened.
    Opened(Page, Then),
    /// Something before this is not fed, and cannot be had by waiting: all clients have to recover.
    Gap,
}

/// Where a store feeds to. Full, the store waits.
pub type Feed = mpsc::Sender<Fed>;

/// A message that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// Its number.
    pub seq: u64,
    /// What the stream's numbers belong to.
    pub epoch: Arc<str>,
    /// It was kept before.
    pub duplicate: bool,
}

/// From where on to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// So many of the last messages.
    Last(usize),
    /// What came after this.
    After(Position),
}

/// A place in a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// What the number belongs to: a stream that was forgotten begins anew, with another.
    pub epoch: String,
    /// The number of the last message; zero before the first.
    pub seq: u64,
}

/// A part of a stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// What its numbers belong to.
    pub epoch: Arc<str>,
    /// The number of the last message that the stream has.
    pub seq: u64,
    /// The messages, in order.
    pub messages: Vec<Arc<Envelope>>,
    /// There are more than fit into a page: the last number here is where to go on.
    pub more: bool,
    /// Nothing is missing between the position that was asked for and this.
    pub recovered: bool,
}

/// How much is kept, and read at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages of a stream.
    pub messages: usize,
    /// Bytes of a stream; its last message is always kept.
    pub bytes: usize,
    /// Streams that are remembered.
    pub streams: usize,
    /// Bytes of all streams in memory.
    pub memory: usize,
    /// Messages of a page.
    pub page: usize,
    /// Bytes of a page; one message is always in.
    pub page_bytes: usize,
}

/// Why a store did not do it.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// It was stopped.
    Stopped,
    /// The database says no.
    Database(rusqlite::Error),
    /// Redis says no, or nothing.
    Redis(::redis::RedisError),
    /// PostgreSQL says no, or nothing.
    Postgres(Arc<postgres::Fault>),
    /// The certificates to trust cannot be had.
    Roots(String),
    /// What is in it cannot be read.
    Corrupt(serde_json::Error),
}

impl Page {
    /// Takes as many as fit, and reads no more than one besides.
    fn fill(
        &mut self,
        messages: impl Iterator<Item = Result<Arc<Envelope>, StoreError>>,
        limits: &Limits,
    ) -> Result<(), StoreError> {
        let mut bytes = 0;
        for message in messages {
            let message = message?;
            bytes += size(&message);
            let is_full = self.messages.len() >= limits.page || bytes > limits.page_bytes;
            if is_full && !self.messages.is_empty() {
                self.more = true;
                return Ok(());
            }
            self.messages.push(message);
        }
        Ok(())
    }

    /// Whether there are more is what the numbers say, where not all was read.
    fn ends_before_the_last(&mut self) {
        self.more = self.messages.last().and_then(|last| last.seq).is_some_and(|last| last < self.seq);
    }
}

/// Whether a token that is taken back can expire then (seconds since 1970): not long ago, and not in many lifetimes, as
/// milliseconds would say.
pub(crate) fn can_expire(until: u64) -> bool {
    let now = now();
    (now.saturating_sub(SLACK)..=now.saturating_add(LONGEST_REVOKED)).contains(&until)
}

/// Whether tokens of before this (seconds since 1970) can be there: it is not in milliseconds, nor so late that nobody gets
/// another one.
pub(crate) fn can_be_issued(before: u64) -> bool {
    before <= now().saturating_add(SLACK)
}

/// In seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A message as it is kept, with its number.
fn numbered(body: &str, seq: u64) -> Result<Envelope, StoreError> {
    let message: Envelope = serde_json::from_str(body).map_err(StoreError::Corrupt)?;
    Ok(Envelope { seq: Some(seq), ..message })
}

/// About how long a message is as text.
fn size(message: &Envelope) -> usize {
    let texts = [&message.id, &message.from_user_id, &message.to_user_id, &message.room];
    let data = message.data.as_ref().map_or(0, |data| data.get().len());
    data + texts.into_iter().flatten().map(String::len).sum::<usize>() + FRAME
}

/// How much longer a revocation is kept than its token, in seconds: for clocks that differ, and for `auth.leeway`.
const SLACK: u64 = 3600;

/// The longest that a revocation is kept, in seconds: a hundred years.
const LONGEST_REVOKED: u64 = 3_155_760_000;

/// Names, numbers and the time of an envelope.
const FRAME: usize = 160;

impl fmt::Debug for Fed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(stream, message) => {
                f.debug_tuple("Message").field(stream).field(&message.seq).finish()
            }
            Self::Opened(page, _) => f.debug_tuple("Opened").field(&page.seq).finish(),
            Self::Gap => f.write_str("Gap"),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the store was stopped"),
            Self::Database(error) => write!(f, "the database failed: {error}"),
            Self::Redis(error) => {
                write!(f, "Redis failed: {error}")?;
                if redis::is_tls(error) {
                    f.write_str(": redis.ca_file names the roots to trust; redis:// does without TLS")?;
                }
                Ok(())
            }
            Self::Postgres(fault) => write!(f, "PostgreSQL failed: {fault}"),
            Self::Roots(error) => write!(f, "the roots for TLS cannot be had: {error}"),
            Self::Corrupt(error) => write!(f, "the database holds what is no message: {error}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Stopped | Self::Roots(_) => None,
            Self::Database(error) => Some(error),
            Self::Redis(error) => Some(error),
            Self::Postgres(fault) => Some(fault),
            Self::Corrupt(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::memory::Memory;
    use super::sqlite::Sqlite;
    use super::*;

    #[tokio::test]
    async fn a_token_that_was_taken_back_stays_so_for_an_hour_longer() {
        let limits = Limits { messages: 1, bytes: 1, streams: 1, memory: 1, page: 1, page_bytes: 1 };
        let (feed, _fed) = mpsc::channel(1);
        let sqlite = Sqlite::open_file(Path::new(":memory:"), feed.clone(), limits, Duration::from_secs(1));
        let stores: [Box<dyn Store>; 2] = [Box::new(Memory::new(feed, limits)), Box::new(sqlite.unwrap())];
        for store in stores {
            let later = now() + 1000;
            for (token, until) in [("within", now() - 60), ("later", later), ("later", 1), ("gone", 1)] {
                store.revoke(token.to_owned(), until).await.unwrap();
            }
            // Whenever one is taken back, those are forgotten that nobody can use any more.
            store.revoke("another".to_owned(), later).await.unwrap();
            for (token, is_barred) in [("within", true), ("later", true), ("gone", false)] {
                let barred = store.is_barred("ana".to_owned(), Some(token.to_owned())).await.unwrap();
                assert_eq!(barred, is_barred, "{token} {store:?}");
            }
        }
    }

    #[tokio::test]
    async fn tokens_of_before_a_time_are_taken_back_and_the_latest_time_counts() {
        let limits = Limits { messages: 1, bytes: 1, streams: 1, memory: 1, page: 1, page_bytes: 1 };
        let (feed, _fed) = mpsc::channel(1);
        let sqlite = Sqlite::open_file(Path::new(":memory:"), feed.clone(), limits, Duration::from_secs(1));
        let stores: [Box<dyn Store>; 2] = [Box::new(Memory::new(feed, limits)), Box::new(sqlite.unwrap())];
        for store in stores {
            for time in [5, 7, 6] {
                store.revoke_before("ana".to_owned(), time).await.unwrap();
            }
            for (user, from) in [("ana", 7), ("bob", 0)] {
                assert_eq!(store.valid_from(user.to_owned()).await.unwrap(), from, "{store:?}");
            }
        }
    }

    #[test]
    fn tokens_expire_in_seconds_and_not_long_ago() {
        for (until, can) in
            [(now(), true), (now() + 3600, true), (now() - 7200, false), (now() * 1000, false)]
        {
            assert_eq!(can_expire(until), can, "{until}");
        }
    }
}
