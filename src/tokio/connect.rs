//! Connecting as a client, in one call.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use std::sync::OnceLock;

use ::tokio::io::{AsyncRead, AsyncWrite};

use super::accept::set_nodelay;
use super::client::{Client, NetworkStream};
use super::closing::after;
use super::opening::shake_hands;
use super::websocket::WebSocket;
use crate::error::Error;
use crate::options::Options;
use crate::proto::Role;
use crate::proto::handshake::{BuildError, ClientRequest};

/// Connects to a `ws://`, `wss://` or `ws+unix://` URI by the default [`Client`], which all calls in the process
/// share. `TCP_NODELAY` is set. [`Client`] tells of the URIs, and has settings.
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
/// let mut socket = taut::connect(&format!("ws://{address}/chat")).await?;
/// socket.send("hello").await?;
/// assert_eq!(socket.recv().await?, Some("hello".into()));
/// # Ok(()) }
/// ```
///
/// **Cancel safety.** As [`Client::connect`].
///
/// # Errors
/// As [`Client::connect`].
pub fn connect(uri: &str) -> impl Future<Output = Result<WebSocket<NetworkStream>, Error>> {
    default_client().connect(uri)
}

/// Connects as [`connect`] does, after `prepare` has added subprotocols and fields to the request.
///
/// **Cancel safety.** As [`Client::connect`].
///
/// # Errors
/// As [`connect`]; [`Error::Build`] if `prepare` fails.
pub fn connect_with<F>(
    uri: &str,
    options: Options,
    prepare: F,
) -> impl Future<Output = Result<WebSocket<NetworkStream>, Error>>
where
    F: FnOnce(ClientRequest) -> Result<ClientRequest, BuildError>,
{
    // On the heap until it is done, as `accept_with`.
    Box::pin(async move { default_client().connect_prepared(uri, options, prepare).await })
}

/// Does the client's handshake over a stream that is connected already.
///
/// **Cancel safety.** Dropping the future closes the stream.
///
/// # Errors
/// [`Error::Io`], [`Error::Refused`] with the whole answer if the server does not upgrade, [`Error::Handshake`] if it
/// does so wrongly, [`Error::Timeout`] after [`Options::handshake_timeout`].
pub fn connect_over<S>(
    stream: S,
    request: &ClientRequest,
    options: Options,
) -> impl Future<Output = Result<WebSocket<S>, Error>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Box::pin(async move {
        set_nodelay(&stream);
        let deadline = after(options.handshake_timeout);
        let shaken = shake_hands(stream, request, options, false, deadline).await;
        options.observer.outcome(Role::Client, shaken)
    })
}

/// One for all, so that they wait for each other as RFC 6455 §4.1 wants it.
fn default_client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(Client::new)
}
