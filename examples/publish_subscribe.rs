//! Publish and subscribe: `SUB pattern`, `UNSUB pattern`, `PUB topic text`. Topics have levels, `news/sport/tennis`; in a
//! pattern `+` stands for one of them and `#`, at its end, for the rest.
//!
//! `publish_subscribe ADDR`; prints the address it listens on. A listener that is slow gets the latest of each topic.

use std::error::Error;

use taut::server::{Config, Handle, Outgoing, Server, Shutdown, SlowConsumer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: publish_subscribe ADDR")?;
    let config = Config::load()?.address(address).slow_consumer(SlowConsumer::Conflate);
    let server = Server::builder(config)
        .on_message(|from: Handle, message| async move {
            let said = obey(&from, message.as_text().unwrap_or_default())
                .unwrap_or_else(|error| format!("ERROR {error}"));
            from.send_text(said).map(|_| ())
        })
        .bind()
        .await?;
    println!("{}", server.address().ok_or("no address")?);
    server.run_until_signal(Shutdown::new()).await?;
    Ok(())
}

fn obey(from: &Handle, line: &str) -> Result<String, Box<dyn Error>> {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    match command {
        "SUB" => from.subscribe(rest).map(|_| format!("OK {rest}")).map_err(Into::into),
        "UNSUB" if from.unsubscribe(rest) => Ok(format!("OK {rest}")),
        "UNSUB" => Err("there is no such subscription".into()),
        "PUB" => {
            let (topic, text) = rest.split_once(' ').ok_or("PUB topic text")?;
            let message = Outgoing::text(format!("{topic} {text}")).key(topic);
            let registry = from.registry().ok_or("the server is gone")?;
            Ok(format!("OK {}", registry.broadcast(message).to_topic(topic).queued))
        }
        _ => Err("SUB pattern, UNSUB pattern, or PUB topic text".into()),
    }
}
