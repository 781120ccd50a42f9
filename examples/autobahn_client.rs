//! The client under test of the Autobahn suite: asks a fuzzing server how many cases there are, echoes
//! through each, and has the report written.
//!
//! `autobahn_client [--deflate] [--h2] URL`
//!
//! With `--h2` (feature `http2`) it speaks HTTP/2, with one connection for all cases.

use std::process::ExitCode;

use taut::Error;
#[cfg(feature = "http2")]
use taut::http2::Client;
use taut::proto::Deflate;
#[cfg(feature = "http2")]
use taut::proto::handshake::{ClientRequest, WebSocketUri};
use taut::tokio::{Options, WebSocket, connect_with};
use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(feature = "http2")]
use tokio::net::TcpStream;

/// The name in the report.
const AGENT: &str = "taut";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (mut options, mut url, mut h2, mut wrong) = (Options::new().deflate(None), None, false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--deflate" => options = options.deflate(Deflate::new()),
            "--h2" => h2 = true,
            flag if flag.starts_with('-') => wrong = true,
            _ => wrong |= url.replace(argument).is_some(),
        }
    }
    let done = match url {
        Some(url) if !wrong => run(url.trim_end_matches('/'), h2, options).await,
        _ => Err("usage: autobahn_client [--deflate] [--h2] URL".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("autobahn_client: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str, h2: bool, options: Options) -> Result<(), Box<dyn std::error::Error>> {
    if !h2 {
        return cases(async |path: String| connect_with(&format!("{url}{path}"), options, Ok).await).await;
    }
    #[cfg(not(feature = "http2"))]
    return Err(Error::Unsupported("--h2 needs the feature http2").into());
    #[cfg(feature = "http2")]
    {
        let uri = WebSocketUri::parse(url)?;
        let stream = TcpStream::connect((uri.host(), uri.port())).await?;
        let client = Client::new(stream, uri.is_secure(), options).await?;
        cases(async |path: String| client.connect(&ClientRequest::new(&uri.authority(), &path)?).await).await
    }
}

/// Runs all cases, each over a WebSocket that `connect` opens.
async fn cases<S: AsyncRead + AsyncWrite + Unpin>(
    connect: impl AsyncFn(String) -> Result<WebSocket<S>, Error>,
) -> Result<(), Box<dyn std::error::Error>> {
    let cases = case_count(&mut connect("/getCaseCount".into()).await?).await?;
    for case in 1..=cases {
        println!("case {case} of {cases}");
        let mut socket = connect(format!("/runCase?case={case}&agent={AGENT}")).await?;
        // How a case ends is for the suite to judge: many of them break the protocol.
        if let Err(error) = echo(&mut socket).await {
            println!("case {case}: {error}");
        }
    }
    let mut socket = connect(format!("/updateReports?agent={AGENT}")).await?;
    while socket.recv().await?.is_some() {}
    Ok(())
}

async fn case_count<S>(socket: &mut WebSocket<S>) -> Result<u32, Box<dyn std::error::Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut count = None;
    while let Some(message) = socket.recv().await? {
        if let Some(text) = message.as_text() {
            count = Some(text.parse().map_err(|_| format!("the number of cases is {text:?}"))?);
        }
    }
    count.ok_or_else(|| "the server did not say how many cases there are".into())
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocket<S>) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        if message.is_data() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
