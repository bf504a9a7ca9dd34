//! `warren doctor` and `warren check-config`: this machine, and faults that can be made on it.

use std::process::{Command, Output};

use serde_json::Value;

use crate::server::{TestServer, command};

/// Where nothing listens, and addresses of this process alone.
const FREE: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

fn examined(output: &Output) -> Value {
    let text = str::from_utf8(&output.stdout).unwrap();
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn doctor(arguments: &[&str]) -> Output {
    command(&["doctor", "--json"]).args(arguments).output().unwrap()
}

/// Whether there is such a row, however it ended.
pub(crate) fn has_row(output: &Output, check: &str) -> bool {
    examined(output)["rows"].as_array().unwrap().iter().any(|row| row["check"] == check)
}

#[track_caller]
pub(crate) fn check_row(output: &Output, check: &str, verdict: &str, seen: &str) {
    let report = examined(output);
    let rows = report["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["check"] == check).unwrap();
    assert_eq!(row["verdict"], verdict, "{row}");
    assert!(row["seen"].as_str().unwrap().contains(seen), "{row}");
    assert_eq!(row["remedy"].is_null(), verdict == "pass", "{row}");
    let expected = if report["verdict"] == "fail" { 71 } else { 0 };
    assert_eq!(output.status.code(), Some(expected), "{report}");
}

#[test]
fn this_machine_can_run_a_server() {
    let output = doctor(&FREE);
    assert_eq!(output.status.code(), Some(0), "{}", examined(&output));
    for check in ["kernel", "io-uring-setup", "io-uring-ring-messages", "rings", "listen"] {
        check_row(&output, check, "pass", "");
    }
    let text = command(&["doctor"]).args(FREE).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.lines().last().unwrap().ends_with(" 0 failed"), "{text}");
}

#[test]
fn a_low_limit_on_descriptors_is_found() {
    let warren = env!("CARGO_BIN_EXE_warren");
    let script = format!("ulimit -n 256; exec {warren} doctor --json --shards 2 \"$@\"");
    let output = Command::new("sh").args(["-c", &script, "sh"]).args(FREE).output().unwrap();
    check_row(&output, "descriptors", "fail", "hard limit 256");
    check_row(&output, "rings", "fail", "2 rings of");
}

#[test]
fn a_busy_address_is_found() {
    let server = TestServer::start(1);
    let (listen, admin) = (server.listen.to_string(), server.admin.to_string());
    let output = doctor(&["--listen", &listen, "--admin", &admin]);
    check_row(&output, "listen", "fail", &listen);
    check_row(&output, "admin", "fail", &admin);
}

#[test]
fn data_folders_are_examined_and_left_as_they_were() {
    let name = format!("warren-doctor-data-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let data = ["--data", folder.to_str().unwrap()];
    check_row(&doctor(&[&FREE[..], &data].concat()), "data-folder", "pass", "can be made");
    assert!(!folder.exists());

    let mut serve = command(&["serve", "--shards", "1"]);
    serve.args(FREE).args(data);
    let server = TestServer::spawn(serve);
    let process = format!("process {}", server.pid());
    let output = doctor(&[&FREE[..], &data].concat());
    check_row(&output, "data-folder", "fail", &process);
    server.stop();
    check_row(&doctor(&[&FREE[..], &data].concat()), "data-folder", "pass", "nobody has it");
    let left: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
    std::fs::remove_dir_all(&folder).unwrap();

    // Not even root makes folders there.
    let output = doctor(&[&FREE[..], &["--data", "/proc/warren"]].concat());
    check_row(&output, "data-folder", "fail", "cannot be written");
    check_row(&doctor(&[&FREE[..], &["--data", "/dev/null"]].concat()), "data-folder", "fail", "");
    let output = doctor(&[&FREE[..], &["--data", "/dev/shm/warren"]].concat());
    check_row(&output, "data-file-system", "warn", "tmpfs");
}

#[test]
fn a_configuration_is_checked_and_shown() {
    let shown = command(&["check-config", "--shards", "2", "--json"]).output().unwrap();
    assert_eq!(shown.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let keys = report["keys"].as_array().unwrap();
    let shards = keys.iter().find(|key| key["key"] == "server.shards").unwrap();
    assert_eq!((&shards["value"], &shards["source"]), (&2.into(), &"command line".into()));

    let path = std::env::temp_dir().join(format!("warren-check-{}.toml", std::process::id()));
    let text = command(&["check-config"]).output().unwrap();
    std::fs::write(&path, &text.stdout).unwrap();
    let again = command(&["check-config", "--config", path.to_str().unwrap()]).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "what is shown is a configuration file");
    std::fs::write(&path, "[limits]\nconnections_max = 0\n").unwrap();
    for report in ["check-config", "doctor"] {
        let refused = command(&[report, "--config", path.to_str().unwrap()]).output().unwrap();
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(78), 0), "{told}");
        assert!(told.contains(".toml:2:19: `limits.connections_max` is 0"), "{told}");
    }
    std::fs::remove_file(path).unwrap();
}
