//! What outlives the process: after a stop everything, after a kill all but what changed last.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::client::{Client, PATIENCE};
use crate::server::{TestServer, command, unique};

const KILL: i32 = 9;
const TERMINATE: i32 = 15;

/// A data folder and a configuration that use it, removed with their test.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn new(snapshot_interval_ms: u64) -> Self {
        let name = format!("warren-restart-{}-{}", std::process::id(), unique());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "[log]\nformat = \"json\"\n[storage]\nsnapshot_interval_ms = {snapshot_interval_ms}\n"
        );
        std::fs::write(folder.join("warren.toml"), config).unwrap();
        Self { folder }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A server on the folder whose log can be read.
    fn start(&self, shards: &str) -> TestServer {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", shards, "--config"]).arg(self.folder.join("warren.toml"));
        serve.arg("--data").arg(self.data()).stderr(Stdio::piped());
        TestServer::spawn(serve)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Sends a request and returns its reply.
fn ask(client: &mut Client, request: &Value) -> Value {
    client.send(format!("{request}\n"));
    let reply = client.reply(request["msg"].as_str().unwrap());
    assert_eq!(reply["status"], 0, "{request}: {reply}");
    reply
}

/// A metric that the server has once.
fn metric_of_server(server: &TestServer, name: &str) -> u64 {
    let (_, body) = server.get("/metrics");
    let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in:\n{body}")).parse::<f64>().unwrap() as u64
}

/// Waits until a metric that the server has once is so great.
#[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
fn wait_for_metric(server: &TestServer, name: &str, least: u64) {
    let deadline = Instant::now() + PATIENCE;
    while metric_of_server(server, name) < least {
        assert!(Instant::now() < deadline, "{name} does not become {least}");
    }
}

/// Waits until so many changed objects are on the disk, and none waits to be.
fn wait_until_stored(server: &TestServer, objects: u64) {
    server.metric_becomes("warren_changed_objects", "", 0);
    wait_for_metric(server, "warren_snapshot_objects_total", objects);
}

/// What `warren ctl digest` tells.
fn digest_of(server: &TestServer, place: &Place) -> Value {
    let mut ctl = command(&["ctl", "digest", "--groups", "--json", "--admin"]);
    let output =
        ctl.arg(server.admin.to_string()).arg("--data").arg(place.data()).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn state(line: &Value) -> [&Value; 3] {
    [&line["objects"], &line["rooms"], &line["digest"]]
}

#[test]
fn after_sigterm_objects_rooms_and_owners_are_there() {
    let place = Place::new(600_000);
    let mut server = place.start("2");
    assert!(server.logged("no state is stored yet")["start"] == 1);
    let mut ann = Client::log_in(server.listen, "ann");
    let _bob = Client::log_in(server.listen, "bob");
    let hall = json!({"msg": "create", "kind": "room", "room": "hall", "members_max": 2});
    ask(&mut ann, &hall);
    ann.join("camp");
    let mut swords = Vec::new();
    for partition in [0, 1, 63, 64, 171, 40_000, 65_535] {
        let sword = json!({"msg": "create", "kind": "sword", "partition": partition,
                           "room": "camp", "weight": partition, "sharp": true});
        let id = ask(&mut ann, &sword)["object"].as_str().unwrap().to_owned();
        ask(&mut ann, &json!({"msg": "set", "object": id, "colour": "red"}));
        swords.push((partition, id));
    }
    let (_, gone) = swords.pop().unwrap();
    ask(&mut ann, &json!({"msg": "delete", "object": gone}));
    let (_, given) = &swords[0];
    ask(&mut ann, &json!({"msg": "set", "object": given, "owner": "bob"}));
    let digest = digest_of(&server, &place);
    server.signal(TERMINATE);
    let (status, log) = server.wait_and_read_log();
    assert_eq!(status.code(), Some(0));
    let stored = log.iter().find(|line| line["message"] == "state stored").expect("it is told");
    assert_eq!(state(stored)[..2], [&json!(10), &json!(2)]);
    assert_eq!([&digest["objects"], &digest["digest"]], [&stored["objects"], &stored["digest"]]);

    // Another number of shards: the groups are dealt anew.
    let mut server = place.start("1");
    server.logged("the state is complete: the last server stored all it had");
    let loaded = server.logged("state loaded");
    assert_eq!(state(&loaded), state(stored));
    assert_eq!(digest_of(&server, &place), digest);
    let mut carl = Client::log_in(server.listen, "carl");
    for (index, (partition, id)) in swords.iter().enumerate() {
        let owner = if index == 0 { "bob" } else { "ann" };
        // Its owner is told the room too.
        let mut client = Client::log_in(server.listen, owner);
        let sword = ask(&mut client, &json!({"msg": "get", "object": id}));
        let expected = json!({"msg": "get", "status": 0, "kind": "sword", "owner": owner,
            "version": if index == 0 { 3 } else { 2 }, "room": "camp", "weight": partition,
            "sharp": true, "colour": "red"});
        assert_eq!(sword, expected);
    }
    ask(&mut carl, &json!({"msg": "join", "room": "hall"}));
    let rooms = ask(&mut carl, &json!({"msg": "rooms"}));
    assert_eq!(rooms["rooms"], json!(["camp", "hall"]));
    carl.send(format!("{}\n", json!({"msg": "get", "object": gone})));
    assert_eq!(carl.reply("get")["error"], "unknown-object");
    // Its address is not given away again.
    let next = json!({"msg": "create", "kind": "sword", "partition": 65_535});
    assert_ne!(ask(&mut carl, &next)["object"], gone);
    let mut bob = Client::log_in(server.listen, "bob");
    ask(&mut bob, &json!({"msg": "delete", "object": swords[0].1}));
    server.stop();
}

#[test]
fn after_a_kill_all_is_there_but_what_changed_last() {
    const STORED: usize = 60;
    let place = Place::new(10);
    let server = place.start("2");
    let mut ann = Client::log_in(server.listen, "ann");
    let create = |index: usize| json!({"msg": "create", "kind": "sword", "partition": index * 1000, "weight": index});
    let mut swords = Vec::new();
    for index in 0..STORED {
        let reply = ask(&mut ann, &create(index));
        swords.push(reply["object"].as_str().unwrap().to_owned());
    }
    wait_until_stored(&server, STORED as u64 + 1);
    // These may be stored or not.
    for index in 0..STORED {
        let reply = ask(&mut ann, &create(index));
        swords.push(reply["object"].as_str().unwrap().to_owned());
    }
    server.signal(KILL);
    assert_eq!(server.wait().signal(), Some(KILL));

    let mut server = place.start("2");
    let told = server.logged(
        "the last server did not stop by itself: the newest snapshot is from then, and what changed \
         since is taken from the delta log",
    );
    assert_eq!(told["level"], "WARN");
    assert!(told["from"].as_str().unwrap().ends_with('Z'), "{told}");
    let mut bob = Client::log_in(server.listen, "bob");
    let mut missing = 0;
    for (index, id) in swords.iter().enumerate() {
        bob.send(format!("{}\n", json!({"msg": "get", "object": id})));
        let reply = bob.reply("get");
        if reply["status"] == 0 {
            assert_eq!(
                (&reply["weight"], &reply["owner"]),
                (&json!(index % STORED), &json!("ann"))
            );
        } else {
            assert!(index >= STORED, "{id} was stored: {reply}");
            missing += 1;
        }
    }
    println!("{missing} of {STORED} objects that were made last are missing after the kill");
    // Whoever remembers one that is gone does not meet another under its name.
    for index in 0..STORED {
        let id = ask(&mut bob, &create(index))["object"].as_str().unwrap().to_owned();
        assert!(!swords.contains(&id), "{id} is given away again");
    }
    server.stop();
}

#[test]
fn a_folder_that_is_in_use_or_damaged_stops_the_start_with_its_status() {
    let place = Place::new(10);
    let server = place.start("1");
    let second = |data: &Path| {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"];
        let output = command(&serve).arg(data).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, told) = second(&place.data());
    assert_eq!(status, Some(75), "{told}");
    assert!(told.contains("data-folder-locked"), "{told}");
    server.stop();
    // RocksDB's list of its files.
    std::fs::write(place.data().join("state/CURRENT"), "nonsense\n").unwrap();
    let (status, told) = second(&place.data());
    assert_eq!(status, Some(65), "{told}");
    assert!(told.contains("state-unusable") && told.contains("state:"), "{told}");
}

#[test]
fn a_state_and_a_log_of_different_moments_stop_the_start() {
    let place = Place::new(10);
    let copy = |from: &Path, to: &Path| {
        let _ = std::fs::remove_dir_all(to);
        assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
    };
    let kept = |part: &str, moment: usize| place.folder.join(format!("{part}-{moment}"));
    for moment in [1, 2] {
        let server = place.start("2");
        let mut ann = Client::log_in(server.listen, "ann");
        ask(&mut ann, &json!({"msg": "create", "kind": "sword"}));
        server.stop();
        for part in ["state", "log"] {
            copy(&place.data().join(part), &kept(part, moment));
        }
    }
    let started = |state: Option<usize>, log: usize| {
        match state {
            Some(state) => copy(&kept("state", state), &place.data().join("state")),
            None => std::fs::remove_dir_all(place.data().join("state")).unwrap(),
        }
        copy(&kept("log", log), &place.data().join("log"));
        // One that starts would serve for ever.
        let mut serve = Command::new("timeout");
        serve.args(["30", env!("CARGO_BIN_EXE_warren"), "serve", "--listen", "127.0.0.1:0"]);
        serve.args(["--admin", "127.0.0.1:0", "--data"]).arg(place.data());
        let output = serve.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (state, log, words) in [
        (Some(1), 2, "written by start 2 of this world, and the state knows of 1"),
        (None, 2, "written by start 2 of this world, and the state knows of 0"),
        (Some(2), 1, "state and log are of different moments"),
    ] {
        let (status, told) = started(state, log);
        assert_eq!(status, Some(65), "{told}");
        assert!(told.contains("state-unusable") && told.contains(words), "{told}");
    }
    // A state that names no log takes one that it has not given up, and then the shards compare. However
    // often, it ends by itself: RocksDB is closed before the process is, while other shards still load.
    copy(&kept("state", 2), &place.data().join("state"));
    let mut forget = command(&["log", "forget", "--data"]);
    assert!(forget.arg(place.data()).output().unwrap().status.success());
    copy(&place.data().join("state"), &kept("state", 3));
    let other = Place::new(10);
    let server = other.start("2");
    ask(&mut Client::log_in(server.listen, "ann"), &json!({"msg": "create", "kind": "sword"}));
    server.stop();
    copy(&other.data().join("log"), &kept("log", 3));
    for _ in 0..20 {
        let (status, told) = started(Some(3), 3);
        assert_eq!(status, Some(65), "{told}");
        assert!(told.contains("is stored up to sequence"), "{told}");
    }
    // Nothing was changed by that.
    for part in ["state", "log"] {
        copy(&kept(part, 2), &place.data().join(part));
    }
    let mut server = place.start("2");
    // Two swords, and what is ann's.
    assert_eq!(server.logged("state loaded")["objects"], 3);
    server.stop();
}

#[test]
fn the_demo_s_ball_is_there_again_the_next_time() {
    let place = Place::new(10);
    let demo = || {
        let mut demo = command(&["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        // Where it goes when nobody says another place.
        demo.env("XDG_DATA_HOME", &place.folder);
        TestServer::spawn(demo)
    };
    let server = demo();
    let mut ann = Client::log_in(server.listen, "ann");
    ann.join("plaza");
    let painted = ann.heard("changed");
    assert_eq!((&painted["object"], &painted["room"]), (&json!("171.1"), &json!("plaza")));
    assert!(painted["colour"].is_string(), "{painted}");
    server.stop();
    assert!(place.folder.join("warren/demo/state").is_dir());
    let server = demo();
    let mut ann = Client::log_in(server.listen, "ann");
    let ball = ask(&mut ann, &json!({"msg": "get", "object": "171.1"}));
    assert_eq!((&ball["kind"], &ball["owner"]), (&json!("ball"), &json!("gail")));
    assert!(ball["version"].as_u64() >= painted["version"].as_u64(), "{ball} {painted}");
    server.stop();
}

#[test]
fn a_start_that_fails_leaves_the_state_as_it_was() {
    let place = Place::new(10);
    place.start("1").stop();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", &address, "--data"]);
    let output = serve.arg(place.data()).output().unwrap();
    assert_eq!(output.status.code(), Some(71), "{output:?}");
    let mut server = place.start("1");
    let mut ann = Client::log_in(server.listen, "ann");
    ask(&mut ann, &json!({"msg": "create", "kind": "sword"}));
    server.signal(TERMINATE);
    let (_, log) = server.wait_and_read_log();
    assert!(log.iter().all(|line| line["level"] != "WARN"), "{log:?}");
    server = place.start("1");
    server.logged("the state is complete: the last server stored all it had");
    server.stop();
}

/// Bounds the size of any file that the server writes, as a full quota would.
fn limit_files(server: &TestServer, bytes: &str) {
    let pid = server.pid().to_string();
    let limit =
        Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
    assert!(limit.unwrap().success());
}

#[test]
fn a_disk_that_fails_for_a_while_loses_nothing() {
    let place = Place::new(10);
    let mut serve = Command::new("env");
    // Without the signal a write beyond the limit fails, as on any other full disk.
    serve.args(["--ignore-signal=XFSZ", env!("CARGO_BIN_EXE_warren"), "serve", "--shards", "2"]);
    serve.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"]);
    serve.arg(place.folder.join("warren.toml")).arg("--data").arg(place.data());
    let mut server = TestServer::spawn({
        serve.stderr(Stdio::piped());
        serve
    });
    let mut ann = Client::log_in(server.listen, "ann");
    let create = |ann: &mut Client, count: u64| {
        for index in 0..count {
            let partition = index * 1000;
            ask(ann, &json!({"msg": "create", "kind": "sword", "partition": partition}));
        }
    };
    create(&mut ann, 10);
    wait_until_stored(&server, 11);
    limit_files(&server, "1");
    create(&mut ann, 10);
    // Snapshots wait for the log.
    assert_eq!(server.logged("the delta log fails; nothing becomes durable")["level"], "ERROR");
    wait_for_metric(&server, "warren_log_failures_total", 2);
    assert_eq!(metric_of_server(&server, "warren_log_failing"), 1);
    // It goes on serving meanwhile, and promises nothing.
    create(&mut ann, 10);
    let durable = json!({"msg": "create", "kind": "sword", "ack": "durable"});
    ann.send(format!("{durable}\n"));
    assert_eq!(ann.reply("create")["error"], "level-unavailable");
    limit_files(&server, "unlimited");
    server.logged("the delta log works again");
    wait_until_stored(&server, 31);
    server.signal(TERMINATE);
    let (status, log) = server.wait_and_read_log();
    assert_eq!(status.code(), Some(0), "{log:?}");
    let stored = log.iter().find(|line| line["message"] == "state stored").expect("it is told");
    let mut server = place.start("1");
    assert_eq!(state(&server.logged("state loaded")), state(stored));
    server.stop();
}

#[test]
fn a_data_folder_may_be_named_from_the_working_folder() {
    let place = Place::new(20);
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    serve.args(["--shards", "1", "--data", "data"]).current_dir(&place.folder);
    let server = TestServer::spawn(serve);
    let mut client = Client::log_in(server.listen, "ann");
    let create = json!({"msg": "create", "kind": "item", "ack": "durable"});
    assert!(ask(&mut client, &create)["object"].is_string());
    server.stop();
    assert!(place.data().join("log").is_dir());
}
