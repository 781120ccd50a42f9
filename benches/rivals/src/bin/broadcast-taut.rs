//! The server component of taut, with its defaults but for slow consumers: they lose their oldest messages, and stay.
//! What one connection says, all hear, itself too.

use std::net::Ipv4Addr;
use std::time::Duration;

use taut::server::{Config, Handle, Server, SlowConsumer};
use taut_rivals::Settings;

fn main() -> Result<(), String> {
    let settings = Settings::from_arguments()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let served = runtime.block_on(serve(settings));
    served.map_err(|error| format!("cannot serve: {error}"))
}

async fn serve(settings: Settings) -> std::io::Result<()> {
    let config = Config::new()
        .address(format!("{}:{}", Ipv4Addr::LOCALHOST, settings.port))
        .slow_consumer(SlowConsumer::DropOldest)
        // Those that do not read are to stay as long as they are measured.
        .write_timeout(LONG);
    let server = Server::builder(config)
        .on_message(|from: Handle, message| async move {
            if let Some(registry) = from.registry() {
                registry.broadcast(message).to_all();
            }
        })
        .bind()
        .await?;
    println!("{:?}", server.address());
    std::future::pending().await
}

const LONG: Duration = Duration::from_secs(600);
