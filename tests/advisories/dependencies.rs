//! What the crate is built from, in every feature: versions without known faults, and no generator that can be
//! predicted. And what its generator gives.

use std::collections::{BTreeMap, HashSet};
use std::process::Command;
use std::thread;

use taut::proto::MaskSource;
use taut::{RandomMasks, nonce};

/// A package of the tree of normal dependencies, with the features that it is built with.
struct Package {
    version: Vec<u64>,
    features: Vec<String>,
}

/// What a program that depends on the crate builds, on any platform. Cargo fetches what other platforms build.
fn tree() -> BTreeMap<String, Package> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "taut", "--edges", "normal", "--all-features", "--target", "all"])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{f}", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut packages = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (package, features) = line.split_once('|').unwrap();
        let (name, version) = package.split_once(" v").unwrap();
        let numbers = version.split(|c: char| !c.is_ascii_digit()).take(3);
        let version = numbers.map(|number| number.parse().unwrap()).collect();
        let features = features.split(',').map(Into::into).collect();
        packages.insert(format!("{name} {version:?}"), Package { version, features });
    }
    packages
}

fn named<'a>(tree: &'a BTreeMap<String, Package>, name: &str) -> Vec<&'a Package> {
    let begins = format!("{name} ");
    tree.iter().filter(|(key, _)| key.starts_with(&begins)).map(|(_, package)| package).collect()
}

/// Generators that anyone can continue who has seen some of their numbers, and crates that are made of them.
const PREDICTABLE: &[&str] = &[
    "ahash",
    "fastrand",
    "nanorand",
    "oorandom",
    "rand_isaac",
    "rand_mt",
    "rand_pcg",
    "rand_seeder",
    "rand_sfc",
    "rand_xorshift",
    "rand_xoshiro",
    "romu",
    "sfc32",
    "tinyrand",
    "turborand",
    "wyhash",
    "wyrand",
    "xorshift",
    "xoshiro",
];

/// RFC 6455 §5.3, §10.3: masking keys come from "a strong source of entropy".
#[test]
fn no_predictable_generator() {
    let tree = tree();
    assert!(tree.len() > 10, "the tree was not read");
    for name in PREDICTABLE {
        assert!(named(&tree, name).is_empty(), "{name} is in the tree");
    }
    let rand = named(&tree, "rand");
    assert_eq!(rand.len(), 1, "one version of rand");
    let features = &rand[0].features;
    assert!(features.iter().any(|feature| feature == "thread_rng"), "{features:?}");
    for feature in ["small_rng", "log"] {
        assert!(!features.iter().any(|found| found == feature), "{feature} of rand");
    }
}

/// The first versions without the faults that SECURITY.md names; see the reasons in Cargo.toml.
#[test]
fn dependencies_without_known_faults() {
    let tree = tree();
    for (name, least) in [("bytes", [1, 11, 1]), ("rand", [0, 10, 1])] {
        let found = named(&tree, name);
        assert!(!found.is_empty(), "{name} is not in the tree");
        for package in found {
            assert!(package.version[..] >= least[..], "{name} {:?}", package.version);
        }
        // Not only in the lock file: whoever depends on the crate gets no older one.
        let manifest = include_str!("../../Cargo.toml");
        let [major, minor, patch] = least;
        let required = format!("{name} = {{ version = \"{major}.{minor}.{patch}\"");
        assert!(manifest.contains(&required), "Cargo.toml does not require {name} {least:?}");
    }
}

const KEYS: usize = 1 << 18;

fn keys() -> Vec<[u8; 4]> {
    let mut masks = RandomMasks::new();
    (0..KEYS).map(|_| masks.next_key()).collect()
}

/// A smoke test: a broken generator fails it, and a good one does once in more runs than there will be.
#[test]
fn masks_look_random() {
    let keys = keys();
    // Each bit is set in half of the keys; each equals its neighbour, and its place in the next key, in half of them.
    // The deviation of a count is sqrt(n) / 2, which is 256 here.
    let most = 8 * 256;
    let count = |name: &str, hits: usize| {
        let off = hits.abs_diff(KEYS / 2);
        assert!(off <= most, "{name}: {hits} of {KEYS}");
    };
    let numbers: Vec<u32> = keys.iter().map(|&key| u32::from_be_bytes(key)).collect();
    for bit in 0..32 {
        let set = |number: u32| number >> bit & 1;
        count("a bit", numbers.iter().filter(|&&number| set(number) == 1).count());
        let turned = |number: u32| number.rotate_left(1) >> bit & 1;
        count("neighbours", numbers.iter().filter(|&&number| set(number) == turned(number)).count());
        let pairs = numbers.iter().zip(numbers.iter().cycle().skip(1));
        count("keys in a row", pairs.filter(|&(&one, &two)| set(one) == set(two)).count());
    }
    // Bytes: 1,024 of each value expected in each place, with a deviation of 32.
    for place in 0..4 {
        let mut counts = [0_usize; 256];
        keys.iter().for_each(|key| counts[usize::from(key[place])] += 1);
        assert!(counts.iter().all(|count| count.abs_diff(KEYS / 256) <= 8 * 32), "{counts:?}");
    }
    // 8 keys that were there before are expected by chance; a batch that came again would be 64.
    let different: HashSet<u32> = numbers.iter().copied().collect();
    assert!(KEYS - different.len() < 64, "{} keys twice", KEYS - different.len());
}

/// No two threads, and no two connections, share keys or nonces.
#[test]
fn masks_and_nonces_are_not_shared() {
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(|| keys()[..1000].to_vec())).collect();
    let all: Vec<[u8; 4]> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let different: HashSet<_> = all.iter().collect();
    assert!(all.len() - different.len() <= 4, "{} keys twice", all.len() - different.len());
    let nonces: HashSet<[u8; 16]> = (0..10_000).map(|_| nonce()).collect();
    assert_eq!(nonces.len(), 10_000);
}
