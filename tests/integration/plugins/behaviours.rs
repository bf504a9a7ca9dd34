//! Behaviours of plugins in a world that somebody is in: what is loaded meanwhile moves those who are there.

use std::collections::{BTreeMap, BTreeSet};

use warren_core::message::{Message, Value as Field, packed};
use warren_core::world::frame::{Frame, Update};
use warren_net::gateway::binary::encode_request;

use super::*;

const NPCS: u16 = 150;
const TICK_HZ: u32 = 20;
/// Units in a second, of the two versions.
const SPEEDS: [f64; 2] = [10.0, 20.0];
const KIND_FRAME: u8 = 5;
/// What is waited for is there after so many frames, or never.
const FRAMES_MAX: usize = 2_000;

fn herd(version: &str, behaviour: &str, march: f64) -> Compiled {
    let [version, name] = [format!("VERSION={version}"), format!("NAME={behaviour}")];
    let march = format!("MARCH={march}");
    compiled("herd", &["PLUGIN=herd", &version, &name, &march, "MARCH_ALONE"])
}

/// A member who hears frames, and what it was told last of each NPC: at which tick.
struct Watcher {
    client: Client,
    seen: BTreeMap<u16, (u32, Update)>,
    /// Speeds that were seen, in half units.
    speeds: BTreeSet<u64>,
}

impl Watcher {
    fn join(server: &TestServer) -> Self {
        let mut client = Client::connect(server.listen);
        let mut bytes = b"WRN1".to_vec();
        for (method, field, value) in [("login", "user", "watcher"), ("join", "room", "steppe")] {
            let message = packed(method, &[(field, Field::Text(value))]);
            encode_request(Message::parse(&message).unwrap(), &mut bytes);
        }
        client.send(bytes);
        Self { client, seen: BTreeMap::new(), speeds: BTreeSet::new() }
    }

    /// What a frame tells of NPCs, and of which tick.
    fn updates(&mut self) -> (u32, Vec<Update>) {
        let (kind, payload) = self.client.binary_frame();
        if kind != KIND_FRAME {
            return (0, Vec::new());
        }
        let frame = Frame::parse(&payload).expect("a frame is whole");
        let mut updates = Vec::new();
        for section in frame.sections() {
            let left = section.leaves().filter_map(|leave| Some(leave.now?.1));
            updates.extend(section.updates().chain(left).filter(|update| update.entity > 0));
        }
        (frame.header.tick, updates)
    }

    /// Hears a frame: nobody in it has gone further than it can since it was seen to move last.
    fn hear(&mut self) {
        let (tick, updates) = self.updates();
        updates.into_iter().for_each(|update| self.note(tick, update));
    }

    fn note(&mut self, tick: u32, update: Update) {
        self.speeds.insert((2.0 * update.velocity[0].abs()) as u64);
        if let Some((before_tick, before)) = self.seen.get(&update.entity) {
            if update == *before {
                return;
            }
            // It may have been moved for a tick before that at which it was seen.
            let seconds = f64::from(tick - before_tick + 1) / f64::from(TICK_HZ);
            let [x, y, _] = [0, 1, 2].map(|axis| update.position[axis] - before.position[axis]);
            assert!(
                x.abs() <= SPEEDS[1] * seconds + 0.01,
                "{before:?} at {before_tick}: {update:?}"
            );
            assert!(y.abs() < 0.01, "{before:?}: {update:?}");
        }
        self.seen.insert(update.entity, (tick, update));
    }

    /// Hears frames until all NPCs go as fast as that.
    fn all_go_at(&mut self, speed: f64) {
        let goes = |(_, update): &(u32, Update)| update.velocity[0].abs() == speed;
        let mut frames = 0..FRAMES_MAX;
        while self.seen.len() < NPCS.into() || !self.seen.values().all(goes) {
            assert!(frames.next().is_some(), "not all go at {speed}: {:?}", self.speeds);
            self.hear();
        }
    }
}

#[test]
fn npcs_stay_and_go_on_while_their_behaviour_is_replaced_under_them() {
    const LOADS: usize = 50;
    let versions = [("1.0", SPEEDS[0]), ("1.1", SPEEDS[1])];
    let versions = versions.map(|(version, speed)| herd(version, "march", speed));
    // A machine that does something else for a moment is no strike.
    let place = Place::start(2, &[&versions[0]], "call_us_max = 10000000\n");
    let mut client = Client::log_in(place.server.listen, "ann");
    let mut create =
        json!({"msg": "create", "kind": "world", "room": "steppe", "tick_hz": TICK_HZ});
    create["npcs"] = json!(["dance:1:1:0:0:1"]);
    assert_eq!(ask(&mut client, &create)["error"], "unknown-behaviour");
    create["npcs"] = json!([format!("march:{NPCS}:1:0:0:30")]);
    assert_eq!(ask(&mut client, &create)["status"], 0);
    let mut watcher = Watcher::join(&place.server);
    watcher.all_go_at(SPEEDS[0]);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        let watching = scope.spawn(|| {
            while !is_over.load(Relaxed) {
                watcher.hear();
            }
        });
        for number in 1..=LOADS {
            let version = number % 2;
            let told = place.load(&versions[version]).unwrap();
            assert_eq!(told, format!("herd@1.{version} is at work\n"));
        }
        drop(over);
        watching.join().unwrap();
    });
    watcher.all_go_at(SPEEDS[0]);
    let speeds = BTreeSet::from([0, 20, 40]);
    assert!(
        watcher.speeds.is_subset(&speeds) && watcher.speeds.contains(&40),
        "{:?}",
        watcher.speeds
    );
    assert!(watcher.seen.keys().copied().eq(1..=NPCS), "nobody came or went");
    let who = json!({"msg": "who", "room": "steppe", "entity": NPCS});
    assert_eq!(ask(&mut client, &who)["behaviour"], "march");
    // A version without it, and back.
    place.load(&herd("2.0", "dance", 0.0)).unwrap();
    watcher.all_go_at(0.0);
    assert_eq!(ask(&mut client, &who)["behaviour"], "march");
    place
        .server
        .metric_until("warren_npc_updates_unmoved_total", "", "some stand", |count| count > 0);
    let row = &place.plugins()[0];
    assert_eq!((&row["behaviours"], &row["methods"]), (&json!(["dance"]), &json!([])));
    assert!(place.ctl(&["list"]).unwrap().lines().any(|line| line.ends_with(" dance")));
    assert_eq!(place.ctl(&["rollback", "herd"]).unwrap(), "herd@1.0 is at work\n");
    watcher.all_go_at(SPEEDS[0]);
    assert!(watcher.seen.keys().copied().eq(1..=NPCS), "nobody came or went");
    let (server, metric) = (&place.server, "warren_npc_moves_invalid_total");
    assert_eq!(server.metric(metric, ""), 0);
    assert!(server.metric("warren_plugin_thinks_total", "herd") > 0);
    assert_eq!(server.metric("warren_plugin_strikes_total", "herd"), 0);
    place.server.stop();
}

#[test]
fn a_world_outlives_its_plugin_and_its_npcs_wait_for_it() {
    let (library, folder) = (herd("1.0", "march", SPEEDS[0]), TestFolder::new());
    let token = folder.file("token", TOKEN);
    let data = folder.0.join("data");
    let config = |libraries: &[&Compiled]| {
        let head = format!("[server]\ndata = {data:?}\n[admin]\ntoken_file = {token:?}\n");
        folder.file("warren.toml", &(head + "[log]\nformat = \"json\"\n" + &config_of(libraries)));
    };
    config(&[&library]);
    let server = start_in(&folder, 1);
    let mut client = Client::log_in(server.listen, "ann");
    let npcs = format!("march:{NPCS}:1:0:0:30");
    let create = json!({"msg": "create", "kind": "world", "room": "steppe", "tick_hz": TICK_HZ,
        "npcs": [npcs], "ack": "durable"});
    assert_eq!(ask(&mut client, &create)["status"], 0);
    server.signal(KILL);
    server.wait();
    config(&[]);
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    serve.args(["--shards", "1", "--config"]).arg(folder.0.join("warren.toml"));
    serve.stderr(std::process::Stdio::piped());
    let mut server = TestServer::spawn(serve);
    let mut watcher = Watcher::join(&server);
    watcher.all_go_at(0.0);
    let told = server.logged("NPCs stand still: nobody has their behaviour");
    assert_eq!(told["behaviour"], "march", "{told}");
    let place = Place { folder, server };
    place.load(&library).unwrap();
    watcher.all_go_at(SPEEDS[0]);
    place.server.stop();
}

#[test]
fn a_library_of_behaviours_alone_is_no_worker() {
    let library = herd("1.0", "march", SPEEDS[0]);
    let worker = command(&["worker", "--url", "tcp://127.0.0.1:1"]);
    // One that is not refused would try to connect for ever.
    let mut bounded = std::process::Command::new("timeout");
    bounded.arg("20").arg(worker.get_program()).args(worker.get_args());
    let output = bounded.arg(library.path()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(65), "{told}");
    assert!(told.contains("plugin-refused: ") && told.contains(": no-methods: "), "{told}");
}

/// The example in Rust, compiled with this beside.
fn wolves(argument: &str) -> Compiled {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = root.join("examples/behaviour-rust/src/lib.rs");
    Compiled::rust(&root.join("plugins/sdk/src/lib.rs"), &source, &[argument])
}

#[test]
fn the_example_in_rust_passes_its_own_tests() {
    let tests = wolves("--test");
    let output = std::process::Command::new(tests.path()).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.contains("2 passed"), "{told}");
}

/// Who stands in the middle has all wolves there, who would go around it otherwise.
#[test]
fn wolves_in_rust_hunt_a_member() {
    const WOLVES: u16 = 20;
    let place = Place::start(2, &[&wolves("-Cdebuginfo=0")], "");
    let mut client = Client::log_in(place.server.listen, "ann");
    let npcs = [format!("hunt:{WOLVES}:20:0:0:15")];
    let create = json!({"msg": "create", "kind": "world", "room": "steppe", "npcs": npcs});
    assert_eq!(ask(&mut client, &create)["status"], 0);
    let mut watcher = Watcher::join(&place.server);
    let mut came = BTreeSet::new();
    let mut frames = 0..FRAMES_MAX;
    while came.len() < WOLVES.into() {
        assert!(frames.next().is_some(), "only {came:?} came");
        for update in watcher.updates().1 {
            let [x, y, _] = update.position;
            if x.hypot(y) < 0.1 && update.velocity == [0.0; 3] {
                came.insert(update.entity);
            } else {
                came.remove(&update.entity);
            }
        }
    }
    assert_eq!(place.server.metric("warren_npc_moves_invalid_total", ""), 0);
    place.server.stop();
}
