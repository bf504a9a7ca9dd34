//! Workers that the server starts itself, or that are started by hand: real processes, which crash, hang, grow
//! and are killed.

mod kills;
mod misdeeds;
mod reload;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use crate::admin::{TOKEN, TestFolder};
use crate::client::{Client, PATIENCE};
use crate::server::{TestServer, command, send_signal};

const KILL: i32 = 9;
const TERMINATE: i32 = 15;
const STOP: i32 = 19;

/// The program of the workers.
fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/workers/worker.py")
}

/// A server's files, and what it has for workers.
struct Place {
    folder: TestFolder,
}

impl Place {
    /// A server whose configuration says this beside.
    fn new(config: &str) -> Self {
        let folder = TestFolder::new();
        let token = folder.file("token", TOKEN);
        let config = format!(
            "[admin]\ntoken_file = {token:?}\n[log]\nformat = \"json\"\n\
             [limits]\nmessages_per_s = 0\nbytes_per_s = 0\n{config}"
        );
        folder.file("warren.toml", &config);
        Self { folder }
    }

    /// A server with a section `workers.game` that says this.
    fn with_workers(config: &str) -> Self {
        let script = script();
        Self::new(&format!("[workers.game]\ncommand = [\"python3\", {script:?}]\n{config}"))
    }

    /// Where the workers of the section write what they begin.
    fn ledger(&self) -> PathBuf {
        self.folder.0.join("ledger")
    }

    /// What was begun: numbers of requests, and processes.
    fn begun(&self) -> Vec<(u64, u32)> {
        let text = std::fs::read_to_string(self.ledger()).unwrap_or_default();
        let read = |line: &str| {
            let (number, pid) = line.split_once(' ').unwrap();
            (number.parse().unwrap(), pid.parse().unwrap())
        };
        text.lines().map(read).collect()
    }

    /// With a data folder.
    fn start_with_data(&self) -> TestServer {
        let mut command = self.command();
        command.arg("--data").arg(self.folder.0.join("data"));
        TestServer::spawn(command)
    }

    fn command(&self) -> Command {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "2", "--config"]).arg(self.folder.0.join("warren.toml"));
        serve.stderr(Stdio::piped());
        serve
    }

    fn start(&self) -> TestServer {
        TestServer::spawn(self.command())
    }
}

impl TestServer {
    fn workers(&self) -> Value {
        let (status, answer) = self.call("GET", "/api/workers", "");
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Process numbers of those that are in this state.
    fn worker_pids(&self, state: &str) -> Vec<u32> {
        let answer = self.workers();
        let processes = answer["processes"].as_array().unwrap().iter();
        let pids = processes.filter(|process| process["state"] == state);
        pids.map(|process| process["pid"].as_u64().unwrap() as u32).collect()
    }

    /// Waits until so many workers work, and returns their processes.
    fn working(&mut self, count: usize) -> Vec<u32> {
        for _ in 0..count {
            self.logged("a worker works");
        }
        let pids = self.worker_pids("working");
        assert_eq!(pids.len(), count);
        pids
    }
}

/// A process, by a handle that is its own also when its number is another's.
struct Watched(OwnedFd);

impl Watched {
    fn of(pid: u32) -> Self {
        let pid = Pid::from_raw(pid.cast_signed()).unwrap();
        Self(pidfd_open(pid, PidfdFlags::empty()).unwrap())
    }

    /// Waits until the process is no more.
    #[track_caller]
    fn ends(&self) {
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        assert_eq!(poll(&mut polled, Some(&patience)).unwrap(), 1, "the process ends");
    }
}

/// A client's request of a worker's method.
fn hit(client: &mut Client, fields: Value) -> Value {
    let mut request = json!({"msg": "hit", "id": 1, "number": 1});
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    client.send(format!("{request}\n"));
    client.reply("hit")
}

#[test]
fn workers_of_the_configuration_work_and_end_with_the_server() {
    let place = Place::with_workers("count = 2\n");
    let mut server = place.start();
    let pids = server.working(2);
    let told = server.workers();
    let users: Vec<&str> = told["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["user"].as_str().unwrap())
        .collect();
    assert!(users.contains(&"worker.game.1") && users.contains(&"worker.game.2"), "{users:?}");
    let mut client = Client::log_in(server.listen, "ann");
    let reply = hit(&mut client, json!({}));
    assert_eq!(reply["status"], 0, "{reply}");
    assert!(pids.contains(&(reply["pid"].as_u64().unwrap() as u32)));
    // Nobody else has the name of a worker.
    let mut thief = Client::connect(server.listen);
    thief.send("{\"msg\":\"login\",\"user\":\"worker.game.1\"}\n");
    assert_eq!(thief.reply("login")["error"], "ticket-missing");
    let watched: Vec<Watched> = pids.iter().map(|pid| Watched::of(*pid)).collect();
    server.signal(TERMINATE);
    let (status, log) = server.wait_and_read_log();
    assert_eq!(status.code(), Some(0));
    watched.iter().for_each(Watched::ends);
    let ends = log.iter().filter(|line| line["message"] == "a worker has ended");
    let exits: Vec<&str> = ends.map(|line| line["exit"].as_str().unwrap()).collect();
    assert_eq!(exits, ["exit status: 0"; 2], "they were asked, and had finished");
}

#[test]
fn workers_die_with_a_server_that_is_killed() {
    // One that has no connection does not see that the server is gone.
    let place = Place::with_workers("count = 2\nenvironment = { TEST_MODE = \"mute\" }\n");
    let mut server = place.start();
    for _ in 0..2 {
        server.logged("it says nothing to the server");
    }
    let pids = server.worker_pids("starting");
    let watched: Vec<Watched> = pids.into_iter().map(Watched::of).collect();
    assert_eq!(watched.len(), 2);
    server.signal(KILL);
    server.wait();
    watched.iter().for_each(Watched::ends);
}

#[test]
fn where_tls_is_required_workers_trust_the_server_s_certificate() {
    let place = Place::with_workers("");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = place.folder.file("certificate", &made.cert.pem());
    let key = place.folder.file("key", &made.signing_key.serialize_pem());
    let config = std::fs::read_to_string(place.folder.0.join("warren.toml")).unwrap();
    let tls = format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\nrequired = true\n");
    place.folder.file("warren.toml", &(config + &tls));
    let mut server = place.start();
    server.working(1);
    server.stop();
}

#[test]
fn what_a_worker_writes_is_in_the_log() {
    let place = Place::with_workers("");
    let mut server = place.start();
    let line = server.logged("it begins");
    assert_eq!((&line["worker"], &line["stream"]), (&json!("worker.game.1"), &json!("stdout")));
    server.stop();
}

#[test]
fn a_worker_that_crashes_at_once_is_started_again_later_and_later() {
    let place = Place::with_workers("environment = { TEST_MODE = \"crash\" }\n");
    let mut server = place.start();
    for _ in 0..3 {
        assert_eq!(server.logged("it crashes at once")["stream"], "stderr");
        assert_eq!(server.logged("a worker has ended by itself")["exit"], "exit status: 1");
    }
    server.metric_until("warren_worker_restarts_total", "game", "2 at least", |count| count >= 2);
    // The server lives as ever.
    let mut client = Client::log_in(server.listen, "ann");
    client.join("r");
    server.stop();
}

/// A worker that a test has started by hand.
struct ByHand(Child);

impl ByHand {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut worker = command(&["worker"]);
        worker.args(arguments).args(["--", "python3"]).arg(script());
        worker.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(worker.spawn().unwrap())
    }

    /// Asks it to end, and waits for that.
    fn stop(mut self) {
        send_signal(self.0.id(), TERMINATE);
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A key of tickets, and the configuration that takes them.
fn tickets(folder: &TestFolder) -> (PathBuf, String) {
    let key = folder.0.join("key");
    let output = command(&["ticket", "keygen", "--key"]).arg(&key).output().unwrap();
    let public = String::from_utf8(output.stdout).unwrap();
    let config = format!("[auth]\nmode = \"ticket\"\nkeys = [\"{}\"]\n", public.trim());
    (key, config)
}

fn issue(key: &Path, user: &str, roles: &[&str]) -> String {
    let mut issue = command(&["ticket", "issue", "--user", user, "--key"]);
    issue.arg(key);
    for role in roles {
        issue.args(["--role", role]);
    }
    let output = issue.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_worker_from_elsewhere_needs_a_ticket_alone() {
    let folder = TestFolder::new();
    let (key, config) = tickets(&folder);
    let place = Place::new(&format!("[tasks]\nmethods = [\"hit\"]\n{config}"));
    let server = place.start();
    let ticket = folder.file("ticket", &issue(&key, "smith", &["user", "worker"]));
    let url = format!("tcp://{}", server.listen);
    let ticket = ticket.to_str().unwrap();
    let worker = ByHand::start(&["--url", &url, "--ticket-file", ticket], &[]);
    let mut client = Client::connect(server.listen);
    let ann = issue(&key, "ann", &["user"]);
    client.send(format!("{{\"msg\":\"login\",\"ticket\":\"{ann}\"}}\n"));
    assert_eq!(client.reply("login")["status"], 0);
    let reply = hit(&mut client, json!({}));
    assert_eq!(reply["pid"], worker.0.id(), "the process became the worker: {reply}");
    worker.stop();
    server.stop();
}

#[test]
fn a_program_may_read_its_ticket_anew() {
    let folder = TestFolder::new();
    let (key, _) = tickets(&folder);
    let ticket = issue(&key, "smith", &["worker"]);
    let file = folder.file("ticket", &ticket);
    let mut worker = command(&["worker", "--ticket-file", "ticket", "--", "sh", "-c"]);
    worker.arg("echo \"$WARREN_USER $WARREN_TICKET $WARREN_TICKET_FILE\"");
    let output = worker.current_dir(&folder.0).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told, format!("smith {ticket} {}\n", file.display()));
}

/// Where the tests may not make a process safer, workers are none the safer for it.
#[test]
fn workers_are_no_safer_than_others_where_memory_is_short() {
    let warren = command(&[]).get_program().to_owned();
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo -500 2>/dev/null >/proc/self/oom_score_adj; exec \"$0\" \"$@\""]);
    shell.arg(warren).args(["worker", "--parent", &std::process::id().to_string()]);
    let output = shell.args(["--", "cat", "/proc/self/oom_score_adj"]).output().unwrap();
    let score: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(score >= 0, "{score}");
}

#[test]
fn a_ticket_that_others_can_read_is_refused() {
    let folder = TestFolder::new();
    let (key, _) = tickets(&folder);
    let ticket = folder.0.join("ticket");
    std::fs::write(&ticket, issue(&key, "smith", &["worker"])).unwrap();
    let mut worker = command(&["worker", "--ticket-file"]);
    let output = worker.arg(&ticket).args(["--", "true"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("chmod 600"), "{told}");
}
