//! Banned addresses, and sessions that an operator has ended: nobody comes back by a way around.

use crate::admin::{TestFolder, serve};
use crate::client::Client;
use crate::server::TestServer;

/// The line with which a user resumes.
fn resume_line(login: &serde_json::Value) -> String {
    let (session, token) = (&login["session"], &login["token"]);
    format!("{{\"msg\":\"resume\",\"session\":{session},\"token\":{token},\"received\":0}}\n")
}

/// Clients on both shards, logged in, each with what resumes its session.
fn people(server: &TestServer, count: usize) -> Vec<(Client, String)> {
    let person = |index| {
        let mut client = Client::connect(server.listen);
        client.send(format!("{{\"msg\":\"login\",\"user\":\"u{index}\"}}\n"));
        let login = client.reply("login");
        assert_eq!(login["status"], 0, "{login}");
        (client, resume_line(&login))
    };
    (0..count).map(person).collect()
}

#[test]
fn nobody_from_a_banned_address_is_let_in_or_stays() {
    let folder = TestFolder::new();
    let server = TestServer::spawn(serve(&folder, "127.0.0.1:0"));
    let mut people = people(&server, 12);
    let mut mute = Client::connect(server.listen);
    server.metric_becomes("warren_accepted_connections_total", "", 13);
    let ban = |range: &str| {
        let body = format!(r#"{{"address":"{range}","for":"1h"}}"#);
        let (status, answer) = server.call("POST", "/api/ban", &body);
        assert_eq!((status, &answer["address"]), (200, &range.into()), "{answer}");
    };
    // Others' addresses.
    ban("192.0.2.0/24");
    people[0].0.send("{\"msg\":\"ping\"}\n");
    assert_eq!(people[0].0.reply("ping")["status"], 0);
    ban("127.0.0.0/8");
    for (client, _) in &mut people {
        assert_eq!(client.reply("closed")["error"], "banned");
        assert_eq!(client.rest(), b"");
    }
    assert_eq!(mute.reply("closed")["error"], "banned");
    // Sessions go at once, and do not wait to be resumed.
    server.metric_becomes("warren_sessions", "", 0);
    let mut late = Client::connect(server.listen);
    assert_eq!(late.reply("closed")["error"], "banned");
    server.metric_becomes("warren_closes_total", "reason=\"banned\"", 14);

    let (status, _) = server.call("DELETE", "/api/ban", r#"{"address":"127.0.0.0/8"}"#);
    assert_eq!(status, 200);
    let mut back = Client::connect(server.listen);
    back.send(&people[0].1);
    assert_eq!(back.reply("resume")["error"], "session-unknown");
    drop(Client::log_in(server.listen, "u0"));
    server.stop();
}

#[test]
fn whoever_was_kicked_or_banned_has_nothing_to_resume() {
    let folder = TestFolder::new();
    let server = TestServer::spawn(serve(&folder, "127.0.0.1:0"));
    let mut people = people(&server, 8);
    for (index, (client, resume)) in people.iter_mut().enumerate() {
        let (path, word) =
            if index % 2 == 0 { ("/api/kick", "kicked") } else { ("/api/ban", "banned") };
        let (status, answer) = server.call("POST", path, &format!(r#"{{"user":"u{index}"}}"#));
        assert_eq!(status, 200, "{answer}");
        assert_eq!(client.reply("closed")["error"], word);
        let mut again = Client::connect(server.listen);
        again.send(resume);
        assert_eq!(again.reply("resume")["error"], "session-unknown", "{word}");
    }
    server.stop();
}
