//! When NPCs are moved: after the turn, for the next ticks of their worlds, and for no longer than a
//! turn has for them. What does not fit waits for the next turn, which takes its input first.

use alloc::vec::Vec;

use super::Shard;
use crate::ids::ObjectId;
use crate::turn::Thought;
use crate::world::npcs::{Entry, entries};

/// NPCs of one world that are moved before those of the next world are looked at.
const UPDATES_IN_A_ROW: usize = 1024;

impl Shard {
    /// Whether NPCs wait to be moved.
    #[must_use]
    pub fn has_npcs_due(&self) -> bool {
        !self.thinkers.is_empty()
    }

    /// Moves NPCs, as many as fit into the time that a turn has for them. Returns how many; the next
    /// inputs say how long it took.
    pub fn think(&mut self) -> u64 {
        let mut left = self.npc_pace.fitting(self.settings.limits.npc_turn_ns);
        self.counters.npcs_per_turn = left as u64;
        let mut updates = 0;
        while left > 0
            && let Some((slot, id)) = self.thinkers.pop_front()
        {
            // It may have gone to sleep.
            let Some(world) = self.worlds.at_mut(slot, id) else { continue };
            let thought = world.think(left.min(UPDATES_IN_A_ROW));
            if world.npcs_due() > 0 {
                self.thinkers.push_back((slot, id));
            }
            left -= thought.updates;
            updates += thought.updates as u64;
            self.counters.npc_moves_invalid += thought.invalid as u64;
        }
        self.counters.npc_updates += updates;
        updates
    }

    /// How long it took to move NPCs.
    pub(super) fn note_thought(&mut self, thought: Thought) {
        self.npc_pace.note(thought.updates, thought.took_ns);
    }

    /// What a world that is about to wake says of its NPCs. Of one that is awake nothing: it has them.
    pub(super) fn npcs_waking_in(&self, id: ObjectId) -> Option<Vec<Entry>> {
        if self.worlds.get(id).is_some() {
            return None;
        }
        let partition = self.partition(id.partition()).expect("a joined world exists");
        let object = partition.object(id).expect("a joined world exists");
        Some(entries(object.record()).expect("it was checked when it was set"))
    }
}
