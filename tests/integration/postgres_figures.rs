//! How fast the export is: a backlog of changes, and a full copy. With the number that the figures of
//! `docs/postgres.md` are of: `WARREN_EXPORT_OBJECTS=200000`.

use std::time::Instant;

use serde_json::{Value, json};

use crate::client::Client;
use crate::postgres_server::PostgresServer;
use crate::postgres_world::{World, imported, wait_for, wait_until_exported};

/// Requests that are on their way at once.
const WINDOW: usize = 256;
/// Changes of each object. With its creation they are 800,000 of 200,000 objects: 1,333 a second for
/// ten minutes.
const CHANGES: usize = 3;

fn objects() -> usize {
    std::env::var("WARREN_EXPORT_OBJECTS").map_or(2000, |text| text.parse().expect("a number"))
}

/// Sends all requests, a window at a time, and hands each reply over.
fn ask_all(
    client: &mut Client,
    count: usize,
    request: impl Fn(usize) -> Value,
    mut take: impl FnMut(usize, Value),
) {
    for start in (0..count).step_by(WINDOW) {
        let window = start..count.min(start + WINDOW);
        let lines: Vec<String> = window.clone().map(|n| format!("{}\n", request(n))).collect();
        client.send(lines.concat());
        for number in window {
            let reply = loop {
                let frame: Value = serde_json::from_slice(&client.frame(b'\n')).unwrap();
                if frame["msg"] != "pong" && frame["msg"] != "ping" {
                    break frame;
                }
            };
            assert_eq!(reply["status"], 0, "{reply}");
            take(number, reply);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is measured is told, and nothing depends on it"
)]
fn timed(what: &str, rows: usize, run: impl FnOnce()) {
    let start = Instant::now();
    run();
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{what}: {rows} in {seconds:.2} s, {:.0} a second", rows as f64 / seconds);
}

#[test]
fn a_backlog_of_ten_minutes_is_caught_up_with_and_a_full_copy_is_the_same() {
    let mut postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 10\nreplace = true");
    let server = world.start();
    let mut client = Client::log_in(server.listen, "ann");
    wait_until_exported(&server);
    postgres.end();
    let count = objects();
    let mut swords = Vec::new();
    let create = |number: usize| {
        json!({"msg": "create", "kind": "sword", "partition": number % 4096,
               "name": format!("sword {number}"), "weight": number, "sharp": true})
    };
    timed("objects that were created", count, || {
        ask_all(&mut client, count, create, |_, reply| swords.push(reply["object"].clone()));
    });
    timed("objects that were changed", CHANGES * count, || {
        let set = |number: usize| json!({"msg": "set", "object": swords[number % count], "weight": number, "colour": "red"});
        ask_all(&mut client, CHANGES * count, set, |_, _| {});
    });
    server.metric_becomes("warren_delta_batches_waiting", "", 0);
    let commits = server.metric_of_server("warren_export_lag_commits") as usize;
    let digest = world.digest(&server);
    let copied = server.metric_of_server("warren_export_full_copies_total");
    postgres.run();
    // It may be in a pause.
    wait_for(&server, "warren_export_connected", |connected| connected == 1);
    timed("changes that were caught up with", (1 + CHANGES) * count, || {
        wait_for(&server, "warren_export_lag_commits", |lag| lag == 0);
    });
    eprintln!("these were {commits} commits");
    let told = |name: &str| server.metric_of_server(&format!("warren_export_{name}_total"));
    assert_eq!((told("full_copies"), told("gaps")), (copied, 0));
    assert!(told("rows") >= count as u64);
    timed("objects that were imported", count, || {
        assert_eq!(imported(&postgres, &world.beside("caught-up")), digest);
    });
    // Everything anew, as if nothing had been there.
    let end_connection = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                          WHERE application_name = 'warren'";
    postgres.sql(&format!("DELETE FROM warren.cursor; {end_connection}"));
    timed("objects that were copied", count, || {
        // It finds out with the next change.
        client.send("{\"msg\":\"create\",\"kind\":\"sword\",\"partition\":1}\n");
        wait_for(&server, "warren_export_full_copies_total", |count| count > copied);
    });
    timed("changes of the log behind the copy", (1 + CHANGES) * count, || {
        wait_until_exported(&server);
    });
    let digest = world.digest(&server);
    assert_eq!(imported(&postgres, &world.beside("copied")), digest);
    server.stop();
}
