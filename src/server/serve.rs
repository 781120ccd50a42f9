//! One connection from its first byte to its end.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::panic::catch_unwind;
use std::time::SystemTime;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::sync::watch;
use ::tokio::time::{Instant, Sleep, sleep, timeout};

use super::config::Config;
use super::connection::Connection;
use super::handle::{self, Handle, HandlerBell, Link, lock};
use super::hooks::{BoxError, Caught, Grant, Hooks, Running};
use super::id::ConnectionId;
use super::outbox::{News, Refusal};
use super::outcome::{By, Fault, Outcome};
use super::pump::{Pump, Step};
use super::registry::Registry;
use super::tasks::Tasks;
use super::tls::{Acceptor, tcp};
use super::upgrade::{Upgrade, forbidden, reject};
use crate::admission::{Admission, Admitted, Refused};
use crate::budget::Budget;
use crate::error::Error;
use crate::forwarded::TrustedProxies;
use crate::options::Options;
use crate::proto::handshake::{Answer, Reject, Request};
use crate::proto::{CloseCode, CloseFrame};
use crate::tokio::{Arrival, Plain, ProxyProtocol, WebSocket};

/// What all connections of a server share.
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) options: Options,
    pub(super) hooks: Hooks,
    pub(super) registry: Registry,
    pub(super) admission: Admission,
    pub(super) budget: Option<Budget>,
    pub(super) proxies: ProxyProtocol,
    pub(super) forwarding: TrustedProxies,
    pub(super) tls: Option<Acceptor>,
    pub(super) tasks: Tasks,
    /// Whether it shuts down.
    pub(super) stopping: watch::Sender<bool>,
}

impl Core {
    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Whether others come from this address.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        self.config.proxy_protocol.contains(address) || self.config.trusted_proxies.contains(address)
    }

    /// Lets a connection in, for others if it is a proxy's.
    pub(super) fn admit(&self, address: IpAddr, is_proxied: bool) -> Result<Admitted, Refused> {
        if is_proxied { self.admission.admit_proxied() } else { self.admission.admit(address) }
    }

    /// The client that asks by way of a proxy, or the peer itself. Proxies tell no port: then it is 0.
    fn client(&self, peer: SocketAddr, request: &Request) -> SocketAddr {
        let client = self.forwarding.client(peer.ip(), request.fields());
        if client == peer.ip().to_canonical() { peer } else { SocketAddr::new(client, 0) }
    }
}

/// Serves a connection to its end, its hooks included.
pub(super) async fn serve<S>(
    core: Arc<Core>,
    stream: S,
    address: SocketAddr,
    mut admitted: Option<Admitted>,
    left: Duration,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // What the handshake needs goes with it.
    let (socket, handle) = match Box::pin(open(&core, stream, address, &mut admitted, left)).await {
        Ok(opened) => opened,
        Err(fault) => return fault.iter().for_each(|fault| core.hooks.fault(fault)),
    };
    if let Some(admitted) = &mut admitted {
        admitted.opened();
    }
    let _data = Data(&handle);
    let place = Place { core: &core, handle: &handle };
    let outcome = run(&core, socket, &handle).await;
    drop(place);
    if let Some(hook) = core.hooks.disconnect.as_ref().filter(|_| handle.0.entered.load(Ordering::Relaxed)) {
        let told = Caught::new(|| hook(handle.clone(), outcome));
        let told = match told {
            Ok(told) => Box::pin(timeout(core.config.handler_timeout, told)).await,
            Err(said) => Ok(Err(said)),
        };
        match told {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => core.hooks.fault(&Fault::Failed(handle.id(), error)),
            Ok(Err(said)) => core.hooks.fault(&Fault::Panicked(handle.id(), said)),
            Err(_) => core.hooks.fault(&Fault::Lingered(handle.id())),
        }
    }
}

/// The place of a connection in the registry, however its task ends.
struct Place<'a> {
    core: &'a Core,
    handle: &'a Handle,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.handle.end();
        self.core.registry.forget(self.handle);
    }
}

/// What is kept with a connection, however its task ends: it may hold handles of the connection itself.
struct Data<'a>(&'a Handle);

impl Drop for Data<'_> {
    fn drop(&mut self) {
        let data = core::mem::replace(&mut *lock(&self.0.0.data), handle::Data::Gone);
        // Destructors of the application may panic, and be run by a panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(data)));
    }
}

/// The opening handshake, and all that is asked before it. Without a fault if nobody wanted one.
async fn open<S>(
    core: &Core,
    stream: S,
    peer: SocketAddr,
    admitted: &mut Option<Admitted>,
    left: Duration,
) -> Result<(WebSocket<S>, Handle), Option<Fault>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error| Some(Fault::Handshake(peer, error));
    let incoming = match Arrival::read(stream, core.options.handshake_timeout(left)).await.map_err(failed)? {
        Some(Arrival::WebSocket(incoming)) => incoming,
        Some(Arrival::Plain(plain)) => return Err(answer(core, plain).await.and_then(failed)),
        // A health check, or somebody who thought better of it.
        None => return Err(None),
    };
    let address = core.client(peer, incoming.request());
    let failed = |error| Some(Fault::Handshake(address, error));
    if address != peer
        && let Some(Err(refused)) = admitted.as_mut().map(|admitted| admitted.came_from(address.ip()))
    {
        // The proxy waits for an answer, whoever has too many.
        let rejected = incoming.reject(reject(503, "too many connections: try again later\n"));
        rejected.await.map_err(failed)?;
        return Err(Some(Fault::Refused(address, refused)));
    }
    let upgrade = Upgrade::new(incoming.request().clone(), address);
    let mut grant = match decide(core, &upgrade).await {
        Ok(grant) => grant,
        Err(reject) => {
            let status = reject.status();
            incoming.reject(reject).await.map_err(failed)?;
            return Err(failed(Error::Rejected(status)));
        }
    };
    let data = grant.take_data();
    let mut accept = grant.accept;
    if !grant.has_subprotocol {
        let is_offered = |name: &&String| upgrade.request().subprotocols().any(|offered| *offered == ***name);
        if let Some(name) = core.config.subprotocols.iter().find(is_offered) {
            accept = accept.subprotocol(name);
        }
    }
    let mut socket = incoming.accept(accept).await.map_err(failed)?;
    socket.set_budget(core.budget.as_ref());
    if !core.config.nodelay {
        socket.with_stream(|stream| {
            if let Some(tcp) = tcp(stream) {
                // A socket that refuses this is broken, which the next read tells.
                let _ = tcp.set_nodelay(false);
            }
        });
    }
    let handle = handle_of(core, &socket, upgrade);
    Grant::apply(data, &handle);
    Ok((socket, handle))
}

/// Answers a request for no WebSocket; gives what is wrong with it, if anything is.
async fn answer<S>(core: &Core, plain: Plain<S>) -> Option<Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let wanted = core.config.health_path.as_deref();
    if wanted != Some(path_of(plain.request().target())) {
        return Some(plain.refuse().await);
    }
    let (status, body) = if core.is_stopping() { (503, "going\n") } else { (200, "well\n") };
    match Answer::new(status) {
        Ok(answer) => plain.answer(answer.body(body)).await.err(),
        Err(error) => Some(error.into()),
    }
}

/// Whether the request is accepted.
async fn decide(core: &Core, upgrade: &Upgrade) -> Result<Grant, Reject> {
    let request = upgrade.request();
    if core.config.path.as_ref().is_some_and(|wanted| wanted != path_of(request.resource())) {
        return Err(reject(404, "nothing here\n"));
    }
    if !core.config.origins.allow(request) {
        return Err(forbidden());
    }
    let stopping = || reject(503, "the server shuts down: try again later\n");
    if core.is_stopping() {
        return Err(stopping());
    }
    let Some(hook) = &core.hooks.authenticate else { return Ok(Grant::new()) };
    let decided = match Caught::new(|| hook(upgrade.clone())) {
        Ok(decided) => timeout(core.config.auth_timeout, decided).await,
        Err(said) => Ok(Err(said)),
    };
    match decided {
        Ok(Ok(Ok(_))) if core.is_stopping() => Err(stopping()),
        Ok(Ok(decided)) => decided,
        Ok(Err(said)) => {
            core.hooks.fault(&Fault::Refusing(upgrade.address(), said));
            Err(reject(500, "the server failed\n"))
        }
        Err(_) => Err(reject(503, "the server is too busy: try again later\n")),
    }
}

/// A target without its query.
fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

fn handle_of<S>(core: &Core, socket: &WebSocket<S>, upgrade: Upgrade) -> Handle {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    #[cfg(feature = "deflate")]
    let compressed = socket.with_connection(|connection| connection.agreement().deflate().is_some());
    #[cfg(not(feature = "deflate"))]
    let compressed = false;
    Handle(Arc::new(Link {
        id: ConnectionId(NEXT.fetch_add(1, Ordering::Relaxed)),
        upgrade,
        subprotocol: socket.subprotocol().map(Into::into),
        compressed,
        since: Instant::now(),
        at: SystemTime::now(),
        limits: core.config.queue,
        outbox: Default::default(),
        inbox: Default::default(),
        room: Default::default(),
        data: Default::default(),
        groups: Default::default(),
        home: core.registry.home(),
        counts: Default::default(),
        round_trip: AtomicU64::new(0),
        entered: false.into(),
    }))
}

/// Runs the socket and its handler, until both have ended.
async fn run<S>(core: &Arc<Core>, socket: WebSocket<S>, handle: &Handle) -> Outcome
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut run = Run {
        core,
        handle,
        pump: Pump::new(socket, handle.clone(), &core.config),
        handler: None,
        outcome: None,
        patience: None,
        for_socket: handle.0.clone().into(),
        for_handler: Arc::new(HandlerBell(handle.clone())).into(),
    };
    handle.tell(News::SOCKET.and(News::HANDLER));
    match Caught::new(|| application(core.clone(), Connection::new(handle.clone()))) {
        Ok(handler) => run.handler = Some(handler),
        Err(said) => run.failed(Err(said)),
    }
    poll_fn(|cx| run.poll(cx)).await
}

/// A connection and its handler, in one task. Each has a waker of its own, so that only what was woken is polled: of a
/// message that others send the handler need not know, and the socket only to write.
struct Run<'a, S> {
    core: &'a Core,
    handle: &'a Handle,
    pump: Pump<S>,
    handler: Option<Caught<Result<(), BoxError>>>,
    outcome: Option<Outcome>,
    /// How long the handler may go on.
    patience: Option<Pin<Box<Sleep>>>,
    for_socket: Waker,
    for_handler: Waker,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Run<'_, S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            let mut news = self.handle.outbox().take_news();
            let mut turn = false;
            let mut for_socket = Context::from_waker(&self.for_socket);
            if self.outcome.is_none() {
                match self.pump.poll(news.socket, &mut for_socket) {
                    Step::Turn => turn = true,
                    Step::Rest => {}
                    Step::Ended(outcome) => self.ended(outcome),
                    Step::Aborted(outcome) => {
                        self.handler = None;
                        self.ended(outcome);
                    }
                }
            }
            news.handler |= self.handle.outbox().take_handler();
            if news.handler
                && let Some(handler) = &mut self.handler
                && let Poll::Ready(result) =
                    Pin::new(handler).poll(&mut Context::from_waker(&self.for_handler))
            {
                self.handler = None;
                self.failed(result);
                self.pump.discard();
            }
            if let Some(patience) = &mut self.patience
                && self.handler.is_some()
                && patience.as_mut().poll(&mut Context::from_waker(&self.for_socket)).is_ready()
            {
                self.handler = None;
                self.core.hooks.fault(&Fault::Lingered(self.handle.id()));
            }
            if self.handler.is_none()
                && let Some(outcome) = self.outcome.take()
            {
                return Poll::Ready(outcome);
            }
            // The socket was not read to its end.
            if turn {
                continue;
            }
            let news = self.handle.outbox().rest(cx.waker());
            if !news.queue {
                if news != News::default() {
                    // Its turn is over before it is done: others have theirs.
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        // Nobody sends to it while its handler comes to its end.
        self.core.registry.forget(self.handle);
        self.outcome = Some(outcome);
        if self.handler.is_some() {
            self.patience = Some(Box::pin(sleep(self.core.config.handler_timeout)));
        }
    }

    /// The handler came to its end, well or not.
    fn failed(&self, result: Result<Result<(), BoxError>, String>) {
        let fault = match result {
            Ok(Ok(())) => None,
            // How the connection ended is no failure of the handler.
            Ok(Err(error)) if !self.handle.is_open() && (error.is::<Error>() || error.is::<Refusal>()) => {
                None
            }
            Ok(Err(error)) => Some(Fault::Failed(self.handle.id(), error)),
            Err(said) => Some(Fault::Panicked(self.handle.id(), said)),
        };
        match fault {
            None => self.handle.begin_close(CloseCode::NORMAL.into(), By::Application),
            Some(fault) => {
                self.handle.begin_close(CloseCode::INTERNAL.into(), By::Handler);
                self.core.hooks.fault(&fault);
            }
        }
    }
}

/// What runs beside the socket: the first message, where it has to authenticate, the hook, the handler.
fn application(core: Arc<Core>, mut connection: Connection) -> Running<Result<(), BoxError>> {
    Box::pin(async move {
        if let Some(check) = &core.hooks.first {
            let checked = async {
                match connection.recv().await {
                    Ok(Some(message)) => check(connection.handle().clone(), message).await.map_err(Some),
                    Ok(None) | Err(_) => Err(None),
                }
            };
            let refused = match Box::pin(timeout(core.config.auth_timeout, checked)).await {
                Ok(Ok(())) => None,
                Ok(Err(refused)) => Some(refused),
                Err(_) => {
                    Some(CloseFrame::new(CloseCode::POLICY, "say who you are by the first message").ok())
                }
            };
            if let Some(refused) = refused {
                let frame = refused.unwrap_or_else(|| CloseCode::NORMAL.into());
                connection.begin_close(frame, By::Authentication);
                return Ok(());
            }
        }
        core.registry.enter(connection.handle());
        if core.is_stopping() {
            connection.begin_close(CloseCode::AWAY.into(), By::Shutdown);
        }
        if let Some(hook) = &core.hooks.connect {
            hook(connection.handle().clone()).await?;
        }
        match &core.hooks.handler {
            Some(handler) => handler(connection).await,
            None => {
                while connection.recv().await?.is_some() {}
                Ok(())
            }
        }
    })
}
