//! Attacks at their smoke size: what attackers hear is what the server counts, and those who chat or walk
//! beside them lose nothing.

use std::process::Command;

use serde_json::Value;

use crate::{report_path, server_program};

fn attack(scenario: &str) -> Value {
    attack_beside(scenario, "16")
}

fn attack_beside(scenario: &str, users: &str) -> Value {
    let path = report_path(&format!("attack-{scenario}"));
    let output = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
        .args(["attack", "--scenario", scenario, "--users", users, "--duration", "3"])
        .args(["--warm-up", "2", "--rounds", "1", "--json"])
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(2), "it could not be run: {text}");
    let report: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    report["scenarios"][0].clone()
}

#[test]
fn who_sends_what_is_no_login_hears_why_and_nobody_else_is_hurt() {
    server_program();
    let report = attack("first-packets");
    let reasons = &report["attack"]["reasons"];
    for (packet, reason) in [
        ("noise", "unknown-protocol"),
        ("SSH", "unknown-protocol"),
        ("JSON, a chat", "not-logged-in"),
    ] {
        assert!(reasons[packet][reason].as_u64() > Some(0), "{packet}: {reasons}");
        let counted: u64 =
            report["counted"][reason].as_array().unwrap().iter().filter_map(Value::as_u64).sum();
        assert!(counted > 0, "{reason}");
    }
    for phase in ["baseline", "attacked"] {
        assert_eq!((&report[phase]["lost"], &report[phase]["disconnects"]), (&0.into(), &0.into()));
    }
    // Latencies of so few, beside other tests, are no measure.
    assert_eq!(report["faults"], Value::Array(Vec::new()));
}

#[test]
fn whoever_attacks_from_within_a_world_is_seen_there_and_hurts_nobody() {
    server_program();
    for (scenario, closed_for) in [
        ("world-slow-reader", None),
        ("world-flooder", Some("message-rate")),
        ("world-teleporter", None),
    ] {
        let report = attack_beside(scenario, "100");
        let attack = &report["attack"];
        assert_eq!((&report["profile"], &report["users"]), (&"open-world".into(), &100.into()));
        assert!(attack["steps"].as_u64() > Some(10), "{scenario}: {attack}");
        let seen = |phase: &str| report[phase]["attackers_seen"].as_u64().unwrap();
        assert!(seen("baseline") == 0 && seen("attacked") > 0, "{scenario}: {report}");
        for phase in ["baseline", "attacked"] {
            let hurt = (&report[phase]["disconnects"], &report[phase]["refused"]);
            assert_eq!(hurt, (&0.into(), &serde_json::json!({})), "{scenario}");
        }
        if let Some(reason) = closed_for {
            assert!(attack["reasons"]["all"][reason].as_u64() > Some(0), "{scenario}: {attack}");
            assert!(attack["closed_told"].as_u64() > Some(0), "{scenario}: {attack}");
        }
        // A busy machine may tell of somebody later than the bound, and has no other excuse.
        let faults = report["faults"].as_array().unwrap();
        let is_late = |fault: &Value| fault.as_str().unwrap().contains("legal users lost");
        assert!(faults.iter().all(is_late), "{scenario}: {faults:?}");
    }
}

#[test]
fn who_walks_beside_an_attack_speaks_binary() {
    let arguments = ["attack", "--scenario", "world-flooder", "--protocol", "json"];
    let output = Command::new(env!("CARGO_BIN_EXE_warren-bench")).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("binary"));
}
