//! The header for C++.

use super::*;
use crate::TaskOptions;

pub(super) fn calls() -> Library {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = folder.join("src/tests/calls.cpp");
    Library::load(Compiled::cpp(&folder.join("include"), &source).path()).unwrap()
}

fn world() -> World {
    World::new(&empty_catalog(Arc::new(AtomicU64::new(1))).with(calls()).unwrap())
}

#[test]
fn a_call_in_cpp_reads_and_says_all_that_there_is() {
    let mut world = world();
    assert_eq!(
        world.ask("look target=171.1 i=-5 n=2.5 b=true"),
        "look status=0 kind=wolf owner=ann v=1 hp=9 name=grim i=-5 n=2.5 b=true has=true \
         user=ann same=171.1 as_came=2.5 nothing="
    );
    let few = world.ask("look target=171.1");
    assert!(few.contains("i=-1 n=0.5 b=false has=false"), "{few}");
    assert_eq!(
        world.ask("change target=171.1"),
        "change status=0\nemit room=arena from=ann event=bitten target=171.1 seq=1"
    );
    assert_eq!(world.ask("get object=171.1"), "get status=0 kind=wolf version=2 owner=ann hp=2");
    assert_eq!(world.ask("answer"), "answer status=0 is=42");
    assert_eq!(world.ask("drop target=171.1"), "drop status=0");
    assert_eq!(world.ask("drop target=171.1"), "drop status=500 error=plugin-failed");
}

#[test]
fn a_call_in_cpp_makes_events() {
    world().check_plan();
}

#[test]
fn what_is_thrown_fails_the_call_and_goes_no_further() {
    let mut world = world();
    for what in ["fail", "standard", "number", "field", "object"] {
        let told = world.ask(&format!("raise target=171.1 what={what}"));
        assert_eq!(told, "raise status=500 error=plugin-failed", "{what}");
    }
    let told = world.ask("raise target=171.1 what=caught");
    assert_eq!(told, "raise status=400 error=field-invalid");
    assert_eq!(
        world.ask("get object=171.1"),
        "get status=0 kind=wolf version=1 owner=ann hp=9 name=grim"
    );
    assert_eq!(world.ask("raise target=171.1"), "raise status=0");
}

#[test]
fn methods_say_how_their_tasks_are_treated() {
    let library = calls();
    assert_eq!(library.label(), "calls-cpp@2");
    let options: Vec<_> = library.methods().iter().map(|method| method.options()).collect();
    assert_eq!(options[0], TaskOptions::default());
    let said = TaskOptions {
        priority: Some(2),
        attempts_max: Some(5),
        limit_ms: Some(7),
        deadline_ms: Some(9),
    };
    assert_eq!(options[5], said);
}
