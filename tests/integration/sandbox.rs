//! The files of `deploy`, and servers under real seccomp filters.

use std::path::Path;
use std::process::{Command, Output};

use seccompiler::{BpfProgram, TargetArch, apply_filter, compile_from_json};
use serde_json::{Value, json};

use crate::admin::TestFolder;
use crate::client::Client;
use crate::reports::{check_row, has_row};
use crate::server::{TestServer, command};

const EPERM: u32 = 1;

fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A filter by which `listed` calls end in one way and all others in the other.
fn filter(listed: &[&str], listed_action: Value, other_action: Value) -> BpfProgram {
    let rules: Vec<Value> = listed.iter().map(|name| json!({ "syscall": name })).collect();
    let filters = json!({
        "it": { "mismatch_action": other_action, "match_action": listed_action, "filter": rules },
    });
    let compiled = compile_from_json(filters.to_string().as_bytes(), TargetArch::x86_64);
    compiled.unwrap().remove("it").unwrap()
}

/// Does it on a thread under the filter, which the processes that it starts inherit.
fn under<T: Send>(filter: &BpfProgram, action: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            apply_filter(filter).unwrap();
            action()
        });
        thread.join().unwrap()
    })
}

fn output_under(filter: &BpfProgram, mut command: Command) -> Output {
    under(filter, || command.output().unwrap())
}

#[test]
fn a_filter_without_io_uring_is_told_with_the_remedy() {
    let calls = ["io_uring_setup", "io_uring_enter", "io_uring_register"];
    for errno in [EPERM, 38] {
        let filter = filter(&calls, json!({ "errno": errno }), json!("allow"));
        let free = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let mut doctor = command(&["doctor", "--json"]);
        doctor.args(free);
        let output = output_under(&filter, doctor);
        check_row(&output, "seccomp", "fail", "no io_uring");
        check_row(&output, "io-uring-setup", "fail", &format!("error {errno}"));
        check_row(&output, "io-uring-ring-messages", "warn", "not tried");
        check_row(&output, "rings", "fail", "rings of");
        let mut serve = command(&["serve"]);
        serve.args(free);
        let output = output_under(&filter, serve);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(71), "{told}");
        assert!(told.contains("ring-unavailable") && told.contains("seccomp"), "{told}");
    }
}

/// The container's profile as a filter: what it does not list fails with its error number.
fn profile() -> BpfProgram {
    let profile: Value = serde_json::from_str(&deployed("seccomp.json")).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let mut names = Vec::new();
    for group in profile["syscalls"].as_array().unwrap() {
        assert_eq!(group["action"], "SCMP_ACT_ALLOW", "{group}");
        names.extend(group["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()));
    }
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), names.len(), "a call is listed once");
    filter(&names, json!("allow"), json!({ "errno": profile["defaultErrnoRet"] }))
}

#[test]
fn a_server_lives_under_the_container_s_profile() {
    let name = format!("warren-sandbox-data-{}", std::process::id());
    let data = std::env::temp_dir().join(name);
    let profile = profile();
    let server = under(&profile, || {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "2", "--data"]).arg(&data);
        TestServer::spawn(serve)
    });
    let mut clients: Vec<Client> =
        (0..8).map(|index| Client::log_in(server.listen, &format!("u{index}"))).collect();
    for client in &mut clients {
        client.join("r");
    }
    clients[0].send("{\"msg\":\"chat\",\"to\":\"r\",\"text\":\"hi\"}\n");
    for client in &mut clients {
        assert_eq!(client.heard("chat")["text"], "hi");
    }
    assert_eq!(server.get("/livez").0, 200);
    server.metric_becomes("warren_sessions", "", 8);
    drop(clients);
    server.stop();

    let mut doctor = command(&["doctor", "--json", "--listen", "127.0.0.1:0"]);
    doctor.args(["--admin", "127.0.0.1:0", "--data"]).arg(&data);
    let output = output_under(&profile, doctor);
    check_row(&output, "seccomp", "pass", "a filter that allows io_uring");
    assert!(has_row(&output, "data-free-space"));
    std::fs::remove_dir_all(data).unwrap();

    // It is a real bound: what it does not list, a namespace, cannot be had.
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "true"]);
        command
    };
    if unshare().output().is_ok_and(|output| output.status.success()) {
        assert!(!output_under(&profile, unshare()).status.success());
    } else {
        println!("not tried: this machine gives namespaces to nobody");
    }
}

#[test]
fn a_backup_is_made_and_restored_under_the_container_s_profile() {
    let folder = TestFolder::new();
    let (data, backup) = (folder.0.join("data"), folder.0.join("backup"));
    let profile = profile();
    let start = |data: &Path| {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "2", "--data"]).arg(data);
        under(&profile, || TestServer::spawn(serve))
    };
    let run = |command: &mut Command| {
        let output = under(&profile, || command.output().unwrap());
        assert!(output.status.success(), "{output:?}");
    };
    let server = start(&data);
    let mut client = Client::log_in(server.listen, "ann");
    client.send("{\"msg\":\"create\",\"kind\":\"sword\",\"ack\":\"durable\"}\n");
    let sword = client.reply("create")["object"].clone();
    let mut order = command(&["backup", "--admin", &server.admin.to_string(), "--data"]);
    run(order.arg(&data).arg(&backup));
    server.stop();
    let restored = folder.0.join("restored");
    run(command(&["restore"]).arg(&backup).arg("--data").arg(&restored));
    let server = start(&restored);
    let mut client = Client::log_in(server.listen, "bob");
    client.send(format!("{}\n", json!({ "msg": "get", "object": sword })));
    assert_eq!(client.reply("get")["status"], 0);
    server.stop();
}

#[test]
fn workers_live_under_the_container_s_profile() {
    let folder = TestFolder::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/workers/worker.py");
    let config = format!(
        "[workers.game]\ncommand = [\"python3\", {script:?}]\nmemory_bytes_max = 268435456\n\
         [tasks]\nmethods = [\"hit\"]\n"
    );
    let config = folder.file("warren.toml", &config);
    let server = under(&profile(), || {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "2", "--config"]).arg(config);
        TestServer::spawn(serve)
    });
    let mut client = Client::log_in(server.listen, "ann");
    client.send("{\"msg\":\"hit\",\"number\":1}\n");
    assert_eq!(client.reply("hit")["status"], 0);
    server.stop();
}

/// The values of a setting of the unit, in order.
fn unit_values<'a>(unit: &'a str, setting: &str) -> Vec<&'a str> {
    let values = unit.lines().filter_map(|line| line.strip_prefix(setting)?.strip_prefix('='));
    values.collect()
}

#[test]
fn the_unit_starts_what_this_program_understands() {
    let unit = deployed("warren.service");
    let [start] = unit_values(&unit, "ExecStart")[..] else { panic!("one command") };
    let words: Vec<&str> = start.split(' ').collect();
    let ["/usr/local/bin/warren", "serve", "--config", "/etc/warren/warren.toml", ref rest @ ..] =
        words[..]
    else {
        panic!("another command: {start}")
    };
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/warren.toml");
    let output =
        command(&["check-config", "--json", "--config", config]).args(rest).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    // What the unit promises is what the server does.
    assert_eq!(unit_values(&unit, "Type"), ["notify"]);
    assert_eq!(unit_values(&unit, "KillMode"), ["mixed"], "it asks its workers itself");
    assert_eq!(unit_values(&unit, "RestartPreventExitStatus"), ["2 65 78"]);
    assert!(unit_values(&unit, "ExecReload")[0].ends_with("-HUP $MAINPID"));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let folder = report["keys"].as_array().unwrap().iter().find(|key| key["key"] == "server.data");
    let state = format!("/var/lib/{}", unit_values(&unit, "StateDirectory")[0]);
    assert_eq!(folder.unwrap()["value"], state.as_str());
    let allowed = unit_values(&unit, "SystemCallFilter")[0];
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(allowed.split(' ').any(|name| name == call), "{allowed}");
    }
}
