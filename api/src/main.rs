//! Prints the public API that rustdoc's JSON describes, one item a line, for `api/check` to compare.
//!
//! Of an implemented trait it has the line of the implementation and its associated types: the methods are the
//! trait's. Of the automatic traits it has what is not so for all: `!Send`, and `Send` with conditions.

use std::collections::HashSet;
use std::error::Error;

use public_api::{Builder, PublicItem};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name the file that rustdoc wrote")?;
    let api = Builder::from_rustdoc_json(path).omit_blanket_impls(true).build()?;
    let traits: HashSet<_> = api.items().filter(|item| implements_trait(item)).map(PublicItem::id).collect();

    let mut seen = HashSet::new();
    for item in api.items() {
        let line = item.to_string();
        let inherited = item.parent_id().is_some_and(|parent| traits.contains(&parent));
        let wanted = !is_taken_for_granted(&line) && (!inherited || line.contains("pub type "));
        // What two types have together comes with each of them.
        if wanted && seen.insert(line.clone()) {
            println!("{line}");
        }
    }
    Ok(())
}

fn implements_trait(item: &PublicItem) -> bool {
    let line = item.to_string();
    line.starts_with("impl") && line.contains(" for ")
}

/// What has no line: what the compiler derives for itself, and what is so for nearly every type.
fn is_taken_for_granted(line: &str) -> bool {
    if !line.starts_with("impl") {
        return false;
    }
    let granted = |name: &str| line.contains(&format!(" {name} for ")) && !line.contains(" where ");
    UNSTABLE.iter().any(|name| line.contains(&format!("{name} for ")))
        || AUTOMATIC.iter().any(|name| granted(name))
}

/// Automatic traits that every public type should have.
const AUTOMATIC: [&str; 3] = ["core::marker::Send", "core::marker::Sync", "core::marker::Unpin"];

/// Traits that no program can name on the stable toolchain, and those of panics, which say little about a type.
const UNSTABLE: [&str; 5] = [
    "core::marker::Freeze",
    "core::marker::StructuralPartialEq",
    "core::marker::UnsafeUnpin",
    "core::panic::unwind_safe::RefUnwindSafe",
    "core::panic::unwind_safe::UnwindSafe",
];
