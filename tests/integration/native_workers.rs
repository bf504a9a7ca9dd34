//! Native libraries in worker processes: they do what they do inline, and what they do to their process ends one
//! attempt and nothing else.

mod by_tls;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::admin::{TOKEN, TestFolder};
use crate::client::{Client, PATIENCE};
use crate::compiler::Compiled;
use crate::server::{TestServer, command, send_signal};

/// Lines of a worker among which what is waited for has to be.
const LINES_MAX: usize = 8;
const KILL: i32 = 9;
const CONTINUE: i32 = 18;
const TERMINATE: i32 = 15;
/// Bound of a wait that looks again and again.
const LOOKS_MAX: usize = 20_000;
/// Whoever logs in may work.
const OPEN: &str = "[methods.work]\nroles = [\"user\"]\n[methods.begin]\nroles = [\"user\"]\n\
    [methods.effect]\nroles = [\"user\"]\n[methods.extend]\nroles = [\"user\"]\n\
    [methods.done]\nroles = [\"user\"]\n[methods.fail]\nroles = [\"user\"]\n\
    [methods.release]\nroles = [\"user\"]\n";

fn compiled(source: &str) -> Compiled {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Compiled::cpp(&root.join("plugins/include"), &root.join(source))
}

fn combat() -> Compiled {
    compiled("examples/combat-cpp/combat.cpp")
}

fn faults() -> Compiled {
    compiled("tests/integration/native_workers/faults.cpp")
}

/// A server's folder, with a configuration that says this beside.
fn folder_with(config: &str) -> TestFolder {
    let folder = TestFolder::new();
    let token = folder.file("token", TOKEN);
    let config = format!(
        "[admin]\ntoken_file = {token:?}\n[log]\nformat = \"json\"\n\
         [limits]\nmessages_per_s = 0\nbytes_per_s = 0\n{config}"
    );
    folder.file("warren.toml", &config);
    folder
}

fn start_at(folder: &TestFolder, listen: &str) -> TestServer {
    let mut serve = command(&["serve", "--listen", listen, "--admin", "127.0.0.1:0"]);
    serve.args(["--shards", "2", "--config"]).arg(folder.0.join("warren.toml"));
    serve.stderr(Stdio::piped());
    TestServer::spawn(serve)
}

fn start(folder: &TestFolder) -> TestServer {
    start_at(folder, "127.0.0.1:0")
}

/// A server of its own with so many workers for the library, all of which work.
fn start_with_workers(library: &Compiled, count: usize) -> (TestFolder, TestServer) {
    let file = library.path();
    let folder = folder_with(&format!("[workers.game]\nfile = {file:?}\ncount = {count}\n"));
    let mut server = start(&folder);
    for _ in 0..count {
        server.logged("a worker works");
    }
    (folder, server)
}

fn ask(client: &mut Client, request: &Value) -> Value {
    client.send(format!("{request}\n"));
    client.reply(request["msg"].as_str().unwrap())
}

/// All that ann sees of a combat, but for what tells tasks from calls.
fn combat_of(server: &TestServer) -> Vec<Value> {
    let mut client = Client::log_in(server.listen, "ann");
    client.join("arena");
    let tree = json!({"msg": "create", "kind": "tree", "hp": 9});
    let tree = ask(&mut client, &tree)["object"].clone();
    let mut seen = vec![ask(&mut client, &json!({"msg": "combat.spawn", "room": "arena"}))];
    let found = ask(&mut client, &json!({"msg": "find", "kind": "wolf"}));
    let wolf = json!({"msg": "combat.attack", "target": found["objects"][0], "plugin": true});
    let heal = json!({"msg": "combat.heal", "target": found["objects"][0]});
    for request in [&wolf, &heal, &heal, &wolf, &wolf, &wolf] {
        seen.push(ask(&mut client, request));
    }
    let gone = ask(&mut client, &json!({"msg": "get", "object": found["objects"][0]}));
    assert_eq!(gone["error"], "unknown-object");
    let refused = ask(&mut client, &json!({"msg": "combat.attack", "target": tree}));
    assert!(refused["error"] == "plugin-failed" || refused["error"] == "task-failed", "{refused}");
    seen.push(refused["status"].clone());
    seen
}

#[test]
fn one_library_does_the_same_inline_and_in_a_worker() {
    let library = combat();
    let files = format!("[plugins]\nfiles = [{:?}]\n", library.path());
    let folder = folder_with(&files);
    let inline = start(&folder);
    let seen = combat_of(&inline);
    inline.stop();
    let hps: Vec<&Value> = seen[1..7].iter().map(|answer| &answer["hp"]).collect();
    assert_eq!(hps, [13, 18, 20, 13, 6, 0], "{seen:?}");
    assert_eq!(seen[1]["plugin"], "combat@1.0.0");
    let (_folder, server) = start_with_workers(&library, 1);
    assert_eq!(combat_of(&server), seen);
    server.stop();
}

/// A target with a count, and what asks for one more.
struct Counter {
    client: Client,
    target: Value,
}

impl Counter {
    fn new(server: &TestServer) -> Self {
        let mut client = Client::log_in(server.listen, "ann");
        let create = json!({"msg": "create", "kind": "counter", "n": 0});
        let target = ask(&mut client, &create)["object"].clone();
        Self { client, target }
    }

    fn work(&mut self, fault: &str, once: Option<&Path>) -> Value {
        let mut request = json!({"msg": "work.do", "target": self.target, "fault": fault});
        if let Some(once) = once {
            request["once"] = once.to_str().unwrap().into();
        }
        ask(&mut self.client, &request)
    }

    /// Asks for work that waits in the middle until [`go_on`] is called, and returns when it does.
    fn begin_to_wait(&mut self, server: &TestServer, once: &Path) {
        let mut request = json!({"msg": "work.slowly", "target": self.target, "fault": "wait"});
        request["once"] = once.to_str().unwrap().into();
        self.client.send(format!("{request}\n"));
        let mut looks = 0..LOOKS_MAX;
        while !once.exists() {
            assert!(looks.next().is_some(), "the method is not called");
            server.metric("warren_task_leases_total", "shard");
        }
    }

    fn n(&mut self) -> i64 {
        let get = json!({"msg": "get", "object": self.target});
        ask(&mut self.client, &get)["n"].as_i64().unwrap()
    }
}

/// The file that says who was faulty.
fn once(folder: &TestFolder, fault: &str) -> PathBuf {
    folder.0.join(format!("{fault}.pid"))
}

fn go_on(once: &Path) {
    std::fs::write(once.with_extension("pid.go"), "").unwrap();
}

#[test]
fn what_was_made_of_an_older_version_is_made_anew() {
    let library = faults();
    let (folder, server) = start_with_workers(&library, 1);
    let mut counter = Counter::new(&server);
    let path = once(&folder, "wait");
    counter.begin_to_wait(&server, &path);
    let set = json!({"msg": "set", "object": counter.target, "n": 100});
    counter.client.send(format!("{set}\n"));
    assert_eq!(counter.client.reply("set")["status"], 0);
    go_on(&path);
    let answer = counter.client.reply("work.slowly");
    assert_eq!((&answer["status"], &answer["n"]), (&0.into(), &101.into()), "{answer}");
    assert_eq!(counter.n(), 101);
    server.metric_becomes("warren_task_leases_total", "shard", 2);
    server.stop();
}

#[test]
fn a_worker_that_its_method_ends_costs_one_attempt() {
    let library = faults();
    let (folder, server) = start_with_workers(&library, 2);
    let mut counter = Counter::new(&server);
    for (number, fault) in (1..).zip(["crash", "abort", "exit", "loop", "fork"]) {
        let path = once(&folder, fault);
        let answer = counter.work(fault, Some(&path));
        assert_eq!((&answer["status"], &answer["n"]), (&0.into(), &number.into()), "{fault}");
        let pid: Value = std::fs::read_to_string(path).unwrap().parse::<u32>().unwrap().into();
        // Who has forked goes on; all others are no more.
        assert_eq!(answer["pid"] == pid, fault == "fork", "{fault}");
        assert_eq!(counter.n(), number, "{fault}: once");
    }
    // That which loops is killed too.
    server.metric_until("warren_worker_restarts_total", "game", "4", |count| count == 4);
    server.stop();
}

#[test]
fn what_a_stopped_worker_says_after_its_time_changes_nothing() {
    let library = faults();
    let (folder, server) = start_with_workers(&library, 2);
    let mut counter = Counter::new(&server);
    let path = once(&folder, "stop");
    let answer = counter.work("stop", Some(&path));
    assert_eq!((&answer["status"], &answer["n"]), (&0.into(), &1.into()), "{answer}");
    let pid: u32 = std::fs::read_to_string(path).unwrap().parse().unwrap();
    assert_ne!(answer["pid"], pid);
    send_signal(pid, CONTINUE);
    for number in 2..20 {
        assert_eq!(counter.work("none", None)["n"], number);
    }
    server.stop();
}

#[test]
fn what_a_method_says_wrongly_fails_its_task_and_the_worker_goes_on() {
    let library = faults();
    let (_folder, server) = start_with_workers(&library, 1);
    let mut counter = Counter::new(&server);
    let pid = counter.work("none", None)["pid"].clone();
    for fault in ["throw", "throw-number", "huge", "long", "reserved"] {
        let answer = counter.work(fault, None);
        assert_eq!((&answer["status"], &answer["error"]), (&500.into(), &"task-failed".into()));
        assert_eq!(counter.n(), 1, "{fault}");
    }
    let answer = counter.work("none", None);
    assert_eq!((&answer["n"], &answer["pid"]), (&2.into(), &pid), "the same process does it");
    server.metric_becomes("warren_task_leases_total", "shard", 7);
    server.stop();
}

/// Three attempts, of which the second is a second later and the third two more; then whoever asked hears of it.
#[test]
fn a_task_that_finds_no_room_is_not_tried_for_ever() {
    let library = faults();
    // For ann, her counter and her task.
    let limits = "objects_per_partition_max = 3\n";
    let file = library.path();
    let folder = folder_with(&format!("{limits}[workers.game]\nfile = {file:?}\n"));
    let mut server = start(&folder);
    server.logged("a worker works");
    let mut counter = Counter::new(&server);
    let answer = counter.work("make", None);
    assert_eq!((&answer["status"], &answer["error"]), (&500.into(), &"task-failed".into()));
    server.metric_becomes("warren_task_leases_total", "shard", 3);
    server.logged_words("refused: partition-full");
    assert_eq!(counter.n(), 0);
    server.stop();
}

#[test]
fn an_event_of_a_worker_is_done_in_its_time() {
    let library = faults();
    let (_folder, mut server) = start_with_workers(&library, 1);
    let mut counter = Counter::new(&server);
    let mut later = |delay_ms: u64| {
        let target = &counter.target;
        let later = json!({"msg": "work.later", "target": target, "delay_ms": delay_ms});
        let answer = ask(&mut counter.client, &later);
        (answer["status"].clone(), counter.n())
    };
    // Too far ahead: nothing happens.
    assert_eq!(later(366 * 24 * 3_600_000 + 1), (500.into(), 0));
    server.logged_words("refused: field-invalid");
    assert_eq!(later(3_600_000), (0.into(), 10), "its time has not come");
    let (status, n) = later(20);
    assert!(status == 0 && (n == 20 || n == 21), "{status} {n}");
    let mut looks = 0..LOOKS_MAX;
    while counter.n() == 20 {
        assert!(looks.next().is_some(), "the event does not happen");
    }
    assert_eq!(counter.n(), 21);
    server.stop();
}

#[test]
fn a_panic_of_a_method_in_rust_fails_its_task_and_the_worker_goes_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = root.join("plugins/src/tests/plugin_in_rust.rs");
    let library = Compiled::rust(&root.join("plugins/sdk/src/lib.rs"), &source, &[]);
    let (_folder, mut server) = start_with_workers(&library, 1);
    let mut client = Client::log_in(server.listen, "ann");
    let wolf = ask(&mut client, &json!({"msg": "create", "kind": "wolf", "hp": 9}));
    let wolf = &wolf["object"];
    for (what, why) in [
        ("panic", "plugin-failed: 3 no place 7, at "),
        ("said", "plugin-failed: 2 as it is"),
        ("refused", "refused: field-invalid"),
    ] {
        let answer = ask(&mut client, &json!({"msg": "raise", "target": wolf, "what": what}));
        assert_eq!((&answer["status"], &answer["error"]), (&500.into(), &"task-failed".into()));
        server.logged_words(why);
    }
    let look = ask(&mut client, &json!({"msg": "look", "target": wolf, "i": "-5"}));
    assert_eq!((&look["hp"], &look["v"], &look["i"]), (&9.into(), &1.into(), &(-5).into()));
    let change = json!({"msg": "change", "target": wolf, "plugin": true});
    assert_eq!(ask(&mut client, &change)["plugin"], "calls-rust@3");
    assert_eq!(ask(&mut client, &json!({"msg": "get", "object": wolf}))["hp"], 2);
    server.metric_until("warren_worker_restarts_total", "game", "0", |count| count == 0);
    server.stop();
}

#[test]
fn the_panic_that_ends_a_worker_is_told_of() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = root.join("tests/integration/native_workers/two_panics.rs");
    let sdk = root.join("plugins/sdk/src/lib.rs");
    // Where no panic unwinds the first is the end; otherwise one while another unwinds is.
    for (arguments, what, texts) in [
        (&["-Cpanic=abort"][..], "once", &["no place 7"][..]),
        (&[], "twice", &["a plugin has panicked at ", "and once more"]),
    ] {
        let library = Compiled::rust(&sdk, &source, arguments);
        let (_folder, mut server) = start_with_workers(&library, 1);
        let mut client = Client::log_in(server.listen, "ann");
        client.send(format!("{}\n", json!({"msg": "fall", "what": what})));
        texts.iter().for_each(|text| drop(server.logged_words(text)));
        server.stop();
    }
}

/// A worker that a test has started by hand.
struct ByHand(Child);

impl ByHand {
    fn command(url: &str, file: &Path) -> Command {
        let mut worker = command(&["worker", "--url", url]);
        worker.arg(file).env_remove("WARREN_USER").env_remove("WARREN_TICKET");
        worker
    }

    fn start(url: &str, file: &Path) -> Self {
        Self(Self::command(url, file).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits until it has written this; at the latest it ends when its method is over its time.
    fn told(&mut self, words: &[&str]) {
        assert!(self.tells(words, None), "{words:?} is not told");
    }

    /// The same, of one that does not work: whoever works says nothing more.
    fn told_instead_of_work(&mut self, words: &[&str]) {
        assert!(self.tells(words, Some("the worker works")), "{words:?} is not told");
    }

    /// Whether it writes this, and not these last words before.
    fn tells(&mut self, words: &[&str], last: Option<&str>) -> bool {
        let lines = BufReader::new(self.0.stderr.as_mut().unwrap()).lines();
        // It may try to connect for ever.
        let lines = lines.take(LINES_MAX).map(Result::unwrap);
        let mut lines = lines.take_while(|line| last.is_none_or(|last| !line.contains(last)));
        lines.any(|line| words.iter().all(|words| line.contains(words)))
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The kernel closes the sockets of who was killed a while after its end.
fn wait_until_free(listen: &str) {
    #[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
    let end = std::time::Instant::now() + PATIENCE;
    while std::net::TcpListener::bind(listen).is_err() {
        #[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
        let now = std::time::Instant::now();
        assert!(now < end, "{listen} stays taken");
        std::thread::yield_now();
    }
}

#[test]
fn a_worker_by_hand_comes_back_to_its_server_and_ends_when_it_is_told() {
    let library = faults();
    let folder = folder_with(&format!("{OPEN}[tasks]\nmethods = [\"work.do\", \"work.slowly\"]\n"));
    let server = start(&folder);
    let listen = server.listen.to_string();
    let mut worker = ByHand::start(&format!("tcp://{listen}"), library.path());
    let first = Counter::new(&server).work("none", None);
    assert_eq!((&first["status"], &first["n"]), (&0.into(), &1.into()), "{first}");
    server.signal(KILL);
    server.wait();
    wait_until_free(&listen);
    let server = start_at(&folder, &listen);
    let second = Counter::new(&server).work("none", None);
    assert_eq!((&second["n"], &second["pid"]), (&1.into(), &first["pid"]), "{second}");
    // What it has begun when it is told to end, it finishes.
    let mut counter = Counter::new(&server);
    let path = once(&folder, "wait");
    counter.begin_to_wait(&server, &path);
    send_signal(worker.0.id(), TERMINATE);
    worker.told(&["finishes what it has begun"]);
    go_on(&path);
    let answer = counter.client.reply("work.slowly");
    assert_eq!((&answer["status"], &answer["n"]), (&0.into(), &1.into()), "{answer}");
    assert_eq!(worker.0.wait().unwrap().code(), Some(0));
    server.stop();
}

#[test]
fn a_worker_that_cannot_work_says_why() {
    let folder = folder_with("");
    let server = start(&folder);
    let library = combat();
    let no_library = folder.file("none.so", "none");
    let plain = format!("tcp://{}", server.listen);
    for (url, file, status, word) in [
        (&*plain, &*no_library, 65, "not-loadable"),
        (&*plain, library.path(), 77, "forbidden"),
        ("tls://", library.path(), 78, "url-invalid"),
        ("tcp://localhost", library.path(), 78, "url-invalid"),
        ("udp://127.0.0.1:1", library.path(), 78, "url-invalid"),
    ] {
        let output = ByHand::command(url, file).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{told}");
        assert!(told.contains(word), "{told}");
    }
    server.stop();
}

/// What follows this beginning of a fenced block behind this heading of docs/plugins.md, a line each.
fn block_of_docs(heading: &str, beginning: &str) -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/plugins.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (_, behind) = docs.split_once(&format!("\n{heading}\n")).unwrap();
    let (_, block) = behind.split_once(&format!("\n```{beginning}\n")).unwrap();
    block.split_once("\n```").unwrap().0.lines().map(str::to_owned).collect()
}

/// Does what a chapter of docs/plugins.md says, from a project of this language on.
fn method_of_chapter_works(heading: &str, language: &str, build: &[&str]) {
    let commands = block_of_docs(heading, "sh");
    let new = format!("./run new {language} game");
    let last = "../run serve --config warren.toml";
    assert_eq!(commands, [&[&*new, "cd game"], build, &[last]].concat());
    let said = block_of_docs(heading, "\n$ nc 127.0.0.1 7171");
    let place = TestFolder::new();
    let new = |folder: &Path| command(&["new", language]).arg(folder).output().unwrap();
    let game = place.0.join("game");
    let made = new(&game);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(new(&game).status.code(), Some(71), "nothing of what is there is written over");
    for line in build {
        let mut words = line.split(' ');
        let mut builder = Command::new(words.next().unwrap());
        builder.args(words).current_dir(&game).env("CXXFLAGS", "-Wall -Wextra -Werror");
        // As on a machine that has never heard of other crates, nor of this target folder.
        builder.env("CARGO_NET_OFFLINE", "true").env("CARGO_HOME", place.0.join("cargo"));
        builder.env_remove("CARGO_TARGET_DIR").env("RUSTFLAGS", "-Dwarnings");
        let built = builder.output().unwrap();
        assert!(built.status.success(), "{line}: {built:?}");
    }
    let readme = std::fs::read_to_string(game.join("README.md")).unwrap();
    assert!(readme.contains(&said.join("\n")), "both say the same");
    let mut serve = command(&["serve", "--config", "warren.toml", "--listen", "127.0.0.1:0"]);
    serve.args(["--admin", "127.0.0.1:0", "--shards", "2"]).current_dir(&game);
    serve.stderr(Stdio::piped());
    let server = TestServer::spawn(serve);
    server.metric_becomes("warren_task_workers", "shard", 2);
    let mut client = Client::connect(server.listen);
    for line in said.iter().filter(|line| line.starts_with('{')) {
        client.send(format!("{line}\n"));
    }
    let answer = client.reply("combat.attack");
    assert_eq!((&answer["status"], &answer["hp"]), (&0.into(), &13.into()), "{answer}");
    server.stop();
}

#[test]
fn the_commands_of_the_chapter_on_cpp_end_in_a_method_that_works() {
    method_of_chapter_works("## A plugin in C++", "cpp", &["make"]);
}

#[test]
fn the_commands_of_the_chapter_on_rust_end_in_a_method_that_works() {
    let build = ["cargo test", "cargo build --release"];
    method_of_chapter_works("## A plugin in Rust", "rust", &build);
}
