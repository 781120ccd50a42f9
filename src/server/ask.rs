//! Questions to a peer that speaks JSON: their ids, and the answers that wait for them.

#![forbid(unsafe_code)]

use alloc::string::String;
use core::fmt;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Mutex;

use ::tokio::sync::oneshot;
use ::tokio::time::timeout;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::handle::{Handle, lock};
use super::outbox::Refusal;

/// Why a question got no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum AskError {
    /// It was not sent.
    Refused(Refusal),
    /// As many as may wait for their answers: 256.
    TooMany,
    /// No answer came in time.
    Timeout,
    /// The connection ended before the answer came.
    Closed,
    /// The peer answered that it failed, and this is what it said.
    Failed(String),
    /// Question or answer are not the JSON that they should be.
    Json(serde_json::Error),
}

impl Handle {
    /// Asks the peer, as `{"type": kind, "id": …, "data": data}`, and waits for `{"type": "reply", "id": …, "data": …}` or,
    /// with `()` for the answer, for `{"type": "ack", "id": …}`. The connection has to be run by a
    /// [`Router`](super::Router), which finds the answers.
    ///
    /// **Cancel safety.** The question is sent at the first poll; who drops this does not hear the answer.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask<T, R>(&self, kind: &str, data: &T, time: Duration) -> Result<R, AskError>
    where
        T: Serialize + Sync + ?Sized,
        R: DeserializeOwned,
    {
        let waiting = self.get_or_insert::<Waiting>();
        let (id, answer) = waiting.enter()?;
        // However this ends, nobody waits for the answer afterwards.
        let _waits = Waits { waiting: &waiting, id };
        let data = serde_json::to_value(data).map_err(AskError::Json)?;
        let question = json!({ "type": kind, "id": id, "data": data });
        self.send_json(&question).map_err(|refusal| match refusal {
            Refusal::Closed => AskError::Closed,
            refusal => AskError::Refused(refusal),
        })?;
        match timeout(time, answer).await {
            Err(_) => Err(AskError::Timeout),
            Ok(Err(_)) => Err(AskError::Closed),
            Ok(Ok(Err(said))) => Err(AskError::Failed(said)),
            Ok(Ok(Ok(data))) => serde_json::from_value(data).map_err(AskError::Json),
        }
    }

    /// Gives an answer to who waits for it; whether this was one.
    pub(super) fn resolve(&self, kind: &str, id: Option<u64>, message: &mut Value) -> bool {
        let answer = match kind {
            "reply" => Ok(message["data"].take()),
            "ack" => Ok(Value::Null),
            "error" => Err(message["error"].as_str().unwrap_or_default().into()),
            _ => return false,
        };
        // Who is not there any more needs no answer.
        let asked = id.and_then(|id| self.get::<Waiting>()?.leave(id));
        if let Some(asked) = asked {
            let _ = asked.send(answer);
        }
        true
    }

    /// No answer will come any more.
    pub(super) fn forget_questions(&self) {
        let waiting = self.get_or_insert::<Waiting>();
        let asked = core::mem::take(&mut lock(&waiting.0).asked);
        drop(asked);
    }
}

type Answer = Result<Value, String>;

/// The questions that were not answered.
#[derive(Debug, Default)]
struct Waiting(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    asked: HashMap<u64, oneshot::Sender<Answer>>,
}

impl Waiting {
    fn enter(&self) -> Result<(u64, oneshot::Receiver<Answer>), AskError> {
        let mut state = lock(&self.0);
        if state.asked.len() >= MOST_ASKED {
            return Err(AskError::TooMany);
        }
        state.last += 1;
        let (sender, receiver) = oneshot::channel();
        let id = state.last;
        state.asked.insert(id, sender);
        Ok((id, receiver))
    }

    fn leave(&self, id: u64) -> Option<oneshot::Sender<Answer>> {
        lock(&self.0).asked.remove(&id)
    }
}

struct Waits<'a> {
    waiting: &'a Waiting,
    id: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.waiting.leave(self.id);
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the question was not sent: {refusal}"),
            Self::TooMany => f.write_str("too many questions wait for their answers: wait for some of them"),
            Self::Timeout => f.write_str("the peer did not answer in time"),
            Self::Closed => f.write_str("the connection ended before the answer came"),
            Self::Failed(said) => write!(f, "the peer failed: {said}"),
            Self::Json(error) => write!(f, "not the JSON that it should be: {error}"),
        }
    }
}

impl core::error::Error for AskError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Json(error) => Some(error),
            Self::TooMany | Self::Timeout | Self::Closed | Self::Failed(_) => None,
        }
    }
}

/// How many questions may wait for their answers on one connection.
const MOST_ASKED: usize = 256;
