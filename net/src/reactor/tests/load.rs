//! Many connections, many messages, few system calls.

use super::*;
use crate::egress::{GATHERED_BYTES_MAX, MESSAGES_BYTES_MAX};

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

#[test]
fn messages_for_the_same_connections_are_sent_from_where_they_are_encoded() {
    let mut node = Node::start(small());
    let mut binary: Vec<Client> = (0..5).map(|_| node.binary_client()).collect();
    let mut json: Vec<Client> = (0..5).map(|_| node.client()).collect();
    for client in &mut json {
        client.send(b"{\"msg\":\"echo\"}\n");
        node.until("the echo", |_| client.poll().received == b"{\"msg\":\"echo\"}\n");
        client.received.clear();
    }
    let before = node.reactor.counters().clone();
    let words = [("one", 3), ("two", 5), ("three", 7)];
    let mut outputs = ShardOutputs::new(1);
    let open = node.open.iter();
    outputs.recipients =
        open.map(|&(index, generation)| ConnectionId { index, generation }).collect();
    let recipients = Span::since(0, &outputs.recipients);
    for (word, count) in words {
        for _ in 0..count {
            let start = outputs.bytes.len();
            outputs.bytes.extend_from_slice(&message::packed(word, &[]));
            let message = Span::since(start, &outputs.bytes);
            outputs.list.push(ShardOutput::SendMany { recipients, message });
        }
    }
    node.reactor.send(node.now, &outputs);
    let frames = |(word, count): &(&str, usize)| frame(word, &[]).repeat(*count);
    let repeated: Vec<u8> = words.iter().flat_map(frames).collect();
    for client in &mut binary {
        node.until("every frame", |_| client.poll().received == repeated);
    }
    let lines: String = words
        .iter()
        .map(|(word, count)| format!("{{\"msg\":\"{word}\"}}\n").repeat(*count))
        .collect();
    for client in &mut json {
        node.until("every line", |_| client.poll().received == lines.as_bytes());
    }
    let after = node.reactor.counters();
    assert_eq!(after.sends - before.sends, 10, "one send each");
    assert_eq!(after.messages_encoded - before.messages_encoded, 30, "once per protocol");
    assert_eq!(after.gathered_bytes_peak, 0, "nothing was copied together");
}

#[test]
fn a_turn_of_many_long_messages_for_many_takes_little_memory() {
    let settings = ReactorSettings { send_queue_bytes_max: 64 << 20, ..small() };
    for (members, count) in [(24, 20), (6, 150)] {
        let mut node = Node::start(settings.clone());
        let mut clients: Vec<Client> = (0..members).map(|_| node.binary_client()).collect();
        let flood = frame("flood", &[("count", Value::Integer(count))]);
        clients[0].send(&flood);
        let long = |number| numbered(number, LONG_TEXT_BYTES);
        let expected: Vec<u8> = (0..count as usize).flat_map(long).collect();
        let first: Vec<u8> =
            (0..count as usize).flat_map(|at| [long(at), flood.clone()].concat()).collect();
        for (at, client) in clients.iter_mut().enumerate() {
            let expected = if at == 0 { &first } else { &expected };
            node.until("every byte", |_| client.poll().received.len() >= expected.len());
            assert!(client.received == *expected, "the bytes differ");
        }
        // More than one connection's output stands there at a time only while it is little.
        let one = expected.len().min(MESSAGES_BYTES_MAX + long(0).len());
        let peak = node.reactor.counters().gathered_bytes_peak as usize;
        assert!(peak > long(0).len(), "nothing was gathered");
        assert!(peak <= GATHERED_BYTES_MAX + one + flood.len() * count as usize, "{peak} bytes");
        node.until("empty queues", |node| node.reactor.counters().send_queue_bytes == 0);
    }
}
