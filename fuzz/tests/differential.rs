//! Where taut and its rivals differ, counted over the seeds: a rule that nobody needs hides defects.

#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use taut_fuzz::differential::rules::Rule;
use taut_fuzz::differential::{Rival, explain};
use taut_fuzz::format::decode;
use taut_fuzz::input::Input;

/// Prints the table: `cargo test --test differential -- --nocapture`.
#[test]
fn every_rule_is_needed() {
    let mut needed = Vec::new();
    let mut seeds = 0;
    for target in ["differential", "receive"] {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
        for entry in fs::read_dir(directory).expect("the directory of the seeds") {
            let bytes = fs::read(entry.expect("an entry of the directory").path()).expect("a seed");
            needed.extend(explain(&decode::<Input>(&bytes)));
            seeds += 1;
        }
    }
    println!("| rule, of {seeds} seeds | tungstenite | sockudo-ws | reason |");
    println!("|------|---|---|------|");
    for rule in Rule::ALL {
        let [first, second] =
            Rival::ALL.map(|rival| needed.iter().filter(|&&pair| pair == (rival, rule)).count());
        println!("| `{rule:?}` | {first} | {second} | {} |", rule.reason());
    }
    for rule in Rule::ALL {
        for &rival in rule.rivals() {
            assert!(needed.contains(&(rival, rule)), "{rule:?} explains nothing of {rival:?}: remove it");
        }
    }
}
