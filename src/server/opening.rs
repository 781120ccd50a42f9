//! The opening handshake of a connection, and all that is asked before it.

#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::time::SystemTime;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::time::{Instant, timeout};

use super::handle::{Handle, Link};
use super::hooks::{Caught, Grant};
use super::id::ConnectionId;
use super::outcome::Fault;
use super::serve::Serving;
use super::shared::Core;
use super::tls::tcp;
use super::upgrade::{Upgrade, forbidden, reject};
use crate::admission::Admitted;
use crate::error::Error;
use crate::proto::handshake::{Answer, Reject};
use crate::tokio::{Arrival, Plain, WebSocket};

/// Brings a stream to a connection that is open; tells what is wrong if there is none.
pub(super) async fn open<S>(
    core: Arc<Core>,
    stream: S,
    peer: SocketAddr,
    mut admitted: Admitted,
    left: Duration,
) -> Option<Serving<S>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match shake_hands(&core, stream, peer, &mut admitted, left).await {
        Ok((socket, handle)) => {
            admitted.opened();
            Some(Serving::new(core, socket, handle, admitted))
        }
        Err(fault) => {
            fault.iter().for_each(|fault| core.hooks.fault(fault));
            None
        }
    }
}

/// Without a fault if nobody wanted a handshake.
async fn shake_hands<S>(
    core: &Core,
    stream: S,
    peer: SocketAddr,
    admitted: &mut Admitted,
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
        && let Err(refused) = admitted.came_from(address.ip())
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
