//! `taut stress`: puts load on a WebSocket server, and says honestly what it measured. `docs/stress.md` tells how to
//! read it.

#![forbid(unsafe_code)]

mod echo;
mod fanout;
mod html;
mod ledger;
mod pace;
mod payload;
mod plan;
mod plot;
mod progress;
mod report;
mod run;
mod settings;
mod slow;
mod storm;
mod target;
mod text;
mod tracker;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;

use plan::Plan;
use progress::Progress;
use report::{Report, Test};
use run::Run;
pub use settings::Arguments;

/// Runs what the arguments ask for, prints the results, and writes them to files. SIGINT ends the test with what there
/// is so far, a second one at once.
///
/// The status: 0 if all thresholds are met, 1 if one is missed, 2 if a test could not run.
pub async fn run(arguments: Arguments) -> ExitCode {
    match test(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(MISSED),
        Err(error) => {
            eprintln!("taut stress: {error}");
            ExitCode::from(NOT_RUN)
        }
    }
}

/// Whether all thresholds are met.
async fn test(arguments: &Arguments) -> Result<bool, String> {
    let (plans, notes) = Plan::all(arguments)?;
    allow_files();
    let (sender, stop) = watch::channel(false);
    let signals = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            sender.send_replace(true);
            let _ = tokio::signal::ctrl_c().await;
            std::process::exit(INTERRUPTED);
        }
        std::future::pending::<()>().await;
    });
    let mut progress = Progress::new(arguments.quiet);
    let mut tests = Vec::new();
    let mut failed = None;
    for plan in plans {
        if *stop.borrow() {
            break;
        }
        let name = plan.test_type.name();
        match Run::test(plan, arguments, stop.clone(), &mut progress).await {
            Ok(outcome) => {
                let test = Test::new(arguments, outcome);
                print!("{}", text::summary(&test));
                tests.push(test);
            }
            Err(error) => {
                failed = Some(format!("{name}: {error}"));
                break;
            }
        }
    }
    signals.abort();
    let report = Report::new(arguments, tests, notes);
    print!("{}", text::verdict(&report));
    let json = || serde_json::to_string_pretty(&report).map_err(|error| error.to_string());
    write(arguments.json.as_deref(), json)?;
    write(arguments.csv.as_deref(), || Ok(text::csv(&report)))?;
    write(arguments.html.as_deref(), || Ok(html::page(&report)))?;
    match failed {
        Some(error) => Err(error),
        None => Ok(report.thresholds.iter().all(|threshold| threshold.met)),
    }
}

fn write(path: Option<&Path>, content: impl FnOnce() -> Result<String, String>) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    fs::write(path, content()?).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// A connection is an open file; the soft limit is made for other programs.
fn allow_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current < maximum || maximum.is_none() {
        // Without it, connections that are too many fail, and say why.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

const MISSED: u8 = 1;
const NOT_RUN: u8 = 2;

/// As shells count SIGINT.
const INTERRUPTED: i32 = 130;
