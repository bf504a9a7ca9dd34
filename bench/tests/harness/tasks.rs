//! The command `tasks`: the smoke size with workers of its own, in a loop and at a rate.

use std::process::Command;

use serde_json::Value;

use crate::report_path;

/// Its exit status and its report.
fn tasks(name: &str, arguments: &[&str]) -> (i32, Value) {
    let path = report_path(name);
    let output = Command::new(env!("CARGO_BIN_EXE_warren-bench"))
        .args(["tasks", "--users", "2", "--targets", "16", "--duration", "1", "--warm-up", "1"])
        .args(arguments)
        .args(["--json".as_ref(), path.as_os_str()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let status = output.status.code().unwrap_or_else(|| panic!("it was ended: {text}"));
    assert_ne!(status, 2, "it could not be run: {text}");
    let report = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    (status, report)
}

#[test]
fn each_task_is_answered_and_counted_once() {
    for (name, pace) in [("tasks-loop", &[][..]), ("tasks-rate", &["--rate", "200"])] {
        let (status, report) = tasks(name, &[&["--workers", "2"], pace].concat());
        let count = |key: &str| report[key].as_u64().unwrap_or_else(|| panic!("{key}: {report}"));
        assert_eq!((count("lost"), count("doubled"), count("refused")), (0, 0, 0), "{report}");
        assert!(count("answered") > 0, "{report}");
        assert!(report["latency_us"]["p99"].is_f64(), "{report}");
        assert_eq!(status, 0, "{report}");
        if !pace.is_empty() {
            // One second at that rate.
            assert_eq!(count("answered"), 200, "{report}");
        }
    }
}
