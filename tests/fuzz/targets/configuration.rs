//! The text of a configuration file: every fault is told with its place, none is a panic.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use warren::config::{KEYS, Overrides, ServerConfig};

use super::{Behaviour, Target};
use crate::corpus::Seed;
use crate::prng::Prng;

pub(crate) const TARGET: Target = Target {
    name: "configuration",
    words: &[
        b"[limits]\n",
        b"[server]\n",
        b"[protocol]\n",
        b"[",
        b"]",
        b"=",
        b"\"",
        b"'",
        b"\n",
        b"#",
        b"0",
        b"-1",
        b"1e99",
        b"9223372036854775807",
        b"9223372036854775808",
        b"true",
        b"{}",
        b"[1]",
        b"\"127.0.0.1:7171\"",
        b"frame_bytes_max = ",
        b"send_queue_bytes_max = ",
        b"connections_max",
        b"listen = ",
        b"inf",
        b"nan",
        b"\xff",
        b"\\u0000",
        b"1979-05-27",
        b"\"\"\"",
        b".",
    ],
    seeds,
    check,
    // Each is a file.
    inputs: 3_000,
};

/// Every key with a number, a text and a truth.
fn seeds() -> Vec<Seed> {
    let line = |value: &str| {
        let lines = KEYS.iter().map(|key| format!("{} = {value}\n", key.path));
        lines.collect::<String>()
    };
    ["1", "\"text\"", "true", "100000", "[]"]
        .into_iter()
        .flat_map(|value| {
            let all = Seed { name: format!("all {value}"), bytes: line(value).into_bytes() };
            let single = KEYS.iter().map(move |key| Seed {
                name: format!("{} = {value}", key.path),
                bytes: format!("{} = {value}\n", key.path).into_bytes(),
            });
            single.chain([all])
        })
        .collect()
}

fn check(bytes: &[u8], _: &mut Prng) -> Behaviour {
    static FILE: LazyLock<std::path::PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        folder.join(format!("fuzz-configuration-{}.toml", std::process::id()))
    });
    fs::write(&*FILE, bytes).expect("the folder for temporary files is writable");
    match ServerConfig::load(Some(&FILE), &Overrides::default(), 1) {
        Ok(_) => Behaviour::of(0),
        Err(error) => {
            let words = error.to_string();
            assert!(words.contains("fuzz-configuration-"), "names the file: {words}");
            // What it says, but for the places and values of this one.
            let kind: String = words.chars().filter(|letter| letter.is_alphabetic()).collect();
            Behaviour::of(kind.len())
        }
    }
}
