//! Measures implementations of DEFLATE as permessage-deflate uses them, and writes a report.
//!
//! The features of flate2 unify, so that each of its back ends needs a build of its own: this program builds itself
//! once for each, runs them side by side, and lets them take turns.

mod allocations;
mod backends;
mod corpus;
mod report;
mod work;

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => report::write(report::Effort::Full),
        (Some("--quick"), None) => report::write(report::Effort::Quick),
        (Some(work::ARGUMENT), None) => work::serve(io::stdin().lock(), io::stdout().lock()),
        _ => {
            eprintln!("usage: cargo run --release [-- --quick]");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
