//! taut, with its defaults but for the level and the parameters that are asked for: in the loop that everybody writes,
//! or with a function that is called with each message.

use taut::proto::handshake::Accept;
use taut::proto::{Config, Deflate, EventRef};
use taut::tokio::{Options, WebSocket, accept_with};
use taut_rivals::{Form, Mode, Settings, serve_as_accepted};
use tokio::net::TcpStream;

fn main() -> Result<(), String> {
    // Each form is a future of its own: a connection has memory for the one that is asked for.
    match Settings::from_arguments()?.form {
        Form::Plain => {
            serve_as_accepted(|stream, settings| async move { plain(accept(stream, settings).await?).await })
        }
        Form::Each => {
            serve_as_accepted(|stream, settings| async move { each(accept(stream, settings).await?).await })
        }
    }
}

async fn accept(stream: TcpStream, settings: Settings) -> Result<WebSocket<TcpStream>, taut::Error> {
    let deflate = match settings.mode {
        Mode::Plain => None,
        Mode::NoTakeover => Some(Deflate::no_context_takeover()),
        Mode::Takeover => Some(Deflate::new()),
    };
    let mut options = Options::new();
    if let Some(deflate) = deflate {
        let config = Config::new().deflate_level(settings.level);
        options = options.config(config).deflate(deflate.server_max_window_bits(settings.window_bits));
    }
    accept_with(stream, options, |_| Ok(Accept::new())).await
}

async fn plain(mut socket: WebSocket<TcpStream>) -> Result<(), taut::Error> {
    while let Some(message) = socket.recv().await? {
        if message.is_data() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn each(mut socket: WebSocket<TcpStream>) -> Result<(), taut::Error> {
    let answer = socket.recv_each(|event, sender| match event {
        EventRef::Message(message) if message.is_data() => Ok(sender.send_ref(message)?),
        _ => Ok(()),
    });
    answer.await
}
