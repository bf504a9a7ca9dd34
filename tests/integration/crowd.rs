//! Rooms with many members.

use crate::client::Client;
use crate::server::TestServer;

const JOIN: &str = "{\"msg\":\"join\",\"room\":\"r\"}\n";

/// So many clients in room `r`. They come some at a time, since a room's queue is bounded.
fn crowd(server: &TestServer, members: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = Vec::new();
    while clients.len() < members {
        let known = clients.len();
        for number in known..members.min(known + 200) {
            let mut client = Client::connect(server.listen);
            client.send(format!("{{\"msg\":\"login\",\"user\":\"user{number}\"}}\n{JOIN}"));
            clients.push(client);
        }
        for client in &mut clients[known..] {
            assert_eq!(client.reply("join")["status"], 0);
        }
    }
    clients
}

/// Says a line, and returns its number.
fn say(client: &mut Client, text: &str) -> u64 {
    client.send(format!("{{\"msg\":\"chat\",\"to\":\"r\",\"text\":\"{text}\"}}\n"));
    client.reply("chat")["seq"].as_u64().unwrap()
}

#[test]
fn a_room_of_more_than_a_thousand_is_counted_and_gathers_what_is_said() {
    const MEMBERS: usize = 1200;
    const SPEAKERS: usize = 5;
    const LINES: usize = 50;
    // So long that what is said meanwhile is gathered however slow the machine is.
    let config = "[limits]\ngather_ms = 1000\nconnections_per_address_max = 1200\n";
    let server = TestServer::start_with(2, config);
    let mut clients = crowd(&server, MEMBERS);
    for client in &mut clients {
        while client.heard("members")["count"] != MEMBERS {}
    }
    server.metric_becomes("warren_sessions", "", MEMBERS as u64);
    let sessions = server.metric_by_shard("warren_sessions", "");
    assert!(sessions.iter().all(|sessions| *sessions > 0), "{sessions:?}");
    let sends_before = server.metric("warren_sends_total", "");
    let deliveries_before = server.metric("warren_deliveries_total", "");
    let said: Vec<u64> =
        (0..LINES).map(|line| say(&mut clients[line % SPEAKERS], &line.to_string())).collect();
    assert!(said.windows(2).all(|pair| pair[1] == pair[0] + 1), "{said:?}");
    for (number, client) in clients.iter_mut().enumerate().skip(SPEAKERS) {
        for (line, sequence) in said.iter().enumerate() {
            let heard = client.heard("chat");
            assert_eq!(heard["seq"], *sequence, "client {number}");
            assert_eq!(heard["text"], line.to_string(), "client {number}");
        }
    }
    let deliveries = deliveries_before + (MEMBERS * LINES) as u64;
    // At least: the last notice of their number may be counted behind the first look.
    let wanted = format!("at least {deliveries}");
    server.metric_until("warren_deliveries_total", "", &wanted, |count| count >= deliveries);
    let sends = server.metric("warren_sends_total", "") - sends_before;
    let gathered = server.metric("warren_room_messages_gathered_total", "");
    println!("{LINES} lines to {MEMBERS} members: {sends} sends, {gathered} messages gathered");
    assert!(sends < (MEMBERS * LINES / 4) as u64, "{sends} sends");
    server.stop();
}

#[test]
fn what_was_gathered_is_heard_before_a_server_ends() {
    let config = "[limits]\ngather_ms = 1000\ngather_members_min = 2\n";
    let server = TestServer::start_with(2, config);
    let mut clients = crowd(&server, 20);
    let last = ["one", "two", "three"].map(|text| say(&mut clients[0], text))[2];
    server.signal(15);
    for (number, client) in clients.iter_mut().enumerate().skip(1) {
        let rest = String::from_utf8(client.rest()).unwrap();
        let end = rest.lines().last().unwrap();
        assert!(end.contains("\"error\":\"draining\""), "client {number}: {end}");
        let line = format!("\"text\":\"three\",\"seq\":{last}");
        assert!(rest.contains(&line), "client {number} heard {rest}");
    }
    let status = server.wait();
    assert_eq!(status.code(), Some(0));
}
