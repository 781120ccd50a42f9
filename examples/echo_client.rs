//! Sends a few messages to an echo server, and checks what comes back.
//!
//! `echo_client URL`

use std::error::Error;

use taut::proto::{CloseCode, Message};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("usage: echo_client URL")?;
    let mut socket = taut::tokio::connect(&url).await?;
    for message in [Message::text("hello"), Message::text("¿qué tal?"), Message::binary(vec![7; 100_000])] {
        socket.send(message.clone()).await?;
        let echo = loop {
            // A server may ping at any time; the pong has left already.
            match socket.recv().await?.ok_or("the server closed before it answered")? {
                echo if echo.is_data() => break echo,
                _ => {}
            }
        };
        if echo != message {
            return Err(format!("sent {message:?}, got {echo:?}").into());
        }
        match echo {
            Message::Text(text) => println!("{text}"),
            other => println!("{} bytes", if let Message::Binary(bytes) = other { bytes.len() } else { 0 }),
        }
    }
    let status = socket.close(CloseCode::NORMAL, "done").await?;
    println!("closed with {}", status.code);
    Ok(())
}
