//! The server's side of the network: TLS, proxies in front, sockets of files and of systemd. `tests/network/run` has
//! nginx before it.

#![cfg(feature = "tokio")]

mod support;
#[path = "support/transport.rs"]
mod transport;

#[cfg(all(unix, feature = "listenfd"))]
#[path = "server_network/activation.rs"]
mod activation;
#[path = "server_network/proxies.rs"]
mod proxies;
#[cfg(feature = "rustls-ring")]
#[path = "server_network/tls.rs"]
mod tls;
#[cfg(unix)]
#[path = "server_network/unix.rs"]
mod unix;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

/// The request of a client.
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Fails instead of waiting for ever: when nothing else is left to happen, the paused clock runs to this end.
async fn ends<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(24 * 3600), future).await.expect("something waits for ever")
}

/// Polls a future at most `polls` times, when it is woken or has waited for some time; `None` if it was still
/// pending then, and is dropped.
async fn polled<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(value) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(value);
        }
        let mut waited = false;
        let woken =
            poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending });
        let _ = timeout(Duration::from_millis(1), woken).await;
    }
    None
}
