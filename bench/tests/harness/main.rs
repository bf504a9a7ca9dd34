//! The program as a whole: the smoke size against the floor and against Warren, and against servers
//! with planted faults, each of which has to be found.

mod attack;
mod compare;
mod faulty_server;
mod objects;
mod profiles;
mod search;
mod sets;
mod storm;
mod tasks;
mod tls;
mod worlds;

use std::path::{Path, PathBuf};
use std::process::Command;

use faulty_server::{Behaviour, Fault, FaultyServer};
use serde_json::Value;

const USERS: &str = "32";
/// Two rooms, and in each several messages in the run.
const ROOM_SIZE: &str = "16";
const MEMBERS: u64 = 16;

/// Exit status and report of a run.
struct Outcome {
    status: i32,
    report: Value,
}

impl Outcome {
    fn count(&self, key: &str) -> u64 {
        self.report[key].as_u64().unwrap_or_else(|| panic!("{key} in {}", self.report))
    }
}

/// A file of this test alone, and the latencies beside it.
pub(crate) fn report_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("warren-bench-{name}-{}.json", std::process::id()))
}

fn harness(name: &str, arguments: &[&str]) -> Outcome {
    let size = ["--users", USERS, "--duration", "2", "--warm-up", "1", "--room-size", ROOM_SIZE];
    harness_of_size(name, &[arguments, &size].concat())
}

fn harness_of_size(name: &str, arguments: &[&str]) -> Outcome {
    let path = report_path(name);
    let output = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
        .args(arguments)
        .args(["--json".as_ref(), path.as_os_str()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let status = output.status.code().unwrap_or_else(|| panic!("it was ended: {text}"));
    assert_ne!(status, 2, "it could not be run: {text}");
    let report = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    remove(&path);
    Outcome { status, report }
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(path.with_extension("hgrm")).unwrap();
}

/// A run against a server with a fault in one delivery.
fn run(name: &str, protocol: &str, generators: &str, fault: Fault) -> Outcome {
    let behaviour = Behaviour { fault, heartbeat_ns: 10_000_000_000, presence: false };
    let server = FaultyServer::start(behaviour);
    let address = server.address().to_string();
    let pid = std::process::id().to_string();
    harness(
        name,
        &[
            "run",
            "chat",
            "--connect",
            &address,
            "--server-pid",
            &pid,
            "--no-floor",
            "--protocol",
            protocol,
            "--generators",
            generators,
        ],
    )
}

/// Every kind of fault with its count.
fn faults(outcome: &Outcome) -> [u64; 6] {
    ["lost", "duplicated", "corrupted", "out_of_order", "rooms_disagreeing", "disconnects"]
        .map(|key| outcome.count(key))
}

#[test]
fn the_floor_holds_the_smoke_size() {
    for (name, generators, shards) in [("floor-1", "1", "1"), ("floor-2", "2", "2")] {
        let outcome =
            harness(name, &["floor", "chat", "--generators", generators, "--shards", shards]);
        assert_eq!(faults(&outcome), [0; 6]);
        assert!(outcome.count("messages_sent") > 0 && outcome.count("deliveries_measured") > 0);
        assert_eq!(outcome.count("deliveries"), outcome.count("messages_sent") * MEMBERS);
        assert!(outcome.report["server_cpu_us_per_user_s"].as_f64().unwrap() > 0.0);
    }
}

/// Every key that others read.
const KEYS: [&str; 20] = [
    "profile",
    "users",
    "duration_s",
    "message_rate_hz",
    "neighbours",
    "payload_bytes",
    "tick_hz",
    "bound_ms",
    "latency_us",
    "server_cpu_us_per_user_s",
    "users_per_core",
    "limited_by",
    "floor_ratio",
    "lost",
    "duplicated",
    "corrupted",
    "disconnects",
    "generator_cpu",
    "verdict",
    "reasons",
];

#[test]
fn warren_holds_the_smoke_size_in_every_protocol() {
    server_program();
    for (protocol, floor) in [
        ("binary", &[][..]),
        ("connserver", &["--no-floor"]),
        ("json", &["--no-floor"]),
        ("xml", &["--no-floor"]),
        ("websocket-json", &["--no-floor"]),
        ("websocket-binary", &["--no-floor"]),
    ] {
        let size = ["--users", "64", "--duration", "2", "--warm-up", "1"];
        let arguments = [&["run", "chat", "--protocol", protocol], floor, &size].concat();
        let outcome = harness_of_size(&format!("warren-{protocol}"), &arguments);
        check_smoke(protocol, &outcome);
        let floor = &outcome.report["floor"];
        assert_eq!(floor.is_null(), protocol != "binary");
        if protocol == "binary" {
            assert!(floor["server_cpu_us_per_user_s"].as_f64().unwrap() > 0.0);
            assert_ne!(floor["verdict"], Value::Null);
        }
    }
}

/// The server to measure, which the harness finds beside itself.
pub(crate) fn server_program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_warren-bench")).with_file_name("warren");
    assert!(
        program.exists(),
        "there is no server to measure: {} is not built; ./test builds it before the tests, \
         `cargo build --bins` with the tests' profile does too",
        program.display()
    );
    program
}

/// All that was said was heard, and the figures are there; how large they are is not for a test.
fn check_smoke(protocol: &str, outcome: &Outcome) {
    let report = &outcome.report;
    for key in KEYS {
        assert!(report.get(key).is_some(), "{protocol}: {key} in {report}");
    }
    // A busy machine may be too slow for the bounds, and has no other excuse.
    let slow = outcome.status == 3 || report["limited_by"] == "latency";
    assert!(outcome.status == 0 || slow, "{protocol}: status {} of {report}", outcome.status);
    assert_eq!(report["users_per_core"].is_null(), slow, "{protocol}");
    assert_eq!(faults(outcome), [0; 6], "{protocol}");
    assert_eq!(report["refused"], serde_json::json!({}), "{protocol}");
    let (sent, room_size) = (outcome.count("messages_sent"), outcome.count("neighbours") + 1);
    assert!(sent > 0 && outcome.count("deliveries_measured") > 0, "{protocol}");
    assert_eq!(outcome.count("deliveries"), sent * room_size, "{protocol}");
    assert!(report["server_cpu_us_per_user_s"].as_f64().unwrap() > 0.0, "{protocol}");
    // The server counts what a room tells, not the answers to pings.
    let told = report["server_ring_enters_per_delivery"].is_f64();
    assert_eq!(told, room_size > 1, "{protocol}: {report}");
    let threads = report["server_threads"].as_array().unwrap();
    assert!(threads.iter().any(|thread| thread["name"] == "shard-0"), "{protocol}: {threads:?}");
    check_seconds(protocol, outcome);
    for key in [
        "server_allocations_per_message",
        "server_ring_enters_per_message",
        "server_turns_per_s",
        "server_memory_per_session_bytes",
        "kernel_memory_per_connection_bytes",
    ] {
        assert!(report[key].is_f64(), "{protocol}: {key} in {report}");
    }
}

/// Each second of the measured part is there, and together they are no more than the whole run.
fn check_seconds(protocol: &str, outcome: &Outcome) {
    let seconds = outcome.report["seconds"].as_array().unwrap();
    assert_eq!(seconds.len() as f64, outcome.report["duration_s"].as_f64().unwrap(), "{protocol}");
    let sum = |key: &str| seconds.iter().map(|second| second[key].as_u64().unwrap()).sum::<u64>();
    assert!(sum("sent") > 0 && sum("sent") <= outcome.count("messages_sent"), "{protocol}");
    assert!(sum("heard") > 0 && sum("heard") <= outcome.count("deliveries"), "{protocol}");
    assert!(sum("bytes_sent") > 0 && sum("bytes_received") > 0, "{protocol}");
    for second in seconds {
        assert!(second["server_cpu_cores"]["shard-0"].is_f64(), "{protocol}: {second}");
    }
}

#[test]
fn the_page_of_a_run_is_written_beside_its_report() {
    server_program();
    let path = report_path("page").with_extension("html");
    let outcome = harness("page", &["run", "chat", "--html", path.to_str().unwrap()]);
    let page = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let verdict = outcome.report["verdict"].as_str().unwrap();
    assert!(
        page.contains(&format!("<span class=\"verdict {verdict}\">{verdict}</span>")),
        "{page}"
    );
    for chart in [
        "Latency over time",
        "Latency by percentile",
        "CPU by shard",
        "Turns of the shards",
        "Bytes",
    ] {
        assert!(page.contains(&format!("aria-label=\"{chart}\"")), "{chart} in {page}");
    }
}

#[test]
fn a_server_without_fault_has_none_in_any_protocol() {
    for (name, protocol, generators) in [
        ("good-binary", "binary", "1"),
        ("good-connserver", "connserver", "2"),
        ("good-json", "json", "2"),
        ("good-xml", "xml", "2"),
    ] {
        let outcome = run(name, protocol, generators, Fault::None);
        assert_eq!(faults(&outcome), [0; 6], "{protocol}");
        assert_eq!(outcome.count("deliveries"), outcome.count("messages_sent") * MEMBERS);
        assert_eq!(outcome.report["users_per_core"], Value::Null, "it has no shards");
        assert_eq!(outcome.report["pinning"]["server"], serde_json::json!([]));
        assert_eq!(outcome.report["server_turns_per_s"], Value::Null, "it has no metrics");
    }
}

#[test]
fn each_planted_fault_is_found_and_fails_the_run() {
    let faults_expected = [
        ("lose", Fault::Lose, [1, 0, 0, 1, 1, 0]),
        ("double", Fault::Double, [0, 1, 0, 1, 1, 0]),
        ("damage", Fault::Damage, [1, 0, 1, 1, 1, 0]),
        ("misdeliver", Fault::Misdeliver, [0, 0, 1, 0, 0, 0]),
        ("rename", Fault::Rename, [1, 0, 1, 1, 1, 0]),
        ("swap", Fault::Swap, [0, 0, 0, 1, 1, 0]),
    ];
    // At the same time, because who misses a message waits for it.
    std::thread::scope(|scope| {
        for (name, fault, expected) in faults_expected {
            scope.spawn(move || check_found(name, fault, expected));
        }
    });
}

/// The fault fails the run. Faults are counted exactly; how often a disorder shows depends on how a
/// room's members are spread over the generators.
fn check_found(name: &str, fault: Fault, expected: [u64; 6]) {
    let outcome = run(name, "json", "2", fault);
    assert_eq!(outcome.status, 1, "{name}");
    for (key, value) in [
        ("verdict", Value::from("fail")),
        ("limited_by", Value::from("integrity")),
        ("users_per_core", Value::Null),
    ] {
        assert_eq!(outcome.report[key], value, "{name}: {key}");
    }
    let found = faults(&outcome);
    assert_eq!(found[..3], expected[..3], "{name}: {found:?}");
    assert_eq!(found.map(|count| count.min(1)), expected, "{name}: {found:?}");
}

#[test]
fn a_lost_connection_and_a_refused_message_fail_the_run() {
    let outcome = run("hang-up", "json", "1", Fault::HangUp);
    assert_eq!((outcome.status, outcome.count("disconnects")), (1, 1));
    let outcome = run("refuse", "json", "1", Fault::Refuse);
    assert_eq!((outcome.status, outcome.count("lost")), (1, MEMBERS));
    assert_eq!(outcome.report["refused"]["busy (503)"], 1);
}

#[test]
fn a_server_that_is_not_there_is_no_verdict() {
    let status = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
        .args(["run", "chat", "--users", "1", "--connect", "127.0.0.1:1", "--no-floor"])
        .output()
        .unwrap()
        .status;
    assert_eq!(status.code(), Some(2));
}
