//! What calls read and say, and that each library has its own.

use super::*;
use crate::RollbackError;

const WOLVES: &[&str] = &["NAME=wolves", "VERSION=1.0", "METHOD=bite", "DAMAGE=2"];
const BEARS: &[&str] = &["NAME=bears", "VERSION=7", "METHOD=claw", "DAMAGE=5"];
const LATER_WOLVES: &[&str] = &["NAME=wolves", "VERSION=1.1", "METHOD=bite", "DAMAGE=1"];

/// Their symbols are the same: where they were seen by each other, the first would win.
#[test]
fn two_plugins_and_two_versions_of_one_each_have_their_own_symbols() {
    let old = catalog_of(&[("game", WOLVES), ("game", BEARS)]);
    let mut world = World::new(&old);
    let emit = "emit room=arena from=ann event=hit hp=";
    assert_eq!(
        world.ask("bite target=171.1 plugin=true"),
        format!("bite status=0 hp=7 hit_by=1.0 of=2 plugin=wolves@1.0\n{emit}7 seq=1")
    );
    assert_eq!(
        world.ask("claw target=171.1 plugin=1"),
        format!("claw status=0 hp=2 hit_by=7 of=5 plugin=bears@7\n{emit}2 seq=2")
    );
    let new = old.with(loaded("game", LATER_WOLVES).unwrap()).unwrap();
    // Whoever has not changed to it calls the old one.
    assert!(world.ask("bite target=171.1").starts_with("bite status=0 hp=0 hit_by=1.0 of=2\n"));
    world.take(&new);
    assert!(world.ask("bite target=171.1").starts_with("bite status=0 hp=-1 hit_by=1.1 of=1\n"));
    assert!(world.ask("claw target=171.1").starts_with("claw status=0 hp=-6 hit_by=7 of=5\n"));
    world.take(&new.rolled_back("wolves").unwrap());
    assert!(world.ask("bite target=171.1").starts_with("bite status=0 hp=-8 hit_by=1.0 of=2\n"));
    let wolf = "get status=0 kind=wolf version=7 owner=ann hp=-8 name=grim hit_by=1.0";
    assert_eq!(world.ask("get object=171.1"), wolf);
}

#[test]
fn a_call_reads_and_says_all_that_there_is() {
    let mut world = World::new(&catalog_of(&[("calls", &[])]));
    assert_eq!(
        world.ask("look target=171.1 i=-5 n=2.5 b=true"),
        "look status=0 owner=ann hp=9 name=grim kind=wolf object_version=1 asked_by=ann \
         at=1700000000000 integer=-5 number=2.5 boolean=true same=171.1"
    );
    // What is not there is left as it was.
    assert_eq!(
        world.ask("look object=171.1"),
        "look status=0 owner=ann hp=9 name=grim kind=wolf object_version=1 asked_by=ann \
         at=1700000000000 integer=-1 number=-1 boolean=false same=0.0"
    );
}

#[test]
fn a_call_makes_and_removes_objects() {
    let mut world = World::new(&catalog_of(&[("calls", &[])]));
    assert_eq!(world.ask("make object=171.1 word=w"), "make status=0");
    assert_eq!(
        world.ask("get object=171.2"),
        "get status=0 kind=thing version=1 owner=ann bytes=00ff list=a|bc word=w"
    );
    assert_eq!(world.ask("take.away target=171.1"), "take.away status=0");
    assert_eq!(world.ask("get object=171.1"), "get status=404 error=unknown-object");
    assert_eq!(world.ask("take.away target=171.1"), "take.away status=404 error=unknown-object");
}

#[test]
fn a_call_makes_events() {
    World::new(&catalog_of(&[("calls", &[])])).check_plan();
}

#[test]
fn a_catalog_tells_what_is_at_work_and_goes_back() {
    let catalog = catalog_of(&[("game", WOLVES), ("game", BEARS), ("game", LATER_WOLVES)]);
    let told = |catalog: &Catalog| {
        let row = |row: crate::PluginRow| (format!("{}@{}", row.name, row.version), row.earlier);
        catalog.rows().map(row).collect::<Vec<_>>()
    };
    let bears = ("bears@7".to_owned(), None);
    let new = [bears.clone(), ("wolves@1.1".to_owned(), Some("1.0".into()))];
    assert_eq!(told(&catalog), new);
    let back = catalog.rolled_back("wolves").unwrap();
    assert_eq!(told(&back), [bears, ("wolves@1.0".to_owned(), None)]);
    assert_eq!(told(&catalog), new, "the other is as it was");
    assert_eq!(back.rolled_back("wolves").unwrap_err(), RollbackError::NoEarlierVersion);
    assert_eq!(back.rolled_back("foxes").unwrap_err(), RollbackError::UnknownPlugin);
    let [old, new] = [&back, &catalog].map(|catalog| catalog.row("wolves").unwrap().hash);
    assert!(old.len() == 64 && new.len() == 64 && old != new);
    let taken = &["NAME=foxes", "VERSION=1", "METHOD=claw", "DAMAGE=1"];
    let error = catalog.with(loaded("game", taken).unwrap()).unwrap_err();
    assert_eq!((error.word(), error.to_string().contains("`claw`")), ("method-taken", true));
}
