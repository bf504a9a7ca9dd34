//! Where inputs begin: the files of `corpus/TARGET/`, and the golden vectors.

use std::fs;
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::wire::wire_of;

/// An input with the name by which it is told.
pub(crate) struct Seed {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

fn tests_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
}

/// The files of a target, in the order of their names. A file that made a fault once stays here.
pub(crate) fn files_of(target: &str) -> Vec<Seed> {
    let folder = tests_folder().join("fuzz/corpus").join(target);
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the corpus is readable").path()).collect();
    paths.sort();
    let read = |path: PathBuf| Seed {
        name: format!("corpus/{target}/{}", path.file_name().unwrap().to_string_lossy()),
        bytes: fs::read(&path).expect("the corpus is readable"),
    };
    paths.into_iter().map(read).collect()
}

/// The bytes of the vectors of a file that a client sends, for one protocol or for all.
pub(crate) fn vectors_of(file: &str, protocol: Option<&str>) -> Vec<Seed> {
    let text = fs::read_to_string(tests_folder().join("vectors").join(file))
        .expect("the vectors are there");
    let vectors: Vec<Json> = serde_json::from_str(&text).expect("the vectors are JSON");
    let is_wanted = |vector: &&Json| protocol.is_none_or(|label| vector["protocol"] == label);
    let seed = |vector: &Json| Seed {
        name: format!("{file}: {}", vector["name"].as_str().unwrap_or_default()),
        bytes: wire_of(vector),
    };
    vectors.iter().filter(is_wanted).map(seed).collect()
}
