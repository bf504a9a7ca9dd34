//! The search for the highest number of users: against Warren, and against a server with a fault.

use std::process::Command;

use serde_json::Value;

use crate::faulty_server::{Behaviour, Fault, FaultyServer};
use crate::{report_path, server_program};

/// Exit status, report and table of a search.
fn search(name: &str, arguments: &[&str]) -> (i32, Value, String) {
    let path = report_path(name);
    let output = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
        .args(["search", "chat", "--duration", "2", "--warm-up", "0", "--room-size", "16"])
        .args(arguments)
        .args(["--json".as_ref(), path.as_os_str()])
        .output()
        .unwrap();
    let status = output.status.code().unwrap();
    assert_ne!(status, 2, "{}", String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    (status, report, String::from_utf8(output.stdout).unwrap())
}

fn users(report: &Value) -> Vec<u64> {
    let steps = report["steps"].as_array().unwrap().iter();
    steps.map(|step| step["users"].as_u64().unwrap()).collect()
}

#[test]
fn the_highest_number_that_warren_holds_is_found_up_to_what_was_asked_for() {
    server_program();
    let page_path = report_path("search-page").with_extension("html");
    let page_option = format!("--html={}", page_path.display());
    let (status, report, table) = search(
        "search-warren",
        &["--users", "16", "--users-max", "40", "--tries", "4", &page_option],
    );
    let page = std::fs::read_to_string(&page_path).unwrap();
    std::fs::remove_file(page_path).unwrap();
    assert!(page.contains("aria-label=\"Latency by users\""), "{page}");
    // A busy machine may be too slow for the bounds, and has no other excuse.
    if report["limited_by"] == "users-max" {
        assert_eq!((status, users(&report).last()), (0, Some(&40)), "{report}");
        assert_eq!(report["users_per_core"].as_f64(), Some(40.0), "{report}");
        assert!(table.contains("40 users held, more limited by users-max"), "{table}");
    } else {
        let limit = report["limited_by"].as_str().unwrap();
        assert!(matches!(limit, "latency" | "generator"), "{report}");
    }
    // The last try has the cores that the first had.
    let cores = &report["pinning"]["server"][0];
    let others = std::thread::available_parallelism().unwrap().get() > 1;
    assert_eq!(&report["pinning"]["generators"][0] != cores, others, "{report}");
    for step in report["steps"].as_array().unwrap() {
        assert!(step["server_cpu_us_per_user_s"].as_f64().unwrap() > 0.0, "{report}");
    }
}

#[test]
fn a_number_that_is_not_held_is_tried_again_and_the_time_is_kept() {
    let behaviour = Behaviour { fault: Fault::Lose, heartbeat_ns: 10_000_000_000, presence: false };
    let address = FaultyServer::start(behaviour).address().to_string();
    let options = ["--users", "16", "--users-max", "16", "--connect", &address];
    let protocol = ["--protocol", "json", "--generators", "2"];
    let (_, report, table) = search("search-again", &[&options[..], &protocol].concat());
    // The fault comes once; the harness waits for what was lost.
    assert_eq!(users(&report)[..2], [16, 16], "{report}");
    assert_eq!(report["steps"][0]["limited_by"], "integrity", "{report}");
    assert_ne!(report["steps"][1]["limited_by"], "integrity", "{report}");
    assert!(report["users_per_core"].is_null(), "it has no known cores: {report}");
    assert!(table.contains("not held\n"), "{table}");

    let address = FaultyServer::start(behaviour).address().to_string();
    let options = ["--users", "16", "--connect", &address, "--time", "1"];
    let (status, report, _) = search("search-time", &[&options[..], &protocol].concat());
    assert_eq!((status, users(&report)), (1, vec![16]), "{report}");
    assert_eq!((&report["limited_by"], &report["finished"]), (&"integrity".into(), &false.into()));
    assert!(report["users_held"].is_null(), "{report}");
}
