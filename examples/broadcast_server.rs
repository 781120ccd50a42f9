//! A server that sends what one connection says to all others, and each line of its standard input to all.
//!
//! `broadcast_server ADDR`; prints the address it listens on. The settings come from the environment:
//! `TAUT_SERVER_SLOW_CONSUMER=drop-oldest` lets slow listeners miss messages, and not go. SIGTERM ends it in order.

use std::error::Error;
use std::io::stdin;

use taut::server::{Config, Handle, Server, Shutdown};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: broadcast_server ADDR")?;
    let server = Server::builder(Config::load()?.address(address))
        .on_message(|from: Handle, message| async move {
            if let Some(registry) = from.registry() {
                registry.broadcast(message).except(from.id()).to_all();
            }
        })
        .on_error(|fault| eprintln!("{fault}"))
        .bind()
        .await?;
    println!("{}", server.address().ok_or("no address")?);
    let registry = server.registry().clone();
    // A thread of its own: the runtime would wait for a read of the standard input to end.
    std::thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            let tally = registry.broadcast(line).to_all();
            println!("{} hear it, {} are too slow", tally.queued, tally.dropped + tally.disconnected);
        }
    });
    let drained = server.run_until_signal(Shutdown::new()).await?;
    println!("{} were open, {} cut off", drained.open, drained.aborted);
    Ok(())
}
