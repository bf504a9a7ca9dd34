//! The profiles `durable` and `mixed` at a smoke size, and chat beside a disk and a Postgres that stand still.

use std::process::Command;

use serde_json::Value;

use crate::{faults, harness_of_size, report_path, server_program};

#[test]
fn warren_holds_the_smoke_sizes_of_durable_and_mixed() {
    server_program();
    for (profile, users, shards) in [("durable", "64", "2"), ("mixed", "100", "1")] {
        let arguments = ["run", profile, "--users", users, "--shards", shards];
        let times = ["--duration", "2", "--warm-up", "1", "--set-period-ms", "200"];
        let outcome =
            harness_of_size(&format!("warren-{profile}"), &[&arguments[..], &times].concat());
        assert_eq!(faults(&outcome), [0; 6], "{profile}: {}", outcome.report);
        let sets = &outcome.report["sets"];
        let count = |key: &str| sets[key].as_u64().unwrap_or_else(|| panic!("{key} in {sets}"));
        let users: u64 = users.parse().unwrap();
        // Three seconds of five in each.
        assert_eq!(count("sent"), users * 15, "{profile}");
        assert_eq!(count("acknowledged"), count("sent"), "{profile}");
        assert_eq!([count("read_back"), count("lost"), count("unread")], [users, 0, 0]);
        for key in ["/log/commits_per_s", "/disk/sync_before_us/p50", "/latency_us/p99"] {
            let figure = sets.pointer(key).and_then(Value::as_f64);
            assert!(figure.is_some_and(|figure| figure > 0.0), "{profile}: {key} in {sets}");
        }
    }
}

/// The report of a stall at a smoke size, or nothing where the machine does not let us make one.
fn stall(what: &str) -> Option<Value> {
    server_program();
    let path = report_path(&format!("stall-{what}"));
    let output = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
        .args(["stall", what, "--users", "64", "--rounds", "1", "--duration", "1"])
        .args(["--warm-up", "1", "--json"])
        .arg(&path)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        assert!(told.contains("nothing was shown"), "{told}");
        println!("NOT SHOWN: {told}");
        return None;
    }
    let report: Value = serde_json::from_slice(&std::fs::read(&path).expect(&told)).unwrap();
    std::fs::remove_file(path).unwrap();
    // How long things take is not for a smoke size to say.
    for rounds in ["without_rounds", "with_rounds"] {
        let sets = &report[rounds]["sets"];
        assert_eq!(sets["lost"], 0, "{sets}");
        assert_eq!((&sets["unanswered"], &sets["unread"]), (&0.into(), &0.into()), "{sets}");
        assert!(sets["durable"].as_u64() > Some(0), "{sets}");
    }
    assert_eq!((&report["with"]["lost"], &report["with"]["disconnects"]), (&0.into(), &0.into()));
    Some(report)
}

#[test]
fn chat_goes_on_beside_a_frozen_disk() {
    let Some(report) = stall("disk") else { return };
    let commits = |rounds: &str| report[rounds]["log_commits"].as_u64().expect("it is told");
    // Counts are read a moment after the measured part, when the disk may be there again.
    assert!(4 * commits("with_rounds") < commits("without_rounds"), "it stood still: {report}");
    // Whoever waits for the disk waits as long as it stands still, and nobody else does.
    let in_time =
        |rounds: &str| report[rounds]["sets"]["durable_in_time"].as_u64().expect("counted");
    assert!(4 * in_time("with_rounds") < in_time("without_rounds"), "durable too soon: {report}");
    let figure = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).expect(pointer);
    let stalled_us = figure("/with_rounds/stalled_s/0") * 1e6;
    assert!(10.0 * figure("/with/latency_us/p50") < stalled_us, "chat waited too: {report}");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let mount = report["mount"].as_str().expect("where it was");
    assert!(!mounts.contains(mount) && !std::path::Path::new(mount).exists(), "{mounts}");
}

#[test]
fn chat_goes_on_beside_a_stopped_postgres_and_all_is_exported_then() {
    let Some(report) = stall("postgres") else { return };
    let count = |key: &str| report.pointer(key).and_then(Value::as_u64).expect(key);
    assert_eq!(count("/with_rounds/exported_commits"), 0, "it stood still");
    assert!(count("/with_rounds/log_commits") > 0 && count("/without_rounds/log_commits") > 0);
    let export = &report["export"];
    assert_eq!(export["is_caught_up"], true, "{export}");
    assert_eq!(count("/export/counts/full_copies"), 1, "{export}");
    assert_eq!(count("/export/counts/gaps"), 0, "{export}");
    // Each user's object is among them.
    assert!(count("/export/server/objects") > 64, "{export}");
    assert_eq!(export["tables"], export["server"]);
}
