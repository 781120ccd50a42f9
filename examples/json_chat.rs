//! A chat whose messages are JSON, each with a type: `{"type": "name", "data": "Ana"}`, `{"type": "say", "data": "hello"}`,
//! and, with an id for the answer, `{"type": "who", "id": 1}`.
//!
//! `json_chat ADDR`; prints the address it listens on.

use std::error::Error;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use taut::server::{Config, Handle, MessageError, Router, Sender, Server, Shutdown};

/// What a connection is called.
struct Name(String);

#[derive(Serialize)]
struct Said<'a> {
    from: &'a str,
    text: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: json_chat ADDR")?;
    let router = Router::new()
        .on("name", |from: Sender, name: String| async move {
            if name.is_empty() || name.len() > 40 {
                return Err(MessageError::refuse("a name has 1 to 40 bytes"));
            }
            from.insert(Name(name));
            Ok(())
        })
        .on("say", |from: Sender, text: String| async move {
            let name = name(&from).ok_or_else(|| MessageError::refuse("say your name first"))?;
            let said = json!({ "type": "said", "data": Said { from: &name.0, text } });
            if let Some(registry) = from.registry() {
                registry.broadcast(said.to_string()).except(from.id()).to_all();
            }
            Ok::<_, MessageError>(())
        })
        .answer("who", |from: Sender, _: Option<()>| async move {
            let registry = from.registry().ok_or("the server is gone")?;
            let mut names: Vec<String> =
                registry.list().iter().filter_map(name).map(|name| name.0.clone()).collect();
            names.sort();
            Ok::<_, &str>(names)
        });
    let server = Server::builder(Config::load()?.address(address)).router(router).bind().await?;
    println!("{}", server.address().ok_or("no address")?);
    server.run_until_signal(Shutdown::new()).await?;
    Ok(())
}

fn name(handle: &Handle) -> Option<Arc<Name>> {
    handle.get::<Name>()
}
