//! `warren export` and `warren import`: what they tell, and what they refuse.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::client::Client;
use crate::postgres_server::PostgresServer;
use crate::postgres_world::{Player, World, import, imported, wait_for, wait_until_exported};

const KILL: i32 = 9;

/// Exit status, and what was told.
#[track_caller]
fn told(output: &Output) -> (i32, String) {
    let text = [&*output.stdout, &*output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[track_caller]
fn assert_refused(output: &Output, status: i32, word: &str) {
    let (found, text) = told(output);
    assert!(found == status && text.contains(word), "{found} {text}, not {status} {word}");
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn without_a_server_everything_is_exported_and_told() {
    let mut postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    assert_refused(&world.export(&["status"]), 71, "there is no world");
    let server = world.start();
    let mut player = Player::new(7);
    player.play(&mut Client::log_in(server.listen, "ann"), 200);
    wait_until_exported(&server);
    assert_refused(&world.export(&["run"]), 75, "data-folder-locked");
    postgres.end();
    player.play(&mut Client::log_in(server.listen, "ann"), 200);
    server.metric_becomes("warren_delta_batches_waiting", "", 0);
    let digest = world.digest(&server);
    server.stop();
    assert_refused(&world.export(&["status"]), 69, "service-unavailable");
    assert_refused(&world.export(&["run"]), 69, "service-unavailable");
    postgres.run();
    let status = json_of(&world.export(&["status", "--json"]));
    assert!(status["behind"].as_u64().unwrap() > 0, "{status}");
    let (code, text) = told(&world.export(&["status"]));
    assert!(code == 0 && text.contains(&format!("behind: {} commits", status["behind"])), "{text}");
    let ran = json_of(&world.export(&["run", "--json"]));
    assert_eq!((&ran["commits"], ran["full_copy"].is_null()), (&status["behind"], true), "{ran}");
    let status = json_of(&world.export(&["status", "--json"]));
    assert_eq!((&status["behind"], &status["commit"]), (&Value::from(0), &status["log_commit"]));
    // It looks, and leaves everything as it is, the lock too.
    std::fs::remove_file(world.data().join("lock")).unwrap();
    let (code, text) = told(&world.export(&["status"]));
    assert!(code == 0 && text.ends_with("next:   goes on from there\n"), "{text}");
    assert!(!world.data().join("lock").exists());
    let copy = world.beside("copy");
    let there = imported(&postgres, &copy);
    // The last users have left with the server, which changes none of their objects.
    assert_eq!(there, digest);
}

#[test]
fn without_the_front_of_the_log_tables_stay_as_they_are() {
    let postgres = PostgresServer::start();
    // Nothing is in a snapshot, and segments hold one commit each.
    let world = World::new(&postgres, "interval_ms = 1");
    let file = world.beside("warren.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let config = config.replace("snapshot_interval_ms = 20\n", "snapshot_interval_ms = 600000\n");
    std::fs::write(file, config.replace("segment_bytes = 65536", "segment_bytes = 8192")).unwrap();
    let server = world.start();
    let mut ann = Client::log_in(server.listen, "ann");
    for weight in 0..8 {
        let mut create = serde_json::json!({"msg": "create", "kind": "sword", "ack": "durable"});
        create["weight"] = weight.into();
        ann.send(format!("{create}\n"));
        assert_eq!(ann.reply("create")["status"], 0);
    }
    wait_until_exported(&server);
    server.signal(KILL);
    server.wait();
    let tables =
        || postgres.sql("TABLE warren.objects; TABLE warren.partitions; TABLE warren.cursor");
    let before = tables();
    let entries = std::fs::read_dir(world.data().join("log")).unwrap();
    let mut segments: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    assert!(segments.len() > 2, "{segments:?}");
    let (newest, older) = segments.split_last().unwrap();
    for segment in older {
        std::fs::remove_file(segment).unwrap();
    }
    for words in [&["run"][..], &["run", "--replace"]] {
        assert_refused(&world.export(words), 65, "the delta log begins with commit");
        assert_eq!(tables(), before);
    }
    std::fs::remove_file(newest).unwrap();
    assert_refused(&world.export(&["run"]), 65, "the delta log is gone");
    assert_eq!(tables(), before);
}

/// An import whose connection has this in it too.
fn import_by(postgres: &PostgresServer, more: &str, data: &Path, words: &[&str]) -> Output {
    let from = format!("{} {more}", postgres.connection());
    let mut import = crate::server::command(&["import", "postgres", "--from", &from, "--data"]);
    import.arg(data).args(words).output().unwrap()
}

#[test]
fn what_is_wrong_with_a_database_or_its_password_file_is_told() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "");
    postgres.sql(
        "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
    );
    let output = import_by(&postgres, "dbname=latin", &world.beside("copy"), &[]);
    assert_refused(&output, 65, "encoding-unsupported: the database has the encoding LATIN1");
    let file = world.beside("password");
    std::fs::write(&file, "secret\n").unwrap();
    for (mode, status, word) in [
        (0o644, 78, "others may read or change it (mode 0644)"),
        (0o660, 78, "others may read or change it (mode 0660)"),
        (0o640, 65, "schema-missing"),
        (0o600, 65, "schema-missing"),
    ] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let words = ["--password-file", file.to_str().unwrap()];
        assert_refused(&import_by(&postgres, "", &world.beside("copy"), &words), status, word);
    }
}

#[test]
fn a_host_that_is_silent_leaves_the_next_one_its_time() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "");
    // Connections wait there until somebody takes them, and nobody does.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let connection = postgres.connection();
    let folder = connection.split_once(' ').unwrap().0.strip_prefix("host=").unwrap();
    let from = format!("host=127.0.0.1,{folder} port={port},5432 user=postgres connect_timeout=1");
    let mut import = crate::server::command(&["import", "postgres", "--from", &from, "--data"]);
    let output = import.arg(world.beside("copy")).output().unwrap();
    assert_refused(&output, 65, "schema-missing");
}

#[test]
fn a_running_server_s_status_is_told() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    let server = world.start();
    Player::new(8).play(&mut Client::log_in(server.listen, "ann"), 50);
    wait_until_exported(&server);
    let admin = server.admin.to_string();
    let status = json_of(&world.export(&["status", "--json", "--admin", &admin]));
    assert_eq!(status["behind"], 0, "{status}");
    assert_eq!(status["full_copy"], Value::Null, "{status}");
    postgres.sql("UPDATE warren.cursor SET checksum = (checksum + 1) % 4294967296");
    let wrong = json_of(&world.export(&["status", "--json", "--admin", &admin]));
    assert_eq!(wrong["full_copy"], "other-history", "{wrong}");
    assert_eq!(status["log_commit"], server.metric_of_server("warren_log_durable_commit"));
    server.stop();
}

#[test]
fn servers_that_begin_at_once_make_the_tables_once() {
    let postgres = PostgresServer::start();
    let worlds: Vec<World> = (0..4).map(|_| World::new(&postgres, "")).collect();
    for world in &worlds {
        std::fs::create_dir_all(world.data().join("state")).unwrap();
    }
    let codes: Vec<(i32, String)> = std::thread::scope(|scope| {
        let runs: Vec<_> = worlds
            .iter()
            .map(|world| {
                let run = move || told(&world.export(&["run"]));
                std::thread::Builder::new().spawn_scoped(scope, run).unwrap()
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    // One of them at least, and who comes while another exports is told so.
    assert!(codes.iter().any(|(code, _)| *code == 0), "{codes:?}");
    let is_busy = |text: &str| text.contains("export-busy");
    assert!(codes.iter().all(|(code, text)| *code == 0 || is_busy(text)), "{codes:?}");
    assert_eq!(postgres.sql("SELECT version FROM warren.warren_schema").trim(), "1\n2");
}

#[test]
fn of_two_servers_one_exports_and_the_other_goes_on_when_it_has_ended() {
    let postgres = PostgresServer::start();
    let (one, other) = (World::new(&postgres, ""), World::new(&postgres, "replace = true"));
    let server = one.start();
    Client::log_in(server.listen, "ann");
    wait_until_exported(&server);
    let mut late = other.start();
    Client::log_in(late.listen, "bob");
    let told = late.logged("the export fails; changes stay in the log");
    assert!(told["error"].as_str().unwrap().starts_with("export-busy"), "{told}");
    assert_eq!(late.metric_of_server("warren_export_connected"), 0);
    server.stop();
    // Another world, so everything is copied.
    late.logged("copied all objects to Postgres anew");
    wait_until_exported(&late);
    let digest = other.digest(&late);
    late.stop();
    assert_eq!(imported(&postgres, &other.beside("copy")), digest);
}

#[test]
fn tables_of_another_world_stay_as_they_are_until_they_may_be_replaced() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    let server = world.start();
    Player::new(11).play(&mut Client::log_in(server.listen, "ann"), 100);
    wait_until_exported(&server);
    server.stop();
    let tables =
        || postgres.sql("TABLE warren.objects; TABLE warren.partitions; TABLE warren.cursor");
    let before = tables();
    let other = World::new(&postgres, "interval_ms = 1");
    let mut server = other.start();
    Player::new(12).play(&mut Client::log_in(server.listen, "ann"), 20);
    let error = server.logged("the export fails; changes stay in the log")["error"].clone();
    assert!(error.as_str().unwrap().starts_with("export-other-world: other-log"), "{error}");
    wait_for(&server, "warren_export_failures_total", |count| count > 2);
    assert_eq!(server.metric_of_server("warren_export_full_copies_total"), 0);
    server.metric_becomes("warren_delta_batches_waiting", "", 0);
    let digest = other.digest(&server);
    server.stop();
    assert_refused(&other.export(&["run"]), 65, "export-other-world: other-log");
    assert_eq!(tables(), before);
    let status = json_of(&other.export(&["status", "--json"]));
    assert_eq!(status["full_copy"], "other-log", "{status}");
    // The same world as it was before, as it went on otherwise, and nobody knows which.
    for (change, reason) in [
        ("UPDATE warren.cursor SET commit = commit + 10000", "cursor-ahead"),
        (
            "UPDATE warren.cursor
             SET commit = commit - 10000, checksum = (checksum + 1) % 4294967296",
            "other-history",
        ),
        ("UPDATE warren.cursor SET log = NULL, checksum = NULL", "cursor-missing"),
        ("DELETE FROM warren.cursor", "cursor-missing"),
    ] {
        postgres.sql(change);
        let before = tables();
        assert_refused(&world.export(&["run"]), 65, &format!("export-other-world: {reason}"));
        assert_eq!(tables(), before);
        let (code, text) = told(&world.export(&["status"]));
        let last = format!("next:   {reason}: nothing is exported without export.replace\n");
        assert!(code == 0 && (text.ends_with(&last) || text.contains("never filled")), "{text}");
    }
    let ran = json_of(&other.export(&["run", "--replace", "--json"]));
    assert_eq!(ran["full_copy"], "cursor-missing", "{ran}");
    assert_eq!(imported(&postgres, &other.beside("copy")), digest);
    // Where nothing is nothing is lost.
    postgres.sql("TRUNCATE warren.objects, warren.partitions");
    let ran = json_of(&world.export(&["run", "--json"]));
    assert_eq!(ran["full_copy"], "other-log", "{ran}");
}

#[test]
fn an_import_that_begins_during_a_full_copy_has_what_was_copied() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    let server = world.start();
    Player::new(13).play(&mut Client::log_in(server.listen, "ann"), 50);
    wait_until_exported(&server);
    let digest = world.digest(&server);
    server.stop();
    let copy = postgres.begin(
        "CREATE TEMPORARY TABLE copied AS TABLE warren.objects; TRUNCATE warren.objects;
         INSERT INTO warren.objects TABLE copied",
    );
    let folder = world.beside("copy");
    let there = std::thread::scope(|scope| {
        let run = || imported(&postgres, &folder);
        let import = std::thread::Builder::new().spawn_scoped(scope, run).unwrap();
        postgres.becomes("SELECT count(*) FROM pg_locks WHERE NOT granted", "1");
        copy.commit();
        import.join().unwrap()
    });
    assert_eq!(there, digest);
}

#[test]
fn tables_of_a_newer_version_are_refused() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "");
    let server = world.start();
    wait_until_exported(&server);
    server.stop();
    postgres.sql("INSERT INTO warren.warren_schema (version) VALUES (99)");
    assert_refused(&world.export(&["run"]), 65, "schema-newer");
    assert_refused(&world.export(&["status"]), 65, "schema-newer");
    assert_refused(&import(&postgres, &world.beside("copy")), 65, "schema-newer");
    // A server serves all the same.
    let mut server = world.start();
    let told = server.logged("the export fails; changes stay in the log");
    assert!(told["error"].as_str().unwrap().contains("schema-newer"), "{told}");
    Client::log_in(server.listen, "ann");
    server.stop();
}

/// Nothing is left of an import that was refused but the lock.
#[track_caller]
fn assert_empty(folder: &Path) {
    let names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["lock"]);
}

#[test]
fn rows_that_are_no_objects_are_named_and_nothing_is_imported() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    let copy = world.beside("copy");
    assert_refused(&import(&postgres, &copy), 65, "schema-missing");
    let server = world.start();
    Player::new(9).play(&mut Client::log_in(server.listen, "ann"), 100);
    wait_until_exported(&server);
    server.stop();
    let row = |fields: &str| {
        format!("INSERT INTO warren.objects VALUES (7, 1099, 'sword', '{fields}', 1)")
    };
    let wrong = [
        (row(r#"{"a": 1.5}"#), "partition 7 address 1099: field \"a\": 1.5 is no integer"),
        (row(r#"{"a": {"float": "-inf"}}"#), "field \"a\": \"-inf\" is no float"),
        (row("[]"), "its fields are no JSON object"),
        (row(r#"{"": 1}"#), "field \"\": it has no field's name"),
        (row(r#"{"owner": 1}"#), "its record is malformed"),
        (
            "INSERT INTO warren.objects VALUES (7, 281474976710655, 'sword', '{}', 1)".to_owned(),
            "partition 7 address 281474976710655: no object has these numbers",
        ),
        (
            "INSERT INTO warren.objects VALUES (7, 1099, 'user', '{\"owner\": \"ann\"}', 1)"
                .to_owned(),
            "its name is missing or belongs to another partition",
        ),
        (
            "INSERT INTO warren.partitions VALUES (7, 281474976710656)".to_owned(),
            "partition 7: its next address 281474976710656 is none",
        ),
        ("DELETE FROM warren.cursor".to_owned(), "export-missing"),
    ];
    let undo = "DELETE FROM warren.objects WHERE partition = 7;
                DELETE FROM warren.partitions WHERE partition = 7";
    for (statement, why) in wrong {
        postgres.sql(&statement);
        assert_refused(&import(&postgres, &copy), 65, why);
        assert_empty(&copy);
        postgres.sql(undo);
    }
}

#[test]
fn a_world_is_imported_into_an_empty_folder_only() {
    let mut postgres = PostgresServer::start();
    let world = World::new(&postgres, "");
    let server = world.start();
    wait_until_exported(&server);
    assert_refused(&import(&postgres, &world.data()), 75, "data-folder-locked");
    server.stop();
    let before = std::fs::read_dir(world.data()).unwrap().count();
    assert_refused(&import(&postgres, &world.data()), 71, "it is not empty");
    assert_eq!(std::fs::read_dir(world.data()).unwrap().count(), before);
    let copy = world.beside("copy");
    // Of one that was cut short nothing counts.
    std::fs::create_dir_all(copy.join("state.importing/left")).unwrap();
    imported(&postgres, &copy);
    assert!(!copy.join("state.importing").exists());
    assert_refused(&import(&postgres, &copy), 71, "it is not empty");
    postgres.end();
    assert_refused(&import(&postgres, &world.beside("other")), 69, "service-unavailable");
    assert_empty(&world.beside("other"));
    // A start does not begin anew beside one.
    std::fs::create_dir_all(world.beside("cut/state.importing")).unwrap();
    let mut serve = crate::server::command(&["serve", "--listen", "127.0.0.1:0", "--data"]);
    serve.arg(world.beside("cut")).args(["--admin", "127.0.0.1:0"]);
    let mut serving = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that begins all the same says where it is, and would not end.
    let mut word = [0];
    if serving.stdout.as_mut().unwrap().read(&mut word).unwrap() > 0 {
        serving.kill().unwrap();
    }
    let output = serving.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), None, "it serves beside a world that is half there");
    assert_refused(&output, 65, "state.importing: an import was not finished");
    let mut wrong = crate::server::command(&["import", "postgres", "--data", "/nowhere", "--from"]);
    let output = wrong.arg("host=db password=secret").output().unwrap();
    assert_refused(&output, 78, "with a password");
    assert!(!told(&output).1.contains("secret"));
}
