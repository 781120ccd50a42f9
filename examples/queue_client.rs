//! Sends the lines of stdin in batches, and each until the server acknowledges it, over as many connections as that takes:
//! what was on its way when one was lost goes again on the next. `queue_server` is the server.
//!
//! `queue_client [--outbox MESSAGES] [--overflow POLICY] [--batch MESSAGES MILLISECONDS] URL`
//!
//! `--outbox` (1,000) messages may wait to be sent; `--overflow` says what happens to more: with `wait`, the default, they
//! wait for room, with `drop-oldest` and `drop-newest` some are lost. A batch leaves when it has its messages (100), or
//! when the first of them is so old (20 ms). Prints `done LINE`, or `lost LINE` and why; the status is 1 if any was lost.

use std::error::Error;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use taut::client::{Backoff, Batch, Builder, Cause, JsonAcknowledge, Outbox, Overflow, Update};
use taut::proto::CloseCode;
use tokio::io::{AsyncBufReadExt, BufReader};

const USAGE: &str =
    "usage: queue_client [--outbox MESSAGES] [--overflow POLICY] [--batch MESSAGES MILLISECONDS] URL";

/// How many lines may be read and not acknowledged.
const MOST_AT_ONCE: usize = 10_000;

/// A batch leaves with so many bytes, however few its messages are.
const BATCH_BYTES: usize = 64 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let status = match run().await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("queue_client: {error}");
            1
        }
    };
    // A read of stdin may still wait in a thread of the runtime, which would wait for it.
    std::process::exit(status);
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (client, mut updates) =
        builder(std::env::args().skip(1))?.acknowledge(JsonAcknowledge::new()).start();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let (mut reads, mut lost, mut delivering) = (true, 0, FuturesUnordered::new());
    while reads || !delivering.is_empty() {
        tokio::select! {
            line = lines.next_line(), if reads && delivering.len() < MOST_AT_ONCE => match line? {
                Some(line) => delivering.push(async { (client.deliver_json("line", &line).await, line) }),
                None => reads = false,
            },
            Some((delivered, line)) = delivering.next() => match delivered {
                Ok(()) => println!("done {line}"),
                Err(why) => {
                    lost += 1;
                    println!("lost {line}: {why}");
                }
            },
            Some(update) = updates.recv() => match update {
                Update::Open { .. } => eprintln!("queue_client: connected"),
                Update::Lost { loss, retry_in, .. } => {
                    eprintln!("queue_client: {loss}; again in {} ms", retry_in.as_millis());
                }
                // No line is taken any more, and those that wait are told as lost.
                Update::Ended(_) => reads = false,
                _ => {}
            },
        }
    }
    let ended = client.close(CloseCode::NORMAL, "").await?;
    if let Cause::GaveUp(loss) = &ended.cause {
        return Err(loss.to_string().into());
    }
    if lost > 0 { Err(format!("{lost} lines were lost").into()) } else { Ok(()) }
}

fn builder(mut arguments: impl Iterator<Item = String>) -> Result<Builder, Box<dyn Error>> {
    let (mut outbox, mut messages, mut milliseconds, mut url) =
        (Outbox::new().max_messages(1_000), 100, 20, None);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|number| number.parse().ok()).ok_or(USAGE);
        match argument.as_str() {
            "--outbox" => outbox = outbox.max_messages(number()?),
            "--batch" => (messages, milliseconds) = (number()?, number()?),
            "--overflow" => {
                outbox = outbox.overflow(match arguments.next().as_deref() {
                    Some("wait") => Overflow::Wait,
                    Some("drop-oldest") => Overflow::DropOldest,
                    Some("drop-newest") => Overflow::DropNewest,
                    _ => return Err(USAGE.into()),
                });
            }
            _ if argument.starts_with('-') || url.is_some() => return Err(USAGE.into()),
            _ => url = Some(argument),
        }
    }
    let batch = Batch::new(messages, BATCH_BYTES, Duration::from_millis(milliseconds as u64));
    let backoff = Backoff::new().first(Duration::from_secs(1));
    Ok(Builder::new(url.ok_or(USAGE)?).outbox(outbox).batch(batch).backoff(backoff))
}
