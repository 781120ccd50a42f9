//! The seeds, replayed without a fuzzer: they are those of the tables, and the oracles agree with each.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use arbitrary::Arbitrary;
use taut_fuzz::format::decode;
use taut_fuzz::{
    client_handshake, compress, deflate, differential, extensions, header, input, mask, pair, proxies,
    receive, seeds, server_handshake, uri, utf8,
};

/// The tests of one target.
macro_rules! target {
    ($name:ident, $input:ty, $seeds:path, $check:path) => {
        mod $name {
            use super::*;

            const TARGET: Target<$input> =
                Target { name: stringify!($name), seeds: $seeds, encode: <$input>::encode, check: $check };

            #[test]
            fn the_files_are_those_of_the_table() {
                TARGET.compare_files();
            }

            #[test]
            fn a_seed_survives_its_encoding() {
                TARGET.encode_and_decode();
            }

            #[test]
            fn the_oracle_agrees_with_every_seed() {
                TARGET.check_seeds();
            }

            /// What a fuzzer would do first, for machines without one.
            #[test]
            fn the_oracle_agrees_with_spoiled_seeds() {
                TARGET.check_spoiled_seeds();
            }
        }
    };
}

target!(receive_, input::Input, seeds::receive, receive::check);
target!(deflate_, deflate::input::Input, deflate::seeds::deflate, deflate::check);
target!(compress_, compress::input::Input, compress::seeds::compress, compress::check);
target!(header_, header::Input, header::seeds, header::check);
target!(mask_, mask::Input, mask::seeds, mask::check);
target!(utf8_, utf8::Input, utf8::seeds, utf8::check);
target!(client_handshake_, client_handshake::Input, client_handshake::seeds, client_handshake::check);
target!(server_handshake_, server_handshake::Input, server_handshake::seeds, server_handshake::check);
target!(pair_, pair::input::Input, pair::seeds::pair, pair::check);
target!(differential_, input::Input, differential::seeds::differential, differential::check);
target!(uri_, uri::Input, uri::seeds, uri::check);
target!(proxies_, proxies::Input, proxies::seeds, proxies::check);
target!(extensions_, extensions::Input, extensions::seeds, extensions::check);

/// A target, and how its inputs are made.
struct Target<I> {
    name: &'static str,
    seeds: fn() -> Vec<(String, I)>,
    encode: fn(&I) -> Vec<u8>,
    check: fn(&I),
}

impl<I: for<'a> Arbitrary<'a> + Debug + PartialEq> Target<I> {
    fn directory(&self) -> PathBuf {
        let seeds = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds");
        seeds.join(self.name.trim_end_matches('_'))
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.directory()).expect("the directory of the seeds");
        let files = entries.map(|entry| {
            let entry = entry.expect("an entry of the directory");
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            (name, fs::read(entry.path()).expect("a seed"))
        });
        files.collect()
    }

    fn compare_files(&self) {
        let seeds = (self.seeds)();
        let count = seeds.len();
        let table: BTreeMap<String, Vec<u8>> =
            seeds.into_iter().map(|(name, input)| (name, (self.encode)(&input))).collect();
        assert_eq!(table.len(), count, "each name once");
        if std::env::var_os(WRITE).is_some() {
            fs::create_dir_all(self.directory()).expect("a directory for the seeds");
            for name in self.files().keys().filter(|name| !name.starts_with(FOUND)) {
                fs::remove_file(self.directory().join(name)).expect("an old seed goes");
            }
            for (name, bytes) in &table {
                fs::write(self.directory().join(name), bytes).expect("a new seed comes");
            }
        }
        let mut files = self.files();
        files.retain(|name, _| !name.starts_with(FOUND));
        let (names, known): (Vec<_>, Vec<_>) = (files.keys().collect(), table.keys().collect());
        assert_eq!(names, known, "run it with {WRITE}=1 to write the files");
        for (name, bytes) in table {
            assert_eq!(files[&name], bytes, "{name}: run it with {WRITE}=1 to write the files");
        }
    }

    fn encode_and_decode(&self) {
        for (name, input) in (self.seeds)() {
            assert_eq!(decode::<I>(&(self.encode)(&input)), input, "{name}");
        }
    }

    fn check_seeds(&self) {
        for (name, bytes) in self.files() {
            self.check(name, &bytes);
        }
    }

    fn check_spoiled_seeds(&self) {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let files: Vec<Vec<u8>> = self.files().into_values().collect();
        for round in 0..ROUNDS {
            let mut bytes = files[random.below(files.len())].clone();
            if random.below(4) == 0 {
                let other = &files[random.below(files.len())];
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = random.below(256) as u8;
            }
            self.check(format!("round {round}"), &bytes);
        }
    }

    /// Tells which input it was, if the oracle does not agree.
    fn check(&self, name: String, bytes: &[u8]) {
        struct Named<I: Debug>(String, I);

        impl<I: Debug> Drop for Named<I> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    eprintln!("{}: {:?}", self.0, self.1);
                }
            }
        }

        (self.check)(&Named(name, decode(bytes)).1);
    }
}

/// How many spoiled seeds are tried.
const ROUNDS: usize = 20_000;

/// Set to anything, it has the seeds of the tables written instead of compared.
const WRITE: &str = "WRITE_SEEDS";

/// Files that came from a finding, not from a table.
const FOUND: &str = "found-";

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
