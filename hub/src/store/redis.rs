//! What is kept by Redis, for many nodes. Scripts number and keep; each leaves an entry in one stream, the feed, whose
//! numbers have no gaps: every node reads it, and knows whether it missed anything.

#![forbid(unsafe_code)]

mod reader;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, io};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, ConnectionAddr, FromRedisValue, IntoConnectionInfo, RedisError, RedisResult, Script,
    ScriptInvocation, TlsCertificates,
};
use taut::tokio::rustls::{self, crypto::aws_lc_rs};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Appended, Feed, LONGEST_REVOKED, Limits, Page, Running, SLACK, Since, Store, StoreError, Then};
use super::{now, numbered, trust};
use crate::bus::{Bus, BusError, MUTE, News};
use crate::envelope::Envelope;
use crate::outage::Outage;
use crate::secret::Secret;
use reader::{Reader, watch};

/// A store, and the bus, of many nodes. Clones are the same.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

/// They read the feed, as long as the store is there.
struct Tasks([JoinHandle<()>; 2]);

/// Where it is, and how much it keeps.
#[derive(Clone, Debug)]
pub struct Place {
    /// `redis://…`, or `rediss://…` for TLS; it may have a user and a password.
    pub url: Secret,
    /// What begins the names of all keys: hubs with different ones do not know of each other.
    pub prefix: String,
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
    connection: ConnectionManager,
    scripts: Scripts,
    place: Place,
    limits: Limits,
    /// The highest number of the feed that this node knows of.
    known: AtomicU64,
    /// Told if Redis knew of less.
    lost: Notify,
    opens: mpsc::Sender<Open>,
    durability: String,
    /// News do not go out.
    mute: Outage,
}

struct Scripts {
    append: Script,
    open: Script,
    tell: Script,
    look: Script,
    revoke: Script,
    revoke_before: Script,
}

/// A stream that is to be opened in the order of the feed.
struct Open {
    stream: String,
    from: Since,
    then: Then,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

/// Of each script: whether Redis lost something, and the number of the feed's last entry.
type Told = (u8, u64);

impl Redis {
    /// Connects, and begins to read the feed: messages go to one channel, news to the other.
    ///
    /// # Errors
    /// Redis cannot be reached, or does not take the scripts.
    pub async fn connect(
        place: Place,
        limits: Limits,
        feed: Feed,
        news: mpsc::Sender<News>,
    ) -> Result<Self, StoreError> {
        let client = client(&place)?;
        let settings = ConnectionManagerConfig::new()
            .set_response_timeout(Some(PATIENCE))
            .set_connection_timeout(Some(PATIENCE))
            .set_max_delay(LONGEST_DELAY)
            .set_pipeline_buffer_size(MOST_WAITING);
        let mut connection = client.get_connection_manager_with_config(settings).await?;
        let scripts = Scripts::new();
        let mut look = scripts.look.key(format!("{}state", place.prefix));
        look.arg(0).arg(Uuid::new_v4().to_string());
        let (_, at): Told = look.invoke_async(&mut connection).await?;
        let durability = durability(&mut connection).await;
        let (opens, opened) = mpsc::channel(MOST_WAITING);
        let (batches, read) = mpsc::channel(1);
        let (known, lost) = (at.into(), Notify::new());
        let mute = Outage::new(MUTE);
        let shared =
            Arc::new(Shared { connection, scripts, place, limits, known, lost, opens, durability, mute });
        let tasks = Arc::new(Tasks([
            tokio::spawn(watch(client, shared.key("feed", ""), at, batches)),
            tokio::spawn(Reader::new(shared.clone(), at, feed, news).run(read, opened)),
        ]));
        Ok(Self { shared, tasks })
    }
}

impl Shared {
    fn key(&self, kind: &str, name: &str) -> String {
        format!("{}{kind}{name}", self.place.prefix)
    }

    /// A script, with what each begins with.
    fn begin<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut begun = script.key(self.key("state", ""));
        begun.arg(self.known.load(Ordering::Acquire)).arg(Uuid::new_v4().to_string());
        begun
    }

    async fn invoke<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> RedisResult<T> {
        script.invoke_async(&mut self.connection.clone()).await
    }

    fn learn(&self, lost: u8, at: u64) {
        self.known.fetch_max(at, Ordering::AcqRel);
        if lost != 0 {
            self.lost.notify_one();
        }
    }

    async fn append(&self, stream: &str, message: &Envelope) -> Result<Appended, StoreError> {
        let sender = message.from_user_id.as_deref().unwrap_or_default();
        let mut script = self.begin(&self.scripts.append);
        script.key(self.key("stream:", stream)).key(self.key("history:", stream)).key(self.key("feed", ""));
        // No sender has a control character.
        script.arg(format!("i{sender}\n{}", message.id.as_deref().unwrap_or_default()));
        script.arg(message.to_json()).arg(self.limits.messages).arg(milliseconds(self.place.keep));
        script.arg(self.place.feed).arg(stream).arg(self.limits.bytes).arg(self.place.feed_bytes);
        let (lost, at, seq, epoch, duplicate): (u8, u64, u64, String, u8) = self.invoke(&script).await?;
        self.learn(lost, at);
        Ok(Appended { seq, epoch: epoch.into(), duplicate: duplicate != 0 })
    }

    /// Reads a page, and the number of the feed's last entry at that moment.
    async fn page(&self, stream: &str, from: &Since) -> Result<(Page, u64), StoreError> {
        let (last, epoch, seq) = match from {
            Since::Last(number) => (i64::try_from(*number).unwrap_or(i64::MAX), "", 0),
            // Redis counts by numbers that are exact up to this.
            Since::After(position) => (-1, position.epoch.as_str(), position.seq.min(1 << 53)),
        };
        let mut script = self.begin(&self.scripts.open);
        script.key(self.key("stream:", stream)).key(self.key("history:", stream));
        script.arg(last).arg(epoch).arg(seq).arg(self.limits.page + 1).arg(milliseconds(KEPT_EMPTY));
        script.arg(self.limits.page_bytes);
        let (lost, at, epoch, seq, recovered, found): (u8, u64, String, u64, u8, Vec<(u64, String)>) =
            self.invoke(&script).await?;
        self.learn(lost, at);
        let mut page =
            Page { epoch: epoch.into(), seq, messages: Vec::new(), more: false, recovered: recovered != 0 };
        page.fill(found.iter().map(|(seq, body)| numbered(body, *seq).map(Arc::new)), &self.limits)?;
        page.ends_before_the_last();
        Ok((page, at))
    }

    async fn tell(&self, news: &News) -> Result<(), StoreError> {
        let mut script = self.begin(&self.scripts.tell);
        let text = serde_json::to_string(news).map_err(StoreError::Corrupt)?;
        script.key(self.key("feed", "")).arg(text).arg(self.place.feed).arg(self.place.feed_bytes);
        let (lost, at): Told = self.invoke(&script).await?;
        self.learn(lost, at);
        Ok(())
    }

    /// The number of the feed's last entry, and whether Redis knew less than this node.
    async fn look(&self) -> Result<(bool, u64), StoreError> {
        let (lost, at): Told = self.invoke(&self.begin(&self.scripts.look)).await?;
        self.known.fetch_max(at, Ordering::AcqRel);
        Ok((lost != 0, at))
    }

    async fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        Ok(command.query_async(&mut self.connection.clone()).await?)
    }
}

impl Store for Redis {
    fn append(&self, stream: String, message: Envelope) -> Running<'_, Result<Appended, StoreError>> {
        Box::pin(async move { self.shared.append(&stream, &message).await })
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
            let name = if disabled { "SADD" } else { "SREM" };
            self.shared.ask(redis::cmd(name).arg(self.shared.key("disabled", "")).arg(user)).await
        })
    }

    fn revoke(&self, token: String, until: u64) -> Running<'_, Result<(), StoreError>> {
        Box::pin(async move {
            // A clock that differs must not let it in again.
            let seconds = until.saturating_sub(now()).saturating_add(SLACK).min(LONGEST_REVOKED);
            let mut script = self.shared.scripts.revoke.key(self.shared.key("revoked:", &token));
            Ok(self.shared.invoke(script.arg(seconds)).await?)
        })
    }

    fn revoke_before(&self, user: String, time: u64) -> Running<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut script = self.shared.scripts.revoke_before.key(self.shared.key("valid_from", ""));
            Ok(self.shared.invoke(script.arg(user).arg(time)).await?)
        })
    }

    fn valid_from(&self, user: String) -> Running<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let from: Option<u64> =
                self.shared.ask(redis::cmd("HGET").arg(self.shared.key("valid_from", "")).arg(user)).await?;
            Ok(from.unwrap_or_default())
        })
    }

    fn is_barred(&self, user: String, token: Option<String>) -> Running<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let disabled = self.shared.key("disabled", "");
            let mut both = redis::pipe();
            both.cmd("SISMEMBER").arg(disabled).arg(user);
            // No `jti` is empty: nothing is there without one.
            both.cmd("EXISTS").arg(self.shared.key("revoked:", token.as_deref().unwrap_or_default()));
            let (disabled, revoked): (bool, bool) =
                both.query_async(&mut self.shared.connection.clone()).await?;
            Ok(disabled || revoked)
        })
    }

    fn close(&self) -> Running<'_, ()> {
        Box::pin(async {
            self.tasks.end();
        })
    }

    fn durability(&self) -> &str {
        &self.shared.durability
    }
}

impl Bus for Redis {
    fn send(&self, news: News) -> Running<'_, Result<(), BusError>> {
        Box::pin(async move {
            let told = self.shared.tell(&news).await;
            self.shared.mute.note(&told);
            told.map_err(|_| BusError)
        })
    }

    fn is_shared(&self) -> bool {
        true
    }
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

impl Scripts {
    fn new() -> Self {
        let begin = concat!(include_str!("redis/guard.lua"), include_str!("redis/feed.lua"));
        let script = |text: &str| Script::new(&format!("{begin}{text}"));
        Self {
            append: script(include_str!("redis/append.lua")),
            open: script(include_str!("redis/open.lua")),
            tell: script(include_str!("redis/tell.lua")),
            look: script(include_str!("redis/look.lua")),
            revoke: Script::new(include_str!("redis/revoke.lua")),
            revoke_before: Script::new(include_str!("redis/revoke_before.lua")),
        }
    }
}

fn client(place: &Place) -> Result<Client, StoreError> {
    let info = place.url.reveal().into_connection_info()?;
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Ok(Client::open(info)?);
    }
    // `redis` takes the process's. Whoever has this in a program of theirs may have set another one.
    let _ = aws_lc_rs::default_provider().install_default();
    let roots = place.ca_file.as_deref().map(trust::read).transpose().map_err(StoreError::Roots)?;
    let root_cert = roots.map(|(text, _)| text);
    Ok(Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })?)
}

/// Whether TLS is what failed.
pub(super) fn is_tls(error: &RedisError) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<rustls::Error>())
}

/// As Redis is configured, where it tells.
async fn durability(connection: &mut ConnectionManager) -> String {
    let mut values = Vec::new();
    for name in ["appendonly", "appendfsync"] {
        let told: RedisResult<Vec<String>> =
            redis::cmd("CONFIG").arg("GET").arg(name).query_async(connection).await;
        let value = told.ok().and_then(|told| told.into_iter().nth(1));
        values.push(format!("{name} {}", value.unwrap_or_else(|| "unknown".to_owned())));
    }
    format!("Redis: {}", values.join(", "))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(1 << 53)
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("place", &self.shared.place).finish_non_exhaustive()
    }
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long is waited between two attempts to connect.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// How many requests wait for Redis.
const MOST_WAITING: usize = 1024;

/// How long a stream in which nothing was said is remembered.
const KEPT_EMPTY: Duration = Duration::from_secs(3600);
