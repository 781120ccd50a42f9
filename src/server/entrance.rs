//! What comes to a listener, up to its handshake: who is let in, who is behind a proxy, and TLS.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::Future;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use ::tokio::net::{UnixListener, UnixStream};
use ::tokio::time::{sleep, timeout};
use socket2::{SockRef, TcpKeepalive};

use super::config::Config;
use super::opening::open;
use super::outcome::Fault;
use super::serve::{Opened, Task};
use super::shared::Core;
use crate::admission::Admitted;
use crate::error::Error;

/// A listener of streams.
pub(crate) trait Listen: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next stream, and its peer, if that has an address.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send;

    /// Sets the options of a stream.
    fn set_up(stream: &Self::Stream, config: &Config) -> io::Result<()>;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        self.accept().await.map(|(stream, address)| (stream, Some(address)))
    }

    fn set_up(stream: &TcpStream, config: &Config) -> io::Result<()> {
        if let Some(time) = config.keepalive {
            SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(time))?;
        }
        stream.set_nodelay(config.nodelay)
    }
}

#[cfg(unix)]
impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        self.accept().await.map(|(stream, _)| (stream, None))
    }

    fn set_up(_: &UnixStream, _: &Config) -> io::Result<()> {
        Ok(())
    }
}

/// What is made of each stream before it is served.
pub(super) trait Wrap<T>: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    fn wrap(&self, stream: T, peer: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl<T, S, F, W> Wrap<T> for W
where
    W: Fn(T, SocketAddr) -> F + Send + Sync + 'static,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    type Stream = S;

    fn wrap(&self, stream: T, peer: SocketAddr) -> impl Future<Output = io::Result<S>> + Send {
        self(stream, peer)
    }
}

/// Accepts for ever.
pub(super) async fn accept<L: Listen>(core: &Arc<Core>, listener: L, wrap: Arc<impl Wrap<L::Stream>>) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let (stream, peer) = match Listen::accept(&listener).await {
            Ok(accepted) => accepted,
            Err(error) => {
                // One peer that is gone already, or open files that ran out: what is open goes on, and may end.
                core.hooks.fault(&Fault::Accept(error));
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        };
        pause = SHORTEST_PAUSE;
        let address = peer.unwrap_or(NOWHERE);
        // Who comes over a socket of the file system is a proxy, or trusted as one.
        let is_proxied = peer.is_none() || core.is_proxy(address.ip());
        let admitted = match core.admit(address.ip(), is_proxied) {
            Ok(admitted) => admitted,
            Err(refused) => {
                core.hooks.fault(&Fault::Refused(address, refused));
                continue;
            }
        };
        let entering = enter::<L, _>(core.clone(), stream, address, admitted, wrap.clone());
        core.tasks.spawn(Task::new(entering));
    }
}

/// Brings a connection through its handshake.
async fn enter<L: Listen, W: Wrap<L::Stream>>(
    core: Arc<Core>,
    stream: L::Stream,
    peer: SocketAddr,
    admitted: Admitted,
    wrap: Arc<W>,
) -> Option<Opened<W::Stream>> {
    // On the heap until it is done: what follows may take a while.
    let prepared = Box::pin(prepare::<L, W>(&core, stream, peer, admitted, wrap)).await;
    let Entered { stream, address, admitted, left } = match prepared {
        Ok(entered) => entered,
        Err(fault) => {
            fault.iter().for_each(|fault| core.hooks.fault(fault));
            return None;
        }
    };
    let Some(tls) = core.tls.clone() else {
        return open(core, stream, address, admitted, left).await.map(Opened::Plain);
    };
    let mut options = core.options.handshake_timeout(left);
    match Box::pin(tls.wrap(stream, &mut options)).await {
        Ok(stream) => {
            let opened = Box::pin(open(core, stream, address, admitted, options.handshake_timeout)).await;
            opened.map(|serving| Opened::Secure(Box::pin(serving)))
        }
        Err(Error::NoRequest) => None,
        Err(error) => {
            core.hooks.fault(&Fault::Handshake(address, error));
            None
        }
    }
}

/// A connection whose client is known, as far as TCP knows it.
struct Entered<S> {
    stream: S,
    address: SocketAddr,
    admitted: Admitted,
    /// Of the time for the handshake.
    left: Duration,
}

/// Without a fault if nobody was there.
async fn prepare<L: Listen, W: Wrap<L::Stream>>(
    core: &Core,
    stream: L::Stream,
    peer: SocketAddr,
    mut admitted: Admitted,
    wrap: Arc<W>,
) -> Result<Entered<W::Stream>, Option<Fault>> {
    let failed = |error| Some(Fault::Stream(peer, error));
    L::set_up(&stream, &core.config).map_err(failed)?;
    let mut options = core.options;
    let (stream, address) = match core.proxies.read(stream, peer, &mut options).await {
        Ok(read) => read,
        Err(Error::NoRequest) => return Err(None),
        Err(error) => return Err(Some(Fault::Handshake(peer, error))),
    };
    // Behind another proxy is another client, whom the request will tell.
    if address != peer && !core.config.trusted_proxies.contains(address.ip()) {
        admitted.came_from(address.ip()).map_err(|refused| Some(Fault::Refused(address, refused)))?;
    }
    let wrapped = timeout(core.config.handshake_timeout, wrap.wrap(stream, address)).await;
    let stream = wrapped.map_err(|late| failed(late.into()))?.map_err(failed)?;
    Ok(Entered { stream, address, admitted, left: options.handshake_timeout })
}

/// Whence a connection over a socket of the file system comes.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long to wait before another try to accept, at first and at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
