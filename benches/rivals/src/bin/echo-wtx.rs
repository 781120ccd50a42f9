//! wtx, as its example of a server: borrowed frames, which it lets nobody queue. It asks for simdutf8 without `std`;
//! this package turns that on, so that UTF-8 is checked by what the processor can do.

use taut_rivals::{Settings, serve};
use tokio::net::TcpStream;
use wtx::collection::Vector;
use wtx::web_socket::{OpCode, WebSocketAcceptor, WebSocketPayloadOrigin};

fn main() -> Result<(), String> {
    serve(echo)
}

async fn echo(stream: TcpStream, _: Settings) -> wtx::Result<()> {
    let mut socket = WebSocketAcceptor::default().accept(stream).await?;
    let (mut common, mut reader, mut writer) = socket.split_mut();
    let mut buffer = Vector::new();
    loop {
        let mut frame = reader.read_frame(&mut buffer, &mut common, WebSocketPayloadOrigin::Adaptive).await?;
        match frame.op_code() {
            OpCode::Text | OpCode::Binary => writer.write_frame(&mut common, &mut frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}
