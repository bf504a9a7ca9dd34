//! A warm shard allocates nothing per message, and enters the kernel less than once per message.

use std::process;

use serde_json::json;
use warren_core::ids::ObjectId;
use warren_core::message::{Message, Value, packed};
use warren_net::gateway::binary::{encode_request, encode_say};

use crate::client::Client;
use crate::compiler::Compiled;
use crate::server::{TestServer, unique};

const MEMBERS: usize = 8;
const ROUNDS: usize = 500;
/// Copies of the `joined` messages: each member is announced to those that were there before it.
const JOINED_DELIVERIES: usize = MEMBERS * (MEMBERS - 1) / 2;
/// Lines that each member sends without waiting.
const PIPELINED: usize = 4;

fn request(method: &str, field: &str, value: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let message = packed(method, &[(field, Value::Text(value))]);
    encode_request(Message::parse(&message).unwrap(), &mut bytes);
    bytes
}

fn members(server: &TestServer) -> Vec<Client> {
    (0..MEMBERS)
        .map(|index| {
            let mut client = Client::connect(server.listen);
            let mut bytes = b"WRN1".to_vec();
            bytes.extend(request("login", "user", &format!("u{index}")));
            bytes.extend(request("join", "room", "r"));
            client.send(bytes);
            while Message::parse(&client.binary_frame().1).unwrap().method() != "join" {}
            client
        })
        .collect()
}

/// Everyone says some lines and hears all of them.
fn chat(clients: &mut [Client], rounds: usize) {
    let mut line = Vec::new();
    for _ in 0..PIPELINED {
        encode_say(0, "r", &"x".repeat(64), &mut line);
    }
    for _ in 0..rounds {
        clients.iter_mut().for_each(|client| client.send(&line));
        for client in &mut *clients {
            let mut heard = 0;
            while heard < MEMBERS * PIPELINED {
                heard += usize::from(client.binary_frame().0 == 3);
            }
        }
    }
}

/// Waits until the shard has told of so many lines, and reads allocations and enters. The turn that
/// sends the last of them publishes its counters after the send.
fn counters_after(server: &TestServer, lines: usize) -> (u64, u64) {
    let deliveries = JOINED_DELIVERIES + lines * MEMBERS;
    server.metric_becomes("warren_deliveries_total", "", deliveries as u64);
    let read = |name: &str| server.metric(name, "");
    (read("warren_allocations_total"), read("warren_ring_enters_total"))
}

#[test]
fn a_warm_shard_allocates_nothing_per_message() {
    // What is kept for sessions has its full size after the first rounds.
    let server = TestServer::start_with(
        1,
        "[limits]\nreplay_bytes_max = 1048576\nreplay_links_max = 65536\nmessages_per_s = 0\n",
    );
    let mut clients = members(&server);
    let messages = MEMBERS * PIPELINED * ROUNDS;
    chat(&mut clients, ROUNDS);
    let before = counters_after(&server, messages);
    chat(&mut clients, ROUNDS);
    let after = counters_after(&server, 2 * messages);
    let (allocations, enters) = (after.0 - before.0, after.1 - before.1);
    println!("{messages} messages in, {} out:", messages * MEMBERS);
    println!("{allocations} allocations of the shard thread, {enters} enters");
    assert_eq!(allocations, 0);
    assert!(enters * 5 < messages as u64, "{enters} enters for {messages} messages");
    server.stop();
}

/// Logs in, and makes an object.
fn made_object(client: &mut Client) -> ObjectId {
    let mut bytes = b"WRN1".to_vec();
    bytes.extend(request("login", "user", "u"));
    bytes.extend(request("create", "kind", "wolf"));
    client.send(bytes);
    loop {
        let frame = client.binary_frame().1;
        let message = Message::parse(&frame).unwrap();
        if message.method() == "create" {
            return message.get("object").and_then(Value::as_object).unwrap();
        }
    }
}

/// Sets the object so often, each when the one before is durable.
fn set_durably(client: &mut Client, object: ObjectId, rounds: i64) {
    for hp in 0..rounds {
        let fields = [
            ("object", Value::Object(object)),
            ("hp", Value::Integer(hp)),
            ("ack", Value::Text("durable")),
        ];
        let mut bytes = Vec::new();
        encode_request(Message::parse(&packed("set", &fields)).unwrap(), &mut bytes);
        client.send(&bytes);
        let (_, reply) = client.binary_frame();
        assert_eq!(Message::parse(&reply).unwrap().method(), "set");
    }
}

/// Has a plugin read the object so often, and answer all that it has read.
fn look(client: &mut Client, object: ObjectId, rounds: usize) {
    let mut bytes = Vec::new();
    let fields = [("target", Value::Object(object)), ("plugin", Value::Boolean(true))];
    encode_request(Message::parse(&packed("look", &fields)).unwrap(), &mut bytes);
    for _ in 0..rounds {
        client.send(&bytes);
        let (_, reply) = client.binary_frame();
        let reply = Message::parse(&reply).unwrap();
        assert_eq!(reply.get("plugin"), Some(Value::Text("calls@0.1+b-2_c")));
    }
}

#[test]
fn a_warm_shard_allocates_nothing_per_call_of_a_plugin() {
    let library = Compiled::new(concat!(env!("CARGO_MANIFEST_DIR"), "/plugins"), "calls", &[]);
    let config = format!(
        "[limits]\nreplay_bytes_max = 1048576\nreplay_links_max = 65536\nmessages_per_s = 0\n\
                          [plugins]\nfiles = [{:?}]\n",
        library.path()
    );
    let server = TestServer::start_with(1, &config);
    let mut client = Client::connect(server.listen);
    let object = made_object(&mut client);
    // What is kept for the session has its full size then.
    look(&mut client, object, 10 * ROUNDS);
    let before = server.metric("warren_allocations_total", "");
    look(&mut client, object, ROUNDS);
    let allocations = server.metric("warren_allocations_total", "") - before;
    println!("{allocations} allocations of the shard thread for {ROUNDS} calls of a plugin");
    assert_eq!(allocations, 0);
    server.stop();
}

/// Answers questions of where NPCs are to go, by which they stay, until so many answers were taken.
fn stay(worker: &mut Client, count: usize) {
    let mut taken = 0;
    while taken < count {
        let heard = worker.json();
        if heard["msg"] == "thought" {
            assert_eq!(heard["status"], 0, "{heard}");
            taken += 1;
        }
        if heard["msg"] == "think" {
            let npcs = heard["count"].as_u64().unwrap() as usize;
            let bytes = (28 * npcs).next_multiple_of(8) + 8 * npcs;
            // In base64 it is zeros.
            let batch = format!("{}{}", "AAAA".repeat(bytes / 3), ["", "AA", "AAA"][bytes % 3]);
            let (world, token) = (&heard["world"], &heard["token"]);
            let thought = json!({ "msg": "thought", "world": world, "token": token,
                "batch": { "$bytes": batch } });
            worker.send(format!("{thought}\n"));
        }
    }
}

#[test]
fn a_warm_shard_allocates_nothing_per_question_of_a_worker() {
    let server = TestServer::start_with(
        1,
        "[limits]\nreplay_bytes_max = 1048576\nreplay_links_max = 4096\nmessages_per_s = 0\nbytes_per_s = 0\n\
         [methods]\nwork.roles = [\"user\"]\nthought.roles = [\"user\"]\n",
    );
    let mut worker = Client::log_in(server.listen, "u");
    for request in [
        json!({ "msg": "work", "behaviours": "wolf" }),
        json!({ "msg": "create", "kind": "world", "room": "w", "tick_hz": 20,
            "npcs": vec!["wolf:300:1:0:0:9"; 10] }),
        json!({ "msg": "join", "room": "w" }),
    ] {
        worker.send(format!("{request}\n"));
    }
    assert_eq!(worker.reply("join")["status"], 0);
    stay(&mut worker, 500);
    let before = server.metric("warren_allocations_total", "");
    stay(&mut worker, 500);
    let allocations = server.metric("warren_allocations_total", "") - before;
    println!("{allocations} allocations of the shard thread for 500 questions of 300 NPCs");
    // The world's rate may change on a busy machine, of which its members are told.
    assert!(allocations < 50);
    server.stop();
}

/// A change allocates what it is itself: its fields, the list of an event's changes, and the object's
/// record, which is made anew beside the old one. On its way to the log it allocates nothing.
#[test]
fn a_warm_shard_allocates_three_times_per_durable_set() {
    let folder = std::env::temp_dir().join(format!("warren-sets-{}-{}", process::id(), unique()));
    // Snapshots allocate too, now and then.
    let server = TestServer::start_with(
        1,
        &format!("[server]\ndata = {folder:?}\n[storage]\nsnapshot_interval_ms = 600000\n"),
    );
    let mut client = Client::connect(server.listen);
    let object = made_object(&mut client);
    set_durably(&mut client, object, ROUNDS as i64);
    let before = server.metric("warren_allocations_total", "");
    set_durably(&mut client, object, ROUNDS as i64);
    let allocations = server.metric("warren_allocations_total", "") - before;
    println!("{allocations} allocations of the shard thread for {ROUNDS} durable sets");
    assert!(allocations <= 3 * ROUNDS as u64);
    server.stop();
    std::fs::remove_dir_all(&folder).unwrap();
}
