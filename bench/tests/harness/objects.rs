//! The command `objects`: the smoke size, and servers that do not do what they have to.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::{report_path, server_program};

const COUNT: u64 = 2_000;

fn objects(name: &str, server: &Path) -> (Output, Option<Value>) {
    let path = report_path(name);
    let output = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
        .args(["objects", "--count", "2000", "--users", "16", "--duration", "2", "--warm-up", "1"])
        .args(["--server".as_ref(), server.as_os_str()])
        .args(["--json".as_ref(), path.as_os_str()])
        .output()
        .unwrap();
    let report = std::fs::read(&path).ok().map(|json| serde_json::from_slice(&json).unwrap());
    if report.is_some() {
        std::fs::remove_file(&path).unwrap();
    }
    (output, report)
}

#[test]
fn objects_outlive_servers_and_are_stored_under_chat() {
    let (output, report) = objects("objects", &server_program());
    let text = String::from_utf8_lossy(&output.stderr);
    let report = report.unwrap_or_else(|| panic!("no report: {text}"));
    let chats = report["chats"].as_array().unwrap();
    // A busy machine may be too slow for the bounds of the chat, and has no other excuse.
    let status = output.status.code().unwrap();
    let slow = |reason: &Value| {
        let reason = reason.as_str().unwrap();
        reason.contains("latency: ") || reason.contains("generator")
    };
    let reasons = report["reasons"].as_array().unwrap();
    assert!(reasons.iter().all(slow), "{reasons:?}");
    assert_eq!(status == 0, reasons.is_empty(), "status {status}: {reasons:?}");
    let names: Vec<&Value> = chats.iter().map(|chat| &chat["name"]).collect();
    assert_eq!(names, ["quiet", "changing", "storing"]);
    for chat in chats {
        assert!(chat["latency_us"]["p99"].is_f64(), "{chat}");
        assert!(chat["long_turns"]["turns"].as_u64().unwrap() > 0, "{chat}");
    }
    let starts = report["starts"].as_array().unwrap();
    for pair in starts.windows(2) {
        assert_eq!(pair[0]["stored"], pair[1]["loaded"]);
        assert!(pair[1]["loaded"]["objects"].as_u64().unwrap() >= COUNT);
    }
    assert_eq!(starts.len(), 3);
    for key in ["state_bytes_per_object", "data_bytes_per_object", "creates_per_s", "start_up_s"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key} in {report}");
    }
    let record_bytes = report["record_bytes_per_object"].as_f64().unwrap();
    assert!((80.0..120.0).contains(&record_bytes), "{record_bytes}");
}

/// A server that runs another one, and then spoils what the harness is to look at.
fn spoilt(name: &str, script: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("warren-{name}-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let program = folder.join("warren");
    let text = format!("#!/bin/sh\nWARREN={}\n{script}", server_program().display());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[test]
fn a_server_that_forgets_its_objects_fails() {
    // Its data folder is the argument behind `--data`: what is in it is gone at each start.
    let script = "for word; do [ \"$last\" = --data ] && rm -rf \"$word\"; last=$word; done\n\
                  exec \"$WARREN\" \"$@\"\n";
    let program = spoilt("forgetful", script);
    let (output, _) = objects("forgetful", &program);
    let text = String::from_utf8_lossy(&output.stderr);
    // The objects cannot even be changed.
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("unknown-object"), "{text}");
    std::fs::remove_dir_all(program.parent().unwrap()).unwrap();
}

#[test]
fn a_server_that_refuses_objects_is_no_verdict() {
    let script = "for last; do :; done\n\
                  sed -i '/connections_max/a limits.state_bytes_max = 1048576' \"$last\"\n\
                  exec \"$WARREN\" \"$@\"\n";
    let program = spoilt("full", script);
    let (output, report) = objects("full", &program);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), report), (Some(2), None), "{text}");
    assert!(text.contains("server-full"), "{text}");
    std::fs::remove_dir_all(program.parent().unwrap()).unwrap();
}
