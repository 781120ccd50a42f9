//! soketto, over buffers for reading and writing, as its documentation recommends; answers are flushed when no further
//! message is ready. It leaves UTF-8 to its caller, who has simdutf8.

use std::pin::pin;
use std::task::Poll;

use futures::io::{BufReader, BufWriter};
use futures::poll;
use simdutf8::basic::from_utf8;
use soketto::connection::Error;
use soketto::handshake::{Server, server::Response};
use soketto::{Data, Sender};
use taut_rivals::{Settings, serve};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

type Stream = BufReader<BufWriter<Compat<TcpStream>>>;

fn main() -> Result<(), String> {
    serve(echo)
}

async fn echo(stream: TcpStream, _: Settings) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut server = Server::new(BufReader::new(BufWriter::new(stream.compat())));
    let key = server.receive_request().await?.key();
    server.send_response(&Response::Accept { key, protocol: None }).await?;
    let (mut sender, mut receiver) = server.into_builder().finish();
    let mut message = Vec::new();
    loop {
        message.clear();
        let data = {
            let mut next = pin!(receiver.receive_data(&mut message));
            match poll!(next.as_mut()) {
                Poll::Ready(data) => data,
                Poll::Pending => {
                    sender.flush().await?;
                    next.await
                }
            }
        };
        let data = match data {
            Ok(data) => data,
            Err(error) => {
                // Answers to what came before leave as far as they can without waiting.
                let _ = poll!(pin!(sender.flush()));
                return Err(error.into());
            }
        };
        send(&mut sender, data, &mut message).await?;
    }
}

async fn send(sender: &mut Sender<Stream>, data: Data, message: &mut Vec<u8>) -> Result<(), Error> {
    match data {
        Data::Binary(_) => sender.send_binary_mut(message).await,
        Data::Text(_) => match from_utf8(message) {
            Ok(text) => sender.send_text(text).await,
            Err(_) => Err(Error::Closed),
        },
    }
}
