//! Connections on their way from one shard to another: a single-producer single-consumer ring each
//! way between every two shards, beside the mesh. One for which the ring has no slot stays with its
//! reactor, where it counts as a connection, and is offered again in the next turn.

use rtrb::{Consumer, Producer, RingBuffer};
use warren_core::ids::ShardId;
use warren_net::reactor::{MovedConnection, Reactor};

/// Connections that may be on their way from one shard to another.
pub(crate) const HAND_OVER_SLOTS: usize = 64;

/// One shard's ends of its rings.
#[derive(Debug)]
pub(crate) struct HandOverPorts {
    /// By shard; none to ourselves.
    peers: Vec<Option<Peer>>,
}

#[derive(Debug)]
struct Peer {
    departures: Producer<MovedConnection>,
    arrivals: Consumer<MovedConnection>,
}

/// Makes the rings of a node's shards.
pub(crate) fn connect(shard_count: u16) -> Vec<HandOverPorts> {
    let count = usize::from(shard_count);
    let mut ports: Vec<HandOverPorts> =
        (0..count).map(|_| HandOverPorts { peers: (0..count).map(|_| None).collect() }).collect();
    for one in 0..count {
        for other in one + 1..count {
            let (forth, there) = RingBuffer::new(HAND_OVER_SLOTS);
            let (back, here) = RingBuffer::new(HAND_OVER_SLOTS);
            ports[one].peers[other] = Some(Peer { departures: forth, arrivals: here });
            ports[other].peers[one] = Some(Peer { departures: back, arrivals: there });
        }
    }
    ports
}

impl HandOverPorts {
    /// Takes connections of other shards into the reactor, as many as it takes at a time.
    pub(crate) fn receive(&mut self, reactor: &mut Reactor) {
        for peer in self.peers.iter_mut().flatten() {
            while reactor.takes_arrivals()
                && let Ok(moved) = peer.arrivals.pop()
            {
                reactor.arrive(moved);
            }
        }
    }

    /// Whether a connection has come.
    pub(crate) fn has_input(&self) -> bool {
        self.peers.iter().flatten().any(|peer| !peer.arrivals.is_empty())
    }

    /// Puts those that leave the reactor into their rings, and calls `published` for each shard
    /// that got one.
    pub(crate) fn publish(
        &mut self,
        reactor: &mut Reactor,
        mut published: impl FnMut(&mut Reactor, ShardId),
    ) {
        if !reactor.has_departures() {
            return;
        }
        let peers = &mut self.peers;
        let mut receivers = Vec::new();
        reactor.take_departures(|to, moved| {
            let peer = peers[to.index()].as_mut().expect("a connection goes to another shard");
            peer.departures.push(moved).map_err(|rtrb::PushError::Full(moved)| moved)?;
            if !receivers.contains(&to) {
                receivers.push(to);
            }
            Ok(())
        });
        for shard in receivers {
            published(reactor, shard);
        }
    }
}
