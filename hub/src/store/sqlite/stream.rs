//! One stream in the file: its messages, and the pages of it.

#![forbid(unsafe_code)]

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::envelope::Envelope;
use crate::store::{Appended, Limits, Page, Since, StoreError};

/// As [`append`], all of it or nothing: what is kept and fed to nobody would be missed.
pub(super) fn append_whole(
    database: &Connection,
    name: &str,
    message: Envelope,
    limits: &Limits,
) -> Result<(Appended, Option<Envelope>), StoreError> {
    database.prepare_cached("SAVEPOINT one")?.execute([])?;
    let appended = append(database, name, message, limits);
    if appended.is_err() {
        database.prepare_cached("ROLLBACK TO one")?.execute([])?;
    }
    database.prepare_cached("RELEASE one")?.execute([])?;
    appended
}

fn append(
    database: &Connection,
    name: &str,
    mut message: Envelope,
    limits: &Limits,
) -> Result<(Appended, Option<Envelope>), StoreError> {
    let Found { stream, epoch, last, mut bytes } = match find(database, name)? {
        Some(found) => found,
        None => create(database, name)?,
    };
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
    let body = message.to_json();
    database
        .prepare_cached("INSERT INTO message (stream, seq, sender, id, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![stream, seq, sender, message.id, body])?;
    let most = |limit: usize| i64::try_from(limit).unwrap_or(i64::MAX);
    bytes = bytes.saturating_add(most(body.len()));
    bytes -= remove(database, stream, seq.saturating_sub(most(limits.messages)))?;
    while bytes > most(limits.bytes) {
        let oldest: Option<i64> = database
            .prepare_cached("SELECT min(seq) FROM message WHERE stream = ?1 AND seq < ?2")?
            .query_row([stream, seq], |row| row.get(0))?;
        let Some(oldest) = oldest else { break };
        bytes -= remove(database, stream, oldest)?;
    }
    database
        .prepare_cached("UPDATE stream SET seq = ?2, bytes = ?3, used = unixepoch() WHERE number = ?1")?
        .execute([stream, seq, bytes])?;
    Ok((Appended { seq: seq.cast_unsigned(), epoch, duplicate: false }, Some(message)))
}

/// Forgets messages up to a number: how many bytes they had.
fn remove(database: &Connection, stream: i64, last: i64) -> rusqlite::Result<i64> {
    let mut statement = database
        .prepare_cached("DELETE FROM message WHERE stream = ?1 AND seq <= ?2 RETURNING octet_length(body)")?;
    statement.query_map([stream, last], |row| row.get::<_, i64>(0))?.sum()
}

pub(super) fn open(
    database: &Connection,
    name: &str,
    from: &Since,
    limits: &Limits,
) -> Result<Page, StoreError> {
    // One in which nothing was said is not made by reading it.
    let (stream, epoch, last) = match find(database, name)? {
        Some(found) => (found.stream, found.epoch, found.last),
        None => (NO_STREAM, era(database)?, 0),
    };
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
    let read = |body: rusqlite::Result<String>| {
        Ok(Arc::new(serde_json::from_str::<Envelope>(&body?).map_err(StoreError::Corrupt)?))
    };
    page.fill(bodies.map(read), limits)?;
    Ok(page)
}

/// A stream that is there.
struct Found {
    stream: i64,
    epoch: Arc<str>,
    /// The number of its last message.
    last: i64,
    /// Of what is kept of it.
    bytes: i64,
}

fn find(database: &Connection, name: &str) -> rusqlite::Result<Option<Found>> {
    let mut statement =
        database.prepare_cached("SELECT number, epoch, seq, bytes FROM stream WHERE name = ?1")?;
    let read = |row: &rusqlite::Row<'_>| {
        let epoch: String = row.get(1)?;
        Ok(Found { stream: row.get(0)?, epoch: epoch.into(), last: row.get(2)?, bytes: row.get(3)? })
    };
    statement.query_row([name], read).optional()
}

fn create(database: &Connection, name: &str) -> rusqlite::Result<Found> {
    let epoch = era(database)?;
    database
        .prepare_cached("INSERT INTO stream (name, epoch, seq) VALUES (?1, ?2, 0)")?
        .execute(params![name, epoch])?;
    Ok(Found { stream: database.last_insert_rowid(), epoch, last: 0, bytes: 0 })
}

/// Under which streams begin.
fn era(database: &Connection) -> rusqlite::Result<Arc<str>> {
    let mut statement = database.prepare_cached("SELECT epoch FROM era")?;
    statement.query_row([], |row| row.get::<_, String>(0)).map(Arc::from)
}

pub(super) fn epoch() -> String {
    Uuid::new_v4().to_string()
}

/// The number of no stream.
const NO_STREAM: i64 = 0;
