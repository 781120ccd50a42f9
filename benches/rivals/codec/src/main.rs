//! Engines of WebSocket libraries in memory: `codec measure` writes figures as JSON, one object a line, and progress
//! to standard error; `run` makes tables and plots of them.

mod alone;
mod contestants;
mod frames;
mod growth;
mod kernels;
mod measure;
mod messages;
mod stream;

use std::fmt::Debug;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use contestants::Contestant;
use frames::Case;
use measure::Plan;
use messages::Work;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match command(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("codec: {problem}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn command(words: &[&str]) -> Result<(), String> {
    let contestants = contestants::all();
    match words {
        ["list"] => contestants.iter().for_each(|contestant| println!("{}", contestant.name)),
        ["measure", options @ ..] => measure(contestants, options)?,
        ["once", work, role, kind, size, name, passes] => {
            let case = Case { role: role.parse()?, kind: kind.parse()?, size: number(size)? };
            let contestant = contestants.iter().find(|contestant| contestant.name == *name);
            let contestant = contestant.ok_or_else(|| format!("nobody is called {name}"))?;
            let work = [Work::Receive, Work::Send].into_iter().find(|known| known.name() == *work);
            let work = work.filter(|work| work.is_done_by(contestant, &case));
            let work = work.ok_or_else(|| format!("{name} does not do that"))?;
            println!("{}", work.once(case, contestant, number(passes)?));
        }
        _ => return Err("no such command".to_owned()),
    }
    Ok(())
}

fn measure(mut contestants: Vec<Contestant>, options: &[&str]) -> Result<(), String> {
    let mut plan = Plan { rounds: 31, turn: Duration::from_micros(500) };
    let mut sizes = SIZES.to_vec();
    let mut works: Vec<&str> = vec!["receive", "send", "mask", "utf8", "growth"];
    let mut options = options.iter();
    while let Some(&option) = options.next() {
        let value = options.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option {
            "--rounds" => plan.rounds = number(value)?,
            "--turn" => plan.turn = Duration::from_micros(number(value)?),
            "--sizes" => sizes = value.split(',').map(number).collect::<Result<_, _>>()?,
            "--work" => works = value.split(',').collect(),
            "--only" => {
                let names: Vec<&str> = value.split(';').collect();
                contestants.retain(|contestant| !contestant.is_rival() || names.contains(&contestant.name));
            }
            _ => return Err(format!("unknown option {option}")),
        }
    }
    for work in works {
        match work {
            "receive" | "send" => {
                let work = if work == "send" { Work::Send } else { Work::Receive };
                for case in work.cases(&sizes) {
                    let Case { role, kind, size } = case;
                    eprintln!("{}, {role}, {kind}, {size} bytes", work.name());
                    work.measure(case, &contestants, plan);
                }
            }
            "mask" => alone::masks(plan),
            "utf8" => alone::checks(plan),
            "growth" => growth::measure(&contestants, plan),
            _ => return Err(format!("no such work: {work}")),
        }
    }
    Ok(())
}

fn number<T: FromStr<Err: Debug>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number that fits"))
}

const SIZES: [usize; 7] = [0, 16, 125, 1 << 10, 16 << 10, 64 << 10, 1 << 20];

const USAGE: &str = "usage:
  codec measure [--rounds COUNT] [--turn MICROSECONDS] [--sizes BYTES,...] [--work receive,send,mask,utf8,growth]
                [--only NAME;...]
  codec once receive|send server|client binary|text|mixed BYTES NAME PASSES
  codec list";
