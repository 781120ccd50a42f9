//! `TlsAcceptor`: TLS with a client, by settings that can be loaded anew.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::mem;
use std::sync::{Mutex, PoisonError, RwLock};

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::time::{Instant, timeout};
use tokio_rustls::rustls::server::ServerConfig;

use super::super::super::accept::{discard, is_gone, set_nodelay};
use super::super::super::closing::after;
use super::failure::explained;
use super::settings::ServerTls;
use super::stream::{Noted, ServerTlsStream};
use crate::error::{Deadline, Error};
use crate::options::Options;

/// Does TLS with clients. Clones share their settings, so that one can [`reload`](Self::reload) for all.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use taut::tokio::{Client, Options, ServerTls, Tls, TlsAcceptor, accept_with};
///
/// # let folder = std::env::temp_dir().join(format!("taut-acceptor-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
/// # let made = rcgen::generate_simple_self_signed(["localhost".into()])?;
/// # std::fs::write(&chain, made.cert.pem())?;
/// # std::fs::write(&key, made.signing_key.serialize_pem())?;
/// let acceptor = TlsAcceptor::new(ServerTls::from_pem_files(&chain, &key))?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let uri = format!("wss://localhost:{}/", listener.local_addr()?.port());
/// # let renewing = acceptor.clone();
/// tokio::spawn(async move {
///     while let Ok((stream, _)) = listener.accept().await {
///         let acceptor = acceptor.clone();
///         tokio::spawn(async move {
///             let mut options = Options::new();
///             let stream = acceptor.wrap(stream, &mut options).await?;
///             let mut socket = accept_with(stream, options, |_| Ok(Default::default())).await?;
///             socket.send("nobody else reads this").await?;
///             while socket.recv().await?.is_some() {}
///             Ok::<_, taut::Error>(())
///         });
///     }
/// });
///
/// # let certificate = made.cert.der().clone();
/// let client = Client::new().tls(Tls::new().roots([certificate]))?;
/// let mut socket = client.connect(&uri).await?;
/// assert_eq!(socket.recv().await?, Some("nobody else reads this".into()));
/// # renewing.reload()?;
/// # std::fs::remove_dir_all(folder)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TlsAcceptor(Arc<Shared>);

struct Shared {
    /// What new connections get.
    current: RwLock<Arc<ServerConfig>>,
    /// Locked for as long as others are made ready, so that the last call is the one that holds.
    settings: Mutex<ServerTls>,
}

impl TlsAcceptor {
    /// Makes the settings ready; reads their files, if they name any.
    ///
    /// # Errors
    /// [`Error::Tls`] with [`TlsProblem::Configuration`](crate::TlsProblem::Configuration) if a file cannot be read, a
    /// key is not that of its certificate, or rustls refuses the settings; [`Error::Unsupported`] if no cryptography
    /// is compiled in and none was given.
    pub fn new(settings: ServerTls) -> Result<Self, Error> {
        let current = RwLock::new(settings.build()?);
        Ok(Self(Arc::new(Shared { current, settings: Mutex::new(settings) })))
    }

    /// Reads the files of the settings again, and has new connections use what they hold: all of it, or, after an
    /// error, what was used before. Connections that are open or in the middle of the handshake keep theirs. No client
    /// resumes a session of before.
    ///
    /// It reads files, which on a network's file system can take its time: there, use `spawn_blocking`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn reload(&self) -> Result<(), Error> {
        let settings = self.0.settings.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.swap(settings.build()?);
        Ok(())
    }

    /// As [`reload`](Self::reload), from other settings, which later reloads use too.
    ///
    /// # Errors
    /// As [`new`](Self::new); the settings of before stay.
    pub fn replace(&self, settings: ServerTls) -> Result<(), Error> {
        let mut kept = self.0.settings.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.swap(settings.build()?);
        *kept = settings;
        Ok(())
    }

    /// Does TLS with a client over `stream`; a `TcpStream` is set to `TCP_NODELAY` first.
    ///
    /// The time that it takes is taken off [`Options::handshake_timeout`], so that TLS and the handshake of WebSocket
    /// have one deadline together. Dropping the future closes the stream.
    ///
    /// # Errors
    /// [`Error::Tls`] once the client was told what is wrong, [`Error::Io`], or [`Error::Timeout`] with
    /// [`Deadline::Tls`]; [`Error::NoRequest`] if the client went away before it sent a byte.
    pub fn wrap<S>(
        &self,
        stream: S,
        options: &mut Options,
    ) -> impl Future<Output = Result<ServerTlsStream<S>, Error>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        set_nodelay(&stream);
        let acceptor = tokio_rustls::TlsAcceptor::from(self.0.current());
        // On the heap until it is done, as `accept_with`.
        Box::pin(async move {
            let start = Instant::now();
            let accepting = acceptor.accept(Noted::new(stream)).into_fallible();
            let accepted = timeout(options.handshake_timeout, accepting).await;
            options.handshake_timeout = options.handshake_timeout.saturating_sub(start.elapsed());
            match accepted {
                Ok(Ok(stream)) => Ok(ServerTlsStream::new(stream)),
                Ok(Err((error, stream))) if is_gone(&error) && !stream.has_read() => Err(Error::NoRequest),
                Ok(Err((error, mut stream))) => {
                    let error = explained(error);
                    if matches!(error, Error::Tls(_)) {
                        // Closing with unread bytes would reset the stream, and could destroy the alert.
                        let deadline = after(options.pace.close_timeout);
                        discard(&mut stream, deadline).await;
                    }
                    Err(error)
                }
                Err(_) => Err(Error::Timeout(Deadline::Tls)),
            }
        })
    }
}

impl Shared {
    fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn swap(&self, config: Arc<ServerConfig>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let old = mem::replace(&mut *current, config);
        drop(current);
        // What it holds may be much: not under the lock.
        drop(old);
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.0.settings.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_tuple("TlsAcceptor").field(&*settings).finish()
    }
}
