//! Chat rooms by commands: `JOIN room`, `LEAVE room`, `SEND room text`, `BROADCAST text`.
//!
//! `rooms ADDR`; prints the address it listens on. Talk to it with `line_client ws://ADDR`, twice.

use std::error::Error;

use taut::server::{Config, Connection, Handle, RoomChange, Server, Shutdown};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: rooms ADDR")?;
    let server = Server::builder(Config::load()?.address(address))
        .handler(serve)
        .on_room(|event| {
            let what = match event.change {
                RoomChange::Joined { .. } => "joined",
                RoomChange::Left { .. } => "left",
                _ => return,
            };
            if let Some(registry) = event.connection.registry() {
                let said = format!("{} {what} {}", name(&event.connection), event.room);
                registry.broadcast(said).to_room(&event.room);
            }
        })
        .bind()
        .await?;
    println!("{}", server.address().ok_or("no address")?);
    server.run_until_signal(Shutdown::new()).await?;
    Ok(())
}

async fn serve(mut connection: Connection) -> Result<(), Box<dyn Error + Send + Sync>> {
    while let Some(message) = connection.recv().await? {
        if let Err(error) = obey(&connection, message.as_text().unwrap_or_default()) {
            connection.send_text(format!("ERROR {error}"))?;
        }
    }
    Ok(())
}

fn obey(from: &Handle, line: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let registry = from.registry().ok_or("the server is gone")?;
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    match command {
        "JOIN" => {
            from.join(rest)?;
        }
        "LEAVE" if !from.leave(rest) => return Err("you are not in this room".into()),
        "LEAVE" => {}
        "SEND" => {
            let (room, text) = rest.split_once(' ').ok_or("SEND room text")?;
            if !from.rooms().iter().any(|joined| **joined == *room) {
                return Err("you are not in this room".into());
            }
            registry.broadcast(format!("{room} {}: {text}", name(from))).except(from.id()).to_room(room);
        }
        "BROADCAST" => {
            registry.broadcast(format!("{}: {rest}", name(from))).except(from.id()).to_all();
        }
        _ => return Err("JOIN room, LEAVE room, SEND room text, or BROADCAST text".into()),
    }
    Ok(())
}

fn name(handle: &Handle) -> String {
    format!("guest {}", handle.id())
}
