//! What all connections of a server share.

#![forbid(unsafe_code)]

use core::net::{IpAddr, SocketAddr};

use ::tokio::sync::watch;

use super::config::Config;
use super::hooks::Hooks;
use super::registry::Registry;
use super::tasks::Tasks;
use super::tls::Acceptor;
use crate::admission::{Admission, Admitted, Refused};
use crate::budget::Budget;
use crate::forwarded::TrustedProxies;
use crate::options::Options;
use crate::proto::handshake::Request;
use crate::tokio::ProxyProtocol;

/// The settings of a server, and all that counts its connections.
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
    pub(super) fn client(&self, peer: SocketAddr, request: &Request) -> SocketAddr {
        let client = self.forwarding.client(peer.ip(), request.fields());
        if client == peer.ip().to_canonical() { peer } else { SocketAddr::new(client, 0) }
    }
}
