//! Real-time data: each line of the standard input, `TOPIC VALUE`, goes to all who subscribed to the topic. Who comes gets
//! the latest value first; who is slow misses values that are out of date, and never the latest one.
//!
//! `data_push ADDR`; prints the address it listens on. To see something, feed it:
//! `while sleep 1; do echo "load $(uptime)"; done | cargo run --features server --example data_push -- 127.0.0.1:9001`.
//!
//! In a page of an origin that `TAUT_SERVER_ALLOWED_ORIGINS` names:
//!
//! ```js
//! const socket = new WebSocket("ws://127.0.0.1:9001/");
//! socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", data: "load" }));
//! socket.onmessage = (event) => console.log(JSON.parse(event.data));
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::io::stdin;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use taut::server::{
    BoxError, Config, MessageError, Outgoing, Registry, Router, Sender, Server, Shutdown, SlowConsumer,
};

/// The latest value of each topic.
type Latest = Mutex<HashMap<String, String>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: data_push ADDR")?;
    let config = Config::load()?.address(address).slow_consumer(SlowConsumer::Conflate);
    let latest = Arc::new(Latest::default());
    let known = latest.clone();
    let router = Router::new()
        .on("subscribe", move |from: Sender, topic: String| {
            let known = known.clone();
            async move { subscribe(&from, &topic, &known) }
        })
        .on("unsubscribe", |from: Sender, topic: String| async move {
            from.unsubscribe(&topic);
        });
    let server = Server::builder(config).router(router).bind().await?;
    println!("{}", server.address().ok_or("no address")?);
    let registry = server.registry().clone();
    // A thread of its own: the runtime would wait for a read of the standard input to end.
    std::thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            match line.split_once(' ') {
                Some((topic, value)) => publish(&registry, topic, value, &latest),
                None => eprintln!("data_push: {line:?} is not TOPIC VALUE"),
            }
        }
    });
    server.run_until_signal(Shutdown::new()).await?;
    Ok(())
}

fn subscribe(from: &Sender, topic: &str, latest: &Latest) -> Result<(), BoxError> {
    // Until this is done nothing is published: what follows is newer.
    let latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
    from.subscribe(topic).map_err(|error| MessageError::refuse(error.to_string()))?;
    if let Some(value) = latest.get(topic) {
        from.queue(message(topic, value))?;
    }
    Ok(())
}

fn publish(registry: &Registry, topic: &str, value: &str, latest: &Latest) {
    let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
    latest.insert(topic.into(), value.into());
    registry.broadcast(message(topic, value)).to_topic(topic);
}

/// In a queue that is full it takes the place of an older value of its topic.
fn message(topic: &str, value: &str) -> Outgoing {
    let value = json!({ "type": "value", "data": { "topic": topic, "value": value } });
    Outgoing::text(value.to_string()).key(topic)
}
