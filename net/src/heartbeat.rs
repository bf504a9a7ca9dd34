//! A wheel of deadlines, one for each connection: heartbeats, silence, and the ends of those that
//! leave. Pure: time is a value.
//!
//! A deadline costs the same to set, move and drop however many there are, and a turn in which none
//! is due looks at one number. Deadlines come up at the end of the 100 ms slot that they are in,
//! so never early and up to 100 ms late.

/// Resolution of deadlines.
pub(crate) const SLOT_NS: u64 = 100_000_000;
/// Slots of the wheel. A deadline beyond its end waits in the last slot, and moves on from there.
const SLOT_COUNT: usize = 256;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline_ns: u64,
    next: u32,
    previous: u32,
    /// Slot in whose list it is; `SLOT_COUNT` for none.
    slot: u16,
}

const IDLE: Entry = Entry { deadline_ns: 0, next: NONE, previous: NONE, slot: SLOT_COUNT as u16 };

/// The wheel.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// By connection index.
    entries: Vec<Entry>,
    /// First entry of each slot's list.
    heads: [u32; SLOT_COUNT],
    /// Bit per slot: whether its list has entries.
    occupied: [u64; SLOT_COUNT / 64],
    /// All slots before this tick have been emptied.
    tick: u64,
}

impl Wheel {
    /// An empty wheel.
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            heads: [NONE; SLOT_COUNT],
            occupied: [0; SLOT_COUNT / 64],
            tick: 0,
        }
    }

    /// Sets the deadline of an index, in place of the one that it had.
    pub(crate) fn schedule(&mut self, index: u32, deadline_ns: u64) {
        self.cancel(index);
        if self.entries.len() <= index as usize {
            self.entries.resize(index as usize + 1, IDLE);
        }
        let farthest = self.tick + SLOT_COUNT as u64 - 1;
        let tick = deadline_ns.div_ceil(SLOT_NS).clamp(self.tick, farthest);
        let slot = (tick % SLOT_COUNT as u64) as usize;
        let next = self.heads[slot];
        if next != NONE {
            self.entries[next as usize].previous = index;
        }
        let entry = Entry { deadline_ns, next, previous: NONE, slot: slot as u16 };
        self.entries[index as usize] = entry;
        self.heads[slot] = index;
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Sets the deadline of an index, unless it has one that is as early. Costs a look when it has.
    pub(crate) fn advance(&mut self, index: u32, deadline_ns: u64) {
        let known = self.entries.get(index as usize);
        let is_earlier = |entry: &Entry| {
            usize::from(entry.slot) < SLOT_COUNT && entry.deadline_ns <= deadline_ns
        };
        if !known.is_some_and(is_earlier) {
            self.schedule(index, deadline_ns);
        }
    }

    /// Drops the deadline of an index, if it has one.
    pub(crate) fn cancel(&mut self, index: u32) {
        let Some(entry) = self.entries.get(index as usize).copied() else { return };
        let slot = usize::from(entry.slot);
        if slot == SLOT_COUNT {
            return;
        }
        if entry.next != NONE {
            self.entries[entry.next as usize].previous = entry.previous;
        }
        if entry.previous == NONE {
            self.heads[slot] = entry.next;
            if entry.next == NONE {
                self.occupied[slot / 64] &= !(1 << (slot % 64));
            }
        } else {
            self.entries[entry.previous as usize].next = entry.next;
        }
        self.entries[index as usize] = IDLE;
    }

    /// Appends the indexes whose deadlines have come up to `due`, and drops these deadlines: so many
    /// at most, and the others with the next calls.
    pub(crate) fn expire(&mut self, now_ns: u64, most: usize, due: &mut Vec<u32>) {
        let now_tick = now_ns / SLOT_NS;
        // After a long sleep every slot is looked at once, not once for each time round.
        let first = self.tick.max((now_tick + 1).saturating_sub(SLOT_COUNT as u64));
        for tick in first..=now_tick {
            self.tick = tick;
            self.empty_slot((tick % SLOT_COUNT as u64) as usize, now_ns, most, due);
            if due.len() >= most {
                return;
            }
        }
        self.tick = self.tick.max(now_tick + 1);
    }

    fn empty_slot(&mut self, slot: usize, now_ns: u64, most: usize, due: &mut Vec<u32>) {
        let mut index = self.heads[slot];
        while index != NONE && due.len() < most {
            let Entry { deadline_ns, next, .. } = self.entries[index as usize];
            if deadline_ns <= now_ns {
                self.cancel(index);
                due.push(index);
            } else {
                // It was beyond the wheel's end when it was set: it moves on.
                self.schedule(index, deadline_ns);
            }
            index = next;
        }
    }

    /// When [`expire`](Self::expire) next has something to look at.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        // From the next tick's slot on, round to just before it.
        let start = (self.tick % SLOT_COUNT as u64) as usize;
        let words = SLOT_COUNT / 64;
        let (first_word, first_bit) = (start / 64, start % 64);
        for step in 0..=words {
            let word = (first_word + step) % words;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << first_bit;
            }
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                let distance = (slot + SLOT_COUNT - start) % SLOT_COUNT;
                return Some((self.tick + distance as u64) * SLOT_NS);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
