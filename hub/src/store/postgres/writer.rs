//! What goes into the database: all that waits, in one transaction.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::ToSql;

use super::{Fault, Shared, number};
use crate::envelope::Envelope;
use crate::store::{Appended, StoreError};

pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What is to be written.
pub(super) enum Work {
    Append(String, Box<Envelope>, Answer<Appended>),
    /// News, as text.
    Tell(String, Answer<()>),
    /// Nothing any more: what came before is done.
    Close(oneshot::Sender<()>),
}

/// What is numbered together.
#[derive(Default)]
struct Batch {
    streams: Vec<Option<String>>,
    senders: Vec<String>,
    ids: Vec<Option<String>>,
    bodies: Vec<String>,
    answers: Vec<Waiting>,
    bytes: usize,
}

enum Waiting {
    Append(Answer<Appended>),
    Tell(Answer<()>),
}

/// Writes until there is nothing more to come.
pub(super) async fn write(shared: Arc<Shared>, mut work: mpsc::Receiver<Work>) {
    let mut waiting = Vec::new();
    while work.recv_many(&mut waiting, MOST_AT_ONCE).await > 0 {
        let mut batch = Batch::default();
        for work in waiting.drain(..) {
            match work {
                Work::Append(stream, message, answer) => batch.append(stream, *message, answer),
                Work::Tell(news, answer) => {
                    batch.push(None, String::new(), None, news, Waiting::Tell(answer))
                }
                Work::Close(closed) => {
                    batch.take(&shared).await;
                    let _ = closed.send(());
                    return;
                }
            }
            if batch.bytes >= MOST_BYTES {
                std::mem::take(&mut batch).take(&shared).await;
            }
        }
        batch.take(&shared).await;
    }
}

impl Batch {
    fn append(&mut self, stream: String, message: Envelope, answer: Answer<Appended>) {
        let body = message.to_json();
        let sender = message.from_user_id.unwrap_or_default();
        self.push(Some(stream), sender, message.id, body, Waiting::Append(answer));
    }

    fn push(
        &mut self,
        stream: Option<String>,
        sender: String,
        id: Option<String>,
        body: String,
        answer: Waiting,
    ) {
        self.bytes += body.len();
        self.streams.push(stream);
        self.senders.push(sender);
        self.ids.push(id);
        self.bodies.push(body);
        self.answers.push(answer);
    }

    /// Writes it, and answers once it is committed.
    async fn take(self, shared: &Shared) {
        if self.answers.is_empty() {
            return;
        }
        match self.write(shared).await {
            Ok(appended) => {
                shared.bell.notify_one();
                for (answer, appended) in self.answers.into_iter().zip(appended) {
                    match answer {
                        Waiting::Append(answer) => drop(answer.send(Ok(appended))),
                        Waiting::Tell(answer) => drop(answer.send(Ok(()))),
                    }
                }
            }
            Err(fault) => {
                let fault = Arc::new(fault);
                for answer in self.answers {
                    let error = StoreError::Postgres(fault.clone());
                    match answer {
                        Waiting::Append(answer) => drop(answer.send(Err(error))),
                        Waiting::Tell(answer) => drop(answer.send(Err(error))),
                    }
                }
            }
        }
    }

    async fn write(&self, shared: &Shared) -> Result<Vec<Appended>, Fault> {
        let known = shared.known.load(Ordering::Acquire).cast_signed();
        let kept = number(shared.limits.messages);
        let entries = number(shared.place.feed);
        let (kept_bytes, entry_bytes) = (number(shared.limits.bytes), number(shared.place.feed_bytes));
        let messages: [&(dyn ToSql + Sync); 5] =
            [&known, &self.streams, &self.senders, &self.ids, &self.bodies];
        let limits: [&(dyn ToSql + Sync); 4] = [&kept, &entries, &kept_bytes, &entry_bytes];
        let rows = shared.database.query(TAKE, &[&messages[..], &limits].concat()).await?;
        if rows.len() != self.answers.len() {
            return Err(Fault::Answer);
        }
        let read = |row: &tokio_postgres::Row| {
            let seq: i64 = row.try_get(0)?;
            let epoch: String = row.try_get(1)?;
            Ok(Appended { seq: seq.cast_unsigned(), epoch: epoch.into(), duplicate: row.try_get(2)? })
        };
        rows.iter().map(read).collect()
    }
}

const TAKE: &str =
    "SELECT given, epoch, duplicate FROM take($1, $2, $3, $4, $5, $6, $7, $8, $9) ORDER BY place";

/// How many are written in one transaction.
const MOST_AT_ONCE: usize = 256;

/// How many bytes are, but for the last message.
const MOST_BYTES: usize = 4 << 20;
