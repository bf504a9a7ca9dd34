//! When NPCs are moved: after the turn, for the next ticks of their worlds, and for no longer than a
//! turn has for them. What does not fit waits for the next turn, which takes its input first.

use super::Shard;

impl Shard {
    /// Whether NPCs wait to be moved. It is no work for which a turn has to begin at once.
    #[must_use]
    pub fn has_npcs_due(&self) -> bool {
        !self.thinkers.is_empty()
    }

    /// How long a turn has for moving NPCs, in nanoseconds. Core has no clock: whoever runs the turns
    /// stops asking when the time is over.
    #[must_use]
    pub fn npc_turn_ns(&self) -> u64 {
        self.settings.limits.npc_turn_ns
    }

    /// The name of a behaviour that nobody has, while NPCs are to be moved by it: each once until there are
    /// other behaviours.
    pub fn take_missing_behaviour(&mut self) -> Option<&str> {
        self.inline.behaviours.take_missing()
    }

    /// Moves NPCs of one entry of one world, so many at most, by one call of their behaviour; next time it
    /// is another world's turn. Returns how many.
    pub fn think(&mut self, updates_max: usize) -> usize {
        while let Some((slot, woken)) = self.thinkers.pop_front() {
            // It may have gone to sleep.
            let Some(world) = self.worlds.since_mut(slot, woken) else { continue };
            let thought = world.think(updates_max, &mut self.inline.behaviours);
            let is_more = world.npcs_due() > 0;
            world.waits_to_think(is_more);
            if is_more {
                self.thinkers.push_back((slot, woken));
            }
            if thought.updates == 0 {
                // Workers move these.
                continue;
            }
            self.counters.npc_updates += thought.updates as u64;
            self.counters.npc_updates_unmoved += thought.unmoved as u64;
            self.counters.npc_moves_invalid += thought.invalid as u64;
            return thought.updates;
        }
        0
    }
}
