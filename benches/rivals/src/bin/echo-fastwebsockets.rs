//! fastwebsockets, its `FragmentCollector` on a bare stream past the handshake, which is faster than hyper's wrapper.
//! It writes each frame as it comes, and offers nothing else.

use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket, WebSocketError};
use taut_rivals::{Settings, handshake, serve};
use tokio::net::TcpStream;

fn main() -> Result<(), String> {
    serve(echo)
}

async fn echo(mut stream: TcpStream, _: Settings) -> Result<(), WebSocketError> {
    handshake(&mut stream, None).await?;
    let mut socket = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Server));
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}
