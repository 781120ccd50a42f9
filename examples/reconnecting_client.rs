//! A client that does not give up: sends the lines of stdin, prints the messages that come, and connects again whenever the
//! connection is lost. Lines wait meanwhile.
//!
//! `reconnecting_client [--first-delay MILLISECONDS] [--subscribe TEXT]... URL`
//!
//! The first attempt after a loss comes within `--first-delay` (5,000), each later one after about twice the pause before.
//! Each `--subscribe` is sent first on every connection. At the end of stdin it sends what waits, closes, and ends.

use std::time::Duration;

use taut::client::{Backoff, Builder, Cause, Handle, Update};
use taut::proto::{CloseCode, Message};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

const USAGE: &str = "usage: reconnecting_client [--first-delay MILLISECONDS] [--subscribe TEXT]... URL";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let status = match run().await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("reconnecting_client: {error}");
            1
        }
    };
    // A read of stdin may still wait in a thread of the runtime, which would wait for it.
    std::process::exit(status);
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (mut backoff, mut subscriptions, mut url) = (Backoff::new(), Vec::new(), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--first-delay" => {
                backoff = backoff.first(Duration::from_millis(arguments.next().ok_or(USAGE)?.parse()?));
            }
            "--subscribe" => subscriptions.push(arguments.next().ok_or(USAGE)?),
            _ if argument.starts_with('-') || url.is_some() => return Err(USAGE.into()),
            _ => url = Some(argument),
        }
    }
    let (client, mut updates) = Builder::new(url.ok_or(USAGE)?).backoff(backoff).start();
    for text in subscriptions {
        client.subscribe(&text, text.clone())?;
    }
    let mut lines = Some(BufReader::new(tokio::io::stdin()).lines());
    let ended = loop {
        match updates.recv().await.ok_or("the client is gone")? {
            Update::Message(Message::Text(text)) => println!("{text}"),
            Update::Open { .. } => {
                eprintln!("reconnecting_client: connected");
                // Not before there was a connection: without one, the end of stdin would be the end of the client.
                if let Some(lines) = lines.take() {
                    tokio::spawn(send(lines, client.clone()));
                }
            }
            Update::Lost { loss, retry_in, unwritten, .. } => {
                eprintln!("reconnecting_client: {loss}; again in {} ms", retry_in.as_millis());
                for message in &*unwritten {
                    eprintln!(
                        "reconnecting_client: perhaps not sent: {}",
                        message.as_text().unwrap_or_default()
                    );
                }
            }
            Update::Ended(ended) => break ended,
            _ => {}
        }
    };
    match &ended.cause {
        Cause::Closed(_) => Ok(()),
        cause => Err(format!("{cause}; {} messages were not sent", ended.unsent.len()).into()),
    }
}

async fn send(mut lines: Lines<BufReader<Stdin>>, client: Handle) {
    while let Ok(Some(line)) = lines.next_line().await {
        // Waits for room while many lines wait for a connection.
        if client.send(line).await.is_err() {
            break;
        }
    }
    if let Err(error) = client.close(CloseCode::NORMAL, "").await {
        eprintln!("reconnecting_client: {error}");
    }
}
