//! The front page of the documentation and its chapters against the sources: modules, features, chapters; and that examples
//! run.

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use sources::sources;

const LIB: &str = include_str!("../src/lib.rs");
const MANUAL: &str = include_str!("../src/manual/mod.rs");
const CONTENTS: &str = include_str!("../src/manual/contents.md");
const MANIFEST: &str = include_str!("../Cargo.toml");
const FEATURES: &str = include_str!("../docs/features.md");

/// The names between `begin` and `end`, wherever they stand.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> BTreeSet<&'a str> {
    text.split(begin).skip(1).filter_map(|rest| rest.split_once(end)).map(|(name, _)| name).collect()
}

/// The text of the front page below a heading of it.
fn chapter(heading: &str) -> String {
    let (_, rest) = LIB.split_once(&format!("\n//! # {heading}\n")).expect("the front page has it");
    rest.split("\n//! # ").next().unwrap().into()
}

fn features() -> BTreeSet<&'static str> {
    let (_, rest) = MANIFEST.split_once("\n[features]\n").unwrap();
    let (table, _) = rest.split_once("\n[").unwrap();
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .filter(|name| *name != "default")
        .collect()
}

/// The lines, with their numbers, that begin an example which is compiled at most.
fn idle_examples(text: &str) -> Vec<usize> {
    let fences = text.lines().enumerate().filter_map(|(number, line)| {
        let (before, words) = line.split_once("```")?;
        before.trim_matches(['/', '!', ' ']).is_empty().then_some((number + 1, words))
    });
    fences
        .filter(|(_, words)| words.contains("no_run") || words.contains("ignore"))
        .map(|(number, _)| number)
        .collect()
}

#[test]
fn each_module_stands_in_the_table_of_layers_with_its_feature() {
    let mut modules = BTreeSet::new();
    let lines: Vec<&str> = LIB.lines().collect();
    for pair in lines.windows(2) {
        let Some(name) = pair[1].strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) else {
            continue;
        };
        if name != "manual" {
            let feature =
                pair[0].strip_prefix("#[cfg(feature = \"").and_then(|rest| rest.strip_suffix("\")]"));
            modules.insert((name.to_owned(), feature.unwrap_or_default().to_owned()));
        }
    }
    let rows: BTreeSet<(String, String)> = chapter("Layers")
        .lines()
        .filter(|line| line.starts_with("//! | [`"))
        .map(|line| {
            let cells: Vec<&str> =
                line.split('|').map(|cell| cell.trim().trim_matches(['[', ']', '`'])).collect();
            (cells[1].to_owned(), cells[3].to_owned())
        })
        .collect();
    assert!(modules.len() > 8, "the modules were not read");
    assert_eq!(rows, modules);
}

#[test]
fn each_feature_stands_on_the_front_page_and_in_its_chapter() {
    let features = features();
    assert!(features.len() > 12, "the features were not read");
    let told = chapter("Layers") + &chapter("Features");
    for feature in features {
        assert!(told.contains(&format!("`{feature}`")), "the front page does not tell of {feature}");
        assert!(FEATURES.contains(&format!("| `{feature}`")), "docs/features.md does not tell of {feature}");
    }
}

#[test]
fn each_chapter_stands_in_the_table_of_contents() {
    let chapters = between(MANUAL, "pub mod ", " {}");
    assert!(chapters.len() > 8, "the chapters were not read");
    assert_eq!(between(CONTENTS, "crate::manual::", ")"), chapters);
    for path in sources(".md").keys() {
        let name = path.strip_prefix("manual/").expect("chapters lie in one folder");
        assert!(MANUAL.contains(&format!("include_str!(\"{name}\")")), "{name} is in no chapter");
    }
}

#[test]
fn examples_run() {
    assert_eq!(idle_examples("//! ```no_run\n/// ```\n```text\n    /// ```ignore\n"), [1, 4]);
    let documents = between(MANUAL, "include_str!(\"../../", "\")").into_iter().map(PathBuf::from);
    let mut read = 0;
    for path in sources(".rs").into_values().chain(sources(".md").into_values()).chain(documents) {
        let idle = idle_examples(&fs::read_to_string(&path).unwrap());
        assert!(idle.is_empty(), "{}:{idle:?}: examples that do not run", path.display());
        read += 1;
    }
    assert!(read > 100, "the sources were not read");
}
