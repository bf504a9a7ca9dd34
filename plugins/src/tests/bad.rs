//! Files that are no plugins, and plugins that do what they may not.

use super::*;

#[track_caller]
fn word_of(fault: &str, more: &[&str]) -> String {
    let fault = format!("FAULT={fault}");
    let definitions: Vec<&str> = more.iter().copied().chain([fault.as_str()]).collect();
    match loaded("bad", &definitions) {
        Ok(library) => library.name().to_owned(),
        Err(error) => format!("{}: {error}", error.word()),
    }
}

#[test]
fn what_is_wrong_with_a_library_has_a_name() {
    for (fault, expected) in [
        ("FINE", "bad"),
        ("FIRST_MINOR", "bad"),
        ("NULL_PLUGIN", "declined: its entry returns NULL"),
        ("ABI_MAJOR", "abi-mismatch: it is made for ABI 2.1; this server has 1.1"),
        ("ABI_MINOR", "abi-mismatch: it is made for ABI 1.2; this server has 1.1"),
        ("PLUGIN_SIZE", "size-invalid: a warren_plugin says that it has 8 bytes; it has 80"),
        ("METHOD_SIZE", "size-invalid: a warren_method says that it has 72 bytes; it has 64"),
        ("LATER_METHOD_SIZE", "size-invalid: a warren_method says that it has 0 bytes; it has 64"),
        ("NAME", "name-invalid: "),
        ("NAME_NULL", "name-invalid: "),
        ("VERSION", "version-invalid: "),
        ("VERSION_LONG", "version-invalid: "),
        ("NO_METHODS", "no-methods: "),
        ("MANY_METHODS", "too-many-methods: "),
        ("METHOD_NAME", "method-name-invalid: its method 2 "),
        ("BUILT_IN", "method-built-in: `chat` "),
        ("TWICE", "method-twice: it has the method `huge` twice"),
        ("NO_FUNCTION", "method-without-function: its method `huge` "),
        ("BEHAVIOUR_SIZE", "size-invalid: a warren_behaviour says that it has 48 bytes; it has 40"),
        ("BEHAVIOUR_NAME", "behaviour-name-invalid: its behaviour 1 "),
        ("BEHAVIOUR_BUILT_IN", "behaviour-built-in: `flock` "),
        ("BEHAVIOUR_TWICE", "behaviour-twice: it has the behaviour `rest` twice"),
        ("BEHAVIOUR_NO_FUNCTION", "behaviour-without-function: its behaviour `sleep` "),
        ("NULL_METHODS", "array-missing: it says that it has 4 methods, and does not say where"),
        (
            "NULL_BEHAVIOURS",
            "array-missing: it says that it has 2 behaviours, and does not say where",
        ),
        ("MANY_BEHAVIOURS", "too-many-behaviours: "),
        ("SELF_CHECK", "self-check-failed: its self-check says: 3 the moon is full"),
        ("SELF_CHECK_SILENT", "self-check-failed: its self-check says: 4"),
    ] {
        let word = word_of(fault, &[]);
        assert!(word.starts_with(expected), "{fault}: {word}");
    }
    let word = word_of("NO_ENTRY", &["WITHOUT_ENTRY"]);
    assert!(word.starts_with("entry-missing: "), "{word}");
}

#[test]
fn what_is_no_library_has_a_name() {
    let library = compiled("bad", &["FAULT=FINE"]);
    let word = |path: &std::path::Path| Library::load(path).unwrap_err().word();
    assert_eq!(word(std::path::Path::new("/nowhere/combat.so")), "file-unreadable");
    assert_eq!(word(std::path::Path::new("/")), "file-unreadable");
    std::fs::write(library.path(), "no library at all").unwrap();
    assert_eq!(word(library.path()), "not-loadable");
    let file = std::fs::File::create(library.path()).unwrap();
    file.set_len((256 << 20) + 1).unwrap();
    assert_eq!(word(library.path()), "file-too-large");
}

/// What is loaded is a copy: the file may be written over.
#[test]
fn a_file_that_changes_later_changes_nothing() {
    let library = compiled("bad", &["FAULT=FINE"]);
    let loaded = Library::load(library.path()).unwrap();
    let length = std::fs::metadata(library.path()).unwrap().len();
    std::fs::write(library.path(), vec![0; length as usize]).unwrap();
    let empty = empty_catalog(Arc::new(AtomicU64::new(1)));
    let mut world = World::new(&empty.with(loaded).unwrap());
    assert_eq!(world.ask("stumble target=171.1"), "stumble status=500 error=plugin-failed");
}

#[test]
fn calls_that_say_what_cannot_be_come_to_nothing() {
    let catalog = catalog_of(&[("bad", &["FAULT=FINE"])]);
    let mut world = World::new(&catalog);
    for (request, expected) in [
        ("stumble", "stumble status=500 error=plugin-failed"),
        ("huge", "huge status=413 error=effects-too-large"),
        ("many", "many status=413 error=effects-too-large"),
        ("value which=0 object=171.1", "value status=400 error=not-utf8"),
        ("value which=1 object=171.1", "value status=400 error=field-invalid"),
        ("value which=2 object=171.1", "value status=400 error=field-invalid"),
        ("value which=3 object=171.1", "value status=400 error=malformed"),
        ("value which=4 object=171.1", "value status=400 error=field-invalid"),
        ("value which=5 object=171.1", "value status=400 error=bad-name"),
    ] {
        assert_eq!(world.ask(request), expected);
    }
    let wolf = "get status=0 kind=wolf version=1 owner=ann hp=9 name=grim";
    assert_eq!(world.ask("get object=171.1"), wolf);
    let counters = catalog.row("bad").unwrap().counters;
    assert_eq!((counters.calls(), counters.failures(), counters.strikes()), (9, 1, 0));
    assert_eq!(counters.busy_ns(), 9);
}

#[test]
fn strikes_are_forgotten_after_a_minute() {
    let look_ns = Arc::new(AtomicU64::new(BUDGET.call_ns_max + 1));
    let load = || loaded("game", &["NAME=a", "VERSION=1", "METHOD=hit", "DAMAGE=0"]).unwrap();
    let catalog = empty_catalog(Arc::clone(&look_ns)).with(load()).unwrap();
    let mut world = World::new(&catalog);
    let is_disabled = || catalog.row("a").unwrap().is_disabled;
    for _ in 1..BUDGET.strikes_max {
        world.ask("hit target=171.1");
    }
    look_ns.store(60_000_000_000, Relaxed);
    world.ask("hit target=171.1");
    look_ns.store(BUDGET.call_ns_max + 1, Relaxed);
    for _ in 0..BUDGET.strikes_max {
        assert!(!is_disabled());
        world.ask("hit target=171.1");
    }
    assert!(is_disabled());
}

#[test]
fn a_plugin_that_is_seldom_too_slow_goes_on() {
    let look_ns = Arc::new(AtomicU64::new(1));
    let load = || loaded("game", &["NAME=a", "VERSION=1", "METHOD=hit", "DAMAGE=0"]).unwrap();
    let catalog = empty_catalog(Arc::clone(&look_ns)).with(load()).unwrap();
    let mut world = World::new(&catalog);
    let is_disabled = || catalog.row("a").unwrap().is_disabled;
    let ask = |world: &mut World, calls: u64, ns: u64| {
        look_ns.store(ns, Relaxed);
        for _ in 0..calls {
            world.ask("hit target=171.1");
        }
    };
    // One in 100, from the first call on, also when there are more strikes than may be.
    for _ in 0..BUDGET.strikes_max + 2 {
        ask(&mut world, 99, 1);
        ask(&mut world, 1, BUDGET.call_ns_max + 1);
        assert!(!is_disabled());
    }
    // One more is too often.
    ask(&mut world, 98, 1);
    ask(&mut world, 1, BUDGET.call_ns_max + 1);
    assert!(is_disabled());
    // After a minute only the calls since then matter.
    let again = catalog.with(load()).unwrap();
    world.take(&again);
    let is_disabled = || again.row("a").unwrap().is_disabled;
    ask(&mut world, 1000, 1);
    ask(&mut world, 1, 60_000_000_000);
    ask(&mut world, BUDGET.strikes_max - 1, BUDGET.call_ns_max + 1);
    assert!(!is_disabled());
    ask(&mut world, 1, BUDGET.call_ns_max + 1);
    assert!(is_disabled());
}

#[test]
fn a_plugin_that_is_too_slow_too_often_is_called_no_more_until_it_is_loaded_again() {
    let look_ns = Arc::new(AtomicU64::new(BUDGET.call_ns_max));
    let load = || loaded("game", &["NAME=a", "VERSION=1", "METHOD=hit", "DAMAGE=0"]).unwrap();
    let catalog = empty_catalog(Arc::clone(&look_ns)).with(load()).unwrap();
    let mut world = World::new(&catalog);
    let ask =
        |world: &mut World| world.ask("hit target=171.1").split('\n').next().map(str::to_owned);
    let done = Some("hit status=0 hp=9 hit_by=1 of=0".to_owned());
    let disabled = Some("hit status=503 error=plugin-disabled".to_owned());
    // Just as long as it may.
    for _ in 0..BUDGET.strikes_max {
        assert_eq!(ask(&mut world), done);
    }
    look_ns.fetch_add(1, Relaxed);
    for _ in 0..BUDGET.strikes_max {
        assert!(!catalog.row("a").unwrap().is_disabled);
        assert_eq!(ask(&mut world), done);
    }
    assert!(catalog.row("a").unwrap().is_disabled);
    assert_eq!(ask(&mut world), disabled);
    look_ns.store(1, Relaxed);
    assert_eq!(ask(&mut world), disabled);
    let counters = catalog.row("a").unwrap().counters;
    assert_eq!(
        (counters.calls(), counters.strikes()),
        (2 * BUDGET.strikes_max, BUDGET.strikes_max)
    );
    let again = catalog.with(load()).unwrap();
    world.take(&again);
    assert_eq!(ask(&mut world), done);
    assert!(!again.row("a").unwrap().is_disabled);
    // A rollback gives another chance too.
    world.take(&again.rolled_back("a").unwrap());
    assert_eq!(ask(&mut world), done);
    assert_eq!(again.row("a").unwrap().counters.calls(), 2 * BUDGET.strikes_max + 2);
}
