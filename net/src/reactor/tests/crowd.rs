//! What many hear leaves over several turns, in order, and holds up nobody who hears something else.

use super::*;
use crate::reactor::send::{CROWD_MIN, LATE_PER_TURN_MAX};

const CROWD: usize = CROWD_MIN as usize + 44;

fn crowd() -> (Node, Vec<Client>) {
    let mut node =
        Node::start(ReactorSettings { connections_max: 2 * CROWD, ..ReactorSettings::default() });
    let clients = (0..CROWD).map(|_| node.binary_client()).collect();
    (node, clients)
}

/// The connection of each client, in the order in which they came.
fn connections(node: &Node) -> Vec<ConnectionId> {
    node.open.iter().map(|&(index, generation)| ConnectionId { index, generation }).collect()
}

/// One turn in which everyone is told this, and those something else besides.
fn tell(node: &mut Node, all: &[u8], alone: &[(ConnectionId, &[u8])]) {
    node.outputs.clear();
    let message = node.output(all);
    node.send_to_all(message);
    for (connection, message) in alone {
        let message = node.output(message);
        node.outputs.list.push(ShardOutput::Send { connection: *connection, message });
    }
    node.reactor.send(node.now, &node.outputs);
    node.outputs.clear();
}

fn said(number: i64) -> Vec<u8> {
    message::packed("said", &[("n", Value::Integer(number))])
}

#[test]
fn a_crowd_hears_in_parts_and_in_order() {
    let (mut node, mut clients) = crowd();
    let last = *connections(&node).last().unwrap();
    let sends = |node: &Node| node.reactor.counters().sends;
    let before = sends(&node);
    let reply = message::packed("reply", &[]);
    tell(&mut node, &said(1), &[(last, &reply)]);
    // Whoever hears something else hears both at once.
    assert_eq!(sends(&node) - before, 1 + LATE_PER_TURN_MAX as u64);
    tell(&mut node, &said(2), &[]);
    node.until("everyone has heard", |node| !node.reactor.egress.has_late());
    // Those whose turn came late got both in one.
    let twice = 1 + LATE_PER_TURN_MAX as u64;
    assert_eq!(sends(&node) - before, CROWD as u64 + twice);
    let (one, two) = (frame_of(&said(1)), frame_of(&said(2)));
    let with_reply = [one.clone(), frame_of(&reply), two.clone()].concat();
    let without = [one, two].concat();
    // Slots are given in any order: who was told alone is whoever hears it.
    let mut told_alone = 0;
    for client in &mut clients {
        node.until("both", |_| client.poll().received.len() >= without.len());
        let is_told_alone = client.received == with_reply;
        assert!(is_told_alone || client.received == without);
        told_alone += usize::from(is_told_alone);
    }
    assert_eq!(told_alone, 1);
}

#[test]
fn whoever_leaves_hears_all_that_was_said_before() {
    let (mut node, mut clients) = crowd();
    let [.., one, other] = connections(&node)[..] else { panic!("a crowd") };
    node.outputs.clear();
    tell(&mut node, &said(1), &[]);
    for (connection, reason) in [(one, Reason::Displaced), (other, Reason::PeerClosed)] {
        node.outputs.list.push(ShardOutput::Close { connection, reason });
    }
    node.reactor.send(node.now, &node.outputs);
    node.outputs.clear();
    node.until("everyone has heard", |node| !node.reactor.egress.has_late());
    let said = frame_of(&said(1));
    let displaced = [said.clone(), notice("closed", Reason::Displaced)].concat();
    node.until("two ends", |_| {
        clients.iter_mut().map(|client| client.poll().ended).filter(Option::is_some).count() == 2
    });
    let mut ended = Vec::new();
    for client in &mut clients {
        node.until("it", |_| client.poll().received.len() >= said.len());
        match client.ended {
            None => assert_eq!(client.received, said),
            Some(End::Orderly) => ended.push(client.received.clone()),
            Some(End::Reset) => panic!("a reset may swallow what was said"),
        }
    }
    ended.sort_by_key(Vec::len);
    assert_eq!(ended, [said, displaced]);
}

#[test]
fn a_crowd_that_goes_while_it_waits_leaves_nothing_behind() {
    let (mut node, clients) = crowd();
    tell(&mut node, &said(1), &[]);
    drop(clients);
    node.until("free slots", |node| node.reactor.open_count() == 0);
    assert!(!node.reactor.egress.has_late());
    let mut client = node.binary_client();
    client.send(&numbered(1, 10));
    node.until("the echo", |_| client.poll().received == numbered(1, 10));
}
