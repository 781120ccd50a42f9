//! What the echo servers share: their settings, and a loop that accepts connections on one thread.

#![forbid(unsafe_code)]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use tokio::net::{TcpListener, TcpStream};

/// What a server is asked for on its command line.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub mode: Mode,
    /// The level of compression, as zlib counts.
    pub level: u8,
    /// The window of the server, as the logarithm of its bytes.
    pub window_bits: u8,
    pub purpose: Purpose,
}

/// What to tune for, where the documentation of a library says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Defaults,
    /// Little time for each message.
    Fast,
    /// Little memory for each connection.
    Lean,
}

/// Whether messages are compressed, and in which context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Plain,
    NoTakeover,
    Takeover,
}

impl Settings {
    /// Settings from `--mode MODE`, `--level LEVEL`, `--bits BITS` and `--purpose PURPOSE`.
    ///
    /// # Errors
    /// What is wrong with the arguments.
    pub fn from_arguments() -> Result<Self, String> {
        let mut settings = Self { mode: Mode::Plain, level: 6, window_bits: 15, purpose: Purpose::Defaults };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
            match argument.as_str() {
                "--mode" => settings.mode = value.parse()?,
                "--level" => settings.level = number(&value)?,
                "--bits" => settings.window_bits = number(&value)?,
                "--purpose" => settings.purpose = value.parse()?,
                _ => return Err(format!("unknown option {argument}")),
            }
        }
        Ok(settings)
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "plain" => Ok(Self::Plain),
            "no-takeover" => Ok(Self::NoTakeover),
            "takeover" => Ok(Self::Takeover),
            _ => Err(format!("unknown mode {name}")),
        }
    }
}

impl FromStr for Purpose {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "defaults" => Ok(Self::Defaults),
            "fast" => Ok(Self::Fast),
            "lean" => Ok(Self::Lean),
            _ => Err(format!("unknown purpose {name}")),
        }
    }
}

/// A number of the command line.
///
/// # Errors
/// Says that it is none.
pub fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number that fits"))
}

/// Prints the address it listens on, and gives each connection to `echo`, in a task of the one thread.
///
/// # Errors
/// What is wrong with the arguments or the socket.
pub fn serve<F>(mut echo: impl FnMut(TcpStream, Settings) -> F) -> Result<(), String>
where
    F: Future<Output: Send> + Send + 'static,
{
    let settings = Settings::from_arguments()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let served: std::io::Result<()> = runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // How a connection ends is for the load to judge. A task around the future would be twice its size.
            tokio::spawn(echo(stream, settings));
        }
    });
    served.map_err(|error| format!("cannot serve: {error}"))
}
