//! Conservation with real processes: workers that are killed under load, and servers with their workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::{ByHand, KILL, Place, script};
use crate::server::{TestServer, send_signal};
use crate::tasks::{ask_for_all, hits_of, make_targets};

/// Tasks of one round of the load.
const ROUND: u64 = 200;

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn place(count: usize) -> Place {
    let place = Place::with_workers("");
    let (script, ledger) = (script(), place.ledger());
    let config = std::fs::read_to_string(place.folder.0.join("warren.toml")).unwrap();
    let config = config.split("[workers.game]").next().unwrap();
    // What is done is remembered for ten minutes.
    let config = format!(
        "{config}tasks_per_partition_max = 1048576\n\
         [storage]\nsnapshot_interval_ms = 20\nsegment_bytes = 32768\n\
         [workers.game]\ncommand = [\"python3\", {script:?}]\ncount = {count}\n\
         restart_ms_max = 100\nstop_ms = 1000\n\
         environment = {{ TEST_LEDGER = {ledger:?}, TEST_WORK = '{{\"deadline_ms\": 0}}' }}\n\
         [tasks]\nmethods = [\"hit\"]\n"
    );
    place.folder.file("warren.toml", &config);
    place
}

/// Each request is in the ledger at least once, and none that nobody asked for.
fn check_ledger(place: &Place, tasks: u64) -> (usize, u64) {
    let mut begun: BTreeMap<u64, u64> = BTreeMap::new();
    for (number, _) in place.begun() {
        *begun.entry(number).or_default() += 1;
    }
    assert!(begun.keys().copied().eq(0..tasks), "{} of {tasks} were begun", begun.len());
    let again = begun.values().filter(|times| **times > 1).count();
    (again, begun.values().copied().max().unwrap_or(0))
}

/// Kills one worker after the other until nobody wants more.
fn kill_workers(server: &TestServer, interval: Duration, count: u64, ended: &Receiver<()>) -> u64 {
    let mut kills = 0;
    while kills < count {
        match ended.recv_timeout(interval) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return kills,
        }
        let pids = server.worker_pids("working");
        if let Some(pid) = pids.get(kills as usize % pids.len().max(1)) {
            send_signal(*pid, KILL);
        }
        kills += 1;
    }
    kills
}

/// `WARREN_WORKER_KILL_S` says for how long a worker is killed each second; without it, 60 are killed, one each
/// 200 ms.
#[test]
fn workers_that_are_killed_under_load_lose_no_task_and_do_none_twice() {
    let seconds = number_from("WARREN_WORKER_KILL_S");
    let (interval, count) = seconds.map_or((200, 60), |seconds| (1000, seconds));
    let place = place(4);
    let mut server = place.start_with_data();
    server.working(4);
    let targets = make_targets(&server);
    let (end, ended) = channel::<()>();
    let mut tasks = 0;
    let kills = std::thread::scope(|scope| {
        let server = &server;
        let killer = scope
            .spawn(move || kill_workers(server, Duration::from_millis(interval), count, &ended));
        // It ends also when this thread fails.
        let _end = end;
        while !killer.is_finished() {
            let mut open: BTreeSet<u64> = (tasks..tasks + ROUND).collect();
            tasks += ROUND;
            assert!(ask_for_all(server, &targets, &mut open, usize::MAX), "{open:?}");
        }
        killer.join().unwrap()
    });
    assert_eq!(hits_of(&server, &targets), tasks, "each has its effects once");
    assert_eq!(server.metric("warren_tasks_dead", ""), 0);
    let restarts = server.metric("warren_worker_restarts_total", "game");
    server.stop();
    let (again, most) = check_ledger(&place, tasks);
    println!(
        "{tasks} tasks, {kills} kills, {restarts} restarts, {again} begun more than once, \
         at most {most} times"
    );
    assert!(restarts > count / 2 && most <= 20);
}

/// `WARREN_TASK_KILLS` says how often the server is killed.
#[test]
fn servers_that_are_killed_with_their_workers_lose_no_task_and_do_none_twice() {
    let kills = number_from("WARREN_TASK_KILLS").unwrap_or(5) as usize;
    let tasks = 40 * (kills as u64 + 1);
    let place = place(2);
    let (mut open, mut targets) = ((0..tasks).collect::<BTreeSet<u64>>(), Vec::new());
    for life in 0..=kills {
        let server = place.start_with_data();
        if life == 0 {
            targets = make_targets(&server);
        }
        let is_last = life == kills;
        let answers_max = if is_last { usize::MAX } else { 7 + 11 * life % 50 };
        let all = ask_for_all(&server, &targets, &mut open, answers_max);
        assert!(all || !is_last, "{open:?}");
        if is_last {
            assert_eq!(hits_of(&server, &targets), tasks, "each has its effects once");
            assert_eq!(server.metric("warren_tasks_dead", ""), 0);
        }
        server.signal(KILL);
        server.wait();
    }
    let (again, most) = check_ledger(&place, tasks);
    println!("{tasks} tasks, {kills} kills, {again} begun more than once, at most {most} times");
}

#[test]
fn workers_come_and_go_under_load_without_an_error() {
    let steps = ["work", "begin", "effect", "done", "release", "fail", "extend"];
    let rules = steps.map(|step| format!("[methods.{step}]\nroles = [\"user\"]\n")).concat();
    let place = Place::new(&format!("[tasks]\nmethods = [\"hit\"]\n{rules}"));
    let server = place.start_with_data();
    let targets = make_targets(&server);
    let (url, ledger) = (format!("tcp://{}", server.listen), place.ledger());
    let worker = |user| {
        let ledger = ledger.to_str().unwrap();
        ByHand::start(&["--url", &url], &[("WARREN_USER", user), ("TEST_LEDGER", ledger)])
    };
    let ask = |numbers: std::ops::Range<u64>| {
        let mut open: BTreeSet<u64> = numbers.collect();
        assert!(ask_for_all(&server, &targets, &mut open, usize::MAX), "{open:?}");
    };
    let first = worker("one");
    server.metric_becomes("warren_task_workers", "", 2);
    let (second, third) = std::thread::scope(|scope| {
        scope.spawn(|| ask(0..400));
        let (second, third) = (worker("two"), worker("three"));
        server.metric_becomes("warren_task_workers", "", 6);
        (second, third)
    });
    ask(400..500);
    let gone = first.0.id();
    std::thread::scope(|scope| {
        scope.spawn(|| ask(500..700));
        first.stop();
    });
    let before = place.begun().len();
    ask(700..800);
    assert_eq!(hits_of(&server, &targets), 800, "each has its effects once");
    let begun = place.begun();
    for pid in [gone, second.0.id(), third.0.id()] {
        assert!(begun.iter().any(|(_, who)| *who == pid), "each has its part");
    }
    assert!(begun[before..].iter().all(|(_, who)| *who != gone));
    second.stop();
    third.stop();
    server.stop();
}
