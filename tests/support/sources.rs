//! The files of the library, for tests that read them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The files in `src` whose names end so, by their paths from there.
pub(crate) fn sources(end: &str) -> BTreeMap<String, PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(end) {
                found.insert(name.into(), path);
            }
        }
    }
    found
}
