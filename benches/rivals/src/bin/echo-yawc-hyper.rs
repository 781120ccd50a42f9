//! yawc behind hyper, as its documentation has a server: the opening handshake and its negotiation are those of the
//! two. For suites that judge a library; what is measured is `echo-yawc`.

use std::convert::Infallible;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use taut_rivals::{Mode, Settings, echo_while_ready, serve};
use tokio::net::TcpStream;
use yawc::{CompressionLevel, Frame, OpCode, Options, UpgradeFut, WebSocket, WebSocketError};

fn main() -> Result<(), String> {
    serve(|stream: TcpStream, settings| {
        let upgrade = service_fn(move |request| upgrade(request, settings));
        http1::Builder::new().serve_connection(TokioIo::new(stream), upgrade).with_upgrades()
    })
}

async fn upgrade(
    mut request: Request<Incoming>,
    settings: Settings,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    match WebSocket::upgrade_with_options(&mut request, options(settings)) {
        Ok((response, upgraded)) => {
            tokio::spawn(echo(upgraded));
            Ok(response)
        }
        Err(_) => {
            let mut refusal = Response::new(Empty::new());
            *refusal.status_mut() = StatusCode::BAD_REQUEST;
            Ok(refusal)
        }
    }
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let Ok(socket) = upgraded.await else { return Ok(()) };
    echo_while_ready(socket, |frame: Frame| {
        Ok(matches!(frame.opcode(), OpCode::Text | OpCode::Binary).then_some(frame))
    })
    .await
}

fn options(settings: Settings) -> Options {
    let options = Options::default().with_utf8().with_limits(MOST, 2 * MOST);
    match settings.mode {
        Mode::Plain => options,
        Mode::Takeover => options.with_compression_level(CompressionLevel::new(settings.level.into())),
        Mode::NoTakeover => options
            .with_compression_level(CompressionLevel::new(settings.level.into()))
            .server_no_context_takeover()
            .client_no_context_takeover(),
    }
}

/// The largest message that others take by default; its own default is below 1 MiB.
const MOST: usize = 64 << 20;
