//! One turn of a shard: the loop body, over plain values. The shard thread runs it with a reactor,
//! the simulator with scripted clients; neither can do anything that the other cannot.

use warren_core::ids::{GroupId, Sequence, ShardId};
use warren_core::shard::Shard;
use warren_core::snapshot::SnapshotBatch;
use warren_core::turn::{Now, ShardInputs, ShardOutputs};

use crate::mesh::{MeshPorts, Published};

/// NPCs that are moved between two looks at the clock: few enough that what is dear is seen soon, and
/// so many that looking costs nothing beside them.
const NPCS_AT_ONCE: usize = 64;

/// Where a shard's clients are.
pub trait ClientPort {
    /// Appends what came in. While `accepts_input` is false, messages and what follows them stay
    /// where they are; ends of connections with nothing before them may come.
    fn receive(&mut self, now: Now, accepts_input: bool, inputs: &mut ShardInputs);

    /// Sends what goes out: to each connection at once, in order.
    fn send(&mut self, now: Now, outputs: &ShardOutputs);

    /// A batch for this peer was published: wakes it if it sleeps.
    fn wake(&mut self, peer: ShardId);
}

/// A shard's engine with its ends of the mesh.
#[derive(Debug)]
pub struct ShardTurn {
    shard: Shard,
    mesh: MeshPorts,
    inputs: ShardInputs,
    outputs: ShardOutputs,
}

impl ShardTurn {
    /// Puts them together.
    #[must_use]
    pub fn new(shard: Shard, mesh: MeshPorts, shard_count: u16) -> Self {
        let outputs = ShardOutputs::new(usize::from(shard_count));
        Self { shard, mesh, inputs: ShardInputs::default(), outputs }
    }

    /// The group's delta batches are durable up to this one: the next turn begins with it.
    pub fn note_durable(&mut self, group: GroupId, sequence: Sequence) {
        self.inputs.durable.push((group, sequence));
    }

    /// The log takes nothing more: what waits for it is answered in the next turn.
    pub fn log_failed(&mut self) {
        self.shard.log_failed();
    }

    /// The log goes on.
    pub fn log_works(&mut self) {
        self.shard.log_works();
    }

    /// One turn. When the shard drains, it takes no new input from clients.
    pub fn turn(
        &mut self,
        now: Now,
        is_draining: bool,
        clients: &mut impl ClientPort,
    ) -> Published {
        self.outputs.clear();
        let accepts_input = !is_draining && self.shard.accepts_clients(&self.outputs);
        if is_draining {
            self.shard.stop_gathering();
        }
        clients.receive(now, accepts_input, &mut self.inputs);
        self.mesh.receive(&mut self.inputs);
        self.shard.turn(now, &self.inputs, &mut self.outputs);
        self.inputs.clear();
        self.mesh.give_back(&mut self.inputs);
        // The mesh goes first: peers work on it while this shard talks to its sockets.
        let sum = self.mesh.publish(&mut self.outputs, |peer| clients.wake(peer));
        clients.send(now, &self.outputs);
        sum
    }

    /// Moves NPCs, if some are due: after the turn, so that nobody waits for them, and until the clock,
    /// in nanoseconds, says that their time is over.
    pub fn think(&mut self, read_clock_ns: impl Fn() -> u64) {
        if !self.shard.has_npcs_due() {
            return;
        }
        let began_ns = read_clock_ns();
        let ends_ns = began_ns + self.shard.npc_turn_ns();
        while self.shard.think(NPCS_AT_ONCE) > 0 && read_clock_ns() < ends_ns {}
    }

    /// The name of a behaviour that nobody has, while NPCs are to be moved by it: each once until there are
    /// other behaviours.
    pub fn take_missing_behaviour(&mut self) -> Option<&str> {
        self.shard.take_missing_behaviour()
    }

    /// Whether NPCs wait for their time in the next turn.
    #[must_use]
    pub fn has_npcs_due(&self) -> bool {
        self.shard.has_npcs_due()
    }

    /// The next batch of the snapshot, when it is due.
    pub fn take_due_snapshot(&mut self, now: Now) -> Option<SnapshotBatch> {
        let due_ns = self.shard.snapshot_due_ns()?;
        if due_ns <= now.monotonic_ns { self.shard.take_snapshot(now) } else { None }
    }

    /// The next batch of the snapshot, for a shard that ends.
    pub fn take_snapshot(&mut self, now: Now) -> Option<SnapshotBatch> {
        self.shard.take_snapshot(now)
    }

    /// The same to a shard that turns no more.
    pub(crate) fn note_durable_at_end(&mut self, group: GroupId, sequence: Sequence) {
        self.shard.note_durable(group, sequence);
    }

    /// Whether the next turn has something to do already.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.shard.has_work() || self.mesh.has_input() || !self.inputs.durable.is_empty()
    }

    /// Whether something waits for a full ring.
    #[must_use]
    pub fn has_staged(&self) -> bool {
        self.outputs.mesh.iter().any(|batch| !batch.is_empty())
    }

    /// The engine.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// What the last turn put out: replies, frames, delta batches.
    #[must_use]
    pub fn outputs(&self) -> &ShardOutputs {
        &self.outputs
    }
}

#[cfg(test)]
mod tests;
