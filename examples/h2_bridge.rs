//! Carries the bytes of WebSockets between HTTP/1.1 and HTTP/2 (RFC 8441), and knows no frames: by it, programs that
//! speak only the one can talk with those that speak the other.
//!
//! `h2_bridge to-h2|from-h2 TARGET ADDR`
//!
//! Prints the address it listens on. `to-h2` takes HTTP/1.1 there, and asks TARGET over one connection of HTTP/2;
//! `from-h2` takes HTTP/2, and asks TARGET over a connection of HTTP/1.1 for each. Nothing is encrypted.

use std::error::Error;
use std::future::poll_fn;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Ping, Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use taut::nonce;
use taut::proto::handshake::{Pending, ServerHandshake, accept_key};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const USAGE: &str = "usage: h2_bridge to-h2|from-h2 TARGET ADDR";

/// As long as what a read gives is a frame of HTTP/2, and more.
const READ: usize = 16 << 10;

/// How much may be under way.
const WINDOW: u32 = 1 << 20;

/// How long a head may be.
const MOST_HEAD: usize = 16 << 10;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["to-h2", target, address] => to_h2(target, address).await,
        ["from-h2", target, address] => from_h2(target, address).await,
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("h2_bridge: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn listen(address: &str) -> Outcome<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    Ok(listener)
}

async fn to_h2(target: &str, address: &str) -> Outcome {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (requests, mut connection) = builder.handshake::<_, Bytes>(stream).await?;
    let mut pings = connection.ping_pong().ok_or("no pings")?;
    let ended = tokio::spawn(connection);
    // The settings come before the answer to this.
    pings.ping(Ping::opaque()).await?;
    if !requests.is_extended_connect_protocol_enabled() {
        return Err(format!("{target} takes no WebSockets over HTTP/2").into());
    }
    let listener = listen(address).await?;
    let accept = async {
        while let Ok((stream, _)) = listener.accept().await {
            let requests = requests.clone();
            tokio::spawn(async move {
                if let Err(error) = ask_over_h2(stream, requests).await {
                    eprintln!("{error}");
                }
            });
        }
    };
    tokio::select! {
        () = accept => Err("cannot accept any more".into()),
        end = ended => Ok(end??),
    }
}

/// Carries one WebSocket from HTTP/1.1 to HTTP/2.
async fn ask_over_h2(mut stream: TcpStream, requests: h2::client::SendRequest<Bytes>) -> Outcome {
    stream.set_nodelay(true)?;
    let (request, early) = read_request(&mut stream).await?.into_parts();
    let mut asking = Request::new(());
    *asking.method_mut() = Method::CONNECT;
    *asking.version_mut() = Version::HTTP_2;
    *asking.uri_mut() = format!("http://{}{}", request.host(), request.resource()).parse()?;
    asking.extensions_mut().insert(Protocol::from_static("websocket"));
    for (name, value) in request.fields().iter() {
        let (name, value) = (HeaderName::try_from(name)?, HeaderValue::from_bytes(value)?);
        if is_carried(&name) {
            asking.headers_mut().append(name, value);
        }
    }
    let (response, mut sending) = requests.ready().await?.send_request(asking, false)?;
    let (parts, receiving) = response.await?.into_parts();
    let mut head = BytesMut::new();
    if parts.status.is_success() {
        let key = request.fields().get("Sec-WebSocket-Key").unwrap_or_default();
        head.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        );
        head.extend_from_slice(&[&b"Sec-WebSocket-Accept: "[..], &accept_key(key), b"\r\n"].concat());
    } else {
        head.extend_from_slice(format!("HTTP/1.1 {}\r\nConnection: close\r\n", parts.status).as_bytes());
    }
    push_fields(&mut head, &parts.headers);
    stream.write_all(&head).await?;
    send(&mut sending, &early).await?;
    carry(stream, sending, receiving).await
}

async fn read_request(stream: &mut TcpStream) -> Outcome<Pending> {
    let mut handshake = ServerHandshake::new();
    loop {
        match handshake.poll() {
            Ok(Some(pending)) => return Ok(pending),
            Ok(None) if stream.read_buf(handshake.input()).await? == 0 => handshake.input_eof(),
            Ok(None) => {}
            Err(error) => {
                stream.write_all_buf(handshake.output()).await?;
                return Err(error.into());
            }
        }
    }
}

async fn from_h2(target: &str, address: &str) -> Outcome {
    let listener = listen(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let target = target.to_string();
        tokio::spawn(async move {
            let mut builder = h2::server::Builder::new();
            let Ok(mut connection) = builder.enable_connect_protocol().handshake(stream).await else {
                return;
            };
            while let Some(Ok((request, respond))) = connection.accept().await {
                let target = target.clone();
                tokio::spawn(async move {
                    if let Err(error) = ask_over_http1(request, respond, &target).await {
                        eprintln!("{error}");
                    }
                });
            }
        });
    }
}

/// Carries one WebSocket from HTTP/2 to HTTP/1.1.
async fn ask_over_http1(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    target: &str,
) -> Outcome {
    let (parts, receiving) = request.into_parts();
    if parts.extensions.get::<Protocol>().is_none_or(|protocol| protocol.as_str() != "websocket") {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
        respond.send_response(response, true)?;
        return Ok(());
    }
    let mut stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let resource = parts.uri.path_and_query().map_or("/", |resource| resource.as_str());
    let start = format!(
        "GET {resource} HTTP/1.1\r\nHost: {target}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {}\r\n",
        STANDARD.encode(nonce())
    );
    let mut head = BytesMut::from(start.as_bytes());
    push_fields(&mut head, &parts.headers);
    stream.write_all(&head).await?;
    let (response, early) = read_response(&mut stream).await?;
    let mut sending = respond.send_response(response, false)?;
    send(&mut sending, &early).await?;
    carry(stream, sending, receiving).await
}

/// The answer in HTTP/2, and the bytes behind it.
async fn read_response(stream: &mut TcpStream) -> Outcome<(Response<()>, BytesMut)> {
    let mut input = BytesMut::new();
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        if let httparse::Status::Complete(length) = head.parse(&input)? {
            let mut response = Response::new(());
            let status = head.code.filter(|&code| code != 101).unwrap_or(200);
            *response.status_mut() = StatusCode::from_u16(status)?;
            for field in head.headers.iter() {
                let name = HeaderName::try_from(field.name)?;
                if is_carried(&name) {
                    response.headers_mut().append(name, HeaderValue::from_bytes(field.value)?);
                }
            }
            return Ok((response, input.split_off(length)));
        }
        if input.len() > MOST_HEAD || stream.read_buf(&mut input).await? == 0 {
            return Err("the target does not answer with a head of HTTP/1.1".into());
        }
    }
}

/// Whether a field is that of the WebSocket, and not of one connection.
fn is_carried(name: &HeaderName) -> bool {
    const NOT: [&str; 7] = [
        "host",
        "connection",
        "upgrade",
        "sec-websocket-key",
        "sec-websocket-accept",
        "content-length",
        "transfer-encoding",
    ];
    !NOT.contains(&name.as_str())
}

/// Adds fields, and ends the head.
fn push_fields(head: &mut BytesMut, fields: &HeaderMap) {
    for (name, value) in fields.iter().filter(|(name, _)| is_carried(name)) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
}

/// Carries bytes both ways until both have ended, or one fails: then neither end is left waiting.
async fn carry(mut stream: TcpStream, mut sending: SendStream<Bytes>, mut receiving: RecvStream) -> Outcome {
    let (mut reading, mut writing) = stream.split();
    let up = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(READ);
            match reading.read_buf(&mut buffer).await {
                Ok(0) => return Ok(sending.send_data(Bytes::new(), true)?),
                Ok(_) => send(&mut sending, &buffer.split()).await?,
                Err(error) => {
                    sending.send_reset(Reason::CANCEL);
                    return Err(error.into());
                }
            }
        }
    };
    let down = async {
        while let Some(data) = receiving.data().await {
            let data = data?;
            writing.write_all(&data).await?;
            receiving.flow_control().release_capacity(data.len())?;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(writing.shutdown().await?)
    };
    tokio::try_join!(up, down).map(|_: ((), ())| ())
}

/// Sends as the window allows.
async fn send(sending: &mut SendStream<Bytes>, bytes: &[u8]) -> Outcome {
    let mut rest = Bytes::copy_from_slice(bytes);
    while !rest.is_empty() {
        sending.reserve_capacity(rest.len());
        while sending.capacity() == 0 {
            poll_fn(|cx| sending.poll_capacity(cx)).await.ok_or("the stream was reset")??;
        }
        let count = sending.capacity().min(rest.len());
        sending.send_data(rest.split_to(count), false)?;
    }
    Ok(())
}
