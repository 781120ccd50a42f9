//! The seeds, replayed without a fuzzer: they are those of the table, and the oracle agrees with each.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use taut_fuzz::input::Input;
use taut_fuzz::{receive, seeds};

/// Set to anything, it has the seeds of the table written instead of compared.
const WRITE: &str = "WRITE_SEEDS";

/// Files that came from a finding, not from the table.
const FOUND: &str = "found-";

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds/receive")
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory()).expect("the directory of the seeds");
    let files = entries.map(|entry| {
        let entry = entry.expect("an entry of the directory");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        (name, fs::read(entry.path()).expect("a seed"))
    });
    files.collect()
}

#[test]
fn the_files_are_those_of_the_table() {
    let table: BTreeMap<String, Vec<u8>> =
        seeds::receive().into_iter().map(|(name, input)| (name, input.encode())).collect();
    assert_eq!(table.len(), seeds::receive().len(), "each name once");
    if std::env::var_os(WRITE).is_some() {
        for name in files().keys().filter(|name| !name.starts_with(FOUND)) {
            fs::remove_file(directory().join(name)).expect("an old seed goes");
        }
        for (name, bytes) in &table {
            fs::write(directory().join(name), bytes).expect("a new seed comes");
        }
    }
    let mut files = files();
    files.retain(|name, _| !name.starts_with(FOUND));
    let (names, known): (Vec<_>, Vec<_>) = (files.keys().collect(), table.keys().collect());
    assert_eq!(names, known, "run it with {WRITE}=1 to write the files");
    for (name, bytes) in table {
        assert_eq!(files[&name], bytes, "{name}: run it with {WRITE}=1 to write the files");
    }
}

#[test]
fn a_seed_survives_its_encoding() {
    for (name, input) in seeds::receive() {
        assert_eq!(Input::decode(&input.encode()), input, "{name}");
    }
}

#[test]
fn the_oracle_agrees_with_every_seed() {
    for (name, bytes) in files() {
        check(name, Input::decode(&bytes));
    }
}

/// What a fuzzer would do first, for machines without one.
#[test]
fn the_oracle_agrees_with_spoiled_seeds() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let files: Vec<Vec<u8>> = files().into_values().collect();
    for round in 0..20_000 {
        let mut bytes = files[random.below(files.len())].clone();
        if random.below(4) == 0 {
            let other = &files[random.below(files.len())];
            bytes.extend_from_slice(&other[random.below(other.len())..]);
        }
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        check(format!("round {round}"), Input::decode(&bytes));
    }
}

/// Tells which input it was, if the oracle does not agree.
fn check(name: String, input: Input) {
    struct Named(String, Input);

    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{}: {:?}", self.0, self.1);
            }
        }
    }

    receive::check(&Named(name, input).1);
}

/// Numbers that look random and are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
