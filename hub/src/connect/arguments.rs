//! The command line of `taut connect`.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::filter::Filter;
use crate::options::ClientOptions;
use crate::token::Signing;

/// The command line of `taut connect`. Values that are secret may be `@FILE`, the content of a file: others see what is on
/// a command line.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Arguments {
    /// ws://, wss:// or ws+unix://; http and https stand for ws and wss, and without a scheme it is ws.
    #[arg(value_name = "URL")]
    pub url: String,

    /// The request, and whom TLS trusts.
    #[command(flatten)]
    pub client: ClientOptions,
    /// A token for Authorization: Bearer. @FILE: from a file.
    #[arg(long, value_name = "TOKEN", conflicts_with = "username", help_heading = "Request")]
    pub bearer: Option<String>,
    /// User and password for Authorization: Basic. @FILE: from a file.
    #[arg(long, value_name = "USER:PASSWORD", conflicts_with_all = ["bearer", "username"],
        help_heading = "Request")]
    pub basic: Option<String>,
    /// A token for ?token= of the URL, as browsers send one. @FILE: from a file.
    #[arg(long, env = "TAUT_TOKEN", hide_env_values = true, help_heading = "Request")]
    pub token: Option<String>,
    /// How many redirects are followed.
    #[arg(long, default_value_t = 0, value_name = "TIMES", help_heading = "Request")]
    pub redirects: usize,

    /// For development: with a user and a key comes by a token that is made here, with a user alone by ?user= of the URL.
    #[command(flatten)]
    pub signing: Signing,

    /// How long connecting and the handshake may take, in seconds.
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = seconds, help_heading = "Network")]
    pub connect_timeout: Duration,
    /// How long the server may take to answer a Close, in seconds.
    #[arg(long, default_value = "5", value_name = "SECONDS", value_parser = seconds, help_heading = "Network")]
    pub close_timeout: Duration,
    /// Pings the server so often, in seconds, and ends if it is silent for 20 s.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Network")]
    pub ping: Option<Duration>,
    /// Connects again when the connection is lost, at most so many times in a row.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "4294967295",
        value_name = "TIMES", help_heading = "Network")]
    pub reconnect: Option<u32>,
    /// Offers compression; --verbose shows what it saves.
    #[arg(long, help_heading = "Network")]
    pub deflate: bool,
    /// The largest message that is taken, in bytes.
    #[arg(long, value_name = "BYTES", help_heading = "Network")]
    pub max_message: Option<usize>,

    /// No prompt, though it is a terminal.
    #[arg(long, help_heading = "Messages")]
    pub lines: bool,
    /// Reads nothing, and listens until the server closes.
    #[arg(long, conflicts_with = "replay", help_heading = "Messages")]
    pub no_input: bool,
    /// Sends binary messages, and how those look as text.
    #[arg(long, value_name = "FORM", help_heading = "Messages")]
    pub binary: Option<Form>,
    /// Ends after so many messages came, not counting what --filter leaves out.
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Messages")]
    pub count: Option<u64>,
    /// Ends after so many seconds.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds, help_heading = "Messages")]
    pub duration: Option<Duration>,
    /// Shows only messages of JSON that have something there (/data/room), or have this value there
    /// (message_type=text, /data/n=5). Several have to hold all.
    #[arg(long = "filter", value_name = "POINTER|FIELD=VALUE", help_heading = "Messages")]
    pub filters: Vec<Filter>,
    /// Shows messages of JSON over several lines.
    #[arg(long, help_heading = "Messages")]
    pub json: bool,
    /// When each message came.
    #[arg(long, help_heading = "Messages")]
    pub timestamps: bool,
    /// Tells more, on the standard error: sizes, pongs, what was agreed on.
    #[arg(short, long, help_heading = "Messages")]
    pub verbose: bool,
    /// Shows each frame, on the standard error.
    #[arg(long, help_heading = "Messages")]
    pub frames: bool,
    /// Writes all messages, with their times, to this file, as lines of JSON.
    #[arg(long, value_name = "FILE", help_heading = "Messages")]
    pub record: Option<PathBuf>,
    /// Sends again what such a file says was sent, at the same pace.
    #[arg(long, value_name = "FILE", help_heading = "Messages")]
    pub replay: Option<PathBuf>,
    /// How many times as fast; 0 without pauses.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = speed, requires = "replay",
        help_heading = "Messages")]
    pub replay_speed: f64,
    /// Where the prompt keeps its history. Default: taut/history in $XDG_STATE_HOME, or in ~/.local/state.
    #[arg(long, value_name = "FILE", help_heading = "Messages")]
    pub history: Option<PathBuf>,
}

/// How bytes look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Form {
    /// Two digits a byte, a message a line.
    Hex,
    /// RFC 4648 §4, a message a line.
    Base64,
    /// As they are: what is read at once, at most 16 KiB, is a message.
    Raw,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "it is a number of seconds, such as 1.5")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn speed(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "it is a number, such as 2.5")?;
    if factor.is_finite() && factor >= 0.0 { Ok(factor) } else { Err("it is 0 or more".to_owned()) }
}
