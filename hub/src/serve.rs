//! A hub put together: store, bus, WebSockets, HTTP API, and what happens at signals.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use taut::proto::CloseCode;
use taut::proto::handshake::Reject;
use taut::server::{Drained, Fault, Server, Shutdown, Upgrade, forbidden};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::api::{self, Api};
use crate::auth::Verifier;
use crate::bus::{Bus, Local, News};
use crate::cluster::{self, Cluster};
use crate::config::{Config, Secret, host_of, is_localhost};
use crate::hub::Hub;
use crate::session;
use crate::store::memory::Memory;
use crate::store::postgres::Postgres;
use crate::store::redis::Redis;
use crate::store::sqlite::Sqlite;
use crate::store::{Feed, Store, StoreError};

/// A hub that runs.
#[derive(Debug)]
pub struct Running {
    server: Arc<Server>,
    api: Option<RunningApi>,
    hub: Arc<Hub>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct RunningApi {
    address: SocketAddr,
    api: Arc<Api>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Starts a hub by these settings.
///
/// # Errors
/// What cannot be had: keys, the database, an address to listen on.
pub async fn start(config: Config) -> Result<Running, Box<dyn Error + Send + Sync>> {
    let verifier = config.rules().map(Verifier::new).transpose()?;
    let (feed, fed) = mpsc::channel(MOST_FED);
    let (news, heard) = mpsc::channel(MOST_FED);
    let (store, bus) = store(&config, feed, news).await?;
    let (cluster, moves) =
        if bus.is_shared() { Some(Cluster::new(config.node_timeout)).unzip() } else { (None, None) };
    let hub = Arc::new(Hub::of_nodes(store, bus, verifier, config.clients.clone(), cluster));

    let mut settings = config.server.clone();
    let listener = match &config.api_token {
        Some(_) => Some(listen(config.api_address).await?),
        None => None,
    };
    if let Some(listener) = &listener
        && (config.development || config.has_own_keys)
        && !config.has_origins
    {
        // The pages come from the other listener.
        let port = listener.local_addr()?.port();
        settings.set("allowed_origins", &format!("http://127.0.0.1:{port}, http://localhost:{port}"))?;
    }
    let (deciding, serving, ending, reporting) = (hub.clone(), hub.clone(), hub.clone(), hub.clone());
    // Else a page whose name is made to lead to this machine would be of the same origin.
    let wants_own_name = config.development && !config.has_origins;
    // The registry has this, and the hub has the registry.
    let rooms = Arc::downgrade(&hub);
    let server = Server::builder(settings)
        .authenticate(move |upgrade| {
            let hub = deciding.clone();
            async move {
                if wants_own_name && !is_by_own_name(&upgrade) {
                    hub.metrics.refuse("host");
                    tracing::info!(
                        address = %upgrade.address(),
                        "refused: Host is neither an IP address nor localhost: set server.allowed_origins"
                    );
                    return Err(Reject::new(MISDIRECTED).unwrap_or_else(|_| forbidden()));
                }
                session::authenticate(hub, upgrade).await
            }
        })
        .handler(move |connection| session::serve(serving.clone(), connection))
        .on_room(move |event| {
            if let Some(hub) = rooms.upgrade() {
                hub.on_room(event);
            }
        })
        .on_disconnect(move |handle, outcome| {
            ending.on_end(&handle, &outcome);
            async {}
        })
        .on_error(move |fault| report(&reporting, fault))
        .bind()
        .await?;
    hub.attach(server.registry());

    let delivering = hub.clone();
    let mut tasks = vec![tokio::spawn(async move { delivering.deliver(fed, heard).await })];
    if let Some(moves) = moves {
        tasks.push(tokio::spawn(cluster::run(hub.clone(), moves)));
    }
    if hub.verifier.is_some() {
        tasks.push(tokio::spawn(refresh_keys(hub.clone(), config.key_refresh)));
    }
    let port = server.address().map_or(0, |address| address.port());
    let api = listener.zip(config.api_token);
    let api = api.map(|(listener, token)| start_api(listener, hub.clone(), token, port)).transpose()?;
    Ok(Running { server: Arc::new(server), api, hub, tasks })
}

impl Running {
    /// Where WebSockets are accepted.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.address()
    }

    /// Where the HTTP API listens, if there is one.
    #[must_use]
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(|api| api.address)
    }

    /// The hub.
    #[must_use]
    pub const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// What checks tokens, where they are asked for.
    #[must_use]
    pub fn verifier(&self) -> Option<&Verifier> {
        self.hub.verifier.as_ref()
    }

    /// Runs until SIGTERM or SIGINT, then drains. SIGHUP reads certificates and keys again.
    ///
    /// # Errors
    /// Signals cannot be waited for; or nothing could be delivered any more, and the hub ended because of that.
    pub async fn run(mut self) -> io::Result<Drained> {
        #[cfg(unix)]
        self.tasks.push(tokio::spawn(reload_at_signal(self.hub.clone(), self.server.clone())?));
        let hub = self.hub.clone();
        let broken = tokio::select! {
            asked = asked_to_end() => asked.map(|()| false)?,
            () = hub.delivered() => true,
        };
        if broken {
            tracing::error!("messages are not delivered any more: the hub ends, to be started anew");
        }
        let drained = self.shutdown().await;
        if broken { Err(io::Error::other("messages could not be delivered any more")) } else { Ok(drained) }
    }

    /// Drains and ends.
    pub async fn shutdown(mut self) -> Drained {
        let server = self.server.clone();
        if let Some(api) = &self.api {
            api.api.drain();
        }
        let drained = server.shutdown(Self::plan()).await;
        self.stop_api().await;
        if let Some(cluster) = &self.hub.cluster {
            // Else the others find out by themselves.
            let _ = timeout(LAST_WORD, self.hub.bus.send(cluster.farewell())).await;
        }
        self.hub.store.close().await;
        drained
    }

    fn plan() -> Shutdown {
        Shutdown::new().close(CloseCode::RESTART)
    }

    async fn stop_api(&mut self) {
        if let Some(RunningApi { api, stop, task, .. }) = self.api.take() {
            api.drain();
            let _ = stop.send(());
            let ends = task.abort_handle();
            // Who does not finish its request is not waited for.
            if timeout(LAST_REQUESTS, task).await.is_err() {
                ends.abort();
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

type Stores = (Arc<dyn Store>, Arc<dyn Bus>);

async fn store(
    config: &Config,
    feed: Feed,
    news: mpsc::Sender<News>,
) -> Result<Stores, Box<dyn Error + Send + Sync>> {
    let limits = config.history;
    let redis = match config.redis_place() {
        Some(place) => Some(Arc::new(Redis::connect(place, limits, feed.clone(), news.clone()).await?)),
        None => None,
    };
    if let Some(place) = config.postgres_place() {
        let postgres = Arc::new(Postgres::connect(place, limits, feed, news).await?);
        // Beside Redis, PostgreSQL is spared all that is not kept.
        let bus: Arc<dyn Bus> = if let Some(redis) = redis { redis } else { postgres.clone() };
        return Ok((postgres, bus));
    }
    if let Some(redis) = redis {
        return Ok((redis.clone(), redis));
    }
    let bus = Arc::new(Local::new(news));
    let Some(path) = config.database.clone() else { return Ok((Arc::new(Memory::new(feed, limits)), bus)) };
    // It waits for whoever has the file.
    let keep = config.keep;
    let opened = spawn_blocking(move || Sqlite::open_file(&path, feed, limits, keep)).await?;
    Ok((Arc::new(opened?), bus))
}

async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let wrap =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    TcpListener::bind(address).await.map_err(wrap)
}

fn start_api(listener: TcpListener, hub: Arc<Hub>, token: Secret, port: u16) -> io::Result<RunningApi> {
    let address = listener.local_addr()?;
    let api = Arc::new(Api::new(hub, token));
    let router = api::router(api.clone(), port);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(api::serve(listener, router, async { drop(stopped.await) }));
    Ok(RunningApi { address, api, stop, task })
}

/// Reads the keys again and again, so that new ones are known before tokens by them come.
async fn refresh_keys(hub: Arc<Hub>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        reload_keys(&hub);
    }
}

#[cfg(unix)]
fn reload_at_signal(hub: Arc<Hub>, server: Arc<Server>) -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangups.recv().await.is_some() {
            reload_keys(&hub);
            if let Err(error) = server.reload_tls() {
                tracing::error!(%error, "the certificates of before stay");
            }
        }
    })
}

#[cfg(unix)]
async fn asked_to_end() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminations = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminations.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn asked_to_end() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

fn reload_keys(hub: &Hub) {
    let Some(verifier) = &hub.verifier else { return };
    match verifier.reload() {
        Ok(()) => tracing::debug!("the keys were read"),
        Err(error) => tracing::error!(%error, "the keys of before stay"),
    }
}

/// Whether a request names this machine by itself.
fn is_by_own_name(upgrade: &Upgrade) -> bool {
    host_of(upgrade.request().host()).map_or_else(is_localhost, |_| true)
}

/// Faults have no tokens and payloads in them.
fn report(hub: &Hub, fault: &Fault) {
    match fault {
        // Whatever else is refused with this status was told where it was.
        Fault::Handshake(address, taut::Error::Rejected(FORBIDDEN)) => {
            hub.metrics.refuse("origin");
            tracing::info!(%address, "refused: its Origin is not one of server.allowed_origins");
        }
        Fault::Refused(..) | Fault::Handshake(..) | Fault::Stream(..) => tracing::debug!(%fault),
        // Of a store that is away, the log has it already.
        Fault::Failed(_, error) if error.is::<StoreError>() => tracing::debug!(%fault),
        _ => tracing::warn!(%fault),
    }
}

/// RFC 9110 §15.5.4, and §15.5.20 for a request that is meant for somebody else.
const FORBIDDEN: u16 = 403;
const MISDIRECTED: u16 = 421;

/// How much may wait for the task that delivers.
const MOST_FED: usize = 4096;

/// How long telling the other nodes of the end may take.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How long requests to the API may take once the hub has drained.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Since;

    #[tokio::test]
    async fn a_hub_that_does_not_deliver_any_more_ends_with_an_error() {
        let mut config = Config::new();
        config.set("server.address", "127.0.0.1:0").unwrap();
        config.set("auth.development", "true").unwrap();
        let running = start(config).await.unwrap();
        let hub = running.hub.clone();
        assert!(hub.is_delivering());
        let fails = Box::new(|_| panic!("a defect"));
        hub.store.open("r".to_owned(), Since::Last(0), fails).await.unwrap();
        let ended = timeout(Duration::from_secs(20), running.run()).await.expect("it ends by itself");
        assert!(ended.is_err() && !hub.is_delivering());
    }
}
