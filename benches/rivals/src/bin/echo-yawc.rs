//! yawc: for speed with the buffers of its own comparison with others, for little memory with those that its
//! `DeflatePool` recommends for many idle connections. It checks UTF-8 and pools its streams, as the others do or
//! may.

use std::sync::LazyLock;

use taut_rivals::{Mode, Purpose, Settings, echo_while_ready, handshake, serve};
use tokio::net::TcpStream;
use yawc::{CompressionLevel, DeflatePool, Frame, OpCode, Options, Role, WebSocket, WebSocketError};

fn main() -> Result<(), String> {
    serve(echo)
}

async fn echo(mut stream: TcpStream, settings: Settings) -> Result<(), WebSocketError> {
    let extension = extension(settings);
    handshake(&mut stream, extension.as_deref()).await?;
    let socket = WebSocket::from_stream_with_extensions(
        stream,
        Role::Server,
        extension.as_deref(),
        options(settings),
    )?;
    echo_while_ready(socket, |frame: Frame| {
        Ok(matches!(frame.opcode(), OpCode::Text | OpCode::Binary).then_some(frame))
    })
    .await
}

fn extension(settings: Settings) -> Option<String> {
    let mut extension = match settings.mode {
        Mode::Plain => return None,
        Mode::NoTakeover => {
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned()
        }
        Mode::Takeover => "permessage-deflate".to_owned(),
    };
    if settings.window_bits != 15 {
        extension += &format!("; server_max_window_bits={}", settings.window_bits);
    }
    Some(extension)
}

fn options(settings: Settings) -> Options {
    let options = Options::default().with_utf8().with_limits(MOST, 2 * MOST);
    let options = match settings.purpose {
        Purpose::Defaults => options,
        Purpose::Fast => options.with_read_buffer_capacity(128 << 10).with_backpressure_boundary(64 << 10),
        Purpose::Lean => options.with_read_buffer_capacity(1 << 10).with_write_buffer_capacity(1 << 10),
    };
    if settings.mode == Mode::Plain {
        return options;
    }
    let options = options
        .with_compression_level(CompressionLevel::new(settings.level.into()))
        .with_server_max_window_bits(settings.window_bits);
    match settings.mode {
        Mode::Plain | Mode::Takeover => options,
        Mode::NoTakeover => {
            options.server_no_context_takeover().client_no_context_takeover().with_deflate_pool(POOL.clone())
        }
    }
}

/// The largest message that others take by default; its own default is below 1 MiB.
const MOST: usize = 64 << 20;

/// Its documentation: as many as messages are compressed at a time; this is a little more than one thread needs.
static POOL: LazyLock<DeflatePool> = LazyLock::new(|| DeflatePool::new(4));
