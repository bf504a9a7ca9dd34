//! Two reports compared: those that the harness itself has written.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::{remove, report_path};

/// A report of the floor.
fn floor(path: &Path, users: &str) {
    let status = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
        .args(["floor", "chat", "--users", users, "--duration", "1", "--warm-up", "0"])
        .args(["--json".as_ref(), path.as_os_str()])
        .output()
        .unwrap()
        .status;
    // A busy machine may be too slow for the bounds.
    assert!(matches!(status.code(), Some(0 | 1 | 3)), "{status}");
}

fn compare(old: &str, new: &str, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren-bench"));
    command.args(["compare", old, new]).args(options).output().unwrap()
}

#[test]
fn reports_of_one_load_are_compared_and_others_only_when_told() {
    let paths = ["compare-one", "compare-two", "compare-other"].map(report_path);
    for (path, users) in paths.iter().zip(["32", "32", "40"]) {
        floor(path, users);
    }
    let [one, two, other] = paths.each_ref().map(|path| path.to_str().unwrap());
    let json = report_path("compare");

    let output = compare(one, &format!("{one},{two}"), &["--json", json.to_str().unwrap()]);
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("means of 1 old and 2 new reports\n"), "{table}");
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let figures = report["figures"].as_array().unwrap();
    assert!(figures.iter().any(|figure| figure["pointer"] == "/latency_us/p99"), "{report}");

    let output = compare(one, one, &[]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");

    let output = compare(one, other, &[]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("users: 32, 40"), "{told}");
    let output = compare(one, other, &["--allow-different"]);
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{output:?}");

    let output = compare(one, json.to_str().unwrap(), &[]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("is no report of `run` or `floor`"), "{told}");
    paths.iter().for_each(|path| remove(path));
    std::fs::remove_file(json).unwrap();
}
