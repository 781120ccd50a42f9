//! Attacks a WebSocket echo server and judges it: `taut-attack ws://127.0.0.1:9001`.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use taut_attack::{Progress, Report, Settings, Verdict, attack, list};

fn main() -> ExitCode {
    let settings = Settings::parse();
    if settings.list {
        print(&list());
        return ExitCode::SUCCESS;
    }
    match run(&settings) {
        Ok(report) if report.count(Verdict::Failed, None) == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("taut-attack: {problem}");
            ExitCode::from(UNUSABLE)
        }
    }
}

fn run(settings: &Settings) -> Result<Report, String> {
    let terminal = std::io::stderr().is_terminal();
    let report = attack(settings, |progress| {
        if terminal {
            tell(progress);
        }
    })?;
    if terminal {
        eprint!("\r{:<80}\r", "");
    }
    print(&report.table());
    if let Some(path) = &settings.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        write(path, &(json + "\n"))?;
    }
    if let Some(path) = &settings.markdown {
        write(path, &report.markdown())?;
    }
    Ok(report)
}

fn tell(Progress { done, total, name, .. }: Progress) {
    eprint!("\r[{done:>3}/{total}] {name:<60}");
}

/// A reader that leaves early, such as `head`, is no fault.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

const UNUSABLE: u8 = 2;
