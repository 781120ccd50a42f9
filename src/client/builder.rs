//! `Builder`: how a client behaves.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::time::Duration;

use super::backoff::Backoff;
use super::delivery::Acknowledge;
use super::handle::{Handle, Updates};
use super::outbox::{Batch, Outbox, Queue};
use super::session::{Decide, Prepare, Session};
use super::shared::{Incoming, Shared};
use super::update::{Decision, Loss, Update};
use crate::error::Error;
use crate::tokio::Client;

/// A client that stays connected: see the [module](super).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let address = listener.local_addr()?;
/// # tokio::spawn(async move {
/// #     while let Ok((stream, _)) = listener.accept().await {
/// #         let mut socket = taut::tokio::accept(stream).await?;
/// #         while let Some(message) = socket.recv().await? {
/// #             if message.is_data() {
/// #                 socket.send(message).await?;
/// #             }
/// #         }
/// #     }
/// #     Ok::<(), taut::Error>(())
/// # });
/// use std::time::Duration;
/// use taut::client::{Backoff, Builder, Decision, Outbox, Update};
///
/// let (client, mut updates) = Builder::new(format!("ws://{address}/"))
///     .network(taut::tokio::Client::new().bearer("secret")?)
///     .heartbeat(Duration::from_secs(20))
///     .backoff(Backoff::new().first(Duration::from_millis(500)).longest(Duration::from_secs(60)))
///     .outbox(Outbox::new().max_messages(100))
///     .decide(|loss, attempts| match loss.is_retryable() && attempts < 1000 {
///         true => Decision::Retry,
///         false => Decision::GiveUp,
///     })
///     .start();
/// client.send("hello").await?; // taken with or without a connection
/// while let Some(update) = updates.recv().await {
///     if let Update::Message(message) = update {
///         assert_eq!(message, "hello".into());
///         break;
///     }
/// }
/// # Ok(()) }
/// ```
#[must_use = "`start` begins to connect"]
pub struct Builder {
    uri: String,
    network: Client,
    heartbeat: Option<Duration>,
    backoff: Backoff,
    outbox: Outbox,
    batch: Option<Batch>,
    incoming: Incoming,
    prepare: Option<Prepare>,
    decide: Decide,
    acknowledge: Option<Box<dyn Acknowledge>>,
}

impl Builder {
    /// A client of this server, with the defaults that each method states. See [`Client::connect`] for URIs.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            network: Client::new(),
            heartbeat: Some(Duration::from_secs(30)),
            backoff: Backoff::new(),
            outbox: Outbox::new(),
            batch: None,
            incoming: Incoming { messages: 1_024, bytes: 4 << 20 },
            prepare: None,
            decide: Box::new(|loss, _| if loss.is_retryable() { Decision::Retry } else { Decision::GiveUp }),
            acknowledge: None,
        }
    }

    /// How it connects: header fields, proxies, TLS, and the [`Options`](crate::Options) of connections, their
    /// deadlines among them. Default: [`Client::new`].
    pub fn network(mut self, network: Client) -> Self {
        self.network = network;
        self
    }

    /// How often a ping asks whether the server is there, which has [`Options::pong_timeout`](crate::Options::pong_timeout)
    /// to show a sign of life; `None` for never. None is sent while nothing is read, because what came waits for the
    /// application. Where the options of the network have an interval, that counts. Default: 30 s, as a server that is
    /// gone without a word is not noticed else by a client that only listens.
    pub fn heartbeat(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.heartbeat = interval.into();
        self
    }

    /// Makes the request of each attempt, whose number comes along: for tokens that expire. An error counts as one of
    /// the attempt.
    ///
    /// ```
    /// # async fn token() -> String { "secret".into() }
    /// let builder = taut::client::Builder::new("wss://example.com/")
    ///     .prepare(|network, _attempt| async move { Ok(network.bearer(&token().await)?) });
    /// ```
    pub fn prepare<F, P>(mut self, mut prepare: F) -> Self
    where
        F: FnMut(Client, u32) -> P + Send + 'static,
        P: Future<Output = Result<Client, Error>> + Send + 'static,
    {
        self.prepare = Some(Box::new(move |network, attempt| Box::pin(prepare(network, attempt))));
        self
    }

    /// When it tries again. Default: [`Backoff::new`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Whether it tries again, after so many attempts in a row failed, this one included. Default: if
    /// [`Loss::is_retryable`] says so.
    pub fn decide(mut self, decide: impl FnMut(&Loss, u32) -> Decision + Send + 'static) -> Self {
        self.decide = Box::new(decide);
        self
    }

    /// What may wait to be sent. Default: [`Outbox::new`].
    pub fn outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = outbox;
        self
    }

    /// Lets messages wait for each other. Default: none waits; those that are there together leave together.
    pub fn batch(mut self, batch: Batch) -> Self {
        self.batch = Some(batch);
        self
    }

    /// How many messages, and bytes of payload, may wait for the application, one message beyond. Default: 1,024 and
    /// 4 MiB.
    pub fn incoming(mut self, messages: usize, bytes: usize) -> Self {
        self.incoming = Incoming { messages: messages.max(1), bytes: bytes.max(1) };
        self
    }

    /// Lets [`Handle::deliver`] send messages that the server acknowledges, such as by
    /// [`JsonAcknowledge`](super::JsonAcknowledge). Default: none.
    pub fn acknowledge(mut self, scheme: impl Acknowledge) -> Self {
        self.acknowledge = Some(Box::new(scheme));
        self
    }

    /// Begins to connect, in a task of its own.
    ///
    /// # Panics
    /// Outside of a runtime of tokio.
    pub fn start(self) -> (Handle, Updates) {
        let (handle, updates, session) = self.build();
        ::tokio::spawn(session);
        (handle, updates)
    }

    /// The same; each update goes to `callback`, in order. A callback that takes its time delays the messages, which
    /// wait as they do for [`Updates`].
    ///
    /// # Panics
    /// Outside of a runtime of tokio.
    pub fn start_with(self, mut callback: impl FnMut(Update) + Send + 'static) -> Handle {
        let (handle, mut updates) = self.start();
        ::tokio::spawn(async move {
            while let Some(update) = updates.recv().await {
                callback(update);
            }
        });
        handle
    }

    /// The client, and the future that has to be polled for it to do anything. If that is dropped, the client ends
    /// with [`Cause::Stopped`](super::Cause::Stopped), and without a Close.
    pub fn build(self) -> (Handle, Updates, impl Future<Output = ()> + Send + use<>) {
        let shared = Shared::new(Queue::new(self.outbox), self.batch, self.acknowledge, self.incoming);
        let shared = Arc::new(shared);
        let session = Session {
            shared: shared.clone(),
            uri: self.uri,
            network: self.network,
            heartbeat: self.heartbeat,
            backoff: self.backoff,
            prepare: self.prepare,
            decide: self.decide,
        };
        (Handle::new(shared.clone()), Updates::new(shared), session.run())
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URI may have a password in it.
        f.debug_struct("Builder")
            .field("network", &self.network)
            .field("heartbeat", &self.heartbeat)
            .field("backoff", &self.backoff)
            .field("outbox", &self.outbox)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}
