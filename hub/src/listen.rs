//! `taut listen`: the other end of a client, by hand. Shows what each connection says; what is typed goes to all.

#![forbid(unsafe_code)]

use std::io::{self, BufRead, IsTerminal, Write, stdin, stdout};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use taut::proto::Message;
use taut::server::{BoxError, Compression, Config, Connection, Handle, Origins, Outcome, Server, Shutdown};

use crate::connect::form::{Printed, hex};
use crate::envelope::timestamp;
use crate::options::EndOptions;

/// The command line of `taut listen`.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Arguments {
    /// Where it listens, and what it agrees to.
    #[command(flatten)]
    pub end: EndOptions,
    /// When each message came.
    #[arg(long)]
    pub timestamps: bool,
}

/// Serves until a signal ends it. The first line on the standard output is the address as a URI; each message follows
/// as `#1 text`, with the number of its connection. Lines of the standard input go to all. If nobody can listen at the
/// address, the standard error tells why.
pub async fn run(arguments: Arguments) -> ExitCode {
    match serve(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("taut: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> io::Result<()> {
    let end = arguments.end;
    let compression = if end.deflate { Compression::Takeover } else { Compression::Off };
    // It knows no users: there is nothing that a page of another site could do in the name of one.
    let mut config = Config::new().address(end.address).origins(Origins::any());
    config = config.compression(compression).subprotocols(end.subprotocols);
    if let Some(bytes) = end.max_message {
        config = config.max_message(bytes);
    }
    let timestamps = arguments.timestamps;
    let server = Server::builder(config)
        .on_connect(|handle: Handle| async move {
            let target = Printed(handle.request().target());
            eprintln!("#{} connected from {} for {target}", handle.id(), handle.address());
        })
        .handler(move |connection| show(connection, timestamps))
        .on_disconnect(|handle: Handle, outcome: Outcome| async move {
            let status = outcome
                .status
                .as_ref()
                .map_or(String::new(), |status| format!(": {} {}", status.code, Printed(&status.reason)));
            eprintln!("#{} ended{status}", handle.id());
        })
        .on_error(|fault| eprintln!("{fault}"))
        .bind()
        .await?;
    if let Some(address) = server.address() {
        say(&format!("ws://{address}"))?;
    }
    let registry = server.registry().clone();
    // A thread of its own: the runtime would wait for a read of the standard input to end.
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            let tally = registry.broadcast(line).to_all();
            let missed = tally.dropped + tally.disconnected + tally.refused;
            if missed > 0 || tally.queued == 0 {
                eprintln!("{} get it, {missed} do not", tally.queued);
            }
        }
    });
    server.run_until_signal(Shutdown::new().window(Duration::ZERO)).await?;
    Ok(())
}

async fn show(mut connection: Connection, timestamps: bool) -> Result<(), BoxError> {
    let id = connection.handle().id();
    let is_terminal = stdout().is_terminal();
    while let Some(message) = connection.recv().await? {
        let text = match &message {
            Message::Text(text) if is_terminal => Printed(text).to_string(),
            Message::Text(text) => text.to_string(),
            Message::Binary(bytes) => format!("{} bytes: {}", bytes.len(), hex(bytes)),
            _ => continue,
        };
        let when = if timestamps { timestamp() + " " } else { String::new() };
        say(&format!("{when}#{id} {text}"))?;
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
