//! Tasks with workers that are real clients, of which some break off, and a server that is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{TestServer, command, unique};

const KILL: i32 = 9;
const WORKERS: u64 = 2;
/// Requests that are on their way at a time.
const WINDOW: usize = 16;
/// Objects that tasks are about, each in a partition of its own.
const TARGETS: usize = 4;

/// Whoever logs in may work.
const CONFIG: &str = "[log]\nlevel = \"warn\"\n\
    [storage]\nsnapshot_interval_ms = 20\nsegment_bytes = 32768\n\
    [limits]\nmessages_per_s = 0\nbytes_per_s = 0\n\
    [tasks]\nmethods = [\"hit\"]\n\
    [methods.work]\nroles = [\"user\"]\n[methods.begin]\nroles = [\"user\"]\n\
    [methods.effect]\nroles = [\"user\"]\n[methods.extend]\nroles = [\"user\"]\n\
    [methods.done]\nroles = [\"user\"]\n[methods.fail]\nroles = [\"user\"]\n\
    [methods.release]\nroles = [\"user\"]\n";

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("warren-tasks-{}-{}", std::process::id(), unique());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("warren.toml"), CONFIG).unwrap();
        Self(folder)
    }

    fn start(&self) -> TestServer {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "2", "--config"]).arg(self.0.join("warren.toml"));
        serve.arg("--data").arg(self.0.join("data"));
        TestServer::spawn(serve)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What workers did outside of the server: how often each task was begun.
#[derive(Default)]
struct Ledger {
    begun: Mutex<BTreeMap<u64, u64>>,
    /// Workers that broke off in the middle of a task.
    broken: AtomicU64,
}

/// Sends a request, and takes its answer; tasks that come before it are put aside. None when the server
/// is gone.
fn ask(client: &mut Client, request: &Value, tasks: &mut Vec<Value>) -> Option<Value> {
    client.try_send(format!("{request}\n")).ok()?;
    loop {
        let frame = client.try_json()?;
        if frame["msg"] == "task" {
            tasks.push(frame);
        } else if frame["msg"] == request["msg"] {
            return Some(frame);
        }
    }
}

/// Works until the server is gone. Now and then it breaks off in the middle, and another takes its place.
fn work(server: SocketAddr, number: u64, ledger: &Ledger) {
    let mut breaks_off = number;
    while let Some(()) = work_once(server, number, &mut breaks_off, ledger) {}
}

/// None when the server is gone.
fn work_once(server: SocketAddr, number: u64, breaks_off: &mut u64, ledger: &Ledger) -> Option<()> {
    let mut client = Client::try_log_in(server, &format!("worker-{number}"))?;
    let mut tasks = Vec::new();
    let work = json!({"msg": "work", "methods": ["hit"], "credits": 2});
    assert_eq!(ask(&mut client, &work, &mut tasks)?["status"], 0);
    loop {
        let task = match tasks.pop() {
            Some(task) => task,
            None => client.try_json()?,
        };
        if task["msg"] != "task" {
            continue;
        }
        let about = |msg: &str| json!({"msg": msg, "task": task["task"], "token": task["token"]});
        if ask(&mut client, &about("begin"), &mut tasks)?["status"] != 0 {
            continue;
        }
        *ledger.begun.lock().unwrap().entry(task["number"].as_u64().unwrap()).or_default() += 1;
        *breaks_off += 1;
        if breaks_off.is_multiple_of(13) {
            ledger.broken.fetch_add(1, Relaxed);
            return Some(());
        }
        let get = json!({"msg": "get", "object": task["target"]});
        let target = ask(&mut client, &get, &mut tasks)?;
        let mut effect = about("effect");
        effect["do"] = json!("set");
        effect["object"] = task["target"].clone();
        effect["version"] = target["version"].clone();
        effect["hits"] = json!(target["hits"].as_i64().unwrap() + 1);
        let staged = ask(&mut client, &effect, &mut tasks)?;
        let mut done = about("done");
        done["hits"] = effect["hits"].clone();
        done["effects"] = json!(1);
        let done = ask(&mut client, &done, &mut tasks)?;
        // On a machine that is busy a lease may be over.
        let is_late = |answer: &Value| answer["error"] == "lease-lost";
        assert!(done["status"] == 0 && staged["status"] == 0 || is_late(&done), "{staged} {done}");
    }
}

/// Objects that tasks are about, of which none was hit.
pub(crate) fn make_targets(server: &TestServer) -> Vec<Value> {
    let mut client = Client::log_in(server.listen, "owner");
    let make = |target: usize| {
        let create = json!({"msg": "create", "kind": "wolf", "partition": target * 16_000,
                            "hits": 0, "ack": "durable"});
        client.send(format!("{create}\n"));
        client.reply("create")["object"].clone()
    };
    (0..TARGETS).map(make).collect()
}

/// How often all targets were hit.
pub(crate) fn hits_of(server: &TestServer, targets: &[Value]) -> u64 {
    let mut client = Client::log_in(server.listen, "reader");
    let hits = targets.iter().map(|target| {
        client.send(format!("{}\n", json!({"msg": "get", "object": target})));
        client.reply("get")["hits"].as_u64().unwrap()
    });
    hits.sum()
}

/// Asks for what is not answered yet, until it is or so many more were answered; true when all is.
pub(crate) fn ask_for_all(
    server: &TestServer,
    targets: &[Value],
    open: &mut BTreeSet<u64>,
    answers_max: usize,
) -> bool {
    let mut client = Client::log_in(server.listen, "asker");
    let waiting: Vec<u64> = open.iter().copied().collect();
    let mut next = waiting.iter().copied();
    let ask_for = |client: &mut Client, number: u64| {
        let target = &targets[number as usize % targets.len()];
        let request = json!({"msg": "hit", "id": number, "number": number, "target": target,
                             "key": format!("k{number}"), "ack": "durable"});
        client.send(format!("{request}\n"));
    };
    let mut under_way = 0;
    for number in next.by_ref().take(WINDOW) {
        ask_for(&mut client, number);
        under_way += 1;
    }
    let mut answers = 0;
    while under_way > 0 && answers < answers_max {
        let reply = client.reply("hit");
        let number = reply["id"].as_u64().unwrap();
        if reply["error"] == "task-pending" {
            // It was taken before the server was killed, and a worker has it again soon.
            ask_for(&mut client, number);
            continue;
        }
        assert_eq!(reply["status"], 0, "{reply}");
        assert!(open.remove(&number), "answered once");
        (answers, under_way) = (answers + 1, under_way - 1);
        if let Some(number) = next.next() {
            ask_for(&mut client, number);
            under_way += 1;
        }
    }
    open.is_empty()
}

/// `WARREN_TASK_KILLS` says how often the server is killed.
#[test]
fn no_task_is_lost_or_has_effects_twice_whoever_is_killed() {
    let kills = std::env::var("WARREN_TASK_KILLS").ok().and_then(|kills| kills.parse().ok());
    let kills: usize = kills.unwrap_or(10);
    let tasks = 40 * (kills as u64 + 1);
    let place = Place::new();
    let (ledger, mut open) = (Ledger::default(), (0..tasks).collect::<BTreeSet<u64>>());
    let mut targets = Vec::new();
    for life in 0..=kills {
        let server = place.start();
        if life == 0 {
            targets = make_targets(&server);
        }
        std::thread::scope(|scope| {
            for number in 0..WORKERS {
                let (server, ledger) = (server.listen, &ledger);
                scope.spawn(move || work(server, number, ledger));
            }
            // Also when this thread fails.
            let _end = KilledAtTheEnd(&server);
            let is_last = life == kills;
            let answers_max = if is_last { usize::MAX } else { 7 + 11 * life % 50 };
            let all = ask_for_all(&server, &targets, &mut open, answers_max);
            assert!(all || !is_last, "{open:?}");
            if is_last {
                assert_eq!(hits_of(&server, &targets), tasks, "each has its effects once");
                assert_eq!(server.metric("warren_tasks_dead", ""), 0);
            }
        });
        server.wait();
    }
    let begun = ledger.begun.into_inner().unwrap();
    assert_eq!(begun.len() as u64, tasks, "each was begun");
    let (again, broken) = (begun.values().filter(|times| **times > 1).count(), ledger.broken);
    let broken = broken.into_inner();
    println!(
        "{tasks} tasks, {again} of them begun more than once, {broken} workers that broke off"
    );
    assert!(broken > 0);
}

/// Ends the server, and so its workers.
struct KilledAtTheEnd<'a>(&'a TestServer);

impl Drop for KilledAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.signal(KILL);
    }
}
