//! Addresses from which nobody is let in. All clients here are at 127.0.0.1.

use std::sync::Arc;

use warren_core::bans::{Bans, NEVER_MS};

use super::hand_over::Pair;
use super::*;
use crate::gateway::closed_line;

pub(super) fn bans(ranges: &[&str], until_ms: u64) -> Arc<Bans> {
    let mut bans = Bans::default();
    for range in ranges {
        bans.ban_addresses(range.parse().unwrap(), until_ms);
    }
    Arc::new(bans)
}

impl Node {
    /// How many connections the shard is told of.
    pub(super) fn set_bans(&mut self, bans: &Arc<Bans>) -> usize {
        let before = self.inputs.list.len();
        self.reactor.set_bans(self.now, bans, &mut self.inputs.list);
        self.inputs.list.len() - before
    }

    pub(super) fn banned_count(&self) -> u64 {
        self.reactor.counters().closes[Reason::Banned as usize]
    }
}

#[test]
fn whoever_comes_from_a_banned_address_hears_so_and_leaves_no_trace() {
    let mut node = Node::start(small());
    node.set_bans(&bans(&["192.0.2.0/24", "127.0.0.0/8"], 1000));
    let mut client = node.client();
    node.until("the end", |_| client.poll().ended.is_some());
    assert_eq!(client.received, closed_line(Reason::Banned).as_bytes());
    node.until("a free slot", |node| node.reactor.open_count() == 0);
    assert_eq!((node.banned_count(), node.opened_count), (1, 0));
    assert_eq!(node.reactor.counters().connections_unauthenticated, 0);
    // The ban ends.
    node.now.wall_ms = 1000;
    node.binary_client();
    assert_eq!(node.banned_count(), 1);
}

#[test]
fn whoever_is_here_is_closed_when_the_address_is_banned() {
    let mut node = Node::start(small());
    let mut speaking = node.binary_client();
    let mut ended = node.client();
    ended.send(PREAMBLE);
    ended.send(&frame("never", &[]));
    ended.shut_down();
    node.until("the end of what it says", |node| node.ended.len() == 1);
    let mut mute = node.client();
    node.until("three connections", |node| node.reactor.open_count() == 3);
    // Other addresses are other people's.
    assert_eq!(node.set_bans(&bans(&["192.0.2.0/24", "::1"], NEVER_MS)), 0);
    assert_eq!(node.set_bans(&bans(&["192.0.2.0/24", "127.0.0.1"], NEVER_MS)), 2);
    for (client, expected) in [
        (&mut mute, closed_line(Reason::Banned).as_bytes()),
        (&mut speaking, &notice("closed", Reason::Banned)),
        (&mut ended, &notice("closed", Reason::Banned)),
    ] {
        node.until("the end", |_| client.poll().ended.is_some());
        assert_eq!(client.received, expected);
    }
    assert_eq!(node.banned_count(), 3);
    // What was banned before is not looked for again, and what is no longer banned is let in.
    assert_eq!(node.set_bans(&bans(&["192.0.2.0/24"], NEVER_MS)), 0);
    node.binary_client();
    assert_eq!(node.banned_count(), 3);
}

#[test]
fn a_ban_meets_a_connection_on_its_way_where_it_arrives() {
    let mut pair = Pair::start([small(), small()]);
    let mut client = pair.binary_client();
    client.send(&frame("move-1", &[]));
    pair.until("its way", |pair| !pair.nodes[0].moving.is_empty());
    for node in &mut pair.nodes {
        assert_eq!(node.set_bans(&bans(&["127.0.0.1"], NEVER_MS)), 0);
    }
    pair.until("the end", |_| client.poll().ended.is_some());
    assert_eq!(client.received, notice("closed", Reason::Banned));
    pair.ends_empty();
    assert_eq!(pair.nodes.map(|node| node.banned_count()), [0, 1]);
}
