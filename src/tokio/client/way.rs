//! The way to a server: through a proxy or not, by the address that answers first, over TLS if it is to be secure.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::future::Future;
use core::net::IpAddr;
use core::net::SocketAddr;
use std::path::Path;

use ::tokio::time::{Instant, timeout_at};

use super::environment::Environment;
use super::gate::{Gate, Host, Pass};
use super::network::{Connector, Dialing, Network, System};
use super::proxy::{Proxy, Speaks};
use super::race::Attempts;
use super::stream::NetworkStream;
use super::target::Target;
use super::{socks, tls, tunnel};
use crate::error::{Deadline, Error};
use crate::network_error::ConnectError;

/// How to get to servers.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) network: Arc<dyn Network>,
    pub(super) connector: Option<Arc<dyn Connector>>,
    pub(super) attempts: Attempts,
    /// Without it, any number of connections to a host may be under way.
    pub(super) gate: Option<Gate>,
    pub(super) proxies: Proxies,
    pub(super) tls: tls::Setting,
}

/// Which proxies are used.
#[derive(Clone)]
pub(super) enum Proxies {
    None,
    One(Proxy),
    Environment(Environment),
}

impl Way {
    pub(super) fn new() -> Self {
        Self {
            network: Arc::new(System),
            connector: None,
            attempts: Attempts::new(),
            gate: Some(Gate::default()),
            proxies: Proxies::None,
            tls: tls::Setting::unset(),
        }
    }

    /// The settings of TLS for a server; nothing is sent in the open because TLS is missing.
    pub(super) fn tls(&self, target: &Target) -> Result<Option<tls::Session>, Error> {
        target.uri.is_secure().then(|| self.tls.get()).transpose()
    }

    /// A stream to the server, with TLS or without, and the right to be the one that connects to it, which ends with
    /// the handshake.
    pub(super) async fn open(
        &self,
        target: &Target,
        tls: Option<tls::Session>,
        deadline: Instant,
    ) -> Result<(NetworkStream, Option<Pass>), Error> {
        if let Some(path) = &target.socket {
            return within(deadline, Deadline::Connect, open_socket(path)).await.map(|stream| (stream, None));
        }
        let (host, port) = (target.uri.host(), target.uri.port());
        let proxy = match &self.proxies {
            Proxies::None => None,
            Proxies::One(proxy) => Some(proxy),
            Proxies::Environment(environment) => environment.proxy(target.uri.is_secure(), host, port),
        };
        let (stream, pass) = match proxy {
            None => within(deadline, Deadline::Connect, self.reach(host, port)).await?,
            Some(proxy) => self.through(proxy, host, port, deadline).await?,
        };
        let stream = match tls {
            Some(tls) => within(deadline, Deadline::Tls, tls.wrap(stream, host)).await?,
            None => stream,
        };
        Ok((stream, pass))
    }

    /// A connection to the host itself.
    async fn reach(&self, host: &str, port: u16) -> Result<(NetworkStream, Option<Pass>), Error> {
        if let Some(connector) = &self.connector {
            let pass = self.enter(Host::Name(host.into(), port)).await;
            let stream =
                connector.connect(host, port).await.map_err(|error| ConnectError::other(host, error))?;
            return Ok((stream, pass));
        }
        let addresses = self.resolve(host, port).await?;
        let dial = |address| -> Dialing<'_, _> {
            Box::pin(async move {
                // Not part of the time for the attempt: it is not this server that takes it.
                let pass = self.enter(Host::Address(address)).await;
                let mut dialing = self.network.dial(address);
                Ok((self.attempts.in_time(dialing.as_mut()).await?, pass))
            })
        };
        let reached = self.attempts.race(addresses, dial).await;
        reached.map_err(|attempts| ConnectError::unreached(host, attempts).into())
    }

    /// A connection to the host through a proxy.
    async fn through(
        &self,
        proxy: &Proxy,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<(NetworkStream, Option<Pass>), Error> {
        let tls = if proxy.speaks == Speaks::Https { Some(self.tls.get()?) } else { None };
        let reached = within(deadline, Deadline::Connect, async {
            // A proxy that wants addresses gets the best one there is.
            let address = match proxy.speaks {
                Speaks::Socks5 => Some(self.resolve(host, port).await?[0]),
                _ => None,
            };
            let server = address.map_or_else(|| Host::Name(host.into(), port), Host::Address);
            let pass = self.enter(server).await;
            // Many connections may be on their way to the proxy: each is for another host.
            let direct = Self { gate: None, ..self.clone() };
            let (stream, _) = direct.reach(&proxy.host, proxy.port).await?;
            Ok((stream, pass, address))
        });
        let (mut stream, pass, address) = reached.await?;
        if let Some(tls) = tls {
            stream = within(deadline, Deadline::Tls, tls.wrap(stream, &proxy.host)).await?;
        }
        let credentials = proxy.credentials.as_ref();
        let host = address.map_or_else(|| host.to_string(), |address| address.ip().to_string());
        within(deadline, Deadline::Proxy, async {
            match proxy.speaks {
                Speaks::Http | Speaks::Https => tunnel::open(&mut stream, &host, port, credentials).await,
                Speaks::Socks5 | Speaks::Socks5h => socks::open(&mut stream, &host, port, credentials).await,
            }
        })
        .await
        .map_err(|error| tls::told_by(error, &proxy.host))?;
        Ok((stream, pass))
    }

    /// At least one address.
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found = self.network.resolve(host, port).await;
        let found = found.map_err(|error| ConnectError::unresolved(host, error))?;
        if found.is_empty() { Err(ConnectError::unreached(host, Vec::new()).into()) } else { Ok(found) }
    }

    async fn enter(&self, host: Host) -> Option<Pass> {
        match &self.gate {
            Some(gate) => gate.enter(host).await,
            None => None,
        }
    }
}

/// What a step gives, unless the time for all of them is over; then the step that it was over in.
async fn within<T>(
    deadline: Instant,
    step: Deadline,
    doing: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout_at(deadline, doing).await.unwrap_or(Err(Error::Timeout(step)))
}

#[cfg(unix)]
async fn open_socket(path: &Path) -> Result<NetworkStream, Error> {
    let stream = ::tokio::net::UnixStream::connect(path).await;
    let stream = stream.map_err(|error| ConnectError::other(&path.display().to_string(), error))?;
    Ok(stream.into())
}

#[cfg(not(unix))]
async fn open_socket(_: &Path) -> Result<NetworkStream, Error> {
    Err(Error::Unsupported(super::target::NO_SOCKETS))
}
