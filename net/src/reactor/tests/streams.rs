//! Bytes in, bytes out: nothing lost, doubled or reordered.

use super::*;
use crate::gateway::Protocol;

#[test]
fn every_message_is_answered_in_its_protocol() {
    let mut node = Node::start(small());
    let mut clients = Vec::new();
    for (protocol, request, expected) in [
        (Protocol::ConnServerA, "msg=echo&a=1~", "a=1&msg=echo~\0"),
        (Protocol::ConnServerB, "msg:echo,a:1~", "a:1,msg:echo~\0"),
        (Protocol::ConnServerC, "msg:echo\na:1\n\0", "a:1\nmsg:echo\n\0"),
        (Protocol::Json, "{\"msg\":\"echo\",\"a\":1}\n", "{\"msg\":\"echo\",\"a\":1}\n"),
        (Protocol::Xml, "<msg method='echo' a='1'/>\0", "<msg a=\"1\" method=\"echo\"/>\0"),
    ] {
        let mut client = node.client();
        client.send(request.as_bytes());
        node.until("the echo", |_| client.poll().received == expected.as_bytes());
        let open = node.reactor.counters().connections[protocol as usize];
        assert_eq!(open, 1, "{protocol:?}");
        clients.push(client);
    }
    let _binary = node.binary_client();
    for protocol in [Protocol::WebSocketJson, Protocol::WebSocketBinary] {
        let mut client = websocket::upgraded(&mut node, protocol);
        let message = packed_numbered(1, 10);
        client.send(&websocket::said(protocol, &message));
        let echo = websocket::sent(protocol, &message);
        node.until("the echo", |_| client.poll().received == echo);
        clients.push(client);
    }
    assert_eq!(node.reactor.counters().connections, [1; Protocol::ALL.len()]);
    assert_eq!(node.reactor.counters().connections_undetected, 0);
    assert_eq!(node.reactor.counters().messages_in, 8);
}

#[test]
fn a_document_may_be_cut_at_every_byte() {
    let mut node = Node::start(small());
    let document = b"<msg method='echo' a='&lt;\xc3\xa9'><b><![CDATA[<]]></b></msg>\0";
    let expected = "<msg a=\"&lt;é\" b=\"&lt;\" method=\"echo\"/>\0";
    for at in 1..document.len() {
        let mut client = node.client();
        let (first, second) = document.split_at(at);
        client.send(first);
        node.turns(2);
        assert_eq!(client.poll().received, b"", "{at}");
        client.send(second);
        node.until("the echo", |_| client.poll().received == expected.as_bytes());
    }
}

#[test]
fn a_message_for_many_reaches_all_and_is_encoded_once_per_protocol() {
    let mut node = Node::start(small());
    let mut binary: Vec<Client> = (0..10).map(|_| node.binary_client()).collect();
    let mut text: Vec<Client> = (0..10).map(|_| node.client()).collect();
    for client in &mut text {
        client.send(b"{\"msg\":\"hello\"}\n");
        node.until("the echo", |_| client.poll().received == b"{\"msg\":\"hello\"}\n");
        client.received.clear();
    }
    let before = node.reactor.counters().clone();
    let all = frame("all", &[("a", Value::Integer(1))]);
    binary[3].send(&all);
    for client in &mut binary {
        node.until("the message", |_| client.poll().received == all);
    }
    for client in &mut text {
        node.until("the message", |_| client.poll().received == b"{\"msg\":\"all\",\"a\":1}\n");
    }
    let after = node.reactor.counters();
    assert_eq!(after.messages_encoded - before.messages_encoded, 2);
    assert_eq!(after.sends - before.sends, 20);
}

#[test]
fn all_of_a_turn_leaves_in_one_send() {
    let mut node = Node::start(small());
    let (mut ann, mut bob) = (node.binary_client(), node.binary_client());
    let sends = node.reactor.counters().sends;
    // In turn, so that the pieces of neither stand side by side.
    let pieces: Vec<Vec<u8>> = (0..3).map(|number| numbered(number, 20)).collect();
    node.accepting_input = false;
    for piece in &pieces {
        for client in [&mut ann, &mut bob] {
            client.send(piece);
            let received = node.reactor.counters().receives;
            node.until("the piece", |node| node.reactor.counters().receives > received);
        }
    }
    node.accepting_input = true;
    for client in [&mut ann, &mut bob] {
        node.until("all pieces", |_| client.poll().received == pieces.concat());
    }
    assert_eq!(node.reactor.counters().sends - sends, 2);
}

#[test]
fn a_frame_may_come_a_byte_at_a_time() {
    let mut node = Node::start(small());
    let mut client = node.client();
    let frames = [numbered(1, 30), numbered(2, 0)].concat();
    for byte in [PREAMBLE.as_slice(), &frames].concat() {
        let received = node.reactor.counters().received_bytes;
        client.send(&[byte]);
        node.until("the byte", |node| node.reactor.counters().received_bytes > received);
    }
    node.until("the echo", |_| client.poll().received == frames);
    assert_eq!(node.reactor.counters().partial_frame_bytes, 0);
}

#[test]
fn a_long_frame_waits_for_its_end_in_a_buffer_that_is_counted() {
    let mut node = Node::start(small());
    let mut client = node.binary_client();
    let long = numbered(5, 20_000);
    client.send(&long[..long.len() - 1]);
    let waits = long.len() as u64 - 1;
    node.until("the half frame", |node| node.reactor.counters().partial_frame_bytes == waits);
    client.send(&long[long.len() - 1..]);
    node.until("the echo", |_| client.poll().received == long);
    assert_eq!(node.reactor.counters().partial_frame_bytes, 0);
}

#[test]
fn a_slow_reader_gets_every_byte() {
    let settings = ReactorSettings { send_queue_bytes_max: 64 << 20, ..small() };
    let mut node = Node::start(settings);
    let mut slow = node.binary_client();
    let mut expected = Vec::new();
    for number in 0..400 {
        let piece = numbered(number, 50_000);
        slow.send(&piece);
        expected.extend_from_slice(&piece);
        if number % 20 == 0 {
            node.until("room", |_| {
                slow.push();
                slow.unsent.len() < 500_000
            });
        }
    }
    node.until("all input", |node| {
        slow.push();
        node.reactor.counters().messages_in == 401
    });
    assert!(node.reactor.counters().sends_deferred > 0, "the sends were never short");
    assert!(node.reactor.counters().send_queue_bytes > 0);
    // A message that comes while others wait takes its place behind them, though the socket has
    // room for it at that moment.
    node.accepting_input = false;
    let received = node.reactor.counters().receives;
    let last = numbered(400, 10);
    slow.send(&last);
    expected.extend_from_slice(&last);
    node.until("the last bytes", |node| node.reactor.counters().receives > received);
    node.accepting_input = true;
    slow.poll();
    node.turn();
    assert_eq!(node.reactor.counters().messages_in, 402);
    node.until("every byte", |_| slow.poll().received.len() >= expected.len());
    assert!(slow.received == expected, "the bytes differ");
    node.until("an empty queue", |node| node.reactor.counters().send_queue_bytes == 0);
    let sent = node.reactor.counters().sent_bytes;
    assert_eq!(sent, (expected.len() + frame("echo", &[]).len()) as u64);
    let again = numbered(401, 10);
    slow.received.clear();
    slow.send(&again);
    node.until("the echo", |_| slow.poll().received == again);
}

#[test]
fn held_input_keeps_its_order() {
    let settings = ReactorSettings { inputs_per_turn_max: 3, ..small() };
    let mut node = Node::start(settings);
    let mut clients: Vec<Client> = (0..5).map(|_| node.binary_client()).collect();
    node.inputs_max = 0;
    node.accepting_input = false;
    let mut expected = Vec::new();
    for number in 0..40 {
        let piece = numbered(number, 100);
        expected.extend_from_slice(&piece);
        for client in &mut clients {
            // Cut in the middle, so that a partial frame is involved.
            client.send(&piece[..50]);
        }
        node.turn();
        for client in &mut clients {
            client.send(&piece[50..]);
        }
        node.turn();
    }
    assert_eq!(node.inputs_max, 0, "a shard that accepts nothing gets nothing");
    assert!(clients[0].poll().received.is_empty());
    node.accepting_input = true;
    for client in &mut clients {
        node.until("all echoes", |_| client.poll().received.len() >= expected.len());
        assert!(client.received == expected, "out of order");
    }
    // Two of these frames fit into a buffer, and a part of a third.
    assert!(node.inputs_max <= 3 + 10, "{} messages in a turn", node.inputs_max);
}

#[test]
fn exhausted_buffers_lose_nothing() {
    let settings = ReactorSettings { receive_buffers: 4, receive_buffer_bytes: 64, ..small() };
    for holds in [false, true] {
        let mut node = Node::start(settings.clone());
        let mut clients: Vec<Client> = (0..8).map(|_| node.binary_client()).collect();
        node.accepting_input = !holds;
        let mut expected = Vec::new();
        for number in 0..100 {
            let piece = numbered(number, 90);
            expected.extend_from_slice(&piece);
            for client in &mut clients {
                client.send(&piece);
            }
        }
        node.until("too few buffers", |node| node.reactor.counters().receive_buffers_exhausted > 0);
        node.turns(10);
        node.accepting_input = true;
        for client in &mut clients {
            node.until("all echoes", |_| client.poll().received.len() >= expected.len());
            assert!(client.received == expected, "the bytes differ");
        }
    }
}

#[test]
fn messages_before_a_close_are_heard_even_when_held() {
    let mut node = Node::start(small());
    let mut client = node.binary_client();
    node.accepting_input = false;
    let pieces = [numbered(1, 10), numbered(2, 10)].concat();
    client.send(&pieces);
    client.shut_down();
    node.until("the bytes", |node| node.reactor.counters().received_bytes >= pieces.len() as u64);
    node.turns(20);
    assert!(node.ended.is_empty() && node.closed_count == 0, "the end stays behind the bytes");
    assert_eq!(node.reactor.held_count(), 1);
    node.accepting_input = true;
    node.until("the end", |node| node.closed_count == 1);
    assert_eq!(node.reactor.held_count(), 0);
    node.until("the echoes and the end", |_| client.poll().ended.is_some());
    assert_eq!((client.received, client.ended), (pieces, Some(End::Orderly)));
}
