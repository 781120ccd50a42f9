//! What the command line asks for.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::payload::SMALLEST;
use crate::config::read_time;
use crate::options::ClientOptions;
use crate::token::A_TIME;

/// `taut stress`: a test of a server's load.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The server: ws:// or wss://. An n in braces stands for the number of the connection.
    pub(super) url: String,
    /// What is tested.
    #[arg(long, value_enum, default_value_t = TestType::Throughput)]
    pub(super) test_type: TestType,
    /// How many connections there are.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connections: Option<u32>,
    /// How many messages are measured, of all connections together.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) messages: Option<u64>,
    /// How long is measured: 500ms, 10s, 5m, 1h.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) duration: Option<Duration>,
    /// The open model: so many messages a second by a schedule, of all connections together; in a storm, connections
    /// a second. Latency counts from the scheduled time. Without it the closed model: the next when the answer came.
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// Bytes of a message, 24 at least.
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = size)]
    pub(super) size: usize,
    /// Sends text instead of bytes that look random.
    #[arg(long)]
    pub(super) text: bool,
    /// Offers permessage-deflate, and sends what can be compressed.
    #[arg(long)]
    pub(super) deflate: bool,
    /// How many messages of a connection may be without an answer.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) in_flight: Option<u32>,
    /// How long is sent before anything is measured.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub(super) warm_up: Duration,
    /// After which a message counts as lost, and an attempt to connect as failed.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(super) timeout: Duration,
    /// How many connections are opened at a time, where no rate says it.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) connecting: u32,
    /// The server is a hub: echoes are its ping and pong, a fan-out goes through a room.
    #[arg(long)]
    pub(super) hub: bool,
    /// The room of a fan-out through a hub. Without it a new one.
    #[arg(long, value_name = "NAME", requires = "hub")]
    pub(super) room: Option<String>,
    /// For a fan-out without a hub: the server sends each message to every connection.
    #[arg(long, conflicts_with = "hub")]
    pub(super) broadcast: bool,
    /// How many connections of a slow-reader test send and do not read.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) slow_readers: u32,
    #[command(flatten)]
    pub(super) client: ClientOptions,
    /// A file of bearer tokens, one a line; connections take them in turn. TAUT_STRESS_TOKEN has a single one.
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Writes the results as JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Writes a line for each second, and one for each test.
    #[arg(long, value_name = "FILE")]
    pub(super) csv: Option<PathBuf>,
    /// Writes a page with plots.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// The highest latency, as 99 % have it, in milliseconds; of connecting in a storm. Else the status is 1.
    #[arg(long, value_name = "MS", value_parser = rate)]
    pub(super) max_p99: Option<f64>,
    /// The lowest rate: messages that came back a second; connections in a storm. Else the status is 1.
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(super) min_rate: Option<f64>,
    /// The most errors. Else the status is 1.
    #[arg(long, value_name = "N")]
    pub(super) max_errors: Option<u64>,
    /// Shows no progress.
    #[arg(long)]
    pub(super) quiet: bool,
}

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TestType {
    /// As many echoes as the server manages.
    Throughput,
    /// Connections, and nothing else.
    Storm,
    /// Echoes by a schedule.
    Sustained,
    /// One sends, all others receive: wants --hub or --broadcast.
    Fanout,
    /// As sustained, for long; the second half is held against the first.
    Soak,
    /// As sustained; in the second half some connections send and do not read.
    SlowReader,
    /// One after the other, but soak; fanout with --hub or --broadcast.
    All,
}

impl TestType {
    /// As the command line has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Storm => "storm",
            Self::Sustained => "sustained",
            Self::Fanout => "fanout",
            Self::Soak => "soak",
            Self::SlowReader => "slow-reader",
            Self::All => "all",
        }
    }
}

fn time(text: &str) -> Result<Duration, String> {
    read_time(text).ok_or_else(|| A_TIME.to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "want a number above 0".to_owned())
}

fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (SMALLEST..=LARGEST).contains(size));
    size.ok_or_else(|| {
        format!("a message has {SMALLEST} to {LARGEST} bytes: it says who sent it, and its number")
    })
}

/// The longest message in bytes: each connection holds some.
const LARGEST: usize = 16 << 20;
