//! Plugins in Rust.

use super::behaviours::Wild;
use super::*;
use crate::TaskOptions;

fn compiled_rust(cfg: &str) -> Compiled {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = folder.join("src/tests/plugin_in_rust.rs");
    Compiled::rust(&folder.join("sdk/src/lib.rs"), &source, &["--cfg", cfg])
}

fn calls() -> Library {
    Library::load(compiled_rust("new_moon").path()).unwrap()
}

fn world() -> World {
    World::new(&catalog())
}

#[test]
fn a_call_in_rust_reads_and_says_all_that_there_is() {
    let mut world = world();
    assert_eq!(
        world.ask("look target=171.1 i=-5 n=2.5 b=true o=171.1"),
        "look status=0 kind=wolf owner=ann v=1 hp=9 name=grim i=-5 n=2.5 b=true o=171.1 has=true \
         user=ann at=1700000000000 same=171.1 as_came=2.5 nothing="
    );
    let few = world.ask("look target=171.1");
    assert!(few.contains("i=-1 n=0.5 b=false o= has=false"), "{few}");
    assert_eq!(
        world.ask("listed target=171.1 x=y"),
        "listed status=0 all=owner:ann|hp:9|name:grim|target:171.1|x:y"
    );
    assert_eq!(
        world.ask("change target=171.1"),
        "change status=0\nemit room=arena from=ann event=bitten target=171.1 seq=1"
    );
    assert_eq!(world.ask("get object=171.1"), "get status=0 kind=wolf version=2 owner=ann hp=2");
    assert_eq!(
        world.ask("get object=171.2"),
        "get status=0 kind=fang version=1 owner=ann of=171.1 words=a||bc bytes=00ff"
    );
    assert_eq!(world.ask("drop target=171.1"), "drop status=0");
    assert_eq!(world.ask("drop target=171.1"), "drop status=500 error=plugin-failed");
}

#[test]
fn a_call_in_rust_makes_events() {
    world().check_plan();
}

#[test]
fn a_failure_and_a_panic_fail_the_call_and_go_no_further() {
    let mut world = world();
    for what in ["said", "error", "field", "object", "panic", "index", "bomb"] {
        let told = world.ask(&format!("raise target=171.1 what={what}"));
        assert_eq!(told, "raise status=500 error=plugin-failed", "{what}");
    }
    for what in ["refused", "ignored"] {
        let told = world.ask(&format!("raise target=171.1 what={what}"));
        assert_eq!(told, "raise status=400 error=field-invalid", "{what}");
    }
    let wolf = "get status=0 kind=wolf version=1 owner=ann hp=9 name=grim";
    assert_eq!(world.ask("get object=171.1"), wolf);
    assert_eq!(world.ask("raise target=171.1"), "raise status=0");
}

#[test]
fn why_a_call_in_rust_fails_is_told() {
    let library = calls();
    let method = library.methods().iter().find(|method| method.name() == "raise").unwrap();
    for (what, status, why) in [
        ("said", 2, "as it is"),
        ("error", 2, "invalid digit found in string"),
        ("field", 2, "the field `missing` is missing, or no such value"),
        ("object", 2, "there is no such object"),
        ("panic", 3, "no place 7, at "),
        ("index", 3, "index out of bounds: the len is 3 but the index is 3, at "),
        ("bomb", 3, "a panic that is no text, at "),
        ("refused", 1, ""),
    ] {
        let failure = failure_of(method, what);
        let (said, place) = failure.why.split_at(why.len());
        assert_eq!((failure.status, said), (status, why), "{what}");
        assert_eq!(place.contains("plugin_in_rust.rs:"), status == 3, "{what}: {place}");
    }
}

/// Of a call about an object, as a worker makes it.
fn failure_of(method: &crate::LibraryMethod, what: &str) -> crate::CallFailure {
    use warren_core::ids::ObjectId;
    use warren_core::inline::{InlineBuffers, InlineCall, InlineTask};
    use warren_core::object::Object;

    let mut bytes = Vec::new();
    let mut request = MessageBuilder::new(&mut bytes, "raise");
    request.field("what", Value::Text(what));
    request.field("target", Value::Text("171.1"));
    let id: ObjectId = "171.1".parse().unwrap();
    let mut record = Vec::new();
    MessageBuilder::new(&mut record, "wolf").field("hp", Value::Integer(9));
    let object = Object::new(1, Message::from_checked(&record));
    let task = InlineTask {
        user: "ann",
        message: Message::from_checked(&bytes),
        partition: id.partition(),
        target: Some((id, &object)),
        wall_ms: 0,
        bytes_max: 1 << 16,
    };
    let mut buffers = InlineBuffers::default();
    method.call(&mut InlineCall::of_task(task, &mut buffers)).unwrap_err()
}

fn catalog() -> Catalog {
    empty_catalog(Arc::new(AtomicU64::new(1))).with(calls()).unwrap()
}

#[test]
fn a_behaviour_in_rust_is_told_all_and_moves_npcs() {
    let mut wild = Wild::new(&catalog(), "mirror:3:2.5:3:-4:1");
    for word in 1..4 {
        wild.tick();
        for entity in 1..=3 {
            assert_eq!(wild.velocity(entity), [31.0, f64::from(word)], "two others, ann; and ann");
            let [x, y, _] = wild.seen[&entity].position;
            assert!((x - 5.5).abs() < 0.01 && (y + 3.0).abs() < 0.01, "{x} {y}");
        }
    }
}

#[test]
fn npcs_of_a_behaviour_that_panics_stand() {
    let mut wild = Wild::new(&catalog(), "fall:3:2.5:3:-4:1");
    let before = wild.seen.clone();
    for _ in 0..3 {
        wild.tick();
        assert_eq!(wild.seen[&1].position, before[&1].position);
        assert_eq!(wild.velocity(1), [0.0, 0.0]);
    }
}

#[test]
fn a_plugin_in_rust_says_what_it_is() {
    let library = calls();
    assert_eq!(library.label(), "calls-rust@3");
    let options: Vec<_> = library.methods().iter().map(|method| method.options()).collect();
    assert_eq!(options[0], TaskOptions::default());
    let said = TaskOptions {
        priority: Some(2),
        attempts_max: Some(5),
        limit_ms: Some(7),
        deadline_ms: Some(9),
    };
    assert_eq!(options[5], said);
    let error = Library::load(compiled_rust("full_moon").path()).unwrap_err();
    let told = format!("{}: {error}", error.word());
    assert_eq!(told, "self-check-failed: its self-check says: 2 the moon is full");
}
