//! No address is given twice: not by a world that crashes, and not by what is imported from its export.

use std::collections::BTreeSet;

use serde_json::json;

use crate::client::Client;
use crate::postgres_server::PostgresServer;
use crate::postgres_world::{World, imported, wait_until_exported};
use crate::server::{TestServer, command};

const KILL: i32 = 9;
/// What a server passes over after a crash.
const CRASH_ADDRESSES: u64 = 1 << 23;

/// The address of a new object in this partition.
fn create(client: &mut Client, partition: u16) -> u64 {
    let create = json!({"msg": "create", "kind": "sword", "partition": partition});
    client.send(format!("{create}\n"));
    let created = client.reply("create");
    let (_, address) = created["object"].as_str().unwrap().split_once('.').unwrap();
    address.parse().unwrap()
}

/// Makes some objects in partitions that have many, one, or none by then, and ends without a word.
fn live_and_crash(server: TestServer, given: &mut BTreeSet<(u16, u64)>, partitions: &[u16]) {
    let mut ann = Client::log_in(server.listen, "ann");
    for _ in 0..3 {
        for partition in partitions {
            let address = create(&mut ann, *partition);
            assert!(given.insert((*partition, address)), "{partition}.{address} is given twice");
        }
    }
    server.signal(KILL);
    server.wait();
}

#[test]
fn an_imported_world_gives_no_address_that_the_old_one_gave_before_its_crashes() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1");
    let mut given = BTreeSet::new();
    let server = world.start();
    Client::log_in(server.listen, "ann");
    wait_until_exported(&server);
    live_and_crash(server, &mut given, &[171]);
    // Nothing of these lives is exported, and nobody knows which of it was stored.
    let server = world.start();
    wait_until_exported(&server);
    postgres.stop();
    live_and_crash(server, &mut given, &[171, 9]);
    for _ in 0..3 {
        let server = world.start();
        live_and_crash(server, &mut given, &[171, 9, 40_000]);
    }
    postgres.go_on();
    let copy = world.beside("copy");
    imported(&postgres, &copy);
    for _ in 0..2 {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "1", "--data"]).arg(&copy);
        live_and_crash(TestServer::spawn(serve), &mut given, &[171, 9, 40_000, 7]);
    }
}

#[test]
fn what_crashes_pass_over_is_told_at_each_connection_and_is_what_the_server_gives() {
    let postgres = PostgresServer::start();
    let world = World::new(&postgres, "interval_ms = 1\nreplace = true");
    let mut given = BTreeSet::new();
    let server = world.start();
    create(&mut Client::log_in(server.listen, "ann"), 171);
    server.stop();
    live_and_crash(world.start(), &mut given, &[171]);
    for crashes in 1..=4 {
        // Also when everything is copied.
        if crashes == 4 {
            postgres.sql("DELETE FROM warren.cursor");
        }
        let server = world.start();
        wait_until_exported(&server);
        postgres.becomes("SELECT crashes FROM warren.cursor", &crashes.to_string());
        let told = "SELECT next_address FROM warren.partitions WHERE partition = 171";
        let next: u64 = postgres.sql(told).trim().parse().unwrap();
        assert!((crashes * CRASH_ADDRESSES..(crashes + 1) * CRASH_ADDRESSES).contains(&next));
        assert_eq!(create(&mut Client::log_in(server.listen, "bob"), 171), next);
        given.insert((171, next));
        live_and_crash(server, &mut given, &[171]);
    }
}
