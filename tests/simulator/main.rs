//! The simulator: several shards of one node in one thread, with seeded clients, turns and mesh
//! delivery, and limits so small that every queue overflows.
//!
//! ```text
//! cargo test --release --test simulator                    every test, 1,000 seeds
//! cargo test --release --test simulator -- 123             seed 123 with its trace
//! cargo test --release --test simulator -- --seeds 5000    that many seeds
//! ```
//!
//! It runs the real `ShardTurn` over real mesh rings. Who does what: `plan` draws the conditions,
//! `cluster` schedules, `store` and `log` keep what was stored, `links` moves batches, `clients` holds connections, `workload` asks, `tasks` asks and works,
//! `oracle` knows what is true, `auditor` judges what clients hear, `invariants` judges shards,
//! `planted` breaks things on purpose.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use cluster::{Summary, simulate};
use planted::PlantedBug;

mod auditor;
mod clients;
mod clock;
mod cluster;
mod invariants;
mod links;
mod log;
mod oracle;
mod plan;
mod planted;
mod prng;
mod store;
mod tasks;
mod trace;
mod workload;

/// Seeds of a run without arguments.
const SEEDS: u64 = 1000;
/// Seeds that are run twice to compare their traces.
const TWICE_SEEDS: u64 = 50;
/// Seeds within which every planted bug is to be found.
const PLANTED_SEEDS_MAX: u64 = SEEDS;

/// Seeds within which everything in `REACHED` happens.
const REACHED_SEEDS: u64 = 1000;

/// What has to happen for the rest to mean anything: methods with what became of them.
const REACHED: &[(&str, &[&str])] = &[
    (
        "chat",
        &["granted", "heard", "busy", "lobby", "not-a-member", "unknown-recipient", "message-rate"],
    ),
    ("say", &["granted", "busy", "not-a-member", "not-logged-in"]),
    ("emit", &["granted", "heard", "busy", "not-a-member", "unknown-recipient"]),
    ("joined", &["heard"]),
    ("members", &["heard"]),
    ("gather", &["gathered"]),
    ("npc", &["moved", "put-off"]),
    ("left", &["heard"]),
    (
        "join",
        &[
            "granted",
            "busy",
            "already-member",
            "displaced",
            "name-taken",
            "room-full",
            "message-rate",
        ],
    ),
    ("join", &["room-creation-disabled", "too-many-rooms", "not-logged-in", "lobby"]),
    ("leave", &["granted", "busy", "not-a-member", "unknown-room"]),
    ("login", &["granted", "busy", "already-logged-in", "name-taken", "lobby", "message-rate"]),
    ("close", &["displaced", "quit", "unknown-method"]),
    ("create", &["granted", "busy", "name-taken", "object-too-large", "partition-full"]),
    ("get", &["granted", "busy", "unknown-object"]),
    (
        "set",
        &["granted", "busy", "not-owner", "version-conflict", "level-unavailable", "message-rate"],
    ),
    ("delete", &["granted", "busy", "not-owner", "room-occupied", "unknown-object"]),
    ("find", &["granted", "busy"]),
    ("watch", &["granted", "busy", "already-watching", "too-many-watches", "unknown-object"]),
    ("unwatch", &["granted", "busy", "not-watching", "unknown-object"]),
    ("changed", &["watched", "heard", "moved"]),
    ("deleted", &["watched", "heard", "revoked"]),
    ("durable", &["granted"]),
    ("create", &["log-behind", "not-durable"]),
    ("set", &["log-behind", "not-durable"]),
    ("create", &["partition-memory-full", "server-full", "too-many-npcs"]),
    ("set", &["partition-memory-full", "server-full", "lobby", "reserved-field"]),
    ("login", &["server-full"]),
    ("join", &["server-full", "npcs-full"]),
    ("who", &["granted", "busy", "unknown-room", "field-invalid"]),
    ("rooms", &["granted", "busy", "not-logged-in"]),
    ("hello", &["granted", "version-unsupported"]),
    ("ping", &["granted", "busy", "message-rate"]),
    ("time", &["granted"]),
    ("quit", &["granted"]),
    (
        "resume",
        &[
            "granted",
            "replayed",
            "session-unknown",
            "resume-too-old",
            "field-invalid",
            "message-rate",
        ],
    ),
    ("frame", &["seen"]),
    ("repeat", &["said-again"]),
    ("theft", &["session-unknown", "already-logged-in"]),
    ("close", &["taken-over", "third-refusal", "too-many-connections"]),
    ("line", &["moved"]),
    ("toil", &["granted", "queue-full", "task-expired", "task-failed", "task-pending"]),
    ("task", &["told", "event-told"]),
    ("work", &["granted"]),
    ("begin", &["granted", "lease-lost"]),
    ("effect", &["granted", "lease-lost"]),
    ("extend", &["granted"]),
    ("fail", &["granted"]),
    ("release", &["granted"]),
    ("done", &["granted", "lease-lost", "effects-missing", "queue-full"]),
];

/// A test: says what it saw, or what went wrong.
type Test = fn() -> Result<String, String>;

const TESTS: &[(&str, Test)] = &[
    ("seeds_hold", || seeds_hold(SEEDS)),
    ("same_seed_same_trace", same_seed_same_trace),
    ("everything_is_reached", everything_is_reached),
    ("planted_bugs_are_found", planted_bugs_are_found),
];

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        LAST_PANIC.with(|last| *last.borrow_mut() = panic.to_string());
    }));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        // The protocol of test runners: none is ever ignored.
        if !has("--ignored") {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    if let Some(at) = arguments.iter().position(|argument| argument == "--seeds") {
        let Some(Ok(count)) = arguments.get(at + 1).map(|count| count.parse()) else {
            eprintln!("--seeds wants a number");
            return ExitCode::FAILURE;
        };
        return report("seeds_hold", seeds_hold(count));
    }
    let mut names: Vec<&str> = vec![];
    for argument in arguments.iter().filter(|argument| !argument.starts_with('-')) {
        match argument.parse() {
            Ok(seed) => return replay(seed),
            Err(_) => names.push(argument),
        }
    }
    let is_chosen = |name: &str| match has("--exact") {
        true => names.contains(&name),
        false => names.is_empty() || names.iter().any(|part| name.contains(part)),
    };
    run_tests(is_chosen)
}

/// Runs the tests of chosen names, and closes as Rust's own test runner does.
fn run_tests(is_chosen: impl Fn(&str) -> bool) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in TESTS.iter().filter(|(name, _)| is_chosen(name)) {
        let is_ok = report(name, test()) == ExitCode::SUCCESS;
        passed += usize::from(is_ok);
        failed += usize::from(!is_ok);
    }
    let (word, left) = (if failed == 0 { "ok" } else { "FAILED" }, TESTS.len() - passed - failed);
    println!("\ntest result: {word}. {passed} passed; {failed} failed; {left} filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(name: &str, result: Result<String, String>) -> ExitCode {
    match result {
        Ok(words) => {
            println!("test {name} ... ok: {words}");
            ExitCode::SUCCESS
        }
        Err(words) => {
            println!("test {name} ... FAILED\n{words}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one seed, and returns what went wrong.
fn attempt(seed: u64, planted: Option<PlantedBug>, is_printed: bool) -> Result<Summary, String> {
    catch_unwind(AssertUnwindSafe(|| simulate(seed, planted, is_printed)))
        .map_err(|_| LAST_PANIC.with(|last| last.borrow().clone()))
}

/// One seed with its trace.
fn replay(seed: u64) -> ExitCode {
    println!("seed {seed}");
    let result = attempt(seed, None, true);
    report(
        "seed",
        result.map(|summary| format!("{summary:?}")).map_err(|words| failed(seed, &words)),
    )
}

fn failed(seed: u64, words: &str) -> String {
    let command = "cargo test --release --test simulator --";
    format!("seed {seed} failed; replay it with: {command} {seed}\n{words}")
}

fn seeds_hold(count: u64) -> Result<String, String> {
    let mut sum = Summary::default();
    for seed in 0..count {
        let summary = attempt(seed, None, false).map_err(|words| failed(seed, &words))?;
        sum.turns += summary.turns;
        sum.replies += summary.replies;
        sum.heard += summary.heard;
    }
    let Summary { turns, replies, heard, .. } = sum;
    Ok(format!("{count} seeds, {turns} turns, {replies} replies, {heard} messages heard"))
}

fn same_seed_same_trace() -> Result<String, String> {
    let mut hashes = BTreeSet::new();
    for seed in 0..TWICE_SEEDS {
        let one = attempt(seed, None, false).map_err(|words| failed(seed, &words))?;
        let other = attempt(seed, None, false).map_err(|words| failed(seed, &words))?;
        if one != other {
            return Err(format!("seed {seed} gave {one:?}, then {other:?}"));
        }
        hashes.insert(one.trace_hash);
    }
    if hashes.len() as u64 != TWICE_SEEDS {
        return Err("different seeds gave the same trace".into());
    }
    Ok(format!("{TWICE_SEEDS} seeds"))
}

fn everything_is_reached() -> Result<String, String> {
    let mut missing: BTreeSet<(&str, &str)> = REACHED
        .iter()
        .flat_map(|(method, words)| words.iter().map(|word| (*method, *word)))
        .collect();
    let count = missing.len();
    for seed in 0..REACHED_SEEDS {
        let summary = attempt(seed, None, false).map_err(|words| failed(seed, &words))?;
        missing.retain(|(method, word)| !summary.reached.contains_key(&((*method).into(), *word)));
        if missing.is_empty() {
            return Ok(format!("{count} things within {} seeds", seed + 1));
        }
    }
    Err(format!("never happened within {REACHED_SEEDS} seeds: {missing:?}"))
}

fn planted_bugs_are_found() -> Result<String, String> {
    let mut report = String::new();
    for bug in PlantedBug::ALL {
        let mut seeds = 0..PLANTED_SEEDS_MAX;
        let found = seeds.find_map(|seed| Some((seed, attempt(seed, Some(bug), false).err()?)));
        let Some((seed, how)) = found else {
            return Err(format!("{bug:?} was not found within {PLANTED_SEEDS_MAX} seeds"));
        };
        let how = how.lines().last().unwrap_or_default();
        let _ = write!(report, "\n  {bug:?}: seed {seed}: {how}");
    }
    Ok(report)
}
