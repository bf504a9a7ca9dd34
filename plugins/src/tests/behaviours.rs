//! Behaviours of libraries in a world: what they are told, and what comes of what they say.

use std::collections::BTreeMap;

use warren_core::world::frame::{Frame, Update};

use super::*;
use crate::RollbackError;

const HERD: &[&str] = &["PLUGIN=herd", "VERSION=1", "NAME=march", "MARCH=10"];
const TICK_NS: u64 = 100_000_000;

/// A shard with the world `w`, in which ann stands at 3, 0. After each turn all NPCs are moved.
pub(super) struct Wild {
    world: World,
    /// What she was last told of each.
    pub(super) seen: BTreeMap<u16, Update>,
}

impl Wild {
    pub(super) fn new(catalog: &Catalog, npcs: &str) -> Self {
        let mut world = World::new(catalog);
        let made = world.ask(&format!("create kind=world room=w npcs={npcs}"));
        assert!(made.starts_with("create status=0 "), "{made}");
        assert!(world.ask("join room=w x=3 y=0").starts_with("join status=0 "));
        let mut wild = Self { world, seen: BTreeMap::new() };
        // The first tick is at once.
        wild.hear_and_think();
        wild
    }

    /// What is told at the next tick; then they are moved for the one behind it.
    pub(super) fn tick(&mut self) {
        // A turn is a millisecond.
        self.world.time_ns.set(self.world.time_ns.get() + TICK_NS - 1_000_000);
        self.world.turn(&ShardInputs::default());
        self.hear_and_think();
    }

    fn hear_and_think(&mut self) {
        let outputs = &self.world.outputs;
        for output in &outputs.list {
            let ShardOutput::Frame { frame, .. } = *output else { continue };
            let (_, bytes) = outputs.frame(frame);
            for section in Frame::from_checked(bytes).sections() {
                self.seen.extend(section.updates().map(|update| (update.entity, update)));
                let left = section.leaves().map(|leave| (leave.entity, leave.now.unwrap().1));
                self.seen.extend(left);
            }
        }
        while self.world.shard.has_npcs_due() {
            self.world.shard.think(64);
        }
    }

    fn x(&self, entity: u16) -> f64 {
        self.seen[&entity].position[0]
    }

    pub(super) fn velocity(&self, entity: u16) -> [f64; 2] {
        let [x, y, _] = self.seen[&entity].velocity;
        [x, y]
    }

    /// Times that NPCs were moved: all, to where nobody can be, by nobody.
    fn updates(&self) -> [u64; 3] {
        let counters = self.world.shard.counters();
        [counters.npc_updates, counters.npc_moves_invalid, counters.npc_updates_unmoved]
    }
}

#[track_caller]
fn is_near(a: f64, b: f64) {
    assert!((a - b).abs() < 0.01, "{a}, not {b}");
}

#[test]
fn a_behaviour_is_told_all_that_the_world_says_of_its_npcs() {
    let mut wild = Wild::new(&catalog_of(&[("herd", HERD)]), "mirror:3:2.5:7:-4:30");
    wild.tick();
    for entity in 1..=3 {
        let update = wild.seen[&entity];
        is_near(update.position[0], 7.0 + 2.5);
        is_near(update.position[1], -4.0 + 30.0);
        assert_eq!(wild.velocity(entity), [1.0, 12.0], "a tenth of a second, for the first time");
    }
    let before = wild.seen[&1];
    wild.tick();
    assert_eq!(wild.velocity(1), [1.0, 2.0], "its word stays with it");
    assert_eq!((wild.seen[&1].heading - before.heading).rem_euclid(360.0), 45.0);
}

#[test]
fn a_behaviour_asks_who_is_near_and_hears_of_nobody_where_nobody_is() {
    let mut wild = Wild::new(&catalog_of(&[("herd", HERD)]), "look:5:1:3:0:1");
    wild.tick();
    for entity in 1..=5 {
        assert_eq!(wild.velocity(entity), [5.0, 1.0], "four others and ann, a member");
    }
    // Those whom she sees as she comes back have looked while she was away.
    for (x, near) in [(5000, [5.0, 1.0]), (5000, [5.0, 1.0]), (3, [4.0, 0.0]), (3, [5.0, 1.0])] {
        wild.world.ask(&format!("move room=w x={x} y=0"));
        wild.tick();
        assert_eq!(wild.velocity(2), near, "{x}");
    }
    let mut crowd = Wild::new(&catalog_of(&[("herd", HERD)]), "look:30:1:3:0:1");
    crowd.tick();
    assert_eq!(crowd.velocity(7), [16.0, 1.0], "no more than 16");
}

#[test]
fn who_is_moved_to_where_nobody_can_be_stays_and_nobody_is_disturbed() {
    let mut wild = Wild::new(&catalog_of(&[("herd", HERD)]), "astray:8:1:0:0:9|march:1:1:0:0:0");
    let start = wild.seen.clone();
    for _ in 0..10 {
        wild.tick();
    }
    assert_eq!(wild.updates(), [9 * 11, 8 * 11, 0]);
    for entity in 1..=8 {
        let (now, before) = (wild.seen[&entity], start[&entity]);
        assert_eq!((now.position, now.velocity), (before.position, [0.0; 3]), "{entity}");
    }
    is_near(wild.x(9), 10.0);
    assert!(wild.world.ask("who room=w").starts_with("who status=0 "));
}

#[test]
fn another_version_moves_the_same_npcs_on_from_the_next_tick() {
    let quick = &["PLUGIN=herd", "VERSION=2", "NAME=march", "MARCH=20", "MARCH_ALONE"];
    let old = catalog_of(&[("herd", HERD)]);
    let new = old.with(loaded("herd", quick).unwrap()).unwrap();
    let mut wild = Wild::new(&old, "march:2:1:0:0:0|mirror:1:0:0:0:0");
    wild.tick();
    is_near(wild.x(1), 1.0);
    wild.world.take(&new);
    // They were moved for this tick by the one before.
    wild.tick();
    is_near(wild.x(1), 2.0);
    wild.tick();
    is_near(wild.x(1), 4.0);
    assert_eq!(wild.velocity(1), [20.0, 0.0]);
    let before = wild.updates();
    assert_eq!(before[2], 2, "the new version has no mirror");
    assert_eq!(wild.velocity(3), [0.0, 0.0], "so it stands");
    assert_eq!(wild.world.shard.take_missing_behaviour(), Some("mirror"));
    assert_eq!(wild.world.shard.take_missing_behaviour(), None);
    let refused = wild.world.ask("create kind=world room=v npcs=mirror:1:1:0:0:1");
    assert_eq!(refused, "create status=404 error=unknown-behaviour");
    wild.world.take(&new.rolled_back("herd").unwrap());
    wild.tick();
    is_near(wild.x(1), 6.0);
    wild.tick();
    is_near(wild.x(1), 7.0);
    assert_eq!(wild.velocity(3), [1.0, 2.0], "it comes back with its word, and without a leap");
    assert_eq!(wild.updates()[2], before[2]);
    assert_eq!(new.row("herd").unwrap().behaviours, ["march".into()]);
    assert_eq!(new.row("herd").unwrap().earlier, Some("1".into()));
}

#[test]
fn npcs_of_a_behaviour_that_is_too_slow_too_often_stand_until_it_is_loaded_again() {
    let look_ns = Arc::new(AtomicU64::new(BUDGET.call_ns_max));
    let load = || loaded("herd", HERD).unwrap();
    let catalog = empty_catalog(Arc::clone(&look_ns)).with(load()).unwrap();
    // Three calls: of 64, of 6 and of 1.
    let mut wild = Wild::new(&catalog, "march:70:1:0:0:0|look:1:1:0:0:0");
    for _ in 0..10 {
        wild.tick();
    }
    let row = catalog.row("herd").unwrap();
    assert!(!row.is_disabled, "just as long as it may");
    assert_eq!((row.counters.thinks(), row.counters.strikes()), (33, 0));
    assert_eq!((row.counters.think_ns(), row.counters.calls()), (33 * BUDGET.call_ns_max, 0));
    look_ns.fetch_add(1, Relaxed);
    wild.tick();
    assert!(catalog.row("herd").unwrap().is_disabled);
    assert_eq!(row.counters.strikes(), BUDGET.strikes_max);
    wild.tick();
    let x = wild.x(1);
    wild.tick();
    wild.tick();
    assert_eq!((wild.x(1), wild.velocity(1)), (x, [0.0, 0.0]));
    assert_eq!(row.counters.thinks(), 36, "it is called no more");
    look_ns.store(1, Relaxed);
    wild.world.take(&catalog.with(load()).unwrap());
    wild.tick();
    wild.tick();
    is_near(wild.x(1), x + 1.0);
}

#[test]
fn a_behaviour_in_cpp_moves_npcs_and_what_it_throws_goes_no_further() {
    let library = super::cpp::calls();
    let names: Vec<_> = library.behaviours().iter().map(|one| one.name()).collect();
    assert_eq!((names, library.methods().len()), (vec!["east", "stumble"], 6));
    let catalog = empty_catalog(Arc::new(AtomicU64::new(1))).with(library).unwrap();
    let mut wild = Wild::new(&catalog, "east:2:9:40:0:0|stumble:1:5:0:0:0");
    wild.tick();
    for (entity, x) in [(1, 41.0), (2, 41.0), (3, 0.5)] {
        is_near(wild.x(entity), x);
    }
    assert_eq!((wild.velocity(1), wild.velocity(3)), ([10.0, 3.0], [0.0, 0.0]));
    assert!((wild.seen[&1].heading - 42.0).abs() < 1.0);
    wild.tick();
    is_near(wild.x(2), 42.0);
    is_near(wild.x(3), 1.0);
}

/// The plugin in docs/plugins.md.
#[test]
fn the_behaviour_in_the_chapter_hunts_members() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_to_string(folder.join("../docs/plugins.md")).unwrap();
    let (_, chapter) = docs.split_once("\n## Behaviours\n").unwrap();
    let (_, block) = chapter.split_once("\n```cpp\n").unwrap();
    let name = format!("warren-hunt-{}.cpp", std::process::id());
    let source = std::env::temp_dir().join(name);
    std::fs::write(&source, block.split_once("\n```").unwrap().0).unwrap();
    let library = Library::load(Compiled::cpp(&folder.join("include"), &source).path());
    std::fs::remove_file(&source).unwrap();
    let catalog = empty_catalog(Arc::new(AtomicU64::new(1))).with(library.unwrap()).unwrap();
    let mut wild = Wild::new(&catalog, "hunt:1:5:-22:0:0|hunt:1:5:-500:0:0");
    for _ in 0..10 {
        wild.tick();
    }
    is_near(wild.x(1), -22.0 + 5.0);
    assert_eq!(wild.velocity(1), [5.0, 0.0]);
    for _ in 0..40 {
        wild.tick();
    }
    assert!((-2.5..-1.9).contains(&wild.x(1)), "it stops before ann: {}", wild.x(1));
    assert!(wild.velocity(1) == [0.0, 0.0] && !wild.seen.contains_key(&2));
}

#[test]
fn two_plugins_never_have_one_behaviour() {
    let catalog = catalog_of(&[("herd", HERD)]);
    let bears =
        |name| loaded("herd", &["PLUGIN=bears", "VERSION=1", name, "MARCH=1", "MARCH_ALONE"]);
    let error = catalog.with(bears("NAME=astray").unwrap()).unwrap_err();
    assert_eq!((error.word(), error.to_string().contains("`astray`")), ("behaviour-taken", true));
    let alone = &["PLUGIN=herd", "VERSION=2", "NAME=march", "MARCH=1", "MARCH_ALONE"];
    let both = catalog.with(loaded("herd", alone).unwrap()).unwrap();
    let both = both.with(bears("NAME=astray").unwrap()).unwrap();
    assert_eq!(both.rolled_back("herd").unwrap_err(), RollbackError::Taken);
}
