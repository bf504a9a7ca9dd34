//! Attacks at their smoke size: what attackers hear is what the server counts, and those who chat
//! beside them lose nothing.

use std::process::Command;

use serde_json::Value;

use crate::{report_path, server_program};

fn attack(scenario: &str) -> Value {
    let path = report_path(&format!("attack-{scenario}"));
    let output = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
        .args(["attack", "--scenario", scenario, "--users", "16", "--duration", "3"])
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
