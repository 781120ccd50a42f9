//! The API's listener: bounded in connections, and in how long each may take for a request.

#![forbid(unsafe_code)]

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Answers requests until this is done, then finishes those that came.
pub(crate) async fn serve(listener: TcpListener, router: Router, stopped: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let (stop, stopping) = watch::channel(());
    // Ends with this.
    let mut connections = JoinSet::new();
    let mut stopped = pin!(stopped);
    loop {
        let arrival = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            (place, accepted) = arrival => match accepted {
                Ok((stream, _)) => {
                    let answering = answer(stream, router.clone(), stopping.clone());
                    connections.spawn(async move {
                        answering.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection to the HTTP API could be accepted");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = &mut stopped => break,
        }
    }
    drop((listener, stop));
    while connections.join_next().await.is_some() {}
}

async fn answer(stream: TcpStream, router: Router, mut stopping: watch::Receiver<()>) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    tokio::select! {
        // Whatever was wrong with it, its other end was told or is gone.
        _ = &mut connection => return,
        // The sender is gone.
        _ = stopping.changed() => {}
        () = sleep(LONGEST) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LAST_ANSWER, connection).await;
}

/// Connections at a time; others wait until the system accepts them.
const MOST_CONNECTIONS: usize = 256;

/// How long a connection may be without a whole head of a request, at its beginning and between two requests.
const HEAD: Duration = Duration::from_secs(15);

/// How long a connection is used.
const LONGEST: Duration = Duration::from_secs(600);

/// How long the last answer on a connection may take to be read.
const LAST_ANSWER: Duration = Duration::from_secs(30);

/// After no connection could be accepted.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What comes of a connection that says this, until its end; the clock runs when nothing else does.
    async fn said(part: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", axum::routing::get(async || "well"));
        let serving = tokio::spawn(serve(listener, router, std::future::pending()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(part).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        serving.abort();
        text
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_finish_a_head_is_not_waited_for() {
        assert!(!said(b"").await.contains("200"));
        assert!(!said(b"GET / HTTP/1.1\r\nHost: a\r\n").await.contains("200"));
        // Nor who has nothing more to ask.
        assert!(said(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ends_with("well"));
    }

    #[tokio::test]
    async fn what_came_is_answered_before_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let stop = Arc::new(std::sync::Mutex::new(Some(stop)));
        let slow = async move || {
            // From here on it stops, amid the request.
            drop(stop.lock().unwrap().take());
            tokio::task::yield_now().await;
            "well"
        };
        let router = Router::new().route("/", axum::routing::get(slow));
        let serving = tokio::spawn(serve(listener, router, async { drop(stopped.await) }));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.ends_with("well"), "{text}");
        serving.await.unwrap();
    }
}
