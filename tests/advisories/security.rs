//! SECURITY.md against the tests: every attack has its row, and every row a test that there is, or a place.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const SECURITY: &str = include_str!("../../SECURITY.md");
const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");

/// Where tests stand.
const FOLDERS: [&str; 4] = ["tests", "src", "fuzz", "attack"];

/// What has to be in the tables: advisories by their numbers, and attacks on any implementation by their words.
const ATTACKS: &str = "
    CVE-2014-0193 CVE-2017-2670 CVE-2018-1000518 CVE-2018-1270 CVE-2020-13935 CVE-2020-15133 CVE-2020-15134
    CVE-2020-27813 CVE-2020-35896 CVE-2020-36049 CVE-2020-7662 CVE-2020-7663 CVE-2021-26423 CVE-2021-32640
    CVE-2022-21676 CVE-2022-2421 CVE-2022-35922 CVE-2023-32695 CVE-2023-43669 CVE-2024-23672 CVE-2024-37890
    CVE-2024-38355 CVE-2025-24010 CVE-2026-1525 CVE-2026-1526 CVE-2026-1527 CVE-2026-1528 CVE-2026-2229
    CVE-2026-25541 CVE-2026-25800 CVE-2026-29035 CVE-2026-31812 CVE-2026-33871 CVE-2026-42584 CVE-2026-42786
    CVE-2026-45736 CVE-2026-47073 CVE-2026-48779 CVE-2026-59881 CVE-2026-62901 CVE-2026-65623 GHSA-c4j6-fc7j-m34r
    NSP-550 RUSTSEC-2020-0043 RUSTSEC-2021-0020 RUSTSEC-2021-0078 RUSTSEC-2021-0081 RUSTSEC-2022-0035
    RUSTSEC-2023-0065 RUSTSEC-2024-0003 RUSTSEC-2024-0332 RUSTSEC-2026-0007 RUSTSEC-2026-0097 RUSTSEC-2026-0258
    httpcomponents-client http4s-netty sockudo-ws
    hijacking smuggling Sec-WebSocket-* splitting masks bombs compression slowloris payload ping fragments Closes heads
    floods never starving hash Tokens administration Redis logs memory";

/// The rows of the three tables: attack, all between, and the tests or the place.
fn rows(section: &str) -> Vec<Vec<&'static str>> {
    let heading = format!("\n### {section}\n");
    let (_, text) = SECURITY.split_once(&heading).unwrap_or_else(|| panic!("SECURITY.md has no {section}"));
    let table = text.split("\n#").next().unwrap().lines().filter(|line| line.starts_with('|'));
    // Behind the names of the columns and the line below them.
    table.skip(2).map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// What stands between backticks.
fn quoted(cell: &'static str) -> Vec<&'static str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The names of all functions in sources below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() && name != "target" {
            functions(&path, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            for (at, _) in text.match_indices("fn ") {
                let rest = &text[at + 3..];
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                found.insert(rest[..end].into());
            }
            // The tests of the tables of requirements: `name: path::TO_ROWS,`.
            for line in text.lines().filter(|line| line.ends_with(',')) {
                if let Some((name, _)) = line.trim().split_once(": ") {
                    found.insert(name.into());
                }
            }
        }
    }
}

#[test]
fn every_test_named_in_security_md_exists() {
    let mut found = BTreeSet::new();
    for folder in FOLDERS.map(|folder| Path::new(MANIFEST).join(folder)) {
        if folder.is_dir() {
            functions(&folder, &mut found);
        }
    }
    assert!(found.len() > 500, "the sources were not read");
    let mut names = 0;
    for row in ["Advisories", "Attacks on any of them"].into_iter().flat_map(rows) {
        let [attack, rule, limit, tests] = row[..] else { panic!("not four columns: {row:?}") };
        assert!(!rule.is_empty() && !limit.is_empty(), "{attack}");
        let tests = quoted(tests);
        assert!(!tests.is_empty(), "{attack}: no test");
        for test in tests {
            names += 1;
            let exists =
                found.contains(test) || test.ends_with(".rs") && Path::new(MANIFEST).join(test).is_file();
            assert!(exists, "{attack}: there is no test {test}");
        }
    }
    assert!(names > 100, "{names}: the tables were not read");
    for row in rows("Elsewhere") {
        let [attack, place] = row[..] else { panic!("not two columns: {row:?}") };
        assert!(!attack.is_empty() && !place.is_empty(), "{row:?}");
        for test in quoted(place).into_iter().filter(|name| name.contains("_is_")) {
            assert!(found.contains(test), "{attack}: there is no test {test}");
        }
    }
}

#[test]
fn every_attack_has_its_row() {
    let sections = ["Advisories", "Attacks on any of them", "Elsewhere"];
    let attacks: Vec<&str> = sections.into_iter().flat_map(rows).map(|row| row[0]).collect();
    for attack in ATTACKS.split_whitespace() {
        let ends = |c: char| !c.is_alphanumeric() && c != '-' && c != '*';
        let named = |row: &&&str| row.split(ends).any(|word| word == attack);
        assert!(attacks.iter().find(named).is_some(), "{attack} is in no row of SECURITY.md");
    }
    assert_eq!(attacks.len(), attacks.iter().collect::<BTreeSet<_>>().len(), "a row stands twice");
}

/// The defaults in the table of limits are those of the sources.
#[test]
fn limits_of_security_md_are_those_of_the_sources() {
    let read = |file: &str| fs::read_to_string(Path::new(MANIFEST).join(file)).unwrap();
    let (config, options, admission) =
        (read("src/proto/config.rs"), read("src/options.rs"), read("src/admission.rs"));
    for (limit, shown, source, text) in [
        ("`Config::max_message`", "16 MiB", "max_message: 16 << 20", &config),
        ("`Config::max_frame`", "16 MiB", "max_frame: 16 << 20", &config),
        ("`Config::max_streamed`", "none", "max_streamed: u64::MAX", &config),
        ("`Config::max_ratio`", "none", "max_ratio: u32::MAX", &config),
        ("`Config::max_fragments`", "131,072", "max_fragments: 1 << 17", &config),
        ("`Config::max_empty_fragments`", "64", "max_empty_fragments: 64", &config),
        ("`Config::max_queued`", "1 MiB", "max_queued: 1 << 20", &config),
        ("`HandshakeLimits::max_head`", "16 KiB", "max_head: 16 << 10", &config),
        ("`HandshakeLimits::max_fields`", "100", "max_fields: 100", &config),
        ("`HandshakeLimits::max_body`", "1 MiB", "max_body: 1 << 20", &config),
        ("`Options::max_control_rate`", "1,000 a second", "max_control_rate: 1_000", &options),
        ("`Options::message_timeout`", "30 s", "message_timeout: Duration::from_secs(30)", &options),
        ("`Options::write_timeout`", "30 s", "write_timeout: Duration::from_secs(30)", &options),
        ("`min_rate`", "each KiB", "min_rate: 1 << 10", &options),
        ("`Options::handshake_timeout`", "10 s", "handshake_timeout: Duration::from_secs(10)", &options),
        ("`Options::close_timeout`", "5 s", "close_timeout: Duration::from_secs(5)", &options),
        ("`AdmissionLimits::max_handshakes`", "4,096", "handshakes: 4096", &admission),
        ("`AdmissionLimits::max_handshakes_from_one`", "256", "handshakes_from_one: 256", &admission),
        ("`AdmissionLimits::max_connections`", "none", "connections: usize::MAX", &admission),
    ] {
        assert!(text.contains(source), "{limit} is not {source}");
        let row = SECURITY.lines().find(|line| line.starts_with('|') && line.contains(limit));
        let row = row.unwrap_or_else(|| panic!("SECURITY.md has no {limit}"));
        assert!(row.split('|').nth(2).unwrap().contains(shown), "{row}");
    }
}
