//! Full tables, slots used again, sizes out of range.

use super::*;
use crate::gateway::Protocol;
use crate::gateway::closed_line;
use crate::reactor::ReactorError;

#[test]
fn a_full_table_accepts_again_when_a_slot_is_free() {
    let mut node = Node::start(ReactorSettings { connections_max: 8, ..small() });
    let mut clients: Vec<Client> = (0..8).map(|_| node.binary_client()).collect();
    // From here on they are accepted one at a time.
    node.turns(3);
    // All at once, and with something to say, as clients are.
    let mut surplus: Vec<Client> = (0..20).map(|_| node.client()).collect();
    for (number, client) in surplus.iter_mut().enumerate() {
        client.send(PREAMBLE);
        client.send(&numbered(number, 10));
    }
    let start_ns = node.now.monotonic_ns;
    for client in &mut surplus {
        node.until("the refusal", |_| client.poll().ended.is_some());
        assert_eq!(client.received, closed_line(Reason::Busy).as_bytes());
    }
    let waited_ns = node.now.monotonic_ns - start_ns;
    assert!(waited_ns < 900_000_000, "those who wait for their refusal: {waited_ns} ns");
    node.until("the slot to be free", |node| node.reactor.open_count() == 8);
    let counters = node.reactor.counters();
    assert_eq!((counters.accept_table_full, counters.accepted), (20, 28));
    assert_eq!(counters.closes[Reason::Busy as usize], 20);
    assert_eq!((node.opened_count, node.closed_count), (8, 0));
    drop(clients.pop());
    node.until("room", |node| node.reactor.open_count() == 7);
    clients.push(node.binary_client());
    for client in &mut clients {
        client.send(&numbered(2, 10));
        node.until("the echo", |_| client.poll().received == numbered(2, 10));
    }
    assert_eq!(node.reactor.counters().accept_table_full, 20);
}

#[test]
fn a_burst_that_fills_the_table_leaves_no_client_waiting() {
    let mut node = Node::start(ReactorSettings { connections_max: 4, ..small() });
    let mut clients: Vec<Client> = (0..40).map(|_| node.client()).collect();
    for client in &mut clients {
        client.send(PREAMBLE);
        client.send(&numbered(1, 10));
    }
    let line = closed_line(Reason::Busy);
    let (mut served, mut told) = (0, 0);
    for client in &mut clients {
        node.until("an answer or the end", |_| {
            client.poll().ended.is_some() || client.received == numbered(1, 10)
        });
        served += usize::from(client.ended.is_none());
        told += usize::from(client.received == line.as_bytes());
    }
    assert_eq!((served, told), (4, 36));
    assert_eq!(node.reactor.counters().accept_table_full, 36);
}

#[test]
fn slots_used_again_leak_nothing_to_their_next_user() {
    let mut node = Node::start(ReactorSettings { connections_max: 2, ..small() });
    for round in 0..30 {
        let mut client = node.binary_client();
        assert!(client.poll().received.is_empty(), "round {round}");
        let whole = numbered(round, 100);
        client.send(&whole);
        // Half a frame stays behind, and an answer that nobody reads.
        client.send(&numbered(round, 100)[..60]);
        if round % 3 == 0 {
            client.send(&numbered(round, 100)[60..]);
            client.send(&frame("close", &[]));
        }
        if round % 2 == 0 {
            node.until("the echo", |_| client.poll().received.starts_with(&whole));
        }
        drop(client);
        node.until("a free slot", |node| node.reactor.open_count() == 0);
        assert_eq!(node.reactor.counters().partial_frame_bytes, 0);
    }
    node.until("the last end", |node| node.closed_count == node.opened_count);
    assert_eq!(node.reactor.counters().connections, [0; Protocol::ALL.len()]);
}

#[test]
fn output_for_a_connection_that_is_gone_is_ignored() {
    let mut node = Node::start(ReactorSettings { connections_max: 1, ..small() });
    let first = node.binary_client();
    let (index, generation) = *node.open.first().unwrap();
    drop(first);
    node.until("a free slot", |node| node.reactor.open_count() == 0);
    let mut second = node.binary_client();
    assert_eq!(node.open.first().unwrap().0, index, "the same slot");
    for stale in [generation, generation + 7] {
        let connection = ConnectionId { index, generation: stale };
        let message = message::packed("stray", &[]);
        let mut outputs = ShardOutputs::new(1);
        outputs.bytes.extend_from_slice(&message);
        let message = Span::since(0, &outputs.bytes);
        outputs.list.push(ShardOutput::Send { connection, message });
        outputs.list.push(ShardOutput::Close { connection, reason: Reason::Quit });
        let beyond = ConnectionId { index: 1000, generation: 0 };
        outputs.list.push(ShardOutput::Send { connection: beyond, message });
        outputs.list.push(ShardOutput::Close { connection: beyond, reason: Reason::Quit });
        node.reactor.send(node.now, &outputs);
    }
    second.send(&numbered(1, 1));
    node.until("the echo", |_| second.poll().received == numbered(1, 1));
}

#[test]
fn a_fixed_port_speaks_one_protocol() {
    let fixed = |protocol| ReactorSettings { fixed_protocol: Some(protocol), ..small() };
    // Bare LF would make this dialect C on a port of all protocols.
    let mut node = Node::start(fixed(Protocol::ConnServerB));
    let mut client = node.client();
    node.until("the opening", |node| node.opened_count == 1);
    client.send(b"msg:echo\n");
    node.until("the echo", |_| client.poll().received == b"msg:echo~\0");
    let mut node = Node::start(fixed(Protocol::Binary));
    let _client = node.binary_client();
    let mut other = node.client();
    other.send(b"{\"msg\":\"echo\"}\n");
    node.until("the end", |_| other.poll().ended.is_some());
    assert!(other.received.starts_with(b"{\"msg\":\"closed\""));
    assert_eq!(node.opened_count, 1);
}

#[test]
fn settings_out_of_range_are_named() {
    for (settings, word) in [
        (ReactorSettings { receive_buffers: 3, ..small() }, "receive buffers"),
        (ReactorSettings { receive_buffers: 0, ..small() }, "receive buffers"),
        (ReactorSettings { receive_buffer_bytes: 0, ..small() }, "receive buffers"),
        (ReactorSettings { connections_max: 0, ..small() }, "connections"),
    ] {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = Reactor::new(settings, listener).err().expect("it is out of range");
        assert!(matches!(error, ReactorError::SettingInvalid(_)));
        assert!(error.to_string().contains(word), "{error}");
    }
    let settings = ReactorSettings { connections_max: 10_000_000, ..small() };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = Reactor::new(settings, listener).err().expect("no limit is so high");
    assert!(error.to_string().contains("LimitNOFILE"), "{error}");
}
