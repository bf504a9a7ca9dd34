//! What is in Postgres is what the server has: at rest, and after anything that happened on the way.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::{Value, json};
use warren_storage::StateStore;
use warren_storage::log_executor::{LogNeeds, LogProgress};
use warren_storage::postgres::{ExportRound, ExportSource, Exporter, PostgresPlace};

use crate::client::Client;
use crate::postgres_server::PostgresServer;
use crate::postgres_world::{Player, World, digest, imported, wait_for, wait_until_exported};
use crate::server::TestServer;

const KILL: i32 = 9;
const TERMINATE: i32 = 15;

/// The tables, the server, and a world that is made of the tables have the same objects.
#[track_caller]
fn assert_equal(world: &World, server: &TestServer, postgres: &PostgresServer) {
    wait_until_exported(server);
    let told = world.digest(server);
    let copy = world.beside("copy");
    assert_eq!(imported(postgres, &copy), told);
    std::fs::remove_dir_all(copy).unwrap();
    let rows = postgres.sql("SELECT count(*) FROM warren.objects");
    assert_eq!(rows.trim(), told["objects"].to_string());
}

fn metrics(server: &TestServer, names: &[&str]) -> Vec<u64> {
    names.iter().map(|name| server.metric_of_server(&format!("warren_export_{name}"))).collect()
}

#[test]
fn a_world_moves_through_postgres_and_keeps_its_digest() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 10");
    let mut server = world.start();
    let mut player = Player::new(1);
    let mut ann = Client::log_in(server.listen, "ann");
    ann.send("{\"msg\":\"create\",\"kind\":\"room\",\"room\":\"hall\",\"members_max\":2}\n");
    assert_eq!(ann.reply("create")["status"], 0);
    ann.join("camp");
    player.play(&mut ann, 1500);
    assert_equal(&world, &server, &postgres);
    // Once copied, at the first start, and then followed.
    assert_eq!(metrics(&server, &["full_copies_total", "gaps_total"]), [1, 0]);
    player.play(&mut ann, 1500);
    assert_equal(&world, &server, &postgres);
    assert_eq!(metrics(&server, &["full_copies_total", "gaps_total"]), [1, 0]);
    assert!(metrics(&server, &["commits_total"])[0] > 0);
    let digest_before = world.digest(&server);
    let highest =
        "SELECT partition, max(address) FROM warren.objects WHERE partition = 171 GROUP BY 1";
    let highest: u64 = postgres.sql(highest).trim().split_once('|').unwrap().1.parse().unwrap();
    // The last of the partition is gone, and its address is never given again.
    let last = format!("171.{highest}");
    let mut owner = Client::log_in(server.listen, "ann");
    owner.send(format!("{}\n", json!({"msg": "delete", "object": last})));
    assert_eq!(owner.reply("delete")["status"], 0);
    wait_until_exported(&server);
    let next = "SELECT next_address FROM warren.partitions WHERE partition = 171";
    assert_eq!(postgres.sql(next).trim(), (highest + 1).to_string());
    assert_ne!(world.digest(&server), digest_before);
    let told = world.digest(&server);
    server.signal(TERMINATE);
    let (status, log) = server.wait_and_read_log();
    assert_eq!(status.code(), Some(0), "{log:?}");
    assert!(log.iter().any(|line| line["message"] == "everything is exported"), "{log:?}");

    let elsewhere = world.beside("elsewhere");
    assert_eq!(imported(&postgres, &elsewhere), told);
    let mut serve =
        crate::server::command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    serve.args(["--shards", "1", "--data"]).arg(&elsewhere);
    server = TestServer::spawn(serve);
    assert_eq!(digest(&server, &elsewhere), told);
    let mut bob = Client::log_in(server.listen, "ann");
    bob.send("{\"msg\":\"join\",\"room\":\"hall\"}\n");
    assert_eq!(bob.reply("join")["status"], 0);
    bob.send("{\"msg\":\"create\",\"kind\":\"sword\",\"partition\":171}\n");
    let created = bob.reply("create");
    let (_, address) = created["object"].as_str().unwrap().split_once('.').unwrap();
    assert!(address.parse::<u64>().unwrap() > highest, "{created}");
    server.stop();
}

#[test]
fn a_postgres_that_was_gone_or_silent_is_caught_up_with() {
    let mut postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 10\ntimeout_ms = 500");
    let server = world.start();
    let mut player = Player::new(2);
    let mut ann = Client::log_in(server.listen, "ann");
    for round in 0..4 {
        player.play(&mut ann, 300);
        if round % 2 == 0 {
            postgres.end();
        } else {
            postgres.stop();
        }
        let failures = metrics(&server, &["failures_total"])[0];
        // The server goes on, and notices.
        player.play(&mut ann, 300);
        wait_for(&server, "warren_export_failures_total", |count| count > failures);
        assert_eq!(metrics(&server, &["connected"]), [0]);
        assert!(metrics(&server, &["lag_commits"])[0] > 0);
        player.play(&mut ann, 300);
        if round % 2 == 0 {
            postgres.run();
        } else {
            postgres.go_on();
        }
        assert_equal(&world, &server, &postgres);
    }
    assert_eq!(metrics(&server, &["full_copies_total", "gaps_total"]), [1, 0]);
    postgres.stop();
    player.play(&mut ann, 50);
    // The drain does not wait for it for ever.
    server.signal(TERMINATE);
    let (status, log) = server.wait_and_read_log();
    assert_eq!(status.code(), Some(0), "{log:?}");
    let left = log
        .iter()
        .find(|line| line["message"] == "not everything is exported; the next start goes on");
    let left = left.unwrap_or_else(|| panic!("{log:?}"));
    assert!(left["durable"].as_u64() > left["exported"].as_u64(), "{left}");
    postgres.go_on();
    let server = world.start();
    assert_equal(&world, &server, &postgres);
    assert_eq!(metrics(&server, &["full_copies_total", "gaps_total"]), [0, 0]);
    server.stop();
}

#[test]
fn the_staging_table_is_made_anew_and_the_export_goes_on() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    let server = world.start();
    Client::log_in(server.listen, "ann");
    wait_until_exported(&server);
    server.stop();
    assert!(world.export(&["run"]).status.success());
    let commit = postgres.sql("SELECT commit FROM warren.cursor").trim().parse().unwrap();
    let (store, _) = StateStore::open(&world.data().join("state")).unwrap();
    let progress = LogProgress::default();
    progress.durable_commit.store(commit, Relaxed);
    let source = ExportSource {
        store: Arc::new(store),
        log_folder: world.data().join("log"),
        progress: Arc::new(progress),
        needs: Arc::new(LogNeeds::default()),
        log_bytes_max: 1 << 30,
        may_replace: false,
    };
    let timeout = Duration::from_secs(20);
    let place = PostgresPlace::parse(&postgres.connection(), "warren", timeout).unwrap();
    let mut exporter = Exporter::new(place, source);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let staged = || postgres.sql("SELECT oid FROM pg_class WHERE relname = 'staged'");
    runtime.block_on(async {
        while exporter.round().await.unwrap() != ExportRound::UpToDate {}
        let before = staged();
        exporter.renew().await.unwrap();
        let after = staged();
        assert!(!before.is_empty() && !after.is_empty() && before != after, "{before} {after}");
        assert_eq!(exporter.round().await.unwrap(), ExportRound::UpToDate);
    });
}

#[test]
fn a_kill_while_a_drain_waits_for_postgres_is_no_crash() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    let mut server = world.start();
    let mut ann = Client::log_in(server.listen, "ann");
    wait_until_exported(&server);
    postgres.stop();
    Player::new(16).play(&mut ann, 50);
    server.signal(TERMINATE);
    server.logged("state stored");
    server.signal(KILL);
    assert_eq!(server.wait().signal(), Some(KILL));
    postgres.go_on();
    let mut server = world.start();
    server.logged("the state is complete: the last server stored all it had");
    assert_equal(&world, &server, &postgres);
    server.stop();
}

#[test]
fn a_lag_is_told_in_commits_and_bytes_once_it_is_known_and_in_seconds_always() {
    let mut postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    let server = world.start();
    let mut ann = Client::log_in(server.listen, "ann");
    wait_until_exported(&server);
    assert_eq!(metrics(&server, &["lag_commits", "lag_bytes"]), [0, 0]);
    postgres.end();
    let mut send = |count: usize| {
        let text = "x".repeat(1000);
        let create =
            json!({"msg": "create", "kind": "sword", "partition": 5, "text": text}).to_string();
        for _ in 0..count {
            ann.send(format!("{create}\n"));
            assert_eq!(ann.reply("create")["status"], 0);
        }
        server.metric_becomes("warren_delta_batches_waiting", "", 0);
        metrics(&server, &["lag_bytes"])[0]
    };
    let lags = [send(10), send(20)];
    assert!((10_000..20_000).contains(&lags[0]) && (30_000..50_000).contains(&lags[1]), "{lags:?}");
    // What has been exported since counts no more.
    postgres.run();
    wait_for(&server, "warren_export_lag_commits", |lag| lag == 0);
    postgres.end();
    let lag = send(10);
    assert!((10_000..20_000).contains(&lag), "{lag}");
    server.stop();
    let server = world.start();
    // Nothing is known of tables that were not reached.
    wait_for(&server, "warren_export_failures_total", |count| count > 0);
    let (_, told) = server.get("/metrics");
    assert!(!told.contains("warren_export_lag_commits ") && !told.contains("export_lag_bytes "));
    assert!(told.contains("\nwarren_export_lag_seconds ") && told.contains("export_connected 0"));
    let (told, log) = {
        server.signal(TERMINATE);
        server.wait_and_read_log()
    };
    assert!(told.success());
    let said = |words: &str| log.iter().any(|line| line["message"] == words);
    assert!(said("Postgres was not reached; the next start goes on"), "{log:?}");
    assert!(!said("everything is exported"));
    postgres.run();
    let server = world.start();
    assert_equal(&world, &server, &postgres);
    assert_eq!(metrics(&server, &["lag_commits", "lag_bytes", "panics_total"]), [0, 0, 0]);
    server.stop();
}

#[test]
fn kills_during_the_export_leave_no_gap_and_no_double() {
    const KILLS: usize = 12;
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    let mut player = Player::new(3);
    for life in 0..=KILLS {
        let server = world.start();
        // What was not durable is not there any more.
        player.objects.clear();
        let mut ann = Client::log_in(server.listen, "ann");
        let count = 20 + player.drawn(400);
        player.play(&mut ann, count);
        if life % 4 == 3 {
            assert_equal(&world, &server, &postgres);
        }
        if life == KILLS {
            assert_equal(&world, &server, &postgres);
            // It went on where it was, each time.
            assert_eq!(metrics(&server, &["full_copies_total", "gaps_total"]), [0, 0]);
            server.stop();
        } else {
            server.signal(KILL);
            server.wait();
        }
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

/// Why the server has copied everything, as it says.
fn reason_of_copy(server: &mut TestServer) -> Value {
    server.logged("copied all objects to Postgres anew")["reason"].clone()
}

#[test]
fn a_world_that_was_put_back_is_copied_anew() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1\nreplace = true");
    let mut player = Player::new(4);
    let mut play = |server: &TestServer, count: usize| {
        let mut ann = Client::log_in(server.listen, "ann");
        player.objects.clear();
        player.play(&mut ann, count);
    };
    let server = world.start();
    play(&server, 100);
    wait_until_exported(&server);
    server.stop();
    copy_folder(&world.data(), &world.beside("backup"));
    let server = world.start();
    play(&server, 500);
    assert_equal(&world, &server, &postgres);
    server.stop();
    // The log ends before the cursor.
    copy_folder(&world.data(), &world.beside("later"));
    std::fs::remove_dir_all(world.data()).unwrap();
    copy_folder(&world.beside("backup"), &world.data());
    let mut server = world.start();
    assert_eq!(reason_of_copy(&mut server), "cursor-ahead");
    play(&server, 50);
    assert_equal(&world, &server, &postgres);
    server.stop();
    // The log goes beyond the cursor, on another way.
    std::fs::remove_dir_all(world.data()).unwrap();
    copy_folder(&world.beside("later"), &world.data());
    let mut server = world.start();
    assert_eq!(reason_of_copy(&mut server), "other-history");
    assert_equal(&world, &server, &postgres);
    server.stop();
    // Another world altogether.
    std::fs::remove_dir_all(world.data()).unwrap();
    let other = World::new(&postgres, "interval_ms = 1\nreplace = true");
    let server = other.start();
    play(&server, 2000);
    server.stop();
    let tables = "SELECT count(*) FROM warren.cursor";
    assert_eq!(postgres.sql(tables).trim(), "1");
    let third = World::new(&postgres, "interval_ms = 1\nreplace = true");
    let server = third.start();
    play(&server, 10);
    assert_equal(&third, &server, &postgres);
    server.stop();
}

#[test]
fn of_another_log_that_is_longer_everything_is_copied() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1\nreplace = true");
    let mut player = Player::new(5);
    let server = world.start();
    player.play(&mut Client::log_in(server.listen, "ann"), 50);
    assert_equal(&world, &server, &postgres);
    server.stop();
    // The same cursor, and a salt that is no log's here.
    postgres.sql("UPDATE warren.cursor SET log = (log + 1) % 4294967296");
    let mut server = world.start();
    assert_eq!(reason_of_copy(&mut server), "other-log");
    assert_equal(&world, &server, &postgres);
    server.stop();
}

#[test]
fn a_log_that_has_waited_for_too_long_goes_and_everything_is_copied() {
    let mut postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1\nlog_bytes_max = 1048576");
    let mut player = Player::new(6);
    let server = world.start();
    player.play(&mut Client::log_in(server.listen, "ann"), 50);
    assert_equal(&world, &server, &postgres);
    server.stop();
    postgres.end();
    let mut removed = 0;
    // Segments are of 64 KiB: it takes some until there is more than 1 MiB of them. What is exported is in the
    // first, and its last commit in the second.
    while removed < 3 {
        let server = world.start();
        player.objects.clear();
        player.play(&mut Client::log_in(server.listen, "ann"), 2000);
        removed += server.metric_of_server("warren_log_segments_removed_total");
        server.stop();
    }
    postgres.run();
    let mut server = world.start();
    assert_eq!(reason_of_copy(&mut server), "log-gone");
    assert_equal(&world, &server, &postgres);
    server.stop();
}

#[test]
fn a_full_copy_begins_with_what_the_snapshots_lack() {
    let mut postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    postgres.end();
    let mut player = Player::new(9);
    let server = world.start();
    player.play(&mut Client::log_in(server.listen, "ann"), 1000);
    server.stop();
    // The log has all of it, and so have the snapshots.
    let server = world.start();
    let commits = server.metric_of_server("warren_log_durable_commit");
    assert_eq!(server.metric_of_server("warren_log_segments_removed_total"), 0);
    postgres.run();
    assert_equal(&world, &server, &postgres);
    let [copies, applied] = metrics(&server, &["full_copies_total", "commits_total"])[..] else {
        panic!("both are told")
    };
    assert!(copies == 1 && applied < commits / 10, "{applied} of {commits} after {copies} copies");
    server.stop();
}

#[test]
fn what_does_not_go_on_from_the_tables_is_counted_and_mended() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    let mut server = world.start();
    let mut ann = Client::log_in(server.listen, "ann");
    ann.send("{\"msg\":\"create\",\"kind\":\"sword\",\"partition\":5}\n");
    let sword = ann.reply("create")["object"].clone();
    let set = format!("{}\n", json!({"msg": "set", "object": sword, "a": 1}));
    let create = "{\"msg\":\"create\",\"kind\":\"sword\",\"partition\":5}\n".to_owned();
    let delete =
        |address: u64| format!("{}\n", json!({"msg": "delete", "object": format!("5.{address}")}));
    // A row that is not what the log goes on from: for a change, for a new object, for one that is new
    // and gone at once, and for one that goes.
    let ahead = "INSERT INTO warren.objects SELECT 5, next_address, 'sword', '{}', 1
                 FROM warren.partitions WHERE partition = 5";
    for (gaps, (wrong, next)) in (0u64..).zip([
        ("UPDATE warren.objects SET version = version - 1 WHERE partition = 5", set.clone()),
        ("UPDATE warren.objects SET version = version + 1 WHERE partition = 5", set.clone()),
        ("DELETE FROM warren.objects WHERE partition = 5", set.clone()),
        (ahead, create.clone()),
        (ahead, create + &delete(3)),
        ("DELETE FROM warren.objects WHERE partition = 5 AND address = 2", delete(2)),
    ]) {
        for _ in 0..3 {
            ann.send(&set);
            assert_eq!(ann.reply("set")["status"], 0);
        }
        assert_equal(&world, &server, &postgres);
        assert_eq!(metrics(&server, &["gaps_total"]), [gaps]);
        // Behind the full copy as well as within its reach.
        ann.send(&set);
        assert_eq!(ann.reply("set")["status"], 0);
        wait_until_exported(&server);
        postgres.sql(wrong);
        ann.send(&next);
        for request in next.lines() {
            let request: Value = serde_json::from_str(request).unwrap();
            let reply = ann.reply(request["msg"].as_str().unwrap());
            assert_eq!(reply["status"], 0, "{request} {reply}");
        }
        let told = server.logged("the export has a gap: all objects are copied anew");
        assert!(told["error"].as_str().unwrap().starts_with("export-gap: object 5."), "{told}");
        assert_eq!(reason_of_copy(&mut server), "export-gap");
        assert_equal(&world, &server, &postgres);
        assert_eq!(metrics(&server, &["gaps_total", "full_copies_total"]), [gaps + 1, gaps + 2]);
    }
    server.stop();
}

#[test]
fn rows_of_a_later_past_are_found_where_a_full_copy_had_them_and_the_cursor_was_not_there_yet() {
    let mut postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    let mut player = Player::new(15);
    let mut play = |server: &TestServer, count: usize| {
        player.objects.clear();
        player.play(&mut Client::log_in(server.listen, "ann"), count);
    };
    let server = world.start();
    play(&server, 50);
    wait_until_exported(&server);
    server.stop();
    assert!(world.export(&["run"]).status.success());
    let then = postgres.sql("SELECT commit, checksum FROM warren.cursor");
    let (commit, checksum) = then.trim().split_once('|').unwrap();
    copy_folder(&world.data(), &world.beside("backup"));
    let server = world.start();
    play(&server, 100);
    assert_equal(&world, &server, &postgres);
    server.stop();
    assert!(world.export(&["run"]).status.success());
    // As if all rows were from a full copy, behind which the log has only begun.
    postgres.sql(&format!(
        "UPDATE warren.cursor SET copied_to = commit, copied_checksum = checksum,
         commit = {commit}, checksum = {checksum}"
    ));
    let refused = |reason: &str| {
        let output = world.export(&["run"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(&format!("export-other-world: {reason}")), "{told}");
    };
    std::fs::remove_dir_all(world.data()).unwrap();
    copy_folder(&world.beside("backup"), &world.data());
    refused("cursor-ahead");
    postgres.end();
    let server = world.start();
    play(&server, 300);
    server.stop();
    postgres.run();
    refused("other-history");
    assert!(world.export(&["run", "--replace"]).status.success());
    let server = world.start();
    assert_equal(&world, &server, &postgres);
    server.stop();
}

#[test]
fn what_postgres_does_not_do_in_time_is_done_in_smaller_parts() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1\ntimeout_ms = 1500");
    let server = world.start();
    let mut ann = Client::log_in(server.listen, "ann");
    assert_equal(&world, &server, &postgres);
    // 30 new objects take all of its time.
    postgres.sql(
        "CREATE FUNCTION warren.slow() RETURNS trigger LANGUAGE plpgsql
         AS 'BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END';
         CREATE TRIGGER slow BEFORE INSERT ON warren.objects
         FOR EACH ROW EXECUTE FUNCTION warren.slow()",
    );
    postgres.stop();
    // Each in a commit of its own: one commit is not divided.
    let create = json!({"msg": "create", "kind": "sword", "partition": 5, "ack": "durable"});
    for _ in 0..100 {
        ann.send(format!("{create}\n"));
        assert_eq!(ann.reply("create")["status"], 0);
    }
    postgres.go_on();
    wait_until_exported(&server);
    assert_equal(&world, &server, &postgres);
    assert_eq!(metrics(&server, &["full_copies_total", "gaps_total"]), [1, 0]);
    server.stop();
}

#[test]
fn a_full_copy_that_waits_for_a_reader_does_not_keep_others_waiting_for_ever() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1\ntimeout_ms = 500\nreplace = true");
    let server = world.start();
    Player::new(10).play(&mut Client::log_in(server.listen, "ann"), 50);
    wait_until_exported(&server);
    server.stop();
    let reader = postgres.begin("SELECT count(*) FROM warren.objects");
    postgres.sql("DELETE FROM warren.cursor");
    let mut server = world.start();
    let told = server.logged("the export fails; changes stay in the log");
    assert!(told["error"].as_str().unwrap().contains("lock timeout"), "{told}");
    let other = "SET statement_timeout = '20s'; SELECT count(*) > 0 FROM warren.objects";
    assert_eq!(postgres.sql(other).trim(), "t");
    reader.commit();
    assert_equal(&world, &server, &postgres);
    server.stop();
}
