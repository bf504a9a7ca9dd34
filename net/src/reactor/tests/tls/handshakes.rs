//! Handshakes: broken, half, and too many at once.

use super::*;

#[test]
fn garbage_in_place_of_a_handshake_is_told_as_an_alert() {
    let authority = Authority::new();
    let mut node = Node::start(authority.settings());
    let mut hello = authority.client(&node, TLS13);
    hello.take_sealed();
    let whole = hello.encrypted.clone();
    let broken = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        bytes
    };
    let cases: Vec<Vec<u8>> = vec![
        vec![0x16; 100],
        vec![0x16, 3, 1, 0xff, 0xff, 0],
        b"\x16\x03\x01\x00\x05hello".to_vec(),
        broken(5),
        broken(6),
    ];
    let mut alerts = 0;
    for (count, bytes) in cases.iter().enumerate() {
        let mut client = node.client();
        client.send(bytes);
        node.until("the end", |_| client.poll().ended.is_some());
        // For some faults rustls has no alert.
        let told = &client.received;
        assert!(told.is_empty() || told[0] == 0x15 && told.len() < 20, "{bytes:?}: {told:?}");
        alerts += usize::from(!told.is_empty());
        assert_eq!(tls_failures(&node), count as u64 + 1);
    }
    assert!(alerts >= 3, "{alerts}");
    drop(hello);
    ends_empty(&mut node);
    assert_eq!((node.opened_count, node.closed_count), (0, 0));
}

#[test]
fn every_broken_byte_of_a_hello_is_survived() {
    let authority = Authority::new();
    let mut node = Node::start(authority.settings());
    let mut hello = authority.client(&node, &rustls::version::TLS12);
    hello.take_sealed();
    for at in 1..hello.encrypted.len() {
        let mut client = node.client();
        let mut bytes = hello.encrypted.clone();
        bytes[at] = bytes[at].wrapping_add(1 + (at % 255) as u8);
        client.send(&bytes);
        node.turns(2);
        drop(client);
    }
    drop(hello);
    ends_empty(&mut node);
}

#[test]
fn half_handshakes_hold_up_nobody_and_end_in_time() {
    let authority = Authority::new();
    let mut node = Node::start(authority.settings());
    let mut idle = Vec::new();
    for length in [1, 5, 6, 100] {
        let mut client = authority.client(&node, TLS13);
        client.take_sealed();
        client.client.send(&client.encrypted[..length]);
        idle.push(client);
    }
    let mut silent = authority.client(&node, TLS13);
    silent.poll();
    node.until("all of them", |node| node.reactor.counters().tls_connections == 5);
    let mut beside = authority.binary_client(&mut node);
    // Its handshake is whole, and it says nothing more.
    node.until("a handshake", |_| !silent.poll().tls.is_handshaking());
    silent.poll();
    node.turns(5);
    node.now.monotonic_ns += 61_000_000_000;
    for client in &mut idle {
        node.until("the end", |_| client.client.poll().ended.is_some());
        // An alert at most: nothing that a client could take for a message.
        assert!(client.client.received.first().is_none_or(|first| *first == 0x15));
    }
    node.until("the end", |_| silent.ended().is_some());
    let line = b"{\"msg\":\"closed\",\"status\":408,\"error\":\"login-timeout\"";
    assert!(silent.received.starts_with(line), "{:?}", silent.received);
    assert!(silent.told_end);
    assert_eq!(node.reactor.counters().closes[Reason::LoginTimeout as usize], 5);
    node.until("the end", |_| beside.ended().is_some());
    ends_empty(&mut node);
}

#[test]
fn a_turn_makes_few_handshakes_and_the_others_wait_in_order() {
    let authority = Authority::new();
    let mut node =
        Node::start(ReactorSettings { tls_handshakes_per_turn_max: 1, ..authority.settings() });
    let mut clients: Vec<SecureClient> = (0..20).map(|_| authority.client(&node, TLS13)).collect();
    for client in &mut clients {
        client.send(&[PREAMBLE.as_slice(), &numbered(1, 10)].concat());
        client.poll();
    }
    node.until("all of them", |node| node.reactor.counters().tls_connections == 20);
    let waiting = node.reactor.counters().tls_waiting_bytes;
    assert!(waiting > 0, "they came in one turn, or nearly");
    let mut answered = 0;
    node.until("all handshakes", |_| {
        let now = clients.iter_mut().map(|client| client.poll().tls.peer_certificates().is_some());
        let now = now.filter(|answered| *answered).count();
        assert!(now <= answered + 2, "{now} after {answered}");
        answered = now;
        answered == 20
    });
    for client in &mut clients {
        node.until("the echo", |_| client.poll().received == numbered(1, 10));
    }
    drop(clients);
    ends_empty(&mut node);
}

#[test]
fn one_who_says_too_much_before_its_turn_is_cut_off() {
    let authority = Authority::new();
    let mut node =
        Node::start(ReactorSettings { tls_handshakes_per_turn_max: 1, ..authority.settings() });
    // They take all turns.
    let mut others: Vec<SecureClient> = (0..40).map(|_| authority.client(&node, TLS13)).collect();
    for client in &mut others {
        client.poll();
    }
    let mut loud = node.client();
    loud.send(&[[0x16, 3, 1, 0x40, 0].as_slice(), &[1; 40_000]].concat());
    node.until("the end", |_| loud.poll().ended.is_some());
    assert_eq!(tls_failures(&node), 1);
    drop(others);
    ends_empty(&mut node);
}

#[test]
fn a_client_that_ends_while_its_handshake_waits_gets_its_answers() {
    let authority = Authority::new();
    let mut node =
        Node::start(ReactorSettings { tls_handshakes_per_turn_max: 1, ..authority.settings() });
    let mut client = authority.client(&node, TLS13);
    client.poll();
    node.until("its answer", |_| !client.client.poll().received.is_empty());
    // A crowd takes the turns of handshakes.
    let mut others: Vec<SecureClient> = (0..20).map(|_| authority.client(&node, TLS13)).collect();
    for other in &mut others {
        other.poll();
    }
    node.until("all of them", |node| node.reactor.counters().tls_connections == 21);
    client.poll();
    client.send(&[PREAMBLE.as_slice(), &numbered(1, 10)].concat());
    // The rest of its handshake, what it asks, and its end.
    client.poll();
    client.client.shut_down();
    node.turn();
    assert!(node.reactor.counters().tls_waiting_bytes > 0, "the crowd waits");
    assert_eq!(node.opened_count, 0);
    node.until("the end", |_| client.ended().is_some());
    assert_eq!((&client.received, client.told_end), (&numbered(1, 10), true));
    assert_eq!(node.reactor.counters().closes[Reason::PeerClosed as usize], 1);
    drop((client, others));
    ends_empty(&mut node);
}

#[test]
fn handshakes_take_half_of_the_time_at_most() {
    let authority = Authority::new();
    let mut node = Node::start(authority.settings());
    let most = authority.settings().tls_handshakes_per_turn_max;
    let mut clients: Vec<SecureClient> = (0..40).map(|_| authority.client(&node, TLS13)).collect();
    for client in &mut clients {
        client.poll();
    }
    let mut answered = vec![0];
    node.until("all handshakes", |_| {
        let raw = clients.iter_mut().map(|client| !client.client.poll().received.is_empty());
        answered.push(raw.filter(|is_answered| *is_answered).count());
        answered.last() == Some(&40)
    });
    // A turn takes a millisecond here, and then there is one without a handshake.
    for three in answered.windows(3) {
        assert!(three[2] - three[0] <= most, "{answered:?}");
    }
    for client in &mut clients {
        client.send(&[PREAMBLE.as_slice(), &numbered(1, 10)].concat());
    }
    for client in &mut clients {
        node.until("the echo", |_| client.poll().received == numbered(1, 10));
    }
}
