//! An echo server on smol, by the adapter for `futures-io`: a task for each connection, and one thread.
//!
//! `echo-server-smol ADDR`; prints the address it listens on.

use std::error::Error;
use std::time::Duration;

use smol::Timer;
use smol::net::{TcpListener, TcpStream};
use taut::futures_io::{Time, accept};

/// By which the deadlines are kept.
const TIME: Time = Time::new(|deadline| Box::pin(async move { _ = Timer::at(deadline).await }));

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: echo-server-smol ADDR")?;
    let tasks = smol::LocalExecutor::new();
    smol::block_on(tasks.run(async {
        let listener = TcpListener::bind(&address).await?;
        println!("{}", listener.local_addr()?);
        loop {
            // An error here is one client's, or too many open files: others can still come.
            let Ok((stream, _)) = listener.accept().await else {
                Timer::after(Duration::from_millis(10)).await;
                continue;
            };
            let echo = async {
                if let Err(error) = echo(stream).await {
                    eprintln!("{error}");
                }
            };
            tasks.spawn(echo).detach();
        }
    }))
}

async fn echo(stream: TcpStream) -> Result<(), taut::Error> {
    // Small messages must not wait for others to fill a segment.
    stream.set_nodelay(true)?;
    let mut socket = accept(stream, TIME).await?;
    while let Some(message) = socket.recv().await? {
        if message.is_data() {
            // The answers to one read leave together, when nothing more is there to be received.
            match socket.feed(message) {
                Err(taut::Error::Send(error)) => {
                    socket.flush().await?;
                    if let Some(message) = error.into_message() {
                        socket.send(message).await?;
                    }
                }
                fed => fed?,
            }
        }
    }
    Ok(())
}
