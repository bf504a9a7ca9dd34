//! Servers in TLS: smoke sizes, and that it is TLS that was measured.

use std::process::Command;

use serde_json::Value;

use crate::{Outcome, check_smoke, faults, harness_of_size, report_path, server_program};

const TIMES: [&str; 4] = ["--duration", "2", "--warm-up", "1"];
const USERS: &str = "64";

fn run(profile: &str, protocol: &str, more: &[&str]) -> Outcome {
    server_program();
    let arguments = ["run", profile, "--protocol", protocol, "--users", USERS, "--tls"];
    let outcome = harness_of_size(
        &format!("tls-{profile}-{protocol}"),
        &[&arguments[..], &TIMES, more].concat(),
    );
    check_smoke(protocol, &outcome);
    assert_eq!(outcome.report["tls"], true);
    // By the server's own count, not by what was asked for.
    assert_eq!(outcome.count("server_tls_connections").to_string(), USERS, "{protocol}");
    outcome
}

#[test]
fn warren_holds_the_smoke_size_in_tls() {
    run("chat", "binary", &["--no-floor", "--shards", "2", "--generators", "2"]);
    run("chat", "websocket-json", &["--no-floor"]);
    let idle = run("idle", "connserver", &["--heartbeat-ms", "1000"]);
    assert!(idle.count("heartbeats") > 0);
    assert_eq!([idle.count("heartbeats_missing"), idle.count("heartbeats_surplus")], [0, 0]);
    assert_eq!(faults(&idle), [0; 6]);
    let floor = &idle.report["floor"];
    assert!(floor["server_cpu_us_per_user_s"].as_f64().unwrap() > 0.0, "it has no TLS: {floor}");
}

#[test]
fn without_tls_the_server_counts_none() {
    server_program();
    let arguments = ["run", "chat", "--users", USERS, "--no-floor"];
    let outcome = harness_of_size("tls-none", &[&arguments[..], &TIMES].concat());
    assert_eq!(outcome.report["tls"], false);
    assert_eq!(outcome.count("server_tls_connections"), 0);
}

#[test]
fn two_servers_are_compared_in_tls() {
    let (program, path) = (server_program(), report_path("ab-tls"));
    let status = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
        .args(["ab", "chat", "--tls", "--users", "16", "--runs", "1"])
        .args(["--duration", "1", "--warm-up", "0"])
        .args(["--old".as_ref(), program.as_os_str(), "--new".as_ref(), program.as_os_str()])
        .args(["--json".as_ref(), path.as_os_str()])
        .output()
        .unwrap()
        .status;
    // A busy machine may be too slow for the bounds.
    assert!(matches!(status.code(), Some(0 | 1 | 3)), "{status}");
    let report: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!(report["tls"], true);
    let counted = report["runs"].as_array().unwrap().iter();
    let counted = counted.map(|run| run["server_tls_connections"].clone());
    assert_eq!(counted.collect::<Vec<Value>>(), [16, 16]);
    assert!(report["p99_us"]["ratio"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
fn the_floor_alone_has_no_tls() {
    let output = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
        .args(["floor", "chat", "--users", "8", "--tls"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("the floor has no TLS"), "{told}");
}
