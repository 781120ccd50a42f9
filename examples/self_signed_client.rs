//! A client over TLS that stays connected, and trusts one certificate and no other: sends the lines of stdin, and prints the
//! messages that come. At the end of stdin it sends what waits, closes, and prints what still comes.
//!
//! `self_signed_client CERTIFICATE URL`; CERTIFICATE is the file (PEM) that `self_signed_server` wrote. It wants a feature
//! for the cryptography:
//! `cargo run --features client,rustls-ring --example self_signed_client -- certificate.pem wss://127.0.0.1:9001`.

use std::error::Error;

use taut::client::{Builder, Cause, Handle, Update};
use taut::proto::{CloseCode, Message};
use taut::tokio::rustls::pki_types::CertificateDer;
use taut::tokio::rustls::pki_types::pem::PemObject;
use taut::tokio::{Client, Tls};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let status = match run().await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("self_signed_client: {error}");
            1
        }
    };
    // A read of stdin may still wait in a thread of the runtime, which would wait for it.
    std::process::exit(status);
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: self_signed_client CERTIFICATE URL".into());
    };
    let certificate = CertificateDer::from_pem_file(file)?;
    let network = Client::new().tls(Tls::new().roots([certificate]))?;
    let (client, mut updates) = Builder::new(url).network(network).start();
    let mut lines = Some(BufReader::new(tokio::io::stdin()).lines());
    let ended = loop {
        match updates.recv().await.ok_or("the client is gone")? {
            // From the first connection on: without one, a close would end the client at once.
            Update::Open { .. } => {
                if let Some(lines) = lines.take() {
                    tokio::spawn(send(lines, client.clone()));
                }
            }
            Update::Message(Message::Text(text)) => println!("{text}"),
            Update::Lost { loss, .. } => eprintln!("self_signed_client: {loss}"),
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
        eprintln!("self_signed_client: {error}");
    }
}
