//! What a server is asked for on its command line.

#![forbid(unsafe_code)]

use std::str::FromStr;

/// The settings, of which each server heeds those that it has.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where to listen on the loopback address; zero lets the system choose.
    pub port: u16,
    pub mode: Mode,
    /// The level of compression, as zlib counts.
    pub level: u8,
    /// The window of the server, as the logarithm of its bytes.
    pub window_bits: u8,
    pub purpose: Purpose,
    pub form: Form,
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

/// How an application may be written, where a library offers two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `send(reply).await` for each `recv().await`.
    Plain,
    /// A function that is called with each message.
    Each,
}

impl Settings {
    /// Settings from `--port PORT`, `--mode MODE`, `--level LEVEL`, `--bits BITS`, `--purpose PURPOSE`, and `--plain`
    /// or `--each`.
    ///
    /// # Errors
    /// What is wrong with the arguments.
    pub fn from_arguments() -> Result<Self, String> {
        let mut settings = Self {
            port: 0,
            mode: Mode::Plain,
            level: 6,
            window_bits: 15,
            purpose: Purpose::Fast,
            form: Form::Plain,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--port" => settings.port = number(&value()?)?,
                "--mode" => settings.mode = value()?.parse()?,
                "--level" => settings.level = number(&value()?)?,
                "--bits" => settings.window_bits = number(&value()?)?,
                "--purpose" => settings.purpose = value()?.parse()?,
                "--plain" => settings.form = Form::Plain,
                "--each" => settings.form = Form::Each,
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
