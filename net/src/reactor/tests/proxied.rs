//! Clients that come by a proxy. All proxies here are at 127.0.0.1.

use std::net::IpAddr;

use super::admission::stranger_node;
use super::bans::bans;
use super::hand_over::{Pair, conversation};
use super::time::pass;
use super::*;
use crate::gateway::{Protocol, closed_line};
use crate::proxy_header::PROXY_SIGNATURE;

/// Where clients are.
pub(super) const CLIENT: &str = "203.0.113.7";
const ELSEWHERE: &str = "2001:db8:0:7::/64";
const PROXY: &str = "127.0.0.1";
const LOGIN_MS: u64 = 10_000;

/// With proxies at 127.0.0.1.
pub(super) fn behind_proxies(settings: ReactorSettings) -> ReactorSettings {
    let proxies = ["192.0.2.0/24", PROXY].map(|range| range.parse().unwrap());
    ReactorSettings { proxies: proxies.into(), ..settings }
}

/// What a proxy says of a client there.
pub(super) fn header_of(client: &str) -> Vec<u8> {
    let ports = [0xc0, 1, 0x1c, 3];
    // 127.0.0.1, or its like, is where clients connected to.
    let (family, block) = match client.parse().unwrap() {
        IpAddr::V4(client) => (0x11, [client.octets().as_slice(), &[127, 0, 0, 1]].concat()),
        IpAddr::V6(client) => (0x21, [client.octets().as_slice(), &[0; 16]].concat()),
    };
    header(0x21, family, &[block.as_slice(), &ports].concat())
}

/// What a proxy says that only looks.
fn header_of_itself() -> Vec<u8> {
    header(0x20, 0, &[])
}

fn header(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [PROXY_SIGNATURE.as_slice(), &[version_and_command, family], &length, rest].concat()
}

impl Node {
    fn behind_proxies() -> Self {
        let mut node = Self::start(behind_proxies(small()));
        // Where a conversation would go.
        node.shard = ShardId(1);
        node.answer_turns = 0;
        node
    }

    /// From where the shard was told that its connections come.
    pub(super) fn peers(&self) -> Vec<String> {
        self.accepted.values().map(|peer| peer.to_string()).collect()
    }

    /// Turns until all that was sent so far has come.
    #[track_caller]
    fn until_received(&mut self, bytes: u64) {
        self.until("the bytes", |node| node.reactor.counters().received_bytes == bytes);
    }

    #[track_caller]
    fn ends_without_a_trace(&mut self) {
        self.until("free slots", Node::is_empty);
        self.turn();
        assert!(self.accepted.is_empty());
        assert_eq!(self.address_count, 0);
        let counters = self.reactor.counters();
        assert_eq!((counters.partial_frame_bytes, counters.send_queue_bytes), (0, 0));
        let unknown = (counters.connections_undetected, counters.connections_unauthenticated);
        assert_eq!(unknown, (0, 0));
        assert_eq!(counters.connections.iter().sum::<u64>(), 0);
    }

    fn invalid_count(&self) -> u64 {
        self.reactor.counters().closes[Reason::ProxyInvalid as usize]
    }
}

/// Asserts that the client hears this line and the end.
#[track_caller]
fn check_line(node: &mut Node, client: &mut Client, reason: Reason) {
    node.until("the end", |_| client.poll().ended.is_some());
    assert_eq!(String::from_utf8_lossy(&client.received), closed_line(reason));
}

#[test]
fn every_protocol_is_spoken_behind_a_header_wherever_it_is_cut() {
    let mut node = Node::behind_proxies();
    for &protocol in Protocol::ALL {
        let (said, heard) = conversation(protocol);
        let header = header_of(CLIENT);
        let all = [header.as_slice(), &said].concat();
        // Far enough to cut what the protocol is told by, too.
        for at in 0..header.len() + 8 {
            let before = node.reactor.counters().received_bytes;
            let mut client = node.client();
            client.send(&all[..at]);
            node.until_received(before + at as u64);
            if at < header.len() {
                assert!(node.accepted.is_empty(), "counted before its address is known");
            }
            client.send(&all[at..]);
            node.until("all answers", |_| client.poll().received.len() >= heard.len());
            assert_eq!(client.received, heard, "{protocol:?} cut at {at}");
            assert_eq!(node.peers(), [CLIENT]);
            assert_eq!(node.reactor.counters().connections[protocol as usize], 1);
            drop(client);
            node.ends_without_a_trace();
        }
    }
    let proxied = (Protocol::ALL.len() * (header_of(CLIENT).len() + 8)) as u64;
    assert_eq!(node.reactor.counters().proxied, proxied);
}

#[test]
fn a_header_may_come_byte_by_byte_and_may_be_all_that_comes() {
    let mut node = Node::behind_proxies();
    let mut client = node.client();
    let header = header_of("2001:db8:0:7::9");
    for (count, byte) in (1..).zip(&header) {
        assert!(node.accepted.is_empty(), "counted before its address is known");
        client.send(&[*byte]);
        node.until_received(count);
    }
    assert_eq!(node.peers(), [ELSEWHERE]);
    assert_eq!(node.reactor.counters().partial_frame_bytes, 0);
    let request = b"{\"msg\":\"echo\"}\n";
    client.send(request);
    client.shut_down();
    node.until("the end", |_| client.poll().ended.is_some());
    assert_eq!(
        (client.received.as_slice(), client.ended),
        (request.as_slice(), Some(End::Orderly))
    );
    // A proxy that looks whether anybody is here.
    for at in [header.len(), header.len() - 1, 0] {
        let mut client = node.client();
        client.send(&header[..at]);
        client.shut_down();
        node.until("the end", |_| client.poll().ended.is_some());
        assert_eq!(client.received, b"");
    }
    assert_eq!(node.reactor.counters().closes[Reason::PeerClosed as usize], 4);
    node.ends_without_a_trace();
}

#[test]
fn a_header_that_waits_for_its_turn_is_read_then() {
    let mut node = Node::behind_proxies();
    node.accepting_input = false;
    let mut client = node.client();
    let (said, heard) = conversation(Protocol::Binary);
    client.send(&[header_of(CLIENT), said].concat());
    node.until("the bytes", |node| node.reactor.held_count() > 0);
    client.shut_down();
    node.turns(3);
    assert!(node.accepted.is_empty());
    node.accepting_input = true;
    node.until("the end", |_| client.poll().ended.is_some());
    assert_eq!(client.received, heard);
    node.ends_without_a_trace();
}

#[test]
fn a_proxy_that_names_no_client_is_closed() {
    let mut node = Node::behind_proxies();
    let header = header_of(CLIENT);
    let with = |at: usize, byte: u8| {
        let mut bytes = header.clone();
        bytes[at] = byte;
        bytes
    };
    let faulty = [
        // Other protocols, version 1 of this one among them.
        b"{\"msg\":\"echo\"}\n".to_vec(),
        [PREAMBLE.as_slice(), &frame("echo", &[])].concat(),
        b"GET / HTTP/1.1\r\n".to_vec(),
        b"\x16\x03\x01".to_vec(),
        b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n".to_vec(),
        b"\r\n\r\n{\"msg\":\"echo\"}\n".to_vec(),
        with(11, b'\r'),
        with(12, 0x11),
        with(12, 0x22),
        with(13, 0x12),
        with(13, 0x31),
        with(13, 0x00),
        with(15, 11),
        with(14, 2),
    ];
    for (count, bytes) in (1..).zip(&faulty) {
        let mut client = node.client();
        client.send(bytes);
        check_line(&mut node, &mut client, Reason::ProxyInvalid);
        assert_eq!(node.invalid_count(), count);
    }
    assert_eq!((node.opened_count, node.reactor.counters().proxied), (0, 0));
    node.ends_without_a_trace();
}

#[test]
fn nobody_but_a_proxy_says_where_a_client_is() {
    for proxies in [vec![], vec!["192.0.2.0/24"], vec!["127.0.0.0/32", "127.0.0.2/31", "::1"]] {
        let proxies = proxies.iter().map(|range| range.parse().unwrap()).collect();
        let mut node = Node::start(ReactorSettings { proxies, ..small() });
        for header in [header_of(CLIENT), header_of_itself()] {
            let mut client = node.client();
            node.until("the connection", |node| !node.accepted.is_empty());
            assert_eq!(node.peers(), [PROXY]);
            client.send(&[header.as_slice(), b"{\"msg\":\"echo\"}\n"].concat());
            check_line(&mut node, &mut client, Reason::UnknownProtocol);
        }
        // Who says nothing of the kind is welcome.
        node.binary_client();
        assert_eq!((node.invalid_count(), node.reactor.counters().proxied), (0, 0));
    }
}

#[test]
fn a_second_header_is_the_client_s_own_and_none() {
    let mut node = Node::behind_proxies();
    let mut client = node.client();
    client.send(&[header_of(CLIENT), header_of("198.51.100.1")].concat());
    check_line(&mut node, &mut client, Reason::UnknownProtocol);
    let mut client = node.client();
    client.send(&header_of(CLIENT));
    node.until("the address", |node| !node.accepted.is_empty());
    client.send(&header_of("198.51.100.1")[..1]);
    node.turns(3);
    assert_eq!(node.peers(), [CLIENT]);
    client.send(&header_of("198.51.100.1")[1..]);
    check_line(&mut node, &mut client, Reason::UnknownProtocol);
    assert_eq!(node.reactor.counters().proxied, 2);
    node.ends_without_a_trace();
}

#[test]
fn a_proxy_that_speaks_for_itself_is_where_it_is() {
    let mut node = Node::behind_proxies();
    let mut client = node.client();
    client.send(&[header_of_itself().as_slice(), b"{\"msg\":\"echo\"}\n"].concat());
    node.until("the echo", |_| client.poll().received == b"{\"msg\":\"echo\"}\n");
    assert_eq!(node.peers(), [PROXY]);
    // An IPv4 client that came to the proxy by IPv6.
    let mut mapped = node.client();
    mapped.send(&header_of("::ffff:203.0.113.7"));
    node.until("the address", |node| node.accepted.len() == 2);
    assert!(node.peers().contains(&CLIENT.to_owned()), "{:?}", node.peers());
}

#[test]
fn a_port_of_one_protocol_waits_for_the_header() {
    for fixed in [Protocol::Json, Protocol::ConnServerA, Protocol::ConnServerC] {
        let settings = ReactorSettings { fixed_protocol: Some(fixed), ..small() };
        let mut node = Node::start(behind_proxies(settings));
        node.shard = ShardId(1);
        let (said, heard) = conversation(fixed);
        let header = header_of(CLIENT);
        let mut client = node.client();
        client.send(&header[..20]);
        node.until_received(20);
        assert_eq!((node.opened_count, node.accepted.len()), (0, 0));
        client.send(&header[20..]);
        // Then the first byte is not waited for.
        node.until("the protocol", |node| node.opened_count == 1);
        assert_eq!(node.peers(), [CLIENT]);
        client.send(&said);
        node.until("all answers", |_| client.poll().received.len() >= heard.len());
        assert_eq!(client.received, heard);
    }
}

#[test]
fn clients_of_one_proxy_are_not_one_and_those_without_a_header_are_bounded() {
    let settings = ReactorSettings { unauthenticated_max: 8, ..behind_proxies(small()) };
    let mut node = stranger_node(settings);
    let header = header_of(CLIENT);
    let mut waiting: Vec<Client> = (0..8).map(|_| node.client()).collect();
    for (client, count) in waiting.iter_mut().zip([0, 1, 11, 12, 15, 16, 20, 27]) {
        client.send(&header[..count]);
    }
    node.until("all", |node| node.reactor.open_count() == 8);
    node.until_received(102);
    assert_eq!((node.accepted.len(), node.address_count), (0, 0), "nobody is counted yet");
    assert_eq!(node.reactor.counters().connections_unauthenticated, 8);
    let mut surplus = node.client();
    check_line(&mut node, &mut surplus, Reason::TooManyUnauthenticated);
    // The header does not begin the time anew.
    pass(&mut node, LOGIN_MS - 1000, 100);
    let mut named = waiting.pop().unwrap();
    named.send(&header[27..]);
    node.until("the address", |node| node.peers() == [CLIENT]);
    pass(&mut node, 500, 100);
    assert_eq!((named.poll().ended, waiting[0].poll().ended), (None, None), "too early");
    pass(&mut node, 1000, 100);
    assert_eq!(node.reactor.counters().closes[Reason::LoginTimeout as usize], 8);
    for client in waiting.iter_mut().chain([&mut named]) {
        check_line(&mut node, client, Reason::LoginTimeout);
    }
    node.ends_without_a_trace();
}

#[test]
fn one_too_many_of_the_named_address_hears_so() {
    let mut node = Node::behind_proxies();
    node.refuses = true;
    let mut mute = node.client();
    node.until("the connection", |node| node.reactor.open_count() == 1);
    mute.send(&header_of(CLIENT));
    check_line(&mut node, &mut mute, Reason::TooManyConnections);
    node.ends_without_a_trace();
}

#[test]
fn a_ban_is_of_the_address_that_is_named() {
    let mut node = Node::behind_proxies();
    let mut waiting = node.client();
    node.until("the connection", |node| node.reactor.open_count() == 1);
    assert_eq!(node.set_bans(&bans(&["203.0.113.0/24", "127.0.0.0/8"], 1000)), 0);
    // Everything behind the proxy is not banned with it, but its own connections are.
    let mut elsewhere = node.client();
    for client in [&mut waiting, &mut elsewhere] {
        client.send(&header_of("2001:db8:0:7::9"));
        client.send(PREAMBLE);
        client.send(&frame("echo", &[]));
        node.until("the echo", |_| client.poll().received == frame("echo", &[]));
    }
    for header in [header_of(CLIENT), header_of_itself(), header_of("::ffff:203.0.113.7")] {
        let mut client = node.client();
        client.send(&header);
        check_line(&mut node, &mut client, Reason::Banned);
    }
    assert_eq!((node.banned_count(), node.opened_count), (3, 2));
    assert_eq!(node.peers(), [ELSEWHERE; 2]);
    // Who is here is found by the address that was named.
    let mut mute = node.client();
    mute.send(&header_of("2001:db8:0:7::8"));
    node.until("the address", |node| node.accepted.len() == 3);
    assert_eq!(node.set_bans(&bans(&["2001:db8::/32"], 1000)), 2);
    check_line(&mut node, &mut mute, Reason::Banned);
    for client in [&mut waiting, &mut elsewhere] {
        node.until("the end", |_| client.poll().ended.is_some());
    }
    // The ban ends.
    node.now.wall_ms = 1000;
    let mut client = node.client();
    client.send(&header_of(CLIENT));
    node.until("the address", |node| node.peers() == [CLIENT]);
}

#[test]
fn the_address_goes_along_to_another_shard() {
    // Where it arrives nothing is known of proxies.
    let mut pair = Pair::start([behind_proxies(small()), small()]);
    for protocol in [Protocol::Binary, Protocol::Json, Protocol::WebSocketJson] {
        let (said, heard) = conversation(protocol);
        let mut client = pair.nodes[0].client();
        client.send(&[header_of(CLIENT), said].concat());
        pair.until("all answers", |_| client.poll().received.len() >= heard.len());
        assert_eq!(client.received, heard);
        pair.until("its way", |pair| pair.nodes[0].accepted.is_empty());
        let there = &pair.nodes[1];
        assert_eq!(there.peers(), [CLIENT]);
        let (index, generation) = *there.open.iter().next().unwrap();
        let origin = there.reactor.origin_of(ConnectionId { index, generation }).unwrap();
        assert_eq!((origin.protocol, origin.address), (protocol, CLIENT.parse().ok()));
        drop(client);
        pair.ends_empty();
    }
}
