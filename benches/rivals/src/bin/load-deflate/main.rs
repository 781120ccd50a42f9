//! The load: many connections to one server, each with one message on its way; or connections that fall silent,
//! to see what memory they hold. It compresses nothing while it measures, and inflates only the first messages.

mod connection;
mod data;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use taut_rivals::process::Process;
use taut_rivals::{Mode, number};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use connection::{Connection, Counts};
use data::Conversation;

const USAGE: &str = "\
usage: load-deflate --address HOST:PORT --pid PID --mode plain|no-takeover|takeover [options]
  --bits BITS          the window that the server is asked to keep to (15)
  --size BYTES         of a message (1024)
  --connections COUNT  (32)
  --warm-up SECONDS    before the measurement (0.5)
  --seconds SECONDS    of the server's time that the measurement takes (1)
  --messages COUNT     send that many over all connections, and measure nothing
  --memory             tell what memory of the server a silent connection holds
Prints one JSON object.";

struct Options {
    address: String,
    process: Process,
    mode: Mode,
    window_bits: u8,
    size: usize,
    connections: u64,
    warm_up: Duration,
    seconds: Duration,
    messages: Option<u64>,
    memory: bool,
}

fn main() -> Result<(), String> {
    let options = Options::from_arguments().map_err(|problem| format!("{problem}\n{USAGE}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let report = LocalSet::new().block_on(&runtime, async {
        match options.messages {
            _ if options.memory => memory(&options).await,
            Some(messages) => count(&options, messages).await,
            None => echo(&options).await,
        }
    })?;
    println!("{report}");
    Ok(())
}

/// The server's time for a message, and what it sends.
async fn echo(options: &Options) -> Result<String, String> {
    let conversation = Rc::new(Conversation::new(options.mode, options.size));
    let counts = Rc::new(Counts::default());
    let mut tasks = JoinSet::new();
    for index in 0..options.connections {
        let mut connection = options.connect(&conversation, &counts).await?;
        if index == 0 {
            connection.verify();
        }
        tasks.spawn_local(async move { connection.exchange(u64::MAX).await });
    }
    let measured = async {
        sleep(options.warm_up).await;
        let now = || Ok::<_, String>((Instant::now(), options.process.times()?.total, counts.get()));
        let before = now()?;
        let mut after = now()?;
        // Where others want the core too, it takes longer.
        while after.1 - before.1 < options.seconds {
            sleep(LOOK).await;
            after = now()?;
            if after.0 - before.0 > options.seconds * MOST_WAIT {
                return Err("the server gets too little time".into());
            }
        }
        let messages = after.2.messages - before.2.messages;
        Ok::<_, String>(format!(
            r#"{{"seconds": {:.6}, "cpu_seconds": {:.6}, "messages": {messages}, "compressed": {}, "payload": {}, "plain": {}, "verified": {}}}"#,
            (after.0 - before.0).as_secs_f64(),
            (after.1 - before.1).as_secs_f64(),
            after.2.compressed - before.2.compressed,
            after.2.payload - before.2.payload,
            messages * options.size as u64,
            counts.get().verified,
        ))
    };
    tokio::select! {
        report = measured => report,
        Some(ended) = tasks.join_next() => match ended {
            Ok(Err(problem)) => Err(problem),
            _ => Err("a connection ended by itself".into()),
        },
    }
}

/// So many messages, and nothing else: for tools that count what the server does.
async fn count(options: &Options, messages: u64) -> Result<String, String> {
    let conversation = Rc::new(Conversation::new(options.mode, options.size));
    let counts = Rc::new(Counts::default());
    let mut tasks = JoinSet::new();
    let each = messages / options.connections;
    for _ in 0..options.connections {
        let mut connection = options.connect(&conversation, &counts).await?;
        tasks.spawn_local(async move { connection.exchange(each).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    Ok(format!(r#"{{"messages": {}}}"#, counts.get().messages))
}

/// The memory of the server for each connection that has exchanged some messages and is silent.
async fn memory(options: &Options) -> Result<String, String> {
    let conversation = Rc::new(Conversation::new(options.mode, options.size));
    let counts = Rc::new(Counts::default());
    // What the server takes once, whoever comes.
    let first = talk(options, &conversation, &counts, WARM_UP_CONNECTIONS).await?;
    sleep(SETTLE).await;
    let before = options.process.resident()?;
    let silent = talk(options, &conversation, &counts, options.connections).await?;
    sleep(SETTLE).await;
    let after = options.process.resident()?;
    drop((first, silent));
    Ok(format!(
        r#"{{"connections": {}, "before": {before}, "after": {after}, "bytes_per_connection": {:.0}}}"#,
        options.connections,
        (after as f64 - before as f64) / options.connections as f64,
    ))
}

/// Connections each of which exchanged some messages, a few of them at a time.
async fn talk(
    options: &Options,
    conversation: &Rc<Conversation>,
    counts: &Rc<Counts>,
    connections: u64,
) -> Result<Vec<Connection>, String> {
    let mut all = Vec::new();
    for _ in 0..connections {
        all.push(options.connect(conversation, counts).await?);
    }
    for _ in 0..ROUNDS {
        let mut later = all.into_iter();
        all = Vec::new();
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < AT_A_TIME {
                let Some(mut connection) = later.next() else { break };
                tasks.spawn_local(async move {
                    connection.exchange(MESSAGES_A_ROUND).await?;
                    Ok::<_, String>(connection)
                });
            }
            let Some(ended) = tasks.join_next().await else { break };
            all.push(ended.map_err(|error| error.to_string())??);
        }
    }
    Ok(all)
}

impl Options {
    fn from_arguments() -> Result<Self, String> {
        let mut address = None;
        let mut pid = None;
        let mut mode = None;
        let mut options = Self {
            address: String::new(),
            process: Process::new(0),
            mode: Mode::Plain,
            window_bits: 15,
            size: 1024,
            connections: 32,
            warm_up: Duration::from_millis(500),
            seconds: Duration::from_secs(1),
            messages: None,
            memory: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            if argument == "--memory" {
                options.memory = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
            match argument.as_str() {
                "--address" => address = Some(value),
                "--pid" => pid = Some(number(&value)?),
                "--mode" => mode = Some(value.parse()?),
                "--bits" => options.window_bits = number(&value)?,
                "--size" => options.size = number(&value)?,
                "--connections" => options.connections = number(&value)?,
                "--warm-up" => options.warm_up = Duration::from_secs_f64(number(&value)?),
                "--seconds" => options.seconds = Duration::from_secs_f64(number(&value)?),
                "--messages" => options.messages = Some(number(&value)?),
                _ => return Err(format!("unknown option {argument}")),
            }
        }
        options.address = address.ok_or("--address is missing")?;
        options.process = Process::new(pid.ok_or("--pid is missing")?);
        options.mode = mode.ok_or("--mode is missing")?;
        Ok(options)
    }

    async fn connect(
        &self,
        conversation: &Rc<Conversation>,
        counts: &Rc<Counts>,
    ) -> Result<Connection, String> {
        Connection::open(&self.address, self.mode, self.window_bits, conversation.clone(), counts.clone())
            .await
    }
}

/// How often the server's time is looked at, and how many times as long it may take by the clock.
const LOOK: Duration = Duration::from_millis(20);
const MOST_WAIT: u32 = 30;
/// Connections that stay open beside those that are measured.
const WARM_UP_CONNECTIONS: u64 = 16;
/// How many connections of a memory measurement talk at the same time.
const AT_A_TIME: usize = 16;
/// Each connection talks in turns, as they do in life.
const ROUNDS: usize = 3;
const MESSAGES_A_ROUND: u64 = 4;
/// Time for the server to give back what it gives back by itself.
const SETTLE: Duration = Duration::from_secs(1);

/// Adds to what a cell holds.
fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get() + more);
}
