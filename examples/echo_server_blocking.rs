//! An echo server with a thread for each connection, and no runtime.
//!
//! `echo_server_blocking ADDR`; prints the address it listens on.

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: echo_server_blocking ADDR")?;
    let listener = TcpListener::bind(address)?;
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        // An error here is one client's, or too many open files: others can still come.
        let Ok(stream) = stream else {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        std::thread::spawn(move || {
            if let Err(error) = echo(stream) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn echo(stream: TcpStream) -> Result<(), taut::Error> {
    // The deadlines of a blocking stream: nobody may be silent for longer, or leave what we write.
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let mut socket = taut::blocking::accept(stream)?;
    while let Some(message) = socket.recv()? {
        if message.is_data() {
            socket.send(message)?;
        }
    }
    Ok(())
}
