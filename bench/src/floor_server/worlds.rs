//! The floor's worlds: whatever moved is copied at each tick into one frame, for all members of its room.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use warren_core::world::clock::TickClock;

use crate::wire::world::UPDATE_BYTES;

/// A world, which is a room.
pub(super) struct World {
    clock: TickClock,
    /// As each entity last said it is.
    updates: Vec<[u8; UPDATE_BYTES]>,
    has_moved: Vec<bool>,
    /// Who has moved since the last tick, each once.
    moved: Vec<u16>,
    /// What the next frame tells.
    told: Vec<[u8; UPDATE_BYTES]>,
}

impl World {
    fn new(clock: TickClock) -> Self {
        Self {
            clock,
            updates: Vec::new(),
            has_moved: Vec::new(),
            moved: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Somebody enters; nothing when there are too many.
    pub(super) fn enter(&mut self) -> Option<u16> {
        let entity = u16::try_from(self.updates.len()).ok()?;
        self.updates.push([0; UPDATE_BYTES]);
        self.has_moved.push(false);
        Some(entity)
    }

    /// An entity moves.
    pub(super) fn walk(&mut self, entity: u16, update: &[u8; UPDATE_BYTES]) {
        self.updates[usize::from(entity)] = *update;
        if !std::mem::replace(&mut self.has_moved[usize::from(entity)], true) {
            self.moved.push(entity);
        }
    }

    /// What has moved.
    pub(super) fn take_moved(&mut self) -> &[[u8; UPDATE_BYTES]] {
        self.told.clear();
        for entity in self.moved.drain(..) {
            self.told.push(self.updates[usize::from(entity)]);
            self.has_moved[usize::from(entity)] = false;
        }
        &self.told
    }
}

/// When which world of a thread ticks next.
#[derive(Default)]
pub(super) struct Ticks {
    due: BinaryHeap<Reverse<(u64, u32)>>,
    begun: u32,
}

impl Ticks {
    /// A world begins in this room. Worlds are staggered as servers do: by multiples of the golden ratio.
    pub(super) fn begin(&mut self, room: u32, tick_hz: u8, now_ns: u64) -> World {
        let phase = self.begun.wrapping_mul(0x9e37_79b9);
        self.begun = self.begun.wrapping_add(1);
        let clock = TickClock::new(now_ns, tick_hz, phase);
        self.due.push(Reverse((clock.due_ns(), room)));
        World::new(clock)
    }

    /// When a world ticks next.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due_ns, _))| *due_ns)
    }

    /// The next room whose world has a tick due.
    pub(super) fn next_room(&self, now_ns: u64) -> Option<u32> {
        let Reverse((due_ns, room)) = self.due.peek()?;
        (*due_ns <= now_ns).then_some(*room)
    }

    /// The tick of the world that is due next, which is that one.
    pub(super) fn advance(&mut self, world: &mut World, now_ns: u64) -> Option<u32> {
        let ticked = world.clock.advance(now_ns);
        let mut first = self.due.peek_mut()?;
        first.0.0 = world.clock.due_ns();
        ticked.map(|ticked| ticked.tick as u32)
    }
}
