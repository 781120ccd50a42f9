//! Sends each line of its standard input in one task, and prints what comes in another.
//!
//! `split_halves URL`

use std::error::Error;
use std::time::Duration;

use taut::Options;
use taut::proto::{CloseCode, Message};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("usage: split_halves URL")?;
    // A server that is gone is noticed, although nobody says anything.
    let options = Options::new().ping_interval(Duration::from_secs(30));
    let socket = taut::tokio::connect_with(&url, options, Ok).await?;
    let (mut receive, mut send) = socket.into_split();
    let printing = tokio::spawn(async move {
        while let Some(message) = receive.recv().await? {
            if let Message::Text(text) = message {
                println!("{text}");
            }
        }
        Ok::<(), taut::Error>(())
    });
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        // Waits while the server takes nothing; what it sends is printed meanwhile.
        send.reserve().await?.send(line)?;
        send.flush().await?;
    }
    let status = send.close(CloseCode::NORMAL, "").await?;
    printing.await??;
    println!("closed with {}", status.code);
    Ok(())
}
