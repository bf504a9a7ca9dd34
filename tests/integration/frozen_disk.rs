//! Disks that stand still, for real: small file systems of the tests' own, which are frozen under a log, and
//! under a backup. That takes root, and without it the tests say that they have shown nothing.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::{TOKEN, TestFolder};
use crate::client::{Client, PATIENCE};
use crate::loop_disk::{LoopDisk, freeze, thaw};
use crate::server::{TestServer, command};

const TERMINATE: i32 = 15;
const DISK_BYTES: u64 = 96 << 20;
/// Longer than a shard that drains settles where no reply waits.
const SETTLED_MS: u64 = 400;
/// One partition of each of two shards.
const PARTITIONS: [u32; 2] = [0, 40_000];

/// A file system that can be frozen, and a folder for all that is not to stand still.
struct Place {
    disk: LoopDisk,
    folder: TestFolder,
}

impl Place {
    fn new() -> Option<Self> {
        match LoopDisk::mount(DISK_BYTES) {
            Ok(disk) => Some(Self { disk, folder: TestFolder::new() }),
            Err(why) => {
                println!("NOT SHOWN: no file system can be mounted and frozen here: {why}");
                None
            }
        }
    }

    /// Two shards, whose snapshots are taken so often.
    fn start(&self, data: &Path, snapshot_interval_ms: u32) -> TestServer {
        let token = self.folder.file("token", TOKEN);
        let config = format!(
            "[admin]\ntoken_file = {token:?}\n[log]\nformat = \"json\"\n[limits]\nmessages_per_s = 0\n\
             [storage]\nsnapshot_interval_ms = {snapshot_interval_ms}\nsegment_bytes = 16384\n"
        );
        let config = self.folder.file("warren.toml", &config);
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "2", "--config"]).arg(config);
        serve.arg("--data").arg(data).stderr(Stdio::piped());
        TestServer::spawn(serve)
    }

    fn data(&self) -> PathBuf {
        self.folder.0.join("data")
    }

    /// An empty folder on the disk.
    fn target(&self) -> PathBuf {
        let target = self.disk.path().join("backup");
        std::fs::create_dir(&target).unwrap();
        target
    }
}

/// A disk that stands still; it is there again when the test has failed, or no server would end. To be
/// made after the servers, so that it goes before them.
struct Frozen(PathBuf);

impl Frozen {
    fn new(disk: &LoopDisk) -> Self {
        freeze(&disk.path()).unwrap();
        Self(disk.path())
    }

    fn thaw(self) {
        thaw(&self.0).unwrap();
        std::mem::forget(self);
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = thaw(&self.0);
    }
}

/// Waits until it holds.
#[track_caller]
fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    wait_for(PATIENCE, what, holds);
}

/// Waits until it holds, for so long at most.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
fn wait_for(bound: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + bound;
    while !holds() {
        assert!(std::time::Instant::now() < end, "waited for: {what}");
        std::thread::yield_now();
    }
}

fn ask(client: &mut Client, request: &Value) -> Value {
    client.send(format!("{request}\n"));
    let reply = client.reply(request["msg"].as_str().unwrap());
    assert_eq!(reply["status"], 0, "{request}: {reply}");
    reply
}

fn create(client: &mut Client, partition: u32) -> Value {
    let create = json!({"msg": "create", "kind": "counter", "partition": partition, "value": 0,
                        "ack": "durable"});
    ask(client, &create)["object"].clone()
}

fn set(object: &Value, value: u64) -> Value {
    json!({"msg": "set", "object": object, "value": value, "ack": "durable"})
}

fn value(server: &TestServer, object: &Value) -> Value {
    let mut client = Client::log_in(server.listen, "reader");
    ask(&mut client, &json!({"msg": "get", "object": object}))["value"].clone()
}

/// Begins a backup to a disk that stands still, and waits until it knows with which commit it ends.
fn begin_backup(server: &TestServer, data: &Path, target: &Path) {
    let body = json!({ "folder": target.to_str().unwrap() }).to_string();
    let (status, begun) = server.call("POST", "/api/backup", &body);
    assert_eq!((status, &begun), (202, &json!({ "phase": "running", "number": 1 })));
    wait_until("the segments have second names", || {
        let links = stage(data).and_then(|stage| std::fs::read_dir(stage.join("log")).ok());
        links.is_some_and(|links| links.count() > 0)
    });
}

/// What a backup of this data folder is copied from, while it is there.
fn stage(data: &Path) -> Option<PathBuf> {
    let is_stage =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(".backup-stage-");
    entries(data).into_iter().find(is_stage)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_backup_whose_target_stands_still_keeps_no_segment_of_the_log() {
    let Some(place) = Place::new() else { return };
    let (data, target) = (place.data(), place.target());
    let server = place.start(&data, 20);
    let mut client = Client::log_in(server.listen, "ann");
    let object = create(&mut client, 0);
    ask(&mut client, &set(&object, 7));
    let frozen = Frozen::new(&place.disk);
    begin_backup(&server, &data, &target);
    let removed = || server.metric_of_server("warren_log_segments_removed_total");
    let (before, mut last) = (removed(), 7);
    wait_until("segments are removed", || {
        last += 1;
        ask(&mut client, &set(&object, last));
        removed() > before + 2
    });
    frozen.thaw();
    let (status, made) = server.call("GET", "/api/backup?number=1", "");
    assert_eq!((status, &made["phase"]), (200, &json!("done")), "{made}");
    assert_eq!(stage(&data), None);
    server.stop();
    // What was acknowledged before it was begun, and nothing else.
    let restored = place.folder.0.join("restored");
    let mut restore = command(&["restore"]);
    let output = restore.arg(&target).arg("--data").arg(&restored).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let server = place.start(&restored, 20);
    assert_eq!(value(&server, &object), 7, "of {last}");
    server.stop();
}

#[test]
fn a_drain_gives_up_a_backup_and_removes_what_was_made_of_it() {
    let Some(place) = Place::new() else { return };
    let (data, target) = (place.data(), place.target());
    let mut server = place.start(&data, 20);
    create(&mut Client::log_in(server.listen, "ann"), 0);
    let frozen = Frozen::new(&place.disk);
    begin_backup(&server, &data, &target);
    server.signal(TERMINATE);
    assert_eq!(server.logged("the backup that is under way is given up")["number"], 1);
    frozen.thaw();
    let (status, log) = server.wait_and_read_log();
    assert_eq!(status.code(), Some(0));
    let failed = log.iter().find(|line| line["message"] == "the backup failed");
    assert_eq!(failed.expect("it is told")["error"], "the server ends");
    assert_eq!(entries(&target), Vec::<PathBuf>::new());
    assert_eq!(stage(&data), None);
}

#[test]
fn a_backup_whose_target_stays_away_keeps_no_server_from_its_end_nor_the_next_from_its_start() {
    let Some(place) = Place::new() else { return };
    let (data, target) = (place.data(), place.target());
    let server = place.start(&data, 20);
    let mut client = Client::log_in(server.listen, "ann");
    let object = create(&mut client, 0);
    ask(&mut client, &set(&object, 7));
    let frozen = Frozen::new(&place.disk);
    begin_backup(&server, &data, &target);
    server.signal(TERMINATE);
    let (status, drained) = server.call("GET", "/api/drain", "");
    assert_eq!((status, drained), (200, json!({ "phase": "drained" })));
    // The kernel keeps the process for as long as its thread waits for the disk.
    let mut next = place.start(&data, 20);
    next.logged("the state is complete: the last server stored all it had");
    assert_eq!(stage(&data), None, "what it has left is removed");
    assert_eq!(value(&next, &object), 7);
    frozen.thaw();
    assert_eq!(server.wait().code(), Some(0));
    next.stop();
    assert!(!target.join("backup.json").exists());
}

/// Clients of two shards, each of which waits for two sets to become durable on a disk that stands still,
/// of a server that drains.
struct Waiting {
    server: TestServer,
    clients: Vec<(Client, [Value; 2])>,
    frozen: Frozen,
}

impl Waiting {
    fn begin(place: &Place) -> Self {
        let data = place.disk.path().join("data");
        let mut server = place.start(&data, 600_000);
        let enter = |number| {
            let mut client = Client::log_in(server.listen, &format!("u{number}"));
            let objects = PARTITIONS.map(|partition| create(&mut client, partition));
            (client, objects)
        };
        let mut clients: Vec<_> = (0..8).map(enter).collect();
        let frozen = Frozen::new(&place.disk);
        for (client, objects) in &mut clients {
            for object in &*objects {
                client.send(format!("{}\n", set(object, 7)));
            }
            // They are made, and wait for the disk alone.
            for object in &*objects {
                assert_eq!(ask(client, &json!({"msg": "get", "object": object}))["value"], 7);
            }
        }
        server.signal(TERMINATE);
        server.logged("draining");
        Self { server, clients, frozen }
    }

    /// Each client hears this twice, and then that the server drains. What was to be stored is.
    fn hear(self, place: &Place, expected: &Value) {
        let Self { server, clients, frozen } = self;
        let mut objects = Vec::new();
        for (mut client, both) in clients {
            for _ in &both {
                let reply = client.reply("set");
                assert_eq!((&reply["status"], &reply["error"]), (&expected[0], &expected[1]));
            }
            let last = String::from_utf8(client.rest()).unwrap();
            assert!(last.contains("\"error\":\"draining\""), "{last}");
            objects.extend(both);
        }
        drop(frozen);
        assert_eq!(server.wait().code(), Some(0));
        let server = place.start(&place.disk.path().join("data"), 600_000);
        for object in &objects {
            assert_eq!(value(&server, object), 7);
        }
        server.stop();
    }
}

#[test]
fn a_drain_answers_what_waits_for_a_disk_that_is_there_again_in_time() {
    let Some(place) = Place::new() else { return };
    let waiting = Waiting::begin(&place);
    let up_ms = || {
        let (_, told) = waiting.server.call("GET", "/api/status", "");
        told["uptime_ms"].as_u64().unwrap()
    };
    let drained_ms = up_ms();
    wait_until("shards without waiting replies would have ended", || {
        up_ms() > drained_ms + SETTLED_MS
    });
    thaw(&place.disk.path()).unwrap();
    waiting.hear(&place, &json!([0, null]));
}

#[test]
fn a_drain_beside_a_disk_that_stays_away_says_what_is_not_known_to_be_durable() {
    let Some(place) = Place::new() else { return };
    Waiting::begin(&place).hear(&place, &json!([500, "not-durable"]));
}

/// Longer than a server that drains waits for a disk that stands still.
const STALLED_MAX: Duration = Duration::from_secs(100);

#[test]
fn a_drain_beside_a_disk_that_takes_no_snapshot_ends_with_its_status() {
    let Some(place) = Place::new() else { return };
    let data = place.disk.path().join("data");
    let server = place.start(&data, 600_000);
    let mut client = Client::log_in(server.listen, "ann");
    // On the disk as the log, and in memory as what snapshots do not have yet.
    let objects = PARTITIONS.map(|partition| create(&mut client, partition));
    drop(client);
    let frozen = Frozen::new(&place.disk);
    server.signal(TERMINATE);
    // Its main thread has ended; the kernel keeps those that wait for the disk.
    let stat = format!("/proc/{}/stat", server.pid());
    wait_for(STALLED_MAX, "the server ends", || {
        let stat = std::fs::read_to_string(&stat).unwrap();
        std::thread::park_timeout(Duration::from_millis(20));
        stat.rsplit(") ").next().unwrap().starts_with('Z')
    });
    frozen.thaw();
    let (status, log) = server.wait_and_read_log();
    assert_eq!(status.code(), Some(74), "{log:?}");
    let last = log.last().unwrap();
    assert_eq!((&last["reason"], &last["status"]), (&json!("state-not-stored"), &json!(74)));
    assert!(last["message"].as_str().unwrap().contains("stands still"), "{last}");
    let server = place.start(&data, 600_000);
    for object in &objects {
        assert_eq!(value(&server, object), 0);
    }
    server.stop();
}
