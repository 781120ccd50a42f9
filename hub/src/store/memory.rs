//! What is kept as long as the program runs.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::{Appended, Fed, Feed, Limits, Page, Running, SLACK, Since, Store, StoreError, Then, now, size};
use crate::envelope::Envelope;

/// A store in memory.
pub struct Memory {
    feed: Feed,
    limits: Limits,
    state: Mutex<State>,
}

struct State {
    streams: HashMap<Arc<str>, Stream>,
    /// Under which streams begin: another one whenever one is forgotten. So a position in a stream of which nothing was
    /// said yet is good, and nothing is remembered of it.
    era: Arc<str>,
    /// Of all streams.
    bytes: usize,
    /// Counts uses, so that the stream that was used least recently is known.
    uses: u64,
    disabled: HashSet<String>,
    revoked: HashMap<String, u64>,
    valid_from: HashMap<String, u64>,
}

struct Stream {
    epoch: Arc<str>,
    seq: u64,
    messages: VecDeque<Arc<Envelope>>,
    bytes: usize,
    /// By sender and id.
    known: HashMap<(String, String), u64>,
    used: u64,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(feed: Feed, limits: Limits) -> Self {
        let state = State {
            streams: HashMap::new(),
            era: epoch(),
            bytes: 0,
            uses: 0,
            disabled: HashSet::new(),
            revoked: HashMap::new(),
            valid_from: HashMap::new(),
        };
        Self { feed, limits, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn append(&self, stream: String, message: Envelope) -> Running<'_, Result<Appended, StoreError>> {
        Box::pin(async move {
            // Room in the feed first: what is numbered is fed, under the lock that numbers it.
            let permit = self.feed.reserve().await.map_err(|_| StoreError::Stopped)?;
            let mut state = self.state();
            let name: Arc<str> = stream.into();
            let (appended, message) = state.append(&name, message, &self.limits);
            if let Some(message) = message {
                permit.send(Fed::Message(name, message));
            }
            Ok(appended)
        })
    }

    fn open(&self, stream: String, from: Since, then: Then) -> Running<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let permit = self.feed.reserve().await.map_err(|_| StoreError::Stopped)?;
            let mut state = self.state();
            let page = state.read(&stream, &from, &self.limits)?;
            permit.send(Fed::Opened(page, then));
            Ok(())
        })
    }

    fn set_disabled(&self, user: String, disabled: bool) -> Running<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut state = self.state();
            if disabled {
                state.disabled.insert(user);
            } else {
                state.disabled.remove(&user);
            }
            Ok(())
        })
    }

    fn revoke(&self, token: String, until: u64) -> Running<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut state = self.state();
            let now = now();
            state.revoked.retain(|_, until| until.saturating_add(SLACK) >= now);
            let kept = state.revoked.entry(token).or_default();
            *kept = until.max(*kept);
            Ok(())
        })
    }

    fn revoke_before(&self, user: String, time: u64) -> Running<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut state = self.state();
            let kept = state.valid_from.entry(user).or_default();
            *kept = time.max(*kept);
            Ok(())
        })
    }

    fn valid_from(&self, user: String) -> Running<'_, Result<u64, StoreError>> {
        Box::pin(async move { Ok(self.state().valid_from.get(&user).copied().unwrap_or_default()) })
    }

    fn is_barred(&self, user: String, token: Option<String>) -> Running<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let state = self.state();
            let is_revoked = token.is_some_and(|token| state.revoked.contains_key(&token));
            Ok(is_revoked || state.disabled.contains(&user))
        })
    }

    fn close(&self) -> Running<'_, ()> {
        Box::pin(async {})
    }

    fn durability(&self) -> &str {
        "memory: nothing survives the program"
    }
}

impl State {
    fn append(
        &mut self,
        name: &Arc<str>,
        message: Envelope,
        limits: &Limits,
    ) -> (Appended, Option<Arc<Envelope>>) {
        if !self.streams.contains_key(name) {
            while self.streams.len() >= limits.streams && self.forget() {}
            self.streams.insert(name.clone(), Stream::new(self.era.clone()));
        }
        self.uses += 1;
        let stream = self.streams.get_mut(name).expect("it is there, or was put there");
        stream.used = self.uses;
        let before = stream.bytes;
        let appended = stream.append(message, limits);
        self.bytes = self.bytes - before + stream.bytes;
        // It is the last to go, and one stream may be longer than all may be together.
        while self.bytes > limits.memory && self.streams.len() > 1 && self.forget() {}
        appended
    }

    fn read(&mut self, name: &str, from: &Since, limits: &Limits) -> Result<Page, StoreError> {
        self.uses += 1;
        let Some(stream) = self.streams.get_mut(name) else {
            return Stream::new(self.era.clone()).read(from, limits);
        };
        stream.used = self.uses;
        stream.read(from, limits)
    }

    /// Forgets the stream that was used least recently. Whether there was one.
    fn forget(&mut self) -> bool {
        let oldest = self.streams.iter().min_by_key(|(_, stream)| stream.used).map(|(name, _)| name.clone());
        let Some(stream) = oldest.and_then(|oldest| self.streams.remove(&oldest)) else { return false };
        self.bytes -= stream.bytes;
        self.era = epoch();
        true
    }
}

impl Stream {
    fn new(epoch: Arc<str>) -> Self {
        Self { epoch, seq: 0, messages: VecDeque::new(), bytes: 0, known: HashMap::new(), used: 0 }
    }

    fn append(&mut self, mut message: Envelope, limits: &Limits) -> (Appended, Option<Arc<Envelope>>) {
        let key = key(&message);
        if let Some(&seq) = key.as_ref().and_then(|key| self.known.get(key)) {
            return (Appended { seq, epoch: self.epoch.clone(), duplicate: true }, None);
        }
        self.seq += 1;
        message.seq = Some(self.seq);
        let message = Arc::new(message);
        self.bytes += held(&message);
        self.messages.push_back(message.clone());
        if let Some(key) = key {
            self.known.insert(key, self.seq);
        }
        let is_over = |this: &Self| this.messages.len() > limits.messages || this.bytes > limits.bytes;
        while self.messages.len() > 1 && is_over(self) {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= held(&oldest);
            if let Some(key) = self::key(&oldest) {
                self.known.remove(&key);
            }
        }
        (Appended { seq: self.seq, epoch: self.epoch.clone(), duplicate: false }, Some(message))
    }

    fn read(&self, from: &Since, limits: &Limits) -> Result<Page, StoreError> {
        let (epoch, seq) = (self.epoch.clone(), self.seq);
        let mut page = Page { epoch, seq, messages: Vec::new(), more: false, recovered: true };
        let kept_after = self.seq - self.messages.len() as u64;
        let skipped = match from {
            Since::Last(number) => self.messages.len().saturating_sub(*number),
            Since::After(position) => {
                let is_known = *position.epoch == *self.epoch;
                page.recovered = is_known && (kept_after..=self.seq).contains(&position.seq);
                if page.recovered {
                    usize::try_from(position.seq - kept_after).unwrap_or(usize::MAX)
                } else {
                    usize::MAX
                }
            }
        };
        page.fill(self.messages.iter().skip(skipped).cloned().map(Ok), limits)?;
        Ok(page)
    }
}

fn key(message: &Envelope) -> Option<(String, String)> {
    Some((message.from_user_id.clone().unwrap_or_default(), message.id.clone()?))
}

fn epoch() -> Arc<str> {
    Uuid::new_v4().to_string().into()
}

/// About how much memory a message takes, with what it is recognised by.
fn held(message: &Envelope) -> usize {
    size(message) + RECOGNISED
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The sender and id again, and the tables that they are in.
const RECOGNISED: usize = 400;

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use tokio::sync::mpsc;

    use super::*;
    use crate::store::Position;

    const LIMITS: Limits =
        Limits { messages: 5, bytes: 10_000, streams: 10, memory: 25_000, page: 9, page_bytes: 1 << 20 };

    fn message(id: usize, bytes: usize) -> Envelope {
        let data = RawValue::from_string(format!("{:?}", "x".repeat(bytes))).unwrap();
        Envelope { id: Some(id.to_string()), data: Some(data), ..Envelope::new("text") }
    }

    #[test]
    fn memory_is_bounded_and_who_misses_something_is_told() {
        let (feed, _fed) = mpsc::channel(1);
        let memory = Memory::new(feed, LIMITS);
        let mut state = memory.state();
        let after = |page: &Page| Since::After(Position { epoch: (*page.epoch).to_owned(), seq: page.seq });
        let begin = after(&state.read("a", &Since::Last(0), &LIMITS).unwrap());
        assert!(state.streams.is_empty(), "reading keeps nothing");
        state.append(&"a".into(), message(0, 10), &LIMITS);
        let page = state.read("a", &begin, &LIMITS).unwrap();
        assert!(page.recovered && page.messages.len() == 1);
        // By bytes, and the last one is always kept.
        for (id, (bytes, kept)) in
            [(4000, 2), (4000, 3), (4000, 2), (20_000, 1), (10, 1), (10, 2)].iter().enumerate()
        {
            state.append(&"a".into(), message(id + 1, *bytes), &LIMITS);
            let page = state.read("a", &Since::Last(9), &LIMITS).unwrap();
            assert_eq!((page.messages.len(), page.seq), (*kept, id as u64 + 2));
            let is_all = page.messages.len() as u64 == page.seq;
            assert_eq!(state.read("a", &begin, &LIMITS).unwrap().recovered, is_all);
        }
        let position = after(&state.read("a", &Since::Last(0), &LIMITS).unwrap());
        for id in 0..100 {
            state.append(&format!("@{id}").into(), message(id, if id < 50 { 4000 } else { 10 }), &LIMITS);
            assert!(state.bytes <= LIMITS.memory && state.streams.len() <= LIMITS.streams);
            assert_eq!(state.bytes, state.streams.values().map(|stream| stream.bytes).sum::<usize>());
        }
        assert!(!state.read("a", &position, &LIMITS).unwrap().recovered);
    }
}
