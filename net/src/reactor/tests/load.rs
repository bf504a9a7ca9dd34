//! Many connections, many messages, few system calls.

use super::*;

#[test]
fn a_thousand_connections_talk_and_leave() {
    let settings = ReactorSettings {
        connections_max: 1000,
        submission_entries: 64,
        completion_entries: 256,
        ..ReactorSettings::default()
    };
    let mut node = Node::start(settings);
    let mut clients = Vec::new();
    for number in 0..1000 {
        let mut client = node.client();
        client.send(PREAMBLE);
        client.send(&numbered(number, 40));
        clients.push(client);
        if number % 100 == 0 {
            node.turn();
        }
    }
    for (number, client) in clients.iter_mut().enumerate() {
        node.until("the echo", |_| client.poll().received == numbered(number, 40));
        client.received.clear();
    }
    let all = frame("all", &[]);
    clients[500].send(&all);
    for client in &mut clients {
        node.until("the message", |_| client.poll().received == all);
    }
    drop(clients);
    node.until("free slots", |node| node.reactor.open_count() == 0);
    node.until("the last end", |node| node.closed_count == 1000);
    assert_eq!(node.opened_count, 1000);
    let counters = node.reactor.counters();
    assert_eq!((counters.accepted, counters.accept_table_full), (1000, 0));
}

#[test]
fn a_system_call_serves_many_messages() {
    let settings = ReactorSettings { connections_max: 500, ..ReactorSettings::default() };
    let mut node = Node::start(settings);
    let mut clients: Vec<Client> = (0..400).map(|_| node.binary_client()).collect();
    let before = node.reactor.counters().clone();
    for round in 0..10 {
        let piece = numbered(round, 60);
        for client in &mut clients {
            client.received.clear();
            client.send(&piece);
        }
        for client in &mut clients {
            node.until("the echo", |_| client.poll().received == piece);
        }
    }
    let after = node.reactor.counters();
    let messages = after.messages_in - before.messages_in;
    let enters = after.enters - before.enters;
    assert_eq!(messages, 4000);
    assert_eq!(after.sends - before.sends, 4000);
    let completions = after.completions - before.completions;
    println!("{messages} messages: {enters} system calls, {completions} completions");
    assert!(enters * 20 < messages, "{enters} system calls for {messages} messages");
}
