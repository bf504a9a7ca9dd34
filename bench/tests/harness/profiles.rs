//! The profiles `idle` and `crowd`, and the comparison of two servers: smoke sizes, and planted
//! faults.

use std::process::Command;

use serde_json::Value;

use crate::faulty_server::{Behaviour, Fault, FaultyServer};
use crate::{Outcome, check_smoke, faults, harness_of_size, server_program};

/// A second: so that several heartbeats are due in a run.
const HEARTBEAT: [&str; 2] = ["--heartbeat-ms", "1000"];
const HEARTBEAT_NS: u64 = 1_000_000_000;
const TIMES: [&str; 4] = ["--duration", "2", "--warm-up", "1"];

/// Enough users that several of them speak.
const CROWD: [&str; 2] = ["--users", "200"];
const CROWD_MEMBERS: u64 = 200;
/// Two of them ping where the server has the heartbeats.
const IDLE: [&str; 2] = ["--users", "20"];

fn run(name: &str, profile: &str, protocol: &str, fault: Fault) -> Outcome {
    let behaviour = Behaviour { fault, heartbeat_ns: HEARTBEAT_NS, presence: true };
    let server = FaultyServer::start(behaviour);
    let address = server.address().to_string();
    let users = if profile == "idle" { IDLE } else { CROWD };
    let arguments = ["run", profile, "--connect", &address, "--no-floor", "--protocol", protocol];
    let generators = ["--generators", "2"];
    harness_of_size(name, &[&arguments[..], &users, &HEARTBEAT, &TIMES, &generators].concat())
}

fn heartbeats(outcome: &Outcome) -> [u64; 2] {
    ["heartbeats_missing", "heartbeats_surplus"].map(|key| outcome.count(key))
}

/// Runs at the same time, because who misses a message waits for it.
fn at_once<T: Sync>(cases: &[T], check: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| check(case));
        }
    });
}

#[test]
fn warren_holds_the_smoke_sizes_of_idle_and_crowd() {
    server_program();
    for (profile, protocol, users, shards) in [
        ("idle", "binary", "64", "1"),
        ("idle", "connserver", "64", "1"),
        ("crowd", "binary", "200", "2"),
        ("crowd", "json", "200", "1"),
    ] {
        let arguments = ["run", profile, "--protocol", protocol, "--shards", shards];
        let size = ["--users", users];
        let arguments = [&arguments[..], &size, &HEARTBEAT, &TIMES].concat();
        let outcome = harness_of_size(&format!("warren-{profile}-{protocol}"), &arguments);
        check_smoke(protocol, &outcome);
        assert_eq!(heartbeats(&outcome), [0, 0], "{profile} {protocol}");
        // The pings of `idle` are themselves the heartbeats of the binary protocol.
        let beaten = outcome.count("heartbeats") > 0;
        assert_eq!(beaten, (profile, protocol) != ("idle", "binary"), "{profile} {protocol}");
        let report = &outcome.report;
        assert!(report["floor"]["server_cpu_us_per_user_s"].as_f64().unwrap() > 0.0);
        assert!(report["floor"]["server_memory_per_session_bytes"].is_f64());
        let memory = &report["server_memory"];
        for moment in ["before", "connected", "end"] {
            assert!(memory[moment]["anonymous_bytes"].as_u64().unwrap() > 0, "{memory}");
        }
    }
}

#[test]
fn the_floor_of_idle_and_crowd_holds_the_smoke_size() {
    for (profile, protocol, users, shards) in [
        ("idle", "json", IDLE, "1"),
        ("crowd", "json", CROWD, "2"),
        ("crowd", "binary", CROWD, "2"),
    ] {
        let arguments = ["floor", profile, "--protocol", protocol, "--shards", shards];
        let arguments = [&arguments[..], &users, &HEARTBEAT, &TIMES].concat();
        let outcome = harness_of_size(&format!("floor-{profile}-{protocol}"), &arguments);
        assert_eq!((faults(&outcome), heartbeats(&outcome)), ([0; 6], [0, 0]), "{profile}");
        let members = outcome.count("neighbours") + 1;
        assert!(outcome.count("messages_sent") > 0 && outcome.count("heartbeats") > 0);
        assert_eq!(outcome.count("deliveries"), outcome.count("messages_sent") * members);
    }
}

#[test]
fn a_server_without_fault_has_none_in_idle_and_crowd() {
    let cases =
        [("idle", "binary"), ("idle", "json"), ("crowd", "binary"), ("crowd", "connserver")];
    at_once(&cases, |(profile, protocol)| {
        let outcome = run(&format!("good-{profile}-{protocol}"), profile, protocol, Fault::None);
        assert_eq!((faults(&outcome), heartbeats(&outcome)), ([0; 6], [0, 0]), "{profile}");
        assert!(outcome.count("messages_sent") > 2, "{profile} {protocol}");
        if *profile == "crowd" {
            let expected = outcome.count("messages_sent") * CROWD_MEMBERS;
            assert_eq!(outcome.count("deliveries"), expected);
            assert!(outcome.count("presence") > 0);
        }
    });
}

/// The fault fails the run, and is counted as what it is.
fn check_found(name: &str, outcome: &Outcome, expected: [u64; 6], beats: [u64; 2]) {
    assert_eq!(outcome.status, 1, "{name}: {}", outcome.report);
    assert_eq!(outcome.report["limited_by"], "integrity", "{name}");
    assert_eq!(outcome.report["users_per_core"], Value::Null, "{name}");
    let found = faults(outcome);
    assert_eq!(found[..3], expected[..3], "{name}: {found:?}");
    assert_eq!(found.map(|count| count.min(1)), expected, "{name}: {found:?}");
    let beats_found = heartbeats(outcome);
    assert_eq!(beats_found.map(|count| count.min(1)), beats, "{name}: {beats_found:?}");
}

#[test]
fn each_fault_in_a_crowd_is_found() {
    let cases = [
        ("crowd-lose", Fault::Lose, [1, 0, 0, 1, 1, 0], [0, 0]),
        ("crowd-double", Fault::Double, [0, 1, 0, 1, 1, 0], [0, 0]),
        ("crowd-damage", Fault::Damage, [1, 0, 1, 1, 1, 0], [0, 0]),
        ("crowd-rename", Fault::Rename, [1, 0, 1, 1, 1, 0], [0, 0]),
        ("crowd-presence", Fault::LosePresence, [0, 0, 0, 1, 0, 0], [0, 0]),
        ("crowd-silence", Fault::Silence, [0; 6], [1, 0]),
        ("crowd-beat-twice", Fault::BeatTwice, [0; 6], [0, 1]),
    ];
    at_once(&cases, |(name, fault, expected, beats)| {
        check_found(name, &run(name, "crowd", "json", *fault), *expected, *beats);
    });
}

#[test]
fn each_fault_among_the_idle_is_found() {
    let cases = [
        ("idle-ignore", "binary", Fault::Ignore, [1, 0, 0, 0, 0, 0], [0, 0]),
        ("idle-answer-twice", "binary", Fault::AnswerTwice, [0, 1, 0, 0, 0, 0], [0, 0]),
        ("idle-silence", "connserver", Fault::Silence, [0; 6], [1, 0]),
        ("idle-beat-twice", "json", Fault::BeatTwice, [0; 6], [0, 1]),
    ];
    at_once(&cases, |(name, protocol, fault, expected, beats)| {
        check_found(name, &run(name, "idle", protocol, *fault), *expected, *beats);
    });
}

#[test]
fn a_lost_connection_fails_idle_and_crowd() {
    let cases = [("idle", "binary", Fault::HangUpPing), ("crowd", "binary", Fault::HangUp)];
    at_once(&cases, |(profile, protocol, fault)| {
        let outcome = run(&format!("hang-up-{profile}"), profile, protocol, *fault);
        assert_eq!((outcome.status, outcome.count("disconnects")), (1, 1), "{profile}");
    });
}

#[test]
fn two_servers_are_compared_in_turn() {
    let program = server_program();
    let path = crate::report_path("ab");
    let status = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
        .args(["ab", "chat", "--users", "32", "--runs", "2", "--duration", "1", "--warm-up", "0"])
        .args(["--old".as_ref(), program.as_os_str(), "--new".as_ref(), program.as_os_str()])
        .args(["--json".as_ref(), path.as_os_str()])
        .args(["--set-new", "reactor.turn_interval_us=900"])
        .output()
        .unwrap()
        .status;
    // A busy machine may be too slow for the bounds.
    assert!(matches!(status.code(), Some(0 | 1 | 3)), "{status}");
    let report: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(path).unwrap();
    let named = report["programs"][1].as_str().unwrap();
    assert!(named.ends_with(" reactor.turn_interval_us=900"), "{named}");
    let sides = report["runs"].as_array().unwrap().iter().map(|run| run["side"].clone());
    assert_eq!(sides.collect::<Vec<Value>>(), ["old", "new", "new", "old"]);
    for figure in ["server_cpu_us_per_user_s", "p50_us", "p99_us"] {
        let [least, middle, greatest] = ["ratio_min", "ratio", "ratio_max"]
            .map(|key| report[figure][key].as_f64().unwrap_or_else(|| panic!("{key}: {report}")));
        assert!(0.0 < least && least <= middle && middle <= greatest, "{figure}: {report}");
    }
}

#[test]
fn what_is_set_for_one_of_two_servers_reaches_it() {
    let program = server_program();
    for side in ["--set-old", "--set-new"] {
        let told = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
            .args([
                "ab",
                "chat",
                "--users",
                "8",
                "--runs",
                "1",
                "--duration",
                "1",
                "--warm-up",
                "0",
            ])
            .args(["--old".as_ref(), program.as_os_str(), "--new".as_ref(), program.as_os_str()])
            .args([side, "reactor.no_such_key=1"])
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&told.stderr);
        assert!(words.contains("no_such_key"), "{side}: {words}");
    }
}
