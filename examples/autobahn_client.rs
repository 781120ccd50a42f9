//! The client under test of the Autobahn suite: asks a fuzzing server how many cases there are, echoes
//! through each, and has the report written.
//!
//! `autobahn_client [--deflate] URL`

use std::process::ExitCode;

use taut::Error;
use taut::proto::Deflate;
use taut::tokio::{NetworkStream, Options, WebSocket, connect_with};

/// The name in the report.
const AGENT: &str = "taut";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--deflate", url] | [url, "--deflate"] if !url.starts_with('-') => {
            run(url, Some(Deflate::new())).await
        }
        [url] if !url.starts_with('-') => run(url, None).await,
        _ => Err("usage: autobahn_client [--deflate] URL".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("autobahn_client: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str, deflate: Option<Deflate>) -> Result<(), Box<dyn std::error::Error>> {
    let url = url.trim_end_matches('/');
    let connect =
        async |path: String| connect_with(&format!("{url}{path}"), Options::new().deflate(deflate), Ok).await;
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

async fn case_count(socket: &mut WebSocket<NetworkStream>) -> Result<u32, Box<dyn std::error::Error>> {
    let mut count = None;
    while let Some(message) = socket.recv().await? {
        if let Some(text) = message.as_text() {
            count = Some(text.parse().map_err(|_| format!("the number of cases is {text:?}"))?);
        }
    }
    count.ok_or_else(|| "the server did not say how many cases there are".into())
}

async fn echo(socket: &mut WebSocket<NetworkStream>) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        if message.is_data() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
