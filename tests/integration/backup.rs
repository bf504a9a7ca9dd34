//! A backup of a server that goes on serving, and what is there when it is restored.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use serde_json::{Value, json};
use warren::config::Endpoint;

use crate::admin::{TestFolder, serve};
use crate::client::Client;
use crate::server::{TestServer, command, unique};

/// Requests that a writer has on their way at once.
const WINDOW: u64 = 8;

/// Data folders and backups, removed with their test.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("warren-backups-{}-{}", std::process::id(), unique());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let config = "[log]\nlevel = \"warn\"\n[storage]\nsnapshot_interval_ms = 20\n\
                      segment_bytes = 16384\n\
                      [limits]\nmessages_per_s = 100_000\nmessages_burst = 100_000\n";
        std::fs::write(folder.join("warren.toml"), config).unwrap();
        Self(folder)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn start(&self, data: &str) -> TestServer {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "2", "--config"]).arg(self.at("warren.toml"));
        TestServer::spawn({
            serve.arg("--data").arg(self.at(data));
            serve
        })
    }

    fn back_up(&self, admin: &Endpoint, data: &str, folder: &str) -> Output {
        let mut backup = command(&["backup", "--json", "--admin"]);
        backup.arg(admin.to_string()).arg("--data").arg(self.at(data));
        backup.arg(self.at(folder)).output().unwrap()
    }

    fn restore(&self, folder: &str, data: &str) -> Output {
        let mut restore = command(&["restore"]);
        restore.arg(self.at(folder)).arg("--data").arg(self.at(data)).output().unwrap()
    }

    fn digest(&self, server: &TestServer, data: &str) -> Value {
        let mut ctl = command(&["ctl", "digest", "--groups", "--json", "--admin"]);
        let ctl = ctl.arg(server.admin.to_string()).arg("--data").arg(self.at(data));
        serde_json::from_slice(&ctl.output().unwrap().stdout).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn ask(client: &mut Client, request: &Value) -> Value {
    client.send(format!("{request}\n"));
    let reply = client.reply(request["msg"].as_str().unwrap());
    assert_eq!(reply["status"], 0, "{request}: {reply}");
    reply
}

/// An object that is set to one number after the other, each acknowledged when it is durable.
struct Writer {
    object: String,
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

impl Writer {
    fn create(server: &TestServer, at: usize) -> (Self, Client) {
        let mut client = Client::log_in(server.listen, &format!("writer-{at}"));
        let create = json!({"msg": "create", "kind": "counter", "partition": at * 17_000,
                            "value": 0, "ack": "durable"});
        let object = ask(&mut client, &create)["object"].as_str().unwrap().to_owned();
        (Self { object, sent: 0.into(), acknowledged: 0.into() }, client)
    }

    fn write(&self, mut client: Client, is_over: &AtomicBool) {
        while !is_over.load(SeqCst) {
            let from = self.sent.load(SeqCst);
            self.sent.store(from + WINDOW, SeqCst);
            for value in from + 1..=from + WINDOW {
                let set = json!({"msg": "set", "object": self.object, "value": value,
                                 "ack": "durable"});
                client.send(format!("{set}\n"));
            }
            for value in from + 1..=from + WINDOW {
                assert_eq!(client.reply("set")["status"], 0);
                self.acknowledged.store(value, SeqCst);
            }
        }
    }

    fn value(&self, client: &mut Client) -> u64 {
        let found = ask(client, &json!({"msg": "get", "object": self.object}));
        found["value"].as_u64().unwrap()
    }
}

/// Ends the writers, also when the test has failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn a_backup_under_load_has_everything_that_was_acknowledged_before_it() {
    let place = Place::new();
    let server = place.start("data");
    let (writers, clients): (Vec<_>, Vec<_>) = (0..4).map(|at| Writer::create(&server, at)).unzip();
    let is_over = AtomicBool::new(false);
    let mut before: Vec<Vec<u64>> = Vec::new();
    let mut after: Vec<Vec<u64>> = Vec::new();
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        let threads: Vec<_> = writers
            .iter()
            .zip(clients)
            .map(|(writer, client)| scope.spawn(|| writer.write(client, &is_over)))
            .collect();
        let all = |number: fn(&Writer) -> &AtomicU64| -> Vec<u64> {
            writers.iter().map(|writer| number(writer).load(SeqCst)).collect()
        };
        for round in 0..5 {
            // Between two backups everybody has written.
            let last = all(|writer| &writer.sent);
            while all(|writer| &writer.acknowledged).iter().zip(&last).any(|(now, last)| now < last)
            {
                assert!(!threads.iter().any(|thread| thread.is_finished()), "a writer has ended");
                std::thread::yield_now();
            }
            before.push(all(|writer| &writer.acknowledged));
            done(&place.back_up(&server.admin, "data", &format!("backup-{round}")));
            after.push(all(|writer| &writer.sent));
        }
        drop(over);
    });
    assert!(server.metric_of_server("warren_log_segments_removed_total") > 0);
    let digest = place.digest(&server, "data");
    done(&place.back_up(&server.admin, "data", "backup-at-rest"));
    server.signal(9);
    server.wait();
    for (round, (before, after)) in before.iter().zip(&after).enumerate() {
        let (backup, data) = (format!("backup-{round}"), format!("data-{round}"));
        done(&place.restore(&backup, &data));
        let server = place.start(&data);
        let mut client = Client::log_in(server.listen, "reader");
        for (at, writer) in writers.iter().enumerate() {
            let value = writer.value(&mut client);
            assert!((before[at]..=after[at]).contains(&value), "{round}: {value}");
        }
        server.stop();
    }
    done(&place.restore("backup-at-rest", "data-at-rest"));
    let server = place.start("data-at-rest");
    assert_eq!(place.digest(&server, "data-at-rest"), digest);
    server.stop();
}

#[test]
fn bans_are_part_of_a_backup() {
    let place = Place::new();
    let server = place.start("data");
    let mut ban = command(&["ctl", "ban", "mallory", "--admin"]);
    done(&ban.arg(server.admin.to_string()).arg("--data").arg(place.at("data")).output().unwrap());
    done(&place.back_up(&server.admin, "data", "backup"));
    server.stop();
    done(&place.restore("backup", "restored"));
    let text = std::fs::read_to_string(place.at("restored/bans.json")).unwrap_or_default();
    assert!(text.contains("mallory"), "{text}");
}

#[test]
fn a_server_that_is_killed_in_a_backup_leaves_none_that_could_be_restored() {
    let place = Place::new();
    let mut finished = 0;
    for round in 0..10 {
        let data = format!("data-{round}");
        let server = place.start(&data);
        let mut client = Client::log_in(server.listen, "ann");
        let create = json!({"msg": "create", "kind": "sword", "ack": "durable"});
        let sword = ask(&mut client, &create)["object"].clone();
        let folder = format!("backup-{round}");
        std::thread::scope(|scope| {
            let admin = &server.admin;
            let asked = scope.spawn(|| place.back_up(admin, &data, &folder));
            // As far as it has come when this is there.
            let sight = ["state", "log", "backup.json.new", "backup.json", "state"][round % 5];
            while !place.at(&folder).join(sight).exists() && !asked.is_finished() {
                std::hint::spin_loop();
            }
            server.signal(9);
            asked.join().unwrap();
        });
        server.wait();
        let is_whole = place.at(&folder).join("backup.json").exists();
        let restored = place.restore(&folder, "restored");
        assert_eq!(restored.status.success(), is_whole, "{restored:?}");
        if is_whole {
            finished += 1;
            let server = place.start("restored");
            let mut client = Client::log_in(server.listen, "bob");
            ask(&mut client, &json!({"msg": "get", "object": sword}));
            server.stop();
        } else {
            assert_eq!(restored.status.code(), Some(65));
        }
        let _ = std::fs::remove_dir_all(place.at("restored"));
    }
    assert!((1..10).contains(&finished), "{finished}");
}

#[test]
fn two_backups_one_after_the_other_are_told_their_own_ends() {
    let folder = TestFolder::new();
    let server = TestServer::spawn({
        let mut serve = serve(&folder, "127.0.0.1:0");
        serve.arg("--data").arg(folder.0.join("data")).stderr(Stdio::null());
        serve
    });
    let end = |query: &str| server.call("GET", &format!("/api/backup{query}"), "");
    assert_eq!(end(""), (200, json!({ "phase": "none" })));
    assert_eq!(end("?number=1").1["error"], "unknown-backup");
    std::fs::create_dir_all(folder.0.join("taken/by")).unwrap();
    for (number, name) in [(1, "first"), (2, "taken"), (3, "third")] {
        let body = json!({ "folder": folder.0.join(name) }).to_string();
        let begun = json!({ "phase": "running", "number": number });
        assert_eq!(server.call("POST", "/api/backup", &body), (202, begun));
        end("");
    }
    for (number, name) in [(1, "first"), (3, "third")] {
        let (status, made) = end(&format!("?number={number}"));
        assert_eq!((status, &made["phase"]), (200, &json!("done")), "{made}");
        assert_eq!(made["folder"], folder.0.join(name).to_str().unwrap());
        assert_eq!(made["number"], number);
    }
    let (status, refused) = end("?number=2");
    assert_eq!((status, &refused["error"]), (507, &json!("backup-failed")), "{refused}");
    assert_eq!(end("").1["number"], 3);
    assert_eq!(end("?number=4").0, 404);
    server.stop();
}

/// Whom nothing belongs to.
const NOBODY: u32 = 65_534;

#[test]
fn a_backup_is_made_and_restored_by_a_user_who_is_not_root() {
    let place = Place::new();
    if std::os::unix::fs::chown(&place.0, Some(NOBODY), Some(NOBODY)).is_err() {
        println!("NOT SHOWN: only root can be somebody else; all other tests were not root");
        return;
    }
    // Where everybody gets at it.
    let program = place.at("warren");
    let built = command(&[]).get_program().to_owned();
    std::fs::hard_link(&built, &program)
        .or_else(|_| std::fs::copy(&built, &program).map(drop))
        .unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).uid(NOBODY).gid(NOBODY).env_remove("XDG_RUNTIME_DIR");
        command.current_dir("/");
        command
    };
    let start = |data: &str| {
        let mut serve = run(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "2", "--data"]).arg(place.at(data));
        TestServer::spawn(serve)
    };
    let restore = |from: &str, to: &str| {
        run(&["restore"]).arg(place.at(from)).arg("--data").arg(place.at(to)).output().unwrap()
    };
    let server = start("data");
    let mut client = Client::log_in(server.listen, "ann");
    let create = json!({"msg": "create", "kind": "sword", "ack": "durable"});
    let sword = ask(&mut client, &create)["object"].clone();
    let mut backup = run(&["backup", "--admin"]);
    backup.arg(server.admin.to_string()).arg("--data").arg(place.at("data"));
    done(&backup.arg(place.at("backup")).output().unwrap());
    server.stop();
    done(&restore("backup", "restored"));
    let server = start("restored");
    let mut client = Client::log_in(server.listen, "bob");
    ask(&mut client, &json!({"msg": "get", "object": sword}));
    server.stop();

    // Of root's backup, which others may not read, nothing comes, and that is said.
    let server = place.start("of-root");
    done(&place.back_up(&server.admin, "of-root", "backup-of-root"));
    server.stop();
    let refused = restore("backup-of-root", "another");
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(71), "{told}");
    assert!(told.contains("backup-of-root") && told.contains("denied"), "{told}");
    assert!(!place.at("another/state").exists());
}

#[test]
fn what_cannot_be_backed_up_is_refused_with_its_word() {
    let place = Place::new();
    let told = |output: &Output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        // For programs, too.
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(answer["error"].is_string() && answer["detail"].is_string(), "{answer}");
        String::from_utf8(output.stderr.clone()).unwrap()
    };
    let server = place.start("data");
    done(&place.back_up(&server.admin, "data", "backup"));
    let again = told(&place.back_up(&server.admin, "data", "backup"));
    assert!(again.contains("backup-failed") && again.contains("in it already"), "{again}");
    let nowhere = told(&place.back_up(&server.admin, "data", "nowhere/backup"));
    assert!(nowhere.contains("backup-failed") && nowhere.contains("nowhere"), "{nowhere}");
    // It has done no harm.
    done(&place.restore("backup", "restored"));
    server.stop();
    let over = place.restore("backup", "data");
    assert_eq!(over.status.code(), Some(71), "{over:?}");
    assert!(Path::exists(&place.at("data/state")));

    let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin"]);
    let server = TestServer::spawn({
        serve.arg(format!("unix:{}", place.at("admin").display()));
        serve
    });
    let nothing = told(&place.back_up(&server.admin, "data", "another"));
    assert!(nothing.contains("nothing-stored"), "{nothing}");
    server.stop();
}
