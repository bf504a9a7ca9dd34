//! Native plugins in the real server: loaded at the start and while it serves, by libraries that the test
//! compiles.

mod behaviours;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::{Value, json};

use crate::admin::{TOKEN, TestFolder};
use crate::client::Client;
use crate::compiler::Compiled;
use crate::server::{TestServer, command};

const KILL: i32 = 9;
/// Changes of the version while clients ask.
const LOADS: usize = 100;
/// Clients, each with an object of its own; half of the objects are on each of two shards.
const CLIENTS: u64 = 4;
/// Partitions of a group: the next group is on the next shard.
const GROUP: u64 = 64;
/// Requests that a client has on their way.
const WINDOW: u64 = 8;

/// So long after which the server has surely ended that an event is of the next one.
const LATER_MS: u64 = 5_000;

const LIMITS: &str = "[limits]\nmessages_per_s = 0\nbytes_per_s = 0\n";

fn compiled(name: &str, definitions: &[&str]) -> Compiled {
    Compiled::new(concat!(env!("CARGO_MANIFEST_DIR"), "/plugins"), name, definitions)
}

/// The game in this version, whose hits take so much.
fn game(version: &str, damage: u64) -> Compiled {
    let (version, damage) = (format!("VERSION={version}"), format!("DAMAGE={damage}"));
    compiled("game", &["NAME=combat", "METHOD=hit", &version, &damage])
}

/// A server of so many shards with these libraries, and what it takes to order it.
struct Place {
    folder: TestFolder,
    server: TestServer,
}

impl Place {
    fn start(shards: usize, libraries: &[&Compiled], more: &str) -> Self {
        let folder = TestFolder::new();
        let token = folder.file("token", TOKEN);
        let config = format!("[admin]\ntoken_file = {token:?}\n{}{more}", config_of(libraries));
        folder.file("warren.toml", &config);
        let server = start_in(&folder, shards);
        Self { folder, server }
    }

    /// What `ctl plugins` prints, or the refusal.
    fn ctl(&self, order: &[&str]) -> Result<String, String> {
        let mut command = command(&["ctl", "--admin", &self.server.admin.to_string()]);
        command.arg("--token-file").arg(self.folder.0.join("token")).arg("plugins");
        let output = command.args(order).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        match output.status.code() {
            Some(0) => Ok(text(output.stdout)),
            Some(1) => Err(text(output.stderr)),
            _ => panic!("{output:?}"),
        }
    }

    fn load(&self, library: &Compiled) -> Result<String, String> {
        self.ctl(&["load", library.path().to_str().unwrap()])
    }

    fn plugins(&self) -> Value {
        let told: Value = serde_json::from_str(&self.ctl(&["list", "--json"]).unwrap()).unwrap();
        told["plugins"].clone()
    }
}

fn start_in(folder: &TestFolder, shards: usize) -> TestServer {
    let shards = shards.to_string();
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    serve.args(["--shards", &shards, "--config"]).arg(folder.0.join("warren.toml"));
    TestServer::spawn(serve)
}

fn config_of(libraries: &[&Compiled]) -> String {
    let files: Vec<_> = libraries.iter().map(|library| library.path()).collect();
    format!("{LIMITS}[plugins]\nfiles = {files:?}\n")
}

fn ask(client: &mut Client, request: &Value) -> Value {
    client.send(format!("{request}\n"));
    client.reply(request["msg"].as_str().unwrap())
}

/// A wolf of the client's, in this partition.
fn wolf(client: &mut Client, partition: u64) -> Value {
    let create = json!({"msg": "create", "kind": "wolf", "partition": partition, "hp": 1_000_000});
    ask(client, &create)["object"].clone()
}

/// Asks until all is over, and says how many answers were of which version.
fn ask_on(listen: SocketAddr, number: u64, is_over: &AtomicBool) -> [u64; 2] {
    let mut client = Client::log_in(listen, &format!("u{number}"));
    let target = wolf(&mut client, number * GROUP);
    let mut counts = [0; 2];
    while !is_over.load(Relaxed) {
        for id in 0..WINDOW {
            let hit = json!({"msg": "hit", "id": id, "target": target, "plugin": true});
            client.send(format!("{hit}\n"));
        }
        let mut last = Value::Null;
        for _ in 0..WINDOW {
            last = client.reply("hit");
            assert_eq!(last["status"], 0, "{last}");
            let (version, damage) =
                (last["hit_by"].as_str().unwrap(), last["of"].as_u64().unwrap());
            let place = usize::from(version == "1.1");
            assert_eq!(version, ["1.0", "1.1"][place]);
            assert_eq!(last["plugin"], format!("combat@{version}"), "{last}");
            assert_eq!(damage, [2, 3][place], "code and data are of one version: {last}");
            counts[place] += 1;
        }
        // Nobody else hits this one: what the last hit has changed is what it has said.
        let now = ask(&mut client, &json!({"msg": "get", "object": target}));
        assert_eq!((&now["hp"], &now["hit_by"]), (&last["hp"], &last["hit_by"]));
    }
    let now = ask(&mut client, &json!({"msg": "get", "object": target}));
    let taken = 2 * counts[0] + 3 * counts[1];
    assert_eq!(
        now["hp"],
        1_000_000 - taken as i64,
        "each hit has taken its version's damage, once"
    );
    counts
}

/// Tells clients that all is over, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_hundred_versions_under_load_fail_no_request_and_never_mix() {
    let versions = [game("1.0", 2), game("1.1", 3)];
    let place = Place::start(2, &[&versions[0]], "");
    let server = &place.server;
    let is_over = AtomicBool::new(false);
    let counts = std::thread::scope(|scope| {
        let (listen, is_over) = (server.listen, &is_over);
        let ask_on = |number| scope.spawn(move || ask_on(listen, number, is_over));
        let asking: Vec<_> = (0..CLIENTS).map(ask_on).collect();
        let _over = Over(is_over);
        let mut watcher = Client::log_in(server.listen, "watcher");
        let targets = [0, GROUP].map(|partition| wolf(&mut watcher, partition));
        for number in 1..=LOADS {
            let version = number % 2;
            let told = place.load(&versions[version]).unwrap();
            assert_eq!(told, format!("combat@1.{version} is at work\n"));
            // From the answer on no shard does it as before.
            for target in &targets {
                let hit = ask(&mut watcher, &json!({"msg": "hit", "target": target}));
                assert_eq!(hit["hit_by"], format!("1.{version}"), "{hit}");
            }
        }
        drop(_over);
        let counts = asking.into_iter().map(|asking| asking.join().unwrap());
        counts.fold([0, 0], |sum, counts| [sum[0] + counts[0], sum[1] + counts[1]])
    });
    println!("{LOADS} loads, {counts:?} answers of the two versions, 0 failed");
    assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
    assert_eq!(server.metric_of_server("warren_plugin_libraries"), LOADS as u64 + 1);
    assert_eq!(server.metric("warren_plugin_failures_total", "combat"), 0);
    let rows = place.plugins();
    assert_eq!((&rows[0]["version"], &rows[0]["earlier"]), (&"1.0".into(), &"1.1".into()));
    assert_eq!(place.ctl(&["rollback", "combat"]).unwrap(), "combat@1.1 is at work\n");
    let mut client = Client::log_in(server.listen, "late");
    let target = wolf(&mut client, 7);
    assert_eq!(ask(&mut client, &json!({"msg": "hit", "target": target}))["hit_by"], "1.1");
    place.server.stop();
}

/// Also when the server was started again before, with another version.
#[test]
fn a_scheduled_event_of_a_plugin_s_method_is_done_inline_when_its_time_comes() {
    let versions = [game("1.0", 2), game("1.1", 3)];
    let kept = TestFolder::new();
    let data = format!("[server]\ndata = {:?}\n", kept.0.join("data"));
    let mut place = Place::start(2, &[&versions[0]], &data);
    // On both shards.
    let targets = [1, GROUP];
    let schedule = |client: &mut Client, target: &Value, delay_ms: u64| {
        let event =
            json!({"msg": "new-event", "event": "hit", "delay_ms": delay_ms, "target": target});
        ask(client, &event)["status"].clone()
    };
    let mut client = Client::log_in(place.server.listen, "ann");
    let targets = targets.map(|partition| wolf(&mut client, partition));
    for target in &targets {
        assert_eq!(ask(&mut client, &json!({"msg": "watch", "object": target}))["status"], 0);
        assert_eq!(schedule(&mut client, target, 20), 0);
        assert_eq!(client.heard("changed")["hp"], 1_000_000 - 2);
        assert_eq!(schedule(&mut client, target, LATER_MS), 0);
    }
    let Place { folder, server } = place;
    server.stop();
    folder.file("warren.toml", &(config_of(&[&versions[1]]) + &data));
    place = Place { server: start_in(&folder, 2), folder };
    let mut client = Client::log_in(place.server.listen, "ann");
    for target in &targets {
        let watch = ask(&mut client, &json!({"msg": "watch", "object": target}));
        let left = if watch["hp"] == 1_000_000 - 2 { client.heard("changed") } else { watch };
        assert_eq!(left["hp"], 1_000_000 - 2 - 3, "{left}");
    }
    place.server.stop();
}

/// The log has each attempt before the plugin is called, and there are three.
#[test]
fn an_event_that_ends_the_process_is_dead_when_it_has_done_so_three_times() {
    let (library, folder) = (compiled("crash", &[]), TestFolder::new());
    let data = format!("[server]\ndata = {:?}\n", folder.0.join("data"));
    folder.file("warren.toml", &(data + &config_of(&[&library])));
    let server = start_in(&folder, 1);
    let mut client = Client::log_in(server.listen, "ann");
    client.send("{\"msg\":\"new-event\",\"event\":\"boom\",\"delay_ms\":0}\n");
    server.wait();
    for _ in 0..2 {
        start_in(&folder, 1).wait();
    }
    let server = start_in(&folder, 1);
    server.metric_becomes("warren_tasks_dead", "", 1);
    let mut client = Client::log_in(server.listen, "ann");
    assert_eq!(ask(&mut client, &json!({"msg": "ping"}))["status"], 0);
    server.stop();
}

#[test]
fn bad_plugins_end_a_start_and_disturb_no_server() {
    let good = game("1.0", 2);
    let bad = |fault: &str| compiled("bad", &[format!("FAULT={fault}").as_str()]);
    let place = Place::start(2, &[&good], "");
    let server = &place.server;
    let mut client = Client::log_in(server.listen, "ann");
    let target = wolf(&mut client, 171);
    for (library, word) in [
        (bad("SELF_CHECK"), "self-check-failed"),
        (bad("ABI_MAJOR"), "abi-mismatch"),
        (bad("PLUGIN_SIZE"), "size-invalid"),
        (bad("BUILT_IN"), "method-built-in"),
        (compiled("game", &["NAME=other", "METHOD=hit", "VERSION=9", "DAMAGE=9"]), "method-taken"),
    ] {
        let refused = place.load(&library).unwrap_err();
        let path = library.path().display();
        assert!(
            refused.starts_with(&format!("warren: plugin-refused: {path}: {word}: ")),
            "{refused}"
        );
        let hit = ask(&mut client, &json!({"msg": "hit", "target": target}));
        assert_eq!((&hit["status"], &hit["hit_by"]), (&0.into(), &"1.0".into()), "{word}");
        if word != "method-taken" {
            let (status, told) = start_with(&config_of(&[&good, &library]));
            assert_eq!(status, Some(78), "{told}");
            assert!(told.contains("config-invalid") && told.contains(word), "{told}");
        }
    }
    let refused = place.ctl(&["rollback", "combat"]).unwrap_err();
    assert!(refused.starts_with("warren: no-earlier-version: combat: "), "{refused}");
    let refused = place.ctl(&["rollback", "foxes"]).unwrap_err();
    assert!(refused.starts_with("warren: unknown-plugin: foxes: "), "{refused}");
    // What a plugin says wrongly comes to nothing.
    place.load(&bad("FINE")).unwrap();
    for (method, error) in [
        ("stumble", "plugin-failed"),
        ("huge", "effects-too-large"),
        ("many", "effects-too-large"),
        ("value", "not-utf8"),
    ] {
        let reply = ask(&mut client, &json!({"msg": method, "object": target}));
        assert_eq!(reply["error"], error, "{method}");
    }
    let hit = ask(&mut client, &json!({"msg": "hit", "target": target}));
    assert_eq!((&hit["status"], &hit["hp"]), (&0.into(), &(1_000_000 - 2 * 6).into()), "{hit}");
    place.server.stop();
}

/// How a server ends that does not start.
fn start_with(config: &str) -> (Option<i32>, String) {
    let folder = TestFolder::new();
    folder.file("warren.toml", config);
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    serve.arg("--config").arg(folder.0.join("warren.toml"));
    let output = serve.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_slow_plugin_is_called_no_more_and_nothing_else_is_disturbed() {
    let (slow, good) = (compiled("slow", &[]), game("1.0", 2));
    let place = Place::start(1, &[&slow, &good], "call_us_max = 100\nstrikes_max = 3\n");
    let server = &place.server;
    let mut client = Client::log_in(server.listen, "ann");
    let spin = json!({"msg": "spin"});
    for _ in 0..3 {
        assert_eq!(ask(&mut client, &spin)["status"], 0);
    }
    let disabled = ask(&mut client, &spin);
    assert_eq!((&disabled["status"], &disabled["error"]), (&503.into(), &"plugin-disabled".into()));
    let target = wolf(&mut client, 171);
    assert_eq!(ask(&mut client, &json!({"msg": "hit", "target": target}))["status"], 0);
    let rows = place.plugins();
    assert_eq!((&rows[0]["state"], &rows[1]["state"]), (&"serving".into(), &"disabled".into()));
    assert_eq!(server.metric("warren_plugin_strikes_total", "slow"), 3);
    assert_eq!(server.metric("warren_plugin_disabled", "slow"), 1);
    let text = place.ctl(&["list"]).unwrap();
    assert!(text.contains("slow    1        disabled "), "{text}");
    place.load(&slow).unwrap();
    assert_eq!(ask(&mut client, &spin)["status"], 0);
    assert_eq!(server.metric("warren_plugin_disabled", "slow"), 0);
    place.server.stop();
}

#[test]
fn what_a_plugin_was_asked_to_do_durably_outlives_a_kill() {
    let (library, folder) = (game("1.0", 2), TestFolder::new());
    let data = format!("[server]\ndata = {:?}\n", folder.0.join("data"));
    folder.file("warren.toml", &(data + &config_of(&[&library])));
    let start = || start_in(&folder, 2);
    let server = start();
    let mut client = Client::log_in(server.listen, "ann");
    let target = wolf(&mut client, 171);
    let hit = json!({"msg": "hit", "target": target, "ack": "durable"});
    assert_eq!(ask(&mut client, &hit)["hp"], 999_998);
    server.signal(KILL);
    server.wait();
    let server = start();
    let mut client = Client::log_in(server.listen, "ann");
    let wolf = ask(&mut client, &json!({"msg": "get", "object": target}));
    assert_eq!((&wolf["hp"], &wolf["hit_by"]), (&999_998.into(), &"1.0".into()), "{wolf}");
    server.stop();
}
