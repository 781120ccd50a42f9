//! Connections that are used again, in a pool of the crate `deadpool`.

#![forbid(unsafe_code)]

use alloc::string::String;
use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;

/// The release of deadpool whose trait [`Manager`] has.
pub use deadpool::managed;
use deadpool::managed::{Metrics, RecycleError, RecycleResult};
use futures_core::Stream;

use crate::error::Error;
use crate::tokio::{Client, NetworkStream, WebSocket};

/// Such a pool: see [`managed`] for its builder, its limits and its deadlines.
pub type Pool = managed::Pool<Manager>;

/// Connects to one server for a pool, and looks at each connection before it is used again: one that ended, closes, or
/// has a message that nobody took is replaced. So a conversation that was broken off never answers the next.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let address = listener.local_addr()?;
/// # tokio::spawn(async move {
/// #     while let Ok((stream, _)) = listener.accept().await {
/// #         tokio::spawn(async move {
/// #             let mut socket = taut::tokio::accept(stream).await?;
/// #             while let Some(message) = socket.recv().await? {
/// #                 socket.send(message).await?;
/// #             }
/// #             Ok::<(), taut::Error>(())
/// #         });
/// #     }
/// # });
/// use taut::client::pool::{Manager, Pool};
/// use taut::tokio::Client;
///
/// let client = Client::new().allow_simultaneous(true);
/// let pool = Pool::builder(Manager::new(client, format!("ws://{address}/"))).max_size(8).build()?;
/// for question in ["one", "two"] {
///     let mut socket = pool.get().await?;
///     socket.send(question).await?;
///     assert_eq!(socket.recv().await?, Some(question.into()));
/// }
/// assert_eq!(pool.status().size, 1, "the second question went over the connection of the first");
/// # Ok(()) }
/// ```
pub struct Manager {
    network: Client,
    uri: String,
}

impl Manager {
    /// Connects to `uri` by this client.
    #[must_use]
    pub fn new(network: Client, uri: impl Into<String>) -> Self {
        Self { network, uri: uri.into() }
    }
}

impl managed::Manager for Manager {
    type Type = WebSocket<NetworkStream>;
    type Error = Error;

    async fn create(&self) -> Result<Self::Type, Error> {
        self.network.connect(&self.uri).await
    }

    async fn recycle(&self, socket: &mut Self::Type, _: &Metrics) -> RecycleResult<Error> {
        poll_fn(|cx| {
            loop {
                let unfit = match Pin::new(&mut *socket).poll_next(cx) {
                    Poll::Pending => return Poll::Ready(Ok(())),
                    Poll::Ready(Some(Ok(message))) if !message.is_data() => continue,
                    Poll::Ready(Some(Ok(_))) => RecycleError::message("a message came that nobody took"),
                    Poll::Ready(Some(Err(error))) => error.into(),
                    Poll::Ready(None) => RecycleError::message("the connection has ended"),
                };
                return Poll::Ready(Err(unfit));
            }
        })
        .await
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URI may have a password in it.
        f.debug_struct("Manager").field("network", &self.network).finish_non_exhaustive()
    }
}
