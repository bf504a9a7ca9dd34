//! One room over several shards.

use crate::client::Client;
use crate::server::TestServer;

/// Clients after which a shard without any is no accident.
const CLIENTS_MAX: usize = 100;

/// So many clients, and more until every shard has some: it is the kernel that spreads connections.
pub(crate) fn clients_on_all_shards(server: &TestServer, count_min: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    loop {
        clients.push(Client::log_in(server.listen, &format!("user{}", clients.len())));
        if clients.len() < count_min {
            continue;
        }
        server.metric_becomes("warren_sessions", "", clients.len() as u64);
        let sessions = server.metric_by_shard("warren_sessions", "");
        if sessions.iter().all(|sessions| *sessions > 0) {
            return clients;
        }
        assert!(clients.len() < CLIENTS_MAX, "{sessions:?}");
    }
}

#[test]
fn clients_on_different_shards_hear_each_other_in_one_order() {
    const LINES: usize = 20;
    let server = TestServer::start(2);
    let mut clients = clients_on_all_shards(&server, 16);
    let speakers = clients.len();
    for client in &mut clients {
        client.join("r");
    }
    for line in 0..LINES {
        for client in &mut clients {
            client.send(format!(
                "{{\"msg\":\"chat\",\"to\":\"r\",\"text\":\"line {line}\",\"id\":{line}}}\n"
            ));
        }
    }
    let heard: Vec<Vec<(u64, String, String)>> = clients
        .iter_mut()
        .map(|client| {
            (0..speakers * LINES)
                .map(|_| {
                    let frame = client.heard("chat");
                    let text = |name: &str| frame[name].as_str().unwrap().to_owned();
                    (frame["seq"].as_u64().unwrap(), text("from"), text("text"))
                })
                .collect()
        })
        .collect();
    for (listener, list) in heard.iter().enumerate() {
        assert_eq!(list, &heard[0], "listener {listener}");
        assert!(list.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "numbers are dense");
    }
    for speaker in 0..speakers {
        let name = format!("user{speaker}");
        let own: Vec<&str> = heard[0]
            .iter()
            .filter(|(_, from, _)| *from == name)
            .map(|(.., text)| &**text)
            .collect();
        let expected: Vec<String> = (0..LINES).map(|line| format!("line {line}")).collect();
        assert_eq!(own, expected, "{name}'s lines are in the order of their sending");
    }
    server.metric_until("warren_mesh_batches_published_total", "", "used", |count| count > 0);
    server.stop();
}

#[test]
fn a_direct_message_crosses_shards_and_a_second_login_displaces() {
    let server = TestServer::start(2);
    let mut clients = clients_on_all_shards(&server, 12);
    for to in 0..clients.len() {
        let from = (to + 1) % clients.len();
        let chat = format!("{{\"msg\":\"chat\",\"to\":\"user{to}\",\"text\":\"psst {from}\"}}\n");
        clients[from].send(chat);
        assert_eq!(clients[from].reply("chat")["status"], 0);
        assert_eq!(clients[to].heard("chat")["text"], format!("psst {from}"));
    }
    let mut newer = Client::log_in(server.listen, "user0");
    let last = String::from_utf8(clients[0].rest()).unwrap();
    assert!(last.contains("\"error\":\"displaced\""), "{last}");
    newer.send("{\"msg\":\"chat\",\"to\":\"user0\",\"text\":\"me\"}\n");
    assert_eq!(newer.heard("chat")["text"], "me");
    server.stop();
}

#[test]
fn rooms_of_all_shards_are_listed_page_by_page() {
    let server = TestServer::start(3);
    let mut client = Client::log_in(server.listen, "ann");
    let mut names: Vec<String> = (0..30).map(|index| format!("room{index}")).collect();
    for name in &names {
        client.join(name);
    }
    names.sort();
    let (mut listed, mut after) = (vec![], String::new());
    loop {
        client.send(format!("{{\"msg\":\"rooms\",\"count\":7,\"after\":\"{after}\"}}\n"));
        let page = client.reply("rooms");
        let rooms = page["rooms"].as_array().unwrap();
        listed.extend(rooms.iter().map(|room| room.as_str().unwrap().to_owned()));
        match page["after"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(listed, names);
    server.stop();
}
