//! `Client`: what every request of it says, and how it gets to servers.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::time::Duration;

use ::tokio::time::Instant;

use super::authority::Credentials;
use super::environment::Environment;
use super::gate::Gate;
use super::network::{Connector, Network};
use super::proxy::Proxy;
use super::redirect;
use super::stream::NetworkStream;
use super::target::Target;
use super::tls;
use super::way::{Proxies, Way};
use crate::error::Error;
use crate::options::Options;
use crate::proto::Role;
use crate::proto::handshake::{BuildError, ClientRequest, UriError};
use crate::tokio::closing::after;
use crate::tokio::opening::shake_hands;
use crate::tokio::websocket::WebSocket;

/// Connects to servers. Clones share what makes them wait for each other.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use taut::proto::handshake::Accept;
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let address = listener.local_addr()?;
/// # let serving = tokio::spawn(async move {
/// #     let stream = listener.accept().await?.0;
/// #     let mut socket = taut::tokio::accept_with(stream, Default::default(), |request| {
/// #         assert_eq!(request.origin(), Some("https://example.com"));
/// #         assert_eq!(request.fields().text("Authorization"), Some("Bearer secret"));
/// #         Ok(Accept::new().subprotocol("chat"))
/// #     }).await?;
/// #     assert_eq!(socket.recv().await?, Some("hello".into()));
/// #     Ok::<(), taut::Error>(())
/// # });
/// use taut::tokio::{Client, Proxy};
///
/// let client = Client::new()
///     .origin("https://example.com")?
///     .bearer("secret")?
///     .subprotocol("chat")?
///     .require_subprotocol();
/// let mut socket = client.connect(&format!("ws://{address}/chat")).await?;
/// socket.send("hello").await?;
///
/// // The same, by a proxy that resolves the names.
/// let client = client.proxy(Proxy::parse("socks5h://127.0.0.1:1080")?);
/// # serving.await??;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    options: Options,
    fields: Vec<(Box<str>, Box<str>)>,
    subprotocols: Vec<Box<str>>,
    strict: bool,
    max_redirects: usize,
    way: Way,
}

impl Client {
    /// A client with the defaults that each method states.
    #[must_use]
    pub fn new() -> Self {
        Self {
            options: Options::new(),
            fields: Vec::new(),
            subprotocols: Vec::new(),
            strict: false,
            max_redirects: 0,
            way: Way::new(),
        }
    }

    /// Limits and deadlines of connections. [`Options::handshake_timeout`] is for all of the way to the open
    /// connection: resolving, connecting, proxy, TLS, handshake and redirects. Default: [`Options::new`].
    #[must_use]
    pub const fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Adds a header field to each request.
    ///
    /// # Errors
    /// As [`ClientRequest::field`].
    pub fn field(mut self, name: &str, value: &str) -> Result<Self, BuildError> {
        ClientRequest::new("localhost", "/")?.field(name, value)?;
        self.fields.push((name.into(), value.into()));
        Ok(self)
    }

    /// The Origin of each request, as a browser has it: `https://example.com`. Default: none.
    ///
    /// # Errors
    /// [`BuildError::FieldValue`].
    pub fn origin(self, origin: &str) -> Result<Self, BuildError> {
        self.only_field("Origin", origin)
    }

    /// A cookie, `name=value`, or several with `; ` between them.
    ///
    /// # Errors
    /// [`BuildError::FieldValue`].
    pub fn cookie(self, cookie: &str) -> Result<Self, BuildError> {
        self.only_field("Cookie", cookie)
    }

    /// Authorization by a bearer token (RFC 6750 §2.1). It goes before credentials in URIs.
    ///
    /// # Errors
    /// [`BuildError::FieldValue`].
    pub fn bearer(self, token: &str) -> Result<Self, BuildError> {
        self.only_field(AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// Authorization by user name and password (RFC 7617), in UTF-8. It goes before credentials in URIs.
    ///
    /// # Errors
    /// [`BuildError::FieldValue`] for a user name with a colon, and for control characters.
    pub fn basic(self, user: &str, password: &str) -> Result<Self, BuildError> {
        let basic = Credentials { user: user.into(), password: password.into() }.basic();
        let basic = basic.ok_or_else(|| BuildError::FieldValue { name: AUTHORIZATION.into(), at: 0 })?;
        self.only_field(AUTHORIZATION, &basic)
    }

    /// Offers a subprotocol, after those offered before.
    ///
    /// # Errors
    /// As [`ClientRequest::subprotocol`].
    pub fn subprotocol(mut self, name: &str) -> Result<Self, BuildError> {
        self.subprotocols.push(name.into());
        self.offered(ClientRequest::new("localhost", "/")?)?;
        Ok(self)
    }

    /// Fails with [`SubprotocolMissing`](crate::proto::handshake::HandshakeError::SubprotocolMissing) if some
    /// subprotocols are offered and the server chooses none, as browsers do. Default: the connection opens without.
    #[must_use]
    pub const fn require_subprotocol(mut self) -> Self {
        self.strict = true;
        self
    }

    /// How many redirects (301, 302, 303, 307, 308) are followed for a connection. `http` and `https` in their
    /// Location stand for `ws` and `wss`; one from `wss` to `ws` fails with [`Error::Redirect`]. To another server
    /// (scheme, host or port) no field of this client goes but Origin and User-Agent. Default: 0, as browsers do:
    /// the answer is [`Error::Refused`], and so is the one after the last that is followed.
    #[must_use]
    pub const fn max_redirects(mut self, redirects: usize) -> Self {
        self.max_redirects = redirects;
        self
    }

    /// Connects through this proxy, except to `ws+unix://`. Default: none.
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.way.proxies = Proxies::One(proxy);
        self
    }

    /// Connects through the proxies that the environment names at this moment: `http_proxy` for `ws`, `https_proxy`
    /// for `wss`, else `all_proxy`; except to the hosts of `no_proxy`, a list of domains (with those below them),
    /// addresses and networks (`10.0.0.0/8`), each with or without a port, or `*`. Each also in upper case, which
    /// counts if there is none in lower case; but `HTTP_PROXY` not where `REQUEST_METHOD` is set, since there it is
    /// a client's field.
    ///
    /// # Errors
    /// [`ProxyError::Uri`](crate::ProxyError::Uri) names the variable that is not the URI of a proxy.
    pub fn proxy_from_environment(mut self) -> Result<Self, Error> {
        let get = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        self.way.proxies = Proxies::Environment(Environment::read(get)?);
        Ok(self)
    }

    /// How long an address has before the next is tried beside it: the Connection Attempt Delay of RFC 8305 §5, which
    /// is at least 10 ms, and should be at least 100 ms. Default: 250 ms.
    #[must_use]
    pub const fn attempt_delay(mut self, delay: Duration) -> Self {
        self.way.attempts.delay = delay;
        self
    }

    /// How long an attempt to connect to one address may take. Default: 5 s.
    #[must_use]
    pub const fn attempt_timeout(mut self, time: Duration) -> Self {
        self.way.attempts.timeout = time;
        self
    }

    /// Resolves names and connects to addresses by this. Default: by the operating system.
    #[must_use]
    pub fn network(mut self, network: impl Network) -> Self {
        self.way.network = Arc::new(network);
        self
    }

    /// Gets its streams by this, instead of by addresses. Default: none.
    #[must_use]
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.way.connector = Some(Arc::new(connector));
        self
    }

    /// The settings of TLS, for `wss://` and for proxies of `https://`. Default: `Tls::new`, made ready at the first
    /// use.
    ///
    /// # Errors
    /// [`Error::Tls`] with [`Configuration`](crate::TlsProblem::Configuration), and [`Error::Unsupported`] if there is
    /// no cryptography.
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, tls: super::tls::Tls) -> Result<Self, Error> {
        self.way.tls = tls::Setting::new(&tls)?;
        Ok(self)
    }

    /// Whether any number of connections to a host may be under way at a time. RFC 6455 §4.1 allows one for each
    /// address, or name behind a proxy: the next waits for it to open or to fail, within its own deadline. Default:
    /// no. A test of a server's load wants it.
    #[must_use]
    pub fn allow_simultaneous(mut self, allow: bool) -> Self {
        self.way.gate = (!allow).then(Gate::default);
        self
    }

    /// Connects.
    ///
    /// | URI                                | where                                                            |
    /// |------------------------------------|------------------------------------------------------------------|
    /// | `ws://host[:port][/path][?query]`  | port 80, in the open                                             |
    /// | `wss://…`                          | port 443, over TLS; needs the feature `rustls-ring`, `rustls-aws-lc-rs`, or `rustls` and a provider |
    /// | `ws://user:password@host…`, `wss`  | with Basic authentication; both percent-encoded                  |
    /// | `ws+unix:///path[:/path[?query]]`  | a UNIX socket, percent-encoded, and the resource; Host is `localhost` |
    ///
    /// **Cancel safety.** The future may be dropped at any time: what it opened is closed, and whoever waits for it at
    /// the same host goes on.
    ///
    /// # Errors
    /// [`Error::Uri`]; [`Error::Connect`] if no address can be reached; [`Error::Proxy`]; [`Error::Tls`];
    /// [`Error::Refused`] with the whole answer if the server does not upgrade; [`Error::Redirect`];
    /// [`Error::Handshake`] if it upgrades wrongly; [`Error::Io`]; [`Error::Timeout`] after
    /// [`Options::handshake_timeout`], with the step in which it passed; [`Error::Unsupported`] names the feature
    /// that is missing.
    pub fn connect(&self, uri: &str) -> impl Future<Output = Result<WebSocket<NetworkStream>, Error>> + Send {
        // On the heap until it is done, as `accept_with`.
        Box::pin(async move { self.options.observer.outcome(Role::Client, self.journey(uri).await) })
    }

    /// The same client, with this [`Options::ping_interval`] if it has none.
    #[cfg(feature = "client")]
    pub(crate) fn with_heartbeat(mut self, interval: Duration) -> Self {
        if self.options.pace.ping_interval == Duration::MAX {
            self.options = self.options.ping_interval(interval);
        }
        self
    }

    /// The same with other options, no redirects, and a request that is made here.
    pub(in crate::tokio) async fn connect_prepared(
        &self,
        uri: &str,
        options: Options,
        prepare: impl FnOnce(ClientRequest) -> Result<ClientRequest, BuildError>,
    ) -> Result<WebSocket<NetworkStream>, Error> {
        let opened = async {
            let target = Target::parse(uri)?;
            let request = prepare(self.request_to(&target, true)?)?;
            self.open(&target, &request, options, after(options.handshake_timeout)).await
        };
        options.observer.outcome(Role::Client, opened.await)
    }

    /// The request that [`connect`](Self::connect) sends to a URI: with the fields and subprotocols of this client, and
    /// the credentials of the URI. For [`connect_over`](crate::tokio::connect_over), and for
    /// `taut::http2::Client::connect`.
    ///
    /// # Errors
    /// [`Error::Uri`].
    pub fn request(&self, uri: &str) -> Result<ClientRequest, Error> {
        self.request_to(&Target::parse(uri)?, true)
    }

    /// The way to a server for HTTP/2, and what `start` makes of it.
    #[cfg(feature = "http2")]
    pub(crate) async fn reach_http2<T, F>(
        &self,
        uri: &str,
        start: impl FnOnce(Reached) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = after(self.options.handshake_timeout);
        let target = Target::parse(uri)?;
        let tls = self.way.tls(&target)?.map(|tls| tls.for_http2());
        // The pass lasts until HTTP/2 has begun.
        let (stream, _pass) = self.way.open(&target, tls, deadline).await?;
        let (secure, strict, options) = (target.uri.is_secure(), self.strict, self.options);
        start(Reached { stream, secure, strict, options, deadline }).await
    }

    async fn journey(&self, uri: &str) -> Result<WebSocket<NetworkStream>, Error> {
        let deadline = after(self.options.handshake_timeout);
        let mut target = Target::parse(uri)?;
        let mut request = self.request_to(&target, true)?;
        let mut trusted = true;
        for _ in 0..self.max_redirects {
            match self.open(&target, &request, self.options, deadline).await {
                Err(Error::Refused(answer)) if redirect::is_redirect(&answer) => {
                    let mut next = redirect::follow(&target, &answer)?;
                    // Once away, never trusted again: the way back is another's choice.
                    trusted = trusted && next.is_same_server(&target);
                    next.credentials = target.credentials.filter(|_| trusted);
                    target = next;
                    request = self.request_to(&target, trusted)?;
                }
                opened => return opened,
            }
        }
        self.open(&target, &request, self.options, deadline).await
    }

    async fn open(
        &self,
        target: &Target,
        request: &ClientRequest,
        options: Options,
        deadline: Instant,
    ) -> Result<WebSocket<NetworkStream>, Error> {
        // The pass lasts until the handshake is over.
        let (stream, _pass) = self.way.open(target, self.way.tls(target)?, deadline).await?;
        let strict = self.strict && !self.subprotocols.is_empty();
        let opened = shake_hands(stream, request, options, strict, deadline).await;
        opened.map_err(|error| tls::told_by(error, target.uri.host()))
    }

    /// The request to a target; with what is secret if that is for it.
    fn request_to(&self, target: &Target, trusted: bool) -> Result<ClientRequest, Error> {
        let mut request = self.offered(ClientRequest::from_uri(&target.uri))?;
        for (name, value) in &self.fields {
            if trusted || PUBLIC.iter().any(|public| public.eq_ignore_ascii_case(name)) {
                request = request.field(name, value)?;
            }
        }
        let is_set = self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(AUTHORIZATION));
        if let (Some(credentials), false) = (&target.credentials, is_set) {
            let basic = credentials.basic();
            request = request.field(AUTHORIZATION, &basic.ok_or(UriError::UserInfo)?)?;
        }
        Ok(request)
    }

    fn offered(&self, mut request: ClientRequest) -> Result<ClientRequest, BuildError> {
        for name in &self.subprotocols {
            request = request.subprotocol(name)?;
        }
        Ok(request)
    }

    /// With this field, instead of another of its name.
    fn only_field(mut self, name: &str, value: &str) -> Result<Self, BuildError> {
        self.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.field(name, value)
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials stay out of logs.
        f.debug_struct("Client")
            .field("options", &self.options)
            .field("subprotocols", &self.subprotocols)
            .field("max_redirects", &self.max_redirects)
            .finish_non_exhaustive()
    }
}

/// A server that is to speak HTTP/2, and what the client says of connections to it.
#[cfg(feature = "http2")]
pub(crate) struct Reached {
    pub(crate) stream: NetworkStream,
    pub(crate) secure: bool,
    pub(crate) strict: bool,
    pub(crate) options: Options,
    pub(crate) deadline: Instant,
}

/// The fields that may go to a server that another one named.
const PUBLIC: [&str; 2] = ["Origin", "User-Agent"];

const AUTHORIZATION: &str = "Authorization";
