//! A delta log that is lost, in whole or in part, is noticed by the next start; what is not lost is there
//! again as soon as the log is.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;
use warren_storage::StateStore;

use crate::client::Client;
use crate::server::{TestServer, command, unique};

const KILL: i32 = 9;

/// A data folder whose snapshots are taken so often, and whose segments hold one commit each. It goes with
/// its test.
struct Place(PathBuf);

impl Place {
    fn new(snapshot_interval_ms: u64) -> Self {
        let name = format!("warren-lost-log-{}-{}", std::process::id(), unique());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "[log]\nformat = \"json\"\n[storage]\nsegment_bytes = 8192\n\
             snapshot_interval_ms = {snapshot_interval_ms}\n"
        );
        std::fs::write(folder.join("warren.toml"), config).unwrap();
        Self(folder)
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn log(&self) -> PathBuf {
        self.data().join("log")
    }

    fn segments(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.log()).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        paths.sort();
        paths
    }

    fn serve(&self, mut serve: Command) -> Command {
        serve.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--shards", "2"]);
        serve.arg("--config").arg(self.0.join("warren.toml")).arg("--data").arg(self.data());
        serve
    }

    fn start(&self) -> TestServer {
        let mut serve = self.serve(command(&[]));
        serve.stderr(Stdio::piped());
        TestServer::spawn(serve)
    }

    /// A start that is refused for its state, and why.
    #[track_caller]
    fn refused(&self) -> String {
        // One that starts would serve for ever.
        let mut timeout = Command::new("timeout");
        timeout.args(["30", env!("CARGO_BIN_EXE_warren")]);
        let output = self.serve(timeout).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(65), "{told}");
        assert!(told.contains("state-unusable"), "{told}");
        assert!(told.contains("warren log forget --data"), "{told}");
        told
    }

    /// Where `warren log forget` leaves what it has found.
    fn forgotten(&self) -> PathBuf {
        self.log().join("forgotten")
    }

    fn forget(&self) -> Output {
        command(&["log", "forget", "--data"]).arg(self.data()).output().unwrap()
    }

    /// A server that has acknowledged so many swords as durable, one after the other, and was killed then.
    fn killed_with(&self, swords: u64) -> Vec<String> {
        let server = self.start();
        let mut ann = Client::log_in(server.listen, "ann");
        let made = (0..swords).map(|weight| create(&mut ann, weight)).collect();
        server.signal(KILL);
        assert_eq!(server.wait().signal(), Some(KILL));
        made
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn create(client: &mut Client, weight: u64) -> String {
    let create = json!({"msg": "create", "kind": "sword", "weight": weight, "ack": "durable"});
    client.send(format!("{create}\n"));
    let reply = client.reply("create");
    assert_eq!(reply["status"], 0, "{reply}");
    reply["object"].as_str().unwrap().to_owned()
}

/// How many of the swords are there, with their weights.
fn found(server: &TestServer, swords: &[String]) -> usize {
    let mut bob = Client::log_in(server.listen, "bob");
    let is_there = |(weight, sword): (usize, &String)| {
        bob.send(format!("{}\n", json!({"msg": "get", "object": sword})));
        let reply = bob.reply("get");
        assert!(reply["status"] != 0 || reply["weight"] == weight, "{reply}");
        reply["status"] == 0
    };
    swords.iter().enumerate().map(is_there).filter(|is_there| *is_there).count()
}

fn rename(from: &Path, to: &Path) {
    std::fs::rename(from, to).unwrap();
}

#[test]
fn a_log_that_is_gone_is_missed_until_it_is_back() {
    // All is in the log alone.
    let place = Place::new(600_000);
    let swords = place.killed_with(5);
    let (log, away) = (place.log(), place.0.join("away"));
    rename(&log, &away);
    let told = place.refused();
    assert!(told.contains("the delta log is gone; commits from 1 on are needed"), "{told}");
    // The folder is there again, and nothing in it.
    assert!(place.segments().is_empty());
    assert!(place.refused().contains("the delta log is gone"));

    // Its oldest segments.
    std::fs::remove_dir(&log).unwrap();
    rename(&away, &log);
    let segments = place.segments();
    let elsewhere = place.0.join("segment");
    rename(&segments[0], &elsewhere);
    let told = place.refused();
    assert!(told.contains("begins with commit 2; commits from 1 on are needed"), "{told}");
    rename(&elsewhere, &segments[0]);

    // Another world's.
    let other = Place::new(600_000);
    other.killed_with(8);
    rename(&log, &away);
    rename(&other.log(), &log);
    let told = place.refused();
    assert!(told.contains("this is another delta log"), "{told}");
    std::fs::remove_dir_all(&log).unwrap();
    rename(&away, &log);

    let server = place.start();
    assert_eq!(found(&server, &swords), swords.len());
    server.stop();
}

#[test]
fn what_the_server_itself_has_removed_is_not_missed_and_what_it_has_acknowledged_last_is() {
    let place = Place::new(10);
    let server = place.start();
    let mut ann = Client::log_in(server.listen, "ann");
    let mut swords: Vec<String> = (0..20).map(|weight| create(&mut ann, weight)).collect();
    // Segments go without anybody writing.
    let is_one_left = || place.segments().len() == 1;
    let mut looks = 0;
    while !is_one_left() {
        // Each is an answer of the server.
        server.get("/metrics");
        looks += 1;
        assert!(looks < 100_000, "{:?}", place.segments());
    }
    server.signal(KILL);
    server.wait();
    // Twice: the log that the first leaves is as good.
    for weight in [20, 21] {
        let server = place.start();
        assert_eq!(found(&server, &swords), swords.len());
        let mut ann = Client::log_in(server.listen, "ann");
        swords.push(create(&mut ann, weight));
        server.signal(KILL);
        server.wait();
    }
    // Also when snapshots may have all of it: nobody knows.
    std::fs::remove_dir_all(place.log()).unwrap();
    place.refused();
}

#[test]
fn a_log_that_is_lost_for_good_is_given_up_by_name() {
    let place = Place::new(600_000);
    let stored = {
        let server = place.start();
        let mut ann = Client::log_in(server.listen, "ann");
        let refused = place.forget();
        assert_eq!(refused.status.code(), Some(75), "{refused:?}");
        let sword = create(&mut ann, 0);
        // Its snapshot is taken at the end.
        server.stop();
        sword
    };
    let mut swords = vec![stored];
    let server = place.start();
    let mut ann = Client::log_in(server.listen, "ann");
    swords.extend((1..5).map(|weight| create(&mut ann, weight)));
    server.signal(KILL);
    server.wait();
    let oldest = &place.segments()[0];
    std::fs::remove_file(oldest).unwrap();
    std::fs::remove_file(&place.segments()[0]).unwrap();
    place.refused();

    let forgotten = place.forget();
    let told = String::from_utf8(forgotten.stdout).unwrap();
    assert_eq!(forgotten.status.code(), Some(0), "{told}");
    assert!(told.contains("is given up; the state needed commits from "), "{told}");
    assert!(told.contains("snapshots: the newest is from 2"), "{told}");
    assert!(told.contains("lost:      what changed later"), "{told}");
    assert!(place.forgotten().is_dir() && place.segments().is_empty());

    let server = place.start();
    assert_eq!(found(&server, &swords), 1);
    let mut ann = Client::log_in(server.listen, "ann");
    let next = create(&mut ann, 1);
    assert!(!swords.contains(&next), "{next} is given away again");
    server.signal(KILL);
    server.wait();
    let server = place.start();
    assert_eq!(found(&server, &[swords[0].clone(), next]), 2);
    server.stop();
    // There is a log again, whose loss is noticed, and where the last one went is taken.
    rename(&place.log(), &place.0.join("away"));
    place.refused();
    rename(&place.0.join("away"), &place.log());
    let refused = place.forget();
    assert_eq!(refused.status.code(), Some(71), "{refused:?}");
    std::fs::remove_dir_all(place.forgotten()).unwrap();
    let forgotten = place.forget();
    let told = String::from_utf8(forgotten.stdout).unwrap();
    assert!(told.contains("lost:      nothing, the last server had stored all it had"), "{told}");
}

#[test]
fn a_log_that_was_given_up_is_taken_no_more() {
    let place = Place::new(600_000);
    let swords = place.killed_with(3);
    let first = place.segments()[0].clone();
    let elsewhere = place.0.join("segment");
    rename(&first, &elsewhere);
    place.refused();
    assert_eq!(place.forget().status.code(), Some(0));
    // All of it is there again, too late.
    rename(&elsewhere, &first);
    let put_back = || {
        for entry in std::fs::read_dir(place.forgotten()).unwrap() {
            let entry = entry.unwrap();
            rename(&entry.path(), &place.log().join(entry.file_name()));
        }
        std::fs::remove_dir(place.forgotten()).unwrap();
    };
    put_back();
    for _ in 0..2 {
        let told = place.refused();
        assert!(told.contains("this log was given up"), "{told}");
        // Nor by giving it up again.
        assert_eq!(place.forget().status.code(), Some(0));
        put_back();
    }
    place.forget();
    let server = place.start();
    assert_eq!(found(&server, &swords), 0);
    server.stop();
    // The next log does not make it good, nor does giving up that one.
    for segment in place.segments() {
        std::fs::remove_file(segment).unwrap();
    }
    put_back();
    let told = place.refused();
    assert!(told.contains("this is another delta log"), "{told}");
    place.forget();
    put_back();
    let told = place.refused();
    assert!(told.contains("this log was given up"), "{told}");
}

#[test]
fn a_log_on_another_disk_is_given_up_and_the_next_one_is_there_too() {
    let place = Place::new(600_000);
    let elsewhere = place.0.join("disk");
    std::fs::create_dir_all(place.data()).unwrap();
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place.log()).unwrap();
    place.killed_with(2);
    let left = place.segments().len();
    // One that was cut short has moved some already.
    let moving = place.log().join("forgotten.moving");
    std::fs::create_dir(&moving).unwrap();
    rename(&place.segments()[0], &moving.join("00000000000000000001.log"));
    place.refused();
    let forgotten = place.forget();
    assert_eq!(forgotten.status.code(), Some(0), "{forgotten:?}");
    assert_eq!(std::fs::read_dir(elsewhere.join("forgotten")).unwrap().count(), left);
    assert!(place.log().is_symlink() && !moving.exists() && place.segments().is_empty());
    let swords = place.killed_with(2);
    assert!(!place.segments().is_empty());
    let server = place.start();
    assert_eq!(found(&server, &swords), 2);
    server.stop();
}

#[test]
fn a_state_that_knows_no_log_takes_the_one_it_finds() {
    let place = Place::new(600_000);
    let swords = place.killed_with(3);
    // As a version before would have left it: all is in the log alone.
    let state = place.data().join("state");
    std::fs::remove_dir_all(&state).unwrap();
    let (store, _) = StateStore::open(&state).unwrap();
    store.begin().unwrap();
    drop(store);
    let server = place.start();
    assert_eq!(found(&server, &swords), 3);
    server.signal(KILL);
    server.wait();
    rename(&place.log(), &place.0.join("away"));
    place.refused();
    std::fs::remove_dir(place.log()).unwrap();
    rename(&place.0.join("away"), &place.log());
    let server = place.start();
    assert_eq!(found(&server, &swords), 3);
    server.stop();
}

#[test]
fn a_folder_without_a_state_has_no_log_to_forget() {
    let place = Place::new(10);
    let refused = place.forget();
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
    assert!(!place.data().exists());
}

#[test]
fn a_state_that_another_process_has_open_is_a_folder_in_use() {
    let place = Place::new(10);
    let server = place.start();
    // The lock of the folder is one of a file, which a hand may remove.
    std::fs::remove_file(place.data().join("lock")).unwrap();
    let output = place.serve(command(&[])).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(75), "{told}");
    assert!(told.contains("another process has it open"), "{told}");
    server.stop();
}
