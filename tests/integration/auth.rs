//! Who logs in, and what they may do then, in each protocol.

use std::path::PathBuf;

use serde_json::Value;
use warren_core::message::{Message, Value as Field, packed};

use crate::client::Client;
use crate::server::{TestServer, command, unique};

/// A key in a file of its own.
pub(crate) struct Key {
    file: PathBuf,
    pub(crate) public: String,
}

impl Key {
    pub(crate) fn new() -> Self {
        let name = format!("warren-key-{}-{}", std::process::id(), unique());
        let file = std::env::temp_dir().join(name);
        let mut keygen = command(&["ticket", "keygen", "--key"]);
        let output = keygen.arg(&file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let public = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self { file, public }
    }

    pub(crate) fn ticket(&self, user: &str, more: &[&str]) -> String {
        let mut issue = command(&["ticket", "issue", "--user", user, "--key"]);
        let output = issue.arg(&self.file).args(more).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// A server that takes tickets of this key, on two shards.
fn server(key: &Key, more: &str) -> TestServer {
    let auth = format!("[auth]\nmode = \"ticket\"\nkeys = [\"{}\"]\n", key.public);
    TestServer::start_with(2, &(auth + more))
}

fn log_in(server: &TestServer, ticket: &str) -> (Client, Value) {
    let mut client = Client::connect(server.listen);
    client.send(format!("{{\"msg\":\"login\",\"ticket\":\"{ticket}\"}}\n"));
    let reply = client.reply("login");
    (client, reply)
}

#[test]
fn a_ticket_logs_in_by_every_protocol() {
    let key = Key::new();
    let server = server(&key, "");
    let ticket = key.ticket("ann", &[]);
    let (_json, reply) = log_in(&server, &ticket);
    assert_eq!(reply["status"], 0);
    // The field for a password, which like a ticket is never repeated.
    let mut connserver = Client::connect(server.listen);
    connserver.send(format!("msg:login\nplayer:ann@plaza\npw:{ticket}\n\0"));
    let reply = connserver.text_frame();
    assert!(reply.contains("status:0\n") && reply.contains("player:ann@plaza\n"), "{reply}");
    assert!(!reply.contains("pw") && !reply.contains(&ticket), "{reply}");
    let mut xml = Client::connect(server.listen);
    xml.send(format!("<msg method=\"login\" ticket=\"{ticket}\"/>\0"));
    let reply = xml.text_frame();
    assert!(reply.contains("status=\"0\"") && !reply.contains(&ticket), "{reply}");
    let mut binary = Client::connect(server.listen);
    let login = packed("login", &[("ticket", Field::Text(&ticket))]);
    binary.send(b"WRN1");
    binary.send((login.len() as u32 + 1).to_le_bytes());
    binary.send([1]);
    binary.send(login);
    let (kind, payload) = binary.binary_frame();
    let reply = Message::parse(&payload).unwrap();
    assert_eq!((kind, reply.get("status")), (1, Some(Field::Integer(0))));
    server.stop();
}

#[test]
fn whoever_has_no_ticket_that_holds_is_told_why_and_counted() {
    let (key, other) = (Key::new(), Key::new());
    let server = server(&key, "leeway_s = 0\n");
    for (ticket, reason) in [
        (String::new(), "ticket-missing"),
        ("w1.main.e30.AAAA".to_owned(), "ticket-invalid"),
        (other.ticket("ann", &[]), "ticket-invalid"),
        (key.ticket("ann", &["--expires", "0s"]), "ticket-expired"),
        (key.ticket("ann", &["--starts", "1h"]), "ticket-early"),
        (key.ticket("ann", &["--audience", "elsewhere"]), "ticket-audience"),
    ] {
        let (mut client, reply) = log_in(&server, &ticket);
        assert_eq!((&reply["status"], &reply["error"]), (&401.into(), &reason.into()));
        client.send("{\"msg\":\"rooms\"}\n");
        assert_eq!(client.reply("rooms")["error"], "not-logged-in");
    }
    let mut client = Client::connect(server.listen);
    let ticket = key.ticket("ann", &[]);
    client.send(format!("{{\"msg\":\"login\",\"user\":\"bob\",\"ticket\":\"{ticket}\"}}\n"));
    assert_eq!(client.reply("login")["error"], "ticket-invalid");
    for (reason, count) in [
        ("ticket-missing", 1),
        ("ticket-invalid", 3),
        ("ticket-expired", 1),
        ("ticket-early", 1),
        ("ticket-audience", 1),
    ] {
        let label = format!("reason=\"{reason}\"");
        server.metric_becomes("warren_refusals_total", &label, count);
    }
    server.stop();
}

#[test]
fn roles_say_who_may_use_a_method() {
    let key = Key::new();
    let rules = "roles = [\"builder\"]\n[methods.create]\nroles = [\"builder\", \"admin\"]\n";
    let server = server(&key, rules);
    let create = "{\"msg\":\"create\",\"kind\":\"lamp\"}\n";
    for (roles, creates, lists) in [
        (&[][..], "forbidden", Value::Null),
        (&["--role", "builder"], "", "forbidden".into()),
        (&["--role", "builder", "--role", "user"], "", Value::Null),
        (&["--role", "admin"], "", Value::Null),
        (&["--role", "unheard-of"], "forbidden", "forbidden".into()),
    ] {
        let (mut client, reply) = log_in(&server, &key.ticket("ann", roles));
        assert_eq!(reply["status"], 0, "{roles:?}");
        client.send(create);
        assert_eq!(client.reply("create")["error"].as_str().unwrap_or(""), creates, "{roles:?}");
        client.send("{\"msg\":\"rooms\"}\n");
        assert_eq!(client.reply("rooms")["error"], lists, "{roles:?}");
    }
    server.stop();
}

#[test]
fn in_the_open_a_ticket_is_refused() {
    let key = Key::new();
    let server = TestServer::start(1);
    let (_, reply) = log_in(&server, &key.ticket("ann", &[]));
    assert_eq!(reply["error"], "ticket-invalid");
    server.stop();
}
