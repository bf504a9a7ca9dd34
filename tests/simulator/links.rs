//! The mesh between the shards, cut open in the middle. Every shard has its own set of real rings
//! whose far ends are here; batches cross from one shard's rings to another's when the scheduler
//! says so. In order per way, as the mesh promises, and never more than fit into the rings.

use std::collections::VecDeque;

use warren::mesh::{MeshPorts, connect};
use warren_core::mesh::{MeshBatch, MeshMessage};
use warren_core::turn::{ShardInputs, ShardOutputs};

use crate::planted::PlantedBug;
use crate::prng::Prng;

/// The ways between all shards.
#[derive(Debug)]
pub(crate) struct Links {
    shard_count: usize,
    /// Far ends: `far[shard][peer]` is where `shard` believes `peer` to be.
    far: Vec<Vec<Option<MeshPorts>>>,
    /// Batches on their way: `held[from][to]`, no more than a ring has slots.
    held: Vec<Vec<VecDeque<MeshBatch>>>,
    inputs: ShardInputs,
    outputs: ShardOutputs,
    planted: Option<PlantedBug>,
    prng: Prng,
}

impl Links {
    /// The ways, and each shard's ends of them.
    pub(crate) fn new(
        shard_count: u16,
        slots: usize,
        planted: Option<PlantedBug>,
        prng: Prng,
    ) -> (Self, Vec<MeshPorts>) {
        let count = usize::from(shard_count);
        let (mut far, mut near) = (vec![], vec![]);
        for shard in 0..count {
            let ports = connect(shard_count, slots);
            let mut ports: Vec<Option<MeshPorts>> = ports.into_iter().map(Some).collect();
            near.push(ports[shard].take().expect("each shard takes its own once"));
            far.push(ports);
        }
        let ways = || (0..count).map(|_| VecDeque::new()).collect();
        let held = (0..count).map(|_| ways()).collect();
        let (inputs, outputs) = (ShardInputs::default(), ShardOutputs::new(count));
        (Self { shard_count: count, far, held, inputs, outputs, planted, prng }, near)
    }

    /// Moves what can be moved between all shards. `staged` says for each whether its ways out
    /// are full.
    pub(crate) fn pump_all(&mut self, staged: &[bool]) {
        for from in 0..self.shard_count {
            for (to, is_staged) in staged.iter().enumerate() {
                self.pump(from, to, *is_staged);
            }
        }
    }

    /// Moves what can be moved from one shard to another.
    pub(crate) fn pump(&mut self, from: usize, to: usize, is_receiver_staged: bool) {
        if from == to {
            return;
        }
        if self.held[from][to].is_empty() {
            self.take(from, to);
        }
        if self.planted == Some(PlantedBug::ReceivingStopsWhenStaged) && is_receiver_staged {
            return;
        }
        if self.planted == Some(PlantedBug::BatchesReordered) && self.held[from][to].len() > 1 {
            self.held[from][to].swap(0, 1);
        }
        while let Some(batch) = self.held[from][to].pop_front() {
            self.outputs.mesh[to] = batch;
            let port = self.far[to][from].as_mut().expect("shards differ");
            if port.publish(&mut self.outputs, |_| {}).batches > 0 {
                continue;
            }
            let batch = std::mem::take(&mut self.outputs.mesh[to]);
            if self.planted != Some(PlantedBug::BatchDroppedWhenFull) {
                self.held[from][to].push_front(batch);
            }
            return;
        }
    }

    /// Whether nothing is on its way, nor waits at a far end.
    pub(crate) fn are_empty(&self) -> bool {
        let held = self.held.iter().flatten().any(|way| !way.is_empty());
        let waiting = self.far.iter().flatten().flatten().any(MeshPorts::has_input);
        !held && !waiting
    }

    /// Takes copies of what one shard sent to another, and gives its batches back as a shard does.
    fn take(&mut self, from: usize, to: usize) {
        let port = self.far[from][to].as_mut().expect("shards differ");
        port.receive(&mut self.inputs);
        for (sender, batch) in &self.inputs.mesh {
            assert!(sender.index() == from);
            let mut copy = MeshBatch { list: batch.list.clone(), bytes: batch.bytes.clone() };
            spoil(&mut copy, self.planted, &mut self.prng);
            if !copy.is_empty() {
                self.held[from][to].push_back(copy);
            }
        }
        port.give_back(&mut self.inputs);
    }
}

/// Plants a bug into a batch.
fn spoil(batch: &mut MeshBatch, planted: Option<PlantedBug>, prng: &mut Prng) {
    let is_target = |message: &MeshMessage| match planted {
        Some(PlantedBug::RoomMessageDoubled) => matches!(message, MeshMessage::RoomMessage { .. }),
        Some(PlantedBug::RelayLeaveLost) => matches!(message, MeshMessage::RelayLeave { .. }),
        Some(PlantedBug::DisplaceLost) => matches!(message, MeshMessage::Displace { .. }),
        Some(PlantedBug::ReplyLost) => matches!(message, MeshMessage::Reply { .. }),
        _ => false,
    };
    let Some(at) = batch.list.iter().position(is_target) else { return };
    if !prng.chance(20) {
        return;
    }
    if planted == Some(PlantedBug::RoomMessageDoubled) {
        let message = batch.list[at];
        batch.list.insert(at, message);
    } else {
        batch.list.remove(at);
    }
}
