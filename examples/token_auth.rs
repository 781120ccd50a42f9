//! A server that lets in who has a token: in `Authorization: Bearer`, in the query (`?token=…`), in the cookie `token`, or as
//! a subprotocol `token.…`, which is the way for browsers. Others get 401 or 403.
//!
//! `token_auth ADDR TOKEN`; prints the address it listens on.

use std::error::Error;
use std::sync::Arc;

use taut::server::{Config, Grant, Handle, Server, Shutdown, Upgrade, forbidden, unauthorized};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(token)) = (arguments.next(), arguments.next()) else {
        return Err("usage: token_auth ADDR TOKEN".into());
    };
    let token = Arc::new(token);
    let server = Server::builder(Config::load()?.address(address).subprotocols(["echo"]))
        .authenticate(move |upgrade: Upgrade| {
            let token = token.clone();
            async move {
                let shown = upgrade
                    .bearer()
                    .or_else(|| upgrade.cookie("token"))
                    .or_else(|| upgrade.offered("token."));
                match shown.map(String::from).or_else(|| upgrade.query("token")) {
                    Some(shown) if is_same(&shown, &token) => {
                        Ok(Grant::new().insert(User("the one with the token")))
                    }
                    Some(_) => Err(forbidden()),
                    None => Err(unauthorized("Bearer")),
                }
            }
        })
        .on_connect(|handle: Handle| async move {
            let user = handle.get::<User>().ok_or("nobody")?;
            handle.send_text(format!("hello, {}", user.0))?;
            Ok::<(), Box<dyn Error + Send + Sync>>(())
        })
        .on_message(|from, message| async move { from.queue(message).map(|_| ()) })
        .bind()
        .await?;
    println!("{}", server.address().ok_or("no address")?);
    server.run_until_signal(Shutdown::new()).await?;
    Ok(())
}

struct User(&'static str);

/// Compares in a time that tells nothing of how much is right.
fn is_same(shown: &str, token: &str) -> bool {
    let differences = shown.bytes().zip(token.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    shown.len() == token.len() && differences == 0
}
