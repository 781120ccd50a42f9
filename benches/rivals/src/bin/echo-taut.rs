//! taut, with its defaults but for the level and the parameters that are asked for.

use taut::proto::handshake::Accept;
use taut::proto::{Config, Deflate};
use taut::tokio::{Options, accept_with};
use taut_rivals::{Mode, Settings, serve};
use tokio::net::TcpStream;

fn main() -> Result<(), String> {
    serve(echo)
}

async fn echo(stream: TcpStream, settings: Settings) -> Result<(), taut::Error> {
    let deflate = match settings.mode {
        Mode::Plain => None,
        Mode::NoTakeover => Some(Deflate::no_context_takeover()),
        Mode::Takeover => Some(Deflate::new()),
    };
    let deflate = deflate.map(|deflate| deflate.server_max_window_bits(settings.window_bits));
    let options = Options::new().config(Config::new().deflate_level(settings.level)).deflate(deflate);
    let mut socket = accept_with(stream, options, |_| Ok(Accept::new())).await?;
    while let Some(message) = socket.recv().await? {
        if message.is_data() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
