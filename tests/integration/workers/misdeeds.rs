//! Workers that do what none should: each has an outcome with a name, and nobody else is disturbed.

use serde_json::json;

use super::{KILL, Place, STOP, TERMINATE, Watched, hit};
use crate::client::Client;
use crate::server::send_signal;

fn place(more: &str) -> Place {
    Place::with_workers(&format!(
        "restart_ms_max = 100\nstop_ms = 300\nmemory_bytes_max = 134217728\n{more}"
    ))
}

/// What `work` says beside the methods.
fn work(text: &str) -> String {
    format!("environment = {{ TEST_WORK = '{text}' }}\n")
}

#[test]
fn a_worker_that_takes_too_much_memory_costs_an_attempt_and_dies_alone() {
    let place = place(&work(r#"{"attempts_max": 2}"#));
    let mut server = place.start();
    server.working(1);
    let mut client = Client::log_in(server.listen, "ann");
    let reply = hit(&mut client, json!({"misdeed": "grow"}));
    assert_eq!((&reply["status"], &reply["tries"]), (&json!(0), &json!(2)), "{reply}");
    // As often as it may be tried, and not once more.
    let reply = hit(&mut client, json!({"misdeed": "grow", "always": true}));
    assert_eq!(reply["error"], "task-failed", "{reply}");
    server.metric_becomes("warren_tasks_dead", "", 1);
    let reply = hit(&mut client, json!({}));
    assert_eq!(reply["status"], 0, "{reply}");
    server.stop();
}

#[test]
fn an_endless_loop_loses_its_task_to_another_and_is_killed_at_the_end() {
    let place = place(&format!("count = 2\n{}", work(r#"{"limit_ms": 500}"#)));
    let mut server = place.start();
    let pids = server.working(2);
    let watched: Vec<Watched> = pids.iter().map(|pid| Watched::of(*pid)).collect();
    let mut client = Client::log_in(server.listen, "ann");
    let reply = hit(&mut client, json!({"misdeed": "loop"}));
    assert_eq!((&reply["status"], &reply["tries"]), (&json!(0), &json!(2)), "{reply}");
    server.signal(TERMINATE);
    let (status, log) = server.wait_and_read_log();
    assert_eq!(status.code(), Some(0));
    watched.iter().for_each(Watched::ends);
    let killed = "a worker did not end in time, and is killed";
    assert_eq!(log.iter().filter(|line| line["message"] == killed).count(), 1);
}

#[test]
fn a_worker_that_is_stopped_is_ended_and_another_has_its_task() {
    let place = place(&format!("silent_ms_max = 2000\n{}", work(r#"{"limit_ms": 2000}"#)));
    let mut server = place.start();
    let pid = server.working(1)[0];
    let stopped = Watched::of(pid);
    send_signal(pid, STOP);
    let mut client = Client::log_in(server.listen, "ann");
    let reply = hit(&mut client, json!({}));
    assert_eq!((&reply["status"], &reply["tries"]), (&json!(0), &json!(1)), "{reply}");
    assert_ne!(reply["pid"], pid);
    stopped.ends();
    let told = server.logged("a worker is stuck: it is ended");
    assert_eq!((&told["pid"], &told["worker"]), (&json!(pid), &json!("worker.game.1")));
    assert!(told["silent_ms"].as_u64().unwrap() > 2000, "{told}");
    // It hears nothing, and has its time all the same.
    server.logged("a worker did not end in time, and is killed");
    assert_eq!(server.logged("a stuck worker has ended")["exit"], "signal: 9 (SIGKILL)");
    server.working(1);
    for count in ["warren_worker_stuck_total", "warren_worker_restarts_total"] {
        assert_eq!(server.metric(count, "game"), 1, "{count}");
    }
    server.stop();
}

#[test]
fn workers_are_restarted_while_one_that_is_stuck_has_its_time_to_end() {
    let more = format!("silent_ms_max = 1000\nstop_ms = 2000\n{}", work(r#"{"limit_ms": 500}"#));
    let place = Place::with_workers(&format!("restart_ms_max = 100\n{more}"));
    let mut server = place.start();
    let pid = server.working(1)[0];
    send_signal(pid, STOP);
    let mut client = Client::log_in(server.listen, "ann");
    client.send("{\"msg\":\"hit\",\"id\":1,\"number\":1}\n");
    assert_eq!(server.logged("a worker is stuck: it is ended")["pid"], pid);
    // It does not end before it is killed.
    let (status, told) = server.order_workers(&place, "restart");
    assert_eq!((status, &*told), (Some(0), "the workers game work anew\n"));
    let reply = client.reply("hit");
    assert_eq!(reply["status"], 0, "{reply}");
    server.stop();
}

#[test]
fn a_worker_without_a_session_is_ended() {
    let place = place("silent_ms_max = 2000\n");
    let mut server = place.start();
    let pid = server.working(1)[0];
    let mut client = Client::log_in(server.listen, "ann");
    let reply = hit(&mut client, json!({"misdeed": "part"}));
    assert_eq!((&reply["status"], &reply["tries"]), (&json!(0), &json!(2)), "{reply}");
    assert_ne!(reply["pid"], pid);
    assert_eq!(server.logged("a worker is stuck: it is ended")["pid"], pid);
    server.working(1);
    server.stop();
}

#[test]
fn an_answer_by_the_token_of_a_lease_that_is_over_changes_nothing() {
    let place = place(&work(r#"{"limit_ms": 300}"#));
    let mut server = place.start();
    server.working(1);
    let mut client = Client::log_in(server.listen, "ann");
    client.send("{\"msg\":\"create\",\"kind\":\"wolf\",\"hits\":0}\n");
    let wolf = client.reply("create")["object"].clone();
    let reply = hit(&mut client, json!({"misdeed": "late", "target": wolf}));
    let told = (&reply["status"], &reply["old"], &reply["told"], &reply["hits"]);
    assert_eq!(told, (&json!(0), &json!("lease-lost"), &json!(null), &json!(1)), "{reply}");
    server.stop();
}

#[test]
fn what_a_worker_has_forked_goes_with_it() {
    let place = place("");
    let mut server = place.start();
    server.working(1);
    let mut client = Client::log_in(server.listen, "ann");
    let reply = hit(&mut client, json!({"misdeed": "fork"}));
    let child = Watched::of(reply["child"].as_u64().unwrap() as u32);
    send_signal(reply["pid"].as_u64().unwrap() as u32, KILL);
    child.ends();
    // Another takes its place.
    server.working(1);
    server.stop();
}

#[test]
fn a_worker_that_does_not_end_is_killed_with_the_server_s_end() {
    let place = place("environment = { TEST_MODE = \"deaf\" }\n");
    let mut server = place.start();
    let pids = server.working(1);
    let worker = Watched::of(pids[0]);
    server.stop();
    worker.ends();
}

#[test]
fn a_worker_that_does_not_say_work_is_killed_and_started_again() {
    let place = place("environment = { TEST_MODE = \"mute\" }\nstart_ms = 500\n");
    let mut server = place.start();
    for _ in 0..2 {
        server.logged("a worker did not say `work` in time, and is killed");
        let exit = server.logged("a worker has ended by itself");
        assert_eq!(exit["exit"], "signal: 9 (SIGKILL)");
    }
    server.stop();
}
