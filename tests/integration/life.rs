//! A server's start and end, and what an operator sees of it.

use std::os::unix::process::ExitStatusExt;

use crate::client::Client;
use crate::server::{TestServer, command};

#[test]
fn sigterm_tells_the_clients_and_ends_with_status_0() {
    let server = TestServer::start(2);
    let mut clients: Vec<Client> =
        (0..8).map(|index| Client::log_in(server.listen, &format!("u{index}"))).collect();
    assert_eq!(server.get("/readyz"), (200, "serving\n".into()));
    server.signal(15);
    for client in &mut clients {
        let last = String::from_utf8(client.rest()).unwrap();
        assert!(last.contains("\"error\":\"draining\""), "{last}");
    }
    drop(clients);
    let status = server.wait();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

#[test]
fn what_was_asked_before_sigterm_is_answered() {
    const REQUESTS: usize = 50;
    let server = TestServer::start(2);
    let mut clients: Vec<Client> =
        (0..8).map(|index| Client::log_in(server.listen, &format!("u{index}"))).collect();
    let mut requests = String::new();
    for index in 0..REQUESTS {
        requests += &format!("{{\"msg\":\"who\",\"room\":\"r{index}\",\"id\":{index}}}\n");
    }
    for client in &mut clients {
        client.send(&requests);
        // The server has begun with this client's requests.
        assert_eq!(client.reply("who")["error"], "unknown-room");
    }
    server.signal(15);
    for client in &mut clients {
        let rest = String::from_utf8(client.rest()).unwrap();
        assert_eq!(rest.matches("unknown-room").count(), REQUESTS - 1);
        assert!(rest.contains("\"error\":\"draining\""), "{rest}");
    }
    let status = server.wait();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

#[test]
fn a_client_that_does_not_go_does_not_keep_the_server() {
    let server = TestServer::start(1);
    let _silent = Client::log_in(server.listen, "silent");
    server.stop();
}

#[test]
fn metrics_tell_what_happened() {
    let server = TestServer::start_with(1, "[session]\ngrace_ms = 0\n");
    let mut ann = Client::log_in(server.listen, "ann");
    let mut bob = Client::log_in(server.listen, "bob");
    ann.join("r");
    bob.join("r");
    ann.send("{\"msg\":\"chat\",\"to\":\"r\",\"text\":\"hi\"}\n");
    bob.heard("chat");
    ann.send("{\"msg\":\"dance\"}\n");
    assert_eq!(ann.reply("dance")["status"], 404);
    drop(bob);
    ann.heard("left");
    for (name, label, expected) in [
        ("warren_rooms", "", 1),
        ("warren_sessions", "", 1),
        ("warren_room_messages_total", "", 3),
        ("warren_refusals_total", "unknown-method", 1),
        ("warren_connections", "json", 1),
        ("warren_closes_total", "peer-closed", 1),
        ("warren_accepted_connections_total", "", 2),
    ] {
        server.metric_becomes(name, label, expected);
    }
    server.metric_until("warren_turn_seconds_count", "", "more than 0", |turns| turns > 0);
    assert_eq!(server.get("/livez"), (200, "alive\n".into()));
    assert_eq!(server.get("/nowhere").0, 404);
    server.stop();
}

#[test]
fn a_wrong_configuration_is_told_with_its_place() {
    let path = std::env::temp_dir().join(format!("warren-wrong-{}.toml", std::process::id()));
    std::fs::write(&path, "[server]\nlisten = \"127.0.0.1:0\"\nshard = 2\n").unwrap();
    let output = command(&["serve", "--config", path.to_str().unwrap()]).output().unwrap();
    std::fs::remove_file(&path).unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains(":3:1") && told.contains("shards"), "{told}");
}

#[test]
fn names_without_proof_are_not_taken_from_the_network() {
    let output = command(&["serve", "--listen", "0.0.0.0:0", "--admin", "127.0.0.1:0"]);
    let output = { output }.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("--insecure-open"), "{told}");
}
