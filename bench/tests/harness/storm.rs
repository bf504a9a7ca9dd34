//! The profile `storm`: its smoke size over several protocols, and servers that are set up so that
//! not everyone can come back.

use std::process::Command;

use serde_json::Value;
use warren_bench::process::server::{ServerProcess, Size};

use crate::{Outcome, faults, harness_of_size, server_program};

const SIZE: [&str; 6] = ["--users", "64", "--duration", "8", "--warm-up", "1"];

#[test]
fn everyone_comes_back_and_misses_nothing_in_every_protocol() {
    server_program();
    std::thread::scope(|scope| {
        for protocol in ["binary", "json", "connserver", "xml", "websocket-binary"] {
            scope.spawn(move || {
                let arguments = ["run", "storm", "--protocol", protocol, "--generators", "2"];
                let arguments = [&arguments[..], &SIZE].concat();
                let outcome = harness_of_size(&format!("storm-{protocol}"), &arguments);
                check_storm(protocol, &outcome);
            });
        }
    });
}

/// Everyone is back and has heard everything; how soon is not for a test.
fn check_storm(protocol: &str, outcome: &Outcome) {
    let report = &outcome.report;
    let slow = outcome.status == 3 || report["limited_by"] == "latency";
    assert!(outcome.status == 0 || slow, "{protocol}: status {} of {report}", outcome.status);
    assert_eq!(faults(outcome), [0; 6], "{protocol}");
    assert_eq!(report["refused"], serde_json::json!({}), "{protocol}");
    assert_eq!(outcome.count("deliveries"), outcome.count("messages_sent") * 8, "{protocol}");
    assert_eq!(outcome.count("deliveries_measured"), 64, "{protocol}: resumes are measured");
    let storm = &report["storm"];
    let count = |key: &str| storm[key].as_u64().unwrap_or_else(|| panic!("{key} in {storm}"));
    assert_eq!((count("users_back"), count("users_missing")), (64, 0), "{protocol}");
    assert_eq!(storm["missing"], serde_json::json!([]), "{protocol}");
    // Lines are said while people are away: they hear them when they are back.
    assert!(count("replayed") > 0 && count("lines_held") > 0, "{protocol}: {storm}");
    let times = ["all_back_s", "all_caught_up_s"].map(|key| storm[key].as_f64().unwrap());
    assert!(times[0] <= times[1] && count("users_behind") == 0, "{protocol}: {storm}");
    for key in ["all_back_s", "server_cpu_us_per_resume", "generator_cpu"] {
        assert!(storm[key].is_f64(), "{protocol}: {key} in {storm}");
    }
    assert!(count("memory_peak_before_bytes") > 0 && count("memory_peak_bytes") > 0, "{storm}");
    assert!(storm["turns"]["turns"].as_u64().unwrap() > 0, "{storm}");
    assert!(storm["line_latency_us"]["p99"].is_f64() && report["floor"].is_null(), "{report}");
}

/// A run against a server with this key.
fn run_with(name: &str, key: &str, value: &str) -> Outcome {
    let size = Size {
        shards: 1,
        connections_max: 1_000,
        heartbeat_ms: 10_000,
        tls: false,
        snapshot_interval_ms: None,
        settings: vec![(key.to_owned(), value.to_owned())],
        library: None,
        worker: None,
    };
    let cores = warren_bench::pinning::available_cores();
    let server = ServerProcess::start_warren(&server_program(), &size, &cores).unwrap();
    let (address, pid) = (server.addresses()[0].to_string(), server.id().to_string());
    let admin = server.admin().unwrap().to_string();
    let connect = ["run", "storm", "--connect", &address, "--server-pid", &pid, "--admin", &admin];
    harness_of_size(name, &[&connect[..], &SIZE, &["--room-size", "16"]].concat())
}

#[test]
fn a_server_that_forgets_or_refuses_fails_the_run_and_says_why() {
    // At the same time, because those who wait in vain wait long.
    std::thread::scope(|scope| {
        for (name, key, value, reason) in [
            ("storm-no-grace", "session.grace_ms", "0", "session-unknown (401)"),
            ("storm-too-old", "limits.replay_messages_max", "1", "resume-too-old (410)"),
        ] {
            scope.spawn(move || {
                let outcome = run_with(name, key, value);
                let (report, storm) = (&outcome.report, &outcome.report["storm"]);
                assert_eq!((outcome.status, &report["limited_by"]), (1, &Value::from("integrity")));
                let missing = storm["users_missing"].as_u64().unwrap();
                let refused = storm["refusals"][reason].as_u64().unwrap_or_default();
                assert!(missing > 0 && storm["all_back_s"].is_null(), "{name}: {storm}");
                assert_eq!(refused, missing, "{name}: {storm}");
                let told = format!("{missing} users did not come back");
                let reasons = report["reasons"].as_array().unwrap();
                assert!(reasons.iter().any(|text| *text == told), "{name}: {reasons:?}");
            });
        }
    });
}

#[test]
fn who_is_cut_again_by_the_server_is_lost_and_counted_by_why() {
    // The rate is looked at behind the answer to a resume.
    let outcome = run_with("storm-rate", "limits.logins_per_minute_per_address", "80");
    let (lost, storm) = (outcome.count("disconnects"), &outcome.report["storm"]);
    assert!(outcome.status == 1 && lost > 0, "{}", outcome.report);
    assert_eq!(storm["refusals"]["login-rate"], lost, "{storm}");
}

#[test]
fn there_is_no_storm_without_sessions_or_without_time() {
    for (arguments, why) in [
        (&["floor", "storm", "--users", "8"][..], "there is no floor of this profile"),
        (&["run", "storm", "--users", "8", "--duration", "7"], "storm takes --duration 8"),
        (&["search", "storm", "--users", "8", "--duration", "7"], "storm takes --duration 8"),
    ] {
        let harness = Command::new(env!("CARGO_BIN_EXE_warren-bench")).args(arguments).output();
        let output = harness.unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && told.contains(why), "{arguments:?}: {told}");
    }
}
