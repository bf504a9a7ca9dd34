//! What an operator and a service manager do with a running server: signals, notifications, logs.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::client::{Client, PATIENCE};
use crate::server::{TestServer, command, send_signal, unique};

const HANGUP: i32 = 1;
const INTERRUPT: i32 = 2;
const QUIT: i32 = 3;
const USER_ONE: i32 = 10;
const USER_TWO: i32 = 12;
const PIPE: i32 = 13;
const TERMINATE: i32 = 15;

/// A path in the folder for temporary files, removed with its test.
pub(crate) struct TestPath(pub(crate) PathBuf);

impl TestPath {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("warren-{name}-{}-{}", std::process::id(), unique());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for TestPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn serve(config: &TestPath) -> Command {
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--shards", "2", "--config"]).arg(&config.0);
    command
}

/// A server whose log is JSON and can be read, and its configuration file.
fn logging_server(level: &str) -> (TestServer, TestPath) {
    let config = TestPath::new("config");
    write_config(&config, level, "");
    let mut command = serve(&config);
    command.stderr(Stdio::piped());
    (TestServer::spawn(command), config)
}

fn write_config(config: &TestPath, level: &str, more: &str) {
    let text = format!("[log]\nformat = \"json\"\nlevel = \"{level}\"\n{more}");
    std::fs::write(&config.0, text).unwrap();
}

#[test]
fn sighup_reads_the_configuration_again() {
    let (mut server, config) = logging_server("info");
    write_config(&config, "debug", "[limits]\nroom_grace_ms = 1\n");
    server.signal(HANGUP);
    let read = server.logged("read the configuration again");
    assert_eq!((&read["level"], &read["log_level"]), (&"INFO".into(), &"DEBUG".into()));
    let waiting = server.logged("these keys hold from the next start on");
    assert!(waiting["keys"].as_str().unwrap().contains("limits.room_grace_ms"), "{waiting}");
    // The new level holds: closes are told at debug.
    drop(Client::log_in(server.listen, "ann"));
    let closed = server.logged("closed");
    assert_eq!((&closed["level"], &closed["protocol"]), (&"DEBUG".into(), &"json".into()));
    assert_eq!(closed["reason"], "peer-closed", "{closed}");
    assert!(closed["threadName"].as_str().unwrap().starts_with("shard-"), "{closed}");

    std::fs::write(&config.0, "[log]\nlevel = 7\n").unwrap();
    server.signal(HANGUP);
    let refused = server.logged("the configuration is not valid: nothing is changed");
    assert!(refused["error"].as_str().unwrap().contains(":2:9:"), "{refused}");
    assert_eq!(server.get("/readyz").0, 200);
    server.stop();
}

#[test]
fn signals_that_do_not_stop_it_are_told_and_every_line_of_a_life_is_json() {
    let (mut server, _config) = logging_server("debug");
    server.logged("serving");
    let _client = Client::log_in(server.listen, "ann");
    server.metric_becomes("warren_sessions", "", 1);
    server.signal(QUIT);
    let states = [server.logged("state"), server.logged("state")];
    for (index, state) in states.iter().enumerate() {
        assert_eq!((&state["phase"], &state["shard"]), (&"serving".into(), &index.into()));
    }
    let sessions = states.iter().map(|state| state["sessions"].as_u64().unwrap());
    assert_eq!(sessions.sum::<u64>(), 1);
    server.signal(PIPE);
    for (signal, name) in [(USER_ONE, "SIGUSR1"), (USER_TWO, "SIGUSR2")] {
        server.signal(signal);
        let message = match signal {
            USER_ONE => "the log is standard error: there is no file to reopen",
            _ => "this signal means nothing here; SIGTERM drains and stops",
        };
        assert_eq!(server.logged(message)["signal"], name);
    }
    assert_eq!(server.get("/readyz").0, 200);
    server.signal(TERMINATE);
    let (status, rest) = server.wait_and_read_log();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert!(rest.iter().any(|line| line["message"] == "draining"), "{rest:?}");
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    for (first, second, expected) in
        [(TERMINATE, TERMINATE, 143), (INTERRUPT, INTERRUPT, 130), (TERMINATE, INTERRUPT, 130)]
    {
        let (mut server, _config) = logging_server("info");
        // It keeps its side open, and the drain waiting.
        let _silent = Client::log_in(server.listen, "silent");
        server.signal(first);
        server.logged("draining");
        server.signal(second);
        let (status, rest) = server.wait_and_read_log();
        assert_eq!((status.code(), status.signal()), (Some(expected), None));
        // What was logged last is not lost.
        assert_eq!(rest.last().unwrap()["message"], "stopped before the drain ended", "{rest:?}");
    }
}

#[test]
fn a_demo_ends_with_its_terminal() {
    let data = TestPath::new("demo");
    let mut command = command(&["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.arg("--data").arg(&data.0);
    let server = TestServer::spawn(command);
    server.signal(HANGUP);
    assert_eq!(server.wait().signal(), Some(HANGUP));
}

#[test]
fn what_ends_a_server_is_in_its_json_log() {
    let busy = TestServer::start(1);
    let config = TestPath::new("config");
    write_config(&config, "info", "");
    // Shards share an address with each other, and with no other server.
    let mut command = command(&["serve", "--admin", "127.0.0.1:0"]);
    command.arg("--listen").arg(busy.listen.to_string()).arg("--config").arg(&config.0);
    let output = command.output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(output.status.code(), Some(71), "{log}");
    assert_eq!((&last["reason"], &last["status"]), (&"listen-failed".into(), &71.into()), "{log}");
}

/// The service manager's side of the notifications.
struct ServiceManager {
    socket: UnixDatagram,
    path: TestPath,
}

impl ServiceManager {
    fn start() -> Self {
        let path = TestPath::new("notify");
        let socket = UnixDatagram::bind(&path.0).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    /// The next notification that has this line.
    fn told(&self, line: &str) -> String {
        loop {
            let mut bytes = [0; 4096];
            let length = self.socket.recv(&mut bytes).unwrap();
            let text = str::from_utf8(&bytes[..length]).unwrap();
            if text.lines().any(|found| found == line) {
                return text.to_owned();
            }
        }
    }
}

#[test]
fn the_service_manager_is_told() {
    let manager = ServiceManager::start();
    let config = TestPath::new("config");
    write_config(&config, "info", "");
    let mut command = serve(&config);
    // Twice as often as this it hears that the server is alive.
    command.env("NOTIFY_SOCKET", &manager.path.0).env("WATCHDOG_USEC", "200000");
    let server = TestServer::spawn(command);
    let ready = manager.told("READY=1");
    assert!(ready.contains(&format!("STATUS=serving on {}", server.listen)), "{ready}");
    manager.told("WATCHDOG=1");
    manager.told("WATCHDOG=1");
    server.signal(HANGUP);
    assert!(manager.told("RELOADING=1").contains("MONOTONIC_USEC="));
    manager.told("READY=1");
    let _silent = Client::log_in(server.listen, "silent");
    server.signal(TERMINATE);
    let stopping = manager.told("STOPPING=1");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=30000000"), "{stopping}");
    // The drain waits for the silent client, and says so.
    manager.told("EXTEND_TIMEOUT_USEC=30000000");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_service_manager_that_does_not_read_holds_up_nobody() {
    let manager = ServiceManager::start();
    // No room is left for what the server has to say.
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"FILLER=1", &manager.path.0).is_ok() {}
    let config = TestPath::new("config");
    write_config(&config, "info", "");
    let mut command = serve(&config);
    command.env("NOTIFY_SOCKET", &manager.path.0).env("WATCHDOG_USEC", "2000");
    let server = TestServer::spawn(command);
    assert_eq!(server.get("/livez").0, 200);
    server.signal(HANGUP);
    assert_eq!(server.get("/livez").0, 200);
    // With room again, it is told what it must know, late.
    manager.told("READY=1");
    server.stop();
}

/// A server with a data folder that has said that it loads, and so cannot have served yet.
fn loading_server(manager: &ServiceManager, config: &TestPath, data: &TestPath) -> Child {
    let mut command = serve(config);
    command.arg("--data").arg(&data.0).env("NOTIFY_SOCKET", &manager.path.0);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let loading = manager.told("STATUS=loading its state");
    assert!(loading.contains("EXTEND_TIMEOUT_USEC=30000000"), "{loading}");
    child
}

fn signal(child: &Child, signal: i32) {
    send_signal(child.id(), signal);
}

#[test]
fn signals_before_it_serves_are_not_lost() {
    let (config, data) = (TestPath::new("config"), TestPath::new("data"));
    write_config(&config, "info", "");
    for stop in [TERMINATE, INTERRUPT, TERMINATE] {
        let manager = ServiceManager::start();
        let child = loading_server(&manager, &config, &data);
        signal(&child, HANGUP);
        signal(&child, stop);
        let output = child.wait_with_output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.status.signal()), (Some(0), None), "{log}");
        assert!(!log.contains("did not stop by itself"), "{log}");
    }
    // What SIGHUP asks for is done once it serves.
    let manager = ServiceManager::start();
    let child = loading_server(&manager, &config, &data);
    signal(&child, HANGUP);
    manager.told("READY=1");
    manager.told("RELOADING=1");
    manager.told("READY=1");
    signal(&child, TERMINATE);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn the_watchdog_of_another_process_is_not_fed() {
    let manager = ServiceManager::start();
    let config = TestPath::new("config");
    write_config(&config, "info", "");
    let mut command = serve(&config);
    command.env("NOTIFY_SOCKET", &manager.path.0).env("WATCHDOG_USEC", "200000");
    command.env("WATCHDOG_PID", "1");
    let server = TestServer::spawn(command);
    manager.told("READY=1");
    // The first report is due at once, and this much later it has been made.
    drop(Client::log_in(server.listen, "ann"));
    server.metric_becomes("warren_closes_total", "peer-closed", 1);
    server.signal(TERMINATE);
    let mut told = String::new();
    while !told.starts_with("STOPPING=1") {
        let mut bytes = [0; 4096];
        let length = manager.socket.recv(&mut bytes).unwrap();
        told = str::from_utf8(&bytes[..length]).unwrap().to_owned();
        assert!(!told.contains("WATCHDOG"), "{told}");
    }
    assert_eq!(server.wait().code(), Some(0));
}
