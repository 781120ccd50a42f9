//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::target::Target;

/// Attacks a WebSocket echo server in many ways, and judges what it does.
///
/// Exit status: 0 if no case failed, 1 if any did, 2 if the server cannot be attacked at all.
#[derive(Clone, Debug, Parser)]
#[command(name = "taut-attack")]
#[non_exhaustive]
pub struct Settings {
    /// The server, such as ws://127.0.0.1:9001; it has to echo text and binary messages
    #[arg(required_unless_present = "list")]
    pub target: Option<Target>,

    /// The server's process: its memory, files and processor time are watched and judged
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,

    /// Run only cases of this name, or whose names begin so; may be repeated
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,

    /// Run only cases of this group; may be repeated
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,

    /// Leave out this group, and cases whose names begin so; may be repeated
    #[arg(long, value_name = "NAME")]
    pub without: Vec<String>,

    /// Run only the cases that come behind this one, to go on where a server ended
    #[arg(long, value_name = "NAME")]
    pub after: Option<String>,

    /// Leave out the cases that wait for deadlines of the server
    #[arg(long)]
    pub quick: bool,

    /// Print the cases with their rules, and attack nobody
    #[arg(long)]
    pub list: bool,

    /// How many connections a flood has, if both sides may open as many files
    #[arg(long, value_name = "N", default_value_t = 4000)]
    pub connections: usize,

    /// How long an answer may take that needs no waiting
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub patience: f64,

    /// How long a server may wait for a handshake to end, and hold what has ended
    #[arg(long, value_name = "SECONDS", default_value_t = 15.0)]
    pub timeout: f64,

    /// How long it may wait for the rest of a message, for a peer to read, to close, or to say anything
    #[arg(long, value_name = "SECONDS", default_value_t = 45.0)]
    pub deadline: f64,

    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write the results as a table in Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}
