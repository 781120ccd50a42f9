//! Work of a fixed size for callgrind to count: `benches/instructions/run` runs each case twice.
//!
//! `instructions` lists the cases: name, messages of a round, rounds. `instructions CASE ROUNDS` does that many.

#[path = "../../support/case.rs"]
mod case;
#[path = "../../support/connection.rs"]
mod connection;
mod echo;
#[path = "../../support/handshake.rs"]
mod handshake;
mod socket;

use std::env;
use std::error::Error;

use case::Case;
use connection::{Compression, Content, Row, Work};
use taut::proto::Role;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let Some(name) = arguments.next() else {
        for Job { name, messages, rounds, .. } in jobs() {
            println!("{name}\t{messages}\t{rounds}");
        }
        return Ok(());
    };
    let rounds = arguments.next().ok_or("say how many rounds")?.parse()?;
    let job = jobs().find(|job| job.name == name).ok_or("no such case: without arguments all are listed")?;
    (job.run)(rounds);
    Ok(())
}

/// A case and how often it is worth repeating.
struct Job {
    name: String,
    /// Of a round.
    messages: usize,
    rounds: usize,
    run: Box<dyn Fn(usize)>,
}

fn jobs() -> impl Iterator<Item = Job> {
    connection::cases(&ROWS).chain(handshake::cases()).map(job).chain(echo::jobs())
}

fn job(Case { group, parameter, messages, bytes, setup }: Case) -> Job {
    let run = move |rounds| {
        let mut round = setup();
        for _ in 0..rounds {
            round();
        }
    };
    Job {
        name: format!("{group}/{parameter}"),
        messages,
        rounds: rounds(messages, bytes),
        run: Box::new(run),
    }
}

/// So many that what happens seldom has its share, and few enough to be counted in a second.
fn rounds(messages: usize, bytes: usize) -> usize {
    let by_bytes = (2 << 20) / bytes.max(1);
    (2048 / messages).min(by_bytes).max(4)
}

const ROWS: [Row; 18] = [
    row(Work::Borrowed, BINARY, SERVER, &SIZES),
    row(Work::Borrowed, BINARY, CLIENT, &SIZES),
    row(Work::Borrowed, TEXT, SERVER, &SIZES),
    row(Work::Borrowed, MIXED, SERVER, &LARGE),
    row(Work::Owned, BINARY, SERVER, &SIZES),
    row(Work::Owned, TEXT, SERVER, &SIZES),
    row(Work::Fragmented, BINARY, SERVER, &LARGE),
    row(Work::Fragmented, MIXED, SERVER, &LARGE),
    row(Work::Copied, BINARY, SERVER, &SIZES),
    row(Work::Copied, BINARY, CLIENT, &SIZES),
    row(Work::Lent, BINARY, SERVER, &LARGE),
    row(Work::Shared, BINARY, SERVER, &SIZES),
    row(Work::Echo, BINARY, SERVER, &SIZES),
    row(Work::Broadcast, BINARY, SERVER, &SIZES),
    deflated(Work::Borrowed, Compression::Takeover),
    deflated(Work::Copied, Compression::Takeover),
    deflated(Work::Echo, Compression::Takeover),
    deflated(Work::Echo, Compression::NoTakeover),
];

const fn row(
    work: Work,
    contents: &'static [Content],
    roles: &'static [Role],
    sizes: &'static [usize],
) -> Row {
    Row { work, contents, roles, compression: Compression::Off, sizes }
}

const fn deflated(work: Work, compression: Compression) -> Row {
    Row { work, contents: &[Content::Records], roles: SERVER, compression, sizes: &[1 << 10] }
}

const BINARY: &[Content] = &[Content::Binary];
const TEXT: &[Content] = &[Content::Text];
const MIXED: &[Content] = &[Content::Mixed];
const SERVER: &[Role] = &[Role::Server];
const CLIENT: &[Role] = &[Role::Client];
const SIZES: [usize; 5] = [0, 16, 125, 1 << 10, 16 << 10];
const LARGE: [usize; 2] = [1 << 10, 16 << 10];
