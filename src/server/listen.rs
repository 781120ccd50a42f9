//! A server that runs: accepting connections, and ending.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::io;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::task::spawn_blocking;
use ::tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::entrance::{Listen, Wrap, accept};
use super::handle::Handle;
use super::opening::open;
use super::outcome::{By, Fault};
use super::registry::Registry;
use super::serve::{Opened, Task};
use super::shared::Core;
use crate::admission::{Admission, Refused};
use crate::error::Error;
use crate::proto::{CloseCode, CloseFrame};

/// A server that runs. Clones are the same server; it runs on when they are dropped, until it is
/// [shut down](Self::shutdown) or its runtime ends.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use taut::proto::CloseCode;
/// use taut::server::{Config, Server, Shutdown};
///
/// let server = Server::builder(Config::new().address("127.0.0.1:0"))
///     .on_connect(|handle| async move { handle.send_text("welcome").map(|_| ()) })
///     .bind()
///     .await?;
/// let mut socket = taut::connect(&format!("ws://{}/", server.address().unwrap())).await?;
/// assert_eq!(socket.recv().await?, Some("welcome".into()));
/// let client = tokio::spawn(async move {
///     while socket.recv().await?.is_some() {}
///     Ok::<_, taut::Error>(socket.close_status())
/// });
///
/// // Whoever holds a clone of the server, or of its registry, sends to whom they like.
/// assert_eq!(server.registry().broadcast("hello, all").to_all().queued, 1);
///
/// let plan = Shutdown::new().close(CloseCode::RESTART).window(Duration::from_millis(10));
/// let drained = server.shutdown(plan).await;
/// assert_eq!((drained.open, drained.aborted), (1, 0));
/// assert_eq!(client.await??.unwrap().code, 1012);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Server {
    core: Arc<Core>,
    address: Option<SocketAddr>,
}

/// How a server ends.
#[derive(Clone, Debug)]
pub struct Shutdown {
    frame: CloseFrame,
    window: Duration,
    deadline: Duration,
}

/// How the connections of a server ended that was shut down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// How many were open.
    pub open: usize,
    /// How many tasks were cut off at the deadline, handshakes included.
    pub aborted: usize,
}

impl Shutdown {
    /// The defaults that each method below states.
    #[must_use]
    pub fn new() -> Self {
        Self {
            frame: CloseCode::AWAY.into(),
            window: Duration::from_secs(5),
            deadline: Duration::from_secs(20),
        }
    }

    /// With what connections are closed: 1001 if the server goes, 1012 if it comes back. Default: 1001.
    #[must_use]
    pub fn close(mut self, frame: impl Into<CloseFrame>) -> Self {
        self.frame = frame.into();
        self
    }

    /// Over how much time the closing is spread: each connection has its own moment in it, by chance, so that the clients
    /// do not all come back at once. Default: 5 s.
    #[must_use]
    pub const fn window(mut self, time: Duration) -> Self {
        self.window = time;
        self
    }

    /// After how much time in all what is left is cut off. Default: 20 s.
    #[must_use]
    pub const fn deadline(mut self, time: Duration) -> Self {
        self.deadline = time;
        self
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    pub(super) const fn new(core: Arc<Core>, address: Option<SocketAddr>) -> Self {
        Self { core, address }
    }

    /// Where it listens, with the port that it got; `None` if it listens nowhere.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Its connections, rooms and topics.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.core.registry
    }

    /// The door: how many connections are in, handshakes included.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.core.admission
    }

    /// How many tasks run for it: one for each listener and each connection, handshakes included.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.core.tasks.len()
    }

    /// Serves a connection that was accepted elsewhere, in a task of its own. TLS and the PROXY protocol were done there,
    /// if at all.
    ///
    /// # Errors
    /// The limit that keeps it out; the stream is dropped.
    pub fn serve<S>(&self, stream: S, address: SocketAddr) -> Result<(), Refused>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let is_proxied = self.core.config.trusted_proxies.contains(address.ip());
        let admitted = self.core.admit(address.ip(), is_proxied)?;
        let left = self.core.config.handshake_timeout;
        let core = self.core.clone();
        self.core.tasks.spawn(Task::new(async move {
            open(core, stream, address, admitted, left).await.map(Opened::Plain)
        }));
        Ok(())
    }

    /// Reads the files of certificate and key again, for the connections that come: see
    /// [`TlsAcceptor::reload`](crate::tokio::TlsAcceptor::reload). Without TLS it does nothing.
    ///
    /// # Errors
    /// What is wrong with them; those of before stay.
    pub fn reload_tls(&self) -> Result<(), Error> {
        self.core.tls.as_ref().map_or(Ok(()), |tls| tls.reload())
    }

    /// Accepts from a listener, until the server shuts down.
    pub(super) fn accept_from<L: Listen>(&self, listener: L, wrap: impl Wrap<L::Stream>) {
        let core = self.core.clone();
        let wrap = Arc::new(wrap);
        self.core.tasks.spawn(Box::pin(async move {
            let mut stopping = core.stopping.subscribe();
            let stopped = async move {
                // It fails if the sender is gone, which `core` has.
                let _ = stopping.wait_for(|stopping| *stopping).await;
            };
            first(stopped, accept(&core, listener, wrap)).await;
        }));
    }

    /// Stops: accepts nothing more, closes what is open, each at its moment, and waits until all tasks have ended. What
    /// has not by the deadline is cut off.
    ///
    /// **Cancel safety.** The server accepts nothing from the first poll on; what was closed stays closed. To go on,
    /// call it again.
    pub async fn shutdown(&self, plan: Shutdown) -> Drained {
        let start = Instant::now();
        self.core.stopping.send_replace(true);
        let handles = self.core.registry.list();
        let open = handles.len();
        let drained = async {
            self.close_all(&handles, &plan, start).await;
            drop(handles);
            self.core.tasks.none().await;
        };
        let deadline = start.checked_add(plan.deadline);
        let ended = match deadline {
            Some(deadline) => timeout_at(deadline, drained).await.is_ok(),
            None => {
                drained.await;
                true
            }
        };
        if ended {
            return Drained { open, aborted: 0 };
        }
        let aborted = self.core.tasks.len();
        for handle in &*self.core.registry.list() {
            handle.abort_by(By::Shutdown);
        }
        // What is told of the end has a moment for it.
        if timeout(LAST_WORDS, self.core.tasks.none()).await.is_err() {
            self.core.tasks.abort();
            self.core.tasks.none().await;
        }
        Drained { open, aborted }
    }

    /// Waits until a shutdown is done, whoever asked for it.
    ///
    /// **Cancel safety.** It can be called again.
    pub async fn stopped(&self) {
        let mut stopping = self.core.stopping.subscribe();
        // As above.
        let _ = stopping.wait_for(|stopping| *stopping).await;
        self.core.tasks.none().await;
    }

    /// Waits for SIGTERM or SIGINT (elsewhere than on Unix for Ctrl-C), then shuts down; a second signal cuts the rest
    /// off at once. With TLS, SIGHUP has the certificates [read again](Self::reload_tls) meanwhile;
    /// [`Fault::Reload`](super::Fault::Reload) tells if that failed.
    ///
    /// **Cancel safety.** As [`shutdown`](Self::shutdown).
    ///
    /// # Errors
    /// The signals cannot be waited for.
    pub async fn run_until_signal(&self, plan: Shutdown) -> io::Result<Drained> {
        let mut signals = Signals::new(self.core.tls.is_some())?;
        while signals.next().await == Asked::Reload {
            let server = self.clone();
            // It reads files.
            if let Ok(Err(error)) = spawn_blocking(move || server.reload_tls()).await {
                self.core.hooks.fault(&Fault::Reload(error));
            }
        }
        let at_once = plan.clone().window(Duration::ZERO).deadline(Duration::ZERO);
        let again = async { while signals.next().await == Asked::Reload {} };
        match first(self.shutdown(plan), again).await {
            First::Left(drained) => Ok(drained),
            First::Right(()) => Ok(self.shutdown(at_once).await),
        }
    }

    async fn close_all(&self, handles: &[Handle], plan: &Shutdown, start: Instant) {
        let moment = |handle: &Handle| (plan.window.mul_f64(rand::random::<f64>()), handle.clone());
        let mut moments: Vec<_> = handles.iter().map(moment).collect();
        moments.sort_unstable_by_key(|(moment, _)| *moment);
        for (moment, handle) in moments {
            if let Some(at) = start.checked_add(moment).filter(|_| !moment.is_zero()) {
                sleep_until(at).await;
            }
            handle.begin_close(plan.frame.clone(), By::Shutdown);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("registry", &self.core.registry)
            .finish_non_exhaustive()
    }
}

/// What was ready first.
enum First<A, B> {
    Left(A),
    Right(B),
}

/// Waits for either; for the first, if both are ready.
async fn first<A: Future, B: Future>(left: A, right: B) -> First<A::Output, B::Output> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|cx| {
        if let Poll::Ready(output) = left.as_mut().poll(cx) {
            return Poll::Ready(First::Left(output));
        }
        right.as_mut().poll(cx).map(First::Right)
    })
    .await
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    End,
    /// The certificates are to be read again.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is no signal for it"))]
    Reload,
}

/// The signals to a program.
struct Signals {
    #[cfg(unix)]
    terminate: ::tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: ::tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: Option<::tokio::signal::unix::Signal>,
}

impl Signals {
    #[cfg(unix)]
    fn new(reloads: bool) -> io::Result<Self> {
        use ::tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            // Where nothing can be read again, it ends the program, as ever.
            hangup: reloads.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) -> Asked {
        poll_fn(|cx| {
            if self.terminate.poll_recv(cx).is_ready() || self.interrupt.poll_recv(cx).is_ready() {
                return Poll::Ready(Asked::End);
            }
            match &mut self.hangup {
                Some(hangup) => hangup.poll_recv(cx).map(|_| Asked::Reload),
                None => Poll::Pending,
            }
        })
        .await
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    fn new(_: bool) -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> Asked {
        // Where there is no Ctrl-C, nothing asks.
        if ::tokio::signal::ctrl_c().await.is_err() {
            core::future::pending::<()>().await;
        }
        Asked::End
    }
}

/// How long hooks may take for what was cut off.
const LAST_WORDS: Duration = Duration::from_secs(1);
