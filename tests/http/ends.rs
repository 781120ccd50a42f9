//! Ends of HTTP/2 connections in memory: ours, axum's and hyper's, and those of the crate h2, driven by hand.

use std::future::poll_fn;

use axum::Router;
use axum::response::Response as Answer;
use axum::routing::any;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Ping, RecvStream, SendStream};
use http::{Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use taut::axum::WebSocketUpgrade;
use taut::http2::Client;
use taut::hyper::{Service, Stream};
use taut::proto::handshake::Accept;
use taut::tokio::WebSocket;
use taut::{Error, Options};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A server on h2: hands over what is asked.
pub(crate) struct RawServer(UnboundedReceiver<(Request<RecvStream>, SendResponse<Bytes>)>);

impl RawServer {
    pub(crate) fn start(stream: DuplexStream, most_streams: u32) -> Self {
        let (sender, requests) = unbounded_channel();
        tokio::spawn(async move {
            let mut builder = h2::server::Builder::new();
            builder.enable_connect_protocol().max_concurrent_streams(most_streams);
            builder.initial_connection_window_size(1 << 20);
            let mut connection = builder.handshake(stream).await.unwrap();
            while let Some(Ok(request)) = connection.accept().await {
                let _ = sender.send(request);
            }
        });
        Self(requests)
    }

    pub(crate) async fn accept(&mut self) -> (Request<RecvStream>, SendResponse<Bytes>) {
        self.0.recv().await.expect("the client asks")
    }

    /// Waits for the end of the connection.
    pub(crate) async fn is_ended(&mut self) -> bool {
        self.0.recv().await.is_none()
    }

    pub(crate) fn is_asked(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Our client, and a server on h2.
pub(crate) async fn client_of(secure: bool, options: Options) -> (Client, RawServer) {
    let (ours, theirs) = duplex(1 << 16);
    let server = RawServer::start(theirs, 100);
    (Client::new(ours, secure, options).await.unwrap(), server)
}

/// A client on h2.
pub(crate) struct RawClient {
    pub(crate) requests: h2::client::SendRequest<Bytes>,
}

impl RawClient {
    /// Starts it, and waits for the server's settings.
    pub(crate) async fn start(stream: DuplexStream) -> Self {
        let (requests, mut connection) = h2::client::handshake(stream).await.unwrap();
        let mut pings = connection.ping_pong().unwrap();
        tokio::spawn(async move { drop(connection.await) });
        pings.ping(Ping::opaque()).await.unwrap();
        Self { requests }
    }

    pub(crate) async fn ask(&mut self, request: Request<()>) -> (Response<RecvStream>, SendStream<Bytes>) {
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (response, sending) = requests.send_request(request, false).unwrap();
        (response.await.unwrap(), sending)
    }
}

/// An extended CONNECT for a WebSocket.
pub(crate) fn extended(uri: &str) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = uri.parse().unwrap();
    *request.version_mut() = Version::HTTP_2;
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    request
}

/// Sends bytes as the window allows.
pub(crate) async fn data(sending: &mut SendStream<Bytes>, bytes: &[u8]) -> Result<(), h2::Error> {
    let mut rest = Bytes::copy_from_slice(bytes);
    while !rest.is_empty() {
        sending.reserve_capacity(rest.len());
        while sending.capacity() == 0 {
            match poll_fn(|cx| sending.poll_capacity(cx)).await {
                Some(capacity) => drop(capacity?),
                None => return Err(poll_fn(|cx| sending.poll_reset(cx)).await?.into()),
            }
        }
        let count = sending.capacity().min(rest.len());
        sending.send_data(rest.split_to(count), false)?;
    }
    Ok(())
}

/// An axum server that echoes at `/echo`, and speaks the subprotocol `chat`; gives the client's end.
pub(crate) fn axum_server(options: Options) -> DuplexStream {
    let handler = async move |upgrade: WebSocketUpgrade| -> Answer {
        upgrade.options(options).protocols(["chat"]).on_upgrade(async |socket| drop(echo(socket).await))
    };
    let router = Router::new().route("/echo", any(handler));
    let (ours, theirs) = duplex(1 << 16);
    tokio::spawn(async move {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http2().enable_connect_protocol();
        let service = TowerToHyperService::new(router);
        drop(builder.serve_connection_with_upgrades(TokioIo::new(theirs), service).await);
    });
    ours
}

/// A hyper server that echoes everywhere, and tells how each WebSocket ended.
pub(crate) fn hyper_server(
    options: Options,
    ended: impl Fn(Result<(), Error>) + Clone + Send + Sync + 'static,
) -> DuplexStream {
    let (ours, theirs) = duplex(1 << 16);
    tokio::spawn(async move {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http2().enable_connect_protocol();
        let handle = move |socket: Result<WebSocket<Stream>, Error>| {
            let ended = ended.clone();
            async move {
                ended(match socket {
                    Ok(socket) => echo(socket).await,
                    Err(error) => Err(error),
                });
            }
        };
        let service = Service::new(options, |_| Ok(Accept::new()), handle);
        drop(builder.serve_connection_with_upgrades(TokioIo::new(theirs), service).await);
    });
    ours
}

async fn echo(mut socket: WebSocket<Stream>) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        if message.is_data() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
