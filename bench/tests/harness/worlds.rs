//! The profiles `walk`, `open-world` and `ai`: smoke sizes, and what they do not take. Faults in frames are
//! planted where frames are read (`generator/worlds/tests.rs`, `generator/watcher/tests.rs`).

use std::process::Command;

use serde_json::Value;

use crate::{Outcome, faults, harness_of_size, server_program};

const TIMES: [&str; 4] = ["--duration", "2", "--warm-up", "1"];

/// Nothing was lost and the figures are there; how large they are is not for a test.
fn check(name: &str, outcome: &Outcome, users: f64) {
    let report = &outcome.report;
    // A machine that is busy for longer than the bound makes copies old and ticks late, and has no other excuse.
    let late = report["limited_by"] == "latency" || report["limited_by"] == "npcs";
    let slow = outcome.status == 3 || late || is_stalled(report);
    assert!(outcome.status == 0 || slow, "{name}: status {} of {report}", outcome.status);
    let found = faults(outcome);
    assert_eq!(found[1..], [0; 5], "{name}: {report}");
    assert!(found[0] == 0 || slow, "{name}: {report}");
    let worlds = &report["worlds"];
    let rate = |key: &str| worlds[key].as_f64().unwrap_or_else(|| panic!("{key} in {worlds}"));
    assert!(outcome.count("messages_sent") as f64 > users * 25.0, "{name}: {report}");
    assert!(outcome.count("deliveries_measured") > 0 && report["latency_sample"] == 1.0, "{name}");
    assert!(rate("frames_per_member_s") > 5.0, "{name}: {worlds}");
    assert!(rate("entities_per_member_s") > 5.0 * 20.0, "{name}: {worlds}");
    assert!(rate("bytes_per_member_s") > 9.0 * rate("entities_per_member_s"), "{name}: {worlds}");
    assert_eq!(worlds["members_watched"].as_f64(), Some(users), "{name}");
    assert_eq!(worlds["bytes_per_member_s_max"], 65_536, "{name}");
}

/// Whether a generator or the server did not run for so long that a tick was due meanwhile.
fn is_stalled(report: &Value) -> bool {
    let late_us = report["generator_lateness_us"]["max"].as_f64().unwrap();
    let ticks = &report["worlds"]["server"];
    late_us > 40_000.0 || ["ticks_late", "ticks_skipped"].iter().any(|key| ticks[key] != 0)
}

#[test]
fn warren_and_the_floor_hold_the_smoke_size_of_walk() {
    server_program();
    for (name, shards, generators) in [("walk-1", "1", "1"), ("walk-2", "2", "2")] {
        let arguments = ["run", "walk", "--users", "60", "--room-size", "30"];
        let cores = ["--shards", shards, "--generators", generators];
        let outcome = harness_of_size(name, &[&arguments[..], &cores, &TIMES].concat());
        check(name, &outcome, 60.0);
        let server = &outcome.report["worlds"]["server"];
        // Two worlds with ten ticks a second, each a frame for all of its members.
        assert!(server["ticks"].as_u64().unwrap() > 20, "{server}");
        assert!(server["moves"].as_u64().unwrap() > 600, "{server}");
        assert!(server["frames"].as_u64().unwrap() > 600, "{server}");
        assert!(outcome.report["floor"]["server_cpu_us_per_user_s"].as_f64().unwrap() > 0.0);
    }
    let floor = harness_of_size(
        "floor-walk",
        &[&["floor", "walk", "--users", "60", "--room-size", "30"][..], &TIMES].concat(),
    );
    check("floor-walk", &floor, 60.0);
}

#[test]
fn warren_holds_the_smoke_size_of_open_world() {
    server_program();
    let arguments = ["run", "open-world", "--users", "200", "--shards", "2", "--generators", "2"];
    let outcome = harness_of_size("open-world", &[&arguments[..], &TIMES].concat());
    check("open-world", &outcome, 200.0);
    assert!(outcome.report["worlds"]["side_cells"].as_u64().unwrap() > 3);
    assert_eq!(outcome.report["floor"], Value::Null);
    assert_eq!(outcome.report["worlds"]["moves_taken"], outcome.report["messages_sent"]);
}

#[test]
fn warren_holds_the_smoke_size_of_ai() {
    server_program();
    let arguments = ["run", "ai", "--users", "60", "--room-size", "30"];
    let cores = ["--shards", "2", "--generators", "2"];
    let outcome = harness_of_size("ai", &[&arguments[..], &cores, &TIMES].concat());
    let report = &outcome.report;
    check("ai", &outcome, 60.0);
    let ai = &report["worlds"]["ai"];
    // Two worlds with ten ticks a second; nine NPCs in ten never stand.
    assert_eq!(ai["npcs_per_world"], 120);
    assert!(ai["npcs_per_member_s"].as_f64().unwrap() > 5.0 * 100.0, "{ai}");
    assert_eq!([&ai["npcs_missing"], &ai["npcs_still"]], [0, 0], "{ai}");
    assert!(ai["npcs_on_time"].as_f64().unwrap() > 0.0, "{ai}");
    assert!(ai["lines_sent"].as_u64().unwrap() >= 60, "{ai}");
    assert!(ai["line_latency_us"]["p50"].as_f64().unwrap() > 0.0, "{ai}");
    assert!(report["worlds"]["server"]["npc_updates"].as_u64().unwrap() > 1_000, "{report}");
    assert_eq!(report["floor"], Value::Null);
}

#[test]
fn what_worlds_are_not_played_with_is_refused() {
    for arguments in [
        &["run", "walk", "--users", "8", "--protocol", "json"][..],
        &["run", "open-world", "--users", "8", "--room-size", "8"],
        &["run", "open-world", "--users", "65536"],
        &["floor", "open-world", "--users", "8"],
        &["floor", "ai", "--users", "8"],
        &["run", "ai", "--users", "8", "--protocol", "xml"],
    ] {
        let program = Command::new(env!("CARGO_BIN_EXE_warren-bench"));
        let status = { program }.args(arguments).output().unwrap().status;
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}
