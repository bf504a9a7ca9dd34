//! A disk that is full, for real: a small file system of the test's own, mounted from a file. That takes root,
//! and without it the test says that it has shown nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::client::{Client, PATIENCE};
use crate::loop_disk::LoopDisk;
use crate::server::{TestServer, command};

const KILL: i32 = 9;
const DISK_BYTES: u64 = 96 << 20;
/// A segment has room for some sixty commits: the next has to be made soon.
// No segment goes while the test lasts: a log whose oldest segments make room would go on.
const CONFIG: &str = "[log]\nlevel = \"error\"\n[limits]\nmessages_per_s = 0\n\
                      [storage]\nsnapshot_interval_ms = 600000\nsegment_bytes = 262144\n";
/// A file system that is soon full, with room for a server.
struct Disk(LoopDisk);

impl Disk {
    fn path(&self) -> PathBuf {
        self.0.path()
    }

    fn start(&self) -> TestServer {
        let config = self.path().join("warren.toml");
        std::fs::write(&config, CONFIG).unwrap();
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "2", "--config"]).arg(config);
        serve.arg("--data").arg(self.path().join("data")).stderr(Stdio::null());
        TestServer::spawn(serve)
    }
}

/// Writes a file until nothing more fits.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for bytes in [1 << 16, 1 << 12] {
        let zeros = vec![0; bytes];
        let full = loop {
            if let Err(error) = file.write_all(&zeros).and_then(|()| file.sync_data()) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    }
}

#[track_caller]
fn failing_becomes(server: &TestServer, expected: u64) {
    #[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
    let end = std::time::Instant::now() + PATIENCE;
    while server.metric_of_server("warren_log_failing") != expected {
        #[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
        let now = std::time::Instant::now();
        assert!(now < end, "warren_log_failing does not become {expected}");
    }
}

fn ask(client: &mut Client, request: &Value) -> Value {
    client.send(format!("{request}\n"));
    client.reply(request["msg"].as_str().unwrap())
}

fn create(client: &mut Client) -> Value {
    let created =
        ask(client, &json!({"msg": "create", "kind": "item", "value": 0, "ack": "durable"}));
    assert_eq!(created["status"], 0, "{created}");
    created["object"].clone()
}

fn set(object: &Value, value: u64, ack: &str) -> Value {
    json!({"msg": "set", "object": object, "value": value, "ack": ack})
}

/// What a client has done that sets its object durably, one number after the other.
#[derive(Debug, Default)]
struct Written {
    sent: u64,
    acknowledged: u64,
    /// Acknowledged after the word to end.
    last: u64,
    reasons: BTreeSet<String>,
}

/// Ends the writer at once when the test has failed.
struct Abandon<'a>(&'a AtomicBool);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Until it is to end and one more was acknowledged.
fn write(
    client: &mut Client,
    object: &Value,
    [is_over, is_abandoned]: [&AtomicBool; 2],
) -> Written {
    let mut written = Written::default();
    loop {
        let ends = is_over.load(Ordering::Relaxed);
        written.sent += 1;
        let reply = ask(client, &set(object, written.sent, "durable"));
        if reply["status"] == 0 {
            written.acknowledged = written.sent;
            if ends || is_abandoned.load(Ordering::Relaxed) {
                written.last = written.sent;
                return written;
            }
        } else if is_abandoned.load(Ordering::Relaxed) {
            return written;
        } else {
            written.reasons.insert(reply["error"].as_str().unwrap().to_owned());
        }
    }
}

#[test]
fn a_full_disk_refuses_what_is_durable_and_nothing_else_and_goes_on_when_there_is_room() {
    let disk = match LoopDisk::mount(DISK_BYTES) {
        Ok(disk) => Disk(disk),
        Err(why) => {
            println!("NOT SHOWN: no file system can be mounted here: {why}");
            return;
        }
    };
    let server = disk.start();
    let mut writer = Client::log_in(server.listen, "writer");
    let mut other = Client::log_in(server.listen, "other");
    let (object, own) = (create(&mut writer), create(&mut other));
    let ballast = disk.path().join("ballast");
    let (is_over, is_abandoned) = (AtomicBool::new(false), AtomicBool::new(false));
    let written = std::thread::scope(|scope| {
        let writing = scope.spawn(|| write(&mut writer, &object, [&is_over, &is_abandoned]));
        let _abandon = Abandon(&is_abandoned);
        fill(&ballast);
        failing_becomes(&server, 1);
        // Nothing of what is refused has happened; all else goes on.
        let refused = ask(&mut other, &set(&own, 1, "durable"));
        assert_eq!(refused["error"], "level-unavailable", "{refused}");
        assert_eq!(ask(&mut other, &json!({"msg": "get", "object": own}))["value"], 0);
        assert_eq!(ask(&mut other, &set(&own, 2, "applied"))["status"], 0);
        assert_eq!(ask(&mut other, &json!({"msg": "get", "object": own}))["value"], 2);
        std::fs::remove_file(&ballast).unwrap();
        failing_becomes(&server, 0);
        is_over.store(true, Ordering::Relaxed);
        writing.join().unwrap()
    });
    assert!(written.last > 0 && written.acknowledged > 0, "{written:?}");
    let expected = ["level-unavailable", "log-behind", "not-durable"].map(str::to_owned);
    assert!(written.reasons.is_subset(&BTreeSet::from(expected)), "{written:?}");
    assert_eq!(ask(&mut other, &set(&own, 3, "durable"))["status"], 0);
    println!("a full disk: {written:?}");
    // What was acknowledged is on the disk, whatever becomes of the server.
    server.signal(KILL);
    server.wait();
    let server = disk.start();
    let mut client = Client::log_in(server.listen, "writer");
    let found = ask(&mut client, &json!({"msg": "get", "object": object}))["value"].clone();
    assert_eq!(found, written.last, "{written:?}");
    assert_eq!(ask(&mut client, &json!({"msg": "get", "object": own}))["value"], 3);
    server.stop();
}
