//! For those who come from fastwebsockets and want its frames: an echo server that keeps fragments as they came.
//!
//! `from_fastwebsockets ADDR`; prints the address it listens on. docs/from-fastwebsockets.md has the calls one by one.
//! Who wants messages has less to do with `taut::tokio::WebSocket`: see `echo_server`.

use std::error::Error;
use std::time::Duration;

use taut::proto::frame::OpCode;
use taut::proto::{CloseFrame, ProtocolError};
use taut::tokio::frames::{Frame, FrameReader, FrameWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Frames have no deadlines of their own: how long a peer may say nothing, or take nothing.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: from_fastwebsockets ADDR")?;
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    loop {
        // An error here is one client's, or too many open files: others can still come.
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(async move {
            if let Err(error) = serve(stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

/// There: `upgrade::upgrade(&mut request)` and `WebSocket::split(tokio::io::split)`.
async fn serve(stream: TcpStream) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (stream, connection) = taut::tokio::accept(stream).await?.into_parts();
    let (read, write) = stream.into_split();
    // There: `set_max_message_size(1 << 20)`.
    let mut reader =
        FrameReader::new(read, connection.role()).max_frame(1 << 20).with_input(connection.unparsed());
    let mut writer = FrameWriter::new(write, connection.role());
    let mut within_message = false;
    let failure = loop {
        // There: `read_frame()`, which must not be dropped before it is done. This one may be.
        let frame = match timeout(PATIENCE, reader.read()).await? {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(taut::Error::Protocol(error)) => break error,
            Err(error) => return Err(error.into()),
        };
        match frame.opcode {
            OpCode::Text | OpCode::Binary if within_message => break ProtocolError::ExpectedContinuation,
            OpCode::Continuation if !within_message => break ProtocolError::UnexpectedContinuation,
            OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                within_message = !frame.fin;
                timeout(PATIENCE, writer.write(&frame)).await??;
            }
            // There: `set_auto_pong(true)`.
            OpCode::Ping => timeout(PATIENCE, writer.write(&Frame::pong(frame.payload))).await??,
            OpCode::Pong => {}
            // There: `set_auto_close(true)`.
            OpCode::Close => match frame.close_body() {
                Ok(_) => {
                    timeout(PATIENCE, writer.write(&frame)).await??;
                    return Ok(timeout(PATIENCE, writer.shutdown()).await??);
                }
                Err(error) => break error,
            },
        }
    };
    // The reader does not tell the peer what it did wrong.
    let close = CloseFrame::new(failure.close_code(), failure.reason())?;
    timeout(PATIENCE, writer.write(&Frame::close(close))).await??;
    timeout(PATIENCE, writer.shutdown()).await??;
    Err(failure.into())
}
