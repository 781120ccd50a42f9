//! A chat: what one connection says, all others hear. Each message is encoded once for all of them.
//!
//! `chat ADDR`; prints the address it listens on. Talk to it with `line_client ws://ADDR`, twice.

use std::error::Error;
use std::time::Duration;

use taut::proto::handshake::Accept;
use taut::proto::{CloseCode, Config, Message, Prepared, SendErrorKind};
use taut::tokio::{Options, accept_with};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until};

/// How many messages a slow listener may lag behind before it is told to go.
const BACKLOG: usize = 256;
/// How long a listener may take nothing at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest message in bytes: the backlog holds that many times [`BACKLOG`].
const MOST_SAID: usize = 64 << 10;
const TOO_SLOW: &str = "too slow for this room";

#[derive(Clone)]
struct Said {
    by: u64,
    message: Prepared,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: chat ADDR")?;
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    let (room, _) = broadcast::channel(BACKLOG);
    for id in 0.. {
        // An error here is one client's, or too many open files: others can still come.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let room = room.clone();
        tokio::spawn(async move {
            if let Err(error) = talk(stream, room, id).await {
                eprintln!("guest {id}: {error}");
            }
        });
    }
    Ok(())
}

async fn talk(stream: TcpStream, room: broadcast::Sender<Said>, id: u64) -> Result<(), taut::Error> {
    let options = Options::new().config(Config::new().max_message(MOST_SAID));
    let mut socket = accept_with(stream, options, |_| Ok(Accept::new())).await?;
    let mut heard = room.subscribe();
    let mut full_since = None;
    let say = |text: String| {
        // An error means that nobody listens, which is no loss.
        let _ = room.send(Said { by: id, message: Prepared::text(text) });
    };
    say(format!("guest {id} came"));
    let ended = loop {
        // Receiving also writes what was fed. While too much waits, the backlog grows instead.
        let room_left =
            socket.with_connection(|connection| connection.refusal()) != Some(SendErrorKind::Full);
        full_since = if room_left { None } else { full_since.or_else(|| Some(Instant::now())) };
        let patience_ends = full_since.unwrap_or_else(Instant::now) + PATIENCE;
        tokio::select! {
            said = heard.recv(), if room_left => match said {
                Ok(said) if said.by == id => {}
                Ok(said) if socket.with_connection(|connection| connection.refusal()).is_none() => socket.feed_prepared(&said.message)?,
                Ok(_) => {}
                Err(_) => break socket.close(CloseCode::TRY_AGAIN, TOO_SLOW).await.map(|_| ()),
            },
            () = sleep_until(patience_ends), if !room_left => {
                break socket.close(CloseCode::TRY_AGAIN, TOO_SLOW).await.map(|_| ());
            }
            message = socket.recv() => match message {
                Ok(Some(Message::Text(text))) => say(format!("guest {id}: {text}")),
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            },
        }
    };
    say(format!("guest {id} left"));
    ended
}
