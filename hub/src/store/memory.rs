//! What is kept as long as the program runs.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::{Appended, Fed, Feed, Limits, Page, Running, Since, Store, StoreError, Then};
use crate::envelope::Envelope;

/// A store in memory.
pub struct Memory {
    feed: Feed,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    streams: HashMap<Arc<str>, Stream>,
    /// Counts uses, so that the stream that was used least recently is known.
    uses: u64,
    disabled: HashSet<String>,
    revoked: HashMap<String, u64>,
}

struct Stream {
    epoch: Arc<str>,
    seq: u64,
    messages: VecDeque<Arc<Envelope>>,
    /// By sender and id.
    known: HashMap<(String, String), u64>,
    used: u64,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(feed: Feed, limits: Limits) -> Self {
        Self { feed, limits, state: Mutex::default() }
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
            let stream = state.stream(&name, self.limits.streams);
            let (appended, message) = stream.append(message, self.limits.messages);
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
            let page = state.stream(&stream.into(), self.limits.streams).read(&from, &self.limits);
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
            state.revoked.retain(|_, until| *until >= now);
            state.revoked.insert(token, until);
            Ok(())
        })
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
    /// The stream of this name, made if there is none; then the one that was used least recently goes, if there are too
    /// many.
    fn stream(&mut self, name: &Arc<str>, most: usize) -> &mut Stream {
        self.uses += 1;
        let used = self.uses;
        if !self.streams.contains_key(name) {
            if self.streams.len() >= most {
                let oldest = self.streams.iter().min_by_key(|(_, stream)| stream.used);
                let oldest = oldest.map(|(name, _)| name.clone());
                if let Some(oldest) = oldest {
                    self.streams.remove(&oldest);
                }
            }
            self.streams.insert(name.clone(), Stream::new());
        }
        let stream = self.streams.get_mut(name).expect("it is there, or was put there");
        stream.used = used;
        stream
    }
}

impl Stream {
    fn new() -> Self {
        Self {
            epoch: Uuid::new_v4().to_string().into(),
            seq: 0,
            messages: VecDeque::new(),
            known: HashMap::new(),
            used: 0,
        }
    }

    fn append(&mut self, mut message: Envelope, most: usize) -> (Appended, Option<Arc<Envelope>>) {
        let key = key(&message);
        if let Some(&seq) = key.as_ref().and_then(|key| self.known.get(key)) {
            return (Appended { seq, epoch: self.epoch.clone(), duplicate: true }, None);
        }
        self.seq += 1;
        message.seq = Some(self.seq);
        let message = Arc::new(message);
        self.messages.push_back(message.clone());
        if let Some(key) = key {
            self.known.insert(key, self.seq);
        }
        while self.messages.len() > most {
            if let Some(key) = self.messages.pop_front().as_deref().and_then(self::key) {
                self.known.remove(&key);
            }
        }
        (Appended { seq: self.seq, epoch: self.epoch.clone(), duplicate: false }, Some(message))
    }

    fn read(&self, from: &Since, limits: &Limits) -> Page {
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
        page.fill(self.messages.iter().skip(skipped).cloned(), limits);
        page
    }
}

fn key(message: &Envelope) -> Option<(String, String)> {
    Some((message.from_user_id.clone().unwrap_or_default(), message.id.clone()?))
}

/// In seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("limits", &self.limits).finish_non_exhaustive()
    }
}
