//! Takes the messages of `queue_client`: prints each, and acknowledges it once it is printed. One that comes again is
//! acknowledged again, and printed once.
//!
//! `queue_server ADDR`; prints the address it listens on. It knows the last 10,000 messages as long as it runs. Behind a
//! restart it prints again what it had printed and not acknowledged: who cannot have that keeps the ids on disk, with what
//! the messages did (`Sender::message_id`).

use std::error::Error;
use std::io::{Write, stdout};

use taut::proto::CloseCode;
use taut::server::{Config, Router, Sender, Server, Shutdown};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: queue_server ADDR")?;
    let router = Router::new()
        // A handler that fails refuses the message: the client is told, and does not send it again.
        .on("line", |_: Sender, line: String| async move { writeln!(stdout(), "{line}") })
        .remember(10_000);
    let server = Server::builder(Config::load()?.address(address)).router(router).bind().await?;
    println!("{}", server.address().ok_or("no address")?);
    // It comes back: the clients may as well.
    server.run_until_signal(Shutdown::new().close(CloseCode::RESTART)).await?;
    Ok(())
}
