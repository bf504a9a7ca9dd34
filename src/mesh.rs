//! The mesh: a pair of single-producer single-consumer rings between every two shards. One carries
//! batches, at most one a turn; the other brings the emptied batches back, so that a warm mesh
//! allocates nothing.
//!
//! A shard always takes everything that was sent to it, however full its own ways out are: so two
//! full rings never wait for each other. What does not fit into a ring stays with its sender, in
//! order, in the batch to which the next turn appends.

use rtrb::{Consumer, Producer, RingBuffer};
use warren_core::ids::ShardId;
use warren_core::mesh::MeshBatch;
use warren_core::turn::{ShardInputs, ShardOutputs};

/// Batches that a peer can be behind before its sender stages.
pub const MESH_SLOTS: usize = 16;
/// A batch that grew beyond this is freed instead of kept.
const SPARE_BATCH_BYTES_MAX: usize = 256 << 10;

/// One shard's ends of its rings.
#[derive(Debug)]
pub struct MeshPorts {
    shard: ShardId,
    /// By shard; none to ourselves.
    peers: Vec<Option<Peer>>,
}

#[derive(Debug)]
struct Peer {
    batches_out: Producer<MeshBatch>,
    spare_in: Consumer<MeshBatch>,
    batches_in: Consumer<MeshBatch>,
    spare_out: Producer<MeshBatch>,
}

/// What one turn put on the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Batches put into rings.
    pub batches: u64,
    /// Bytes that had to stay because a ring was full.
    pub staged_bytes: u64,
}

/// Makes the rings of a node's shards, with this many slots each.
///
/// # Panics
/// When a ring would have no slot.
#[must_use]
pub fn connect(shard_count: u16, slots: usize) -> Vec<MeshPorts> {
    assert!(slots > 0);
    let count = usize::from(shard_count);
    let mut ports: Vec<MeshPorts> = (0..shard_count)
        .map(|shard| MeshPorts { shard: ShardId(shard), peers: (0..count).map(|_| None).collect() })
        .collect();
    for one in 0..count {
        for other in one + 1..count {
            let (forth, back) = (Way::new(slots), Way::new(slots));
            ports[one].peers[other] = Some(Peer {
                batches_out: forth.batches_out,
                spare_in: forth.spare_in,
                batches_in: back.batches_in,
                spare_out: back.spare_out,
            });
            ports[other].peers[one] = Some(Peer {
                batches_out: back.batches_out,
                spare_in: back.spare_in,
                batches_in: forth.batches_in,
                spare_out: forth.spare_out,
            });
        }
    }
    ports
}

/// All four ends of one direction.
struct Way {
    batches_out: Producer<MeshBatch>,
    batches_in: Consumer<MeshBatch>,
    spare_out: Producer<MeshBatch>,
    spare_in: Consumer<MeshBatch>,
}

impl Way {
    fn new(slots: usize) -> Self {
        let (batches_out, batches_in) = RingBuffer::new(slots);
        // Every batch of this way may be on its way back at once.
        let (spare_out, spare_in) = RingBuffer::new(slots + 2);
        Self { batches_out, batches_in, spare_out, spare_in }
    }
}

impl MeshPorts {
    /// Takes everything that the peers have sent.
    pub fn receive(&mut self, inputs: &mut ShardInputs) {
        for (shard, peer) in (0..).zip(&mut self.peers) {
            let Some(peer) = peer else { continue };
            while let Ok(batch) = peer.batches_in.pop() {
                inputs.mesh.push((ShardId(shard), batch));
            }
        }
    }

    /// Whether a peer has sent something.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.peers.iter().flatten().any(|peer| !peer.batches_in.is_empty())
    }

    /// Gives the batches that were read back to their senders.
    pub fn give_back(&mut self, inputs: &mut ShardInputs) {
        for (sender, mut batch) in inputs.mesh.drain(..) {
            if batch.size_bytes() > SPARE_BATCH_BYTES_MAX {
                continue;
            }
            batch.clear();
            let peer = self.peers[sender.index()].as_mut().expect("a sender is a peer");
            // The way back has a slot for every batch; one too many is freed here instead.
            let _ = peer.spare_out.push(batch);
        }
    }

    /// Puts each peer's batch into its ring, and calls `published` for those who got one.
    pub fn publish(
        &mut self,
        outputs: &mut ShardOutputs,
        mut published: impl FnMut(ShardId),
    ) -> Published {
        assert!(outputs.mesh[self.shard.index()].is_empty(), "nothing is sent to ourselves");
        let mut sum = Published::default();
        for (shard, peer) in (0..).zip(&mut self.peers) {
            let (Some(peer), staged) = (peer, &mut outputs.mesh[usize::from(shard)]) else {
                continue;
            };
            if staged.is_empty() {
                continue;
            }
            if peer.batches_out.is_full() {
                sum.staged_bytes += staged.size_bytes() as u64;
                continue;
            }
            let spare = peer.spare_in.pop().unwrap_or_default();
            let batch = std::mem::replace(staged, spare);
            peer.batches_out.push(batch).expect("the ring has a slot");
            sum.batches += 1;
            published(ShardId(shard));
        }
        sum
    }
}

#[cfg(test)]
mod tests;
