//! A server that wants the token as the first message, in time; others are closed with 4401, or 1008. Before that they hear
//! nothing of what is sent to all.
//!
//! `first_message_auth ADDR TOKEN`; prints the address it listens on.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use taut::proto::{CloseCode, CloseFrame};
use taut::server::{Config, Handle, Server, Shutdown};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(token)) = (arguments.next(), arguments.next()) else {
        return Err("usage: first_message_auth ADDR TOKEN".into());
    };
    let token = Arc::new(token);
    let server = Server::builder(Config::load()?.address(address).auth_timeout(Duration::from_secs(5)))
        .authenticate_by_message(move |_, message| {
            let token = token.clone();
            async move {
                if message.as_text() == Some(token.as_str()) {
                    return Ok(());
                }
                let code = CloseCode::new(4401).unwrap_or(CloseCode::POLICY);
                Err(CloseFrame::new(code, "not this token").unwrap_or_else(|_| code.into()))
            }
        })
        .on_connect(|handle: Handle| async move { handle.send_text("welcome").map(|_| ()) })
        .on_message(|from: Handle, message| async move {
            if let Some(registry) = from.registry() {
                registry.broadcast(message).to_all();
            }
        })
        .bind()
        .await?;
    println!("{}", server.address().ok_or("no address")?);
    server.run_until_signal(Shutdown::new()).await?;
    Ok(())
}
