//! The client under test of the Autobahn suite: asks a fuzzing server how many cases there are, echoes
//! through each, and has the report written.
//!
//! `autobahn_client [--deflate] [--h2] [--roots FILE] URL`
//!
//! With `--roots`, which wants the feature `rustls-ring`, it trusts the authorities in the file (PEM), and no others. With
//! `--h2` (feature `http2`) it speaks HTTP/2, with one connection for all cases.

use std::process::ExitCode;
use std::time::Duration;

use taut::Error;
use taut::proto::Deflate;
use taut::tokio::{Client, Options, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite};

const USAGE: &str = "usage: autobahn_client [--deflate] [--h2] [--roots FILE] URL";

/// The name in the report.
const AGENT: &str = "taut";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Settings::from_arguments(std::env::args().skip(1)) {
        Ok(settings) => run(settings).await,
        Err(problem) => Err(format!("{problem}\n{USAGE}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("autobahn_client: {problem}");
            ExitCode::FAILURE
        }
    }
}

struct Settings {
    url: String,
    options: Options,
    client: Client,
    h2: bool,
}

impl Settings {
    fn from_arguments(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let (mut url, mut deflate, mut client, mut h2) = (None, None, Client::new(), false);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--deflate" => deflate = Some(Deflate::new()),
                "--h2" => h2 = true,
                "--roots" => client = trust(client, &arguments.next().ok_or("--roots needs a file")?)?,
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}").into()),
                _ if url.is_some() => return Err(format!("one URL is enough: {argument}").into()),
                _ => url = Some(argument.trim_end_matches('/').to_owned()),
            }
        }
        let url = url.ok_or("no URL of a fuzzing server")?;
        // The suite prepares a whole case before it answers, which on a busy machine takes it long.
        let options = Options::new().deflate(deflate).handshake_timeout(Duration::from_secs(60));
        Ok(Self { url, options, client, h2 })
    }
}

#[cfg(feature = "rustls")]
fn trust(client: Client, roots: &str) -> Result<Client, Box<dyn std::error::Error>> {
    use taut::tokio::Tls;
    use taut::tokio::rustls::pki_types::CertificateDer;
    use taut::tokio::rustls::pki_types::pem::PemObject;

    let roots = CertificateDer::pem_file_iter(roots)?.collect::<Result<Vec<_>, _>>()?;
    Ok(client.tls(Tls::new().roots(roots))?)
}

#[cfg(not(feature = "rustls"))]
fn trust(_: Client, _: &str) -> Result<Client, Box<dyn std::error::Error>> {
    Err("--roots wants the feature rustls-ring".into())
}

async fn run(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let Settings { url, options, client, h2 } = settings;
    if h2 {
        return run_over_http2(&url, options).await;
    }
    let client = client.options(options);
    cases(async |path: String| client.connect(&format!("{url}{path}")).await).await
}

#[cfg(feature = "http2")]
async fn run_over_http2(url: &str, options: Options) -> Result<(), Box<dyn std::error::Error>> {
    use taut::proto::handshake::{ClientRequest, WebSocketUri};

    let uri = WebSocketUri::parse(url)?;
    let stream = tokio::net::TcpStream::connect((uri.host(), uri.port())).await?;
    let client = taut::http2::Client::new(stream, uri.is_secure(), options).await?;
    cases(async |path: String| client.connect(&ClientRequest::new(&uri.authority(), &path)?).await).await
}

#[cfg(not(feature = "http2"))]
async fn run_over_http2(_: &str, _: Options) -> Result<(), Box<dyn std::error::Error>> {
    Err("--h2 wants the feature http2".into())
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
