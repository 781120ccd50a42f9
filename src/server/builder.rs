//! How a server is put together.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use core::panic::AssertUnwindSafe;
use std::io;
use std::panic::catch_unwind;
#[cfg(unix)]
use std::path::Path;

use ::tokio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use ::tokio::net::UnixListener;
use ::tokio::net::{TcpListener, TcpStream};
use ::tokio::sync::watch;

use super::config::Config;
use super::connection::Connection;
#[cfg(any(unix, feature = "testing"))]
use super::entrance::Listen;
use super::handle::Handle;
use super::hooks::{Ending, Grant, Hooks, said};
use super::listen::Server;
use super::outcome::{Fault, Outcome};
use super::registry::{Registry, RoomEvent};
use super::shared::Core;
use super::tasks::Tasks;
use super::tls;
use super::upgrade::Upgrade;
use crate::admission::Admission;
use crate::budget::Budget;
use crate::proto::handshake::Reject;
use crate::proto::{CloseFrame, Message};
#[cfg(all(unix, feature = "listenfd"))]
use crate::tokio::Activated;
use crate::tokio::ProxyProtocol;
#[cfg(feature = "rustls")]
use crate::tokio::ServerTls;

/// A server that is being put together: settings, and what the application has to say to what happens. Nothing is
/// required; a later call takes the place of an earlier one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use taut::proto::Message;
/// use taut::server::{BoxError, Config, Grant, Handle, Server, unauthorized};
///
/// struct User(&'static str);
///
/// fn user_of(token: &str) -> Option<User> {
///     // Where tokens are looked up, or their signatures checked.
/// #   (token == "a token of Ada's").then_some(User("Ada"))
/// }
///
/// let server = Server::builder(Config::new().address("127.0.0.1:0"))
///     .authenticate(|upgrade| async move {
///         let user = upgrade.bearer().and_then(user_of).ok_or_else(|| unauthorized("Bearer"))?;
///         Ok(Grant::new().insert(user))
///     })
///     .on_connect(|handle: Handle| async move {
///         let user = handle.get::<User>().ok_or("nobody")?;
///         handle.send_text(format!("hello, {}", user.0))?;
///         Ok::<(), BoxError>(())
///     })
///     .on_message(|from: Handle, message: Message| async move { from.queue(message).map(|_| ()) })
///     .on_disconnect(|handle: Handle, outcome| async move {
///         println!("{}: {outcome:?}", handle.id());
///     })
///     .bind()
///     .await?;
/// let uri = format!("ws://{}/", server.address().unwrap());
///
/// let ada = taut::tokio::Client::new().bearer("a token of Ada's")?;
/// assert_eq!(ada.connect(&uri).await?.recv().await?, Some("hello, Ada".into()));
/// let nobody = taut::connect(&uri).await.unwrap_err();
/// assert!(matches!(nobody, taut::Error::Refused(answer) if answer.status() == 401));
/// # Ok(()) }
/// ```
#[derive(Default)]
#[must_use = "a server does nothing before it is bound"]
pub struct Builder {
    config: Config,
    hooks: Hooks,
    #[cfg(feature = "rustls")]
    tls: Option<ServerTls>,
}

impl Builder {
    pub(super) fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Runs this for each connection, until it returns; then the connection is closed with 1000, or with 1011 if it failed
    /// or panicked.
    pub fn handler<F, R>(mut self, handler: impl Fn(Connection) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = R> + Send + 'static,
        R: Ending,
    {
        let handler = Arc::new(handler);
        self.hooks.handler = Some(Arc::new(move |connection| {
            let handler = handler.clone();
            // Called in there, what it gives lies there once.
            Box::pin(async move { handler(connection).await.into_result() })
        }));
        self
    }

    /// Calls this for each message, one after the other; takes the place of [`handler`](Self::handler).
    pub fn on_message<F, R>(self, hook: impl Fn(Handle, Message) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = R> + Send + 'static,
        R: Ending,
    {
        let hook = Arc::new(hook);
        self.handler(move |mut connection| {
            let hook = hook.clone();
            async move {
                while let Some(message) = connection.recv().await? {
                    hook(connection.handle().clone(), message).await.into_result()?;
                }
                Ok::<(), super::hooks::BoxError>(())
            }
        })
    }

    /// Calls this once a connection is open, and authenticated; its handler waits for it, and does not run if it fails.
    pub fn on_connect<F, R>(mut self, hook: impl Fn(Handle) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = R> + Send + 'static,
        R: Ending,
    {
        self.hooks.connect = Some(Arc::new(move |handle| {
            let running = hook(handle);
            Box::pin(async move { running.await.into_result() })
        }));
        self
    }

    /// Calls this once a connection and its handler have ended, for each that was open; it is in no room any more.
    pub fn on_disconnect<F, R>(mut self, hook: impl Fn(Handle, Outcome) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = R> + Send + 'static,
        R: Ending,
    {
        self.hooks.disconnect = Some(Arc::new(move |handle, outcome| {
            let running = hook(handle, outcome);
            Box::pin(async move { running.await.into_result() })
        }));
        self
    }

    /// Tells this of all that goes wrong. It must not block.
    pub fn on_error(mut self, hook: impl Fn(&Fault) + Send + Sync + 'static) -> Self {
        self.hooks.error = Some(Arc::new(hook));
        self
    }

    /// Tells this who joins and leaves rooms, by themselves or by their end. It runs on the task that does so, without a
    /// lock, and must not block; of what two tasks do at the same time it may hear in either order.
    pub fn on_room(mut self, hook: impl Fn(&RoomEvent) + Send + Sync + 'static) -> Self {
        self.hooks.room = Some(Arc::new(hook));
        self
    }

    /// Asks this before a request is accepted: who is it, and may they? [`unauthorized`](super::unauthorized) and
    /// [`forbidden`](super::forbidden) are the answers that refuse; any other will do. It has
    /// [`Config::auth_timeout`]; a panic is answered with 500.
    pub fn authenticate<F>(mut self, hook: impl Fn(Upgrade) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Grant, Reject>> + Send + 'static,
    {
        self.hooks.authenticate = Some(Arc::new(move |upgrade| Box::pin(hook(upgrade))));
        self
    }

    /// Has the first message of each connection checked by this, which refuses by a Close. Before that nobody sees the
    /// connection: it is not in the registry, and its handler does not run. Message and check have
    /// [`Config::auth_timeout`] together.
    pub fn authenticate_by_message<F>(
        mut self,
        hook: impl Fn(Handle, Message) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), CloseFrame>> + Send + 'static,
    {
        self.hooks.first = Some(Arc::new(move |handle, message| Box::pin(hook(handle, message))));
        self
    }

    /// Speaks TLS by these settings, in the place of [`Config::tls`]: with certificates of clients, or an identity that is
    /// in memory.
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Listens on the address of the settings, and serves what comes.
    ///
    /// **Cancel safety.** Dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// The address cannot be listened on, or [`Config::tls`] cannot be had: then the [`Error`](crate::Error) that says why
    /// is inside.
    pub async fn bind(self) -> io::Result<Server> {
        let address = self.config.address.clone();
        let wrap =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
        let listener = TcpListener::bind(&address).await.map_err(wrap)?;
        self.listen(listener)
    }

    /// Serves what comes to a listener of one's own.
    ///
    /// # Errors
    /// The listener does not know its address, or TLS, as [`bind`](Self::bind).
    pub fn listen(self, listener: TcpListener) -> io::Result<Server> {
        self.listen_with(listener, |stream, _| async { Ok(stream) })
    }

    /// Listens on a socket of the file system, which those may connect to whom `mode` lets write: see
    /// [`bind_unix`](crate::tokio::bind_unix). All of them come from `127.0.0.1`, which [`Config::trusted_proxies`] may name,
    /// and do not count as one address.
    ///
    /// **Cancel safety.** Dropping the future leaves nothing behind but what was there.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    #[cfg(unix)]
    pub async fn bind_unix(self, path: impl AsRef<Path>, mode: u32) -> io::Result<Server> {
        let path = path.as_ref();
        let wrap = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {}: {error}", path.display()))
        };
        let listener = crate::tokio::bind_unix(path, mode).await.map_err(wrap)?;
        self.listen_unix(listener)
    }

    /// As [`bind_unix`](Self::bind_unix), on a listener of one's own.
    ///
    /// # Errors
    /// TLS, as [`bind`](Self::bind).
    #[cfg(unix)]
    pub fn listen_unix(self, listener: UnixListener) -> io::Result<Server> {
        self.listen_on(listener)
    }

    /// Serves what comes to a listener of any kind, which has no address.
    #[cfg(any(unix, feature = "testing"))]
    pub(crate) fn listen_on(self, listener: impl Listen) -> io::Result<Server> {
        let server = Server::new(self.build()?, None);
        server.accept_from(listener, |stream, _| async { Ok(stream) });
        Ok(server)
    }

    /// Serves what comes to the sockets that the program was started with:
    /// [`activated`](crate::tokio::activated).
    ///
    /// # Errors
    /// There is none; else as [`listen`](Self::listen).
    #[cfg(all(unix, feature = "listenfd"))]
    pub fn listen_activated(self, sockets: Activated) -> io::Result<Server> {
        if sockets.tcp.is_empty() && sockets.unix.is_empty() {
            let sentence =
                "the program was started without sockets: start it by its socket unit, or bind an address";
            return Err(io::Error::new(io::ErrorKind::NotFound, sentence));
        }
        let address = sockets.tcp.first().map(TcpListener::local_addr).transpose()?;
        let server = Server::new(self.build()?, address);
        for listener in sockets.tcp {
            server.accept_from(listener, |stream, _| async { Ok(stream) });
        }
        for listener in sockets.unix {
            server.accept_from(listener, |stream, _| async { Ok(stream) });
        }
        Ok(server)
    }

    /// As [`listen`](Self::listen), over what `wrap` makes of each connection, behind the PROXY protocol and before TLS. It
    /// has [`Config::handshake_timeout`].
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn listen_with<S, F>(
        self,
        listener: TcpListener,
        wrap: impl Fn(TcpStream, SocketAddr) -> F + Send + Sync + 'static,
    ) -> io::Result<Server>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let server = Server::new(self.build()?, Some(address));
        server.accept_from(listener, wrap);
        Ok(server)
    }

    /// A server that listens nowhere, for [`Server::serve`], and does no TLS.
    #[must_use]
    pub fn detached(self) -> Server {
        Server::new(self.build_with(None), None)
    }

    fn build(self) -> io::Result<Arc<Core>> {
        #[cfg(feature = "rustls")]
        let given = self.tls.clone().map(tls::of).transpose()?;
        #[cfg(not(feature = "rustls"))]
        let given = None;
        let tls = given.map_or_else(|| tls::acceptor(&self.config), |tls| Ok(Some(tls)))?;
        Ok(self.build_with(tls))
    }

    fn build_with(self, tls: Option<tls::Acceptor>) -> Arc<Core> {
        let Self { config, mut hooks, .. } = self;
        // A panic there must not keep others from being told, nor a connection from being forgotten.
        if let Some(room) = hooks.room.take() {
            // No other hook: they may hold what holds the registry, which holds this.
            let error = Hooks { error: hooks.error.clone(), ..Hooks::default() };
            hooks.room = Some(Arc::new(move |event| {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| room(event))) {
                    error.fault(&Fault::Panicked(event.connection.id(), said(panic)));
                }
            }));
        }
        Arc::new(Core {
            options: config.options(),
            registry: Registry::new(config.max_groups, hooks.room.clone()),
            admission: Admission::new(config.admission),
            budget: config.max_memory.map(Budget::new),
            proxies: ProxyProtocol::new(config.proxy_protocol.clone()),
            forwarding: config.forwarding(),
            tls,
            tasks: Tasks::default(),
            stopping: watch::Sender::new(false),
            config,
            hooks,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Server {
    /// Begins with these settings.
    pub fn builder(config: Config) -> Builder {
        Builder::new(config)
    }
}
