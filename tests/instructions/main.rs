//! What the hot paths cost, in instructions: a gate that does not time. Each path does the same work
//! on the same input under Valgrind's Callgrind, which counts every instruction of user space, and
//! the number for one event is held against the table in `counts.txt`.
//!
//! ```text
//! cargo test --release --test instructions                     every path
//! cargo test --release --test instructions -- decode           those whose names contain the word
//! UPDATE_INSTRUCTIONS=1 cargo test --release --test instructions      writes the table anew
//! ```
//!
//! `paths` says what is measured, `callgrind` runs it and reads the counts, `counts` compares them.
//! The measured program is this one again, under Valgrind: `measure PATH …`.

use std::process::ExitCode;

use counts::Counts;
use paths::{PATHS, Path};

mod callgrind;
mod counts;
mod paths;
mod setup;

/// What it reports, as an error when it fails.
type Test = fn() -> Result<String, String>;

/// The tests, as test runners call them.
const TESTS: [(&str, Test); 2] = [
    ("differences_are_told_by_path", counts::tests::differences_are_told_by_path),
    ("hot_paths_cost_what_the_table_says", || judge(PATHS.iter().collect())),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == callgrind::MEASURE) {
        paths::measure(&words[1..]);
        return ExitCode::SUCCESS;
    }
    let has = |option: &str| words.iter().any(|word| word == option);
    if has("--list") {
        // The protocol of test runners: none is ever ignored.
        if !has("--ignored") {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let asked: Vec<&str> =
        words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let is_asked = |name: &str| match has("--exact") {
        true => asked.contains(&name),
        false => asked.is_empty() || asked.iter().any(|word| name.contains(word)),
    };
    let mut faults = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| is_asked(name)) {
        faults += usize::from(!told(name, test()));
    }
    // A word that is part of no test's name may be of a path.
    let chosen: Vec<&Path> = PATHS.iter().filter(|path| is_asked(path.name)).collect();
    if !asked.is_empty() && !chosen.is_empty() {
        faults += usize::from(!told("chosen paths", judge(chosen)));
    }
    if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told(name: &str, result: Result<String, String>) -> bool {
    match &result {
        Ok(report) => println!("{report}test {name} ... ok\n"),
        Err(report) => eprintln!("{report}\ntest {name} ... FAILED\n"),
    }
    result.is_ok()
}

fn judge(paths: Vec<&Path>) -> Result<String, String> {
    let updates = std::env::var_os("UPDATE_INSTRUCTIONS").is_some();
    let all = paths.len() == PATHS.len();
    if updates && !all {
        return Err("The table is written anew of all paths, or not at all.".to_owned());
    }
    let known = Counts::read();
    let measured = Counts { setup: setup::describe(), rows: callgrind::count(&paths)? };
    let compared = known.compare(&measured, all);
    if updates {
        measured.write();
        return Ok(compared.unwrap_or_else(|report| report) + "\nThe table is written anew.\n");
    }
    compared
}
